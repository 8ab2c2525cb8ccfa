//! /api/leveret: what RabbitMQ's API lacks and whoever looks after queues wants. Looking at messages without touching them, moving
//! them, sending dead letters back. Who may do something here may do the same over AMQP.

mod look;
mod moving;

use axum::Router;
use axum::routing::{get, post};
use serde_json::{Map, Value as Json};

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use crate::broker::{Access, Permission, Subject};

pub(super) use look::{message_to_json, number};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/leveret/queues/{vhost}/{queue}/peek", get(look::peek))
        .route("/leveret/queues/{vhost}/{queue}/dead-letters", get(look::dead_letters))
        .route("/leveret/queues/{vhost}/{queue}/move", post(moving::move_messages))
        .route("/leveret/queues/{vhost}/{queue}/redrive", post(moving::redrive))
}

/// Looking at messages needs what getting them would need.
async fn reads(api: &Api, caller: &Caller, vhost: &str, queue: &str) -> Result<(), ApiError> {
    caller.vhost(vhost)?;
    let access = Access { permission: Permission::Read, subject: Subject::Queue(queue.to_owned()) };
    let may = caller.is_local || api.handle.may(&caller.node, &caller.identity(), vhost, &access).await;
    if may { Ok(()) } else { Err(ApiError::Unauthorised("Access refused.".into())) }
}

/// An entry of an x-death header, the most recent one or the oldest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Death {
    First,
    #[default]
    Last,
}

impl Death {
    /// Of a message with these properties, as JSON has them; `None` when it has never died.
    fn of(self, properties: &Json) -> Option<&Map<String, Json>> {
        let deaths = properties.get("headers")?.get("x-death")?.as_array()?;
        let death = match self {
            Self::First => deaths.last(),
            Self::Last => deaths.first(),
        };
        death?.as_object()
    }
}

/// A text of an entry of x-death.
fn text<'a>(death: &'a Map<String, Json>, name: &str) -> &'a str {
    death.get(name).and_then(Json::as_str).unwrap_or_default()
}
