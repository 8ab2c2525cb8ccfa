//! Brokers beside each other, on one runtime of either flavour.

use leveret::Broker;

use crate::support::{connect, declare, publish, soon, start};

const BROKERS: usize = 20;

/// Twenty brokers with a queue of the same name, of which each holds another number of messages.
async fn side_by_side() {
    let mut all = Vec::new();
    for _ in 0..BROKERS {
        all.push(start(Broker::builder()).await);
    }
    let ports: std::collections::BTreeSet<_> = all.iter().filter_map(Broker::amqp_addr).collect();
    assert_eq!(ports.len(), BROKERS);
    let busy = all.iter().enumerate().map(|(n, broker)| async move {
        let connection = connect(broker).await;
        let channel = connection.channel().await.expect("a channel");
        channel.confirm_select().await.expect("confirms");
        declare(&channel, "q", false).await;
        for _ in 0..=n {
            publish(&channel, "q", "hello").await;
        }
        let mut bodies = 0;
        while channel.get("q", true).await.expect("open").is_some() {
            bodies += 1;
            if bodies == n {
                break;
            }
        }
        connection
    });
    let mut connections = Vec::new();
    for one in busy.map(Box::pin).collect::<Vec<_>>() {
        connections.push(soon(one).await);
    }
    for broker in &all {
        assert_eq!(broker.handle().sockets(), 1);
    }
    // Every other one ends; the rest do not notice.
    for (n, broker) in all.into_iter().enumerate() {
        if n % 2 == 0 {
            broker.stop().await;
            continue;
        }
        let left = broker.queue("/", "q").await.expect("a queue");
        assert_eq!((left.ready, left.unacked), (1, 0), "broker {n}");
        assert!(connections[n].channel().await.is_ok());
    }
}

#[tokio::test]
async fn twenty_on_one_thread() {
    side_by_side().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_on_two_threads() {
    side_by_side().await;
}

#[tokio::test]
async fn alarms_and_limits_are_each_ones_own() {
    let (one, other) = (start(Broker::builder()).await, start(Broker::builder().config_text("connection_max = 1")).await);
    one.handle().force_alarm(true, true);
    assert!(one.handle().alarms().memory && !other.handle().alarms().memory);
    let _first = connect(&other).await;
    assert!(crate::support::connect_to(&other, "/").await.is_err());
    let (_first, _second) = (connect(&one).await, connect(&one).await);
    assert!(one.handle().set_log_level("debug").is_err(), "the log is the program's");
}
