//! What a broker that tests are written against can do beside others. All of it is off unless asked for.

use std::path::PathBuf;

/// Whose time it is that messages and queues live in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockKind {
    /// The machine's.
    #[default]
    Real,
    /// Stands still until it is moved over /api/test.
    Virtual,
}

/// docs/TEST_API.md has the API that these turn on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Testing {
    /// Whether /api/test is there.
    pub api: bool,
    pub clock: ClockKind,
    /// Decides names that the broker makes, so that they are the same each time.
    pub seed: Option<u64>,
    /// Rules for faults, as JSON.
    pub faults: Option<PathBuf>,
    /// Groups of findings that make the process end with another exit code.
    pub fail_on: Vec<String>,
    /// Virtual hosts with such names are made when they are opened, and go with their last connection.
    pub vhosts: Option<String>,
    /// The virtual host that they begin as copies of.
    pub vhost_template: Option<String>,
}

impl Testing {
    /// Whether it is told what becomes of messages, and what clients do wrong.
    #[must_use]
    pub fn has_journal(&self) -> bool {
        self.api || !self.fail_on.is_empty()
    }
}
