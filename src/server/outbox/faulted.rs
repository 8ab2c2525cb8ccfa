//! A connection that faults happen to: what is sent goes through its engine, and what is late waits there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Leaves, Pushed, Shared};
use crate::amqp::{Command, Output};
use crate::server::faults::{AtStart, Consumers, Engine, Faults, Meeting, Passed, Who};

impl Shared {
    /// Whether there are faults to be asked about.
    pub(in crate::server) fn is_faulted(&self) -> bool {
        self.faults.as_ref().is_some_and(|faults| faults.is_on())
    }

    fn with_engine<T>(&self, act: impl FnOnce(&mut Engine) -> T) -> Option<T> {
        let faults = self.faults.as_ref()?;
        let mut slot = self.engine.lock();
        Some(act(slot.get_or_insert_with(|| self.new_engine(faults))))
    }

    fn new_engine(&self, faults: &Arc<Faults>) -> Box<Engine> {
        let known = self.who.get();
        let nobody = || Who { name: format!("{} -> {}", self.peer, self.local), ..Who::default() };
        Box::new(Engine::new(faults, known.cloned().unwrap_or_else(nobody), known.is_some()))
    }

    pub(super) fn push_faulted(&self, output: &mut Output, leaves: Leaves, consumers: Consumers<'_>) -> Pushed {
        let bytes = output.to_vec();
        output.clear();
        // Under the lock of the engine, so that what comes later is behind this.
        let pushed = self.with_engine(|engine| {
            let ready = engine.outbound(&bytes, leaves, Instant::now(), consumers);
            self.delayed.store(engine.delayed(), Ordering::Release);
            if engine.is_wanted() {
                self.wake.notify_one();
            }
            self.push_bytes(ready, leaves)
        });
        let mut pushed = pushed.unwrap_or(Pushed { pending: 0, is_barred: false });
        // Whoever waits for something to be safe has to hear of it, though nothing be left to send.
        pushed.is_barred |= matches!(leaves, Leaves::After(_));
        pushed.pending += self.delayed.load(Ordering::Acquire);
        pushed
    }

    fn push_bytes(&self, bytes: Vec<u8>, leaves: Leaves) -> Pushed {
        if bytes.is_empty() {
            let outbox = self.outbox.lock();
            return Pushed { pending: outbox.pending + outbox.barred_bytes, is_barred: false };
        }
        let mut output = Output::default();
        output.bytes = bytes;
        self.add(&mut output, leaves)
    }

    /// Takes what was read; the decoder says what it has begun, if nobody has asked it yet. Returns what is to be done before, and
    /// what is taken as received.
    pub(in crate::server) fn inbound(&self, bytes: &[u8], unfinished: impl FnOnce() -> (Vec<u8>, usize)) -> (Vec<Command>, Vec<Passed>) {
        let through = self.with_engine(|engine| {
            if !engine.is_primed() {
                let (partial, skips) = unfinished();
                engine.prime(partial, skips);
            }
            let passed = engine.inbound(bytes, Instant::now());
            (engine.take_orders(), passed)
        });
        through.unwrap_or_default()
    }

    /// The client has said which protocol it speaks.
    pub(in crate::server) fn at_start(&self) -> AtStart {
        if !self.is_faulted() {
            return AtStart::Goes;
        }
        self.with_engine(|engine| engine.start(Instant::now())).unwrap_or(AtStart::Goes)
    }

    /// The virtual host is open.
    pub(in crate::server) fn opened(&self, who: Who) {
        if self.faults.is_none() {
            return;
        }
        if let Some(engine) = &mut *self.engine.lock() {
            engine.opened(who.clone());
        }
        let _ = self.who.set(who);
    }

    /// What the connection has to do now; what is due is among what waits for the socket.
    pub(in crate::server) fn meet(&self) -> Meeting {
        let Some(faults) = &self.faults else { return Meeting::default() };
        let mut slot = self.engine.lock();
        let engine = slot.get_or_insert_with(|| self.new_engine(faults));
        let mut meeting = engine.meet(Instant::now());
        for (bytes, leaves) in meeting.released.drain(..) {
            self.push_bytes(bytes, leaves);
            meeting.sends = true;
        }
        self.delayed.store(engine.delayed(), Ordering::Release);
        if meeting.retires.is_some() {
            *slot = None;
        }
        meeting
    }

    /// The way in which the connection was to end has been gone.
    pub(in crate::server) fn has_ended(&self) {
        self.with_engine(Engine::ended);
    }

    /// The rules of the node, to be waited for until they change.
    pub(in crate::server) fn on_rules(&self) -> Option<watch::Receiver<u64>> {
        self.faults.as_ref().map(|faults| faults.on_change())
    }
}
