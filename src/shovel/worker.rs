//! The task of a shovel: attempts, one after the other, until it has done its work or is told to stop.

use std::sync::Arc;

use serde_json::Value as Json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::definition::{AckMode, Definition, DeleteAfter, To};
use super::message::Forward;
use super::status::{Progress, State};
use super::transfer::{Ended, Transfer};
use super::{Id, Shovels, connect, topology};
use crate::client::{Connection, Consume, Error};
use crate::node::parameters::SHOVEL;

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) shovels: Shovels,
    pub(super) id: Id,
    pub(super) definition: Json,
    pub(super) progress: Arc<Progress>,
}

/// Which end of a shovel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

/// Why an attempt came to its end, and whose fault it was.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) side: Side,
    pub(super) why: String,
}

impl Failure {
    pub(super) fn new(side: Side, why: &impl std::fmt::Display) -> Self {
        Self { side, why: why.to_string() }
    }
}

/// Where the next attempt goes on.
#[derive(Debug, Default)]
struct Place {
    /// Of the lists of URIs.
    source: usize,
    destination: usize,
    /// Messages that are still to go over; `None` where that is not known, or does not matter.
    remaining: Option<u64>,
}

/// Waits until it is to stop.
pub(super) async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Worker {
    /// `before` is the task that had this shovel's work until now.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>, before: Option<JoinHandle<()>>) {
        if let Some(before) = before {
            let _ = before.await;
        }
        let definition = match Definition::read(&self.definition) {
            Ok(definition) => definition,
            Err(reason) => {
                tracing::error!("shovel {} cannot start: {reason}", self.id);
                return self.progress.enter(State::Terminated { reason });
            }
        };
        let mut place = Place::default();
        loop {
            if *stop.borrow() {
                return;
            }
            self.progress.enter(State::Starting);
            match self.attempt(&definition, &mut place, &mut stop).await {
                Ok(Ended::Stopped) => return tracing::info!("shovel {} has stopped", self.id),
                Ok(Ended::Done) => return self.done().await,
                Err(Failure { side, why }) => {
                    let (at, end) = match side {
                        Side::Source => (&mut place.source, "source"),
                        Side::Destination => (&mut place.destination, "destination"),
                    };
                    *at += 1;
                    tracing::warn!("shovel {} lost its {end}: {why}", self.id);
                    self.progress.enter(State::Terminated { reason: format!("{end}: {why}") });
                }
            }
            let Some(delay) = definition.reconnect_delay else { return };
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = told(&mut stop) => return,
            }
        }
    }

    /// Connects and moves messages until something ends that.
    async fn attempt(&self, definition: &Definition, place: &mut Place, stop: &mut watch::Receiver<bool>) -> Result<Ended, Failure> {
        let opened = tokio::select! {
            opened = self.open(definition, place) => opened?,
            () = told(stop) => return Ok(Ended::Stopped),
        };
        let Some(mut transfer) = opened else { return Ok(Ended::Done) };
        let ended = transfer.run(stop).await;
        place.remaining = transfer.remaining();
        // What was acknowledged arrives before the goodbye; and what was not goes back before the next attempt begins.
        transfer.close().await;
        ended
    }

    /// `None` when there is nothing to be done.
    async fn open(&self, definition: &Definition, place: &mut Place) -> Result<Option<Transfer>, Failure> {
        let from = |error: Error| Failure::new(Side::Source, &error);
        let to = |error: Error| Failure::new(Side::Destination, &error);
        let name = format!("Shovel {}", self.id.name);
        let source = self.connect(&definition.source_uris, &mut place.source, &name).await;
        let source = source.map_err(|why| Failure::new(Side::Source, &why))?;
        let destination = self.connect(&definition.destination_uris, &mut place.destination, &name).await;
        let destination = destination.map_err(|why| Failure::new(Side::Destination, &why))?;

        if let To::Queue { name, arguments } = &definition.to {
            topology::ensure_queue(&destination, name, arguments, definition.destination_predeclared).await.map_err(to)?;
        }
        let publishing = destination.channel().await.map_err(to)?;
        if definition.ack_mode == AckMode::OnConfirm {
            publishing.confirm_select().await.map_err(to)?;
        }

        let channel = source.channel().await.map_err(from)?;
        let queue = topology::source_queue(&source, &channel, &definition.from, definition.source_predeclared).await.map_err(from)?;
        let no_ack = definition.ack_mode == AckMode::NoAck;
        if !no_ack {
            channel.qos(definition.prefetch, false).await.map_err(from)?;
        }
        let remaining = match definition.delete_after {
            DeleteAfter::Never => None,
            DeleteAfter::Messages(count) => Some(place.remaining.unwrap_or(count)),
            // Acknowledgements that did not arrive have brought messages back that were counted.
            DeleteAfter::QueueLength => {
                let ready = topology::declare_passive(&channel, &queue).await.map_err(from)?;
                Some(place.remaining.unwrap_or(0).max(ready))
            }
        };
        if remaining == Some(0) {
            let _ = source.close().await;
            let _ = destination.close().await;
            return Ok(None);
        }
        let consume = Consume { no_ack, arguments: definition.consumer_arguments.clone(), ..Consume::from(queue) };
        let consumer = channel.consume(consume).await.map_err(from)?;

        let uri = |uris: &[crate::client::uri::Uri], at: usize| uris.get(at % uris.len()).map(ToString::to_string).unwrap_or_default();
        let (source_uri, destination_uri) =
            (uri(&definition.source_uris, place.source), uri(&definition.destination_uris, place.destination));
        let by = &self.progress.cluster_name;
        let forward = Forward::new(definition, &self.id, by, &source_uri, &destination_uri);
        let forward = forward.map_err(|why| Failure::new(Side::Destination, &why))?;
        tracing::info!(source = source_uri, destination = destination_uri, "shovel {} runs", self.id);
        let blocked = destination.blocked().is_some();
        self.progress.enter(State::Running { source: source_uri, destination: destination_uri, blocked });
        let ends = (source, destination);
        Ok(Some(Transfer::new(definition.ack_mode, ends, (consumer, publishing), (forward, remaining), Arc::clone(&self.progress))))
    }

    async fn connect(&self, uris: &[crate::client::uri::Uri], at: &mut usize, name: &str) -> Result<Connection, String> {
        connect::first(uris, at, name, &self.shovels.0.handle).await
    }

    /// All messages that were meant have gone over: the definition is deleted, unless it is in a file or has become another one.
    async fn done(&self) {
        let Id { vhost, name } = &self.id;
        let Some(vhost) = vhost else {
            tracing::info!("shovel {} has done its work", self.id);
            return self.progress.enter(State::Terminated { reason: "all messages have gone over".to_owned() });
        };
        let cleared = self.shovels.0.handle.change_node(|node| {
            if node.parameters.get(SHOVEL, vhost, name) == Some(&self.definition) {
                node.parameters.clear(SHOVEL, vhost, name);
            }
            Ok(())
        });
        if let Err(error) = cleared.await {
            tracing::error!("shovel {} has done its work, but its definition stays: {error}", self.id);
            return self.progress.enter(State::Terminated { reason: error.to_string() });
        }
        tracing::info!("shovel {} has done its work and is deleted", self.id);
        self.progress.set_over();
        self.shovels.reconcile();
    }
}
