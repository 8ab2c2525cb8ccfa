//! What the API does through AMQP, as the user who asks: over connections of the node to itself, so that permissions, refusals and
//! promises are those of any client.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::auth::Caller;
use super::error::ApiError;
use crate::amqp::AMQPClass;
use crate::client::{self, Channel, Connection, Options};
use crate::server::Handle;

/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(30);

/// What a connection is for. An alarm blocks those that publish, and nothing else is to wait behind that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    Operations,
    Publishing,
}

/// Whose connection it is. Somebody at the control socket is nobody who logs in under the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    user: Arc<str>,
    /// What somebody logged in with, where the node does not answer for it: another token may allow something else.
    credential: Option<[u8; 32]>,
    is_local: bool,
    vhost: Arc<str>,
    purpose: Purpose,
}

impl Key {
    fn of(caller: &Caller, vhost: &str, purpose: Purpose) -> Self {
        Self { user: Arc::clone(&caller.user.name), credential: caller.credential, is_local: caller.is_local, vhost: vhost.into(), purpose }
    }
}

/// The node's connections to itself.
#[derive(Debug, Default)]
pub(super) struct Amqp {
    connections: Mutex<HashMap<Key, (Connection, Instant)>>,
    /// Channels that publish with confirms and rest, of connections that are kept.
    confirming: Mutex<HashMap<Key, Vec<Channel>>>,
}

/// Channels that rest for each user and virtual host.
const RESTING: usize = 16;

impl Amqp {
    /// A channel of a caller's own, in a virtual host that it may open.
    pub(super) async fn channel(&self, handle: &Handle, caller: &Caller, vhost: &str, purpose: Purpose) -> Result<Channel, ApiError> {
        let key = Key::of(caller, vhost, purpose);
        if let Some(connection) = self.kept(&key)
            && let Ok(channel) = connection.channel().await
        {
            return Ok(channel);
        }
        let connection = self.open(handle, caller, vhost).await?;
        let channel = connection.channel().await.map_err(refused)?;
        self.connections.lock().insert(key, (connection, Instant::now()));
        Ok(channel)
    }

    /// One that was opened before; those that have rested are closed.
    fn kept(&self, key: &Key) -> Option<Connection> {
        let now = Instant::now();
        let mut connections = self.connections.lock();
        connections.retain(|_, (_, used)| now.duration_since(*used) < IDLE);
        self.confirming.lock().retain(|key, _| connections.contains_key(key));
        let (connection, used) = connections.get_mut(key)?;
        *used = now;
        Some(connection.clone())
    }

    /// A channel that publishes with confirms; to be given back when nothing went wrong on it.
    pub(super) async fn confirming(&self, handle: &Handle, caller: &Caller, vhost: &str) -> Result<Channel, ApiError> {
        let key = Key::of(caller, vhost, Purpose::Publishing);
        let rested = if self.kept(&key).is_some() { self.confirming.lock().get_mut(&key).and_then(Vec::pop) } else { None };
        if let Some(channel) = rested.filter(Channel::is_open) {
            return Ok(channel);
        }
        let channel = self.channel(handle, caller, vhost, Purpose::Publishing).await?;
        channel.confirm_select().await.map_err(closed)?;
        Ok(channel)
    }

    pub(super) fn give_back(&self, caller: &Caller, vhost: &str, channel: Channel) {
        let key = Key::of(caller, vhost, Purpose::Publishing);
        let mut confirming = self.confirming.lock();
        let resting = confirming.entry(key).or_default();
        if resting.len() < RESTING {
            resting.push(channel);
        }
    }

    /// A connection that nobody else uses.
    pub(super) async fn open(&self, handle: &Handle, caller: &Caller, vhost: &str) -> Result<Connection, ApiError> {
        let stream = handle.connect(caller.identity(), caller.is_local);
        let stream = stream.map_err(|error| ApiError::Unavailable(error.to_string()))?;
        let options = Options { heartbeat_s: 0, ..Options::with_mechanism("PLAIN", Vec::new(), vhost) };
        Connection::open(stream, options.named("HTTP API")).await.map_err(|_| ApiError::Unauthorised("Access refused.".into()))
    }
}

/// What RabbitMQ answers when a method that it carried out for the API was refused (rabbit_mgmt_util:direct_request).
pub(super) fn refused(error: client::Error) -> ApiError {
    match error {
        client::Error::Closed { by_server: true, code, text, .. } => {
            let explanation = text.split_once(" - ").map_or(&*text, |(_, explanation)| explanation);
            match code {
                404 => ApiError::Missing(explanation.to_owned()),
                403 | 530 => ApiError::Unauthorised("Access refused.".into()),
                _ => ApiError::BadRequest(explanation.to_owned()),
            }
        }
        other => ApiError::Unavailable(other.to_string()),
    }
}

/// What it answers when a channel that it used was closed (rabbit_mgmt_util:with_channel).
pub(super) fn closed(error: client::Error) -> ApiError {
    match error {
        client::Error::Closed { by_server: true, code: 404, text, .. } => ApiError::Missing(text),
        client::Error::Closed { by_server: true, code: 403, text, .. } => ApiError::Unauthorised(text.into()),
        client::Error::Closed { by_server: true, code, text, .. } => ApiError::BadRequest(format!("{code} {text}")),
        other => ApiError::Unavailable(other.to_string()),
    }
}

/// Carries out one method.
pub(super) async fn call(channel: &Channel, method: AMQPClass) -> Result<AMQPClass, ApiError> {
    channel.call(method).await.map_err(refused)
}
