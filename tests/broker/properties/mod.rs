//! Properties that hold for every input, each against a second, simpler way to come to the same result.

mod codec;
mod decoding;
mod fields;
mod remembering;
mod routing;
mod settling;
mod texts;
mod wire;
