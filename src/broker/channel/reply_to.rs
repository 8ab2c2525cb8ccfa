//! Direct reply-to (behaviour B22): replies go straight to the channel that asked, through no queue.

use crate::amqp::encoder::{Delivered, Recipient};
use crate::amqp::{AMQPClass, Message, basic};
use crate::broker::journal::reason;
use crate::broker::{At, Broker, ConnectionId, Effects, Error};

/// The pseudo-queue that a requester consumes from and names in reply_to.
pub(in crate::broker) const NAME: &[u8] = b"amq.rabbitmq.reply-to";

/// How many times what stops deliveries may wait for a requester before its replies are dropped.
const OUTBOXES: usize = 16;

/// A channel's consumer of replies.
#[derive(Debug)]
pub(super) struct ReplyConsumer {
    pub(super) tag: Box<str>,
    /// What follows the pseudo-queue's name in the address that the responder sees.
    address: String,
}

/// Whether a name is the pseudo-queue itself.
pub(in crate::broker) fn is_pseudo_queue(name: &str) -> bool {
    name.as_bytes() == NAME
}

/// Whether a routing key is the address of a requester.
pub(in crate::broker) fn is_reply(routing_key: &[u8]) -> bool {
    routing_key.strip_prefix(NAME).is_some_and(|rest| rest.starts_with(b"."))
}

/// Connection and channel, as an address carries them.
fn locate(routing_key: &[u8]) -> Option<At> {
    let text = std::str::from_utf8(routing_key.strip_prefix(NAME)?).ok()?;
    let mut parts = text.strip_prefix('.')?.splitn(3, '.');
    let connection = parts.next()?.parse().ok()?;
    let channel = parts.next()?.parse().ok()?;
    Some(At { connection: ConnectionId(connection), channel })
}

/// Whether an address has the form of those that are given out.
pub(super) fn is_address(routing_key: &[u8]) -> bool {
    locate(routing_key).is_some()
}

impl Broker {
    /// basic.consume of the pseudo-queue.
    pub(super) fn consume_replies(&mut self, at: At, consume: &basic::Consume, effects: &mut Effects) -> Result<(), Error> {
        if !consume.no_ack {
            return Err(Error::precondition("reply consumer cannot acknowledge"));
        }
        if self.open_channel(at).reply_consumer.is_some() {
            return Err(Error::precondition("reply consumer already set"));
        }
        let tag: String = match consume.consumer_tag.as_str() {
            "" => self.random.name("amq.ctag-"),
            tag => tag.to_owned(),
        };
        // The random part keeps a later channel with the same number from getting this one's replies.
        let prefix = format!("amq.rabbitmq.reply-to.{}.{}.", at.connection.0, at.channel);
        let address = self.random.name(&prefix);
        self.open_channel(at).reply_consumer = Some(ReplyConsumer { tag: tag.as_str().into(), address });
        if !consume.nowait {
            let ok = basic::ConsumeOk { consumer_tag: tag.into() };
            self.reply(at, effects, &AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(ok)));
        }
        Ok(())
    }

    /// What takes the place of the pseudo-queue's name in a request's reply_to.
    pub(super) fn reply_address(&mut self, at: At) -> Result<String, Error> {
        let consumer = self.open_channel(at).reply_consumer.as_ref();
        consumer.map(|c| c.address.clone()).ok_or_else(|| Error::precondition("fast reply consumer does not exist"))
    }

    /// The channel that waits for a reply to this address.
    pub(in crate::broker) fn requester(&mut self, address: &[u8]) -> Option<At> {
        let at = locate(address)?;
        let consumer = self.channel(at)?.reply_consumer.as_ref()?;
        (consumer.address.as_bytes() == address).then_some(at)
    }

    pub(super) fn deliver_reply(&mut self, at: At, message: &Message, effects: &mut Effects) {
        let limit = OUTBOXES * self.settings.outbox_high;
        let waiting = effects.output_len(at.connection);
        let Some(connection) = self.connection(at.connection) else { return };
        // No queue stands in between: a requester that does not read loses replies, or it would take all memory.
        if connection.pending + waiting > limit {
            if let Some(journal) = &mut self.journal {
                journal.not_taken(self.now, None, reason::REQUESTER_SLOW);
            }
            return;
        }
        let frame_max = connection.opened.frame_max;
        let Some(channel) = connection.channels.get_mut(&at.channel) else { return };
        let delivery_tag = channel.unacked.next_tag();
        let Some(consumer) = &channel.reply_consumer else { return };
        let properties = message.visible_properties();
        let to = Recipient { channel: at.channel, consumer_tag: consumer.tag.as_bytes(), frame_max };
        effects.output(at.connection).basic_deliver(
            to,
            delivery_tag,
            Delivered { message, properties: Some(&properties), redelivered: false },
        );
        if self.journal.is_some() {
            self.journal_replied(at, delivery_tag);
        }
    }
}
