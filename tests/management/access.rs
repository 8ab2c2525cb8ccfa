//! Who is let in, and who is not.

use std::time::{Duration, Instant};

use serde_json::json;

use super::http::Http;
use super::support::broker::Broker;

#[test]
fn nobody_gets_anything() {
    let broker = Broker::start();
    let nobody = Http::nobody(broker.http());
    for path in ["/api/whoami", "/api/users", "/api/permissions"] {
        let answer = nobody.get(path);
        answer.refuses(401, "not_authorized", "Login failed");
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"RabbitMQ Management\""));
    }
    nobody.get("/api/nothing").refuses(404, "Object Not Found", "Not Found");
}

/// Guessing takes its time, and what is said does not tell a wrong name from a wrong password.
#[test]
fn who_guesses_waits() {
    let broker = Broker::start();
    for (user, password) in [("guest", "wrong"), ("nobody", "guest"), ("guest", "")] {
        let began = Instant::now();
        Http::new(broker.http(), user, password).get("/api/whoami").refuses(401, "not_authorized", "Not_Authorized");
        assert!(began.elapsed() >= Duration::from_millis(250));
    }
    assert!(!broker.log().contains("wrong\""), "passwords are not logged");
}

#[test]
fn who_has_no_tag_of_the_api_is_not_let_in() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    for tags in ["", "impersonator", "custom"] {
        let status = http.put("/api/users/u", &json!({"password": "p", "tags": tags})).status;
        assert!(matches!(status, 201 | 204));
        http.r#as("u", "p").get("/api/whoami").refuses(401, "not_authorised", "Not management user");
    }
}

/// A client that is refused while it still sends hears why.
#[test]
fn who_is_refused_before_all_was_sent_is_told() {
    use std::io::{Read, Write};
    let broker = Broker::start();
    let mut stream = std::net::TcpStream::connect(broker.http()).expect("the HTTP API");
    let body = vec![b'x'; 60_000];
    write!(stream, "POST /api/bindings HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len())
        .expect("written");
    for part in body.chunks(10_000) {
        stream.write_all(part).expect("nobody hangs up");
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 405 ") || answer.starts_with("HTTP/1.1 401 "), "{answer}");
}
