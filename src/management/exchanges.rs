//! /api/exchanges: reading. The default exchange is `amq.default` in addresses.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use serde::{Serialize, Serializer};

use super::Api;
use super::auth::Caller;
use super::breakdown::{self, Published, Routed};
use super::declare::exchange_name;
use super::error::ApiError;
use super::list::{self, Row};
use super::query::Query;
use super::stats::{self, Counted, EXCHANGE, Stats};
use crate::broker::INTERNAL_USER;
use crate::broker::json::Table;
use crate::broker::view::ExchangeView;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/exchanges", get(list))
        .route("/exchanges/{vhost}", get(list_of_vhost))
        .route("/exchanges/{vhost}/{exchange}", get(show))
}

#[derive(Debug)]
struct ExchangeRow {
    vhost: Arc<str>,
    view: ExchangeView,
    counted: Counted<{ EXCHANGE.len() }>,
    /// `None` in lists.
    alone: Option<Alone>,
}

/// What an exchange has that is shown alone.
#[derive(Debug)]
struct Alone {
    incoming: Published,
    outgoing: Routed,
}

impl Row for ExchangeRow {
    fn name(&self) -> &str {
        &self.view.name
    }

    fn number(&self, column: &str) -> Option<f64> {
        self.counted.number(&EXCHANGE, column.strip_prefix("message_stats.")?)
    }
}

#[derive(Serialize)]
struct ExchangeJson<'a> {
    name: &'a str,
    vhost: &'a str,
    r#type: &'static str,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: Table<'a>,
    policy: Option<&'a str>,
    message_stats: Stats<'a, { EXCHANGE.len() }>,
    user_who_performed_action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_delayed: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incoming: Option<&'a Published>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outgoing: Option<&'a Routed>,
}

impl Serialize for ExchangeRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { vhost, view, counted, alone } = self;
        let is_predeclared = view.name.is_empty() || view.name.starts_with("amq.");
        let json = ExchangeJson {
            name: &view.name,
            vhost,
            r#type: view.kind.name(),
            durable: view.durable,
            auto_delete: view.auto_delete,
            internal: view.internal,
            arguments: Table(&view.arguments),
            policy: view.policy.as_ref().and_then(|applied| applied.policy.as_deref()),
            message_stats: counted.stats(&EXCHANGE, 0, EXCHANGE.len()),
            user_who_performed_action: is_predeclared.then_some(INTERNAL_USER),
            messages_delayed: view.delayed,
            incoming: alone.as_ref().map(|alone| &alone.incoming),
            outgoing: alone.as_ref().map(|alone| &alone.outgoing),
        };
        json.serialize(serializer)
    }
}

fn rows(api: &Api, vhost: &Arc<str>, views: Vec<ExchangeView>) -> Vec<ExchangeRow> {
    api.rates.of_vhost(vhost, |rates| {
        let row = |view: ExchangeView| {
            let counted = Counted::new(stats::exchange_values(view.counters), rates.and_then(|rates| rates.exchange(&view.name)));
            ExchangeRow { vhost: Arc::clone(vhost), view, counted, alone: None }
        };
        views.into_iter().map(row).collect()
    })
}

async fn list(State(api): State<Api>, caller: Caller, query: Query) -> Result<Response, ApiError> {
    answer(&api, caller.visible(), query).await
}

async fn list_of_vhost(State(api): State<Api>, caller: Caller, Path(vhost): Path<String>, query: Query) -> Result<Response, ApiError> {
    caller.sees_vhost(&vhost)?;
    answer(&api, vec![vhost.into()], query).await
}

async fn answer(api: &Api, vhosts: Vec<Arc<str>>, query: Query) -> Result<Response, ApiError> {
    let mut all = Vec::new();
    for vhost in vhosts {
        let views = api.handle.ask(&vhost, |asked| asked.broker().exchange_views()).await.unwrap_or_default();
        all.extend(rows(api, &vhost, views));
    }
    list::respond_apart(all, query).await
}

async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    caller.sees_vhost(&vhost)?;
    let vhost = Arc::from(vhost);
    let place = api.place(&vhost);
    let found = api.handle.ask(&vhost, move |asked| {
        let (broker, name) = (asked.broker(), exchange_name(&name));
        let incoming = breakdown::by_channel(broker.published_to_exchange(name), broker, &place);
        let outgoing = breakdown::by_queue(broker.routed_by_exchange(name), &place);
        broker.exchange_view(name).map(|view| (view, incoming, outgoing))
    });
    let (view, incoming, outgoing) = found.await.flatten().ok_or(ApiError::NotFound)?;
    let mut row = rows(&api, &vhost, vec![view]).pop().ok_or(ApiError::NotFound)?;
    row.alone =
        Some(api.rates.of_vhost(&vhost, |rates| Alone {
            incoming: breakdown::published(incoming, rates),
            outgoing: breakdown::routed(outgoing, rates),
        }));
    Ok(list::respond_with(&row, &query))
}
