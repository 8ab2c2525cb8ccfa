//! Virtual hosts.

use serde_json::{Map, Value as Json, json};

use super::call::{Call, refused};
use super::failure::{DATA, Failure};
use super::format::Kind;
use super::http::{Answer, segment};
use super::lists::{self, Field};

pub(super) fn add_vhost(call: &mut Call) -> Result<(), Failure> {
    let vhost = named(call)?;
    call.banner(format!("Adding vhost \"{vhost}\" ..."));
    let mut body = metadata(call);
    if call.arguments.has("protected-from-deletion") {
        body.insert("protected_from_deletion".to_owned(), true.into());
    }
    let answer = call.send("PUT", &path(&vhost), Some(&Json::Object(body)))?;
    with_data(&answer)
}

pub(super) fn update_vhost_metadata(call: &mut Call) -> Result<(), Failure> {
    let vhost = named(call)?;
    call.banner(format!("Updating metadata of vhost \"{vhost}\" ..."));
    call.need_vhost(&vhost)?;
    let body = metadata(call);
    let answer = call.send("PUT", &path(&vhost), Some(&Json::Object(body)))?;
    with_data(&answer)
}

pub(super) fn set_vhost_tags(call: &mut Call) -> Result<(), Failure> {
    let vhost = named(call)?;
    let tags: Vec<&str> = call.words()[1..].iter().flat_map(|word| word.split(',')).filter(|tag| !tag.is_empty()).collect();
    let body = json!({"tags": tags});
    call.banner(format!("Setting tags for virtual host \"{vhost}\" to [{}] ...", tags.join(", ")));
    call.need_vhost(&vhost)?;
    call.have("PUT", &path(&vhost), Some(&body))
}

/// What the options say.
fn metadata(call: &Call) -> Map<String, Json> {
    let mut body = Map::new();
    for (option, field) in [("description", "description"), ("tags", "tags"), ("default-queue-type", "default_queue_type")] {
        if let Some(value) = call.arguments.get(option) {
            body.insert(field.to_owned(), value.into());
        }
    }
    body
}

pub(super) fn delete_vhost(call: &mut Call) -> Result<(), Failure> {
    let vhost = call.word(0).to_owned();
    call.banner(format!("Deleting vhost \"{vhost}\" ..."));
    let answer = call.send("DELETE", &path(&vhost), None)?;
    known(&answer, &vhost)
}

pub(super) fn protect(call: &mut Call) -> Result<(), Failure> {
    let vhost = call.word(0).to_owned();
    call.banner(format!("Enabling deletion protection for vhost \"{vhost}\" ..."));
    let answer = call.send("POST", &format!("{}/deletion/protection", path(&vhost)), None)?;
    known(&answer, &vhost)
}

pub(super) fn unprotect(call: &mut Call) -> Result<(), Failure> {
    let vhost = call.word(0).to_owned();
    call.banner(format!("Disabling deletion protection for vhost \"{vhost}\" ..."));
    let answer = call.send("DELETE", &format!("{}/deletion/protection", path(&vhost)), None)?;
    known(&answer, &vhost)
}

pub(super) fn restart_vhost(call: &mut Call) -> Result<(), Failure> {
    let (vhost, node) = (call.vhost(), call.node_name().to_owned());
    call.banner(format!("Trying to restart vhost '{vhost}' on node '{node}' ..."));
    if call.need_vhost(&vhost).is_err() {
        let text = format!("Failed to start vhost '{vhost}' on node '{node}'Reason: {{:no_such_vhost, \"{vhost}\"}}");
        return Err(Failure::error(super::failure::SOFTWARE, text));
    }
    call.line(format!("Vhost '{vhost}' is already running on node '{node}'"));
    Ok(())
}

pub(super) fn trace_on(call: &mut Call) -> Result<(), Failure> {
    trace(call, "PUT", "Starting", "enabled")
}

pub(super) fn trace_off(call: &mut Call) -> Result<(), Failure> {
    trace(call, "DELETE", "Stopping", "disabled")
}

fn trace(call: &mut Call, method: &str, doing: &str, done: &str) -> Result<(), Failure> {
    let vhost = call.vhost();
    call.banner(format!("{doing} tracing for vhost \"{vhost}\" ..."));
    let answer = call.send(method, &format!("/api/leveret/tracing/{}", segment(&vhost)), None)?;
    known(&answer, &vhost)?;
    call.line(format!("Trace {done} for vhost {vhost}"));
    Ok(())
}

const FIELDS: &[Field] = &[
    Field::plain("name"),
    Field::plain("tracing"),
    Field::plain("description"),
    Field::new("tags", "/tags", Kind::Names),
    Field::plain("default_queue_type"),
    Field::plain("protected_from_deletion"),
    Field::new("metadata", "/metadata", Kind::Text),
    Field::new("cluster_state", "/cluster_state", Kind::Text),
];

pub(super) fn list_vhosts(call: &mut Call) -> Result<(), Failure> {
    let fields = lists::chosen(call, FIELDS, &["name"])?;
    call.banner("Listing vhosts ...");
    let found = call.get("/api/vhosts")?;
    lists::show(call, &fields, &found);
    Ok(())
}

fn path(vhost: &str) -> String {
    format!("/api/vhosts/{}", segment(vhost))
}

fn named(call: &Call) -> Result<String, Failure> {
    if call.word(0).is_empty() { Err(Failure::bad_argument("virtual host name cannot be empty")) } else { Ok(call.word(0).to_owned()) }
}

fn known(answer: &Answer, vhost: &str) -> Result<(), Failure> {
    if answer.status == 404 { Err(Failure::no_vhost(vhost)) } else { refused(answer) }
}

/// What the command was given is refused by the node.
fn with_data(answer: &Answer) -> Result<(), Failure> {
    if answer.status == 400 { Err(Failure::error(DATA, answer.reason())) } else { refused(answer) }
}
