//! Ready messages with priorities, and streams, against models that are plain lists.

use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::types::AMQPValue;
use leveret::amqp::Message;
use leveret::broker::Timestamp;
use leveret::broker::queue::effective::Effective;
use leveret::broker::queue::stream::{Filter, Read, Reader, Start, Stream};
use leveret::broker::queue::{Entry, Ready};
use proptest::prelude::*;

use super::bench::{Bench, got, table_of};
use super::wire::{cases, raw_properties};

fn message(number: u64, size: usize, filter: Option<&str>) -> Message {
    let mut properties = AMQPProperties::default();
    if let Some(value) = filter {
        let value = AMQPValue::LongString(value.into());
        properties = properties.with_headers(table_of(&[("x-stream-filter-value", value)]));
    }
    let mut body = number.to_be_bytes().to_vec();
    body.resize(size.max(8), 0);
    Message::new(b"", b"q", &raw_properties(&properties), &body)
}

fn number_of(message: &Message) -> u64 {
    u64::from_be_bytes(*message.small_body().first_chunk().expect("a number first"))
}

/// A ready message: higher keys come later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// 255 less the priority.
    level: u8,
    /// Before 0: what came back to a quorum queue.
    place: i64,
    number: u64,
    size: usize,
    expires: bool,
}

fn places(ready: &Ready) -> Vec<u64> {
    ready.iter().map(|entry| number_of(&entry.message)).collect()
}

proptest! {
    #![proptest_config(cases(128))]

    /// Any sequence of arrivals, deliveries and returns.
    #[test]
    fn ready_messages_follow_the_model(
        max_priority in prop::sample::select(vec![0u8, 1, 2, 9, 31, 63, 64, 65, 128, 255]),
        quorum in any::<bool>(),
        steps in prop::collection::vec((0..10u8, any::<u8>(), 8..30usize, any::<bool>()), 0..60),
    ) {
        let mut ready = Ready::new(max_priority, quorum);
        let mut model: Vec<Place> = Vec::new();
        let mut held: Vec<(Entry, Place)> = Vec::new();
        let (mut number, mut returned) = (0, i64::MIN);
        for (what, choice, size, expires) in steps {
            match what {
                0..=4 => {
                    number += 1;
                    let priority = choice.min(max_priority);
                    let mut entry = ready.entry(message(number, size, None));
                    entry.priority = priority;
                    if expires {
                        entry.expires = Timestamp(5);
                    }
                    ready.push(entry);
                    let place = i64::try_from(number).expect("a small number");
                    model.push(Place { level: 255 - priority, place, number, size, expires });
                }
                5..=7 => {
                    let entry = ready.pop();
                    let expected = (!model.is_empty()).then(|| model.remove(0));
                    prop_assert_eq!(entry.as_ref().map(|entry| number_of(&entry.message)), expected.as_ref().map(|place| place.number));
                    held.extend(entry.zip(expected));
                }
                _ if held.is_empty() => {}
                8 => {
                    let (entry, mut place) = held.swap_remove(usize::from(choice) % held.len());
                    ready.requeue(entry);
                    if quorum {
                        returned += 1;
                        place.place = returned;
                    }
                    model.push(place);
                }
                _ => {
                    let (entry, mut place) = held.swap_remove(usize::from(choice) % held.len());
                    let entry = ready.at_tail(entry);
                    ready.push(entry);
                    // As if it were new.
                    number += 1;
                    place.place = i64::try_from(number).expect("a small number");
                    model.push(place);
                }
            }
            model.sort();
            prop_assert_eq!(places(&ready), model.iter().map(|place| place.number).collect::<Vec<_>>());
            prop_assert_eq!(ready.peek().map(|entry| number_of(&entry.message)), model.first().map(|place| place.number));
            prop_assert_eq!((ready.len(), ready.is_empty()), (model.len(), model.is_empty()));
            prop_assert_eq!(ready.bytes(), model.iter().map(|place| place.size as u64).sum::<u64>());
            prop_assert_eq!(ready.has_expiring(), model.iter().any(|place| place.expires));
        }
    }
}

/// A message of a stream.
#[derive(Clone, Debug)]
struct Stored {
    offset: u64,
    at: u64,
    size: u64,
    filter: Option<&'static str>,
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        Just(Start::First),
        Just(Start::Last),
        Just(Start::Next),
        (0..80u64).prop_map(Start::Offset),
        Just(Start::Offset(u64::MAX)),
        (0..4_000u64).prop_map(|time| Start::Time(Timestamp(time))),
        Just(Start::Time(Timestamp(u64::MAX))),
    ]
}

/// The offset of the first message that a reader gets.
fn seek(kept: &[Stored], next: u64, start: Start) -> u64 {
    let first = kept.first().map_or(next, |stored| stored.offset);
    match start {
        Start::First => first,
        Start::Last => kept.last().map_or(next, |stored| stored.offset),
        Start::Next => next,
        Start::Offset(offset) => offset.max(first),
        Start::Time(Timestamp(time)) => kept.iter().find(|stored| stored.at >= time).map_or(next, |stored| stored.offset),
    }
}

const FILTERS: [Option<&str>; 3] = [None, Some("a"), Some("b")];

proptest! {
    #![proptest_config(cases(128))]

    /// Appending, retention, and readers at any place with any filter.
    #[test]
    fn streams_follow_the_model(
        max_length_bytes in prop::option::of(0..600u64),
        max_age in prop::option::of(16..2_000u64),
        segment_size in prop::option::of(0..200u64),
        steps in prop::collection::vec((0..80u64, 8..60usize, 0..3usize, any::<bool>()), 1..60),
        readers in prop::collection::vec((start(), prop::option::of((prop::sample::subsequence(vec!["a", "b", "c"], 0..3), any::<bool>()))), 1..8),
    ) {
        let effective = Effective { max_length_bytes, max_age, segment_size, ..Effective::default() };
        let mut stream = Stream::default();
        let mut kept: Vec<Stored> = Vec::new();
        let (mut now, mut next) = (0, 0);
        for (passes, size, filter, retires) in steps {
            now += passes;
            stream.append(message(next, size, FILTERS[filter]), Timestamp(now), &effective);
            kept.push(Stored { offset: next, at: now, size: size as u64, filter: FILTERS[filter] });
            next += 1;
            let retire = |stream: &mut Stream| if retires { stream.retire(Timestamp(now), &effective) } else { None };
            let mut bytes: u64 = kept.iter().map(|stored| stored.size).sum();
            while let Some(dropped) = retire(&mut stream) {
                let dropped: Vec<u64> = dropped.messages.iter().map(number_of).collect();
                prop_assert!(!dropped.is_empty());
                let gone: Vec<Stored> = kept.drain(..dropped.len()).collect();
                prop_assert_eq!(dropped, gone.iter().map(|stored| stored.offset).collect::<Vec<_>>());
                // For a reason.
                let too_old = max_age.is_some_and(|age| gone.iter().all(|stored| stored.at + age <= now));
                let too_long = !kept.is_empty() && max_length_bytes.is_some_and(|max| bytes > max);
                prop_assert!(too_old || too_long, "{:?} of {} bytes at {}", gone, bytes, now);
                bytes -= gone.iter().map(|stored| stored.size).sum::<u64>();
            }
            if retires {
                // Nothing stays long for the sake of its neighbours: a segment spans at most a sixteenth of the age.
                let age = |stored: &Stored| max_age.is_some_and(|age| stored.at + age + age / 16 < now);
                prop_assert!(!kept.first().is_some_and(age), "{:?} is too old at {}", kept.first(), now);
                let due = stream.retires_at(&effective);
                prop_assert!(due.is_none_or(|due| due > Timestamp(now)));
                prop_assert_eq!(due.is_some(), max_age.is_some() && !kept.is_empty());
            }
            let bytes: u64 = kept.iter().map(|stored| stored.size).sum();
            prop_assert_eq!((stream.len(), stream.bytes(), stream.first()), (kept.len(), bytes, kept.first().map_or(next, |stored| stored.offset)));
            prop_assert_eq!(stream.iter().map(number_of).collect::<Vec<_>>(), kept.iter().map(|stored| stored.offset).collect::<Vec<_>>());
        }
        for (start, filter) in readers {
            let from = seek(&kept, next, start);
            prop_assert_eq!(stream.seek(start), from, "{:?}", start);
            let wanted = |stored: &&Stored| match (&filter, stored.filter) {
                (None, _) => true,
                (Some((values, _)), Some(value)) => values.contains(&value),
                (Some((_, unfiltered)), None) => *unfiltered,
            };
            let expected: Vec<u64> = kept.iter().filter(|stored| stored.offset >= from).filter(wanted).map(|stored| stored.offset).collect();
            let filter = filter.as_ref().map(|(values, match_unfiltered)| Filter {
                values: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
                match_unfiltered: *match_unfiltered,
            });
            let mut reader = Reader { next: from, filter, ..Reader::default() };
            let mut read = Vec::new();
            loop {
                match stream.read(&mut reader, &mut Vec::new()) {
                    Read::Message(offset, message) => {
                        prop_assert_eq!(offset, number_of(&message));
                        read.push(offset);
                    }
                    Read::Paused => {}
                    Read::OnDisk(..) => prop_assert!(false, "nothing has been let go of"),
                    Read::End => break,
                }
            }
            prop_assert_eq!(read, expected);
        }
    }

    /// Every form of x-stream-offset, over the wire.
    #[test]
    fn readers_start_where_they_ask(
        gaps in prop::collection::vec(0..3_000u64, 0..12),
        form in 0..9u8,
        offset in -3..20i64,
        seconds in 0..40u64,
    ) {
        let mut bench = Bench::new();
        bench.now = 1_000_000;
        bench.declare("s", &[("x-queue-type", AMQPValue::LongString("stream".into()))]);
        let mut kept = Vec::new();
        for (number, gap) in (0u64..).zip(gaps) {
            bench.pass(gap);
            bench.publish("s", AMQPProperties::default(), &number.to_be_bytes());
            kept.push(Stored { offset: number, at: bench.now, size: 8, filter: None });
        }
        let text = |text: &str| AMQPValue::LongString(text.into());
        let ago = |seconds: u64| Start::Time(Timestamp(bench.now - seconds * 1000));
        let (asked, start) = match form {
            0 => (Some(text("first")), Start::First),
            1 => (Some(text("last")), Start::Last),
            2 => (Some(text("next")), Start::Next),
            3 => (None, Start::Next),
            4 => (Some(AMQPValue::LongLongInt(offset)), Start::Offset(u64::try_from(offset).unwrap_or(0))),
            5 => (Some(AMQPValue::ShortInt(i16::try_from(offset).expect("small"))), Start::Offset(u64::try_from(offset).unwrap_or(0))),
            6 => (Some(AMQPValue::Timestamp(990 + seconds)), Start::Time(Timestamp((990 + seconds) * 1000))),
            7 => (Some(text(&format!("{}s", seconds + 1))), ago(seconds + 1)),
            _ => (Some(text(&format!("{}m", seconds % 3 + 1))), ago((seconds % 3 + 1) * 60)),
        };
        let next = kept.len() as u64;
        let from = seek(&kept, next, start);
        bench.qos(1000);
        let arguments: Vec<(&str, AMQPValue)> = asked.map(|value| ("x-stream-offset", value)).into_iter().collect();
        let mut delivered = got(&bench.consume("s", "c", &arguments));
        delivered.extend(got(&bench.publish("s", AMQPProperties::default(), &next.to_be_bytes())));
        let offsets: Vec<AMQPValue> = delivered.iter().filter_map(|got| got.header("x-stream-offset").cloned()).collect();
        let expected: Vec<AMQPValue> = (from..=next).map(|offset| AMQPValue::LongLongInt(offset.cast_signed())).collect();
        prop_assert_eq!(offsets, expected);
        bench.delete("s");
        for got in delivered {
            bench.ack(got.tag);
        }
        prop_assert_eq!(bench.broker.memory(), 0);
    }
}
