//! From an exchange to queues: the default exchange, bindings between exchanges, each visited once, and alternate exchanges.

use smallvec::{SmallVec, smallvec};

use super::delayed::delay_of;
use super::delivery::Arrival;
use super::exchange::deduplication::Deduplication;
use super::exchange::{Destination, Exchange, ExchangeId, Kept, Published, RecentHistory};
use super::queue::QueueId;
use super::{Broker, Effects};
use crate::amqp::Message;

/// Where routing begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Leads to the queue that the routing key names.
    Default,
    Named(ExchangeId),
}

/// Where a message goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Routed {
    /// Each once, however many bindings lead to it (gotcha 60).
    pub(super) queues: Vec<QueueId>,
    /// Exchanges that keep it for a while first.
    pub(super) delayed: Vec<ExchangeId>,
    /// The outcome depends on more than the exchange and the routing keys.
    pub(super) looked_at_message: bool,
    /// Exchanges on its way that remember messages.
    pub(super) remembering: Vec<ExchangeId>,
    /// An exchange dropped it as a duplicate: nobody is to be told that it was unroutable.
    pub(super) duplicate: bool,
}

impl Broker {
    /// Finds where a message goes, which it will: the exchanges on its way remember it, if they do that.
    pub(super) fn route(&mut self, source: Source, message: &Message, more_keys: &[Vec<u8>], routed: &mut Routed) {
        self.find_route(source, message, more_keys, routed);
        self.remember(message, more_keys, &routed.remembering);
    }

    /// Finds where a message would go.
    pub(super) fn find_route(&mut self, source: Source, message: &Message, more_keys: &[Vec<u8>], routed: &mut Routed) {
        match source {
            Source::Default => {
                for key in std::iter::once(message.routing_key()).chain(more_keys.iter().map(Vec::as_slice)) {
                    let name = std::str::from_utf8(key).ok();
                    routed.queues.extend(name.and_then(|name| self.queue_names.get(name)));
                }
            }
            Source::Named(exchange) => self.route_from(exchange, message, more_keys, routed),
        }
        if routed.queues.len() > 1 {
            routed.queues.sort_unstable();
            routed.queues.dedup();
        }
    }

    fn route_from(&mut self, exchange: ExchangeId, message: &Message, more_keys: &[Vec<u8>], routed: &mut Routed) {
        let published = Published { message, more_keys };
        let mut to_visit: SmallVec<[ExchangeId; 4]> = smallvec![exchange];
        let mut seen = to_visit.clone();
        let mut found = std::mem::take(&mut self.found);
        while let Some(id) = to_visit.pop() {
            let Some(exchange) = self.exchanges.get(id) else { continue };
            if !exchange.routes_by_key_alone() {
                routed.looked_at_message = true;
                // What is delayed first is looked at when it is due.
                if exchange.delayed.is_none() || delay_of(message).is_none() {
                    if exchange.has_seen(published, self.now) {
                        routed.duplicate = true;
                        continue;
                    }
                    if exchange.remembers() {
                        routed.remembering.push(id);
                    }
                }
            }
            exchange.route(published, &mut self.random, &mut found);
            if !found.is_empty() && exchange.delayed.is_some() && delay_of(message).is_some() {
                // It would be routed now, so it will not be returned (behaviour X22); where to is seen when it is due.
                found.clear();
                routed.delayed.push(id);
                continue;
            }
            if found.is_empty() {
                // Behaviour X10: a missing alternate exchange is ignored.
                let alternate = exchange.alternate.as_deref().and_then(|name| self.exchange_names.get(name));
                found.extend(alternate.map(|id| Destination::Exchange(*id)));
            }
            for destination in found.drain(..) {
                match destination {
                    Destination::Queue(queue) => routed.queues.push(queue),
                    // Cycles are allowed (behaviour X13, gotcha 64).
                    Destination::Exchange(next) if seen.contains(&next) => {}
                    Destination::Exchange(next) => {
                        seen.push(next);
                        to_visit.push(next);
                    }
                }
            }
        }
        self.found = found;
    }

    /// Gives a message to all that it was routed to. It is in the account of memory already.
    pub(super) fn hand_out(&mut self, message: Message, routed: Routed, effects: &mut Effects) {
        self.log.next_message();
        if self.journal.is_some() {
            self.journal_handed_out(&message, &routed);
        }
        for exchange in routed.delayed {
            self.delay(exchange, message.clone());
        }
        for queue in routed.queues {
            self.enqueue(queue, message.clone(), Arrival::Forwarded, effects);
        }
        // What comes next is another message.
        self.journal_go_on(None);
        self.release(message);
    }

    /// What exchanges on the way of a message remember of it.
    pub(super) fn remember(&mut self, message: &Message, more_keys: &[Vec<u8>], exchanges: &[ExchangeId]) {
        for id in exchanges {
            let exchange = &mut self.exchanges[*id];
            if let Some(deduplication) = &mut exchange.deduplication {
                deduplication.change(&mut self.memory, |seen| seen.remember(message.properties(), self.now));
            }
            if let Some(history) = &mut exchange.history {
                self.memory += history.keep(Published { message, more_keys }).map_or(0, Kept::memory);
                if let Some(excess) = history.take_excess() {
                    self.release_kept(excess);
                }
            }
        }
    }

    fn release_kept(&mut self, kept: Kept) {
        self.memory -= kept.memory();
        self.release(kept.message);
    }

    /// An exchange stays, and remembers nothing any more.
    pub(super) fn remember_nothing(&mut self, id: ExchangeId) {
        let exchange = &mut self.exchanges[id];
        if let Some(deduplication) = &mut exchange.deduplication {
            deduplication.change(&mut self.memory, Deduplication::forget_all);
        }
        let kept = exchange.history.as_mut().map(RecentHistory::drain);
        kept.into_iter().flatten().for_each(|kept| self.release_kept(kept));
    }

    /// An exchange is gone, and with it what it remembered.
    pub(super) fn forget_published(&mut self, exchange: &mut Exchange) {
        self.memory -= exchange.deduplication.take().map_or(0, |deduplication| deduplication.cache.memory());
        for kept in exchange.history.take().into_iter().flat_map(RecentHistory::into_kept) {
            self.release_kept(kept);
        }
    }
}
