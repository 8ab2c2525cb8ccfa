//! Class and method ids: which exist, what they are called, and where their field tables begin.

use super::table::{self, Malformed};

pub const BASIC: u16 = 60;
pub const BASIC_QOS: (u16, u16) = (60, 10);
pub const BASIC_PUBLISH: (u16, u16) = (60, 40);
pub const BASIC_ACK: (u16, u16) = (60, 80);
pub const BASIC_REJECT: (u16, u16) = (60, 90);
pub const BASIC_NACK: (u16, u16) = (60, 120);
pub const CONNECTION_TUNE_OK: (u16, u16) = (10, 31);
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

/// The fields in front of a method's table: h two bytes, s short string, b one byte of bits.
fn before_table(class_method: (u16, u16)) -> Option<&'static str> {
    match class_method {
        (10, 11) => Some(""),
        (40, 10) => Some("hssb"),
        (40, 30 | 40) | (50, 20) => Some("hsssb"),
        (50, 10) => Some("hsb"),
        (50, 50) => Some("hsss"),
        (60, 20) => Some("hssb"),
        _ => None,
    }
}

/// Checks the field table among a method's arguments before a recursive parser sees it: `amq-protocol` follows
/// nesting without a limit, and a table of 14 KB nested 2,000 deep would overflow the stack.
///
/// # Errors
/// What is wrong with the table, or that the arguments end before it.
pub fn check_table(class_method: (u16, u16), arguments: &[u8]) -> Result<(), Malformed> {
    let Some(fields) = before_table(class_method) else { return Ok(()) };
    let mut rest = arguments;
    for field in fields.bytes() {
        match field {
            b'h' => table::take(&mut rest, 2).map(drop)?,
            b's' => table::short_string(&mut rest).map(drop)?,
            _ => table::take(&mut rest, 1).map(drop)?,
        }
    }
    table::check(table::long_string(&mut rest)?, true)
}
