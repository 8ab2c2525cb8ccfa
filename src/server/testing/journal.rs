//! Questions to the journal: which events there are of a kind, waiting for some, and waiting for rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::broker::journal::What;
use crate::broker::view::HeldBy;
use crate::broker::{Broker, QueueType};
use crate::server::Handle;
use crate::server::journal::{Extent, Recorded};

/// What an event can be asked for.
pub const EVENT_KEYS: [&str; 12] = [
    "vhost",
    "queue",
    "exchange",
    "routing_key",
    "event",
    "message",
    "message_id",
    "correlation_id",
    "connection",
    "channel",
    "consumer_tag",
    "reason",
];

/// Which events are meant: those that have one of its values for each of its keys. In values, `*` stands for any text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Filter(BTreeMap<&'static str, Vec<String>>);

impl Filter {
    /// Asks for one of these values.
    ///
    /// # Errors
    /// What events do not have, and events that there are not.
    pub fn set(&mut self, key: &str, values: Vec<String>) -> Result<(), String> {
        let known = EVENT_KEYS.iter().find(|known| **known == key);
        let known = *known.ok_or_else(|| format!("events are not asked for by '{key}': there are {}", EVENT_KEYS.join(", ")))?;
        if known == "event" {
            let names: Vec<&str> = What::ALL.iter().map(|what| what.name()).collect();
            if let Some(unknown) = values.iter().find(|value| !names.iter().any(|name| matches(value, name))) {
                return Err(format!("there is no event '{unknown}': there are {}", names.join(", ")));
            }
        }
        self.0.insert(known, values);
        Ok(())
    }

    /// The value of a key for which there is one only.
    #[must_use]
    pub fn exact(&self, key: &str) -> Option<&str> {
        match &**self.0.get(key)? {
            [value] if !value.contains('*') => Some(value),
            _ => None,
        }
    }

    #[must_use]
    pub fn takes(&self, recorded: &Recorded) -> bool {
        self.0.iter().all(|(key, wanted)| has(recorded, key, wanted))
    }

    /// The key for which an event has another value, if it is the only one.
    #[must_use]
    pub fn misses_by(&self, recorded: &Recorded) -> Option<&'static str> {
        let mut differing = self.0.iter().filter(|(key, wanted)| !has(recorded, key, wanted)).map(|(key, _)| *key);
        differing.next().filter(|_| differing.next().is_none())
    }
}

impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("any event");
        }
        let parts: Vec<String> = self.0.iter().map(|(key, values)| format!("{key} {}", values.join("|"))).collect();
        f.write_str(&parts.join(", "))
    }
}

fn has(recorded: &Recorded, key: &str, wanted: &[String]) -> bool {
    values_of(recorded, key).iter().any(|value| wanted.iter().any(|pattern| matches(pattern, value)))
}

/// What an event says for a key.
#[must_use]
pub fn values_of(recorded: &Recorded, key: &str) -> Vec<String> {
    let Recorded { vhost, event, .. } = recorded;
    let about = event.about.as_deref();
    let text = |value: Option<&str>| value.map(str::to_owned).into_iter().collect();
    match key {
        "vhost" => vec![vhost.to_string()],
        "queue" => event.queue.iter().chain(&event.queues).map(ToString::to_string).collect(),
        "exchange" => text(about.map(|about| &*about.exchange)),
        "routing_key" => text(about.map(|about| &*about.routing_key)),
        "event" => vec![event.what.name().to_owned()],
        "message" => about.map(|about| about.id.to_string()).into_iter().collect(),
        "message_id" => text(about.and_then(|about| about.message_id.as_deref())),
        "correlation_id" => text(about.and_then(|about| about.correlation_id.as_deref())),
        "connection" => text(event.client.as_ref().map(|client| &*client.connection)),
        "channel" => event.client.as_ref().map(|client| client.channel.to_string()).into_iter().collect(),
        "consumer_tag" => text(event.consumer_tag.as_deref()),
        "reason" => text(event.reason),
        _ => Vec::new(),
    }
}

/// Whether a text is as a pattern says, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(end)
}

/// What is left of a virtual host that does not come to rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Left {
    pub vhost: String,
    pub queues: Vec<LeftInQueue>,
    /// Channels with publishes whose confirms have not been sent.
    pub unconfirmed: Vec<Unconfirmed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftInQueue {
    pub queue: Arc<str>,
    pub ready: u64,
    pub unacked: u64,
    pub consumers: usize,
    /// Who has what is unacked.
    pub held_by: Vec<HeldBy>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unconfirmed {
    pub connection: String,
    pub channel: u16,
    pub messages: u64,
}

impl Left {
    fn is_nothing(&self) -> bool {
        self.queues.is_empty() && self.unconfirmed.is_empty()
    }

    /// What is left of these queues, or of all. What streams keep, they keep.
    fn of(broker: &Broker, wanted: &[String]) -> Self {
        let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
        let views = broker.queue_views().into_iter().filter(|view| is_wanted(&view.name) && view.kind != QueueType::Stream);
        let full = views.filter(|view| view.ready.messages + view.unacked.messages > 0);
        let queues = full.map(|view| LeftInQueue {
            ready: view.ready.messages,
            unacked: view.unacked.messages,
            consumers: view.consumers,
            held_by: broker.held_by(&view.name),
            queue: view.name,
        });
        let channels = broker.channel_views().into_iter().filter(|channel| channel.unconfirmed > 0);
        let unconfirmed = channels.map(|channel| Unconfirmed {
            connection: broker.connection_view(channel.connection).map(|view| view.origin.name()).unwrap_or_default(),
            channel: channel.number,
            messages: channel.unconfirmed,
        });
        Self { vhost: broker.vhost().to_owned(), queues: queues.collect(), unconfirmed: unconfirmed.collect() }
    }
}

impl Handle {
    /// How much the journal has; `None` where there is none.
    #[must_use]
    pub fn journal_extent(&self) -> Option<Extent> {
        self.0.journal.as_ref().map(|journal| journal.extent())
    }

    /// Forgets all events so far. Messages keep their numbers.
    pub async fn forget_journal(&self) {
        self.catch_up().await;
        if let Some(journal) = &self.0.journal {
            journal.forget();
        }
    }

    /// What anybody has been told by now is in the journal when this returns.
    pub(super) async fn catch_up(&self) {
        for broker_loop in self.0.loops().iter() {
            broker_loop.ask(|_| ()).await;
        }
    }

    /// Events from this number on, up to so many, and the number to go on with.
    pub async fn read_journal(&self, since: u64, limit: usize, filter: &Filter) -> (Vec<Arc<Recorded>>, u64) {
        self.catch_up().await;
        let journal = self.0.journal.as_ref();
        journal.map_or_else(|| (Vec::new(), since), |journal| journal.read(since, limit, |recorded| filter.takes(recorded)))
    }

    /// Waits until there are so many events from this number on.
    ///
    /// # Errors
    /// Those that there were when the time was over.
    pub async fn wait_for_events(
        &self,
        filter: &Filter,
        count: usize,
        since: u64,
        timeout: Duration,
    ) -> Result<Vec<Arc<Recorded>>, Vec<Arc<Recorded>>> {
        let Some(journal) = &self.0.journal else { return Err(Vec::new()) };
        let mut told = journal.subscribe();
        self.catch_up().await;
        let mut found = Vec::new();
        let mut cursor = since;
        let waiting = async {
            loop {
                told.mark_unchanged();
                let (more, next) = journal.read(cursor, count - found.len(), |recorded| filter.takes(recorded));
                found.extend(more);
                cursor = next.max(cursor);
                if found.len() >= count || told.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(timeout, waiting).await;
        if found.len() >= count { Ok(found) } else { Err(found) }
    }

    /// Waits until nothing is ready, unacked or unconfirmed: in these queues or all, of one virtual host or all.
    ///
    /// # Errors
    /// What is left when the time is over.
    pub async fn settle(&self, vhost: Option<&str>, queues: &[String], timeout: Duration) -> Result<(), Vec<Left>> {
        let rest = async {
            loop {
                let Some(first) = self.left(vhost, queues).await.into_iter().next() else { return };
                // What one has given up another may have got, so that all are asked again.
                if let Some(broker_loop) = self.0.broker_loop(&first.vhost) {
                    let queues = queues.to_vec();
                    broker_loop.until(move |asked| Left::of(asked.broker(), &queues).is_nothing().then_some(())).await;
                    broker_loop.safe().await;
                }
            }
        };
        match tokio::time::timeout(timeout, rest).await {
            Ok(()) => Ok(()),
            Err(_) => match self.left(vhost, queues).await {
                left if left.is_empty() => Ok(()),
                left => Err(left),
            },
        }
    }

    async fn left(&self, vhost: Option<&str>, queues: &[String]) -> Vec<Left> {
        let mut all = Vec::new();
        for broker_loop in self.0.loops().iter().filter(|of| vhost.is_none_or(|vhost| of.vhost() == vhost)) {
            let queues = queues.to_vec();
            let left = broker_loop.ask(move |asked| Left::of(asked.broker(), &queues)).await;
            all.extend((!left.is_nothing()).then_some(left));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, is) in [
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("*", "", true),
            ("orders*", "orders.eu", true),
            ("*.eu", "orders.eu", true),
            ("o*s.*u", "orders.eu", true),
            ("o*x*", "orders.eu", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, text), is, "{pattern} {text}");
        }
    }
}
