//! The commands: the real binary under the names of RabbitMQ's programs, at a real node.

mod admin;
mod commands;
mod node;
mod tools;

#[path = "../management/http.rs"]
#[allow(dead_code, reason = "shared with the tests of the HTTP API, which use all of it")]
mod http;

#[path = "../server/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests of the server, which use all of it")]
mod support;
