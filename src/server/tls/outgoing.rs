//! TLS where the node is the client: with authorities from a file, with those of the system, or without a look at the server's
//! certificate.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{TlsError, certificates, private_key};
use crate::config::ClientTls;

/// Where systems have the authorities that they trust.
const OF_SYSTEMS: &[&str] =
    &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"];

/// # Errors
/// Files that are missing or not what they should be, no authorities at all.
pub(crate) fn client_config(options: &ClientTls) -> Result<ClientConfig, TlsError> {
    let refused = |error: rustls::Error| TlsError(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().map_err(refused)?;
    let builder = match &options.cacertfile {
        _ if !options.verify => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        Some(path) => builder.with_root_certificates(authorities(path)?),
        None => builder.with_root_certificates(authorities_of_system()?),
    };
    match (&options.certfile, &options.keyfile) {
        (Some(certificate), Some(key)) => builder.with_client_auth_cert(certificates(certificate)?, private_key(key)?).map_err(refused),
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(TlsError("of certfile and keyfile there is only one".to_owned())),
    }
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(path)? {
        roots.add(authority).map_err(|error| TlsError(format!("{}: {error}", path.display())))?;
    }
    Ok(roots)
}

fn authorities_of_system() -> Result<RootCertStore, TlsError> {
    let path = OF_SYSTEMS.iter().map(Path::new).find(|path| path.exists());
    let path = path.ok_or_else(|| TlsError("the system has no file of authorities: set cacertfile".to_owned()))?;
    let mut roots = RootCertStore::empty();
    // Some of many may be of a kind that is not known.
    roots.add_parsable_certificates(certificates(path)?);
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
