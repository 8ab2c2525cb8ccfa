//! Bindings: as durable as both their ends (behaviour X23).

use lapin::options::{ExchangeDeclareOptions, ExchangeUnbindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::{BOTH, Client};
use crate::support::broker::Home;
use crate::support::client::{arguments, soon, words};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn bindings_of_every_kind_come_back() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        for (name, kind) in [("words", "topic"), ("next", "fanout"), ("attributes", "headers")] {
            client.exchange(name, kind, &[]).await;
        }
        client.exchange("shares", "x-consistent-hash", &[]).await;
        client.exchange("later", "x-delayed-message", &[("x-delayed-type", words("direct"))]).await;
        client.queue("q", &[]).await;
        for (exchange, key) in [("words", "a.*.c"), ("words", "z.#"), ("next", ""), ("shares", "5"), ("later", "k"), ("amq.direct", "k")] {
            client.bind("q", exchange, key).await;
        }
        client.bind("q", "amq.topic", "long".repeat(60).as_str()).await;
        let both = [("x-match", words("all")), ("colour", words("red")), ("size", AMQPValue::LongInt(3))];
        client.bind_with("q", "attributes", "", &both).await;
        client.link("next", "words", "to.next").await;
        client.link("next", "amq.direct", "to next").await;
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        let long = "long".repeat(60);
        for (exchange, key) in [
            ("words", "a.b.c"),
            ("words", "z"),
            ("next", "anything"),
            ("shares", "anything"),
            ("later", "k"),
            ("amq.direct", "k"),
            ("amq.topic", &long),
            ("words", "to.next"),
            ("amq.direct", "to next"),
        ] {
            assert!(client.is_routed(exchange, key, FieldTable::default()).await, "{exchange} {key} after {how:?}");
        }
        for (exchange, key) in [("words", "a.c"), ("later", "other"), ("amq.direct", "other"), ("attributes", "")] {
            assert!(!client.is_routed(exchange, key, FieldTable::default()).await, "{exchange} {key} after {how:?}");
        }
        assert!(client.is_routed("attributes", "", arguments(&both[1..])).await);
        assert!(!client.is_routed("attributes", "", arguments(&both[1..2])).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_binding_with_a_transient_end_is_gone() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        client.exchange("durable", "fanout", &[]).await;
        client.try_exchange("transient", "fanout", ExchangeDeclareOptions::default(), &[]).await.expect("an exchange");
        client.queue("durable", &[]).await;
        client.try_queue("transient", QueueDeclareOptions::default(), &[]).await.expect("a queue");
        client.bind("transient", "durable", "").await;
        client.bind("durable", "transient", "").await;
        client.link("transient", "durable", "").await;
        client.link("durable", "transient", "").await;
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        client.try_exchange("transient", "fanout", ExchangeDeclareOptions::default(), &[]).await.expect("an exchange");
        client.try_queue("transient", QueueDeclareOptions::default(), &[]).await.expect("a queue");
        for exchange in ["durable", "transient"] {
            assert!(!client.is_routed(exchange, "", FieldTable::default()).await, "{exchange} after {how:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_was_unbound_stays_unbound() {
    for how in BOTH {
        let home = Home::new();
        let broker = home.start();
        let client = Client::of(&broker).await;
        client.exchange("source", "direct", &[]).await;
        client.exchange("next", "fanout", &[]).await;
        client.queue("q", &[]).await;
        client.bind("q", "next", "").await;
        for key in ["kept", "gone"] {
            client.bind("q", "source", key).await;
            client.link("next", "source", &format!("next {key}")).await;
        }
        // Twice the same key, told apart by arguments.
        for colour in ["red", "blue"] {
            client.bind_with("q", "amq.headers", "", &[("colour", words(colour))]).await;
        }
        let unbound = client.channel.queue_unbind("q".into(), "source".into(), "gone".into(), FieldTable::default());
        soon(unbound).await.expect("unbound");
        let blue = arguments(&[("colour", words("blue"))]);
        soon(client.channel.queue_unbind("q".into(), "amq.headers".into(), "".into(), blue.clone())).await.expect("unbound");
        let options = ExchangeUnbindOptions::default();
        let unbound = client.channel.exchange_unbind("next".into(), "source".into(), "next gone".into(), options, FieldTable::default());
        soon(unbound).await.expect("unbound");
        broker.end(how);

        let broker = home.start();
        let client = Client::of(&broker).await;
        for (key, is_routed) in [("kept", true), ("gone", false), ("next kept", true), ("next gone", false)] {
            assert_eq!(client.is_routed("source", key, FieldTable::default()).await, is_routed, "{key} after {how:?}");
        }
        assert!(client.is_routed("amq.headers", "", arguments(&[("colour", words("red"))])).await);
        assert!(!client.is_routed("amq.headers", "", blue).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn bindings_go_with_either_end() {
    let home = Home::new();
    let broker = home.start();
    let client = Client::of(&broker).await;
    client.exchange("source", "fanout", &[]).await;
    client.exchange("next", "fanout", &[]).await;
    client.queue("q", &[]).await;
    client.queue("r", &[]).await;
    client.bind("q", "source", "").await;
    client.link("next", "source", "").await;
    client.bind("r", "next", "").await;
    soon(client.channel.queue_delete("q".into(), Default::default())).await.expect("deleted");
    soon(client.channel.exchange_delete("next".into(), Default::default())).await.expect("deleted");
    client.queue("q", &[]).await;
    client.exchange("next", "fanout", &[]).await;
    broker.end(crate::support::broker::End::Killed);

    let broker = home.start();
    let client = Client::of(&broker).await;
    for exchange in ["source", "next"] {
        assert!(!client.is_routed(exchange, "", FieldTable::default()).await, "{exchange}");
    }
}
