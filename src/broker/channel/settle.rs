//! basic.ack, basic.nack, basic.reject, basic.recover: what becomes of unacked messages.

use super::Mode;
use super::tx::Settlement;
use super::unacked::Delivery;
use crate::amqp::{AMQPClass, basic};
use crate::broker::dead_letter::Reason;
use crate::broker::journal::reason;
use crate::broker::queue::{QueueId, QueueType};
use crate::broker::{At, Broker, Effects, Error};

/// What a settlement does with the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ack,
    /// By basic.nack.
    Requeue,
    /// In a way that counts towards the delivery limit: basic.reject, the end of the channel (V16).
    Return,
    /// Rejected without requeue.
    Discard,
}

impl Broker {
    pub(super) fn basic_ack(&mut self, at: At, delivery_tag: u64, multiple: bool, effects: &mut Effects) -> Result<(), Error> {
        self.settle(at, delivery_tag, multiple, Outcome::Ack, effects)
    }

    pub(super) fn basic_nack(
        &mut self,
        at: At,
        delivery_tag: u64,
        multiple: bool,
        requeue: bool,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        self.journal_why(reason::NACK);
        let counts = self.settings.profile.nack_counts;
        let outcome = match requeue {
            true if counts => Outcome::Return,
            true => Outcome::Requeue,
            false => Outcome::Discard,
        };
        self.settle(at, delivery_tag, multiple, outcome, effects)
    }

    pub(super) fn basic_reject(&mut self, at: At, delivery_tag: u64, requeue: bool, effects: &mut Effects) -> Result<(), Error> {
        self.journal_why(reason::REJECT);
        let outcome = if requeue { Outcome::Return } else { Outcome::Discard };
        self.settle(at, delivery_tag, false, outcome, effects)
    }

    fn settle(&mut self, at: At, delivery_tag: u64, multiple: bool, outcome: Outcome, effects: &mut Effects) -> Result<(), Error> {
        let channel = self.open_channel(at);
        let mut taken = Vec::new();
        let is_transactional = matches!(channel.mode, Mode::Tx(_));
        channel.unacked.take(delivery_tag, multiple, &mut taken)?;
        if outcome != Outcome::Ack && !self.settings.profile.stream_takes_nack {
            taken = self.refuse_of_streams(at, taken)?;
        }
        let why = self.journal.as_ref().map_or(reason::ACK, |journal| journal.why);
        if is_transactional && let Mode::Tx(transaction) = &mut self.open_channel(at).mode {
            transaction.settle(Settlement { deliveries: taken, outcome, why });
            return Ok(());
        }
        self.carry_out(at, taken, outcome, effects);
        Ok(())
    }

    /// Carries out a settlement whose deliveries have left the channel.
    pub(super) fn carry_out(&mut self, at: At, deliveries: Vec<Delivery>, outcome: Outcome, effects: &mut Effects) {
        match outcome {
            Outcome::Requeue | Outcome::Return => self.requeue(at, deliveries, outcome, effects),
            Outcome::Ack | Outcome::Discard => {
                let deliveries = if outcome == Outcome::Discard { self.by_consumer(deliveries) } else { deliveries };
                if outcome == Outcome::Ack && self.breakdown.is_some() {
                    self.break_down_acks(at, &deliveries);
                }
                let mut credited = Credited::default();
                for delivery in deliveries {
                    if self.journal.is_some() && !delivery.again {
                        self.journal_settled(at, &delivery, outcome == Outcome::Ack);
                    }
                    if let (Some(spans), Outcome::Ack) = (&mut self.spans, outcome) {
                        spans.ended(delivery.queue, delivery.entry.position, reason::ACK);
                    }
                    let left = self.leave(&delivery, outcome, &mut credited);
                    if delivery.again {
                        self.release_entry(delivery.entry);
                        continue;
                    }
                    if outcome == Outcome::Discard {
                        self.bury(delivery.queue, delivery.entry, Reason::Rejected);
                    } else {
                        if left.deduplicates {
                            self.leave_queue(delivery.queue, &delivery.entry);
                        }
                        if left.keeps {
                            self.write_end(delivery.queue, &delivery.entry);
                        }
                        self.release_entry(delivery.entry);
                    }
                }
                self.spend_credit(at, credited, effects);
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn break_down_acks(&mut self, at: At, deliveries: &[Delivery]) {
        let Some(breakdown) = &mut self.breakdown else { return };
        for delivery in deliveries.iter().filter(|delivery| !delivery.again && self.queues.contains_key(delivery.queue)) {
            breakdown.ack(at, delivery.queue);
        }
    }

    /// RabbitMQ settles what was delivered to one consumer after the other, in the order of their queues and tags: the order of dead
    /// letters shows it.
    fn by_consumer(&self, mut deliveries: Vec<Delivery>) -> Vec<Delivery> {
        let tag = |delivery: &Delivery| {
            let consumer = delivery.consumer.and_then(|id| self.consumers.get(id));
            consumer.map(|consumer| consumer.tag.clone())
        };
        if deliveries.len() > 1 {
            deliveries.sort_by_cached_key(|delivery| (delivery.queue, tag(delivery)));
        }
        deliveries
    }

    /// Puts messages back to their places in their queues, then lets consumers have them.
    pub(super) fn requeue(&mut self, at: At, deliveries: Vec<Delivery>, outcome: Outcome, effects: &mut Effects) {
        let mut credited = Credited::default();
        let mut queues: Vec<QueueId> = Vec::new();
        for delivery in deliveries {
            if self.journal.is_some() && !delivery.again {
                self.journal_settled(at, &delivery, false);
            }
            self.leave(&delivery, outcome, &mut credited);
            let Delivery { queue, mut entry, again, .. } = delivery;
            if again {
                self.release_entry(entry);
                continue;
            }
            let Some(requeued_to) = self.queues.get_mut(queue) else {
                if self.journal.is_some() {
                    self.journal_dropped(queue, &entry, reason::QUEUE_DELETED);
                }
                if let Some(spans) = &mut self.spans {
                    spans.ended(queue, entry.position, reason::QUEUE_DELETED);
                }
                self.release_entry(entry);
                continue;
            };
            entry.redelivered = true;
            match requeued_to.kind {
                QueueType::Classic => {}
                // Nothing has left a stream: settling gives credit back, no more.
                QueueType::Stream => {
                    self.release_entry(entry);
                    continue;
                }
                QueueType::Quorum if outcome == Outcome::Return => {
                    entry.returns = entry.returns.saturating_add(1);
                    if requeued_to.effective.delivery_limit.is_some_and(|limit| entry.returns > limit) {
                        self.bury(queue, entry, Reason::DeliveryLimit);
                        continue;
                    }
                }
                QueueType::Quorum => entry.uncounted_returns = entry.uncounted_returns.saturating_add(1),
            }
            if let Some(journal) = &mut self.journal {
                journal.requeued(self.now, at, (queue, &requeued_to.name), &entry);
            }
            if let Some(spans) = &mut self.spans {
                spans.requeued(queue, entry.position);
            }
            if requeued_to.kind == QueueType::Quorum && requeued_to.effective.delivery_limit.is_none() {
                self.write_end(queue, &entry);
                let requeued_to = &mut self.queues[queue];
                let before = entry.position;
                let entry = requeued_to.ready.at_tail(entry);
                if let Some(journal) = &mut self.journal {
                    journal.moved(queue, before, entry.position);
                }
                if let Some(spans) = &mut self.spans {
                    spans.moved(queue, before, entry.position);
                }
                self.log.next_message();
                Self::write_enqueue(&mut self.log, requeued_to, &entry);
                requeued_to.ready.push(entry);
            } else {
                if requeued_to.number != 0 {
                    Self::write_return(&mut self.log, requeued_to, &entry);
                }
                requeued_to.ready.requeue(entry);
            }
            if !queues.contains(&queue) {
                queues.push(queue);
            }
        }
        let is_quorum = |broker: &Self, id: QueueId| broker.queues.get(id).is_some_and(|queue| queue.kind == QueueType::Quorum);
        for &queue in &queues {
            // Unacked messages are outside the bound, so that coming back can exceed it (gotcha 17).
            if !is_quorum(self, queue) {
                self.drop_overflow(queue);
                self.settle_head(queue);
            }
        }
        self.spend_credit(at, credited, effects);
        for queue in queues {
            self.pump(queue, effects);
            // A quorum queue gives first and counts then.
            if is_quorum(self, queue) {
                self.drop_overflow(queue);
                self.settle_head(queue);
            }
        }
    }

    /// Takes a delivery off the accounts of its queue and consumer.
    fn leave(&mut self, delivery: &Delivery, outcome: Outcome, credited: &mut Credited) -> Left {
        let mut queue = self.queues.get_mut(delivery.queue);
        let mut left = Left::default();
        let acked = u64::from(outcome == Outcome::Ack);
        credited.acked += acked;
        if let Some(queue) = &mut queue
            && !delivery.again
        {
            queue.counters.ack += acked;
            queue.active = self.now;
            queue.unacked -= 1;
            queue.unacked_bytes -= delivery.entry.message.body_len() as u64;
            left = Left { deduplicates: queue.deduplication.is_some(), keeps: queue.number != 0 && queue.stream.is_none() };
        }
        let Some(id) = delivery.consumer else { return left };
        if let Some(consumer) = self.consumers.get_mut(id) {
            consumer.unacked -= 1;
            if let Some(queue) = queue.filter(|queue| consumer.unacked == 0 && queue.consumers.is_handing_over(id)) {
                queue.consumers.activate_next();
                credited.queues.push(delivery.queue);
            }
            if consumer.parked && credited.consumers.last() != Some(&id) {
                credited.consumers.push(id);
            }
        }
        left
    }

    /// Settlements have given credit back: consumers that were out of it take their turn again.
    fn spend_credit(&mut self, at: At, credited: Credited, effects: &mut Effects) {
        let mut parked = credited.consumers;
        if let Some(channel) = self.channel(at) {
            channel.counters.ack += credited.acked;
            if channel.global_prefetch != 0 {
                // Credit of the channel as a whole serves any of its consumers.
                parked = channel.consumers.values().copied().collect();
            }
        }
        self.unpark(parked, effects);
        for queue in credited.queues {
            self.pump(queue, effects);
        }
    }

    pub(super) fn basic_recover(&mut self, at: At, requeue: bool, reply: bool, effects: &mut Effects) -> Result<(), Error> {
        if !requeue {
            return Err(Error::not_implemented("requeue=false"));
        }
        self.journal_why(reason::RECOVER);
        let unacked = self.open_channel(at).unacked.take_all();
        if reply {
            // Before the redeliveries (gotcha 47).
            self.reply(at, effects, &AMQPClass::Basic(basic::AMQPMethod::RecoverOk(basic::RecoverOk {})));
        }
        let outcome = if self.settings.profile.nack_counts { Outcome::Return } else { Outcome::Requeue };
        self.requeue(at, unacked, outcome, effects);
        Ok(())
    }
}

/// What the queue that a message leaves wants to know of it.
#[derive(Clone, Copy, Default)]
struct Left {
    deduplicates: bool,
    /// It is written down.
    keeps: bool,
}

/// Consumers that were parked and have got credit back.
#[derive(Default)]
struct Credited {
    /// Messages that were acknowledged.
    acked: u64,
    consumers: Vec<crate::broker::queue::ConsumerId>,
    /// Queues that have another active consumer now.
    queues: Vec<QueueId>,
}
