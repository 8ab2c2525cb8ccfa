//! What management sees: counters, and views of everything that there is.

mod breakdown;
mod counting;
mod objects;
mod stored;

use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, exchange, queue, tx};
use leveret::broker::counters::{ChannelCounters, ExchangeCounters, QueueCounters};
use leveret::broker::view::{ChannelView, QueueView};

use crate::properties::bench::{Bench, publish_to};

impl Bench {
    fn queue(&self, name: &str) -> QueueView {
        self.broker.queue_view(name).expect("a queue")
    }

    fn counted(&self, queue: &str) -> QueueCounters {
        self.queue(queue).counters
    }

    fn exchange_counted(&self, exchange: &str) -> ExchangeCounters {
        self.broker.exchange_view(exchange).expect("an exchange").counters
    }

    /// The only channel.
    fn channel(&self) -> ChannelView {
        let all = self.broker.channel_views();
        assert_eq!(all.len(), 1);
        all[0]
    }

    fn channel_counted(&self) -> ChannelCounters {
        self.channel().counters
    }

    fn declare_exchange(&mut self, name: &str, kind: &str) {
        let declare = exchange::Declare { exchange: name.into(), kind: kind.into(), durable: true, ..exchange::Declare::default() };
        self.method(AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)));
    }

    fn bind(&mut self, queue: &str, exchange: &str, key: &str) {
        let bind = queue::Bind { queue: queue.into(), exchange: exchange.into(), routing_key: key.into(), ..queue::Bind::default() };
        self.method(AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
    }

    fn bind_exchange(&mut self, destination: &str, source: &str, key: &str) {
        let bind =
            exchange::Bind { destination: destination.into(), source: source.into(), routing_key: key.into(), ..exchange::Bind::default() };
        self.method(AMQPClass::Exchange(exchange::AMQPMethod::Bind(bind)));
    }

    fn publish_to(&mut self, exchange: &str, key: &str, body: &[u8]) {
        self.say(&publish_to(exchange, key, AMQPProperties::default(), body));
    }

    fn consume_without_ack(&mut self, queue: &str, tag: &str) {
        self.basic(basic::AMQPMethod::Consume(basic::Consume {
            queue: queue.into(),
            consumer_tag: tag.into(),
            no_ack: true,
            ..basic::Consume::default()
        }));
    }

    fn cancel(&mut self, tag: &str) {
        self.basic(basic::AMQPMethod::Cancel(basic::Cancel { consumer_tag: tag.into(), nowait: false }));
    }

    fn purge(&mut self, queue: &str) {
        self.method(AMQPClass::Queue(queue::AMQPMethod::Purge(queue::Purge { queue: queue.into(), nowait: false })));
    }

    fn confirm_select(&mut self) {
        self.method(AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false })));
    }

    fn tx_select(&mut self) {
        self.method(AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {})));
    }

    fn tx_commit(&mut self) {
        self.method(AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {})));
    }

    fn delete_exchange(&mut self, exchange: &str) {
        let delete = exchange::Delete { exchange: exchange.into(), ..exchange::Delete::default() };
        self.method(AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete)));
    }

    fn close_channel(&mut self) {
        self.method(AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close {
            reply_code: 200,
            reply_text: "".into(),
            class_id: 0,
            method_id: 0,
        })));
    }

    fn open_channel(&mut self) {
        self.method(AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
    }
}

fn plain() -> AMQPProperties {
    AMQPProperties::default()
}

fn persistent() -> AMQPProperties {
    AMQPProperties::default().with_delivery_mode(2)
}
