//! Messages that the broker itself publishes about what happens in it: the firehose and the event exchange.
//!
//! They are collected while a command is handled and routed after it, as dead letters are.

use std::collections::VecDeque;

use super::exchange::ExchangeId;
use super::routing::{Routed, Source};
use super::{Broker, Effects};
use crate::amqp::Message;

/// Off, these cost a look at `tracing` for each message and at `events` for what is rare.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// The exchange for traces, while tracing is on.
    pub(super) tracing: Option<ExchangeId>,
    /// The exchange for events, if there is one.
    pub(super) events: Option<ExchangeId>,
    waiting: VecDeque<(ExchangeId, Message)>,
}

impl Reports {
    pub(super) fn push(&mut self, exchange: ExchangeId, message: Message) {
        self.waiting.push_back((exchange, message));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Broker {
    /// Routes what was collected. Ends: what happens because of a trace is not traced.
    pub(super) fn send_reports(&mut self, effects: &mut Effects) {
        let tracing = self.reports.tracing;
        while let Some((exchange, message)) = self.reports.waiting.pop_front() {
            if tracing == Some(exchange) {
                self.reports.tracing = None;
            }
            self.send_report(exchange, message, effects);
            self.route_dead_letters(effects);
            self.reports.tracing = tracing;
        }
    }

    fn send_report(&mut self, exchange: ExchangeId, message: Message, effects: &mut Effects) {
        let mut routed = Routed::default();
        self.route(Source::Named(exchange), &message, &[], &mut routed);
        self.memory += message.memory() as u64;
        self.journal_go_on(None);
        self.hand_out(message, routed, effects);
    }
}
