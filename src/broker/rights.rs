//! What a user may do in one virtual host (behaviour P6, P7, P9, P11), and who says so.

use std::sync::Arc;

use fancy_regex::{Regex, RegexBuilder};

use super::Timestamp;
use super::grants::Grants;

/// How many steps back a pattern may take over one name; whoever names things must not hold up everybody else.
const MAX_BACKTRACKS: usize = 100_000;

/// Which names a permission covers: a regular expression that may match anywhere in the name.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: Arc<str>,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    All,
    /// Only a routing key can be empty; no queue or exchange has this name.
    EmptyName,
    Regex(Box<Regex>),
}

impl Pattern {
    /// From a regular expression; an empty one means `^$`.
    ///
    /// # Errors
    /// Why it is none.
    pub fn new(source: &str) -> Result<Self, String> {
        let form = match source {
            ".*" => Form::All,
            "" | "^$" => Form::EmptyName,
            source => {
                let regex = RegexBuilder::new(source).backtrack_limit(MAX_BACKTRACKS).build();
                Form::Regex(Box::new(regex.map_err(|error| error.to_string())?))
            }
        };
        Ok(Self { source: source.into(), form })
    }

    fn all() -> Self {
        Self { source: ".*".into(), form: Form::All }
    }

    fn none() -> Self {
        Self { source: "".into(), form: Form::EmptyName }
    }

    /// A pattern that takes too many steps over a name does not cover it.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        match &self.form {
            Form::All => true,
            Form::EmptyName => name.is_empty(),
            Form::Regex(regex) => regex.is_match(name).unwrap_or(false),
        }
    }

    /// As it was given.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// Which routing keys of a topic exchange a user may publish and bind with; variables such as `{username}` are filled in.
#[derive(Clone, Debug)]
pub struct TopicRights {
    pub exchange: Arc<str>,
    pub write: Pattern,
    pub read: Pattern,
}

/// Who says what a user may do.
#[derive(Clone, Debug, Default)]
pub enum Source {
    /// The node, by patterns.
    #[default]
    Node,
    /// The user's token.
    Token(Arc<Grants>),
    /// Somebody beside the broker, who is asked about each thing.
    Service,
}

/// All that a user may do in one virtual host.
#[derive(Clone, Debug)]
pub struct Rights {
    pub configure: Pattern,
    pub write: Pattern,
    pub read: Pattern,
    /// Any routing key may be used with topic exchanges that are not among these.
    pub topics: Vec<TopicRights>,
    /// May put another user's name into user_id (behaviour B4).
    pub impersonator: bool,
    /// How many channels the user's connections may have together.
    pub max_channels: Option<usize>,
    /// Where it is not the node, the patterns do not count.
    pub source: Source,
}

impl Rights {
    /// To do everything, except to be somebody else.
    #[must_use]
    pub fn all() -> Self {
        let all = Pattern::all;
        Self {
            configure: all(),
            write: all(),
            read: all(),
            topics: Vec::new(),
            impersonator: false,
            max_channels: None,
            source: Source::Node,
        }
    }

    /// To do nothing that needs a permission.
    #[must_use]
    pub fn none() -> Self {
        let none = Pattern::none;
        Self { configure: none(), write: none(), read: none(), ..Self::all() }
    }

    /// What somebody else says than the node.
    #[must_use]
    pub fn said_by(source: Source) -> Self {
        Self { source, ..Self::none() }
    }

    /// Until when they hold.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        match &self.source {
            Source::Token(grants) => grants.expires,
            Source::Node | Source::Service => Timestamp::NEVER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed<'a>(pattern: &str, names: &[&'a str]) -> Vec<&'a str> {
        let pattern = Pattern::new(pattern).expect("a regular expression");
        names.iter().copied().filter(|name| pattern.allows(name)).collect()
    }

    #[test]
    fn patterns_match_anywhere_unless_anchored() {
        let names = ["", "q", "my-q", "q\n", "Q"];
        assert_eq!(allowed(".*", &names), names);
        assert_eq!(allowed("q", &names), ["q", "my-q", "q\n"]);
        assert_eq!(allowed("^q", &names), ["q", "q\n"]);
        assert_eq!(allowed("(?i)^q$", &names), ["q", "Q"]);
        assert_eq!(allowed("^(?!my)", &names), ["", "q", "q\n", "Q"]);
    }

    /// Behaviour P6.
    #[test]
    fn an_empty_pattern_covers_no_name() {
        for pattern in ["", "^$"] {
            assert_eq!(allowed(pattern, &["q", "", "amq.default"]), [""]);
        }
    }

    #[test]
    fn what_is_no_regular_expression_is_refused() {
        assert!(Pattern::new("[").is_err());
        assert_eq!(Pattern::new("^a").map(|pattern| pattern.source().to_owned()), Ok("^a".to_owned()));
    }

    #[test]
    fn a_pattern_that_goes_back_too_often_covers_nothing() {
        let pattern = Pattern::new(r"^(a|aa|aaa)*\1b$").expect("a regular expression");
        assert!(pattern.allows("aaaab"));
        assert!(!pattern.allows(&format!("{}c", "a".repeat(60))), "it has no end in sight");
        assert!(!pattern.allows(&format!("{}b", "c".repeat(60))));
    }
}
