//! Acks and their kind, and transactions that hold them back.

use std::collections::BTreeSet;

use super::queue::Copy;
use super::{At, Dying, Fate, Held, Mode, Model, Reply, Transaction, Uncommitted};

impl Model {
    pub(super) fn settle(&mut self, at: At, tag: u64, multiple: bool, fate: Fate) -> Result<(), u16> {
        let channel = self.open(at);
        let taken: Vec<(u64, Held)> = if multiple && tag == 0 {
            std::mem::take(&mut channel.held).into_iter().collect()
        } else if !channel.held.contains_key(&tag) {
            return Err(406);
        } else if multiple {
            let later = channel.held.split_off(&(tag + 1));
            std::mem::replace(&mut channel.held, later).into_iter().collect()
        } else {
            channel.held.remove_entry(&tag).into_iter().collect()
        };
        if let Mode::Tx(transaction) = &mut channel.mode {
            transaction.settlements.push((taken, fate));
        } else {
            self.carry_out(taken, fate, true);
        }
        Ok(())
    }

    /// `exactly`: nothing else happens in this step before it, so that what overflows is known.
    pub(super) fn carry_out(&mut self, taken: Vec<(u64, Held)>, fate: Fate, exactly: bool) {
        let mut requeued = BTreeSet::new();
        for (_, held) in taken {
            let Some(queue) = self.queues.get_mut(&held.queue).filter(|q| q.unique == held.unique) else { continue };
            queue.unacked -= 1;
            match fate {
                Fate::Ack => queue.tally.acked += 1,
                Fate::Discard => queue.tally.discarded += 1,
                Fate::Requeue => {
                    queue.ready.insert(held.position, Copy { id: held.id, redelivered: true });
                    requeued.insert(held.queue);
                }
            }
        }
        for name in requeued.iter().filter(|_| exactly) {
            if let Some(queue) = self.queues.get_mut(name) {
                queue.drop_overflow();
            }
        }
    }

    /// What a channel holds comes back, that of an open transaction included.
    pub(super) fn requeue_all(&mut self, at: At, exactly: bool) {
        let channel = self.open(at);
        let mut all: Vec<(u64, Held)> = std::mem::take(&mut channel.held).into_iter().collect();
        if let Mode::Tx(transaction) = &mut channel.mode {
            all.extend(std::mem::take(transaction).settlements.into_iter().flat_map(|(taken, _)| taken));
        }
        self.carry_out(all, Fate::Requeue, exactly);
    }

    pub(super) fn tx_select(&mut self, at: At) -> Result<Reply, u16> {
        let channel = self.open(at);
        match channel.mode {
            Mode::Plain => channel.mode = Mode::Tx(Transaction::default()),
            Mode::Tx(_) => {}
            Mode::Confirm { .. } => return Err(406),
        }
        Ok(Reply::Plain("tx.select-ok"))
    }

    fn transaction(&mut self, at: At) -> Result<Transaction, u16> {
        match &mut self.open(at).mode {
            Mode::Tx(transaction) => Ok(std::mem::take(transaction)),
            Mode::Plain | Mode::Confirm { .. } => Err(406),
        }
    }

    pub(super) fn tx_rollback(&mut self, at: At) -> Result<Reply, u16> {
        let transaction = self.transaction(at)?;
        let back = transaction.settlements.into_iter().flat_map(|(taken, _)| taken);
        self.open(at).held.extend(back);
        Ok(Reply::Plain("tx.rollback-ok"))
    }

    /// `fails`: the client was told so; whether rightly is decided when all is known.
    pub(super) fn tx_commit(&mut self, at: At, fails: bool) -> Result<(), u16> {
        let transaction = self.transaction(at)?;
        self.due.phases = true;
        for Uncommitted { id, mandatory, mut queues } in transaction.publishes {
            queues.retain(|name| self.queues.contains_key(name));
            if queues.is_empty() && mandatory {
                self.due.returns.push_back((at, id));
            }
            for name in queues {
                self.arrive_at_commit(&name, id);
            }
        }
        for (taken, fate) in transaction.settlements {
            self.carry_out(taken, fate, false);
        }
        self.due.replies.push_back((at.1, Reply::CommitOkOrClose));
        if fails {
            self.begin_to_end(Dying::Channel(at));
            self.open(at).closing = true;
        }
        Ok(())
    }
}
