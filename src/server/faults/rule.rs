//! A rule: which frames or connections it means, when it fires, and what happens then. What contradicts itself is refused.

use std::fmt;
use std::time::Duration;

use super::methods::{self, Id, Kind};
use super::pattern::Pattern;
use crate::amqp::ReplyCode;

/// Which way a frame goes, as the broker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    In,
    /// To the client.
    Out,
}

/// What has to be so; everything, where nothing is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// The name that the client has given its connection, or RabbitMQ's name of it (`client -> broker`).
    pub connection: Option<Pattern>,
    pub user: Option<Pattern>,
    pub vhost: Option<Pattern>,
    pub channel: Option<u16>,
    pub queue: Option<Pattern>,
    pub exchange: Option<Pattern>,
    pub routing_key: Option<Pattern>,
    /// `basic.publish`, `heartbeat`, `queue.*`.
    pub method: Option<Pattern>,
    pub direction: Option<Direction>,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The frame, with its content, does not arrive.
    Drop,
    /// It arrives later, and so does what is behind it.
    Delay(Duration),
    /// It arrives twice.
    Duplicate,
    /// So many bytes of it arrive, and nothing after them.
    Truncate {
        after: usize,
        then: Then,
    },
    /// Its last octet is none that ends a frame.
    CorruptFrameEnd,
    /// The broker reads nothing more from the connection; for ever, unless there is a limit or the rule is deleted.
    StopReading {
        limit: Option<Duration>,
    },
    StopHeartbeats {
        limit: Option<Duration>,
    },
    /// The socket is closed with a TCP reset.
    Reset,
    /// The broker says that nothing more comes, and goes on reading.
    HalfClose,
    CloseConnection {
        code: ReplyCode,
        text: String,
    },
    CloseChannel {
        code: ReplyCode,
        text: String,
    },
    /// The publisher gets basic.nack; with `lose` the message goes nowhere.
    Nack {
        lose: bool,
    },
    WithholdConfirm {
        lose: bool,
    },
    /// The message goes nowhere, as if nothing were bound: returned if it is mandatory, then confirmed.
    ReturnUnroutable,
    DuplicateDelivery,
    MarkRedelivered,
    /// At the start the socket is closed; later, connection.close says why.
    RefuseHandshake {
        at: Stage,
        code: ReplyCode,
        text: String,
    },
    /// The broker does not go on; for ever, unless there is a limit or the rule is deleted.
    StallHandshake {
        at: Stage,
        limit: Option<Duration>,
    },
    FailAuthentication,
    RaiseAlarm {
        alarm: Alarm,
        limit: Option<Duration>,
    },
    SlowDisk {
        by: Duration,
        on: Operations,
    },
    FailDisk {
        on: Operations,
        error: DiskError,
    },
}

/// What follows the last byte that arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    #[default]
    Nothing,
    Close,
}

/// What the broker would say next in a handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// connection.start.
    #[default]
    Start,
    /// connection.tune, once the client has said who it is.
    Tune,
    /// connection.open-ok.
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    Memory,
    Disk,
}

/// What is done to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operations {
    pub reads: bool,
    pub writes: bool,
    pub syncs: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskError {
    #[default]
    Io,
    NoSpace,
}

/// Frames, connections or disk operations, and what happens to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub name: Option<String>,
    pub matches: Match,
    /// It fires at the one that matches with this number, from 1, and at no other.
    pub nth: Option<u64>,
    /// At each that matches whose number can be divided by this.
    pub every: Option<u64>,
    /// At each that matches with this probability, from a generator with this seed.
    pub probability: Option<f64>,
    pub seed: u64,
    /// Not more often than this.
    pub times: Option<u64>,
    pub action: Action,
}

/// Why a rule is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError(pub(super) String);

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RuleError {}

fn refuse<T>(why: impl Into<String>) -> Result<T, RuleError> {
    Err(RuleError(why.into()))
}

/// What an action happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Frame,
    /// A frame, or the connection itself where nothing is asked about frames.
    Connection,
    Handshake(Stage),
    /// A frame, or at once where nothing is asked at all.
    Node,
    Disk,
}

impl Action {
    /// What it is called in JSON.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Delay(_) => "delay",
            Self::Duplicate => "duplicate",
            Self::Truncate { .. } => "truncate",
            Self::CorruptFrameEnd => "corrupt-frame-end",
            Self::StopReading { .. } => "stop-reading",
            Self::StopHeartbeats { .. } => "stop-heartbeats",
            Self::Reset => "reset",
            Self::HalfClose => "half-close",
            Self::CloseConnection { .. } => "close-connection",
            Self::CloseChannel { .. } => "close-channel",
            Self::Nack { .. } => "nack",
            Self::WithholdConfirm { .. } => "withhold-confirm",
            Self::ReturnUnroutable => "return-unroutable",
            Self::DuplicateDelivery => "duplicate-delivery",
            Self::MarkRedelivered => "mark-redelivered",
            Self::RefuseHandshake { .. } => "refuse-handshake",
            Self::StallHandshake { .. } => "stall-handshake",
            Self::FailAuthentication => "fail-authentication",
            Self::RaiseAlarm { .. } => "raise-alarm",
            Self::SlowDisk { .. } => "slow-disk",
            Self::FailDisk { .. } => "fail-disk",
        }
    }

    pub(super) fn scope(&self) -> Scope {
        match self {
            Self::StopReading { .. } | Self::StopHeartbeats { .. } | Self::Reset | Self::HalfClose | Self::CloseConnection { .. } => {
                Scope::Connection
            }
            Self::RefuseHandshake { at, .. } | Self::StallHandshake { at, .. } => Scope::Handshake(*at),
            Self::FailAuthentication => Scope::Handshake(Stage::Tune),
            Self::RaiseAlarm { .. } => Scope::Node,
            Self::SlowDisk { .. } | Self::FailDisk { .. } => Scope::Disk,
            _ => Scope::Frame,
        }
    }

    /// Whether it can happen to such frames.
    pub(super) fn suits(&self, id: Id) -> bool {
        match self {
            Self::Nack { .. } | Self::WithholdConfirm { .. } | Self::ReturnUnroutable => id == methods::PUBLISH,
            Self::DuplicateDelivery => id == methods::DELIVER,
            Self::MarkRedelivered => matches!(id, methods::DELIVER | methods::GET_OK),
            Self::CloseChannel { .. } => !matches!(id.0, 0 | 10),
            _ => true,
        }
    }
}

impl Match {
    /// Whether anything is asked about frames.
    pub(super) fn asks_about_frames(&self) -> bool {
        let Self { connection: _, user: _, vhost: _, channel, queue, exchange, routing_key, method, direction } = self;
        channel.is_some() || direction.is_some() || [queue, exchange, routing_key, method].iter().any(|asked| asked.is_some())
    }

    /// What is asked, by name.
    fn asked(&self) -> Vec<&'static str> {
        let fields = [
            ("connection", self.connection.is_some()),
            ("user", self.user.is_some()),
            ("vhost", self.vhost.is_some()),
            ("channel", self.channel.is_some()),
            ("queue", self.queue.is_some()),
            ("exchange", self.exchange.is_some()),
            ("routing_key", self.routing_key.is_some()),
            ("method", self.method.is_some()),
            ("direction", self.direction.is_some()),
        ];
        fields.into_iter().filter(|(_, asked)| *asked).map(|(name, _)| name).collect()
    }
}

impl Rule {
    /// What happens to everything, always.
    #[must_use]
    pub fn new(action: Action) -> Self {
        Self { name: None, matches: Match::default(), nth: None, every: None, probability: None, seed: 0, times: None, action }
    }

    /// # Errors
    /// A rule that contradicts itself, or that could never fire.
    pub fn check(&self) -> Result<(), RuleError> {
        self.check_when()?;
        let kind = self.action.kind();
        let means_nothing = |allowed: &[&str]| match self.matches.asked().into_iter().find(|asked| !allowed.contains(asked)) {
            Some(asked) => refuse(format!("match.{asked} means nothing to {kind}")),
            None => Ok(()),
        };
        match self.action.scope() {
            Scope::Disk => means_nothing(&[]),
            Scope::Handshake(Stage::Start) => means_nothing(&["connection"]),
            Scope::Handshake(Stage::Tune) => means_nothing(&["connection", "user"]),
            Scope::Handshake(Stage::Open) => means_nothing(&["connection", "user", "vhost"]),
            Scope::Node if self.matches == Match::default() => {
                let when = [("nth", self.nth.is_some()), ("every", self.every.is_some()), ("probability", self.probability.is_some())];
                match when.into_iter().chain([("times", self.times.is_some())]).find(|(_, set)| *set) {
                    Some((name, _)) => refuse(format!("{kind} without a match happens at once: {name} means nothing")),
                    None => Ok(()),
                }
            }
            Scope::Connection if !self.matches.asks_about_frames() => Ok(()),
            Scope::Frame | Scope::Connection | Scope::Node => self.check_frames(),
        }?;
        match &self.action {
            Action::FailDisk { on, .. } | Action::SlowDisk { on, .. } if !(on.reads || on.writes || on.syncs) => {
                refuse("action.on is empty")
            }
            Action::RefuseHandshake { at: Stage::Tune, .. } => refuse("action.at is start or open for refuse-handshake"),
            _ => Ok(()),
        }
    }

    fn check_when(&self) -> Result<(), RuleError> {
        let given = [("nth", self.nth.is_some()), ("every", self.every.is_some()), ("probability", self.probability.is_some())];
        let given: Vec<&str> = given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
        if let [one, other, ..] = given[..] {
            return refuse(format!("{one} and {other} exclude each other"));
        }
        if self.nth.is_some() && self.times.is_some() {
            return refuse("nth fires once: times means nothing beside it");
        }
        for (name, number) in [("nth", self.nth), ("every", self.every), ("times", self.times)] {
            if number == Some(0) {
                return refuse(format!("{name} is 1 or more"));
            }
        }
        match self.probability {
            Some(probability) if !(0.0..=1.0).contains(&probability) => refuse("probability is a number from 0 to 1"),
            None if self.seed != 0 => refuse("seed means nothing without probability"),
            _ => Ok(()),
        }
    }

    /// There has to be a frame that is meant.
    fn check_frames(&self) -> Result<(), RuleError> {
        let (asked, kind) = (&self.matches, self.action.kind());
        let named: Vec<Kind> = methods::kinds().filter(|one| methods::is_meant(asked.method.as_ref(), one.id)).collect();
        let method = asked.method.as_ref().map_or("", Pattern::as_str);
        if named.is_empty() {
            return refuse(format!("match.method: there is no method '{method}'"));
        }
        let suited: Vec<Kind> = named.into_iter().filter(|one| self.action.suits(one.id)).collect();
        if suited.is_empty() {
            return refuse(format!("{kind} cannot happen to match.method '{method}'"));
        }
        if asked.channel == Some(0) && matches!(self.action, Action::CloseChannel { .. }) {
            return refuse("match.channel 0 is the connection: close-channel cannot happen to it");
        }
        let going: Vec<Kind> = suited.iter().copied().filter(|one| asked.direction.is_none_or(|asked| asked == one.direction)).collect();
        if going.is_empty() {
            let way = if asked.direction == Some(Direction::In) { "in" } else { "out" };
            return refuse(format!("match.direction '{way}': {} never goes that way", names(&suited)));
        }
        for (field, letter, is_asked) in [
            ("exchange", 'e', asked.exchange.is_some()),
            ("routing_key", 'k', asked.routing_key.is_some()),
            ("queue", 'q', asked.queue.is_some()),
        ] {
            if is_asked && !going.iter().any(|one| one.tells.contains(letter)) {
                return refuse(format!("match.{field}: {} names none", names(&going)));
            }
        }
        Ok(())
    }
}

/// A few of them.
fn names(kinds: &[Kind]) -> String {
    let mut names: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
    names.dedup();
    if names.len() > 3 {
        names.truncate(3);
        names.push("…");
    }
    names.join(", ")
}
