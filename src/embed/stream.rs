//! Connections within the process: a pair of sockets, of which the broker serves one end as it serves any client.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::server::Handle;

/// Makes connections to a broker in this process, also for a client library that connects again by itself. Cheap to clone; it does
/// not keep the broker running.
#[derive(Clone, Debug)]
pub struct Connector(pub(super) Handle);

impl Connector {
    /// A connection without a network: what is written here, the broker reads, and the other way round. It begins like any
    /// other, with the protocol header and a password.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionRefused`] once the broker has stopped; when there can be no more sockets.
    ///
    /// # Panics
    /// Outside a tokio runtime. It need not be the one that the broker runs on.
    pub fn connect(&self) -> io::Result<Stream> {
        let stream = self.0.admit()?;
        UnixStream::from_std(stream).map(Stream)
    }
}

/// The client's end of a connection within the process.
#[derive(Debug)]
pub struct Stream(UnixStream);

impl Stream {
    /// The same socket under the type that some clients insist on, lapin among them. Reading, writing and closing are all that it
    /// can do: it has no address, and no options of TCP.
    ///
    /// # Errors
    /// The system's, when the socket cannot be watched under its new type.
    pub fn into_tcp(self) -> io::Result<TcpStream> {
        let socket = OwnedFd::from(self.0.into_std()?);
        TcpStream::from_std(socket.into())
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
