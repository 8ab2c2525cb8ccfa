//! Connections that send damaged bytes: whatever they do, the broker must not panic, and nobody else must notice.

use std::sync::Arc;

use leveret::amqp::{Command, Decoder};
use leveret::broker::{Action, Capabilities, ConnectionId, Connections, Input, Opened, Rights};

use super::choice::{Chooser, Tastes};
use super::client::Client;
use super::link::opened_decoder;
use super::model::Step;
use super::op::Op;
use super::random::Random;
use super::wild;
use super::wire;
use super::world::World;

/// In front of the names that they use, as long as nothing damages it.
const PREFIX: &str = "noise";
/// What they log in as.
const USER: &str = "noisy";
/// Their ids begin here.
const FIRST: u32 = 100;
const FRAME_MAX: usize = 8192;

#[derive(Debug, Default)]
pub(super) struct Noise {
    connections: Vec<Option<Noisy>>,
}

#[derive(Debug)]
struct Noisy {
    client: Client,
    decoder: Decoder,
    closed: bool,
    reported: bool,
}

impl Noise {
    fn connection(&mut self, id: ConnectionId) -> Option<&mut Noisy> {
        self.connections.get_mut(id.0.checked_sub(FIRST)? as usize)?.as_mut()
    }

    /// Reads what the broker says to one of these; `false` when it is none of them. Even to them it speaks AMQP.
    pub(super) fn takes(&mut self, id: ConnectionId, bytes: &[u8]) -> bool {
        let Some(noisy) = self.connection(id) else { return false };
        // Texts of theirs that are no UTF-8 come back to them, and then nobody but them can read on.
        if wire::are_frames(bytes, FRAME_MAX) {
            for event in wire::read_all(bytes, FRAME_MAX) {
                noisy.client.read(&event);
            }
        }
        true
    }

    pub(super) fn acts(&mut self, id: ConnectionId, action: Action) -> bool {
        let Some(noisy) = self.connection(id) else { return false };
        noisy.closed |= matches!(action, Action::CloseSocket(_) | Action::CloseUnanswered(_));
        noisy.reported |= matches!(action, Action::ReportFlushed(_));
        true
    }
}

impl World {
    pub(super) fn add_noise(&mut self, connections: usize) {
        self.noise.connections.resize_with(connections, || None);
    }

    /// One of them does something.
    pub(super) fn make_noise(&mut self) {
        let index = self.random.below(self.noise.connections.len());
        let id = FIRST + u32::try_from(index).expect("a few connections");
        if self.noise.connections[index].is_none() {
            return self.noisy_connection(id);
        }
        match self.random.below(400) {
            0 => return self.noisy_end(id),
            1..10 => return self.noisy_policy(),
            10..20 => self.let_time_pass(),
            20..24 => self.noisy_rights(),
            24 => self.noisy_close(id),
            _ => {}
        }
        let bytes = self.noisy_bytes(index, id);
        self.noisy_input(index, id, &bytes);
    }

    fn noisy_connection(&mut self, id: u32) {
        let noisy = Noisy { client: Client::default(), decoder: opened_decoder(FRAME_MAX), closed: false, reported: false };
        self.noise.connections[(id - FIRST) as usize] = Some(noisy);
        let capabilities = Capabilities { consumer_cancel_notify: true, connection_blocked: true };
        let opened = Opened {
            user: USER.into(),
            capabilities,
            frame_max: FRAME_MAX,
            channel_max: 5,
            origin: Box::default(),
            rights: Arc::new(Rights::all()),
        };
        self.input(Input::Connected(ConnectionId(id), opened), Step::Flushed);
    }

    fn noisy_end(&mut self, id: u32) {
        self.input(Input::Disconnected(ConnectionId(id)), Step::Flushed);
        self.noise.connections[(id - FIRST) as usize] = None;
    }

    /// An administrator lays anything over what is theirs, or takes it off again.
    fn noisy_policy(&mut self) {
        let operator = self.random.percent(30);
        let input = match wild::policy(self.random.next(), operator, PREFIX) {
            Some(policy) => Input::SetPolicy { operator, policy: Box::new(policy), user: "guest" },
            None => Input::ClearPolicy { operator, name: PREFIX, user: "guest" },
        };
        self.input(input, Step::Flushed);
    }

    /// What they may do changes in the midst of what they do.
    fn noisy_rights(&mut self) {
        let rights = wild::rights(self.random.next(), PREFIX);
        self.input(Input::SetRights { user: USER, rights: Arc::new(rights) }, Step::Flushed);
    }

    /// An administrator closes one of their connections, or all; the clients answer or go on as if nothing was.
    fn noisy_close(&mut self, id: u32) {
        let which = if self.random.percent(50) { Connections::Of(USER) } else { Connections::One(ConnectionId(id)) };
        self.input(Input::CloseConnections { which, reason: "too noisy" }, Step::Flushed);
    }

    fn noisy_bytes(&mut self, index: usize, id: u32) -> Vec<u8> {
        let tastes = Tastes { prefix: PREFIX.to_owned(), queues: 4, exchanges: 8, large: 5, bounded: 40, shared: false, wild: true };
        let Some(noisy) = &mut self.noise.connections[index] else { return Vec::new() };
        let mut bytes = Vec::new();
        for _ in 0..=self.random.below(4) {
            let mut publisher = u64::from(id);
            let mut chooser = Chooser { random: &mut self.random, tastes: &tastes, connection: id, next_publisher: &mut publisher };
            let Some((channel, op)) = chooser.next(&mut noisy.client) else { break };
            let mut sent = Vec::new();
            op.encode(channel, FRAME_MAX, &mut sent);
            damage(&mut self.random, &mut sent);
            bytes.extend(sent);
        }
        bytes
    }

    fn noisy_input(&mut self, index: usize, id: u32, bytes: &[u8]) {
        let Some(noisy) = &mut self.noise.connections[index] else { return };
        let mut commands: Vec<Command> = Vec::new();
        let portion = 1 + self.random.below(3000);
        for part in bytes.chunks(portion) {
            noisy.decoder.feed(part, &mut commands);
        }
        self.input(Input::Received(ConnectionId(id), &mut commands), Step::Flushed);
        let Some(noisy) = &mut self.noise.connections[index] else { return };
        if noisy.closed || noisy.client.said_goodbye && self.random.percent(20) {
            self.noisy_end(id);
        } else if std::mem::take(&mut noisy.reported) {
            self.input(Input::Flushed(ConnectionId(id), 0), Step::Flushed);
        }
    }

    /// They leave, and what they have made is removed.
    pub(super) fn end_noise(&mut self) {
        for index in 0..self.noise.connections.len() {
            if self.noise.connections[index].is_some() {
                self.noisy_end(FIRST + u32::try_from(index).expect("a few connections"));
            }
        }
        for operator in [false, true] {
            self.input(Input::ClearPolicy { operator, name: PREFIX, user: "guest" }, Step::Flushed);
        }
        self.noisy_connection(FIRST);
        let mut bytes = Vec::new();
        Op::ChannelOpen.encode(1, FRAME_MAX, &mut bytes);
        for queue in self.broker.queue_snapshots().into_iter().filter(|q| !self.is_ours(&q.name)) {
            Op::QueueDelete { name: queue.name, if_unused: false, if_empty: false }.encode(1, FRAME_MAX, &mut bytes);
        }
        for name in self.broker.exchange_names().into_iter().filter(|name| !self.is_ours(name)) {
            Op::ExchangeDelete { name, if_unused: false }.encode(1, FRAME_MAX, &mut bytes);
        }
        self.noisy_input(0, FIRST, &bytes);
        self.noisy_end(FIRST);
    }
}

/// Sometimes changes what was meant.
fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    match random.weighted(&[60, 14, 4, 8, 5, 5, 4]) {
        0 => {}
        1 => {
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
        }
        2 => bytes.truncate(random.below(bytes.len())),
        3 => bytes.extend_from_within(..),
        4 => {
            let at = random.below(bytes.len());
            let filler = bytes[random.below(bytes.len())];
            bytes.insert(at, filler);
        }
        5 => {
            // Another kind of frame, or another channel.
            let at = [0, 2][random.below(2)];
            bytes[at] = [0, 1, 2, 3, 4, 8][random.below(6)];
        }
        _ => {
            // Another method, or other arguments at the front.
            let at = 7 + random.below(6.min(bytes.len() - 7));
            bytes[at] = u8::try_from(random.below(130)).expect("a byte");
        }
    }
}
