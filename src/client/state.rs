//! What the handles and the two tasks of a connection share, behind one lock that is never held while anything waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::confirms::Confirms;
use super::error::Error;
use super::frames::Content;
use super::message::Delivery;
use super::{BUFFERED_HIGH, OUTPUT_HIGH};
use crate::amqp::{AMQPClass, ChannelNumber, Output, ShortString, basic, channel, connection, method};

/// What was agreed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tuned {
    /// Bytes.
    pub(super) frame_max: usize,
    pub(super) channel_max: ChannelNumber,
    /// How often at least something is to be heard; zero for never.
    pub(super) heartbeat: Duration,
}

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) tuned: Tuned,
    /// There is something to write, or the connection has ended.
    pub(super) write: Notify,
    /// The reading task is to look again whether and how long it reads.
    pub(super) read: Notify,
    /// There is room for more to write, or no use in waiting for it.
    room: Notify,
    /// Nothing is read.
    paused: AtomicBool,
    /// Bytes of deliveries that nobody has taken.
    pub(super) buffered: AtomicUsize,
    /// Consumers that wait for a delivery.
    waiting: AtomicUsize,
    pub(super) blocked: watch::Sender<Option<String>>,
    pub(super) ended: watch::Sender<Option<Error>>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) output: Output,
    pub(super) channels: BTreeMap<ChannelNumber, ChannelState>,
    pub(super) ended: Option<Error>,
    /// connection.close has been sent.
    pub(super) closing: bool,
}

#[derive(Debug)]
pub(super) struct ChannelState {
    /// Why it was closed, once it is. Its identity is the channel's: numbers are used again.
    pub(super) end: Arc<OnceLock<Error>>,
    /// channel.close has been sent.
    pub(super) closing: bool,
    /// What has been asked and not answered. Answers of a kind come in this order.
    pub(super) calls: VecDeque<Call>,
    pub(super) confirms: Option<Confirms>,
    pub(super) consumers: BTreeMap<Bytes, ConsumerState>,
    /// What is being received.
    pub(super) content: Option<Content>,
    /// A prefetch has been set.
    pub(super) has_prefetch: bool,
    pub(super) tags_made: u64,
}

/// A method whose reply has not come.
#[derive(Debug)]
pub(super) struct Call {
    /// Class and method id of the reply.
    pub(super) expects: (u16, u16),
    /// The consumer that the reply is to be about, if it is about one.
    pub(super) tag: Option<Bytes>,
    pub(super) waiter: Waiter,
}

impl Call {
    pub(super) fn new(expects: (u16, u16), waiter: Waiter) -> Self {
        Self { expects, tag: None, waiter }
    }
}

#[derive(Debug)]
pub(super) enum Waiter {
    Reply(oneshot::Sender<Result<AMQPClass, Error>>),
    Get(oneshot::Sender<Result<Option<Delivery>, Error>>),
    Nobody,
}

impl Waiter {
    fn fail(self, error: &Error) {
        match self {
            Self::Reply(waiter) => drop(waiter.send(Err(error.clone()))),
            Self::Get(waiter) => drop(waiter.send(Err(error.clone()))),
            Self::Nobody => {}
        }
    }
}

#[derive(Debug)]
pub(super) struct ConsumerState {
    /// `None` once its owner is gone: what still comes goes back.
    pub(super) events: Option<mpsc::UnboundedSender<Event>>,
    pub(super) no_ack: bool,
    /// Bytes of its deliveries that nobody has taken.
    pub(super) buffered: Arc<AtomicUsize>,
    /// It is being cancelled because too much waited for it.
    pub(super) overrun: bool,
}

/// What a consumer hears.
#[derive(Debug)]
pub(super) enum Event {
    Delivery(Delivery),
    Cancelled { by_broker: bool },
    Overrun,
}

impl ConsumerState {
    pub(super) fn tell(self, event: Event) {
        if let Some(events) = self.events {
            let _ = events.send(event);
        }
    }
}

/// Counts a consumer that waits for a delivery.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Shared);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl ChannelState {
    pub(super) fn new() -> Self {
        Self {
            end: Arc::default(),
            closing: false,
            calls: VecDeque::new(),
            confirms: None,
            consumers: BTreeMap::new(),
            content: None,
            has_prefetch: false,
            tags_made: 0,
        }
    }

    /// Takes out the call that this is the reply to, about this consumer if it is about one.
    ///
    /// RabbitMQ: consume-ok and cancel-ok come from the queue, and what was asked later may be answered before.
    pub(super) fn answered(&mut self, reply: (u16, u16), tag: Option<&[u8]>) -> Option<Waiter> {
        let is_it = |call: &Call| call.expects == reply && call.tag.as_deref() == tag;
        let at = self.calls.iter().position(is_it)?;
        self.calls.remove(at).map(|call| call.waiter)
    }

    /// Everybody who waits for something of this channel is told that it will not come.
    pub(super) fn fail(self, error: &Error) {
        // Before the consumers' events end: whoever sees that looks here for the reason.
        let _ = self.end.set(error.clone());
        self.calls.into_iter().for_each(|call| call.waiter.fail(error));
        self.confirms.into_iter().for_each(|confirms| confirms.fail(error));
    }
}

impl State {
    /// Adds a method to the output.
    ///
    /// # Errors
    /// When it is larger than a frame may be.
    pub(super) fn method(&mut self, number: ChannelNumber, class: &AMQPClass, frame_max: usize) -> Result<(), Error> {
        let start = self.output.bytes.len();
        self.output.method(number, class);
        if self.output.bytes.len() - start > frame_max {
            self.output.bytes.truncate(start);
            return Err(Error::Protocol(format!("a method larger than the frames of {frame_max} bytes that were agreed on")));
        }
        Ok(())
    }

    /// The channel that belongs to this end, if it is still usable.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn channel(&mut self, number: ChannelNumber, end: &Arc<OnceLock<Error>>) -> Result<&mut ChannelState, Error> {
        let open = |channel: &&mut ChannelState| Arc::ptr_eq(&channel.end, end) && !channel.closing;
        let channel = self.channels.get_mut(&number).filter(open);
        channel.ok_or_else(|| end.get().cloned().unwrap_or_else(|| Error::closed(Some(number))))
    }

    /// Sends channel.close; the channel's number is free when the answer has come.
    pub(super) fn close_channel(&mut self, number: ChannelNumber, waiter: Waiter) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        channel.closing = true;
        channel.calls.push_back(Call::new(method::CHANNEL_CLOSE_OK, waiter));
        let close = channel::Close { reply_code: 200, reply_text: "Goodbye".into(), class_id: 0, method_id: 0 };
        self.output.method(number, &AMQPClass::Channel(channel::AMQPMethod::Close(close)));
    }

    /// Sends connection.close with a reply code and a text of 255 bytes at most.
    pub(super) fn close_connection(&mut self, reply_code: u16, reply_text: &str) {
        self.closing = true;
        let reply_text = ShortString::try_new(reply_text).unwrap_or_default();
        let close = connection::Close { reply_code, reply_text, class_id: 0, method_id: 0 };
        self.output.method(0, &AMQPClass::Connection(connection::AMQPMethod::Close(close)));
    }

    /// Sends basic.cancel for a consumer of this channel.
    pub(super) fn cancel(&mut self, number: ChannelNumber, tag: &Bytes, waiter: Waiter) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        channel.calls.push_back(Call { expects: (60, 31), tag: Some(tag.clone()), waiter });
        let mut arguments = vec![u8::try_from(tag.len()).unwrap_or(u8::MAX)];
        arguments.extend_from_slice(tag);
        arguments.push(0);
        self.output.raw_method(number, (60, 30), &arguments);
    }

    /// Gives a delivery back to its queue.
    pub(super) fn give_back(&mut self, number: ChannelNumber, delivery_tag: u64) {
        let reject = basic::Reject { delivery_tag, requeue: true };
        self.output.method(number, &AMQPClass::Basic(basic::AMQPMethod::Reject(reject)));
    }

    /// Somebody waits for what only reading can bring.
    fn is_awaited(&self) -> bool {
        let awaited = |channel: &ChannelState| !channel.calls.is_empty() || channel.confirms.as_ref().is_some_and(|c| !c.is_empty());
        self.closing || self.ended.is_some() || self.channels.values().any(awaited)
    }
}

impl Shared {
    pub(super) fn new(tuned: Tuned) -> Self {
        Self {
            state: Mutex::default(),
            tuned,
            write: Notify::new(),
            read: Notify::new(),
            room: Notify::new(),
            paused: AtomicBool::new(false),
            buffered: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            blocked: watch::Sender::new(None),
            ended: watch::Sender::new(None),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Something has been added to the output, or somebody waits who did not.
    pub(super) fn stir(&self) {
        self.write.notify_one();
        self.look_again();
    }

    /// The reason for not reading may be gone.
    pub(super) fn look_again(&self) {
        if self.paused.load(Ordering::SeqCst) {
            self.read.notify_one();
        }
    }

    /// Whether nothing is to be read for now: too much has been read that nobody has taken, and nobody waits for more.
    pub(super) fn pauses(&self) -> bool {
        if self.buffered.load(Ordering::SeqCst) <= BUFFERED_HIGH {
            self.paused.store(false, Ordering::SeqCst);
            return false;
        }
        // Said first and looked at then: whoever begins to wait, or takes something, does it the other way round.
        self.paused.store(true, Ordering::SeqCst);
        let pauses =
            self.buffered.load(Ordering::SeqCst) > BUFFERED_HIGH && self.waiting.load(Ordering::SeqCst) == 0 && !self.lock().is_awaited();
        self.paused.store(pauses, Ordering::SeqCst);
        pauses
    }

    /// A consumer waits for a delivery until what this returns is dropped.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.look_again();
        Waiting(self)
    }

    /// Deliveries have been taken, so many bytes.
    pub(super) fn taken(&self, bytes: usize) {
        self.buffered.fetch_sub(bytes, Ordering::SeqCst);
        self.look_again();
    }

    /// Adds to the output as soon as there is room, and says so to the writing task.
    ///
    /// # Errors
    /// That of the connection or the channel when it ends before, and that of `add`.
    pub(super) async fn add<T>(&self, end: Option<&OnceLock<Error>>, add: impl FnOnce(&mut State) -> Result<T, Error>) -> Result<T, Error> {
        loop {
            // Before looking: it is told of everything from here on.
            let room = self.room.notified();
            {
                let mut state = self.lock();
                if let Some(error) = &state.ended {
                    return Err(end.and_then(OnceLock::get).unwrap_or(error).clone());
                }
                if let Some(error) = end.and_then(OnceLock::get) {
                    return Err(error.clone());
                }
                if state.closing {
                    return Err(Error::closed(None));
                }
                if state.output.len() < OUTPUT_HIGH {
                    let added = add(&mut state);
                    drop(state);
                    self.stir();
                    return added;
                }
            }
            room.await;
        }
    }

    /// Whoever waits for room looks again.
    pub(super) fn make_room(&self) {
        self.room.notify_waiters();
    }

    /// The connection has ended: everybody who waits is told why. The first reason counts.
    pub(super) fn end(&self, error: &Error) {
        self.end_locked(&mut self.lock(), error);
    }

    pub(super) fn end_locked(&self, state: &mut State, error: &Error) {
        if state.ended.is_some() {
            return;
        }
        state.ended = Some(error.clone());
        for channel in std::mem::take(&mut state.channels).into_values() {
            channel.fail(error);
        }
        self.ended.send_replace(Some(error.clone()));
        self.make_room();
        self.read.notify_one();
        self.write.notify_one();
    }
}
