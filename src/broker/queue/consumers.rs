//! The consumers of a queue: round robin over those that can take a message, one message at a time (behaviour B25).

use std::collections::VecDeque;

use slotmap::new_key_type;

use super::QueueId;
use crate::broker::effects::ConnectionId;

new_key_type! {
    /// A consumer of one virtual host.
    pub struct ConsumerId;
}

#[derive(Debug)]
pub struct Consumer {
    pub connection: ConnectionId,
    pub channel: u16,
    pub tag: Box<str>,
    pub queue: QueueId,
    pub no_ack: bool,
    /// How many unacked messages it may hold; 0 is no limit.
    pub prefetch: u16,
    /// x-priority: those with a higher one are served first while they have credit (behaviour B13).
    pub priority: i64,
    pub unacked: u32,
    /// It could not take a message when it was asked, and is out of the turn until it can.
    pub parked: bool,
}

impl Consumer {
    /// Whether its own prefetch leaves room.
    #[must_use]
    pub fn has_credit(&self) -> bool {
        self.no_ack || self.prefetch == 0 || self.unacked < u32::from(self.prefetch)
    }
}

#[derive(Debug, Default)]
pub struct Consumers {
    all: Vec<ConsumerId>,
    /// Who waits for a message, by priority, the highest first; most queues have a single entry here.
    turns: Vec<(i64, VecDeque<ConsumerId>)>,
    /// The one that consumes exclusively; nobody else may then.
    pub exclusive: Option<ConsumerId>,
}

impl Consumers {
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// In the order in which they came.
    #[must_use]
    pub fn all(&self) -> &[ConsumerId] {
        &self.all
    }

    pub fn add(&mut self, consumer: ConsumerId, priority: i64) {
        self.all.push(consumer);
        self.wait_again(consumer, priority);
    }

    pub fn remove(&mut self, consumer: ConsumerId) {
        self.all.retain(|c| *c != consumer);
        for (_, turn) in &mut self.turns {
            turn.retain(|c| *c != consumer);
        }
        if self.all.is_empty() {
            self.turns = Vec::new();
        }
        if self.exclusive == Some(consumer) {
            self.exclusive = None;
        }
    }

    /// Takes the next in turn out of it. Give it back with [`Consumers::wait_again`], or park it.
    pub fn next_in_turn(&mut self) -> Option<ConsumerId> {
        self.turns.iter_mut().find_map(|(_, turn)| turn.pop_front())
    }

    pub fn wait_again(&mut self, consumer: ConsumerId, priority: i64) {
        let at = self.turns.iter().position(|(p, _)| *p <= priority).unwrap_or(self.turns.len());
        match self.turns.get_mut(at) {
            Some((p, turn)) if *p == priority => turn.push_back(consumer),
            _ => self.turns.insert(at, (priority, VecDeque::from([consumer]))),
        }
    }

    /// Whether anyone might take a message.
    #[must_use]
    pub fn anyone_waiting(&self) -> bool {
        self.turns.iter().any(|(_, turn)| !turn.is_empty())
    }
}
