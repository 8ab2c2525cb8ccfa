//! A consumer: what it was sent and nobody has taken, and what becomes of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::channel::Channel;
use super::error::Error;
use super::message::Delivery;
use super::state::{Event, Waiter};

/// A consumer of a queue. Dropping it cancels it; deliveries that it had not handed out go back to their queue.
#[derive(Debug)]
pub struct Consumer {
    channel: Channel,
    tag: Bytes,
    no_ack: bool,
    events: mpsc::UnboundedReceiver<Event>,
    /// Bytes of deliveries in `events`.
    buffered: Arc<AtomicUsize>,
    cancelled_by_broker: bool,
    /// What `next` says once it has come to an end.
    end: Option<Result<(), Error>>,
}

impl Consumer {
    pub(super) fn new(
        channel: Channel,
        tag: Bytes,
        no_ack: bool,
        events: mpsc::UnboundedReceiver<Event>,
        buffered: Arc<AtomicUsize>,
    ) -> Self {
        Self { channel, tag, no_ack, events, buffered, cancelled_by_broker: false, end: None }
    }

    #[must_use]
    pub fn tag(&self) -> &Bytes {
        &self.tag
    }

    /// The channel on which its deliveries are settled.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Whether the server has cancelled it: its queue is gone, or was given to another.
    #[must_use]
    pub fn is_cancelled_by_broker(&self) -> bool {
        self.cancelled_by_broker
    }

    /// The next delivery; `None` when the consumer has been cancelled, by whomever. May be dropped halfway without losing any.
    ///
    /// # Errors
    /// What ended the channel or connection: at once where there are acknowledgements, because what was not settled goes back,
    /// and after all that came before otherwise. That too much waited for it without being taken.
    pub async fn next(&mut self) -> Result<Option<Delivery>, Error> {
        if let Some(end) = &self.end {
            return end.clone().map(|()| None);
        }
        if !self.no_ack
            && let Some(error) = self.channel.inner.end.get()
        {
            return Err(error.clone());
        }
        let shared = &self.channel.inner.connection.shared;
        let event = match self.events.try_recv() {
            Ok(event) => Some(event),
            Err(_) => {
                let _waiting = shared.wait();
                self.events.recv().await
            }
        };
        let end = match event {
            Some(Event::Delivery(delivery)) => {
                self.buffered.fetch_sub(delivery.size(), Ordering::SeqCst);
                shared.taken(delivery.size());
                return Ok(Some(delivery));
            }
            Some(Event::Cancelled { by_broker }) => {
                self.cancelled_by_broker = by_broker;
                Ok(())
            }
            Some(Event::Overrun) => Err(Error::Protocol("cancelled: more was sent without acknowledgements than was taken".to_owned())),
            None => Err(self.channel.inner.end.get().cloned().unwrap_or_else(|| Error::closed(None))),
        };
        self.end = Some(end.clone());
        end.map(|()| None)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let super::channel::Inner { connection, number, end } = &*self.channel.inner;
        let mut state = connection.shared.lock();
        let mut cancels = false;
        if let Ok(channel) = state.channel(*number, end)
            && let Some(consumer) = channel.consumers.get_mut(&self.tag)
            // Not a later one of the same tag.
            && Arc::ptr_eq(&consumer.buffered, &self.buffered)
            && consumer.events.take().is_some()
        {
            // One that is being cancelled already hears of it yet.
            cancels = !consumer.overrun;
        }
        if cancels {
            state.cancel(*number, &self.tag, Waiter::Nobody);
        }
        let usable = state.channel(*number, end).is_ok();
        let mut taken = 0;
        while let Ok(event) = self.events.try_recv() {
            if let Event::Delivery(delivery) = event {
                taken += delivery.size();
                if !self.no_ack && usable {
                    state.give_back(*number, delivery.delivery_tag);
                }
            }
        }
        drop(state);
        connection.shared.taken(taken);
        connection.shared.stir();
    }
}
