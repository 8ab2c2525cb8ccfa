//! What is wrong with the clients of this node: what they have done, and what they have left.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::broker::Timestamp;
use crate::broker::journal::Lint;
use crate::server::Handle;
use crate::server::journal::{Finding, SentError};

/// What a look has found.
#[derive(Clone, Debug)]
pub struct Report {
    pub findings: Vec<Finding>,
    now: Timestamp,
}

#[derive(Serialize)]
struct Line<'a> {
    group: &'static str,
    lint: &'static str,
    meaning: &'static str,
    vhost: &'a str,
    subject: &'a str,
    count: u64,
    first: u64,
    last: u64,
    connection: Option<&'a str>,
    channel: Option<u16>,
    user: Option<&'a str>,
}

impl Report {
    /// Those of one group, or all.
    #[must_use]
    pub fn of_groups(mut self, groups: &[String]) -> Self {
        self.findings.retain(|finding| groups.is_empty() || groups.iter().any(|group| group == finding.lint.group()));
        self
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut groups: BTreeMap<&str, usize> = Lint::GROUPS.iter().map(|group| (*group, 0)).collect();
        self.findings.iter().for_each(|finding| *groups.entry(finding.lint.group()).or_default() += 1);
        let lines = self.findings.iter().map(|finding| Line {
            group: finding.lint.group(),
            lint: finding.lint.name(),
            meaning: finding.lint.meaning(),
            vhost: &finding.vhost,
            subject: &finding.subject,
            count: finding.count,
            first: finding.first.0,
            last: finding.last.0,
            connection: finding.connection.as_deref(),
            channel: finding.channel,
            user: finding.user.as_deref(),
        });
        json!({"groups": groups, "findings": lines.collect::<Vec<_>>()})
    }

    fn line(&self, finding: &Finding) -> String {
        let mut text = String::new();
        if !finding.subject.is_empty() {
            let _ = write!(text, " {}", finding.subject);
        }
        if finding.count != 1 {
            let _ = write!(text, " ({} times)", finding.count);
        }
        let _ = write!(text, " in virtual host \"{}\"", finding.vhost);
        if let Some(connection) = &finding.connection {
            let _ = write!(text, ", {connection}");
        }
        if let Some(channel) = finding.channel.filter(|channel| *channel != 0) {
            let _ = write!(text, " channel {channel}");
        }
        if let Some(user) = &finding.user {
            let _ = write!(text, ", user {user}");
        }
        let seconds = self.now.0.saturating_sub(finding.last.0) / 1000;
        let _ = write!(text, ", {seconds} s ago");
        text.trim_start().to_owned()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.findings.is_empty() {
            return f.write_str("nothing found\n");
        }
        for group in Lint::GROUPS {
            let mut before = None;
            for finding in self.findings.iter().filter(|finding| finding.lint.group() == group) {
                if before.replace(finding.lint) != Some(finding.lint) {
                    writeln!(f, "{group}: {}", finding.lint.meaning())?;
                }
                writeln!(f, "  {}", self.line(finding))?;
            }
        }
        Ok(())
    }
}

impl Handle {
    /// What clients have done wrong so far, and what is open or left right now.
    pub async fn lint(&self) -> Report {
        let mut standing = Vec::new();
        for broker_loop in self.0.loops().iter() {
            let vhost: Arc<str> = broker_loop.vhost().into();
            let notes = broker_loop.ask(|asked| asked.broker().standing_notes()).await;
            standing.extend(notes.iter().map(|note| Finding::of(&vhost, note)));
        }
        let mut findings = self.0.journal.as_ref().map_or_else(Vec::new, |journal| journal.findings());
        findings.extend(standing);
        findings.sort_by(|a, b| (a.lint, &a.vhost, &a.subject, &a.connection).cmp(&(b.lint, &b.vhost, &b.subject, &b.connection)));
        Report { findings, now: self.0.time.now() }
    }

    /// The last errors that clients have been sent, the oldest first.
    pub async fn sent_errors(&self) -> Vec<SentError> {
        self.catch_up().await;
        self.0.journal.as_ref().map_or_else(Vec::new, |journal| journal.errors())
    }
}
