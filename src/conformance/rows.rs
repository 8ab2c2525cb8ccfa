//! The rows of the specification that titles of scenarios begin with, and what they are about.

/// A letter for each part of the specification, in the order of the table.
pub(crate) const SECTIONS: [(char, &str); 12] = [
    ('C', "Connections"),
    ('H', "Channels"),
    ('X', "Exchanges and bindings"),
    ('Q', "Queues"),
    ('D', "Time to live, dead-lettering"),
    ('B', "basic.*"),
    ('F', "Confirms and transactions"),
    ('P', "Policies, users, permissions, limits"),
    ('O', "Operations"),
    ('E', "Errors"),
    ('V', "What depends on the release"),
    ('G', "Gotchas"),
];

/// What a row is about.
pub(crate) fn name(row: &str) -> Option<&'static str> {
    let mut rows = include_str!("rows.txt").lines().filter_map(|line| line.split_once(' '));
    rows.find(|(id, _)| *id == row).map(|(_, name)| name)
}

/// Splits a title: `Q13 G17 drop-head drops …`.
pub(crate) fn split(title: &str) -> (Vec<&str>, &str) {
    let mut rows = Vec::new();
    let mut rest = title;
    while let Some((word, after)) = rest.split_once(' ')
        && is_row(word)
    {
        rows.push(word);
        rest = after;
    }
    (rows, rest)
}

pub(crate) fn is_row(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(|letter| letter.is_ascii_uppercase())
        && !letters.as_str().is_empty()
        && letters.all(|letter| letter.is_ascii_digit())
}

/// The place of a row in the table: its section, then its number.
pub(crate) fn place(row: &str) -> (usize, u32) {
    let section = SECTIONS.iter().position(|(letter, _)| row.starts_with(*letter)).unwrap_or(SECTIONS.len());
    (section, row.get(1..).and_then(|number| number.parse().ok()).unwrap_or(0))
}
