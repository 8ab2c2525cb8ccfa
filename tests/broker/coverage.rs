//! Every row of the specification in scope is shown by a transcript or explained in docs/COMPATIBILITY.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The sections with how many rows each has; of O, only what clients see over AMQP. G are the gotchas.
const SECTIONS: &[(char, std::ops::RangeInclusive<u32>)] = &[
    ('E', 1..=10),
    ('V', 1..=25),
    ('C', 1..=32),
    ('H', 1..=12),
    ('X', 1..=24),
    ('Q', 1..=28),
    ('D', 1..=12),
    ('B', 1..=26),
    ('F', 1..=8),
    ('P', 1..=11),
    ('O', 11..=12),
    ('G', 1..=78),
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
    let missing: Vec<String> = wanted.filter(|row| !rows.contains(row)).collect();
    assert!(missing.is_empty(), "neither shown nor explained: {}", missing.join(" "));
}

/// What `leveret conformance` plays is what is tested here.
#[test]
fn the_transcripts_are_part_of_the_binary() {
    let mut expected: Vec<_> = ["", "profile-3.13", "profile-4.0", "profile-4.3"].into_iter().flat_map(crate::transcripts).collect();
    let mut embedded = leveret::conformance::Transcript::embedded();
    for transcripts in [&mut expected, &mut embedded] {
        transcripts.sort_by(|left, right| left.name.cmp(&right.name));
    }
    assert_eq!(embedded.len(), expected.len());
    for (embedded, expected) in embedded.iter().zip(&expected) {
        assert!(embedded == expected, "{} is not {}, or is another text", embedded.name, expected.name);
    }
}
