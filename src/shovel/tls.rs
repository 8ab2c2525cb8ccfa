//! TLS of `amqps:` URIs, as their parameters say: with authorities from a file, or without a look at the server's certificate.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::uri::{self, Tls};
use crate::config::ClientTls;
use crate::server::tls::client_config;

/// # Errors
/// Files that are not what they should be, parameters that say too little, a server that is not who it should be.
pub(super) async fn connect(stream: TcpStream, options: &Tls, host: &str) -> Result<TlsStream<TcpStream>, String> {
    let name = match &options.server_name_indication {
        Some(uri::ServerName::Named(name)) => name.clone(),
        Some(uri::ServerName::Disabled) | None => host.to_owned(),
    };
    let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
    let options = options.clone();
    let read = tokio::task::spawn_blocking(move || config(&options)).await;
    let config = read.map_err(|error| error.to_string())??;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| format!("TLS: {error}"))
}

fn config(options: &Tls) -> Result<ClientConfig, String> {
    let Tls { cacertfile, certfile, keyfile, .. } = options.clone();
    let verify = options.verify_peer != Some(false);
    if verify && cacertfile.is_none() {
        return Err("TLS needs cacertfile=… in the URI, or verify=verify_none".to_owned());
    }
    let mut config = client_config(&ClientTls { verify, cacertfile, certfile, keyfile }).map_err(|error| error.to_string())?;
    config.enable_sni = options.server_name_indication != Some(uri::ServerName::Disabled);
    Ok(config)
}
