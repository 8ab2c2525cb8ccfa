//! What tells tools about the release, and what they ask for that is about clusters: /api/feature-flags, /api/deprecated-features,
//! /api/version, /api/auth, /api/login, /api/rebalance, members of quorum queues.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{delete, get, post, put as put_method};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::Api;
use super::auth::{self, Caller};
use super::body::Fields;
use super::error::ApiError;
use super::list::{self, Row};
use super::query::Query;
use crate::broker::queue::QueueType;
use crate::broker::view::QueueView;
use crate::server::{AttemptSource, Attempted};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/feature-flags", get(flags))
        .route("/feature-flags/{name}/enable", put_method(enable))
        .route("/deprecated-features", get(deprecated))
        .route("/deprecated-features/used", get(deprecated_used))
        .route("/version", get(version))
        .route("/auth", get(oauth))
        .route("/auth/attempts/{node}", get(attempts).delete(reset_attempts))
        .route("/auth/attempts/{node}/source", get(attempts_by_source).delete(reset_attempts))
        .route("/login", post(login))
        .route("/rebalance/queues", post(rebalance))
        .route("/queues/quorum/{vhost}/{queue}/status", get(members))
        .route("/queues/quorum/{vhost}/{queue}/replicas/add", post(add_member))
        .route("/queues/quorum/{vhost}/{queue}/replicas/delete", delete(delete_member))
        .route("/queues/quorum/replicas/on/{node}/grow", post(grow))
        .route("/queues/quorum/replicas/on/{node}/shrink", delete(shrink))
}

/// Something that a release can do: its name, what it is, and since which release.
type Flag = (&'static str, &'static str, (u32, u32));

/// In this order in RabbitMQ's list, too.
const FLAGS: [Flag; 24] = [
    ("classic_mirrored_queue_version", "Support setting version for classic mirrored queues", (3, 10)),
    ("classic_queue_type_delivery_support", "Bug fix for classic queue deliveries using mixed versions", (3, 11)),
    ("detailed_queues_endpoint", "Add a detailed queues HTTP API endpoint. Reduce number of metrics in the default endpoint.", (3, 13)),
    ("direct_exchange_routing_v2", "v2 direct exchange routing implementation", (3, 11)),
    ("drop_unroutable_metric", "Count unroutable publishes to be dropped in stats", (3, 8)),
    ("empty_basic_get_metric", "Count AMQP `basic.get` on empty queues in stats", (3, 8)),
    ("feature_flags_v2", "Feature flags subsystem V2", (3, 11)),
    ("implicit_default_bindings", "Default bindings are now implicit, instead of being stored in the database", (3, 8)),
    ("listener_records_in_ets", "Store listener records in ETS instead of Mnesia", (3, 11)),
    ("maintenance_mode_status", "Maintenance mode status", (3, 8)),
    ("message_containers", "Message containers.", (3, 13)),
    ("message_containers_deaths_v2", "Bug fix for dead letter cycle detection", (3, 13)),
    ("quorum_queue", "Support queues of type `quorum`", (3, 8)),
    ("rabbitmq_4.0.0", "Allows rolling upgrades from 3.13.x to 4.0.x", (4, 0)),
    ("rabbitmq_4.1.0", "Allows rolling upgrades to 4.1.x", (4, 1)),
    ("rabbitmq_4.2.0", "Allows rolling upgrades to 4.2.x", (4, 2)),
    ("rabbitmq_4.3.0", "Allows rolling upgrades to 4.3.x", (4, 3)),
    ("stream_filtering", "Support for stream filtering.", (3, 13)),
    ("stream_queue", "Support queues of type `stream`", (3, 9)),
    ("stream_sac_coordinator_unblock_group", "Bug fix to unblock a group of consumers in a super stream partition", (3, 12)),
    ("stream_single_active_consumer", "Single active consumer for streams", (3, 11)),
    ("tracking_records_in_ets", "Store tracking records in ETS instead of Mnesia", (3, 11)),
    ("user_limits", "Configure connection and channel limits for a user", (3, 8)),
    ("virtual_host_metadata", "Virtual host metadata (description, tags, etc)", (3, 8)),
];

/// The major and the minor number of the release that is shown.
fn release(caller: &Caller) -> (u32, u32) {
    let mut numbers = caller.node.settings.profile.version.split('.').filter_map(|number| number.parse().ok());
    (numbers.next().unwrap_or(4), numbers.next().unwrap_or(0))
}

#[derive(Clone, Debug, serde::Serialize)]
struct FlagRow {
    name: &'static str,
    desc: &'static str,
    doc_url: &'static str,
    state: &'static str,
    stability: &'static str,
    provided_by: &'static str,
}

impl Row for FlagRow {
    fn name(&self) -> &str {
        self.name
    }
}

fn flags_of(caller: &Caller) -> impl Iterator<Item = FlagRow> {
    let release = release(caller);
    FLAGS.iter().filter(move |(.., since)| *since <= release).map(move |&(name, desc, since)| {
        // What all nodes of a cluster can do since the major release before cannot be left out any more.
        let stability = if since.0 < release.0 { "required" } else { "stable" };
        FlagRow { name, desc, doc_url: "", state: "enabled", stability, provided_by: "rabbit" }
    })
}

async fn flags(caller: Caller, query: Query) -> Result<Response, ApiError> {
    caller.administrator()?;
    list::respond(flags_of(&caller).collect(), &query)
}

/// All of them are enabled.
async fn enable(caller: Caller, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    let is_known = flags_of(&caller).any(|flag| flag.name == name);
    if is_known { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::bad_request("unsupported")) }
}

#[derive(Clone, Debug, serde::Serialize)]
struct DeprecatedRow {
    name: &'static str,
    desc: &'static str,
    deprecation_phase: &'static str,
    doc_url: &'static str,
    provided_by: &'static str,
}

impl Row for DeprecatedRow {
    fn name(&self) -> &str {
        self.name
    }
}

const GLOBAL_QOS: &str = "global_qos";
const TRANSIENT_QUEUES: &str = "transient_nonexcl_queues";

fn deprecated_rows(caller: &Caller) -> Vec<DeprecatedRow> {
    let profile = &caller.node.settings.profile;
    let phase = |is_denied: bool| if is_denied { "denied_by_default" } else { "permitted_by_default" };
    let row = |name, desc, deprecation_phase| DeprecatedRow { name, desc, deprecation_phase, doc_url: "", provided_by: "rabbit" };
    vec![
        row(GLOBAL_QOS, "Global QoS for prefetch", phase(profile.global_qos_ignored)),
        row(TRANSIENT_QUEUES, "Transient non-exclusive queues", phase(profile.transient_nonexcl_queues_denied)),
    ]
}

async fn deprecated(caller: Caller, query: Query) -> Result<Response, ApiError> {
    caller.administrator()?;
    list::respond(deprecated_rows(&caller), &query)
}

async fn deprecated_used(State(api): State<Api>, caller: Caller, query: Query) -> Result<Response, ApiError> {
    caller.administrator()?;
    let mut used = Vec::new();
    for vhost in caller.node.vhosts.keys() {
        let found = api.handle.ask(vhost, |asked| (asked.broker().queue_views(), asked.broker().channel_views()));
        let Some((queues, channels)) = found.await else { continue };
        if queues.iter().any(|queue| !queue.durable && queue.owner.is_none()) {
            used.push(TRANSIENT_QUEUES);
        }
        if channels.iter().any(|channel| channel.global_prefetch_count > 0) {
            used.push(GLOBAL_QOS);
        }
    }
    list::respond(deprecated_rows(&caller).into_iter().filter(|row| used.contains(&row.name)).collect(), &query)
}

/// For tools that look before they log in.
async fn version(State(api): State<Api>) -> Response {
    super::json(StatusCode::OK, api.handle.node().settings.profile.version)
}

async fn oauth() -> Response {
    super::json(StatusCode::OK, &json!({"oauth_enabled": false}))
}

fn check_node(caller: &Caller, name: &str) -> Result<(), ApiError> {
    if name == caller.node_name() { Ok(()) } else { Err(ApiError::NotFound) }
}

async fn attempts(State(api): State<Api>, caller: Caller, Path(node): Path<String>) -> Result<Response, ApiError> {
    caller.monitor()?;
    check_node(&caller, &node)?;
    let rows: Vec<Json> = api.handle.attempts().iter().filter(|some| some.succeeded + some.failed > 0).map(attempts_row).collect();
    Ok(super::json(StatusCode::OK, &rows))
}

fn attempts_row(attempted: &Attempted) -> Json {
    let Attempted { protocol, succeeded, failed } = attempted;
    json!({
        "protocol": protocol.name(),
        "auth_attempts": succeeded + failed,
        "auth_attempts_failed": failed,
        "auth_attempts_succeeded": succeeded,
    })
}

/// From where is not kept unless one asks for it, as in RabbitMQ.
async fn attempts_by_source(State(api): State<Api>, caller: Caller, Path(node): Path<String>) -> Result<Response, ApiError> {
    caller.monitor()?;
    check_node(&caller, &node)?;
    let row = |(source, attempted): &(AttemptSource, Attempted)| {
        let mut row = attempts_row(attempted);
        row["remote_address"] = json!(source.address);
        row["username"] = json!(source.user);
        row
    };
    let rows: Vec<Json> = api.handle.attempts_by_source().iter().map(row).collect();
    Ok(super::json(StatusCode::OK, &rows))
}

async fn reset_attempts(State(api): State<Api>, caller: Caller, Path(node): Path<String>) -> Result<StatusCode, ApiError> {
    caller.monitor()?;
    check_node(&caller, &node)?;
    api.handle.reset_attempts();
    Ok(StatusCode::NO_CONTENT)
}

/// Checks a name and a password, and gives them back as a cookie.
async fn login(State(api): State<Api>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = Bytes::from_request(Request::new(body), &()).await.map_err(|_| super::body::too_large())?;
    let form = Query::parse(&String::from_utf8_lossy(&body));
    let (Some(name), Some(password)) = (form.get("username"), form.get("password")) else {
        return Err(ApiError::Unauthenticated("Login failed"));
    };
    auth::login(&api, name, password, &parts).await?.for_management().await?;
    let mut response = super::json(StatusCode::OK, "ok");
    let cookie = format!("auth={}; Version=1", STANDARD.encode(format!("{name}:{password}")));
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// On one node every queue is where it belongs.
async fn rebalance(caller: Caller) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    Ok(StatusCode::NO_CONTENT)
}

async fn quorum_queue(api: &Api, caller: &Caller, vhost: &str, name: &str) -> Result<QueueView, ApiError> {
    caller.vhost(vhost)?;
    let name = name.to_owned();
    let queue = api.handle.ask(vhost, move |asked| asked.broker().queue_view(&name)).await.flatten().ok_or(ApiError::NotFound)?;
    match queue.kind {
        QueueType::Quorum => Ok(queue),
        QueueType::Classic => Err(ApiError::Unavailable("classic_queue_not_supported".to_owned())),
        QueueType::Stream => Err(ApiError::Unavailable("stream_queue_not_supported".to_owned())),
    }
}

async fn members(State(api): State<Api>, caller: Caller, Path((vhost, queue)): Path<(String, String)>) -> Result<Response, ApiError> {
    quorum_queue(&api, &caller, &vhost, &queue).await?;
    Ok(super::json(StatusCode::OK, &json!([{"Node Name": caller.node_name(), "Raft State": "leader"}])))
}

/// Whether a change of a quorum queue's members is about this node.
async fn names_this_node(api: &Api, caller: &Caller, (vhost, queue): (&str, &str), fields: &Fields) -> Result<bool, ApiError> {
    caller.administrator()?;
    fields.need(&["node"])?;
    quorum_queue(api, caller, vhost, queue).await?;
    Ok(fields.text("node") == Some(caller.node_name()))
}

/// A queue is on this node already, and no other node is there.
async fn add_member(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, queue)): Path<(String, String)>,
    fields: Fields,
) -> Result<StatusCode, ApiError> {
    if names_this_node(&api, &caller, (&vhost, &queue), &fields).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(ApiError::Unavailable("node_not_running".to_owned()))
}

async fn delete_member(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, queue)): Path<(String, String)>,
    fields: Fields,
) -> Result<StatusCode, ApiError> {
    if names_this_node(&api, &caller, (&vhost, &queue), &fields).await? {
        return Err(ApiError::Unavailable("last_node".to_owned()));
    }
    // Not a member is as was asked for.
    Ok(StatusCode::NO_CONTENT)
}

async fn grow(caller: Caller, Path(node): Path<String>) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    if node == caller.node_name() { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::Unavailable("node_not_running".to_owned())) }
}

/// The last member of a queue stays.
async fn shrink(caller: Caller) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    Ok(StatusCode::NO_CONTENT)
}
