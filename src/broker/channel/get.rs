//! basic.get (behaviour B8): one message, whatever the prefetch.

use super::unacked::Delivery;
use crate::amqp::encoder::Recipient;
use crate::amqp::{AMQPClass, basic};
use crate::broker::{At, Broker, Effects, Error};

impl Broker {
    pub(super) fn basic_get(&mut self, at: At, get: &basic::Get, effects: &mut Effects) -> Result<(), Error> {
        let name = self.expand_queue_name(at, get.queue.as_str())?;
        let id = self.queue_for(at, &name)?;
        let queue = &mut self.queues[id];
        let Some(entry) = queue.ready.pop() else {
            self.reply(at, effects, &AMQPClass::Basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {})));
            return Ok(());
        };
        let message_count = u32::try_from(queue.ready.len()).unwrap_or(u32::MAX);
        let frame_max = self.connection(at.connection).map_or(0, |c| c.opened.frame_max);
        let tag = self.open_channel(at).unacked.next_tag();
        let to = Recipient { channel: at.channel, consumer_tag: &[], frame_max };
        effects.output(at.connection).basic_get_ok(to, tag, entry.redelivered, &entry.message, message_count);
        if get.no_ack {
            self.release_entry(entry);
        } else {
            let queue = &mut self.queues[id];
            queue.unacked += 1;
            queue.unacked_bytes += entry.message.body_len() as u64;
            self.open_channel(at).unacked.push(Delivery { tag, queue: id, consumer: None, entry });
        }
        Ok(())
    }
}
