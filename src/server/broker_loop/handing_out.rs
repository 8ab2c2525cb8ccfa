//! What handling a round leads to: outputs for sockets, records for the disk, and what only the shell can do.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Keeper, State};
use crate::broker::{Action, ConnectionId, Release};
use crate::server::outbox::{Leaves, Shared};
use crate::server::storage::Waiting;

impl State {
    /// Moves outputs to the outboxes of their connections, in order, and carries out the actions.
    pub(super) fn hand_out(&mut self, to_flush: &mut Vec<(ConnectionId, Arc<Shared>)>) {
        let Self { broker, effects, connections, keeper, told, round, loading, .. } = self;
        let keeps = keeper.is_some();
        let mut waiting = Vec::new();
        let of = |id: ConnectionId| connections.get(id.index()).and_then(Option::as_ref);
        effects.drain_outputs(|id, output, release| {
            if let Some(shared) = of(id) {
                let held = release == Release::WhenSafe;
                let leaves = match release {
                    // Also where nothing is written now: what was before may not be safe yet.
                    Release::WhenSafe if keeps => Leaves::After(*round),
                    Release::WhenSafe | Release::InOrder => Leaves::InOrder,
                    Release::AtOnce => Leaves::Now,
                };
                let consumers = |channel, tag: &str| broker.consumer(id, channel, tag).map(|(queue, no_ack)| (queue.into(), no_ack));
                let pushed = shared.push_to(output, leaves, &consumers);
                broker.set_pending(id, pushed.pending);
                if !pushed.is_barred {
                    to_flush.push((id, Arc::clone(shared)));
                } else if held {
                    waiting.push((id, Arc::clone(shared)));
                }
            }
        });
        if let Some(Keeper { storage, vhost }) = keeper {
            // Only now: whoever waits has to be there when the records are safe.
            if !broker.records().is_empty() || !waiting.is_empty() || !told.is_empty() {
                let waiting = Waiting { round: *round, connections: waiting, told: std::mem::take(told) };
                storage.write(*vhost, broker.records(), waiting);
            }
            for spill in broker.take_spills() {
                storage.spill(*vhost, spill);
            }
            for unneeded in broker.take_unneeded() {
                storage.unneeded(*vhost, unneeded);
            }
            for load in broker.take_loads() {
                *loading += 1;
                storage.load(*vhost, load);
            }
        } else {
            for tell in told.drain(..) {
                let _ = tell.send(());
            }
        }
        for refusal in effects.refusals.drain(..) {
            let peer = of(refusal.connection).map(|shared| shared.peer);
            let peer = peer.map_or_else(|| "a client that is gone".to_owned(), |peer| peer.to_string());
            tracing::warn!(peer, channel = refusal.channel, "closing: {}", refusal.reply_text);
        }
        for action in effects.actions.drain(..) {
            let id = action.connection();
            let Some(shared) = of(id) else { continue };
            match action {
                Action::CloseSocket(_) => shared.close_when_flushed.store(true, Ordering::Release),
                Action::CloseUnanswered(_) => {
                    shared.unanswered.store(true, Ordering::Release);
                    shared.close_when_flushed.store(true, Ordering::Release);
                }
                Action::AwaitCloseOk(_) => shared.awaits_close_ok.store(true, Ordering::Release),
                Action::PauseReading(_) => shared.paused.store(true, Ordering::Release),
                Action::ResumeReading(_) => shared.paused.store(false, Ordering::Release),
                Action::ReportFlushed(_) => {
                    shared.report_when_flushed(id);
                    to_flush.push((id, Arc::clone(shared)));
                }
            }
            shared.wake.notify_one();
        }
    }
}
