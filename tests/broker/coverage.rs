//! Every row of the specification in scope is shown by a transcript or explained in docs/COMPATIBILITY.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The sections with how many rows each has; gotchas have numbers of their own.
const SECTIONS: &[(char, std::ops::RangeInclusive<u32>)] =
    &[('E', 1..=10), ('V', 1..=25), ('C', 1..=32), ('H', 1..=12), ('X', 1..=21), ('Q', 1..=11), ('B', 1..=26), ('F', 1..=8), ('G', 1..=18)];

/// Rows outside the ranges above.
const MORE: &[&str] = &[
    "X23", "Q13", "Q14", "Q24", "Q25", "Q26", "Q27", "Q28", "G26", "G27", "G28", "G29", "G30", "G31", "G32", "G34", "G35", "G36", "G37",
    "G38", "G39", "G40", "G41", "G42", "G43", "G44", "G45", "G46", "G47", "G48", "G49", "G50", "G51", "G52", "G53", "G54", "G55", "G56",
    "G57", "G58", "G59", "G60", "G61", "G62", "G63", "G64", "G65", "G66", "G67", "G68", "G69", "G73", "G74", "G77", "G78",
];

fn is_row(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(|c| c.is_ascii_uppercase()) && !letters.as_str().is_empty() && letters.all(|c| c.is_ascii_digit())
}

fn shown_by_transcripts(folder: &Path, rows: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the transcripts") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            shown_by_transcripts(&path, rows);
            continue;
        }
        let text = fs::read_to_string(&path).expect("text");
        for title in text.lines().filter_map(|line| line.strip_prefix("=== ")) {
            rows.extend(title.split(' ').take_while(|word| is_row(word)).map(str::to_owned));
        }
    }
}

fn explained(rows: &mut BTreeSet<String>) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/COMPATIBILITY.md")).expect("docs/COMPATIBILITY.md");
    let (_, table) = text.split_once("## Rows without a transcript").expect("the table");
    for line in table.lines().filter(|line| line.starts_with("| ")) {
        let first = line.trim_start_matches("| ").split(" | ").next().unwrap_or_default();
        rows.extend(first.split(", ").filter(|word| is_row(word)).map(str::to_owned));
    }
}

#[test]
fn every_row_is_shown_or_explained() {
    let mut rows = BTreeSet::new();
    shown_by_transcripts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broker/scenarios"), &mut rows);
    explained(&mut rows);
    let wanted = SECTIONS.iter().flat_map(|(letter, numbers)| numbers.clone().map(move |n| format!("{letter}{n}")));
    let missing: Vec<String> = wanted.chain(MORE.iter().map(|row| (*row).to_owned())).filter(|row| !rows.contains(row)).collect();
    assert!(missing.is_empty(), "neither shown nor explained: {}", missing.join(" "));
}
