//! What clients have sent last, in words: for who wants to know what led to an error.

use std::fmt::Write;

use crate::amqp::{AMQPClass, AMQPValue, Command, FieldTable, Method, basic, channel, exchange, queue, tx};
use crate::broker::error::{plain, type_name};

/// A value of a table with its type, as RabbitMQ names it.
pub(super) fn value(value: &AMQPValue) -> String {
    format!("{} ({})", plain(value), type_name(value))
}

fn table(table: &FieldTable) -> String {
    let entries: Vec<String> = table.inner().iter().map(|(name, of)| format!("{name} = {}", value(of))).collect();
    if entries.is_empty() { String::new() } else { format!(" {{{}}}", entries.join(", ")) }
}

/// The names of the flags that are set.
fn flags(all: &[(&str, bool)]) -> String {
    all.iter().filter(|(_, is)| *is).fold(String::new(), |mut text, (name, _)| {
        let _ = write!(text, " {name}");
        text
    })
}

/// A command of a client.
pub(super) fn words(command: &Command) -> String {
    match command {
        Command::Publish(channel, publish) => {
            let message = &publish.message;
            let (exchange, key) = (String::from_utf8_lossy(message.exchange()), String::from_utf8_lossy(message.routing_key()));
            let size = publish.oversize.unwrap_or(message.body_len() as u64);
            let flags = flags(&[("mandatory", publish.mandatory), ("immediate", publish.immediate)]);
            format!("channel {channel}: basic.publish exchange \"{exchange}\" routing-key \"{key}\"{flags}, {size} bytes")
        }
        Command::Ack { channel, delivery_tag, multiple } => {
            format!("channel {channel}: basic.ack {delivery_tag}{}", flags(&[("multiple", *multiple)]))
        }
        Command::Nack { channel, delivery_tag, multiple, requeue } => {
            format!("channel {channel}: basic.nack {delivery_tag}{}", flags(&[("multiple", *multiple), ("requeue", *requeue)]))
        }
        Command::Reject { channel, delivery_tag, requeue } => {
            format!("channel {channel}: basic.reject {delivery_tag}{}", flags(&[("requeue", *requeue)]))
        }
        Command::Qos { channel, prefetch_size, prefetch_count, global } => {
            let size = if *prefetch_size == 0 { String::new() } else { format!(" prefetch-size {prefetch_size}") };
            format!("channel {channel}: basic.qos prefetch-count {prefetch_count}{size}{}", flags(&[("global", *global)]))
        }
        Command::Method(channel, method) => format!("channel {channel}: {}", method_words(method)),
        Command::Fault(fault) => format!("what is no frame: {fault:?}"),
        // Nobody has sent it: a rule wants it.
        Command::DeliverAgain { channel, delivery_tag } => format!("channel {channel}: delivery {delivery_tag} is to come again"),
    }
}

fn method_words(method: &Method) -> String {
    use basic::AMQPMethod as Basic;
    use channel::AMQPMethod as Channel;
    use exchange::AMQPMethod as Exchange;
    use queue::AMQPMethod as Queue;
    use tx::AMQPMethod as Tx;
    match &method.class {
        AMQPClass::Channel(Channel::Open(_)) => "channel.open".to_owned(),
        AMQPClass::Channel(Channel::Close(close)) => format!("channel.close {} \"{}\"", close.reply_code, close.reply_text),
        AMQPClass::Channel(Channel::CloseOk(_)) => "channel.close-ok".to_owned(),
        AMQPClass::Exchange(Exchange::Declare(d)) => {
            let all = [("passive", d.passive), ("durable", d.durable), ("auto-delete", d.auto_delete), ("internal", d.internal)];
            format!("exchange.declare \"{}\" type \"{}\"{}{}", d.exchange, d.kind, flags(&all), table(&d.arguments))
        }
        AMQPClass::Exchange(Exchange::Delete(d)) => {
            format!("exchange.delete \"{}\"{}", d.exchange, flags(&[("if-unused", d.if_unused)]))
        }
        AMQPClass::Exchange(Exchange::Bind(b)) => {
            let (to, from, key) = (&b.destination, &b.source, &b.routing_key);
            format!("exchange.bind \"{to}\" to \"{from}\" routing-key \"{key}\"{}", table(&b.arguments))
        }
        AMQPClass::Exchange(Exchange::Unbind(b)) => {
            let (to, from, key) = (&b.destination, &b.source, &b.routing_key);
            format!("exchange.unbind \"{to}\" from \"{from}\" routing-key \"{key}\"{}", table(&b.arguments))
        }
        AMQPClass::Queue(Queue::Declare(d)) => {
            let all = [("passive", d.passive), ("durable", d.durable), ("exclusive", d.exclusive), ("auto-delete", d.auto_delete)];
            format!("queue.declare \"{}\"{}{}", d.queue, flags(&all), table(&d.arguments))
        }
        AMQPClass::Queue(Queue::Bind(b)) => {
            format!("queue.bind \"{}\" to \"{}\" routing-key \"{}\"{}", b.queue, b.exchange, b.routing_key, table(&b.arguments))
        }
        AMQPClass::Queue(Queue::Unbind(b)) => {
            format!("queue.unbind \"{}\" from \"{}\" routing-key \"{}\"{}", b.queue, b.exchange, b.routing_key, table(&b.arguments))
        }
        AMQPClass::Queue(Queue::Purge(p)) => format!("queue.purge \"{}\"", p.queue),
        AMQPClass::Queue(Queue::Delete(d)) => {
            format!("queue.delete \"{}\"{}", d.queue, flags(&[("if-unused", d.if_unused), ("if-empty", d.if_empty)]))
        }
        AMQPClass::Basic(Basic::Consume(c)) => {
            let all = [("no-local", c.no_local), ("no-ack", c.no_ack), ("exclusive", c.exclusive)];
            format!("basic.consume \"{}\" consumer-tag \"{}\"{}{}", c.queue, c.consumer_tag, flags(&all), table(&c.arguments))
        }
        AMQPClass::Basic(Basic::Cancel(c)) => format!("basic.cancel consumer-tag \"{}\"", c.consumer_tag),
        AMQPClass::Basic(Basic::Get(g)) => format!("basic.get \"{}\"{}", g.queue, flags(&[("no-ack", g.no_ack)])),
        AMQPClass::Basic(Basic::Recover(r)) => format!("basic.recover{}", flags(&[("requeue", r.requeue)])),
        AMQPClass::Confirm(_) => "confirm.select".to_owned(),
        AMQPClass::Tx(Tx::Select(_)) => "tx.select".to_owned(),
        AMQPClass::Tx(Tx::Commit(_)) => "tx.commit".to_owned(),
        AMQPClass::Tx(Tx::Rollback(_)) => "tx.rollback".to_owned(),
        other => format!("{other:?}"),
    }
}
