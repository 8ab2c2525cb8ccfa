//! A transcript file: its scenarios, and how it is written anew with what a broker really said.

use std::collections::HashMap;

/// What a `>` or `:` line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `c1> method …`
    Send,
    /// `c1>~ method …`: again and again until the answer is the expected one.
    Repeat,
    /// `c1: directive`
    Direct,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub action: Action,
    pub connection: String,
    pub channel: u16,
    pub text: String,
    pub line: usize,
}

/// Lines sent together, and everything the broker must say before the next group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub steps: Vec<Step>,
    pub expected: Vec<String>,
    expected_at: Vec<usize>,
}

/// The lines of a scenario for one broker version, or for all others.
#[derive(Clone, Debug, Default)]
pub struct Variant {
    pub version: Option<String>,
    pub groups: Vec<Group>,
}

impl Variant {
    /// Whether a line of it is for an administrator.
    pub fn needs_ctl(&self) -> bool {
        let mut steps = self.groups.iter().flat_map(|group| &group.steps);
        steps.any(|step| step.action == Action::Direct && step.text.starts_with("ctl "))
    }
}

#[derive(Clone, Debug)]
pub struct Scenario {
    pub title: String,
    pub line: usize,
    /// `# differs: 3.10 …`: the version whose behaviour is another, described by a `--- 3.10` variant or not at all.
    pub differs: Option<String>,
    /// `# better: …`: RabbitMQ of no version does this.
    pub better: bool,
    /// `# sockets: …`: needs time to pass or a real socket.
    pub sockets: bool,
    variants: Vec<Variant>,
}

impl Scenario {
    /// The variant to run against a broker of this version.
    pub fn variant(&self, version: &str) -> Option<&Variant> {
        let matches = |prefix: &str| version.starts_with(&format!("{prefix}."));
        let special = self.variants.iter().find(|variant| variant.version.as_deref().is_some_and(matches));
        if special.is_some() || self.differs.as_deref().is_some_and(matches) {
            return special;
        }
        self.variants.iter().find(|variant| variant.version.is_none())
    }
}

/// A parsed file.
pub struct File {
    lines: Vec<String>,
    pub scenarios: Vec<Scenario>,
}

impl File {
    pub fn parse(text: &str) -> Result<File, String> {
        let mut parser = Parser::default();
        for (index, line) in text.lines().enumerate() {
            parser.line(index, line).map_err(|error| format!("line {}: {error}", index + 1))?;
        }
        Ok(File { lines: text.lines().map(str::to_owned).collect(), scenarios: parser.scenarios })
    }

    /// The text with the answers of the groups replaced; a group is known by the line of its last step.
    pub fn rewrite(&self, answers: &HashMap<usize, Vec<String>>) -> String {
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
    pub fn last_line(&self) -> usize {
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
                differs: None,
                better: false,
                sockets: false,
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
            scenario.variants.push(Variant { version: Some(version.trim().to_owned()), groups: Vec::new() });
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
        scenario.differs = rest.split_whitespace().next().map(str::to_owned);
    }
    scenario.better |= comment.starts_with("better:");
    scenario.sockets |= comment.starts_with("sockets:");
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
