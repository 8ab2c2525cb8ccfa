//! Field tables and content properties as received bytes, against `amq-protocol`'s parsers.

use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::basic::{AMQPProperties, parse_properties};
use amq_protocol::types::generation::gen_field_table;
use amq_protocol::types::parsing::parse_field_table;
use amq_protocol::types::{FieldTable, ShortString};
use leveret::amqp::properties::Properties;
use leveret::amqp::table::{self, MAX_DEPTH, Malformed};
use nom::Parser;
use nom::combinator::all_consuming;
use proptest::prelude::*;

use super::wire::{cases, properties, raw_properties, short_text, table as any_table};

/// The entries of a table, without its length.
fn entries(table: &FieldTable) -> Vec<u8> {
    let bytes = gen_field_table(table)(WriteContext::from(Vec::new())).expect("a vector takes all that is written").write;
    bytes[4..].to_vec()
}

fn with_length(entries: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(entries.len()).expect("a short table").to_be_bytes().to_vec();
    bytes.extend_from_slice(entries);
    bytes
}

/// What `amq-protocol` makes of the entries of a table.
fn parsed(entries: &[u8]) -> Option<FieldTable> {
    let framed = with_length(entries);
    all_consuming(parse_field_table).parse(framed.as_slice()).ok().map(|(_, table)| table)
}

/// A byte changed, or the end cut off.
fn damage(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, u8)], cut: Option<prop::sample::Index>) -> Vec<u8> {
    for (at, byte) in changes {
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len() + 1));
    }
    bytes
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    let letters = prop::sample::select(b"tbBsUuIilLfdDSxTFAV\0\x01\xff".to_vec());
    prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), letters]), 0..4)
}

/// Tables in tables, or arrays, as `arrays` says of every level.
fn nested(arrays: &[bool]) -> Vec<u8> {
    let mut value = vec![b'V'];
    let entry = |value: &[u8]| [&[1, b'k'], value].concat();
    for array in arrays {
        let inner = if *array { value } else { entry(&value) };
        value = vec![if *array { b'A' } else { b'F' }];
        value.extend_from_slice(&with_length(&inner));
    }
    entry(&value)
}

proptest! {
    #![proptest_config(cases(256))]

    /// The same tables are accepted, but for keys that are no text, which `amq-protocol` gets as text.
    #[test]
    fn the_same_tables_are_accepted(table in any_table(), changes in changes(), cut in prop::option::weighted(0.3, any::<prop::sample::Index>())) {
        let bytes = damage(entries(&table), &changes, cut);
        let theirs = parsed(&bytes);
        let ours = table::check(&bytes);
        if ours.is_err() {
            prop_assert!(theirs.is_none(), "{:?}: {:?}", ours, bytes);
            return Ok(());
        }
        prop_assert_eq!(table::has_text_keys(&bytes), theirs.is_some(), "{:?}", bytes);
        let as_text = table::with_text_keys(&bytes);
        prop_assert!(parsed(&as_text).is_some(), "{:?} from {:?}", as_text, bytes);
        if theirs.is_some() {
            prop_assert_eq!(as_text, bytes);
        }
    }

    /// A key of any bytes is accepted, and becomes a text that begins alike.
    #[test]
    fn keys_of_any_bytes_become_text(key in prop::collection::vec(any::<u8>(), 0..255)) {
        let mut bytes = vec![u8::try_from(key.len()).expect("a short key")];
        bytes.extend_from_slice(&key);
        bytes.push(b'V');
        prop_assert_eq!(table::check(&bytes), Ok(()));
        prop_assert_eq!(table::has_text_keys(&bytes), std::str::from_utf8(&key).is_ok());
        let table = parsed(&table::with_text_keys(&bytes)).expect("a table with text for a key");
        let lossy = String::from_utf8_lossy(&key);
        let became = table.inner().keys().next().expect("the key").to_string();
        prop_assert!(lossy.starts_with(&became) && (became.len() == lossy.len() || became.len() > 251), "{:?} from {:?}", became, key);
    }

    #[test]
    fn nesting_has_a_limit(arrays in prop::collection::vec(any::<bool>(), 40..90)) {
        // The table itself is the first level.
        let expected = if arrays.len() < MAX_DEPTH { Ok(()) } else { Err(Malformed::TooDeep) };
        prop_assert_eq!(table::check(&nested(&arrays)), expected, "{} levels below", arrays.len());
    }

    /// The borrowed reader finds every entry that was written, in order, with its type letter.
    #[test]
    fn entries_are_all_found(table in any_table()) {
        let bytes = entries(&table);
        let found: Vec<String> = table::entries(&bytes).map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect();
        let written: Vec<String> = table.inner().keys().map(ToString::to_string).collect();
        prop_assert_eq!(found, written);
        for (key, value) in &table {
            let letter = table::type_letter(&bytes, key.as_str().as_bytes()).map(char::from);
            prop_assert_eq!(letter, Some(value.get_type().get_id()), "{}", key);
        }
    }

    /// The same properties are accepted, but for texts that are no UTF-8, and the two bits that mean nothing.
    #[test]
    fn the_same_properties_are_accepted(
        sent in properties(),
        changes in changes(),
        cut in prop::option::weighted(0.3, any::<prop::sample::Index>()),
    ) {
        let bytes = damage(raw_properties(&sent), &changes, cut);
        let theirs = all_consuming(parse_properties).parse(bytes.as_slice()).is_ok();
        let reserved = bytes.get(1).is_some_and(|low| low & 0b11 != 0);
        let ours = Properties::check(&bytes);
        if reserved {
            prop_assert!(ours.is_err());
        } else if theirs {
            prop_assert!(ours.is_ok(), "{:?}: {:?}", ours, bytes);
        } else if ours.is_ok() {
            prop_assert!(std::str::from_utf8(&bytes).is_err(), "{:?}", bytes);
        }
    }

    /// Other headers, and all else as it was.
    #[test]
    fn headers_can_be_replaced(sent in properties(), table in any_table()) {
        let raw = raw_properties(&sent);
        let changed = Properties::checked(&raw).with_headers(&entries(&table));
        let expected = without_headers(&sent);
        let expected = if table.inner().is_empty() { expected } else { expected.with_headers(table) };
        let (_, read) = all_consuming(parse_properties).parse(changed.as_slice()).expect("properties");
        prop_assert_eq!(read, expected);
    }

    /// Another reply_to, and all else as it was.
    #[test]
    fn reply_to_can_be_replaced(sent in properties(), reply_to in short_text()) {
        let raw = raw_properties(&sent);
        let changed = Properties::checked(&raw).with_reply_to(reply_to.as_str().as_bytes());
        let (_, read) = all_consuming(parse_properties).parse(changed.as_slice()).expect("properties");
        prop_assert_eq!(read, sent.with_reply_to(reply_to));
    }

    /// A header is found by its exact name.
    #[test]
    fn headers_are_found_by_name(sent in properties(), other in short_text()) {
        let raw = raw_properties(&sent);
        let properties = Properties::check(&raw).expect("valid properties");
        let names: Vec<ShortString> = sent.headers().iter().flat_map(|t| t.inner().keys().cloned()).collect();
        for name in &names {
            prop_assert!(properties.header(name.as_str()).is_some());
        }
        prop_assert_eq!(properties.header(other.as_str()).is_some(), names.contains(&other));
    }
}

/// `amq-protocol` has no way to take a property away: the bytes without the table, and without its flag.
fn without_headers(sent: &AMQPProperties) -> AMQPProperties {
    let Some(headers) = sent.headers() else { return sent.clone() };
    let raw = raw_properties(sent);
    let table = with_length(&entries(headers));
    let before =
        2 + [sent.content_type(), sent.content_encoding()].into_iter().flatten().map(|text| 1 + text.as_str().len()).sum::<usize>();
    let mut bytes = raw[..before].to_vec();
    bytes[0] &= !0b0010_0000;
    bytes.extend_from_slice(&raw[before + table.len()..]);
    let (_, properties) = all_consuming(parse_properties).parse(bytes.as_slice()).expect("properties");
    properties
}
