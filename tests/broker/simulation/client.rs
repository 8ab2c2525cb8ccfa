//! A client as it sees itself: it knows only what it has read, and chooses what to do next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use amq_protocol::protocol::{AMQPClass, basic, channel, connection, queue, tx};

use super::op::Op;
use super::wire::Event;

#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) channels: BTreeMap<u16, Channel>,
    /// It has sent connection.close or its close-ok: nothing more comes from it.
    pub(super) said_goodbye: bool,
    /// What it must send before anything else.
    pub(super) answers: VecDeque<(u16, Op)>,
    /// Server-named queues that it has learned of.
    pub(super) queues: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Channel {
    /// channel.close was sent: nothing more goes out here before close-ok.
    pub(super) closing: bool,
    /// Delivery tags that it may settle.
    pub(super) held: BTreeSet<u64>,
    /// Consumer tags, and whether they are no_ack.
    pub(super) consumers: BTreeMap<String, bool>,
    pub(super) cancelled: BTreeSet<String>,
    /// basic.get that are not answered yet, and whether they are no_ack.
    pub(super) gets: VecDeque<bool>,
    pub(super) transactional: bool,
    /// Settled in the open transaction.
    pub(super) uncommitted: Vec<u64>,
    pub(super) publisher: u64,
    pub(super) published: u64,
}

impl Client {
    /// It has read this.
    pub(super) fn read(&mut self, event: &Event) {
        match &event.class {
            AMQPClass::Connection(connection::AMQPMethod::Close(_)) => {
                self.said_goodbye = true;
                self.channels.clear();
                self.answers.push_back((0, Op::ConnectionCloseOk));
            }
            AMQPClass::Channel(channel::AMQPMethod::Close(_)) => {
                self.answers.push_back((event.channel, Op::ChannelCloseOk));
                let closing = self.channels.get(&event.channel).is_some_and(|c| c.closing);
                if !closing {
                    self.channels.remove(&event.channel);
                }
            }
            AMQPClass::Channel(channel::AMQPMethod::CloseOk(_)) => drop(self.channels.remove(&event.channel)),
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) if ok.queue.as_str().starts_with("amq.gen-") => {
                self.queues.push(ok.queue.to_string());
            }
            class => {
                if let Some(channel) = self.channels.get_mut(&event.channel) {
                    channel.read(class);
                }
            }
        }
    }
}

impl Channel {
    fn read(&mut self, class: &AMQPClass) {
        use basic::AMQPMethod as Basic;
        match class {
            AMQPClass::Basic(Basic::Deliver(deliver)) if self.consumers.get(deliver.consumer_tag.as_str()) == Some(&false) => {
                self.held.insert(deliver.delivery_tag);
            }
            AMQPClass::Basic(Basic::GetOk(ok)) if self.gets.pop_front() == Some(false) => drop(self.held.insert(ok.delivery_tag)),
            AMQPClass::Basic(Basic::GetEmpty(_)) => drop(self.gets.pop_front()),
            // All of them go back to their queues, and come again with other tags.
            AMQPClass::Basic(Basic::RecoverOk(_)) => self.held.clear(),
            AMQPClass::Basic(Basic::Cancel(cancel)) => drop(self.cancelled.insert(cancel.consumer_tag.to_string())),
            AMQPClass::Tx(tx::AMQPMethod::CommitOk(_)) => self.uncommitted.clear(),
            AMQPClass::Tx(tx::AMQPMethod::RollbackOk(_)) => self.held.extend(self.uncommitted.drain(..)),
            _ => {}
        }
    }

    /// Takes the tags that a settlement covers out of those that may be settled.
    pub(super) fn settle(&mut self, tag: u64, multiple: bool) {
        let covered: Vec<u64> = match (tag, multiple) {
            (0, true) => self.held.iter().copied().collect(),
            (_, true) => self.held.range(..=tag).copied().collect(),
            _ => vec![tag],
        };
        for tag in covered {
            if self.held.remove(&tag) && self.transactional {
                self.uncommitted.push(tag);
            }
        }
    }
}
