//! What is asked of somebody beside the broker: what a user may do whom a service answers for, and whether a new secret is good.
//!
//! A method that needs an answer has no effect until it is there: it waits, and with it all that its connection has sent behind it; then
//! it is handled again. What was allowed is remembered for as long as the connection lasts, as RabbitMQ's channels do.

use std::collections::VecDeque;
use std::sync::Arc;

use super::access::Access;
use super::paging::{Stalled, Waits};
use super::rights::{Rights, Source};
use super::timers::Due;
use super::{Action, Broker, ConnectionId, Effects, Error, Timestamp};
use crate::amqp::{AMQPClass, Command, connection};

/// How much that was allowed a connection remembers. It is asked again for what comes up after so many other things.
const REMEMBERED: usize = 64;

/// A question on its way out.
#[derive(Debug, PartialEq, Eq)]
pub struct Enquiry {
    pub connection: ConnectionId,
    /// To be given back with the answer.
    pub number: u64,
    pub question: Question,
}

#[derive(PartialEq, Eq)]
pub enum Question {
    /// Whether the user may do this.
    Access(Access),
    /// Whether this is the user's new secret (connection.update-secret).
    Secret(Box<[u8]>),
}

/// A secret is never shown.
impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Access(access) => access.fmt(f),
            Self::Secret(_) => f.write_str("Secret"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// With what follows the text of the refusal, if anything.
    Refused(String),
}

/// The answer to a [`Question`].
#[derive(Clone, Debug)]
pub enum Answer {
    Access(Verdict),
    /// What the user may do from now on, or why the connection ends; nothing changes with `None`.
    Secret(Result<Option<Arc<Rights>>, Error>),
}

/// The answers that a connection has got.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Allowed before; the latest are in front.
    allowed: VecDeque<Access>,
    /// For the command at hand, all of them.
    now: Vec<(Access, Verdict)>,
}

impl Answers {
    pub(super) fn of(&self, access: &Access) -> Option<&Verdict> {
        let now = self.now.iter().find(|(known, _)| known == access).map(|(_, verdict)| verdict);
        now.or_else(|| self.allowed.contains(access).then_some(&Verdict::Allowed))
    }

    /// The command is done. A refusal is not remembered: who asks again may be allowed by then.
    fn settle(&mut self) {
        for (access, verdict) in self.now.drain(..) {
            if verdict == Verdict::Allowed {
                self.allowed.push_front(access);
            }
        }
        self.allowed.truncate(REMEMBERED);
    }
}

impl Broker {
    /// A command of a connection that may have to ask first.
    #[inline(never)]
    pub(super) fn command_that_may_ask(&mut self, id: ConnectionId, command: Command, effects: &mut Effects) {
        let again = command.clone();
        self.running_command(id, command, effects);
        if let Some(access) = self.unanswered.take() {
            self.ask(id, Question::Access(access), Some(again), effects);
        } else if let Some(connection) = self.connection(id) {
            connection.answers.settle();
        }
    }

    fn ask(&mut self, id: ConnectionId, question: Question, command: Option<Command>, effects: &mut Effects) {
        self.last_question += 1;
        let number = self.last_question;
        let access = match &question {
            Question::Access(access) => Some(access.clone()),
            Question::Secret(_) => None,
        };
        let Some(connection) = self.connection(id) else { return };
        let waits = Waits::ForAnswer { number, asked: access.zip(command) };
        connection.stalled = Some(Box::new(Stalled { waits, waiting: VecDeque::new() }));
        effects.actions.push(Action::PauseReading(id));
        effects.enquiries.push(Enquiry { connection: id, number, question });
    }

    /// An answer that nobody waits for any more is passed over.
    pub(super) fn answered(&mut self, id: ConnectionId, number: u64, answer: Answer, effects: &mut Effects) {
        let Some(connection) = self.connection(id) else { return };
        let waits = |stalled: &mut Box<Stalled>| matches!(stalled.waits, Waits::ForAnswer { number: waited, .. } if waited == number);
        let Some(stalled) = connection.stalled.take_if(waits) else { return };
        let Stalled { waits: Waits::ForAnswer { asked, .. }, waiting } = *stalled else { return };
        self.resume_reading(id, effects);
        match (asked, answer) {
            (Some((access, command)), Answer::Access(verdict)) => {
                if let Some(connection) = self.connection(id) {
                    connection.answers.now.push((access, verdict));
                }
                self.command(id, command, effects);
            }
            (None, Answer::Secret(Ok(rights))) => self.secret_updated(id, rights, effects),
            (None, Answer::Secret(Err(error))) => self.close_connection(id, (10, 70), &error, effects),
            (Some(_), Answer::Secret(_)) | (None, Answer::Access(_)) => unreachable!("questions have numbers"),
        }
        self.finish(effects);
        self.go_on_with(id, waiting, effects);
    }

    /// connection.update-secret (behaviour C28). A user of the node has nothing that a new one could change.
    pub(super) fn update_secret(&mut self, id: ConnectionId, update: &connection::UpdateSecret, effects: &mut Effects) {
        if matches!(self.opened(id).rights.source, Source::Node) {
            return self.secret_updated(id, None, effects);
        }
        self.ask(id, Question::Secret(update.new_secret.as_bytes().into()), None, effects);
    }

    fn secret_updated(&mut self, id: ConnectionId, rights: Option<Arc<Rights>>, effects: &mut Effects) {
        if let (Some(rights), Some(connection)) = (rights, self.connection(id)) {
            connection.opened.rights = rights;
            // The routes that channels remember were checked with the rights of then.
            self.topology += 1;
            self.watch_credential(id);
            self.cancel_unreadable(id, effects);
        }
        let ok = connection::AMQPMethod::UpdateSecretOk(connection::UpdateSecretOk {});
        effects.output(id).method(0, &AMQPClass::Connection(ok));
    }

    /// What a user may do ends with its token.
    pub(super) fn watch_credential(&mut self, id: ConnectionId) {
        let expires = self.opened(id).rights.expires();
        if expires != Timestamp::NEVER {
            self.timers.push(expires.max(self.now), Due::Credential(id));
        }
    }

    pub(super) fn credential_is_due(&mut self, id: ConnectionId, effects: &mut Effects) {
        let now = self.now;
        if self.connection(id).is_some_and(|connection| connection.is_running() && connection.opened.rights.expires() <= now) {
            self.close_connection(id, (0, 0), &Error::connection_forced("credential expired"), effects);
        }
    }
}
