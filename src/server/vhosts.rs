//! Virtual hosts that come and go while the node runs, and everything else an administrator changes of the node.

use std::sync::{Arc, Weak};

use super::broker_loop::{BrokerLoop, Keeper};
use super::{Shell, seed};
use crate::broker::{Broker, Connections, Input, Rights};
use crate::node::permissions::changed_rights;
use crate::node::vhosts::Vhost;
use crate::node::{Node, Refusal};

/// Why a change of the node has not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeError {
    Refused(Refusal),
    /// The disk does not take it.
    Disk(String),
}

impl std::fmt::Display for ChangeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Disk(error) => write!(f, "cannot be written down: {error}"),
        }
    }
}

impl std::error::Error for ChangeError {}

impl From<Refusal> for ChangeError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Shell {
    /// Changes the node: when this returns, the change would survive, everybody sees it, and what follows from it for connections
    /// that are open has happened. `user` is who wants it, in the words of RabbitMQ's events.
    pub(super) async fn change_node<T>(self: &Arc<Self>, change: impl FnOnce(&mut Node) -> Result<T, Refusal>) -> Result<T, ChangeError> {
        let _one_at_a_time = self.changing.lock().await;
        let before = self.node();
        let mut node = Node::clone(&before);
        let outcome = change(&mut node)?;
        let node = Arc::new(node);
        let mut opened = Vec::new();
        for (name, vhost) in node.vhosts.iter().filter(|(name, _)| !before.vhosts.contains_key(*name)) {
            opened.push(self.open_vhost(name, vhost).await.map_err(ChangeError::Disk)?);
        }
        if let Some(file) = self.node_file.clone() {
            let written = Arc::clone(&node);
            let written = tokio::task::spawn_blocking(move || file.write(&written)).await;
            written.map_err(std::io::Error::other).and_then(|written| written).map_err(|error| ChangeError::Disk(error.to_string()))?;
        }
        opened.iter().for_each(|broker_loop| self.add_loop(broker_loop));
        *self.node.write() = Arc::clone(&node);
        self.count_channels(&node).await;
        self.spread_node(&before, &node).await;
        self.node_told.send_replace(node);
        Ok(outcome)
    }

    /// A loop for a virtual host that nobody uses yet.
    async fn open_vhost(self: &Arc<Self>, name: &str, vhost: &Vhost) -> Result<Arc<BrokerLoop>, String> {
        let retired = {
            let mut retired = self.retired.lock();
            retired.iter().position(|broker_loop| broker_loop.vhost() == name).map(|at| retired.swap_remove(at))
        };
        let broker_loop = match retired {
            Some(broker_loop) => broker_loop,
            None => {
                let mut broker = Broker::new(name, Arc::clone(&self.settings), self.config.testing.seed.unwrap_or_else(seed));
                let mut keeper = None;
                if let Some(storage) = &self.storage {
                    broker.keep_records();
                    keeper = Some(Keeper { storage: Arc::clone(storage), vhost: storage.number(name).await? });
                }
                self.run_loop(Arc::new(BrokerLoop::new(broker, keeper, &self.time, self.journal.clone())))
            }
        };
        let (limits, tracing) = (vhost.for_broker(), vhost.tracing);
        broker_loop
            .ask(move |asked| {
                asked.handle(Input::SetLimits(limits));
                asked.handle(Input::Trace(tracing));
            })
            .await;
        Ok(broker_loop)
    }

    /// Sets a loop going.
    pub(super) fn run_loop(self: &Arc<Self>, broker_loop: Arc<BrokerLoop>) -> Arc<BrokerLoop> {
        broker_loop.watch_memory(self);
        self.tasks.spawn(Arc::clone(&broker_loop).keep_time());
        broker_loop
    }

    /// From now on the loop is found, and hears of alarms.
    pub(super) fn add_loop(&self, broker_loop: &Arc<BrokerLoop>) {
        // Under the lock of the alarms, so that it misses none.
        let alarms = self.alarms.lock();
        broker_loop.push_alarms(*alarms);
        let mut loops = self.loops.write();
        let mut all: Vec<_> = loops.iter().cloned().collect();
        all.push(Arc::clone(broker_loop));
        all.sort_by(|a, b| a.vhost().cmp(b.vhost()));
        *loops = all.into();
        drop(loops);
        drop(alarms);
        broker_loop.poke();
    }

    /// Tells loops what has changed for them; returns when they know.
    async fn spread_node(self: &Arc<Self>, before: &Node, after: &Node) {
        let changed = changed_rights(before, after);
        for broker_loop in self.loops().iter() {
            let vhost = broker_loop.vhost();
            let Some(now) = after.vhost(vhost) else {
                self.retire(broker_loop).await;
                continue;
            };
            let was = before.vhost(vhost);
            let limits = was.is_none_or(|was| was.for_broker() != now.for_broker()).then(|| now.for_broker());
            let tracing = was.is_some_and(|was| was.tracing != now.tracing).then_some(now.tracing);
            let gone: Vec<Arc<str>> = before.users.keys().filter(|user| !after.users.contains_key(*user)).cloned().collect();
            let rights: Vec<_> = changed
                .iter()
                .filter(|(_, of)| **of == *vhost)
                .map(|(user, _)| (Arc::clone(user), Arc::new(after.rights(user, vhost).unwrap_or_else(Rights::none))))
                .collect();
            if limits.is_none() && tracing.is_none() && gone.is_empty() && rights.is_empty() {
                continue;
            }
            broker_loop
                .ask(move |asked| {
                    limits.into_iter().for_each(|limits| asked.handle(Input::SetLimits(limits)));
                    tracing.into_iter().for_each(|on| asked.handle(Input::Trace(on)));
                    for (user, rights) in &rights {
                        asked.handle(Input::SetRights { user, rights: Arc::clone(rights) });
                    }
                    for user in &gone {
                        let reason = format!("user '{user}' is deleted");
                        asked.handle(Input::CloseConnections { which: Connections::Of(user), reason: &reason });
                    }
                })
                .await;
        }
    }

    /// A virtual host is deleted: its connections are closed, and nothing of it stays.
    async fn retire(&self, broker_loop: &Arc<BrokerLoop>) {
        let reason = format!("vhost '{}' is deleted", broker_loop.vhost());
        broker_loop
            .ask(move |asked| {
                asked.handle(Input::CloseConnections { which: Connections::All, reason: &reason });
                asked.handle(Input::Reset);
            })
            .await;
        let mut loops = self.loops.write();
        *loops = loops.iter().filter(|other| !Arc::ptr_eq(other, broker_loop)).cloned().collect();
        drop(loops);
        // Kept for a virtual host of this name to come: what the disk has of it goes on counting its queues.
        self.retired.lock().push(Arc::clone(broker_loop));
    }
}

/// Who is connected, counted for limits.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    by_vhost: std::collections::BTreeMap<Arc<str>, u64>,
    by_user: std::collections::BTreeMap<Arc<str>, u64>,
}

impl crate::node::handshake::Connections for Admitted {
    fn of_vhost(&self, vhost: &str) -> u64 {
        self.by_vhost.get(vhost).copied().unwrap_or(0)
    }

    fn of_user(&self, user: &str) -> u64 {
        self.by_user.get(user).copied().unwrap_or(0)
    }
}

impl Admitted {
    pub(super) fn add(&mut self, vhost: &Arc<str>, user: &Arc<str>) {
        *self.by_vhost.entry(Arc::clone(vhost)).or_default() += 1;
        *self.by_user.entry(Arc::clone(user)).or_default() += 1;
    }

    /// Whether it was the last one of its virtual host.
    fn remove(&mut self, vhost: &Arc<str>, user: &Arc<str>) -> bool {
        for (counts, key) in [(&mut self.by_vhost, vhost), (&mut self.by_user, user)] {
            if let Some(count) = counts.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(key);
                }
            }
        }
        !self.by_vhost.contains_key(vhost)
    }
}

/// A place among the connections that are counted, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) shell: Weak<Shell>,
    pub(super) vhost: Arc<str>,
    pub(super) user: Arc<str>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(shell) = self.shell.upgrade() {
            let was_last = shell.admitted.lock().remove(&self.vhost, &self.user);
            if was_last {
                shell.left_alone(&self.vhost);
            }
        }
    }
}
