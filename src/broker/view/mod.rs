//! Read-only views, exact at the moment they are taken: for management, for metrics, and for tests that check invariants.
//!
//! They are plain values that know nothing of HTTP. Names are shared and no body is copied, so that a view of ten thousand queues
//! takes a few milliseconds of the loop's time.

mod binding;
mod breakdown;
mod connection;
mod exchange;
mod peek;
mod queue;
mod sample;
mod snapshot;
mod totals;

pub use binding::{BindingView, DestinationKind};
pub use breakdown::{ByChannel, ByName};
pub use connection::{ActivityStatus, ChannelView, ConnectionState, ConnectionView, ConsumerView};
pub use exchange::ExchangeView;
pub use peek::{HeldBy, Peek, Peeked, Unsettled};
pub use queue::{ActiveConsumer, QueueView, StreamView};
pub use sample::{QueueSample, Sample};
pub use snapshot::{ChannelSnapshot, QueueSnapshot};
pub use totals::{InChannels, Objects, Totals};

use super::Broker;
use super::policy::Policy;

impl Broker {
    /// Every policy, or every operator policy, by name.
    #[must_use]
    pub fn policy_views(&self, operator: bool) -> Vec<Policy> {
        self.policies.all(operator).cloned().collect()
    }

    #[must_use]
    pub fn has_policy(&self, operator: bool, name: &str) -> bool {
        self.policies.all(operator).any(|policy| policy.name == name)
    }
}
