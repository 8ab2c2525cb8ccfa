//! The real binary's HTTP API, with clients that use AMQP beside it.

#![recursion_limit = "256"]

mod access;
mod amqp;
mod auth_cache;
mod auth_http;
mod auth_oauth2;
mod bindings;
mod breakdown;
mod channels;
mod connections;
mod crowd;
mod data_plane;
mod declare;
mod definitions;
mod exchanges;
mod exposition;
mod faults;
mod health;
mod http;
mod https;
mod journal;
mod limits;
mod lint;
mod logging;
mod metrics;
mod operating;
mod overview;
mod page;
mod parameters;
mod policies;
mod queues;
mod rates;
mod service;
mod telemetry;
mod test_api;
mod tokens;
mod users;
mod vhosts;
mod websocket;

#[path = "../server/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests of the server, which use all of it")]
mod support;

use http::Http;
use serde_json::{Value as Json, json};
use support::raw::Raw;
use support::wire;

/// The values of a field of all rows.
fn all(rows: &Json, field: &str) -> Vec<Json> {
    rows.as_array().expect("a list").iter().map(|row| row[field].clone()).collect()
}

/// A user without tags beyond `management`, which may use what is in `/`.
fn manager(http: &Http) -> Http {
    http.put("/api/users/m", &json!({"password": "guest", "tags": "management"})).is(201);
    http.put("/api/permissions/%2F/m", &json!({"configure": ".*", "write": ".*", "read": ".*"})).is(201);
    http.r#as("m", "guest")
}

fn monitor(http: &Http) -> Http {
    http.put("/api/users/watch", &json!({"password": "guest", "tags": "monitoring"})).is(201);
    http.r#as("watch", "guest")
}

/// Publishes, and waits for the confirm; the channel confirms.
fn publish(raw: &mut Raw, exchange: &str, key: &str, body: &[u8]) {
    raw.send(&wire::publish(1, exchange, key, body));
    raw.expect(wire::ACK);
}

fn confirm(raw: &mut Raw) {
    raw.send(&wire::method(1, wire::CONFIRM_SELECT, &wire::Fields::new().byte(0)));
    raw.expect(wire::CONFIRM_SELECT_OK);
}

/// Text for a part of an address.
fn encode(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
