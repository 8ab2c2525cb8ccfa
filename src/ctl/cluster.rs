//! What is about the nodes of a cluster, where there is one: as RabbitMQ answers on a node that is alone.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::call::{Call, refused};
use super::failure::{Failure, SOFTWARE, UNAVAILABLE, USAGE};
use super::format::{Kind, Rows, column};
use super::http::{Answer, segment};

/// How long nodes are waited for where nothing is said, and members, as RabbitMQ's tools do.
const NODES: Duration = Duration::from_secs(300);
const MEMBERS: Duration = Duration::from_secs(120);

pub(super) fn await_online_nodes(call: &mut Call) -> Result<(), Failure> {
    let (count, node) = (call.word(0).to_owned(), call.node_name().to_owned());
    let wanted: u64 =
        count.parse().ok().filter(|count| *count > 0).ok_or_else(|| Failure::bad_argument("Argument must be a positive integer"))?;
    let patience = call.timeout.unwrap_or(NODES);
    let seconds = patience.as_secs();
    call.banner(format!("Will wait for at least {count} nodes to join the cluster of {node}. Timeout: {seconds} seconds."));
    if wanted == 1 {
        return Ok(());
    }
    std::thread::sleep(patience);
    Err(Failure::error(SOFTWARE, format!("Error: timed out while waiting. Not enough nodes joined {node}'s cluster.")))
}

pub(super) fn await_online_quorum_plus_one(call: &mut Call) -> Result<(), Failure> {
    alone(call, "a quorum + 1 of nodes to be online for all quorum queues")
}

pub(super) fn await_online_synchronized_mirror(call: &mut Call) -> Result<(), Failure> {
    alone(call, "at least one synchronised mirror to be online for all classic mirrored queues")
}

fn alone(call: &Call, what: &str) -> Result<(), Failure> {
    call.banner(format!("Will wait for {what} for {} seconds...", call.timeout.unwrap_or(MEMBERS).as_secs()));
    let text = "Target node seems to be the only one in a single node cluster, the command does not apply";
    call.found(&json!({"result": "ok", "message": text.replace("command", "check")}), text);
    Ok(())
}

pub(super) fn post_upgrade(call: &mut Call) -> Result<(), Failure> {
    call.banner("Executing post upgrade tasks...\nRebalancing queue masters...");
    call.have("POST", "/api/rebalance/queues", None)
}

pub(super) fn rebalance(call: &mut Call) -> Result<(), Failure> {
    let kind = call.word(0);
    if !matches!(kind, "all" | "classic" | "quorum" | "stream") {
        return Err(Failure::error(USAGE, format!("type {kind} is not supported. Try one of all, classic, quorum, stream.")));
    }
    call.banner(format!("Re-balancing leaders of {kind} queues..."));
    call.have("POST", "/api/rebalance/queues", None)
}

pub(super) fn discover_peers(call: &mut Call) -> Result<(), Failure> {
    call.banner("Discovering peers nodes ...");
    call.node()?;
    call.line("No peers discovered");
    Ok(())
}

pub(super) fn join_cluster(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Clustering node {} with {}", call.node_name(), call.word(0)));
    Err(Failure::error(SOFTWARE, "leveret runs as a single node, which joins no cluster"))
}

pub(super) fn forget_cluster_node(call: &mut Call) -> Result<(), Failure> {
    let (node, other) = (call.node()?["name"].as_str().unwrap_or_default().to_owned(), call.word(0).to_owned());
    call.banner(format!("Removing node {other} from the cluster"));
    Err(Failure::error(
        SOFTWARE,
        if node == other {
            format!("RabbitMQ on node {node} must be stopped with 'rabbitmqctl -n {node} stop_app' before it can be removed")
        } else {
            "The node selected is not in the cluster.".to_owned()
        },
    ))
}

pub(super) fn change_cluster_node_type(call: &mut Call) -> Result<(), Failure> {
    let kind = call.word(0);
    if !matches!(kind, "disc" | "disk" | "ram") {
        return Err(Failure::bad_argument(format!("Node type {kind} is not supported. Available types: disc, ram")));
    }
    call.banner(format!("Turning {} into a {kind} node", call.node_name()));
    Err(Failure::error(SOFTWARE, "Non-clustered nodes can only be disc nodes."))
}

fn replicas(call: &Call, what: &str) -> String {
    format!("/api/queues/quorum/{}/{}/replicas/{what}", segment(&call.vhost()), segment(call.word(0)))
}

pub(super) fn add_member(call: &mut Call) -> Result<(), Failure> {
    let (queue, node) = (call.word(0), call.word(1).to_owned());
    call.banner(format!("Adding a member for queue {queue} on node {node}..."));
    let path = replicas(call, "add");
    let answer = call.send("POST", &path, Some(&json!({"node": node})))?;
    found(&answer)
}

pub(super) fn delete_member(call: &mut Call) -> Result<(), Failure> {
    let (queue, node) = (call.word(0), call.word(1).to_owned());
    call.banner(format!("Removing a replica of queue {queue} on node {node}..."));
    let path = replicas(call, "delete");
    let answer = call.send("DELETE", &path, Some(&json!({"node": node})))?;
    found(&answer)
}

fn found(answer: &Answer) -> Result<(), Failure> {
    if answer.status == 404 { Err(Failure::error(UNAVAILABLE, "not_found")) } else { refused(answer) }
}

/// Queues are on this node already, and no other node is there.
pub(super) fn grow(call: &mut Call) -> Result<(), Failure> {
    let (node, strategy) = (call.word(0).to_owned(), call.word(1));
    if !matches!(strategy, "all" | "even") {
        return Err(Failure::arguments(USAGE, format!("strategy '{strategy}' is not recognised.")));
    }
    call.banner(format!("Growing {strategy} quorum queues on {node}..."));
    let path = format!("/api/queues/quorum/replicas/on/{}/grow", segment(&node));
    let body = json!({"strategy": strategy, "vhost_pattern": ".*", "queue_pattern": ".*"});
    call.have("POST", &path, Some(&body))
}

/// The last member of a queue stays.
pub(super) fn shrink(call: &mut Call) -> Result<(), Failure> {
    let node = call.word(0).to_owned();
    call.banner(format!("Shrinking quorum queues on {node}..."));
    let all = call.get("/api/queues?columns=vhost,name,type,node")?;
    let here = all.as_array().into_iter().flatten().filter(|queue| queue["type"] == "quorum" && queue["node"] == *node);
    let row = |queue: &Json| vec![queue["vhost"].clone(), queue["name"].clone(), json!(1), json!("error: the last node cannot be removed")];
    let columns = ["vhost", "name", "size", "result"].map(|name| column(name, Kind::Plain)).into();
    call.rows(&Rows { columns, rows: here.map(row).collect() });
    Ok(())
}

pub(super) fn reclaim_quorum_memory(call: &mut Call) -> Result<(), Failure> {
    let queue = call.word(0).to_owned();
    call.banner(format!("Will flush Raft WAL of quorum queue {queue} ..."));
    let path = format!("/api/queues/{}/{}", segment(&call.vhost()), segment(&queue));
    let answer = call.send("GET", &path, None)?;
    found(&answer)
}

/// A queue has its leader as long as its node runs.
pub(super) fn check_leaders(call: &mut Call) -> Result<(), Failure> {
    let (pattern, node, vhost) = (call.word(0).to_owned(), call.node_name().to_owned(), call.vhost());
    let (place, path) = if call.arguments.has("across-all-vhosts") {
        ("all vhosts".to_owned(), "all-vhosts".to_owned())
    } else {
        (format!("vhost {vhost}"), format!("vhost/{}", segment(&vhost)))
    };
    call.banner(format!("Checking leader replicas of quorum queues matching '{pattern}' in {place} ..."));
    let path = format!("/api/health/checks/quorum-queues-without-elected-leaders/{path}/pattern/{}", segment(&pattern));
    let answer = call.send("GET", &path, None)?;
    found(&answer)?;
    let text = format!("Node {node} reported all quorum queue leaders as healthy");
    call.found(&json!({"result": "ok", "message": text}), &text);
    Ok(())
}
