//! What comes from a client: frames are cut, judged, and passed on, later or never.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use super::engine::{End, Engine, Lasting, Passed};
use super::frames::Frame;
use super::judging::Seen;
use super::methods;
use super::rule::{Direction, Then};
use crate::amqp::frame::{ENVELOPE, Envelope, OVERHEAD};
use crate::amqp::{Command, Fate};

/// Bytes that are kept for later before nothing more is read.
const HELD_MAX: usize = 1024 * 1024;
/// A frame that is larger than this is not looked at: the decoder refuses it.
const FRAME_MAX: usize = 128 * 1024 * 1024;

#[derive(Debug, Default)]
pub(in crate::server) struct Incoming {
    /// The decoder has given back what it had begun.
    is_primed: bool,
    /// The beginning of a frame, or what has come while reading was stopped.
    partial: Vec<u8>,
    /// Bytes of a frame that the decoder has begun: they are passed on as they are.
    skips: usize,
    /// Contents that are under way, by channel.
    contents: BTreeMap<u16, Content>,
    /// What is passed on later, and when.
    held: VecDeque<(Until, Passed)>,
    held_bytes: usize,
    /// So many bytes are passed on yet, and then nothing.
    cut: Option<(usize, Then)>,
    /// Nothing that comes counts any more.
    pub(super) stops: bool,
}

#[derive(Debug)]
enum Until {
    At(Instant),
    Over(Lasting),
}

/// The rest of a publish.
#[derive(Debug)]
struct Content {
    /// Bytes of body to come, once the header has said.
    left: Option<u64>,
    dropped: bool,
    fate: Fate,
    /// All of it again, to be passed on when it is complete.
    copy: Option<Vec<u8>>,
}

impl Incoming {
    pub(super) fn due(&self) -> Option<Instant> {
        match self.held.front()? {
            (Until::At(due), _) => Some(*due),
            (Until::Over(_), _) => None,
        }
    }

    pub(super) fn waits_for(&self) -> Option<&Lasting> {
        match self.held.front()? {
            (Until::Over(lasting), _) => Some(lasting),
            (Until::At(_), _) => None,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.held_bytes > HELD_MAX
    }

    pub(super) fn holds_anything(&self) -> bool {
        !self.held.is_empty()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty() && self.contents.is_empty() && self.skips == 0 && self.cut.is_none() && !self.stops
    }

    pub(super) fn take_partial(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.partial)
    }
}

impl Engine {
    /// Whether the decoder has yet to say what it has begun.
    pub(in crate::server) fn is_primed(&self) -> bool {
        self.incoming.is_primed
    }

    /// What the decoder has begun: the beginning of a frame, and bytes of one that it has partly taken in.
    pub(in crate::server) fn prime(&mut self, partial: Vec<u8>, skips: usize) {
        self.incoming.is_primed = true;
        self.incoming.partial = partial;
        self.incoming.skips = skips;
    }

    /// Takes what was read; returns what is passed on now.
    pub(in crate::server) fn inbound(&mut self, bytes: &[u8], now: Instant) -> Vec<Passed> {
        self.refresh();
        let mut ready = Vec::new();
        let (skipped, bytes) = bytes.split_at(bytes.len().min(self.incoming.skips));
        if !skipped.is_empty() {
            self.incoming.skips -= skipped.len();
            self.pass(Passed::Bytes(skipped.to_vec(), Fate::default()), None, now, &mut ready);
        }
        let mut buffer = self.incoming.take_partial();
        buffer.extend_from_slice(bytes);
        let mut rest = &buffer[..];
        while !self.incoming.stops && self.reads(now) {
            let Some(envelope) = Envelope::read(rest) else { break };
            let whole = envelope.size.saturating_add(OVERHEAD);
            if envelope.size > FRAME_MAX {
                self.incoming.skips = usize::MAX;
                self.pass(Passed::Bytes(rest.to_vec(), Fate::default()), None, now, &mut ready);
                rest = &[];
                break;
            }
            if rest.len() < whole {
                break;
            }
            let (bytes, behind) = rest.split_at(whole);
            rest = behind;
            match Frame::first(bytes) {
                Some(frame) => self.frame_in(&frame, now, &mut ready),
                None => self.pass(Passed::Bytes(bytes.to_vec(), Fate::default()), None, now, &mut ready),
            }
        }
        if !self.incoming.stops {
            self.incoming.partial = rest.to_vec();
        }
        ready
    }

    fn frame_in(&mut self, frame: &Frame<'_>, now: Instant, ready: &mut Vec<Passed>) {
        let Frame { id, channel, .. } = *frame;
        if id == methods::START_OK || id == methods::OPEN {
            self.who.learn(&frame.bytes[ENVELOPE..frame.bytes.len() - 1]);
        }
        let mut content = self.incoming.contents.remove(&channel).filter(|_| id == methods::HEADER || id == methods::BODY);
        if let Some(content) = &mut content {
            content.take(frame);
        }
        if content.as_ref().is_some_and(|content| content.dropped) {
            return self.keep(channel, content, now, ready);
        }
        let seen = Seen { id, channel, direction: Direction::In, named: frame.named(), is_acked: false };
        let verdict = self.judge(&seen, now);
        if frame.has_content() {
            let copy = (verdict.duplicate && !verdict.takes_it_away()).then(Vec::new);
            content = Some(Content { left: None, dropped: verdict.drop || verdict.close.is_some(), fate: verdict.fate, copy });
        }
        if let Some(end) = verdict.end {
            self.ends(end);
            if end != End::HalfClose {
                return;
            }
        }
        if let Some(fault) = verdict.close {
            self.pass(Passed::Command(Command::Fault(fault)), None, now, ready);
        } else if !verdict.drop {
            let fate = content.as_ref().map_or_else(Fate::default, |content| content.fate);
            let mut bytes = frame.bytes.to_vec();
            if let Some(content) = &mut content
                && let Some(copy) = &mut content.copy
            {
                copy.extend_from_slice(&bytes);
            }
            if verdict.corrupt
                && let Some(end) = bytes.last_mut()
            {
                *end = 0;
            }
            let until = verdict.waits_for.map(Until::Over).or(verdict.due.map(Until::At));
            if let Some(cut) = verdict.truncate {
                self.incoming.cut = Some(cut);
            }
            let twice = (verdict.duplicate && !frame.has_content()).then(|| bytes.clone());
            let asks = (id == methods::GET).then(|| seen.named.queue.unwrap_or_default());
            self.pass(Passed::Bytes(bytes, fate), until, now, ready);
            if let Some(queue) = asks {
                self.outgoing.asked(channel, queue, 1 + usize::from(twice.is_some()));
            }
            if let Some(bytes) = twice {
                self.pass(Passed::Bytes(bytes, fate), None, now, ready);
            }
        }
        self.keep(channel, content, now, ready);
    }

    /// A content goes on, unless it is complete.
    fn keep(&mut self, channel: u16, content: Option<Content>, now: Instant, ready: &mut Vec<Passed>) {
        let Some(content) = content else { return };
        if content.left != Some(0) {
            self.incoming.contents.insert(channel, content);
        } else if let Some(copy) = content.copy {
            self.pass(Passed::Bytes(copy, content.fate), None, now, ready);
        }
    }

    /// Passes something on, when it is due and behind what is late.
    fn pass(&mut self, mut passed: Passed, until: Option<Until>, now: Instant, ready: &mut Vec<Passed>) {
        if let (Some((left, then)), Passed::Bytes(bytes, _)) = (&mut self.incoming.cut, &mut passed) {
            bytes.truncate(*left);
            *left -= bytes.len();
            if *left == 0 {
                self.incoming.stops = true;
                if *then == Then::Close {
                    self.ends(End::Close);
                }
                self.incoming.cut = None;
            }
        }
        if until.is_none() && self.incoming.held.is_empty() {
            ready.push(passed);
        } else {
            self.incoming.held_bytes += passed.len();
            self.incoming.held.push_back((until.unwrap_or(Until::At(now)), passed));
        }
    }

    /// What is due.
    pub(super) fn release_incoming(&mut self, now: Instant) -> Vec<Passed> {
        let mut due = Vec::new();
        while let Some((until, _)) = self.incoming.held.front() {
            let is_due = match until {
                Until::At(at) => now >= *at,
                Until::Over(lasting) => lasting.is_over(now),
            };
            if !is_due {
                break;
            }
            let Some((_, passed)) = self.incoming.held.pop_front() else { break };
            self.incoming.held_bytes -= passed.len();
            due.push(passed);
        }
        due
    }
}

impl Content {
    fn take(&mut self, frame: &Frame<'_>) {
        self.left = match self.left {
            None => Some(frame.body_size().unwrap_or(0)),
            Some(left) => Some(left.saturating_sub(frame.arguments.len() as u64)),
        };
    }
}
