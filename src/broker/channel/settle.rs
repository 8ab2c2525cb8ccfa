//! basic.ack, basic.nack, basic.reject, basic.recover: what becomes of unacked messages.

use super::Mode;
use super::tx::Settlement;
use super::unacked::Delivery;
use crate::amqp::{AMQPClass, basic};
use crate::broker::queue::QueueId;
use crate::broker::{At, Broker, Effects, Error};

/// What a settlement does with the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ack,
    Requeue,
    /// Rejected without requeue.
    Discard,
}

impl Broker {
    pub(super) fn basic_ack(&mut self, at: At, delivery_tag: u64, multiple: bool, effects: &mut Effects) -> Result<(), Error> {
        self.settle(at, delivery_tag, multiple, Outcome::Ack, effects)
    }

    /// basic.nack, and basic.reject with `multiple` unset.
    pub(super) fn basic_nack(
        &mut self,
        at: At,
        delivery_tag: u64,
        multiple: bool,
        requeue: bool,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        let outcome = if requeue { Outcome::Requeue } else { Outcome::Discard };
        self.settle(at, delivery_tag, multiple, outcome, effects)
    }

    fn settle(&mut self, at: At, delivery_tag: u64, multiple: bool, outcome: Outcome, effects: &mut Effects) -> Result<(), Error> {
        let channel = self.open_channel(at);
        let mut taken = Vec::new();
        channel.unacked.take(delivery_tag, multiple, &mut taken)?;
        if let Mode::Tx(transaction) = &mut channel.mode {
            transaction.settle(Settlement { deliveries: taken, outcome });
            return Ok(());
        }
        self.carry_out(at, taken, outcome, effects);
        Ok(())
    }

    /// Carries out a settlement whose deliveries have left the channel.
    pub(super) fn carry_out(&mut self, at: At, deliveries: Vec<Delivery>, outcome: Outcome, effects: &mut Effects) {
        match outcome {
            Outcome::Requeue => self.requeue(at, deliveries, effects),
            Outcome::Ack | Outcome::Discard => {
                let mut credited = Credited::default();
                for delivery in deliveries {
                    self.leave(&delivery, &mut credited);
                    self.release_entry(delivery.entry);
                }
                self.spend_credit(at, credited, effects);
            }
        }
    }

    /// Puts messages back to their places in their queues, then lets consumers have them.
    pub(super) fn requeue(&mut self, at: At, deliveries: Vec<Delivery>, effects: &mut Effects) {
        let mut credited = Credited::default();
        let mut queues: Vec<QueueId> = Vec::new();
        for delivery in deliveries {
            self.leave(&delivery, &mut credited);
            let Delivery { queue, mut entry, .. } = delivery;
            let Some(requeued_to) = self.queues.get_mut(queue) else {
                self.release_entry(entry);
                continue;
            };
            entry.redelivered = true;
            requeued_to.ready.requeue(entry);
            if !queues.contains(&queue) {
                queues.push(queue);
            }
        }
        for &queue in &queues {
            // Unacked messages are outside the bound, so that coming back can exceed it (gotcha 17).
            self.drop_overflow(queue);
        }
        self.spend_credit(at, credited, effects);
        for queue in queues {
            self.pump(queue, effects);
        }
    }

    /// Takes a delivery off the accounts of its queue and consumer.
    fn leave(&mut self, delivery: &Delivery, credited: &mut Credited) {
        if let Some(queue) = self.queues.get_mut(delivery.queue) {
            queue.unacked -= 1;
            queue.unacked_bytes -= delivery.entry.message.body_len() as u64;
        }
        let Some(id) = delivery.consumer else { return };
        if let Some(consumer) = self.consumers.get_mut(id) {
            consumer.unacked -= 1;
            if consumer.parked && credited.consumers.last() != Some(&id) {
                credited.consumers.push(id);
            }
        }
    }

    /// Settlements have given credit back: consumers that were out of it take their turn again.
    fn spend_credit(&mut self, at: At, credited: Credited, effects: &mut Effects) {
        let parked = match self.channel(at) {
            // Credit of the channel as a whole serves any of its consumers.
            Some(channel) if channel.global_prefetch != 0 => channel.consumers.values().copied().collect(),
            _ => credited.consumers,
        };
        for consumer in parked {
            self.unpark(consumer, effects);
        }
    }

    pub(super) fn basic_recover(&mut self, at: At, requeue: bool, reply: bool, effects: &mut Effects) -> Result<(), Error> {
        if !requeue {
            return Err(Error::not_implemented("requeue=false"));
        }
        let unacked = self.open_channel(at).unacked.take_all();
        if reply {
            // Before the redeliveries (gotcha 47).
            self.reply(at, effects, &AMQPClass::Basic(basic::AMQPMethod::RecoverOk(basic::RecoverOk {})));
        }
        self.requeue(at, unacked, effects);
        Ok(())
    }
}

/// Consumers that were parked and have got credit back.
#[derive(Default)]
struct Credited {
    consumers: Vec<crate::broker::queue::ConsumerId>,
}
