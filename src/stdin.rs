//! The end of standard input, for brokers that are to end with the process that has started them: the system closes its end of the pipe,
//! however it dies.

use std::io::{self, Read};
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
        read_to_end(&mut io::stdin().lock());
        drop(sender);
    })?;
    Ok(async move {
        let _ = receiver.await;
    })
}

/// What it says is of no interest.
fn read_to_end(input: &mut impl Read) {
    let mut ignored = [0; 1024];
    loop {
        match input.read(&mut ignored) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
}
