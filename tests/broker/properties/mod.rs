//! Properties that hold for every input, each against a second, simpler way to come to the same result.

pub(crate) mod bench;
mod codec;
mod deaths;
mod declaring;
mod decoding;
mod fields;
mod ordering;
mod remembering;
mod restarting;
mod routing;
mod settling;
mod texts;
pub(crate) mod wire;
