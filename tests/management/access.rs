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

/// What anybody may ask, as with RabbitMQ: how to log in, and what a load balancer learns from connecting.
const OPEN: [&str; 7] = [
    "/api/auth",
    "/api/login",
    "/api/version",
    "/api/health/checks/is-in-service",
    "/api/health/checks/below-node-connection-limit",
    "/api/health/checks/ready-to-serve-clients",
    "/api/health/checks/reached-target-cluster-size",
];

/// Every address of the API, from its source, with something for each of its parts.
fn addresses() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/management")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("text");
            let prefix = match () {
                () if path.to_string_lossy().contains("data_plane") => "/v1",
                () if path.to_string_lossy().contains("metrics") || path.to_string_lossy().contains("page") => "",
                () => "/api",
            };
            let routes = text.split(".route(").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
            found.extend(routes.map(|route| format!("{prefix}{route}")));
        }
    }
    let parts = |address: &String| {
        let parts = address.split('/').map(|part| match part {
            "{vhost}" => "%2F",
            part if part.starts_with('{') => "x",
            part => part,
        });
        parts.collect::<Vec<_>>().join("/")
    };
    found.iter().map(parts).collect()
}

/// No address answers somebody who has not said who they are, or who has no tag.
#[test]
fn every_address_wants_to_know_who_asks() {
    let broker = Broker::with_config("test_api = true");
    let guest = Http::guest(broker.http());
    guest.put("/api/users/none", &json!({"password": "p", "tags": ""})).is(201);
    let addresses = addresses();
    assert!(addresses.len() > 60, "{}", addresses.len());
    let is_page = |address: &str| !address.starts_with("/api") && !address.starts_with("/v1") && !address.starts_with("/metrics");
    let closed: Vec<&String> = addresses.iter().filter(|address| !OPEN.contains(&address.as_str()) && !is_page(address)).collect();
    let users = [Http::nobody(broker.http()), guest.r#as("none", "p")];
    // Side by side: who is refused waits.
    std::thread::scope(|scope| {
        for address in closed {
            let users = &users;
            scope.spawn(move || {
                for (method, http) in
                    ["GET", "PUT", "POST", "DELETE"].into_iter().flat_map(|method| users.iter().map(move |http| (method, http)))
                {
                    let answer = http.request(method, address, "{}");
                    assert!(matches!(answer.status, 401 | 405), "{method} {address}: {} {}", answer.status, answer.text());
                }
            });
        }
    });
}

/// What only administrators may: everything about users, and what changes the node.
#[test]
fn administrators_alone() {
    let broker = Broker::start();
    let guest = Http::guest(broker.http());
    for tag in ["management", "policymaker", "monitoring"] {
        guest.put(&format!("/api/users/{tag}"), &json!({"password": "p", "tags": tag})).is(201);
        let body = json!({"configure": ".*", "write": ".*", "read": ".*"});
        guest.put(&format!("/api/permissions/%2F/{tag}"), &body).is(201);
        let user = guest.r#as(tag, "p");
        for (method, address, body) in [
            ("GET", "/api/users", ""),
            ("GET", "/api/users/guest", ""),
            ("PUT", "/api/users/x", r#"{"password": "p", "tags": "administrator"}"#),
            ("DELETE", "/api/users/guest", ""),
            ("POST", "/api/users/bulk-delete", r#"{"users": ["guest"]}"#),
            ("GET", "/api/permissions", ""),
            ("PUT", "/api/permissions/%2F/guest", r#"{"configure": "", "write": "", "read": ""}"#),
            ("DELETE", "/api/permissions/%2F/guest", ""),
            ("GET", "/api/topic-permissions", ""),
            ("PUT", "/api/vhosts/x", "{}"),
            ("DELETE", "/api/vhosts/%2F", ""),
            ("PUT", "/api/vhost-limits/%2F/max-queues", r#"{"value": 0}"#),
            ("PUT", "/api/user-limits/guest/max-connections", r#"{"value": 0}"#),
            ("GET", "/api/definitions", ""),
            ("POST", "/api/definitions", "{}"),
            ("GET", "/api/auth/hash_password/x", ""),
        ] {
            let answer = user.request(method, address, body);
            assert_eq!(answer.status, 401, "{tag}: {method} {address}: {}", answer.text());
        }
        let nodes = user.get("/api/nodes").status;
        assert_eq!(nodes, if tag == "monitoring" { 200 } else { 401 }, "{tag}");
    }
    assert_eq!(guest.get("/api/whoami").ok()["name"], "guest", "and nothing of it has happened");
}

/// A request for the API may have ten million bytes, and a message what a message may have.
#[test]
fn bodies_are_limited() {
    let broker = Broker::with_config("max_message_size = 12000000\n");
    let http = Http::guest(broker.http());
    let body = vec![b' '; 10_000_001];
    for address in ["/api/definitions", "/api/bindings/%2F/e/amq.topic/q/q"] {
        http.send("POST", address, &[], &body).refuses(400, "bad_request", "Exceeded HTTP request body size limit");
    }
    http.put("/api/queues/%2F/q", &json!({})).is(201);
    http.send("POST", "/v1/%2F/exchanges/amq.default?routing_key=q", &[], &body).is(201);
    let answer = http.send("POST", "/v1/%2F/exchanges/amq.default?routing_key=q", &[], &vec![b' '; 12_000_001]);
    answer.refuses(413, "payload_too_large", "the message is too large");
}
