//! How bytes travel between a client and its connection: over a socket as it is, or through a layer that changes them.
//!
//! Nothing here waits, beside [`Transport::ready`]: whoever has output writes it at once, and what is not taken is tried again when
//! the socket is writable. A socket as it is costs nothing: every call is its system call.

mod layered;
pub(super) mod proxy;
mod socket;
mod websocket;

use std::io::{self, IoSlice};

use tokio::io::{Interest, Ready};

pub(super) use layered::{Layer, Layered, Opened, ROOM};
pub(super) use socket::Socket;
pub(super) use websocket::WebSocket;

#[derive(Debug)]
pub(super) enum Transport {
    Plain(Socket),
    Layered(Box<Layered>),
}

impl Transport {
    /// What the client sends goes through the layer, and so does what it is sent.
    pub(super) fn layered(socket: Socket, layer: Box<dyn Layer>) -> Self {
        Self::Layered(Box::new(Layered::new(socket, layer)))
    }

    pub(super) fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Layered(layered) => layered.socket(),
        }
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.socket().ready(interest).await
    }

    /// Reads what there is; 0 is the end. The buffer has [`ROOM`] bytes at least.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_read(buffer),
            Self::Layered(layered) => layered.try_read(buffer),
        }
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_write(bytes),
            Self::Layered(layered) => layered.try_write(&[IoSlice::new(bytes)]),
        }
    }

    pub(super) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_write_vectored(slices),
            Self::Layered(layered) => layered.try_write(slices),
        }
    }

    /// Bytes that were taken and that the socket has not taken yet.
    pub(super) fn unsent(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Layered(layered) => layered.unsent(),
        }
    }

    /// Writes of those what the socket takes now.
    pub(super) fn try_flush(&self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Layered(layered) => layered.try_flush(),
        }
    }

    /// Says that nothing more comes, and closes this side of the socket.
    pub(super) async fn say_no_more(&self) -> io::Result<()> {
        if let Self::Layered(layered) = self {
            layered.close();
            while layered.unsent() > 0 {
                layered.socket().ready(Interest::WRITABLE).await?;
                match layered.try_flush() {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    _ => {}
                }
            }
        }
        self.socket().shutdown_write()
    }

    /// The TLS session, where there is one.
    pub(super) fn with_tls<T>(&self, look: impl FnOnce(&rustls::ServerConnection) -> T) -> Option<T> {
        match self {
            Self::Plain(_) => None,
            Self::Layered(layered) => layered.with_tls(look),
        }
    }
}
