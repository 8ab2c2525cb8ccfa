//! Field values: what a transcript writes for them, and their bytes. Tables keep their order and integers their exact type,
//! because a broker must hand both on untouched.

use super::text::Text;

/// A field value, with the type letters RabbitMQ uses.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Void,
    /// An integer: its type letter (`b B s u I i l T`) and its value.
    Int(u8, i128),
    Float(f32),
    Double(f64),
    Decimal(u8, u32),
    Str(Vec<u8>),
    Bytes(Vec<u8>),
    Array(Vec<Value>),
    Table(Table),
}

/// The fields of a table, in order.
pub(crate) type Table = Vec<(Vec<u8>, Value)>;

/// The number of bytes of an integer of this type letter.
fn width(letter: u8) -> Option<usize> {
    match letter {
        b'b' | b'B' => Some(1),
        b's' | b'u' => Some(2),
        b'I' | b'i' => Some(4),
        b'l' | b'T' => Some(8),
        _ => None,
    }
}

fn is_signed(letter: u8) -> bool {
    matches!(letter, b'b' | b's' | b'I' | b'l')
}

impl Value {
    /// Reads a value: `true`, `null`, `5` (signed, 32 bits), `5:l` (any type letter), `1.5`, `1.5:f`, `15:D1`, `"text"`, `x"0aff"`,
    /// `[1, 2]`, `{"key": 1}`.
    pub(crate) fn parse(text: &mut Text) -> Result<Value, String> {
        text.skip_spaces();
        match text.peek() {
            Some(b'"') => Ok(Value::Str(text.quoted()?)),
            Some(b'{') => Ok(Value::Table(parse_table(text)?)),
            Some(b'[') => parse_array(text),
            Some(b'x') if text.rest().starts_with(b"x\"") => {
                text.advance(1);
                Ok(Value::Bytes(super::text::unhex(&text.quoted()?)?))
            }
            _ => {
                let word = text.bare();
                parse_word(&word).ok_or_else(|| format!("not a value: '{word}'"))
            }
        }
    }

    pub(crate) fn print(&self) -> String {
        match self {
            Value::Bool(value) => value.to_string(),
            Value::Void => "null".to_owned(),
            Value::Int(b'I', value) => value.to_string(),
            Value::Int(letter, value) => format!("{value}:{}", char::from(*letter)),
            Value::Float(value) => format!("{value:?}:f"),
            Value::Double(value) => format!("{value:?}"),
            Value::Decimal(scale, value) => format!("{value}:D{scale}"),
            Value::Str(bytes) => super::text::quote(bytes),
            Value::Bytes(bytes) => format!("x\"{}\"", super::text::hex(bytes)),
            Value::Array(values) => {
                let values: Vec<_> = values.iter().map(Value::print).collect();
                format!("[{}]", values.join(", "))
            }
            Value::Table(table) => print_table(table),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Value::Bool(value) => out.extend([b't', u8::from(*value)]),
            Value::Void => out.push(b'V'),
            Value::Int(letter, value) => {
                let bytes = value.to_be_bytes();
                out.push(*letter);
                out.extend(&bytes[bytes.len() - width(*letter).unwrap_or(4)..]);
            }
            Value::Float(value) => {
                out.push(b'f');
                out.extend(value.to_be_bytes());
            }
            Value::Double(value) => {
                out.push(b'd');
                out.extend(value.to_be_bytes());
            }
            Value::Decimal(scale, value) => {
                out.extend([b'D', *scale]);
                out.extend(value.to_be_bytes());
            }
            Value::Str(bytes) => {
                out.push(b'S');
                encode_long(bytes, out);
            }
            Value::Bytes(bytes) => {
                out.push(b'x');
                encode_long(bytes, out);
            }
            Value::Array(values) => {
                let mut inner = Vec::new();
                values.iter().for_each(|value| value.encode(&mut inner));
                out.push(b'A');
                encode_long(&inner, out);
            }
            Value::Table(table) => {
                out.push(b'F');
                encode_table(table, out);
            }
        }
    }

    pub(crate) fn decode(input: &mut Reader) -> Option<Value> {
        let letter = input.take(1)?[0];
        if let Some(width) = width(letter) {
            let bytes = input.take(width)?;
            let negative = is_signed(letter) && bytes[0] >= 0x80;
            let start = if negative { -1 } else { 0 };
            let value = bytes.iter().fold(start, |value: i128, byte| value << 8 | i128::from(*byte));
            return Some(Value::Int(letter, value));
        }
        Some(match letter {
            b't' => Value::Bool(input.take(1)?[0] != 0),
            b'V' => Value::Void,
            b'f' => Value::Float(f32::from_be_bytes(input.take(4)?.try_into().ok()?)),
            b'd' => Value::Double(f64::from_be_bytes(input.take(8)?.try_into().ok()?)),
            b'D' => {
                let scale = input.take(1)?[0];
                Value::Decimal(scale, u32::from_be_bytes(input.take(4)?.try_into().ok()?))
            }
            b'S' => Value::Str(input.long()?.to_vec()),
            b'x' => Value::Bytes(input.long()?.to_vec()),
            b'A' => {
                let mut inner = Reader(input.long()?);
                let mut values = Vec::new();
                while !inner.0.is_empty() {
                    values.push(Value::decode(&mut inner)?);
                }
                Value::Array(values)
            }
            b'F' => Value::Table(decode_table(input)?),
            _ => return None,
        })
    }
}

fn parse_word(word: &str) -> Option<Value> {
    match word {
        "true" => return Some(Value::Bool(true)),
        "false" => return Some(Value::Bool(false)),
        "null" => return Some(Value::Void),
        _ => {}
    }
    let (number, letter) = word.split_once(':').unwrap_or((word, ""));
    if let Some(scale) = letter.strip_prefix('D') {
        return Some(Value::Decimal(scale.parse().ok()?, number.parse().ok()?));
    }
    match letter.as_bytes() {
        [] if number.contains('.') => number.parse().ok().map(Value::Double),
        [] => number.parse().ok().map(|value| Value::Int(b'I', value)),
        [b'f'] => number.parse().ok().map(Value::Float),
        [letter] if width(*letter).is_some() => number.parse().ok().map(|value| Value::Int(*letter, value)),
        _ => None,
    }
}

fn parse_array(text: &mut Text) -> Result<Value, String> {
    let mut values = Vec::new();
    text.expect(b'[')?;
    while !text.accept(b']') {
        values.push(Value::parse(text)?);
        text.accept(b',');
    }
    Ok(Value::Array(values))
}

pub(crate) fn parse_table(text: &mut Text) -> Result<Table, String> {
    let mut table = Table::new();
    text.expect(b'{')?;
    while !text.accept(b'}') {
        let key = text.quoted()?;
        text.expect(b':')?;
        table.push((key, Value::parse(text)?));
        text.accept(b',');
    }
    Ok(table)
}

pub(crate) fn print_table(table: &Table) -> String {
    let fields: Vec<_> = table.iter().map(|(key, value)| format!("{}: {}", super::text::quote(key), value.print())).collect();
    format!("{{{}}}", fields.join(", "))
}

pub(crate) fn encode_short(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(u8::try_from(bytes.len()).expect("at most 255 bytes"));
    out.extend(bytes);
}

pub(crate) fn encode_long(bytes: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(bytes.len()).expect("less than 4 GiB");
    out.extend(length.to_be_bytes());
    out.extend(bytes);
}

pub(crate) fn encode_table(table: &Table, out: &mut Vec<u8>) {
    let mut inner = Vec::new();
    for (key, value) in table {
        encode_short(key, &mut inner);
        value.encode(&mut inner);
    }
    encode_long(&inner, out);
}

pub(crate) fn decode_table(input: &mut Reader) -> Option<Table> {
    let mut inner = Reader(input.long()?);
    let mut table = Table::new();
    while !inner.0.is_empty() {
        let key = inner.short()?.to_vec();
        table.push((key, Value::decode(&mut inner)?));
    }
    Some(table)
}

/// The bytes not yet read.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn number(&mut self, width: usize) -> Option<u64> {
        let bytes = self.take(width)?;
        Some(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    pub(crate) fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.number(1)?;
        self.take(usize::try_from(length).ok()?)
    }

    pub(crate) fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.number(4)?;
        self.take(usize::try_from(length).ok()?)
    }
}
