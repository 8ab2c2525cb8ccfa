//! What happened to a message, told step by step.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::broker::journal::What;
use crate::server::Recorded;

/// The events of one message, or of those that share a message_id.
#[derive(Debug)]
pub(super) struct Story<'a> {
    events: &'a [Arc<Recorded>],
    first: &'a Recorded,
}

/// Seconds from one time to another.
fn seconds(from: u64, to: u64) -> String {
    let passed = to.saturating_sub(from);
    format!("{}.{:03} s", passed / 1000, passed % 1000)
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// An exchange as people speak of it.
fn exchange(name: &str) -> String {
    if name.is_empty() { "the default exchange".to_owned() } else { format!("exchange {}", quoted(name)) }
}

/// What happened, in words.
pub(super) fn sentence(recorded: &Recorded) -> String {
    let event = &recorded.event;
    let queue = event.queue.as_deref().map(quoted).unwrap_or_default();
    let client = event.client.as_ref();
    let client = client.map_or_else(String::new, |client| format!("{} channel {}", client.connection, client.channel));
    let about = event.about.as_deref();
    let (to, key) = about.map_or_else(Default::default, |about| (exchange(&about.exchange), quoted(&about.routing_key)));
    let tag = event.delivery_tag.unwrap_or(0);
    let reason = event.reason.unwrap_or_default();
    let consumer = event.consumer_tag.as_deref().map(quoted).unwrap_or_default();
    let again = if event.redelivered { ", redelivered" } else { "" };
    let no_ack = if event.no_ack { ", not to be acknowledged" } else { "" };
    match event.what {
        What::Published if client.is_empty() => format!("published by the broker to {to} with key {key}"),
        What::Published if reason.is_empty() => format!("published by {client} to {to} with key {key}"),
        What::Published => format!("published by {client} to {to} with key {key}, in a transaction"),
        What::Routed => {
            let queues: Vec<String> = event.queues.iter().map(|queue| quoted(queue)).collect();
            format!("routed to {}", queues.join(", "))
        }
        What::Unroutable => "unroutable: no queue is bound for it".to_owned(),
        What::Returned => format!("returned to {client}"),
        What::Delayed => {
            let until = event.until.map_or(0, |until| until.0);
            format!("delayed by {to} for {}", seconds(event.at.0, until))
        }
        What::DelayOver => "the delay is over".to_owned(),
        What::Enqueued => format!("enqueued in {queue}"),
        What::Delivered if consumer.is_empty() => format!("delivered to {client} as a reply{no_ack}"),
        What::Delivered => format!("delivered from {queue} to consumer {consumer} of {client} as delivery {tag}{again}{no_ack}"),
        What::Got => format!("got from {queue} by {client} as delivery {tag}{again}{no_ack}"),
        What::Acked => format!("acknowledged by {client} as delivery {tag} of {queue}"),
        What::Nacked => format!("nacked by {client} as delivery {tag} of {queue}"),
        What::Rejected => format!("rejected by {client} as delivery {tag} of {queue}"),
        What::Requeued => format!("back in {queue}: {reason}"),
        What::Expired => format!("expired in {queue}"),
        What::DeadLettered => format!("dead-lettered from {queue} ({reason}) to {to} with key {key}"),
        What::Held => format!("held in {queue} ({reason}) until a queue takes it as a dead letter"),
        What::Dropped if event.count != 1 => format!("{} messages dropped from {queue}: {reason}", event.count),
        What::Dropped if queue.is_empty() => format!("dropped: {reason}"),
        What::Dropped => format!("dropped from {queue}: {reason}"),
        What::Confirmed => format!("confirmed to {client} as publish {tag}"),
        What::NackedToPublisher => format!("nacked to its publisher, {client}, as publish {tag}"),
        What::Restored => format!("found in {queue}, from before the journal began"),
    }
}

impl<'a> Story<'a> {
    /// `None` when there are no events.
    pub(super) fn new(events: &'a [Arc<Recorded>]) -> Option<Self> {
        Some(Self { events, first: events.first()? })
    }

    fn title(&self) -> String {
        let mut ids: Vec<u64> = self.events.iter().filter_map(|recorded| Some(recorded.event.about.as_ref()?.id)).collect();
        ids.sort_unstable();
        ids.dedup();
        let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
        let about = self.first.event.about.as_deref();
        let named = about.and_then(|about| about.message_id.as_deref()).map(|id| format!(" (message_id {})", quoted(id)));
        let size = about.map_or(0, |about| about.size);
        let numbers = if ids.len() == 1 { "message" } else { "messages" };
        format!("{numbers} {}{} in virtual host {}, {size} bytes", ids.join(", "), named.unwrap_or_default(), quoted(&self.first.vhost))
    }

    /// A line for each step, with the time since the one before.
    pub(super) fn text(&self) -> String {
        let mut text = self.title() + "\n";
        let mut before = self.first.event.at.0;
        for recorded in self.events {
            let at = recorded.event.at.0;
            let _ = writeln!(text, "{:>12}  {}", format!("+{}", seconds(before, at)), sentence(recorded));
            before = at;
        }
        text
    }

    pub(super) fn to_json(&self, lines: &[Json]) -> Json {
        let start = self.first.event.at.0;
        let mut before = start;
        let steps: Vec<Json> = self
            .events
            .iter()
            .zip(lines)
            .map(|(recorded, line)| {
                let at = recorded.event.at.0;
                let mut step = line.clone();
                step["after_ms"] = (at - start.min(at)).into();
                step["since_last_ms"] = (at - before.min(at)).into();
                step["text"] = sentence(recorded).into();
                before = at;
                step
            })
            .collect();
        json!({"title": self.title(), "steps": steps})
    }
}
