//! The signals of the process, for who runs one broker and nothing else in it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Handle;

/// Catches SIGTERM and SIGINT from now on; what it returns is done when the process is asked to stop by one of them.
///
/// # Errors
/// When signals cannot be caught.
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// SIGHUP, which is caught from now on.
#[derive(Debug)]
pub struct Hangup(Signal);

impl Hangup {
    /// # Errors
    /// When signals cannot be caught.
    pub fn catch() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self).map_err(|error| io::Error::new(error.kind(), format!("cannot catch SIGHUP: {error}")))
    }

    /// From now on the node reads its files again whenever the process gets the signal, or has got it since it is caught.
    pub fn reloads(mut self, handle: &Handle) {
        let node = handle.clone();
        handle.spawn(async move {
            while self.0.recv().await.is_some() {
                node.reload();
            }
        });
    }
}
