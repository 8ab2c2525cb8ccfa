//! Health checks: silent successes for scripts, RabbitMQ's texts for people.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::call::{Call, DEFAULT_TIMEOUT};
use super::failure::{Failure, SOFTWARE, UNAVAILABLE, USAGE};
use super::status::{Listener, each_listener};

pub(super) fn ping(call: &mut Call) -> Result<(), Failure> {
    let node = call.node_name().to_owned();
    let ms = call.timeout.unwrap_or(DEFAULT_TIMEOUT).as_millis();
    call.banner(format!("Will ping {node}. This only checks if the OS process is running and registered with epmd. Timeout: {ms} ms."));
    if call.node().is_err() {
        return Err(Failure::error(UNAVAILABLE, format!("Failed to connect and authenticate to {node} in {ms} ms")));
    }
    call.found(&json!({"node": node, "result": "ok"}), "Ping succeeded");
    Ok(())
}

pub(super) fn is_running(call: &mut Call) -> Result<(), Failure> {
    let node = call.node_name().to_owned();
    call.banner(format!("Asking node {node} for its status ..."));
    let runs = call.node()?["running"] == true;
    if !runs {
        return Err(not_running(&node));
    }
    call.line(format!("RabbitMQ on node {node} is fully booted and running"));
    Ok(())
}

pub(super) fn is_booting(call: &mut Call) -> Result<(), Failure> {
    let node = call.node_name().to_owned();
    call.banner(format!("Asking node {node} for its boot status ..."));
    call.node()?;
    call.line(format!("RabbitMQ on node {node} is fully booted (check with is_running), stopped or has not started booting yet"));
    Ok(())
}

pub(super) fn check_running(call: &mut Call) -> Result<(), Failure> {
    let node = call.node_name().to_owned();
    call.banner(format!("Checking if RabbitMQ is running on node {node} ..."));
    if call.node()?["running"] != true {
        return Err(not_running(&node));
    }
    call.found(&json!({"node": node, "result": true}), format!("RabbitMQ on node {node} is fully booted and running"));
    Ok(())
}

fn not_running(node: &str) -> Failure {
    let text = format!("RabbitMQ on node {node} is not running or has not fully booted yet (check with is_booting)");
    Failure::error(UNAVAILABLE, text)
}

/// The alarms of a node, in RabbitMQ's words.
pub(super) fn raised(node: &Json) -> Vec<String> {
    let name = node["name"].as_str().unwrap_or_default();
    let word = |alarm: &Json| match alarm.as_str() {
        Some("memory") => format!("Memory alarm on node {name}"),
        _ => format!("Free disk space alarm on node {name}"),
    };
    node["alarms"].as_array().into_iter().flatten().map(word).collect()
}

pub(super) fn alarms(call: &mut Call) -> Result<(), Failure> {
    let name = call.node_name().to_owned();
    call.banner(format!("Asking node {name} to report any known resource alarms ..."));
    let node = call.node()?;
    let raised = raised(&node);
    let none = format!("Node {name} reported no alarms, local or clusterwide");
    let text = if raised.is_empty() { none } else { raised.join("\n") };
    call.found(&json!({"alarms": raised, "node": name, "result": "ok"}), text);
    Ok(())
}

pub(super) fn check_local_alarms(call: &mut Call) -> Result<(), Failure> {
    check(call, "no local alarms", Failure::error)
}

pub(super) fn check_alarms(call: &mut Call) -> Result<(), Failure> {
    check(call, "no alarms, local or clusterwide", |code, text| Failure::plain(code, text.to_string()))
}

fn check(call: &mut Call, none: &str, failure: fn(u8, String) -> Failure) -> Result<(), Failure> {
    let name = call.node_name().to_owned();
    call.banner(format!("Asking node {name} to report any local resource alarms ..."));
    let raised = raised(&call.node()?);
    if !raised.is_empty() {
        return Err(failure(UNAVAILABLE, raised.join("\n")));
    }
    call.found(&json!({"alarms": raised, "node": name, "result": "ok"}), format!("Node {name} reported {none}"));
    Ok(())
}

pub(super) fn check_virtual_hosts(call: &mut Call) -> Result<(), Failure> {
    let name = call.node_name().to_owned();
    call.banner(format!("Checking if all vhosts are running on node {name} ..."));
    call.node()?;
    call.found(&json!({"result": "ok"}), format!("Node {name} reported all vhosts as running"));
    Ok(())
}

pub(super) fn check_port_connectivity(call: &mut Call) -> Result<(), Failure> {
    let name = call.node_name().to_owned();
    call.banner(format!("Testing TCP connections to all active listeners on node {name} ..."));
    let timeout = call.timeout.unwrap_or(Duration::from_secs(30));
    let node = call.node()?;
    let listeners: Vec<Listener> = each_listener(&node).into_iter().filter(|listener| listener.port > 0).collect();
    let host = call.arguments.get("address");
    let reachable = |listener: &Listener| {
        let address = address(listener, host)?;
        TcpStream::connect_timeout(&address, timeout).ok()
    };
    let failed: Vec<String> = listeners.iter().filter(|l| reachable(l).is_none()).map(Listener::line).collect();
    if !failed.is_empty() {
        let text = format!("Connection to ports of the following listeners on node {name} failed:\n{}", failed.join("\n"));
        return Err(Failure::error(UNAVAILABLE, text));
    }
    let mut ports: Vec<u64> = listeners.iter().map(|listener| listener.port).collect();
    ports.sort_unstable();
    let ports = ports.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    call.found(&json!({"result": "ok"}), format!("Successfully connected to ports {ports} on node {name}."));
    Ok(())
}

/// Where a listener is reached from this machine.
fn address(listener: &Listener, host: Option<&str>) -> Option<SocketAddr> {
    let port = u16::try_from(listener.port).ok()?;
    let host = match (host, listener.interface.as_str()) {
        (Some(host), _) => host,
        (None, "0.0.0.0") => "127.0.0.1",
        (None, "[::]") => "::1",
        (None, interface) => interface.trim_matches(['[', ']']),
    };
    (host, port).to_socket_addrs().ok()?.next()
}

pub(super) fn check_port_listener(call: &mut Call) -> Result<(), Failure> {
    let name = call.node_name().to_owned();
    let port: u64 = call.word(0).parse().map_err(|_| Failure::bad_argument("the port is no number"))?;
    call.banner(format!("Asking node {name} if there's an active listener on port {port} ..."));
    let node = call.node()?;
    let mut ports: Vec<u64> = each_listener(&node).iter().map(|listener| listener.port).collect();
    ports.sort_unstable();
    if !ports.contains(&port) {
        let ports = ports.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let text = format!("No listener for port {port} is active on node {name}. Found listeners that use the following ports: {ports}");
        return Err(Failure::plain(UNAVAILABLE, text));
    }
    call.found(&json!({"result": "ok", "port": port}), format!("A listener for port {port} is running on node {name}."));
    Ok(())
}

pub(super) fn check_protocol_listener(call: &mut Call) -> Result<(), Failure> {
    let (name, protocol) = (call.node_name().to_owned(), call.word(0).to_owned());
    call.banner(format!("Asking node {name} if there's an active listener for protocol {protocol} ..."));
    let node = call.node()?;
    let mut protocols: Vec<String> = each_listener(&node).into_iter().map(|listener| listener.protocol).collect();
    protocols.sort();
    protocols.dedup();
    // Other names of the same.
    let wanted = match protocol.to_ascii_lowercase().as_str() {
        "amqps" | "amqp091s" => "amqp/ssl".to_owned(),
        "amqp091" | "amqp0.9.1" | "amqp10" | "amqp1.0" => "amqp".to_owned(),
        "management" => "http".to_owned(),
        "prometheus" => "http/prometheus".to_owned(),
        other => other.to_owned(),
    };
    if !protocols.contains(&wanted) {
        let found = protocols.join(", ");
        let text =
            format!("No listener for protocol {protocol} is active on node {name}. Found listeners for the following protocols: {found}");
        return Err(Failure::error(UNAVAILABLE, text));
    }
    call.found(&json!({"result": "ok", "protocol": protocol}), format!("A listener for protocol {protocol} is running on node {name}."));
    Ok(())
}

pub(super) fn check_certificate_expiration(call: &mut Call) -> Result<(), Failure> {
    let name = call.node_name().to_owned();
    let unit = call.arguments.get("unit").unwrap_or("weeks").to_owned();
    let Some(within) = call.arguments.get("within").map(str::to_owned) else {
        return Err(Failure::arguments(USAGE, "Required options: --within"));
    };
    call.banner(format!("Checking certificate expiration on node {name} ..."));
    let answer = call.send("GET", &format!("/api/health/checks/certificate-expiration/{within}/{unit}"), None)?;
    match answer.status {
        200 => call.line(format!("No certificates are expiring within {within} {unit}.")),
        503 => return Err(Failure::error(UNAVAILABLE, answer.reason())),
        _ => return Err(Failure::error(SOFTWARE, answer.reason())),
    }
    Ok(())
}

pub(super) fn check_if_node_is_quorum_critical(call: &mut Call) -> Result<(), Failure> {
    only_node(call, "critical for quorum of any quorum queues")
}

pub(super) fn check_if_node_is_mirror_sync_critical(call: &mut Call) -> Result<(), Failure> {
    only_node(call, "critical for data safety of any classic mirrored queues")
}

fn only_node(call: &mut Call, what: &str) -> Result<(), Failure> {
    let name = call.node_name().to_owned();
    call.banner(format!("Checking if node {name} is {what} ..."));
    call.line(format!("Node {name} seems to be the only one in a single node cluster, the check does not apply"));
    Ok(())
}

pub(super) fn check_if_any_deprecated_features_are_used(call: &mut Call) -> Result<(), Failure> {
    call.banner("Checking if any deprecated features are used ...");
    let used = call.get("/api/deprecated-features/used")?;
    let used: Vec<&str> = used.as_array().into_iter().flatten().filter_map(|feature| feature["name"].as_str()).collect();
    if !used.is_empty() {
        return Err(Failure::error(UNAVAILABLE, used.join("\n")));
    }
    call.found(&json!({"result": "ok"}), "Cluster reported no deprecated features in use");
    Ok(())
}

pub(super) fn check_if_cluster_has_classic_queue_mirroring_policy(call: &mut Call) -> Result<(), Failure> {
    call.banner("Checking if cluster has any classic queue mirroring policy ...");
    let mut mirroring = Vec::new();
    for (resource, what) in [("policies", "Policy"), ("operator-policies", "Operator policy")] {
        let all = call.get(&format!("/api/{resource}"))?;
        let mirrors = |policy: &&Json| policy["definition"].as_object().is_some_and(|keys| keys.keys().any(|key| key.starts_with("ha-")));
        let lines = all.as_array().into_iter().flatten().filter(mirrors).map(|policy| policy["name"].as_str().unwrap_or_default());
        mirroring.extend(lines.map(|name| format!("{what} {name} enables classic queue mirroring")));
    }
    if !mirroring.is_empty() {
        return Err(Failure::error(UNAVAILABLE, mirroring.join("\n")));
    }
    call.found(&json!({"result": "ok"}), "Cluster reported no policies enabling classic queue mirroring");
    Ok(())
}

pub(super) fn check_if_metadata_store_is_initialized(call: &mut Call) -> Result<(), Failure> {
    initialized(call, "initialized")
}

pub(super) fn check_if_metadata_store_is_initialized_with_data(call: &mut Call) -> Result<(), Failure> {
    initialized(call, "initialized/with-data")
}

fn initialized(call: &mut Call, check: &str) -> Result<(), Failure> {
    let name = call.node_name().to_owned();
    call.banner(format!("Checking if metadata store on node {name} has finished initializing ..."));
    let answer = call.send("GET", &format!("/api/health/checks/metadata-store/{check}"), None)?;
    if !answer.is_ok() {
        return Err(Failure::error(UNAVAILABLE, format!("Metadata store on node {name} reports to not yet have finished initialization")));
    }
    call.line(format!("Metadata store on node {name} has completed its initialization"));
    Ok(())
}

pub(super) fn node_health_check(call: &mut Call) -> Result<(), Failure> {
    let name = call.node_name().to_owned();
    call.banner(format!("Checking health of node {name} ..."));
    let raised = raised(&call.node()?);
    if !raised.is_empty() {
        return Err(Failure::plain(SOFTWARE, format!("Error: health check failed. Message: {}", raised.join(", "))));
    }
    call.line("Health check passed");
    Ok(())
}
