//! How many channels there are: in this virtual host, and in the others, which limits of the node and of users count as well.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

use super::Broker;

/// Channels that are open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelCounts {
    pub all: usize,
    /// Of each user that has any.
    pub of_users: BTreeMap<Arc<str>, usize>,
}

impl ChannelCounts {
    pub(super) fn of(&self, user: &str) -> usize {
        self.of_users.get(user).copied().unwrap_or(0)
    }
}

impl AddAssign<&Self> for ChannelCounts {
    fn add_assign(&mut self, other: &Self) {
        self.all += other.all;
        for (user, channels) in &other.of_users {
            *self.of_users.entry(Arc::clone(user)).or_default() += channels;
        }
    }
}

impl Broker {
    /// Of this virtual host.
    #[must_use]
    pub fn channel_counts(&self) -> ChannelCounts {
        let mut counts = ChannelCounts::default();
        for connection in self.connections.iter().flatten().filter(|connection| !connection.channels.is_empty()) {
            counts.all += connection.channels.len();
            *counts.of_users.entry(Arc::clone(&connection.opened.user)).or_default() += connection.channels.len();
        }
        counts
    }

    /// How often a channel has been opened or closed: as long as this stays, so do the counts.
    #[must_use]
    pub fn channel_changes(&self) -> u64 {
        self.churn.channel_created.wrapping_add(self.churn.channel_closed)
    }
}
