//! Shovels between two brokers that are processes of their own, as the HTTP API and the configuration define them.

mod configured;
mod definitions;
mod kinds;
mod losses;
mod migration;
mod status;
mod two;

#[path = "../management/http.rs"]
#[allow(dead_code, reason = "shared with the tests of the HTTP API, which use all of it")]
mod http;
#[path = "../server/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests of the server, which use all of it")]
mod support;
