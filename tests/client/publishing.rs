//! Publishes: confirms, returns, properties, bodies of all sizes, back-pressure.

use bytes::Bytes;
use leveret::amqp::basic::AMQPProperties;
use leveret::amqp::{AMQPClass, AMQPValue, FieldTable, exchange, queue};
use leveret::client::{Confirmation, Error, Options, Publication, Returned};

use super::{Broker, confirming, connect, connect_with, declare, eventually_ready, open, ready, soon};

#[tokio::test]
async fn thousands_in_flight_are_confirmed_and_in_order_in_the_queue() {
    const MANY: u32 = 5000;
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    let mut confirms = Vec::new();
    for n in 0..MANY {
        let publication = Publication::new("", "q", n.to_string());
        confirms.push(soon(channel.start_publish(publication)).await.expect("sent"));
    }
    // The last first: each waits for its own.
    for confirm in confirms.into_iter().rev() {
        assert_eq!(soon(confirm).await.expect("confirmed"), Confirmation { acked: true, returned: None });
    }
    assert_eq!(ready(&channel, "q").await, MANY);
    for n in 0..MANY {
        let delivery = soon(channel.get("q", true)).await.expect("an answer").expect("a message");
        assert_eq!(delivery.body, n.to_string());
    }
}

#[tokio::test]
async fn publishers_share_a_channel() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let channel = channel.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    // Every other one goes nowhere, and only that one is said to.
                    let key = if n % 2 == 0 { "q" } else { "nowhere" };
                    let confirmation = soon(channel.publish(Publication::new("", key, "x").mandatory())).await.expect("confirmed");
                    assert_eq!((confirmation.acked, confirmation.returned.is_none()), (true, key == "q"));
                }
            })
        })
        .collect();
    for task in tasks {
        soon(task).await.expect("confirmed");
    }
    assert_eq!(ready(&channel, "q").await, 1000);
}

#[tokio::test]
async fn a_refusal_is_a_confirm_too() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let limited = queue::Declare { arguments, ..crate::declaring("q") };
    crate::call_queue(&channel, queue::AMQPMethod::Declare(limited)).await.expect("a queue");
    for (body, acked) in [("one", true), ("two", false)] {
        assert_eq!(soon(channel.publish(Publication::new("", "q", body))).await.expect("confirmed").acked, acked);
    }
}

#[tokio::test]
async fn a_return_belongs_to_its_publish() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    // An exchange that looks at headers: the same address, and only some of them go anywhere.
    let mut arguments = FieldTable::default();
    arguments.insert("to".into(), AMQPValue::LongString("q".into()));
    let bind = queue::Bind { queue: "q".into(), exchange: "amq.headers".into(), routing_key: "".into(), nowait: false, arguments };
    crate::call_queue(&channel, queue::AMQPMethod::Bind(bind)).await.expect("bound");
    let publication = |n: usize| {
        let mut headers = FieldTable::default();
        headers.insert("to".into(), AMQPValue::LongString(if n.is_multiple_of(3) { "q" } else { "elsewhere" }.into()));
        let properties = AMQPProperties::default().with_headers(headers);
        let publication = Publication::new("amq.headers", "", "the same").with_properties(&properties);
        if n.is_multiple_of(2) { publication.mandatory() } else { publication }
    };
    let mut confirms = Vec::new();
    for n in 0..600 {
        confirms.push(soon(channel.start_publish(publication(n))).await.expect("sent"));
    }
    for (n, confirm) in confirms.into_iter().enumerate() {
        let returned = (n % 3 != 0 && n % 2 == 0).then(|| Returned { code: 312, text: "NO_ROUTE".to_owned() });
        assert_eq!(soon(confirm).await.expect("confirmed"), Confirmation { acked: true, returned }, "publish {n}");
    }
    assert_eq!(ready(&channel, "q").await, 200);
}

#[tokio::test]
async fn without_confirms_a_publish_is_done_when_it_is_sent() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = open(&connection).await;
    declare(&channel, "q").await;
    let sent = soon(channel.publish(Publication::new("", "q", "x"))).await.expect("sent");
    assert_eq!(sent, Confirmation { acked: true, returned: None });
    // A return that belongs to nothing that is waited for.
    soon(channel.publish(Publication::new("", "nowhere", "x").mandatory())).await.expect("sent");
    assert_eq!(ready(&channel, "q").await, 1);
}

#[tokio::test]
async fn confirms_begin_when_they_are_asked_for() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = open(&connection).await;
    declare(&channel, "q").await;
    soon(channel.publish(Publication::new("", "q", "before"))).await.expect("sent");
    soon(channel.confirm_select()).await.expect("confirms");
    soon(channel.confirm_select()).await.expect("a second time changes nothing");
    assert!(soon(channel.publish(Publication::new("", "q", "after"))).await.expect("confirmed").acked);
    assert_eq!(ready(&channel, "q").await, 2);
}

#[tokio::test]
async fn every_waiting_publish_hears_why_there_is_no_confirm() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    let mut confirms = Vec::new();
    for _ in 0..10 {
        match soon(channel.start_publish(Publication::new("missing", "", "x"))).await {
            Ok(confirm) => confirms.push(confirm),
            // It may have heard already.
            Err(error) => assert_eq!(error.code(), Some(404)),
        }
    }
    assert!(!confirms.is_empty());
    for confirm in confirms {
        assert_eq!(soon(confirm).await.expect_err("no exchange").code(), Some(404));
    }
}

/// Bytes that are nowhere the same.
fn body(len: usize) -> Bytes {
    (0..len).map(|n| u8::try_from((n ^ (n >> 8) ^ (n >> 16)) & 0xff).expect("a byte")).collect::<Vec<_>>().into()
}

#[tokio::test]
async fn bodies_of_all_sizes_come_back_as_they_were() {
    let broker = Broker::start();
    for frame_max in [4096, 0] {
        let options = Options { frame_max, ..Options::plain("guest", "guest", "/") };
        let connection = connect_with(&broker, options).await.expect("a connection");
        let channel = confirming(&connection).await;
        declare(&channel, "q").await;
        for len in [0, 1, 4088, 4089, 8192, 8193, 131_064, 131_065, 5 << 20] {
            let sent = soon(channel.publish(Publication::new("", "q", body(len)))).await.expect("confirmed");
            assert!(sent.acked);
            let got = soon(channel.get("q", true)).await.expect("an answer").expect("a message");
            assert!(got.body == body(len), "{len} bytes in frames of {frame_max}");
        }
    }
}

#[tokio::test]
async fn properties_come_back_as_they_were_sent() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    let mut headers = FieldTable::default();
    headers.insert("number".into(), AMQPValue::LongLongInt(7));
    headers.insert("flag".into(), AMQPValue::Boolean(true));
    let properties = AMQPProperties::default()
        .with_content_type("text/plain".into())
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_priority(3)
        .with_correlation_id("correlation".into())
        .with_message_id("message".into())
        .with_timestamp(1_700_000_000)
        .with_type("kind".into());
    let publication = Publication::new("", "q", "x").with_properties(&properties);
    let raw = publication.properties.clone();
    soon(channel.publish(publication)).await.expect("confirmed");
    let got = soon(channel.get("q", true)).await.expect("an answer").expect("a message");
    assert_eq!(got.raw_properties, raw);
    assert_eq!(got.properties(), properties);
    // As a shovel sends it on.
    let again = Publication { properties: got.raw_properties, ..Publication::new("", "q", got.body) };
    soon(channel.publish(again)).await.expect("confirmed");
    assert_eq!(soon(channel.get("q", true)).await.expect("an answer").expect("a message").properties(), properties);
}

#[tokio::test]
async fn what_cannot_be_said_is_not_sent() {
    let broker = Broker::start();
    let connection =
        connect_with(&broker, Options { frame_max: 4096, ..Options::plain("guest", "guest", "/") }).await.expect("a connection");
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    let refused = async |publication| matches!(soon(channel.publish(publication)).await, Err(Error::Protocol(_)));
    assert!(refused(Publication::new("", "q".repeat(256), "x")).await);
    assert!(refused(Publication { properties: Bytes::from_static(&[0x80, 0, 5, b'x']), ..Publication::new("", "q", "x") }).await);
    let mut headers = FieldTable::default();
    headers.insert("long".into(), AMQPValue::LongString(vec![b'x'; 4096].into()));
    let long = AMQPProperties::default().with_headers(headers.clone());
    assert!(refused(Publication::new("", "q", "x").with_properties(&long)).await);
    let declare_x = exchange::Declare { exchange: "x".into(), kind: "fanout".into(), arguments: headers, ..exchange::Declare::default() };
    let declared = soon(channel.call(AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare_x)))).await;
    assert!(matches!(declared, Err(Error::Protocol(_))));
    // The channel has heard nothing of all that.
    assert!(soon(channel.publish(Publication::new("", "q", "x"))).await.expect("confirmed").acked);
}

#[tokio::test]
async fn a_blocked_connection_says_so_and_holds_its_publishers_back() {
    let broker = Broker::with_config("vm_memory_high_watermark.absolute = 4MiB\n");
    let connection = connect(&broker).await;
    let channel = open(&connection).await;
    declare(&channel, "q").await;
    let mut blocked = connection.on_blocked();
    assert_eq!(connection.blocked(), None);
    let large = Bytes::from(vec![7; 1 << 20]);
    let publisher = channel.clone();
    let publishing = tokio::spawn(async move {
        for _ in 0..200 {
            publisher.publish(Publication::new("", "q", large.clone())).await.expect("sent in the end");
        }
    });
    let reason = soon(blocked.wait_for(Option::is_some)).await.expect("the connection is there").clone();
    assert_eq!(reason.as_deref(), Some("low on memory"));
    assert_eq!(connection.blocked().as_deref(), Some("low on memory"));
    assert!(!publishing.is_finished(), "200 MiB are held by nobody");
    // Another connection takes all of it away, and then all is well.
    let other = connect(&broker).await;
    let taking = open(&other).await;
    for _ in 0..200 {
        soon(async {
            while taking.get("q", true).await.expect("an answer").is_none() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    soon(publishing).await.expect("sent");
    eventually_ready(&taking, "q", 0).await;
    soon(blocked.wait_for(Option::is_none)).await.expect("the connection is there");
}
