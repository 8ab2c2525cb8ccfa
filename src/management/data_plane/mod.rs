//! Publishing and consuming over HTTP for programs without an AMQP client: bodies as they are, batches, long polls, event streams.
//!
//! ```text
//!   POST /v1/{vhost}/exchanges/{exchange}[?routing_key=…]    a body, or lines of JSON
//!   GET  /v1/{vhost}/queues/{queue}/messages                 a long poll
//!   GET  /v1/{vhost}/queues/{queue}/events                   server-sent events
//!   POST /v1/{vhost}/ack                                     settles what was got, by its tokens
//! ```
//! A user needs no tag for these, only its permissions. What is not acknowledged in time goes back to its queue.

mod consume;
mod publish;
mod sessions;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use super::Api;
pub(super) use sessions::Sessions;

pub(super) fn routes(max_message_size: u64) -> Router<Api> {
    let max = usize::try_from(max_message_size).unwrap_or(usize::MAX);
    Router::new()
        .route("/{vhost}/exchanges/{exchange}", post(publish::publish).layer(DefaultBodyLimit::max(max)))
        .route("/{vhost}/queues/{queue}/messages", get(consume::poll))
        .route("/{vhost}/queues/{queue}/events", get(consume::stream))
        .route("/{vhost}/ack", post(consume::settle))
}
