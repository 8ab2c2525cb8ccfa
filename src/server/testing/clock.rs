//! Time that is moved by hand: what was due by then happens, in the order of the deadlines, before it is said that time has passed.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::{Firing, Input, Timestamp};
use crate::server::Handle;
use crate::server::broker_loop::BrokerLoop;

/// What a clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockView {
    pub now: Timestamp,
    /// It can be moved.
    pub is_virtual: bool,
    /// It stands still.
    pub frozen: bool,
}

/// How far time is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    By(Duration),
    To(Timestamp),
    /// To the next time at which anything happens; nowhere when nothing is waited for.
    ToNext,
}

/// Why time cannot be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdvanceError {
    /// It is the machine's.
    RealClock,
    Backwards {
        now: Timestamp,
    },
}

impl std::fmt::Display for AdvanceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RealClock => f.write_str("the clock is the machine's: start the broker with --clock virtual to move it"),
            Self::Backwards { now } => write!(f, "time does not go back: the clock shows {}", now.0),
        }
    }
}

impl std::error::Error for AdvanceError {}

/// What happened in a virtual host because its time had come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fire {
    pub vhost: String,
    pub firing: Firing,
}

impl Handle {
    #[must_use]
    pub fn clock(&self) -> ClockView {
        let time = &self.0.time;
        ClockView { now: time.now(), is_virtual: time.is_virtual(), frozen: time.stands_still() }
    }

    /// Stops a virtual clock, or has it go on.
    ///
    /// # Errors
    /// When the clock is the machine's.
    pub fn freeze_clock(&self, frozen: bool) -> Result<(), AdvanceError> {
        if !self.0.time.is_virtual() {
            return Err(AdvanceError::RealClock);
        }
        self.0.time.freeze(frozen);
        self.0.loops().iter().for_each(|broker_loop| broker_loop.time_moved());
        Ok(())
    }

    /// Moves a virtual clock. When this returns, everything that was due by then has happened and has been written to the sockets of
    /// those who are told; it returns what that was, the earliest first. `sockets`: for them time passes as well, so that clients
    /// whose heartbeats are missing by then are given up.
    ///
    /// # Errors
    /// When the clock is the machine's, or shows a later time already.
    pub async fn advance_clock(&self, how: Advance, sockets: bool) -> Result<Vec<Fire>, AdvanceError> {
        let time = &self.0.time;
        if !time.is_virtual() {
            return Err(AdvanceError::RealClock);
        }
        // One at a time, or what each of them had happen could not be told.
        let _turn = self.0.testing.moving.lock().await;
        let loops = self.0.loops();
        let now = time.now();
        let to = match how {
            Advance::By(duration) => now.after(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
            Advance::To(to) if to < now => return Err(AdvanceError::Backwards { now }),
            Advance::To(to) => to,
            Advance::ToNext => earliest(&loops).await.map_or(now, |(_, at, _)| at.max(now)),
        };
        for broker_loop in loops.iter() {
            broker_loop.ask(|asked| asked.broker.note_fired()).await;
        }
        // Virtual hosts are taken in the order of what is due in them.
        while let Some((first, at, until)) = earliest(&loops).await.filter(|(_, at, _)| *at <= to) {
            // As far as no other has anything to do before, and at least to what is next.
            let until = until.min(to).max(at);
            time.set(until);
            let_pass(&loops[first], until).await;
        }
        time.set(to);
        let mut fired = Vec::new();
        for broker_loop in loops.iter() {
            let_pass(broker_loop, to).await;
            let firings = broker_loop.ask(|asked| asked.broker.take_fired()).await;
            fired.extend(firings.into_iter().map(|firing| Fire { vhost: broker_loop.vhost().to_owned(), firing }));
            // It may have slept towards a deadline that is nearer now.
            broker_loop.time_moved();
        }
        if sockets {
            time.advance_sockets(to.0 - now.0);
            for broker_loop in loops.iter() {
                broker_loop.ask(|asked| asked.connections.iter().flatten().for_each(|shared| shared.wake.notify_one())).await;
            }
        }
        fired.sort_by_key(|fire| fire.firing.first);
        Ok(fired)
    }
}

/// The virtual host where something is due first, when that is, and when something is due in another one.
async fn earliest(loops: &[Arc<BrokerLoop>]) -> Option<(usize, Timestamp, Timestamp)> {
    let mut first: Option<(usize, Timestamp)> = None;
    let mut second = Timestamp::NEVER;
    for (index, broker_loop) in loops.iter().enumerate() {
        let next = broker_loop.ask(|asked| asked.broker.next_deadline()).await.unwrap_or(Timestamp::NEVER);
        match first {
            Some((_, at)) if next >= at => second = second.min(next),
            _ if next == Timestamp::NEVER => {}
            _ => {
                second = first.map_or(second, |(_, at)| at);
                first = Some((index, next));
            }
        }
    }
    first.map(|(index, at)| (index, at, second))
}

/// Lets time pass in a virtual host; returns when all has happened that was due by then, messages that lie on a disk included.
async fn let_pass(broker_loop: &Arc<BrokerLoop>, to: Timestamp) {
    broker_loop
        .until(move |asked| {
            asked.broker.handle(to, Input::Tick, asked.effects);
            let waits = asked.loading > 0 || !asked.broker.loads_are_taken();
            (!waits).then_some(())
        })
        .await;
}
