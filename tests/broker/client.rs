//! What clients of the core do in tests: connection 0, on its channel 1.

use leveret::amqp::{AMQPClass, AMQPValue, Command, FieldTable, basic, queue};
use leveret::broker::ConnectionId;

use crate::core::Core;

pub(crate) const CLIENT: ConnectionId = ConnectionId(0);
pub(crate) const OTHER: ConnectionId = ConnectionId(1);

pub(crate) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

pub(crate) fn arguments(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert((*key).into(), value.clone());
    }
    table
}

pub(crate) fn consume(core: &mut Core, id: ConnectionId, queue: &str, no_ack: bool) {
    let consume = basic::Consume { queue: queue.into(), consumer_tag: "tag".into(), no_ack, ..basic::Consume::default() };
    core.method(id, AMQPClass::Basic(basic::AMQPMethod::Consume(consume)));
}

pub(crate) fn get(core: &mut Core, queue: &str) {
    let get = basic::Get { queue: queue.into(), no_ack: false };
    core.method(CLIENT, AMQPClass::Basic(basic::AMQPMethod::Get(get)));
}

pub(crate) fn ack(core: &mut Core, delivery_tag: u64) {
    core.command(CLIENT, Command::Ack { channel: 1, delivery_tag, multiple: false });
}

pub(crate) fn nack(core: &mut Core, delivery_tag: u64, requeue: bool) {
    core.command(CLIENT, Command::Nack { channel: 1, delivery_tag, multiple: false, requeue });
}

pub(crate) fn delete(core: &mut Core, queue: &str) {
    let delete = queue::Delete { queue: queue.into(), ..queue::Delete::default() };
    core.method(CLIENT, AMQPClass::Queue(queue::AMQPMethod::Delete(delete)));
}
