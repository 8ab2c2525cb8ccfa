//! The commands: the real binary under the names of RabbitMQ's programs, at a real node.

mod admin;
mod commands;
mod node;
mod tools;

#[path = "../server/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests of the server, which use all of it")]
mod support;
