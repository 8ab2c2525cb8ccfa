//! The 7-byte envelope and the frame end: cutting frames out of received bytes, and the texts for what is no frame.

use std::fmt::Write;

use super::{ChannelNumber, ReplyCode};

pub const METHOD: u8 = 1;
pub const HEADER: u8 = 2;
pub const BODY: u8 = 3;
pub const HEARTBEAT: u8 = 8;
pub const END: u8 = 0xCE;
/// Type, channel, size.
pub const ENVELOPE: usize = 7;
/// What a frame adds to its payload: the envelope and the end octet.
pub const OVERHEAD: usize = 8;

pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";
pub const HEARTBEAT_FRAME: [u8; 8] = [HEARTBEAT, 0, 0, 0, 0, 0, 0, END];

/// The first seven bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub kind: u8,
    pub channel: u16,
    /// Bytes of payload.
    pub size: usize,
}

impl Envelope {
    /// Reads the envelope off the front; `None` until there are seven bytes.
    #[must_use]
    pub fn read(input: &[u8]) -> Option<Self> {
        let head = input.first_chunk::<ENVELOPE>()?;
        Some(Self {
            kind: head[0],
            channel: u16::from_be_bytes([head[1], head[2]]),
            size: u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize,
        })
    }
}

/// A refusal that the decoder itself decides; always for the whole connection unless the code is soft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: ReplyCode,
    pub text: String,
    /// Class and method id for the close method; 0, 0 where no method is to blame.
    pub class_method: (u16, u16),
    /// The byte stream cannot be cut into frames any more: nothing after it is read.
    pub out_of_step: bool,
    /// The channel that is closed; 0 is the whole connection.
    pub channel: ChannelNumber,
}

impl Fault {
    #[must_use]
    pub fn new(code: ReplyCode, text: impl Into<String>, class_method: (u16, u16)) -> Self {
        Self { code, text: text.into(), class_method, out_of_step: false, channel: 0 }
    }

    fn frame(envelope: Envelope, payload: &[u8], what: &str, out_of_step: bool) -> Self {
        let (which, shown) = snippet(payload);
        let text = format!("type {}, {which} octets = {}: {what}", envelope.kind, erlang_binary(shown, true));
        Self { out_of_step, ..Self::new(ReplyCode::FrameError, text, (0, 0)) }
    }

    /// Behaviour C12.
    #[must_use]
    pub fn frame_too_large(envelope: Envelope, frame_max: usize) -> Self {
        let what = format!("{{frame_too_large,{},{}}}", envelope.size, frame_max.saturating_sub(OVERHEAD));
        Self::frame(envelope, &[], &what, true)
    }

    /// Behaviour C14.
    #[must_use]
    pub fn invalid_frame_end(envelope: Envelope, payload: &[u8], end: u8) -> Self {
        Self::frame(envelope, payload, &format!("{{invalid_frame_end_marker,{end}}}"), true)
    }

    /// Behaviour C15.
    #[must_use]
    pub fn unknown_frame(envelope: Envelope, payload: &[u8]) -> Self {
        Self::frame(envelope, payload, "unknown_frame", false)
    }

    /// Behaviour C16 and C30: a frame where its channel allows none.
    #[must_use]
    pub fn unexpected_frame(envelope: Envelope, payload: &[u8]) -> Self {
        let (which, shown) = snippet(payload);
        let text = format!("type {}, {which} octets = {}", envelope.kind, erlang_binary(shown, true));
        Self::new(ReplyCode::UnexpectedFrame, text, (0, 0))
    }

    /// A content that was not finished in time while memory is short.
    #[must_use]
    pub fn memory_is_short() -> Self {
        let text = "memory is short and no content was finished in time";
        Self { out_of_step: true, ..Self::new(ReplyCode::ResourceError, text, (60, 40)) }
    }

    /// Behaviour C18: arguments that do not fit the method.
    #[must_use]
    pub fn cannot_decode(arguments: &[u8], class_method: (u16, u16)) -> Self {
        Self::new(ReplyCode::FrameError, format!("cannot decode {}", erlang_binary(arguments, false)), class_method)
    }
}

/// How many octets of a payload a text shows.
pub(super) const SNIPPET: usize = 16;

/// What a text shows of a payload.
fn snippet(payload: &[u8]) -> (&'static str, &[u8]) {
    match payload.get(..SNIPPET) {
        Some(first) if payload.len() > SNIPPET => ("first 16", first),
        _ => ("all", payload),
    }
}

/// A binary as Erlang prints it: `~p` shows printable ones as text, `~w` always as numbers.
/// Clients see these terms in reply texts (behaviour E8).
#[must_use]
pub fn erlang_binary(bytes: &[u8], text_when_printable: bool) -> String {
    let printable = |b: &u8| matches!(b, 8..=13 | 27 | 32..=126 | 160..=255);
    let mut out = String::from("<<");
    if text_when_printable && !bytes.is_empty() && bytes.iter().all(printable) {
        out.push('"');
        for &b in bytes {
            match b {
                b'"' | b'\\' => {
                    out.push('\\');
                    out.push(b.into());
                }
                8 => out.push_str("\\b"),
                9 => out.push_str("\\t"),
                10 => out.push_str("\\n"),
                11 => out.push_str("\\v"),
                12 => out.push_str("\\f"),
                13 => out.push_str("\\r"),
                27 => out.push_str("\\e"),
                _ => out.push(b.into()),
            }
        }
        out.push('"');
    } else {
        // A reply text holds 255 bytes: more than this many numbers never fit.
        for (i, b) in bytes.iter().take(260).enumerate() {
            let _ = write!(out, "{}{b}", if i == 0 { "" } else { "," });
        }
    }
    out.push_str(">>");
    out
}
