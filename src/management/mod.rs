//! RabbitMQ's management HTTP API (behaviour §9): the same paths, fields and refusals, over the node as it is at that moment. What
//! somebody has been told by the broker, a request made afterwards shows.

mod amqp;
mod auth;
mod bindings;
mod body;
mod breakdown;
mod channels;
mod connections;
mod consumers;
mod control;
mod data_plane;
mod declare;
mod definitions;
mod error;
mod exchanges;
mod features;
mod format;
mod health;
mod list;
mod machine;
mod messages;
mod metrics;
mod multipart;
mod nodes;
mod overview;
mod page;
mod parameters;
mod permissions;
mod policies;
mod query;
mod queues;
mod rates;
mod ring;
mod serve;
mod shovels;
mod stats;
mod streams;
mod system;
mod test_api;
mod tools;
mod users;
mod values;
mod vhosts;
mod websocket;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::node::password::PasswordHash;
use crate::node::users::{User, UserLimits};
use crate::server::Handle;
use crate::shovel::Shovels;
use amqp::Amqp;
use error::ApiError;
use rates::Rates;

pub use serve::{BindError, HttpServer, bind, bind_metrics, bind_metrics_over_tls};

/// What all requests share.
#[derive(Clone, Debug)]
struct Api {
    handle: Handle,
    amqp: Arc<Amqp>,
    shovels: Shovels,
    sessions: data_plane::Sessions,
    rates: Arc<Rates>,
    /// What the node is called.
    node: Arc<str>,
}

/// Where something is.
#[derive(Clone, Debug)]
struct Place {
    node: Arc<str>,
    vhost: Arc<str>,
}

impl Api {
    fn new(handle: Handle, shovels: Shovels) -> Self {
        let node = Arc::clone(&handle.node().settings.node_name);
        Self { amqp: Arc::default(), shovels, sessions: data_plane::Sessions::default(), rates: Rates::start(&handle), node, handle }
    }

    /// A virtual host of this node.
    fn place(&self, vhost: &Arc<str>) -> Place {
        Place { node: Arc::clone(&self.node), vhost: Arc::clone(vhost) }
    }
}

/// Marks a request that came over the control socket.
#[derive(Clone, Copy, Debug)]
struct Local;

impl Local {
    /// Who somebody is that needs no password.
    fn user() -> User {
        let tags = vec!["administrator".to_owned()];
        User { name: "rmq-cli".into(), password: PasswordHash::none(), tags, limits: UserLimits::default() }
    }
}

fn router(api: Api) -> Router {
    let resources = Router::new()
        .merge(users::routes())
        .merge(permissions::routes())
        .merge(vhosts::routes())
        .merge(control::routes())
        .merge(machine::routes())
        .merge(declare::routes())
        .merge(messages::routes())
        .merge(policies::routes())
        .merge(parameters::routes())
        .merge(definitions::routes())
        .merge(overview::routes())
        .merge(nodes::routes())
        .merge(queues::routes())
        .merge(exchanges::routes())
        .merge(bindings::routes())
        .merge(connections::routes())
        .merge(channels::routes())
        .merge(consumers::routes())
        .merge(streams::routes())
        .merge(health::routes())
        .merge(features::routes())
        .merge(tools::routes())
        .merge(shovels::routes())
        .merge(test_api::routes(api.handle.config().testing.api));
    let data_plane = data_plane::routes(api.handle.node().settings.max_message_size);
    Router::new()
        .merge(page::routes())
        .nest("/api", resources)
        .nest("/v1", data_plane)
        .merge(metrics::routes())
        .fallback(|| async { ApiError::NotFound })
        .layer(from_fn(body::take_small))
        .layer(from_fn_with_state(api.clone(), websocket::look_for))
        .with_state(api)
}

/// An answer in JSON.
fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Response {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::VARY, HeaderValue::from_static("accept, accept-encoding, origin")),
    ];
    (status, headers, body).into_response()
}

/// What RabbitMQ answers to a PUT: 201 for what is new, 204 for what was there.
fn put(is_new: bool) -> StatusCode {
    if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT }
}

/// Returns when what has happened in a virtual host by now would survive.
async fn safe(api: &Api, vhost: &str) -> Result<(), ApiError> {
    if api.handle.safe(vhost).await { Ok(()) } else { Err(ApiError::Unavailable("the node stops".to_owned())) }
}
