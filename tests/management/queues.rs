//! Reading queues.

use serde_json::{Value as Json, json};

use super::http::Http;
use super::support::broker::{Broker, Home};
use super::support::raw::Raw;
use super::support::wire;
use super::{all, confirm, manager, monitor, publish};

/// Every counter of `message_stats`, all 0.
fn no_stats() -> Json {
    let names =
        ["ack", "deliver", "deliver_get", "deliver_no_ack", "disk_reads", "disk_writes", "get", "get_empty", "get_no_ack", "publish"];
    let mut stats = json!({});
    for name in names.into_iter().chain(["redeliver"]) {
        stats[name] = json!(0);
        stats[format!("{name}_details")] = json!({"rate": 0.0});
    }
    stats
}

#[test]
fn a_queue_that_was_just_declared_has_every_field() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let mut raw = Raw::channel(&broker);
    raw.declare("q", 2);
    let mut queue = http.get("/api/queues/%2F/q").ok();
    assert!(queue["memory"].as_u64().is_some_and(|bytes| bytes > 0 && bytes < 10_000));
    let idle_since = queue["idle_since"].as_str().expect("a time").to_owned();
    assert!(idle_since.starts_with("20") && idle_since.ends_with("+00:00") && idle_since.len() == 29, "{idle_since}");
    (queue["memory"], queue["idle_since"]) = (json!(0), json!(""));
    let rate = json!({"rate": 0.0});
    let garbage = json!({"max_heap_size": 0, "min_bin_vheap_size": 0, "min_heap_size": 0, "fullsweep_after": 0, "minor_gcs": 0});
    let expected = json!({
        "name": "q", "vhost": "/", "node": "leveret@localhost", "state": "running", "type": "classic",
        "durable": true, "auto_delete": false, "exclusive": false, "arguments": {},
        "messages": 0, "messages_details": rate, "messages_ready": 0, "messages_ready_details": rate,
        "messages_unacknowledged": 0, "messages_unacknowledged_details": rate,
        "messages_ram": 0, "messages_ready_ram": 0, "messages_unacknowledged_ram": 0, "messages_persistent": 0, "messages_paged_out": 0,
        "message_bytes": 0, "message_bytes_ready": 0, "message_bytes_unacknowledged": 0, "message_bytes_ram": 0,
        "message_bytes_persistent": 0, "message_bytes_paged_out": 0, "message_stats": no_stats(),
        "consumers": 0, "consumer_capacity": 0.0, "consumer_utilisation": 0.0,
        "exclusive_consumer_tag": null, "single_active_consumer_tag": null,
        "memory": 0, "policy": null, "operator_policy": null, "effective_policy_definition": {},
        "head_message_timestamp": null, "idle_since": "", "recoverable_slaves": null,
        "reductions": 0, "reductions_details": rate, "garbage_collection": garbage, "backing_queue_status": {"len": 0},
        "consumer_details": [], "incoming": [], "deliveries": [],
    });
    assert_eq!(queue, expected);
    let mut listed = http.get("/api/queues").ok()[0].clone();
    (listed["memory"], listed["idle_since"]) = (json!(0), json!(""));
    let mut in_list = expected;
    for field in ["consumer_details", "incoming", "deliveries"] {
        in_list.as_object_mut().expect("an object").remove(field);
    }
    assert_eq!(listed, in_list);
}

/// What somebody has been told over AMQP, the next request shows.
#[test]
fn counters_are_there_at_once() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let mut raw = Raw::channel(&broker);
    confirm(&mut raw);
    raw.declare("q", 0);
    publish(&mut raw, "", "q", b"hello");
    publish(&mut raw, "", "q", b"world!");
    let queue = http.get("/api/queues/%2F/q").ok();
    assert_eq!((&queue["messages"], &queue["messages_ready"], &queue["message_bytes"]), (&json!(2), &json!(2), &json!(11)));
    assert_eq!((&queue["messages_ram"], &queue["message_stats"]["publish"]), (&json!(2), &json!(2)));
    assert_eq!(queue["backing_queue_status"], json!({"len": 2}));
    raw.send(&wire::consume(1, "q", 0));
    raw.expect(wire::CONSUME_OK);
    let tag = raw.delivery().tag;
    raw.delivery();
    raw.send(&wire::ack(1, tag, 0));
    // In the order in which it was sent: what is answered has been preceded.
    raw.declare("other", 0);
    let queue = http.get("/api/queues/%2F/q").ok();
    assert_eq!((&queue["messages"], &queue["messages_ready"], &queue["messages_unacknowledged"]), (&json!(1), &json!(0), &json!(1)));
    let stats = &queue["message_stats"];
    assert_eq!((&stats["deliver"], &stats["deliver_get"], &stats["ack"]), (&json!(2), &json!(2), &json!(1)));
    assert_eq!((&queue["consumers"], &queue["consumer_utilisation"]), (&json!(1), &json!(1.0)));
    let consumer = &queue["consumer_details"][0];
    assert_eq!(consumer["queue"], json!({"name": "q", "vhost": "/"}));
    assert_eq!((&consumer["ack_required"], &consumer["activity_status"]), (&json!(true), &json!("up")));
    assert_eq!(consumer["channel_details"]["number"], 1);
    // Only quorum queues have a limit.
    assert_eq!(consumer["consumer_timeout"], 0);
    http.put("/api/queues/%2F/quorum", &json!({"durable": true, "arguments": {"x-queue-type": "quorum"}})).is(201);
    let mut raw = Raw::channel(&broker);
    raw.send(&wire::consume(1, "quorum", 0));
    raw.skip_to(wire::CONSUME_OK);
    assert_eq!(http.get("/api/queues/%2F/quorum").ok()["consumer_details"][0]["consumer_timeout"], 1_800_000);
}

#[test]
fn queues_of_other_types_and_exclusive_ones() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    for kind in ["quorum", "stream"] {
        http.put(&format!("/api/queues/%2F/{kind}"), &json!({"durable": true, "arguments": {"x-queue-type": kind}})).is(201);
    }
    let quorum = http.get("/api/queues/%2F/quorum").ok();
    assert_eq!(
        (&quorum["type"], &quorum["delivery_limit"], &quorum["leader"]),
        (&json!("quorum"), &json!(20), &json!("leveret@localhost"))
    );
    assert_eq!((&quorum["members"], &quorum["online"]), (&json!(["leveret@localhost"]), &json!(["leveret@localhost"])));
    assert_eq!(quorum["arguments"], json!({"x-queue-type": "quorum"}));
    let stream = http.get("/api/queues/%2F/stream").ok();
    assert_eq!(
        (&stream["type"], &stream["first_offset"], &stream["readers"]),
        (&json!("stream"), &json!(0), &json!({"leveret@localhost": 0}))
    );
    let mut raw = Raw::channel(&broker);
    raw.declare("mine", 4);
    let mine = http.get("/api/queues/%2F/mine").ok();
    let port = raw.stream.local_addr().expect("an address").port();
    let name = format!("127.0.0.1:{port} -> {}", broker.address());
    assert_eq!(
        (&mine["exclusive"], &mine["owner_pid_details"]),
        (&json!(true), &json!({"name": name, "peer_host": "127.0.0.1", "peer_port": port}))
    );
}

#[test]
fn lists_by_page_sorted_and_in_columns() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let mut raw = Raw::channel(&broker);
    confirm(&mut raw);
    for (name, messages) in [("a", 2), ("b", 10), ("c", 0)] {
        raw.declare(name, 0);
        (0..messages).for_each(|_| publish(&mut raw, "", name, b"x"));
    }
    let page = http.get("/api/queues?page=1&page_size=2&name=&use_regex=false").ok();
    let counts = ["filtered_count", "item_count", "page", "page_count", "page_size", "total_count"].map(|name| page[name].clone());
    assert_eq!(counts, [3, 2, 1, 2, 2, 3].map(|n| json!(n)));
    assert_eq!(all(&page["items"], "name"), ["a", "b"]);
    let names = |query: &str| all(&http.get(&format!("/api/queues{query}")).ok(), "name");
    assert_eq!(names("?sort=messages"), ["c", "a", "b"]);
    assert_eq!(names("?sort=messages&sort_reverse=true"), ["b", "a", "c"]);
    assert_eq!(names("?sort=message_stats.publish"), ["c", "a", "b"]);
    assert_eq!(names("?sort=name&sort_reverse=true"), ["c", "b", "a"]);
    assert_eq!(names("?name=B"), ["b"]);
    assert_eq!(names("/detailed"), ["a", "b", "c"]);
    let paged = |query: &str| all(&http.get(&format!("/api/queues/%2F{query}")).ok()["items"], "name");
    assert_eq!(paged("?page=1&page_size=1&sort=messages&sort_reverse=true"), ["b"]);
    assert_eq!(paged("?page=2&page_size=1&sort=name&sort_reverse=true"), ["b"]);
    assert_eq!(paged("?page=1&name=%5E%5Bbc%5D&use_regex=true"), ["b", "c"]);
    let columns = http.get("/api/queues?columns=name,message_stats.publish_details.rate,nothing&name=a").ok();
    // The rate is of the last seconds: whether it is 0 depends on how long this has taken so far.
    let rate = &columns[0]["message_stats"]["publish_details"]["rate"];
    assert!(rate.as_f64().is_some_and(|rate| rate >= 0.0), "{columns}");
    assert_eq!(columns, json!([{"name": "a", "message_stats": {"publish_details": {"rate": rate}}}]));
    assert_eq!(http.get("/api/queues/%2F/b?columns=messages").ok(), json!({"messages": 10}));
    http.get("/api/queues?page=9").is(400);
    http.get("/api/queues?page=1&page_size=501").is(400);
    let plain = json!({"name": "a", "vhost": "/", "node": "leveret@localhost", "state": "running", "type": "classic", "durable": false,
        "auto_delete": false, "exclusive": false, "arguments": {}});
    assert_eq!(http.get("/api/queues?disable_stats=true&name=a").ok(), json!([plain]));
    let mut totals = plain;
    totals["messages"] = json!(2);
    totals["messages_ready"] = json!(2);
    totals["messages_unacknowledged"] = json!(0);
    let page = http.get("/api/queues?page=1&page_size=1&disable_stats=true&enable_queue_totals=true").ok();
    assert_eq!(page["items"], json!([totals]));
}

#[test]
fn who_sees_which_queues() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/vhosts/other", &json!({})).is(201);
    http.put("/api/queues/%2F/q", &json!({})).is(201);
    http.put("/api/queues/other/p", &json!({})).is(201);
    let (manager, monitor) = (manager(&http), monitor(&http));
    assert_eq!(all(&http.get("/api/queues").ok(), "name"), ["q", "p"]);
    assert_eq!(all(&monitor.get("/api/queues").ok(), "name"), ["q", "p"]);
    assert_eq!(all(&manager.get("/api/queues").ok(), "name"), ["q"]);
    assert_eq!(all(&monitor.get("/api/queues/other").ok(), "name"), ["p"]);
    for path in ["/api/queues/other", "/api/queues/other/p"] {
        manager.get(path).refuses(401, "not_authorised", "User not authorised to access virtual host");
    }
    for path in ["/api/queues/nowhere", "/api/queues/nowhere/q", "/api/queues/%2F/none"] {
        http.get(path).refuses(404, "Object Not Found", "Not Found");
    }
}

/// More than are looked at in one go.
#[test]
fn many_queues_are_listed_whole() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let mut raw = Raw::channel(&broker);
    let names: Vec<String> = (0..1203).map(|n| format!("q{n:05}")).collect();
    names.iter().for_each(|name| raw.send(&wire::queue_declare(1, name, 0)));
    names.iter().for_each(|_| drop(raw.expect(wire::QUEUE_DECLARE_OK)));
    assert_eq!(all(&http.get("/api/queues").ok(), "name"), names);
    assert_eq!(all(&http.get("/api/queues?page=13&page_size=100").ok()["items"], "name"), names[1200..]);
}

#[test]
fn policies_that_apply() {
    let home = Home::new();
    let policy = |name: &str, definition: Json| json!({"vhost": "/", "name": name, "pattern": "^q", "apply-to": "all", "priority": 0, "definition": definition});
    let definitions = json!({
        "users": [{"name": "guest", "password": "guest", "tags": "administrator"}],
        "vhosts": [{"name": "/"}],
        "permissions": [{"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
        "policies": [policy("short", json!({"max-length": 5, "expires": 60_000}))],
    });
    let file = home.scratch().file("definitions.json", &definitions.to_string());
    home.configure(&format!("load_definitions = {}", file.display()));
    let broker = home.start();
    let http = Http::guest(broker.http());
    http.put("/api/queues/%2F/q", &json!({"arguments": {"x-expires": 70_000}})).is(201);
    http.put("/api/queues/%2F/other", &json!({})).is(201);
    let queue = http.get("/api/queues/%2F/q").ok();
    assert_eq!((&queue["policy"], &queue["operator_policy"]), (&json!("short"), &json!(null)));
    assert_eq!(queue["effective_policy_definition"], json!({"max-length": 5, "expires": 60_000}));
    assert_eq!(queue["arguments"], json!({"x-expires": 70_000}));
    let other = http.get("/api/queues/%2F/other").ok();
    assert_eq!((&other["policy"], &other["effective_policy_definition"]), (&json!(null), &json!({})));
}
