//! TLS of `amqps:` URIs, as their parameters say: with authorities from a file, or without a look at the server's certificate.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::uri::{self, Tls};
use crate::server::tls::{certificates, private_key};

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
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let builder = if options.verify_peer == Some(false) {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        let path = options.cacertfile.as_deref().ok_or("TLS needs cacertfile=… in the URI, or verify=verify_none")?;
        builder.with_root_certificates(authorities(path)?)
    };
    let mut config = match (&options.certfile, &options.keyfile) {
        (Some(certificate), Some(key)) => {
            let read = certificates(certificate).and_then(|chain| Ok((chain, private_key(key)?)));
            let (chain, key) = read.map_err(|error| error.to_string())?;
            builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err("of certfile and keyfile there is only one".to_owned()),
    };
    config.enable_sni = options.server_name_indication != Some(uri::ServerName::Disabled);
    Ok(config)
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(path).map_err(|error| error.to_string())? {
        roots.add(authority).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(roots)
}

/// Takes any certificate (`verify=verify_none`), if its key is the server's.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _authorities: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
