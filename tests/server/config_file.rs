//! Settings of the configuration file take effect.

use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};

use crate::support::broker::Broker;
use crate::support::client::{self, confirming, connect, declare, publish, ready, soon, text};
use crate::support::raw::{Close, Raw};
use crate::support::wire::{self, Fields};

/// Connects with these credentials up to connection.tune or a refusal.
fn log_in(broker: &Broker, user: &str, password: &str) -> (Raw, crate::support::raw::Frame) {
    let mut raw = Raw::connect(broker);
    raw.send(wire::HEADER);
    raw.expect(wire::START);
    raw.send(&wire::start_ok(user, password));
    let answer = raw.next().expect("an answer");
    (raw, answer)
}

#[test]
fn what_tune_proposes() {
    let broker = Broker::with_config("heartbeat = 7\nframe_max = 65536\nchannel_max = 12\n");
    let (_, tune) = log_in(&broker, "guest", "guest");
    assert_eq!(tune.id(), wire::TUNE);
    assert_eq!(tune.arguments(), Fields::new().short(12).long(65_536).short(7).0);
}

#[test]
fn channel_max_is_enforced() {
    let broker = Broker::with_config("channel_max = 2\n");
    let mut raw = Raw::connect(&broker);
    raw.send(wire::HEADER);
    raw.expect(wire::START);
    raw.send(&wire::start_ok("guest", "guest"));
    raw.expect(wire::TUNE);
    raw.send(&[wire::tune_ok(2, 131_072, 0), wire::open()].concat());
    raw.expect(wire::OPEN_OK);
    raw.open_channel(5);
    raw.open_channel(1);
    raw.send(&wire::channel_open(2));
    let text = "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)".to_owned();
    assert_eq!(raw.closed(), Close { code: 530, text, id: (0, 0) });
}

#[test]
fn frame_max_is_enforced() {
    let broker = Broker::with_config("frame_max = 8192\n");
    let mut raw = Raw::connect(&broker);
    raw.send(wire::HEADER);
    raw.expect(wire::START);
    raw.send(&wire::start_ok("guest", "guest"));
    raw.expect(wire::TUNE);
    raw.send(&[wire::tune_ok(2047, 8192, 0), wire::open(), wire::channel_open(1)].concat());
    raw.skip_to(wire::CHANNEL_OPEN_OK);
    raw.send_regardless(&wire::frame(3, 1, &[0; 8193]));
    let close = Close::of(&raw.expect(wire::CLOSE));
    assert_eq!(close.code, 501);
    assert!(close.text.contains("{frame_too_large,8193,8184}"), "{}", close.text);
}

#[test]
fn deliveries_are_split_at_the_negotiated_frame_max() {
    let broker = Broker::start();
    let mut raw = Raw::connect(&broker);
    raw.send(wire::HEADER);
    raw.expect(wire::START);
    raw.send(&wire::start_ok("guest", "guest"));
    raw.expect(wire::TUNE);
    raw.send(&[wire::tune_ok(2047, 4096, 0), wire::open(), wire::channel_open(1)].concat());
    raw.skip_to(wire::CHANNEL_OPEN_OK);
    raw.declare("q", 0);
    raw.send(&[wire::publish_method(1, "", "q"), wire::content_header(1, 10_000)].concat());
    for part in [vec![1; 4000], vec![2; 4000], vec![3; 2000]] {
        raw.send(&wire::body(1, &part));
    }
    raw.send(&wire::get(1, "q"));
    raw.expect(wire::GET_OK);
    raw.next().expect("a content header");
    let sizes: Vec<usize> = (0..3).map(|_| raw.next().expect("a body frame").payload.len()).collect();
    assert_eq!(sizes, [4088, 4088, 1824]);
}

#[test]
fn the_default_user() {
    let broker = Broker::with_config("default_user = hare\ndefault_pass = carrot\n");
    assert_eq!(log_in(&broker, "hare", "carrot").1.id(), wire::TUNE);
    for (user, password) in [("guest", "guest"), ("hare", "guest"), ("hare", "")] {
        let (mut raw, answer) = log_in(&broker, user, password);
        assert_eq!((answer.id(), Close::of(&answer).code), (wire::CLOSE, 403), "{user}/{password}");
        raw.send(&wire::method(0, wire::CLOSE_OK, &Fields::new()));
        raw.ends();
    }
}

#[test]
fn what_the_default_user_may_do() {
    let broker = Broker::with_config("default_permissions.configure = ^q$\ndefault_permissions.write = ^$\n");
    let mut raw = Raw::channel(&broker);
    assert_eq!(raw.declare("q", 0), 0);
    raw.send(&wire::queue_declare(1, "other", 0));
    let close = Close::of(&raw.expect(wire::CHANNEL_CLOSE));
    assert_eq!(close.code, 403, "{}", close.text);
}

#[test]
fn clients_are_told_what_the_cluster_is_called() {
    for (lines, name) in [("cluster_name = meadow\n", "meadow"), ("node_name = rabbit@hare\n", "rabbit@hare"), ("", "leveret@localhost")] {
        let broker = Broker::with_config(lines);
        let mut raw = Raw::connect(&broker);
        raw.send(wire::HEADER);
        let start = raw.next().expect("connection.start");
        let told = String::from_utf8_lossy(&start.payload).into_owned();
        let after = told.split("cluster_name").nth(1).expect("a name of the cluster");
        assert!(after[5..].starts_with(name), "{told}");
    }
}

#[tokio::test]
async fn the_default_vhost() {
    let broker = Broker::with_config("default_vhost = meadow\n");
    let uri = |vhost: &str| format!("amqp://guest:guest@{}/{vhost}", broker.address());
    let connection = soon(Connection::connect(&uri("meadow"), ConnectionProperties::default())).await.expect("the vhost");
    assert!(connection.status().connected());
    let error = soon(Connection::connect(&uri("%2f"), ConnectionProperties::default())).await.expect_err("no such vhost");
    assert!(error.to_string().contains("NOT_ALLOWED - vhost / not found"), "{error}");
}

#[tokio::test]
async fn the_default_bound_refuses_publishes() {
    let broker = Broker::with_config("default_max_length = 3\ndefault_overflow = reject-publish\n");
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    let mut confirmations = Vec::new();
    for body in ["1", "2", "3", "4", "5"] {
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish("".into(), "q".into(), options, body.as_bytes(), BasicProperties::default());
        confirmations.push(soon(soon(sent).await.expect("sent")).await.expect("a confirm"));
    }
    let acks: Vec<bool> = confirmations.iter().map(Confirmation::is_ack).collect();
    assert_eq!(acks, [true, true, true, false, false]);
    assert_eq!(ready(&channel, "q").await, 3);
}

#[tokio::test]
async fn the_default_bound_drops_heads() {
    let broker = Broker::with_config("default_max_length = 3\n");
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    for body in ["1", "2", "3", "4", "5"] {
        publish(&channel, "", "q", body.as_bytes()).await;
    }
    assert_eq!(ready(&channel, "q").await, 3);
    let first = soon(channel.basic_get("q".into(), Default::default())).await.expect("an answer").expect("a message");
    assert_eq!(text(&first.data), "3");
}

#[tokio::test]
async fn the_default_bound_counts_bytes() {
    let broker = Broker::with_config("default_max_length_bytes = 2k\n");
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    for _ in 0..5 {
        publish(&channel, "", "q", &[7; 1000]).await;
    }
    assert_eq!(ready(&channel, "q").await, 2);
}

#[test]
fn a_message_larger_than_max_message_size_closes_the_channel() {
    let broker = Broker::with_config("max_message_size = 1000\n");
    let mut raw = Raw::channel(&broker);
    raw.declare("q", 0);
    raw.send(&wire::publish(1, "", "q", &[7; 1000]));
    raw.send(&wire::publish(1, "", "q", &[7; 1001]));
    let close = Close::of(&raw.expect(wire::CHANNEL_CLOSE));
    let text = "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000".to_owned();
    assert_eq!(close, Close { code: 406, text, id: wire::PUBLISH });
    raw.send(&wire::method(1, wire::CHANNEL_CLOSE_OK, &Fields::new()));
    raw.open_channel(1);
    assert_eq!(raw.declare("q", 1), 1);
}

#[test]
fn connection_max_counts_open_connections() {
    let broker = Broker::with_config("connection_max = 1\n");
    let mut first = Raw::channel(&broker);
    let (mut second, _) = log_in(&broker, "guest", "guest");
    second.send(&[wire::tune_ok(2047, 131_072, 0), wire::open()].concat());
    let close = second.closed();
    assert_eq!((close.code, close.text.as_str()), (530, "NOT_ALLOWED - connection refused: node connection limit (1) is reached"));
    first.round_trip_on_new_queue("q");
}

#[test]
fn consumer_max_per_channel_is_enforced() {
    let broker = Broker::with_config("consumer_max_per_channel = 1\n");
    let mut raw = Raw::channel(&broker);
    raw.declare("q", 0);
    raw.send(&wire::consume(1, "q", 0));
    raw.expect(wire::CONSUME_OK);
    raw.send(&wire::consume(1, "q", 0));
    assert_eq!(raw.closed().code, 530);
}

#[tokio::test]
async fn the_log_level() {
    let broker = Broker::with_config("log.console.level = error\n");
    let connection = connect(&broker).await;
    let _channel = client::channel(&connection).await;
    soon(connection.close(200, "".into())).await.expect("closed");
    assert_eq!(broker.log(), "");
}
