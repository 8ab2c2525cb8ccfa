//! The outcome for programs.

use serde_json::{Value, json};

use super::report::{Played, Report, Verdict, count};
use super::rows::{self, SECTIONS};
use super::table::{by_row, verdict};

/// The form that docs/CONFORMANCE.md describes.
pub(crate) fn report(report: &Report, target: &str) -> Value {
    let rows = by_row(report);
    let [fulfilled, failed, left_out] = report.counts();
    json!({
        "target": target,
        "product": report.product,
        "version": report.version,
        "profile": report.release,
        "fulfils": report.is_success(),
        "stopped": report.stopped,
        "scenarios": { "fulfilled": fulfilled, "failed": failed, "left_out": left_out },
        "rows": rows.iter().map(|(row, scenarios)| one_row(row, scenarios)).collect::<Vec<_>>(),
        "results": report.scenarios.iter().map(result).collect::<Vec<_>>(),
    })
}

fn one_row(row: &str, scenarios: &[&Played]) -> Value {
    let counts = count(scenarios.iter().copied());
    let [fulfilled, failed, left_out] = counts;
    let section = SECTIONS.iter().find(|(letter, _)| row.starts_with(*letter)).map(|(_, name)| *name);
    json!({
        "row": row,
        "section": section,
        "name": rows::name(row),
        "fulfilled": verdict(counts),
        "scenarios": { "fulfilled": fulfilled, "failed": failed, "left_out": left_out },
    })
}

fn result(played: &Played) -> Value {
    let (rows, title) = rows::split(&played.title);
    let mut result = json!({ "file": played.file, "line": played.line, "rows": rows, "title": title });
    match &played.verdict {
        Verdict::Fulfilled => result["verdict"] = "fulfilled".into(),
        Verdict::LeftOut(why) => {
            result["verdict"] = "left out".into();
            result["why"] = (*why).into();
        }
        Verdict::Impossible(why) => {
            result["verdict"] = "impossible".into();
            result["why"] = why.as_str().into();
        }
        Verdict::Differs(difference) => {
            result["verdict"] = "differs".into();
            result["sent"] = difference.sent.clone().into();
            result["expected"] = difference.expected.clone().into();
            result["got"] = difference.actual.clone().into();
        }
    }
    result
}
