//! What each method does to the model, and what the client must hear in reply; an error is its reply code.

use amq_protocol::protocol::{AMQPClass, queue as queue_methods};

use super::super::op::{BindingSpec, Consume, Op, QueueSpec};
use super::super::wire::Event;
use super::queue::{Copy, Queue};
use super::step::Delivered;
use super::topology::End;
use super::{At, Consumer, Fate, Held, Mode, Model, Reply};

impl Model {
    pub(super) fn method(&mut self, at: At, op: &Op, delivered: &Delivered, events: &[(u32, Event)]) -> Result<(), u16> {
        let reply = match op {
            Op::Publish(publish) => return self.publish(at, publish, delivered),
            Op::Ack { tag, multiple } => return self.settle(at, *tag, *multiple, Fate::Ack),
            Op::Nack { tag, multiple, requeue } => return self.settle(at, *tag, *multiple, fate(*requeue)),
            Op::Reject { tag, requeue } => return self.settle(at, *tag, false, fate(*requeue)),
            Op::ExchangeDeclare(name, spec) => {
                self.topology.declare(name, spec)?;
                Reply::Plain("exchange.declare-ok")
            }
            Op::ExchangeDelete { name, if_unused } => {
                self.topology.delete(name, *if_unused)?;
                Reply::Plain("exchange.delete-ok")
            }
            Op::ExchangeBind(spec) => {
                self.exchange(&spec.source)?;
                self.exchange(&spec.destination)?;
                self.topology.bind(End::Exchange(spec.destination.clone()), spec);
                Reply::Plain("exchange.bind-ok")
            }
            Op::ExchangeUnbind(spec) => {
                self.topology.unbind(&End::Exchange(spec.destination.clone()), spec);
                Reply::Plain("exchange.unbind-ok")
            }
            Op::QueueBind(spec) => {
                self.exchange(&spec.source)?;
                self.queue_for(at, &spec.destination)?;
                self.topology.bind(End::Queue(spec.destination.clone()), spec);
                Reply::Plain("queue.bind-ok")
            }
            Op::QueueUnbind(spec) => self.queue_unbind(at, spec)?,
            Op::QueueDeclare(name, spec) => self.queue_declare(at, name, spec, events)?,
            Op::QueueDeclarePassive(name) => declared(name, self.queue_for(at, name)?),
            Op::QueuePurge(name) => {
                let queue = self.queue_for(at, name)?;
                let count = queue.ready.len();
                queue.ready.clear();
                queue.tally.purged += count;
                Reply::Count("queue.purge-ok", count)
            }
            Op::QueueDelete { name, if_unused, if_empty } => self.queue_delete(at, name, *if_unused, *if_empty)?,
            Op::Qos { count, global } => {
                let channel = self.open(at);
                let set = if *global { &mut channel.global_prefetch } else { &mut channel.prefetch };
                *set = *count;
                Reply::Plain("basic.qos-ok")
            }
            Op::Consume(consume) => self.consume(at, consume)?,
            Op::Cancel(tag) => {
                let left = self.remove_consumer(at, tag);
                self.auto_delete(left.into_iter().collect());
                Reply::CancelOk(tag.clone())
            }
            Op::Get { queue, no_ack } => self.get(at, queue, *no_ack)?,
            Op::Recover => {
                let taken = std::mem::take(&mut self.open(at).held).into_iter().collect();
                self.carry_out(taken, Fate::Requeue, true);
                Reply::Plain("basic.recover-ok")
            }
            Op::ConfirmSelect => self.confirm_select(at)?,
            Op::TxSelect => self.tx_select(at)?,
            Op::TxRollback => self.tx_rollback(at)?,
            other => unreachable!("{other:?} is handled before"),
        };
        self.due.replies.push_back((at.1, reply));
        Ok(())
    }

    fn exchange(&self, name: &str) -> Result<(), u16> {
        self.topology.exchange(name).map(drop).ok_or(404)
    }

    fn queue_for(&mut self, at: At, name: &str) -> Result<&mut Queue, u16> {
        match self.queues.get_mut(name) {
            None => Err(404),
            Some(queue) if queue.owner.is_some_and(|owner| owner != at.0) => Err(405),
            Some(queue) => Ok(queue),
        }
    }

    fn queue_declare(&mut self, at: At, name: &str, spec: &QueueSpec, events: &[(u32, Event)]) -> Result<Reply, u16> {
        // Exclusive queues are never durable (V22).
        let spec = QueueSpec { durable: spec.durable && !spec.exclusive, ..spec.clone() };
        let owner = spec.exclusive.then_some(at.0);
        if let Some(queue) = self.queues.get(name) {
            return match queue {
                queue if queue.owner != owner => Err(405),
                queue if queue.spec != spec => Err(406),
                queue => Ok(declared(name, queue)),
            };
        }
        let name = if name.is_empty() { generated(at, events) } else { name.to_owned() };
        assert!(!self.queues.contains_key(&name), "{name} was generated before");
        let queue = Queue::new(self.unique(), spec, owner);
        let reply = declared(&name, &queue);
        self.queues.insert(name, queue);
        Ok(reply)
    }

    fn queue_unbind(&mut self, at: At, spec: &BindingSpec) -> Result<Reply, u16> {
        let to = End::Queue(spec.destination.clone());
        if self.topology.is_bound(&to, spec) {
            self.queue_for(at, &spec.destination)?;
            self.topology.unbind(&to, spec);
        }
        Ok(Reply::Plain("queue.unbind-ok"))
    }

    fn queue_delete(&mut self, at: At, name: &str, if_unused: bool, if_empty: bool) -> Result<Reply, u16> {
        if !self.queues.contains_key(name) {
            return Ok(Reply::Count("queue.delete-ok", 0));
        }
        let queue = self.queue_for(at, name)?;
        if (if_empty && !queue.ready.is_empty()) || (if_unused && !queue.consumers.is_empty()) {
            return Err(406);
        }
        let count = queue.ready.len();
        self.delete_queue(name);
        Ok(Reply::Count("queue.delete-ok", count))
    }

    /// A queue goes with its bindings and its consumers, which are told if they understand.
    pub(super) fn delete_queue(&mut self, name: &str) {
        let Some(queue) = self.queues.remove(name) else { return };
        queue.check_conservation(name);
        self.topology.remove_destination(&End::Queue(name.to_owned()));
        for (at, tag) in queue.consumers {
            self.open(at).consumers.remove(&tag);
            let connection = &self.connections[&at.0];
            if connection.cancel_notify && !connection.ended {
                self.due.cancels.insert((at, tag));
            }
        }
    }

    fn consume(&mut self, at: At, consume: &Consume) -> Result<Reply, u16> {
        if self.open(at).consumers.contains_key(&consume.tag) {
            return Err(530);
        }
        let unique = self.unique();
        let queue = self.queue_for(at, &consume.queue)?;
        if queue.exclusive_consumer || (consume.exclusive && !queue.consumers.is_empty()) {
            return Err(403);
        }
        queue.consumers.insert((at, consume.tag.clone()));
        queue.exclusive_consumer = consume.exclusive;
        let Consume { queue, tag, no_ack, priority, .. } = consume.clone();
        let channel = self.open(at);
        let prefetch = channel.prefetch;
        channel.consumers.insert(tag.clone(), Consumer { unique, queue, no_ack, prefetch, priority });
        Ok(Reply::ConsumeOk(tag))
    }

    /// Removes a consumer; returns its queue when that was the last one there.
    fn remove_consumer(&mut self, at: At, tag: &str) -> Option<String> {
        let consumer = self.open(at).consumers.remove(tag)?;
        let queue = self.queues.get_mut(&consumer.queue)?;
        queue.consumers.remove(&(at, tag.to_owned()));
        let last = queue.consumers.is_empty();
        queue.exclusive_consumer &= !last;
        last.then_some(consumer.queue)
    }

    pub(super) fn remove_consumers(&mut self, at: At) -> Vec<String> {
        let tags: Vec<String> = self.open(at).consumers.keys().cloned().collect();
        tags.iter().filter_map(|tag| self.remove_consumer(at, tag)).collect()
    }

    /// Auto-delete queues go with their last consumer.
    pub(super) fn auto_delete(&mut self, left: Vec<String>) {
        for name in left {
            if self.queues.get(&name).is_some_and(|q| q.spec.auto_delete && q.consumers.is_empty()) {
                self.delete_queue(&name);
            }
        }
    }

    fn get(&mut self, at: At, name: &str, no_ack: bool) -> Result<Reply, u16> {
        let queue = self.queue_for(at, name)?;
        let Some((position, Copy { id, redelivered })) = queue.ready.pop_first() else { return Ok(Reply::Plain("basic.get-empty")) };
        if !redelivered {
            queue.first_given = queue.first_given.max(Some(position));
        }
        let (left, unique) = (queue.ready.len(), queue.unique);
        if no_ack {
            queue.tally.given_no_ack += 1;
        } else {
            queue.unacked += 1;
        }
        let channel = self.open(at);
        channel.last_tag += 1;
        let tag = channel.last_tag;
        if !no_ack {
            channel.held.insert(tag, Held { queue: name.to_owned(), unique, position, id, consumer: None });
        }
        Ok(Reply::GetOk { id, tag, redelivered, left })
    }

    fn confirm_select(&mut self, at: At) -> Result<Reply, u16> {
        let channel = self.open(at);
        match channel.mode {
            Mode::Plain => channel.mode = Mode::Confirm { published: 0, unheard: std::collections::BTreeMap::new() },
            Mode::Confirm { .. } => {}
            Mode::Tx(_) => return Err(406),
        }
        Ok(Reply::Plain("confirm.select-ok"))
    }
}

fn fate(requeue: bool) -> Fate {
    if requeue { Fate::Requeue } else { Fate::Discard }
}

fn declared(name: &str, queue: &Queue) -> Reply {
    Reply::DeclareOk(name.to_owned(), queue.ready.len(), queue.consumers.len())
}

/// The name that the broker has given to a queue, which only its reply tells.
fn generated(at: At, events: &[(u32, Event)]) -> String {
    let name = events.iter().find_map(|(connection, event)| match &event.class {
        AMQPClass::Queue(queue_methods::AMQPMethod::DeclareOk(ok)) if (*connection, event.channel) == at => Some(ok.queue.to_string()),
        _ => None,
    });
    let name = name.expect("queue.declare-ok");
    assert!(name.starts_with("amq.gen-") && name.len() == 30, "{name}");
    name
}
