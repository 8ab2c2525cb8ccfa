//! A running node, as those see it who look after it: the HTTP API, metrics, commands.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use serde_json::{Map, Value as Json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::attempts::{AttemptSource, Attempted, Protocol};
use super::definitions::ImportError;
use super::inbox::Asked;
use super::listener::{Ends, Entrance, Listening};
use super::tls::{self, Certificates, Secured, TlsError, Validity};
use super::vhosts::ChangeError;
use super::{Shell, listener, salt};
use crate::broker::{Access, Alarms, Broker, Input, Verdict};
use crate::config::Config;
use crate::config::definitions::Definitions;
use crate::node::handshake::Trusted;
use crate::node::identity::Identity;
use crate::node::{Node, Refusal};
use crate::telemetry::Told;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle(pub(super) Arc<Shell>);

/// Bytes of messages and of what connections hold, and above how many of them publishers are blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub used: u64,
    pub limit: u64,
}

/// Bytes that are free where the data directory is, and below how many of them publishers are blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    pub free: u64,
    pub limit: u64,
}

impl Handle {
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// What has become of spans, if there is a collector for them.
    #[must_use]
    pub fn spans_told(&self) -> Option<&Told> {
        self.0.tracing.as_ref().map(|tracing| tracing.outlet.told())
    }

    /// The node as it is now.
    #[must_use]
    pub fn node(&self) -> Arc<Node> {
        self.0.node()
    }

    /// Changes the node: when this returns, the change would survive a crash, and what follows from it has happened.
    ///
    /// # Errors
    /// What `change` refuses, and a disk that fails; nothing has changed then.
    pub async fn change_node<T>(&self, change: impl FnOnce(&mut Node) -> Result<T, Refusal>) -> Result<T, ChangeError> {
        self.0.change_node(change).await
    }

    /// The node, to be waited for whenever it changes.
    #[must_use]
    pub fn on_node(&self) -> watch::Receiver<Arc<Node>> {
        self.0.node_told.subscribe()
    }

    /// Has something done with a virtual host, or found out about it, while nothing else happens there. Whatever anybody has been
    /// told by now has happened before. `None` when there is no such virtual host.
    pub async fn ask<T: Send + 'static>(&self, vhost: &str, question: impl FnOnce(&mut Asked<'_>) -> T + Send + 'static) -> Option<T> {
        let broker_loop = self.0.broker_loop(vhost)?;
        Some(broker_loop.ask(question).await)
    }

    /// Has an input handled by a virtual host; `None` when there is no such virtual host.
    pub async fn handle(&self, vhost: &str, input: impl FnOnce() -> Input<'static> + Send + 'static) -> Option<()> {
        self.ask(vhost, move |asked| asked.handle(input())).await
    }

    /// Returns when what has happened in a virtual host by now would survive; at once where nothing is kept. `false` when the node
    /// stops before that.
    pub async fn safe(&self, vhost: &str) -> bool {
        match self.0.broker_loop(vhost) {
            Some(broker_loop) => broker_loop.safe().await,
            None => true,
        }
    }

    /// Takes in what definitions have: of one virtual host, or of the whole node. When this returns, it would survive.
    ///
    /// # Errors
    /// The first entry that is refused; what came before it is there. A disk that fails.
    pub async fn import(&self, sections: Map<String, Json>, vhost: Option<&str>, user: &str) -> Result<(), ImportError> {
        let definitions = match vhost {
            Some(vhost) => Definitions::of_vhost(sections, vhost),
            None => Definitions::read(sections, None),
        };
        self.0.import(definitions, user).await
    }

    #[must_use]
    pub fn alarms(&self) -> Alarms {
        *self.0.alarms.lock()
    }

    /// The alarms, to be waited for.
    #[must_use]
    pub fn on_alarms(&self) -> watch::Receiver<Alarms> {
        self.0.alarms_told.subscribe()
    }

    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory { used: self.0.held.bytes() + self.0.queued(), limit: self.0.controls.memory_limit() }
    }

    /// `None` for a node that keeps everything in memory.
    #[must_use]
    pub fn disk(&self) -> Option<Disk> {
        let free = self.0.storage.as_ref()?.free_bytes().ok()?;
        Some(Disk { free, limit: self.0.controls.disk_free_limit() })
    }

    /// When the node began to serve.
    #[must_use]
    pub fn started(&self) -> SystemTime {
        self.0.started
    }

    /// Sockets that are open, those that negotiate as well.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn listening(&self) -> Vec<Listening> {
        self.0.listening.lock().clone()
    }

    /// Listens for somebody else, who has what comes in served for as long as the node runs.
    ///
    /// # Errors
    /// An address that cannot be bound.
    pub async fn listen(&self, protocol: &'static str, address: SocketAddr) -> std::io::Result<(Arc<Entrance>, SocketAddr)> {
        // This sets SO_REUSEADDR.
        let (entrance, address) = Entrance::new(TcpListener::bind(address).await?)?;
        self.0.listening.lock().push(Listening { protocol, address: address.into() });
        let entrance = Arc::new(entrance);
        self.0.entrances.lock().push(Arc::clone(&entrance));
        Ok((entrance, address))
    }

    /// Has something done beside all else, for no longer than the node runs.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.0.tasks.spawn(work)
    }

    /// Has the definitions file and certificates read again. What is refused changes nothing, and is logged.
    pub fn reload(&self) {
        self.0.reload.send_replace(());
    }

    /// Told whenever files are to be read again.
    pub(super) fn on_reload(&self) -> watch::Receiver<()> {
        self.0.reload.subscribe()
    }

    /// From now on these are read again with all else.
    pub fn refresh(&self, certificates: &Arc<Certificates>) {
        self.spawn(Arc::clone(certificates).reload(self.on_reload()));
    }

    /// Attempts to log in since they were last reset.
    #[must_use]
    pub fn attempts(&self) -> Vec<Attempted> {
        self.0.attempts.all()
    }

    /// Somebody by a name and a password, or a token in place of one.
    pub async fn login(&self, node: &Node, name: &str, password: &str) -> Option<Identity> {
        self.0.authentication.login(node, name, Some(password.as_bytes())).await
    }

    /// Somebody by a token alone.
    pub async fn login_with_token(&self, node: &Node, token: &str) -> Option<Identity> {
        self.0.authentication.login_with_token(node, token.as_bytes()).await
    }

    /// Whether somebody may do something in a virtual host.
    pub async fn may(&self, node: &Node, identity: &Identity, vhost: &str, access: &Access) -> bool {
        self.0.authentication.access(node, identity, vhost, access).await == Verdict::Allowed
    }

    /// Whether somebody may open a virtual host, from there.
    pub async fn may_open(&self, node: &Node, identity: &Identity, vhost: &str, ip: IpAddr) -> bool {
        self.0.authentication.may_open(node, identity, vhost, ip).await == Verdict::Allowed
    }

    pub fn count_attempt(&self, protocol: Protocol, succeeded: bool, source: impl FnOnce() -> AttemptSource) {
        self.0.attempts.count(protocol, succeeded, source);
    }

    /// The same by where they came from; none unless they are tracked.
    #[must_use]
    pub fn attempts_by_source(&self) -> Vec<(AttemptSource, Attempted)> {
        self.0.attempts.by_source()
    }

    /// Whether attempts are counted by where they come from.
    pub fn track_attempt_sources(&self, on: bool) {
        self.0.attempts.track_sources(on);
    }

    pub fn reset_attempts(&self) {
        self.0.attempts.reset();
    }

    /// Until when the certificates of a listener with TLS are valid, read from their files.
    ///
    /// # Errors
    /// Files that are missing, or no certificates.
    pub fn certificates(&self, protocol: &str) -> Result<Validity, TlsError> {
        tls::validity(&tls::Source::of(protocol, &self.0.config))
    }

    /// Whether the node is about to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Relaxed)
    }

    /// A connection of the node's own to itself, on which a user needs no password; one who may do everything is told so.
    ///
    /// # Errors
    /// When there can be no more sockets.
    pub fn connect(&self, identity: Identity, may_everything: bool) -> std::io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let trusted = Trusted { identity, may_everything };
        self.spawn(listener::serve_own(theirs, trusted, Arc::clone(&self.0)));
        Ok(ours)
    }

    /// A connection of a client in this process, which says who it is as all others do. The stream does not block.
    ///
    /// # Errors
    /// When nobody is let in, or there can be no more sockets.
    pub fn admit(&self) -> std::io::Result<std::os::unix::net::UnixStream> {
        listener::admit(&self.0)
    }

    /// Waits until something is so in a virtual host, which is looked at after whatever happens there. `None` when there is no such
    /// virtual host, or when the node ends before that.
    pub async fn wait<T: Send + 'static>(
        &self,
        vhost: &str,
        mut condition: impl FnMut(&Broker) -> Option<T> + Send + 'static,
    ) -> Option<T> {
        self.0.broker_loop(vhost)?.until(move |asked| condition(asked.broker())).await
    }

    /// Serves AMQP over WebSocket to its end, with a client that has been told that it may begin. `secured` is what TLS below HTTP has
    /// agreed on.
    ///
    /// # Errors
    /// When there can be no more sockets.
    pub async fn serve_websocket<S>(&self, stream: S, ends: Ends, secured: Option<Secured>) -> std::io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        listener::serve_websocket(stream, ends, secured, Arc::clone(&self.0)).await
    }

    /// Salt for a password.
    #[must_use]
    pub fn salt(&self) -> [u8; crate::node::password::SALT] {
        salt()
    }
}
