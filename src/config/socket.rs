//! What sockets are told when they are opened.

/// Options of the sockets of AMQP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Connections that wait to be accepted.
    pub backlog: u32,
    /// Small segments are not held back.
    pub nodelay: bool,
    /// The system looks whether a silent peer is still there.
    pub keepalive: bool,
    /// Bytes of the system's buffers; `None`: as it sees fit.
    pub sndbuf: Option<u32>,
    pub recbuf: Option<u32>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self { backlog: 1024, nodelay: true, keepalive: false, sndbuf: None, recbuf: None }
    }
}
