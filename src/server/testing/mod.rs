//! What tests ask of a broker that was started for them (docs/TEST_API.md). The API over HTTP and embedding programs come here.

mod clock;
mod crash;
mod journal;
mod lint;
mod saved;
mod throwaway;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

pub use crate::storage::Unsynced;
pub use clock::{Advance, AdvanceError, ClockView, Fire};
pub use journal::{EVENT_KEYS, Filter, Left, LeftInQueue, Unconfirmed, values_of};
pub use lint::Report;
pub use saved::{Keep, Open, Saved};
pub use throwaway::Throwaway;

/// What is kept of it between requests.
#[derive(Debug, Default)]
pub(super) struct Testing {
    /// Held by who moves the clock.
    moving: tokio::sync::Mutex<()>,
    /// What was saved to go back to, by name.
    saved: Mutex<BTreeMap<String, Arc<Saved>>>,
    throwaways: Mutex<throwaway::Throwaways>,
    /// Held by who makes such a virtual host, or takes it away.
    making: tokio::sync::Mutex<()>,
}

/// Why a test does not get what it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestError {
    /// There is no such thing.
    NotFound(String),
    /// It cannot be.
    Refused(String),
    /// The node or its disk fails.
    Failed(String),
}

impl std::fmt::Display for TestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::NotFound(why) | Self::Refused(why) | Self::Failed(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for TestError {}
