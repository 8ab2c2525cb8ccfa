//! Moving messages between queues, over AMQP: they are got, published where they belong, and acknowledged once that is confirmed.
//! Whatever happens in between, none is lost; some may be in both places then.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde_json::json;

use super::super::Api;
use super::super::amqp::{Purpose, closed};
use super::super::auth::Caller;
use super::super::body::Fields;
use super::super::declare::exchange_name;
use super::super::error::ApiError;
use super::super::messages::{blocked, not_published, publisher};
use super::super::values::{properties_of, properties_to_json};
use super::{Death, text};
use crate::amqp::properties::Properties;
use crate::amqp::table;
use crate::client::{Channel, Delivery, Publication};

/// Messages, and bytes of their bodies, that are published before their confirms are awaited.
const BATCH: usize = 100;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Where messages go.
#[derive(Clone, Debug)]
enum To {
    /// The default exchange takes them to queues.
    Exchange { exchange: String, routing_key: String },
    /// The queue in which each died.
    Source(Death),
}

/// Which messages go there: those that died last for this reason, in this queue.
#[derive(Clone, Debug, Default)]
struct Filter {
    reason: Option<String>,
    source: Option<String>,
}

/// What has become of them.
#[derive(Clone, Debug, Default)]
struct Outcome {
    moved: u64,
    /// Those that the filter does not mean; they are in their queue again.
    skipped: u64,
    /// Those that no queue takes, for the same.
    unroutable: u64,
    unroutable_to: BTreeSet<String>,
    stopped: Option<String>,
}

pub(super) async fn move_messages(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, queue)): Path<(String, String)>,
    fields: Fields,
) -> Result<Response, ApiError> {
    let named = |key: &str| fields.text(key).filter(|name| name.len() <= 255).map(str::to_owned);
    let to = match (named("destination"), named("exchange")) {
        (Some(routing_key), None) => To::Exchange { exchange: String::new(), routing_key },
        (None, Some(exchange)) => {
            To::Exchange { exchange: exchange_name(&exchange).to_owned(), routing_key: named("routing_key").unwrap_or_default() }
        }
        _ => return Err(ApiError::bad_request("either destination, a queue, or exchange and routing_key are needed")),
    };
    carry(&api, &caller, (&vhost, &queue), &to, &fields).await
}

pub(super) async fn redrive(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, queue)): Path<(String, String)>,
    fields: Fields,
) -> Result<Response, ApiError> {
    let death = match fields.text("to") {
        None | Some("last") => Death::Last,
        Some("first") => Death::First,
        Some(_) => return Err(ApiError::bad_request("to should be first or last")),
    };
    carry(&api, &caller, (&vhost, &queue), &To::Source(death), &fields).await
}

async fn carry(api: &Api, caller: &Caller, (vhost, queue): (&str, &str), to: &To, fields: &Fields) -> Result<Response, ApiError> {
    caller.vhost(vhost)?;
    let name = queue.to_owned();
    let ready = api.handle.ask(vhost, move |asked| Some(asked.broker().queue_view(&name)?.ready.messages)).await.flatten();
    let ready = ready.ok_or(ApiError::NotFound)?;
    let count = match fields.get("count") {
        None => ready,
        Some(count) => count.as_u64().ok_or_else(|| ApiError::bad_request("count should be a number"))?,
    };
    let text = |key: &str| fields.text(key).filter(|text| !text.is_empty()).map(str::to_owned);
    let filter = Filter { reason: text("reason"), source: text("source").or_else(|| text("queue")) };
    let source = api.amqp.channel(&api.handle, caller, vhost, Purpose::Operations).await?;
    let target = publisher(api, caller, vhost).await?;
    let mover = Mover { api, source, target, to, filter };
    let mut outcome = Outcome::default();
    // What comes in meanwhile is left alone, what is moved to its own queue for one.
    let ended = mover.run(queue, (count, ready), &mut outcome).await;
    // What is still unacked returns to its queue before this is answered; so do acknowledgements arrive.
    let _ = mover.source.close().await;
    if let Err(error) = ended {
        if outcome.moved == 0 {
            return Err(error);
        }
        outcome.stopped = Some(error.reason().to_owned());
    }
    if outcome.stopped.is_none() {
        api.amqp.give_back(caller, vhost, mover.target);
    }
    let answer = json!({
        "moved": outcome.moved,
        "skipped": outcome.skipped,
        "unroutable": outcome.unroutable,
        "unroutable_to": outcome.unroutable_to,
        "stopped": outcome.stopped,
    });
    tracing::info!(vhost, queue, user = caller.name(), moved = outcome.moved, "messages moved over HTTP");
    Ok(super::super::json(StatusCode::OK, &answer))
}

struct Mover<'a> {
    api: &'a Api,
    /// Gets and acknowledges.
    source: Channel,
    /// Publishes.
    target: Channel,
    to: &'a To,
    filter: Filter,
}

impl Mover<'_> {
    /// Moves up to `count` messages of the first `looked_at` of a queue.
    async fn run(&self, queue: &str, (count, looked_at): (u64, u64), outcome: &mut Outcome) -> Result<(), ApiError> {
        let (mut left, mut taken) = (looked_at, 0);
        while left > 0 && taken < count {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while left > 0 && taken < count && batch.len() < BATCH && bytes < BATCH_BYTES {
                let Some(delivery) = self.source.get(queue, false).await.map_err(closed)? else {
                    left = 0;
                    break;
                };
                left -= 1;
                match self.publication(&delivery) {
                    Some(publication) => {
                        bytes += delivery.body.len();
                        taken += 1;
                        batch.push((delivery.delivery_tag, publication));
                    }
                    None => outcome.skipped += 1,
                }
            }
            // They are not moved, and the count is not of them.
            taken -= self.publish(batch, outcome).await?;
        }
        Ok(())
    }

    /// Publishes a batch, and acknowledges what of it has been confirmed; gives how many went nowhere.
    async fn publish(&self, batch: Vec<(u64, Publication)>, outcome: &mut Outcome) -> Result<u64, ApiError> {
        let mut pending = Vec::with_capacity(batch.len());
        let mut nowhere = 0;
        for (tag, publication) in batch {
            let key = publication.routing_key.clone();
            let confirm = self.target.start_publish(publication).await.map_err(not_published)?;
            pending.push((tag, key, confirm));
        }
        let mut alarms = self.api.handle.on_alarms();
        for (tag, key, confirm) in pending {
            let confirmation = tokio::select! {
                biased;
                confirmation = confirm => confirmation.map_err(not_published)?,
                error = blocked(&mut alarms) => return Err(error),
            };
            if !confirmation.acked {
                return Err(ApiError::TooMany("Unable to publish message. Check queue limits.".to_owned()));
            }
            if confirmation.returned.is_some() {
                nowhere += 1;
                outcome.unroutable_to.insert(String::from_utf8_lossy(&key).into_owned());
            } else {
                self.source.ack(tag, false).await.map_err(closed)?;
                outcome.moved += 1;
            }
        }
        outcome.unroutable += nowhere;
        Ok(nowhere)
    }

    /// What to publish of a message; `None` if it is not meant.
    fn publication(&self, delivery: &Delivery) -> Option<Publication> {
        let Filter { reason, source } = &self.filter;
        let (exchange, routing_key) = match self.to {
            To::Exchange { exchange, routing_key } if reason.is_none() && source.is_none() => (exchange.clone(), routing_key.clone()),
            to => {
                let properties = properties_to_json(&properties_of(&delivery.raw_properties));
                let last = Death::Last.of(&properties)?;
                let differs = |wanted: &Option<String>, name: &str| wanted.as_ref().is_some_and(|wanted| wanted != text(last, name));
                if differs(reason, "reason") || differs(source, "queue") {
                    return None;
                }
                match to {
                    To::Exchange { exchange, routing_key } => (exchange.clone(), routing_key.clone()),
                    To::Source(death) => (String::new(), text(death.of(&properties)?, "queue").to_owned()),
                }
            }
        };
        let properties = without_other_keys(&delivery.raw_properties);
        let publication = Publication::new(exchange, routing_key, delivery.body.clone());
        Some(Publication { properties, ..publication }.mandatory())
    }
}

/// A message that goes to one place does not go to those of its CC header once more: as when it is dead-lettered with a key.
fn without_other_keys(raw: &Bytes) -> Bytes {
    let properties = Properties::checked(raw);
    match properties.headers() {
        Some(headers) if table::raw_value(headers, b"CC").is_some() => {
            properties.with_headers_left(&table::without_entry(headers, b"CC")).into()
        }
        _ => raw.clone(),
    }
}
