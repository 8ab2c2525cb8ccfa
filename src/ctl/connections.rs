//! Closing connections. What identifies one here looks like RabbitMQ's process ids, and is made of what the API says of it.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::call::{Call, Progress, refused};
use super::failure::{Failure, UNAVAILABLE};
use super::http::segment;

/// Of what the API says of a connection, or of whose connection something is. Without white space, so that it survives a shell.
pub(super) fn pid(connection: &Json) -> Json {
    identifier(connection, &[])
}

pub(super) fn channel_pid(connection: &Json, channel: &Json) -> Json {
    identifier(connection, &[channel.as_u64().unwrap_or(0)])
}

fn identifier(connection: &Json, more: &[u64]) -> Json {
    let (Some(host), Some(port)) = (connection["peer_host"].as_str(), connection["peer_port"].as_u64()) else { return Json::Null };
    let host: String = host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let more: String = more.iter().map(|number| format!(".{number}")).collect();
    format!("<leveret@localhost.{host}.{port}{more}>").into()
}

pub(super) fn close_connection(call: &mut Call) -> Result<(), Failure> {
    let (wanted, reason) = (call.word(0).to_owned(), call.word(1).to_owned());
    call.banner(format!("Closing connection {wanted}, reason: {reason}..."));
    let found = call.get("/api/connections")?;
    let is_it = |connection: &&Json| pid(connection) == *wanted || connection["name"] == *wanted;
    let named = found.as_array().into_iter().flatten().find(is_it).and_then(|connection| connection["name"].as_str());
    let Some(name) = named else {
        let why = if wanted.starts_with('<') && wanted.ends_with('>') { "no such connection" } else { "{:invalid_pid_syntax, " };
        let text = if why.starts_with('{') { format!("{why}\"{wanted}\"}}") } else { format!("{why}: {wanted}") };
        return Err(Failure::error(UNAVAILABLE, format!("Error:\n{text}")));
    };
    let path = format!("/api/connections/{}", segment(name));
    let answer = call.send_bytes("DELETE", &path, &[("x-reason", &reason)], Vec::new())?;
    refused(&answer)
}

pub(super) fn close_all_connections(call: &mut Call) -> Result<(), Failure> {
    let reason = call.word(0).to_owned();
    if call.arguments.has("global") {
        call.banner(format!("Closing all connections to node {}, reason: {reason}...", call.node_name()));
        return close(call, json!({"reason": reason})).map(|closed| call.line(format!("Closed {closed} connections")));
    }
    let vhost = call.vhost();
    call.banner(format!("Closing all connections in vhost {vhost}, reason: {reason}..."));
    let closed = close(call, json!({"reason": reason, "vhost": vhost}))?;
    call.line(format!("Closed {closed} connections"));
    Ok(())
}

pub(super) fn close_all_user_connections(call: &mut Call) -> Result<(), Failure> {
    let (user, reason) = (call.word(0).to_owned(), call.word(1).to_owned());
    call.banner(format!("Closing connections of user {user}, reason: {reason}..."));
    close(call, json!({"reason": reason, "user": user})).map(drop)
}

/// Closes as many as are wanted, with pauses where they are; says how many.
fn close(call: &mut Call, mut which: Json) -> Result<usize, Failure> {
    let number = |option: &str| call.arguments.get(option).map(str::parse::<usize>).transpose();
    let wrong = |_| Failure::bad_argument("limit and delay are numbers");
    let (limit, delay) = (number("limit").map_err(wrong)?.filter(|limit| *limit > 0), number("per-connection-delay").map_err(wrong)?);
    let limit = limit.unwrap_or(usize::MAX);
    let Some(delay) = delay.filter(|delay| *delay > 0) else {
        which["limit"] = limit.into();
        return once(call, &which);
    };
    let all = call.get("/api/connections")?.as_array().map_or(0, Vec::len).min(limit);
    let progress = Progress::new(call, "closing connections");
    which["limit"] = 1.into();
    let mut closed = 0;
    while closed < limit && once(call, &which)? > 0 {
        closed += 1;
        progress.at(closed, all);
        std::thread::sleep(Duration::from_millis(u64::try_from(delay).unwrap_or(u64::MAX)));
    }
    Ok(closed)
}

fn once(call: &mut Call, which: &Json) -> Result<usize, Failure> {
    let answer = call.send("POST", "/api/leveret/connections/close", Some(which))?;
    refused(&answer)?;
    Ok(answer.json()["closed"].as_u64().and_then(|closed| usize::try_from(closed).ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers() {
        let connection = json!({"peer_host": "127.0.0.1", "peer_port": 4711, "name": "x"});
        assert_eq!(pid(&connection), "<leveret@localhost.127-0-0-1.4711>");
        assert_eq!(channel_pid(&connection, &json!(3)), "<leveret@localhost.127-0-0-1.4711.3>");
        assert_eq!(pid(&json!([])), Json::Null);
    }
}
