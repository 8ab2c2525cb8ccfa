//! /api/leveret: what RabbitMQ's tools do through Erlang and not over HTTP. Only the control socket has it: whoever can write to that
//! is the owner of the process.

use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post, put as put_method};
use serde_json::{Value as Json, json};

use super::body::Fields;
use super::error::ApiError;
use super::messages::payload;
use super::values::{properties_of, properties_to_json};
use super::{Api, Local};
use crate::config::{DiskFreeLimit, MemoryWatermark};
use crate::node::password::{Algorithm, PasswordHash};
use crate::node::users::{User, UserLimits};
use crate::node::vhosts::Vhost;
use crate::node::{Node, Refusal};
use crate::server::{Address, Asked, StartError, resident_bytes};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/leveret/node", get(node))
        .route("/leveret/tracing/{vhost}", put_method(trace_on).delete(trace_off))
        .route("/leveret/memory-watermark", put_method(set_memory_watermark))
        .route("/leveret/disk-free-limit", put_method(set_disk_free_limit))
        .route("/leveret/alarms/{alarm}", put_method(set_alarm).delete(clear_alarm))
        .route("/leveret/log-level", put_method(set_log_level))
        .route("/leveret/tuning", put_method(tune))
        .route("/leveret/users/{user}", post(add_user).put(change_user))
        .route("/leveret/authenticate", post(authenticate))
        .route("/leveret/connections/close", post(close_connections))
        .route("/leveret/queues/{vhost}/{queue}/peek/{position}", get(peek))
        .route("/leveret/listeners/suspend", post(suspend_listeners))
        .route("/leveret/listeners/resume", post(resume_listeners))
        .route("/leveret/drain", post(drain))
        .route("/leveret/revive", post(revive))
        .route("/leveret/app/start", post(start_app))
        .route("/leveret/app/stop", post(stop_app))
        .route("/leveret/reset", post(reset))
        .route("/leveret/stop", post(stop))
}

/// Somebody at the control socket.
pub(super) struct Operator;

impl FromRequestParts<Api> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, ApiError> {
        parts.extensions.get::<Local>().map(|_| Self).ok_or(ApiError::Unauthorised("Only for the control socket".into()))
    }
}

/// What there is to say of the node, running or not.
async fn node(State(api): State<Api>, _: Operator) -> Response {
    let handle = &api.handle;
    let (config, node, alarms, memory) = (handle.config(), handle.node(), handle.alarms(), handle.memory());
    let mut queues = 0;
    let mut connections = 0;
    for vhost in node.vhosts.keys() {
        let counts = handle.ask(vhost, |asked| (asked.broker().queue_views().len(), asked.broker().connection_views().len())).await;
        let (more_queues, more_connections) = counts.unwrap_or_default();
        queues += more_queues;
        connections += more_connections;
    }
    let listeners: Vec<Json> = handle
        .listening()
        .iter()
        .map(|listening| {
            let (interface, port) = place(&listening.address);
            json!({"protocol": listening.protocol, "interface": interface, "port": port})
        })
        .collect();
    let watermark = match handle.memory_watermark() {
        MemoryWatermark::Relative(share) => json!({"relative": share}),
        MemoryWatermark::Absolute(bytes) => json!({"absolute": bytes}),
    };
    let mut raised = Vec::new();
    raised.extend(alarms.memory.then_some("memory"));
    raised.extend(alarms.disk.then_some("disk"));
    let found = json!({
        "name": config.node_name,
        "cluster_name": node.cluster_name(),
        "cluster_tags": super::overview::cluster_tags(&node),
        "node_tags": config.node_tags,
        "processors": super::system::processors(),
        "arguments": std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "environment": super::machine::environment(),
        "pid": std::process::id(),
        "uptime": handle.started().elapsed().unwrap_or_default().as_secs(),
        "version": env!("CARGO_PKG_VERSION"),
        "rabbitmq_version": node.settings.profile.version,
        "running": handle.is_running(),
        "drained": handle.is_drained(),
        "data_directory": config.data_dir,
        "log_file": config.log.file_path(),
        "log_console": config.log.console_name(),
        "alarms": raised,
        "memory": {"resident": resident_bytes(), "messages": memory.used, "limit": memory.limit, "watermark": watermark},
        "disk": handle.disk().map(|disk| json!({"free": disk.free, "limit": disk.limit})),
        "sockets": handle.sockets(),
        "totals": {"connections": connections, "queues": queues, "vhosts": node.vhosts.len()},
        "listeners": listeners,
    });
    super::json(StatusCode::OK, &found)
}

/// Where something is served; sockets of the file system have no port.
pub(super) fn place(address: &Address) -> (Json, u16) {
    match address {
        Address::Ip(address) => (json!(address.ip()), address.port()),
        Address::Path(path) => (json!(path), 0),
    }
}

async fn trace_on(api: State<Api>, _: Operator, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    trace(&api, &name, true).await
}

async fn trace_off(api: State<Api>, _: Operator, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    trace(&api, &name, false).await
}

async fn trace(api: &Api, name: &str, tracing: bool) -> Result<StatusCode, ApiError> {
    let change = |node: &mut Node| {
        let vhost = node.vhost(name).ok_or_else(|| Refusal::NoVhost(name.to_owned()))?;
        node.put_vhost(Vhost { tracing, ..Vhost::clone(vhost) });
        Ok(())
    };
    api.handle.change_node(change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `relative`, a factor that is not negative, or `absolute`, bytes.
enum Limit {
    Relative(f64),
    Absolute(u64),
}

impl Limit {
    fn of(fields: &Fields) -> Result<Self, ApiError> {
        let relative = fields.get("relative").and_then(Json::as_f64).filter(|share| *share >= 0.0);
        let absolute = fields.get("absolute").and_then(Json::as_u64);
        relative.map(Self::Relative).or(absolute.map(Self::Absolute)).ok_or_else(|| ApiError::bad_request("neither relative nor absolute"))
    }
}

async fn set_memory_watermark(State(api): State<Api>, _: Operator, fields: Fields) -> Result<StatusCode, ApiError> {
    api.handle.set_memory_watermark(match Limit::of(&fields)? {
        Limit::Relative(share) => MemoryWatermark::Relative(share),
        Limit::Absolute(bytes) => MemoryWatermark::Absolute(bytes),
    });
    Ok(StatusCode::NO_CONTENT)
}

async fn set_disk_free_limit(State(api): State<Api>, _: Operator, fields: Fields) -> Result<StatusCode, ApiError> {
    api.handle.set_disk_free_limit(match Limit::of(&fields)? {
        Limit::Relative(factor) => DiskFreeLimit::Relative(factor),
        Limit::Absolute(bytes) => DiskFreeLimit::Absolute(bytes),
    });
    Ok(StatusCode::NO_CONTENT)
}

async fn set_alarm(api: State<Api>, _: Operator, Path(alarm): Path<String>) -> Result<StatusCode, ApiError> {
    force_alarm(&api, &alarm, true)
}

async fn clear_alarm(api: State<Api>, _: Operator, Path(alarm): Path<String>) -> Result<StatusCode, ApiError> {
    force_alarm(&api, &alarm, false)
}

fn force_alarm(api: &Api, alarm: &str, raised: bool) -> Result<StatusCode, ApiError> {
    let memory = match alarm {
        "memory" => true,
        "disk" => false,
        _ => return Err(ApiError::NotFound),
    };
    api.handle.force_alarm(memory, raised);
    Ok(StatusCode::NO_CONTENT)
}

async fn set_log_level(State(api): State<Api>, _: Operator, fields: Fields) -> Result<StatusCode, ApiError> {
    let level = fields.text("level").unwrap_or_default();
    api.handle.set_log_level(level).map_err(ApiError::BadRequest)?;
    Ok(StatusCode::NO_CONTENT)
}

/// What connections to come are proposed, and who may come from where; for this run of the node.
async fn tune(State(api): State<Api>, _: Operator, fields: Fields) -> Result<StatusCode, ApiError> {
    let channel_max = fields.get("channel_max").and_then(Json::as_u64).map(u16::try_from);
    let channel_max = channel_max.transpose().map_err(|_| ApiError::bad_request("channel_max is too large"))?;
    let users = fields.get("loopback_users").and_then(Json::as_array);
    let loopback_users = users.map(|users| users.iter().filter_map(Json::as_str).map(str::to_owned).collect());
    let change = |node: &mut Node| {
        node.tune.channel_max = channel_max.unwrap_or(node.tune.channel_max);
        if let Some(users) = loopback_users {
            node.loopback_users = users;
        }
        Ok(())
    };
    api.handle.change_node(change).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn add_user(State(api): State<Api>, _: Operator, Path(name): Path<String>, fields: Fields) -> Result<StatusCode, ApiError> {
    fields.need(&["password"])?;
    let password = PasswordHash::new(Algorithm::default(), api.handle.salt(), fields.text("password").unwrap_or_default());
    let change = |node: &mut Node| {
        if node.user(&name).is_some() {
            return Ok(false);
        }
        node.put_user(User { name: name.as_str().into(), password, tags: Vec::new(), limits: UserLimits::default() });
        Ok(true)
    };
    let is_new = api.handle.change_node(change).await?;
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::CONFLICT })
}

/// A password, `null` for none, or tags: what is not named stays.
async fn change_user(State(api): State<Api>, _: Operator, Path(name): Path<String>, fields: Fields) -> Result<StatusCode, ApiError> {
    let salt = api.handle.salt();
    let password = fields.0.get("password").map(|given| match given.as_str() {
        Some(password) => PasswordHash::new(Algorithm::default(), salt, password),
        None => PasswordHash::none(),
    });
    let tags = fields.get("tags").map(crate::node::definitions::tags_from_json);
    let change = |node: &mut Node| {
        let mut user = User::clone(node.user(&name).ok_or_else(|| Refusal::NoUser(name.clone()))?);
        user.password = password.unwrap_or(user.password);
        user.tags = tags.unwrap_or(user.tags);
        node.put_user(user);
        Ok(())
    };
    api.handle.change_node(change).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn authenticate(State(api): State<Api>, _: Operator, fields: Fields) -> Result<StatusCode, ApiError> {
    let (user, password) = (fields.text("user").unwrap_or_default(), fields.text("password").unwrap_or_default());
    let node = api.handle.node();
    let known = api.handle.login(&node, user, password).await.is_some();
    if known { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::Unauthorised("invalid credentials".into())) }
}

async fn close_connections(State(api): State<Api>, _: Operator, fields: Fields) -> Response {
    let limit = fields.get("limit").and_then(Json::as_u64).and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let reason = fields.text("reason").unwrap_or_default();
    let closed = api.handle.close_connections(fields.text("vhost"), fields.text("user"), limit, reason).await;
    super::json(StatusCode::OK, &json!({"closed": closed}))
}

/// The message at a position, beginning with 1, as it lies there; an empty list where there is none in memory.
async fn peek(
    State(api): State<Api>,
    _: Operator,
    Path((vhost, queue, position)): Path<(String, String, usize)>,
) -> Result<Response, ApiError> {
    let look = move |asked: &mut Asked<'_>| asked.broker().peek(&queue, 1, position.saturating_sub(1));
    let found = api.handle.ask(&vhost, look).await.flatten().ok_or(ApiError::NotFound)?;
    let messages: Vec<Json> = found
        .messages
        .iter()
        .map(|peeked| {
            let message = &peeked.message;
            let mut body = message.small_body().to_vec();
            message.large_body().iter().for_each(|part| body.extend_from_slice(part));
            let (payload, encoding) = payload(&body, true);
            json!({
                "payload": payload,
                "payload_bytes": body.len(),
                "payload_encoding": encoding,
                "exchange": String::from_utf8_lossy(message.exchange()),
                "routing_key": String::from_utf8_lossy(message.routing_key()),
                "redelivered": peeked.redelivered,
                "properties": properties_to_json(&properties_of(&message.visible_properties())),
            })
        })
        .collect();
    Ok(super::json(StatusCode::OK, &messages))
}

async fn suspend_listeners(State(api): State<Api>, _: Operator) -> StatusCode {
    api.handle.suspend_listeners().await;
    StatusCode::NO_CONTENT
}

async fn resume_listeners(State(api): State<Api>, _: Operator) -> Result<StatusCode, ApiError> {
    done(api.handle.resume_listeners().await)
}

async fn drain(State(api): State<Api>, _: Operator) -> StatusCode {
    api.handle.drain().await;
    StatusCode::NO_CONTENT
}

async fn revive(State(api): State<Api>, _: Operator) -> Result<StatusCode, ApiError> {
    done(api.handle.revive().await)
}

async fn start_app(State(api): State<Api>, _: Operator) -> Result<StatusCode, ApiError> {
    done(api.handle.start_app().await)
}

async fn stop_app(State(api): State<Api>, _: Operator) -> StatusCode {
    api.handle.stop_app().await;
    StatusCode::NO_CONTENT
}

fn done(outcome: Result<(), StartError>) -> Result<StatusCode, ApiError> {
    outcome.map(|()| StatusCode::NO_CONTENT).map_err(|error| ApiError::Unavailable(error.to_string()))
}

/// 409 while the application runs.
async fn reset(State(api): State<Api>, _: Operator) -> Result<StatusCode, ApiError> {
    Ok(if api.handle.reset().await? { StatusCode::NO_CONTENT } else { StatusCode::CONFLICT })
}

async fn stop(State(api): State<Api>, _: Operator) -> StatusCode {
    api.handle.ask_to_stop();
    StatusCode::ACCEPTED
}
