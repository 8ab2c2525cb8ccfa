//! Rules as JSON. What is not known is refused by its name.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::pattern::Pattern;
use super::rule::{Action, Alarm, Direction, DiskError, Match, Operations, Rule, RuleError, Stage, Then};
use crate::amqp::ReplyCode;

/// The longest time that a rule can ask for.
const LONGEST_MS: u64 = 24 * 3600 * 1000;
const KINDS: [&str; 22] = [
    "drop",
    "delay",
    "duplicate",
    "truncate",
    "corrupt-frame-end",
    "stop-reading",
    "stop-heartbeats",
    "reset",
    "half-close",
    "close-connection",
    "close-channel",
    "nack",
    "withhold-confirm",
    "return-unroutable",
    "duplicate-delivery",
    "mark-redelivered",
    "refuse-handshake",
    "stall-handshake",
    "fail-authentication",
    "raise-alarm",
    "slow-disk",
    "fail-disk",
];
/// What the text of a close is where a rule has none.
const BY_A_FAULT: &str = "closed by a fault of the test API";

fn refuse<T>(why: impl Into<String>) -> Result<T, RuleError> {
    Err(RuleError(why.into()))
}

/// The fields of an object, each taken once; what is left is refused.
struct Fields {
    /// Where they are, with a dot behind it.
    of: &'static str,
    left: Map<String, Json>,
}

impl Fields {
    fn new(of: &'static str, value: Json) -> Result<Self, RuleError> {
        match value {
            Json::Object(left) => Ok(Self { of, left }),
            _ if of.is_empty() => refuse("a rule is an object"),
            _ => refuse(format!("{} is an object", of.trim_end_matches('.'))),
        }
    }

    fn take(&mut self, name: &str) -> Option<Json> {
        self.left.remove(name).filter(|value| !value.is_null())
    }

    fn wrong<T>(&self, name: &str, what: &str) -> Result<T, RuleError> {
        refuse(format!("{}{name} is {what}", self.of))
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, RuleError> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(_) => self.wrong(name, "a text"),
        }
    }

    fn pattern(&mut self, name: &str) -> Result<Option<Pattern>, RuleError> {
        Ok(self.text(name)?.map(Pattern::new))
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>, RuleError> {
        match self.take(name).map(|value| value.as_u64().or_else(|| whole(&value))) {
            None => Ok(None),
            Some(Some(number)) => Ok(Some(number)),
            Some(None) => self.wrong(name, "a whole number that is not negative"),
        }
    }

    fn flag(&mut self, name: &str) -> Result<bool, RuleError> {
        match self.take(name) {
            None => Ok(false),
            Some(Json::Bool(flag)) => Ok(flag),
            Some(_) => self.wrong(name, "true or false"),
        }
    }

    fn time(&mut self, name: &str) -> Result<Option<Duration>, RuleError> {
        match self.number(name)? {
            Some(ms) if ms > LONGEST_MS => self.wrong(name, &format!("{LONGEST_MS} at most")),
            ms => Ok(ms.map(Duration::from_millis)),
        }
    }

    fn needed_time(&mut self, name: &str) -> Result<Duration, RuleError> {
        match self.time(name)? {
            Some(time) => Ok(time),
            None => self.wrong(name, "missing"),
        }
    }

    /// One of these.
    fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, RuleError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match choices.iter().find(|(choice, _)| *choice == text) {
            Some((_, chosen)) => Ok(Some(*chosen)),
            None => {
                let all: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
                refuse(format!("{}{name} '{text}' is none of {}", self.of, all.join(", ")))
            }
        }
    }

    /// The code and text of a close.
    fn close(&mut self, default: Option<ReplyCode>) -> Result<(ReplyCode, String), RuleError> {
        let code = match (self.number("code")?, default) {
            (Some(number), _) => match ReplyCode::ALL.into_iter().find(|code| u64::from(code.code()) == number) {
                Some(code) => code,
                None => return refuse(format!("{}code {number} is no reply code of AMQP", self.of)),
            },
            (None, Some(default)) => default,
            (None, None) => return self.wrong("code", "missing"),
        };
        let text = self.text("text")?.unwrap_or_else(|| BY_A_FAULT.to_owned());
        // The name of the code comes before it by itself.
        let own = text.strip_prefix(code.name()).and_then(|rest| rest.strip_prefix(" - ")).map(str::to_owned);
        Ok((code, own.unwrap_or(text)))
    }

    fn operations(&mut self, default: Operations) -> Result<Operations, RuleError> {
        let list = match self.take("on") {
            None => return Ok(default),
            Some(Json::String(one)) => vec![Json::String(one)],
            Some(Json::Array(list)) => list,
            Some(_) => return self.wrong("on", "a list of read, write, sync"),
        };
        let mut on = Operations { reads: false, writes: false, syncs: false };
        for one in list {
            match one.as_str() {
                Some("read") => on.reads = true,
                Some("write") => on.writes = true,
                Some("sync") => on.syncs = true,
                _ => return refuse(format!("{}on has {one}, which is none of read, write, sync", self.of)),
            }
        }
        Ok(on)
    }

    fn end(self) -> Result<(), RuleError> {
        match self.left.keys().next() {
            Some(unknown) => refuse(format!("unknown field '{}{unknown}'", self.of)),
            None => Ok(()),
        }
    }
}

/// A number that some languages write with a fraction of nothing.
fn whole(value: &Json) -> Option<u64> {
    let number = value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=9e15).contains(number))?;
    format!("{number:.0}").parse().ok()
}

const STAGES: [(&str, Stage); 3] = [("start", Stage::Start), ("tune", Stage::Tune), ("open", Stage::Open)];
const WRITES_AND_SYNCS: Operations = Operations { reads: false, writes: true, syncs: true };

impl Rule {
    /// One rule or a list of them.
    ///
    /// # Errors
    /// The first that is none, with its number if it is in a list.
    pub fn list_from_json(value: Json) -> Result<Vec<Self>, RuleError> {
        match value {
            Json::Array(rules) => {
                let numbered = rules.into_iter().enumerate();
                let read =
                    numbered.map(|(at, rule)| Self::from_json(rule).map_err(|RuleError(why)| RuleError(format!("rule {}: {why}", at + 1))));
                read.collect()
            }
            one => Ok(vec![Self::from_json(one)?]),
        }
    }

    /// # Errors
    /// What is no rule, or contradicts itself.
    pub fn from_json(value: Json) -> Result<Self, RuleError> {
        let mut fields = Fields::new("", value)?;
        let matches = fields.take("match").map_or_else(|| Ok(Match::default()), match_from)?;
        let action = fields.take("action").map_or_else(|| refuse("action is missing"), action_from)?;
        let probability = match fields.take("probability").map(|value| value.as_f64()) {
            None => None,
            Some(Some(probability)) => Some(probability),
            Some(None) => return fields.wrong("probability", "a number from 0 to 1"),
        };
        let seed = fields.number("seed")?;
        if seed.is_some() && probability.is_none() {
            return refuse("seed means nothing without probability");
        }
        let rule = Self {
            name: fields.text("name")?,
            matches,
            nth: fields.number("nth")?,
            every: fields.number("every")?,
            probability,
            seed: seed.unwrap_or(0),
            times: fields.number("times")?,
            action,
        };
        fields.end()?;
        rule.check()?;
        Ok(rule)
    }

    /// What [`Rule::from_json`] makes this rule of.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut rule = Map::new();
        let mut put = |name: &str, value: Option<Json>| {
            if let Some(value) = value {
                rule.insert(name.to_owned(), value);
            }
        };
        put("name", self.name.clone().map(Json::from));
        put("match", Some(match_to(&self.matches)));
        put("nth", self.nth.map(Json::from));
        put("every", self.every.map(Json::from));
        put("probability", self.probability.map(Json::from));
        put("seed", self.probability.map(|_| self.seed.into()));
        put("times", self.times.map(Json::from));
        put("action", Some(action_to(&self.action)));
        Json::Object(rule)
    }
}

fn match_from(value: Json) -> Result<Match, RuleError> {
    let mut fields = Fields::new("match.", value)?;
    let channel = match fields.number("channel")?.map(u16::try_from) {
        None => None,
        Some(Ok(channel)) => Some(channel),
        Some(Err(_)) => return fields.wrong("channel", "65535 at most"),
    };
    let matches = Match {
        connection: fields.pattern("connection")?,
        user: fields.pattern("user")?,
        vhost: fields.pattern("vhost")?,
        channel,
        queue: fields.pattern("queue")?,
        exchange: fields.pattern("exchange")?,
        routing_key: fields.pattern("routing_key")?,
        method: fields.pattern("method")?,
        direction: fields.choice("direction", &[("in", Direction::In), ("out", Direction::Out)])?,
    };
    fields.end()?;
    Ok(matches)
}

fn match_to(matches: &Match) -> Json {
    let mut json = Map::new();
    let Match { connection, user, vhost, channel, queue, exchange, routing_key, method, direction } = matches;
    for (name, pattern) in [
        ("connection", connection),
        ("user", user),
        ("vhost", vhost),
        ("queue", queue),
        ("exchange", exchange),
        ("routing_key", routing_key),
        ("method", method),
    ] {
        if let Some(pattern) = pattern {
            json.insert(name.to_owned(), pattern.as_str().into());
        }
    }
    if let Some(channel) = channel {
        json.insert("channel".to_owned(), (*channel).into());
    }
    if let Some(direction) = direction {
        json.insert("direction".to_owned(), if *direction == Direction::In { "in" } else { "out" }.into());
    }
    Json::Object(json)
}

fn action_from(value: Json) -> Result<Action, RuleError> {
    let mut fields = Fields::new("action.", value)?;
    let Some(kind) = fields.text("kind")? else { return refuse("action.kind is missing") };
    let action = match kind.as_str() {
        "drop" => Action::Drop,
        "delay" => Action::Delay(fields.needed_time("ms")?),
        "duplicate" => Action::Duplicate,
        "truncate" => {
            let Some(after) = fields.number("after")? else { return fields.wrong("after", "missing") };
            let Ok(after) = usize::try_from(after) else { return fields.wrong("after", "too large") };
            let then = fields.choice("then", &[("nothing", Then::Nothing), ("close", Then::Close)])?.unwrap_or_default();
            Action::Truncate { after, then }
        }
        "corrupt-frame-end" => Action::CorruptFrameEnd,
        "stop-reading" => Action::StopReading { limit: fields.time("ms")? },
        "stop-heartbeats" => Action::StopHeartbeats { limit: fields.time("ms")? },
        "reset" => Action::Reset,
        "half-close" => Action::HalfClose,
        "close-connection" => {
            let (code, text) = fields.close(None)?;
            Action::CloseConnection { code, text }
        }
        "close-channel" => {
            let (code, text) = fields.close(None)?;
            Action::CloseChannel { code, text }
        }
        "nack" => Action::Nack { lose: fields.flag("lose")? },
        "withhold-confirm" => Action::WithholdConfirm { lose: fields.flag("lose")? },
        "return-unroutable" => Action::ReturnUnroutable,
        "duplicate-delivery" => Action::DuplicateDelivery,
        "mark-redelivered" => Action::MarkRedelivered,
        "refuse-handshake" => {
            let at = fields.choice("at", &STAGES)?.unwrap_or_default();
            if at == Stage::Start && (fields.left.contains_key("code") || fields.left.contains_key("text")) {
                return refuse("action.code and action.text mean nothing at the start, where the socket is closed");
            }
            let (code, text) = fields.close(Some(ReplyCode::ConnectionForced))?;
            Action::RefuseHandshake { at, code, text }
        }
        "stall-handshake" => {
            let at = fields.choice("at", &STAGES)?.unwrap_or_default();
            Action::StallHandshake { at, limit: fields.time("ms")? }
        }
        "fail-authentication" => Action::FailAuthentication,
        "raise-alarm" => {
            let alarm = fields.choice("alarm", &[("memory", Alarm::Memory), ("disk", Alarm::Disk)])?;
            let Some(alarm) = alarm else { return fields.wrong("alarm", "missing") };
            Action::RaiseAlarm { alarm, limit: fields.time("ms")? }
        }
        "slow-disk" => Action::SlowDisk { by: fields.needed_time("ms")?, on: fields.operations(WRITES_AND_SYNCS)? },
        "fail-disk" => {
            let error = fields.choice("error", &[("EIO", DiskError::Io), ("ENOSPC", DiskError::NoSpace)])?;
            Action::FailDisk { on: fields.operations(WRITES_AND_SYNCS)?, error: error.unwrap_or_default() }
        }
        unknown => return refuse(format!("action.kind '{unknown}' is none of {}", KINDS.join(", "))),
    };
    fields.end()?;
    Ok(action)
}

fn action_to(action: &Action) -> Json {
    let ms = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let stage = |at: &Stage| STAGES.iter().find(|(_, stage)| stage == at).map_or("start", |(name, _)| *name);
    let operations = |on: &Operations| {
        let each = [("read", on.reads), ("write", on.writes), ("sync", on.syncs)];
        each.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect::<Vec<_>>()
    };
    let mut fields = match action {
        Action::Delay(by) => json!({"ms": ms(by)}),
        Action::Truncate { after, then } => json!({"after": after, "then": if *then == Then::Close { "close" } else { "nothing" }}),
        Action::StopReading { limit } | Action::StopHeartbeats { limit } => json!({"ms": limit.as_ref().map(ms)}),
        Action::CloseConnection { code, text } | Action::CloseChannel { code, text } => json!({"code": code.code(), "text": text}),
        Action::Nack { lose } | Action::WithholdConfirm { lose } => json!({"lose": lose}),
        Action::RefuseHandshake { at: Stage::Start, .. } => json!({"at": "start"}),
        Action::RefuseHandshake { at, code, text } => json!({"at": stage(at), "code": code.code(), "text": text}),
        Action::StallHandshake { at, limit } => json!({"at": stage(at), "ms": limit.as_ref().map(ms)}),
        Action::RaiseAlarm { alarm, limit } => {
            json!({"alarm": if *alarm == Alarm::Memory { "memory" } else { "disk" }, "ms": limit.as_ref().map(ms)})
        }
        Action::SlowDisk { by, on } => json!({"ms": ms(by), "on": operations(on)}),
        Action::FailDisk { on, error } => json!({"on": operations(on), "error": if *error == DiskError::Io { "EIO" } else { "ENOSPC" }}),
        _ => json!({}),
    };
    if let Json::Object(fields) = &mut fields {
        fields.retain(|_, value| !value.is_null());
        fields.insert("kind".to_owned(), action.kind().into());
    }
    fields
}

#[cfg(test)]
mod tests;
