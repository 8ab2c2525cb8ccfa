//! AMQP over TLS: versions, certificates, back-pressure, certificates that are exchanged while the broker runs.

use std::io::{Read, Write};
use std::net::TcpStream;

use lapin::{Connection, ConnectionProperties};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::command_line::one_line;
use crate::support::broker::{Broker, Home, Scratch, leveret};
use crate::support::client::{confirming, consume, declare, next, publish, soon};
use crate::support::eventually;
use crate::support::raw::{Close, Raw};
use crate::support::tls::{Authority, Identity, Trust, Tunnel, broker, handshake, server_lines};
use crate::support::wire;

#[test]
fn both_versions_are_spoken_and_the_event_exchange_tells_which() {
    let authority = Authority::new();
    let broker = broker(&authority, "event_exchange = true\n");
    let mut watcher = Raw::channel(&broker);
    watcher.declare("events", 0);
    let bind = wire::Fields::new().short(0).text("events").text("amq.rabbitmq.event").text("connection.created").byte(0).bytes(&[]);
    watcher.send(&wire::method(1, wire::QUEUE_BIND, &bind));
    watcher.expect(wire::QUEUE_BIND_OK);
    for (version, name) in [(&rustls::version::TLS12, "tlsv1.2"), (&rustls::version::TLS13, "tlsv1.3")] {
        let trust = Trust { versions: &[version], ..Trust::in_authority(&authority.certificate) };
        let tunnel = Tunnel::over_tls(broker.tls_address(), &trust);
        Raw::channel_at(tunnel.address).round_trip_on_new_queue(name);
        watcher.send(&wire::get(1, "events"));
        watcher.expect(wire::GET_OK);
        let header = watcher.next().expect("a content header");
        let told = String::from_utf8_lossy(&header.payload).into_owned();
        assert!(told.contains(name) && told.contains("aead"), "{told}");
    }
}

#[tokio::test]
async fn a_version_that_is_not_configured_is_refused() {
    let authority = Authority::new();
    let broker = broker(&authority, "ssl_options.versions.1 = tlsv1.3\n");
    let trust = Trust { versions: &[&rustls::version::TLS12], ..Trust::in_authority(&authority.certificate) };
    let error = handshake(broker.tls_address(), b"", trust.config()).await.expect_err("refused");
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    let trust = Trust::in_authority(&authority.certificate);
    Raw::channel_at(Tunnel::over_tls(broker.tls_address(), &trust).address).round_trip_on_new_queue("q");
}

/// Messages that are larger than what is encrypted at once, both ways at the same time.
#[tokio::test]
async fn large_messages_come_through_whole() {
    let authority = Authority::new();
    let broker = broker(&authority, "");
    let tunnel = Tunnel::over_tls(broker.tls_address(), &Trust::in_authority(&authority.certificate));
    let uri = format!("amqp://guest:guest@{}/%2f", tunnel.address);
    let connection = soon(Connection::connect(&uri, ConnectionProperties::default())).await.expect("a connection");
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    let mut consumer = consume(&channel, "q").await;
    for size in [0, 1, 16_383, 16_384, 131_072, 1_000_000, 5_000_000] {
        let body: Vec<u8> = (0..size).map(|n: u32| (n / 7 % 251) as u8).collect();
        publish(&channel, "", "q", &body).await;
        assert!(next(&mut consumer).await.data == body, "{size} bytes");
    }
}

const BODY: usize = 64_000;
/// Together 200 MB.
const MESSAGES: u32 = 3125;
/// Messages that fit into the outbox (1 MiB), what is encrypted (128 KiB) and the buffers of the sockets and of the tunnel.
const UNDER_WAY: u32 = 450;

#[test]
fn a_deaf_consumer_is_held_by_its_outbox_and_loses_nothing() {
    let authority = Authority::new();
    let broker = broker(&authority, "");
    let mut publisher = Raw::channel(&broker);
    publisher.declare("q", 0);
    for number in 0..MESSAGES {
        let mut body = vec![7; BODY];
        body[..4].copy_from_slice(&number.to_be_bytes());
        publisher.send(&wire::publish(1, "", "q", &body));
    }
    assert_eq!(publisher.declare("q", 1), MESSAGES);
    let before = broker.resident("VmHWM:");
    let tunnel = Tunnel::over_tls(broker.tls_address(), &Trust::in_authority(&authority.certificate));
    let mut deaf = Raw::channel_at(tunnel.address);
    deaf.send(&wire::consume(1, "q", 2));
    deaf.expect(wire::CONSUME_OK);
    let ready = publisher.declare("q", 1);
    assert!(ready >= MESSAGES - UNDER_WAY, "{ready} of {MESSAGES} left");
    for number in 0..MESSAGES {
        let body = deaf.delivery().body;
        assert!(body.len() == BODY && body[..4] == number.to_be_bytes(), "message {number}");
    }
    let after = broker.resident("VmHWM:");
    assert!(after < before + (30 << 20), "grew from {} to {} MiB", before >> 20, after >> 20);
    assert_eq!(publisher.declare("q", 1), 0);
}

/// A certificate of the server as clients see it.
async fn shown(broker: &Broker, trust: &Trust<'_>) -> Option<CertificateDer<'static>> {
    let session = handshake(broker.tls_address(), b"", trust.config()).await.ok()?;
    session.get_ref().1.peer_certificates().map(|chain| chain[0].clone().into_owned())
}

#[tokio::test]
async fn a_hangup_exchanges_the_certificate_for_new_connections_only() {
    let authority = Authority::new();
    let scratch = Scratch::new();
    let (first, second) = (authority.issue("first"), authority.issue("second"));
    let config = scratch.file("leveret.conf", &server_lines(&scratch, &authority, &first));
    let mut command = leveret();
    command.args(["--amqps", "127.0.0.1:0", "--config"]).arg(config);
    let (certificate, key) = (scratch.path("server.pem"), scratch.path("server.key"));
    let broker = Broker::launch(command, scratch);
    let trust = Trust::in_authority(&authority.certificate);
    let tunnel = Tunnel::over_tls(broker.tls_address(), &trust);
    let mut earlier = Raw::channel_at(tunnel.address);
    let der = |identity: &Identity| CertificateDer::from_pem_slice(identity.certificate.as_bytes()).ok();
    assert_eq!(shown(&broker, &trust).await, der(&first));

    // A certificate without its key is refused.
    std::fs::write(&certificate, &second.certificate).expect("written");
    broker.signal("HUP");
    eventually("it is refused", || broker.log().contains("certificates not loaded, what was loaded before stays").then_some(()));
    assert_eq!(shown(&broker, &trust).await, der(&first));

    std::fs::write(&key, &second.key).expect("written");
    broker.signal("HUP");
    eventually("it is taken", || broker.log().contains("certificates loaded again").then_some(()));
    assert_eq!(shown(&broker, &trust).await, der(&second));
    earlier.round_trip_on_new_queue("q");
}

/// RabbitMQ's users have intermediate authorities in cacertfile.
#[test]
fn authorities_between_the_certificate_and_the_root_are_shown() {
    let root = Authority::new();
    let first = root.authorise("first");
    let second = first.authorise("second");
    for authority in [&first, &second] {
        let scratch = Scratch::new();
        let lines = server_lines(&scratch, &root, &authority.issue("server"));
        let all = [&second, &root, &first].map(|authority| &*authority.certificate).concat();
        let config = scratch.file("leveret.conf", &lines);
        scratch.file("ca.pem", &all);
        let mut command = leveret();
        command.args(["--amqps", "127.0.0.1:0", "--config"]).arg(config);
        let broker = Broker::launch(command, scratch);
        let tunnel = Tunnel::over_tls(broker.tls_address(), &Trust::in_authority(&root.certificate));
        Raw::channel_at(tunnel.address).round_trip_on_new_queue("q");
    }
}

fn external() -> Vec<u8> {
    wire::method(0, wire::START_OK, &wire::Fields::new().bytes(&wire::capabilities()).text("EXTERNAL").bytes(b"").text("en_US"))
}

/// What becomes of a client with this certificate that wants to log in by it.
fn log_in(broker: &Broker, authority: &Authority, identity: Option<&Identity>) -> Result<Raw, Close> {
    let trust = Trust { identity, ..Trust::in_authority(&authority.certificate) };
    let tunnel = Tunnel::over_tls(broker.tls_address(), &trust);
    let mut raw = Raw::over(TcpStream::connect(tunnel.address).expect("a tunnel"));
    raw.send(wire::HEADER);
    let start = raw.expect(wire::START);
    let offered = String::from_utf8_lossy(&start.payload).into_owned();
    assert!(offered.contains("EXTERNAL PLAIN") && !offered.contains("AMQPLAIN"), "{offered}");
    raw.send(&external());
    let answer = raw.next().expect("an answer");
    if answer.id() == wire::CLOSE {
        return Err(Close::of(&answer));
    }
    assert_eq!(answer.id(), wire::TUNE);
    raw.send(&[wire::tune_ok(2047, 131_072, 0), wire::open()].concat());
    raw.expect(wire::OPEN_OK);
    raw.send(&wire::channel_open(1));
    raw.expect(wire::CHANNEL_OPEN_OK);
    raw.round_trip_on_new_queue("mine");
    Ok(raw)
}

/// Behaviour C5.
#[test]
fn a_client_logs_in_by_its_certificate() {
    let authority = Authority::new();
    let mechanisms = "auth_mechanisms.1 = EXTERNAL\nauth_mechanisms.2 = PLAIN\nssl_options.verify = verify_peer\n";
    for (user, lines) in [
        ("CN=alice,O=leveret", ""),
        ("alice", "ssl_cert_login_from = common_name\n"),
        ("localhost", "ssl_cert_login_from = subject_alternative_name\n"),
        ("a@b.example", "ssl_cert_login_from = subject_alternative_name\nssl_cert_login_san_type = email\n"),
    ] {
        let broker = broker(&authority, &format!("{mechanisms}{lines}default_user = {user}\n"));
        let alice = authority.issue_with_mail("alice", "a@b.example");
        assert!(log_in(&broker, &authority, Some(&alice)).is_ok(), "{user}");
        let bob = authority.issue_unnamed("bob");
        for (whose, identity) in [("of another", Some(&bob)), ("none", None)] {
            let Err(close) = log_in(&broker, &authority, identity) else { panic!("{user}: certificate {whose}") };
            let text = "ACCESS_REFUSED - Login was refused using authentication mechanism EXTERNAL. For details see the broker logfile.";
            assert_eq!((close.code, &*close.text), (403, text), "{user}: certificate {whose}");
        }
    }
}

/// Where it is not over TLS, EXTERNAL is not offered, and is as good as unknown.
#[test]
fn external_needs_tls() {
    let authority = Authority::new();
    let broker = broker(&authority, "auth_mechanisms.1 = EXTERNAL\nauth_mechanisms.2 = PLAIN\n");
    let mut raw = Raw::connect(&broker);
    raw.send(wire::HEADER);
    let start = raw.expect(wire::START);
    assert!(!String::from_utf8_lossy(&start.payload).contains("EXTERNAL"));
    raw.send(&external());
    let close = raw.closed();
    assert!(close.text.contains("EXTERNAL"), "{}", close.text);
}

/// How a client hears in TLS that it is refused: the handshake may be over on its side.
async fn alert(broker: &Broker, trust: &Trust<'_>) -> String {
    let refused = async {
        let mut session = handshake(broker.tls_address(), b"", trust.config()).await?;
        session.write_all(wire::HEADER).await?;
        session.read_u8().await
    };
    soon(refused).await.expect_err("refused").to_string()
}

#[tokio::test]
async fn certificates_are_demanded_and_checked() {
    let authority = Authority::new();
    let lines = "ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n";
    let broker = broker(&authority, lines);
    let said = alert(&broker, &Trust::in_authority(&authority.certificate)).await;
    assert!(said.contains("CertificateRequired"), "{said}");
    let stranger = Authority::new().issue("stranger");
    let said = alert(&broker, &Trust { identity: Some(&stranger), ..Trust::in_authority(&authority.certificate) }).await;
    assert!(said.contains("UnknownCA") || said.contains("DecryptError"), "{said}");
    let friend = authority.issue("friend");
    let trust = Trust { identity: Some(&friend), ..Trust::in_authority(&authority.certificate) };
    Raw::channel_at(Tunnel::over_tls(broker.tls_address(), &trust).address).round_trip_on_new_queue("q");
}

#[test]
fn who_speaks_no_tls_is_closed_and_who_says_nothing_too() {
    let authority = Authority::new();
    let broker = broker(&authority, "handshake_timeout = 300\n");
    let connect = || {
        let socket = TcpStream::connect(broker.tls_address()).expect("accepted");
        socket.set_read_timeout(Some(crate::support::PATIENCE)).expect("a time limit");
        socket
    };
    let mut plain = connect();
    plain.write_all(wire::HEADER).expect("written");
    let mut said = Vec::new();
    plain.read_to_end(&mut said).expect("an orderly end");
    // An alert of TLS, and nothing of AMQP.
    assert_eq!(said.first(), Some(&21), "{said:?}");
    assert_eq!(connect().read(&mut [0; 8]).expect("an orderly end"), 0);
    eventually("both are told of", || {
        let log = broker.log();
        (log.contains("corrupt message") && log.contains("handshake_timeout")).then_some(())
    });
}

#[test]
fn a_certificate_for_development_is_made_once() {
    let home = Home::new();
    let start = || {
        let mut command = leveret();
        command.args(["--tls", "auto", "--amqps", "127.0.0.1:0"]);
        home.start_with(command)
    };
    let read = |name: &str| std::fs::read_to_string(home.data().join("tls").join(name)).expect("a file");
    let broker = start();
    let authority = read("ca.pem");
    let tunnel = Tunnel::over_tls(broker.tls_address(), &Trust::in_authority(&authority));
    Raw::channel_at(tunnel.address).round_trip_on_new_queue("q");
    assert!(broker.log().contains(&format!("started TLS (SSL) listener on {}", broker.tls_address())), "{}", broker.log());
    drop(broker);

    let broker = start();
    assert_eq!(read("ca.pem"), authority);
    let tunnel = Tunnel::over_tls(broker.tls_address(), &Trust::in_authority(&authority));
    Raw::channel_at(tunnel.address).round_trip_on_new_queue("q2");
    drop(broker);

    std::fs::write(home.data().join("tls/server.pem"), "nothing").expect("written");
    let broker = start();
    let authority = read("ca.pem");
    let tunnel = Tunnel::over_tls(broker.tls_address(), &Trust::in_authority(&authority));
    Raw::channel_at(tunnel.address).round_trip_on_new_queue("q3");
}

#[test]
fn without_a_data_directory_it_is_in_a_place_that_nobody_else_may_write() {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

    let scratch = Scratch::new();
    let folder = scratch.path("tmp");
    std::fs::create_dir(&folder).expect("a folder");
    let mut command = leveret();
    command.env("TMPDIR", &folder).args(["--tls", "auto", "--amqps", "127.0.0.1:0"]);
    let broker = Broker::launch(command, scratch);
    let made = std::fs::read_dir(&folder).expect("a folder").next().expect("one in it").expect("an entry").path();
    let authority = std::fs::read_to_string(made.join("ca.pem")).expect("a file");
    let tunnel = Tunnel::over_tls(broker.tls_address(), &Trust::in_authority(&authority));
    Raw::channel_at(tunnel.address).round_trip_on_new_queue("q");
    let mode = |name: &str| std::fs::metadata(made.join(name)).expect("a file").permissions().mode() & 0o777;
    assert_eq!((mode("."), mode("server.key")), (0o700, 0o600));

    let elsewhere = folder.join("open");
    std::fs::create_dir(&elsewhere).expect("a folder");
    let name = made.file_name().expect("a name");
    let others = std::fs::DirBuilder::new().mode(0o700).create(elsewhere.join(name));
    others.expect("a folder");
    std::fs::set_permissions(elsewhere.join(name), std::fs::Permissions::from_mode(0o777)).expect("permissions");
    let mut command = leveret();
    command.env("TMPDIR", &elsewhere).args(["--tls", "auto", "--amqp", "127.0.0.1:0", "--amqps", "127.0.0.1:0"]);
    let line = one_line(&mut command, 1);
    assert!(line.contains("not a directory that only this user may write"), "{line}");
}

#[test]
fn what_cannot_be_served_is_one_line_and_exit_code_1() {
    let authority = Authority::new();
    let scratch = Scratch::new();
    let lines = server_lines(&scratch, &authority, &authority.issue("server"));
    let encrypted = scratch.file("encrypted.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let other = scratch.file("other.key", &authority.issue("other").key);
    let keyfile = |path: &std::path::Path| format!("{lines}ssl_options.keyfile = {}\n", path.display());
    for (text, part) in [
        ("ssl_options.verify = verify_peer\n".to_owned(), "ssl_options.certfile"),
        (lines.replace("ssl_options.keyfile", "#"), "ssl_options.keyfile"),
        (lines.replace("server.pem", "missing.pem"), "missing.pem: No such file"),
        (lines.replace("server.pem", "server.key"), "server.key: no certificate in PEM"),
        (keyfile(&scratch.path("server.pem")), "server.pem: no private key in PEM"),
        (keyfile(&encrypted), "encrypted.key: the key is encrypted"),
        (keyfile(&other), "KeyMismatch"),
        (format!("{lines}ssl_options.fail_if_no_peer_cert = true\n"), "needs ssl_options.verify = verify_peer"),
    ] {
        let config = scratch.file("leveret.conf", &text);
        let mut command = leveret();
        command.args(["--amqp", "127.0.0.1:0", "--amqps", "127.0.0.1:0", "--config"]).arg(config);
        let line = one_line(&mut command, 1);
        assert!(line.contains(part), "{part}: {line}");
    }
}
