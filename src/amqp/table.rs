//! Field tables as received bytes: a depth-limited check before anything recursive sees them, and a borrowed reader.

use amq_protocol::frame::WriteContext;
use amq_protocol::types::generation::gen_field_table;
use amq_protocol::types::parsing::parse_field_table;

use super::FieldTable;

/// How deeply tables and arrays may nest. RabbitMQ has no limit of its own; real headers (x-death) need four.
pub const MAX_DEPTH: usize = 64;

/// A field value borrowed from the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Bool(bool),
    /// Every integer type; RabbitMQ compares them by number, whatever their width.
    Int(i64),
    Float(f64),
    Decimal(u8, u32),
    String(&'a [u8]),
    Bytes(&'a [u8]),
    Timestamp(u64),
    /// The entries of a table, without the length in front.
    Table(&'a [u8]),
    /// The values of an array, without the length in front.
    Array(&'a [u8]),
    Void,
}

/// Bytes that are no field table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    Truncated,
    UnknownType(u8),
    TooDeep,
    /// A short string among the arguments of a method.
    TextNotUtf8,
}

/// The entries of a parsed table, with their length in front.
#[must_use]
pub fn encode(table: &FieldTable) -> Vec<u8> {
    let written = gen_field_table(table)(WriteContext::from(Vec::new()));
    written.expect("a vector takes all that is written").write
}

/// What [`encode`] wrote; an empty table from anything else.
#[must_use]
pub fn decode(encoded: &[u8]) -> FieldTable {
    parse_field_table(encoded).map(|(_, table)| table).unwrap_or_default()
}

/// Takes `n` bytes off the front.
pub fn take<'a>(input: &mut &'a [u8], n: usize) -> Result<&'a [u8], Malformed> {
    let (head, rest) = input.split_at_checked(n).ok_or(Malformed::Truncated)?;
    *input = rest;
    Ok(head)
}

fn array<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (head, rest) = input.split_first_chunk::<N>().ok_or(Malformed::Truncated)?;
    *input = rest;
    Ok(*head)
}

/// Takes a short string: one length byte, then the bytes.
pub fn short_string<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let [n] = array::<1>(input)?;
    take(input, usize::from(n))
}

/// Takes a long string, table or array: four length bytes, then the bytes.
pub fn long_string<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let n = u32::from_be_bytes(array(input)?);
    take(input, n as usize)
}

/// Takes one type letter and its value. Nested tables and arrays come back unread.
pub fn value<'a>(input: &mut &'a [u8]) -> Result<Value<'a>, Malformed> {
    let [kind] = array::<1>(input)?;
    Ok(match kind {
        b't' => Value::Bool(array::<1>(input)? != [0]),
        b'b' => Value::Int(i8::from_be_bytes(array(input)?).into()),
        b'B' => Value::Int(u8::from_be_bytes(array(input)?).into()),
        // RabbitMQ reads `s` as a 16-bit integer; `U` is what the specification says.
        b's' | b'U' => Value::Int(i16::from_be_bytes(array(input)?).into()),
        b'u' => Value::Int(u16::from_be_bytes(array(input)?).into()),
        b'I' => Value::Int(i32::from_be_bytes(array(input)?).into()),
        b'i' => Value::Int(u32::from_be_bytes(array(input)?).into()),
        b'l' | b'L' => Value::Int(i64::from_be_bytes(array(input)?)),
        b'f' => Value::Float(f32::from_be_bytes(array(input)?).into()),
        b'd' => Value::Float(f64::from_be_bytes(array(input)?)),
        b'D' => {
            let [scale] = array::<1>(input)?;
            Value::Decimal(scale, u32::from_be_bytes(array(input)?))
        }
        b'S' => Value::String(long_string(input)?),
        b'x' => Value::Bytes(long_string(input)?),
        b'T' => Value::Timestamp(u64::from_be_bytes(array(input)?)),
        b'F' => Value::Table(long_string(input)?),
        b'A' => Value::Array(long_string(input)?),
        b'V' => Value::Void,
        other => return Err(Malformed::UnknownType(other)),
    })
}

/// Checks the entries of a table (without its length) to their last byte.
///
/// # Errors
/// The first thing found wrong.
pub fn check(entries: &[u8]) -> Result<(), Malformed> {
    check_table(entries, 1)
}

fn check_table(mut entries: &[u8], depth: usize) -> Result<(), Malformed> {
    while !entries.is_empty() {
        short_string(&mut entries)?;
        check_value(value(&mut entries)?, depth)?;
    }
    Ok(())
}

fn check_value(value_read: Value<'_>, depth: usize) -> Result<(), Malformed> {
    match value_read {
        Value::Table(_) | Value::Array(_) if depth >= MAX_DEPTH => Err(Malformed::TooDeep),
        Value::Table(nested) => check_table(nested, depth + 1),
        Value::Array(mut values) => {
            while !values.is_empty() {
                check_value(value(&mut values)?, depth + 1)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether all keys of a checked table are text, those of tables in it included.
#[must_use]
pub fn has_text_keys(table: &[u8]) -> bool {
    entries(table).all(|(key, value)| std::str::from_utf8(key).is_ok() && value_has_text_keys(value))
}

fn value_has_text_keys(value: Value<'_>) -> bool {
    match value {
        Value::Table(nested) => has_text_keys(nested),
        Value::Array(nested) => values(nested).all(value_has_text_keys),
        _ => true,
    }
}

/// A checked table with every key turned into text, for `amq-protocol`, which holds no others; RabbitMQ takes any bytes.
#[must_use]
pub fn with_text_keys(mut entries: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() + 16);
    while let Ok(key) = short_string(&mut entries) {
        let text = String::from_utf8_lossy(key);
        let mut end = text.len().min(usize::from(u8::MAX));
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        out.push(u8::try_from(end).unwrap_or(u8::MAX));
        out.extend_from_slice(&text.as_bytes()[..end]);
        let before = entries;
        if value(&mut entries).is_err() {
            break;
        }
        out.extend_from_slice(&value_with_text_keys(&before[..before.len() - entries.len()]));
    }
    out
}

fn value_with_text_keys(raw: &[u8]) -> Vec<u8> {
    let mut rest = raw;
    let nested = match value(&mut rest) {
        Ok(Value::Table(entries)) => with_text_keys(entries),
        Ok(Value::Array(mut values)) => {
            let mut out = Vec::with_capacity(values.len());
            while !values.is_empty() {
                let before = values;
                if value(&mut values).is_err() {
                    break;
                }
                out.extend_from_slice(&value_with_text_keys(&before[..before.len() - values.len()]));
            }
            out
        }
        _ => return raw.to_vec(),
    };
    let mut out = vec![raw[0]];
    out.extend_from_slice(&u32::try_from(nested.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&nested);
    out
}

/// Appends an entry. Integers are written as `l`, floats as `d`, whatever they were read from.
pub fn put(out: &mut Vec<u8>, name: &[u8], value: Value<'_>) {
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(&name[..name.len().min(usize::from(u8::MAX))]);
    put_value(out, value);
}

/// The same for a signed integer of 32 bits.
pub fn put_i32(out: &mut Vec<u8>, name: &[u8], value: i32) {
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(&name[..name.len().min(usize::from(u8::MAX))]);
    out.push(b'I');
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a type letter and a value.
pub fn put_value(out: &mut Vec<u8>, value: Value<'_>) {
    let long = |out: &mut Vec<u8>, letter: u8, bytes: &[u8]| {
        out.push(letter);
        out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(bytes);
    };
    match value {
        Value::Bool(v) => out.extend_from_slice(&[b't', u8::from(v)]),
        Value::Int(v) => {
            out.push(b'l');
            out.extend_from_slice(&v.to_be_bytes());
        }
        Value::Float(v) => {
            out.push(b'd');
            out.extend_from_slice(&v.to_be_bytes());
        }
        Value::Decimal(scale, v) => {
            out.extend_from_slice(&[b'D', scale]);
            out.extend_from_slice(&v.to_be_bytes());
        }
        Value::String(v) => long(out, b'S', v),
        Value::Bytes(v) => long(out, b'x', v),
        Value::Timestamp(v) => {
            out.push(b'T');
            out.extend_from_slice(&v.to_be_bytes());
        }
        Value::Table(v) => long(out, b'F', v),
        Value::Array(v) => long(out, b'A', v),
        Value::Void => out.push(b'V'),
    }
}

/// The entries of a checked table as they are: name, and the whole entry.
pub fn raw_entries(mut input: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let before = input;
        let name = short_string(&mut input).ok()?;
        value(&mut input).ok()?;
        Some((name, &before[..before.len() - input.len()]))
    })
}

/// A checked table with these entries put in, or in the place of those of the same name, and sorted by name as RabbitMQ does
/// whenever it adds a header (behaviour B7).
#[must_use]
pub fn with_entries(headers: &[u8], added: &[(&[u8], Value<'_>)]) -> Vec<u8> {
    let mut written = Vec::with_capacity(64);
    for (name, value) in added {
        put(&mut written, name, *value);
    }
    if headers.is_empty() && added.is_sorted_by_key(|(name, _)| *name) {
        return written;
    }
    let is_added = |name: &[u8]| added.iter().any(|(n, _)| *n == name);
    let mut all: Vec<(&[u8], &[u8])> = raw_entries(headers).filter(|(name, _)| !is_added(name)).collect();
    all.extend(raw_entries(&written));
    all.sort_by_key(|(name, _)| *name);
    let mut out = Vec::with_capacity(headers.len() + written.len());
    for (_, entry) in all {
        out.extend_from_slice(entry);
    }
    out
}

/// A checked table with another value in the place of the one of this name.
#[must_use]
pub fn with_value(headers: &[u8], name: &[u8], value: Value<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(headers.len() + 16);
    for (n, entry) in raw_entries(headers) {
        if n == name {
            put(&mut out, name, value);
        } else {
            out.extend_from_slice(entry);
        }
    }
    out
}

/// A checked table without the entries of this name.
#[must_use]
pub fn without_entry(headers: &[u8], name: &[u8]) -> Vec<u8> {
    raw_entries(headers).filter(|(n, _)| *n != name).flat_map(|(_, entry)| entry).copied().collect()
}

/// The type letter of an entry of a checked table.
#[must_use]
pub fn type_letter(entries: &[u8], name: &[u8]) -> Option<u8> {
    raw_value(entries, name)?.first().copied()
}

/// An entry of a checked table as it is on the wire: the type letter and the value.
#[must_use]
pub fn raw_value<'a>(mut entries: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    loop {
        let key = short_string(&mut entries).ok()?;
        let before = entries;
        value(&mut entries).ok()?;
        if key == name {
            return Some(&before[..before.len() - entries.len()]);
        }
    }
}

/// The entries of a checked table, in the order in which they were sent.
pub fn entries(mut input: &[u8]) -> impl Iterator<Item = (&[u8], Value<'_>)> {
    std::iter::from_fn(move || {
        let key = short_string(&mut input).ok()?;
        Some((key, value(&mut input).ok()?))
    })
}

/// The values of a checked array.
pub fn values(mut input: &[u8]) -> impl Iterator<Item = Value<'_>> {
    std::iter::from_fn(move || value(&mut input).ok())
}
