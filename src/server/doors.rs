//! The listeners while the node runs: who looks after it closes them, and opens them again where they were.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::listener::{Entrance, Listener, Listening};
use super::{Shell, StartError};

/// All places where clients come in, open or not.
#[derive(Debug, Default)]
pub(super) struct Doors(tokio::sync::Mutex<Vec<Door>>);

#[derive(Debug)]
struct Door {
    listening: Listening,
    /// The socket, and who waits for clients there; `None` while it is closed.
    accepting: Option<(Arc<Entrance>, JoinHandle<()>)>,
}

impl Door {
    fn open(&mut self, listener: Listener, shell: &Arc<Shell>) {
        let entrance = Arc::clone(&listener.entrance);
        shell.entrances.lock().push(Arc::clone(&entrance));
        self.accepting = Some((entrance, shell.tasks.spawn(listener.accept(Arc::clone(shell)))));
    }

    /// When this returns, whoever connects is refused.
    fn close(&mut self, shell: &Shell) {
        if let Some((entrance, accepting)) = self.accepting.take() {
            entrance.close();
            accepting.abort();
            shell.entrances.lock().retain(|other| !Arc::ptr_eq(other, &entrance));
        }
    }
}

impl Shell {
    /// Has clients come in from now on.
    pub(super) async fn open_doors(self: &Arc<Self>, listeners: Vec<Listener>) {
        let mut doors = self.doors.0.lock().await;
        for listener in listeners {
            let listening = listener.listening.clone();
            self.listening.lock().push(listening.clone());
            let mut door = Door { listening, accepting: None };
            door.open(listener, self);
            doors.push(door);
        }
    }

    /// Closes the listeners, or opens them, whatever is to be the case now: one change after the other. Says how many there are.
    ///
    /// # Errors
    /// The first that could not be opened; the others are.
    pub(super) async fn settle_doors(self: &Arc<Self>) -> (usize, Result<(), StartError>) {
        let mut doors = self.doors.0.lock().await;
        let mut outcome = Ok(());
        for door in doors.iter_mut() {
            if self.controls.turns_away() {
                door.close(self);
            } else if door.accepting.is_none() {
                match Listener::again(&door.listening, &self.config.tcp_options).await {
                    Ok(listener) => door.open(listener, self),
                    Err(error) => {
                        tracing::error!("{error}");
                        outcome = outcome.and(Err(error));
                    }
                }
            }
        }
        (doors.len(), outcome)
    }
}
