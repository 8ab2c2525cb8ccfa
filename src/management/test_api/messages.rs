//! /api/test/queues/{vhost}/{queue}/messages: what is ready, and what is unacked and by whom, without touching it.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value as Json, json};

use super::Tester;
use crate::broker::Timestamp;
use crate::broker::view::{Peeked, Unsettled};
use crate::management::error::ApiError;
use crate::management::query::Query;
use crate::management::tools::{message_to_json, number};
use crate::management::{Api, json};

/// Messages shown unless the client says otherwise, and at most.
const SHOWN: usize = 100;
const SHOWN_MAX: usize = 10_000;
/// Bytes of a body that are shown unless the client says otherwise.
const TRUNCATE: usize = 50_000;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/test/queues/{vhost}/{queue}/messages", get(messages))
}

/// What a look has found.
enum Found {
    Ready { messages: Vec<(Peeked, Option<u64>)>, on_disk: u64 },
    Unacked { messages: Vec<(Unsettled, Option<u64>)>, now: Timestamp },
}

async fn messages(
    State(api): State<Api>,
    _: Tester,
    Path((vhost, queue)): Path<(String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    let count = number(&query, "count")?.unwrap_or(SHOWN).min(SHOWN_MAX);
    let (offset, truncate) = (number(&query, "offset")?.unwrap_or(0), number(&query, "truncate")?.unwrap_or(TRUNCATE));
    let unacked = match query.get("state") {
        None | Some("ready") => false,
        Some("unacked") => true,
        Some(other) => return Err(ApiError::bad_request(format!("state should be ready or unacked, not '{other}'"))),
    };
    let name = queue;
    let found = api.handle.ask(&vhost, move |asked| {
        let broker = asked.broker();
        let id = |peeked: &Peeked| broker.journal_id(&name, peeked.position);
        if unacked {
            let messages = broker.peek_unacked(&name, count, offset)?;
            let messages = messages.into_iter().map(|unsettled| (id(&unsettled.peeked), unsettled)).map(|(id, of)| (of, id)).collect();
            return Some(Found::Unacked { messages, now: asked.now() });
        }
        let peek = broker.peek(&name, count, offset)?;
        let messages = peek.messages.into_iter().map(|peeked| (id(&peeked), peeked)).map(|(id, of)| (of, id)).collect();
        Some(Found::Ready { messages, on_disk: peek.on_disk })
    });
    let answer = match found.await.flatten().ok_or(ApiError::NotFound)? {
        Found::Ready { messages, on_disk } => {
            let messages: Vec<Json> = messages.iter().map(|(peeked, id)| shown(peeked, *id, truncate)).collect();
            json!({"messages": messages, "on_disk": on_disk})
        }
        Found::Unacked { messages, now } => {
            let messages: Vec<Json> = messages
                .iter()
                .map(|(unsettled, id)| {
                    let mut message = shown(&unsettled.peeked, *id, truncate);
                    message["connection"] = unsettled.name.as_str().into();
                    message["channel"] = unsettled.channel.into();
                    message["consumer_tag"] = unsettled.consumer_tag.as_deref().into();
                    message["delivery_tag"] = unsettled.delivery_tag.into();
                    message["delivered_at"] = unsettled.delivered.0.into();
                    message["unacked_ms"] = now.0.saturating_sub(unsettled.delivered.0).into();
                    message
                })
                .collect();
            json!({"messages": messages})
        }
    };
    Ok(json(StatusCode::OK, &answer))
}

/// A message with its number in the journal.
fn shown(peeked: &Peeked, id: Option<u64>, truncate: usize) -> Json {
    let mut message = message_to_json(peeked, truncate);
    message["message"] = id.into();
    message
}
