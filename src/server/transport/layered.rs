//! A socket under a layer that changes what goes over it: TLS, or the frames of WebSocket.
//!
//! Several threads write, and the connection's own one reads, so what the layer knows is behind a lock. It is held while bytes are
//! encrypted and handed to the socket, or decrypted, never while anything is waited for.

use std::cell::RefCell;
use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::ReadBuf;

use super::Socket;
use crate::server::outbox::{keep_buffer, spare_buffer};

/// What one read takes from the socket at most, in bytes: others have to wait for the layer while it is decrypted.
const READ_SIZE: usize = 64 * 1024;
/// What a read can bring at most, in bytes: a layer may have held back a record that was not complete.
pub(in crate::server) const ROOM: usize = READ_SIZE + 32 * 1024;

thread_local! {
    static RECEIVED: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
}

/// Changes what goes over a socket, without touching it.
pub(in crate::server) trait Layer: Debug + Send {
    /// Takes all of what was received. What it says is put into `clear`, which has room for it; what has to be answered is added
    /// to `out`.
    ///
    /// # Errors
    /// What was received is not what it should be. What is in `clear` and `out` counts nevertheless.
    fn open(&mut self, received: &[u8], clear: &mut ReadBuf<'_>, out: &mut Vec<u8>) -> io::Result<Opened>;

    /// Adds to `out` what carries this, and returns how many bytes of it that is: as many as make sense at once. 0: nothing can be
    /// carried before the peer has said more.
    ///
    /// # Errors
    /// Nothing can be carried any more.
    fn seal(&mut self, clear: &[IoSlice<'_>], out: &mut Vec<u8>) -> io::Result<usize>;

    /// Adds to `out` what tells the peer that nothing more comes.
    fn close(&mut self, out: &mut Vec<u8>);

    fn tls(&self) -> Option<&rustls::ServerConnection> {
        None
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Opened {
    Goes,
    /// The peer has said that nothing more comes.
    Ended,
}

#[derive(Debug)]
pub(in crate::server) struct Layered {
    socket: Socket,
    inside: Mutex<Inside>,
    /// Bytes in `out`, to be looked at without the lock.
    unsent: AtomicUsize,
}

#[derive(Debug)]
struct Inside {
    layer: Box<dyn Layer>,
    /// What goes to the socket.
    out: Vec<u8>,
    /// Bytes of it that are written already.
    written: usize,
    /// What the reads after the last that brought something return.
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    Closed,
    Failed(io::ErrorKind, String),
}

impl Layered {
    pub(super) fn new(socket: Socket, layer: Box<dyn Layer>) -> Self {
        Self { socket, inside: Mutex::new(Inside { layer, out: Vec::new(), written: 0, end: None }), unsent: AtomicUsize::new(0) }
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) fn unsent(&self) -> usize {
        self.unsent.load(Ordering::Acquire)
    }

    pub(super) fn with_tls<T>(&self, look: impl FnOnce(&rustls::ServerConnection) -> T) -> Option<T> {
        self.inside.lock().layer.tls().map(look)
    }

    /// One read of the socket, of which nothing may be left for the client to have said: then there is something to be waited for.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(end) = &self.inside.lock().end {
            return end.outcome();
        }
        RECEIVED.with_borrow_mut(|received| {
            let n = self.socket.try_read(received)?;
            if n == 0 {
                return Ok(0);
            }
            let mut inside = self.inside.lock();
            let mut clear = ReadBuf::new(buffer);
            let outcome = inside.open(&received[..n], &mut clear);
            // Also when it has failed: an alert says why.
            let sent = self.send(&mut inside);
            inside.end = match (outcome, sent) {
                (Err(error), _) => Some(End::Failed(error.kind(), error.to_string())),
                (Ok(Opened::Ended), _) => Some(End::Closed),
                (Ok(Opened::Goes), Err(error)) if error.kind() != io::ErrorKind::WouldBlock => {
                    Some(End::Failed(error.kind(), error.to_string()))
                }
                (Ok(Opened::Goes), _) => None,
            };
            match (clear.filled().len(), &inside.end) {
                (0, Some(end)) => end.outcome(),
                (0, None) => Err(io::ErrorKind::WouldBlock.into()),
                (n, _) => Ok(n),
            }
        })
    }

    /// Takes bytes only when the socket has taken everything before them: what is sealed and not sent is bounded by what the layer
    /// seals at once.
    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut inside = self.inside.lock();
        self.send(&mut inside)?;
        let taken = inside.seal(slices)?;
        match self.send(&mut inside) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ if taken == 0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(taken),
        }
    }

    pub(super) fn try_flush(&self) -> io::Result<()> {
        self.send(&mut self.inside.lock())
    }

    pub(super) fn close(&self) {
        let mut inside = self.inside.lock();
        let Inside { layer, out, end, .. } = &mut *inside;
        // Where it has failed, the peer was told so.
        if !matches!(end, Some(End::Failed(..))) {
            layer.close(out);
        }
        // What is left now is waited for by whoever closes.
        let _ = self.send(&mut inside);
    }

    /// Writes what was sealed until it is out or the socket takes no more.
    fn send(&self, inside: &mut Inside) -> io::Result<()> {
        let mut outcome = Ok(());
        while inside.written < inside.out.len() {
            match self.socket.try_write(&inside.out[inside.written..]) {
                Ok(n) => inside.written += n,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        if inside.written == inside.out.len() && inside.out.capacity() > 0 {
            inside.written = 0;
            keep_buffer(std::mem::take(&mut inside.out));
        }
        self.unsent.store(inside.out.len() - inside.written, Ordering::Release);
        outcome
    }
}

impl Inside {
    fn open(&mut self, received: &[u8], clear: &mut ReadBuf<'_>) -> io::Result<Opened> {
        self.layer.open(received, clear, &mut self.out)
    }

    fn seal(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.out.capacity() == 0 {
            self.out = spare_buffer().unwrap_or_default();
        }
        self.layer.seal(slices, &mut self.out)
    }
}

impl End {
    fn outcome(&self) -> io::Result<usize> {
        match self {
            Self::Closed => Ok(0),
            Self::Failed(kind, why) => Err(io::Error::new(*kind, why.clone())),
        }
    }
}
