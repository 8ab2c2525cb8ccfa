//! The outcome as a table for people: a line for each row, then what is not fulfilled.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::report::{Played, Report, Verdict, count};
use super::rows::{self, SECTIONS};
use super::run::is_wanted;

/// The scenarios of each row, in the order of the table.
pub(crate) fn by_row(report: &Report) -> Vec<(String, Vec<&Played>)> {
    let mut rows: BTreeMap<(usize, u32), (String, Vec<&Played>)> = BTreeMap::new();
    for played in &report.scenarios {
        for row in rows::split(&played.title).0.into_iter().filter(|row| is_wanted(row, &report.wanted)) {
            rows.entry(rows::place(row)).or_insert_with(|| (row.to_owned(), Vec::new())).1.push(played);
        }
    }
    rows.into_values().collect()
}

/// In one word; nothing was played of what is left out.
pub(crate) fn verdict([fulfilled, failed, _]: [usize; 3]) -> &'static str {
    match (fulfilled, failed) {
        (0, 0) => "left out",
        (_, 0) => "yes",
        (0, _) => "no",
        _ => "partly",
    }
}

pub(crate) struct Table<'a> {
    pub(crate) report: &'a Report,
    pub(crate) target: &'a str,
    /// With differences in full, and what was left out.
    pub(crate) verbose: bool,
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        writeln!(f, "{}: {} {}, held to {}", self.target, report.product, report.version, report.release)?;
        let rows = by_row(report);
        for (letter, section) in SECTIONS {
            let mut lines = String::new();
            for (row, scenarios) in rows.iter().filter(|(row, _)| row.starts_with(letter)) {
                let counts = count(scenarios.iter().copied());
                let [fulfilled, failed, _] = counts;
                let share = if fulfilled + failed == 0 { String::new() } else { format!("{fulfilled}/{}", fulfilled + failed) };
                writeln!(lines, "  {row:<4} {:<8} {share:>7}  {}", verdict(counts), rows::name(row).unwrap_or_default())?;
            }
            if !lines.is_empty() {
                write!(f, "\n{section}\n{lines}")?;
            }
        }
        self.failures(f)?;
        self.summary(f, &rows)
    }
}

impl Table<'_> {
    fn failures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.report.failures().next().is_some() {
            writeln!(f, "\nNot fulfilled")?;
        }
        for played in self.report.failures() {
            if self.verbose {
                writeln!(f, "\n{played}")?;
            } else {
                writeln!(f, "  {}:{}: {}", played.file, played.line, played.title)?;
            }
        }
        let is_left_out = |played: &&Played| matches!(played.verdict, Verdict::LeftOut(_));
        if self.verbose && self.report.scenarios.iter().any(|played| is_left_out(&played)) {
            writeln!(f, "\nLeft out")?;
            for played in self.report.scenarios.iter().filter(is_left_out) {
                if let Verdict::LeftOut(why) = played.verdict {
                    writeln!(f, "  {}:{}: {} ({why})", played.file, played.line, played.title)?;
                }
            }
        }
        Ok(())
    }

    /// One line; another one if not everything was played.
    fn summary(&self, f: &mut fmt::Formatter<'_>, rows: &[(String, Vec<&Played>)]) -> fmt::Result {
        let [fulfilled, failed, left_out] = self.report.counts();
        let verdicts: Vec<_> = rows.iter().map(|(_, scenarios)| verdict(count(scenarios.iter().copied()))).collect();
        let number = |wanted: &str| verdicts.iter().filter(|verdict| **verdict == wanted).count();
        let (yes, judged) = (number("yes"), verdicts.len() - number("left out"));
        writeln!(f, "\n{yes} of {judged} rows fulfilled; of the scenarios {fulfilled} fulfilled, {failed} not, {left_out} left out")?;
        if let Some(why) = &self.report.stopped {
            writeln!(f, "not everything was played: {why}")?;
        }
        Ok(())
    }
}
