//! Moving messages, while both connections last.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::definition::AckMode;
use super::message::Forward;
use super::status::Progress;
use super::worker::{Failure, Side, told};
use crate::client::{Channel, Confirmation, Connection, Consumer, Delivery, Error, PendingConfirm};

/// Publishes that may wait for their confirms, where the definition leaves it open how many deliveries may.
const PENDING_MAX: usize = 65_535;
/// How long nothing is taken after the destination has refused a message, which is back in its queue then.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);
/// How long confirms are waited for when the shovel is to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// How long each connection may take to say goodbye.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was told to stop.
    Stopped,
    /// All messages that were meant have gone over.
    Done,
}

#[derive(Debug)]
pub(super) struct Transfer {
    mode: AckMode,
    source: Connection,
    destination: Connection,
    consumer: Consumer,
    publishing: Channel,
    forward: Forward,
    progress: Arc<Progress>,
    /// By the delivery tags at the source, in order.
    pending: VecDeque<(u64, PendingConfirm)>,
    /// Messages still to go over, and still to be published.
    remaining: Option<u64>,
    remaining_unacked: Option<u64>,
    /// Until when nothing is taken.
    paused: Option<Instant>,
}

impl Transfer {
    pub(super) fn new(
        mode: AckMode,
        (source, destination): (Connection, Connection),
        (consumer, publishing): (Consumer, Channel),
        (forward, remaining): (Forward, Option<u64>),
        progress: Arc<Progress>,
    ) -> Self {
        progress.set_remaining(remaining, remaining);
        progress.set_pending(0);
        let (pending, remaining_unacked, paused) = (VecDeque::new(), remaining, None);
        Self { mode, source, destination, consumer, publishing, forward, progress, pending, remaining, remaining_unacked, paused }
    }

    pub(super) fn remaining(&self) -> Option<u64> {
        self.remaining
    }

    /// Moves messages until all have gone over, or it is to stop.
    ///
    /// # Errors
    /// What ended a connection, a channel or the consumer.
    pub(super) async fn run(&mut self, stop: &mut watch::Receiver<bool>) -> Result<Ended, Failure> {
        let (source, destination) = (self.source.clone(), self.destination.clone());
        let (mut source_closed, mut destination_closed) = (pin!(source.closed()), pin!(destination.closed()));
        let mut blocked = self.destination.on_blocked();
        self.progress.set_blocked(blocked.borrow_and_update().is_some());
        let mut stops_at = None;
        loop {
            if self.remaining == Some(0) {
                return Ok(Ended::Done);
            }
            if stops_at.is_some() && self.pending.is_empty() {
                return Ok(Ended::Stopped);
            }
            let is_blocked = blocked.borrow().is_some();
            let rests = stops_at.is_some() || self.paused.is_some() || is_blocked || self.remaining_unacked == Some(0);
            let takes = !rests && self.pending.len() < PENDING_MAX;
            tokio::select! {
                biased;
                () = told(stop), if stops_at.is_none() => stops_at = Some(Instant::now() + STOP_PATIENCE),
                confirmation = first_of(&mut self.pending) => self.settle(confirmation).await?,
                delivery = self.consumer.next(), if takes => {
                    let delivery = self.delivered(delivery)?;
                    let progress = Arc::clone(&self.progress);
                    let mut sending = pin!(self.send(delivery));
                    // This takes as long as the destination does not read.
                    loop {
                        tokio::select! {
                            sent = &mut sending => break sent?,
                            // What was not sent goes back when the channel is closed.
                            () = told(stop) => break stops_at = Some(Instant::now() + STOP_PATIENCE),
                            _ = blocked.changed() => progress.set_blocked(blocked.borrow_and_update().is_some()),
                            error = &mut source_closed => return Err(Failure::new(Side::Source, &error)),
                        }
                    }
                }
                _ = blocked.changed() => self.progress.set_blocked(blocked.borrow_and_update().is_some()),
                () = until(self.paused) => self.paused = None,
                () = until(stops_at) => return Ok(Ended::Stopped),
                error = &mut destination_closed => return Err(Failure::new(Side::Destination, &error)),
                error = &mut source_closed => return Err(Failure::new(Side::Source, &error)),
            }
        }
    }

    fn delivered(&self, next: Result<Option<Delivery>, Error>) -> Result<Delivery, Failure> {
        match next {
            Ok(Some(delivery)) => Ok(delivery),
            Ok(None) => Err(Failure::new(Side::Source, &"the consumer was cancelled: its queue is gone, or went to another node")),
            Err(error) => Err(Failure::new(Side::Source, &error)),
        }
    }

    /// Publishes a message. Dropped halfway it has not been.
    async fn send(&mut self, delivery: Delivery) -> Result<(), Failure> {
        let tag = delivery.delivery_tag;
        let sent = self.publishing.start_publish(self.forward.publication(delivery)).await;
        let confirm = sent.map_err(|error| Failure::new(Side::Destination, &error))?;
        self.remaining_unacked = self.remaining_unacked.map(|left| left.saturating_sub(1));
        match self.mode {
            AckMode::OnConfirm => {
                self.pending.push_back((tag, confirm));
                self.progress.set_pending(self.pending.len());
            }
            AckMode::OnPublish => {
                self.counted(1, 1);
                self.ack(tag, false).await?;
            }
            AckMode::NoAck => self.counted(1, 1),
        }
        Ok(())
    }

    /// The first publish has its confirm; with it go those behind it that have theirs. The source hears of them in order, and of
    /// many at once.
    async fn settle(&mut self, first: Result<Confirmation, Error>) -> Result<(), Failure> {
        let mut confirmation = first;
        let (mut acked, mut last) = (0, 0);
        let mut ended = Ok(());
        loop {
            let confirmed = match confirmation {
                Ok(confirmed) => confirmed,
                Err(error) => {
                    ended = Err(Failure::new(Side::Destination, &error));
                    break;
                }
            };
            let Some((tag, _)) = self.pending.pop_front() else { break };
            if confirmed.acked {
                (acked, last) = (acked + 1, tag);
            } else {
                // RabbitMQ: what the destination refuses goes back to its queue, and counts.
                if acked > 0 {
                    self.ack(last, acked > 1).await?;
                }
                self.counted(acked, acked + 1);
                acked = 0;
                let refused = self.consumer.channel().nack(tag, false, true).await;
                refused.map_err(|error| Failure::new(Side::Source, &error))?;
                self.paused = Some(Instant::now() + REFUSED_PAUSE);
            }
            // With a waker of nobody: whoever awaits it later leaves the right one.
            let Some((_, next)) = self.pending.front_mut() else { break };
            match Pin::new(next).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(next) => confirmation = next,
                Poll::Pending => break,
            }
        }
        if acked > 0 {
            self.ack(last, acked > 1).await?;
            self.counted(acked, acked);
        }
        self.progress.set_pending(self.pending.len());
        ended
    }

    async fn ack(&self, tag: u64, multiple: bool) -> Result<(), Failure> {
        self.consumer.channel().ack(tag, multiple).await.map_err(|error| Failure::new(Side::Source, &error))
    }

    /// So many have gone over, and so many have an outcome.
    fn counted(&mut self, forwarded: u64, settled: u64) {
        self.progress.forwarded(forwarded);
        self.remaining = self.remaining.map(|left| left.saturating_sub(settled));
        self.progress.set_remaining(self.remaining, self.remaining_unacked);
    }

    pub(super) async fn close(&self) {
        // First where the messages are, for modes that do not wait for confirms.
        let _ = timeout(CLOSE_PATIENCE, self.destination.close()).await;
        let _ = timeout(CLOSE_PATIENCE, self.source.close()).await;
        self.progress.set_pending(0);
    }
}

/// The confirm of the publish that waits for it longest; never where none does.
async fn first_of(pending: &mut VecDeque<(u64, PendingConfirm)>) -> Result<Confirmation, Error> {
    match pending.front_mut() {
        Some((_, confirm)) => confirm.await,
        None => std::future::pending().await,
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
