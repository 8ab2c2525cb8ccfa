//! Publishes: where they lead, which queue refuses them, what their publisher must hear.

use std::collections::BTreeMap;

use amq_protocol::protocol::basic;

use super::super::op::{Publish, id_of};
use super::super::wire::Event;
use super::queue::Copy;
use super::step::Delivered;
use super::{At, Mode, Model, Outcome, Uncommitted};

impl Model {
    pub(super) fn publish(&mut self, at: At, publish: &Publish, delivered: &Delivered) -> Result<(), u16> {
        let connection = self.connections.get_mut(&at.0).expect("it is there");
        connection.published = true;
        self.published.insert(publish.id, publish.clone());
        let transactional = matches!(self.open(at).mode, Mode::Tx(_));
        let queues: Vec<String> = if publish.exchange.is_empty() {
            let there = transactional || self.queues.contains_key(&publish.key);
            there.then(|| publish.key.clone()).into_iter().collect()
        } else {
            match self.topology.exchange(&publish.exchange) {
                None => return Err(404),
                Some(exchange) if exchange.internal => return Err(403),
                Some(_) => self.topology.route(&publish.exchange, &publish.key, &publish.headers).into_iter().collect(),
            }
        };
        if let Mode::Tx(transaction) = &mut self.open(at).mode {
            transaction.publishes.push(Uncommitted { id: publish.id, mandatory: publish.mandatory, queues });
            return Ok(());
        }
        let returned = (publish.mandatory && queues.is_empty()).then_some(publish.id);
        let mut refused = false;
        for name in queues {
            refused |= !self.arrive(&name, publish.id, delivered);
        }
        if let Some(id) = returned {
            self.due.returns.push_back((at, id));
        }
        if let Mode::Confirm { published, unheard } = &mut self.open(at).mode {
            *published += 1;
            unheard.insert(*published, Outcome { refused, returned });
        }
        Ok(())
    }

    /// A copy comes to a queue; `false` when the queue must refuse it.
    fn arrive(&mut self, name: &str, id: u64, delivered: &Delivered) -> bool {
        let queue = self.queues.get_mut(name).expect("routed to a queue that is there");
        let given = delivered.contains(&(name.to_owned(), id));
        if queue.spec.reject_publish && queue.is_full() {
            assert!(!given, "queue {name} is full and gave away a message that it must refuse");
            return false;
        }
        let copy = Copy { id, redelivered: false };
        let position = queue.next_position();
        queue.tally.arrived += 1;
        if given {
            assert!(queue.ready.is_empty(), "queue {name} gave away what came last, past {:?}", queue.ready);
            queue.flying.insert(position, copy);
        } else {
            queue.ready.insert(position, copy);
            queue.drop_overflow();
        }
        true
    }

    /// A copy comes to a queue when a transaction commits.
    pub(super) fn arrive_at_commit(&mut self, name: &str, id: u64) {
        let queue = self.queues.get_mut(name).expect("found at the commit");
        let position = queue.next_position();
        queue.tally.arrived += 1;
        queue.ready.insert(position, Copy { id, redelivered: false });
        self.due.candidates.push((name.to_owned(), position));
    }

    pub(super) fn heard_confirm(&mut self, at: At, tag: u64, multiple: bool, nack: bool) {
        let channel = self.open(at);
        let Mode::Confirm { published, unheard } = &mut channel.mode else { panic!("{at:?} hears a confirm without confirm mode") };
        assert!(tag > 0 && tag <= *published, "{at:?} hears of publish {tag} of {published}");
        let covered: BTreeMap<u64, Outcome> = if multiple {
            let later = unheard.split_off(&(tag + 1));
            std::mem::replace(unheard, later)
        } else {
            unheard.remove_entry(&tag).into_iter().collect()
        };
        assert!(covered.contains_key(&tag), "{at:?} hears of publish {tag} again");
        for (number, outcome) in covered {
            assert_eq!(outcome.refused, nack, "{at:?}: publish {number} was refused by a queue, or was not");
            assert_eq!(outcome.returned, None, "{at:?}: publish {number} is confirmed before it is returned");
        }
    }

    pub(super) fn heard_return(&mut self, at: At, returned: &basic::Return, event: &Event) {
        let id = id_of(&event.body);
        assert_eq!(self.due.returns.pop_front(), Some((at, id)), "basic.return");
        assert_eq!((returned.reply_code, returned.reply_text.as_str()), (312, "NO_ROUTE"));
        self.check_content(id, (returned.exchange.as_str(), returned.routing_key.as_str()), &event.body);
        if let Mode::Confirm { unheard, .. } = &mut self.open(at).mode {
            for outcome in unheard.values_mut().filter(|o| o.returned == Some(id)) {
                outcome.returned = None;
            }
        }
    }
}
