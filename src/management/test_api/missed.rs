//! Why a wait for events was in vain: what was expected, what came, what nearly was it, and what happened instead.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::story::sentence;
use crate::management::Api;
use crate::server::{Filter, Recorded, values_of};

/// How many near misses are told, and events of those that came.
const SHOWN: usize = 5;

pub(super) struct Missed {
    filter: Filter,
    count: usize,
    since: u64,
    timeout: Duration,
    pub(super) came: Vec<Arc<Recorded>>,
    near: Vec<Near>,
    instead: Option<Instead>,
}

/// Events that differ from what was expected in one thing, and there alike.
struct Near {
    key: &'static str,
    value: String,
    count: usize,
    last: Arc<Recorded>,
}

/// What happened to the queue that was meant.
struct Instead {
    queue: String,
    events: BTreeMap<&'static str, usize>,
    state: Option<State>,
}

struct State {
    ready: u64,
    unacked: u64,
    consumers: usize,
}

impl Missed {
    pub(super) async fn look(api: &Api, filter: Filter, (count, since, timeout): (usize, u64, Duration), came: Vec<Arc<Recorded>>) -> Self {
        let (all, _) = api.handle.read_journal(since, usize::MAX, &Filter::default()).await;
        let mut near: BTreeMap<(&'static str, String), Near> = BTreeMap::new();
        for recorded in &all {
            let Some(key) = filter.misses_by(recorded) else { continue };
            let value = values_of(recorded, key).join(",");
            let group = near.entry((key, value.clone())).or_insert_with(|| Near { key, value, count: 0, last: Arc::clone(recorded) });
            group.count += 1;
            group.last = Arc::clone(recorded);
        }
        let mut near: Vec<Near> = near.into_values().collect();
        // What differs in the event alone happened to the right message or queue, and says most.
        near.sort_by_key(|near| (near.key != "event", std::cmp::Reverse(near.count)));
        near.truncate(SHOWN);
        let instead = match filter.exact("queue") {
            Some(queue) => Some(Instead::look(api, queue, filter.exact("vhost"), &all).await),
            None => None,
        };
        Self { filter, count, since, timeout, came, near, instead }
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("expected {} × {}", self.count, self.filter);
        if self.since > 0 {
            let _ = write!(text, ", since {}", self.since);
        }
        let _ = writeln!(text, "\ngot {} in {} ms", self.came.len(), self.timeout.as_millis());
        for recorded in self.came.iter().rev().take(SHOWN).rev() {
            let _ = writeln!(text, "  {}", told(recorded));
        }
        if !self.near.is_empty() {
            text.push_str("nearest misses:\n");
        }
        for Near { key, value, count, last } in &self.near {
            let value = if value.is_empty() { "none" } else { value };
            let _ = writeln!(text, "  {count} with {key} {value}; the last one: {}", told(last));
        }
        if let Some(instead) = &self.instead {
            instead.tell(&mut text);
        }
        text
    }

    pub(super) fn to_json(&self, came: &[Json]) -> Json {
        let near: Vec<Json> = self
            .near
            .iter()
            .map(|near| {
                json!({"differs": near.key, "value": near.value, "count": near.count, "last": serde_json::to_value(near.last.line()).ok()})
            })
            .collect();
        json!({
            "error": "timeout",
            "reason": self.text(),
            "expected": {"match": self.filter, "count": self.count, "since": self.since},
            "events": came,
            "near": near,
        })
    }
}

fn told(recorded: &Recorded) -> String {
    let message = recorded.event.about.as_ref().map_or_else(String::new, |about| format!(" message {}", about.id));
    format!("#{}{message} {}", recorded.seq, sentence(recorded))
}

impl Instead {
    async fn look(api: &Api, queue: &str, vhost: Option<&str>, all: &[Arc<Recorded>]) -> Self {
        let mut events: BTreeMap<&'static str, usize> = BTreeMap::new();
        let is_vhost = |recorded: &Recorded| vhost.is_none_or(|vhost| vhost == &*recorded.vhost);
        for recorded in all.iter().filter(|recorded| recorded.event.queue.as_deref() == Some(queue) && is_vhost(recorded)) {
            *events.entry(recorded.event.what.name()).or_default() += 1;
        }
        let name = queue.to_owned();
        let view = api.handle.ask(vhost.unwrap_or("/"), move |asked| asked.broker().queue_view(&name)).await.flatten();
        let state = view.map(|view| State { ready: view.ready.messages, unacked: view.unacked.messages, consumers: view.consumers });
        Self { queue: queue.to_owned(), events, state }
    }

    fn tell(&self, text: &mut String) {
        let events: Vec<String> = self.events.iter().map(|(event, count)| format!("{count} {event}")).collect();
        let events = if events.is_empty() { "nothing".to_owned() } else { events.join(", ") };
        let _ = writeln!(text, "what happened in queue \"{}\": {events}", self.queue);
        match &self.state {
            None => text.push_str("the queue is not there\n"),
            Some(State { ready, unacked, consumers }) => {
                let _ = writeln!(text, "it has {ready} ready, {unacked} unacked, {consumers} consumers");
            }
        }
    }
}
