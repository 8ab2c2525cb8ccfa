//! A recording as a capture of packets, for Wireshark: each connection as a TCP connection to port 5672, with addresses, sequence numbers
//! and checksums as they could have been. What was TLS or WebSocket is what was inside of it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::file::Recording;
use super::format::{Event, Record, Side};

/// The port by which Wireshark knows AMQP.
const PORT: u16 = 5672;
/// Bytes of a stream in one packet.
const SEGMENT: usize = 32 * 1024;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// The whole file.
pub(crate) fn export(recording: &Recording) -> Vec<u8> {
    let mut out = Vec::new();
    section_header(&mut out);
    interface(&mut out);
    let mut connections: HashMap<u64, Connection> = HashMap::new();
    for Record { connection, at_us, event } in &recording.records {
        let at_us = recording.wall_us.saturating_add(*at_us);
        let mut packets = Vec::new();
        let known = connections.entry(*connection).or_insert_with(|| Connection::new(*connection, None));
        match event {
            Event::Opened { peer, .. } => {
                *known = Connection::new(*connection, peer.parse().ok());
                packets.push(known.packet(Side::Client, SYN, &[]));
                packets.push(known.packet(Side::Server, SYN | ACK, &[]));
                packets.push(known.packet(Side::Client, ACK, &[]));
            }
            Event::Bytes(side, bytes) => packets.extend(bytes.chunks(SEGMENT).map(|part| known.packet(*side, PSH | ACK, part))),
            Event::Lost(side, count) => known.skip(*side, *count),
            Event::Closed => {
                packets.push(known.packet(Side::Client, FIN | ACK, &[]));
                packets.push(known.packet(Side::Server, FIN | ACK, &[]));
                packets.push(known.packet(Side::Client, ACK, &[]));
            }
        }
        packets.iter().for_each(|packet| enhanced_packet(at_us, packet, &mut out));
    }
    out
}

fn block(kind: u32, body: &[u8], out: &mut Vec<u8>) {
    let padding = (4 - body.len() % 4) % 4;
    let length = u32::try_from(12 + body.len() + padding).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&length);
    out.extend_from_slice(body);
    out.extend(std::iter::repeat_n(0, padding));
    out.extend_from_slice(&length);
}

fn section_header(out: &mut Vec<u8>) {
    let mut body = Vec::new();
    body.extend_from_slice(&0x1a2b_3c4d_u32.to_le_bytes());
    body.extend_from_slice(&[1, 0, 0, 0]);
    // The length of the section is not said.
    body.extend_from_slice(&u64::MAX.to_le_bytes());
    block(0x0a0d_0d0a, &body, out);
}

/// Ethernet, packets of any length; times are microseconds unless it is said otherwise.
fn interface(out: &mut Vec<u8>) {
    block(1, &[1, 0, 0, 0, 0, 0, 0, 0], out);
}

fn enhanced_packet(at_us: u64, packet: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(packet.len()).unwrap_or(u32::MAX).to_le_bytes();
    let [high, low] = [at_us >> 32, at_us & 0xffff_ffff].map(|half| u32::try_from(half).unwrap_or_default().to_le_bytes());
    let mut body = Vec::with_capacity(packet.len() + 20);
    for word in [[0; 4], high, low, length, length] {
        body.extend_from_slice(&word);
    }
    body.extend_from_slice(packet);
    block(6, &body, out);
}

/// A connection as TCP would have it.
struct Connection {
    client: SocketAddr,
    server: SocketAddr,
    /// The sequence numbers of what each side says next.
    client_next: u32,
    server_next: u32,
}

impl Connection {
    fn new(number: u64, peer: Option<SocketAddr>) -> Self {
        let peer = peer.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
        // Those of a socket of this machine, or over the same proxy, have no port that tells them apart.
        let port = match peer.port() {
            0 => 32768 + u16::try_from(number % 32768).unwrap_or_default(),
            port => port,
        };
        let here = if peer.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(std::net::Ipv6Addr::LOCALHOST) };
        Self { client: SocketAddr::new(peer.ip(), port), server: SocketAddr::new(here, PORT), client_next: 1000, server_next: 2000 }
    }

    fn skip(&mut self, side: Side, count: u64) {
        let count = u32::try_from(count & 0xffff_ffff).unwrap_or_default();
        let next = if side == Side::Client { &mut self.client_next } else { &mut self.server_next };
        *next = next.wrapping_add(count);
    }

    fn packet(&mut self, from: Side, flags: u8, data: &[u8]) -> Vec<u8> {
        let (source, target, sequence, heard) = match from {
            Side::Client => (self.client, self.server, self.client_next, self.server_next),
            Side::Server => (self.server, self.client, self.server_next, self.client_next),
        };
        // The beginning and the end count as a byte each.
        let counts = data.len() as u64 + u64::from(flags & (SYN | FIN) != 0);
        self.skip(from, counts);
        let heard = if flags & ACK == 0 { 0 } else { heard };
        let segment = segment(source, target, [sequence, heard], flags, data);
        frame(source.ip(), target.ip(), &segment)
    }
}

fn segment(source: SocketAddr, target: SocketAddr, [sequence, heard]: [u32; 2], flags: u8, data: &[u8]) -> Vec<u8> {
    let mut segment = Vec::with_capacity(20 + data.len());
    segment.extend_from_slice(&source.port().to_be_bytes());
    segment.extend_from_slice(&target.port().to_be_bytes());
    segment.extend_from_slice(&sequence.to_be_bytes());
    segment.extend_from_slice(&heard.to_be_bytes());
    segment.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend_from_slice(data);
    let mut covered = addresses(source.ip(), target.ip());
    covered.extend_from_slice(&u32::try_from(segment.len()).unwrap_or_default().to_be_bytes());
    covered.extend_from_slice(&[0, 0, 0, 6]);
    covered.extend_from_slice(&segment);
    segment[16..18].copy_from_slice(&checksum(&covered).to_be_bytes());
    segment
}

fn addresses(source: IpAddr, target: IpAddr) -> Vec<u8> {
    let bytes = |address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    [bytes(source), bytes(target)].concat()
}

/// Ethernet and IP around a segment.
fn frame(source: IpAddr, target: IpAddr, segment: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    if source.is_ipv4() {
        let length = u16::try_from(20 + segment.len()).unwrap_or(u16::MAX).to_be_bytes();
        let mut header = vec![0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, 6, 0, 0];
        header.extend_from_slice(&addresses(source, target));
        let sum = checksum(&header).to_be_bytes();
        header[10..12].copy_from_slice(&sum);
        frame.extend_from_slice(&[0x08, 0x00]);
        frame.extend_from_slice(&header);
    } else {
        let length = u16::try_from(segment.len()).unwrap_or(u16::MAX).to_be_bytes();
        frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, length[0], length[1], 6, 64]);
        frame.extend_from_slice(&addresses(source, target));
    }
    frame.extend_from_slice(segment);
    frame
}

/// The internet checksum.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap_or_default()
}
