//! TLS: certificates from files, which are read again at SIGHUP, or made for development.

pub(super) mod der;
mod development;
mod layer;
mod outgoing;
mod peer;
mod x509;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::sync::watch;

use super::listener::{HTTPS, HTTPS_PROMETHEUS};
use crate::config::{Config, Tls as Options, TlsVersion};

pub(super) use layer::Tls;
pub(crate) use outgoing::client_config;
pub use peer::Secured;

/// Why TLS cannot be served; one line for a person.
#[derive(Debug)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// Where what something is served with over TLS comes from.
#[derive(Clone, Debug)]
pub struct Source {
    options: Options,
    /// For certificates that are made for development.
    directory: PathBuf,
    /// How the keys of the options begin.
    keys: &'static str,
}

impl Source {
    fn amqp(config: &Config) -> Self {
        Self { options: config.tls.clone(), directory: directory(config), keys: "ssl_options" }
    }

    /// For a listener of this protocol.
    #[must_use]
    pub fn of(protocol: &str, config: &Config) -> Self {
        match protocol {
            HTTPS => Self::https(config),
            HTTPS_PROMETHEUS => Self::prometheus(config),
            _ => Self::amqp(config),
        }
    }

    /// For the metrics.
    #[must_use]
    pub fn prometheus(config: &Config) -> Self {
        Self { options: config.prometheus_options(), directory: directory(config), keys: "prometheus.ssl" }
    }

    /// For the HTTP API.
    #[must_use]
    pub fn https(config: &Config) -> Self {
        Self { options: config.https_options(), directory: directory(config), keys: "management.ssl" }
    }

    fn named<'a>(&self, option: &str, path: Option<&'a PathBuf>) -> Result<&'a PathBuf, TlsError> {
        path.ok_or_else(|| TlsError(format!("TLS needs {}.{option}, or --tls auto for a development certificate", self.keys)))
    }
}

/// What TLS is served with: the certificates are read anew at each call.
///
/// # Errors
/// Files that are missing or not what they should be, and options that contradict each other.
fn server_config(source: &Source) -> Result<Arc<ServerConfig>, TlsError> {
    let options = &source.options;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let authorities = options.cacertfile.as_deref().map_or(Ok(Vec::new()), certificates)?;
    let (mut chain, key) = if options.auto {
        let development = development::certificate(&source.directory)?;
        (certificates(&development.certificate)?, private_key(&development.key)?)
    } else {
        let certfile = source.named("certfile", options.certfile.as_ref())?;
        (certificates(certfile)?, private_key(source.named("keyfile", options.keyfile.as_ref())?)?)
    };
    complete(&mut chain, &authorities);
    let refused = |error: rustls::Error| TlsError(format!("TLS: {error}"));
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&versions(options)).map_err(refused)?;
    let builder = match verifier(source, authorities, provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let config = builder.with_single_cert(chain, key).map_err(refused)?;
    Ok(Arc::new(config))
}

/// Until when certificates are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    pub certfile: PathBuf,
    pub certificates: Vec<End>,
    pub cacertfile: Option<PathBuf>,
    pub authorities: Vec<End>,
}

/// The end of a certificate's validity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Since 1970, in seconds.
    pub unix_seconds: i64,
    /// As in ISO 8601.
    pub text: String,
}

/// Until when the certificates in the files are valid.
///
/// # Errors
/// Files that are missing, or no certificates.
pub fn validity(source: &Source) -> Result<Validity, TlsError> {
    let options = &source.options;
    let certfile = if options.auto {
        development::certificate(&source.directory)?.certificate
    } else {
        source.named("certfile", options.certfile.as_ref())?.clone()
    };
    let cacertfile = options.cacertfile.clone();
    let authorities = cacertfile.as_deref().map_or(Ok(Vec::new()), ends)?;
    Ok(Validity { certificates: ends(&certfile)?, certfile, authorities, cacertfile })
}

/// The versions of TLS that can be spoken, by RabbitMQ's names.
#[must_use]
pub fn supported_versions() -> [&'static str; 2] {
    ["tlsv1.3", "tlsv1.2"]
}

/// The cipher suites that it is spoken with, by OpenSSL's names, the preferred ones first.
#[must_use]
pub fn cipher_suites() -> Vec<String> {
    let suites = rustls::crypto::ring::default_provider().cipher_suites;
    suites.iter().filter_map(|suite| suite.suite().as_str()).map(openssl_name).collect()
}

/// `TLS13_AES_256_GCM_SHA384` is `TLS_AES_256_GCM_SHA384`, and what came before is as in `ECDHE-RSA-AES256-GCM-SHA384`.
fn openssl_name(name: &str) -> String {
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => {
            let short = name.trim_start_matches("TLS_").replace("_WITH", "").replace("AES_128", "AES128").replace("AES_256", "AES256");
            // Here OpenSSL leaves out the hash, of which there is one.
            short.trim_end_matches(if short.contains("CHACHA20") { "_SHA256" } else { "" }).replace('_', "-")
        }
    }
}

fn ends(path: &Path) -> Result<Vec<End>, TlsError> {
    let end = |der: &CertificateDer<'_>| {
        let not_after = x509::Certificate::parse(der)?.not_after;
        Some(End { unix_seconds: not_after.unix_seconds(), text: not_after.to_string() })
    };
    Ok(certificates(path)?.iter().filter_map(end).collect())
}

/// Where certificates for development are kept.
#[must_use]
pub fn directory(config: &Config) -> PathBuf {
    config.data_dir.as_ref().map_or_else(development::shared_directory, |dir| dir.join("tls"))
}

fn versions(options: &Options) -> Vec<&'static SupportedProtocolVersion> {
    let wanted = |version| options.versions.is_empty() || options.versions.values().any(|other| *other == version);
    let all = [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)];
    all.into_iter().filter(|(version, _)| wanted(*version)).map(|(_, supported)| supported).collect()
}

/// Adds the authorities between the certificate and a root, as far as they are known: RabbitMQ takes them from the same file.
fn complete(chain: &mut Vec<CertificateDer<'static>>, authorities: &[CertificateDer<'static>]) {
    for _ in authorities {
        let Some(last) = chain.last().and_then(|last| x509::Certificate::parse(last)) else { return };
        let signed_it = authorities.iter().find(|authority| {
            let authority = x509::Certificate::parse(authority);
            authority.is_some_and(|authority| authority.subject == last.issuer && authority.issuer != authority.subject)
        });
        let Some(next) = signed_it else { return };
        chain.push(next.clone());
    }
}

/// Who looks at clients' certificates; `None` when they are not asked for one.
fn verifier(
    source: &Source,
    authorities: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let Source { options, keys, .. } = source;
    if !options.verify_peer {
        if options.fail_if_no_peer_cert {
            return Err(TlsError(format!("{keys}.fail_if_no_peer_cert = true needs {keys}.verify = verify_peer")));
        }
        return Ok(None);
    }
    let Some(path) = &options.cacertfile else {
        return Err(TlsError(format!("{keys}.verify = verify_peer needs {keys}.cacertfile")));
    };
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| TlsError(format!("{}: {error}", path.display())))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if options.fail_if_no_peer_cert { builder } else { builder.allow_unauthenticated() };
    builder.build().map(Some).map_err(|error| TlsError(format!("{}: {error}", path.display())))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError(format!("{}: {error}", path.display())))
}

pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsError(format!("{}: no certificate in PEM", path.display()))),
        Ok(found) => Ok(found),
        Err(error) => Err(TlsError(format!("{}: {error}", path.display()))),
    }
}

pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read(path)?;
    // In the name of the section, or in a line of it, after which comes no key.
    if pem.windows(9).any(|word| word == b"ENCRYPTED") {
        let why = "the key is encrypted, which leveret does not read: `openssl pkey -in FILE -out NEW` takes the password off";
        return Err(TlsError(format!("{}: {why}", path.display())));
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => TlsError(format!("{}: no private key in PEM", path.display())),
        error => TlsError(format!("{}: {error}", path.display())),
    })
}

/// What new connections are served with.
#[derive(Debug)]
pub struct Certificates {
    source: Source,
    current: RwLock<Arc<ServerConfig>>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// Files that are missing or not what they should be, options that contradict each other.
    pub fn read(source: Source) -> Result<Arc<Self>, TlsError> {
        let current = RwLock::new(server_config(&source)?);
        Ok(Arc::new(Self { source, current }))
    }

    pub(super) fn for_amqp(config: &Config) -> Result<Arc<Self>, TlsError> {
        Self::read(Source::amqp(config))
    }

    /// What holds for who connects now.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read())
    }

    /// Reads the files again whenever the node is told to. Files that are refused change nothing.
    pub(super) async fn reload(self: Arc<Self>, mut told: watch::Receiver<()>) {
        while told.changed().await.is_ok() {
            match server_config(&self.source) {
                Ok(next) => {
                    *self.current.write() = next;
                    tracing::info!("certificates loaded again");
                }
                Err(error) => tracing::error!("certificates not loaded, what was loaded before stays: {error}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cipher_suites_have_the_names_of_openssl() {
        for (name, known) in [
            ("TLS13_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
            ("TLS13_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
            ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ] {
            assert_eq!(openssl_name(name), known);
        }
        assert_eq!(cipher_suites().len(), 9);
    }
}
