//! The handshake of a connection: its commands, what has to be found out in between, and what it leads to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::{Connection, Phase, send};
use crate::amqp::{Command, Output};
use crate::broker::Verdict;
use crate::broker::journal::Explained;
use crate::node::handshake::{Attempt, Handshake, Peer, Step};
use crate::node::identity::{Authority, Identity};
use crate::server::faults::Who;
use crate::server::tls::Secured;
use crate::server::vhosts::{Admitted, Place};
use crate::server::{AttemptSource, Protocol};

/// What the handshake waits for, and what has come behind it.
pub(super) struct Asking {
    about: About,
    pub(super) behind: Vec<Command>,
    /// In a read of how many bytes.
    pub(super) received: usize,
}

enum About {
    /// Who this is.
    User { name: String, password: Option<Vec<u8>> },
    /// Whether it may open this virtual host.
    Vhost { identity: Identity, vhost: Arc<str> },
    /// A virtual host that has to be made before it is opened.
    Throwaway { vhost: Arc<str>, user: Arc<str>, open: Command },
}

/// The same, found out.
enum Found {
    User(Option<Identity>),
    Vhost(Arc<str>, Verdict),
    Made(Command),
}

impl Asking {
    fn of(about: About) -> Self {
        Self { about, behind: Vec::new(), received: 0 }
    }
}

impl Connection {
    /// Finds out what the handshake waits for. Nothing is read meanwhile.
    pub(super) async fn find_out(&mut self, handshake_ends: Instant) -> io::Result<()> {
        while let Some(Asking { about, behind, received }) = self.asking.take() {
            let (node, shell) = (self.shell.node(), Arc::clone(&self.shell));
            let (authentication, ip) = (&shell.authentication, self.shared.peer.ip());
            let found = async {
                match about {
                    About::User { name, password } => Found::User(authentication.login(&node, &name, password.as_deref()).await),
                    About::Vhost { identity, vhost } => {
                        let verdict = authentication.may_open(&node, &identity, &vhost, ip).await;
                        Found::Vhost(vhost, verdict)
                    }
                    About::Throwaway { vhost, user, open } => {
                        shell.make_throwaway(&vhost, &user).await;
                        Found::Made(open)
                    }
                }
            };
            let found = tokio::time::timeout_at(handshake_ends, found).await;
            let found = found.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "handshake_timeout"))?;
            let Phase::Negotiating(handshake) = &mut self.phase else { return Ok(()) };
            let mut out = Output::default();
            let mut admitted = shell.admitted.lock();
            let step = match found {
                Found::User(identity) => handshake.authenticated(&shell.node(), identity, &mut out),
                Found::Made(open) => handshake.command(&shell.node(), &*admitted, open, &mut out),
                Found::Vhost(vhost, verdict) => handshake.authorised(&shell.node(), &*admitted, &vhost, verdict, &mut out),
            };
            let place = self.place(&step, &mut admitted);
            drop(admitted);
            self.place = self.place.take().or(place);
            self.count_attempt();
            self.follow(step, &mut out);
            send(&self.shared, &mut out);
            self.proceed(behind, received);
        }
        Ok(())
    }

    fn count_attempt(&mut self) {
        if let Phase::Negotiating(handshake) = &mut self.phase
            && let (Some(Attempt { user, succeeded }), None) = (handshake.take_attempt(), &self.trusted)
        {
            let source = || AttemptSource { address: self.shared.peer.ip().to_canonical(), user };
            self.shell.attempts.count(Protocol::Amqp, succeeded, source);
        }
    }

    fn refused(&mut self, why: &str) {
        tracing::info!(peer = %self.shared.peer, why, "handshake refused");
        if let Some(journal) = &self.shell.journal {
            journal.refused(Explained::in_handshake(self.shell.time.now(), &self.name(), why));
        }
        self.phase = Phase::Over;
        self.shared.unanswered.store(true, Ordering::Release);
    }

    pub(super) fn begin(&mut self) {
        let Phase::Header(header) = &self.phase else { return };
        let mut eight = [0; 8];
        eight[..header.len()].copy_from_slice(header);
        let mut out = Output::default();
        let other_connections = self.shell.connections.load(Ordering::SeqCst).saturating_sub(1);
        let by_transport = || self.shared.transport.with_tls(|session| Secured::by(session, &self.shell.config.tls));
        let (ssl, certificate_user) = match self.secured.take().or_else(by_transport) {
            Some(Secured { ssl, certificate_user }) => (Some(ssl), certificate_user),
            None => (None, None),
        };
        let trusted = self.trusted.clone();
        let peer = Peer { address: self.shared.peer, local: self.local, other_connections, trusted, ssl, certificate_user };
        match Handshake::begin(&self.shell.node(), eight, peer, &mut out) {
            Ok(handshake) => {
                if self.trusted.is_none() {
                    tracing::info!("accepting AMQP connection {}", self.name());
                }
                self.phase = Phase::Negotiating(Box::new(handshake));
            }
            Err(answer) => {
                out.bytes.extend_from_slice(&answer);
                self.phase = Phase::Over;
            }
        }
        send(&self.shared, &mut out);
    }

    /// Takes the commands that belong to the handshake; those behind it are left.
    pub(super) fn negotiate(&mut self, commands: &mut Vec<Command>) {
        if let Phase::Running(..) = self.phase {
            return;
        }
        let mut out = Output::default();
        let mut left = commands.drain(..);
        while let (Phase::Negotiating(handshake), None) = (&mut self.phase, &self.asking) {
            let Some(command) = left.next() else { break };
            if let Some((vhost, user)) = handshake.opens(&command)
                && self.shell.has_to_make(vhost)
            {
                let (vhost, user) = (vhost.into(), Arc::clone(user));
                self.asking = Some(Asking::of(About::Throwaway { vhost, user, open: command }));
                break;
            }
            // Counted and admitted at once, or more than one could be the last.
            let mut admitted = self.shell.admitted.lock();
            let step = handshake.command(&self.shell.node(), &*admitted, command, &mut out);
            let place = self.place(&step, &mut admitted);
            drop(admitted);
            self.place = self.place.take().or(place);
            self.count_attempt();
            self.follow(step, &mut out);
        }
        let behind: Vec<Command> = left.collect();
        commands.extend(behind);
        send(&self.shared, &mut out);
    }

    /// Counts a connection that opens its virtual host.
    fn place(&self, step: &Step, admitted: &mut Admitted) -> Option<Place> {
        let (Step::Open { vhost, opened, .. }, None) = (step, &self.trusted) else { return None };
        admitted.add(vhost, &opened.user);
        Some(Place { shell: Arc::downgrade(&self.shell), vhost: Arc::clone(vhost), user: Arc::clone(&opened.user) })
    }

    fn follow(&mut self, step: Step, out: &mut Output) {
        match step {
            Step::Continue => {}
            Step::Authenticate { name, password } => self.asking = Some(Asking::of(About::User { name, password })),
            Step::Authorise { identity, vhost } => self.asking = Some(Asking::of(About::Vhost { identity, vhost })),
            Step::Close { why } => self.refused(&why),
            Step::Open { vhost, opened, identity, heartbeat_s, connection_name } => {
                self.heartbeat = Duration::from_secs(heartbeat_s.into());
                let (name, user) = (self.name(), &opened.user);
                if self.trusted.is_none() {
                    tracing::info!(
                        name = connection_name,
                        "connection {name}: user '{user}' authenticated and granted access to vhost '{vhost}'"
                    );
                }
                if identity.authority != Authority::Node {
                    *self.shared.identity.lock() = Some(identity);
                }
                self.shared.opened(Who {
                    name,
                    given_name: connection_name,
                    user: Some(Arc::clone(user)),
                    vhost: Some(Arc::clone(&vhost)),
                    mechanism: None,
                });
                // Before open-ok, which the loop writes by itself.
                send(&self.shared, out);
                match self.shell.broker_loop(&vhost) {
                    Some(broker_loop) => {
                        let id = broker_loop.connected(Arc::clone(&self.shared), opened);
                        self.phase = Phase::Running(id, broker_loop);
                    }
                    None => self.phase = Phase::Over,
                }
            }
        }
    }
}
