//! Which release's version-dependent behaviour a broker is held to.

use super::handshake::Server;
use super::suite::Transcript;

/// The releases by which transcripts are told apart; each stands for those up to the next one.
const RELEASES: [(&str, &str); 4] = [("3.13", "profile-3.13"), ("4.0", "profile-4.0"), ("4.1", "profile-4.0"), ("4.3", "profile-4.3")];

/// A release of RabbitMQ, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    /// What markers are compared with; empty for what no release differs from.
    version: String,
    folder: &'static str,
}

impl Release {
    /// 4.x that refuses nothing which is merely deprecated: what leveret is without a profile, and what others are held to.
    pub(crate) fn permissive() -> Self {
        Self { version: String::new(), folder: "" }
    }

    /// `3.13`, `4.0`, `4.1`, `4.3` or `permissive`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        if name == "permissive" {
            return Some(Self::permissive());
        }
        let (version, folder) = RELEASES.into_iter().find(|(release, _)| *release == name)?;
        Some(Self { version: version.to_owned(), folder })
    }

    /// The one that the broker says it is. leveret says 4.3 without a profile, too: what it permits tells.
    pub(crate) fn of(server: &Server, is_strict: bool) -> Self {
        if server.product != "RabbitMQ" || (server.is_leveret && server.version.starts_with("4.3.") && !is_strict) {
            return Self::permissive();
        }
        let release = match server.version.split('.').collect::<Vec<_>>().as_slice() {
            ["3", ..] => RELEASES[0],
            ["4", "0", ..] => RELEASES[1],
            ["4", "1" | "2", ..] => RELEASES[2],
            _ => RELEASES[3],
        };
        Self { version: server.version.clone(), folder: release.1 }
    }

    /// For people.
    pub(crate) fn name(&self) -> &str {
        if self.version.is_empty() { "permissive" } else { &self.version }
    }

    pub(crate) fn plays(&self, transcript: &Transcript) -> bool {
        transcript.folder().is_empty() || transcript.folder() == self.folder
    }

    /// What markers and variants of a scenario are compared with.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }
}

/// `3.10.8` and `3.10` match `3.10`; `3.1` does not.
pub(crate) fn matches(version: &str, marker: &str) -> bool {
    version.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
