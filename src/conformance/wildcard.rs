//! Expected lines that leave a part open.

/// An expected line with `…` in it stands for any text there: where it fits, it takes the place of the actual line.
pub(crate) fn keep_wildcards(expected: &[String], mut actual: Vec<String>) -> Vec<String> {
    for (actual, expected) in actual.iter_mut().zip(expected) {
        if expected.contains('…') && fits(expected, actual) {
            actual.clone_from(expected);
        }
    }
    actual
}

pub(crate) fn fits(expected: &str, actual: &str) -> bool {
    let mut parts = expected.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = actual.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}
