//! `leveret conformance`: against a broker that does what it should, one that does not, and what is no broker.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::thread;

use serde_json::Value;

use crate::support::broker::{Broker, leveret};

/// Its exit code, what it prints, and what it says on standard error.
fn conformance(address: SocketAddr, options: &[&str]) -> (i32, String, String) {
    let url = format!("amqp://{address}");
    let Output { status, stdout, stderr } = leveret().args(["conformance", &url]).args(options).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

/// The one line of a broker that cannot be asked.
fn refusal(address: SocketAddr) -> String {
    let (code, printed, said) = conformance(address, &["--timeout", "0.2"]);
    assert_eq!((code, printed.as_str(), said.lines().count()), (1, "", 1), "{said}");
    said
}

/// Does the same to each client that comes, for as long as the test runs.
fn listener(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || listener.incoming().flatten().for_each(&serve));
    address
}

#[test]
fn a_broker_that_does_what_it_should_is_told_so() {
    let broker = Broker::start();
    let (code, printed, said) = conformance(broker.address(), &["--only", "H,Q2", "--format", "json"]);
    assert_eq!((code, said.as_str()), (0, ""), "{printed}");
    let report: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!((&report["product"], &report["profile"]), (&"RabbitMQ".into(), &"permissive".into()));
    assert_eq!((&report["fulfils"], &report["stopped"]), (&true.into(), &Value::Null));
    assert_eq!(report["scenarios"]["failed"], 0);
    let rows = report["rows"].as_array().expect("rows");
    let second = rows.iter().find(|row| row["row"] == "H2").expect("the row H2");
    assert_eq!((&second["fulfilled"], &second["section"]), (&"yes".into(), &"Channels".into()));
    assert!(rows.iter().all(|row| row["row"] == "Q2" || row["section"] == "Channels"), "{rows:?}");
    let results = report["results"].as_array().expect("results");
    assert!(results.len() > 40 && results.iter().all(|result| result["verdict"] != "differs"), "{}", results.len());

    let (code, printed, _) = conformance(broker.address(), &["--only", "H2"]);
    assert_eq!(code, 0);
    assert!(printed.lines().any(|line| line.starts_with("  H2   yes          1/1  second open")), "{printed}");
    assert!(printed.ends_with("1 of 1 rows fulfilled; of the scenarios 1 fulfilled, 0 not, 0 left out\n"), "{printed}");
}

#[test]
fn what_a_broker_does_otherwise_is_shown() {
    let broker = Broker::start();
    // An unknown exchange type closes the connection there, and here a channel.
    let (code, printed, _) = conformance(broker.address(), &["--only", "V7", "--profile", "3.13", "--verbose", "--timeout", "0.3"]);
    assert_eq!(code, 1, "{printed}");
    let sent = "  sent      c1> exchange.declare exchange=x type=foo";
    let expected = "  expected  c1.0< connection.close reply_code=503 reply_text=\"COMMAND_INVALID - invalid exchange type 'foo'\"";
    let got = "  got       c1< channel.close reply_code=406 reply_text=\"PRECONDITION_FAILED - unknown exchange type 'foo'\"";
    for line in [sent, expected, got] {
        assert!(printed.lines().any(|printed| printed.starts_with(line)), "{line}\n{printed}");
    }

    let (code, printed, _) = conformance(broker.address(), &["--only", "V7", "--profile", "3.13", "--format", "json", "--timeout", "0.3"]);
    assert_eq!(code, 1);
    let report: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!((&report["profile"], &report["fulfils"]), (&"3.13".into(), &false.into()));
    let results = report["results"].as_array().expect("results");
    let differs = results.iter().find(|result| result["verdict"] == "differs").expect("a difference");
    assert!(differs["expected"][0].as_str().expect("a line").contains("reply_code=503"), "{differs}");
    assert!(differs["got"][0].as_str().expect("a line").contains("reply_code=406"), "{differs}");
}

#[test]
fn what_is_no_broker_is_named() {
    let garbage = listener(|mut client| {
        let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    assert!(refusal(garbage).contains("does not speak AMQP: it answered \"HTTP/1.1 400 Bad Request"), "{}", refusal(garbage));

    let newer = listener(|mut client| {
        let _ = client.write_all(b"AMQP\x00\x01\x00\x00");
    });
    assert!(refusal(newer).contains("does not speak AMQP 0-9-1: it offers the protocol header AMQP 0 1 0 0"));

    let closing = listener(drop);
    assert!(refusal(closing).contains("closes the connection instead of answering"));

    let silent = listener(|mut client| {
        thread::spawn(move || client.read_to_end(&mut Vec::new()));
    });
    assert!(refusal(silent).contains("has not answered the protocol header within 0.2 s"));

    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    assert!(refusal(nobody).contains("cannot connect to 127.0.0.1:"));
}

#[test]
fn a_broker_that_goes_is_not_waited_for() {
    let broker = Broker::start();
    let address = broker.address();
    // Lets that many clients through, and nobody after them.
    let door = TcpListener::bind("127.0.0.1:0").expect("a port");
    let open = door.local_addr().expect("an address");
    let through = thread::spawn(move || {
        for client in door.incoming().take(8) {
            let (mut client, mut broker) = (client.expect("a client"), TcpStream::connect(address).expect("the broker"));
            let (mut back, mut forth) = (client.try_clone().expect("a socket"), broker.try_clone().expect("a socket"));
            thread::spawn(move || std::io::copy(&mut client, &mut forth));
            thread::spawn(move || std::io::copy(&mut broker, &mut back));
        }
    });
    let (code, printed, _) = conformance(open, &["--only", "H", "--timeout", "0.3"]);
    through.join().expect("all came");
    assert_eq!(code, 1);
    let last = printed.lines().last().expect("a line");
    assert!(last.starts_with("not everything was played: cannot connect to 127.0.0.1:"), "{printed}");
}

#[test]
fn other_users_and_unknown_rows_are_refused() {
    for (url, option, why) in [
        ("amqp://me:secret@localhost", "--verbose", "log in as guest"),
        ("amqp://localhost/other", "--verbose", "the virtual host /"),
        ("amqps://localhost", "--verbose", "plain TCP"),
        ("amqp://localhost", "--only=Z1", "a row is one of the letters C H X"),
        ("amqp://localhost", "--timeout=0", "from 0.05 to 600"),
    ] {
        let Output { status, stderr, .. } = leveret().args(["conformance", url, option]).output().expect("it runs");
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!((status.code(), said.contains(why)), (Some(2), true), "{said}");
    }
}
