//! What clients hear, against what they must hear.

use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, connection, exchange, queue, tx};

use super::super::op::{self, id_of};
use super::super::wire::Event;
use super::queue::Copy;
use super::{At, Held, Model, Reply};

impl Model {
    pub(super) fn heard(&mut self, at: At, event: &Event) {
        use basic::AMQPMethod as Basic;
        match &event.class {
            AMQPClass::Basic(Basic::Deliver(deliver)) => self.heard_delivery(at, deliver, event),
            AMQPClass::Basic(Basic::Return(returned)) => self.heard_return(at, returned, event),
            AMQPClass::Basic(Basic::Ack(ack)) => self.heard_confirm(at, ack.delivery_tag, ack.multiple, false),
            AMQPClass::Basic(Basic::Nack(nack)) => self.heard_confirm(at, nack.delivery_tag, nack.multiple, true),
            AMQPClass::Basic(Basic::Cancel(cancel)) => {
                let expected = self.due.cancels.remove(&(at, cancel.consumer_tag.to_string()));
                assert!(expected && cancel.nowait, "{at:?} hears of the end of {cancel:?}");
            }
            AMQPClass::Connection(class @ (connection::AMQPMethod::Blocked(_) | connection::AMQPMethod::Unblocked(_))) => {
                self.heard_alarm(at, class);
            }
            _ => self.heard_reply(at, event),
        }
    }

    fn heard_reply(&mut self, at: At, event: &Event) {
        let (channel, expected) = self.due.replies.pop_front().unwrap_or_else(|| panic!("{at:?} hears {event:?} unasked"));
        assert_eq!(channel, at.1, "{expected:?} is expected there, and {event:?} comes");
        let heard = match (&event.class, &expected) {
            (AMQPClass::Basic(basic::AMQPMethod::GetOk(ok)), _) => {
                let id = id_of(&event.body);
                self.check_content(id, (ok.exchange.as_str(), ok.routing_key.as_str()), &event.body);
                Reply::GetOk { id, tag: ok.delivery_tag, redelivered: ok.redelivered, left: ok.message_count as usize }
            }
            (AMQPClass::Channel(channel::AMQPMethod::Close(close)), Reply::CommitOkOrClose) => {
                assert_eq!(close.reply_text.as_str(), "PRECONDITION_FAILED - partial tx completion");
                self.due.partial_commit = true;
                Reply::CommitOkOrClose
            }
            (AMQPClass::Tx(tx::AMQPMethod::CommitOk(_)), Reply::CommitOkOrClose) => {
                assert!(self.due.returns.is_empty(), "what is returned comes before commit-ok");
                Reply::CommitOkOrClose
            }
            (class, _) => reply(class),
        };
        assert_eq!(heard, expected, "{at:?} hears {event:?}");
    }

    fn heard_delivery(&mut self, at: At, deliver: &basic::Deliver, event: &Event) {
        let (id, tag) = (id_of(&event.body), deliver.delivery_tag);
        self.check_content(id, (deliver.exchange.as_str(), deliver.routing_key.as_str()), &event.body);
        let dying = self.is_dying(at);
        let channel = self.channel(at).unwrap_or_else(|| panic!("{at:?} is no channel and hears {deliver:?}"));
        let consumer = channel.consumers.get(deliver.consumer_tag.as_str());
        let consumer = consumer.unwrap_or_else(|| panic!("{at:?} has no such consumer: {deliver:?}")).clone();
        channel.last_tag += 1;
        assert_eq!(tag, channel.last_tag, "{at:?}: delivery tags count up: {deliver:?}");
        assert!(dying || channel.has_credit(&consumer), "{at:?}: the prefetch of {consumer:?} is exceeded with {deliver:?}");
        let name = consumer.queue.clone();
        let queue = self.queues.get_mut(&name).expect("a queue with a consumer");
        let position = queue.find(id).unwrap_or_else(|| panic!("{at:?} is given {id:x} from {name}, which is with somebody, or gone"));
        let copy = queue.flying.remove(&position).or_else(|| queue.ready.remove(&position)).expect("found before");
        if dying {
            // It was given away by a channel that ended, and comes back or is lost with the one that got it.
            if consumer.no_ack {
                queue.tally.given_no_ack += 1;
            } else {
                queue.ready.insert(position, Copy { redelivered: true, ..copy });
            }
            return;
        }
        assert_eq!(copy.redelivered, deliver.redelivered, "{at:?}: redelivered of {id:x} from {name}");
        if !copy.redelivered {
            assert!(queue.first_given_before.is_none_or(|before| position > before), "{name} gives {id:x} after what was published later");
            queue.first_given = queue.first_given.max(Some(position));
        }
        let unique = queue.unique;
        if consumer.no_ack {
            queue.tally.given_no_ack += 1;
        } else {
            queue.unacked += 1;
            let held = Held { queue: name.clone(), unique, position, id, consumer: Some(consumer.unique) };
            self.open(at).held.insert(tag, held);
        }
        let before = self.due.given.insert((name.clone(), at.0), position);
        assert!(self.due.phases || before.is_none_or(|before| before < position), "{name} gives {id:x} to {at:?} out of order");
        self.due.served.push((name, consumer.priority));
    }

    pub(super) fn check_content(&self, id: u64, (exchange, key): (&str, &str), body: &[u8]) {
        let published = self.published.get(&id).unwrap_or_else(|| panic!("{id:x} was never published"));
        assert_eq!((published.exchange.as_str(), published.key.as_str()), (exchange, key));
        assert!(op::body(id, published.size) == body, "the body of {id:x} has changed");
    }
}

/// A reply as the model expects it.
fn reply(class: &AMQPClass) -> Reply {
    let count = |n: u32| n as usize;
    match class {
        AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => {
            Reply::DeclareOk(ok.queue.to_string(), count(ok.message_count), count(ok.consumer_count))
        }
        AMQPClass::Queue(queue::AMQPMethod::PurgeOk(ok)) => Reply::Count("queue.purge-ok", count(ok.message_count)),
        AMQPClass::Queue(queue::AMQPMethod::DeleteOk(ok)) => Reply::Count("queue.delete-ok", count(ok.message_count)),
        AMQPClass::Queue(queue::AMQPMethod::BindOk(_)) => Reply::Plain("queue.bind-ok"),
        AMQPClass::Queue(queue::AMQPMethod::UnbindOk(_)) => Reply::Plain("queue.unbind-ok"),
        AMQPClass::Exchange(exchange::AMQPMethod::DeclareOk(_)) => Reply::Plain("exchange.declare-ok"),
        AMQPClass::Exchange(exchange::AMQPMethod::DeleteOk(_)) => Reply::Plain("exchange.delete-ok"),
        AMQPClass::Exchange(exchange::AMQPMethod::BindOk(_)) => Reply::Plain("exchange.bind-ok"),
        AMQPClass::Exchange(exchange::AMQPMethod::UnbindOk(_)) => Reply::Plain("exchange.unbind-ok"),
        AMQPClass::Basic(basic::AMQPMethod::QosOk(_)) => Reply::Plain("basic.qos-ok"),
        AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(ok)) => Reply::ConsumeOk(ok.consumer_tag.to_string()),
        AMQPClass::Basic(basic::AMQPMethod::CancelOk(ok)) => Reply::CancelOk(ok.consumer_tag.to_string()),
        AMQPClass::Basic(basic::AMQPMethod::GetEmpty(_)) => Reply::Plain("basic.get-empty"),
        AMQPClass::Basic(basic::AMQPMethod::RecoverOk(_)) => Reply::Plain("basic.recover-ok"),
        AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(_)) => Reply::Plain("confirm.select-ok"),
        AMQPClass::Tx(tx::AMQPMethod::SelectOk(_)) => Reply::Plain("tx.select-ok"),
        AMQPClass::Tx(tx::AMQPMethod::RollbackOk(_)) => Reply::Plain("tx.rollback-ok"),
        AMQPClass::Channel(channel::AMQPMethod::OpenOk(_)) => Reply::Plain("channel.open-ok"),
        AMQPClass::Channel(channel::AMQPMethod::CloseOk(_)) => Reply::Plain("channel.close-ok"),
        AMQPClass::Channel(channel::AMQPMethod::Close(close)) => Reply::ChannelClose(close.reply_code),
        AMQPClass::Connection(connection::AMQPMethod::OpenOk(_)) => Reply::Plain("connection.open-ok"),
        AMQPClass::Connection(connection::AMQPMethod::CloseOk(_)) => Reply::Plain("connection.close-ok"),
        AMQPClass::Connection(connection::AMQPMethod::Close(close)) => Reply::ConnectionClose(close.reply_code),
        other => panic!("nobody asks for {other:?}"),
    }
}
