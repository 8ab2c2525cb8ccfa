//! The runner's own connection: visits queues to make sure they have done their work, and removes what scenarios leave behind.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::channel::Life;
use super::ctl::Undo;
use super::handshake::{Choices, connect};
use super::link::{Link, Stage};
use super::transport::Broker;
use crate::transcript::text::quote;

/// Where the runner's channels start on a scenario's own connection: no scenario counts that far.
const FIRST_CHANNEL: u16 = 2000;

#[derive(Default)]
pub(crate) struct Janitor {
    link: Option<Link>,
}

impl Janitor {
    /// A round trip through every queue the connections declared: what the queue was told before has been done after it.
    pub(crate) fn visit_queues(&mut self, broker: &dyn Broker, links: &mut BTreeMap<String, Link>) {
        let patience = broker.patience();
        for owner in links.values_mut() {
            let mut queues = std::mem::take(&mut owner.queues);
            queues.dedup();
            for (queue, exclusive) in &queues {
                if queue.is_empty() || queue.starts_with(b"amq.rabbitmq.") {
                    continue;
                }
                let text = format!("queue.declare passive=true queue={}", quote(queue));
                // Only its owner may ask an exclusive queue.
                if *exclusive && owner.stage == Stage::Open {
                    ask(owner, &text, patience);
                } else {
                    ask(self.link(broker), &text, patience);
                }
            }
            owner.queues = queues;
        }
    }

    /// Takes back what an administrator did in a scenario, ends its connections and deletes its queues and exchanges.
    pub(crate) fn clean(&mut self, broker: &dyn Broker, links: BTreeMap<String, Link>, undo: &Undo) {
        let patience = broker.patience();
        for words in undo.commands() {
            // It fails if what would have set it has failed.
            let _ = broker.ctl(words);
        }
        let mut queues = Vec::new();
        let mut exchanges = Vec::new();
        for mut link in links.into_values() {
            queues.append(&mut link.queues);
            exchanges.append(&mut link.exchanges);
            farewell(link, patience);
        }
        let deadline = Instant::now() + patience;
        for (queue, _) in queues.iter().filter(|(queue, _)| !queue.is_empty()) {
            let text = format!("queue.delete queue={}", quote(queue));
            // The exclusive queue of an abandoned connection is locked until the broker notices.
            while ask(self.link(broker), &text, patience) == Some("channel.close") && Instant::now() < deadline {}
        }
        let reserved = |exchange: &&Vec<u8>| exchange.is_empty() || exchange.starts_with(b"amq.");
        for exchange in exchanges.iter().filter(|exchange| !reserved(exchange)) {
            ask(self.link(broker), &format!("exchange.delete exchange={}", quote(exchange)), patience);
        }
    }

    fn link(&mut self, broker: &dyn Broker) -> &mut Link {
        self.link.take_if(|link| link.stage != Stage::Open);
        self.link.get_or_insert_with(|| {
            let choices = Choices::parse("").unwrap_or_else(|error| panic!("{error}"));
            connect(broker, &choices)
        })
    }

    pub(crate) fn retire(self, patience: Duration) {
        if let Some(link) = self.link {
            farewell(link, patience);
        }
    }
}

/// Closes in good order, so that everything the connection owned is gone afterwards.
fn farewell(mut link: Link, patience: Duration) {
    if link.stage == Stage::Open {
        link.send_text(0, "connection.close reply_code=200 reply_text=bye");
        let deadline = Instant::now() + patience;
        while link.stage == Stage::Closing && link.pump(deadline) {}
    }
    link.abandon();
}

/// Sends a synchronous method on a channel of the runner's own and gives the name of the answer.
fn ask(link: &mut Link, text: &str, patience: Duration) -> Option<&'static str> {
    let number = asking_channel(link);
    link.send_text(number, text);
    let deadline = Instant::now() + patience;
    loop {
        while let Some((method, _)) = link.channel(number).hidden.pop_front() {
            if method.name != "channel.open-ok" {
                return Some(method.name);
            }
        }
        if !link.is_alive() {
            return None;
        }
        if !link.pump(deadline) && link.is_alive() {
            link.give_up();
        }
    }
}

/// An error closes the channel; the number can be used again.
fn asking_channel(link: &mut Link) -> u16 {
    if link.channel(FIRST_CHANNEL).life != Life::Open {
        link.channel(FIRST_CHANNEL).is_hidden = true;
        link.send_text(FIRST_CHANNEL, "channel.open");
    }
    FIRST_CHANNEL
}
