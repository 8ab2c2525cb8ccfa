//! What came of a run.

use std::fmt;

use super::play::Difference;
use super::suite::Transcript;

/// One scenario, and what came of it.
#[derive(Debug)]
pub struct Played {
    /// The transcript.
    pub file: String,
    /// The line of its title, counted from 1.
    pub line: usize,
    /// With the rows that it shows first.
    pub title: String,
    pub verdict: Verdict,
}

#[derive(Debug)]
pub enum Verdict {
    /// The broker said what the transcript says.
    Fulfilled,
    /// The broker said something else.
    Differs(Difference),
    /// It could not be played: the administrator's command failed, or the transcript cannot be read.
    Impossible(String),
    /// It is not for this broker: why.
    LeftOut(&'static str),
}

impl Verdict {
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Differs(_) | Self::Impossible(_))
    }
}

#[derive(Debug, Default)]
pub struct Report {
    /// What the broker says it is.
    pub product: String,
    pub version: String,
    /// The release that it is held to.
    pub release: String,
    /// The rows that were asked for; empty: all.
    pub wanted: Vec<String>,
    pub scenarios: Vec<Played>,
    /// Transcripts that recording changed, as they are now.
    pub rewritten: Vec<Transcript>,
    /// Why the rest was not played.
    pub stopped: Option<String>,
}

impl Report {
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.stopped.is_none() && !self.failures().any(|_| true)
    }

    pub(crate) fn failures(&self) -> impl Iterator<Item = &Played> {
        self.scenarios.iter().filter(|played| played.verdict.is_failure())
    }

    /// How many were fulfilled, how many were not, how many were left out.
    pub(crate) fn counts(&self) -> [usize; 3] {
        count(self.scenarios.iter())
    }
}

pub(crate) fn count<'a>(scenarios: impl Iterator<Item = &'a Played>) -> [usize; 3] {
    let mut counts = [0; 3];
    for played in scenarios {
        let which = match played.verdict {
            Verdict::Fulfilled => 0,
            Verdict::Differs(_) | Verdict::Impossible(_) => 1,
            Verdict::LeftOut(_) => 2,
        };
        counts[which] += 1;
    }
    counts
}

/// What did not go as written, in full.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for played in self.failures() {
            writeln!(f, "\n{played}")?;
        }
        for transcript in &self.rewritten {
            writeln!(f, "rewritten: {}", transcript.name)?;
        }
        if let Some(why) = &self.stopped {
            writeln!(f, "stopped: {why}")?;
        }
        let [passed, failed, left_out] = self.counts();
        write!(f, "{passed} passed, {failed} failed, {left_out} left out")
    }
}

/// Where it stands, and the difference: what was sent, then what both have said, what was expected and did not come, what came instead.
impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.title)?;
        match &self.verdict {
            Verdict::Fulfilled => Ok(()),
            Verdict::LeftOut(why) => write!(f, "\n  left out: {why}"),
            Verdict::Impossible(why) => write!(f, "\n  cannot be played: {why}"),
            Verdict::Differs(difference) => show(f, difference),
        }
    }
}

fn show(f: &mut fmt::Formatter<'_>, difference: &Difference) -> fmt::Result {
    for line in &difference.sent {
        write!(f, "\n  sent      {line}")?;
    }
    let common = common_lines(&difference.expected, &difference.actual);
    let (mut left, mut right) = (0, 0);
    let end = (difference.expected.len(), difference.actual.len());
    for (next_left, next_right) in common.into_iter().chain([end]) {
        for line in &difference.expected[left..next_left] {
            write!(f, "\n  expected  {line}")?;
        }
        for line in &difference.actual[right..next_right] {
            write!(f, "\n  got       {line}")?;
        }
        if let Some(line) = difference.expected.get(next_left) {
            write!(f, "\n  both      {line}")?;
        }
        (left, right) = ((next_left + 1).min(end.0), (next_right + 1).min(end.1));
    }
    if difference.actual.is_empty() {
        f.write_str("\n  got       nothing")?;
    }
    if difference.expected.is_empty() {
        f.write_str("\n  expected  nothing")?;
    }
    Ok(())
}

/// The positions of a longest common subsequence.
fn common_lines(left: &[String], right: &[String]) -> Vec<(usize, usize)> {
    let mut lengths = vec![vec![0; right.len() + 1]; left.len() + 1];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            lengths[i][j] = if left[i] == right[j] { lengths[i + 1][j + 1] + 1 } else { lengths[i + 1][j].max(lengths[i][j + 1]) };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut pairs = Vec::new();
    while i < left.len() && j < right.len() {
        if left[i] == right[j] {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if lengths[i + 1][j] >= lengths[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}
