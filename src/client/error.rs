//! What ends a connection or a channel, and what is refused before anything is sent.

use std::sync::Arc;

use crate::amqp::ChannelNumber;

/// Why something was not done. Whoever waits for a channel or connection when it ends gets the same error.
#[derive(Clone, Debug)]
pub enum Error {
    /// A channel or connection was closed.
    Closed {
        by_server: bool,
        /// A reply code: 200 when nothing was wrong.
        code: u16,
        text: String,
        /// What the server blames; 0, 0 where it blames no method.
        class: u16,
        method: u16,
        /// `None`: the whole connection.
        channel: Option<ChannelNumber>,
    },
    /// The stream failed, or the peer has gone silent.
    Io(Arc<std::io::Error>),
    /// The peer broke the protocol, or what was asked for cannot be said in it.
    Protocol(String),
    /// The handshake came to nothing.
    Refused(String),
}

impl Error {
    /// Closed by us, with nothing wrong.
    pub(super) fn closed(channel: Option<ChannelNumber>) -> Self {
        let what = if channel.is_some() { "channel" } else { "connection" };
        Self::Closed { by_server: false, code: 200, text: format!("the {what} has been closed"), class: 0, method: 0, channel }
    }

    /// The reply code, for what was closed.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Closed { code, .. } => Some(*code),
            Self::Io(_) | Self::Protocol(_) | Self::Refused(_) => None,
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed { by_server: true, code, text, channel: Some(channel), .. } => {
                write!(f, "the server closed channel {channel}: {code} {text}")
            }
            Self::Closed { by_server: true, code, text, .. } => write!(f, "the server closed the connection: {code} {text}"),
            Self::Closed { text, .. } => f.write_str(text),
            Self::Io(error) => write!(f, "{error}"),
            Self::Protocol(text) => f.write_str(text),
            Self::Refused(text) => write!(f, "refused: {text}"),
        }
    }
}

impl std::error::Error for Error {}
