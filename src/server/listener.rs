//! Accepting connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;

use super::{Shell, connection};

/// Accepts for as long as the node runs.
pub(super) async fn accept(listener: TcpListener, shell: Arc<Shell>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if shell.stopping.load(Ordering::SeqCst) {
                    continue;
                }
                shell.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(connection::serve(stream, peer, Arc::clone(&shell)));
            }
            Err(error) => {
                // Out of file descriptors, mostly: trying again at once would only burn a core.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
