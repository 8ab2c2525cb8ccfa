//! How bytes travel between a client and its connection: for now, over a socket as it is.
//!
//! Nothing here waits, beside [`Transport::ready`]: whoever has output writes it at once, and what is not taken is tried again when
//! the socket is writable. A socket as it is costs nothing: every call is its system call.

pub(super) mod proxy;
mod socket;

use std::io::{self, IoSlice};

use tokio::io::{Interest, Ready};

pub(super) use socket::Socket;

#[derive(Debug)]
pub(super) enum Transport {
    Plain(Socket),
}

impl Transport {
    pub(super) fn socket(&self) -> &Socket {
        let Self::Plain(socket) = self;
        socket
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.socket().ready(interest).await
    }

    /// Reads what there is; 0 is the end.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self::Plain(socket) = self;
        socket.try_read(buffer)
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let Self::Plain(socket) = self;
        socket.try_write(bytes)
    }

    pub(super) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Self::Plain(socket) = self;
        socket.try_write_vectored(slices)
    }

    /// Says that nothing more comes, and closes this side of the socket.
    pub(super) fn say_no_more(&self) -> io::Result<()> {
        self.socket().shutdown_write()
    }
}
