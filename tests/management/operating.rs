//! What who looks after a node asks for: its configuration, long lists, tags, metrics over TLS.

use std::io::Read;

use serde_json::json;

use super::http::Http;
use super::support::broker::{Broker, Scratch, leveret};
use super::support::eventually;
use super::support::tls::{Authority, Trust, Tunnel, server_lines};
use super::{all, monitor};

#[test]
fn the_effective_configuration_is_for_administrators() {
    let broker = Broker::with_config("heartbeat = 17\ndefault_user = guest\ndefault_pass = guest\n");
    let http = Http::guest(broker.http());
    let answer = http.get("/api/config/effective");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain")));
    let text = answer.text();
    assert!(text.contains("\nheartbeat = 17\n") && text.contains("\n# default_pass = [redacted]\n"), "{text}");
    monitor(&http).get("/api/config/effective").refuses(401, "not_authorised", "Not administrator user");
}

#[test]
fn the_node_says_where_its_log_is() {
    let scratch = Scratch::new();
    let log = scratch.path("leveret.log").display().to_string();
    let config = scratch.file("leveret.conf", &format!("log.file = {log}\n"));
    let mut command = leveret();
    command.arg("--config").arg(config);
    let broker = Broker::launch(command, scratch);
    let nodes = Http::guest(broker.http()).get("/api/nodes?columns=log_files").ok();
    assert_eq!(nodes, json!([{"log_files": [log, "<stderr>"]}]));
}

#[test]
fn users_come_by_page() {
    let broker = Broker::start();
    let http = Http::guest(broker.http());
    (1..=5).for_each(|number| http.put(&format!("/api/users/u{number}"), &json!({"password": "p", "tags": ""})).is(201));
    let page = http.get("/api/users?page=2&page_size=2&name=%5Eu&use_regex=true&sort=name&sort_reverse=true&columns=name").ok();
    let expected = json!({
        "filtered_count": 5, "item_count": 2, "items": [{"name": "u3"}, {"name": "u2"}],
        "page": 2, "page_count": 3, "page_size": 2, "total_count": 6,
    });
    assert_eq!(page, expected);
    let page = http.get("/api/users/without-permissions?page=1&page_size=3").ok();
    assert_eq!((&page["total_count"], &page["item_count"]), (&json!(5), &json!(3)));
    assert_eq!(all(&http.get("/api/users?columns=name").ok(), "name").len(), 6);
}

#[test]
fn tags_are_said_and_those_of_the_cluster_are_a_parameter() {
    let broker = Broker::with_config("cluster_tags.region = eu\nnode_tags.role = spare\n");
    let http = Http::guest(broker.http());
    let overview = http.get("/api/overview").ok();
    assert_eq!((&overview["cluster_tags"], &overview["node_tags"]), (&json!({"region": "eu"}), &json!({"role": "spare"})));
    let definitions = http.get("/api/definitions").ok();
    let parameters = definitions["global_parameters"].as_array().expect("a list");
    assert!(parameters.contains(&json!({"name": "cluster_tags", "value": {"region": "eu"}})), "{parameters:?}");
    http.put("/api/global-parameters/cluster_tags", &json!({"name": "cluster_tags", "value": {"region": "us"}})).is(204);
    assert_eq!(http.get("/api/overview").ok()["cluster_tags"], json!({"region": "us"}));
    let untagged = Broker::start();
    assert_eq!(Http::guest(untagged.http()).get("/api/overview").ok()["cluster_tags"], json!({}));
}

/// Whether somebody who trusts and shows this gets metrics.
fn is_told(broker: &Broker, trust: &Trust<'_>) -> bool {
    let tunnel = Tunnel::over_tls(broker.metrics_over_tls(), trust);
    let mut stream = Http::nobody(tunnel.address).open("/metrics");
    let mut answer = Vec::new();
    // Where TLS is refused, the tunnel just ends.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    answer.starts_with("HTTP/1.1 200 ") && answer.contains("rabbitmq_identity_info")
}

#[test]
fn metrics_are_served_over_tls_and_certificates_are_read_again() {
    let before = Authority::new();
    let scratch = Scratch::new();
    let lines = server_lines(&scratch, &before, &before.issue("server")).replace("ssl_options.", "prometheus.ssl.");
    let more = "prometheus.ssl.port = 127.0.0.1:0\nprometheus.ssl.verify = verify_peer\nprometheus.ssl.fail_if_no_peer_cert = true\n";
    let config = scratch.file("leveret.conf", &format!("{lines}{more}"));
    let files = [scratch.path("server.pem"), scratch.path("server.key")];
    let mut command = leveret();
    command.arg("--config").arg(config);
    let broker = Broker::launch(command, scratch);
    let client = before.issue("client");
    let trusting =
        |authority: &Authority| is_told(&broker, &Trust { identity: Some(&client), ..Trust::in_authority(&authority.certificate) });
    assert!(trusting(&before));
    assert!(!is_told(&broker, &Trust::in_authority(&before.certificate)), "without a certificate");
    let listening = Http::guest(broker.http()).get("/api/overview").ok();
    assert!(all(&listening["listeners"], "protocol").contains(&json!("https/prometheus")), "{listening}");
    assert!(!all(&listening["listeners"], "protocol").contains(&json!("http/prometheus")), "{listening}");
    let expiring = Http::guest(broker.http()).get("/api/health/checks/certificate-expiration/10000/years").json();
    assert_eq!(expiring["expired"][0]["protocol"], "https/prometheus");

    let after = Authority::new();
    let identity = after.issue("server");
    for (file, text) in files.iter().zip([&identity.certificate, &identity.key]) {
        std::fs::write(file, text).expect("written");
    }
    broker.signal("HUP");
    eventually("the certificate is another", || trusting(&after).then_some(()));
}
