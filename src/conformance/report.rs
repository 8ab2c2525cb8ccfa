//! What came of a run, for people to read.

use std::fmt;

use super::play::Difference;

/// One scenario that did not go as written.
pub struct Failure {
    pub file: String,
    pub title: String,
    pub reason: Reason,
}

pub enum Reason {
    /// The broker said something else.
    Difference(Difference),
    /// The transcript cannot be read.
    Mistake(String),
}

#[derive(Default)]
pub struct Report {
    pub passed: usize,
    pub failures: Vec<Failure>,
    /// Scenarios that are not for this broker: file, title, why.
    pub left_out: Vec<(String, String, &'static str)>,
    /// Transcripts that recording changed.
    pub rewritten: Vec<String>,
}

impl Report {
    pub fn is_success(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "\n{}: {}", failure.file, failure.title)?;
            match &failure.reason {
                Reason::Mistake(mistake) => writeln!(f, "  {mistake}")?,
                Reason::Difference(difference) => show(f, difference)?,
            }
        }
        for file in &self.rewritten {
            writeln!(f, "rewritten: {file}")?;
        }
        let (passed, failed) = (self.passed, self.failures.len());
        write!(f, "{passed} passed, {failed} failed, {} left out", self.left_out.len())
    }
}

/// The lines of the group, `-` before what was expected and did not come, `+` before what came instead.
fn show(f: &mut fmt::Formatter<'_>, difference: &Difference) -> fmt::Result {
    writeln!(f, "  after line {}:", difference.line + 1)?;
    let common = common_lines(&difference.expected, &difference.actual);
    let (mut left, mut right) = (0, 0);
    let end = (difference.expected.len(), difference.actual.len());
    for (next_left, next_right) in common.into_iter().chain([end]) {
        for line in &difference.expected[left..next_left] {
            writeln!(f, "  - {line}")?;
        }
        for line in &difference.actual[right..next_right] {
            writeln!(f, "  + {line}")?;
        }
        if let Some(line) = difference.expected.get(next_left) {
            writeln!(f, "    {line}")?;
        }
        (left, right) = ((next_left + 1).min(end.0), (next_right + 1).min(end.1));
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
