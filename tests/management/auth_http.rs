//! A service that is asked about passwords over HTTP, as RabbitMQ asks it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use serde_json::json;

use super::http::Http;
use super::support::broker::{Broker, leveret};
use super::support::raw::{Close, Raw};
use super::support::wire;

/// What answers: whether `secret` is the password, but for some names. It keeps what it was asked.
struct Service {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Service {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&asked);
        thread::spawn(move || {
            let mut unanswered = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.expect("a question");
                let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
                let (mut first, mut length) = (String::new(), 0);
                reader.read_line(&mut first).expect("a request");
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).expect("a header");
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().expect("a length");
                    }
                    if line == "\r\n" {
                        break;
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("a body");
                let question = format!("{}{}", first.trim_end().replace(" HTTP/1.1", ""), String::from_utf8_lossy(&body));
                let (status, answer) = match () {
                    () if question.contains("=silent&") => {
                        unanswered.push(stream);
                        continue;
                    }
                    () if question.contains("=broken&") => ("500 Internal Server Error", "allow"),
                    () if question.contains("=odd&") => ("200 OK", "perhaps"),
                    () if question.contains("password=secret") => ("200 OK", "allow administrator"),
                    () => ("200 OK", "deny"),
                };
                kept.lock().push(question);
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { address, asked }
    }

    /// A broker that asks it before itself, or after.
    fn broker(&self, place: u32, more: &str) -> Broker {
        let http = format!("auth_backends.{place}.authn = http\nauth_backends.{place}.authz = internal\nauth_backends.5 = internal\n");
        let broker = Broker::with_config(&format!("{http}auth_http.user_path = http://{}/auth/user\n{more}", self.address));
        let guest = Http::guest(broker.http());
        for name in ["hare", "a&b c", "silent", "broken", "odd"] {
            let user = name.replace('&', "%26").replace(' ', "%20");
            guest.put(&format!("/api/users/{user}"), &json!({"password": "of the node", "tags": "management"})).is(201);
            let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
            guest.put(&format!("/api/permissions/%2F/{user}"), &all).is(201);
        }
        broker
    }

    fn was_asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock())
    }
}

/// Logs in and opens the virtual host, all at once as some clients do; the text of the refusal otherwise.
fn login(broker: &Broker, name: &str, password: &str) -> Result<(), String> {
    let mut raw = Raw::connect(broker);
    raw.send(wire::HEADER);
    raw.expect(wire::START);
    raw.send(&wire::start_ok(name, password));
    let frame = raw.next().expect("an answer");
    if frame.id() == wire::CLOSE {
        return Err(Close::of(&frame).text);
    }
    assert_eq!(frame.id(), wire::TUNE);
    raw.send(&[wire::tune_ok(2047, 131_072, 0), wire::open()].concat());
    raw.expect(wire::OPEN_OK);
    raw.open_channel(1);
    raw.round_trip_on_new_queue("q");
    Ok(())
}

const REFUSED: &str = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.";

#[test]
fn it_says_who_somebody_is() {
    let service = Service::start();
    let broker = service.broker(1, "");
    service.was_asked();
    assert_eq!(login(&broker, "hare", "secret"), Ok(()));
    assert_eq!(service.was_asked(), ["GET /auth/user?username=hare&password=secret"]);
    assert_eq!(login(&broker, "a&b c", "wrong=?"), Err(REFUSED.to_owned()));
    assert_eq!(service.was_asked(), ["GET /auth/user?username=a%26b%20c&password=wrong%3D%3F"]);
    // The node is asked as well, behind it.
    assert_eq!(login(&broker, "hare", "of the node"), Ok(()));
    // Whom only the service knows has no permissions.
    assert_eq!(login(&broker, "stranger", "secret"), Err(REFUSED.to_owned()));
}

#[test]
fn what_comes_before_it_is_asked_first() {
    let service = Service::start();
    let broker = service.broker(9, "auth_http.http_method = post\n");
    assert_eq!(login(&broker, "hare", "of the node"), Ok(()));
    assert_eq!(service.was_asked(), [""; 0]);
    assert_eq!(login(&broker, "hare", "secret"), Ok(()));
    assert_eq!(service.was_asked(), ["POST /auth/userusername=hare&password=secret"]);
}

#[test]
fn the_http_api_asks_it_too_and_tags_are_those_of_the_node() {
    let service = Service::start();
    let broker = service.broker(1, "");
    let http = Http::new(broker.http(), "hare", "secret");
    assert_eq!(http.get("/api/whoami").ok()["tags"], json!(["management"]));
    http.get("/api/users").refuses(401, "not_authorised", "Not administrator user");
    Http::new(broker.http(), "hare", "wrong").get("/api/whoami").refuses(401, "not_authorized", "Not_Authorized");
}

#[test]
fn who_cannot_be_asked_lets_nobody_in() {
    let service = Service::start();
    let broker = service.broker(1, "auth_http.request_timeout = 300\nloopback_users.guest = false\n");
    for name in ["silent", "broken", "odd"] {
        assert_eq!(login(&broker, name, "secret"), Err(REFUSED.to_owned()), "{name}");
    }
    assert_eq!(broker.log().matches("the service that was asked about a user").count(), 3, "{}", broker.log());
    assert!(!broker.log().contains("secret"), "passwords are not logged");
}

#[test]
fn what_would_mean_something_else_does_not_start() {
    let scratch = super::support::broker::Scratch::new();
    let config = scratch.file("leveret.conf", "auth_backends.1 = ldap\n");
    let output = leveret().args(["--amqp", "127.0.0.1:0", "--log", "none", "--config"]).arg(config).output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "leveret: auth_backends.1: 'ldap' is not supported; internal and http are\n");
    assert_eq!(output.status.code(), Some(1));
}
