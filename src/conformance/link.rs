//! One connection: frames in and out, its channels, and the round trip that proves the broker has nothing more to say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::channel::{Channel, Life};
use super::opinion::amq_protocol_agrees;
use super::transport::{Arrival, Transport};
use crate::transcript::codec::{Arguments, decode_method};
use crate::transcript::schema::Method;
use crate::transcript::text::hex;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not open yet: nothing can be asked of the broker.
    Handshake,
    Open,
    /// The client has sent connection.close.
    Closing,
    /// Both sides have said goodbye.
    Finished,
    /// The socket is closed.
    Gone,
}

pub(crate) struct Link {
    transport: Box<dyn Transport>,
    incoming: Vec<u8>,
    pub(crate) stage: Stage,
    /// How long an answer in the handshake may take.
    pub(crate) patience: Duration,
    /// The largest frame this connection agreed on, in bytes.
    pub(crate) frame_max: usize,
    pub(crate) channels: BTreeMap<u16, Channel>,
    /// For each connection.update-secret sent and not answered: whether the runner sent it.
    pub(crate) secrets: VecDeque<bool>,
    /// While the runner itself shakes hands, the answers on channel 0.
    pub(crate) handshake: Option<VecDeque<(&'static Method, Arguments)>>,
    /// Whether a channel.close is answered without the transcript saying so.
    pub(crate) answers_close: bool,
    pub(crate) shows_heartbeats: bool,
    pub(crate) keeps_all_properties: bool,
    /// The transcript asked to see the socket close even after both sides have said goodbye.
    pub(crate) shows_goodbye: bool,
    /// Channels the transcript uses without opening them.
    pub(crate) unopened: BTreeSet<u16>,
    /// Queues and exchanges this connection declared, and whether exclusively.
    pub(crate) queues: Vec<(Vec<u8>, bool)>,
    pub(crate) exchanges: Vec<Vec<u8>>,
}

impl Link {
    pub(crate) fn new(transport: Box<dyn Transport>) -> Link {
        Link {
            transport,
            incoming: Vec::new(),
            stage: Stage::Handshake,
            patience: Duration::from_secs(10),
            frame_max: 4096,
            channels: BTreeMap::from([(0, Channel::new())]),
            secrets: VecDeque::new(),
            handshake: None,
            answers_close: true,
            shows_heartbeats: false,
            keeps_all_properties: false,
            shows_goodbye: false,
            unopened: BTreeSet::new(),
            queues: Vec::new(),
            exchanges: Vec::new(),
        }
    }

    pub(crate) fn channel(&mut self, number: u16) -> &mut Channel {
        self.channels.entry(number).or_insert_with(Channel::new)
    }

    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.stage, Stage::Finished | Stage::Gone)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.transport.write(bytes);
    }

    pub(crate) fn abandon(&mut self) {
        self.transport.abandon();
        self.stage = Stage::Gone;
    }

    /// Sends a method the transcript does not show.
    pub(crate) fn send_text(&mut self, channel: u16, text: &str) {
        self.send_line(channel, text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }

    /// Asks each open channel, and the connection itself, for an answer that leaves no trace.
    pub(crate) fn start_sync(&mut self) {
        if self.stage != Stage::Open {
            return;
        }
        let open: Vec<u16> =
            self.channels.iter().filter(|(number, channel)| **number != 0 && channel.may_be_asked()).map(|(number, _)| *number).collect();
        for number in open {
            self.send_text(number, "channel.flow active=true");
            if let Some(mine) = self.channel(number).flows.back_mut() {
                *mine = true;
            }
        }
        self.send_text(0, "connection.update-secret new_secret=guest reason=\"are you there?\"");
        if let Some(mine) = self.secrets.back_mut() {
            *mine = true;
        }
    }

    pub(crate) fn is_synced(&self) -> bool {
        let channel_synced = |channel: &Channel| channel.life != Life::Open || channel.flows.is_empty();
        !self.is_alive() || (self.secrets.is_empty() && self.channels.values().all(channel_synced))
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.stage == Stage::Closing || (self.stage == Stage::Open && self.channels.values().any(Channel::is_waiting))
    }

    /// The broker does not answer: to wait again would be in vain.
    pub(crate) fn give_up(&mut self) {
        self.channel(0).complain("no answer to channel.flow and connection.update-secret");
        self.abandon();
    }

    /// Reads once, until the deadline. False if nothing came.
    pub(crate) fn pump(&mut self, deadline: Instant) -> bool {
        if self.stage == Stage::Gone {
            return false;
        }
        match self.transport.read(&mut self.incoming, deadline) {
            Arrival::Nothing => return false,
            Arrival::Bytes => self.take_frames(),
            Arrival::Closed => {
                if self.stage != Stage::Finished || self.shows_goodbye {
                    self.channel(0).receive_text("closed");
                }
                self.stage = Stage::Gone;
            }
        }
        true
    }

    fn take_frames(&mut self) {
        let incoming = std::mem::take(&mut self.incoming);
        let mut rest = incoming.as_slice();
        loop {
            if let [b'A', b'M', b'Q', b'P', a, b, c, d, after @ ..] = rest {
                self.channel(0).receive_text(&format!("protocol-header {a} {b} {c} {d}"));
                rest = after;
                continue;
            }
            let [kind, c1, c2, s1, s2, s3, s4, ..] = *rest else {
                break;
            };
            let size = u32::from_be_bytes([s1, s2, s3, s4]) as usize;
            let Some((whole, after)) = rest.split_at_checked(size + 8) else {
                break;
            };
            rest = after;
            self.take_frame(kind, u16::from_be_bytes([c1, c2]), whole);
        }
        self.incoming = rest.to_vec();
    }

    fn take_frame(&mut self, kind: u8, number: u16, whole: &[u8]) {
        let payload = &whole[7..whole.len() - 1];
        let frame_max = self.frame_max;
        let agreed = self.stage != Stage::Handshake;
        let channel = self.channel(number);
        if !amq_protocol_agrees(kind, whole, payload) {
            channel.complain(&format!("malformed frame {}", hex(whole)));
        }
        if agreed && whole.len() > frame_max {
            channel.complain(&format!("frame of {} bytes, agreed on {frame_max}", whole.len()));
        }
        match kind {
            1 => match decode_method(payload) {
                Some((method, arguments)) => self.take_method(number, method, arguments),
                None => channel.complain(&format!("method {}", hex(payload))),
            },
            2 => channel.receive_header(payload),
            3 => channel.receive_body(payload),
            _ if self.shows_heartbeats => self.channel(0).receive_text("heartbeat"),
            _ => {}
        }
    }

    fn take_method(&mut self, number: u16, method: &'static Method, mut arguments: Arguments) {
        match method.name {
            "connection.start" if !self.keeps_all_properties => arguments.retain_stable_properties(),
            "connection.update-secret-ok" if self.secrets.pop_front() == Some(true) => return,
            "connection.open-ok" => self.stage = Stage::Open,
            "connection.close-ok" => self.stage = Stage::Finished,
            "queue.declare-ok" if arguments.string("queue").starts_with(b"amq.gen-") => {
                self.queues.push((arguments.string("queue").to_vec(), true));
            }
            _ => {}
        }
        match &mut self.handshake {
            Some(answers) if number == 0 && method.name != "connection.close" => answers.push_back((method, arguments)),
            _ => self.channel(number).receive(method, arguments),
        }
        match method.name {
            "connection.close" => {
                self.send_text(0, "connection.close-ok");
                self.stage = Stage::Finished;
            }
            "channel.close" => {
                let channel = self.channel(number);
                let crossed = channel.life == Life::ClosingByClient;
                channel.life = if crossed { Life::ClosingByClient } else { Life::ClosingByServer };
                if self.answers_close || self.channel(number).is_hidden {
                    self.send_text(number, "channel.close-ok");
                }
            }
            _ => {}
        }
    }

    /// How many lines wait to be taken.
    pub(crate) fn line_count(&self) -> usize {
        self.channels.values().map(Channel::line_count).sum()
    }

    /// The lines of every channel; channel 0 last, because it is the one that ends things.
    pub(crate) fn take_lines(&mut self) -> Vec<(u16, String)> {
        let mut lines = Vec::new();
        let numbers = self.channels.keys().copied().filter(|number| *number != 0);
        for number in numbers.chain([0]).collect::<Vec<_>>() {
            let taken = self.channel(number).take_lines();
            lines.extend(taken.into_iter().map(|line| (number, line)));
        }
        lines
    }
}
