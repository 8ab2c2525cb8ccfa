//! /api/health/checks, /api/aliveness-test, /api/healthchecks: whether all is well, with 503 if it is not (behaviour §9).

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value as Json, json};

use super::Api;
use super::amqp::{Purpose, call, closed};
use super::auth::Caller;
use super::error::ApiError;
use crate::amqp::{AMQPClass, queue};
use crate::client::Publication;
use crate::server::tls::End;
use crate::server::{Address, Listening};

/// The queue that the aliveness test leaves behind (V24).
const ALIVENESS_QUEUE: &str = "aliveness-test";

pub(super) fn routes() -> Router<Api> {
    let leaders = "/health/checks/quorum-queues-without-elected-leaders";
    Router::new()
        .route("/health/checks/alarms", get(alarms))
        .route("/health/checks/local-alarms", get(local_alarms))
        .route("/health/checks/virtual-hosts", get(virtual_hosts))
        .route("/health/checks/port-listener/{port}", get(port_listener))
        .route("/health/checks/protocol-listener/{protocol}", get(protocol_listener))
        .route("/health/checks/certificate-expiration/{within}/{unit}", get(certificate_expiration))
        .route("/health/checks/node-is-quorum-critical", get(single_node))
        .route("/health/checks/node-is-mirror-sync-critical", get(single_node))
        .route("/health/checks/is-in-service", get(is_in_service))
        .route("/health/checks/below-node-connection-limit", get(below_connection_limit))
        .route("/health/checks/ready-to-serve-clients", get(ready_to_serve_clients))
        .route("/health/checks/metadata-store/initialized", get(ok))
        .route("/health/checks/metadata-store/initialized/with-data", get(has_data))
        .route(&format!("{leaders}/all-vhosts"), get(leaders_of_all))
        .route(&format!("{leaders}/all-vhosts/pattern/{{pattern}}"), get(leaders_of_all))
        .route(&format!("{leaders}/vhost/{{vhost}}"), get(leaders_of_vhost))
        .route(&format!("{leaders}/vhost/{{vhost}}/pattern/{{pattern}}"), get(leaders_of_some))
        .route("/health/checks/reached-target-cluster-size", get(serves))
        .route("/aliveness-test/{vhost}", get(aliveness))
        .route("/healthchecks/node", get(node))
        .route("/healthchecks/node/{node}", get(node_named))
}

fn fine() -> Response {
    super::json(StatusCode::OK, &json!({"status": "ok"}))
}

/// 503, with what else was found.
fn failed(reason: &str, mut found: Json) -> ApiError {
    found["status"] = json!("failed");
    found["reason"] = json!(reason);
    ApiError::Failed(found)
}

/// What publishers are blocked for.
fn effective(api: &Api) -> Vec<&'static str> {
    let alarms = api.handle.alarms();
    [(alarms.memory, "memory"), (alarms.disk, "disk")].into_iter().filter(|(on, _)| *on).map(|(_, resource)| resource).collect()
}

fn check_alarms(api: &Api, caller: &Caller, reason: &str) -> Result<Response, ApiError> {
    let node = caller.node_name();
    let alarms: Vec<Json> = effective(api).into_iter().map(|resource| json!({"node": node, "resource": resource})).collect();
    if alarms.is_empty() { Ok(fine()) } else { Err(failed(reason, json!({"alarms": alarms}))) }
}

async fn alarms(State(api): State<Api>, caller: Caller) -> Result<Response, ApiError> {
    check_alarms(&api, &caller, "There are alarms in effect in the cluster")
}

async fn local_alarms(State(api): State<Api>, caller: Caller) -> Result<Response, ApiError> {
    check_alarms(&api, &caller, "There are alarms in effect on the node")
}

/// Every virtual host answers.
async fn virtual_hosts(State(api): State<Api>, caller: Caller) -> Result<Response, ApiError> {
    let mut down: Vec<&Arc<str>> = Vec::new();
    for vhost in caller.node.vhosts.keys() {
        // One that was deleted meanwhile is not missed.
        if api.handle.ask(vhost, |_| ()).await.is_none() && api.handle.node().vhost(vhost).is_some() {
            down.push(vhost);
        }
    }
    if down.is_empty() { Ok(fine()) } else { Err(failed("Some virtual hosts are down", json!({"virtual-hosts": down}))) }
}

async fn port_listener(State(api): State<Api>, _: Caller, Path(port): Path<String>) -> Result<Response, ApiError> {
    let port: u16 = port.parse().map_err(|_| ApiError::bad_request("Invalid port"))?;
    let port_of = |listening: &Listening| if let Address::Ip(address) = &listening.address { Some(address.port()) } else { None };
    let ports: Vec<u16> = api.handle.listening().iter().filter_map(port_of).collect();
    if ports.contains(&port) {
        return Ok(super::json(StatusCode::OK, &json!({"status": "ok", "port": port})));
    }
    Err(failed("No active listener", json!({"missing": port, "ports": ports})))
}

async fn protocol_listener(State(api): State<Api>, _: Caller, Path(protocol): Path<String>) -> Result<Response, ApiError> {
    let protocol = protocol.to_lowercase();
    let protocol = canonical(&protocol);
    let protocols: Vec<&str> = api.handle.listening().iter().map(|listening| listening.protocol).collect();
    if protocols.contains(&protocol) {
        return Ok(super::json(StatusCode::OK, &json!({"status": "ok", "protocol": protocol})));
    }
    Err(failed("No active listener", json!({"missing": protocol, "protocols": protocols})))
}

/// The name that listeners have for a protocol, of the names that people have for it.
fn canonical(protocol: &str) -> &str {
    match protocol {
        "amqp091" | "amqp0.9.1" | "amqp0-9-1" | "amqp0_9_1" | "amqp10" | "amqp1.0" | "amqp1-0" | "amqp1_0" => "amqp",
        "amqps" => "amqp/ssl",
        "http1" | "http1.1" | "http_api" | "management" | "management_ui" | "ui" => "http",
        "mqtt3.1" | "mqtt3.1.1" | "mqtt31" | "mqtt311" | "mqtt3_1" | "mqtt3_1_1" => "mqtt",
        "mqtts" | "mqtt+tls" | "mqtt+ssl" => "mqtt/ssl",
        "stomp1.0" | "stomp1.1" | "stomp1.2" | "stomp10" | "stomp11" | "stomp12" | "stomp1_0" | "stomp1_1" | "stomp1_2" => "stomp",
        "stomps" | "stomp+tls" | "stomp+ssl" => "stomp/ssl",
        "cli" | "distribution" => "clustering",
        other => other,
    }
}

/// RabbitMQ's units, in seconds; a month is the twelfth part of a year.
const UNITS: [(&str, i64); 4] = [("days", 86_400), ("weeks", 7 * 86_400), ("months", 365 * 86_400 / 12), ("years", 365 * 86_400)];

async fn certificate_expiration(
    State(api): State<Api>,
    caller: Caller,
    Path((within, unit)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let within: i64 = within.parse().map_err(|_| ApiError::bad_request("Invalid expiration value."))?;
    let unit = UNITS.iter().find(|(name, _)| *name == unit.to_lowercase());
    let (_, seconds) =
        unit.ok_or_else(|| ApiError::bad_request("Time unit not recognised. Supported units: days, weeks, months, years."))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    let by = now.saturating_add(within.saturating_mul(*seconds));
    let mut expired = Vec::new();
    for listening in api.handle.listening().into_iter().filter(Listening::is_secured) {
        let (handle, protocol) = (api.handle.clone(), listening.protocol);
        let read = tokio::task::spawn_blocking(move || handle.certificates(protocol).map_err(|error| error.to_string())).await;
        let validity = read.unwrap_or_else(|error| Err(error.to_string())).map_err(|why| failed(&why, json!({})))?;
        let ending = |ends: &[End]| ends.iter().filter(|end| end.unix_seconds < by).map(|end| end.text.clone()).collect::<Vec<_>>();
        let (certificates, authorities) = (ending(&validity.certificates), ending(&validity.authorities));
        if certificates.is_empty() && authorities.is_empty() {
            continue;
        }
        let (interface, port) = match &listening.address {
            Address::Ip(address) => (address.ip().to_string(), address.port()),
            Address::Path(path) => (path.display().to_string(), 0),
        };
        expired.push(json!({
            "node": caller.node_name(),
            "protocol": listening.protocol,
            "interface": interface,
            "port": port,
            "certfile": validity.certfile,
            "cacertfile": validity.cacertfile,
            "certfile_expires_on": certificates,
            "cacertfile_expires_on": authorities,
        }));
    }
    if expired.is_empty() { Ok(fine()) } else { Err(failed("Certificates expiring", json!({"expired": expired}))) }
}

async fn single_node(_: Caller) -> Response {
    super::json(StatusCode::OK, &json!({"status": "ok", "reason": "single node cluster"}))
}

async fn ok(_: Caller) -> Response {
    fine()
}

/// Whether the application runs and is not in maintenance mode.
fn is_serving(api: &Api) -> bool {
    api.handle.is_running() && !api.handle.is_drained()
}

/// These checks tell nothing that a connection would not, so that load balancers need no user for them, as in RabbitMQ.
async fn is_in_service(State(api): State<Api>) -> Result<Response, ApiError> {
    if !is_serving(&api) {
        return Err(failed("this rabbit node is not currently available to serve", json!({})));
    }
    Ok(fine())
}

async fn serves() -> Response {
    fine()
}

/// Whether AMQP connections are taken: how many there are, and how many there may be.
fn check_connections(api: &Api) -> Result<Json, ApiError> {
    let connections = api.handle.sockets();
    match api.handle.node().connection_max {
        None => Ok(json!({"status": "ok", "limit": "infinity", "connections": connections})),
        Some(limit) if connections < limit => Ok(json!({"status": "ok", "limit": limit, "connections": connections})),
        Some(limit) => Err(failed("node connection limit is reached", json!({"limit": limit, "connections": connections}))),
    }
}

async fn below_connection_limit(State(api): State<Api>) -> Result<Response, ApiError> {
    Ok(super::json(StatusCode::OK, &check_connections(&api)?))
}

async fn ready_to_serve_clients(State(api): State<Api>) -> Result<Response, ApiError> {
    if !is_serving(&api) {
        return Err(failed("the rabbit node is not currently available to serve", json!({})));
    }
    if !api.handle.lets_clients_in() || !api.handle.listening().iter().any(|listening| matches!(listening.protocol, "amqp" | "amqp/ssl")) {
        return Err(failed("no active listeners for AMQP/AMQPS", json!({})));
    }
    check_connections(&api).map(|_| fine())
}

async fn has_data(caller: Caller) -> Result<Response, ApiError> {
    if caller.node.vhosts.is_empty() {
        let reason = "Metadata store has not yet been initialized: it reports to have no virtual hosts";
        return Err(failed(reason, json!({})));
    }
    Ok(fine())
}

/// On one node every quorum queue has its leader.
async fn leaders_of_all(caller: Caller) -> Result<Response, ApiError> {
    caller.monitor()?;
    Ok(fine())
}

async fn leaders_of_vhost(caller: Caller, Path(vhost): Path<String>) -> Result<Response, ApiError> {
    caller.sees_vhost(&vhost)?;
    Ok(fine())
}

async fn leaders_of_some(caller: Caller, Path((vhost, _)): Path<(String, String)>) -> Result<Response, ApiError> {
    caller.sees_vhost(&vhost)?;
    Ok(fine())
}

/// Whether a message comes through, where RabbitMQ still tries (V24).
async fn aliveness(State(api): State<Api>, caller: Caller, Path(vhost): Path<String>) -> Result<Response, ApiError> {
    caller.vhost(&vhost)?;
    let channel = api.amqp.channel(&api.handle, &caller, &vhost, Purpose::Operations).await?;
    if caller.node.settings.profile.aliveness_declares_queue {
        let declare = queue::Declare { queue: ALIVENESS_QUEUE.into(), ..queue::Declare::default() };
        call(&channel, AMQPClass::Queue(queue::AMQPMethod::Declare(declare))).await?;
        let publication = Publication::new("", ALIVENESS_QUEUE, b"test_message".to_vec());
        super::messages::confirmed(&api, &caller, &vhost, publication).await?;
        channel.get(ALIVENESS_QUEUE, true).await.map_err(closed)?;
    }
    Ok(fine())
}

async fn node(State(api): State<Api>, caller: Caller) -> Result<Response, ApiError> {
    let alarms: Vec<String> =
        effective(&api).into_iter().map(|resource| format!("{{resource_limit,{resource},{}}}", caller.node_name())).collect();
    if alarms.is_empty() {
        return Ok(fine());
    }
    Err(failed(&format!("resource alarm(s) in effect:[{}]", alarms.join(",")), json!({})))
}

async fn node_named(State(api): State<Api>, caller: Caller, Path(name): Path<String>) -> Result<Response, ApiError> {
    if name == caller.node_name() { node(State(api), caller).await } else { Err(ApiError::NotFound) }
}
