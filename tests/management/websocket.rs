//! AMQP over WebSocket, with a client of our own that can do everything wrong, and with any client through a tunnel.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use super::http::Http;
use super::support::PATIENCE;
use super::support::broker::{Broker, Scratch, leveret};
use super::support::raw::Raw;
use super::support::tls::{Authority, Trust, Tunnel, server_lines};
use super::support::wire;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What RFC 6455 answers to it.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [0xA1, 0xB2, 0xC3, 0xD4];

const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

/// A client's frame; its first byte has FIN and opcode.
fn frame(first: u8, carried: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match carried.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).expect("short")),
        long @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(long).expect("two bytes").to_be_bytes());
        }
        longer => {
            frame.push(0x80 | 127);
            frame.extend((longer as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(carried.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The request for a WebSocket, with these headers behind those that it needs.
fn upgrade(path: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

const USUAL: [(&str, &str); 2] = [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", KEY)];

/// The status and the head of what is answered.
fn asked(stream: &mut TcpStream, request: &str) -> (u16, String) {
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    stream.write_all(request.as_bytes()).expect("written");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    (head[9..12].parse().expect("a status"), head.to_ascii_lowercase())
}

/// A WebSocket on which AMQP has not begun.
struct Client(TcpStream);

impl Client {
    fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = TcpStream::connect(address).expect("the HTTP API");
        let (status, head) = asked(&mut stream, &upgrade(path, &[&USUAL, headers].concat()));
        assert_eq!(status, 101, "{head}");
        assert!(head.contains(&format!("sec-websocket-accept: {}", ACCEPT.to_ascii_lowercase())), "{head}");
        assert_eq!(head.contains("sec-websocket-protocol: amqp\r\n"), !headers.is_empty(), "{head}");
        Self(stream)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the broker reads");
    }

    /// The next frame: its first byte, and what it carries.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut two = [0; 2];
        self.0.read_exact(&mut two).ok()?;
        assert_eq!(two[1] & 0x80, 0, "a server does not mask");
        let length = match two[1] {
            126 => u64::from(u16::from_be_bytes(self.exactly())),
            127 => u64::from_be_bytes(self.exactly()),
            short => u64::from(short),
        };
        let mut carried = vec![0; usize::try_from(length).expect("a length")];
        self.0.read_exact(&mut carried).expect("a whole frame");
        Some((two[0], carried))
    }

    fn exactly<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).expect("a whole header");
        bytes
    }

    /// Begins AMQP, and sees connection.start.
    fn begin(&mut self) {
        self.send(&frame(BINARY, wire::HEADER));
        let (first, carried) = self.next().expect("an answer");
        assert_eq!((first, &carried[..3], &carried[7..11]), (BINARY, &[1, 0, 0][..], &[0, 10, 0, 10][..]));
    }

    /// The code and the text of the broker's close, after which there is nothing.
    fn closed(&mut self) -> (u16, String) {
        let (first, carried) = self.next().expect("a close");
        assert_eq!(first, CLOSE);
        assert_eq!(self.next(), None);
        (u16::from_be_bytes([carried[0], carried[1]]), String::from_utf8_lossy(&carried[2..]).into_owned())
    }
}

/// A place on this machine where AMQP as it is becomes frames: messages of several, each of this many bytes, with pings between them.
pub(crate) fn tunnel(broker: SocketAddr, portion: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let plain = stream.expect("a client");
            let mut client = Client::open(broker, "/ws/amqp", &[("Sec-WebSocket-Protocol", "amqp")]);
            let (mut from, mut to) = (plain.try_clone().expect("a socket"), plain);
            let mut out = client.0.try_clone().expect("a socket");
            thread::spawn(move || {
                let mut bytes = vec![0; 64 * 1024];
                while let Ok(n @ 1..) = from.read(&mut bytes) {
                    let portions = bytes[..n].chunks(portion);
                    let last = portions.len() - 1;
                    for (at, part) in portions.enumerate() {
                        let first = if at == 0 { 0x02 } else { 0x00 } | if at == last { 0x80 } else { 0x00 };
                        let frames = [frame(first, part), frame(PING, b"?")].concat();
                        if out.write_all(&frames).is_err() {
                            return;
                        }
                    }
                }
                let _ = out.write_all(&frame(CLOSE, &[0x03, 0xE8]));
            });
            thread::spawn(move || {
                while let Some((first, carried)) = client.next() {
                    match first {
                        BINARY if to.write_all(&carried).is_ok() => {}
                        PONG => assert_eq!(carried, b"?"),
                        _ => break,
                    }
                }
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn amqp_goes_over_it_in_any_portions() {
    let broker = Broker::start();
    for portion in [1, 5, 1000, 100_000] {
        Raw::channel_at(tunnel(broker.http(), portion)).round_trip_on_new_queue("q");
    }
}

#[test]
fn large_messages_and_many_of_them_go_both_ways() {
    use super::support::client;
    let broker = Broker::start();
    let address = tunnel(broker.http(), 10_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let uri = format!("amqp://guest:guest@{address}/%2f");
        let connected = lapin::Connection::connect(&uri, lapin::ConnectionProperties::default());
        let connection = client::soon(connected).await.expect("a connection");
        let channel = client::confirming(&connection).await;
        client::declare(&channel, "q").await;
        let bodies: Vec<String> = [1, 100, 65_535, 1_000_000].iter().map(|length| "x".repeat(*length)).collect();
        for body in &bodies {
            client::publish(&channel, "", "q", body.as_bytes()).await;
        }
        let mut consumer = client::consume(&channel, "q").await;
        assert!(client::take_many(&mut consumer, bodies.len()).await == bodies, "what was published");
        client::soon(connection.close(200, "bye".into())).await.expect("closed");
    });
}

#[test]
fn clients_ask_at_either_path_with_the_subprotocol_or_without() {
    let broker = Broker::start();
    for path in ["/", "/ws/amqp", "/?anything=1"] {
        for headers in [&[][..], &[("Sec-WebSocket-Protocol", "mqtt, amqp")]] {
            Client::open(broker.http(), path, headers).begin();
        }
    }
}

#[test]
fn what_is_no_request_for_it_is_told_why() {
    let broker = Broker::start();
    let version = ("Sec-WebSocket-Version", "13");
    let key = ("Sec-WebSocket-Key", KEY);
    for (request, status, header) in [
        (upgrade("/ws/amqp", &[version, key, ("Sec-WebSocket-Protocol", "mqtt")]), 400, ""),
        (upgrade("/ws/amqp", &[("Sec-WebSocket-Version", "8"), key]), 426, "sec-websocket-version: 13\r\n"),
        (upgrade("/ws/amqp", &[version]), 400, ""),
        (upgrade("/ws/amqp", &[version, ("Sec-WebSocket-Key", "c2hvcnQ=")]), 400, ""),
        (upgrade("/ws/amqp", &[version, key]).replace("keep-alive, Upgrade", "keep-alive"), 400, ""),
        (upgrade("/ws/amqp", &[version, key]).replace("GET", "POST"), 405, ""),
        (upgrade("/ws/mqtt", &[version, key]), 404, ""),
    ] {
        let mut stream = TcpStream::connect(broker.http()).expect("the HTTP API");
        let (told, head) = asked(&mut stream, &request);
        assert!(told == status && head.contains(header), "{request}{head}");
    }
    Http::guest(broker.http()).get("/ws/amqp").is(404);
}

#[test]
fn origins_are_looked_at_where_some_are_named() {
    let lines = "websocket.allow_origins.1 = https://app.example\nwebsocket.allow_origins.2 = http://localhost:3000\n";
    let (some, all) = (Broker::with_config(lines), Broker::start());
    let status = |broker: &Broker, origin: Option<&'static str>| {
        let origin = origin.map(|origin| ("Origin", origin));
        let headers: Vec<_> = USUAL.into_iter().chain(origin).collect();
        asked(&mut TcpStream::connect(broker.http()).expect("the HTTP API"), &upgrade("/", &headers)).0
    };
    let origins = [Some("https://app.example"), Some("http://localhost:3000"), None, Some("https://other.example"), Some("null")];
    assert_eq!(origins.map(|origin| status(&some, origin)), [101, 101, 101, 403, 403]);
    assert_eq!(origins.map(|origin| status(&all, origin)), [101; 5]);
}

#[test]
fn wrong_frames_end_it_with_the_reason() {
    let broker = Broker::start();
    for (bytes, code) in [
        (vec![BINARY, 1, b'A'], 1002),
        (frame(0x81, b"AMQP"), 1003),
        (frame(PING, &[0; 126]), 1002),
        (frame(0xC2, b"AMQP"), 1002),
        (frame(0x80, b"AMQP"), 1002),
        (frame(0x83, b""), 1002),
        ([frame(0x02, b"AM"), frame(BINARY, b"QP")].concat(), 1002),
        (vec![BINARY, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], 1002),
    ] {
        let mut client = Client::open(broker.http(), "/", &[]);
        client.send(&bytes);
        let (told, why) = client.closed();
        assert!(told == code && !why.is_empty(), "{bytes:?}: {told} {why}");
    }
    // The broker goes on, also for who had begun.
    let mut client = Client::open(broker.http(), "/", &[]);
    client.begin();
    client.send(&frame(0x81, b"text"));
    assert_eq!(client.closed().0, 1003);
}

#[test]
fn pings_are_answered_and_a_close_is() {
    let broker = Broker::start();
    let mut client = Client::open(broker.http(), "/", &[]);
    client.send(&frame(PING, b"before AMQP"));
    assert_eq!(client.next(), Some((PONG, b"before AMQP".to_vec())));
    client.begin();
    // Within a message, too, and what nobody asked for is nothing.
    let parts = [frame(0x02, &wire::start_ok("guest", "guest")[..9]), frame(PONG, b"x"), frame(PING, b"")].concat();
    client.send(&[parts, frame(0x80, &wire::start_ok("guest", "guest")[9..])].concat());
    assert_eq!(client.next(), Some((PONG, Vec::new())));
    let (first, tune) = client.next().expect("an answer");
    assert_eq!((first, &tune[7..11]), (BINARY, &[0, 10, 0, 30][..]));
    client.send(&frame(CLOSE, &[0x0F, 0xA1, b'!']));
    assert_eq!(client.next(), Some((CLOSE, vec![0x0F, 0xA1])));
    assert_eq!(client.next(), None);
}

/// What AMQP says at its end is there before WebSocket's own.
#[test]
fn the_end_of_amqp_is_the_end_of_it() {
    let broker = Broker::start();
    let mut client = Client::open(broker.http(), "/", &[]);
    // A later 0-9 than is spoken here.
    client.send(&frame(BINARY, b"AMQP\x00\x00\x09\x02"));
    assert_eq!(client.next(), Some((BINARY, wire::HEADER.to_vec())));
    assert_eq!(client.closed(), (1000, String::new()));
}

#[test]
fn who_says_nothing_is_not_waited_for() {
    let broker = Broker::with_config("handshake_timeout = 300");
    assert_eq!(Client::open(broker.http(), "/", &[]).next(), None);
}

#[test]
fn it_goes_over_tls_too() {
    let authority = Authority::new();
    let scratch = Scratch::new();
    let lines = server_lines(&scratch, &authority, &authority.issue("server"));
    let config = scratch.file("leveret.conf", &lines);
    let mut command = leveret();
    command.args(["--https", "127.0.0.1:0", "--config"]).arg(config);
    let broker = Broker::launch(command, scratch);
    let secure = Tunnel::over_tls(broker.https(), &Trust::in_authority(&authority.certificate));
    Raw::channel_at(tunnel(secure.address, 1000)).round_trip_on_new_queue("q");
}

/// The certificate that is shown to HTTPS is the one that AMQP's EXTERNAL goes by.
#[test]
fn a_client_logs_in_by_its_certificate() {
    let authority = Authority::new();
    let scratch = Scratch::new();
    let lines = server_lines(&scratch, &authority, &authority.issue("server"));
    let more = "management.ssl.verify = verify_peer\nssl_cert_login_from = common_name\ndefault_user = alice\n\
                auth_mechanisms.1 = EXTERNAL\nauth_mechanisms.2 = PLAIN\n";
    let config = scratch.file("leveret.conf", &format!("{lines}{more}"));
    let mut command = leveret();
    command.args(["--https", "127.0.0.1:0", "--config"]).arg(config);
    let broker = Broker::launch(command, scratch);
    let (alice, bob) = (authority.issue("alice"), authority.issue("bob"));
    for (identity, is_let_in) in [(Some(&alice), true), (Some(&bob), false), (None, false)] {
        let secure = Tunnel::over_tls(broker.https(), &Trust { identity, ..Trust::in_authority(&authority.certificate) });
        let mut raw = Raw::over(TcpStream::connect(tunnel(secure.address, 1000)).expect("a tunnel"));
        raw.send(wire::HEADER);
        let start = raw.expect(wire::START);
        assert!(String::from_utf8_lossy(&start.payload).contains("EXTERNAL PLAIN"), "{start:?}");
        let external = wire::Fields::new().bytes(&wire::capabilities()).text("EXTERNAL").bytes(b"").text("en_US");
        raw.send(&wire::method(0, wire::START_OK, &external));
        if !is_let_in {
            assert_eq!(raw.closed().code, 403);
            continue;
        }
        raw.expect(wire::TUNE);
        raw.send(&[wire::tune_ok(2047, 131_072, 0), wire::open()].concat());
        raw.expect(wire::OPEN_OK);
        let rows = Http::new(broker.http(), "alice", "guest").get("/api/connections").ok();
        assert_eq!((&rows[0]["user"], &rows[0]["auth_mechanism"], &rows[0]["ssl"]), (&"alice".into(), &"EXTERNAL".into(), &true.into()));
        assert!(rows[0]["peer_cert_subject"].as_str().is_some_and(|subject| subject.contains("CN=alice")), "{rows}");
    }
    // Without TLS there is no certificate to go by.
    let mut plain = Raw::over(TcpStream::connect(tunnel(broker.http(), 1000)).expect("a tunnel"));
    plain.send(wire::HEADER);
    assert!(!String::from_utf8_lossy(&plain.expect(wire::START).payload).contains("EXTERNAL"));
}
