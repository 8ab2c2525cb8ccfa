//! Message rates in detail: what channels, exchanges and queues count of each other. The lists are empty unless `rates_mode` is detailed.

use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::Place;
use super::connections::Peers;
use super::consumers::{ChannelDetails, Named};
use super::rates::OfVhost;
use super::stats::{self, Column, Counted, DELIVERED, PUBLISHED, ROUTED};
use crate::broker::counters::{DeliveryCounters, PublishCounters};
use crate::broker::view::{ByChannel, ByName};
use crate::broker::{Broker, Pair};

/// What something is counted with.
#[derive(Debug)]
pub(super) enum End {
    Exchange(Named),
    Queue(Named),
    Channel(ChannelDetails),
}

/// Pairs with their other ends, without their rates yet.
pub(super) type Pairs<C> = Vec<(End, Pair<C>)>;

pub(super) fn by_exchange<C>(pairs: ByName<C>, place: &Place) -> Pairs<C> {
    by_name(pairs, place, End::Exchange)
}

pub(super) fn by_queue<C>(pairs: ByName<C>, place: &Place) -> Pairs<C> {
    by_name(pairs, place, End::Queue)
}

fn by_name<C>(pairs: ByName<C>, place: &Place, end: fn(Named) -> End) -> Pairs<C> {
    pairs.into_iter().map(|(name, pair)| (end(Named { name, vhost: Arc::clone(&place.vhost) }), pair)).collect()
}

pub(super) fn by_channel<C>(pairs: ByChannel<C>, broker: &Broker, place: &Place) -> Pairs<C> {
    let mut peers = Peers::default();
    let with_channel =
        |((connection, channel), pair)| Some((End::Channel(ChannelDetails::new(peers.of(broker, connection)?, channel, place)), pair));
    pairs.into_iter().filter_map(with_channel).collect()
}

/// An entry of a list.
#[derive(Debug)]
pub(super) struct Part<const N: usize> {
    end: End,
    counted: Counted<N>,
    columns: &'static [Column; N],
}

impl<const N: usize> Serialize for Part<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        match &self.end {
            End::Exchange(exchange) => map.serialize_entry("exchange", exchange)?,
            End::Queue(queue) => map.serialize_entry("queue", queue)?,
            End::Channel(channel) => map.serialize_entry("channel_details", channel)?,
        }
        map.serialize_entry("stats", &self.counted.stats(self.columns, 0, N))?;
        map.end()
    }
}

pub(super) type Published = Vec<Part<{ PUBLISHED.len() }>>;
pub(super) type Delivered = Vec<Part<{ DELIVERED.len() }>>;
pub(super) type Routed = Vec<Part<{ ROUTED.len() }>>;

pub(super) fn published(pairs: Pairs<PublishCounters>, rates: Option<&OfVhost>) -> Published {
    parts(pairs, &PUBLISHED, stats::published_values, |pair| rates?.published(pair))
}

pub(super) fn delivered(pairs: Pairs<DeliveryCounters>, rates: Option<&OfVhost>) -> Delivered {
    parts(pairs, &DELIVERED, stats::delivered_values, |pair| rates?.delivered(pair))
}

pub(super) fn routed(pairs: Pairs<u64>, rates: Option<&OfVhost>) -> Routed {
    parts(pairs, &ROUTED, |messages| [messages], |pair| rates?.routed(pair))
}

fn parts<C, const N: usize>(
    pairs: Pairs<C>,
    columns: &'static [Column; N],
    values: impl Fn(C) -> [u64; N],
    rates: impl Fn(u64) -> Option<Box<[f64; N]>>,
) -> Vec<Part<N>> {
    let part = |(end, pair): (End, Pair<C>)| Part { end, counted: Counted::new(values(pair.counters), rates(pair.number)), columns };
    pairs.into_iter().map(part).collect()
}
