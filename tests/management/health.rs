//! Health checks, and what tools ask about the release and about clusters.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::http::{Answer, Http};
use super::policies::user;
use super::support::broker::{Broker, Home, leveret};
use super::support::eventually;

const NODE: &str = "leveret@localhost";

#[track_caller]
fn fails(answer: &Answer, body: &Json) {
    assert_eq!((answer.status, &answer.json()), (503, body));
}

#[test]
fn all_is_well() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let fine = json!({"status": "ok"});
    for check in [
        "alarms",
        "local-alarms",
        "virtual-hosts",
        "certificate-expiration/1/weeks",
        "certificate-expiration/-1/days",
        "is-in-service",
        "ready-to-serve-clients",
        "metadata-store/initialized",
        "metadata-store/initialized/with-data",
        "quorum-queues-without-elected-leaders/all-vhosts",
        "quorum-queues-without-elected-leaders/all-vhosts/pattern/.*",
        "quorum-queues-without-elected-leaders/vhost/%2F",
        "quorum-queues-without-elected-leaders/vhost/%2F/pattern/.*",
        "reached-target-cluster-size",
    ] {
        assert_eq!(http.get(&format!("/api/health/checks/{check}")).ok(), fine, "{check}");
    }
    for path in ["/api/aliveness-test/%2F", "/api/healthchecks/node", "/api/healthchecks/node/leveret@localhost"] {
        assert_eq!(http.get(path).ok(), fine, "{path}");
    }
    let critical = json!({"status": "ok", "reason": "single node cluster"});
    assert_eq!(http.get("/api/health/checks/node-is-quorum-critical").ok(), critical);
    for path in ["/api/aliveness-test/nothing", "/api/healthchecks/node/nothing", "/api/health/checks/nothing"] {
        http.get(path).refuses(404, "Object Not Found", "Not Found");
    }
    http.get("/api/health/checks/certificate-expiration/1/fortnights").refuses(
        400,
        "bad_request",
        "Time unit not recognised. Supported units: days, weeks, months, years.",
    );
    http.get("/api/health/checks/certificate-expiration/x/days").refuses(400, "bad_request", "Invalid expiration value.");
}

#[test]
fn listeners_by_port_and_by_protocol() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let (amqp, api) = (broker.address().port(), broker.http().port());
    for port in [amqp, api] {
        assert_eq!(http.get(&format!("/api/health/checks/port-listener/{port}")).ok(), json!({"status": "ok", "port": port}));
    }
    let failed = json!({"status": "failed", "reason": "No active listener", "missing": 9, "ports": [amqp, api]});
    fails(&http.get("/api/health/checks/port-listener/9"), &failed);
    http.get("/api/health/checks/port-listener/x").refuses(400, "bad_request", "Invalid port");
    for (named, protocol) in [("amqp", "amqp"), ("amqp091", "amqp"), ("AMQP0-9-1", "amqp"), ("http", "http"), ("management", "http")] {
        let found = http.get(&format!("/api/health/checks/protocol-listener/{named}")).ok();
        assert_eq!(found, json!({"status": "ok", "protocol": protocol}));
    }
    let failed = json!({"status": "failed", "reason": "No active listener", "missing": "amqp/ssl", "protocols": ["amqp", "http"]});
    fails(&http.get("/api/health/checks/protocol-listener/amqps"), &failed);
}

#[test]
fn alarms_are_failures() {
    let broker = Broker::with_config("vm_memory_high_watermark.absolute = 1\ntotal_memory_available_override_value = 1GB\n");
    let http = Http::guest(broker.http());
    // A message that stays is more than the watermark.
    http.put("/api/queues/%2F/q", &json!({"durable": true})).is(201);
    let message = json!({"routing_key": "q", "properties": {}, "payload": "x", "payload_encoding": "string"});
    http.post("/api/exchanges/%2F/amq.default/publish", &message);
    eventually("the alarm", || (http.get("/api/health/checks/alarms").status == 503).then_some(()));
    let alarms = json!([{"node": NODE, "resource": "memory"}]);
    let failed = |reason: &str| json!({"status": "failed", "reason": reason, "alarms": alarms});
    fails(&http.get("/api/health/checks/alarms"), &failed("There are alarms in effect in the cluster"));
    fails(&http.get("/api/health/checks/local-alarms"), &failed("There are alarms in effect on the node"));
    let reason = "resource alarm(s) in effect:[{resource_limit,memory,leveret@localhost}]";
    fails(&http.get("/api/healthchecks/node"), &json!({"status": "failed", "reason": reason}));
    http.delete("/api/queues/%2F/q/contents").is(204);
    eventually("the end of the alarm", || (http.get("/api/health/checks/alarms").status == 200).then_some(()));
}

#[test]
fn the_connection_limit() {
    let unlimited = Broker::start();
    let status = Http::guest(unlimited.http()).get("/api/health/checks/below-node-connection-limit").ok();
    assert_eq!((&status["status"], &status["limit"]), (&json!("ok"), &json!("infinity")));
    let broker = Broker::with_config("connection_max = 1\n");
    let http = Http::guest(broker.http());
    let status = http.get("/api/health/checks/below-node-connection-limit").ok();
    assert_eq!(status, json!({"status": "ok", "limit": 1, "connections": 0}));
    let _connection = std::net::TcpStream::connect(broker.address()).expect("a connection");
    eventually("the limit", || (http.get("/api/health/checks/below-node-connection-limit").status == 503).then_some(()));
    let failed = json!({"status": "failed", "reason": "node connection limit is reached", "limit": 1, "connections": 1});
    fails(&http.get("/api/health/checks/below-node-connection-limit"), &failed);
    fails(&http.get("/api/health/checks/ready-to-serve-clients"), &failed);
}

#[test]
fn certificates_that_end() {
    let home = Home::new();
    let mut command = leveret();
    command.args(["--tls", "auto", "--amqps", "127.0.0.1:0"]);
    let broker = home.start_with(command);
    let http = Http::guest(broker.http());
    assert_eq!(http.get("/api/health/checks/certificate-expiration/0/days").ok(), json!({"status": "ok"}));
    let answer = http.get("/api/health/checks/certificate-expiration/100/years");
    assert_eq!(answer.status, 503, "{}", answer.text());
    let found = answer.json();
    assert_eq!((&found["status"], &found["reason"]), (&json!("failed"), &json!("Certificates expiring")));
    let listener = &found["expired"][0];
    assert_eq!((&listener["node"], &listener["protocol"], &listener["interface"]), (&json!(NODE), &json!("amqp/ssl"), &json!("127.0.0.1")));
    assert!(listener["certfile_expires_on"][0].as_str().is_some_and(|on| on.ends_with('Z')), "{found}");
}

/// V24.
#[test]
fn aliveness_leaves_a_queue_behind_where_it_does_in_rabbitmq() {
    for (profile, queues) in [("3.13", &["aliveness-test"][..]), ("4.0", &[])] {
        let broker = Broker::with_config(&format!("compat = {profile}\n"));
        let http = Http::guest(broker.http());
        http.get("/api/aliveness-test/%2F").ok();
        let definitions = http.get("/api/definitions").ok();
        let names: Vec<&str> =
            definitions["queues"].as_array().expect("a list").iter().filter_map(|queue| queue["name"].as_str()).collect();
        assert_eq!(names, queues, "{profile}");
    }
}

#[test]
fn who_may_look() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let nobody = Http::nobody(broker.http());
    for check in ["is-in-service", "below-node-connection-limit", "ready-to-serve-clients", "reached-target-cluster-size"] {
        nobody.get(&format!("/api/health/checks/{check}")).ok();
    }
    for path in ["health/checks/alarms", "health/checks/virtual-hosts", "aliveness-test/%2F", "healthchecks/node", "feature-flags"] {
        nobody.get(&format!("/api/{path}")).refuses(401, "not_authorized", "Login failed");
    }
    http.put("/api/vhosts/v", &json!({})).is(201);
    let management = user(&http, "management", "v");
    management.get("/api/health/checks/alarms").ok();
    management.get("/api/aliveness-test/v").ok();
    management.get("/api/aliveness-test/%2F").refuses(401, "not_authorised", "User not authorised to access virtual host");
    management.get("/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts").refuses(
        401,
        "not_authorised",
        "Not monitor user",
    );
    for path in ["/api/feature-flags", "/api/deprecated-features", "/api/deprecated-features/used"] {
        management.get(path).refuses(401, "not_authorised", "Not administrator user");
    }
    management.post("/api/rebalance/queues", &json!({})).refuses(401, "not_authorised", "Not administrator user");
    management.get(&format!("/api/auth/attempts/{NODE}")).refuses(401, "not_authorised", "Not monitor user");
}

#[test]
fn what_the_release_can_do() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let flags = http.get("/api/feature-flags").ok();
    let flags = flags.as_array().expect("a list");
    assert!(flags.iter().all(|flag| flag["state"] == "enabled"));
    let named = |name: &str| flags.iter().find(|flag| flag["name"] == name);
    assert_eq!(named("quorum_queue").expect("a flag")["stability"], "required");
    assert!(named("rabbitmq_4.1.0").is_some() && named("rabbitmq_4.3.0").is_some());
    http.put("/api/feature-flags/quorum_queue/enable", &json!({"name": "quorum_queue"})).is(204);
    http.put("/api/feature-flags/nothing/enable", &json!({"name": "nothing"})).refuses(400, "bad_request", "unsupported");
    let old = Broker::with_config("compat = 3.13\n");
    let old = Http::guest(old.http());
    assert!(old.get("/api/feature-flags").ok().as_array().expect("a list").iter().all(|flag| flag["name"] != "rabbitmq_4.1.0"));
    assert_eq!(Http::nobody(broker.http()).get("/api/version").ok(), "4.3.5");
    assert_eq!(old.get("/api/version").ok(), "3.13.7");
    let names = |path: &str| {
        let rows = http.get(path).ok();
        rows.as_array().expect("a list").iter().map(|row| row["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("/api/deprecated-features"), ["global_qos", "transient_nonexcl_queues"]);
    assert_eq!(names("/api/deprecated-features/used"), [""; 0]);
    http.put("/api/queues/%2F/q", &json!({"durable": false})).is(201);
    assert_eq!(names("/api/deprecated-features/used"), ["transient_nonexcl_queues"]);
}

#[test]
fn attempts_to_log_in_are_counted() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    let path = format!("/api/auth/attempts/{NODE}");
    http.r#as("guest", "wrong").get("/api/whoami").is(401);
    let row = |protocol: &str, failed: u64, succeeded: u64| json!({"protocol": protocol, "auth_attempts": failed + succeeded, "auth_attempts_failed": failed, "auth_attempts_succeeded": succeeded});
    assert_eq!(http.get(&path).ok(), json!([row("http", 1, 1)]));
    assert_eq!(http.get(&format!("{path}/source")).ok(), json!([]));
    assert!(!logs_in(broker.address(), "wrong"));
    assert!(logs_in(broker.address(), "guest"));
    assert_eq!(http.get(&path).ok()[0], row("amqp091", 1, 1));
    http.delete(&path).is(204);
    assert_eq!(http.get(&path).ok(), json!([row("http", 0, 1)]), "this one");
    http.get("/api/auth/attempts/nothing").refuses(404, "Object Not Found", "Not Found");
}

/// Whether guest gets in with this password over AMQP.
fn logs_in(address: SocketAddr, password: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let uri = format!("amqp://guest:{password}@{address}/%2f");
    let connected = async {
        let connection = lapin::Connection::connect(&uri, lapin::ConnectionProperties::default());
        tokio::time::timeout(Duration::from_secs(20), connection).await.expect("in time")
    };
    runtime.block_on(connected).is_ok()
}

#[test]
fn logging_in_gives_a_cookie() {
    let broker = Broker::start();
    let nobody = Http::nobody(broker.http());
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = nobody.send("POST", "/api/login", &form, b"username=guest&password=guest");
    assert_eq!(answer.ok(), "ok");
    assert_eq!(answer.header("set-cookie"), Some("auth=Z3Vlc3Q6Z3Vlc3Q=; Version=1"));
    nobody.send("POST", "/api/login", &form, b"username=guest&password=x").refuses(401, "not_authorized", "Not_Authorized");
    nobody.send("POST", "/api/login", &form, b"").refuses(401, "not_authorized", "Login failed");
    nobody.get("/api/login").is(405);
    assert_eq!(nobody.get("/api/auth").ok(), json!({"oauth_enabled": false}));
}

#[test]
fn one_node_is_a_cluster() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    http.post("/api/rebalance/queues", &json!({})).is(204);
    http.put("/api/queues/%2F/q", &json!({"durable": true, "arguments": {"x-queue-type": "quorum"}})).is(201);
    http.put("/api/queues/%2F/c", &json!({"durable": true})).is(201);
    let replicas = "/api/queues/quorum/%2F/q/replicas";
    http.post(&format!("{replicas}/add"), &json!({"node": NODE})).is(204);
    http.post(&format!("{replicas}/add"), &json!({"node": "other"})).refuses(503, "service_unavailable", "node_not_running");
    http.post(&format!("{replicas}/add"), &json!({})).refuses(400, "bad_request", "[{key_missing,node}]");
    http.request("DELETE", &format!("{replicas}/delete"), &json!({"node": NODE}).to_string()).refuses(
        503,
        "service_unavailable",
        "last_node",
    );
    http.post("/api/queues/quorum/%2F/c/replicas/add", &json!({"node": NODE})).refuses(
        503,
        "service_unavailable",
        "classic_queue_not_supported",
    );
    http.post("/api/queues/quorum/%2F/nothing/replicas/add", &json!({"node": NODE})).is(404);
    assert_eq!(http.get("/api/queues/quorum/%2F/q/status").ok(), json!([{"Node Name": NODE, "Raft State": "leader"}]));
    http.post(&format!("/api/queues/quorum/replicas/on/{NODE}/grow"), &json!({"strategy": "all"})).is(204);
    http.delete(&format!("/api/queues/quorum/replicas/on/{NODE}/shrink")).is(204);
    http.get("/api/federation-links").refuses(404, "Object Not Found", "Not Found");
    assert_eq!(http.get("/api/stream/connections").ok(), json!([]));
}
