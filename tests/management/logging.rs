//! The lines of the log that tools for RabbitMQ look for.

use std::net::TcpStream;

use super::support::broker::Broker;
use super::support::client::{connect, soon};
use super::support::eventually;
use super::support::raw::Raw;

fn line(broker: &Broker, part: &str) -> String {
    eventually(part, || broker.log().lines().find(|line| line.contains(part)).map(str::to_owned))
}

#[tokio::test]
async fn connections_come_and_go_in_the_log() {
    let broker = Broker::start();
    let connection = connect(&broker).await;
    let accepted = line(&broker, "accepting AMQP connection 127.0.0.1:");
    let name = accepted.split_once("accepting AMQP connection ").map(|(_, name)| name.to_owned()).expect("a name");
    assert!(accepted.contains("INFO") && name.ends_with(&format!(" -> {}", broker.address())), "{accepted}");
    line(&broker, &format!("connection {name}: user 'guest' authenticated and granted access to vhost '/'"));
    soon(connection.close(200, "bye".into())).await.expect("closed");
    let closed = line(&broker, &format!("closing AMQP connection {name} (vhost: '/', user: 'guest')"));
    assert!(closed.contains("INFO"), "{closed}");
}

#[test]
fn who_hangs_up_is_named() {
    let broker = Broker::start();
    drop(Raw::open(&broker));
    let closed = line(&broker, "closing AMQP connection 127.0.0.1:");
    assert!(closed.contains("WARN"), "{closed}");
    assert!(closed.contains("(vhost: '/', user: 'guest'): "), "{closed}");
}

/// Health checks open a connection and close it.
#[test]
fn who_says_nothing_is_not_logged() {
    let broker = Broker::start();
    drop(TcpStream::connect(broker.address()).expect("a connection"));
    // One behind it has been seen.
    drop(Raw::open(&broker));
    line(&broker, "client unexpectedly closed TCP connection");
    assert_eq!(broker.log().matches("accepting AMQP connection").count(), 1);
}
