//! What has been got over HTTP and is not acknowledged yet: a channel for each answer, held until all of it is settled or its time
//! is up.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::amqp::{AMQPClass, channel};
use crate::client::{self, Channel};
use crate::server::Handle;

/// An acknowledgement's token: which answer, and which message of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::management) struct Token {
    session: u64,
    delivery_tag: u64,
}

impl Token {
    pub(super) fn session(self) -> u64 {
        self.session
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (session, delivery_tag) = text.split_once('-')?;
        Some(Self { session: u64::from_str_radix(session, 16).ok()?, delivery_tag: delivery_tag.parse().ok()? })
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}-{}", self.session, self.delivery_tag)
    }
}

#[derive(Debug)]
struct Session {
    user: Arc<str>,
    vhost: String,
    channel: Channel,
    unsettled: BTreeSet<u64>,
    /// Nothing more comes: it ends with its last settlement.
    is_complete: bool,
    /// What ends it when its time is up.
    timer: Option<AbortHandle>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.timer.iter().for_each(AbortHandle::abort);
    }
}

/// The answers of all users.
#[derive(Clone, Debug, Default)]
pub(in crate::management) struct Sessions(Arc<Mutex<HashMap<u64, Session>>>);

/// Nobody can guess them: the tokens of others are no use without their password either.
fn new_id() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// Whose session is meant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner<'a> {
    pub(super) user: &'a Arc<str>,
    pub(super) vhost: &'a str,
}

impl Sessions {
    /// A session without anything in it yet.
    pub(super) fn open(&self, owner: Owner<'_>, channel: Channel) -> u64 {
        let id = new_id();
        let (user, vhost) = (Arc::clone(owner.user), owner.vhost.to_owned());
        self.0.lock().insert(id, Session { user, vhost, channel, unsettled: BTreeSet::new(), is_complete: false, timer: None });
        id
    }

    /// Nothing more comes to a session: it ends with its last settlement, or when its time is up.
    pub(super) fn complete(&self, handle: &Handle, id: u64, time: Duration) {
        let sessions = self.clone();
        let timer = handle.spawn(async move {
            tokio::time::sleep(time).await;
            sessions.close(id);
        });
        match self.0.lock().get_mut(&id) {
            Some(session) => (session.is_complete, session.timer) = (true, Some(timer.abort_handle())),
            None => timer.abort(),
        }
    }

    /// The token of a delivery of this session.
    pub(super) fn add(&self, session: u64, delivery_tag: u64) -> Token {
        if let Some(session) = self.0.lock().get_mut(&session) {
            session.unsettled.insert(delivery_tag);
        }
        Token { session, delivery_tag }
    }

    /// Ends a session; what is not settled goes back to its queue.
    pub(super) fn close(&self, session: u64) {
        self.0.lock().remove(&session);
    }

    /// Settles a message. `false`: it is settled already, or its time was up.
    pub(super) async fn settle(&self, owner: Owner<'_>, token: Token, how: Settlement) -> Result<bool, client::Error> {
        let channel = {
            let mut sessions = self.0.lock();
            let session = sessions.get_mut(&token.session).filter(|s| s.user == *owner.user && s.vhost == owner.vhost);
            let Some(session) = session.filter(|session| session.unsettled.contains(&token.delivery_tag)) else { return Ok(false) };
            session.unsettled.remove(&token.delivery_tag);
            session.channel.clone()
        };
        match how {
            Settlement::Ack => channel.ack(token.delivery_tag, false).await?,
            Settlement::Nack { requeue } => channel.nack(token.delivery_tag, false, requeue).await?,
        }
        Ok(true)
    }

    /// Waits until the broker has carried out what was settled of these sessions, and lets go of those that have ended by it.
    pub(super) async fn finish(&self, ids: &BTreeSet<u64>) -> Result<(), client::Error> {
        for id in ids {
            let (channel, ended) = {
                let mut sessions = self.0.lock();
                let Some(session) = sessions.get(id) else { continue };
                let ended = session.is_complete && session.unsettled.is_empty();
                let channel = session.channel.clone();
                if ended {
                    sessions.remove(id);
                }
                (channel, ended)
            };
            if ended {
                channel.close().await?;
            } else {
                // An answer to this comes after all that was sent before.
                let flow = channel::AMQPMethod::Flow(channel::Flow { active: true });
                channel.call(AMQPClass::Channel(flow)).await?;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settlement {
    Ack,
    Nack { requeue: bool },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_there_and_back() {
        let token = Token { session: 0xabc, delivery_tag: 7 };
        assert_eq!(token.to_string(), "0000000000000abc-7");
        assert_eq!(Token::parse(&token.to_string()), Some(token));
        for wrong in ["", "-", "abc", "xyz-1", "1-", "1--1"] {
            assert_eq!(Token::parse(wrong), None, "{wrong}");
        }
    }
}
