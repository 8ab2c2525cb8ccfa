//! What happens next. The model knows what there is to choose from.

use std::collections::BTreeSet;

use super::super::random::Random;
use super::methods::{Fate, Op, Start};
use super::model::{At, Copy, Held, Model};
use super::spec::{FANOUT, Kind, Limits, PERMANENT, Spec, draw_limits, some_time};

#[derive(Debug)]
pub(super) struct Chooser {
    pub(super) random: Random,
    /// What each queue is, whenever it is there.
    pub(super) specs: Vec<Spec>,
    /// RabbitMQ 3.13 is to be shown.
    pub(super) is_old: bool,
    longest_pause: u64,
    next_id: u64,
    next_tag: u64,
}

impl Chooser {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x71_4E);
        let queues = 2 + random.below(5);
        let mut specs: Vec<Spec> = (0..queues).map(|n| Spec::draw(&mut random, &format!("q{n}"), queues)).collect();
        let is_old = random.percent(25);
        let quorum = specs.iter_mut().find(|spec| spec.kind == Kind::Quorum);
        let keeps = quorum.filter(|_| random.percent(40)).map(|spec| spec.keep_dead_letters(format!("q{}", random.below(queues))));
        if is_old {
            for spec in &mut specs {
                spec.consumer_timeout = None;
                spec.delivery_limit = spec.delivery_limit.filter(|limit| *limit >= 0);
            }
        }
        // What is kept is tried again every second, however long nothing happens.
        let longest_pause = if keeps.is_some() { 60_000 } else { u64::MAX };
        Self { random, specs, is_old, longest_pause, next_id: 0, next_tag: 0 }
    }

    fn name(&mut self) -> String {
        format!("q{}", self.random.below(self.specs.len()))
    }

    fn spec(&self, name: &str) -> &Spec {
        let number: usize = name[1..].parse().expect("a number");
        &self.specs[number]
    }

    pub(super) fn next(&mut self, model: &Model) -> Op {
        let channels: Vec<At> = model.channels.keys().copied().collect();
        let at = channels[self.random.below(channels.len())];
        let name = self.name();
        let there = model.queues.contains_key(&name);
        let kind = self.spec(&name).kind;
        match self.random.weighted(&[300, 300, 60, 20, 50, 30, 4, 6, 60, 5, 3, 25, 40]) {
            0 => self.publish(at, &name),
            1 => self.settle(model),
            2 if there && (kind != Kind::Stream || model.channels[&at].prefetch > 0) => {
                self.next_tag += 1;
                let (tag, no_ack) = (format!("c{}", self.next_tag), kind != Kind::Stream && self.random.percent(20));
                let starts = [Start::First, Start::Last, Start::Next, Start::Offset(self.random.next() % 60)];
                let start = Some(starts[self.random.below(4)]).filter(|_| kind == Kind::Stream);
                let wants = (kind == Kind::Stream && self.random.percent(30)).then(|| self.random.next() & 1);
                let priority = if kind == Kind::Stream { 0 } else { [0, 0, 0, 5, -1][self.random.below(5)] };
                Op::Consume { at, queue: name, tag, no_ack, priority, start, wants }
            }
            3 => {
                let all: Vec<(At, String)> =
                    model.queues.values().flat_map(|queue| &queue.consumers).map(|consumer| (consumer.at, consumer.tag.clone())).collect();
                if all.is_empty() {
                    return Op::Nothing;
                }
                let (at, tag) = all[self.random.below(all.len())].clone();
                Op::Cancel(at, tag)
            }
            4 if there && kind != Kind::Stream && !(kind == Kind::Quorum && self.spec(&name).single_active) => {
                Op::Get { at, queue: name, no_ack: self.random.percent(40) }
            }
            5 => Op::Qos(at, u16::try_from(self.random.below(5)).expect("a small number")),
            6 if there && kind != Kind::Stream => Op::Purge(at, name),
            7 if there && !PERMANENT.contains(&name.as_str()) => Op::Delete(at, name),
            8 => Op::Declare(at, name.clone(), Box::new(self.spec(&name).clone())),
            9 => Op::CloseChannel(at),
            10 => Op::Disconnect(at.0),
            11 if kind != Kind::Stream => {
                let queues = self.specs.len();
                let limits = if self.random.percent(40) { Limits::default() } else { draw_limits(&mut self.random, &name, queues) };
                Op::Policy(name, limits)
            }
            _ => Op::Nothing,
        }
    }

    fn publish(&mut self, at: At, queue: &str) -> Op {
        self.next_id += 1;
        let size = 8 + self.random.below(200);
        let fanout = self.random.percent(15);
        let mut copy = Copy::new(self.next_id, size, if fanout { FANOUT } else { "" }, queue);
        if !fanout && self.random.percent(25) {
            copy.expiration = Some(if self.random.percent(10) { 0 } else { some_time(&mut self.random) });
        }
        copy.priority = self.random.percent(40).then(|| [0, 1, 2, 5, 9, 255][self.random.below(6)]);
        Op::Publish(at, copy)
    }

    fn settle(&mut self, model: &Model) -> Op {
        let all: Vec<(At, u64)> = model.channels.iter().flat_map(|(at, channel)| channel.held.keys().map(|tag| (*at, *tag))).collect();
        if all.is_empty() {
            return Op::Nothing;
        }
        let (at, tag) = all[self.random.below(all.len())];
        let drawn = [Fate::Ack, Fate::Discard, Fate::Nack, Fate::Reject][self.random.weighted(&[45, 25, 15, 15])];
        // A stream of old takes acks alone.
        let of_stream = |held: &Held| self.spec(&held.queue).kind == Kind::Stream;
        let only_acks = self.is_old && model.channels[&at].held.range(..=tag).any(|(_, held)| of_stream(held));
        let fate = if only_acks { Fate::Ack } else { drawn };
        let multiple = fate != Fate::Reject && self.random.percent(25);
        // In which order several queues bury what is rejected together is nobody's promise.
        let queues: BTreeSet<&String> = model.channels[&at].held.range(..=tag).map(|(_, held)| &held.queue).collect();
        Op::Settle { at, tag, multiple: multiple && (fate != Fate::Discard || queues.len() == 1), fate }
    }

    /// How long nothing happens before.
    pub(super) fn pause(&mut self) -> u64 {
        let pause = match self.random.weighted(&[50, 35, 14, 1]) {
            0 => 0,
            1 => self.random.next() % 300_000,
            2 => self.random.next() % 8_000_000,
            _ => self.random.next() % 3_000_000_000,
        };
        pause.min(self.longest_pause)
    }
}
