//! A reference of plain lists: what the queues must do, step by step. Whom a message goes to among equals is read from what
//! was heard; everything else is predicted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::wire::Event;
use super::heard::{Heard, brings};
use super::spec::{CONSUMER_TIMEOUT, FANOUT, Kind, Limits, PERMANENT, Spec};

/// A channel of a connection.
pub(super) type At = (u32, u16);

pub(super) const REJECTED: &str = "rejected";
pub(super) const EXPIRED: &str = "expired";
pub(super) const MAXLEN: &str = "maxlen";
pub(super) const DELIVERY_LIMIT: &str = "delivery_limit";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Death {
    pub(super) queue: String,
    pub(super) reason: &'static str,
    pub(super) count: i64,
}

/// A message in one queue.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    pub(super) id: u64,
    pub(super) size: usize,
    pub(super) exchange: String,
    pub(super) key: String,
    pub(super) expiration: Option<u64>,
    pub(super) priority: Option<u8>,
    /// The most recent first.
    pub(super) deaths: Vec<Death>,
    pub(super) first_death: Option<(String, &'static str)>,
    pub(super) expires: Option<u64>,
    /// Sorted by these two.
    level: u8,
    place: i64,
    pub(super) redelivered: bool,
    pub(super) returns: i64,
    pub(super) uncounted: i64,
}

impl Copy {
    pub(super) fn new(id: u64, size: usize, exchange: &str, key: &str) -> Self {
        Self {
            id,
            size,
            exchange: exchange.to_owned(),
            key: key.to_owned(),
            expiration: None,
            priority: None,
            deaths: Vec::new(),
            first_death: None,
            expires: None,
            level: 0,
            place: 0,
            redelivered: false,
            returns: 0,
            uncounted: 0,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Consumer {
    pub(super) unique: u64,
    pub(super) at: At,
    pub(super) tag: String,
    pub(super) no_ack: bool,
    pub(super) prefetch: u16,
    pub(super) priority: i32,
    /// In a stream: what it reads next, and the messages it wants, by the last bit of their ids.
    pub(super) next: u64,
    pub(super) wants: Option<u64>,
}

/// A message in a stream.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) copy: Copy,
    pub(super) offset: u64,
    pub(super) appended: u64,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) unique: u64,
    pub(super) spec: Spec,
    pub(super) limits: Limits,
    pub(super) ready: Vec<Copy>,
    pub(super) unacked: usize,
    pub(super) consumers: Vec<Consumer>,
    pub(super) active: Option<u64>,
    pub(super) hands_over: bool,
    pub(super) last_used: u64,
    next_place: i64,
    next_return: i64,
    full: bool,
    /// Dead letters that nobody has taken, and when they are tried again.
    held: Vec<(Copy, &'static str)>,
    retry: Option<u64>,
    pub(super) log: Vec<Stored>,
    pub(super) next_offset: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) queue: String,
    /// Of the queue: another one may bear its name by now.
    pub(super) unique: u64,
    /// `None` for basic.get.
    pub(super) consumer: Option<u64>,
    pub(super) delivered: u64,
    pub(super) copy: Copy,
}

#[derive(Debug, Default)]
pub(super) struct Channel {
    pub(super) held: BTreeMap<u64, Held>,
    pub(super) prefetch: u16,
    pub(super) last_tag: u64,
    pub(super) published: u64,
}

#[derive(Debug)]
struct Dead {
    queue: String,
    exchange: String,
    key: Option<String>,
    copy: Copy,
    reason: &'static str,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) now: u64,
    /// RabbitMQ 3.13 is shown, and not 4.x.
    pub(super) is_old: bool,
    pub(super) queues: BTreeMap<String, Queue>,
    pub(super) channels: BTreeMap<At, Channel>,
    pub(super) policies: BTreeMap<String, Limits>,
    dead: VecDeque<Dead>,
    pub(super) heard: Heard,
    next_unique: u64,
    /// What has happened in this run, by name.
    pub(super) reached: BTreeSet<&'static str>,
}

impl Queue {
    pub(super) fn new(unique: u64, spec: Spec, limits: Limits) -> Self {
        Self {
            unique,
            spec,
            limits,
            ready: Vec::new(),
            unacked: 0,
            consumers: Vec::new(),
            active: None,
            hands_over: false,
            last_used: 0,
            next_place: 0,
            next_return: i64::MIN,
            full: false,
            held: Vec::new(),
            retry: None,
            log: Vec::new(),
            next_offset: 0,
        }
    }

    fn top_level(&self, is_old: bool) -> u8 {
        match self.spec.kind {
            Kind::Quorum if !is_old => 31,
            _ => self.spec.max_priority,
        }
    }

    fn insert(&mut self, copy: Copy) {
        self.ready.push(copy);
        self.ready.sort_by_key(|copy| (u8::MAX - copy.level, copy.place));
    }

    /// To where it was; in a quorum queue before all others or, without a delivery limit, behind them.
    pub(super) fn take_back(&mut self, mut copy: Copy, limit: Option<i64>) {
        if self.spec.kind == Kind::Quorum {
            let place = if limit.is_none() { &mut self.next_place } else { &mut self.next_return };
            *place += 1;
            copy.place = *place;
        }
        self.insert(copy);
    }

    fn drops_head(&self) -> bool {
        matches!(self.spec.overflow, None | Some("drop-head"))
    }

    /// Whether it refuses one more. A quorum queue does when it is over its bound, and then until a fifth of it is free.
    fn refuses(&mut self) -> bool {
        let Some(max) = self.limits.max_length.filter(|_| !self.drops_head()) else { return false };
        let length = self.ready.len() as u64;
        if self.spec.kind == Kind::Classic {
            return length + 1 > max;
        }
        self.full = length > max || (self.full && length * 5 > max * 4);
        self.full
    }

    /// The oldest of the highest priority.
    pub(super) fn activate_next(&mut self) {
        self.hands_over = false;
        let best = self.consumers.iter().map(|consumer| consumer.priority).max();
        self.active = self.consumers.iter().find(|consumer| Some(consumer.priority) == best).map(|consumer| consumer.unique);
    }
}

impl Model {
    pub(super) fn new(now: u64, is_old: bool) -> Self {
        Self { now, is_old, ..Self::default() }
    }

    pub(super) fn unique(&mut self) -> u64 {
        self.next_unique += 1;
        self.next_unique
    }

    pub(super) fn held_by(&self, consumer: &Consumer) -> usize {
        let channel = &self.channels[&consumer.at];
        channel.held.values().filter(|held| held.consumer == Some(consumer.unique)).count()
    }

    pub(super) fn has_credit(&self, consumer: &Consumer) -> bool {
        consumer.no_ack || consumer.prefetch == 0 || self.held_by(consumer) < usize::from(consumer.prefetch)
    }

    // Time.

    /// Everything that is due by then, in order.
    pub(super) fn pass_time(&mut self, until: u64) {
        while let Some((at, due)) = self.next_due().filter(|(at, _)| *at <= until) {
            self.now = at;
            match due {
                Due::Expiry(queue) => {
                    self.pump(&queue);
                    self.reached.insert("expiry");
                }
                Due::Unused(queue) => {
                    self.delete_queue(&queue);
                    self.reached.insert("unused queue");
                }
                Due::Settlement(at) => self.time_out(at),
                Due::Retry(name) => {
                    let queue = self.queues.get_mut(&name).expect("it is there");
                    queue.retry = None;
                    let held = std::mem::take(&mut queue.held);
                    held.into_iter().for_each(|(copy, reason)| self.bury(&name, copy, reason));
                }
            }
            self.route_dead_letters();
        }
        self.now = until;
    }

    fn next_due(&self) -> Option<(u64, Due)> {
        let mut all: Vec<(u64, Due)> = Vec::new();
        for (name, queue) in &self.queues {
            let head = queue.ready.first().and_then(|copy| copy.expires);
            all.extend(head.map(|at| (at, Due::Expiry(name.clone()))));
            all.extend(queue.retry.map(|at| (at, Due::Retry(name.clone()))));
            let unused = queue.limits.expires.filter(|_| queue.consumers.is_empty());
            all.extend(unused.map(|expires| (queue.last_used + expires, Due::Unused(name.clone()))));
        }
        for (at, channel) in &self.channels {
            let oldest = channel.held.values().filter_map(|held| self.settlement_deadline(held)).min();
            all.extend(oldest.map(|time| (time, Due::Settlement(*at))));
        }
        all.into_iter().min_by_key(|(at, _)| *at)
    }

    fn settlement_deadline(&self, held: &Held) -> Option<u64> {
        let queue = self.queues.get(&held.queue).filter(|queue| queue.unique == held.unique)?;
        match queue.spec.kind {
            Kind::Quorum if !self.is_old => Some(held.delivered + queue.spec.consumer_timeout.unwrap_or(CONSUMER_TIMEOUT)),
            Kind::Quorum | Kind::Classic | Kind::Stream => None,
        }
    }

    /// Consumers that did not settle in time are cancelled, and all that they hold goes back.
    fn time_out(&mut self, at: At) {
        self.reached.insert("consumer timeout");
        let channel = &self.channels[&at];
        let is_late = |held: &Held| self.settlement_deadline(held).is_some_and(|deadline| deadline <= self.now);
        let late: BTreeSet<u64> = channel.held.values().filter(|held| is_late(held)).filter_map(|held| held.consumer).collect();
        let goes = |held: &Held| held.consumer.map_or_else(|| is_late(held), |consumer| late.contains(&consumer));
        let tags: Vec<u64> = channel.held.iter().filter(|(_, held)| goes(held)).map(|(tag, _)| *tag).collect();
        for unique in late {
            if let Some((queue, consumer)) = self.remove_consumer(unique) {
                self.heard.cancel(consumer.at, &consumer.tag);
                self.note_left(&queue);
            }
        }
        let channel = self.channels.get_mut(&at).expect("it is there");
        let back: Vec<Held> = tags.iter().filter_map(|tag| channel.held.remove(tag)).collect();
        self.take_back(back, false);
    }

    // Messages.

    /// A message comes to a queue; `false` when it is refused.
    pub(super) fn arrive(&mut self, name: &str, mut copy: Copy) -> bool {
        let (now, is_old) = (self.now, self.is_old);
        let Some(queue) = self.queues.get_mut(name) else { return true };
        if queue.spec.kind == Kind::Stream {
            queue.log.push(Stored { copy, offset: queue.next_offset, appended: now });
            queue.next_offset += 1;
            return true;
        }
        let refused = queue.refuses();
        if refused && queue.spec.overflow != Some("reject-publish-dlx") {
            self.reached.insert("refused");
            return false;
        }
        queue.next_place += 1;
        copy.place = queue.next_place;
        copy.level = copy.priority.unwrap_or(0).min(queue.top_level(is_old));
        copy.expires = copy.expiration.into_iter().chain(queue.limits.ttl).min().map(|ttl| now + ttl);
        if refused {
            self.reached.insert("refused and dead-lettered");
            self.bury(name, copy, MAXLEN);
            return false;
        }
        if !self.eligible(name).is_empty() {
            assert!(self.queues[name].ready.is_empty(), "{name} has messages and consumers that could take them");
            self.deliver(name, copy);
            return true;
        }
        self.queues.get_mut(name).expect("it is there").insert(copy);
        self.drop_overflow(name);
        self.expire(name);
        true
    }

    pub(super) fn drop_overflow(&mut self, name: &str) {
        while let Some(queue) = self.queues.get_mut(name).filter(|queue| queue.drops_head()) {
            if queue.limits.max_length.is_none_or(|max| queue.ready.len() as u64 <= max) {
                return;
            }
            let copy = queue.ready.remove(0);
            self.reached.insert("overflow");
            self.bury(name, copy, MAXLEN);
        }
    }

    /// Takes dead messages off the head.
    pub(super) fn expire(&mut self, name: &str) {
        while let Some(queue) = self.queues.get_mut(name) {
            let is_dead = queue.ready.first().and_then(|copy| copy.expires).is_some_and(|expires| expires <= self.now);
            if !is_dead {
                return;
            }
            let copy = queue.ready.remove(0);
            self.bury(name, copy, EXPIRED);
        }
    }

    /// Gives messages to consumers for as long as there are both.
    pub(super) fn pump(&mut self, name: &str) {
        loop {
            self.expire(name);
            let nobody = self.eligible(name).is_empty();
            let Some(queue) = self.queues.get_mut(name).filter(|queue| !queue.ready.is_empty() && !nobody) else { return };
            let copy = queue.ready.remove(0);
            self.deliver(name, copy);
        }
    }

    /// The consumers that might get the next message: those of the highest priority among those with credit.
    pub(super) fn eligible(&self, name: &str) -> Vec<Consumer> {
        let Some(queue) = self.queues.get(name).filter(|queue| queue.spec.kind != Kind::Stream) else { return Vec::new() };
        let single = queue.spec.single_active;
        let in_turn = |consumer: &&Consumer| !single || (queue.active == Some(consumer.unique) && !queue.hands_over);
        let able: Vec<&Consumer> = queue.consumers.iter().filter(in_turn).filter(|consumer| self.has_credit(consumer)).collect();
        let best = able.iter().map(|consumer| consumer.priority).max();
        able.into_iter().filter(|consumer| Some(consumer.priority) == best).cloned().collect()
    }

    fn deliver(&mut self, name: &str, copy: Copy) {
        let (eligible, kind) = (self.eligible(name), (self.queues[name].spec.kind, self.is_old));
        let is_it = |event: &Event, redelivered: bool| redelivered == copy.redelivered && brings(event, &copy, kind);
        let Some((consumer, tag)) =
            eligible.iter().find_map(|consumer| self.heard.take_delivery(consumer, is_it).map(|(tag, _)| (consumer, tag)))
        else {
            panic!("{name} gives {copy:?} to one of {eligible:?}, but heard was {:?}", self.heard);
        };
        if !consumer.no_ack {
            let queue = self.queues.get_mut(name).expect("it is there");
            queue.unacked += 1;
            let held = Held { queue: name.to_owned(), unique: queue.unique, consumer: Some(consumer.unique), delivered: self.now, copy };
            self.channels.get_mut(&consumer.at).expect("it is there").held.insert(tag, held);
        }
    }

    // Deaths.

    pub(super) fn bury(&mut self, name: &str, copy: Copy, reason: &'static str) {
        self.reached.insert(reason);
        let Some(Limits { dead_letter_exchange: Some(exchange), dead_letter_key, .. }) = self.queues.get(name).map(|queue| &queue.limits)
        else {
            return;
        };
        let (exchange, key) = (exchange.clone(), dead_letter_key.clone());
        self.dead.push_back(Dead { queue: name.to_owned(), exchange, key, copy, reason });
    }

    pub(super) fn route_dead_letters(&mut self) {
        while let Some(dead) = self.dead.pop_front() {
            let Dead { queue, exchange, key, mut copy, reason } = dead;
            let before = copy.clone();
            self.reached.insert("dead letter");
            let same = |death: &Death| death.queue == queue && death.reason == reason;
            let count = match copy.deaths.iter().position(same) {
                Some(at) => copy.deaths.remove(at).count + 1,
                None => 1,
            };
            copy.deaths.insert(0, Death { queue: queue.clone(), reason, count });
            copy.first_death.get_or_insert((queue.clone(), reason));
            let key = key.unwrap_or_else(|| copy.key.clone());
            let mut targets: Vec<String> = match exchange.as_str() {
                FANOUT => PERMANENT.iter().map(|name| (*name).to_owned()).collect(),
                _ => vec![key.clone()],
            };
            targets.retain(|target| {
                // Back where it was, and nobody has rejected it on its way.
                let back = copy.deaths.iter().position(|death| death.queue == *target);
                let automatic = back.is_some_and(|back| copy.deaths[..=back].iter().all(|death| death.reason != REJECTED));
                if automatic && reason != REJECTED {
                    self.reached.insert("cycle");
                }
                self.queues.contains_key(target) && (reason == REJECTED || !automatic)
            });
            if targets.is_empty() {
                self.reached.insert("nowhere to go");
            }
            if self.queues.get(&queue).is_some_and(|queue| queue.spec.at_least_once) {
                let mut taken = targets.iter().map(|target| !self.queues.get_mut(target).expect("it is there").refuses());
                if targets.is_empty() || !taken.all(|taken| taken) {
                    let retry = self.now + 1000;
                    let queue = self.queues.get_mut(&queue).expect("it is there");
                    queue.held.push((before, reason));
                    queue.retry.get_or_insert(retry);
                    self.reached.insert("kept");
                    continue;
                }
            }
            for target in targets {
                let mut anew = Copy::new(copy.id, copy.size, &exchange, &key);
                anew.priority = copy.priority;
                anew.deaths.clone_from(&copy.deaths);
                anew.first_death.clone_from(&copy.first_death);
                self.arrive(&target, anew);
            }
        }
    }
}

#[derive(Debug)]
enum Due {
    Expiry(String),
    Unused(String),
    Settlement(At),
    Retry(String),
}
