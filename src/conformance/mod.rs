//! Text transcripts, played against a broker: leveret in the test process, or anything that speaks AMQP 0-9-1 over TCP.
//!
//! A file is a list of scenarios:
//!
//! ```text
//! === Q13 drop-head drops the oldest ready message
//! # Comments say why.
//! c1> queue.declare queue=q arguments={"x-max-length": 1}
//! c1< queue.declare-ok queue=q message_count=0 consumer_count=0
//! c1> basic.publish routing_key=q body="a"
//! c1> basic.publish routing_key=q body="b"
//! c1> basic.get queue=q
//! c1< basic.get-ok delivery_tag=1 routing_key=q message_count=0 body="b"
//! ```
//!
//! **Groups.** Consecutive `>` and `:` lines are sent together. The `<` lines after them are *everything* the broker answers, on any
//! connection, printed canonically: by connection and channel (channel 0, where connections end, last), zero and empty arguments
//! left out. A blank line ends a group that has no answer. Confirms are collected into sets (`c1< confirmed 1-3`, `c1< nacked 2`), since
//! brokers batch them differently; they come last in their group, but never after a basic.return that followed them.
//!
//! **Lines.** `c1>` is channel 1 of connection c1, `c1.2>` channel 2. Both open by themselves at first use; a channel that was closed needs a
//! `channel.open`. A `channel.close` or `connection.close` of the broker is answered by itself. Instead of a method:
//! `raw 01 0001 "text" ff*10` (bytes as they are), `frame 1 <bytes>` (type, payload; the envelope is right), `header class_id=60 body_size=5
//! priority=1`, `body <bytes>`, `only basic.publish …` (the method without its content). `c1>~` repeats a line until the answer is the expected one,
//! for effects nothing orders (a connection lost). `$gen1`, `$ctag1`, `$reply1` stand for names the broker made up.
//!
//! An expected line may leave a part open with `…`.
//!
//! **Directives.** `c1: user=… password=… mechanism=… vhost=… capabilities=none frame_max=… channel_max=… heartbeat=…` connects that way;
//! `c1: handshake=none` only opens the socket. `c1: drop` abandons the socket, `c1: hold-close` leaves channel.close unanswered, `c1: unopened 7`
//! stops channel 7 from opening by itself, `c1: nosync 1` keeps the runner's own methods off a channel in the middle of a content,
//! `c1: await closed` and `c1: await heartbeat` wait for these. `c1: wait 300` lets that many milliseconds pass, between what stands above
//! and below it in its group; what the broker says because of it is expected after the group. `c1: ctl set_policy p "^q" {"max-length": 1}
//! --apply-to queues` asks what only an administrator may: the words are `rabbitmqctl`'s, over TCP they follow the command in
//! `LEVERET_SCENARIOS_CTL` (without it, scenarios with a `ctl` are left out). Users, limits of the virtual host,
//! policies and tracing are gone after the scenario. What stands
//! above a `wait` or `ctl` in its group may still be under way when it begins. After a group, the runner asks for the queues passively, which
//! counts as a use of them for x-expires.
//!
//! **Markers** under a title: `# differs: 3.10 …` (that version does otherwise; a `--- 3.10` line starts its own variant, without one it
//! is left out there), `# better: …` (leveret helps where RabbitMQ does not), `# sockets: …` (needs time to pass or a real socket).
//!
//! `UPDATE_EXPECT=1` rewrites the `<` lines with what the broker said; `SCENARIO=text` plays only the scenarios whose file or title has the text.

#![expect(unreachable_pub, reason = "a test binary has no outside to reach it from")]

mod channel;
mod codec;
mod ctl;
mod handshake;
mod janitor;
mod link;
mod names;
mod opinion;
mod play;
mod report;
mod schema;
mod script;
mod sending;
#[cfg(test)]
mod tests;
mod text;
mod transport;
mod value;
mod wildcard;

use std::fs;
use std::path::{Path, PathBuf};

use janitor::Janitor;
use play::{Outcome, Player};
pub use report::{Failure, Reason, Report};
use script::{File, Scenario, Variant};
pub use transport::{Arrival, Broker, Tcp, Transport};

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Rewrite the transcripts instead of judging by them.
    pub update: bool,
    /// Only scenarios whose file name or title contains this.
    pub filter: Option<String>,
}

impl Options {
    pub fn from_env() -> Options {
        Options { update: std::env::var_os("UPDATE_EXPECT").is_some(), filter: std::env::var("SCENARIO").ok() }
    }
}

/// Plays every transcript of the directory.
pub fn run_all(broker: &dyn Broker, directory: &Path, options: &Options) -> Report {
    let mut report = Report::default();
    let Some(server) = handshake::ask_server(broker) else {
        let reason = Reason::Mistake("the broker does not answer the protocol header".to_owned());
        report.failures.push(Failure { file: String::new(), title: String::new(), reason });
        return report;
    };
    let mut run = Run { broker, server, janitor: Janitor::default(), options };
    for path in transcripts(directory) {
        run.file(&path, &mut report);
    }
    run.janitor.retire();
    report
}

fn transcripts(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    paths
}

struct Run<'a> {
    broker: &'a dyn Broker,
    server: handshake::Server,
    janitor: Janitor,
    options: &'a Options,
}

impl Run<'_> {
    fn file(&mut self, path: &Path, report: &mut Report) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let file = File::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut answers = std::collections::HashMap::new();
        for scenario in &file.scenarios {
            if let Some(outcome) = self.scenario(&name, scenario, report) {
                answers.extend(outcome.answers);
            }
        }
        let rewritten = file.rewrite(&answers);
        if self.options.update && rewritten != text {
            fs::write(path, rewritten).unwrap_or_else(|error| panic!("{name}: {error}"));
            report.rewritten.push(name);
        }
    }

    fn scenario(&mut self, file: &str, scenario: &Scenario, report: &mut Report) -> Option<Outcome> {
        let matches = |filter: &String| file.contains(filter) || scenario.title.contains(filter);
        if !self.options.filter.as_ref().is_none_or(matches) {
            return None;
        }
        let why_not = if scenario.better && !self.server.is_leveret {
            Some("leveret does better")
        } else if scenario.sockets && self.broker.answers_at_once() {
            Some("needs sockets")
        } else if scenario.variant(&self.server.version).is_some_and(Variant::needs_ctl) && !self.broker.takes_ctl() {
            Some("needs an administrator")
        } else if scenario.variant(&self.server.version).is_none() {
            Some("another version's behaviour")
        } else {
            None
        };
        if let Some(why_not) = why_not {
            report.left_out.push((file.to_owned(), scenario.title.clone(), why_not));
            return None;
        }
        self.broker.reset();
        let variant = scenario.variant(&self.server.version)?;
        let player = Player::new(self.broker, &mut self.janitor, self.options.update);
        let failed = |reason| Failure { file: format!("{file}:{}", scenario.line + 1), title: scenario.title.clone(), reason };
        match player.play(variant) {
            Err(mistake) => report.failures.push(failed(Reason::Mistake(mistake))),
            Ok(Outcome { difference: Some(difference), .. }) if !self.options.update => {
                report.failures.push(failed(Reason::Difference(difference)));
            }
            Ok(outcome) => {
                report.passed += 1;
                return Some(outcome);
            }
        }
        None
    }
}
