//! What a client does, one method at a time, and its bytes.

use std::collections::BTreeMap;

use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, connection, exchange, queue, tx};
use amq_protocol::types::{AMQPValue, FieldTable};

use super::{wild, wire};

/// Header names with their values, and what binding arguments want of them.
pub(super) type Headers = BTreeMap<String, i32>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExchangeSpec {
    pub(super) kind: &'static str,
    pub(super) auto_delete: bool,
    pub(super) internal: bool,
    pub(super) alternate: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueueSpec {
    pub(super) durable: bool,
    pub(super) exclusive: bool,
    pub(super) auto_delete: bool,
    pub(super) max_length: Option<i32>,
    pub(super) reject_publish: bool,
    /// Any other arguments, which follow from this.
    pub(super) wild: Option<u64>,
}

/// One end of a binding, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BindingSpec {
    pub(super) source: String,
    pub(super) destination: String,
    pub(super) key: String,
    /// x-match, for headers exchanges.
    pub(super) mode: Option<&'static str>,
    pub(super) headers: Headers,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Publish {
    pub(super) exchange: String,
    pub(super) key: String,
    pub(super) mandatory: bool,
    pub(super) headers: Headers,
    /// Publisher and sequence number.
    pub(super) id: u64,
    pub(super) size: usize,
    /// Any other properties, which follow from this.
    pub(super) wild: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Consume {
    pub(super) queue: String,
    pub(super) tag: String,
    pub(super) no_ack: bool,
    pub(super) exclusive: bool,
    pub(super) priority: i32,
    pub(super) wild: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    ConnectionClose,
    ConnectionCloseOk,
    ChannelOpen,
    ChannelClose,
    ChannelCloseOk,
    ExchangeDeclare(String, ExchangeSpec),
    ExchangeDelete { name: String, if_unused: bool },
    ExchangeBind(BindingSpec),
    ExchangeUnbind(BindingSpec),
    QueueDeclare(String, QueueSpec),
    QueueDeclarePassive(String),
    QueueBind(BindingSpec),
    QueueUnbind(BindingSpec),
    QueuePurge(String),
    QueueDelete { name: String, if_unused: bool, if_empty: bool },
    Qos { count: u16, global: bool },
    Consume(Consume),
    Cancel(String),
    Get { queue: String, no_ack: bool },
    Publish(Publish),
    Ack { tag: u64, multiple: bool },
    Nack { tag: u64, multiple: bool, requeue: bool },
    Reject { tag: u64, requeue: bool },
    Recover,
    ConfirmSelect,
    TxSelect,
    TxCommit,
    TxRollback,
}

/// The body of a message: its id, then bytes that follow from it.
pub(super) fn body(id: u64, size: usize) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    let [.., last] = id.to_be_bytes();
    body.resize(size.max(8), last);
    body
}

pub(super) fn id_of(body: &[u8]) -> u64 {
    let id = body.first_chunk::<8>().expect("every body begins with an id");
    u64::from_be_bytes(*id)
}

fn table(headers: &Headers, mode: Option<&str>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert(name.as_str().into(), AMQPValue::LongInt(*value));
    }
    if let Some(mode) = mode {
        table.insert("x-match".into(), AMQPValue::LongString(mode.into()));
    }
    table
}

impl QueueSpec {
    fn arguments(&self) -> FieldTable {
        let mut table = FieldTable::default();
        if let Some(max_length) = self.max_length {
            table.insert("x-max-length".into(), AMQPValue::LongInt(max_length));
        }
        if self.reject_publish {
            table.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
        }
        if let Some(seed) = self.wild {
            wild::queue_arguments(seed, &mut table);
        }
        table
    }
}

impl Op {
    /// Its frames, on the channel it is for.
    pub(super) fn encode(&self, channel: u16, frame_max: usize, out: &mut Vec<u8>) {
        wire::put_method(channel, self.method(), out);
        if let Op::Publish(publish) = self {
            let mut properties = AMQPProperties::default();
            if !publish.headers.is_empty() {
                properties = properties.with_headers(table(&publish.headers, None));
            }
            if let Some(seed) = publish.wild {
                properties = wild::properties(seed);
            }
            wire::put_content(channel, properties, &body(publish.id, publish.size), frame_max, out);
        }
    }

    fn method(&self) -> AMQPClass {
        match self {
            Op::ConnectionClose => AMQPClass::Connection(connection::AMQPMethod::Close(connection::Close {
                reply_code: 200,
                reply_text: "bye".into(),
                class_id: 0,
                method_id: 0,
            })),
            Op::ConnectionCloseOk => AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {})),
            Op::ChannelOpen => AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})),
            Op::ChannelClose => AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close {
                reply_code: 200,
                reply_text: "".into(),
                class_id: 0,
                method_id: 0,
            })),
            Op::ChannelCloseOk => AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})),
            Op::ConfirmSelect => AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false })),
            Op::TxSelect => AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {})),
            Op::TxCommit => AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {})),
            Op::TxRollback => AMQPClass::Tx(tx::AMQPMethod::Rollback(tx::Rollback {})),
            Op::ExchangeDeclare(..) | Op::ExchangeDelete { .. } | Op::ExchangeBind(_) | Op::ExchangeUnbind(_) => {
                AMQPClass::Exchange(self.exchange_method())
            }
            Op::QueueDeclare(..)
            | Op::QueueDeclarePassive(_)
            | Op::QueueBind(_)
            | Op::QueueUnbind(_)
            | Op::QueuePurge(_)
            | Op::QueueDelete { .. } => AMQPClass::Queue(self.queue_method()),
            _ => AMQPClass::Basic(self.basic_method()),
        }
    }

    fn exchange_method(&self) -> exchange::AMQPMethod {
        use exchange::AMQPMethod as Method;
        match self.clone() {
            Op::ExchangeDeclare(name, spec) => {
                let mut arguments = FieldTable::default();
                if let Some(alternate) = spec.alternate {
                    arguments.insert("alternate-exchange".into(), AMQPValue::LongString(alternate.into()));
                }
                if spec.kind == "x-delayed-message" {
                    arguments.insert("x-delayed-type".into(), AMQPValue::LongString("topic".into()));
                }
                Method::Declare(exchange::Declare {
                    exchange: name.into(),
                    kind: spec.kind.into(),
                    passive: false,
                    durable: false,
                    auto_delete: spec.auto_delete,
                    internal: spec.internal,
                    nowait: false,
                    arguments,
                })
            }
            Op::ExchangeDelete { name, if_unused } => Method::Delete(exchange::Delete { exchange: name.into(), if_unused, nowait: false }),
            Op::ExchangeBind(binding) => Method::Bind(exchange::Bind {
                arguments: table(&binding.headers, binding.mode),
                destination: binding.destination.into(),
                source: binding.source.into(),
                routing_key: binding.key.into(),
                nowait: false,
            }),
            Op::ExchangeUnbind(binding) => Method::Unbind(exchange::Unbind {
                arguments: table(&binding.headers, binding.mode),
                destination: binding.destination.into(),
                source: binding.source.into(),
                routing_key: binding.key.into(),
                nowait: false,
            }),
            other => unreachable!("{other:?} is no method of exchanges"),
        }
    }

    fn queue_method(&self) -> queue::AMQPMethod {
        use queue::AMQPMethod as Method;
        match self.clone() {
            Op::QueueDeclare(name, spec) => Method::Declare(queue::Declare {
                queue: name.into(),
                passive: false,
                durable: spec.durable,
                exclusive: spec.exclusive,
                auto_delete: spec.auto_delete,
                nowait: false,
                arguments: spec.arguments(),
            }),
            Op::QueueDeclarePassive(name) => Method::Declare(queue::Declare {
                queue: name.into(),
                passive: true,
                durable: false,
                exclusive: false,
                auto_delete: false,
                nowait: false,
                arguments: FieldTable::default(),
            }),
            Op::QueueBind(binding) => Method::Bind(queue::Bind {
                arguments: table(&binding.headers, binding.mode),
                queue: binding.destination.into(),
                exchange: binding.source.into(),
                routing_key: binding.key.into(),
                nowait: false,
            }),
            Op::QueueUnbind(binding) => Method::Unbind(queue::Unbind {
                arguments: table(&binding.headers, binding.mode),
                queue: binding.destination.into(),
                exchange: binding.source.into(),
                routing_key: binding.key.into(),
            }),
            Op::QueuePurge(name) => Method::Purge(queue::Purge { queue: name.into(), nowait: false }),
            Op::QueueDelete { name, if_unused, if_empty } => {
                Method::Delete(queue::Delete { queue: name.into(), if_unused, if_empty, nowait: false })
            }
            other => unreachable!("{other:?} is no method of queues"),
        }
    }

    fn basic_method(&self) -> basic::AMQPMethod {
        use basic::AMQPMethod as Method;
        match self.clone() {
            Op::Qos { count, global } => Method::Qos(basic::Qos { prefetch_count: count, global }),
            Op::Consume(consume) => {
                let mut arguments = FieldTable::default();
                if consume.priority != 0 {
                    arguments.insert("x-priority".into(), AMQPValue::LongInt(consume.priority));
                }
                if let Some(seed) = consume.wild {
                    wild::consumer_arguments(seed, &mut arguments);
                }
                Method::Consume(basic::Consume {
                    queue: consume.queue.into(),
                    consumer_tag: consume.tag.into(),
                    no_local: false,
                    no_ack: consume.no_ack,
                    exclusive: consume.exclusive,
                    nowait: false,
                    arguments,
                })
            }
            Op::Cancel(tag) => Method::Cancel(basic::Cancel { consumer_tag: tag.into(), nowait: false }),
            Op::Get { queue, no_ack } => Method::Get(basic::Get { queue: queue.into(), no_ack }),
            Op::Publish(publish) => Method::Publish(basic::Publish {
                exchange: publish.exchange.into(),
                routing_key: publish.key.into(),
                mandatory: publish.mandatory,
                immediate: false,
            }),
            Op::Ack { tag, multiple } => Method::Ack(basic::Ack { delivery_tag: tag, multiple }),
            Op::Nack { tag, multiple, requeue } => Method::Nack(basic::Nack { delivery_tag: tag, multiple, requeue }),
            Op::Reject { tag, requeue } => Method::Reject(basic::Reject { delivery_tag: tag, requeue }),
            Op::Recover => Method::Recover(basic::Recover { requeue: true }),
            other => unreachable!("{other:?} is no method of basic"),
        }
    }
}
