//! The form, the frames in it, and the packets that are made of it.

use super::file::{Recording, Told, What};
use super::format::{self, CLOSED, Event, OPENED, Record, Side};
use super::frames::{Frames, Piece};
use super::pcapng;
use super::replay::Target;
use super::show::Shown;

/// A recording of these records, as bytes.
fn written(records: &[(u64, u64, Event)]) -> Vec<u8> {
    let mut out = Vec::new();
    format::write_header(1_700_000_000_123_456, &mut out);
    for (connection, since_us, event) in records {
        let mut begin = |kind| format::begin(kind, *connection, *since_us, &mut out);
        match event {
            Event::Opened { peer, local } => {
                begin(OPENED);
                format::opened(peer, local, &mut out);
            }
            Event::Bytes(side, bytes) => {
                begin(format::kinds(*side).0);
                format::number(bytes.len() as u64, &mut out);
                out.extend_from_slice(bytes);
            }
            Event::Lost(side, count) => {
                begin(format::kinds(*side).1);
                format::number(*count, &mut out);
            }
            Event::Closed => begin(CLOSED),
        }
    }
    out
}

fn opened() -> Event {
    Event::Opened { peer: "127.0.0.1:40000".to_owned(), local: "127.0.0.1:5672".to_owned() }
}

fn flow(channel: u8) -> Vec<u8> {
    vec![1, 0, channel, 0, 0, 0, 5, 0, 20, 0, 20, 1, 0xce]
}

#[test]
fn records_are_read_as_they_were_written() {
    let records = [
        (1, 0, opened()),
        (1, 300, Event::Bytes(Side::Client, vec![0xff; 300])),
        (70_000, 5_000_000_000, Event::Bytes(Side::Server, Vec::new())),
        (1, 1, Event::Lost(Side::Server, 1 << 40)),
        (1, 0, Event::Closed),
    ];
    let bytes = written(&records);
    let recording = Recording::read(&bytes).expect("a recording");
    assert_eq!((recording.wall_us, recording.is_cut_off), (1_700_000_000_123_456, false));
    let times: Vec<u64> = recording.records.iter().map(|record| record.at_us).collect();
    assert_eq!(times, [0, 300, 5_000_000_300, 5_000_000_301, 5_000_000_301]);
    for ((connection, _, event), read) in records.iter().zip(&recording.records) {
        assert_eq!((connection, event), (&read.connection, &read.event));
    }
}

/// A broker that is killed leaves a record half written.
#[test]
fn whatever_is_cut_off_what_was_before_is_read() {
    let bytes = written(&[(1, 0, opened()), (1, 1, Event::Bytes(Side::Client, flow(1))), (1, 1, Event::Closed)]);
    let whole = Recording::read(&bytes).expect("a recording").records;
    let header = format_header_length();
    for length in header..bytes.len() {
        let cut = Recording::read(&bytes[..length]).expect("a recording");
        assert!(whole.starts_with(&cut.records), "{length}");
        assert!(cut.records.len() < whole.len());
    }
    assert!((0..header).all(|length| Recording::read(&bytes[..length]).is_err()));
    Recording::read(b"PK and so on").expect_err("no recording");
    let mut other = bytes;
    other[header - 9] = 9;
    Recording::read(&other).expect_err("another form");
}

fn format_header_length() -> usize {
    let mut header = Vec::new();
    format::write_header(0, &mut header);
    header.len()
}

#[test]
fn frames_are_found_in_portions_and_after_gaps() {
    let mut stream = b"AMQP\x00\x00\x09\x01".to_vec();
    stream.extend(flow(1));
    stream.extend(flow(2));
    let whole = Frames::default().feed(&stream);
    assert!(matches!(whole.as_slice(), [Piece::ProtocolHeader(_), Piece::Frame { channel: 1, .. }, Piece::Frame { channel: 2, .. }]));
    let mut frames = Frames::default();
    let pieces: Vec<Piece> = stream.iter().flat_map(|byte| frames.feed(&[*byte])).collect();
    assert_eq!(pieces, whole);

    // The end of one frame, then a whole one.
    let mut frames = Frames::default();
    frames.feed(&flow(1)[..6]);
    frames.lose();
    let rest = [&flow(1)[9..], &flow(3)].concat();
    let found = frames.feed(&rest);
    assert!(matches!(found.as_slice(), [Piece::Frame { channel: 3, .. }]), "{found:?}");

    let mut frames = Frames::default();
    assert_eq!(frames.feed(b"HTTP/1.1 400"), [Piece::Garbage(b"HTTP/1.1 400".to_vec())]);
    assert_eq!(frames.feed(&flow(1)), [Piece::Garbage(flow(1))]);
}

#[test]
fn a_recording_is_shown_in_the_words_of_transcripts() {
    let mut body = vec![3, 0, 2, 0, 0, 0, 100];
    body.extend([b'x'; 100]);
    body.push(0xce);
    let bytes = written(&[
        (1, 5, opened()),
        (1, 1_500_000, Event::Bytes(Side::Client, flow(1))),
        (1, 0, Event::Bytes(Side::Client, body)),
        (1, 0, Event::Lost(Side::Server, 7)),
        (1, 0, Event::Closed),
    ]);
    let recording = Recording::read(&bytes).expect("a recording");
    let shown = Shown { recording: &recording, full: false }.to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(
        lines,
        [
            "# begun 2023-11-14T22:13:20.123456Z",
            "    0.000005 c1: opened 127.0.0.1:40000 -> 127.0.0.1:5672",
            "    1.500005 c1> channel.flow active=true",
            &format!("    1.500005 c1.2> body \"{}\"… 100 bytes", "x".repeat(64)),
            "    1.500005 c1< … 7 bytes were not recorded",
            "    1.500005 c1: closed",
        ]
    );
    let full = Shown { recording: &recording, full: true }.to_string();
    assert!(full.contains("body \"x\"*100\n"), "{full}");
    let told = recording.told();
    assert!(matches!(told[1], Told { connection: 1, at_us: 1_500_005, what: What::Said(Side::Client, _) }));
    assert!(matches!(recording.records[0], Record { connection: 1, .. }));
}

/// The blocks have the lengths they say, and the sums of IP and TCP come out as zero.
#[test]
fn packets_have_right_lengths_sums_and_sequence_numbers() {
    let said = vec![7; 40_001];
    for (peer, headers) in [("127.0.0.1:40000", 34), ("[2001:db8::1]:40000", 54)] {
        let opened = Event::Opened { peer: peer.to_owned(), local: "127.0.0.1:1".to_owned() };
        let records = [(1, 0, opened), (1, 10, Event::Bytes(Side::Client, said.clone())), (1, 5, Event::Closed)];
        let capture = pcapng::export(&Recording::read(&written(&records)).expect("a recording"));
        let mut rest = capture.as_slice();
        let mut packets = Vec::new();
        while !rest.is_empty() {
            let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().expect("a word"));
            let length = word(4) as usize;
            assert_eq!(word(length - 4) as usize, length);
            if word(0) == 6 {
                packets.push(rest[28..28 + word(20) as usize].to_vec());
            }
            rest = &rest[length..];
        }
        // Three for the beginning, two for what was said, three for the end.
        assert_eq!(packets.len(), 8);
        let mut next = 1000;
        for packet in packets.iter().filter(|packet| packet[headers..headers + 2] == 40_000_u16.to_be_bytes()) {
            let (ip, tcp) = (&packet[14..headers], &packet[headers..]);
            let mut covered = if headers == 34 { ip[12..20].to_vec() } else { ip[8..40].to_vec() };
            covered.extend([0, 6]);
            covered.extend(u16::try_from(tcp.len()).expect("short").to_be_bytes());
            covered.extend(tcp);
            assert_eq!(sum(&covered), 0xffff);
            if headers == 34 {
                assert_eq!(sum(ip), 0xffff);
            }
            assert_eq!(tcp[2..4], 5672_u16.to_be_bytes());
            assert_eq!(tcp[4..8], u32::to_be_bytes(next));
            next += u32::try_from(tcp.len() - 20).expect("short") + u32::from(tcp[13] & 3 != 0);
        }
        assert_eq!(next, 1000 + 1 + 40_001 + 1);
    }
}

/// The ones' complement sum of 16-bit words.
fn sum(bytes: &[u8]) -> u32 {
    let mut sum = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

#[test]
fn targets_are_read() {
    assert_eq!(Target::parse("amqp://localhost").expect("a target"), Target::parse("amqp://guest:guest@localhost:5672").expect("a target"));
    assert_ne!(Target::parse("amqp://h/%2f").expect("a target"), Target::parse("amqp://h").expect("a target"));
    Target::parse("localhost").expect_err("no scheme");
    Target::parse("amqps://localhost").expect_err("TLS");
    Target::parse("amqp://me@").expect_err("no host");
}
