//! What each operation does to the model.

use std::collections::BTreeMap;

use amq_protocol::protocol::{AMQPClass, basic, queue as queue_methods};
use amq_protocol::types::AMQPValue;

use super::super::op::id_of;
use super::heard::brings;
use super::model::{At, Channel, Consumer, Copy, Held, Model, Queue, REJECTED};
use super::spec::{FANOUT, Kind, Limits, PERMANENT, Spec};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Ack,
    Discard,
    Nack,
    Reject,
}

/// Where a reader of a stream begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    First,
    Last,
    Next,
    Offset(u64),
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Nothing,
    Publish(At, Copy),
    Consume {
        at: At,
        queue: String,
        tag: String,
        no_ack: bool,
        priority: i32,
        start: Option<Start>,
        wants: Option<u64>,
    },
    Cancel(At, String),
    Get {
        at: At,
        queue: String,
        no_ack: bool,
    },
    Settle {
        at: At,
        tag: u64,
        multiple: bool,
        fate: Fate,
    },
    Qos(At, u16),
    Purge(At, String),
    Delete(At, String),
    Declare(At, String, Box<Spec>),
    CloseChannel(At),
    Disconnect(u32),
    /// Empty: the policy is cleared.
    Policy(String, Limits),
}

impl Model {
    pub(super) fn apply(&mut self, op: &Op) {
        match op.clone() {
            Op::Nothing => {}
            Op::Publish(at, copy) => self.publish(at, &copy),
            Op::Consume { at, queue, tag, no_ack, priority, start, wants } => {
                let next = self.first_read(&queue, start);
                let (unique, prefetch) = (self.unique(), self.channels[&at].prefetch);
                self.heard.plain(at, (60, 21));
                self.consume(&queue, Consumer { unique, at, tag, no_ack, prefetch, priority, next, wants });
            }
            Op::Cancel(at, tag) => {
                self.heard.plain(at, (60, 31));
                let consumers = self.queues.values().flat_map(|queue| &queue.consumers);
                let unique = consumers.filter(|consumer| consumer.at == at && consumer.tag == tag).map(|consumer| consumer.unique).next();
                if let Some((queue, _)) = unique.and_then(|unique| self.remove_consumer(unique)) {
                    self.note_left(&queue);
                    self.pump(&queue);
                }
            }
            Op::Get { at, queue, no_ack } => self.get(at, &queue, no_ack),
            Op::Settle { at, tag, multiple, fate } => self.settle(at, tag, multiple, fate),
            Op::Qos(at, count) => {
                self.heard.plain(at, (60, 11));
                self.channels.get_mut(&at).expect("it is there").prefetch = count;
            }
            Op::Purge(at, name) => {
                let queue = self.queues.get_mut(&name).expect("it is there");
                let count = std::mem::take(&mut queue.ready).len();
                let event = self.heard.reply(at);
                let AMQPClass::Queue(queue_methods::AMQPMethod::PurgeOk(ok)) = &event.class else { panic!("{event:?}") };
                assert_eq!(ok.message_count as usize, count, "purged from {name}");
            }
            Op::Delete(at, name) => {
                let event = self.heard.reply(at);
                let AMQPClass::Queue(queue_methods::AMQPMethod::DeleteOk(ok)) = &event.class else { panic!("{event:?}") };
                assert_eq!(ok.message_count as usize, self.queues[&name].ready.len(), "deleted with {name}");
                self.delete_queue(&name);
            }
            Op::Declare(at, name, spec) => self.declare(at, &name, *spec),
            Op::CloseChannel(at) => {
                self.end_channels(&[at]);
                self.heard.plain(at, (20, 41));
                self.opened(at);
            }
            Op::Disconnect(connection) => {
                let channels: Vec<At> = self.channels.keys().filter(|at| at.0 == connection).copied().collect();
                self.end_channels(&channels);
                self.heard.plain((connection, 0), (10, 41));
                channels.into_iter().for_each(|at| self.opened(at));
            }
            Op::Policy(name, limits) => self.policy(&name, limits),
        }
        self.route_dead_letters();
    }

    /// A channel is open, and has been switched to confirms.
    pub(super) fn opened(&mut self, at: At) {
        self.heard.plain(at, (20, 11));
        self.heard.plain(at, (85, 11));
        self.channels.insert(at, Channel::default());
    }

    fn publish(&mut self, at: At, copy: &Copy) {
        let targets: Vec<&str> = if copy.exchange == FANOUT { PERMANENT.to_vec() } else { vec![copy.key.as_str()] };
        let mut refused = false;
        for target in targets {
            refused |= !self.arrive(target, copy.clone());
        }
        let channel = self.channels.get_mut(&at).expect("it is there");
        channel.published += 1;
        let event = self.heard.reply(at);
        let (tag, nacked) = match &event.class {
            AMQPClass::Basic(basic::AMQPMethod::Ack(ack)) => (ack.delivery_tag, false),
            AMQPClass::Basic(basic::AMQPMethod::Nack(nack)) => (nack.delivery_tag, true),
            other => panic!("{other:?} confirms nothing"),
        };
        assert_eq!((tag, nacked), (channel.published, refused), "the confirm of {copy:?}");
    }

    fn first_read(&self, name: &str, start: Option<Start>) -> u64 {
        let queue = &self.queues[name];
        match start {
            None | Some(Start::First) => 0,
            Some(Start::Last) => queue.next_offset.saturating_sub(1),
            Some(Start::Next) => queue.next_offset,
            Some(Start::Offset(offset)) => offset,
        }
    }

    fn consume(&mut self, name: &str, consumer: Consumer) {
        let queue = self.queues.get_mut(name).expect("it is there");
        let (unique, priority) = (consumer.unique, consumer.priority);
        queue.consumers.push(consumer);
        if queue.spec.single_active {
            let active = queue.consumers.iter().find(|consumer| queue.active == Some(consumer.unique)).cloned();
            match active {
                None => queue.active = Some(unique),
                Some(active) if queue.spec.kind == Kind::Quorum && priority > active.priority && !self.is_old => {
                    queue.hands_over = true;
                    self.reached.insert("hand-over");
                    self.hand_over(name);
                }
                Some(_) => {}
            }
        }
        self.pump(name);
    }

    /// A single active consumer that is to give way does so when it holds nothing.
    fn hand_over(&mut self, name: &str) {
        let Some(queue) = self.queues.get(name).filter(|queue| queue.hands_over) else { return };
        let active = queue.consumers.iter().find(|consumer| queue.active == Some(consumer.unique));
        if active.is_some_and(|active| self.held_by(active) == 0) {
            self.queues.get_mut(name).expect("it is there").activate_next();
        }
    }

    pub(super) fn remove_consumer(&mut self, unique: u64) -> Option<(String, Consumer)> {
        for (name, queue) in &mut self.queues {
            if let Some(at) = queue.consumers.iter().position(|consumer| consumer.unique == unique) {
                let consumer = queue.consumers.remove(at);
                if queue.active == Some(unique) {
                    queue.activate_next();
                    self.reached.insert("fail-over");
                }
                return Some((name.clone(), consumer));
            }
        }
        None
    }

    /// x-expires begins to count when the last consumer has gone.
    pub(super) fn note_left(&mut self, name: &str) {
        let queue = self.queues.get_mut(name).expect("it is there");
        if queue.consumers.is_empty() {
            queue.last_used = self.now;
        }
    }

    fn get(&mut self, at: At, name: &str, no_ack: bool) {
        let now = self.now;
        let queue = self.queues.get_mut(name).expect("it is there");
        queue.last_used = now;
        if queue.ready.is_empty() {
            return self.heard.plain(at, (60, 72));
        }
        let copy = queue.ready.remove(0);
        let with_dead = queue.ready.len();
        self.expire(name);
        let queue = self.queues.get_mut(name).expect("it is there");
        let left = if queue.spec.kind == Kind::Quorum { with_dead } else { queue.ready.len() };
        let event = self.heard.reply(at);
        let AMQPClass::Basic(basic::AMQPMethod::GetOk(ok)) = &event.class else { panic!("{event:?}") };
        assert_eq!((id_of(&event.body), ok.redelivered, ok.message_count as usize), (copy.id, copy.redelivered, left));
        assert!(brings(&event, &copy, (queue.spec.kind, self.is_old)), "{name} has {copy:?}, and gives {event:?}");
        if !no_ack {
            queue.unacked += 1;
            let held = Held { queue: name.to_owned(), unique: queue.unique, consumer: None, delivered: now, copy };
            self.channels.get_mut(&at).expect("it is there").held.insert(ok.delivery_tag, held);
        }
    }

    fn settle(&mut self, at: At, tag: u64, multiple: bool, fate: Fate) {
        let channel = self.channels.get_mut(&at).expect("it is there");
        let taken: Vec<Held> = if multiple {
            let later = channel.held.split_off(&(tag + 1));
            std::mem::replace(&mut channel.held, later).into_values().collect()
        } else {
            channel.held.remove(&tag).into_iter().collect()
        };
        // Rejected together, what one consumer held goes before what another did (behaviour D5).
        let mut taken = taken;
        if fate == Fate::Discard {
            taken.sort_by_cached_key(|held| self.consumer_tag(held));
        }
        match fate {
            Fate::Nack | Fate::Reject => self.take_back(taken, fate == Fate::Reject || self.is_old),
            Fate::Ack | Fate::Discard => {
                let mut queues = Vec::new();
                for held in taken {
                    if self.leave(&held) && fate == Fate::Discard {
                        self.bury(&held.queue, held.copy, REJECTED);
                    }
                    if !queues.contains(&held.queue) {
                        queues.push(held.queue);
                    }
                }
                queues.iter().for_each(|queue| self.pump(queue));
            }
        }
    }

    /// `None` for basic.get, and where the consumer has gone.
    fn consumer_tag(&self, held: &Held) -> Option<String> {
        let mut consumers = self.queues.get(&held.queue)?.consumers.iter();
        consumers.find(|consumer| Some(consumer.unique) == held.consumer).map(|consumer| consumer.tag.clone())
    }

    /// A delivery is settled; `false` when its queue is gone.
    fn leave(&mut self, held: &Held) -> bool {
        let Some(queue) = self.queues.get_mut(&held.queue).filter(|queue| queue.unique == held.unique) else { return false };
        queue.unacked -= 1;
        if held.consumer.is_some() && queue.active == held.consumer {
            self.hand_over(&held.queue);
        }
        true
    }

    /// Deliveries go back to their queues. `counts`: towards the delivery limit.
    pub(super) fn take_back(&mut self, all: Vec<Held>, counts: bool) {
        let is_old = self.is_old;
        let mut queues: Vec<String> = Vec::new();
        for held in all {
            let there = self.leave(&held);
            let Held { queue: name, mut copy, .. } = held;
            let Some(queue) = self.queues.get_mut(&name).filter(|_| there) else { continue };
            if !queues.contains(&name) {
                queues.push(name.clone());
            }
            copy.redelivered = true;
            match queue.spec.kind {
                Kind::Stream => continue,
                Kind::Quorum if counts => copy.returns += 1,
                Kind::Quorum => copy.uncounted += 1,
                Kind::Classic => {}
            }
            let usual = if is_old { None } else { Some(20) };
            let limit = queue.spec.delivery_limit.or(usual).filter(|limit| *limit >= 0);
            if counts && queue.spec.kind == Kind::Quorum && limit.is_some_and(|limit| copy.returns > limit) {
                self.bury(&name, copy, super::model::DELIVERY_LIMIT);
            } else {
                queue.take_back(copy, limit);
            }
        }
        // A quorum queue gives first and counts then.
        let (quorum, others): (Vec<String>, Vec<String>) =
            queues.into_iter().partition(|name| self.queues.get(name).is_some_and(|queue| queue.spec.kind == Kind::Quorum));
        for queue in &others {
            self.drop_overflow(queue);
            self.expire(queue);
        }
        others.iter().chain(&quorum).for_each(|queue| self.pump(queue));
        for queue in &quorum {
            self.drop_overflow(queue);
            self.expire(queue);
        }
    }

    /// All consumers go, then what the channels hold goes back.
    fn end_channels(&mut self, channels: &[At]) {
        let consumers = self.queues.values().flat_map(|queue| &queue.consumers);
        let uniques: Vec<u64> = consumers.filter(|consumer| channels.contains(&consumer.at)).map(|consumer| consumer.unique).collect();
        let left: Vec<String> = uniques.into_iter().filter_map(|unique| self.remove_consumer(unique)).map(|(queue, _)| queue).collect();
        for at in channels {
            let held = std::mem::take(&mut self.channels.get_mut(at).expect("it is there").held);
            self.take_back(held.into_values().collect(), true);
        }
        for queue in left {
            self.note_left(&queue);
            self.pump(&queue);
        }
    }

    pub(super) fn delete_queue(&mut self, name: &str) {
        let Some(queue) = self.queues.remove(name) else { return };
        for consumer in queue.consumers {
            self.heard.cancel(consumer.at, &consumer.tag);
        }
    }

    fn declare(&mut self, at: At, name: &str, spec: Spec) {
        if !self.queues.contains_key(name) {
            let limits = spec.own.with(self.policies.get(name));
            let queue = Queue::new(self.unique(), spec, limits);
            self.queues.insert(name.to_owned(), queue);
        }
        let queue = self.queues.get_mut(name).expect("it is there");
        queue.last_used = self.now;
        let event = self.heard.reply(at);
        let AMQPClass::Queue(queue_methods::AMQPMethod::DeclareOk(ok)) = &event.class else { panic!("{event:?}") };
        if queue.spec.kind != Kind::Stream {
            assert_eq!((ok.message_count as usize, ok.consumer_count as usize), (queue.ready.len(), queue.consumers.len()), "{name}");
        }
    }

    fn policy(&mut self, name: &str, limits: Limits) {
        if limits.is_empty() {
            self.policies.remove(name);
        } else {
            self.policies.insert(name.to_owned(), limits);
        }
        let now = self.now;
        let Some(queue) = self.queues.get_mut(name) else { return };
        let limits = queue.spec.own.with(self.policies.get(name));
        if limits != queue.limits {
            self.reached.insert("policy");
            queue.limits = limits;
            queue.last_used = now;
            self.drop_overflow(name);
            self.pump(name);
        }
    }

    // Streams, which are looked at when the step is over: nothing that is read there leads to anything else.

    /// `kept`: the ids of the messages that there are.
    pub(super) fn read_streams(&mut self, kept: &BTreeMap<String, Vec<u64>>) {
        let names: Vec<String> = self.queues.iter().filter(|(_, q)| q.spec.kind == Kind::Stream).map(|(name, _)| name.clone()).collect();
        for name in names {
            let first = self.check_retention(&name, &kept[&name]);
            for consumer in self.queues[&name].consumers.clone() {
                self.read_on(&name, &consumer, first);
            }
            let log = &mut self.queues.get_mut(&name).expect("it is there").log;
            log.retain(|stored| stored.offset >= first);
        }
    }

    /// What is gone is the oldest, and for a reason; returns the offset of the first that is there.
    fn check_retention(&mut self, name: &str, kept: &[u64]) -> u64 {
        let queue = &self.queues[name];
        let gone = queue.log.len() - kept.len();
        let (dropped, left) = queue.log.split_at(gone);
        assert_eq!(left.iter().map(|stored| stored.copy.id).collect::<Vec<_>>(), kept, "stream {name}");
        let bytes = |all: &[super::model::Stored]| all.iter().map(|stored| stored.copy.size as u64).sum::<u64>();
        let age = queue.spec.max_age.map(|age| age * 1000);
        if gone > 0 {
            let too_old = age.is_some_and(|age| dropped.iter().all(|stored| stored.appended + age <= self.now));
            let too_long = queue.spec.max_bytes.is_some_and(|max| bytes(&queue.log) > max);
            assert!(too_old || too_long, "stream {name} has dropped {dropped:?}");
            self.reached.insert("retention");
        }
        let queue = &self.queues[name];
        let stays = |max: u64| max.max(super::spec::SEGMENT + 300);
        assert!(queue.spec.max_bytes.is_none_or(|max| bytes(&queue.log[gone..]) <= stays(max)), "stream {name} is too long");
        let oldest = queue.log.get(gone).map_or(self.now, |stored| stored.appended);
        assert!(age.is_none_or(|age| oldest + age + age / 16 >= self.now), "stream {name} keeps what is too old");
        queue.log.get(gone).map_or(queue.next_offset, |stored| stored.offset)
    }

    fn read_on(&mut self, name: &str, consumer: &Consumer, first: u64) {
        let mut next = consumer.next;
        let wanted = |copy: &Copy| consumer.wants.is_none_or(|bit| copy.id & 1 == bit);
        while let Some((tag, event)) = self.heard.take_delivery(consumer, |_, redelivered| !redelivered) {
            let header = event.properties.headers().as_ref().and_then(|headers| headers.inner().get("x-stream-offset"));
            let Some(AMQPValue::LongLongInt(offset)) = header else { panic!("{event:?} has no offset") };
            let offset = u64::try_from(*offset).expect("an offset");
            let queue = self.queues.get_mut(name).expect("it is there");
            assert!(offset >= next, "{name} gives {consumer:?} offset {offset} again");
            let passed = queue.log.iter().filter(|stored| (next..offset).contains(&stored.offset) && stored.offset >= first);
            assert!(!passed.into_iter().any(|stored| wanted(&stored.copy)), "{name} gives {consumer:?} offset {offset} instead of {next}");
            let stored = queue.log.iter().find(|stored| stored.offset == offset).expect("a message of the stream").clone();
            assert!(wanted(&stored.copy), "{name} gives {consumer:?} {stored:?}");
            assert!(brings(&event, &stored.copy, (Kind::Stream, self.is_old)), "{name} has {stored:?}, and gives {event:?}");
            next = offset + 1;
            queue.unacked += 1;
            let held = Held {
                queue: name.to_owned(),
                unique: queue.unique,
                consumer: Some(consumer.unique),
                delivered: self.now,
                copy: stored.copy,
            };
            self.channels.get_mut(&consumer.at).expect("it is there").held.insert(tag, held);
            self.reached.insert("stream");
        }
        assert!(self.held_by(consumer) <= usize::from(consumer.prefetch), "{name} gives {consumer:?} too much");
        let queue = self.queues.get_mut(name).expect("it is there");
        let waits = queue.log.iter().any(|stored| stored.offset >= next.max(first) && wanted(&stored.copy));
        if let Some(consumer) = queue.consumers.iter_mut().find(|c| c.unique == consumer.unique) {
            consumer.next = next;
        }
        assert!(!waits || !self.has_credit(consumer), "{name} keeps something from {consumer:?}");
    }
}
