//! tx.select, tx.commit, tx.rollback: publishes and settlements held back until they are committed (behaviour F7).

use std::sync::Arc;

use super::Mode;
use super::publish::NamedTargets;
use super::settle::Outcome;
use super::unacked::Delivery;
use crate::amqp::{AMQPClass, Message, tx};
use crate::broker::journal::About;
use crate::broker::{At, Broker, Effects, Error};

/// Deliveries that have left the channel, and what is to become of them.
#[derive(Debug)]
pub(super) struct Settlement {
    pub(super) deliveries: Vec<Delivery>,
    pub(super) outcome: Outcome,
    /// What the journal says of it.
    pub(super) why: &'static str,
}

#[derive(Debug)]
struct Published {
    mandatory: bool,
    message: Message,
    /// Routed when it was published.
    targets: NamedTargets,
    /// As the journal knows it.
    about: Option<Arc<About>>,
}

#[derive(Debug, Default)]
pub(super) struct Transaction {
    published: Vec<Published>,
    settlements: Vec<Settlement>,
    /// Deliveries among `settlements` that a consumer got.
    consumed: usize,
}

impl Transaction {
    /// Deliveries to consumers that are settled only once this commits: until then they use prefetch.
    pub(super) fn consumed(&self) -> usize {
        self.consumed
    }

    /// Deliveries that are settled when this commits.
    pub(super) fn held(&self) -> impl Iterator<Item = &Delivery> {
        self.settlements.iter().flat_map(|settlement| &settlement.deliveries)
    }

    /// Publishes that wait for the commit.
    pub(super) fn uncommitted(&self) -> usize {
        self.published.len()
    }

    /// Acknowledgements that wait for it.
    pub(super) fn acks_uncommitted(&self) -> usize {
        let acks = self.settlements.iter().filter(|settlement| settlement.outcome == Outcome::Ack);
        acks.map(|settlement| settlement.deliveries.len()).sum()
    }

    pub(super) fn settle(&mut self, settlement: Settlement) {
        self.consumed += settlement.deliveries.iter().filter(|delivery| delivery.consumer.is_some()).count();
        self.settlements.push(settlement);
    }
}

impl Broker {
    pub(super) fn tx_select(&mut self, at: At, effects: &mut Effects) -> Result<(), Error> {
        let channel = self.open_channel(at);
        match channel.mode {
            Mode::Plain => channel.mode = Mode::Tx(Box::default()),
            Mode::Tx(_) => {}
            Mode::Confirm(_) => return Err(Error::cannot_switch_mode("confirm", "tx")),
        }
        self.reply(at, effects, &AMQPClass::Tx(tx::AMQPMethod::SelectOk(tx::SelectOk {})));
        Ok(())
    }

    /// Keeps a publish until the transaction commits.
    pub(super) fn hold_back(&mut self, at: At, mandatory: bool, message: Message, targets: NamedTargets) {
        let about = self.journal_current();
        if let Mode::Tx(transaction) = &mut self.open_channel(at).mode {
            transaction.published.push(Published { mandatory, message, targets, about });
        }
    }

    fn transaction(&mut self, at: At) -> Result<Transaction, Error> {
        match &mut self.open_channel(at).mode {
            Mode::Tx(transaction) => Ok(std::mem::take(transaction)),
            Mode::Plain | Mode::Confirm(_) => Err(Error::channel_not_transactional()),
        }
    }

    pub(super) fn tx_commit(&mut self, at: At, effects: &mut Effects) -> Result<(), Error> {
        let transaction = self.transaction(at)?;
        let published = transaction.published.len() as u64;
        let counters = &mut self.open_channel(at).counters;
        counters.publish += published;
        counters.publish_confirm += published;
        let mut complete = true;
        for Published { mandatory, message, targets, about } in transaction.published {
            self.journal_go_on(about);
            let targets = self.find_targets(&targets);
            complete &= self.deliver_to_queues(at, mandatory, message, &targets, effects);
            if self.breakdown.is_some() {
                self.break_down_publish(at, mandatory, &targets, false);
            }
        }
        let partial = if complete { Ok(()) } else { Err(Error::precondition("partial tx completion")) };
        if complete {
            self.reply(at, effects, &AMQPClass::Tx(tx::AMQPMethod::CommitOk(tx::CommitOk {})));
        }
        for Settlement { deliveries, outcome, why } in transaction.settlements {
            self.journal_why(why);
            self.carry_out(at, deliveries, outcome, effects);
        }
        partial
    }

    pub(super) fn tx_rollback(&mut self, at: At, effects: &mut Effects) -> Result<(), Error> {
        let transaction = self.transaction(at)?;
        // Unacked again, not redelivered.
        let deliveries = self.abandon(transaction);
        self.open_channel(at).unacked.restore(deliveries);
        self.reply(at, effects, &AMQPClass::Tx(tx::AMQPMethod::RollbackOk(tx::RollbackOk {})));
        Ok(())
    }

    /// Drops what a transaction would have published; returns what it would have settled.
    pub(super) fn abandon(&mut self, transaction: Transaction) -> Vec<Delivery> {
        for published in transaction.published {
            if self.journal.is_some() {
                self.journal_rolled_back(published.about);
            }
            self.release(published.message);
        }
        transaction.settlements.into_iter().flat_map(|settlement| settlement.deliveries).collect()
    }
}
