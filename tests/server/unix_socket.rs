//! A socket for clients on this machine.

use std::os::unix::net::UnixListener;

use crate::command_line::one_line;
use crate::support::broker::{Broker, End, Home, leveret};
use crate::support::raw::Raw;
use crate::support::tls::Tunnel;

fn start(home: &Home) -> Broker {
    let mut command = leveret();
    command.arg("--unix").arg(home.scratch().path("amqp.sock"));
    home.start_with(command)
}

#[test]
fn clients_are_served_and_the_socket_goes_with_the_broker() {
    let home = Home::new();
    let path = home.scratch().path("amqp.sock");
    let broker = start(&home);
    let tunnel = Tunnel::over_unix(path.clone());
    // As somebody on this machine, guest may log in.
    Raw::channel_at(tunnel.address).round_trip_on_new_queue("q");
    broker.end(End::InOrder);
    assert!(!path.exists());
}

#[test]
fn what_a_killed_broker_has_left_is_replaced() {
    let home = Home::new();
    let path = home.scratch().path("amqp.sock");
    start(&home).end(End::Killed);
    assert!(path.exists());
    let _broker = start(&home);
    Raw::channel_at(Tunnel::over_unix(path).address).round_trip_on_new_queue("q");
}

#[test]
fn a_socket_that_somebody_serves_is_left_alone() {
    let home = Home::new();
    let path = home.scratch().path("amqp.sock");
    let _other = UnixListener::bind(&path).expect("a socket");
    let line = one_line(leveret().args(["--amqp", "127.0.0.1:0", "--unix"]).arg(&path), 1);
    assert!(line.contains("amqp.sock") && line.contains("in use"), "{line}");
    assert!(path.exists());
}
