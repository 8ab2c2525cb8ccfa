//! The overview, the node, the cluster's name.

use serde_json::{Value as Json, json};

use super::http::Http;
use super::support::broker::{Broker, End, Home};
use super::support::raw::Raw;
use super::support::wire;
use super::{all, confirm, manager, monitor, publish};

fn names(object: &Json) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn totals_of_everything() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let fresh = http.get("/api/overview").ok();
    assert_eq!(
        fresh["queue_totals"],
        json!({"messages": 0, "messages_details": {"rate": 0.0}, "messages_ready": 0,
        "messages_ready_details": {"rate": 0.0}, "messages_unacknowledged": 0, "messages_unacknowledged_details": {"rate": 0.0}})
    );
    assert_eq!(fresh["object_totals"], json!({"channels": 0, "connections": 0, "consumers": 0, "exchanges": 7, "queues": 0}));
    assert_eq!(
        (&fresh["product_name"], &fresh["rates_mode"], &fresh["node"]),
        (&json!("RabbitMQ"), &json!("basic"), &json!("leveret@localhost"))
    );
    assert_eq!(fresh["rabbitmq_version"], fresh["product_version"]);
    assert_eq!(fresh["leveret_version"], env!("CARGO_PKG_VERSION"));
    let mut raw = Raw::channel(&broker);
    confirm(&mut raw);
    raw.declare("q", 0);
    publish(&mut raw, "", "q", b"x");
    let overview = http.get("/api/overview").ok();
    assert_eq!(overview["object_totals"], json!({"channels": 1, "connections": 1, "consumers": 0, "exchanges": 7, "queues": 1}));
    assert_eq!((&overview["message_stats"]["publish"], &overview["message_stats"]["confirm"]), (&json!(1), &json!(1)));
    assert_eq!(overview["queue_totals"]["messages_ready"], 1);
    let churn = &overview["churn_rates"];
    assert_eq!((&churn["connection_created"], &churn["queue_declared"], &churn["queue_created"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(names(churn).len(), 14);
    assert_eq!(names(&overview["message_stats"]).len(), 28);
    let protocols = all(&overview["listeners"], "protocol");
    assert!(protocols.contains(&json!("amqp")) && protocols.contains(&json!("http")), "{protocols:?}");
    assert_eq!(overview["listeners"][0]["port"], broker.address().port());
    assert_eq!(overview["contexts"][0]["port"], broker.http().port().to_string());
    let vhost = http.get("/api/vhosts/%2F").ok();
    assert_eq!((&vhost["messages"], &vhost["message_stats"]["publish"]), (&json!(1), &json!(1)));
}

/// Who is no monitor is told of its own virtual hosts, and nothing of the node.
#[test]
fn an_overview_of_what_somebody_may_see() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.put("/api/vhosts/other", &json!({})).is(201);
    let (manager, monitor) = (manager(&http), monitor(&http));
    assert_eq!(monitor.get("/api/overview").ok()["object_totals"]["exchanges"], 14);
    let theirs = manager.get("/api/overview").ok();
    assert_eq!(theirs["object_totals"]["exchanges"], 7);
    for hidden in ["node", "listeners", "contexts"] {
        assert!(theirs.get(hidden).is_none(), "{hidden}");
    }
}

#[test]
fn the_node() {
    let home = Home::new();
    let broker = home.start();
    let http = Http::guest(broker.http());
    let nodes = http.get("/api/nodes").ok();
    assert_eq!(all(&nodes, "name"), ["leveret@localhost"]);
    let node = http.get("/api/nodes/leveret@localhost").ok();
    assert_eq!(names(&node), names(&nodes[0]));
    assert_eq!((&node["running"], &node["type"], &node["os_pid"]), (&json!(true), &json!("disc"), &json!(broker.pid().to_string())));
    let number = |field: &str| node[field].as_u64().unwrap_or_else(|| panic!("{field}: {node}"));
    assert!(number("mem_used") > 1_000_000 && number("mem_used") < number("mem_limit"));
    assert!(number("disk_free") > 0 && number("disk_free_limit") > 0);
    assert!(number("fd_used") > 3 && number("fd_used") <= number("fd_total"));
    assert_eq!((&node["rabbitmq_version"], &node["crypto_lib_version"]), (&json!("4.3.5"), &json!("")));
    assert!(number("proc_used") > 0 && number("processors") > 0 && number("context_switches") > 0);
    assert_eq!((&node["mem_alarm"], &node["disk_free_alarm"], &node["partitions"]), (&json!(false), &json!(false), &json!([])));
    assert_eq!(node["mem_used_details"].as_object().map(|details| details.contains_key("rate")), Some(true));
    let mechanisms = node["auth_mechanisms"].as_array().expect("a list");
    assert!(mechanisms.iter().any(|one| one["name"] == "PLAIN" && one["enabled"] == true));
    let memory = http.get("/api/nodes/leveret@localhost/memory").ok()["memory"].clone();
    let parts = ["queue_procs", "connection_other", "other_system"].map(|part| memory[part].as_u64().expect("bytes"));
    assert_eq!(memory["total"]["rss"], parts.iter().sum::<u64>());
    assert!(["metadata_store", "metadata_store_ets"].iter().all(|part| memory[part] == 0), "{memory}");
    let relative = http.get("/api/nodes/leveret@localhost/memory/relative").ok()["memory"].clone();
    assert!(relative["total"] == 100 && relative["other_system"].as_u64().is_some_and(|share| share > 0 && share <= 100));
    for path in ["/api/nodes/x@y", "/api/nodes/x@y/memory", "/api/nodes/x@y/memory/relative"] {
        http.get(path).refuses(404, "Object Not Found", "Not Found");
    }
    let manager = manager(&http);
    for path in ["/api/nodes", "/api/nodes/leveret@localhost", "/api/nodes/leveret@localhost/memory"] {
        manager.get(path).refuses(401, "not_authorised", "Not monitor user");
    }
}

#[test]
fn the_name_of_the_cluster_survives() {
    let home = Home::new();
    let broker = home.start();
    let http = Http::guest(broker.http());
    assert_eq!(http.get("/api/cluster-name").ok(), json!({"name": "leveret@localhost"}));
    let manager = manager(&http);
    manager.put("/api/cluster-name", &json!({"name": "c"})).refuses(401, "not_authorised", "Not administrator user");
    http.put("/api/cluster-name", &json!({})).refuses(400, "bad_request", "[{key_missing,name}]");
    http.put("/api/cluster-name", &json!({"name": "meadow"})).is(204);
    assert_eq!(manager.get("/api/cluster-name").ok(), json!({"name": "meadow"}));
    broker.end(End::Killed);
    let broker = home.start();
    assert_eq!(Http::guest(broker.http()).get("/api/overview").ok()["cluster_name"], "meadow");
    let mut raw = Raw::connect(&broker);
    raw.send(wire::HEADER);
    let start = raw.expect(wire::START);
    assert!(start.payload.windows(6).any(|six| six == b"meadow"), "clients are told");
}

#[test]
fn extensions_and_resets() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    assert_eq!(http.get("/api/extensions").ok(), json!([]));
    http.delete("/api/reset").is(204);
    http.delete("/api/reset/leveret@localhost").is(204);
    http.delete("/api/reset/x@y").refuses(404, "Object Not Found", "Not Found");
    manager(&http).delete("/api/reset").refuses(401, "not_authorised", "Not administrator user");
}
