//! The web page: that it is whole, that it can only be what it is; and the tools that it has beside RabbitMQ's API.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::http::{Answer, Http};
use super::support::broker::Broker;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/management/page/assets")
}

/// The files of the page below `assets`, with what is in them.
fn files() -> Vec<(String, String)> {
    let mut folders = vec![folder()];
    let mut found = Vec::new();
    while let Some(folder_at) = folders.pop() {
        for entry in fs::read_dir(folder_at).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder()).expect("below").to_str().expect("text").to_owned();
                found.push((name, fs::read_to_string(&path).expect("text")));
            }
        }
    }
    assert!(found.len() > 20);
    found
}

#[test]
fn every_file_is_served_as_what_it_is() {
    let broker = Broker::start();
    let nobody = Http::nobody(broker.http());
    let mut etags = Vec::new();
    for (name, text) in files() {
        let answer = nobody.get(&format!("/assets/{name}"));
        answer.is(200);
        assert_eq!(answer.text(), text, "{name}");
        let content_type = match name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            other => panic!("what is {other:?}?"),
        };
        assert_eq!(answer.header("content-type"), Some(content_type), "{name}");
        let etag = answer.header("etag").expect("an ETag").to_owned();
        let known = |tag: &str| nobody.send("GET", &format!("/assets/{name}"), &[("if-none-match", tag)], b"");
        assert_eq!((known(&etag).status, known(&etag).body.len()), (304, 0), "{name}");
        assert_eq!(known(&format!("\"other\", W/{etag}")).status, 304);
        known("\"other\"").is(200);
        etags.push(etag);
    }
    etags.sort_unstable();
    etags.dedup();
    assert_eq!(etags.len(), files().len(), "they differ");
    let page = nobody.get("/");
    page.is(200);
    assert_eq!(page.text(), nobody.get("/assets/index.html").text());
}

#[test]
fn nothing_else_may_be_loaded_or_run() {
    let broker = Broker::start();
    let nobody = Http::nobody(broker.http());
    for path in ["/", "/assets/main.js", "/assets/style.css"] {
        let answer = nobody.get(path);
        let policy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";
        assert_eq!(answer.header("content-security-policy"), Some(policy));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        assert_eq!(answer.header("set-cookie"), None);
    }
    for path in ["/assets/none.js", "/assets/", "/assets/../mod.rs", "/assets/%2e%2e/mod.rs", "/assets/views", "/none"] {
        nobody.get(path).refuses(404, "Object Not Found", "Not Found");
    }
    // What it shows is for those who log in.
    nobody.get("/api/leveret/queues/%2F/q/peek").refuses(401, "not_authorized", "Login failed");
}

/// The files say what they import and are imported; no name becomes markup; nobody else is asked for anything.
#[test]
fn the_files_are_a_whole() {
    let files = files();
    let imported = |name: &str, text: &str| {
        let quoted = text.split('"').skip(1).step_by(2);
        let relative = quoted.filter(|path| path.starts_with("./") || path.starts_with("../") || path.starts_with("/assets/"));
        let resolve = |path: &str| match path.strip_prefix("/assets/") {
            Some(path) => path.to_owned(),
            None => {
                let mut at: Vec<&str> = name.split('/').collect();
                at.pop();
                for part in path.split('/') {
                    match part {
                        "." => {}
                        ".." => drop(at.pop()),
                        part => at.push(part),
                    }
                }
                at.join("/")
            }
        };
        relative.map(resolve).collect::<Vec<_>>()
    };
    let wanted: Vec<String> = files.iter().flat_map(|(name, text)| imported(name, text)).collect();
    for name in &wanted {
        assert!(files.iter().any(|(there, _)| there == name), "{name} is imported and not there");
    }
    for (name, text) in &files {
        assert!(name == "index.html" || wanted.contains(name), "nobody imports {name}");
        assert!(text.lines().count() <= 500, "{name} is long");
        for danger in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
            assert!(!text.contains(danger), "{name} has {danger}");
        }
        let addresses = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!addresses.contains("http://") && !addresses.contains("https://"), "{name} knows somebody else");
    }
    let size: usize = files.iter().map(|(_, text)| text.len()).sum();
    assert!(size < 200_000, "{size} bytes");
    let page = &files.iter().find(|(name, _)| name == "index.html").expect("the page").1;
    assert_eq!((page.matches("<script").count(), page.matches("<style").count()), (1, 0), "nothing is inline");
}

fn publish(http: &Http, key: &str, payload: &str, properties: &Json) {
    let body = json!({"routing_key": key, "properties": properties, "payload": payload, "payload_encoding": "string"});
    assert_eq!(http.post("/api/exchanges/%2F/amq.default/publish", &body).ok(), json!({"routed": true}));
}

fn tool(http: &Http, queue: &str, tool: &str, body: &Json) -> Answer {
    http.post(&format!("/api/leveret/queues/%2F/{queue}/{tool}"), body)
}

fn peek(http: &Http, queue: &str, query: &str) -> Json {
    http.get(&format!("/api/leveret/queues/%2F/{queue}/peek{query}")).ok()
}

fn payloads(http: &Http, queue: &str) -> Vec<String> {
    let found = peek(http, queue, "?count=100");
    found["messages"].as_array().expect("a list").iter().map(|message| message["payload"].as_str().expect("text").to_owned()).collect()
}

fn outcome(moved: u64, skipped: u64, unroutable: u64, unroutable_to: &[&str]) -> Json {
    json!({"moved": moved, "skipped": skipped, "unroutable": unroutable, "unroutable_to": unroutable_to, "stopped": null})
}

/// Rejects the first messages of a queue, so that they are dead-lettered.
fn reject(http: &Http, queue: &str, count: u64) {
    let body = json!({"count": count, "ackmode": "reject_requeue_false", "encoding": "auto"});
    assert_eq!(http.post(&format!("/api/queues/%2F/{queue}/get"), &body).ok().as_array().map(Vec::len), usize::try_from(count).ok());
}

/// Queues of these names that dead-letter to `dead`, which is there, too.
fn dead_lettering(http: &Http, names: &[&str]) {
    http.put("/api/queues/%2F/dead", &json!({})).is(201);
    for name in names {
        let arguments = json!({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"});
        http.put(&format!("/api/queues/%2F/{name}"), &json!({"arguments": arguments})).is(201);
    }
}

#[test]
fn a_look_leaves_everything_as_it_is() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/queues/%2F/q", &json!({})).is(201);
    for n in 0..5 {
        publish(&http, "q", &format!("m{n}é"), &json!({"delivery_mode": 2, "headers": {"n": n}}));
    }
    for _ in 0..2 {
        let found = peek(&http, "q", "?count=2&from=1");
        let (messages, on_disk) = (&found["messages"], &found["on_disk"]);
        assert_eq!((messages.as_array().map(Vec::len), on_disk), (Some(2), &json!(0)));
        let first = json!({
            "position": messages[0]["position"], "payload_bytes": 4, "redelivered": false, "exchange": "", "routing_key": "q",
            "properties": {"delivery_mode": 2, "headers": {"n": 1}}, "payload": "m1é", "payload_encoding": "string",
        });
        assert_eq!((&messages[0], &messages[1]["payload"]), (&first, &json!("m2é")));
    }
    // A text is not cut within a character.
    let cut = peek(&http, "q", "?count=1&truncate=3");
    assert_eq!((&cut["messages"][0]["payload"], &cut["messages"][0]["payload_bytes"]), (&json!("m0"), &json!(4)));
    assert_eq!(peek(&http, "q", "?from=9")["messages"], json!([]));
    http.get("/api/leveret/queues/%2F/q/peek?count=x").refuses(400, "bad_request", "count should be a number");
    http.get("/api/leveret/queues/%2F/none/peek").refuses(404, "Object Not Found", "Not Found");
    http.get("/api/leveret/queues/nowhere/q/peek").refuses(404, "Object Not Found", "Not Found");
    let large = "x".repeat(60_000);
    http.put("/api/queues/%2F/large", &json!({})).is(201);
    publish(&http, "large", &large, &json!({}));
    let found = peek(&http, "large", "");
    assert_eq!(
        (found["messages"][0]["payload"].as_str().map(str::len), &found["messages"][0]["payload_bytes"]),
        (Some(50_000), &json!(60_000))
    );
    http.put("/api/queues/%2F/stream", &json!({"durable": true, "arguments": {"x-queue-type": "stream"}})).is(201);
    publish(&http, "stream", "s0", &json!({}));
    publish(&http, "stream", "s1", &json!({}));
    assert_eq!(peek(&http, "stream", "?from=1")["messages"][0]["payload"], "s1");
}

#[test]
fn messages_are_moved_in_order() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    for name in ["a", "b"] {
        http.put(&format!("/api/queues/%2F/{name}"), &json!({})).is(201);
    }
    for n in 0..250 {
        publish(&http, "a", &n.to_string(), &if n == 0 { json!({}) } else { json!({"headers": {"kept": 1}, "message_id": "i"}) });
    }
    assert_eq!(tool(&http, "a", "move", &json!({"destination": "b", "count": 3})).ok(), outcome(3, 0, 0, &[]));
    assert_eq!(payloads(&http, "b"), ["0", "1", "2"]);
    assert_eq!(peek(&http, "b", "?from=1")["messages"][0]["properties"], json!({"headers": {"kept": 1}, "message_id": "i"}));
    assert_eq!(tool(&http, "a", "move", &json!({"destination": "b"})).ok(), outcome(247, 0, 0, &[]));
    assert_eq!(payloads(&http, "a"), Vec::<String>::new());
    assert_eq!(peek(&http, "b", "?from=249")["messages"][0]["payload"], "249");
    // To its own queue each goes once, and to nobody else by its CC header.
    http.put("/api/queues/%2F/c", &json!({})).is(201);
    http.put("/api/queues/%2F/d", &json!({})).is(201);
    publish(&http, "c", "carbon", &json!({"headers": {"CC": ["d"], "kept": 1}}));
    assert_eq!(payloads(&http, "d"), ["carbon"]);
    assert_eq!(tool(&http, "c", "move", &json!({"destination": "c"})).ok(), outcome(1, 0, 0, &[]));
    assert_eq!((payloads(&http, "c"), payloads(&http, "d")), (vec!["carbon".to_owned()], vec!["carbon".to_owned()]));
    assert_eq!(peek(&http, "c", "")["messages"][0]["properties"], json!({"headers": {"kept": 1}}));
}

#[test]
fn what_cannot_go_stays() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/queues/%2F/a", &json!({})).is(201);
    http.put("/api/queues/%2F/full", &json!({"arguments": {"x-max-length": 1, "x-overflow": "reject-publish"}})).is(201);
    for n in 0..3 {
        publish(&http, "a", &n.to_string(), &json!({}));
    }
    assert_eq!(tool(&http, "a", "move", &json!({"destination": "none"})).ok(), outcome(0, 0, 3, &["none"]));
    assert_eq!(payloads(&http, "a"), ["0", "1", "2"]);
    let full = json!({"moved": 1, "skipped": 0, "unroutable": 0, "unroutable_to": [], "stopped": "Unable to publish message. Check queue limits."});
    assert_eq!(tool(&http, "a", "move", &json!({"destination": "full"})).ok(), full);
    assert_eq!((payloads(&http, "a"), payloads(&http, "full")), (vec!["1".to_owned(), "2".to_owned()], vec!["0".to_owned()]));
    let refused = "Unable to publish message. Check queue limits.";
    tool(&http, "a", "move", &json!({"destination": "full"})).refuses(429, "too_many_requests", refused);
    let no_exchange = "404 NOT_FOUND - no exchange 'none' in vhost '/'";
    tool(&http, "a", "move", &json!({"exchange": "none", "routing_key": "k"})).refuses(400, "bad_request", no_exchange);
    let neither = "either destination, a queue, or exchange and routing_key are needed";
    tool(&http, "a", "move", &json!({})).refuses(400, "bad_request", neither);
    tool(&http, "a", "move", &json!({"destination": "b", "exchange": "e"})).refuses(400, "bad_request", neither);
    tool(&http, "a", "move", &json!({"destination": "b", "count": "all"})).refuses(400, "bad_request", "count should be a number");
    tool(&http, "none", "move", &json!({"destination": "a"})).refuses(404, "Object Not Found", "Not Found");
    tool(&http, "a", "redrive", &json!({"to": "middle"})).refuses(400, "bad_request", "to should be first or last");
    assert_eq!(payloads(&http, "a"), ["1", "2"]);
    // Through an exchange, by its bindings.
    http.put("/api/queues/%2F/b", &json!({})).is(201);
    http.post("/api/bindings/%2F/e/amq.topic/q/b", &json!({"routing_key": "k.#"})).is(201);
    assert_eq!(tool(&http, "a", "move", &json!({"exchange": "amq.topic", "routing_key": "k.1"})).ok(), outcome(2, 0, 0, &[]));
    assert_eq!(payloads(&http, "b"), ["1", "2"]);
}

#[test]
fn dead_letters_are_grouped_and_go_back() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    dead_lettering(&http, &["a", "b"]);
    for n in 0..3 {
        publish(&http, "a", &format!("a{n}"), &json!({}));
        publish(&http, "b", &format!("b{n}"), &json!({}));
    }
    reject(&http, "a", 3);
    reject(&http, "b", 2);
    publish(&http, "dead", "alive", &json!({}));
    let found = http.get("/api/leveret/queues/%2F/dead/dead-letters").ok();
    let group = |n: usize| {
        let group = &found["groups"][n];
        assert!(group["first_time"].as_u64() <= group["last_time"].as_u64() && group["last_time"].is_u64());
        (
            group["reason"].as_str(),
            group["queue"].as_str(),
            group["exchange"].as_str(),
            group["count"].as_u64(),
            group["routing_keys"].clone(),
        )
    };
    assert_eq!(group(0), (Some("rejected"), Some("a"), Some(""), Some(3), json!(["a"])));
    assert_eq!(group(1), (Some("rejected"), Some("b"), Some(""), Some(2), json!(["b"])));
    assert_eq!((&found["counted"], &found["not_dead_lettered"], &found["on_disk"]), (&json!(6), &json!(1), &json!(0)));
    // Those that the filter does not mean keep their places.
    let expired = json!({"reason": "expired"});
    assert_eq!(tool(&http, "dead", "redrive", &expired).ok(), outcome(0, 6, 0, &[]));
    assert_eq!(tool(&http, "dead", "redrive", &json!({"queue": "b", "count": 1})).ok(), outcome(1, 3, 0, &[]));
    assert_eq!(payloads(&http, "b"), ["b2", "b0"]);
    assert_eq!(payloads(&http, "dead"), ["a0", "a1", "a2", "b1", "alive"]);
    // Dead letters of a queue that is gone stay, and the others are looked at, too.
    http.delete("/api/queues/%2F/a").is(204);
    assert_eq!(tool(&http, "dead", "redrive", &json!({})).ok(), outcome(1, 1, 3, &["a"]));
    assert_eq!(payloads(&http, "b"), ["b2", "b0", "b1"]);
    assert_eq!(payloads(&http, "dead"), ["a0", "a1", "a2", "alive"]);
    http.put("/api/queues/%2F/other", &json!({})).is(201);
    let filter = json!({"destination": "other", "reason": "rejected", "source": "a"});
    assert_eq!(tool(&http, "dead", "move", &filter).ok(), outcome(3, 1, 0, &[]));
    assert_eq!((payloads(&http, "other").len(), payloads(&http, "dead")), (3, vec!["alive".to_owned()]));
}

/// What died in one queue and then in another goes back to the one that is asked for.
#[test]
fn the_first_death_and_the_last() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    dead_lettering(&http, &["second"]);
    let arguments = json!({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "second"});
    http.put("/api/queues/%2F/first", &json!({"arguments": arguments})).is(201);
    for name in ["one", "two"] {
        publish(&http, "first", name, &json!({}));
    }
    reject(&http, "first", 2);
    reject(&http, "second", 2);
    assert_eq!(tool(&http, "dead", "redrive", &json!({"count": 1, "to": "first"})).ok(), outcome(1, 0, 0, &[]));
    assert_eq!(tool(&http, "dead", "redrive", &json!({"to": "last"})).ok(), outcome(1, 0, 0, &[]));
    assert_eq!((payloads(&http, "first"), payloads(&http, "second")), (vec!["one".to_owned()], vec!["two".to_owned()]));
}

/// Who may not get a message may not look at it; moving needs what getting and publishing need.
#[test]
fn the_tools_need_what_amqp_needs() {
    let broker = Broker::start();
    let guest = Http::guest(broker.http());
    for name in ["a", "b"] {
        guest.put(&format!("/api/queues/%2F/{name}"), &json!({})).is(201);
    }
    publish(&guest, "a", "m", &json!({}));
    guest.put("/api/users/u", &json!({"password": "p", "tags": "management"})).is(201);
    let u = guest.r#as("u", "p");
    let look = |queue: &str| u.get(&format!("/api/leveret/queues/%2F/{queue}/peek"));
    look("a").refuses(401, "not_authorised", "User not authorised to access virtual host");
    guest.put("/api/permissions/%2F/u", &json!({"configure": ".*", "write": ".*", "read": "^b"})).is(201);
    look("a").refuses(401, "not_authorised", "Access refused.");
    u.get("/api/leveret/queues/%2F/a/dead-letters").refuses(401, "not_authorised", "Access refused.");
    assert_eq!(look("b").ok()["messages"], json!([]));
    assert_eq!(tool(&u, "a", "move", &json!({"destination": "b"})).status, 401);
    guest.put("/api/permissions/%2F/u", &json!({"configure": "", "write": "^$", "read": ".*"})).is(204);
    assert_eq!(payloads(&u, "a"), ["m"]);
    assert_eq!(tool(&u, "a", "move", &json!({"destination": "b"})).status, 400);
    assert_eq!((payloads(&guest, "a"), payloads(&guest, "b")), (vec!["m".to_owned()], vec![]));
}
