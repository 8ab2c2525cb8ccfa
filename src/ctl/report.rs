//! Everything that support wants to know, one command after the other.

use serde_json::Value as Json;

use super::call::Call;
use super::failure::Failure;
use super::{lists, machine, permissions, policies, status};

type Run = fn(&mut Call) -> Result<(), Failure>;

/// Of the node.
const NODE: [(&str, Run); 6] = [
    ("status", status::status),
    ("cluster_status", status::cluster_status),
    ("environment", status::environment),
    ("list_connections", lists::list_connections),
    ("list_channels", lists::list_channels),
    ("command_line_arguments", machine::command_line_arguments),
];

/// Of each virtual host.
const VHOST: [(&str, Run); 7] = [
    ("list_queues", lists::list_queues),
    ("list_exchanges", lists::list_exchanges),
    ("list_bindings", lists::list_bindings),
    ("list_permissions", permissions::list_permissions),
    ("list_policies", policies::list_policies),
    ("list_global_parameters", policies::list_global_parameters),
    ("list_parameters", policies::list_parameters),
];

pub(super) fn report(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Reporting server status of node {} ...\n", call.node_name()));
    let vhosts = call.get("/api/vhosts?columns=name")?;
    for (name, run) in NODE {
        part(call, name, run)?;
    }
    for vhost in vhosts.as_array().into_iter().flatten().filter_map(|vhost| vhost["name"].as_str()) {
        call.arguments.set("vhost", vhost);
        for (name, run) in VHOST {
            part(call, name, run)?;
        }
    }
    Ok(())
}

/// One that fails says so and does not keep the others from being seen.
fn part(call: &mut Call, name: &str, run: Run) -> Result<(), Failure> {
    call.arguments.words = vec![name.to_owned()];
    if let Err(failure) = run(call) {
        call.line(failure.text);
    }
    call.line("");
    // A node that is gone has nothing more to say.
    call.node().map(|_: Json| ())
}
