//! What decoding a publish and encoding a delivery cost, beside amq-protocol doing the same.

use amq_protocol::frame::{WriteContext, gen_frame, parse_frame};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use leveret::amqp::encoder::{Delivered, Recipient};
use leveret::amqp::{Decoder, Message, Output};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MESSAGES: usize = 1000;
/// delivery_mode 1 and nothing else.
const PROPERTIES: &[u8] = &[0x10, 0, 1];

fn main() {
    divan::main();
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind, 0, 1];
    frame.extend(u32::try_from(payload.len()).expect("small").to_be_bytes());
    frame.extend(payload);
    frame.push(0xCE);
    frame
}

/// A publish to the default exchange.
fn publish(size: usize) -> Vec<u8> {
    let mut method = vec![0, 60, 0, 40, 0, 0, 0, 5];
    method.extend(b"queue");
    method.push(0);
    let mut header = vec![0, 60, 0, 0];
    header.extend((size as u64).to_be_bytes());
    header.extend(PROPERTIES);
    [frame(1, &method), frame(2, &header), frame(3, &vec![7; size])].concat()
}

#[divan::bench(args = [16, 1024])]
fn decode_publish(bencher: Bencher<'_, '_>, size: usize) {
    let wire = publish(size).repeat(MESSAGES);
    let mut decoder = Decoder::new(131_072, 131_072, 16 << 20);
    let mut commands = Vec::new();
    // Channels may be used once a virtual host is open.
    let mut open = frame(1, &[0, 10, 0, 40, 1, b'/', 0, 0]);
    open[2] = 0;
    decoder.feed(&open, &mut commands);
    commands.clear();
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| {
        decoder.feed(black_box(&wire), &mut commands);
        assert_eq!(commands.len(), MESSAGES);
        commands.clear();
    });
}

#[divan::bench(args = [16, 1024])]
fn decode_publish_with_amq_protocol(bencher: Bencher<'_, '_>, size: usize) {
    let wire = publish(size).repeat(MESSAGES);
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| {
        let mut rest = black_box(&wire[..]);
        let mut frames = 0;
        while !rest.is_empty() {
            let (left, frame) = parse_frame(rest).expect("a frame");
            black_box(frame);
            rest = left;
            frames += 1;
        }
        assert_eq!(frames, 3 * MESSAGES);
    });
}

#[divan::bench(args = [16, 1024])]
fn encode_deliver(bencher: Bencher<'_, '_>, size: usize) {
    let message = Message::new(b"", b"queue", PROPERTIES, &vec![7; size]);
    let to = Recipient { channel: 1, consumer_tag: b"consumer", frame_max: 131_072 };
    let mut output = Output::default();
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| {
        output.clear();
        for tag in 0..MESSAGES as u64 {
            output.basic_deliver(to, tag, Delivered::first(black_box(&message)));
        }
    });
}

#[divan::bench(args = [16, 1024])]
fn encode_deliver_with_amq_protocol(bencher: Bencher<'_, '_>, size: usize) {
    use amq_protocol::frame::{AMQPContentHeader, AMQPFrame};
    use amq_protocol::protocol::{AMQPClass, basic};
    let deliver = basic::AMQPMethod::Deliver(basic::Deliver {
        consumer_tag: "consumer".into(),
        delivery_tag: 1,
        redelivered: false,
        exchange: "".into(),
        routing_key: "queue".into(),
    });
    let header =
        AMQPContentHeader { class_id: 60, body_size: size as u64, properties: basic::AMQPProperties::default().with_delivery_mode(1) };
    let frames = [AMQPFrame::Method(1, AMQPClass::Basic(deliver)), AMQPFrame::Header(1, header), AMQPFrame::Body(1, vec![7; size])];
    let mut buffer = Vec::new();
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| {
        buffer.clear();
        for _ in 0..MESSAGES {
            for frame in &frames {
                let context = WriteContext::from(std::mem::take(&mut buffer));
                buffer = gen_frame(frame)(context).expect("a vector takes all").write;
            }
        }
    });
}
