//! The consumers of a queue: round robin over those that can take a message, one message at a time (behaviour B25).

use std::collections::VecDeque;

use slotmap::new_key_type;

use super::QueueId;
use super::stream::Reader;
use crate::amqp::FieldTable;
use crate::broker::At;
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
    /// Its place in a stream.
    pub reader: Option<Box<Reader>>,
    pub arguments: FieldTable,
}

impl Consumer {
    pub(in crate::broker) fn at(&self) -> At {
        At { connection: self.connection, channel: self.channel }
    }

    /// Whether its own prefetch leaves room.
    #[must_use]
    pub fn has_credit(&self) -> bool {
        self.no_ack || self.prefetch == 0 || self.unacked < u32::from(self.prefetch)
    }
}

/// Who of the consumers of a queue gets messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turns {
    #[default]
    Everyone,
    /// One of them, until it goes (behaviour Q18).
    SingleActive,
    /// All of them all messages: a stream. Nobody takes turns.
    Readers,
}

#[derive(Debug, Default)]
pub struct Consumers {
    /// With their priorities.
    all: Vec<(ConsumerId, i64)>,
    /// Who waits for a message, by priority, the highest first; most queues have a single entry here.
    turns: Vec<(i64, VecDeque<ConsumerId>)>,
    /// The one that consumes exclusively; nobody else may then.
    pub exclusive: Option<ConsumerId>,
    kind: Turns,
    /// The one that gets messages, where only one does.
    active: Option<ConsumerId>,
    /// The active one gets no more: one of a higher priority takes over when it has settled what it holds.
    hands_over: bool,
}

impl Consumers {
    #[must_use]
    pub fn new(kind: Turns) -> Self {
        Self { kind, ..Self::default() }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// In the order in which they came.
    pub fn all(&self) -> impl Iterator<Item = ConsumerId> {
        self.all.iter().map(|(id, _)| *id)
    }

    #[must_use]
    pub fn is_single_active(&self) -> bool {
        self.kind == Turns::SingleActive
    }

    /// The single active consumer.
    #[must_use]
    pub fn active(&self) -> Option<ConsumerId> {
        self.active
    }

    pub fn add(&mut self, consumer: ConsumerId, priority: i64) {
        self.all.push((consumer, priority));
        match self.kind {
            Turns::Everyone => self.wait_again(consumer, priority),
            Turns::SingleActive if self.active.is_none() => self.activate(consumer, priority),
            // Behaviour Q18: the first stays the active one.
            Turns::SingleActive | Turns::Readers => {}
        }
    }

    /// One of a higher priority than the active one has come, which then gets no more (quorum queues since RabbitMQ 4.0).
    pub fn give_way(&mut self, consumer: ConsumerId) {
        let priority_of = |id: ConsumerId| self.all.iter().find(|(c, _)| *c == id).map(|(_, priority)| *priority);
        let Some(active) = self.active.filter(|_| self.kind == Turns::SingleActive) else { return };
        if priority_of(consumer) > priority_of(active) {
            self.hands_over = true;
            self.turns.clear();
        }
    }

    /// Whether this is the active consumer, and another one waits for it to settle what it holds.
    #[must_use]
    pub fn is_handing_over(&self, consumer: ConsumerId) -> bool {
        self.hands_over && self.active == Some(consumer)
    }

    /// The oldest of those with the highest priority becomes the active one.
    pub fn activate_next(&mut self) {
        self.hands_over = false;
        self.active = None;
        self.turns.clear();
        // Of equals the first.
        if let Some(&(next, priority)) = self.all.iter().rev().max_by_key(|(_, priority)| *priority) {
            self.activate(next, priority);
        }
    }

    fn activate(&mut self, consumer: ConsumerId, priority: i64) {
        self.active = Some(consumer);
        self.wait_again(consumer, priority);
    }

    /// Takes a consumer out. A single active one is succeeded by the oldest of those with the highest priority.
    pub fn remove(&mut self, consumer: ConsumerId) {
        self.all.retain(|(c, _)| *c != consumer);
        for (_, turn) in &mut self.turns {
            turn.retain(|c| *c != consumer);
        }
        if self.all.is_empty() {
            self.turns = Vec::new();
        }
        if self.exclusive == Some(consumer) {
            self.exclusive = None;
        }
        if self.active == Some(consumer) {
            self.activate_next();
        }
    }

    /// Who is the next to be asked.
    #[must_use]
    pub fn next_in_turn(&self) -> Option<ConsumerId> {
        self.turns.iter().find_map(|(_, turn)| turn.front().copied())
    }

    /// The next in turn takes a message, and is the last of its priority now.
    pub fn pass_turn(&mut self) {
        if let Some(turn) = self.first_turn().filter(|turn| turn.len() > 1) {
            turn.rotate_left(1);
        }
    }

    /// The next in turn waits no more, until it is given back with [`Consumers::wait_again`].
    pub fn lose_turn(&mut self) {
        self.first_turn().and_then(VecDeque::pop_front);
    }

    /// The turn of the highest priority that anyone waits with.
    fn first_turn(&mut self) -> Option<&mut VecDeque<ConsumerId>> {
        self.turns.iter_mut().map(|(_, turn)| turn).find(|turn| !turn.is_empty())
    }

    /// Where one alone is active, nobody else gets a turn, and that one has a single one.
    pub fn wait_again(&mut self, consumer: ConsumerId, priority: i64) {
        if self.kind == Turns::SingleActive && (self.active != Some(consumer) || self.hands_over || self.anyone_waiting()) {
            return;
        }
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
