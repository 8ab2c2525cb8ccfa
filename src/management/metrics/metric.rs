//! A metric: its name, what it is about, and how it is told of one object and of all together.

use super::scrape::{Connection, Scrape, Sum};
use super::text::{Kind, Labels, Text};
use crate::broker::view::{ChannelView, ExchangeView, QueueView};

pub(super) struct Metric<T> {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    each: Each<T>,
    /// `None`: of all together it would mean nothing.
    sum: Option<fn(&Sum) -> u64>,
    /// Whether a channel is told with its virtual host.
    with_vhost: bool,
}

enum Each<T> {
    Always(fn(&T) -> u64),
    /// Where there is something to tell.
    Maybe(fn(&T) -> Option<u64>),
    Fraction(fn(&T) -> f64),
}

pub(super) const fn counter<T>(name: &'static str, help: &'static str, each: fn(&T) -> u64, sum: fn(&Sum) -> u64) -> Metric<T> {
    Metric { name, help, kind: Kind::Counter, each: Each::Always(each), sum: Some(sum), with_vhost: false }
}

pub(super) const fn gauge<T>(name: &'static str, help: &'static str, each: fn(&T) -> u64, sum: fn(&Sum) -> u64) -> Metric<T> {
    Metric { name, help, kind: Kind::Gauge, each: Each::Always(each), sum: Some(sum), with_vhost: false }
}

/// What not every object has.
pub(super) const fn maybe<T>(kind: Kind, name: &'static str, help: &'static str, each: fn(&T) -> Option<u64>) -> Metric<T> {
    Metric { name, help, kind, each: Each::Maybe(each), sum: None, with_vhost: false }
}

pub(super) const fn seconds<T>(name: &'static str, help: &'static str, each: fn(&T) -> f64) -> Metric<T> {
    Metric { name, help, kind: Kind::Gauge, each: Each::Fraction(each), sum: None, with_vhost: false }
}

impl<T> Metric<T> {
    pub(super) const fn with_vhost(mut self) -> Self {
        self.with_vhost = true;
        self
    }

    /// And of all together.
    pub(super) const fn and_sum(mut self, sum: fn(&Sum) -> u64) -> Self {
        self.sum = Some(sum);
        self
    }
}

impl<T: Of> Metric<T> {
    /// Of every object by itself.
    pub(super) fn write_each(&self, prefix: &str, scrape: &Scrape, text: &mut Text) {
        text.family(prefix, self.name, self.kind, self.help);
        T::visit(scrape, self.with_vhost, &mut |labels, of| match self.each {
            Each::Always(each) => text.sample(labels, each(of)),
            Each::Maybe(each) => each(of).into_iter().for_each(|value| text.sample(labels, value)),
            Each::Fraction(each) => text.fraction(labels, each(of)),
        });
    }

    /// Of all together.
    pub(super) fn write_sum(&self, prefix: &str, scrape: &Scrape, text: &mut Text) {
        if let Some(sum) = self.sum {
            text.family(prefix, self.name, self.kind, self.help);
            text.sample(&[], sum(&scrape.sum));
        }
    }
}

/// What metrics can be about.
pub(super) trait Of: Sized {
    /// Shows every object, with what it is labelled.
    fn visit(scrape: &Scrape, with_vhost: bool, show: &mut dyn FnMut(&Labels<'_>, &Self));
}

/// The node as a whole.
impl Of for Scrape {
    fn visit(scrape: &Scrape, _: bool, show: &mut dyn FnMut(&Labels<'_>, &Self)) {
        show(&[], scrape);
    }
}

impl Of for QueueView {
    fn visit(scrape: &Scrape, _: bool, show: &mut dyn FnMut(&Labels<'_>, &Self)) {
        for vhost in scrape.listed() {
            vhost.queues.iter().for_each(|queue| show(&[("vhost", &vhost.name), ("queue", &queue.name)], queue));
        }
    }
}

impl Of for ExchangeView {
    fn visit(scrape: &Scrape, _: bool, show: &mut dyn FnMut(&Labels<'_>, &Self)) {
        for vhost in scrape.listed() {
            vhost.exchanges.iter().for_each(|exchange| show(&[("vhost", &vhost.name), ("exchange", &exchange.name)], exchange));
        }
    }
}

/// Channels and connections are of all virtual hosts, whatever the request is about, as in RabbitMQ.
impl Of for ChannelView {
    fn visit(scrape: &Scrape, with_vhost: bool, show: &mut dyn FnMut(&Labels<'_>, &Self)) {
        for vhost in &scrape.vhosts {
            for (label, channel) in &vhost.channels {
                let labels: [(&str, &str); 2] = [("channel", label), ("vhost", &vhost.name)];
                show(&labels[..1 + usize::from(with_vhost)], channel);
            }
        }
    }
}

impl Of for Connection {
    fn visit(scrape: &Scrape, _: bool, show: &mut dyn FnMut(&Labels<'_>, &Self)) {
        let all = scrape.vhosts.iter().flat_map(|vhost| &vhost.connections);
        // RabbitMQ calls it a channel here.
        all.for_each(|connection| show(&[("channel", &connection.label)], connection));
    }
}
