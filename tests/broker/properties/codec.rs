//! leveret's hand-written codecs of hot methods against `amq-protocol`, both ways.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame};
use amq_protocol::protocol::{AMQPClass, basic, parse_class};
use leveret::amqp::encoder::{Delivered, Recipient};
use leveret::amqp::{Command, Message, Output};
use nom::Parser;
use nom::combinator::all_consuming;
use proptest::prelude::*;

use super::wire::{cases, decode, frame_bytes, frames, method_bytes, properties, raw_frame, raw_properties, short_text};

fn content(channel: u16, properties: &basic::AMQPProperties, body: &[u8], cut: usize) -> Vec<u8> {
    let header = AMQPContentHeader { class_id: 60, body_size: body.len() as u64, properties: properties.clone() };
    let mut bytes = frame_bytes(&AMQPFrame::Header(channel, header));
    for part in body.chunks(cut) {
        bytes.extend(frame_bytes(&AMQPFrame::Body(channel, part.to_vec())));
    }
    bytes
}

fn whole_body(message: &Message) -> Vec<u8> {
    let mut body = message.small_body().to_vec();
    message.large_body().iter().for_each(|part| body.extend_from_slice(part));
    body
}

/// Arguments that are nearly right: some bytes changed, cut off or added.
fn damaged(valid: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (valid, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3), any::<prop::sample::Index>(), 0..4u8, any::<u8>())
        .prop_map(|(mut bytes, changes, cut, how, extra)| {
            for (at, byte) in changes {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            match how {
                0 => bytes.truncate(cut.index(bytes.len() + 1)),
                1 => bytes.push(extra),
                _ => {}
            }
            bytes
        })
}

/// A hot method as leveret decodes it, written like `amq-protocol`'s.
fn as_class(command: &Command) -> Option<AMQPClass> {
    use basic::AMQPMethod as Basic;
    Some(AMQPClass::Basic(match command {
        Command::Ack { delivery_tag, multiple, .. } => Basic::Ack(basic::Ack { delivery_tag: *delivery_tag, multiple: *multiple }),
        Command::Nack { delivery_tag, multiple, requeue, .. } => {
            Basic::Nack(basic::Nack { delivery_tag: *delivery_tag, multiple: *multiple, requeue: *requeue })
        }
        Command::Reject { delivery_tag, requeue, .. } => Basic::Reject(basic::Reject { delivery_tag: *delivery_tag, requeue: *requeue }),
        Command::Qos { prefetch_count, global, .. } => Basic::Qos(basic::Qos { prefetch_count: *prefetch_count, global: *global }),
        _ => return None,
    }))
}

fn hot_method() -> impl Strategy<Value = Vec<u8>> {
    let tag = prop_oneof![any::<u64>(), 0..300u64];
    let ids = prop_oneof![Just(80u16), Just(120), Just(90)];
    let settle = (ids, tag, any::<u8>()).prop_map(|(method, tag, bits)| {
        let mut payload = vec![0, 60];
        payload.extend_from_slice(&method.to_be_bytes());
        payload.extend_from_slice(&tag.to_be_bytes());
        payload.push(bits);
        payload
    });
    let qos = (any::<u32>(), any::<u16>(), any::<u8>()).prop_map(|(size, count, bits)| {
        let mut payload = vec![0, 60, 0, 10];
        payload.extend_from_slice(&size.to_be_bytes());
        payload.extend_from_slice(&count.to_be_bytes());
        payload.push(bits);
        payload
    });
    prop_oneof![3 => settle, 1 => qos]
}

fn publish_method() -> impl Strategy<Value = Vec<u8>> {
    (any::<u16>(), short_text(), short_text(), any::<u8>()).prop_map(|(ticket, exchange, key, bits)| {
        let mut payload = vec![0, 60, 0, 40];
        payload.extend_from_slice(&ticket.to_be_bytes());
        for text in [exchange, key] {
            payload.push(u8::try_from(text.as_str().len()).expect("a short string"));
            payload.extend_from_slice(text.as_str().as_bytes());
        }
        payload.push(bits);
        payload
    })
}

proptest! {
    #![proptest_config(cases(256))]

    /// Acks and their like, and qos: the same arguments are accepted, and mean the same.
    #[test]
    fn settlements_are_decoded_alike(payload in damaged(hot_method()), channel in 1..u16::MAX) {
        let ids = payload.get(..4).map(<[u8]>::to_vec);
        prop_assume!(matches!(ids.as_deref(), Some([0, 60, 0, 80 | 120 | 90 | 10])));
        let theirs = all_consuming(parse_class).parse(payload.as_slice()).ok().map(|(_, class)| class);
        let ours = decode(&raw_frame(1, channel, &payload));
        prop_assert_eq!(ours.len(), 1);
        prop_assert_eq!(as_class(&ours[0]), theirs.clone(), "{:?}", ours);
        if theirs.is_none() {
            prop_assert!(matches!(&ours[0], Command::Fault(fault) if fault.code.code() == 501), "{:?}", ours);
        }
    }

    /// basic.publish. Names need not be UTF-8 here, as in RabbitMQ; apart from that the same is accepted.
    #[test]
    fn publishes_are_decoded_alike(payload in damaged(publish_method()), channel in 1..u16::MAX, body in prop::collection::vec(any::<u8>(), 0..30)) {
        prop_assume!(payload.starts_with(&[0, 60, 0, 40]));
        let theirs = all_consuming(parse_class).parse(payload.as_slice()).ok().map(|(_, class)| class);
        let mut bytes = raw_frame(1, channel, &payload);
        bytes.extend(content(channel, &basic::AMQPProperties::default(), &body, 4088));
        let ours = decode(&bytes);
        match (&ours[0], theirs) {
            (Command::Publish(to, publish), Some(AMQPClass::Basic(basic::AMQPMethod::Publish(theirs)))) => {
                prop_assert_eq!(*to, channel);
                prop_assert_eq!((publish.mandatory, publish.immediate), (theirs.mandatory, theirs.immediate));
                prop_assert_eq!(publish.message.exchange(), theirs.exchange.as_str().as_bytes());
                prop_assert_eq!(publish.message.routing_key(), theirs.routing_key.as_str().as_bytes());
                prop_assert_eq!(whole_body(&publish.message), body);
            }
            (Command::Publish(_, publish), None) => {
                let texts = [publish.message.exchange(), publish.message.routing_key()];
                prop_assert!(texts.iter().any(|text| std::str::from_utf8(text).is_err()), "{:?}", payload);
            }
            (Command::Fault(_), None) => {}
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// Content headers: properties arrive as they were sent, and what is no properties is a fault.
    #[test]
    fn content_headers_are_decoded_alike(sent in properties(), body in prop::collection::vec(any::<u8>(), 0..40), cut in 1..50usize) {
        let mut bytes = method_bytes(1, AMQPClass::Basic(basic::AMQPMethod::Publish(basic::Publish::default())));
        bytes.extend(content(1, &sent, &body, cut));
        let ours = decode(&bytes);
        let [Command::Publish(1, publish)] = ours.as_slice() else { return Err(TestCaseError::fail(format!("{ours:?}"))) };
        prop_assert_eq!(publish.message.raw_properties().to_vec(), raw_properties(&sent));
        prop_assert_eq!(whole_body(&publish.message), body);
        let properties = publish.message.properties();
        prop_assert_eq!(properties.delivery_mode(), *sent.delivery_mode());
        prop_assert_eq!(properties.expiration(), sent.expiration().as_ref().map(|v| v.as_str().as_bytes()));
        prop_assert_eq!(properties.reply_to(), sent.reply_to().as_ref().map(|v| v.as_str().as_bytes()));
        prop_assert_eq!(properties.user_id(), sent.user_id().as_ref().map(|v| v.as_str().as_bytes()));
        prop_assert_eq!(properties.headers().is_some(), sent.headers().is_some());
    }

    /// What the broker sends with a content is read by `amq-protocol` as it was meant, within frame_max.
    #[test]
    fn deliveries_are_read_as_meant(
        (exchange, key, tag) in (short_text(), short_text(), short_text()),
        sent in properties(),
        size in prop_oneof![0..300usize, 8000..30_000usize],
        (delivery_tag, redelivered, count) in (any::<u64>(), any::<bool>(), any::<u32>()),
        (channel, frame_max) in (1..u16::MAX, prop_oneof![Just(0usize), Just(4096), Just(8192), 4096..200_000usize]),
        how in 0..3u8,
    ) {
        let body: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).expect("a byte")).collect();
        let mut bytes = method_bytes(1, AMQPClass::Basic(basic::AMQPMethod::Publish(basic::Publish {
            exchange: exchange.clone(), routing_key: key.clone(), mandatory: false, immediate: false,
        })));
        bytes.extend(content(1, &sent, &body, 5000));
        let commands = decode(&bytes);
        let [Command::Publish(_, publish)] = commands.as_slice() else { return Err(TestCaseError::fail(format!("{commands:?}"))) };
        let mut output = Output::default();
        let consumer_tag = tag.as_str().as_bytes();
        let to = Recipient { channel, consumer_tag, frame_max };
        let expected = match how {
            0 => {
                output.basic_deliver(to, delivery_tag, Delivered { redelivered, ..Delivered::first(&publish.message) });
                basic::AMQPMethod::Deliver(basic::Deliver { consumer_tag: tag.clone(), delivery_tag, redelivered, exchange, routing_key: key })
            }
            1 => {
                output.basic_get_ok(to, delivery_tag, Delivered { redelivered, ..Delivered::first(&publish.message) }, count);
                basic::AMQPMethod::GetOk(basic::GetOk { delivery_tag, redelivered, exchange, routing_key: key, message_count: count })
            }
            _ => {
                output.basic_return(to, 312, "NO_ROUTE", &publish.message);
                basic::AMQPMethod::Return(basic::Return { reply_code: 312, reply_text: "NO_ROUTE".into(), exchange, routing_key: key })
            }
        };
        let flat = output.to_vec();
        prop_assert_eq!(flat.len(), output.len());
        let all = frames(&flat);
        prop_assert_eq!(&all[0], &AMQPFrame::Method(channel, AMQPClass::Basic(expected)));
        let header = AMQPContentHeader { class_id: 60, body_size: size as u64, properties: sent };
        prop_assert_eq!(&all[1], &AMQPFrame::Header(channel, header));
        let mut received = Vec::new();
        for frame in &all[2..] {
            let AMQPFrame::Body(to, part) = frame else { return Err(TestCaseError::fail(format!("{frame:?}"))) };
            prop_assert!(*to == channel && !part.is_empty() && (frame_max == 0 || part.len() + 8 <= frame_max));
            received.extend_from_slice(part);
        }
        prop_assert_eq!(received, body);
    }

    /// Confirms.
    #[test]
    fn confirms_are_read_as_meant(channel in any::<u16>(), delivery_tag in any::<u64>(), multiple in any::<bool>()) {
        let mut output = Output::default();
        output.basic_ack(channel, delivery_tag, multiple);
        output.basic_nack(channel, delivery_tag, multiple);
        let all = frames(&output.to_vec());
        let ack = basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple });
        let nack = basic::AMQPMethod::Nack(basic::Nack { delivery_tag, multiple, requeue: false });
        prop_assert_eq!(all, vec![AMQPFrame::Method(channel, AMQPClass::Basic(ack)), AMQPFrame::Method(channel, AMQPClass::Basic(nack))]);
    }
}
