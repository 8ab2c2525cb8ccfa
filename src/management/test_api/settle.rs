//! POST /api/test/settle: waits until nothing is ready, unacked or unconfirmed.

use std::fmt::Write;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value as Json, json};

use super::Tester;
use super::journal::{plain, timeout_in, wants_text};
use crate::management::body::Fields;
use crate::management::error::ApiError;
use crate::management::query::Query;
use crate::management::{Api, json};
use crate::server::Left;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/test/settle", post(settle))
}

fn queues_in(fields: &Fields) -> Result<Vec<String>, ApiError> {
    let wrong = || ApiError::bad_request("queues should be a list of names");
    match fields.get("queues") {
        None => Ok(Vec::new()),
        Some(Json::Array(names)) => names.iter().map(|name| name.as_str().map(str::to_owned).ok_or_else(wrong)).collect(),
        Some(_) => Err(wrong()),
    }
}

async fn settle(State(api): State<Api>, _: Tester, query: Query, headers: HeaderMap, fields: Fields) -> Result<Response, ApiError> {
    let (vhost, queues, timeout) = (fields.text("vhost"), queues_in(&fields)?, timeout_in(&fields)?);
    let vhosts: Vec<String> = match vhost {
        Some(vhost) => vec![vhost.to_owned()],
        None => api.handle.node().vhosts.keys().map(ToString::to_string).collect(),
    };
    // A name that is mistyped would be at rest for ever.
    let mut missing = queues.clone();
    for name in &vhosts {
        let asked = missing.clone();
        let left = api.handle.ask(name, move |of| asked.into_iter().filter(|queue| !of.broker().has_queue(queue)).collect()).await;
        missing = left.ok_or_else(ApiError::no_vhost)?;
    }
    if let Some(queue) = missing.first() {
        return Err(ApiError::Missing(format!("there is no queue '{queue}' in {}", vhosts.join(", "))));
    }
    match api.handle.settle(vhost, &queues, timeout).await {
        Ok(()) => Ok(json(StatusCode::OK, &json!({"settled": true}))),
        Err(left) => {
            let text = told(&left, timeout.as_millis());
            if wants_text(&query, &headers, false) {
                return Ok(plain(StatusCode::REQUEST_TIMEOUT, text));
            }
            Ok(json(StatusCode::REQUEST_TIMEOUT, &json!({"error": "timeout", "reason": text, "left": left})))
        }
    }
}

fn told(left: &[Left], waited_ms: u128) -> String {
    let mut text = format!("not at rest after {waited_ms} ms\n");
    for of in left {
        for queue in &of.queues {
            let (ready, unacked, consumers) = (queue.ready, queue.unacked, queue.consumers);
            let _ = writeln!(
                text,
                "  queue \"{}\" in \"{}\" has {ready} ready, {unacked} unacked, {consumers} consumers",
                queue.queue, of.vhost
            );
            for held in &queue.held_by {
                let _ = writeln!(text, "    {} unacked by {} channel {}", held.messages, held.connection, held.channel);
            }
        }
        for channel in &of.unconfirmed {
            let _ =
                writeln!(text, "  {} publishes of {} channel {} are not confirmed", channel.messages, channel.connection, channel.channel);
        }
    }
    text
}
