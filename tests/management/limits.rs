//! What clients of the HTTP API may take: places, and time to say what they want.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::http::Http;
use super::support::broker::{Broker, Scratch, leveret};
use super::support::raw::Raw;
use super::support::tls::{Authority, Trust, Tunnel, server_lines};
use super::support::{PATIENCE, eventually, wire};

const SHORT: &str = "management.tcp.request_timeout = 300\n";
const REQUEST: &[u8] = b"GET /api/whoami HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n";

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the port is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    stream
}

/// Everything up to the end of the connection.
fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("not closed: {error}"),
        _ => String::from_utf8_lossy(&answer).into_owned(),
    }
}

/// Whether nothing comes for a while, on a connection that stays.
fn is_kept_waiting(stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a time limit");
    let seen = stream.peek(&mut [0]);
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    matches!(seen, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// The head of one answer, with its body.
fn answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).expect("an answer"), 1, "closed: {}", String::from_utf8_lossy(&answer));
        answer.push(byte[0]);
    }
    String::from_utf8(answer).expect("text")
}

#[test]
fn who_says_nothing_is_not_waited_for() {
    let broker = Broker::with_config(SHORT);
    assert_eq!(rest(connect(broker.http())), "");
}

#[test]
fn who_stops_within_a_head_is_not_waited_for() {
    let broker = Broker::with_config(SHORT);
    let mut stream = connect(broker.http());
    stream.write_all(&REQUEST[..40]).expect("written");
    assert!(!rest(stream).contains("200 OK"));
}

/// A byte now and then does not make the time any longer.
#[test]
fn who_dribbles_a_head_is_not_waited_for() {
    let broker = Broker::with_config(SHORT);
    let mut stream = connect(broker.http());
    stream.write_all(b"GET /api/whoami HTTP/1.1\r\nx: ").expect("written");
    stream.set_nonblocking(true).expect("a socket that does not block");
    eventually("it is closed", || match (stream.write(b"x"), stream.peek(&mut [0])) {
        (Ok(_), Err(error)) if error.kind() == ErrorKind::WouldBlock => None,
        _ => Some(()),
    });
}

#[test]
fn who_asks_nothing_more_is_not_waited_for() {
    let broker = Broker::with_config(SHORT);
    let mut stream = connect(broker.http());
    stream.write_all(REQUEST).expect("written");
    assert!(answer(&mut stream).starts_with("HTTP/1.1 200 OK"));
    assert_eq!(rest(stream), "");
}

/// The time is that of each head, not of the connection.
#[test]
fn who_asks_again_and_again_may_stay() {
    let broker = Broker::with_config(SHORT);
    let mut stream = connect(broker.http());
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_millis(900) {
        stream.write_all(REQUEST).expect("written");
        assert!(answer(&mut stream).starts_with("HTTP/1.1 200 OK"));
    }
}

#[test]
fn time_is_limited_over_tls_and_at_the_metrics() {
    let authority = Authority::new();
    let scratch = Scratch::new();
    let lines = server_lines(&scratch, &authority, &authority.issue("server")).replace("ssl_options.", "management.ssl.");
    let config = scratch.file("leveret.conf", &format!("{lines}management.ssl.request_timeout = 300\n{SHORT}"));
    let mut command = leveret();
    command.args(["--https", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--config"]).arg(config);
    let broker = Broker::launch(command, scratch);
    assert_eq!(rest(connect(broker.metrics())), "");
    let tunnel = Tunnel::over_tls(broker.https(), &Trust::in_authority(&authority.certificate));
    let mut stream = connect(tunnel.address);
    stream.write_all(REQUEST).expect("written");
    assert!(answer(&mut stream).starts_with("HTTP/1.1 200 OK"));
    assert_eq!(rest(stream), "");
}

/// 1024 of them, unless it was said otherwise; whoever comes after them is served when one has gone.
#[test]
fn connections_beyond_the_limit_wait() {
    raise_file_limit();
    let scratch = Scratch::new();
    let mut command = leveret();
    command.args(["--metrics", "127.0.0.1:0"]);
    let broker = Broker::launch(command, scratch);
    let mut within: Vec<TcpStream> = (0..1024).map(|_| connect(broker.http())).collect();
    let last = within.last_mut().expect("one of them");
    last.write_all(REQUEST).expect("written");
    assert!(answer(last).starts_with("HTTP/1.1 200 OK"));

    let mut beyond = connect(broker.http());
    beyond.write_all(REQUEST).expect("written");
    assert!(is_kept_waiting(&beyond));
    // The other ports have places of their own.
    Http::nobody(broker.metrics()).get("/metrics").is(200);
    Raw::channel(&broker).round_trip_on_new_queue("q");

    drop(within.swap_remove(7));
    assert!(answer(&mut beyond).starts_with("HTTP/1.1 200 OK"));
}

/// Those who hold the places do not hold them for ever.
#[test]
fn places_come_free_by_themselves() {
    let broker = Broker::with_config(&format!("{SHORT}management.tcp.max_connections = 2\n"));
    let idle = [connect(broker.http()), connect(broker.http())];
    let whoami = Http::guest(broker.http()).get("/api/whoami").ok();
    assert_eq!(whoami["name"], "guest");
    idle.into_iter().for_each(|stream| assert_eq!(rest(stream), ""));
}

/// A shell gives a process 1024 files at once, and often lets it have more.
#[test]
fn as_many_files_as_the_system_gives() {
    let scratch = Scratch::new();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -Sn 64 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_leveret")]);
    let broker = Broker::launch(command, scratch);
    let mut all: Vec<Raw> = (0..100).map(|_| Raw::over(connect(broker.address()))).collect();
    for raw in &mut all {
        raw.send(wire::HEADER);
        raw.expect(wire::START);
    }
    let node = Http::guest(broker.http()).get("/api/nodes/leveret@localhost").ok();
    assert!(node["fd_used"].as_u64().expect("a number") > 100 && node["fd_total"].as_u64().expect("a number") > 64, "{node}");
}

/// For tests with more connections than the limit that they were started with.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("as many as the system gives");
}
