//! TLS as a layer over a socket: rustls, which touches no socket itself.

use std::io::{self, IoSlice};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};
use tokio::io::ReadBuf;

use crate::server::transport::{Layer, Opened};

/// Bytes that are encrypted at once, and thus wait encrypted at most, beside what is added to every 16 KiB.
const SEALED_AT_ONCE: usize = 128 * 1024;

#[derive(Debug)]
pub(in crate::server) struct Tls(ServerConnection);

impl Tls {
    /// # Errors
    /// Settings under which nothing can be agreed on.
    pub(in crate::server) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let mut session = ServerConnection::new(config)?;
        session.set_buffer_limit(Some(SEALED_AT_ONCE));
        Ok(Self(session))
    }

    /// Hands out the records that are there.
    fn hand_out(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        while self.0.wants_write() {
            self.0.write_tls(out)?;
        }
        Ok(())
    }
}

impl Layer for Tls {
    fn open(&mut self, mut received: &[u8], clear: &mut ReadBuf<'_>, out: &mut Vec<u8>) -> io::Result<Opened> {
        while !received.is_empty() {
            // This takes a few KiB at a time.
            self.0.read_tls(&mut received)?;
            let state = self.0.process_new_packets();
            self.hand_out(out)?;
            let state = state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let n = io::Read::read(&mut self.0.reader(), clear.initialize_unfilled())?;
                if n == 0 {
                    return Err(io::Error::other("a read without room for what it brings"));
                }
                clear.advance(n);
                left -= n;
            }
            if state.peer_has_closed() {
                return Ok(Opened::Ended);
            }
        }
        Ok(Opened::Goes)
    }

    fn seal(&mut self, clear: &[IoSlice<'_>], out: &mut Vec<u8>) -> io::Result<usize> {
        let n = io::Write::write_vectored(&mut self.0.writer(), clear)?;
        self.hand_out(out)?;
        Ok(n)
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        self.0.send_close_notify();
        // Into memory, which does not fail.
        let _ = self.hand_out(out);
    }

    fn tls(&self) -> Option<&ServerConnection> {
        Some(&self.0)
    }
}
