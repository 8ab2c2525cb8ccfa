//! The decoder and the portions in which bytes happen to arrive: they must not matter, whatever the bytes are.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame};
use amq_protocol::protocol::{AMQPClass, basic, channel, queue};
use leveret::amqp::Command;
use proptest::prelude::*;

use super::wire::{cases, frame_bytes, method_bytes, opened_decoder, properties, raw_frame, short_text};

const FRAME_MAX: usize = 4096;

fn publish(channel: u16) -> impl Strategy<Value = Vec<u8>> {
    let size = prop_oneof![4 => 0..60usize, 1 => 4000..20_000usize];
    (short_text(), properties(), size, 1..5000usize, -20..4i8).prop_map(move |(key, properties, size, cut, lie)| {
        let method = basic::AMQPMethod::Publish(basic::Publish { routing_key: key, ..basic::Publish::default() });
        let mut bytes = method_bytes(channel, AMQPClass::Basic(method));
        // Now and then the header announces more or less than what follows.
        let announced = if lie.abs() == 3 { size.saturating_add_signed(isize::from(lie)) } else { size };
        let header = AMQPContentHeader { class_id: 60, body_size: announced as u64, properties };
        bytes.extend(frame_bytes(&AMQPFrame::Header(channel, header)));
        let body: Vec<u8> = (0..size).map(|n| u8::try_from(n % 253).expect("a byte")).collect();
        for part in body.chunks(cut.min(FRAME_MAX - 8)) {
            bytes.extend(frame_bytes(&AMQPFrame::Body(channel, part.to_vec())));
        }
        // Now and then the last frame does not end where it says.
        if lie == -2 {
            bytes.pop();
            bytes.push(0);
        }
        bytes
    })
}

/// What a client might send, and a little of what it must not.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let channel = prop_oneof![4 => Just(1u16), 1 => 0..4u16];
    channel.prop_flat_map(|channel| {
        let settle = (any::<u64>(), any::<bool>()).prop_map(move |(delivery_tag, multiple)| {
            method_bytes(channel, AMQPClass::Basic(basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple })))
        });
        let declare = short_text().prop_map(move |name| {
            let declare = queue::Declare { queue: name, ..queue::Declare::default() };
            method_bytes(channel, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))
        });
        let open = Just(method_bytes(channel, AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}))));
        let raw = (0..10u8, prop::collection::vec(any::<u8>(), 0..40)).prop_map(move |(kind, payload)| raw_frame(kind, channel, &payload));
        prop_oneof![6 => publish(channel), 3 => settle, 1 => declare, 1 => open, 1 => Just(raw_frame(8, 0, &[])), 1 => raw]
    })
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (prop::collection::vec(frames(), 1..8), prop::option::weighted(0.4, changes)).prop_map(|(frames, changes)| {
        let mut bytes: Vec<u8> = frames.concat();
        for (at, byte) in changes.into_iter().flatten() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

/// Commands as text.
fn told(commands: &[Command]) -> Vec<String> {
    let tell = |command: &Command| match command {
        Command::Publish(channel, publish) => {
            let mut body = publish.message.small_body().to_vec();
            publish.message.large_body().iter().for_each(|part| body.extend_from_slice(part));
            let envelope = (publish.message.exchange(), publish.message.routing_key(), publish.message.raw_properties());
            format!("{channel} {} {} {:?} {envelope:?} {body:?}", publish.mandatory, publish.immediate, publish.oversize)
        }
        other => format!("{other:?}"),
    };
    commands.iter().map(tell).collect()
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn portions_do_not_matter(bytes in stream(), cuts in prop::collection::vec(prop_oneof![1..12usize, 1..3000usize], 1..40)) {
        let mut whole = Vec::new();
        opened_decoder(FRAME_MAX).feed(&bytes, &mut whole);
        let mut parts = Vec::new();
        let mut decoder = opened_decoder(FRAME_MAX);
        let mut rest = bytes.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            decoder.feed(now, &mut parts);
            rest = later;
        }
        let (whole, parts) = (told(&whole), told(&parts));
        let differing = whole.iter().zip(&parts).find(|(a, b)| a != b);
        prop_assert!(differing.is_none() && whole.len() == parts.len(), "{} and {} commands: {differing:?}", whole.len(), parts.len());
    }

    /// Nothing that arrives is a reason to panic, or to keep more than a frame and what was announced.
    #[test]
    fn noise_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 1..50usize) {
        let mut decoder = opened_decoder(FRAME_MAX);
        let mut commands = Vec::new();
        for part in bytes.chunks(cut) {
            decoder.feed(part, &mut commands);
        }
        prop_assert!(decoder.memory() <= 2 * FRAME_MAX);
    }
}
