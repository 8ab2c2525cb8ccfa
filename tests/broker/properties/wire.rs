//! Strategies for what can be on the wire.

use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::protocol::{AMQPClass, connection};
use amq_protocol::types::{AMQPValue, DecimalValue, FieldArray, FieldTable, ShortString};
use leveret::amqp::{Command, Decoder};
use proptest::prelude::*;

pub(crate) const FRAME_MAX: usize = 131_072;
pub(crate) const MAX_MESSAGE: u64 = 16 * 1024 * 1024;

/// So many cases, or as many as `PROPTEST_CASES` says; failures are printed in full and leave no files behind.
pub(crate) fn cases(usually: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { default } else { ProptestConfig { cases: usually, ..default } }
}

pub(crate) fn frame_bytes(frame: &AMQPFrame) -> Vec<u8> {
    gen_frame(frame)(WriteContext::from(Vec::new())).expect("a vector takes all that is written").write
}

pub(crate) fn method_bytes(channel: u16, class: AMQPClass) -> Vec<u8> {
    frame_bytes(&AMQPFrame::Method(channel, class))
}

/// A frame of any kind around any payload.
pub(crate) fn raw_frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend_from_slice(&channel.to_be_bytes());
    frame.extend_from_slice(&u32::try_from(payload.len()).expect("a short payload").to_be_bytes());
    frame.extend_from_slice(payload);
    frame.push(0xCE);
    frame
}

/// A decoder that has seen connection.open.
pub(crate) fn opened_decoder(frame_max: usize) -> Decoder {
    let mut decoder = Decoder::new(frame_max, frame_max, MAX_MESSAGE);
    let open = connection::AMQPMethod::Open(connection::Open { virtual_host: "/".into() });
    decoder.feed(&method_bytes(0, AMQPClass::Connection(open)), &mut Vec::new());
    decoder
}

pub(crate) fn decode(bytes: &[u8]) -> Vec<Command> {
    let mut commands = Vec::new();
    opened_decoder(FRAME_MAX).feed(bytes, &mut commands);
    commands
}

pub(crate) fn frames(mut bytes: &[u8]) -> Vec<AMQPFrame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (rest, frame) = parse_frame(bytes).expect("whole frames");
        bytes = rest;
        frames.push(frame);
    }
    frames
}

/// A text of at most 255 bytes.
pub(crate) fn short_text() -> impl Strategy<Value = ShortString> {
    prop_oneof![
        4 => "[a-z.]{0,12}".prop_map(String::from),
        1 => "\\PC{0,60}".prop_filter("a short string", |text| text.len() <= 255),
        1 => "[a-z]{255}",
    ]
    .prop_map(ShortString::from)
}

/// Any value that RabbitMQ's types know, nested a few levels.
pub(crate) fn value() -> impl Strategy<Value = AMQPValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u8>().prop_map(AMQPValue::ShortShortUInt),
        any::<i16>().prop_map(AMQPValue::ShortInt),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        (-1000i16..1000).prop_map(|v| AMQPValue::Float(f32::from(v) / 8.0)),
        (-1000i32..1000).prop_map(|v| AMQPValue::Double(f64::from(v) / 8.0)),
        (any::<u8>(), any::<u32>()).prop_map(|(scale, value)| AMQPValue::DecimalValue(DecimalValue { scale, value })),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|v| AMQPValue::LongString(v.into())),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|v| AMQPValue::ByteArray(v.into())),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        Just(AMQPValue::Void),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|v| AMQPValue::FieldArray(FieldArray::from(v))),
            prop::collection::btree_map(short_text(), inner, 0..4).prop_map(|m| AMQPValue::FieldTable(FieldTable::from(m))),
        ]
    })
}

pub(crate) fn table() -> impl Strategy<Value = FieldTable> {
    prop::collection::btree_map(short_text(), value(), 0..5).prop_map(FieldTable::from)
}

/// Every property, each there or not.
pub(crate) fn properties() -> impl Strategy<Value = AMQPProperties> {
    let text = || prop::option::weighted(0.4, short_text());
    let first = (text(), text(), prop::option::weighted(0.4, table()), prop::option::of(any::<u8>()), prop::option::of(any::<u8>()));
    let second = (text(), text(), text(), text(), prop::option::of(any::<u64>()), text(), text(), text(), text());
    (first, second).prop_map(|(first, second)| {
        let (content_type, content_encoding, headers, delivery_mode, priority) = first;
        let (correlation_id, reply_to, expiration, message_id, timestamp, kind, user_id, app_id, cluster_id) = second;
        let mut p = AMQPProperties::default();
        if let Some(v) = content_type {
            p = p.with_content_type(v);
        }
        if let Some(v) = content_encoding {
            p = p.with_content_encoding(v);
        }
        if let Some(v) = headers {
            p = p.with_headers(v);
        }
        if let Some(v) = delivery_mode {
            p = p.with_delivery_mode(v);
        }
        if let Some(v) = priority {
            p = p.with_priority(v);
        }
        if let Some(v) = correlation_id {
            p = p.with_correlation_id(v);
        }
        if let Some(v) = reply_to {
            p = p.with_reply_to(v);
        }
        if let Some(v) = expiration {
            p = p.with_expiration(v);
        }
        if let Some(v) = message_id {
            p = p.with_message_id(v);
        }
        if let Some(v) = timestamp {
            p = p.with_timestamp(v);
        }
        if let Some(v) = kind {
            p = p.with_type(v);
        }
        if let Some(v) = user_id {
            p = p.with_user_id(v);
        }
        if let Some(v) = app_id {
            p = p.with_app_id(v);
        }
        if let Some(v) = cluster_id {
            p = p.with_cluster_id(v);
        }
        p
    })
}

/// The flags and values of properties, as a content header carries them.
pub(crate) fn raw_properties(properties: &AMQPProperties) -> Vec<u8> {
    use amq_protocol::protocol::basic::gen_properties;
    gen_properties(properties)(WriteContext::from(Vec::new())).expect("a vector takes all that is written").write
}
