//! /api/stream: who speaks the stream protocol, which is nobody here. Streams are read and written over AMQP 0-9-1, and who does that is
//! among the connections, channels and consumers.

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::list::{self, Row};
use super::query::Query;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/stream/connections", get(all))
        .route("/stream/connections/{vhost}", get(of_vhost))
        .route("/stream/publishers", get(all))
        .route("/stream/publishers/{vhost}", get(of_vhost))
        .route("/stream/consumers", get(all))
        .route("/stream/consumers/{vhost}", get(of_vhost))
}

/// A connection, publisher or consumer of the stream protocol: there is none.
#[derive(Debug, Serialize)]
enum Nobody {}

impl Row for Nobody {
    fn name(&self) -> &str {
        match *self {}
    }
}

async fn all(_: Caller, query: Query) -> Result<Response, ApiError> {
    list::respond(Vec::<Nobody>::new(), &query)
}

async fn of_vhost(caller: Caller, Path(vhost): Path<String>, query: Query) -> Result<Response, ApiError> {
    caller.node.vhost(&vhost).ok_or(ApiError::NotFound)?;
    list::respond(Vec::<Nobody>::new(), &query)
}
