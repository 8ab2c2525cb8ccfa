//! What is done to shovels.

use super::call::{Call, refused};
use super::failure::{Failure, UNAVAILABLE};
use super::format::Kind;
use super::http::segment;
use super::lists::{self, Field};

const SHOVEL: &[Field] = &[
    Field::plain("name"),
    Field::plain("vhost"),
    Field::plain("type"),
    Field::plain("state"),
    Field::new("source", "/src_uri", Kind::Plain),
    Field::new("source_protocol", "/src_protocol", Kind::Plain),
    Field::new("destination", "/dest_uri", Kind::Plain),
    Field::new("destination_protocol", "/dest_protocol", Kind::Plain),
    Field::new("termination_reason", "/reason", Kind::Plain),
    Field::new("last_changed", "/timestamp", Kind::Plain),
    Field::plain("remaining"),
    Field::plain("remaining_unacked"),
    Field::plain("pending"),
    Field::plain("forwarded"),
];

pub(super) fn shovel_status(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Shovel status on node {}", call.node_name()));
    let found = call.get("/api/shovels")?;
    lists::show(call, SHOVEL, &found);
    Ok(())
}

pub(super) fn delete_shovel(call: &mut Call) -> Result<(), Failure> {
    let (node, name, vhost) = (call.node_name().to_owned(), call.word(0).to_owned(), call.vhost());
    call.banner(format!("Deleting shovel {name} in vhost {vhost}"));
    let answer = call.send("DELETE", &format!("/api/parameters/shovel/{}/{}", segment(&vhost), segment(&name)), None)?;
    if answer.status == 404 {
        let text = format!(
            "Shovel with the given name was not found on the target node '{node}' and/or virtual host '{vhost}'. \
             It may be failing to connect and report its state, will delete its runtime parameter..."
        );
        return Err(Failure::error(UNAVAILABLE, text));
    }
    refused(&answer)
}

pub(super) fn restart_shovel(call: &mut Call) -> Result<(), Failure> {
    let (node, name, vhost) = (call.node_name().to_owned(), call.word(0).to_owned(), call.vhost());
    call.banner(format!("Restarting dynamic Shovel {name} in virtual host {vhost} on node {node}"));
    let path = format!("/api/shovels/vhost/{}/{}/restart", segment(&vhost), segment(&name));
    let answer = call.send("DELETE", &path, None)?;
    if answer.status == 404 {
        let text = format!("Shovel with the given name was not found on the target node '{node}' and / or virtual host '{vhost}'");
        return Err(Failure::error(UNAVAILABLE, text));
    }
    refused(&answer)
}
