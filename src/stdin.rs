//! The end of standard input, for brokers that are to end with the process that has started them: the system closes its end of the pipe,
//! however it dies.

use std::io;
use std::thread;

use tokio::sync::oneshot;

/// Reads standard input from now on; what it returns is done when there is no more of it, or when it cannot be read.
///
/// # Errors
/// When there can be no thread for it.
pub(crate) fn closed() -> io::Result<impl Future<Output = ()>> {
    let (sender, receiver) = oneshot::channel::<()>();
    // A thread of its own, which nobody waits for: the runtime would not end before a read of its own has.
    thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        // What it says is of no interest, nor whether it ends or fails.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(sender);
    })?;
    Ok(async move {
        let _ = receiver.await;
    })
}
