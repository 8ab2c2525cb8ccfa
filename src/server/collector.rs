//! Hands the spans of virtual hosts on to who exports them.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::tasks::Tasks;
use crate::broker::Settings;
use crate::broker::spans::Span;
use crate::config::Config;
use crate::telemetry::{self, Outlet, Traced, now};

/// How long a stop waits for what is to be sent to a collector.
const GRACE: Duration = Duration::from_secs(2);

/// Has sent what waits, if that does not take long.
pub(super) async fn flush(tracing: Option<&Tracing>) {
    if let Some(tracing) = tracing {
        tracing.outlet.flush(GRACE).await;
    }
}

/// Where spans go.
#[derive(Debug)]
pub(super) struct Tracing {
    pub(super) outlet: Outlet<Traced>,
    /// Numbers that nobody else has, made of how many there have been.
    ids: RandomState,
    last: AtomicU64,
}

impl Tracing {
    /// Begins to export, where the configuration says to whom.
    pub(super) fn start(config: &Config, settings: &Settings, tasks: &Arc<Tasks>) -> Option<Self> {
        let (outlet, exporter) = telemetry::traces(&config.opentelemetry, &settings.node_name)?;
        tasks.spawn(exporter.run());
        Some(Self { outlet, ids: RandomState::new(), last: AtomicU64::new(0) })
    }

    /// Spans of a round that has just ended, and how many messages were missed.
    pub(super) fn push(&self, vhost: &str, (spans, missed): (Vec<Span>, u64)) {
        if missed > 0 {
            self.outlet.told().drop_some(missed);
        }
        if spans.is_empty() {
            return;
        }
        let (vhost, ended): (Arc<str>, u64) = (vhost.into(), now());
        for span in spans {
            // Zero is no identifier.
            let id = self.ids.hash_one(self.last.fetch_add(1, Ordering::Relaxed)).max(1).to_be_bytes();
            self.outlet.push(Traced { vhost: Arc::clone(&vhost), span, ended, id });
        }
    }
}
