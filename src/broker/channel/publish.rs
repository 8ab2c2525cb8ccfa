//! basic.publish: checks in RabbitMQ's order, the route, mandatory returns, what the publisher is told.

use std::sync::Arc;

use super::{Mode, reply_to};
use crate::amqp::encoder::Recipient;
use crate::amqp::properties::Properties;
use crate::amqp::table::{self, Value};
use crate::amqp::{Confirm, Fate, Goes, Marks, Message, Publish, ReplyCode};
use crate::broker::access::{Permission, Resource};
use crate::broker::delivery::Arrival;
use crate::broker::exchange::ExchangeId;
use crate::broker::journal::{Way, reason};
use crate::broker::queue::QueueId;
use crate::broker::routing::{Routed, Source};
use crate::broker::{At, Broker, Effects, Error, Opened};

/// Where the channel's last publish went; the next one with the same address may go there too, as long as no
/// exchange, queue, binding or permission has changed.
#[derive(Debug, Default)]
pub(super) struct Route {
    topology: Option<u64>,
    address: Vec<u8>,
    targets: Targets,
}

/// The outcome of routing.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets {
    /// The exchange that it was published to; `None` is the default one.
    source: Option<ExchangeId>,
    queues: Vec<QueueId>,
    delayed: Vec<ExchangeId>,
    /// The channel that waits for this reply (direct reply-to).
    reply: Option<At>,
    /// It counts as routed, though it goes nowhere: a duplicate, or a reply whose requester is gone, in RabbitMQ 4.2 and
    /// later (V20).
    absorbed: bool,
    /// A fault has it go nowhere, and nobody hears of it.
    lost: bool,
}

/// The same with queues by name.
#[derive(Debug)]
pub(super) struct NamedTargets {
    source: Option<ExchangeId>,
    queues: Vec<Arc<str>>,
    delayed: Vec<ExchangeId>,
    reply: Option<At>,
    absorbed: bool,
    lost: bool,
}

impl Targets {
    fn is_unroutable(&self) -> bool {
        self.queues.is_empty() && self.delayed.is_empty() && self.reply.is_none() && !self.absorbed && !self.lost
    }
}

/// A message on its way through the checks.
struct Inspected {
    message: Message,
    /// CC and BCC keys.
    more_keys: Vec<Vec<u8>>,
}

impl Broker {
    pub(super) fn basic_publish(&mut self, at: At, publish: Publish, effects: &mut Effects) -> Result<(), Error> {
        self.note_published(at.connection, effects);
        let Publish { mandatory, immediate, oversize, fate, mut message } = publish;
        if immediate {
            return Err(Error::not_implemented("immediate=true"));
        }
        if let Some(size) = oversize {
            return Err(Error::message_too_large(size, self.settings.max_message_size));
        }
        let topology = Some(self.topology);
        let look = message.properties().need_a_look() || self.settings.profile.delivery_mode_checked;
        let mut channel = self.open_channel(at);
        if look || channel.route.topology != topology || channel.route.address != message.address() {
            message = self.inspect_and_route(at, message)?;
            channel = self.open_channel(at);
        }
        if fate != Fate::default() {
            self.publish_otherwise(at, mandatory, fate, message, effects);
            return Ok(());
        }
        let mut is_first = false;
        match &mut channel.mode {
            Mode::Plain => channel.counters.publish += 1,
            Mode::Confirm(confirms) => {
                channel.counters.publish += 1;
                is_first = confirms.publish();
            }
            Mode::Tx(_) => {
                let targets = channel.route.targets.clone();
                self.memory += message.memory() as u64;
                self.tell_of_publish(at, &message, &targets, true);
                let targets = self.name_targets(&message, &targets);
                self.hold_back(at, mandatory, message, targets);
                return Ok(());
            }
        }
        let targets = std::mem::take(&mut channel.route.targets);
        if is_first {
            self.confirming.push(at);
        }
        self.memory += message.memory() as u64;
        self.tell_of_publish(at, &message, &targets, false);
        let written = self.log.enqueued;
        let taken = self.deliver_to_queues(at, mandatory, message, &targets, effects);
        let waits = self.log.enqueued != written;
        if self.breakdown.is_some() {
            self.break_down_publish(at, mandatory, &targets, taken);
        }
        let channel = self.open_channel(at);
        channel.route.targets = targets;
        if let Mode::Confirm(confirms) = &mut channel.mode {
            if waits {
                effects.hold(at.connection);
            }
            confirms.settle(taken, at.channel, effects.output(at.connection));
            let number = confirms.published();
            if self.journal.is_some() {
                self.journal_confirmed(at, number, taken);
            }
        }
        Ok(())
    }

    /// The firehose and the journal hear of it.
    #[inline(always)]
    fn tell_of_publish(&mut self, at: At, message: &Message, targets: &Targets, in_transaction: bool) {
        if self.reports.tracing.is_some() {
            self.trace_publish(at, message, &targets.queues);
        }
        if self.journal.is_some() {
            self.journal_published(at, message, in_transaction);
        }
    }

    /// The rest of a publish that does not go the usual way.
    fn publish_otherwise(&mut self, at: At, mandatory: bool, fate: Fate, message: Message, effects: &mut Effects) {
        self.memory += message.memory() as u64;
        let routed = &self.open_channel(at).route.targets;
        let nowhere = Targets { source: routed.source, ..Targets::default() };
        let targets = match fate.route {
            Goes::ToQueues => routed.clone(),
            Goes::Unroutable => nowhere,
            Goes::Lost => Targets { lost: true, ..nowhere },
        };
        let in_transaction = matches!(self.open_channel(at).mode, Mode::Tx(_));
        self.tell_of_publish(at, &message, &targets, in_transaction);
        if in_transaction {
            let named = match fate.route {
                Goes::ToQueues => self.name_targets(&message, &targets),
                Goes::Unroutable | Goes::Lost => NamedTargets {
                    source: targets.source,
                    queues: Vec::new(),
                    delayed: Vec::new(),
                    reply: None,
                    absorbed: false,
                    lost: targets.lost,
                },
            };
            return self.hold_back(at, mandatory, message, named);
        }
        let channel = self.open_channel(at);
        channel.counters.publish += 1;
        if let Mode::Confirm(confirms) = &mut channel.mode
            && confirms.publish()
        {
            self.confirming.push(at);
        }
        let written = self.log.enqueued;
        let taken = self.deliver_to_queues(at, mandatory, message, &targets, effects);
        let waits = self.log.enqueued != written;
        if self.breakdown.is_some() {
            self.break_down_publish(at, mandatory, &targets, taken && fate.confirm == Confirm::Ack);
        }
        if let Mode::Confirm(confirms) = &mut self.open_channel(at).mode {
            if waits {
                effects.hold(at.connection);
            }
            let out = effects.output(at.connection);
            let number = confirms.published();
            let said = match fate.confirm {
                Confirm::Ack => Some(taken),
                Confirm::Nack => Some(false),
                Confirm::Nothing => None,
            };
            match said {
                Some(taken) => confirms.settle(taken, at.channel, out),
                None => confirms.withhold(at.channel, out),
            }
            if let Some(taken) = said.filter(|_| self.journal.is_some()) {
                self.journal_confirmed(at, number, taken);
            }
        }
    }

    /// Gives a routed message to its queues, or back to the publisher; `false` when a queue refused it.
    pub(super) fn deliver_to_queues(
        &mut self,
        at: At,
        mandatory: bool,
        message: Message,
        targets: &Targets,
        effects: &mut Effects,
    ) -> bool {
        self.log.next_message();
        if self.journal.is_some() {
            self.journal_way(at, mandatory, &message, targets);
        }
        if self.spans.is_some() {
            self.span_published(at, &message, targets.queues.len(), !targets.is_unroutable());
        }
        self.sizes.add(message.body_len() as u64);
        let counters = match targets.source {
            Some(id) => self.exchanges.get_mut(id).map(|exchange| &mut exchange.counters),
            None => Some(&mut self.default_exchange),
        };
        if let Some(counters) = counters {
            counters.publish_in += 1;
            counters.publish_out += targets.queues.len() as u64;
        }
        if let Some(requester) = targets.reply {
            self.deliver_reply(requester, &message, effects);
        }
        for exchange in &targets.delayed {
            self.delay(*exchange, message.clone());
        }
        let Some((last, others)) = targets.queues.split_last() else {
            if targets.is_unroutable()
                && let Some(channel) = self.channel(at)
            {
                channel.counters.return_unroutable += u64::from(mandatory);
                channel.counters.drop_unroutable += u64::from(!mandatory);
            }
            if mandatory && targets.is_unroutable() {
                let frame_max = self.connection(at.connection).map_or(0, |c| c.opened.frame_max);
                let to = Recipient { channel: at.channel, consumer_tag: &[], frame_max };
                let no_route = ReplyCode::NoRoute;
                // Behaviour E5: this text has no explanation. It comes before the confirm (gotcha 11).
                effects.output(at.connection).basic_return(to, no_route.code(), no_route.name(), &message);
            }
            self.release(message);
            return true;
        };
        let mut taken = true;
        for queue in others {
            taken &= self.enqueue(*queue, message.clone(), Arrival::Published, effects);
        }
        self.enqueue(*last, message, Arrival::Published, effects) && taken
    }

    /// A message was published, and its publisher is told that it was `taken`, if it confirms.
    #[cold]
    #[inline(never)]
    pub(super) fn break_down_publish(&mut self, at: At, mandatory: bool, targets: &Targets, taken: bool) {
        let confirms = matches!(self.open_channel(at).mode, Mode::Confirm(_));
        let Some(breakdown) = &mut self.breakdown else { return };
        // Either may be gone when a transaction commits.
        if targets.source.is_some_and(|exchange| !self.exchanges.contains_key(exchange)) {
            return;
        }
        let counters = breakdown.publish(at, targets.source);
        counters.publish += 1;
        counters.confirm += u64::from(taken && confirms);
        let unroutable = targets.is_unroutable();
        counters.return_unroutable += u64::from(unroutable && mandatory);
        counters.drop_unroutable += u64::from(unroutable && !mandatory);
        for queue in targets.queues.iter().filter(|queue| self.queues.contains_key(**queue)) {
            breakdown.route(targets.source, *queue);
        }
    }

    #[cold]
    #[inline(never)]
    fn journal_way(&mut self, at: At, mandatory: bool, message: &Message, targets: &Targets) {
        let why = match () {
            () if targets.lost => reason::FAULT,
            () if reply_to::is_reply(message.routing_key()) => reason::REQUESTER_GONE,
            () => reason::DUPLICATE,
        };
        let goes_nowhere = targets.queues.is_empty() && targets.delayed.is_empty() && targets.reply.is_none();
        let absorbed = ((targets.absorbed || targets.lost) && goes_nowhere).then_some(why);
        self.journal_routed(at, &Way { queues: &targets.queues, unroutable: targets.is_unroutable(), mandatory, absorbed });
    }

    /// The targets by name: a transaction names queues at publish and finds them at commit, so that one deleted in
    /// between is no target any more, and one declared in between is.
    fn name_targets(&self, message: &Message, targets: &Targets) -> NamedTargets {
        let mut queues: Vec<Arc<str>> = targets.queues.iter().map(|id| Arc::clone(&self.queues[*id].name)).collect();
        if let (b"", Ok(key)) = (message.exchange(), std::str::from_utf8(message.routing_key()))
            && !queues.iter().any(|name| **name == *key)
        {
            queues.push(key.into());
        }
        NamedTargets {
            source: targets.source,
            queues,
            delayed: targets.delayed.clone(),
            reply: targets.reply,
            absorbed: targets.absorbed,
            lost: false,
        }
    }

    pub(super) fn find_targets(&self, named: &NamedTargets) -> Targets {
        let mut queues: Vec<QueueId> = named.queues.iter().filter_map(|name| self.queue_names.get(name).copied()).collect();
        queues.sort_unstable();
        queues.dedup();
        Targets {
            source: named.source,
            queues,
            delayed: named.delayed.clone(),
            reply: named.reply,
            absorbed: named.absorbed,
            lost: named.lost,
        }
    }

    /// Everything that a publish is checked for, and its route, which is left in the channel.
    fn inspect_and_route(&mut self, at: At, message: Message) -> Result<Message, Error> {
        let source = self.publishable_exchange(at, &message)?;
        let Inspected { message, more_keys } = self.inspect(at, source, message)?;
        let from = match source {
            Source::Default => None,
            Source::Named(id) => Some(id),
        };
        let mut targets = Targets { source: from, ..Targets::default() };
        let mut cacheable = more_keys.is_empty();
        match source {
            Source::Default if reply_to::is_reply(message.routing_key()) => {
                targets.reply = self.requester(message.routing_key());
                let well_formed = reply_to::is_address(message.routing_key());
                targets.absorbed = targets.reply.is_none() && well_formed && self.settings.profile.gone_requester_counts_as_routed;
                cacheable = false;
            }
            source => {
                let mut routed = Routed::default();
                self.route(source, &message, &more_keys, &mut routed);
                cacheable &= !routed.looked_at_message;
                targets.absorbed = routed.duplicate;
                (targets.queues, targets.delayed) = (routed.queues, routed.delayed);
            }
        }
        let topology = cacheable.then_some(self.topology);
        let route = &mut self.open_channel(at).route;
        route.topology = topology;
        route.address.clear();
        route.address.extend_from_slice(message.address());
        route.targets = targets;
        Ok(message)
    }

    fn publishable_exchange(&self, at: At, message: &Message) -> Result<Source, Error> {
        let name = String::from_utf8_lossy(message.exchange());
        self.check_permission(at, Permission::Write, Resource::Exchange(&name))?;
        if name.is_empty() {
            return Ok(Source::Default);
        }
        let Some(&id) = self.exchange_names.get(&*name) else { return Err(Error::no_exchange(&self.vhost, &name)) };
        if self.exchanges[id].internal {
            return Err(Error::internal_exchange(&self.vhost, &name));
        }
        Ok(Source::Named(id))
    }

    fn inspect(&mut self, at: At, source: Source, mut message: Message) -> Result<Inspected, Error> {
        let properties = message.properties();
        if properties.reply_to() == Some(reply_to::NAME) {
            let reply_to = self.reply_address(at)?;
            message = message.with_properties(&properties.with_reply_to(reply_to.as_bytes()));
        }
        let properties = message.properties();
        if let Some(expiration) = properties.expiration() {
            check_expiration(expiration)?;
        }
        if self.settings.profile.delivery_mode_checked
            && let Some(mode) = properties.delivery_mode().filter(|mode| !matches!(mode, 1 | 2))
        {
            return Err(Error::invalid_message(&format!("{{delivery_mode_unknown,{mode}}}")));
        }
        let mut more_keys = carbon_copies(properties, "CC")?;
        let blind = carbon_copies(properties, "BCC")?;
        if let Source::Named(exchange) = source {
            for key in std::iter::once(message.routing_key()).chain(more_keys.iter().chain(&blind).map(Vec::as_slice)) {
                self.check_topic(at, Permission::Write, exchange, key)?;
            }
        }
        let Opened { user, rights, .. } = self.opened(at.connection);
        if let Some(claimed) = properties.user_id()
            && claimed != user.as_bytes()
            && !rights.impersonator
        {
            return Err(Error::wrong_user_id(claimed, user));
        }
        if properties.header("BCC").is_some() {
            more_keys.extend(blind);
            // It stays with the message for the day it is dead-lettered.
            let marks = Marks { blind_copies: true, ..message.marks() };
            message = message.readdressed(message.exchange(), message.routing_key(), message.raw_properties(), marks);
        }
        Ok(Inspected { message, more_keys })
    }
}

/// The keys of a CC or BCC header (behaviour B5).
fn carbon_copies(properties: Properties<'_>, name: &str) -> Result<Vec<Vec<u8>>, Error> {
    let keys = match properties.header(name) {
        None => return Ok(Vec::new()),
        Some(Value::Array(values)) => values,
        Some(_) => {
            let letter = properties.headers().and_then(|headers| table::type_letter(headers, name.as_bytes()));
            let why = format!("{{unacceptable_type_in_header,\"{name}\",{}}}", type_name(letter.unwrap_or(b'V')));
            return Err(Error::invalid_message(&why));
        }
    };
    let texts = table::values(keys).filter_map(|value| match value {
        Value::String(key) => Some(key.to_vec()),
        _ => None,
    });
    Ok(texts.collect())
}

/// RabbitMQ's name of a field type on the wire.
fn type_name(letter: u8) -> &'static str {
    match letter {
        b't' => "bool",
        b'b' => "byte",
        b'B' => "unsignedbyte",
        b's' | b'U' => "short",
        b'u' => "unsignedshort",
        b'I' => "signedint",
        b'i' => "unsignedint",
        b'l' | b'L' => "long",
        b'f' => "float",
        b'd' => "double",
        b'D' => "decimal",
        b'S' => "longstr",
        b'x' => "binary",
        b'T' => "timestamp",
        b'F' => "table",
        b'A' => "array",
        _ => "void",
    }
}

/// An expiration is a string of digits (behaviour D1), whether the message can be routed or not (gotcha 57).
fn check_expiration(expiration: &[u8]) -> Result<(), Error> {
    let refuse = |why: &str| Err(Error::invalid_expiration(expiration, why));
    let (negative, unsigned) = match expiration {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    let digits = unsigned.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 {
        return refuse("no_integer");
    }
    if digits < unsigned.len() {
        return refuse(&format!("{{leftover_string,\"{}\"}}", String::from_utf8_lossy(&unsigned[digits..])));
    }
    let number = String::from_utf8_lossy(unsigned).trim_start_matches('0').to_owned();
    let number = if number.is_empty() { "0".to_owned() } else { number };
    if negative && number != "0" {
        return refuse(&format!("{{value_negative,-{number}}}"));
    }
    match number.parse::<u64>() {
        Ok(n) if n <= MAX_EXPIRY_MS => Ok(()),
        _ => refuse(&format!("{{value_too_large,{number}}}")),
    }
}

/// Ten years in milliseconds.
const MAX_EXPIRY_MS: u64 = 315_360_000_000;
