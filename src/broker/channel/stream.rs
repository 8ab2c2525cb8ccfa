//! What basic.consume and settlements do with streams (behaviour Q22, Q23, V21).

use super::unacked::Delivery;
use crate::amqp::{AMQPValue, FieldTable, basic};
use crate::broker::error::{self, integer};
use crate::broker::queue::effective::parse_max_age;
use crate::broker::queue::stream::{Filter, Reader, Start};
use crate::broker::queue::{QueueId, QueueType};
use crate::broker::{At, Broker, Error, Timestamp};

impl Broker {
    /// The place at which a consumer starts to read; `None` where the queue is no stream.
    pub(super) fn reader(&mut self, at: At, id: QueueId, consume: &basic::Consume) -> Result<Option<Box<Reader>>, Error> {
        let prefetch = self.open_channel(at).prefetch;
        let queue = &self.queues[id];
        let Some(stream) = &queue.stream else { return Ok(None) };
        if prefetch == 0 {
            let resource = error::queue(&self.vhost, &queue.name);
            return Err(Error::precondition(format!("consumer prefetch count is not set for stream {resource}")));
        }
        if consume.no_ack {
            return Err(Error::not_by_streams("automatic acknowledgement", "stream", &self.vhost, &queue.name));
        }
        let start = match consume.arguments.inner().get("x-stream-offset") {
            None => Start::Next,
            Some(value) => start(value, self.now).ok_or_else(|| {
                let resource = error::queue(&self.vhost, &queue.name);
                Error::invalid_argument("x-stream-offset", &resource, &error::stream_offset(value))
            })?,
        };
        let next = stream.seek(start);
        // A time that is still to come is that of the next message, whenever it comes.
        let not_before = match start {
            Start::Time(time) if next < stream.next() => time,
            _ => Timestamp::default(),
        };
        Ok(Some(Box::new(Reader { next, not_before, filter: filter(&consume.arguments), ..Reader::default() })))
    }

    /// Before RabbitMQ 4.x, only an ack settles what a stream has delivered (V21).
    pub(super) fn refuse_of_streams(&mut self, at: At, deliveries: Vec<Delivery>) -> Result<Vec<Delivery>, Error> {
        let of_stream = deliveries.iter().find(|delivery| {
            let queue = self.queues.get(delivery.queue);
            queue.is_some_and(|queue| queue.kind == QueueType::Stream)
        });
        let Some(queue) = of_stream.map(|delivery| delivery.queue) else { return Ok(deliveries) };
        self.open_channel(at).unacked.restore(deliveries);
        Err(Error::not_by_streams("basic.nack and basic.reject", "stream queues", &self.vhost, &self.queues[queue].name))
    }
}

/// Behaviour Q23: first, last, next, an offset, a time, or how long ago.
fn start(value: &AMQPValue, now: Timestamp) -> Option<Start> {
    if let Some(offset) = integer(value) {
        // One below zero is before the first.
        return Some(Start::Offset(u64::try_from(offset).unwrap_or(0)));
    }
    match value {
        AMQPValue::ByteArray(text) => self::start(&AMQPValue::LongString(text.as_slice().into()), now),
        AMQPValue::Timestamp(seconds) => Some(Start::Time(Timestamp(seconds.saturating_mul(1000)))),
        AMQPValue::LongString(text) => match text.as_bytes() {
            b"first" => Some(Start::First),
            b"last" => Some(Start::Last),
            b"next" => Some(Start::Next),
            interval => parse_max_age(interval).map(|ago| Start::Time(Timestamp(now.0.saturating_sub(ago)))),
        },
        _ => None,
    }
}

fn filter(arguments: &FieldTable) -> Option<Filter> {
    let text = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => Some(text.as_bytes().to_vec()),
        _ => None,
    };
    let values: Vec<Vec<u8>> = match arguments.inner().get("x-stream-filter")? {
        AMQPValue::FieldArray(values) => values.as_slice().iter().filter_map(text).collect(),
        value => text(value).into_iter().collect(),
    };
    if values.is_empty() {
        return None;
    }
    let match_unfiltered = matches!(arguments.inner().get("x-stream-match-unfiltered"), Some(AMQPValue::Boolean(true)));
    Some(Filter { values, match_unfiltered })
}
