//! A virtual host after a restart: what was written down is there again, through the code that runs live.
//!
//! Definitions come back first, then what the queues hold: as numbers. The messages themselves stay on disk until somebody
//! needs them; [`Broker::take_loads`] names those that are needed before anybody is served.

use std::sync::Arc;

use serde_json::Value as Json;

use super::counters::Amount;
use super::durable::{AUTO_DELETE, BINDING, EXCHANGE, INTERNAL, Numbered, OPERATOR_POLICY, POLICY, QUEUE};
use super::exchange::deduplication::Deduplication;
use super::exchange::{Destination, Exchange, Kind};
use super::paging::{Before, PORTION};
use super::policy::Policy;
use super::queue::level::Span;
use super::queue::{Flags, Queue, QueueId, QueueType};
use super::record::{NEVER, Recovered, RecoveredQueue, Returned};
use super::{Broker, Load, Purpose, Timestamp};
use crate::amqp::{FieldTable, table};

/// A definition that cannot be what a broker wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub key: Vec<u8>,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the definition {:?} cannot be read", String::from_utf8_lossy(&self.key))
    }
}

impl std::error::Error for Unreadable {}

impl Broker {
    /// Takes in what is left from before, into a virtual host that nobody has used yet.
    ///
    /// # Errors
    /// A definition that no broker of this version wrote.
    pub fn restore(&mut self, now: Timestamp, recovered: &Recovered) -> Result<(), Unreadable> {
        self.now = self.now.max(now);
        self.asked = self.now;
        self.last_number = self.last_number.max(recovered.highest_queue);
        let unreadable = |key: &[u8]| Unreadable { key: key.to_vec() };
        let of = |kinds: [u8; 2]| recovered.definitions.iter().filter(move |(key, _)| key.first().is_some_and(|kind| kinds.contains(kind)));
        for (key, value) in of([POLICY, OPERATOR_POLICY]) {
            self.restore_policy(key, value).ok_or_else(|| unreadable(key))?;
        }
        for exchange in self.exchanges.values_mut() {
            exchange.apply(self.policies.for_exchange(&exchange.name));
        }
        for (key, value) in of([EXCHANGE; 2]) {
            self.restore_exchange(key, value).ok_or_else(|| unreadable(key))?;
        }
        // In the order in which they were declared.
        let mut queues = Vec::new();
        for (key, value) in of([QUEUE; 2]) {
            queues.push(parse_queue(key, value).ok_or_else(|| unreadable(key))?);
        }
        queues.sort_unstable_by_key(|queue| queue.number);
        for queue in queues {
            self.restore_queue(queue, recovered);
        }
        for (key, value) in of([BINDING; 2]) {
            self.restore_binding(key, value).ok_or_else(|| unreadable(key))?;
        }
        self.restore_delayed(recovered);
        Ok(())
    }

    fn restore_policy(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let name = std::str::from_utf8(&key[1..]).ok()?;
        let json: Json = serde_json::from_slice(value).ok()?;
        let operator = key[0] == OPERATOR_POLICY;
        self.policies.set(operator, Policy::from_json(operator, name, &json).ok()?);
        Some(())
    }

    fn restore_exchange(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let name = std::str::from_utf8(&key[1..]).ok()?;
        let (flags, number, rest) = flags_and_number(value)?;
        let (kind, arguments) = short(rest)?;
        let mut exchange = Exchange::new(&self.vhost, name.into(), Kind::named(kind)?, true, arguments_of(arguments)?).ok()?;
        exchange.auto_delete = flags & AUTO_DELETE != 0;
        exchange.internal = flags & INTERNAL != 0;
        exchange.number = number;
        exchange.apply(self.policies.for_exchange(name));
        let id = self.add_exchange(exchange);
        if number != 0 {
            self.numbered.insert(number, Numbered::Exchange(id));
            self.last_number = self.last_number.max(number);
        }
        Some(())
    }

    fn restore_queue(&mut self, parsed: ParsedQueue<'_>, recovered: &Recovered) {
        let ParsedQueue { name, number, flags, arguments } = parsed;
        let kind = super::queue::arguments::queue_type_of(&arguments);
        let policy = self.policies.for_queue(name, kind);
        let effective = self.effective(kind, &arguments, policy.as_deref());
        let deduplication = Deduplication::for_queue(&arguments, "", kind).ok().flatten();
        let mut queue = Queue::new(name.into(), flags, None, arguments, effective, &self.settings.profile);
        queue.policy = policy;
        queue.active = self.now;
        queue.deduplication = deduplication.map(Box::new);
        queue.number = number;
        let id = self.add_queue(queue);
        self.numbered.insert(number, Numbered::Queue(id));
        self.last_number = self.last_number.max(number);
        if let Some(left) = recovered.queues.get(&number) {
            self.restore_messages(id, left);
        }
        self.note_used(id);
    }

    fn restore_messages(&mut self, id: QueueId, left: &RecoveredQueue) {
        let queue = &mut self.queues[id];
        let number = queue.number;
        if let Some(stream) = &mut queue.stream {
            let next = if left.runs.is_empty() && left.highest == 0 { 0 } else { left.highest + 1 };
            stream.restore(&left.runs, next);
            return self.retire(id);
        }
        if left.highest > 0 || !left.runs.is_empty() {
            queue.ready.skip_positions(left.highest);
        }
        queue.delivered = left.delivered;
        for run in &left.runs {
            queue.kept += Amount { messages: run.count, bytes: run.body_bytes };
        }
        let comes_first = if queue.kind == QueueType::Quorum { left.returned.as_slice() } else { &[] };
        if left.delivered > 0 || !comes_first.is_empty() {
            let returned = comes_first.iter().map(|returned| returned.position).collect();
            // What was written reaches further than what there was.
            let delivered = left.delivered.min(left.highest.saturating_add(1));
            queue.extra().before = Some(Before { delivered, returned });
        }
        let queue = &mut self.queues[id];
        let load = Load { queue: number, level: 0, first: 0, last: NEVER, max_bytes: PORTION, purpose: Purpose::All };
        let max_priority = queue.ready.max_priority();
        let mut unknown: Vec<u8> = left.runs.iter().map(|run| run.level).filter(|level| *level > max_priority).collect();
        unknown.dedup();
        for level in unknown {
            self.loads.push(Load { level, last: left.highest, purpose: Purpose::OtherLevel, ..load.clone() });
        }
        for run in left.runs.iter().filter(|run| run.level <= max_priority) {
            let is_here = |returned: &&Returned| returned.level == run.level && (run.first..=run.last).contains(&returned.position);
            let elsewhere = comes_first.iter().filter(is_here).count() as u64;
            let count = run.count.saturating_sub(elsewhere);
            let share = |of: u64| of.saturating_sub(of / run.count.max(1) * elsewhere);
            let span = Span { count, bytes: share(run.body_bytes), expiring: share(run.timed), first: run.first, last: run.last };
            queue.ready.restore(run.level, span);
        }
        // Those that came back are taken out of the spans when they come up there.
        let mut levels: Vec<u8> = comes_first.iter().map(|returned| returned.level).collect();
        levels.sort_unstable();
        levels.dedup();
        for level in levels {
            let order = comes_first.iter().filter(|returned| returned.level == level).map(|returned| returned.position).collect();
            self.loads.push(Load { level, purpose: Purpose::Returned(order), ..load.clone() });
        }
        if self.queues[id].deduplication.is_some() {
            self.want_all(id);
        } else if self.queues[id].ready.has_expiring() {
            self.want_head(id);
        }
    }

    fn restore_binding(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (source, rest) = short(&key[1..])?;
        let (&letter, rest) = rest.split_first()?;
        let (destination, _) = short(rest)?;
        let (key, arguments) = short(value)?;
        let source = *self.exchange_names.get(source)?;
        let (destination, name) = match letter {
            QUEUE => {
                let id = *self.queue_names.get(destination)?;
                self.queues[id].sources.add(source);
                (Destination::Queue(id), Arc::clone(&self.queues[id].name))
            }
            EXCHANGE => {
                let id = *self.exchange_names.get(destination)?;
                self.exchanges[id].sources.add(source);
                (Destination::Exchange(id), Arc::clone(&self.exchanges[id].name))
            }
            _ => return None,
        };
        let arguments = arguments_of(arguments)?;
        self.exchanges[source].check_binding(key, &arguments).ok()?;
        self.exchanges[source].bind(destination, &name, key, arguments);
        self.topology += 1;
        Some(())
    }

    /// What an exchange that delays kept comes back whole: it has to be in memory.
    fn restore_delayed(&mut self, recovered: &Recovered) {
        for (number, left) in &recovered.queues {
            let Some(&Numbered::Exchange(id)) = self.numbered.get(number) else { continue };
            self.skip_delayed(id, left.highest);
            if left.runs.iter().any(|run| run.count > 0) {
                let purpose = Purpose::All;
                self.loads.push(Load { queue: *number, level: 0, first: 0, last: left.highest, max_bytes: PORTION, purpose });
            }
        }
    }
}

struct ParsedQueue<'a> {
    name: &'a str,
    number: u64,
    flags: Flags,
    arguments: FieldTable,
}

fn parse_queue<'a>(key: &'a [u8], value: &[u8]) -> Option<ParsedQueue<'a>> {
    let name = std::str::from_utf8(&key[1..]).ok()?;
    let (flags, number, arguments) = flags_and_number(value)?;
    let flags = Flags { durable: true, exclusive: false, auto_delete: flags & AUTO_DELETE != 0 };
    Some(ParsedQueue { name, number, flags, arguments: arguments_of(arguments)? })
}

fn flags_and_number(value: &[u8]) -> Option<(u8, u64, &[u8])> {
    let (flags, rest) = value.split_first()?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    Some((*flags, u64::from_le_bytes(*number), rest))
}

fn short(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

fn arguments_of(mut encoded: &[u8]) -> Option<FieldTable> {
    let whole = encoded;
    let entries = table::long_string(&mut encoded).ok()?;
    table::check(entries).ok()?;
    Some(table::decode(whole))
}
