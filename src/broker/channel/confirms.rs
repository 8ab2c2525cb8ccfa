//! Publisher confirms of one channel: sequence numbers, and as few basic.acks as possible (behaviour F1–F4).

use crate::amqp::{AMQPClass, Output, confirm};
use crate::broker::{At, Broker, Effects, Error};

use super::Mode;

/// Invariant: every sequence number up to `settled` has an outcome; those above `sent` are acks that wait to be sent.
#[derive(Debug, Default)]
pub(super) struct Confirms {
    published: u64,
    settled: u64,
    sent: u64,
    /// Those that were told with basic.ack.
    confirmed: u64,
    /// Those that are never told, so that no later one may cover them with `multiple`.
    withheld: u64,
    /// The channel stands in the broker's list of those that owe confirms.
    listed: bool,
}

impl Confirms {
    pub(super) fn published(&self) -> u64 {
        self.published
    }

    pub(super) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Publishes that the publisher has not heard of yet.
    pub(super) fn unconfirmed(&self) -> u64 {
        self.published - self.sent + self.withheld
    }

    /// Numbers a publish; `true` when the channel now owes confirms and has to be listed.
    pub(super) fn publish(&mut self) -> bool {
        self.published += 1;
        !std::mem::replace(&mut self.listed, true)
    }

    /// The outcome of the publish numbered last. A nack is sent at once, after the acks that precede it.
    pub(super) fn settle(&mut self, taken: bool, channel: u16, out: &mut Output) {
        if !taken {
            self.flush(channel, out);
            out.basic_nack(channel, self.published, false);
            self.sent = self.published;
        }
        self.settled = self.published;
    }

    /// The publish numbered last has an outcome, and the publisher never hears of it.
    pub(super) fn withhold(&mut self, channel: u16, out: &mut Output) {
        self.flush(channel, out);
        self.withheld += 1;
        (self.sent, self.settled) = (self.published, self.published);
    }

    /// Sends what is settled as one basic.ack. `multiple` covers no number without an outcome (gotcha 15).
    fn flush(&mut self, channel: u16, out: &mut Output) {
        if self.settled > self.sent {
            if self.withheld == 0 {
                out.basic_ack(channel, self.settled, self.settled > self.sent + 1);
            } else {
                (self.sent + 1..=self.settled).for_each(|number| out.basic_ack(channel, number, false));
            }
            self.confirmed += self.settled - self.sent;
            self.sent = self.settled;
        }
    }
}

impl Broker {
    pub(super) fn confirm_select(&mut self, at: At, nowait: bool, effects: &mut Effects) -> Result<(), Error> {
        let channel = self.open_channel(at);
        match channel.mode {
            Mode::Plain => channel.mode = Mode::Confirm(Confirms::default()),
            Mode::Confirm(_) => {}
            Mode::Tx(_) => return Err(Error::cannot_switch_mode("tx", "confirm")),
        }
        if !nowait {
            self.reply(at, effects, &AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {})));
        }
        Ok(())
    }

    /// Sends the confirms that are owed: once for all the inputs handled together.
    pub(in crate::broker) fn send_confirms(&mut self, effects: &mut Effects) {
        while let Some(at) = self.confirming.pop() {
            let Some(channel) = self.channel(at) else { continue };
            if let Mode::Confirm(confirms) = &mut channel.mode {
                confirms.listed = false;
                confirms.flush(at.channel, effects.output(at.connection));
            }
        }
    }
}
