//! What a node does beside serving AMQP: shovels, metrics, the HTTP API. The process and a broker in another program both have it from here.

use std::net::SocketAddr;

use crate::management::{BindError, HttpServer, bind, bind_metrics, bind_metrics_over_tls};
use crate::server::Handle;
use crate::shovel::Shovels;

#[derive(Debug)]
pub struct Services {
    handle: Handle,
    shovels: Shovels,
}

impl Services {
    /// Starts shovels, and serves metrics where the configuration says so.
    ///
    /// # Errors
    /// An address that cannot be bound.
    pub async fn start(handle: &Handle) -> Result<Self, BindError> {
        let shovels = Shovels::start(handle.clone());
        if let Some(address) = handle.config().prometheus {
            bind_metrics(handle.clone(), address).await?;
        }
        if let Some(address) = handle.config().prometheus_ssl_listener() {
            bind_metrics_over_tls(handle.clone(), address).await?;
        }
        Ok(Self { handle: handle.clone(), shovels })
    }

    /// Serves the HTTP API, over TLS as well where the configuration says so.
    ///
    /// # Errors
    /// An address that cannot be bound, certificates that cannot be served.
    pub async fn serve_http(&self, address: SocketAddr) -> Result<HttpServer, BindError> {
        bind(self.handle.clone(), self.shovels.clone(), address).await
    }

    /// Ends the shovels: what was confirmed is acknowledged, and their connections are closed. To be called before the node stops.
    pub async fn stop(&self) {
        self.shovels.stop().await;
    }
}
