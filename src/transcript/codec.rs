//! Methods, content headers and frames: from transcript text to bytes, and from bytes to canonical text.

use super::schema::{Field, Kind, Method, PROPERTIES};
use super::text::{Text, quote, word};
use super::value::{Reader, Table, Value, decode_table, encode_long, encode_short, encode_table, parse_table, print_table};

/// The value of one method argument or property.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Argument {
    Number(u64),
    Bit(bool),
    String(Vec<u8>),
    Table(Table),
}

impl Argument {
    fn zero(kind: Kind) -> Argument {
        match kind {
            Kind::Bit => Argument::Bit(false),
            Kind::Table => Argument::Table(Table::new()),
            Kind::ShortString | Kind::LongString => Argument::String(Vec::new()),
            _ => Argument::Number(0),
        }
    }

    fn parse(kind: Kind, text: &mut Text) -> Result<Argument, String> {
        Ok(match kind {
            Kind::Table => Argument::Table(parse_table(text)?),
            Kind::ShortString | Kind::LongString => Argument::String(text.string()?),
            Kind::Bit => match text.bare().as_str() {
                "true" => Argument::Bit(true),
                "false" => Argument::Bit(false),
                other => return Err(format!("not a bit: '{other}'")),
            },
            _ => {
                let number = text.bare();
                Argument::Number(number.parse().map_err(|_| format!("not a number: '{number}'"))?)
            }
        })
    }

    fn print(&self) -> String {
        match self {
            Argument::Number(number) => number.to_string(),
            Argument::Bit(bit) => bit.to_string(),
            Argument::String(bytes) => word(bytes),
            Argument::Table(table) => print_table(table),
        }
    }
}

/// Named arguments, in the order they were written or received.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Arguments(Vec<(String, Argument)>);

impl Arguments {
    pub(crate) fn get(&self, name: &str) -> Option<&Argument> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Argument> {
        self.0.iter().map(|(_, value)| value)
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        match self.get(name) {
            Some(Argument::Number(number)) => *number,
            _ => 0,
        }
    }

    pub(crate) fn bit(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Argument::Bit(true)))
    }

    pub(crate) fn string(&self, name: &str) -> &[u8] {
        match self.get(name) {
            Some(Argument::String(bytes)) => bytes,
            _ => b"",
        }
    }

    pub(crate) fn table(&self, name: &str) -> Table {
        match self.get(name) {
            Some(Argument::Table(table)) => table.clone(),
            _ => Table::new(),
        }
    }

    /// Of connection.start's server properties, keeps those that any version and any machine has.
    pub(crate) fn retain_stable_properties(&mut self) {
        for (_, argument) in &mut self.0 {
            if let Argument::Table(table) = argument {
                table.retain(|(key, _)| key == b"product" || key == b"capabilities");
                table.sort_by(|left, right| right.0.cmp(&left.0));
                for (_, value) in table {
                    if let Value::Table(capabilities) = value {
                        capabilities.sort_by(|left, right| left.0.cmp(&right.0));
                    }
                }
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Argument)> {
        self.0.iter().map(|(name, argument)| (name.as_str(), argument))
    }

    pub(crate) fn extend(&mut self, more: Arguments) {
        self.0.extend(more.0);
    }

    /// In the place of one of the same name, if there is one.
    pub(crate) fn replace(&mut self, name: &str, value: Argument) {
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, argument)) => *argument = value,
            None => self.set(name, value),
        }
    }

    pub(crate) fn change_strings(&mut self, change: impl Fn(&mut Vec<u8>)) {
        for (_, argument) in &mut self.0 {
            if let Argument::String(string) = argument {
                change(string);
            }
        }
    }

    /// Of the header x-death, the times.
    pub(crate) fn forget_times_of_deaths(&mut self) {
        let tables = self.0.iter_mut().filter_map(|(_, argument)| if let Argument::Table(table) = argument { Some(table) } else { None });
        for (key, value) in tables.flatten() {
            if let (b"x-death", Value::Array(deaths)) = (key.as_slice(), value) {
                let deaths = deaths.iter_mut().filter_map(|death| if let Value::Table(death) = death { Some(death) } else { None });
                deaths.flatten().filter(|(key, _)| key == b"time").for_each(|(_, value)| *value = Value::Void);
            }
        }
    }

    fn set(&mut self, name: &str, value: Argument) {
        self.0.push((name.to_owned(), value));
    }

    /// Reads `name=value …` up to the end of the line; `kind_of` says how each value is written.
    pub(crate) fn parse(text: &mut Text, kind_of: impl Fn(&str) -> Option<Kind>) -> Result<Arguments, String> {
        let mut arguments = Arguments::default();
        while !text.is_done() {
            let name = text.bare();
            text.expect(b'=')?;
            let kind = kind_of(&name).ok_or_else(|| format!("no argument '{name}'"))?;
            arguments.set(&name, Argument::parse(kind, text)?);
        }
        Ok(arguments)
    }
}

/// The kind of the argument a line of this method may name: its fields and, with content, the properties and the body.
pub(crate) fn kind_of(method: &Method, name: &str) -> Option<Kind> {
    if let Some(field) = method.fields().find(|field| field.name == name) {
        return Some(field.kind);
    }
    if !method.has_content() {
        return None;
    }
    if name == "body" {
        return Some(Kind::LongString);
    }
    property_kind(name)
}

pub(crate) fn property_kind(name: &str) -> Option<Kind> {
    PROPERTIES.iter().find(|(key, _)| *key == name).map(|(_, kind)| *kind)
}

fn encode_argument(kind: Kind, argument: &Argument, out: &mut Vec<u8>) {
    match (kind, argument) {
        (Kind::ShortString, Argument::String(bytes)) => {
            encode_short(bytes, out);
        }
        (_, Argument::String(bytes)) => encode_long(bytes, out),
        (_, Argument::Table(table)) => encode_table(table, out),
        (_, Argument::Bit(bit)) => out.push(u8::from(*bit)),
        (kind, Argument::Number(number)) => {
            let width = width(kind);
            out.extend(&number.to_be_bytes()[8 - width..]);
        }
    }
}

fn decode_argument(kind: Kind, input: &mut Reader) -> Option<Argument> {
    Some(match kind {
        Kind::ShortString => Argument::String(input.short()?.to_vec()),
        Kind::LongString => Argument::String(input.long()?.to_vec()),
        Kind::Table => Argument::Table(decode_table(input)?),
        kind => Argument::Number(input.number(width(kind))?),
    })
}

fn width(kind: Kind) -> usize {
    match kind {
        Kind::Short => 2,
        Kind::Long => 4,
        Kind::LongLong => 8,
        _ => 1,
    }
}

/// The payload of a method frame.
pub(crate) fn encode_method(method: &Method, arguments: &Arguments) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(method.class_id.to_be_bytes());
    out.extend(method.method_id.to_be_bytes());
    let mut bits = None;
    for field in method.fields() {
        let zero = Argument::zero(field.kind);
        let argument = arguments.get(field.name).unwrap_or(&zero);
        if let Argument::Bit(bit) = argument {
            let (byte, shift) = bits.unwrap_or((0, 0));
            bits = Some((byte | u8::from(*bit) << shift, shift + 1));
            continue;
        }
        out.extend(bits.take().map(|(byte, _)| byte));
        encode_argument(field.kind, argument, &mut out);
    }
    out.extend(bits.map(|(byte, _)| byte));
    out
}

/// The method and arguments of a method frame's payload; nothing may be left over.
pub(crate) fn decode_method(payload: &[u8]) -> Option<(&'static Method, Arguments)> {
    let mut input = Reader(payload);
    let class_id = u16::try_from(input.number(2)?).ok()?;
    let method_id = u16::try_from(input.number(2)?).ok()?;
    let method = Method::by_id(class_id, method_id)?;
    let mut arguments = Arguments::default();
    let mut bits = None;
    for field in method.fields() {
        let argument = if field.kind == Kind::Bit {
            let (byte, shift) = match bits {
                Some(bits) => bits,
                None => (input.number(1)?, 0),
            };
            bits = Some((byte, shift + 1));
            Argument::Bit(byte >> shift & 1 == 1)
        } else {
            bits = None;
            decode_argument(field.kind, &mut input)?
        };
        arguments.set(field.name, argument);
    }
    input.0.is_empty().then_some((method, arguments))
}

/// The payload of a content header frame.
pub(crate) fn encode_header(class_id: u16, body_size: u64, properties: &Arguments) -> Vec<u8> {
    let mut flags = 0u16;
    let mut fields = Vec::new();
    for (index, (name, kind)) in PROPERTIES.iter().enumerate() {
        if let Some(argument) = properties.get(name) {
            flags |= 1 << (15 - index);
            encode_argument(*kind, argument, &mut fields);
        }
    }
    let mut out = Vec::new();
    out.extend(class_id.to_be_bytes());
    out.extend([0, 0]);
    out.extend(body_size.to_be_bytes());
    out.extend(flags.to_be_bytes());
    out.extend(fields);
    out
}

/// The body size and the properties of a content header frame's payload.
pub(crate) fn decode_header(payload: &[u8]) -> Option<(u64, Arguments)> {
    let mut input = Reader(payload);
    input.take(4)?;
    let body_size = input.number(8)?;
    let flags = input.number(2)?;
    let mut properties = Arguments::default();
    for (index, (name, kind)) in PROPERTIES.iter().enumerate() {
        if flags >> (15 - index) & 1 == 1 {
            properties.set(name, decode_argument(*kind, &mut input)?);
        }
    }
    input.0.is_empty().then_some((body_size, properties))
}

/// A method as a transcript shows it: zero arguments are left out, reserved ones always.
pub(crate) fn print_method(method: &Method, arguments: &Arguments) -> String {
    let mut line = method.name.to_owned();
    for Field { name, kind, reserved, telling } in method.fields() {
        let zero = Argument::zero(kind);
        let argument = arguments.get(name).unwrap_or(&zero);
        if !reserved && (telling || *argument != zero) {
            line.push_str(&format!(" {name}={}", argument.print()));
        }
    }
    line
}

/// What follows a method with content: each property present, even if empty, and the body.
pub(crate) fn print_content(properties: &Arguments, body: &[u8]) -> String {
    format!("{} body={}", print_properties(properties), quote(body))
}

/// Each with a space before it.
pub(crate) fn print_properties(properties: &Arguments) -> String {
    let mut line = String::new();
    for (name, argument) in &properties.0 {
        line.push_str(&format!(" {name}={}", argument.print()));
    }
    line
}

/// A frame with its envelope.
pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(channel.to_be_bytes());
    encode_long(payload, &mut out);
    out.push(0xce);
    out
}
