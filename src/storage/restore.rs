//! Between a storage and the broker of a virtual host: answering what the core asks for, and giving it back what is left.

use std::fmt;

use super::RecoveredVhost;
use super::error::Error;
use super::reader::{Load, Reader};
use crate::broker::{self, Broker, Effects, Input, Loaded, Purpose, Timestamp, Unreadable};

/// Why a virtual host cannot be restored.
#[derive(Debug)]
pub enum RestoreError {
    /// A definition that no broker of this version wrote.
    Definition(Unreadable),
    /// Messages that are needed before anybody is served cannot be read.
    Messages(Error),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Definition(error) => error.fmt(f),
            Self::Messages(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RestoreError {}

impl Reader {
    /// Reads what a core asks for. What is asked for comes back with an error, to be asked for again.
    pub fn answer(&self, vhost: u32, load: broker::Load) -> Result<Loaded, (broker::Load, Error)> {
        let read = match &load.purpose {
            Purpose::Returned(positions) => self.fetch(vhost, load.queue, load.level, positions).map(|messages| (messages, true)),
            _ => {
                let after = load.first.checked_sub(1);
                let wanted = Load { vhost, queue: load.queue, level: load.level, after, up_to: load.last, max_bytes: load.max_bytes };
                self.load(&wanted).map(|messages| {
                    let complete = messages.last().is_none_or(|last| last.position >= load.last);
                    (messages, complete)
                })
            }
        };
        match read {
            Ok((messages, complete)) => Ok(Loaded { load, messages, complete }),
            Err(error) => Err((load, error)),
        }
    }

    /// Gives a broker what is left of its virtual host, up to what it needs before anybody is served; the heads of queues are
    /// left for `later`.
    pub fn restore(
        &self,
        left: &RecoveredVhost,
        broker: &mut Broker,
        now: Timestamp,
        mut later: impl FnMut(broker::Load),
    ) -> Result<(), RestoreError> {
        broker.keep_records();
        broker.restore(now, &left.recovered).map_err(RestoreError::Definition)?;
        loop {
            let loads = broker.take_loads();
            if loads.is_empty() {
                return Ok(());
            }
            for load in loads {
                if load.purpose == Purpose::Head {
                    later(load);
                    continue;
                }
                let loaded = self.answer(left.number, load).map_err(|(_, error)| RestoreError::Messages(error))?;
                // Nobody is connected yet who could get anything.
                broker.handle(now, Input::Loaded(loaded), &mut Effects::default());
            }
        }
    }
}
