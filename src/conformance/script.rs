//! A transcript file: its scenarios, and how it is written anew with what a broker really said.

use std::collections::HashMap;
use std::fmt;

use super::release::matches;

/// What a `>` or `:` line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// `c1> method …`
    Send,
    /// `c1>~ method …`: again and again until the answer is the expected one.
    Repeat,
    /// `c1: directive`
    Direct,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) action: Action,
    pub(crate) connection: String,
    pub(crate) channel: u16,
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// As in the file.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.connection)?;
        if self.channel != 1 {
            write!(f, ".{}", self.channel)?;
        }
        let mark = match self.action {
            Action::Send => ">",
            Action::Repeat => ">~",
            Action::Direct => ":",
        };
        write!(f, "{mark} {}", self.text)
    }
}

/// Lines sent together, and everything the broker must say before the next group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub(crate) steps: Vec<Step>,
    pub(crate) expected: Vec<String>,
    expected_at: Vec<usize>,
}

/// The lines of a scenario for one broker version, or for all others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variant {
    /// `--- 3.10,3.13`; empty: all that have none of their own.
    pub(crate) versions: Vec<String>,
    pub(crate) groups: Vec<Group>,
}

impl Variant {
    /// Whether a line of it is for an administrator.
    pub(crate) fn needs_ctl(&self) -> bool {
        let mut steps = self.groups.iter().flat_map(|group| &group.steps);
        steps.any(|step| step.action == Action::Direct && step.text.starts_with("ctl "))
    }

    /// How much time it lets pass, in milliseconds.
    pub(crate) fn waits_ms(&self) -> u64 {
        let steps = self.groups.iter().flat_map(|group| &group.steps).filter(|step| step.action == Action::Direct);
        steps.filter_map(|step| step.text.strip_prefix("wait ")?.parse::<u64>().ok()).sum()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) title: String,
    pub(crate) line: usize,
    /// `# differs: 3.10,4.0 …`: the versions whose behaviour is another, described by a `--- 3.10` variant or not at all.
    pub(crate) differs: Vec<String>,
    /// `# better: …`: RabbitMQ of no version does this.
    pub(crate) better: bool,
    /// `# sockets: …`: needs time to pass or a real socket.
    pub(crate) sockets: bool,
    /// `# strict: …`: only where deprecated features are refused.
    pub(crate) strict: bool,
    /// `# exact: …`: by the millisecond, which only a clock that is told what time it is can show.
    pub(crate) exact: bool,
    variants: Vec<Variant>,
}

impl Scenario {
    /// The variant to run against a broker of this version.
    pub(crate) fn variant(&self, version: &str) -> Option<&Variant> {
        let is_meant = |markers: &[String]| markers.iter().any(|marker| matches(version, marker));
        let special = self.variants.iter().find(|variant| is_meant(&variant.versions));
        if special.is_some() || is_meant(&self.differs) {
            return special;
        }
        self.variants.iter().find(|variant| variant.versions.is_empty())
    }
}

/// A parsed file.
pub(crate) struct File {
    lines: Vec<String>,
    pub(crate) scenarios: Vec<Scenario>,
}

impl File {
    pub(crate) fn parse(text: &str) -> Result<File, String> {
        let mut parser = Parser::default();
        for (index, line) in text.lines().enumerate() {
            parser.line(index, line).map_err(|error| format!("line {}: {error}", index + 1))?;
        }
        Ok(File { lines: text.lines().map(str::to_owned).collect(), scenarios: parser.scenarios })
    }

    /// The text with the answers of the groups replaced; a group is known by the line of its last step.
    pub(crate) fn rewrite(&self, answers: &HashMap<usize, Vec<String>>) -> String {
        let mut dropped = vec![false; self.lines.len()];
        let groups = self.scenarios.iter().flat_map(|scenario| &scenario.variants).flat_map(|variant| &variant.groups);
        for group in groups.filter(|group| answers.contains_key(&group.last_line())) {
            for line in &group.expected_at {
                dropped[*line] = true;
            }
        }
        let mut text = String::new();
        for (index, line) in self.lines.iter().enumerate() {
            let kept = (!dropped[index]).then_some(line);
            for line in kept.into_iter().chain(answers.get(&index).into_iter().flatten()) {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

impl Group {
    pub(crate) fn last_line(&self) -> usize {
        self.steps.last().map_or(0, |step| step.line)
    }
}

#[derive(Default)]
struct Parser {
    scenarios: Vec<Scenario>,
    /// A `<` line or a blank one ended the group: the next step begins another.
    group_ended: bool,
}

impl Parser {
    fn line(&mut self, index: usize, line: &str) -> Result<(), String> {
        if let Some(title) = line.strip_prefix("=== ") {
            self.scenarios.push(Scenario {
                title: title.to_owned(),
                line: index,
                differs: Vec::new(),
                better: false,
                sockets: false,
                strict: false,
                exact: false,
                variants: vec![Variant::default()],
            });
            self.group_ended = true;
            return Ok(());
        }
        if self.scenarios.is_empty() && !line.is_empty() && !line.starts_with('#') {
            return Err("a line before the first scenario".to_owned());
        }
        let Some(scenario) = self.scenarios.last_mut() else {
            return Ok(());
        };
        if let Some(comment) = line.strip_prefix('#') {
            mark(scenario, comment.trim());
            return Ok(());
        }
        if let Some(version) = line.strip_prefix("--- ") {
            scenario.variants.push(Variant { versions: version.trim().split(',').map(str::to_owned).collect(), groups: Vec::new() });
            self.group_ended = true;
            return Ok(());
        }
        if line.trim().is_empty() {
            self.group_ended = true;
            return Ok(());
        }
        let Some(variant) = scenario.variants.last_mut() else {
            return Ok(());
        };
        if is_expectation(line) {
            let group = variant.groups.last_mut().ok_or("an answer without a question")?;
            group.expected.push(line.to_owned());
            group.expected_at.push(index);
            self.group_ended = true;
            return Ok(());
        }
        if self.group_ended || variant.groups.is_empty() {
            variant.groups.push(Group::default());
            self.group_ended = false;
        }
        let step = parse_step(line, index)?;
        if let Some(group) = variant.groups.last_mut() {
            group.steps.push(step);
        }
        Ok(())
    }
}

fn mark(scenario: &mut Scenario, comment: &str) {
    if let Some(rest) = comment.strip_prefix("differs:") {
        let versions = rest.split_whitespace().next().unwrap_or_default();
        scenario.differs.extend(versions.split(',').map(str::to_owned));
    }
    scenario.better |= comment.starts_with("better:");
    scenario.sockets |= comment.starts_with("sockets:");
    scenario.strict |= comment.starts_with("strict:");
    scenario.exact |= comment.starts_with("exact:");
}

/// `c1< …` and `c1.2< …`
fn is_expectation(line: &str) -> bool {
    let end = line.find([' ', '<', '>', ':']).unwrap_or(0);
    line[end..].starts_with('<')
}

fn parse_step(line: &str, index: usize) -> Result<Step, String> {
    let wrong = || format!("neither 'c1> …', 'c1>~ …', 'c1: …' nor 'c1< …': '{line}'");
    let end = line.find([' ', '>', ':']).ok_or_else(wrong)?;
    let (end_point, rest) = line.split_at(end);
    let (connection, channel) = match end_point.split_once('.') {
        Some((connection, channel)) => (connection, channel.parse().map_err(|_| wrong())?),
        None => (end_point, 1),
    };
    let (action, text) = if let Some(text) = rest.strip_prefix(">~") {
        (Action::Repeat, text)
    } else if let Some(text) = rest.strip_prefix('>') {
        (Action::Send, text)
    } else {
        (Action::Direct, rest.strip_prefix(':').ok_or_else(wrong)?)
    };
    Ok(Step { action, connection: connection.to_owned(), channel, text: text.trim().to_owned(), line: index })
}
