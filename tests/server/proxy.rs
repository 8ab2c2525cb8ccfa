//! The PROXY protocol: the client is whom the proxy names.

use crate::support::broker::Broker;
use crate::support::eventually;
use crate::support::raw::Raw;
use crate::support::tls::{self, Authority, Trust, Tunnel};
use crate::support::wire;

/// Version 2 of a connection over TCP and IPv4, with an extension.
fn version_2(source: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10".to_vec();
    header.extend(source);
    header.extend([127, 0, 0, 1, 0xDC, 0x04, 0x16, 0x28]);
    header.extend([4, 0, 1, 0]);
    header
}

/// A connection that begins with a header.
fn introduced(broker: &Broker, header: &[u8]) -> Raw {
    let mut raw = Raw::connect(broker);
    raw.send(header);
    raw
}

#[test]
fn headers_of_both_versions_are_taken() {
    let broker = Broker::with_config("proxy_protocol = true\n");
    for header in [
        b"PROXY TCP4 127.0.0.9 127.0.0.1 56324 5672\r\n".to_vec(),
        b"PROXY TCP6 ::1 ::1 56324 5672\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        version_2([127, 0, 0, 9]),
        // A health check: the connection is the proxy's own.
        b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00".to_vec(),
    ] {
        let mut raw = introduced(&broker, &header);
        raw.negotiate(0);
        raw.open_channel(1);
        raw.declare_exclusive();
    }
}

/// The header and what follows may come in any portions.
#[test]
fn a_header_may_come_byte_by_byte_and_with_what_is_behind_it() {
    let broker = Broker::with_config("proxy_protocol = true\n");
    let line = b"PROXY TCP4 127.0.0.9 127.0.0.1 56324 5672\r\n";
    let mut raw = Raw::connect(&broker);
    line.iter().for_each(|byte| raw.send(&[*byte]));
    raw.negotiate(0);
    let mut raw = introduced(&broker, &[&line[..], wire::HEADER].concat());
    raw.expect(wire::START);
}

/// Behaviour C10, for the address in the header.
#[test]
fn who_counts_as_on_this_machine_is_told_by_the_header() {
    let broker = Broker::with_config("proxy_protocol = true\n");
    for header in [b"PROXY TCP4 192.0.2.1 127.0.0.1 56324 5672\r\n".to_vec(), version_2([192, 0, 2, 1])] {
        let mut raw = introduced(&broker, &header);
        raw.send(wire::HEADER);
        raw.expect(wire::START);
        raw.send(&wire::start_ok("guest", "guest"));
        assert_eq!(raw.closed().code, 403);
    }
    eventually("the log names the client", || broker.log().contains("192.0.2.1:56324").then_some(()));
}

#[test]
fn what_is_no_header_is_closed_unanswered() {
    let broker = Broker::with_config("proxy_protocol = true\nhandshake_timeout = 300\n");
    for start in [
        &b"AMQP\x00\x00\x09\x01 and more"[..],
        b"PROXY TCP4 192.0.2.1 127.0.0.1 56324\r\n",
        b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2 but a line that does not end within the bytes that a header may have, which are 107\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x04\x7f\x00\x00\x01",
        // Begun, and never finished.
        b"PROXY TCP4 127",
        b"",
    ] {
        let mut raw = introduced(&broker, start);
        assert!(raw.all().is_empty(), "{start:?}");
    }
}

#[test]
fn the_header_comes_before_tls() {
    let authority = Authority::new();
    let broker = tls::broker(&authority, "proxy_protocol = true\n");
    let trust = Trust::in_authority(&authority.certificate);
    let tunnel = Tunnel::introduced(broker.tls_address(), &version_2([127, 0, 0, 9]), &trust);
    Raw::channel_at(tunnel.address).round_trip_on_new_queue("q");
}
