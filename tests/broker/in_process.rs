//! leveret without its shell: negotiation, decoder and core put together, bytes in and bytes out, at once.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use leveret::amqp::{Decoder, Output};
use leveret::broker::{Action, Broker, ConnectionId, Connections, Effects, Input, Profile, Rights, Settings, Timestamp};
use leveret::config::Config;
use leveret::conformance::{self, Arrival, Transport};
use leveret::node::Node;
use leveret::node::handshake::{Handshake, Peer, Step};

use crate::accounts::{self, NobodyElse};
use crate::administrator;
use crate::core::keeper::Keeper;

/// A broker that a scenario runner can connect to.
pub(crate) struct InProcess {
    profile: Profile,
    /// What can be on disk is there, and nowhere else.
    pages: bool,
    world: Rc<RefCell<World>>,
}

impl InProcess {
    pub(crate) fn new(profile: Profile, pages: bool) -> Self {
        let world = Rc::new(RefCell::new(World::new(profile.clone(), pages)));
        Self { profile, pages, world }
    }
}

impl conformance::Broker for InProcess {
    fn connect(&self) -> Box<dyn Transport> {
        let mut world = self.world.borrow_mut();
        let id = ConnectionId(u32::try_from(world.lines.len()).expect("a few connections"));
        let tune = world.node.tune;
        let limit = world.node.settings.max_message_size;
        world.lines.push(Line {
            decoder: Decoder::new(tune.initial_frame_max as usize, tune.frame_max as usize, limit),
            phase: Phase::Header(Vec::new()),
            said: Vec::new(),
            closed: false,
        });
        Box::new(Client { world: Rc::clone(&self.world), id })
    }

    fn answers_at_once(&self) -> bool {
        true
    }

    fn reset(&self) {
        *self.world.borrow_mut() = World::new(self.profile.clone(), self.pages);
    }

    fn wait(&self, milliseconds: u64) {
        let mut world = self.world.borrow_mut();
        world.now += milliseconds;
        world.handle(Input::Tick);
    }

    fn takes_ctl(&self) -> bool {
        true
    }

    fn ctl(&self, words: &[String]) -> Result<(), String> {
        self.world.borrow_mut().ctl(words)
    }
}

struct World {
    /// The time, in milliseconds since the epoch; it passes only when a transcript says so.
    now: u64,
    node: Node,
    broker: Broker,
    effects: Effects,
    lines: Vec<Line>,
    keeper: Option<Keeper>,
}

/// A connection from the broker's side.
struct Line {
    decoder: Decoder,
    phase: Phase,
    said: Vec<u8>,
    closed: bool,
}

enum Phase {
    Header(Vec<u8>),
    Negotiating(Box<Handshake>),
    Running,
}

/// The clients' ends of connections count up.
fn peer(id: ConnectionId) -> Peer {
    let at = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let address = at(50_000 + u16::try_from(id.0).expect("a few connections"));
    Peer { address, local: at(5672), other_connections: 0, trusted: None, ssl: None, certificate_user: None }
}

impl World {
    fn new(profile: Profile, pages: bool) -> Self {
        let mut node = Config::default().node();
        let page_window = if pages { 0 } else { Settings::default().page_window };
        node.settings = Arc::new(Settings {
            max_message_size: profile.max_message_size,
            profile,
            event_exchange: true,
            page_window,
            ..Settings::default()
        });
        let mut broker = Broker::new("/", Arc::clone(&node.settings), 1);
        if pages {
            broker.keep_records();
        }
        let keeper = pages.then(Keeper::default);
        accounts::first_start(&mut node);
        Self { now: 1_700_000_000_000, node, broker, effects: Effects::default(), lines: Vec::new(), keeper }
    }

    fn write(&mut self, id: ConnectionId, mut bytes: &[u8]) {
        let line = &mut self.lines[id.index()];
        if line.closed {
            return;
        }
        let mut out = Output::default();
        if let Phase::Header(header) = &mut line.phase {
            let (now, rest) = bytes.split_at(bytes.len().min(8 - header.len()));
            header.extend_from_slice(now);
            bytes = rest;
            let Ok(eight) = <[u8; 8]>::try_from(header.as_slice()) else { return };
            match Handshake::begin(&self.node, eight, peer(id), &mut out) {
                Ok(handshake) => line.phase = Phase::Negotiating(Box::new(handshake)),
                Err(answer) => {
                    out.bytes.extend_from_slice(&answer);
                    line.closed = true;
                }
            }
        }
        let mut commands = Vec::new();
        line.decoder.feed(bytes, &mut commands);
        let mut left = commands.into_iter();
        let mut opened_now = None;
        while let (Phase::Negotiating(handshake), false) = (&mut line.phase, line.closed) {
            let Some(command) = left.next() else { break };
            match handshake.command(&self.node, &NobodyElse, command, &mut out) {
                // Nobody beside the node is asked here.
                Step::Continue | Step::Authenticate { .. } | Step::Authorise { .. } => {}
                Step::Close { .. } => line.closed = true,
                Step::Open { opened, .. } => {
                    line.phase = Phase::Running;
                    opened_now = Some(opened);
                }
            }
        }
        line.said.extend_from_slice(&out.to_vec());
        let running = matches!(line.phase, Phase::Running) && !line.closed;
        if let Some(opened) = opened_now {
            self.handle(Input::Connected(id, opened));
        }
        if running {
            let mut commands: Vec<_> = left.collect();
            self.handle(Input::Received(id, &mut commands));
        }
    }

    /// Does what `rabbitmqctl` does with these words.
    fn ctl(&mut self, words: &[String]) -> Result<(), String> {
        if !accounts::understands(words) {
            self.handle(administrator::input(words)?);
            return Ok(());
        }
        accounts::ctl(&mut self.node, words)?;
        let user = &words[1];
        let rights = Arc::new(self.node.rights(user, "/").unwrap_or_else(Rights::none));
        self.handle(Input::SetRights { user, rights });
        if words[0] == "delete_user" {
            self.handle(Input::CloseConnections { which: Connections::Of(user), reason: &format!("user '{user}' is deleted") });
        }
        Ok(())
    }

    fn handle(&mut self, input: Input<'_>) {
        let mut input = Some(input);
        // Sockets here take everything, so what waits for one to drain goes on at once.
        loop {
            let mut flushed = Vec::new();
            if let Some(input) = input.take() {
                self.broker.handle(Timestamp(self.now), input, &mut self.effects);
            }
            let lines = &mut self.lines;
            self.effects.drain_outputs(|id, output, _| lines[id.index()].said.extend_from_slice(&output.to_vec()));
            self.effects.refusals.clear();
            for action in self.effects.actions.drain(..) {
                match action {
                    Action::CloseSocket(id) | Action::CloseUnanswered(id) => lines[id.index()].closed = true,
                    Action::ReportFlushed(id) => flushed.push(id),
                    Action::AwaitCloseOk(_) | Action::PauseReading(_) | Action::ResumeReading(_) => {}
                }
            }
            if flushed.is_empty() && !self.page() {
                return;
            }
            for id in flushed {
                self.broker.handle(Timestamp(self.now), Input::Flushed(id, 0), &mut self.effects);
            }
        }
    }

    /// Does what the storage has to do; `false` when there is nothing.
    fn page(&mut self) -> bool {
        let Some(keeper) = &mut self.keeper else { return false };
        let now = Timestamp(self.now);
        let stored = keeper.take(&mut self.broker);
        if !stored.is_empty() {
            self.broker.handle(now, Input::Stored(&stored), &mut self.effects);
        }
        self.broker.handle(now, Input::SpillTransient, &mut self.effects);
        for (queue, level, up_to) in keeper.take_spills(&mut self.broker) {
            self.broker.handle(now, Input::Spilled { queue, level, up_to }, &mut self.effects);
        }
        let loads = self.broker.take_loads();
        let does = !stored.is_empty() || !loads.is_empty();
        for load in loads {
            let loaded = keeper.answer(load, 2);
            self.broker.handle(now, Input::Loaded(loaded), &mut self.effects);
        }
        does
    }
}

struct Client {
    world: Rc<RefCell<World>>,
    id: ConnectionId,
}

impl Client {
    fn is_gone(&self) -> bool {
        self.id.index() >= self.world.borrow().lines.len()
    }
}

impl Transport for Client {
    fn write(&mut self, bytes: &[u8]) {
        if !self.is_gone() {
            self.world.borrow_mut().write(self.id, bytes);
        }
    }

    fn read(&mut self, into: &mut Vec<u8>, _deadline: Instant) -> Arrival {
        if self.is_gone() {
            return Arrival::Closed;
        }
        let mut world = self.world.borrow_mut();
        let line = &mut world.lines[self.id.index()];
        if line.said.is_empty() {
            return if line.closed { Arrival::Closed } else { Arrival::Nothing };
        }
        into.append(&mut line.said);
        Arrival::Bytes
    }

    fn abandon(&mut self) {
        if self.is_gone() {
            return;
        }
        let mut world = self.world.borrow_mut();
        world.lines[self.id.index()].closed = true;
        if matches!(world.lines[self.id.index()].phase, Phase::Running) {
            world.handle(Input::Disconnected(self.id));
        }
    }
}
