//! A channel, as its owner sees it: one function for each thing that can be asked.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::DEFAULT_PREFETCH;
use super::confirms::{Confirms, PendingConfirm};
use super::connection::Handle;
use super::consumer::Consumer;
use super::error::Error;
use super::message::{Confirmation, Consume, Delivery, Publication};
use super::state::{Call, ChannelState, ConsumerState, State, Waiter};
use crate::amqp::content::{LARGE_BODY, Parts};
use crate::amqp::encoder::Recipient;
use crate::amqp::frame::OVERHEAD;
use crate::amqp::properties::Properties;
use crate::amqp::{AMQPClass, ChannelNumber, ShortString, basic, channel, confirm, exchange, method, queue};

/// What a content header has beside the properties.
const HEADER_FIXED: usize = 12;
/// Flags of properties of which there are none.
const NO_PROPERTIES: &[u8] = &[0, 0];

/// A channel: a handle, cheap to clone. It is closed when the last handle and consumer of it are gone. An error that the server
/// reports on it ends it alone; every function then gives that error.
#[derive(Clone, Debug)]
pub struct Channel {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) connection: Arc<Handle>,
    pub(super) number: ChannelNumber,
    /// Why it was closed, once it is.
    pub(super) end: Arc<OnceLock<Error>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut state = self.connection.shared.lock();
        if state.channel(self.number, &self.end).is_ok() {
            state.close_channel(self.number, Waiter::Nobody);
            drop(state);
            self.connection.shared.stir();
        }
    }
}

/// Waits for what the reading task says.
pub(super) async fn reply<T>(reply: oneshot::Receiver<Result<T, Error>>) -> Result<T, Error> {
    reply.await.unwrap_or_else(|_| Err(Error::closed(None)))
}

/// Class and method id of the reply to a method that has one.
fn reply_to(class: &AMQPClass) -> Option<(u16, u16)> {
    use {basic::AMQPMethod as B, exchange::AMQPMethod as E, queue::AMQPMethod as Q};
    let nowait = match class {
        AMQPClass::Exchange(E::Declare(exchange::Declare { nowait, .. }))
        | AMQPClass::Exchange(E::Delete(exchange::Delete { nowait, .. }))
        | AMQPClass::Exchange(E::Bind(exchange::Bind { nowait, .. }))
        | AMQPClass::Exchange(E::Unbind(exchange::Unbind { nowait, .. }))
        | AMQPClass::Queue(Q::Declare(queue::Declare { nowait, .. }))
        | AMQPClass::Queue(Q::Bind(queue::Bind { nowait, .. }))
        | AMQPClass::Queue(Q::Purge(queue::Purge { nowait, .. }))
        | AMQPClass::Queue(Q::Delete(queue::Delete { nowait, .. }))
        | AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait })) => *nowait,
        AMQPClass::Queue(Q::Unbind(_)) | AMQPClass::Basic(B::Qos(_) | B::Recover(_)) | AMQPClass::Tx(_) | AMQPClass::Access(_) => false,
        AMQPClass::Channel(channel::AMQPMethod::Flow(_)) => false,
        _ => return None,
    };
    let (class_id, method_id) = (class.get_amqp_class_id(), class.get_amqp_method_id());
    // exchange.unbind-ok came late and took a number of its own.
    let reply = if (class_id, method_id) == (40, 40) { 51 } else { method_id + 1 };
    (!nowait && method_id % 10 == 0).then_some((class_id, reply))
}

/// A method that this layer has a function for, because it must know of it.
fn has_its_own_function(class: &AMQPClass) -> bool {
    use basic::AMQPMethod as B;
    match class {
        AMQPClass::Connection(_) => true,
        AMQPClass::Channel(method) => !matches!(method, channel::AMQPMethod::Flow(_)),
        AMQPClass::Basic(method) => matches!(method, B::Publish(_) | B::Get(_) | B::Consume(_) | B::Cancel(_)),
        _ => false,
    }
}

impl Channel {
    pub(super) fn new(connection: Arc<Handle>, number: ChannelNumber, end: Arc<OnceLock<Error>>) -> Self {
        Self { inner: Arc::new(Inner { connection, number, end }) }
    }

    /// Its number on the wire.
    #[must_use]
    pub fn number(&self) -> ChannelNumber {
        self.inner.number
    }

    /// Whether it can be used, as far as is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let Inner { connection, number, end } = &*self.inner;
        connection.shared.lock().channel(*number, end).is_ok()
    }

    /// Adds to the output while the channel can be used.
    async fn add<T>(&self, add: impl FnOnce(&mut State) -> Result<T, Error>) -> Result<T, Error> {
        let Inner { connection, number, end } = &*self.inner;
        let add = |state: &mut State| {
            state.channel(*number, end)?;
            add(state)
        };
        connection.shared.add(Some(end), add).await
    }

    fn frame_max(&self) -> usize {
        self.inner.connection.shared.tuned.frame_max
    }

    /// Adds a method, with what follows from it.
    fn put(&self, state: &mut State, class: &AMQPClass) -> Result<(), Error> {
        state.method(self.inner.number, class, self.frame_max())?;
        let channel = state.channel(self.inner.number, &self.inner.end)?;
        match class {
            // Everything published from here on has a delivery tag.
            AMQPClass::Confirm(_) => drop(channel.confirms.get_or_insert_with(Confirms::default)),
            AMQPClass::Basic(basic::AMQPMethod::Qos(_)) => channel.has_prefetch = true,
            _ => {}
        }
        Ok(())
    }

    /// A method and its reply. Methods that have functions of their own here are refused, and so are those with nowait.
    ///
    /// # Errors
    /// What ended the channel or connection, the server's refusal of this method for one.
    pub async fn call(&self, method: AMQPClass) -> Result<AMQPClass, Error> {
        let expects = reply_to(&method).filter(|_| !has_its_own_function(&method));
        let Some(expects) = expects else { return Err(Error::Protocol(format!("nothing answers {method:?} here"))) };
        let (waiter, answer) = oneshot::channel();
        self.add(|state| {
            self.put(state, &method)?;
            let channel = state.channel(self.inner.number, &self.inner.end)?;
            channel.calls.push_back(Call::new(expects, Waiter::Reply(waiter)));
            Ok(())
        })
        .await?;
        reply(answer).await
    }

    /// A method without a reply; done when it waits to be written.
    ///
    /// # Errors
    /// What ended the channel or connection.
    pub async fn send(&self, method: AMQPClass) -> Result<(), Error> {
        if reply_to(&method).is_some() || has_its_own_function(&method) {
            return Err(Error::Protocol(format!("{method:?} cannot be sent without more ado")));
        }
        self.add(|state| self.put(state, &method)).await
    }

    /// Has the server confirm what is published from now on.
    ///
    /// # Errors
    /// What ended the channel or connection.
    pub async fn confirm_select(&self) -> Result<(), Error> {
        let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
        self.call(AMQPClass::Confirm(select)).await.map(drop)
    }

    /// Publishes, and waits for the confirm; on a channel without confirms, until the message waits to be written. Many may be
    /// under way at once.
    ///
    /// # Errors
    /// What ended the channel or connection, and what cannot be sent.
    pub async fn publish(&self, publication: Publication) -> Result<Confirmation, Error> {
        self.start_publish(publication).await?.await
    }

    /// Publishes; done when the message waits to be written, in the order of the calls. The confirm is to be awaited, or not.
    ///
    /// # Errors
    /// What ended the channel or connection, and what cannot be sent.
    pub async fn start_publish(&self, mut publication: Publication) -> Result<PendingConfirm, Error> {
        if publication.properties.is_empty() {
            publication.properties = Bytes::from_static(NO_PROPERTIES);
        }
        self.check(&publication)?;
        self.add(|state| {
            let Publication { exchange, routing_key, mandatory, properties, body } = &publication;
            let is_large = body.len() > LARGE_BODY;
            let parts = Parts { exchange, routing_key, properties, small_body: if is_large { &[] } else { body } };
            let to = Recipient { channel: self.inner.number, consumer_tag: &[], frame_max: self.frame_max() };
            state.output.basic_publish(to, *mandatory, parts, if is_large { std::slice::from_ref(body) } else { &[] });
            let channel = state.channel(self.inner.number, &self.inner.end)?;
            Ok(match &mut channel.confirms {
                Some(confirms) => confirms.push(publication),
                None => PendingConfirm::sent(),
            })
        })
        .await
    }

    fn check(&self, publication: &Publication) -> Result<(), Error> {
        let refuse = |what: &str| Err(Error::Protocol(what.to_owned()));
        if publication.exchange.len() > usize::from(u8::MAX) || publication.routing_key.len() > usize::from(u8::MAX) {
            return refuse("an exchange or routing key longer than 255 bytes");
        }
        if Properties::check(&publication.properties).is_err() {
            return refuse("malformed properties");
        }
        if publication.properties.len() + HEADER_FIXED + OVERHEAD > self.frame_max() {
            return refuse("properties larger than a frame");
        }
        Ok(())
    }

    /// Takes the message at the head of a queue. When this future is dropped halfway, the message is unacked until the channel is
    /// closed.
    ///
    /// # Errors
    /// What ended the channel or connection.
    pub async fn get(&self, queue: &str, no_ack: bool) -> Result<Option<Delivery>, Error> {
        let get = basic::AMQPMethod::Get(basic::Get { queue: short(queue)?, no_ack });
        let (waiter, answer) = oneshot::channel();
        self.add(|state| {
            self.put(state, &AMQPClass::Basic(get))?;
            let channel = state.channel(self.inner.number, &self.inner.end)?;
            channel.calls.push_back(Call::new(method::BASIC_GET_OK, Waiter::Get(waiter)));
            Ok(())
        })
        .await?;
        reply(answer).await
    }

    /// Consumes from a queue. A channel without a prefetch is given one of [`DEFAULT_PREFETCH`] if the consumer acknowledges:
    /// that bounds what waits here while nobody polls it.
    ///
    /// # Errors
    /// What ended the channel or connection.
    pub async fn consume(&self, consume: Consume) -> Result<Consumer, Error> {
        let Consume { queue, consumer_tag, no_ack, exclusive, arguments } = consume;
        let (queue, asked_tag) = (short(&queue)?, short(&consumer_tag)?);
        let (waiter, answer) = oneshot::channel();
        let (events, queued) = mpsc::unbounded_channel();
        let (tag, buffered) = self
            .add(|state| {
                let channel = state.channel(self.inner.number, &self.inner.end)?;
                let consumer_tag = own_tag(channel, asked_tag)?;
                if !no_ack && !channel.has_prefetch {
                    let qos = basic::Qos { prefetch_count: DEFAULT_PREFETCH, global: false };
                    channel.calls.push_back(Call::new((60, 11), Waiter::Nobody));
                    self.put(state, &AMQPClass::Basic(basic::AMQPMethod::Qos(qos)))?;
                }
                let tag = Bytes::copy_from_slice(consumer_tag.as_str().as_bytes());
                let consume = basic::Consume { queue, consumer_tag, no_local: false, no_ack, exclusive, nowait: false, arguments };
                self.put(state, &AMQPClass::Basic(basic::AMQPMethod::Consume(consume)))?;
                let channel = state.channel(self.inner.number, &self.inner.end)?;
                channel.calls.push_back(Call { expects: (60, 21), tag: Some(tag.clone()), waiter: Waiter::Reply(waiter) });
                let consumer = ConsumerState { events: Some(events), no_ack, buffered: Arc::default(), overrun: false };
                let buffered = Arc::clone(&consumer.buffered);
                channel.consumers.insert(tag.clone(), consumer);
                Ok((tag, buffered))
            })
            .await?;
        // There before the answer: who gives up waiting cancels it.
        let consumer = Consumer::new(self.clone(), tag, no_ack, queued, buffered);
        reply(answer).await?;
        Ok(consumer)
    }

    /// Acknowledges a delivery, or all up to it.
    ///
    /// # Errors
    /// What ended the channel or connection; whether the server knows the tag, only a later call tells.
    pub async fn ack(&self, delivery_tag: u64, multiple: bool) -> Result<(), Error> {
        self.add(|state| {
            state.output.basic_ack(self.inner.number, delivery_tag, multiple);
            Ok(())
        })
        .await
    }

    /// Refuses a delivery, or all up to it; without `requeue` it is dead-lettered or dropped.
    ///
    /// # Errors
    /// As [`Channel::ack`].
    pub async fn nack(&self, delivery_tag: u64, multiple: bool, requeue: bool) -> Result<(), Error> {
        self.send(AMQPClass::Basic(basic::AMQPMethod::Nack(basic::Nack { delivery_tag, multiple, requeue }))).await
    }

    /// Refuses one delivery.
    ///
    /// # Errors
    /// As [`Channel::ack`].
    pub async fn reject(&self, delivery_tag: u64, requeue: bool) -> Result<(), Error> {
        self.send(AMQPClass::Basic(basic::AMQPMethod::Reject(basic::Reject { delivery_tag, requeue }))).await
    }

    /// How many deliveries may wait for their settlement; 0 is no limit. It counts for each consumer that comes after, or with
    /// `global` for all of the channel together.
    ///
    /// # Errors
    /// What ended the channel or connection.
    pub async fn qos(&self, prefetch_count: u16, global: bool) -> Result<(), Error> {
        self.call(AMQPClass::Basic(basic::AMQPMethod::Qos(basic::Qos { prefetch_count, global }))).await.map(drop)
    }

    /// Ends a consumer; what was sent to it before still comes out of it.
    ///
    /// # Errors
    /// What ended the channel or connection.
    pub async fn cancel(&self, consumer_tag: &[u8]) -> Result<(), Error> {
        let tag = Bytes::copy_from_slice(short(&String::from_utf8_lossy(consumer_tag))?.as_str().as_bytes());
        let (waiter, answer) = oneshot::channel();
        self.add(|state| {
            state.cancel(self.inner.number, &tag, Waiter::Reply(waiter));
            Ok(())
        })
        .await?;
        reply(answer).await.map(drop)
    }

    /// Closes the channel, and waits until the server has agreed. What was published before is processed, and confirmed if that
    /// was asked for; what is unacked goes back.
    ///
    /// # Errors
    /// When it had ended otherwise.
    pub async fn close(&self) -> Result<(), Error> {
        let (waiter, answer) = oneshot::channel();
        let closing = self.add(|state| {
            state.close_channel(self.inner.number, Waiter::Reply(waiter));
            Ok(())
        });
        let closed = match closing.await {
            Ok(()) => reply(answer).await.map(drop),
            Err(error) => Err(error),
        };
        match closed {
            Err(Error::Closed { by_server: false, .. }) => Ok(()),
            other => other,
        }
    }
}

/// The tag that was asked for, or one that no consumer of the channel has.
fn own_tag(channel: &mut ChannelState, asked: ShortString) -> Result<ShortString, Error> {
    let is_taken = |channel: &ChannelState, tag: &str| channel.consumers.contains_key(tag.as_bytes());
    if !asked.as_str().is_empty() {
        let taken = is_taken(channel, asked.as_str());
        return if taken { Err(Error::Protocol(format!("there is a consumer {asked} already"))) } else { Ok(asked) };
    }
    loop {
        channel.tags_made += 1;
        let tag = format!("ctag-{}", channel.tags_made);
        if !is_taken(channel, &tag) {
            return Ok(tag.into());
        }
    }
}

fn short(text: &str) -> Result<ShortString, Error> {
    ShortString::try_new(text).map_err(|_| Error::Protocol("a name longer than 255 bytes".to_owned()))
}
