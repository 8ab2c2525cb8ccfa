//! The built-in shovel (behaviour O10): messages of one broker go on to another, or to another place of the same, as RabbitMQ's
//! shovel plugin has it. docs/SHOVEL.md says how it is used.
//!
//! A shovel is a task with two connections. It consumes, publishes, and acknowledges in order what the destination has confirmed;
//! so with `ack-mode` `on-confirm` a message is at one place or at both, whoever dies. When anything ends, both connections are given
//! up and the shovel begins anew after its delay, with the next URI of the side that failed.
//!
//! Dynamic shovels are parameters of virtual hosts: [`Shovels`] compares what there is with what runs, whenever the node changes
//! and before anybody is told how shovels do.

mod connect;
mod definition;
mod message;
mod status;
mod tls;
mod topology;
mod transfer;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::node::parameters::SHOVEL;
use crate::server::Handle;
use status::Progress;
use worker::Worker;

pub use definition::check;
pub use status::{Report, State};

/// How long shovels may take to end when the node does.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Which shovel: those of the configuration have no virtual host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    pub vhost: Option<Arc<str>>,
    pub name: Arc<str>,
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.vhost {
            Some(vhost) => write!(f, "'{}' in virtual host '{vhost}'", self.name),
            None => write!(f, "'{}'", self.name),
        }
    }
}

/// All shovels of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shovels(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    handle: Handle,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    shovels: BTreeMap<Id, Shovel>,
    /// What has been told to stop and may not have yet: a successor waits for it, or two would take from one queue at once.
    leaving: BTreeMap<Id, JoinHandle<()>>,
    /// The node ends.
    closed: bool,
}

#[derive(Debug)]
struct Shovel {
    definition: Json,
    progress: Arc<Progress>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Shovels {
    /// Starts those of the configuration, and those that are parameters as they come and go.
    #[must_use]
    pub fn start(handle: Handle) -> Self {
        let shovels = Self(Arc::new(Inner { handle, running: Mutex::default() }));
        for (name, definition) in &shovels.0.handle.config().shovels {
            let id = Id { vhost: None, name: name.as_str().into() };
            shovels.begin(&mut shovels.0.running.lock(), id, &Json::Object(definition.clone()));
        }
        let watching = shovels.clone();
        shovels.0.handle.spawn(async move {
            let mut node = watching.0.handle.on_node();
            loop {
                node.borrow_and_update();
                watching.reconcile();
                if node.changed().await.is_err() {
                    return;
                }
            }
        });
        shovels
    }

    /// Starts what has come, ends what has gone, and begins anew with what has changed.
    fn reconcile(&self) {
        let mut running = self.0.running.lock();
        if running.closed {
            return;
        }
        // Under the lock: who comes later sees no older node.
        let node = self.0.handle.node();
        let mut wanted: BTreeMap<Id, &Json> = node
            .parameters
            .iter()
            .filter(|(component, ..)| *component == SHOVEL)
            .map(|(_, vhost, name, value)| (Id { vhost: Some(vhost.into()), name: name.into() }, value))
            .collect();
        let stays =
            |id: &Id, shovel: &Shovel| id.vhost.is_none() || wanted.get(id) == Some(&&shovel.definition) && !shovel.progress.is_over();
        let gone: Vec<Id> = running.shovels.iter().filter(|(id, shovel)| !stays(id, shovel)).map(|(id, _)| id.clone()).collect();
        gone.iter().for_each(|id| drop(running.end(id)));
        running.leaving.retain(|_, task| !task.is_finished());
        wanted.retain(|id, _| !running.shovels.contains_key(id));
        for (id, definition) in wanted {
            self.begin(&mut running, id, definition);
        }
    }

    fn begin(&self, running: &mut Running, id: Id, definition: &Json) {
        let progress = Arc::new(Progress::new(self.0.handle.node().cluster_name().into()));
        let (stop, stopped) = watch::channel(false);
        let worker = Worker { shovels: self.clone(), id: id.clone(), definition: definition.clone(), progress: Arc::clone(&progress) };
        let task = self.0.handle.spawn(worker.run(stopped, running.leaving.remove(&id)));
        running.shovels.insert(id, Shovel { definition: definition.clone(), progress, stop, task });
    }

    /// How all shovels do.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.reconcile();
        let running = self.0.running.lock();
        running.shovels.iter().map(|(id, shovel)| shovel.progress.report(id, &shovel.definition)).collect()
    }

    /// Ends a shovel and begins anew with it; whether there is one.
    #[must_use]
    pub fn restart(&self, vhost: Option<&str>, name: &str) -> bool {
        self.reconcile();
        let id = Id { vhost: vhost.map(Into::into), name: name.into() };
        let mut running = self.0.running.lock();
        let Some(definition) = running.end(&id) else { return false };
        tracing::info!("shovel {id} is restarted");
        if !running.closed {
            self.begin(&mut running, id, &definition);
        }
        true
    }

    /// Ends them all: what was confirmed is acknowledged, and connections are closed.
    pub async fn stop(&self) {
        let tasks = {
            let mut running = self.0.running.lock();
            running.closed = true;
            let ids: Vec<Id> = running.shovels.keys().cloned().collect();
            ids.iter().for_each(|id| drop(running.end(id)));
            std::mem::take(&mut running.leaving)
        };
        let all = async {
            for task in tasks.into_values() {
                let _ = task.await;
            }
        };
        if tokio::time::timeout(STOP_PATIENCE, all).await.is_err() {
            tracing::warn!("shovels did not end in time");
        }
    }
}

impl Running {
    /// Tells a shovel to stop; returns what it was defined as.
    fn end(&mut self, id: &Id) -> Option<Json> {
        let Shovel { definition, stop, task, .. } = self.shovels.remove(id)?;
        stop.send_replace(true);
        self.leaving.insert(id.clone(), task);
        Some(definition)
    }
}
