//! Prometheus' text format, version 0.0.4: a family of samples begins with its type and what it is about.

use std::fmt::Write;

/// What Prometheus makes of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only rises.
    Counter,
    Gauge,
    Histogram,
    Untyped,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Untyped => "untyped",
        }
    }
}

/// Names and values of labels.
pub(super) type Labels<'a> = [(&'a str, &'a str)];

/// Text that is being written.
#[derive(Debug, Default)]
pub(super) struct Text {
    out: String,
    /// The name of the family, with its prefix.
    family: String,
}

impl Text {
    /// Begins a family.
    pub(super) fn family(&mut self, prefix: &str, name: &str, kind: Kind, help: &str) {
        self.family.clear();
        self.family.extend([prefix, name]);
        let family = &self.family;
        for part in ["# TYPE ", family, " ", kind.name(), "\n# HELP ", family, " "] {
            self.out.push_str(part);
        }
        escape(&mut self.out, help, false);
        self.out.push('\n');
    }

    /// Adds a sample to the family.
    pub(super) fn sample(&mut self, labels: &Labels<'_>, value: u64) {
        self.labelled(labels);
        self.value(value);
    }

    /// Adds a sample of a part of the family, such as `_sum`.
    pub(super) fn part(&mut self, suffix: &str, labels: &Labels<'_>, value: u64) {
        let whole = self.family.len();
        self.family.push_str(suffix);
        self.sample(labels, value);
        self.family.truncate(whole);
    }

    /// Adds one with a value that need not be whole.
    pub(super) fn fraction(&mut self, labels: &Labels<'_>, value: f64) {
        self.labelled(labels);
        self.value(value);
    }

    fn value(&mut self, value: impl std::fmt::Display) {
        writeln!(self.out, " {value}").expect("a string takes all");
    }

    fn labelled(&mut self, labels: &Labels<'_>) {
        self.out.push_str(&self.family);
        for (index, (name, value)) in labels.iter().enumerate() {
            self.out.push(if index == 0 { '{' } else { ',' });
            self.out.extend([*name, "=\""]);
            escape(&mut self.out, value, true);
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.out)
    }
}

/// Writes a text so that it stays on its line, and in its quotes where it has some.
fn escape(out: &mut String, text: &str, quoted: bool) {
    let special = |c: char| c == '\\' || c == '\n' || quoted && c == '"';
    let mut rest = text;
    while let Some(at) = rest.find(special) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'\\' => "\\\\",
            b'\n' => "\\n",
            _ => "\\\"",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_label_does_not() {
        let mut text = Text::default();
        text.family("p_", "m", Kind::Gauge, "a \"b\" \\ c\nd");
        text.sample(&[("queue", "a\"b\\c\nd é"), ("vhost", "")], 1);
        text.fraction(&[], 0.25);
        let wanted = "# TYPE p_m gauge\n# HELP p_m a \"b\" \\\\ c\\nd\np_m{queue=\"a\\\"b\\\\c\\nd é\",vhost=\"\"} 1\np_m 0.25\n";
        assert_eq!(text.take(), wanted);
        assert_eq!(text.len(), 0);
    }
}
