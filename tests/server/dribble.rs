//! Bytes in any portions: one at a time, all at once, random, damaged.

use crate::support::broker::Broker;
use crate::support::raw::Raw;
use crate::support::wire::{self, Fields};

/// A whole session in one piece: handshake, a queue, two publishes, two gets, and goodbye.
fn session() -> Vec<u8> {
    [
        wire::HEADER.to_vec(),
        wire::start_ok("guest", "guest"),
        wire::tune_ok(2047, 131_072, 0),
        wire::open(),
        wire::channel_open(1),
        wire::method(1, wire::CONFIRM_SELECT, &Fields::new().byte(0)),
        wire::queue_declare(1, "q", 4),
        wire::publish(1, "", "q", b"small"),
        wire::publish(1, "", "q", &vec![7; 5000]),
        wire::get(1, "q"),
        wire::get(1, "q"),
        wire::close(),
    ]
    .concat()
}

/// Reads what a session is answered with.
fn check_answers(raw: &mut Raw) {
    for id in [wire::START, wire::TUNE, wire::OPEN_OK, wire::CHANNEL_OPEN_OK, wire::CONFIRM_SELECT_OK, wire::QUEUE_DECLARE_OK] {
        raw.expect(id);
    }
    let mut bodies = Vec::new();
    let mut acked = 0;
    loop {
        let frame = raw.next().expect("more");
        match (frame.kind, frame.id()) {
            (3, _) => bodies.push(frame.payload),
            (1, wire::ACK) => acked = u64::from_be_bytes(*frame.arguments().first_chunk().expect("a tag")),
            (1, wire::CLOSE_OK) => break,
            _ => {}
        }
    }
    assert_eq!(bodies, [b"small".to_vec(), vec![7; 5000]]);
    assert_eq!(acked, 2);
    raw.ends();
}

#[test]
fn a_whole_session_in_one_write() {
    let broker = Broker::start();
    let mut raw = Raw::connect(&broker);
    raw.send(&session());
    check_answers(&mut raw);
}

#[test]
fn a_whole_session_byte_by_byte() {
    let broker = Broker::start();
    let mut raw = Raw::connect(&broker);
    for byte in session() {
        raw.send(&[byte]);
    }
    check_answers(&mut raw);
}

#[test]
fn a_whole_session_cut_at_every_place() {
    let broker = Broker::start();
    let session = session();
    for cut in (1..500).chain((500..session.len()).step_by(97)) {
        let mut raw = Raw::connect(&broker);
        raw.send(&session[..cut]);
        // An answer to the first part proves that it was read by itself.
        if cut >= 8 {
            raw.expect(wire::START);
            raw.send(&session[cut..]);
            check_rest(&mut raw);
        } else {
            raw.send(&session[cut..]);
            raw.expect(wire::START);
            check_rest(&mut raw);
        }
    }
}

fn check_rest(raw: &mut Raw) {
    raw.expect(wire::TUNE);
    raw.skip_to(wire::CLOSE_OK);
    raw.ends();
}

#[test]
fn a_large_body_in_small_pieces_of_many_frames() {
    let broker = Broker::start();
    let mut raw = Raw::channel(&broker);
    raw.declare("q", 0);
    let large: Vec<u8> = (0..300_000u32).map(|n| n.to_be_bytes()[3]).collect();
    let mut sent = [wire::publish_method(1, "", "q"), wire::content_header(1, large.len() as u64)].concat();
    for part in large.chunks(3001) {
        sent.extend(wire::body(1, part));
    }
    for piece in sent.chunks(977) {
        raw.send(piece);
    }
    raw.send(&wire::get(1, "q"));
    raw.expect(wire::GET_OK);
    raw.next().expect("a content header");
    let mut received = Vec::new();
    while received.len() < large.len() {
        received.extend(raw.next().expect("a body").payload);
    }
    assert!(received == large);
}

/// A small generator of numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }

    fn byte(&mut self) -> u8 {
        self.below(256).to_be_bytes()[7]
    }
}

/// Sends, says that nothing more comes, and waits for the broker to close.
fn send_and_end(broker: &Broker, bytes: &[u8]) {
    let mut raw = Raw::connect(broker);
    raw.send_regardless(bytes);
    raw.shut_write();
    raw.all();
}

#[test]
fn damaged_sessions_harm_nobody() {
    let broker = Broker::start();
    let mut witness = Raw::channel(&broker);
    witness.declare("witness", 0);
    let session = session();
    for seed in 0..150 {
        let mut random = Random(seed);
        let mut damaged = session.clone();
        for _ in 0..=random.below(4) {
            let at = 8 + random.below(damaged.len() - 8);
            match random.below(3) {
                0 => damaged[at] = random.byte(),
                1 => drop(damaged.remove(at)),
                _ => damaged.insert(at, random.byte()),
            }
        }
        send_and_end(&broker, &damaged);
        witness.round_trip("witness");
    }
}

#[test]
fn noise_harms_nobody() {
    let broker = Broker::start();
    let mut witness = Raw::channel(&broker);
    witness.declare("witness", 0);
    for seed in 0..100 {
        let mut random = Random(seed);
        let noise: Vec<u8> = (0..random.below(3000)).map(|_| random.byte()).collect();
        send_and_end(&broker, &noise);
        send_and_end(&broker, &[&wire::HEADER[..], &noise].concat());
        let mut raw = Raw::channel(&broker);
        raw.send_regardless(&noise);
        raw.shut_write();
        raw.all();
        witness.round_trip("witness");
    }
}
