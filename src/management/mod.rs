//! RabbitMQ's management HTTP API (behaviour §9): the same paths, fields and refusals, over the node as it is at that moment. What
//! somebody has been told by the broker, a request made afterwards shows.

mod amqp;
mod auth;
mod body;
mod data_plane;
mod declare;
mod definitions;
mod error;
mod list;
mod messages;
mod multipart;
mod parameters;
mod permissions;
mod policies;
mod query;
mod serve;
mod users;
mod values;
mod vhosts;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::node::password::PasswordHash;
use crate::node::users::{User, UserLimits};
use crate::server::Handle;
use amqp::Amqp;
use error::ApiError;

pub use serve::{HttpServer, bind};

/// What RabbitMQ calls a node.
const NODE_NAME: &str = "leveret@localhost";

/// What all requests share.
#[derive(Clone, Debug)]
struct Api {
    handle: Handle,
    amqp: Arc<Amqp>,
    sessions: data_plane::Sessions,
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
    let resources = Router::new().merge(users::routes()).merge(permissions::routes()).merge(vhosts::routes());
    let resources = resources.merge(declare::routes()).merge(messages::routes());
    let resources = resources.merge(policies::routes()).merge(parameters::routes()).merge(definitions::routes());
    let data_plane = data_plane::routes(api.handle.node().settings.max_message_size);
    Router::new().nest("/api", resources).nest("/v1", data_plane).fallback(|| async { ApiError::NotFound }).with_state(api)
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
