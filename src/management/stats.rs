//! Counters and their rates, with RabbitMQ's names: `publish` and `publish_details.rate`.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::query::Query;
use crate::broker::counters::{ChannelCounters, Churn, DeliveryCounters, ExchangeCounters, PublishCounters, QueueCounters};
use crate::broker::view::Totals;

/// The name of a counter, and of what is told of its rate.
pub(super) type Column = (&'static str, &'static str);

macro_rules! columns {
    ($($name:ident),* $(,)?) => { [$((stringify!($name), concat!(stringify!($name), "_details"))),*] };
}

/// Of queues: [`LENGTHS`] gauges come first.
pub(super) const QUEUE: [Column; 14] = columns![
    messages,
    messages_ready,
    messages_unacknowledged,
    ack,
    deliver,
    deliver_get,
    deliver_no_ack,
    disk_reads,
    disk_writes,
    get,
    get_empty,
    get_no_ack,
    publish,
    redeliver,
];
pub(super) const EXCHANGE: [Column; 2] = columns![publish_in, publish_out];
pub(super) const CHANNEL: [Column; 12] = columns![
    ack,
    confirm,
    deliver,
    deliver_get,
    deliver_no_ack,
    drop_unroutable,
    get,
    get_empty,
    get_no_ack,
    publish,
    redeliver,
    return_unroutable,
];
/// Of a channel and an exchange, a channel and a queue, an exchange and a queue.
pub(super) const PUBLISHED: [Column; 4] = columns![confirm, drop_unroutable, publish, return_unroutable];
pub(super) const DELIVERED: [Column; 8] = columns![ack, deliver, deliver_get, deliver_no_ack, get, get_empty, get_no_ack, redeliver];
pub(super) const ROUTED: [Column; 1] = columns![publish];
pub(super) const CONNECTION: [Column; 2] = columns![recv_oct, send_oct];
/// Of a virtual host, or of all: gauges, what channels and disks do, and from [`CHURN_FROM`] on what has come and gone.
pub(super) const TOTALS: [Column; 24] = columns![
    messages,
    messages_ready,
    messages_unacknowledged,
    ack,
    confirm,
    deliver,
    deliver_get,
    deliver_no_ack,
    disk_reads,
    disk_writes,
    drop_unroutable,
    get,
    get_empty,
    get_no_ack,
    publish,
    redeliver,
    return_unroutable,
    channel_closed,
    channel_created,
    connection_closed,
    connection_created,
    queue_created,
    queue_declared,
    queue_deleted,
];
pub(super) const NODE: [Column; 6] = columns![context_switches, disk_free, fd_used, mem_used, proc_used, sockets_used];

/// How many columns of queues and totals say how long queues are.
pub(super) const LENGTHS: usize = 3;
/// Where in [`TOTALS`] begins what has come and gone.
pub(super) const CHURN_FROM: usize = 17;

pub(super) fn queue_values(c: QueueCounters, ready: u64, unacked: u64) -> [u64; QUEUE.len()] {
    let QueueCounters {
        publish,
        forwarded: _,
        deliver,
        deliver_no_ack,
        get,
        get_no_ack,
        get_empty,
        ack,
        redeliver,
        disk_reads,
        disk_writes,
    } = c;
    let lengths = [ready + unacked, ready, unacked];
    let [messages, ready, unacked] = lengths;
    [
        messages,
        ready,
        unacked,
        ack,
        deliver,
        c.deliver_get(),
        deliver_no_ack,
        disk_reads,
        disk_writes,
        get,
        get_empty,
        get_no_ack,
        publish,
        redeliver,
    ]
}

pub(super) fn exchange_values(c: ExchangeCounters) -> [u64; EXCHANGE.len()] {
    [c.publish_in, c.publish_out]
}

pub(super) fn published_values(c: PublishCounters) -> [u64; PUBLISHED.len()] {
    [c.confirm, c.drop_unroutable, c.publish, c.return_unroutable]
}

pub(super) fn delivered_values(c: DeliveryCounters) -> [u64; DELIVERED.len()] {
    [c.ack, c.deliver, c.deliver_get(), c.deliver_no_ack, c.get, c.get_empty, c.get_no_ack, c.redeliver]
}

pub(super) fn channel_values(c: ChannelCounters) -> [u64; CHANNEL.len()] {
    [
        c.ack,
        c.confirm,
        c.deliver,
        c.deliver_get(),
        c.deliver_no_ack,
        c.drop_unroutable,
        c.get,
        c.get_empty,
        c.get_no_ack,
        c.publish,
        c.redeliver,
        c.return_unroutable,
    ]
}

pub(super) fn totals_values(totals: &Totals) -> [u64; TOTALS.len()] {
    let (c, disk) = (totals.messages, totals.queues.sum());
    let Churn { connection_created, connection_closed, channel_created, channel_closed, queue_declared, queue_created, queue_deleted } =
        totals.churn;
    let (ready, unacked) = (totals.ready.messages, totals.unacked.messages);
    [
        ready + unacked,
        ready,
        unacked,
        c.ack,
        c.confirm,
        c.deliver,
        c.deliver_get(),
        c.deliver_no_ack,
        disk.disk_reads,
        disk.disk_writes,
        c.drop_unroutable,
        c.get,
        c.get_empty,
        c.get_no_ack,
        c.publish,
        c.redeliver,
        c.return_unroutable,
        channel_closed,
        channel_created,
        connection_closed,
        connection_created,
        queue_created,
        queue_declared,
        queue_deleted,
    ]
}

/// A value at one time.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(super) struct Point {
    pub(super) sample: u64,
    /// Milliseconds since the epoch.
    pub(super) timestamp: u64,
}

/// Values of a counter over a time, the newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct History(pub(super) Vec<Point>);

impl History {
    #[expect(clippy::cast_precision_loss, reason = "a mean for people")]
    fn average(&self) -> f64 {
        let sum: u64 = self.0.iter().map(|point| point.sample).sum();
        if self.0.is_empty() { 0.0 } else { sum as f64 / self.0.len() as f64 }
    }

    /// Change per second from the oldest to the newest.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn average_rate(&self) -> f64 {
        let (Some(newest), Some(oldest)) = (self.0.first(), self.0.last()) else { return 0.0 };
        let elapsed_ms = newest.timestamp - oldest.timestamp;
        if elapsed_ms == 0 { 0.0 } else { (newest.sample as f64 - oldest.sample as f64) * 1000.0 / elapsed_ms as f64 }
    }
}

/// How fast a counter changes, and what it was before where that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Details<'a> {
    /// Change per second.
    pub(super) rate: f64,
    pub(super) history: Option<&'a History>,
}

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(history) = self.history {
            map.serialize_entry("avg", &history.average())?;
            map.serialize_entry("avg_rate", &history.average_rate())?;
        }
        map.serialize_entry("rate", &self.rate)?;
        if let Some(history) = self.history {
            map.serialize_entry("samples", &history.0)?;
        }
        map.end()
    }
}

/// Counters of one thing with their rates.
#[derive(Clone, Debug)]
pub(super) struct Counted<const N: usize> {
    pub(super) values: [u64; N],
    /// `None` when nothing changes.
    pub(super) rates: Option<Box<[f64; N]>>,
    pub(super) histories: Option<Vec<Option<History>>>,
}

impl<const N: usize> Counted<N> {
    pub(super) fn new(values: [u64; N], rates: Option<Box<[f64; N]>>) -> Self {
        Self { values, rates, histories: None }
    }

    pub(super) fn details(&self, column: usize) -> Details<'_> {
        let rate = self.rates.as_ref().map_or(0.0, |rates| rates[column]);
        let history = self.histories.as_ref().and_then(|all| all.get(column)?.as_ref());
        Details { rate, history }
    }

    /// Those of `columns` from one on and before another.
    pub(super) fn stats(&self, columns: &'static [Column; N], from: usize, to: usize) -> Stats<'_, N> {
        Stats { counted: self, columns, from, to }
    }

    /// `publish`, `publish_details.rate`.
    #[expect(clippy::cast_precision_loss, reason = "to sort by")]
    pub(super) fn number(&self, columns: &[Column; N], name: &str) -> Option<f64> {
        match name.strip_suffix(".rate") {
            Some(details) => {
                let column = columns.iter().position(|(_, of_rate)| *of_rate == details)?;
                Some(self.rates.as_ref().map_or(0.0, |rates| rates[column]))
            }
            None => columns.iter().position(|(of_value, _)| *of_value == name).map(|column| self.values[column] as f64),
        }
    }
}

/// Some counters as the entries of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stats<'a, const N: usize> {
    counted: &'a Counted<N>,
    columns: &'static [Column; N],
    from: usize,
    to: usize,
}

impl<const N: usize> Serialize for Stats<'_, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2 * (self.to - self.from)))?;
        for column in self.from..self.to {
            let (name, details) = self.columns[column];
            map.serialize_entry(name, &self.counted.values[column])?;
            map.serialize_entry(details, &self.counted.details(column))?;
        }
        map.end()
    }
}

/// Some columns of totals, as the entries of an object.
#[derive(Clone, Debug)]
pub(super) struct TotalsPart<const FROM: usize, const TO: usize>(pub(super) Counted<{ TOTALS.len() }>);

impl<const FROM: usize, const TO: usize> Serialize for TotalsPart<FROM, TO> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.stats(&TOTALS, FROM, TO).serialize(serializer)
    }
}

/// How far back, and in which steps, somebody wants to look; in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) age_ms: u64,
    pub(super) step_ms: u64,
}

/// What a request wants to know of the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    /// Of how long queues are.
    pub(super) lengths: Option<Range>,
    /// Of messages.
    pub(super) msg_rates: Option<Range>,
    /// Of what connections send.
    pub(super) data_rates: Option<Range>,
    /// Of the node.
    pub(super) node_stats: Option<Range>,
}

impl Ranges {
    /// Both `x_age` and `x_incr` have to be there, in seconds; what is no number is passed over.
    pub(super) fn of(query: &Query) -> Self {
        let seconds = |name: String| query.get(&name)?.parse::<u64>().ok().filter(|n| *n > 0)?.checked_mul(1000);
        let range = |name: &str| Some(Range { age_ms: seconds(format!("{name}_age"))?, step_ms: seconds(format!("{name}_incr"))? });
        let [lengths, msg_rates, data_rates, node_stats] = ["lengths", "msg_rates", "data_rates", "node_stats"].map(range);
        Self { lengths, msg_rates, data_rates, node_stats }
    }

    /// Whether anything of a queue is asked for.
    pub(super) fn any(self) -> bool {
        self != Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_their_values() {
        let counters = QueueCounters { publish: 5, deliver: 2, get: 1, ack: 3, disk_reads: 7, ..QueueCounters::default() };
        let counted = Counted::new(queue_values(counters, 4, 1), None);
        let number = |name| counted.number(&QUEUE, name);
        assert_eq!([number("messages"), number("messages_ready"), number("messages_unacknowledged")], [Some(5.0), Some(4.0), Some(1.0)]);
        assert_eq!([number("publish"), number("deliver_get"), number("disk_reads")], [Some(5.0), Some(3.0), Some(7.0)]);
        assert_eq!(number("publish_details.rate"), Some(0.0));
        assert_eq!(number("nothing"), None);
    }

    /// Every counter is in its column: what is counted under a name is shown under it.
    #[test]
    fn channels_and_totals_agree_with_their_names() {
        let counters = ChannelCounters {
            publish: 1,
            publish_confirm: 0,
            confirm: 2,
            return_unroutable: 3,
            drop_unroutable: 4,
            deliver: 10,
            deliver_no_ack: 20,
            get: 30,
            get_no_ack: 40,
            get_empty: 5,
            ack: 6,
            redeliver: 7,
        };
        let channel = Counted::new(channel_values(counters), None);
        let mut totals = Totals { messages: counters, ..Totals::default() };
        totals.churn = Churn { connection_created: 8, queue_deleted: 9, ..Churn::default() };
        let totals = Counted::new(totals_values(&totals), None);
        for (name, value) in counters.iter().filter(|(name, _)| *name != "publish_confirm") {
            assert_eq!(channel.number(&CHANNEL, name).map(|n| n.to_string()), Some(value.to_string()), "{name}");
            assert_eq!(totals.number(&TOTALS, name).map(|n| n.to_string()), Some(value.to_string()), "{name}");
        }
        assert_eq!(channel.number(&CHANNEL, "deliver_get"), Some(100.0));
        assert_eq!(totals.number(&TOTALS, "connection_created"), Some(8.0));
        assert_eq!(totals.number(&TOTALS, "queue_deleted"), Some(9.0));
        assert_eq!(TOTALS[CHURN_FROM].0, "channel_closed");
    }

    #[test]
    fn pairs_agree_with_their_names() {
        let published = PublishCounters { publish: 1, confirm: 2, return_unroutable: 3, drop_unroutable: 4 };
        let delivered = DeliveryCounters { deliver: 10, deliver_no_ack: 20, get: 30, get_no_ack: 40, get_empty: 5, ack: 6, redeliver: 7 };
        let of_publisher = Counted::new(published_values(published), None);
        for (name, value) in published.iter() {
            assert_eq!(of_publisher.number(&PUBLISHED, name).map(|n| n.to_string()), Some(value.to_string()), "{name}");
        }
        let of_consumer = Counted::new(delivered_values(delivered), None);
        for (name, value) in delivered.iter() {
            assert_eq!(of_consumer.number(&DELIVERED, name).map(|n| n.to_string()), Some(value.to_string()), "{name}");
        }
        assert_eq!(of_consumer.number(&DELIVERED, "deliver_get"), Some(100.0));
    }

    #[test]
    fn averages_of_a_history() {
        let points = [(6, 15_000), (4, 10_000), (2, 5_000)].map(|(sample, timestamp)| Point { sample, timestamp });
        let history = History(points.to_vec());
        let details = Details { rate: 0.5, history: Some(&history) };
        let json = serde_json::to_string(&details).expect("JSON");
        assert!(json.starts_with(r#"{"avg":4.0,"avg_rate":0.4,"rate":0.5,"samples":[{"sample":6,"timestamp":15000},"#), "{json}");
    }

    #[test]
    fn ranges_need_both_numbers() {
        let range = |text: &str| Ranges::of(&Query::parse(text));
        assert_eq!(range("lengths_age=60&lengths_incr=5").lengths, Some(Range { age_ms: 60_000, step_ms: 5_000 }));
        for nothing in ["lengths_age=60", "msg_rates_age=x&msg_rates_incr=5", "lengths_age=60&lengths_incr=0"] {
            assert!(!range(nothing).any(), "{nothing}");
        }
    }
}
