//! Whatever clients say to a whole broker, frame by frame: it answers in frames, and never panics.

#![no_main]
#![allow(dead_code, reason = "of what the tests are written with, this uses a part")]

#[path = "../../tests/broker/accounts.rs"]
mod accounts;
#[path = "../../tests/broker/administrator.rs"]
mod administrator;
#[path = "../../tests/core/mod.rs"]
mod core;
#[path = "../../tests/broker/in_process.rs"]
mod in_process;

use std::time::Instant;

use leveret::broker::Profile;
use leveret::conformance::{Arrival, Broker, Transport};
use libfuzzer_sys::fuzz_target;

use self::in_process::InProcess;

const CLIENTS: usize = 2;
const CHANNELS: u8 = 2;

const HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";

/// Class, method, and arguments, whose letters are in [`Words::arguments`]. Three times basic.publish: without messages, little happens.
const METHODS: [(u16, u16, &str); 34] = [
    (20, 10, "e"),
    (20, 20, "b"),
    (20, 21, "b"),
    (20, 40, "henn"),
    (20, 41, ""),
    (40, 10, "zxybt"),
    (40, 20, "zxb"),
    (40, 30, "zxxkbt"),
    (40, 40, "zxxkbt"),
    (50, 10, "zqbt"),
    (50, 20, "zqxkbt"),
    (50, 30, "zqb"),
    (50, 40, "zqb"),
    (50, 50, "zqxkt"),
    (60, 10, "lhb"),
    (60, 20, "zqcbt"),
    (60, 30, "cb"),
    (60, 31, "c"),
    (60, 40, "zxkb"),
    (60, 40, "zxkb"),
    (60, 40, "zxkb"),
    (60, 70, "zqb"),
    (60, 80, "Lb"),
    (60, 90, "Lb"),
    (60, 100, "b"),
    (60, 110, "b"),
    (60, 120, "Lb"),
    (85, 10, "b"),
    (90, 10, ""),
    (90, 20, ""),
    (90, 30, ""),
    (10, 50, "heff"),
    (10, 51, ""),
    (10, 70, "Se"),
];
const QUEUES: [&str; 8] = ["", "q", "r", "s", "t", "amq.rabbitmq.reply-to", "amq.gen-x", "u"];
const EXCHANGES: [&str; 8] = ["", "x", "y", "amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.rabbitmq.trace"];
const TYPES: [&str; 8] = ["direct", "fanout", "topic", "headers", "x-delayed-message", "x-consistent-hash", "x-recent-history", "x-random"];
const KEYS: [&str; 8] = ["", "q", "r", "s", "a.b", "a.#", "*.b", "1"];
const TAGS: [&str; 4] = ["", "c", "d", "e"];
const ARGUMENTS: [&str; 32] = [
    "x-max-length",
    "x-max-length-bytes",
    "x-message-ttl",
    "x-expires",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-priority",
    "x-queue-type",
    "x-queue-mode",
    "x-single-active-consumer",
    "x-delivery-limit",
    "x-priority",
    "x-cancel-on-ha-failover",
    "x-stream-offset",
    "x-stream-filter",
    "x-max-age",
    "x-consumer-timeout",
    "alternate-exchange",
    "x-delayed-type",
    "x-recent-history-length",
    "x-match",
    "hash-header",
    "x-delay",
    "x-message-deduplication",
    "x-cache-size",
    "CC",
    "BCC",
    "x-stream-filter-value",
    "x-deduplication-header",
    "x-quorum-initial-group-size",
];
const TEXTS: [&str; 16] = [
    "", "x", "y", "q", "r", "quorum", "stream", "classic", "reject-publish", "drop-head", "reject-publish-dlx", "at-least-once", "first", "last",
    "1s", "all",
];
const POLICIES: [&[&str]; 6] = [
    &["set_policy", "p", ".*", r#"{"max-length":1}"#],
    &["set_policy", "p", "^q", r#"{"message-ttl":5,"dead-letter-exchange":"","dead-letter-routing-key":"r"}"#],
    &["set_policy", "o", ".*", r#"{"expires":10,"overflow":"reject-publish","alternate-exchange":"x"}"#],
    &["clear_policy", "p"],
    &["trace_on"],
    &["trace_off"],
];

/// What the fuzzer has made up, read from its beginning; zeros behind its end.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }

    /// Mostly small, now and then at an edge.
    fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=239 => u64::from(small % 16),
            240..=247 => u64::MAX >> (self.byte() % 64),
            _ => 1 << (self.byte() % 64),
        }
    }

    fn short_string(&mut self, all: &[&str], into: &mut Vec<u8>) {
        let text = self.one_of(all);
        into.push(u8::try_from(text.len()).expect("short"));
        into.extend(text.as_bytes());
    }

    fn table(&mut self, into: &mut Vec<u8>) {
        let mut fields = Vec::new();
        for _ in 0..self.byte() % 4 {
            self.short_string(&ARGUMENTS, &mut fields);
            self.value(&mut fields, 0);
        }
        into.extend(u32::try_from(fields.len()).expect("short").to_be_bytes());
        into.extend(fields);
    }

    fn value(&mut self, into: &mut Vec<u8>, depth: u8) {
        let number = |words: &mut Self| words.number().to_be_bytes();
        match self.byte() % 12 {
            0..=3 => {
                into.push(b'I');
                into.extend(&number(self)[4..]);
            }
            4..=6 => {
                let text = self.one_of(&TEXTS);
                into.push(b'S');
                into.extend(u32::try_from(text.len()).expect("short").to_be_bytes());
                into.extend(text.as_bytes());
            }
            7 => into.extend([b't', self.byte() & 1]),
            8 => {
                into.push(b'l');
                into.extend(number(self));
            }
            9 => into.extend([b'b', self.byte()]),
            10 if depth < 3 => {
                let mut elements = Vec::new();
                for _ in 0..self.byte() % 3 {
                    self.value(&mut elements, depth + 1);
                }
                into.push(b'A');
                into.extend(u32::try_from(elements.len()).expect("short").to_be_bytes());
                into.extend(elements);
            }
            _ => into.push(b'V'),
        }
    }

    fn arguments(&mut self, letters: &str, into: &mut Vec<u8>) {
        for letter in letters.bytes() {
            match letter {
                b'z' => into.extend([0, 0]),
                b'e' => into.push(0),
                b'b' => into.push(self.byte()),
                b'h' => into.extend(&self.number().to_be_bytes()[6..]),
                b'n' | b'f' => into.extend([0, self.byte()]),
                b'l' => into.extend([0, 0, 0, self.byte() & 1]),
                b'L' => into.extend(self.number().to_be_bytes()),
                b'q' => self.short_string(&QUEUES, into),
                b'x' => self.short_string(&EXCHANGES, into),
                b'y' => self.short_string(&TYPES, into),
                b'k' => self.short_string(&KEYS, into),
                b'c' => self.short_string(&TAGS, into),
                b't' => self.table(into),
                _ => into.extend([0, 0, 0, 0]),
            }
        }
    }

    fn method(&mut self, channel: u8, into: &mut Vec<u8>) {
        let (class, method, letters) = self.one_of(&METHODS);
        let mut payload = [class.to_be_bytes(), method.to_be_bytes()].concat();
        self.arguments(letters, &mut payload);
        frame(1, channel, &payload, into);
        if (class, method) == (60, 40) {
            self.content(channel, into);
        }
    }

    /// A header, with some properties, and a body that is as long as it says.
    fn content(&mut self, channel: u8, into: &mut Vec<u8>) {
        let length = self.byte() % 64;
        let properties = self.byte();
        let flag = |bit: u8, at: u16| if properties & bit == 0 { 0 } else { 1 << at };
        let flags: u16 = flag(1, 13) | flag(2, 12) | flag(4, 11) | flag(8, 9) | flag(16, 8) | flag(32, 4);
        let mut header = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, length];
        header.extend(flags.to_be_bytes());
        if properties & 1 != 0 {
            self.table(&mut header);
        }
        if properties & 2 != 0 {
            header.push(self.byte() % 3);
        }
        if properties & 4 != 0 {
            header.push(self.byte());
        }
        if properties & 8 != 0 {
            self.short_string(&QUEUES, &mut header);
        }
        if properties & 16 != 0 {
            self.short_string(&["0", "1", "10", "x", ""], &mut header);
        }
        if properties & 32 != 0 {
            self.short_string(&["guest", "hare"], &mut header);
        }
        frame(2, channel, &header, into);
        if length > 0 {
            frame(3, channel, &vec![b'm'; usize::from(length)], into);
        }
    }
}

fn frame(kind: u8, channel: u8, payload: &[u8], into: &mut Vec<u8>) {
    into.extend([kind, 0, channel]);
    into.extend(u32::try_from(payload.len()).expect("short").to_be_bytes());
    into.extend(payload);
    into.push(0xCE);
}

/// What was said is frames, whole ones. Channels that were closed are opened again; `false` when the connection has ended.
fn listen(client: &mut dyn Transport) -> bool {
    loop {
        let mut said = Vec::new();
        let mut arrival = client.read(&mut said, Instant::now());
        while arrival == Arrival::Bytes {
            arrival = client.read(&mut said, Instant::now());
        }
        let mut answer = Vec::new();
        let mut rest = said.as_slice();
        while let Some((head, after)) = rest.split_first_chunk::<7>() {
            assert!(matches!(head[0], 1..=3 | 8), "no type of a frame: {head:?}");
            let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
            assert_eq!(after.get(length), Some(&0xCE), "no end of a frame");
            match (head[0], after.get(..4)) {
                (1, Some([0, 10, 0, 50])) => frame(1, 0, &[0, 10, 0, 51], &mut answer),
                (1, Some([0, 20, 0, 40])) => {
                    frame(1, head[2], &[0, 20, 0, 41], &mut answer);
                    frame(1, head[2], &[0, 20, 0, 10, 0], &mut answer);
                }
                _ => {}
            }
            rest = &after[length + 1..];
        }
        assert!(rest.is_empty(), "a part of a frame");
        if answer.is_empty() || arrival == Arrival::Closed {
            return arrival != Arrival::Closed;
        }
        client.write(&answer);
    }
}

fn open(broker: &InProcess) -> Box<dyn Transport> {
    let mut client = broker.connect();
    client.write(HEADER);
    let mut opening = Vec::new();
    // Who wants to be told of cancels and of what is blocked, and have nacks.
    let mut properties = Vec::new();
    for name in ["consumer_cancel_notify", "basic.nack", "connection.blocked", "publisher_confirms"] {
        properties.push(u8::try_from(name.len()).expect("short"));
        properties.extend(name.as_bytes());
        properties.extend(b"t\x01");
    }
    let mut table = b"\x0ccapabilitiesF".to_vec();
    table.extend(u32::try_from(properties.len()).expect("short").to_be_bytes());
    table.extend(properties);
    let mut start_ok = vec![0, 10, 0, 11];
    start_ok.extend(u32::try_from(table.len()).expect("short").to_be_bytes());
    start_ok.extend(table);
    start_ok.extend(b"\x05PLAIN\x00\x00\x00\x0c\x00guest\x00guest\x05en_US");
    frame(1, 0, &start_ok, &mut opening);
    frame(1, 0, &[0, 10, 0, 31, 0, 0, 0, 2, 0, 0, 0, 0], &mut opening);
    frame(1, 0, &[0, 10, 0, 40, 1, b'/', 0, 0], &mut opening);
    for channel in 1..=CHANNELS {
        frame(1, channel, &[0, 20, 0, 10, 0], &mut opening);
    }
    client.write(&opening);
    listen(&mut *client);
    client
}

fuzz_target!(|bytes: &[u8]| {
    let mut words = Words(bytes);
    let broker = InProcess::new(Profile::named("permissive").expect("a profile"), words.byte() & 1 == 1);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| open(&broker)).collect();
    while !words.0.is_empty() {
        let what = words.byte();
        let which = usize::from(what >> 7) % CLIENTS;
        let channel = 1 + (what >> 6 & 1) % CHANNELS;
        let mut out = Vec::new();
        match what & 0x3F {
            0..=50 => words.method(channel, &mut out),
            51 => words.method(0, &mut out),
            52 => words.content(channel, &mut out),
            53 => frame(words.byte() % 10, words.byte() % 4, &[words.byte(), words.byte(), words.byte()], &mut out),
            54 => out.extend([words.byte(), words.byte(), words.byte(), words.byte()]),
            55 => broker.wait(words.number().min(100_000)),
            56..=57 => broker.wait(5),
            58 => {
                let policy: Vec<_> = words.one_of(&POLICIES).iter().map(|word| (*word).to_owned()).collect();
                let _ = broker.ctl(&policy);
            }
            59 => {
                clients[which].abandon();
                clients[which] = open(&broker);
            }
            // Several frames in one read.
            _ => (0..words.byte() % 8).for_each(|_| words.method(channel, &mut out)),
        }
        clients[which].write(&out);
        for client in &mut clients {
            if !listen(&mut **client) {
                client.abandon();
                *client = open(&broker);
            }
        }
    }
    clients.iter_mut().for_each(|client| client.abandon());
    broker.wait(1_000_000);
});
