//! Metrics for Prometheus (behaviour §10), with the names of RabbitMQ's plugin, so that its dashboards work: docs/METRICS.md.
//!
//! The sums take one look at every virtual host. What is told of every object is written a portion at a time, as the client reads
//! it, so that ten thousand queues take no more memory than their numbers.

mod metric;
mod node;
mod objects;
mod scrape;
mod text;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::Frame;

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::query::Query;
use crate::server::Handle;
use metric::{Metric, Of};
use scrape::{Scrape, Wants};
use text::{Kind, Text};

const CONTENT_TYPE: &str = "text/plain; version=0.0.4";
/// Bytes that are written before the client is given them.
const PORTION: usize = 64 * 1024;

const PREFIX: &str = "rabbitmq_";
const DETAILED: &str = "rabbitmq_detailed_";
const CLUSTER: &str = "rabbitmq_cluster_";

/// Beside the HTTP API, for monitors.
pub(super) fn routes() -> Router<Api> {
    let all = |caller: Caller, State(api): State<Api>| async move {
        caller.monitor()?;
        Ok::<_, ApiError>(answer(&api.handle, "default", &Query::default()).await)
    };
    let some = |caller: Caller, State(api): State<Api>, Path(registry): Path<String>, query: Query| async move {
        caller.monitor()?;
        Ok::<_, ApiError>(answer(&api.handle, &registry, &query).await)
    };
    Router::new().route("/metrics", get(all)).route("/metrics/{registry}", get(some))
}

/// By themselves, for whoever asks.
pub(super) fn open_router(handle: Handle) -> Router {
    let all = |State(handle): State<Handle>| async move { answer(&handle, "default", &Query::default()).await };
    let some =
        |State(handle): State<Handle>, Path(registry): Path<String>, query: Query| async move { answer(&handle, &registry, &query).await };
    let router = Router::new().route("/metrics", get(all)).route("/metrics/{registry}", get(some));
    router.fallback(|| async { ApiError::NotFound }).with_state(handle)
}

async fn answer(handle: &Handle, registry: &str, query: &Query) -> Response {
    let mut page = Page::default();
    let mut only = None;
    match registry {
        "default" if !handle.config().per_object_metrics => page.sums(),
        "default" | "per-object" => page.objects(),
        "detailed" => {
            let families: Vec<&str> = query.all("family").collect();
            page.families(&families);
            only = query.get("vhost").map(|_| query.all("vhost").map(str::to_owned).collect::<Vec<_>>());
        }
        "memory-breakdown" => {
            page.each(PREFIX, node::MEMORY);
            page.part(|scrape, text| node::identity("memory-breakdown", scrape, text));
        }
        _ => return (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/plain")], "Unknown Registry").into_response(),
    }
    let scrape = Scrape::take(handle, page.wants, only.as_deref()).await;
    let writing = Writing { scrape, parts: page.parts.into_iter(), text: Text::default() };
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], Body::new(writing)).into_response()
}

/// A family of metrics, or a few.
type Part = Box<dyn Fn(&Scrape, &mut Text) + Send>;

/// What is to be written.
#[derive(Default)]
struct Page {
    wants: Wants,
    parts: Vec<Part>,
}

impl Page {
    fn part(&mut self, write: impl Fn(&Scrape, &mut Text) + Send + 'static) {
        self.parts.push(Box::new(write));
    }

    fn each<T: Of>(&mut self, prefix: &'static str, table: &'static [Metric<T>]) {
        table.iter().for_each(|metric| self.part(move |scrape, text| metric.write_each(prefix, scrape, text)));
    }

    fn sum<T: Of>(&mut self, table: &'static [Metric<T>]) {
        table.iter().for_each(|metric| self.part(move |scrape, text| metric.write_sum(PREFIX, scrape, text)));
    }

    /// /metrics, of all objects together.
    fn sums(&mut self) {
        self.node();
        self.sum(objects::QUEUE_COARSE);
        self.sum(objects::QUEUE);
        self.sum(objects::CHANNEL);
        self.sum(objects::CHANNEL_EXCHANGE);
        self.sum(objects::CHANNEL_QUEUE);
        self.sum(objects::CONNECTION_COARSE);
        self.sum(objects::CONNECTION);
        self.sum(objects::QUEUE_PUBLISHED);
        self.sum(objects::EXCHANGE);
        self.sum(objects::QUEUE_DELIVERY);
        self.rest("aggregated");
    }

    /// /metrics/per-object.
    fn objects(&mut self) {
        self.node();
        for family in ["queue_coarse_metrics", "queue_metrics", "channel_metrics", "channel_exchange_metrics"] {
            self.family(PREFIX, family);
        }
        for family in ["channel_queue_metrics", "connection_coarse_metrics", "connection_metrics", "channel_queue_exchange_metrics"] {
            self.family(PREFIX, family);
        }
        self.family(PREFIX, "exchange_metrics");
        self.family(PREFIX, "queue_delivery_metrics");
        self.part(|scrape, text| queue_info(PREFIX, scrape, text));
        self.rest("per-object");
    }

    /// /metrics/detailed: those of RabbitMQ's families that were asked for. One that there is not is nothing.
    fn families(&mut self, families: &[&str]) {
        let mut done: Vec<&str> = Vec::new();
        for family in families {
            // What it has is a part of queue_metrics.
            let is_there = done.contains(family) || *family == "queue_consumer_count" && families.contains(&"queue_metrics");
            if !is_there {
                self.family(DETAILED, family);
                done.push(family);
            }
        }
        if ["queue_coarse_metrics", "queue_consumer_count", "queue_metrics"].iter().any(|family| families.contains(family)) {
            self.part(|scrape, text| queue_info(DETAILED, scrape, text));
        }
        self.part(|scrape, text| node::identity("detailed", scrape, text));
    }

    fn node(&mut self) {
        for family in ["connection_churn_metrics", "node_coarse_metrics", "node_metrics", "node_persister_metrics"] {
            self.family(PREFIX, family);
        }
    }

    fn rest(&mut self, endpoint: &'static str) {
        self.each(PREFIX, node::TOTALS);
        self.part(node::alarms);
        self.part(node::global);
        self.part(node::sizes);
        self.each("leveret_", node::OWN);
        self.part(move |scrape, text| node::identity(endpoint, scrape, text));
    }

    fn family(&mut self, prefix: &'static str, name: &str) {
        match name {
            "connection_churn_metrics" => self.each(prefix, node::CHURN),
            "node_coarse_metrics" => self.each(prefix, node::NODE_COARSE),
            "node_metrics" => self.each(prefix, node::NODE),
            "node_persister_metrics" => self.each(prefix, node::PERSISTER),
            "queue_coarse_metrics" => self.queues(prefix, objects::QUEUE_COARSE),
            "queue_consumer_count" => self.queues(prefix, objects::QUEUE_CONSUMERS),
            "queue_metrics" => self.queues(prefix, objects::QUEUE),
            "queue_delivery_metrics" => self.queues(prefix, objects::QUEUE_DELIVERY),
            "channel_queue_exchange_metrics" => self.queues(prefix, objects::QUEUE_PUBLISHED),
            "channel_metrics" => self.channels(prefix, objects::CHANNEL),
            "channel_exchange_metrics" => self.channels(prefix, objects::CHANNEL_EXCHANGE),
            "channel_queue_metrics" => self.channels(prefix, objects::CHANNEL_QUEUE),
            "connection_coarse_metrics" => self.connections(prefix, objects::CONNECTION_COARSE),
            "connection_metrics" => self.connections(prefix, objects::CONNECTION),
            "exchange_metrics" => {
                self.wants.exchanges = true;
                self.each(prefix, objects::EXCHANGE);
            }
            "vhost_status" => self.part(vhost_status),
            "exchange_bindings" => {
                self.wants.exchanges = true;
                self.wants.bindings = true;
                self.part(exchange_bindings);
            }
            "exchange_names" => {
                self.wants.exchanges = true;
                self.part(exchange_names);
            }
            _ => {}
        }
    }

    fn queues<T: Of>(&mut self, prefix: &'static str, table: &'static [Metric<T>]) {
        self.wants.queues = true;
        self.each(prefix, table);
    }

    fn channels<T: Of>(&mut self, prefix: &'static str, table: &'static [Metric<T>]) {
        self.wants.channels = true;
        self.each(prefix, table);
    }

    fn connections<T: Of>(&mut self, prefix: &'static str, table: &'static [Metric<T>]) {
        self.wants.connections = true;
        self.each(prefix, table);
    }
}

fn queue_info(prefix: &str, scrape: &Scrape, text: &mut Text) {
    let help = "A metric with a constant '1' value and labels that provide some queue details";
    text.family(prefix, "queue_info", Kind::Gauge, help);
    for vhost in scrape.listed() {
        for queue in &vhost.queues {
            let what = [("queue_type", node::type_label(queue.kind)), ("membership", "leader")];
            text.sample(&[("vhost", &*vhost.name), ("queue", &*queue.name), what[0], what[1]], 1);
        }
    }
}

fn vhost_status(scrape: &Scrape, text: &mut Text) {
    text.family(CLUSTER, "vhost_status", Kind::Gauge, "Whether a given vhost is running");
    scrape.vhosts.iter().for_each(|vhost| text.sample(&[("vhost", &vhost.name)], 1));
}

fn exchange_bindings(scrape: &Scrape, text: &mut Text) {
    let help = "Number of bindings for an exchange. This value is cluster-wide.";
    text.family(CLUSTER, "exchange_bindings", Kind::Gauge, help);
    exchanges(scrape, |labels, bindings| text.sample(labels, bindings));
}

fn exchange_names(scrape: &Scrape, text: &mut Text) {
    let help = "Enumerates exchanges without any additional info. This value is cluster-wide. A cheaper alternative to `exchange_bindings`";
    text.family(CLUSTER, "exchange_name", Kind::Gauge, help);
    exchanges(scrape, |labels, _| text.sample(labels, 1));
}

/// Shows all exchanges but those that are internal, and the default one, with how many bindings they have.
fn exchanges(scrape: &Scrape, mut show: impl FnMut(&text::Labels<'_>, u64)) {
    for vhost in &scrape.vhosts {
        for exchange in vhost.exchanges.iter().filter(|exchange| !exchange.internal && !exchange.name.is_empty()) {
            let bindings = vhost.bindings.get(&exchange.name).copied().unwrap_or_default() as u64;
            show(&[("vhost", &*vhost.name), ("exchange", &*exchange.name), ("type", exchange.kind.name())], bindings);
        }
    }
}

/// An answer that is written as it is read.
struct Writing {
    scrape: Scrape,
    parts: std::vec::IntoIter<Part>,
    text: Text,
}

impl HttpBody for Writing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        while this.text.len() < PORTION {
            let Some(part) = this.parts.next() else { break };
            part(&this.scrape, &mut this.text);
        }
        let portion = this.text.take();
        Poll::Ready((!portion.is_empty()).then(|| Ok(Frame::data(portion.into()))))
    }
}
