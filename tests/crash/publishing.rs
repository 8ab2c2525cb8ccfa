//! Who publishes: with confirms, or in transactions.

use std::time::Duration;

use crate::client::{
    BASIC_ACK, BASIC_NACK, Client, Gone, Heard, PATIENCE, TX_COMMIT, TX_COMMIT_OK, TX_ROLLBACK, TX_ROLLBACK_OK, TX_SELECT, TX_SELECT_OK,
};
use crate::message::Id;
use crate::random::Random;
use crate::topology::Route;
use crate::wire::Fields;

/// What its publisher knows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No answer came.
    Unknown,
    /// Confirmed or committed.
    Confirmed,
    RolledBack,
}

/// Everything a publisher has sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) publisher: u32,
    pub(crate) route: &'static Route,
    pub(crate) round: u32,
    /// Of each message.
    pub(crate) outcomes: Vec<Outcome>,
    /// First messages of the transactions.
    pub(crate) transactions: Vec<u32>,
}

impl Sent {
    pub(crate) fn new(publisher: u32, route: &'static Route, round: u32) -> Self {
        Self { publisher, route, round, outcomes: Vec::new(), transactions: Vec::new() }
    }

    /// Puts the next message into the client's buffer.
    pub(crate) fn publish(&mut self, client: &mut Client, channel: u16) {
        let seq = u32::try_from(self.outcomes.len()).expect("fewer messages");
        let id = Id { publisher: self.publisher, seq };
        let properties = id.properties(self.is_transient(id));
        client.publish(channel, self.route.exchange, self.route.key(seq), &properties, &id.body());
        self.outcomes.push(Outcome::Unknown);
    }

    pub(crate) fn is_transient(&self, id: Id) -> bool {
        self.route.has_transients() && id.is_transient()
    }

    /// Notes a confirm and returns how many messages it was news about. `answered` messages in a row have theirs.
    pub(crate) fn confirm(&mut self, (tag, multiple): (u64, bool), answered: &mut usize) -> Heard<usize> {
        let Some(at) = usize::try_from(tag).ok().filter(|tag| (1..=self.outcomes.len()).contains(tag)) else {
            return Err(Gone::Fault(format!("a confirm of {tag}, which was not published")));
        };
        let first = if multiple { (*answered).min(at - 1) } else { at - 1 };
        let news = self.outcomes[first..at].iter().filter(|outcome| **outcome == Outcome::Unknown).count();
        self.outcomes[first..at].fill(Outcome::Confirmed);
        if first <= *answered {
            *answered = at.max(*answered);
        }
        Ok(news)
    }
}

/// Publishes until it has sent `most` messages, and hears confirms until the broker is gone.
pub(crate) fn with_confirms(client: &mut Client, sent: &mut Sent, most: usize, window: usize) -> Heard<()> {
    client.open_channel(1)?;
    client.confirm_select(1)?;
    let (mut answered, mut open) = (0, 0);
    loop {
        while sent.outcomes.len() < most && open < window && client.waiting() < 256 * 1024 {
            sent.publish(client, 1);
            open += 1;
        }
        let is_full = open == window || sent.outcomes.len() == most;
        let mut wait = if is_full { Duration::from_millis(50) } else { Duration::ZERO };
        while let Some(event) = client.event_within(wait)? {
            match event.id {
                BASIC_ACK => open -= sent.confirm(event.tag(), &mut answered)?,
                BASIC_NACK => return Err(Gone::Fault(format!("publisher {}: the broker refused a message", sent.publisher))),
                id => return Err(Gone::Fault(format!("a publisher heard {id:?}"))),
            }
            wait = Duration::ZERO;
        }
    }
}

/// The same in transactions of a few messages, of which some are rolled back.
pub(crate) fn in_transactions(client: &mut Client, sent: &mut Sent, most: usize, random: &mut Random) -> Heard<()> {
    client.open_channel(1)?;
    client.call(1, TX_SELECT, &Fields::new(), TX_SELECT_OK)?;
    while sent.outcomes.len() < most {
        let first = sent.outcomes.len();
        sent.transactions.push(u32::try_from(first).expect("fewer messages"));
        for _ in 0..=random.below(8) {
            sent.publish(client, 1);
        }
        if random.percent(10) {
            sent.outcomes[first..].fill(Outcome::RolledBack);
            client.call(1, TX_ROLLBACK, &Fields::new(), TX_ROLLBACK_OK)?;
        } else {
            client.call(1, TX_COMMIT, &Fields::new(), TX_COMMIT_OK)?;
            sent.outcomes[first..].fill(Outcome::Confirmed);
        }
    }
    idle(client)
}

/// Waits for the end of the broker.
pub(crate) fn idle(client: &mut Client) -> Heard<()> {
    match client.event_within(PATIENCE)? {
        None => Ok(()),
        Some(event) => Err(Gone::Fault(format!("unasked came {:?}", event.id))),
    }
}
