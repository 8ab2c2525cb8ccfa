//! Content properties as received bytes: checked once for shape, read only when something needs them,
//! forwarded verbatim otherwise (behaviour B7).

use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::basic::{AMQPProperties, gen_properties, parse_properties};

use super::table::{self, Malformed};

const CONTENT_TYPE: u16 = 1 << 15;
const CONTENT_ENCODING: u16 = 1 << 14;
const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PRIORITY: u16 = 1 << 11;
const CORRELATION_ID: u16 = 1 << 10;
const REPLY_TO: u16 = 1 << 9;
const EXPIRATION: u16 = 1 << 8;
const MESSAGE_ID: u16 = 1 << 7;
const TIMESTAMP: u16 = 1 << 6;
const TYPE: u16 = 1 << 5;
const USER_ID: u16 = 1 << 4;
const APP_ID: u16 = 1 << 3;
const CLUSTER_ID: u16 = 1 << 2;

/// The flags that make a publish look further than routing.
const LOOKED_AT: u16 = HEADERS | REPLY_TO | EXPIRATION | USER_ID;

const IN_WIRE_ORDER: [u16; 14] = [
    CONTENT_TYPE,
    CONTENT_ENCODING,
    HEADERS,
    DELIVERY_MODE,
    PRIORITY,
    CORRELATION_ID,
    REPLY_TO,
    EXPIRATION,
    MESSAGE_ID,
    TIMESTAMP,
    TYPE,
    USER_ID,
    APP_ID,
    CLUSTER_ID,
];

/// What the properties are called, in wire order.
const NAMES: [&str; 14] = [
    "content_type",
    "content_encoding",
    "headers",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
];

/// The value of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property<'a> {
    Text(&'a [u8]),
    Number(u64),
    /// The entries of a table.
    Table(&'a [u8]),
}

/// The property flags and values of a content header, after its body size.
#[derive(Clone, Copy, Debug)]
pub struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    /// # Errors
    /// When flags, lengths or the header table do not fit the bytes exactly.
    pub fn check(raw: &'a [u8]) -> Result<Self, Malformed> {
        let mut rest = raw;
        let flags = take_flags(&mut rest)?;
        // Bits 0 and 1: a continuation word and an unknown property; nobody sends them, RabbitMQ refuses them.
        if flags & 0b11 != 0 {
            return Err(Malformed::UnknownType(flags.to_be_bytes()[1]));
        }
        for flag in set(flags) {
            let value = take_value(&mut rest, flag)?;
            if flag == HEADERS {
                table::check(value)?;
            }
        }
        if rest.is_empty() { Ok(Self(raw)) } else { Err(Malformed::Truncated) }
    }

    /// Bytes that passed [`Properties::check`] before.
    #[must_use]
    pub fn checked(raw: &'a [u8]) -> Self {
        Self(raw)
    }

    fn flags(self) -> u16 {
        let mut rest = self.0;
        take_flags(&mut rest).unwrap_or(0)
    }

    /// Whether a publish has to look at anything beyond the routing key.
    #[must_use]
    pub fn need_a_look(self) -> bool {
        self.flags() & LOOKED_AT != 0
    }

    fn find(self, wanted: u16) -> Option<&'a [u8]> {
        let mut rest = self.0;
        let flags = take_flags(&mut rest).ok()?;
        if flags & wanted == 0 {
            return None;
        }
        for flag in set(flags) {
            let value = take_value(&mut rest, flag).ok()?;
            if flag == wanted {
                return Some(value);
            }
        }
        None
    }

    /// All that are there, by name, in wire order.
    #[must_use]
    pub fn all(self) -> Vec<(&'static str, Property<'a>)> {
        let mut rest = self.0;
        let flags = take_flags(&mut rest).unwrap_or(0);
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let mut all = Vec::new();
        for (flag, name) in IN_WIRE_ORDER.into_iter().zip(NAMES).filter(|(flag, _)| flags & flag != 0) {
            let Ok(value) = take_value(&mut rest, flag) else { break };
            let value = match flag {
                HEADERS => Property::Table(value),
                DELIVERY_MODE | PRIORITY | TIMESTAMP => Property::Number(number(value)),
                _ => Property::Text(value),
            };
            all.push((name, value));
        }
        all
    }

    /// The entries of the header table.
    #[must_use]
    pub fn headers(self) -> Option<&'a [u8]> {
        self.find(HEADERS)
    }

    /// A header's value, by its exact name.
    #[must_use]
    pub fn header(self, name: &str) -> Option<table::Value<'a>> {
        let headers = self.headers()?;
        table::entries(headers).find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
    }

    /// A header as it is on the wire: the type letter and the value.
    #[must_use]
    pub fn raw_header(self, name: &str) -> Option<&'a [u8]> {
        table::raw_value(self.headers()?, name.as_bytes())
    }

    #[must_use]
    pub fn delivery_mode(self) -> Option<u8> {
        self.find(DELIVERY_MODE).and_then(|value| value.first().copied())
    }

    #[must_use]
    pub fn expiration(self) -> Option<&'a [u8]> {
        self.find(EXPIRATION)
    }

    #[must_use]
    pub fn priority(self) -> Option<u8> {
        self.find(PRIORITY).and_then(|value| value.first().copied())
    }

    #[must_use]
    pub fn correlation_id(self) -> Option<&'a [u8]> {
        self.find(CORRELATION_ID)
    }

    #[must_use]
    pub fn message_id(self) -> Option<&'a [u8]> {
        self.find(MESSAGE_ID)
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub fn timestamp(self) -> Option<u64> {
        self.find(TIMESTAMP).and_then(|value| value.try_into().ok()).map(u64::from_be_bytes)
    }

    /// Whether there is an expiration.
    #[must_use]
    pub fn can_expire(self) -> bool {
        self.flags() & EXPIRATION != 0
    }

    #[must_use]
    pub fn reply_to(self) -> Option<&'a [u8]> {
        self.find(REPLY_TO)
    }

    #[must_use]
    pub fn user_id(self) -> Option<&'a [u8]> {
        self.find(USER_ID)
    }

    /// The same properties with the header table replaced; an empty one is left out.
    #[must_use]
    pub fn with_headers(self, headers: &[u8]) -> Vec<u8> {
        self.rewritten(Some(headers).filter(|headers| !headers.is_empty()), 0)
    }

    /// The same; a header table stays even when nothing is left in it.
    #[must_use]
    pub fn with_headers_left(self, headers: &[u8]) -> Vec<u8> {
        self.rewritten(Some(headers), 0)
    }

    /// The same, and without an expiration (behaviour D6).
    #[must_use]
    pub fn with_headers_without_expiration(self, headers: &[u8]) -> Vec<u8> {
        self.rewritten(Some(headers), EXPIRATION)
    }

    fn rewritten(self, headers: Option<&[u8]>, left_out: u16) -> Vec<u8> {
        let mut rest = self.0;
        let flags = take_flags(&mut rest).unwrap_or(0);
        let mut out = Vec::with_capacity(self.0.len() + headers.map_or(0, <[u8]>::len) + 4);
        let new_flags = if headers.is_none() { flags & !HEADERS } else { flags | HEADERS };
        out.extend_from_slice(&(new_flags & !left_out).to_be_bytes());
        for flag in IN_WIRE_ORDER {
            let before = rest;
            if flags & flag != 0 && take_value(&mut rest, flag).is_err() {
                break;
            }
            if flag != HEADERS {
                if left_out & flag == 0 {
                    out.extend_from_slice(&before[..before.len() - rest.len()]);
                }
            } else if let Some(headers) = headers {
                out.extend_from_slice(&u32::try_from(headers.len()).unwrap_or(u32::MAX).to_be_bytes());
                out.extend_from_slice(headers);
            }
        }
        out
    }

    /// The same properties with these, by name, added or in their places; the values are as on the wire. Names that are no
    /// property's count for nothing.
    #[must_use]
    pub fn with(self, values: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut rest = self.0;
        let flags = take_flags(&mut rest).unwrap_or(0);
        let (mut new_flags, mut out) = (0_u16, vec![0, 0]);
        for (flag, name) in IN_WIRE_ORDER.into_iter().zip(NAMES) {
            let before = rest;
            if flags & flag != 0 && take_value(&mut rest, flag).is_err() {
                break;
            }
            let own = &before[..before.len() - rest.len()];
            let given = values.iter().find(|(other, _)| other == name).map(|(_, value)| &value[..]);
            if given.is_some() || flags & flag != 0 {
                new_flags |= flag;
                out.extend_from_slice(given.unwrap_or(own));
            }
        }
        out[..2].copy_from_slice(&new_flags.to_be_bytes());
        out
    }

    /// The same properties with another reply_to.
    #[must_use]
    pub fn with_reply_to(self, reply_to: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() + reply_to.len() + 1);
        let mut rest = self.0;
        let flags = take_flags(&mut rest).unwrap_or(0);
        out.extend_from_slice(&(flags | REPLY_TO).to_be_bytes());
        for flag in IN_WIRE_ORDER {
            let before = rest;
            if flags & flag != 0 && take_value(&mut rest, flag).is_err() {
                break;
            }
            if flag == REPLY_TO {
                out.push(u8::try_from(reply_to.len()).unwrap_or(u8::MAX));
                out.extend_from_slice(reply_to);
            } else {
                out.extend_from_slice(&before[..before.len() - rest.len()]);
            }
        }
        out
    }
}

/// Properties that are nothing but a header table.
#[must_use]
pub fn only_headers(headers: &[u8]) -> Vec<u8> {
    Properties(&[0, 0]).with_headers(headers)
}

/// The properties of an event: headers, persistent, and when it happened, in seconds since the Unix epoch.
#[must_use]
pub fn of_event(headers: &[u8], timestamp: u64) -> Vec<u8> {
    let mut properties = only_headers(headers);
    properties[..2].copy_from_slice(&(HEADERS | DELIVERY_MODE | TIMESTAMP).to_be_bytes());
    properties.push(2);
    properties.extend_from_slice(&timestamp.to_be_bytes());
    properties
}

/// Flags and values of parsed properties.
#[must_use]
pub fn encode(properties: &AMQPProperties) -> Vec<u8> {
    let written = gen_properties(properties)(WriteContext::from(Vec::new()));
    written.expect("a vector takes all that is written").write
}

/// Properties that passed [`Properties::check`], parsed; `None` when one of them is text that is no UTF-8. Keys of the headers
/// are made text.
#[must_use]
pub fn decode(raw: &[u8]) -> Option<AMQPProperties> {
    let properties = Properties::checked(raw);
    let headers = properties.headers().filter(|headers| !table::has_text_keys(headers));
    let with_text = headers.map(|headers| properties.with_headers_left(&table::with_text_keys(headers)));
    let raw = with_text.as_deref().unwrap_or(raw);
    parse_properties(raw).ok().map(|(_, properties)| properties)
}

/// The flags that are set, in wire order: messages have few of them, and each is looked at.
fn set(flags: u16) -> impl Iterator<Item = u16> {
    let mut left = flags & !0b11;
    std::iter::from_fn(move || {
        let flag = CONTENT_TYPE.checked_shr(left.leading_zeros())?;
        left &= !flag;
        Some(flag)
    })
}

fn take_flags(input: &mut &[u8]) -> Result<u16, Malformed> {
    let head = table::take(input, 2)?;
    Ok(u16::from_be_bytes([head[0], head[1]]))
}

fn take_value<'a>(input: &mut &'a [u8], flag: u16) -> Result<&'a [u8], Malformed> {
    match flag {
        DELIVERY_MODE | PRIORITY => table::take(input, 1),
        TIMESTAMP => table::take(input, 8),
        HEADERS => table::long_string(input),
        _ => table::short_string(input),
    }
}
