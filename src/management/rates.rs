//! How fast counters change. The counters themselves are exact and come from the broker; a task takes samples of them now and then,
//! and a rate is the change between the last two.
//!
//! What it costs: a queue that has ever had a message takes about 200 bytes here, and as many again while it is in use: 10,000
//! queues 2 to 4 MB. Samples from before the last one are kept of the node as a whole (55 KB), and of no more than [`WATCHED`] queues
//! that somebody has asked about lately (22 KB each).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::ring::{BASIC, GLOBAL, Ring};
use super::stats::{
    self, CHANNEL, CONNECTION, Counted, DELIVERED, EXCHANGE, History, LENGTHS, NODE, PUBLISHED, QUEUE, ROUTED, Ranges, TOTALS,
};
use super::system;
use crate::broker::view::Sample;
use crate::config::RatesMode;
use crate::server::{Handle, Wire};

/// Queues of which older samples are kept, and how long after somebody has asked for them, in milliseconds.
const WATCHED: usize = 100;
const WATCHED_FOR_MS: u64 = 600_000;

type Map<K, V> = HashMap<K, V, RandomState>;

/// The last sample of something.
#[derive(Clone, Debug)]
struct Sampled<const N: usize> {
    last: [u64; N],
    /// `None` when it stands still.
    rates: Option<Box<[f64; N]>>,
    round: u64,
}

impl<const N: usize> Sampled<N> {
    const NOTHING: Self = Self { last: [0; N], rates: None, round: 0 };

    /// The next sample, so many milliseconds after the one before.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn next(&mut self, values: [u64; N], elapsed_ms: u64, round: u64) {
        self.round = round;
        let last = std::mem::replace(&mut self.last, values);
        self.rates = (last != values && elapsed_ms > 0).then(|| {
            let rate = |column: usize| (values[column] as f64 - last[column] as f64) * 1000.0 / elapsed_ms as f64;
            Box::new(std::array::from_fn(rate))
        });
    }
}

/// One round of samples of many things; what is not in it any more is forgotten.
fn next_of<K: Hash + Eq, const N: usize>(
    known: &mut Map<K, Sampled<N>>,
    now: impl Iterator<Item = (K, [u64; N])>,
    (elapsed_ms, round): (u64, u64),
) {
    for (key, values) in now {
        known.entry(key).or_insert(Sampled::NOTHING).next(values, elapsed_ms, round);
    }
    known.retain(|_, sampled| sampled.round == round);
    if known.capacity() > 4 * known.len() + 64 {
        known.shrink_to_fit();
    }
}

/// A virtual host's rates.
#[derive(Debug)]
pub(super) struct OfVhost {
    totals: Sampled<{ TOTALS.len() }>,
    queues: Map<Arc<str>, Sampled<{ QUEUE.len() }>>,
    exchanges: Map<Arc<str>, Sampled<{ EXCHANGE.len() }>>,
    channels: Map<(u64, u16), Sampled<{ CHANNEL.len() }>>,
    connections: Map<u64, Sampled<{ CONNECTION.len() }>>,
    /// By the numbers of pairs.
    published: Map<u64, Sampled<{ PUBLISHED.len() }>>,
    delivered: Map<u64, Sampled<{ DELIVERED.len() }>>,
    routed: Map<u64, Sampled<{ ROUTED.len() }>>,
    at_ms: u64,
}

impl OfVhost {
    fn new(at_ms: u64) -> Self {
        Self {
            totals: Sampled::NOTHING,
            queues: Map::default(),
            exchanges: Map::default(),
            channels: Map::default(),
            connections: Map::default(),
            published: Map::default(),
            delivered: Map::default(),
            routed: Map::default(),
            at_ms,
        }
    }

    fn add(&mut self, sample: Sample, wires: &[(u64, Wire)], at_ms: u64, round: u64) {
        let now = (at_ms.saturating_sub(self.at_ms), round);
        self.at_ms = at_ms;
        self.totals.next(stats::totals_values(&sample.totals), now.0, round);
        let queues = sample.queues.into_iter().map(|q| (q.name, stats::queue_values(q.counters, q.ready, q.unacked)));
        next_of(&mut self.queues, queues, now);
        next_of(&mut self.exchanges, sample.exchanges.into_iter().map(|(name, c)| (name, stats::exchange_values(c))), now);
        next_of(&mut self.channels, sample.channels.into_iter().map(|(key, c)| (key, stats::channel_values(c))), now);
        next_of(&mut self.connections, wires.iter().map(|(serial, wire)| (*serial, [wire.received, wire.sent])), now);
        next_of(&mut self.published, sample.published.into_iter().map(|pair| (pair.number, stats::published_values(pair.counters))), now);
        next_of(&mut self.delivered, sample.delivered.into_iter().map(|pair| (pair.number, stats::delivered_values(pair.counters))), now);
        next_of(&mut self.routed, sample.routed.into_iter().map(|pair| (pair.number, [pair.counters])), now);
    }

    fn reset(&mut self) {
        self.totals.rates = None;
        self.queues.values_mut().for_each(|sampled| sampled.rates = None);
        self.exchanges.values_mut().for_each(|sampled| sampled.rates = None);
        self.channels.values_mut().for_each(|sampled| sampled.rates = None);
        self.connections.values_mut().for_each(|sampled| sampled.rates = None);
        self.published.values_mut().for_each(|sampled| sampled.rates = None);
        self.delivered.values_mut().for_each(|sampled| sampled.rates = None);
        self.routed.values_mut().for_each(|sampled| sampled.rates = None);
    }

    pub(super) fn queue(&self, name: &str) -> Option<Box<[f64; QUEUE.len()]>> {
        self.queues.get(name)?.rates.clone()
    }

    pub(super) fn exchange(&self, name: &str) -> Option<Box<[f64; EXCHANGE.len()]>> {
        self.exchanges.get(name)?.rates.clone()
    }

    /// By the serial of the connection, and the channel's number.
    pub(super) fn channel(&self, serial: u64, number: u16) -> Option<Box<[f64; CHANNEL.len()]>> {
        self.channels.get(&(serial, number))?.rates.clone()
    }

    pub(super) fn connection(&self, serial: u64) -> Option<Box<[f64; CONNECTION.len()]>> {
        self.connections.get(&serial)?.rates.clone()
    }

    /// Of a channel and an exchange, by the number of the pair.
    pub(super) fn published(&self, pair: u64) -> Option<Box<[f64; PUBLISHED.len()]>> {
        self.published.get(&pair)?.rates.clone()
    }

    /// Of a channel and a queue.
    pub(super) fn delivered(&self, pair: u64) -> Option<Box<[f64; DELIVERED.len()]>> {
        self.delivered.get(&pair)?.rates.clone()
    }

    /// Of an exchange and a queue.
    pub(super) fn routed(&self, pair: u64) -> Option<Box<[f64; ROUTED.len()]>> {
        self.routed.get(&pair)?.rates.clone()
    }
}

/// A queue somebody looks at.
#[derive(Debug)]
struct Watched {
    asked_ms: u64,
    ring: Ring<{ QUEUE.len() }>,
}

#[derive(Debug)]
struct State {
    round: u64,
    vhosts: Map<Arc<str>, OfVhost>,
    totals: Ring<{ TOTALS.len() }>,
    node: Sampled<{ NODE.len() }>,
    node_at_ms: u64,
    node_ring: Ring<{ NODE.len() }>,
    /// By virtual host and name.
    watched: Map<(Arc<str>, Arc<str>), Watched>,
}

/// The rates of a node.
#[derive(Debug)]
pub(super) struct Rates(Mutex<State>);

impl Rates {
    fn new() -> Self {
        Self(Mutex::new(State {
            round: 0,
            vhosts: Map::default(),
            totals: Ring::new(GLOBAL),
            node: Sampled::NOTHING,
            node_at_ms: 0,
            node_ring: Ring::new(GLOBAL),
            watched: Map::default(),
        }))
    }

    /// Takes samples for as long as the node runs, unless it is configured to take none.
    pub(super) fn start(handle: &Handle) -> Arc<Self> {
        let rates = Arc::new(Self::new());
        if handle.config().rates_mode != RatesMode::None {
            handle.spawn(Arc::clone(&rates).run(handle.clone()));
        }
        rates
    }

    async fn run(self: Arc<Self>, handle: Handle) {
        // What was there from the start has not come since.
        self.take(&handle).await;
        let interval = handle.config().collect_statistics_interval_ms.max(1);
        while !handle.is_stopping() {
            // At round times, as RabbitMQ's samples have them.
            tokio::time::sleep(Duration::from_millis(interval - now_ms() % interval)).await;
            self.take(&handle).await;
        }
    }

    async fn take(&self, handle: &Handle) {
        let vhosts: Vec<Arc<str>> = handle.node().vhosts.keys().cloned().collect();
        let round = {
            let mut state = self.0.lock();
            state.round += 1;
            state.round
        };
        for vhost in &vhosts {
            let sampled = handle.ask(vhost, |asked| {
                let sample = asked.broker().sample();
                let wires = sample.connections.iter().filter_map(|(serial, id)| Some((*serial, asked.wire(*id)?))).collect::<Vec<_>>();
                (sample, wires)
            });
            let Some((sample, wires)) = sampled.await else { continue };
            self.0.lock().add(vhost, sample, &wires, (now_ms(), round));
        }
        let node = system::node_values(handle);
        self.0.lock().finish(node, now_ms(), round);
    }

    /// Looks at the rates of a virtual host.
    pub(super) fn of_vhost<T>(&self, vhost: &str, look: impl FnOnce(Option<&OfVhost>) -> T) -> T {
        look(self.0.lock().vhosts.get(vhost))
    }

    /// Rates of these virtual hosts together.
    pub(super) fn totals(&self, vhosts: &[Arc<str>]) -> Option<Box<[f64; TOTALS.len()]>> {
        let state = self.0.lock();
        let mut sum: Option<Box<[f64; TOTALS.len()]>> = None;
        for rates in vhosts.iter().filter_map(|vhost| state.vhosts.get(vhost)?.totals.rates.as_ref()) {
            let sum = sum.get_or_insert_with(|| Box::new([0.0; TOTALS.len()]));
            sum.iter_mut().zip(rates.iter()).for_each(|(sum, rate)| *sum += rate);
        }
        sum
    }

    /// What all virtual hosts together were before.
    pub(super) fn totals_before(&self, ranges: Ranges) -> Vec<Option<History>> {
        let state = self.0.lock();
        before(&state.totals, ranges, now_ms())
    }

    pub(super) fn node(&self) -> Option<Box<[f64; NODE.len()]>> {
        self.0.lock().node.rates.clone()
    }

    pub(super) fn node_before(&self, ranges: Ranges) -> Vec<Option<History>> {
        let state = self.0.lock();
        let history = |column| ranges.node_stats.map(|range| state.node_ring.history(column, range, now_ms()));
        (0..NODE.len()).map(history).collect()
    }

    /// What a queue was before, from when somebody has first asked; it is what it is now.
    pub(super) fn queue_before(
        &self,
        queue: (&Arc<str>, &Arc<str>),
        now: &Counted<{ QUEUE.len() }>,
        ranges: Ranges,
    ) -> Vec<Option<History>> {
        let now_ms = now_ms();
        let mut state = self.0.lock();
        let key = (Arc::clone(queue.0), Arc::clone(queue.1));
        if !state.watched.contains_key(&key) && state.watched.len() >= WATCHED {
            let oldest = state.watched.iter().min_by_key(|(_, watched)| watched.asked_ms).map(|(key, _)| key.clone());
            oldest.map(|key| state.watched.remove(&key));
        }
        let watched = state.watched.entry(key).or_insert_with(|| {
            let mut ring = Ring::new(BASIC);
            ring.add(now_ms, now.values);
            Watched { asked_ms: now_ms, ring }
        });
        watched.asked_ms = now_ms;
        before(&watched.ring, ranges, now_ms)
    }

    /// Forgets what was before now: rates, and all older samples.
    pub(super) fn reset(&self) {
        let mut state = self.0.lock();
        state.vhosts.values_mut().for_each(OfVhost::reset);
        state.totals.clear();
        state.node.rates = None;
        state.node_ring.clear();
        state.watched.clear();
    }
}

impl State {
    fn add(&mut self, vhost: &Arc<str>, sample: Sample, wires: &[(u64, Wire)], (at_ms, round): (u64, u64)) {
        let of_vhost = self.vhosts.entry(Arc::clone(vhost)).or_insert_with(|| OfVhost::new(at_ms));
        of_vhost.add(sample, wires, at_ms, round);
    }

    /// All virtual hosts have been looked at.
    fn finish(&mut self, node: [u64; NODE.len()], at_ms: u64, round: u64) {
        self.vhosts.retain(|_, of_vhost| of_vhost.totals.round == round);
        let mut sum = [0; TOTALS.len()];
        for of_vhost in self.vhosts.values() {
            sum.iter_mut().zip(of_vhost.totals.last).for_each(|(sum, value)| *sum += value);
        }
        self.totals.add(at_ms, sum);
        let elapsed_ms = if self.node_at_ms == 0 { 0 } else { at_ms.saturating_sub(self.node_at_ms) };
        self.node.next(node, elapsed_ms, round);
        self.node_at_ms = at_ms;
        self.node_ring.add(at_ms, node);
        self.watched.retain(|(vhost, queue), watched| {
            let Some(of_vhost) = self.vhosts.get(vhost) else { return false };
            // Counters that are all zero are not sampled.
            watched.ring.add(at_ms, of_vhost.queues.get(queue).map_or([0; QUEUE.len()], |sampled| sampled.last));
            at_ms.saturating_sub(watched.asked_ms) < WATCHED_FOR_MS
        });
    }
}

/// The histories that are asked for, by column: first come those of how long queues are.
fn before<const N: usize>(ring: &Ring<N>, ranges: Ranges, now_ms: u64) -> Vec<Option<History>> {
    let range = |column| if column < LENGTHS { ranges.lengths } else { ranges.msg_rates };
    (0..N).map(|column| range(column).map(|range| ring.history(column, range, now_ms))).collect()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
