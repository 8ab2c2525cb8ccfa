//! Virtual hosts that are there for one test: made when somebody opens one whose name fits, gone with their last connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::TestError;
use crate::broker::Snapshot;
use crate::node::permissions::Permissions;
use crate::node::vhosts::Vhost;
use crate::node::{Node, Refusal};
use crate::server::faults::Pattern;
use crate::server::{Handle, Shell};

/// Which virtual hosts are made when they are opened, and what they are made like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throwaway {
    /// Of their names.
    pub pattern: Pattern,
    /// The virtual host that they begin as copies of, with its messages and who may use it; `None`: they are empty.
    pub template: Option<String>,
}

/// How far one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    BeingMade,
    Used,
    /// Nobody is connected any more.
    Leaving,
}

/// What is known of them.
#[derive(Debug, Default)]
pub(in crate::server) struct Throwaways {
    kind: Option<Throwaway>,
    all: BTreeMap<Arc<str>, Stage>,
}

impl Throwaways {
    fn has_to_be_made(&self, node: &Node, vhost: &str) -> bool {
        match self.all.get(vhost) {
            Some(stage) => *stage != Stage::Used,
            None => node.vhost(vhost).is_none() && self.kind.as_ref().is_some_and(|kind| kind.pattern.matches(vhost.as_bytes())),
        }
    }
}

impl Handle {
    /// Sets which virtual hosts are made when they are opened; `None`: none any more. Those there are stay until their last connection
    /// goes.
    ///
    /// # Errors
    /// When the template is not there.
    pub fn set_throwaway(&self, kind: Option<Throwaway>) -> Result<(), TestError> {
        let template = kind.as_ref().and_then(|kind| kind.template.as_deref());
        if let Some(template) = template.filter(|template| self.node().vhost(template).is_none()) {
            return Err(TestError::NotFound(format!("no virtual host '{template}'")));
        }
        self.0.testing.throwaways.lock().kind = kind;
        Ok(())
    }

    /// Which are made, and which there are.
    #[must_use]
    pub fn throwaway(&self) -> (Option<Throwaway>, Vec<Arc<str>>) {
        let throwaways = self.0.testing.throwaways.lock();
        (throwaways.kind.clone(), throwaways.all.keys().cloned().collect())
    }
}

impl Shell {
    /// Whether a virtual host has to be made, or waited for, before it is opened.
    pub(in crate::server) fn has_to_make(&self, vhost: &str) -> bool {
        self.config.testing.api && self.testing.throwaways.lock().has_to_be_made(&self.node(), vhost)
    }

    /// Makes a virtual host for a user that opens it, unless somebody else has. When that fails, opening it does, and says why.
    pub(in crate::server) async fn make_throwaway(self: &Arc<Self>, vhost: &Arc<str>, user: &Arc<str>) {
        let _one_at_a_time = self.testing.making.lock().await;
        let kind = {
            let mut throwaways = self.testing.throwaways.lock();
            if !throwaways.has_to_be_made(&self.node(), vhost) {
                return;
            }
            let Some(kind) = throwaways.kind.clone() else { return };
            throwaways.all.insert(Arc::clone(vhost), Stage::BeingMade);
            kind
        };
        let made = self.make(vhost, user, kind.template.as_deref()).await;
        let mut throwaways = self.testing.throwaways.lock();
        match made {
            Ok(()) => drop(throwaways.all.insert(Arc::clone(vhost), Stage::Used)),
            Err(error) => {
                tracing::warn!("virtual host '{vhost}' cannot be made: {error}");
                throwaways.all.remove(vhost);
            }
        }
    }

    async fn make(self: &Arc<Self>, vhost: &Arc<str>, user: &Arc<str>, template: Option<&str>) -> Result<(), TestError> {
        let handle = Handle(Arc::clone(self));
        let copied: Option<Snapshot> = match template {
            Some(template) => handle.save(Some(template)).await?.vhosts().next().map(|(_, snapshot)| snapshot.clone()),
            None => None,
        };
        let everything = Permissions::new(".*", ".*", ".*").map_err(|why| TestError::Failed(why.to_string()))?;
        let change = |node: &mut Node| {
            let like = template.and_then(|template| node.vhost(template)).map(|vhost| Vhost::clone(vhost)).unwrap_or_default();
            node.put_vhost(Vhost { name: Arc::clone(vhost), protected_from_deletion: false, ..like });
            let of_template = node.permissions.iter().filter(|((_, of), _)| template.is_some_and(|template| **of == *template));
            let of_template: Vec<_> = of_template.map(|((user, _), permissions)| (Arc::clone(user), permissions.clone())).collect();
            for (other, permissions) in of_template {
                node.set_permissions(&other, vhost, permissions)?;
            }
            // Whoever makes a virtual host may use it.
            if node.user(user).is_some() && node.rights(user, vhost).is_none() {
                node.set_permissions(user, vhost, everything)?;
            }
            Ok::<_, Refusal>(())
        };
        self.change_node(change).await?;
        if let Some(snapshot) = copied {
            handle.restore(vhost, snapshot, super::Open::Keep).await?;
        }
        Ok(())
    }

    /// A connection has gone, which was the last of its virtual host.
    pub(in crate::server) fn left_alone(self: &Arc<Self>, vhost: &Arc<str>) {
        match self.testing.throwaways.lock().all.get_mut(vhost) {
            Some(stage) if *stage == Stage::Used => *stage = Stage::Leaving,
            _ => return,
        }
        let (shell, vhost) = (Arc::clone(self), Arc::clone(vhost));
        self.tasks.spawn(async move { shell.throw_away(&vhost).await });
    }

    async fn throw_away(self: &Arc<Self>, vhost: &Arc<str>) {
        let _one_at_a_time = self.testing.making.lock().await;
        let deleted = self.change_node(|node| node.delete_vhost(vhost)).await;
        if let Err(error) = deleted {
            tracing::debug!("virtual host '{vhost}' is gone already: {error}");
        }
        self.testing.throwaways.lock().all.remove(vhost);
    }
}
