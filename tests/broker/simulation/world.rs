//! The shell of a simulated node: sockets, time and faults, all drawn from the seed; every input goes past the model.

use std::io::Write;
use std::sync::Arc;

use leveret::broker::{Action, Alarms, Broker, Capabilities, ConnectionId, Effects, Input, Opened, Rights, Settings, Timestamp};

use super::choice::{Chooser, Tastes};
use super::coverage::Coverage;
use super::link::Link;
use super::model::{self, Model, Step};
use super::noise::Noise;
use super::op::Op;
use super::random::Random;
use super::totals::Watch;
use super::wire;

#[derive(Debug)]
pub(super) struct World {
    pub(super) random: Random,
    pub(super) broker: Broker,
    pub(super) model: Model,
    pub(super) links: Vec<Option<Link>>,
    effects: Effects,
    now: Timestamp,
    alarm: bool,
    tastes: Tastes,
    next_publisher: u64,
    /// Of every byte sent, to whom, and every action.
    pub(super) hash: u64,
    pub(super) reached: Coverage,
    /// Connections whose bytes make no sense.
    pub(super) noise: Noise,
    watch: Watch,
    trace: bool,
}

/// Low, so that it is reached.
const OUTBOX_HIGH: usize = 20_000;
/// A connection that only cleans up.
const JANITOR: u32 = 90;

impl World {
    pub(super) fn new(seed: u64, tastes: Tastes, connections: usize) -> Self {
        let settings = Settings { outbox_high: OUTBOX_HIGH, ..Settings::default() };
        Self {
            random: Random::new(seed),
            broker: Broker::new("/", Arc::new(settings), seed),
            model: Model::new(),
            links: (0..connections).map(|_| None).collect(),
            effects: Effects::default(),
            now: Timestamp(1_700_000_000_000),
            alarm: false,
            tastes,
            next_publisher: 0,
            hash: 0xCBF2_9CE4_8422_2325,
            reached: Coverage::default(),
            noise: Noise::default(),
            watch: Watch::default(),
            trace: std::env::var_os("TRACE").is_some(),
        }
    }

    /// One thing happens.
    pub(super) fn tick(&mut self) {
        let id = u32::try_from(self.random.below(self.links.len())).expect("a few connections");
        let Some(link) = &mut self.links[id as usize] else { return self.connect(id) };
        match self.random.weighted(&[500, 250, 350, 300, 2, 2, 20, 4]) {
            0 => self.choose(id),
            1 => {
                let most = if self.random.percent(50) { 40 } else { 4000 };
                let bytes = 1 + self.random.below(most);
                link.transmit(bytes);
                if self.alarm && !link.paused && link.is_in_content() {
                    self.input(Input::Publishing(ConnectionId(id)), Step::Publishing(id));
                }
            }
            2 => self.handle(id),
            3 => {
                if !link.slow || self.random.percent(10) {
                    let most = if self.random.percent(20) { 50 } else { 30_000 };
                    let bytes = 1 + self.random.below(most);
                    self.read(id, bytes);
                }
            }
            4 => self.disconnect(id),
            5 => self.switch_alarm(),
            6 => self.let_time_pass(),
            _ => link.send_heartbeat(),
        }
    }

    pub(super) fn let_time_pass(&mut self) {
        self.now = Timestamp(self.now.0 + self.random.next() % if self.random.percent(5) { 1_000_000_000 } else { 500 });
    }

    fn choose(&mut self, id: u32) {
        let Some(link) = &mut self.links[id as usize] else { return };
        if link.waiting() > 60_000 {
            return;
        }
        let Self { random, tastes, next_publisher, .. } = self;
        let mut chooser = Chooser { random, tastes, connection: id, next_publisher };
        if let Some((channel, op)) = chooser.next(&mut link.client) {
            link.send(channel, op);
        }
    }

    fn connect(&mut self, id: u32) {
        let frame_max = [4096, 8192, 131_072][self.random.below(3)];
        let capabilities = Capabilities { consumer_cancel_notify: self.random.percent(60), connection_blocked: self.random.percent(60) };
        let slow = self.random.percent(25);
        self.open(id, Link::new(frame_max, slow), capabilities);
    }

    fn open(&mut self, id: u32, link: Link, capabilities: Capabilities) {
        let connection = model::Connection {
            cancel_notify: capabilities.consumer_cancel_notify,
            hears_blocked: capabilities.connection_blocked,
            ..Default::default()
        };
        let opened = Opened {
            user: "guest".into(),
            capabilities,
            frame_max: link.frame_max,
            channel_max: 2047,
            origin: Box::default(),
            rights: Arc::new(Rights::all()),
        };
        self.links[id as usize] = Some(link);
        self.input(Input::Connected(ConnectionId(id), opened), Step::Connected(id, connection));
    }

    fn handle(&mut self, id: u32) {
        let most = 1 + self.random.below(8);
        let Some(link) = &mut self.links[id as usize] else { return };
        let (ops, mut commands) = link.batch(most);
        if !ops.is_empty() {
            self.input(Input::Received(ConnectionId(id), &mut commands), Step::Methods(id, &ops));
        }
    }

    fn read(&mut self, id: u32, bytes: usize) {
        let Some(link) = &mut self.links[id as usize] else { return };
        link.read(bytes);
        self.socket_drained(id);
    }

    fn socket_drained(&mut self, id: u32) {
        let Some(link) = &mut self.links[id as usize] else { return };
        let pending = link.pending;
        if link.report && pending <= OUTBOX_HIGH / 2 {
            link.report = false;
            link.told = pending;
            self.input(Input::Flushed(ConnectionId(id), pending), Step::Flushed);
        } else if link.close_when_flushed && pending == 0 {
            self.disconnect(id);
        }
    }

    fn disconnect(&mut self, id: u32) {
        self.input(Input::Disconnected(ConnectionId(id)), Step::Disconnected(id));
        self.links[id as usize] = None;
    }

    fn switch_alarm(&mut self) {
        self.alarm = !self.alarm;
        let alarms = Alarms { memory: self.alarm, disk: false };
        self.input(Input::Alarms(alarms), Step::Alarms(self.alarm));
    }

    /// The broker handles an input; what comes of it goes to the sockets and past the model.
    pub(super) fn input(&mut self, input: Input<'_>, step: Step<'_>) {
        // What the broker knows of each outbox, which may be more than there is by now.
        let mut known: Vec<usize> =
            self.links.iter().map(|l| l.as_ref().map_or(0, |l| if l.report { OUTBOX_HIGH } else { l.told })).collect();
        self.broker.handle(self.now, input, &mut self.effects);
        let mut outputs = Vec::new();
        self.effects.drain_outputs(|id, output, _| outputs.push((id, output.to_vec())));
        let mut events = Vec::new();
        for (id, bytes) in outputs {
            self.note(&id.0.to_be_bytes());
            self.note(&bytes);
            if self.noise.takes(id, &bytes) {
                continue;
            }
            let link = self.links[id.index()].as_mut().expect("output for a connection that is there");
            let read = wire::read_all(&bytes, link.frame_max);
            known[id.index()] += bytes.len();
            link.receive(&read);
            read.iter().for_each(|event| self.reached.heard(event, link.frame_max));
            link.told = link.pending;
            self.broker.set_pending(id, link.pending);
            events.extend(read.into_iter().map(|event| (id.0, event)));
        }
        self.tell(&step, &events);
        let broker = &self.broker;
        self.model.step(step, &events, &|| broker.queue_snapshots());
        self.model.check_priorities(&|id| known[id as usize] < OUTBOX_HIGH);
        let mut drained = Vec::new();
        for action in std::mem::take(&mut self.effects.actions) {
            self.note(format!("{action:?}").as_bytes());
            drained.extend(self.act(action));
        }
        for id in drained {
            self.socket_drained(id);
        }
    }

    /// Tells every step, for the replay of a seed that fails.
    fn tell(&self, step: &Step<'_>, events: &[(u32, wire::Event)]) {
        if self.trace {
            let mut error = std::io::stderr().lock();
            let heard = events.iter().map(|(id, event)| format!("\n    {id} {} {:?}", event.channel, event.class));
            let written = writeln!(error, "{step:?}{}", heard.collect::<String>());
            written.expect("standard error");
        }
    }

    fn act(&mut self, action: Action) -> Option<u32> {
        let id = action.connection();
        self.reached.acted(action);
        if self.noise.acts(id, action) {
            return None;
        }
        let link = self.links[id.index()].as_mut()?;
        match action {
            Action::CloseSocket(_) | Action::CloseUnanswered(_) => link.close_when_flushed = true,
            Action::AwaitCloseOk(_) => {}
            Action::PauseReading(_) => link.paused = true,
            Action::ResumeReading(_) => link.paused = false,
            Action::ReportFlushed(_) => link.report = true,
        }
        Some(id.0)
    }

    fn note(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }

    /// Everything on its way arrives, and every socket drains.
    pub(super) fn come_to_rest(&mut self) {
        if self.alarm {
            self.switch_alarm();
        }
        loop {
            let mut moved = false;
            for id in 0..u32::try_from(self.links.len()).expect("a few connections") {
                let Some(link) = &mut self.links[id as usize] else { continue };
                moved |= link.waiting() > 0 || !link.arrived.is_empty() || link.pending > 0 || !link.client.answers.is_empty();
                while let Some((channel, op)) = link.client.answers.pop_front() {
                    link.send(channel, op);
                }
                link.transmit(usize::MAX);
                while self.links[id as usize].as_ref().is_some_and(|link| !link.arrived.is_empty()) {
                    self.handle(id);
                }
                self.read(id, usize::MAX);
            }
            if !moved {
                break;
            }
        }
        self.check();
        self.model.check_quiet();
    }

    /// Compares the broker with the model.
    pub(super) fn check(&mut self) {
        self.watch.check(&self.broker);
        // Without a report to come, no message may wait for a socket.
        let takes = |id: u32| self.links[id as usize].as_ref().is_some_and(|link| !link.report);
        self.model.check(&self.broker, &takes, &|name| self.is_ours(name));
        self.model.check_channels(&self.broker, &|id| (id as usize) < self.links.len());
        self.model.check_exchanges(&self.broker, &|name| self.is_ours(name));
    }

    /// Whether the model has to know this queue or exchange: noise may make others of any name.
    pub(super) fn is_ours(&self, name: &str) -> bool {
        let predeclared = name.starts_with("amq.") && !name.starts_with("amq.gen-");
        name.starts_with(&self.tastes.prefix) || predeclared || self.model.knows_queue(name)
    }

    /// Everybody leaves, everything is deleted, and nothing must be left.
    pub(super) fn end(&mut self) {
        for id in 0..u32::try_from(self.links.len()).expect("a few connections") {
            let Some(link) = &mut self.links[id as usize] else { continue };
            if link.client.said_goodbye || self.random.percent(50) {
                self.disconnect(id);
            } else {
                link.client.said_goodbye = true;
                link.send(0, Op::ConnectionClose);
            }
        }
        self.come_to_rest();
        assert!(self.links.iter().all(Option::is_none), "somebody is left");
        self.links.resize_with(JANITOR as usize + 1, || None);
        let mut link = Link::new(131_072, false);
        link.send(1, Op::ChannelOpen);
        for queue in self.broker.queue_snapshots() {
            link.send(1, Op::QueueDelete { name: queue.name, if_unused: false, if_empty: false });
        }
        for name in self.broker.exchange_names().into_iter().filter(|name| !name.starts_with("amq.")) {
            link.send(1, Op::ExchangeDelete { name, if_unused: false });
        }
        link.send(0, Op::ConnectionClose);
        self.open(JANITOR, link, Capabilities::default());
        self.come_to_rest();
        assert_eq!(self.broker.queue_snapshots(), [], "queues are left");
        assert_eq!(self.broker.memory(), 0, "bytes of messages are left");
    }
}
