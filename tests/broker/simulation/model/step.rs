//! One input of the broker and what came of it: first what the input means, then everything that was heard.

use std::collections::BTreeSet;

use amq_protocol::protocol::{AMQPClass, basic, channel, connection};
use leveret::broker::QueueSnapshot;

use super::super::op::{Op, id_of};
use super::super::wire::Event;
use super::{At, Connection, Due, Dying, Model, Reply};

/// What was handled.
#[derive(Debug)]
pub(in super::super) enum Step<'a> {
    Connected(u32, Connection),
    /// Methods of one connection; more than one only if all are publishes, or all acks, of one channel.
    Methods(u32, &'a [(u16, Op)]),
    /// A connection was found in the middle of a content while there is an alarm.
    Publishing(u32),
    Flushed,
    Disconnected(u32),
    Alarms(bool),
}

/// Looks at the broker's queues, where what happened cannot be told from what was heard.
pub(in super::super) type Truth<'a> = &'a dyn Fn() -> Vec<QueueSnapshot>;

/// What was delivered in a step: queue and message.
pub(super) type Delivered = BTreeSet<(String, u64)>;

impl Model {
    pub(in super::super) fn step(&mut self, step: Step<'_>, events: &[(u32, Event)], truth: Truth<'_>) {
        self.due = Due::default();
        let delivered = self.peek(events);
        let mut gone = None;
        match step {
            Step::Connected(id, connection) => {
                self.connections.insert(id, connection);
                self.due.replies.push_back((0, Reply::Plain("connection.open-ok")));
            }
            Step::Methods(connection, methods) => {
                self.due.only_arrivals = methods.iter().all(|(_, op)| matches!(op, Op::Publish(_)));
                for (index, (channel, op)) in methods.iter().enumerate() {
                    self.handled((connection, *channel), op, index == 0, &delivered, events);
                }
            }
            Step::Publishing(id) => {
                let connection = self.connections.get_mut(&id).expect("it is there");
                connection.published = true;
            }
            Step::Flushed => {}
            Step::Disconnected(connection) => {
                self.begin_to_end(Dying::Connection(connection));
                gone = Some(connection);
            }
            Step::Alarms(alarm) => self.alarm = alarm,
        }
        let (dying, others): (Vec<_>, Vec<_>) = events.iter().partition(|(connection, event)| self.is_dying((*connection, event.channel)));
        for (connection, event) in dying.into_iter().chain(others) {
            self.heard((*connection, event.channel), event);
        }
        self.finish_dying();
        if self.due.phases {
            self.reconcile(truth);
        }
        self.check_step();
        if let Some(connection) = gone {
            self.connections.remove(&connection);
        }
    }

    fn peek(&self, events: &[(u32, Event)]) -> Delivered {
        let mut delivered = Delivered::new();
        for (connection, event) in events {
            let AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver)) = &event.class else { continue };
            let channel = self.connections.get(connection).and_then(|c| c.channels.get(&event.channel));
            if let Some(consumer) = channel.and_then(|c| c.consumers.get(deliver.consumer_tag.as_str())) {
                delivered.insert((consumer.queue.clone(), id_of(&event.body)));
            }
        }
        delivered
    }

    /// A method that the broker has handled.
    fn handled(&mut self, at: At, op: &Op, first: bool, delivered: &Delivered, events: &[(u32, Event)]) {
        let connection = self.connections.get_mut(&at.0).expect("methods come from connections");
        if connection.ended {
            if connection.closing && matches!(op, Op::ConnectionClose | Op::ConnectionCloseOk) {
                connection.closing = false;
                if *op == Op::ConnectionClose {
                    // Both have closed at once: both are answered.
                    self.due.replies.push_back((0, Reply::Plain("connection.close-ok")));
                }
            }
            return;
        }
        let result = match op {
            Op::ConnectionClose => {
                self.begin_to_end(Dying::Connection(at.0));
                self.due.replies.push_back((0, Reply::Plain("connection.close-ok")));
                Ok(())
            }
            Op::ChannelOpen => {
                assert!(connection.channels.insert(at.1, super::Channel::default()).is_none(), "a client opens each channel once");
                self.due.replies.push_back((at.1, Reply::Plain("channel.open-ok")));
                Ok(())
            }
            op if connection.channels.get(&at.1).is_none_or(|c| c.closing) => {
                match op {
                    Op::ChannelClose => self.due.replies.push_back((at.1, Reply::Plain("channel.close-ok"))),
                    Op::ChannelCloseOk => drop(connection.channels.remove(&at.1)),
                    _ => {}
                }
                return;
            }
            Op::ChannelClose => {
                self.end_channel(at);
                self.connections.get_mut(&at.0).expect("it is there").channels.remove(&at.1);
                self.due.replies.push_back((at.1, Reply::Plain("channel.close-ok")));
                Ok(())
            }
            Op::TxCommit => {
                let closed = |(connection, event): &(u32, Event)| {
                    (*connection, event.channel) == at && matches!(event.class, AMQPClass::Channel(channel::AMQPMethod::Close(_)))
                };
                self.tx_commit(at, events.iter().any(closed))
            }
            op => self.method(at, op, delivered, events),
        };
        if let Err(code) = result {
            self.refused(at, code, first);
        }
    }

    /// An error ends the channel or the connection.
    fn refused(&mut self, at: At, code: u16, first: bool) {
        self.due.only_arrivals = false;
        if matches!(code, 403..=406) {
            self.due.replies.push_back((at.1, Reply::ChannelClose(code)));
            if first {
                self.end_channel(at);
            } else {
                self.begin_to_end(Dying::Channel(at));
            }
            self.open(at).closing = true;
        } else {
            self.due.replies.push_back((0, Reply::ConnectionClose(code)));
            self.begin_to_end(Dying::Connection(at.0));
            self.connections.get_mut(&at.0).expect("it is there").closing = true;
        }
    }

    /// A channel ends before anything is delivered in this step: every move is known.
    fn end_channel(&mut self, at: At) {
        let left = self.remove_consumers(at);
        self.requeue_all(at, true);
        self.auto_delete(left);
        let channel = self.open(at);
        channel.mode = super::Mode::Plain;
        (channel.prefetch, channel.global_prefetch) = (0, 0);
    }

    /// A channel or connection ends in the course of this step: what its channels hold, and are still given, comes back.
    pub(super) fn begin_to_end(&mut self, dying: Dying) {
        self.due.phases = true;
        self.due.only_arrivals = false;
        self.due.dying = Some(dying);
        if let Dying::Connection(_) = dying {
            // Its consumers go first, so that nothing goes to a connection that ends.
            self.due.left = self.dying_channels().into_iter().flat_map(|at| self.remove_consumers(at)).collect();
        }
        for at in self.dying_channels() {
            self.requeue_all(at, false);
        }
        if let Dying::Connection(connection) = dying
            && let Some(connection) = self.connections.get_mut(&connection)
        {
            connection.ended = true;
        }
    }

    fn dying_channels(&self) -> Vec<At> {
        match self.due.dying {
            Some(Dying::Channel(at)) => vec![at],
            Some(Dying::Connection(connection)) => {
                self.connections.get(&connection).into_iter().flat_map(|c| c.channels.keys().map(move |n| (connection, *n))).collect()
            }
            None => Vec::new(),
        }
    }

    fn finish_dying(&mut self) {
        for at in self.dying_channels() {
            let left = self.remove_consumers(at);
            self.auto_delete(left);
            let closing = self.open(at).closing;
            *self.open(at) = super::Channel { closing, ..super::Channel::default() };
        }
        let left = std::mem::take(&mut self.due.left);
        self.auto_delete(left);
        if let Some(Dying::Connection(id)) = self.due.dying {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.channels.clear();
            }
            let owned: Vec<String> = self.queues.iter().filter(|(_, q)| q.owner == Some(id)).map(|(name, _)| name.clone()).collect();
            for name in owned {
                self.delete_queue(&name);
            }
        }
    }

    /// What a bounded queue has dropped or refused at a moment that nobody outside knows.
    fn reconcile(&mut self, truth: Truth<'_>) {
        let mut refused = false;
        let truth = if self.queues.values().any(|q| q.spec.max_length.is_some()) { truth() } else { return self.check_commit(false) };
        for (name, queue) in self.queues.iter_mut().filter(|(_, q)| q.spec.max_length.is_some()) {
            let Some(snapshot) = truth.iter().find(|s| s.name == *name) else { continue };
            let there: BTreeSet<u64> = snapshot.ready_bodies.iter().map(|body| id_of(body)).collect();
            let missing: Vec<u64> =
                queue.ready.iter().filter(|(_, copy)| !there.contains(&copy.id)).map(|(position, _)| *position).collect();
            for position in missing {
                if queue.spec.reject_publish {
                    let brought = self.due.candidates.contains(&(name.clone(), position));
                    assert!(brought, "queue {name} lost a message: {:?}", queue.ready[&position]);
                    queue.tally.arrived -= 1;
                    refused = true;
                } else {
                    queue.tally.overflowed += 1;
                }
                queue.ready.remove(&position);
            }
        }
        self.check_commit(refused);
    }

    fn check_commit(&self, refused: bool) {
        // A queue that went with the channel takes to its grave what it has refused.
        let known = self.due.candidates.iter().all(|(name, _)| self.queues.contains_key(name));
        if known || refused {
            assert_eq!(self.due.partial_commit, refused, "a commit fails if and only if a queue has refused a message");
        }
    }

    /// connection.blocked and unblocked go to connections that publish and understand them, in turn.
    pub(super) fn heard_alarm(&mut self, at: At, class: &connection::AMQPMethod) {
        let connection = self.connections.get_mut(&at.0).expect("it is there");
        assert!(connection.hears_blocked && !connection.ended, "{at:?} did not ask for {class:?}");
        let blocked = matches!(class, connection::AMQPMethod::Blocked(_));
        assert!(connection.published && connection.blocked != blocked, "{at:?} hears {class:?} for nothing");
        connection.blocked = blocked;
    }
}
