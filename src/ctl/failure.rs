//! How a command fails: what it says, and the exit code, which RabbitMQ's tools take from sysexits.h.

/// The command was not used rightly.
pub(super) const USAGE: u8 = 64;
/// What it was given is no good.
pub(super) const DATA: u8 = 65;
pub(super) const NO_USER: u8 = 67;
/// The node is not there, or does not do it.
pub(super) const UNAVAILABLE: u8 = 69;
/// The node cannot do it.
pub(super) const SOFTWARE: u8 = 70;
/// A file cannot be written.
pub(super) const CANNOT_CREATE: u8 = 73;
/// It took too long.
pub(super) const TIMEOUT: u8 = 75;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: u8,
    /// For standard error.
    pub(super) text: String,
    /// Whether how the command is used is said, too.
    pub(super) with_usage: bool,
}

impl Failure {
    /// The whole text.
    pub(super) fn plain(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), with_usage: false }
    }

    /// Below RabbitMQ's heading.
    pub(super) fn error(code: u8, text: impl std::fmt::Display) -> Self {
        Self::plain(code, format!("Error:\n{text}"))
    }

    /// Arguments that are refused before anybody is asked.
    pub(super) fn arguments(code: u8, text: impl std::fmt::Display) -> Self {
        Self { code, text: format!("Error (argument validation): {text}"), with_usage: true }
    }

    pub(super) fn bad_argument(text: impl std::fmt::Display) -> Self {
        Self::arguments(DATA, format!("Bad argument: {text}"))
    }

    pub(super) fn bad_arguments() -> Self {
        Self::arguments(DATA, "Bad argument.")
    }

    pub(super) fn no_vhost(name: &str) -> Self {
        Self::plain(DATA, format!("Virtual host '{name}' does not exist"))
    }

    pub(super) fn no_user(name: &str) -> Self {
        Self::error(NO_USER, format!("User \"{name}\" does not exist"))
    }

    pub(super) fn no_parameter() -> Self {
        Self::error(UNAVAILABLE, "Parameter does not exist")
    }

    pub(super) fn no_json() -> Self {
        Self::error(UNAVAILABLE, "JSON decoding error. Reason: badarg")
    }
}
