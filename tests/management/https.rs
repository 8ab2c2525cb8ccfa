//! The HTTP API over TLS.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use super::http::Http;
use super::support::broker::{Broker, Scratch, leveret};
use super::support::eventually;
use super::support::tls::{Authority, Trust, Tunnel, server_lines};

/// With a certificate of this authority for the HTTP API alone, and more lines in its file.
fn broker(authority: &Authority, more: &str) -> Broker {
    let scratch = Scratch::new();
    let lines = server_lines(&scratch, authority, &authority.issue("server")).replace("ssl_options.", "management.ssl.");
    let config = scratch.file("leveret.conf", &format!("{lines}{more}"));
    let mut command = leveret();
    command.args(["--https", "127.0.0.1:0", "--config"]).arg(config);
    Broker::launch(command, scratch)
}

fn whoami(address: SocketAddr) -> serde_json::Value {
    Http::guest(address).get("/api/whoami").ok()["name"].clone()
}

/// Whether somebody who trusts and shows this gets an answer.
fn is_answered(broker: &Broker, trust: &Trust<'_>) -> bool {
    let tunnel = Tunnel::over_tls(broker.https(), trust);
    let mut stream = Http::guest(tunnel.address).open("/api/whoami");
    let mut answer = Vec::new();
    // Where TLS is refused, the tunnel just ends.
    let _ = stream.read_to_end(&mut answer);
    answer.starts_with(b"HTTP/1.1 200 ")
}

#[test]
fn it_is_served_with_and_without_tls() {
    let authority = Authority::new();
    let broker = broker(&authority, "");
    let tunnel = Tunnel::over_tls(broker.https(), &Trust::in_authority(&authority.certificate));
    assert_eq!(whoami(tunnel.address), "guest");
    assert_eq!(whoami(broker.http()), "guest");
    Http::new(tunnel.address, "guest", "wrong").get("/api/whoami").refuses(401, "not_authorized", "Not_Authorized");
    let other = Authority::new();
    assert!(!is_answered(&broker, &Trust::in_authority(&other.certificate)));
}

#[test]
fn what_is_not_tls_is_not_answered() {
    let broker = broker(&Authority::new(), "");
    let mut answer = Vec::new();
    let _ = Http::guest(broker.https()).open("/api/whoami").read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[test]
fn who_does_not_begin_is_not_waited_for() {
    let broker = broker(&Authority::new(), "handshake_timeout = 300");
    let mut stream = TcpStream::connect(broker.https()).expect("the port is open");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    assert_eq!(stream.read(&mut [0]).expect("closed"), 0);
}

#[test]
fn the_certificate_of_amqp_does_for_both() {
    let authority = Authority::new();
    let scratch = Scratch::new();
    // What AMQP asks of clients is not asked here.
    let lines = server_lines(&scratch, &authority, &authority.issue("server"));
    let more = "ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n";
    let config = scratch.file("leveret.conf", &format!("{lines}{more}"));
    let mut command = leveret();
    command.args(["--amqps", "127.0.0.1:0", "--https", "127.0.0.1:0", "--config"]).arg(config);
    let broker = Broker::launch(command, scratch);
    assert!(is_answered(&broker, &Trust::in_authority(&authority.certificate)));
}

#[test]
fn a_certificate_for_development_does_too() {
    let scratch = Scratch::new();
    let data = scratch.path("data");
    let mut command = leveret();
    command.args(["--tls", "auto", "--amqps", "127.0.0.1:0", "--https", "127.0.0.1:0", "--data-dir"]).arg(&data);
    let broker = Broker::launch(command, scratch);
    let authority = std::fs::read_to_string(data.join("tls/ca.pem")).expect("an authority");
    let tunnel = Tunnel::over_tls(broker.https(), &Trust::in_authority(&authority));
    assert_eq!(whoami(tunnel.address), "guest");
}

#[test]
fn clients_show_a_certificate_where_that_is_asked_for() {
    let authority = Authority::new();
    let broker = broker(&authority, "management.ssl.verify = verify_peer\nmanagement.ssl.fail_if_no_peer_cert = true\n");
    let shows = authority.issue("client");
    let foreign = Authority::new().issue("client");
    for (identity, answered) in [(Some(&shows), true), (None, false), (Some(&foreign), false)] {
        let trust = Trust { identity, ..Trust::in_authority(&authority.certificate) };
        assert_eq!(is_answered(&broker, &trust), answered);
    }
}

#[test]
fn certificates_are_read_again() {
    let before = Authority::new();
    let scratch = Scratch::new();
    let lines = server_lines(&scratch, &before, &before.issue("server")).replace("ssl_options.", "management.ssl.");
    let config = scratch.file("leveret.conf", &lines);
    let files = [scratch.path("server.pem"), scratch.path("server.key")];
    let mut command = leveret();
    command.args(["--https", "127.0.0.1:0", "--config"]).arg(config);
    let broker = Broker::launch(command, scratch);
    let after = Authority::new();
    let identity = after.issue("server");
    for (file, text) in files.iter().zip([&identity.certificate, &identity.key]) {
        std::fs::write(file, text).expect("written");
    }
    assert!(is_answered(&broker, &Trust::in_authority(&before.certificate)));
    broker.signal("HUP");
    eventually("the certificate is another", || is_answered(&broker, &Trust::in_authority(&after.certificate)).then_some(()));
    assert!(!is_answered(&broker, &Trust::in_authority(&before.certificate)));
}

#[test]
fn without_a_certificate_it_does_not_start() {
    for (more, why) in [
        (&[][..], "leveret: TLS needs management.ssl.certfile, or --tls auto for a development certificate\n"),
        (&["--tls", "auto", "--amqps", "127.0.0.1:0", "--https", "192.0.2.1:1"], "leveret: cannot listen for HTTPS on 192.0.2.1:1: "),
    ] {
        let mut command: Command = leveret();
        command.args(["--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--log", "none"]);
        if !more.is_empty() {
            command = leveret();
            command.args(["--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log", "none"]).args(more);
        }
        let output = command.output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.starts_with(why), "{said}");
    }
}
