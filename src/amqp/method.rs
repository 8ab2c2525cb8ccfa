//! Class and method ids: which exist, what they are called, and where their field tables begin.

use amq_protocol::protocol::parse_class;
use nom::Parser;
use nom::combinator::all_consuming;

use super::AMQPClass;
use super::table::{self, Malformed};

pub const BASIC: u16 = 60;
pub const BASIC_QOS: (u16, u16) = (60, 10);
pub const BASIC_PUBLISH: (u16, u16) = (60, 40);
pub const BASIC_ACK: (u16, u16) = (60, 80);
pub const BASIC_REJECT: (u16, u16) = (60, 90);
pub const BASIC_NACK: (u16, u16) = (60, 120);
pub const BASIC_RETURN: (u16, u16) = (60, 50);
pub const BASIC_DELIVER: (u16, u16) = (60, 60);
pub const BASIC_GET: (u16, u16) = (60, 70);
pub const BASIC_GET_OK: (u16, u16) = (60, 71);
pub const BASIC_GET_EMPTY: (u16, u16) = (60, 72);
pub const CONNECTION_TUNE_OK: (u16, u16) = (10, 31);
pub const QUEUE_PURGE: (u16, u16) = (50, 30);
pub const TX_COMMIT: (u16, u16) = (90, 20);
pub const CHANNEL_CLOSE_OK: (u16, u16) = (20, 41);

/// Whether AMQP 0-9-1 with RabbitMQ's extensions has this method.
#[must_use]
pub fn exists((class, method): (u16, u16)) -> bool {
    match class {
        10 => matches!(method, 10 | 11 | 20 | 21 | 30 | 31 | 40 | 41 | 50 | 51 | 60 | 61 | 70 | 71),
        20 => matches!(method, 10 | 11 | 20 | 21 | 40 | 41),
        30 => matches!(method, 10 | 11),
        40 => matches!(method, 10 | 11 | 20 | 21 | 30 | 31 | 40 | 51),
        50 => matches!(method, 10 | 11 | 20 | 21 | 30 | 31 | 40 | 41 | 50 | 51),
        60 => matches!(method, 10 | 11 | 20 | 21 | 30 | 31 | 40 | 50 | 60 | 70 | 71 | 72 | 80 | 90 | 100 | 110 | 111 | 120),
        85 => matches!(method, 10 | 11),
        90 => matches!(method, 10 | 11 | 20 | 21 | 30 | 31),
        _ => false,
    }
}

/// The fields of the methods that carry text or a table: h two bytes, s short string, S long string, b one byte of
/// bits, T table.
fn fields(class_method: (u16, u16)) -> &'static str {
    match class_method {
        // Two octets in front: the version.
        (10, 10) => "hTSS",
        (10, 11) => "TsSs",
        (10, 40) => "ssb",
        (10 | 20, 50 | 40) => "hshh",
        (10, 70) => "Ss",
        (30, 10) => "sb",
        (40, 10) => "hssbT",
        (40, 20) | (50, 30 | 40) | (60, 70) => "hsb",
        (40, 30 | 40) | (50, 20) => "hsssbT",
        (50, 10) => "hsbT",
        (50, 50) => "hsssT",
        (60, 20) => "hssbT",
        (60, 30) => "sb",
        _ => "",
    }
}

/// Checks texts and tables among a method's arguments before a recursive parser sees them: `amq-protocol` follows
/// nesting without a limit, and a table of 14 KB nested 2,000 deep would overflow the stack.
///
/// Returns the arguments with other bytes where they hold a table with keys that are no text.
///
/// # Errors
/// What is wrong, or that the arguments end too early.
pub fn check_arguments(class_method: (u16, u16), arguments: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    let mut rest = arguments;
    let mut changed = None;
    for field in fields(class_method).bytes() {
        match field {
            b'h' => drop(table::take(&mut rest, 2)?),
            b'b' => drop(table::take(&mut rest, 1)?),
            b'S' => drop(table::long_string(&mut rest)?),
            b's' => {
                let text = table::short_string(&mut rest)?;
                std::str::from_utf8(text).map_err(|_| Malformed::TextNotUtf8)?;
            }
            _ => {
                let before = arguments.len() - rest.len();
                let entries = table::long_string(&mut rest)?;
                table::check(entries)?;
                if !table::has_text_keys(entries) {
                    let table = table::with_text_keys(entries);
                    let length = u32::try_from(table.len()).map_err(|_| Malformed::TooDeep)?;
                    changed = Some([&arguments[..before], &length.to_be_bytes(), &table, rest].concat());
                }
            }
        }
    }
    Ok(changed)
}

/// Class and method id off the front of a method frame's payload; the arguments are left.
#[must_use]
pub fn id(payload: &[u8]) -> Option<((u16, u16), &[u8])> {
    let (&[c0, c1, m0, m1], arguments) = payload.split_first_chunk::<4>()?;
    Some(((u16::from_be_bytes([c0, c1]), u16::from_be_bytes([m0, m1])), arguments))
}

/// A method off the hot path, from the payload of its frame.
///
/// # Errors
/// What is wrong; anything but too deep a table and text that is none is `Truncated`.
pub fn parse(payload: &[u8]) -> Result<AMQPClass, Malformed> {
    let (class_method, arguments) = id(payload).ok_or(Malformed::Truncated)?;
    let changed = check_arguments(class_method, arguments)?.map(|arguments| [&payload[..4], &arguments].concat());
    let payload = changed.as_deref().unwrap_or(payload);
    let (_, class) = all_consuming(parse_class).parse(payload).map_err(|_| Malformed::Truncated)?;
    Ok(class)
}

/// The arguments of a settlement or a confirm: a delivery tag and a byte of bits.
#[must_use]
pub fn tag_and_bits(arguments: &[u8]) -> Option<(u64, u8)> {
    let (tag, &[bits]) = arguments.split_first_chunk::<8>()? else { return None };
    Some((u64::from_be_bytes(*tag), bits))
}
