//! Watching the broker: the firehose and the event exchange, switched on in the configuration file.

use lapin::options::{BasicGetOptions, QueueBindOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};

use crate::support::broker::Broker;
use crate::support::client::{confirming, connect, declare, publish, soon};

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) {
    declare(channel, queue).await;
    let bound = channel.queue_bind(queue.into(), exchange.into(), key.into(), QueueBindOptions::default(), FieldTable::default());
    soon(bound).await.expect("bound");
}

/// The key, the properties and the body of what is next in a queue.
async fn next(channel: &Channel, queue: &str) -> Option<(String, BasicProperties, Vec<u8>)> {
    let got = soon(channel.basic_get(queue.into(), BasicGetOptions { no_ack: true })).await.expect("an answer")?;
    Some((got.routing_key.to_string(), got.properties.clone(), got.data.clone()))
}

fn header(properties: &BasicProperties, name: &str) -> String {
    match properties.headers().as_ref().and_then(|headers| headers.inner().get(name)) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name} is {other:?}"),
    }
}

/// `127.0.0.1:50000 -> 127.0.0.1:5672`
fn assert_names_a_connection(name: &str, broker: &Broker) {
    let (peer, local) = name.split_once(" -> ").expect("two ends");
    assert!(peer.starts_with("127.0.0.1:"), "{name}");
    assert_eq!(local, broker.address().to_string());
}

#[tokio::test]
async fn the_firehose() {
    let broker = Broker::with_config("tracing = true\nnode_name = rabbit@hare\n");
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    bind(&channel, "traces", "amq.rabbitmq.trace", "#").await;
    // Large enough for its body to be shared with the copy.
    let body = vec![7; 100_000];
    publish(&channel, "", "q", &body).await;
    let (_, _, delivered) = next(&channel, "q").await.expect("the message");
    assert!(delivered == body);
    for key in ["publish.", "deliver.q"] {
        let (traced, properties, copy) = next(&channel, "traces").await.expect("a trace");
        assert_eq!(traced, key);
        assert!(copy == body);
        assert_eq!(header(&properties, "user"), "guest");
        assert_eq!(header(&properties, "node"), "rabbit@hare");
        assert_names_a_connection(&header(&properties, "connection"), &broker);
    }
    assert!(next(&channel, "traces").await.is_none());
}

#[tokio::test]
async fn the_event_exchange() {
    let broker = Broker::with_config("event_exchange = true\nnode_name = rabbit@hare\n");
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    bind(&channel, "events", "amq.rabbitmq.event", "connection.*").await;
    let second = connect(&broker).await;
    let (key, properties, body) = next(&channel, "events").await.expect("an event");
    assert_eq!((key.as_str(), body.as_slice()), ("connection.created", &[][..]));
    assert_eq!(header(&properties, "auth_mechanism"), "PLAIN");
    assert_eq!(header(&properties, "node"), "rabbit@hare");
    assert!(header(&properties, "pid").starts_with("<rabbit@hare.1."));
    let name = header(&properties, "name");
    assert_names_a_connection(&name, &broker);
    soon(second.close(200, "bye".into())).await.expect("closed");
    let closed = async {
        loop {
            if let Some(event) = next(&channel, "events").await {
                return event;
            }
        }
    };
    let (key, properties, _) = soon(closed).await;
    assert_eq!(key, "connection.closed");
    assert_eq!(header(&properties, "name"), name);
}

#[tokio::test]
async fn both_are_off_by_default() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    bind(&channel, "traces", "amq.rabbitmq.trace", "#").await;
    publish(&channel, "", "traces", b"a").await;
    assert_eq!(next(&channel, "traces").await.expect("the message itself").0, "traces");
    assert!(next(&channel, "traces").await.is_none());
    let bound =
        channel.queue_bind("traces".into(), "amq.rabbitmq.event".into(), "#".into(), QueueBindOptions::default(), FieldTable::default());
    let error = soon(bound).await.expect_err("no such exchange");
    assert!(error.to_string().contains("NOT_FOUND - no exchange 'amq.rabbitmq.event' in vhost '/'"), "{error}");
}
