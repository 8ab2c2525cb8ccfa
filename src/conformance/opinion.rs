//! A second opinion on every frame a broker sends, from a codec that neither it nor the runner shares.

use amq_protocol::frame::parsing::parse_frame;

use crate::transcript::codec::{Argument, Arguments, decode_header, decode_method};
use crate::transcript::value::{Table, Value};

/// Whether amq-protocol reads the frame. It insists on UTF-8 where AMQP does not, so a frame with other bytes in a name is left to
/// the runner's own judgement.
pub(crate) fn amq_protocol_agrees(kind: u8, whole: &[u8], payload: &[u8]) -> bool {
    if matches!(parse_frame(whole), Ok((rest, _)) if rest.is_empty()) {
        return true;
    }
    let arguments = match kind {
        1 => decode_method(payload).map(|(_, arguments)| arguments),
        2 => decode_header(payload).map(|(_, properties)| properties),
        _ => None,
    };
    arguments.is_some_and(|arguments| !has_only_utf8(&arguments))
}

fn has_only_utf8(arguments: &Arguments) -> bool {
    arguments.values().all(|argument| match argument {
        Argument::String(bytes) => std::str::from_utf8(bytes).is_ok(),
        Argument::Table(table) => table_has_only_utf8(table),
        Argument::Number(_) | Argument::Bit(_) => true,
    })
}

fn table_has_only_utf8(table: &Table) -> bool {
    table.iter().all(|(key, value)| std::str::from_utf8(key).is_ok() && value_has_only_utf8(value))
}

fn value_has_only_utf8(value: &Value) -> bool {
    match value {
        Value::Table(table) => table_has_only_utf8(table),
        Value::Array(values) => values.iter().all(value_has_only_utf8),
        _ => true,
    }
}
