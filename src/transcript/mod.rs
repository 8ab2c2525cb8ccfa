//! The language of transcripts: methods, contents and field values as text, and as the bytes of frames. By a table of its own, so that
//! it judges the broker's codec and shares nothing with it.

pub(crate) mod codec;
pub(crate) mod schema;
pub(crate) mod text;
pub(crate) mod value;
