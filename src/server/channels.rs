//! The channels of all virtual hosts, which know nothing of each other: counted together where there is a limit of the node or of a user.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::Shell;
use crate::amqp::Command;
use crate::broker::{Broker, ChannelCounts};
use crate::node::Node;

/// channel.open.
const OPEN: (u16, u16) = (20, 10);

#[derive(Debug, Default)]
pub(super) struct Channels {
    are_limited: AtomicBool,
    by_vhost: Mutex<BTreeMap<Arc<str>, ChannelCounts>>,
}

impl Channels {
    pub(super) fn new(node: &Node) -> Self {
        Self { are_limited: AtomicBool::new(are_limited(node)), by_vhost: Mutex::default() }
    }

    /// Whether anybody has to count.
    pub(super) fn are_limited(&self) -> bool {
        self.are_limited.load(Ordering::Relaxed)
    }

    /// Where a connection wants to open a channel: nobody else does as long as what this returns lives, or two could both be the last
    /// that there may be. It is held while a virtual host handles what one connection has sent, never while anything is waited for.
    pub(super) fn opening<'a>(&'a self, vhost: &'a Arc<str>, commands: &[Command]) -> Option<Opening<'a>> {
        let is_open = |command: &Command| matches!(command, Command::Method(_, method) if method.class_method == OPEN);
        commands.iter().any(is_open).then(|| Opening { vhost, by_vhost: self.by_vhost.lock() })
    }

    /// What there is in a virtual host now.
    pub(super) fn note(&self, vhost: &Arc<str>, broker: &Broker) {
        Opening { vhost, by_vhost: self.by_vhost.lock() }.note(broker);
    }

    /// The same where that has changed.
    pub(super) fn note_changes(&self, vhost: &Arc<str>, broker: &Broker, noted: &mut u64) {
        let changes = broker.channel_changes();
        if std::mem::replace(noted, changes) != changes {
            self.note(vhost, broker);
        }
    }
}

pub(super) struct Opening<'a> {
    vhost: &'a Arc<str>,
    by_vhost: MutexGuard<'a, BTreeMap<Arc<str>, ChannelCounts>>,
}

impl Opening<'_> {
    /// What there is in other virtual hosts.
    pub(super) fn beside(&self) -> ChannelCounts {
        let mut sum = ChannelCounts::default();
        self.by_vhost.iter().filter(|(other, _)| *other != self.vhost).for_each(|(_, counts)| sum += counts);
        sum
    }

    /// What there is in the virtual host after that.
    pub(super) fn note(mut self, broker: &Broker) {
        let counts = broker.channel_counts();
        if counts.all == 0 {
            self.by_vhost.remove(self.vhost);
        } else {
            self.by_vhost.insert(Arc::clone(self.vhost), counts);
        }
    }
}

fn are_limited(node: &Node) -> bool {
    node.settings.channel_max_per_node.is_some() || node.users.values().any(|user| user.limits.max_channels.is_some())
}

impl Shell {
    /// The node has changed: its channels may have to be counted from now on, those that are open, too.
    pub(super) async fn count_channels(&self, node: &Node) {
        let limited = are_limited(node);
        if self.channels.are_limited.swap(limited, Ordering::SeqCst) || !limited {
            return;
        }
        for broker_loop in self.loops().iter() {
            broker_loop.note_channels().await;
        }
    }
}
