//! What is done to one queue.

use serde_json::{Value as Json, json};

use super::call::{Call, refused};
use super::failure::{Failure, UNAVAILABLE, USAGE};
use super::format::{Kind, Rows, column};
use super::http::segment;

fn path(call: &Call) -> String {
    format!("/api/queues/{}/{}", segment(&call.vhost()), segment(call.word(0)))
}

pub(super) fn purge_queue(call: &mut Call) -> Result<(), Failure> {
    let (vhost, queue) = (call.vhost(), call.word(0));
    call.banner(format!("Purging queue '{queue}' in vhost '{vhost}' ..."));
    let path = format!("{}/contents", path(call));
    let answer = call.send("DELETE", &path, None)?;
    if answer.status == 404 { Err(Failure::error(UNAVAILABLE, "not_found")) } else { refused(&answer) }
}

pub(super) fn delete_queue(call: &mut Call) -> Result<(), Failure> {
    let (vhost, queue) = (call.vhost(), call.word(0));
    let (empty, unused) = (call.arguments.has("if-empty"), call.arguments.has("if-unused"));
    let condition = match (empty, unused) {
        (false, false) => "",
        (true, false) => " if queue is empty",
        (false, true) => " if queue is unused",
        (true, true) => " if queue is empty and if queue is unused",
    };
    call.banner(format!("Deleting queue '{queue}' on vhost '{vhost}'{condition} ..."));
    let path = path(call);
    let before = call.send("GET", &path, None)?;
    if before.status == 404 {
        return Err(Failure::error(USAGE, "Queue not found"));
    }
    let query: Vec<&str> =
        [(empty, "if-empty=true"), (unused, "if-unused=true")].iter().filter(|(on, _)| *on).map(|(_, text)| *text).collect();
    let answer = call.send("DELETE", &format!("{path}?{}", query.join("&")), None)?;
    if answer.status == 400 {
        let reason = answer.reason();
        let text = match (reason.contains("in use"), reason.contains("not empty")) {
            (true, _) => "Queue is in use",
            (_, true) => "Queue is not empty",
            _ => &reason,
        };
        return Err(Failure::error(USAGE, text));
    }
    refused(&answer)?;
    let ready = before.json()["messages_ready"].as_u64().unwrap_or(0);
    call.banner(format!("Queue was successfully deleted with {ready} ready messages"));
    Ok(())
}

/// A message of a queue, which stays where it is.
pub(super) fn peek(call: &mut Call) -> Result<(), Failure> {
    let (vhost, node) = (call.vhost(), call.node_name().to_owned());
    let (queue, position) = (call.word(0).to_owned(), call.word(1).to_owned());
    call.banner(format!("Peeking at quorum queue {queue} at position {position} on node {node} ..."));
    let position: usize =
        position.parse().ok().filter(|at| *at > 0).ok_or_else(|| Failure::bad_argument("position value must be a positive integer"))?;
    let path = format!("/api/leveret/queues/{}/{}/peek/{position}", segment(&vhost), segment(&queue));
    let answer = call.send("GET", &path, None)?;
    if answer.status == 404 {
        return Err(Failure::error(UNAVAILABLE, format!("Target queue was not found in virtual host '{vhost}'")));
    }
    refused(&answer)?;
    let found = answer.json();
    let Some(message) = found.get(0) else {
        return Err(Failure::error(UNAVAILABLE, format!("There is no message at position {position}")));
    };
    let fields = [
        ("payload", message["payload"].clone()),
        ("payload_encoding", message["payload_encoding"].clone()),
        ("exchange", message["exchange"].clone()),
        ("routing_keys", json!([message["routing_key"]])),
        ("redelivered", message["redelivered"].clone()),
        ("properties", message["properties"].clone()),
    ];
    let rows = fields.into_iter().map(|(name, value)| vec![Json::from(name), value]).collect();
    call.rows(&Rows { columns: vec![column("keys", Kind::Plain), column("values", Kind::Plain)], rows });
    Ok(())
}

pub(super) fn quorum_status(call: &mut Call) -> Result<(), Failure> {
    let (queue, node) = (call.word(0).to_owned(), call.node_name().to_owned());
    call.banner(format!("Status of quorum queue {queue} on node {node} ..."));
    let path = path(call);
    let answer = call.send("GET", &path, None)?;
    if answer.status == 404 {
        return Err(Failure::error(UNAVAILABLE, "not_found"));
    }
    refused(&answer)?;
    if answer.json()["type"] != "quorum" {
        return Err(Failure::error(UNAVAILABLE, "Operation not supported for classic queues"));
    }
    // One replica, which leads.
    let columns = ["Node Name", "Raft State", "Membership"].iter().map(|name| column(name, Kind::Plain)).collect();
    call.rows(&Rows { columns, rows: vec![vec![node.into(), "leader".into(), "voter".into()]] });
    Ok(())
}
