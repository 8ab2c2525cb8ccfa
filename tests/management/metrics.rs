//! Metrics for Prometheus: names and labels as RabbitMQ's dashboards ask for them, values as AMQP clients have caused them.

use std::collections::BTreeMap;

use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicRejectOptions, ExchangeDeclareOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use serde_json::json;

use super::exposition::Exposition;
use super::http::Http;
use super::support::broker::{Broker, Home};
use super::support::client::{
    arguments, bind, channel, confirming, connect, consume, consume_with, declare, declare_with, next, prefetch, publish, soon, words,
};
use super::support::eventually;

const CONFIG: &str = "prometheus.tcp.port = 0\nprometheus.tcp.ip = 127.0.0.1\n";
/// A name that would end a label, and its line, if it were not escaped. RabbitMQ takes line feeds out of names.
const ODD: &str = "o\"dd\\} 1 é{";

#[track_caller]
fn scrape(broker: &Broker, path: &str) -> Exposition {
    let answer = Http::nobody(broker.metrics()).get(path);
    answer.is(200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4"));
    Exposition::parse(&answer.text())
}

/// Does a bit of everything, and returns what has to stay open.
async fn busy(broker: &Broker) -> (Connection, [Channel; 3]) {
    let connection = connect(broker).await;
    let publisher = confirming(&connection).await;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    declare(&publisher, ODD).await;
    declare(&publisher, ODD).await;
    declare_with(&publisher, "quorum", durable, arguments(&[("x-queue-type", words("quorum"))])).await;
    declare_with(&publisher, "stream", durable, arguments(&[("x-queue-type", words("stream"))])).await;
    let short = arguments(&[
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-dead-letter-exchange", words("")),
        ("x-dead-letter-routing-key", words(ODD)),
    ]);
    declare_with(&publisher, "short", QueueDeclareOptions::default(), short).await;
    let fanout =
        soon(publisher.exchange_declare("x".into(), lapin::ExchangeKind::Fanout, ExchangeDeclareOptions::default(), FieldTable::default()));
    fanout.await.expect("an exchange");
    bind(&publisher, ODD, "x", "").await;
    bind(&publisher, "quorum", "x", "").await;
    for _ in 0..3 {
        publish(&publisher, "x", "", b"12345").await;
    }
    publish(&publisher, "", "stream", b"1").await;
    publish(&publisher, "", "short", b"1").await;
    publish(&publisher, "", "short", b"1").await;
    publish(&publisher, "", "nowhere", b"1").await;
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sent = soon(publisher.basic_publish("".into(), "nowhere".into(), mandatory, b"1", BasicProperties::default())).await;
    soon(sent.expect("sent")).await.expect("returned, and confirmed");

    let consumer = channel(&connection).await;
    prefetch(&consumer, 3).await;
    let mut deliveries = consume(&consumer, "quorum").await;
    let first = next(&mut deliveries).await;
    soon(consumer.basic_ack(first.delivery_tag, BasicAckOptions::default())).await.expect("acknowledged");
    for _ in 0..2 {
        next(&mut deliveries).await;
    }
    let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut short = consume_with(&consumer, "short", no_ack).await;
    next(&mut short).await;

    let getter = channel(&connection).await;
    let get = |no_ack| soon(getter.basic_get(ODD.into(), BasicGetOptions { no_ack }));
    let got = get(false).await.expect("an answer").expect("a message");
    let requeue = BasicRejectOptions { requeue: true };
    soon(getter.basic_reject(got.delivery_tag, requeue)).await.expect("rejected");
    get(false).await.expect("an answer").expect("a message");
    get(true).await.expect("an answer").expect("a message");
    assert!(soon(getter.basic_get("short".into(), BasicGetOptions::default())).await.expect("an answer").is_none());
    (connection, [publisher, consumer, getter])
}

#[tokio::test]
async fn values_are_what_clients_have_caused() {
    let broker = Broker::with_config(CONFIG);
    let (connection, _channels) = busy(&broker).await;
    // An ack has no answer: it has been seen by when it is counted.
    let acked = || Some(scrape(&broker, "/metrics")).filter(|all| all.value("rabbitmq_channel_messages_acked_total") == 1.0);
    let all = eventually("the ack is counted", acked);
    for (name, value) in [
        ("rabbitmq_connections", 1.0),
        ("rabbitmq_channels", 3.0),
        ("rabbitmq_consumers", 2.0),
        ("rabbitmq_queues", 4.0),
        ("rabbitmq_connections_opened_total", 1.0),
        ("rabbitmq_connections_closed_total", 0.0),
        ("rabbitmq_channels_opened_total", 3.0),
        ("rabbitmq_queues_declared_total", 5.0),
        ("rabbitmq_queues_created_total", 4.0),
        ("rabbitmq_queues_deleted_total", 0.0),
        // 3 and 1 dead letter less 1 that was got without an ack, and the one in the stream.
        ("rabbitmq_queue_messages", 6.0),
        ("rabbitmq_queue_messages_ready", 3.0),
        ("rabbitmq_queue_messages_unacked", 3.0),
        ("rabbitmq_queue_messages_unacked_bytes", 15.0),
        ("rabbitmq_queue_consumers", 2.0),
        ("rabbitmq_queue_messages_published_total", 9.0),
        ("rabbitmq_exchange_messages_published_total", 8.0),
        ("rabbitmq_channel_messages_published_total", 8.0),
        ("rabbitmq_channel_messages_confirmed_total", 8.0),
        ("rabbitmq_channel_messages_unroutable_returned_total", 1.0),
        ("rabbitmq_channel_messages_unroutable_dropped_total", 1.0),
        ("rabbitmq_channel_messages_unacked", 3.0),
        ("rabbitmq_channel_messages_unconfirmed", 0.0),
        ("rabbitmq_consumer_prefetch", 3.0),
        ("rabbitmq_channel_get_ack_total", 2.0),
        ("rabbitmq_channel_get_total", 1.0),
        ("rabbitmq_channel_get_empty_total", 1.0),
        ("rabbitmq_channel_messages_delivered_ack_total", 3.0),
        ("rabbitmq_channel_messages_delivered_total", 1.0),
        ("rabbitmq_connection_channels", 3.0),
        ("rabbitmq_alarms_memory_used_watermark", 0.0),
    ] {
        assert_eq!(all.value(name), value, "{name}");
    }
    let global = |name: &str| all.with(&format!("rabbitmq_global_{name}"), &[("protocol", "amqp091")]);
    assert_eq!([global("messages_received_total"), global("messages_received_confirm_total")], [8.0, 8.0]);
    assert_eq!([global("messages_routed_total"), global("messages_confirmed_total")], [9.0, 8.0]);
    assert_eq!([global("publishers"), global("consumers")], [1.0, 2.0]);
    let of = |name: &str, kind: &str| all.with(&format!("rabbitmq_global_{name}"), &[("protocol", "amqp091"), ("queue_type", kind)]);
    assert_eq!(of("messages_delivered_total", "rabbit_classic_queue"), 4.0);
    assert_eq!(of("messages_delivered_consume_manual_ack_total", "rabbit_quorum_queue"), 3.0);
    assert_eq!(of("messages_acknowledged_total", "rabbit_quorum_queue"), 1.0);
    assert_eq!(of("messages_get_empty_total", "rabbit_classic_queue"), 1.0);
    let died = [("queue_type", "rabbit_classic_queue"), ("dead_letter_strategy", "at_most_once")];
    assert_eq!(all.with("rabbitmq_global_messages_dead_lettered_maxlen_total", &died), 1.0);
    let sizes = |part: &str, labels: &[(&str, &str)]| all.with(&format!("rabbitmq_message_size_bytes_{part}"), labels);
    assert_eq!(sizes("bucket", &[("protocol", "amqp091"), ("le", "100")]), 8.0);
    assert_eq!(sizes("bucket", &[("protocol", "amqp091"), ("le", "+Inf")]), 8.0);
    assert_eq!([sizes("count", &[("protocol", "amqp091")]), sizes("sum", &[("protocol", "amqp091")])], [8.0, 20.0]);
    assert!(all.value("rabbitmq_connection_incoming_bytes_total") > 500.0);
    assert!(all.value("rabbitmq_process_open_fds") > 5.0);
    assert!(all.value("rabbitmq_process_resident_memory_bytes") > 1e6);
    assert!(all.value("rabbitmq_erlang_uptime_seconds") > 0.0);

    // What is gone has been counted.
    soon(connection.close(200, "bye".into())).await.expect("closed");
    let later = eventually("the connection is gone", || {
        Some(scrape(&broker, "/metrics")).filter(|all| all.value("rabbitmq_connections_closed_total") == 1.0)
    });
    assert_eq!([later.value("rabbitmq_connections"), later.value("rabbitmq_channels_closed_total")], [0.0, 3.0]);
    for (key, value) in all.samples.iter().filter(|(key, _)| key.0.ends_with("_total") && !key.0.starts_with("rabbitmq_connection_")) {
        assert!(later.samples[key] >= *value, "{key:?} has fallen");
    }
}

#[tokio::test]
async fn sums_are_those_of_all_objects() {
    let broker = Broker::with_config(CONFIG);
    let (_connection, _channels) = busy(&broker).await;
    let acked = || Some(scrape(&broker, "/metrics")).filter(|all| all.value("rabbitmq_channel_messages_acked_total") == 1.0);
    let sums = eventually("the ack is counted", acked);
    let each = scrape(&broker, "/metrics/per-object");
    let moving = ["process_", "disk_space", "erlang_", "io_"].map(|part| format!("rabbitmq_{part}"));
    let mut compared = 0;
    for name in sums.kinds.keys().filter(|name| !moving.iter().any(|part| name.starts_with(part)) && !name.ends_with("_info")) {
        assert_eq!(sums.kinds[name], each.kinds[name], "{name}");
        assert_eq!(sums.sum(name), each.sum(name), "{name}");
        compared += 1;
    }
    assert!(compared > 70, "{compared}");
    let odd = [("vhost", "/"), ("queue", ODD)];
    assert_eq!(each.with("rabbitmq_queue_messages_ready", &odd), 2.0);
    assert_eq!(each.with("rabbitmq_queue_get_ack_total", &odd), 2.0);
    assert_eq!(each.with("rabbitmq_queue_messages_redelivered_total", &odd), each.sum("rabbitmq_channel_messages_redelivered_total"));
    let info = [odd[0], odd[1], ("queue_type", "rabbit_classic_queue"), ("membership", "leader")];
    assert_eq!(each.with("rabbitmq_queue_info", &info), 1.0);
    assert_eq!(each.with("rabbitmq_exchange_messages_published_total", &[("vhost", "/"), ("exchange", "x")]), 3.0);
    assert_eq!(each.of("rabbitmq_stream_segments").count(), 1);
    let connection = each.labels("rabbitmq_connection_channels")["channel"].clone();
    assert!(connection.ends_with(&format!(" -> {}", broker.address())), "{connection}");
    let first = format!("{connection} (1)");
    assert_eq!(each.with("rabbitmq_channel_messages_published_total", &[("channel", &first), ("vhost", "/")]), 8.0);
    assert_eq!(each.with("rabbitmq_channel_consumers", &[("channel", &first)]), 0.0);
    assert_eq!(each.labels("rabbitmq_identity_info")["rabbitmq_endpoint"], "per-object");

    // The same, where the configuration says so.
    let broker = Broker::with_config(&format!("{CONFIG}prometheus.return_per_object_metrics = true\n"));
    assert_eq!(scrape(&broker, "/metrics").labels("rabbitmq_identity_info")["rabbitmq_endpoint"], "per-object");
}

#[tokio::test]
async fn families_are_those_that_were_asked_for() {
    let broker = Broker::with_config(CONFIG);
    let (_connection, _channels) = busy(&broker).await;
    let http = Http::guest(broker.http());
    http.put("/api/vhosts/other", &json!({})).is(201);
    let names = |path: &str| scrape(&broker, path).kinds.into_keys().collect::<Vec<_>>();
    let identity = ["rabbitmq_build_info", "rabbitmq_identity_info"];
    assert_eq!(names("/metrics/detailed"), identity);
    assert_eq!(names("/metrics/detailed?family=nothing&family=ra_metrics"), identity);
    let some = scrape(&broker, "/metrics/detailed?family=queue_coarse_metrics&family=queue_consumer_count&family=queue_coarse_metrics");
    let mut wanted = ["queue_messages_ready", "queue_messages_unacked", "queue_messages", "queue_consumers", "queue_info"]
        .map(|name| format!("rabbitmq_detailed_{name}"))
        .to_vec();
    wanted.extend(identity.map(str::to_owned));
    wanted.sort();
    assert_eq!(some.kinds.keys().cloned().collect::<Vec<_>>(), wanted);
    assert_eq!(some.of("rabbitmq_detailed_queue_messages").count(), 4);
    assert_eq!(some.with("rabbitmq_detailed_queue_consumers", &[("vhost", "/"), ("queue", "quorum")]), 1.0);
    // Both have queue_consumers.
    scrape(&broker, "/metrics/detailed?family=queue_consumer_count&family=queue_metrics");
    for (vhosts, queues) in [("vhost=/", 4), ("vhost=%2F&vhost=other", 4), ("vhost=other", 0), ("vhost=nowhere", 0)] {
        let of = scrape(&broker, &format!("/metrics/detailed?family=queue_coarse_metrics&family=connection_metrics&{vhosts}"));
        assert_eq!(of.of("rabbitmq_detailed_queue_messages_ready").count(), queues, "{vhosts}");
        assert_eq!(of.of("rabbitmq_detailed_connection_channels").count(), 1, "{vhosts}");
    }
    let cluster = scrape(&broker, "/metrics/detailed?family=vhost_status&family=exchange_bindings&family=exchange_names");
    assert_eq!(cluster.with("rabbitmq_cluster_vhost_status", &[("vhost", "other")]), 1.0);
    let x = [("vhost", "/"), ("exchange", "x"), ("type", "fanout")];
    assert_eq!(cluster.with("rabbitmq_cluster_exchange_bindings", &x), 2.0);
    assert_eq!(cluster.with("rabbitmq_cluster_exchange_name", &x), 1.0);
    let memory = scrape(&broker, "/metrics/memory-breakdown");
    assert!(memory.value("rabbitmq_memory_binary_heap_bytes") > 0.0);
    assert_eq!(memory.labels("rabbitmq_identity_info")["rabbitmq_endpoint"], "memory-breakdown");
}

#[test]
fn who_may_look() {
    let broker = Broker::with_config(CONFIG);
    let open = Http::nobody(broker.metrics());
    let unknown = open.get("/metrics/nothing");
    assert_eq!((unknown.status, unknown.text().as_str()), (404, "Unknown Registry"));
    open.get("/").refuses(404, "Object Not Found", "Not Found");
    open.get("/api/whoami").refuses(404, "Object Not Found", "Not Found");
    open.request("POST", "/metrics", "").is(405);
    let http = Http::guest(broker.http());
    for (user, tags) in [("m", "monitoring"), ("n", "management")] {
        http.put(&format!("/api/users/{user}"), &json!({"password": "p", "tags": tags})).is(201);
    }
    for path in ["/metrics", "/metrics/per-object", "/metrics/detailed?family=queue_metrics"] {
        Http::nobody(broker.http()).get(path).refuses(401, "not_authorized", "Login failed");
        http.r#as("n", "p").get(path).refuses(401, "not_authorised", "Not monitor user");
        let answer = http.r#as("m", "p").get(path);
        answer.is(200);
        Exposition::parse(&answer.text());
    }
}

/// Many queues come in more than one portion.
#[tokio::test]
async fn a_long_answer_is_whole() {
    let broker = Broker::with_config(CONFIG);
    let connection = connect(&broker).await;
    let channel = channel(&connection).await;
    for n in 0..500 {
        declare(&channel, &format!("a queue with a rather long name, of which there are many: {n}")).await;
    }
    let each = scrape(&broker, "/metrics/per-object");
    assert_eq!(each.of("rabbitmq_queue_messages_ready").count(), 500);
    assert_eq!(each.of("rabbitmq_queue_get_empty_total").count(), 500);
    assert_eq!(each.of("rabbitmq_queue_info").count(), 500);
    assert_eq!(each.labels("rabbitmq_identity_info")["rabbitmq_node"], "leveret@localhost");
}

/// What the expressions of RabbitMQ's dashboards are made of: RabbitMQ-Overview (10991), in its form of 2021 and in that of 4.x.
/// docs/METRICS.md lists those that are not here.
const DASHBOARDS: &[(&str, &[&str])] = &[
    ("rabbitmq_build_info", &["rabbitmq_version", "erlang_version"]),
    ("rabbitmq_identity_info", &["rabbitmq_cluster", "rabbitmq_node", "rabbitmq_endpoint"]),
    ("rabbitmq_erlang_uptime_seconds", &[]),
    ("rabbitmq_connections", &[]),
    ("rabbitmq_channels", &[]),
    ("rabbitmq_queues", &[]),
    ("rabbitmq_consumers", &[]),
    ("rabbitmq_channel_consumers", &[]),
    ("rabbitmq_queue_messages_ready", &[]),
    ("rabbitmq_queue_messages_unacked", &[]),
    ("rabbitmq_queue_messages_published_total", &[]),
    ("rabbitmq_channel_messages_published_total", &[]),
    ("rabbitmq_channel_messages_confirmed_total", &[]),
    ("rabbitmq_channel_messages_unconfirmed", &[]),
    ("rabbitmq_channel_messages_unroutable_dropped_total", &[]),
    ("rabbitmq_channel_messages_unroutable_returned_total", &[]),
    ("rabbitmq_channel_messages_redelivered_total", &[]),
    ("rabbitmq_channel_messages_delivered_total", &[]),
    ("rabbitmq_channel_messages_delivered_ack_total", &[]),
    ("rabbitmq_channel_messages_acked_total", &[]),
    ("rabbitmq_channel_get_total", &[]),
    ("rabbitmq_channel_get_ack_total", &[]),
    ("rabbitmq_channel_get_empty_total", &[]),
    ("rabbitmq_global_publishers", &["protocol"]),
    ("rabbitmq_global_consumers", &["protocol"]),
    ("rabbitmq_global_messages_received_total", &["protocol"]),
    ("rabbitmq_global_messages_received_confirm_total", &["protocol"]),
    ("rabbitmq_global_messages_routed_total", &["protocol"]),
    ("rabbitmq_global_messages_confirmed_total", &["protocol"]),
    ("rabbitmq_global_messages_unroutable_dropped_total", &["protocol"]),
    ("rabbitmq_global_messages_unroutable_returned_total", &["protocol"]),
    ("rabbitmq_global_messages_delivered_total", &["protocol", "queue_type"]),
    ("rabbitmq_global_messages_delivered_consume_auto_ack_total", &["protocol", "queue_type"]),
    ("rabbitmq_global_messages_delivered_consume_manual_ack_total", &["protocol", "queue_type"]),
    ("rabbitmq_global_messages_delivered_get_auto_ack_total", &["protocol", "queue_type"]),
    ("rabbitmq_global_messages_delivered_get_manual_ack_total", &["protocol", "queue_type"]),
    ("rabbitmq_global_messages_get_empty_total", &["protocol", "queue_type"]),
    ("rabbitmq_global_messages_redelivered_total", &["protocol", "queue_type"]),
    ("rabbitmq_global_messages_acknowledged_total", &["protocol", "queue_type"]),
    ("rabbitmq_message_size_bytes_bucket", &["protocol", "le"]),
    ("rabbitmq_message_size_bytes_count", &["protocol"]),
    ("rabbitmq_message_size_bytes_sum", &["protocol"]),
    ("rabbitmq_queues_declared_total", &[]),
    ("rabbitmq_queues_created_total", &[]),
    ("rabbitmq_queues_deleted_total", &[]),
    ("rabbitmq_channels_opened_total", &[]),
    ("rabbitmq_channels_closed_total", &[]),
    ("rabbitmq_connections_opened_total", &[]),
    ("rabbitmq_connections_closed_total", &[]),
    ("rabbitmq_process_resident_memory_bytes", &[]),
    ("rabbitmq_resident_memory_limit_bytes", &[]),
    ("rabbitmq_process_open_fds", &[]),
    ("rabbitmq_process_max_fds", &[]),
    ("rabbitmq_process_open_tcp_sockets", &[]),
    ("rabbitmq_process_max_tcp_sockets", &[]),
    ("rabbitmq_disk_space_available_bytes", &[]),
    ("rabbitmq_disk_space_available_limit_bytes", &[]),
];

#[test]
fn dashboards_find_what_they_ask_for() {
    let broker = Home::with_config(CONFIG).start();
    let all = scrape(&broker, "/metrics");
    for (name, labels) in DASHBOARDS {
        let found: BTreeMap<_, _> = all.of(name).collect();
        assert!(!found.is_empty(), "{name}");
        for of in found.keys() {
            labels.iter().for_each(|label| assert!(of.contains_key(*label), "{name} has no {label}"));
        }
        let (family, kind) = match name.rsplit('_').next() {
            Some("bucket") => ("rabbitmq_message_size_bytes", "histogram"),
            Some("info") => (*name, "untyped"),
            Some("total") => (*name, "counter"),
            _ if name.starts_with("rabbitmq_message_size") => continue,
            _ => (*name, "gauge"),
        };
        assert_eq!(all.kinds[family], kind, "{name}");
    }
}
