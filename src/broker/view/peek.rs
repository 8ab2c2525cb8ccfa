//! A look at the messages of a queue that leaves them where they are.

use crate::amqp::Message;
use crate::broker::Broker;
use crate::broker::delivery::delivered_properties;
use crate::broker::queue::Entry;

/// A message as a consumer would get it.
#[derive(Clone, Debug)]
pub struct Peeked {
    /// Exchange, routing key, properties and body; with an allocation of its own, as the broker counts those that share one.
    pub message: Message,
    pub redelivered: bool,
    /// Its place in the queue: rises with every publish. In a stream: its offset.
    pub position: u64,
}

/// What a look has found.
#[derive(Clone, Debug, Default)]
pub struct Peek {
    pub messages: Vec<Peeked>,
    /// How many messages of the queue are on disk alone; nothing that is behind one of them is shown.
    pub on_disk: u64,
}

impl Broker {
    /// Up to `count` messages of a queue in the order in which consumers get them, after the first `from`; `None` if there is no
    /// such queue. Of priorities that take turns, the higher one is shown first.
    #[must_use]
    pub fn peek(&self, queue: &str, count: usize, from: usize) -> Option<Peek> {
        let queue = self.queue_names.get(queue).map(|id| &self.queues[*id])?;
        let on_disk = queue.amounts().paged_out.messages;
        let show = |entry: &Entry| {
            let properties = delivered_properties(queue.kind, entry, &self.settings.profile);
            let message = properties.map_or_else(|| entry.message.copied(), |properties| entry.message.with_properties(&properties));
            Peeked { message, redelivered: entry.redelivered, position: entry.position }
        };
        let messages = match &queue.stream {
            None => queue.ready.iter_to_disk().skip(from).take(count).map(show).collect(),
            Some(stream) => {
                let entries = stream.iter_from(stream.first() + from as u64).take(count);
                entries.map(|(offset, message)| show(&Entry::new(message.clone(), offset))).collect()
            }
        };
        Some(Peek { messages, on_disk })
    }
}
