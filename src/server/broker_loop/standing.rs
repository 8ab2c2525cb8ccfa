//! A virtual host in which nothing happens, for who puts another broker in the place of the one there.

use std::sync::{Arc, Weak};

use parking_lot::MutexGuard;

use super::{BrokerLoop, State};
use crate::broker::{Broker, Effects};
use crate::server::inbox::Submission;
use crate::server::outbox::Shared;

/// A virtual host in which nothing happens.
pub(in crate::server) struct Standing<'a> {
    pub(super) broker_loop: &'a BrokerLoop,
    pub(super) state: MutexGuard<'a, State>,
}

impl Standing<'_> {
    pub(in crate::server) fn vhost(&self) -> &str {
        self.broker_loop.vhost()
    }

    /// Resets all connections, and returns what is left of them until they have heard of it.
    pub(in crate::server) fn hang_up(&mut self) -> Vec<Weak<Shared>> {
        let mut gone: Vec<Arc<Shared>> = self.state.connections.iter_mut().filter_map(Option::take).collect();
        let inbox = self.broker_loop.inbox.lock();
        gone.extend(inbox.urgent.iter().filter_map(Submission::newcomer).cloned());
        drop(inbox);
        gone.iter().for_each(|shared| shared.hang_up());
        gone.iter().map(Arc::downgrade).collect()
    }

    /// Goes on with another broker, which knows nobody. What the former clients have submitted is forgotten, and who has come since they
    /// were reset is reset as well.
    pub(in crate::server) fn begin_anew(mut self, mut broker: Broker) {
        if let Some(journal) = &self.broker_loop.journal {
            journal.take(&self.broker_loop.vhost, &mut self.state.broker);
            journal.attach(&mut broker);
        }
        if self.broker_loop.shell.get().and_then(Weak::upgrade).is_some_and(|shell| shell.tracing.is_some()) {
            broker.keep_spans();
        }
        let state = &mut *self.state;
        state.broker = broker;
        state.effects = Effects::default();
        state.told.clear();
        state.loading = 0;
        self.broker_loop.set_safe(state.round);
        let mut inbox = self.broker_loop.inbox.lock();
        let newcomers: Vec<Arc<Shared>> = inbox.urgent.iter().filter_map(Submission::newcomer).cloned().collect();
        inbox.forget_clients();
        drop(inbox);
        newcomers.iter().for_each(|shared| shared.hang_up());
        drop(self.state);
        self.broker_loop.room.notify_waiters();
    }
}
