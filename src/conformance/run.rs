//! Plays transcripts one after the other: which of them are for this broker, and what came of each.

use std::collections::HashMap;

use super::handshake::{self, Server};
use super::janitor::Janitor;
use super::play::{Outcome, Player};
use super::release::Release;
use super::report::{Played, Report, Verdict};
use super::rows;
use super::script::{File, Scenario, Variant};
use super::suite::Transcript;
use super::transport::Broker;

/// What lets more time pass is not worth waiting for: some of it takes half an hour, or years.
const LONGEST_WAIT_MS: u64 = 10_000;

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Record what the broker says instead of judging by the transcripts: `Report::rewritten`.
    pub update: bool,
    /// Only scenarios whose file name or title contains this.
    pub filter: Option<String>,
    /// Only scenarios with one of these rows: `Q13`, or `Q` for a whole section. Empty: all.
    pub rows: Vec<String>,
    /// The release to hold it to (`3.13`, `4.0`, `4.1`, `4.3`, `permissive`), instead of the one it says it is.
    pub release: Option<String>,
}

impl Options {
    fn wants(&self, transcript: &Transcript, scenario: &Scenario) -> bool {
        let matches = |filter: &String| transcript.name.contains(filter) || scenario.title.contains(filter);
        if !self.filter.as_ref().is_none_or(matches) {
            return false;
        }
        let is_wanted =
            |row: &&str| self.rows.iter().any(|wanted| *row == wanted || (wanted.len() == 1 && row.starts_with(wanted.as_str())));
        self.rows.is_empty() || rows::split(&scenario.title).0.iter().any(is_wanted)
    }
}

/// Whether it is one of these rows, or of these sections.
pub(crate) fn is_wanted(row: &str, wanted: &[String]) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| row == wanted || (wanted.len() == 1 && row.starts_with(wanted.as_str())))
}

/// Plays the transcripts that are for the broker's release, and tells `listen` of each scenario.
pub fn run_all(broker: &dyn Broker, transcripts: &[Transcript], options: &Options, listen: &mut dyn FnMut(&Played)) -> Report {
    let mut report = Report::default();
    let (server, is_strict) = match ask(broker) {
        Ok(answers) => answers,
        Err(why) => {
            report.stopped = Some(why);
            return report;
        }
    };
    let release = options.release.as_deref().and_then(Release::named).unwrap_or_else(|| Release::of(&server, is_strict));
    report.product.clone_from(&server.product);
    report.version.clone_from(&server.version);
    report.release = release.name().to_owned();
    report.wanted.clone_from(&options.rows);
    let mut run = Run { broker, server, release, is_strict, janitor: Janitor::default(), options };
    for transcript in transcripts.iter().filter(|transcript| run.release.plays(transcript)).collect::<Vec<_>>() {
        run.transcript(transcript, &mut report, listen);
        if report.stopped.is_some() {
            break;
        }
    }
    run.janitor.retire(broker.patience());
    report
}

/// What it says of itself, and whether it refuses what is deprecated.
fn ask(broker: &dyn Broker) -> Result<(Server, bool), String> {
    broker.check()?;
    let server = handshake::ask_server(broker).ok_or("it does not answer the protocol header with connection.start")?;
    let refused = || format!("{} {} does not let guest with the password guest into the virtual host '/'", server.product, server.version);
    let is_strict = handshake::is_strict(broker).ok_or_else(refused)?;
    Ok((server, is_strict))
}

struct Run<'a> {
    broker: &'a dyn Broker,
    server: Server,
    release: Release,
    is_strict: bool,
    janitor: Janitor,
    options: &'a Options,
}

impl Run<'_> {
    fn transcript(&mut self, transcript: &Transcript, report: &mut Report, listen: &mut dyn FnMut(&Played)) {
        let file = match File::parse(&transcript.text) {
            Ok(file) => file,
            Err(error) => {
                report.stopped = Some(format!("{}: {error}", transcript.name));
                return;
            }
        };
        let mut answers = HashMap::new();
        for scenario in file.scenarios.iter().filter(|scenario| self.options.wants(transcript, scenario)) {
            let (verdict, said) = self.scenario(scenario);
            answers.extend(said);
            let played = Played { file: transcript.name.clone(), line: scenario.line + 1, title: scenario.title.clone(), verdict };
            listen(&played);
            let went_wrong = played.verdict.is_failure();
            report.scenarios.push(played);
            // Without it, each of the others would wait in vain.
            if went_wrong && let Err(why) = self.broker.check() {
                report.stopped = Some(why);
                return;
            }
        }
        let rewritten = file.rewrite(&answers);
        if self.options.update && rewritten != transcript.text {
            report.rewritten.push(Transcript { name: transcript.name.clone(), text: rewritten });
        }
    }

    fn scenario(&mut self, scenario: &Scenario) -> (Verdict, HashMap<usize, Vec<String>>) {
        let variant = match self.variant(scenario) {
            Ok(variant) => variant,
            Err(why_not) => return (Verdict::LeftOut(why_not), HashMap::new()),
        };
        self.broker.reset();
        let player = Player::new(self.broker, &mut self.janitor, self.options.update);
        match player.play(variant) {
            Err(mistake) => (Verdict::Impossible(mistake), HashMap::new()),
            Ok(Outcome { difference: Some(difference), .. }) if !self.options.update => {
                let needs_transient = self.is_strict && difference.actual.iter().any(|line| line.contains("transient_nonexcl_queues"));
                let verdict = match needs_transient {
                    true => Verdict::LeftOut("needs deprecated_features.permit.transient_nonexcl_queues"),
                    false => Verdict::Differs(difference),
                };
                (verdict, HashMap::new())
            }
            Ok(outcome) => (Verdict::Fulfilled, outcome.answers),
        }
    }

    /// What to play against this broker, or why nothing.
    fn variant<'a>(&self, scenario: &'a Scenario) -> Result<&'a Variant, &'static str> {
        if scenario.better && !self.server.is_leveret {
            return Err("leveret does better");
        }
        if scenario.sockets && self.broker.answers_at_once() {
            return Err("needs sockets");
        }
        if scenario.exact && !self.broker.answers_at_once() {
            return Err("needs a clock that can be set");
        }
        if scenario.strict && !self.is_strict {
            return Err("deprecated features are permitted");
        }
        let variant = scenario.variant(self.release.version()).ok_or("another version's behaviour")?;
        if variant.needs_ctl() && !self.broker.takes_ctl() {
            return Err("needs an administrator");
        }
        if !self.broker.answers_at_once() && variant.waits_ms() > LONGEST_WAIT_MS {
            return Err("takes longer than ten seconds");
        }
        Ok(variant)
    }
}
