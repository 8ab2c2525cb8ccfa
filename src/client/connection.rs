//! A connection, as its owner sees it.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};

use super::channel::{self, Channel};
use super::error::Error;
use super::options::Options;
use super::state::{Call, ChannelState, Shared, Waiter};
use super::{handshake, tasks};
use crate::amqp::{self, AMQPClass};

/// A connection to a broker: a handle, cheap to clone. The connection lasts until it is closed, or until the last handle, channel
/// and consumer of it are gone.
#[derive(Clone, Debug)]
pub struct Connection {
    pub(super) handle: Arc<Handle>,
}

/// Closes the connection when nobody has it any more.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        begin_close(&self.shared);
    }
}

/// Sends connection.close unless it has been, or all is over.
fn begin_close(shared: &Shared) {
    let mut state = shared.lock();
    if !state.closing && state.ended.is_none() {
        state.close_connection(200, "Goodbye");
        drop(state);
        shared.make_room();
        shared.write.notify_one();
        shared.read.notify_one();
    }
}

impl Connection {
    /// Speaks AMQP on this stream from the beginning. There is no time limit: drop the future to give up.
    ///
    /// # Errors
    /// What the server has against it, or what went wrong.
    pub async fn open<S>(mut stream: S, options: Options) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (tuned, received) = handshake::open(&mut stream, &options).await?;
        let shared = Arc::new(Shared::new(tuned));
        tasks::start(stream, received, &shared);
        Ok(Self { handle: Arc::new(Handle { shared }) })
    }

    /// Opens a channel with the lowest number that is free.
    ///
    /// # Errors
    /// That of the connection, or that all numbers are taken.
    pub async fn channel(&self) -> Result<Channel, Error> {
        let shared = &self.handle.shared;
        let (waiter, opened) = oneshot::channel();
        let (number, end) = shared
            .add(None, |state| {
                let max = shared.tuned.channel_max;
                let number = (1..=max).find(|number| !state.channels.contains_key(number));
                let number = number.ok_or_else(|| Error::Protocol(format!("all {max} channels are in use")))?;
                let open = amqp::channel::AMQPMethod::Open(amqp::channel::Open {});
                state.output.method(number, &AMQPClass::Channel(open));
                let mut channel = ChannelState::new();
                channel.calls.push_back(Call::new((20, 11), Waiter::Reply(waiter)));
                let end = Arc::clone(&channel.end);
                state.channels.insert(number, channel);
                Ok((number, end))
            })
            .await?;
        // There before the answer: who gives up waiting closes it.
        let channel = Channel::new(Arc::clone(&self.handle), number, end);
        channel::reply(opened).await?;
        Ok(channel)
    }

    /// Closes the connection, and waits until the server has agreed or for three seconds. What had been published before is
    /// sent; who still waits for something gets an error.
    ///
    /// # Errors
    /// When it had ended otherwise.
    pub async fn close(&self) -> Result<(), Error> {
        begin_close(&self.handle.shared);
        match self.closed().await {
            Error::Closed { by_server: false, .. } => Ok(()),
            error => Err(error),
        }
    }

    /// Why the server takes no publishes at this moment.
    #[must_use]
    pub fn blocked(&self) -> Option<String> {
        self.handle.shared.blocked.borrow().clone()
    }

    /// The same, to be waited for.
    #[must_use]
    pub fn on_blocked(&self) -> watch::Receiver<Option<String>> {
        self.handle.shared.blocked.subscribe()
    }

    /// Waits until the connection has ended, and says why.
    pub async fn closed(&self) -> Error {
        let mut ended = self.handle.shared.ended.subscribe();
        let error = ended.wait_for(Option::is_some).await.map(|error| error.clone());
        error.ok().flatten().unwrap_or_else(|| Error::closed(None))
    }
}
