//! The form of a recording, piece by piece.
//!
//! ```text
//! header   "leveret-recording\n"  1  microseconds since 1970, 8 bytes, big-endian: when its clock was at 0
//! record   kind  connection  microseconds since the record before  what the kind has
//! ```
//!
//! All numbers after the header are as long as they need: seven bits a byte, the lowest first, the highest bit of a byte says that more
//! follow. The clock is monotonic. The last record may be cut off: then the broker was killed.

use std::fmt;

/// How a recording begins; the version of the form follows.
const MAGIC: &[u8] = b"leveret-recording\n";
const VERSION: u8 = 1;

/// Who has said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    /// As in transcripts: `c1>` sends, `c1<` is sent something.
    pub(crate) fn mark(self) -> char {
        match self {
            Self::Client => '>',
            Self::Server => '<',
        }
    }
}

/// What has happened on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Kind 1: the addresses of the client and of the broker, each as its length and its text.
    Opened { peer: String, local: String },
    /// Kinds 2 (the client) and 3 (the broker): the length, and the bytes; any part of a stream of frames.
    Bytes(Side, Vec<u8>),
    /// Kinds 4 (the client) and 5 (the broker): how many bytes are missing here, because the disk was too slow.
    Lost(Side, u64),
    /// Kind 6.
    Closed,
}

/// An event with its connection, counted from 1, and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) connection: u64,
    /// Microseconds since the beginning.
    pub(crate) at_us: u64,
    pub(crate) event: Event,
}

pub(crate) fn write_header(wall_us: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(MAGIC);
    out.push(VERSION);
    out.extend_from_slice(&wall_us.to_be_bytes());
}

/// The wall clock at the beginning, in microseconds.
pub(crate) fn read_header(input: &mut &[u8]) -> Result<u64, Malformed> {
    let rest = input.strip_prefix(MAGIC).ok_or(Malformed("it is no recording"))?;
    let (version, rest) = rest.split_first().ok_or(Malformed("it is cut off in its header"))?;
    if *version != VERSION {
        return Err(Malformed("it has a form that this version does not know"));
    }
    let (wall, rest) = rest.split_first_chunk::<8>().ok_or(Malformed("it is cut off in its header"))?;
    *input = rest;
    Ok(u64::from_be_bytes(*wall))
}

/// Begins a record; what its kind has comes behind it.
pub(crate) fn begin(kind: u8, connection: u64, since_us: u64, out: &mut Vec<u8>) {
    out.push(kind);
    number(connection, out);
    number(since_us, out);
}

pub(crate) fn number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(low_bits(value) | 0x80);
        value >>= 7;
    }
    out.push(low_bits(value));
}

fn low_bits(value: u64) -> u8 {
    value.to_le_bytes()[0] & 0x7f
}

pub(crate) fn opened(peer: &str, local: &str, out: &mut Vec<u8>) {
    for text in [peer, local] {
        number(text.len() as u64, out);
        out.extend_from_slice(text.as_bytes());
    }
}

pub(crate) const OPENED: u8 = 1;
pub(crate) const CLOSED: u8 = 6;

/// The kind of a record with bytes, and that of one about bytes that are missing.
pub(crate) fn kinds(side: Side) -> (u8, u8) {
    match side {
        Side::Client => (2, 4),
        Side::Server => (3, 5),
    }
}

/// The next record; none where the file ends, or is cut off.
pub(crate) fn read(input: &mut &[u8], before_us: u64) -> Result<Option<Record>, Malformed> {
    let mut rest = *input;
    let record = read_whole(&mut rest, before_us).transpose();
    *input = rest;
    record
}

fn read_whole(input: &mut &[u8], before_us: u64) -> Option<Result<Record, Malformed>> {
    let kind = take(input, 1)?[0];
    let connection = read_number(input)?;
    let at_us = before_us.saturating_add(read_number(input)?);
    let event = match kind {
        OPENED => Event::Opened { peer: read_text(input)?, local: read_text(input)? },
        2 | 3 => {
            let length = usize::try_from(read_number(input)?).ok()?;
            Event::Bytes(if kind == 2 { Side::Client } else { Side::Server }, take(input, length)?.to_vec())
        }
        4 | 5 => Event::Lost(if kind == 4 { Side::Client } else { Side::Server }, read_number(input)?),
        CLOSED => Event::Closed,
        _ => return Some(Err(Malformed("it has a record of an unknown kind"))),
    };
    Some(Ok(Record { connection, at_us, event }))
}

fn read_text(input: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(read_number(input)?).ok()?;
    Some(String::from_utf8_lossy(take(input, length)?).into_owned())
}

fn read_number(input: &mut &[u8]) -> Option<u64> {
    let (mut value, mut shift) = (0_u64, 0_u32);
    loop {
        let byte = take(input, 1)?[0];
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(count)?;
    *input = rest;
    Some(taken)
}

/// Why a file is no recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
