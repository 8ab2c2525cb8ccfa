//! A shovel's connections: to other brokers over TCP or TLS, and to the node itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::tls;
use crate::broker::INTERNAL_USER;
use crate::client::uri::Uri;
use crate::client::{Connection, Options};
use crate::node::identity::{Authority, Identity};
use crate::server::Handle;

/// Connects to the first of these that lets it, from `at` on, and leaves there which it was.
///
/// # Errors
/// What each of them had against it, without passwords.
pub(super) async fn first(uris: &[Uri], at: &mut usize, name: &str, handle: &Handle) -> Result<Connection, String> {
    let mut refusals = Vec::new();
    for _ in 0..uris.len() {
        let Some(uri) = uris.get(*at % uris.len()) else { break };
        match connect(uri, name, handle).await {
            Ok(connection) => return Ok(connection),
            Err(why) => refusals.push(format!("{uri}: {why}")),
        }
        *at = (*at + 1) % uris.len();
    }
    Err(refusals.join("; "))
}

async fn connect(uri: &Uri, name: &str, handle: &Handle) -> Result<Connection, String> {
    let opened = async {
        match &uri.host {
            Some(host) => remote(uri, host, name).await,
            None => local(uri, name, handle).await,
        }
    };
    let patience = Duration::from_millis(uri.connection_timeout_ms);
    timeout(patience, opened).await.unwrap_or_else(|_| Err(format!("not connected in {} ms", patience.as_millis())))
}

async fn remote(uri: &Uri, host: &str, name: &str) -> Result<Connection, String> {
    let options = uri.options().map_err(|error| error.to_string())?.named(name);
    let stream = TcpStream::connect((host, uri.port)).await.map_err(|error| error.to_string())?;
    let _ = stream.set_nodelay(true);
    let opened = match &uri.tls {
        None => Connection::open(stream, options).await,
        Some(options_of_tls) => {
            let stream = tls::connect(stream, options_of_tls, host).await?;
            Connection::open(stream, options).await
        }
    };
    opened.map_err(|error| error.to_string())
}

/// Without a user nobody logs in, and everything is permitted: who defined the shovel was asked about the virtual host.
async fn local(uri: &Uri, name: &str, handle: &Handle) -> Result<Connection, String> {
    let node = handle.node();
    let (identity, may_everything) = match &uri.user {
        None => (Identity::elsewhere(&node, INTERNAL_USER, Vec::new(), Authority::Node), true),
        Some(user) => {
            let known = match &uri.password {
                Some(password) => node.login(user, password.as_bytes(), true),
                None => node.user(user),
            };
            let known = known.ok_or_else(|| format!("user '{user}' - invalid credentials"))?;
            (Identity::of_node(Arc::clone(known)), false)
        }
    };
    let stream = handle.connect(identity, may_everything).map_err(|error| error.to_string())?;
    let options = Options { heartbeat_s: 0, ..Options::with_mechanism("PLAIN", Vec::new(), &uri.vhost) };
    Connection::open(stream, options.named(name)).await.map_err(|error| error.to_string())
}
