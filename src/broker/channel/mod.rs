//! Channels: the dispatch of every method to the function that bears its name, and how errors end channels.

mod again;
mod confirms;
mod consume;
mod get;
mod publish;
pub(in crate::broker) mod reply_to;
mod settle;
mod stream;
mod timeout;
mod tx;
pub(in crate::broker) mod unacked;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::counters::ChannelCounters;
use super::journal::reason;
use super::queue::{ConsumerId, QueueId};
use super::timers::Deadline;
use super::view::ChannelView;
use super::{At, Broker, ConnectionId, Effects, Error, INTERNAL_USER, Refusal, Timestamp};
use crate::amqp::{AMQPClass, Command, Fault, Method, access, basic, channel, confirm, exchange, method, queue, tx as tx_class};
use confirms::Confirms;
use publish::Route;
use reply_to::ReplyConsumer;
use settle::Outcome;
use tx::Transaction;
use unacked::{Delivery, Unacked};

#[derive(Debug, Default)]
pub(super) struct Channel {
    /// The broker has sent channel.close: all is ignored until close-ok (behaviour H5).
    closing: bool,
    pub(super) unacked: Unacked,
    /// When the consumer timeout of the oldest delivery is over.
    pub(super) settlement: Deadline,
    /// Consumers by tag; tags are unique per channel.
    consumers: BTreeMap<Box<str>, ConsumerId>,
    reply_consumer: Option<ReplyConsumer>,
    /// What basic.qos set for consumers to come.
    prefetch: u16,
    /// What basic.qos set for the channel as a whole; 0 is no limit.
    pub(super) global_prefetch: u16,
    mode: Mode,
    /// What an empty queue name means (behaviour Q3).
    last_queue: Option<Arc<str>>,
    /// A name that the broker has made up for a queue, until it is there.
    pub(super) made_up: Option<String>,
    route: Route,
    /// When the client last did something here, or was given something.
    pub(super) active: Timestamp,
    /// What confirms count is counted there.
    pub(super) counters: ChannelCounters,
}

#[derive(Debug, Default)]
enum Mode {
    #[default]
    Plain,
    Confirm(Confirms),
    Tx(Box<Transaction>),
}

impl Channel {
    /// Whether the channel-wide prefetch leaves room for one more.
    pub(super) fn has_credit(&self) -> bool {
        if self.global_prefetch == 0 {
            return true;
        }
        let uncommitted = match &self.mode {
            Mode::Tx(transaction) => transaction.consumed(),
            Mode::Plain | Mode::Confirm(_) => 0,
        };
        self.unacked.consumed() + uncommitted < usize::from(self.global_prefetch)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// All that it has counted.
    pub(super) fn counters(&self) -> ChannelCounters {
        let mut counters = self.counters;
        if let Mode::Confirm(confirms) = &self.mode {
            counters.publish_confirm += confirms.published();
            counters.confirm += confirms.confirmed();
        }
        counters
    }

    /// Messages that it holds, those included that a transaction is to settle.
    pub(super) fn held(&self) -> impl Iterator<Item = &Delivery> {
        let transaction = match &self.mode {
            Mode::Tx(transaction) => Some(transaction),
            Mode::Plain | Mode::Confirm(_) => None,
        };
        self.unacked.iter().chain(transaction.into_iter().flat_map(|transaction| transaction.held()))
    }

    pub(super) fn view(&self, connection: ConnectionId, number: u16) -> ChannelView {
        let (unconfirmed, uncommitted, acks_uncommitted) = match &self.mode {
            Mode::Plain => (0, 0, 0),
            Mode::Confirm(confirms) => (confirms.unconfirmed(), 0, 0),
            Mode::Tx(transaction) => (0, transaction.uncommitted(), transaction.acks_uncommitted()),
        };
        ChannelView {
            connection,
            number,
            confirm: matches!(self.mode, Mode::Confirm(_)),
            transactional: matches!(self.mode, Mode::Tx(_)),
            prefetch_count: self.prefetch,
            global_prefetch_count: self.global_prefetch,
            consumer_count: self.consumers.len(),
            unacked: self.unacked.len(),
            unconfirmed,
            uncommitted,
            acks_uncommitted,
            idle_since: self.active,
            counters: self.counters(),
        }
    }
}

impl Broker {
    // Inlined where it is hot: a call less for each message.
    #[inline(always)]
    fn channel(&mut self, at: At) -> Option<&mut Channel> {
        self.connection(at.connection)?.channels.get_mut(&at.channel).map(|channel| &mut **channel)
    }

    /// A command for a channel that must exist; the dispatch has seen to it.
    fn open_channel(&mut self, at: At) -> &mut Channel {
        self.channel(at).expect("methods are dispatched to open channels only")
    }

    #[inline(always)]
    pub(super) fn channel_command(&mut self, connection: ConnectionId, command: Command, effects: &mut Effects) {
        let (channel, class_method) = match &command {
            Command::Publish(channel, _) => (*channel, method::BASIC_PUBLISH),
            Command::Ack { channel, .. } => (*channel, method::BASIC_ACK),
            Command::Nack { channel, .. } => (*channel, method::BASIC_NACK),
            Command::Reject { channel, .. } => (*channel, method::BASIC_REJECT),
            Command::Qos { channel, .. } => (*channel, method::BASIC_QOS),
            Command::Method(channel, method) => (*channel, method.class_method),
            Command::Fault(_) | Command::DeliverAgain { .. } => return,
        };
        let at = At { connection, channel };
        let now = self.now;
        let result = match self.channel(at) {
            _ if channel == 0 => Err(Error::unexpected_method("running")),
            None => self.command_without_channel(at, &command, effects),
            Some(channel) if channel.closing => self.command_while_closing(at, &command, effects),
            Some(channel) => {
                channel.active = now;
                self.dispatch(at, command, effects)
            }
        };
        if let Err(error) = result {
            self.refuse(at, class_method, &error, effects);
        }
    }

    #[inline(always)]
    fn dispatch(&mut self, at: At, command: Command, effects: &mut Effects) -> Result<(), Error> {
        match command {
            Command::Publish(_, publish) => self.basic_publish(at, publish, effects),
            Command::Ack { delivery_tag, multiple, .. } => self.basic_ack(at, delivery_tag, multiple, effects),
            Command::Nack { delivery_tag, multiple, requeue, .. } => self.basic_nack(at, delivery_tag, multiple, requeue, effects),
            Command::Reject { delivery_tag, requeue, .. } => self.basic_reject(at, delivery_tag, requeue, effects),
            Command::Qos { prefetch_size, prefetch_count, global, .. } => {
                self.basic_qos(at, prefetch_size, prefetch_count, global, effects)
            }
            Command::Method(_, method) => self.dispatch_and_hold(at, *method, effects),
            Command::Fault(_) | Command::DeliverAgain { .. } => Ok(()),
        }
    }

    /// Nobody is told that something is there, gone, purged or committed before it would survive.
    fn dispatch_and_hold(&mut self, at: At, method: Method, effects: &mut Effects) -> Result<(), Error> {
        let (definitions, written) = (self.log.definitions, self.log.len());
        let ends = matches!(method.class_method, method::TX_COMMIT | method::QUEUE_PURGE);
        let result = self.dispatch_method(at, method, effects);
        if self.log.definitions != definitions || (ends && self.log.len() != written) {
            effects.hold(at.connection);
        }
        result
    }

    /// The methods off the hot path.
    fn dispatch_method(&mut self, at: At, method: Method, effects: &mut Effects) -> Result<(), Error> {
        use basic::AMQPMethod as Basic;
        use channel::AMQPMethod as Channel;
        use exchange::AMQPMethod as Exchange;
        use queue::AMQPMethod as Queue;
        use tx_class::AMQPMethod as Tx;
        match method.class {
            AMQPClass::Channel(Channel::Open(_)) => Err(Error::second_channel_open()),
            AMQPClass::Channel(Channel::Close(_)) => self.channel_close(at, effects),
            AMQPClass::Channel(Channel::Flow(flow)) => self.channel_flow(at, flow.active, effects),
            AMQPClass::Access(access::AMQPMethod::Request(_)) => {
                effects.output(at.connection).raw_method(at.channel, (30, 11), &[0, 1]);
                Ok(())
            }
            AMQPClass::Exchange(Exchange::Declare(declare)) => self.exchange_declare(at, declare, effects),
            AMQPClass::Exchange(Exchange::Delete(delete)) => self.exchange_delete(at, &delete, effects),
            AMQPClass::Exchange(Exchange::Bind(bind)) => self.exchange_bind(at, bind, effects),
            AMQPClass::Exchange(Exchange::Unbind(unbind)) => self.exchange_unbind(at, &unbind, effects),
            AMQPClass::Queue(Queue::Declare(declare)) => self.queue_declare(at, declare, effects),
            AMQPClass::Queue(Queue::Bind(bind)) => self.queue_bind(at, bind, effects),
            AMQPClass::Queue(Queue::Unbind(unbind)) => self.queue_unbind(at, &unbind, effects),
            AMQPClass::Queue(Queue::Purge(purge)) => self.queue_purge(at, &purge, effects),
            AMQPClass::Queue(Queue::Delete(delete)) => self.queue_delete(at, &delete, effects),
            AMQPClass::Basic(Basic::Consume(consume)) => self.basic_consume(at, &consume, effects),
            AMQPClass::Basic(Basic::Cancel(cancel)) => self.basic_cancel(at, &cancel, effects),
            AMQPClass::Basic(Basic::Get(get)) => self.basic_get(at, &get, effects),
            AMQPClass::Basic(Basic::Recover(recover)) => self.basic_recover(at, recover.requeue, true, effects),
            AMQPClass::Basic(Basic::RecoverAsync(recover)) => self.basic_recover(at, recover.requeue, false, effects),
            AMQPClass::Confirm(confirm::AMQPMethod::Select(select)) => self.confirm_select(at, select.nowait, effects),
            AMQPClass::Tx(Tx::Select(_)) => self.tx_select(at, effects),
            AMQPClass::Tx(Tx::Commit(_)) => self.tx_commit(at, effects),
            AMQPClass::Tx(Tx::Rollback(_)) => self.tx_rollback(at, effects),
            _ => Err(Error::unimplemented_method()),
        }
    }

    fn command_without_channel(&mut self, at: At, command: &Command, effects: &mut Effects) -> Result<(), Error> {
        let now = self.now;
        let Some(connection) = self.connection(at.connection) else { return Ok(()) };
        let (opened, channel_max) = (connection.channels.len(), connection.opened.channel_max);
        // A count, whatever the channel's number (behaviour H1, gotcha 8).
        if channel_max != 0 && opened >= usize::from(channel_max) {
            return Err(Error::channel_max_reached(opened, channel_max));
        }
        self.check_channel_limits(at.connection)?;
        match command {
            Command::Method(_, method) if matches!(method.class, AMQPClass::Channel(channel::AMQPMethod::Open(_))) => {
                if let Some(connection) = self.connection(at.connection) {
                    connection.channels.insert(at.channel, Box::new(Channel { active: now, ..Channel::default() }));
                }
                self.churn.channel_created += 1;
                self.channel_created(at);
                self.reply(at, effects, &AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {})));
                Ok(())
            }
            _ => Err(Error::expected_channel_open()),
        }
    }

    fn command_while_closing(&mut self, at: At, command: &Command, effects: &mut Effects) -> Result<(), Error> {
        let Command::Method(_, method) = command else { return Ok(()) };
        match method.class {
            AMQPClass::Channel(channel::AMQPMethod::Open(_)) => return Err(Error::second_channel_open()),
            AMQPClass::Channel(channel::AMQPMethod::CloseOk(_)) => self.forget_channel(at),
            // Both sides have closed at once: answered, but only close-ok frees the number (gotcha 7).
            AMQPClass::Channel(channel::AMQPMethod::Close(_)) => {
                self.reply(at, effects, &AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})));
            }
            _ => {}
        }
        Ok(())
    }

    fn forget_channel(&mut self, at: At) {
        if let Some(connection) = self.connection(at.connection) {
            connection.channels.remove(&at.channel);
        }
    }

    fn reply(&self, at: At, effects: &mut Effects, class: &AMQPClass) {
        effects.output(at.connection).method(at.channel, class);
    }

    /// Closes the channel or, for a hard error, the connection (behaviour E2).
    fn refuse(&mut self, at: At, class_method: (u16, u16), error: &Error, effects: &mut Effects) {
        if let Some(access) = &error.unanswered {
            self.unanswered = Some((**access).clone());
            return;
        }
        if at.channel == 0 || !error.code.is_soft() {
            self.close_connection(at.connection, class_method, error, effects);
        } else {
            self.end_refused(at, class_method, error, effects);
        }
    }

    /// Closes a channel, if there is one that is open, whatever the code.
    pub(super) fn close_channel(&mut self, connection: ConnectionId, fault: Fault, effects: &mut Effects) {
        let at = At { connection, channel: fault.channel };
        if self.channel(at).is_some_and(|channel| !channel.closing) {
            self.end_refused(at, fault.class_method, &fault.into(), effects);
        }
    }

    fn end_refused(&mut self, at: At, class_method: (u16, u16), error: &Error, effects: &mut Effects) {
        if self.journal.is_some() {
            self.journal_refused(at, error);
        }
        self.send_confirms(effects);
        self.end_channel(at, effects);
        let Some(channel) = self.channel(at) else { return };
        *channel = Channel { closing: true, ..Channel::default() };
        effects.refusals.push(Refusal { connection: at.connection, channel: at.channel, reply_text: error.reply_text() });
        let (class_id, method_id) = error.class_method.unwrap_or(class_method);
        let close = channel::Close { reply_code: error.code.code(), reply_text: error.reply_text().into(), class_id, method_id };
        self.reply(at, effects, &AMQPClass::Channel(channel::AMQPMethod::Close(close)));
    }

    fn channel_close(&mut self, at: At, effects: &mut Effects) -> Result<(), Error> {
        self.send_confirms(effects);
        self.end_channel(at, effects);
        self.forget_channel(at);
        self.reply(at, effects, &AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})));
        Ok(())
    }

    fn channel_flow(&mut self, at: At, active: bool, effects: &mut Effects) -> Result<(), Error> {
        if !active {
            return Err(Error::not_implemented("active=false"));
        }
        self.reply(at, effects, &AMQPClass::Channel(channel::AMQPMethod::FlowOk(channel::FlowOk { active })));
        Ok(())
    }

    /// Ends what a channel does: its consumers go, its unacked messages go back to their places (behaviour B20, H4).
    /// The channel itself stays in its table.
    pub(super) fn end_channel(&mut self, at: At, effects: &mut Effects) {
        let left = self.end_consumers(at);
        self.journal_why(reason::CHANNEL_CLOSED);
        self.end_deliveries(at, effects);
        self.consumers_have_left(left, effects);
        self.channel_closed(at);
    }

    /// The same for all channels of a connection. All consumers go before anything is requeued, or messages of one
    /// channel would go to another that is about to end.
    pub(super) fn end_channels(&mut self, connection: ConnectionId, effects: &mut Effects) {
        let channels: Vec<u16> = self.connection(connection).map_or_else(Vec::new, |c| c.channels.keys().copied().collect());
        let all = channels.iter().map(|channel| At { connection, channel: *channel });
        let left: Vec<QueueId> = all.clone().flat_map(|at| self.end_consumers(at)).collect();
        for at in all.clone() {
            self.journal_why(reason::CONNECTION_CLOSED);
            self.end_deliveries(at, effects);
        }
        self.consumers_have_left(left, effects);
        for at in all {
            if self.channel(at).is_some_and(|channel| !channel.closing) {
                self.channel_closed(at);
            }
        }
    }

    fn consumers_have_left(&mut self, mut queues: Vec<QueueId>, effects: &mut Effects) {
        queues.sort_unstable();
        queues.dedup();
        for queue in queues {
            self.consumer_has_left(queue, effects);
            if self.queues.get(queue).is_some_and(|queue| queue.consumers.is_single_active()) {
                self.pump(queue, effects);
            }
        }
    }

    /// Removes the consumers of a channel; returns their queues.
    fn end_consumers(&mut self, at: At) -> Vec<QueueId> {
        let Some(channel) = self.channel(at) else { return Vec::new() };
        channel.reply_consumer = None;
        let consumers = std::mem::take(&mut channel.consumers);
        if !channel.closing {
            let counters = channel.counters();
            self.gone.channels += counters;
            self.churn.channel_closed += 1;
            if let Some(breakdown) = &mut self.breakdown {
                breakdown.channel_ends(at);
            }
        }
        consumers.into_values().filter_map(|consumer| self.remove_consumer(consumer, INTERNAL_USER)).collect()
    }

    fn end_deliveries(&mut self, at: At, effects: &mut Effects) {
        let Some(channel) = self.channel(at) else { return };
        let mut unacked = channel.unacked.take_all();
        if let Mode::Tx(transaction) = std::mem::take(&mut channel.mode) {
            unacked.extend(self.abandon(*transaction));
        }
        if self.journal.is_some() {
            self.journal_leaves(at, unacked.iter().map(|delivery| delivery.queue));
        }
        self.requeue(at, unacked, Outcome::Return, effects);
    }

    pub(super) fn consumers_of(&mut self, connection: ConnectionId, channel: u16) -> Vec<ConsumerId> {
        self.channel(At { connection, channel }).map_or_else(Vec::new, |c| c.consumers.values().copied().collect())
    }

    pub(super) fn set_last_queue(&mut self, at: At, name: Arc<str>) {
        let channel = self.open_channel(at);
        channel.last_queue = Some(name);
        channel.made_up = None;
    }

    /// A name for a queue without one. A declaration that has to wait goes on with the name that was asked about.
    pub(super) fn make_up_name(&mut self, at: At) -> String {
        let name = self.open_channel(at).made_up.take().unwrap_or_else(|| self.random.name("amq.gen-"));
        self.open_channel(at).made_up = Some(name.clone());
        name
    }

    /// The queue that a client names; empty means the one declared last on this channel (behaviour Q3).
    pub(super) fn expand_queue_name(&mut self, at: At, name: &str) -> Result<Arc<str>, Error> {
        if name.is_empty() {
            self.open_channel(at).last_queue.clone().ok_or_else(Error::no_previously_declared_queue)
        } else {
            Ok(name.into())
        }
    }

    /// Looks up a queue for a use that its owner alone may make of it (behaviour Q5).
    pub(super) fn queue_for(&mut self, at: At, name: &str) -> Result<QueueId, Error> {
        let Some(&id) = self.queue_names.get(name) else { return Err(Error::no_queue(&self.vhost, name)) };
        match self.queues[id].owner {
            Some(owner) if owner != at.connection => Err(Error::queue_locked(&self.vhost, name)),
            _ => Ok(id),
        }
    }
}

/// RabbitMQ takes CR and LF out of names where they are declared, deleted or bound (behaviour Q8, gotcha 36).
pub(super) fn strip_cr_lf(name: &str) -> String {
    name.replace(['\r', '\n'], "")
}
