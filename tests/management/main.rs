//! The real binary's HTTP API, with clients that use AMQP beside it.

mod access;
mod amqp;
mod data_plane;
mod declare;
mod definitions;
mod health;
mod http;
mod parameters;
mod policies;
mod users;
mod vhosts;

#[path = "../server/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests of the server, which use all of it")]
mod support;
