//! What users may do.

use serde_json::{Value as Json, json};

use super::call::{Call, refused};
use super::failure::{Failure, NO_USER, UNAVAILABLE};
use super::format::{Kind, Rows, column};
use super::http::segment;

pub(super) fn set_permissions(call: &mut Call) -> Result<(), Failure> {
    let (user, vhost) = (call.word(0).to_owned(), call.vhost());
    let body = json!({"configure": call.word(1), "write": call.word(2), "read": call.word(3)});
    call.banner(format!("Setting permissions for user \"{user}\" in vhost \"{vhost}\" ..."));
    put(call, &format!("/api/permissions/{}/{}", segment(&vhost), segment(&user)), &user, &vhost, &body)
}

pub(super) fn set_permissions_globally(call: &mut Call) -> Result<(), Failure> {
    let user = call.word(0).to_owned();
    let body = json!({"configure": call.word(1), "write": call.word(2), "read": call.word(3)});
    call.banner(format!("Setting permissions for user \"{user}\" in all virtual hosts ..."));
    let vhosts = call.get("/api/vhosts?columns=name")?;
    for vhost in vhosts.as_array().into_iter().flatten().filter_map(|vhost| vhost["name"].as_str()) {
        put(call, &format!("/api/permissions/{}/{}", segment(vhost), segment(&user)), &user, vhost, &body)?;
    }
    Ok(())
}

pub(super) fn set_topic_permissions(call: &mut Call) -> Result<(), Failure> {
    let (user, vhost, exchange) = (call.word(0).to_owned(), call.vhost(), call.word(1).to_owned());
    let body = json!({"exchange": exchange, "write": call.word(2), "read": call.word(3)});
    call.banner(format!("Setting topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{vhost}\" ..."));
    put(call, &format!("/api/topic-permissions/{}/{}", segment(&vhost), segment(&user)), &user, &vhost, &body)
}

fn put(call: &mut Call, path: &str, user: &str, vhost: &str, body: &Json) -> Result<(), Failure> {
    let answer = call.send("PUT", path, Some(body))?;
    if matches!(answer.status, 400 | 404) {
        exist(call, user, vhost)?;
    }
    refused(&answer)
}

/// Whoever does not exist is named, in the words of these commands.
fn exist(call: &mut Call, user: &str, vhost: &str) -> Result<(), Failure> {
    if call.need_vhost(vhost).is_err() {
        return Err(Failure::error(UNAVAILABLE, format!("Virtual host {vhost} does not exist")));
    }
    if call.has_user(user)? { Ok(()) } else { Err(Failure::error(NO_USER, format!("User {user} does not exist"))) }
}

pub(super) fn clear_permissions(call: &mut Call) -> Result<(), Failure> {
    let (user, vhost) = (call.word(0).to_owned(), call.vhost());
    call.banner(format!("Clearing permissions for user \"{user}\" in vhost \"{vhost}\" ..."));
    clear(call, &format!("/api/permissions/{}/{}", segment(&vhost), segment(&user)), &user, &vhost)
}

pub(super) fn clear_topic_permissions(call: &mut Call) -> Result<(), Failure> {
    let (user, vhost) = (call.word(0).to_owned(), call.vhost());
    let path = format!("/api/topic-permissions/{}/{}", segment(&vhost), segment(&user));
    match call.words().get(1).cloned() {
        Some(exchange) => {
            call.banner(format!("Clearing topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{vhost}\" ..."));
            clear(call, &format!("{path}/{}", segment(&exchange)), &user, &vhost)
        }
        None => {
            call.banner(format!("Clearing topic permissions for user \"{user}\" in vhost \"{vhost}\" ..."));
            clear(call, &path, &user, &vhost)
        }
    }
}

/// Nothing to clear is as was asked for.
fn clear(call: &mut Call, path: &str, user: &str, vhost: &str) -> Result<(), Failure> {
    let answer = call.send("DELETE", path, None)?;
    if answer.status == 404 { exist(call, user, vhost) } else { refused(&answer) }
}

pub(super) fn list_permissions(call: &mut Call) -> Result<(), Failure> {
    let vhost = call.vhost();
    call.banner(format!("Listing permissions for vhost \"{vhost}\" ..."));
    call.need_vhost(&vhost)?;
    rows(call, &format!("/api/vhosts/{}/permissions", segment(&vhost)), &["user", "configure", "write", "read"])
}

pub(super) fn list_topic_permissions(call: &mut Call) -> Result<(), Failure> {
    let vhost = call.vhost();
    call.banner(format!("Listing topic permissions for vhost \"{vhost}\" ..."));
    call.need_vhost(&vhost)?;
    rows(call, &format!("/api/vhosts/{}/topic-permissions", segment(&vhost)), &["user", "exchange", "write", "read"])
}

pub(super) fn list_user_permissions(call: &mut Call) -> Result<(), Failure> {
    let user = call.word(0).to_owned();
    call.banner(format!("Listing permissions for user \"{user}\" ..."));
    need_user(call, &user)?;
    rows(call, &format!("/api/users/{}/permissions", segment(&user)), &["vhost", "configure", "write", "read"])
}

pub(super) fn list_user_topic_permissions(call: &mut Call) -> Result<(), Failure> {
    let user = call.word(0).to_owned();
    call.banner(format!("Listing topic permissions for user \"{user}\" ..."));
    need_user(call, &user)?;
    rows(call, &format!("/api/users/{}/topic-permissions", segment(&user)), &["vhost", "exchange", "write", "read"])
}

fn need_user(call: &mut Call, user: &str) -> Result<(), Failure> {
    if call.has_user(user)? { Ok(()) } else { Err(Failure::error(UNAVAILABLE, format!("{{:no_such_user, \"{user}\"}}"))) }
}

fn rows(call: &mut Call, path: &str, columns: &[&str]) -> Result<(), Failure> {
    let found = call.get(path)?;
    let row = |entry: &Json| columns.iter().map(|name| entry[*name].clone()).collect();
    let rows = found.as_array().into_iter().flatten().map(row).collect();
    call.rows(&Rows { columns: columns.iter().map(|name| column(name, Kind::Plain)).collect(), rows });
    Ok(())
}
