//! What a text has to be like: exactly this, or a glob in which `*` stands for anything.

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    #[must_use]
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes time that grows with the product of both lengths at worst: after a mismatch only the last `*` takes more.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        let pattern = self.0.as_bytes();
        let (mut at, mut in_text) = (0, 0);
        let mut last_star: Option<(usize, usize)> = None;
        while in_text < text.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    last_star = Some((at, in_text));
                    at += 1;
                }
                Some(byte) if *byte == text[in_text] => {
                    at += 1;
                    in_text += 1;
                }
                _ => {
                    let Some((star, taken)) = last_star else { return false };
                    last_star = Some((star, taken + 1));
                    (at, in_text) = (star + 1, taken + 1);
                }
            }
        }
        pattern[at..].iter().all(|byte| *byte == b'*')
    }
}

impl From<&str> for Pattern {
    fn from(pattern: &str) -> Self {
        Self::new(pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("orders", "orders", true),
            ("orders", "orders.eu", false),
            ("*", "", true),
            ("*", "anything", true),
            ("orders.*", "orders.eu", true),
            ("orders.*", "orders.", true),
            ("orders.*", "orders", false),
            ("*.eu", "orders.eu", true),
            ("*.eu", "orders.eu.west", false),
            ("o*r*s", "orders", true),
            ("a*b*c", "a-b-b-d", false),
            ("*aab", "aaaab", true),
            ("**", "x", true),
            ("a.b", "aXb", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text.as_bytes()), expected, "{pattern} and {text}");
        }
        let hard = Pattern::new("a*".repeat(50));
        assert!(!hard.matches("b".repeat(10_000).as_bytes()));
    }
}
