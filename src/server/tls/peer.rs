//! What a TLS session says of its client.

use rustls::pki_types::CertificateDer;
use rustls::{ProtocolVersion, ServerConnection};

use super::x509::{self, Certificate};
use crate::broker::{PeerCertificate, Ssl};
use crate::config::{LoginFrom, Tls as Options};

/// What TLS has agreed on with a client.
#[derive(Clone, Debug)]
pub struct Secured {
    pub(in crate::server) ssl: Box<Ssl>,
    /// The user that its certificate names, for EXTERNAL.
    pub(in crate::server) certificate_user: Option<String>,
}

impl Secured {
    /// Of a session that is open.
    #[must_use]
    pub fn by(session: &ServerConnection, options: &Options) -> Self {
        Self { ssl: Box::new(ssl(session)), certificate_user: login_name(session, options) }
    }
}

/// For those who watch the broker.
fn ssl(session: &ServerConnection) -> Ssl {
    let protocol = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "tlsv1.3",
        _ => "tlsv1.2",
    };
    let suite = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
    let (key_exchange, cipher) = cipher_suite(suite);
    // Every suite of rustls has authenticated encryption.
    Ssl { protocol, key_exchange, cipher, hash: "aead", certificate: peer(session).and_then(describe) }
}

/// TLS13_AES_256_GCM_SHA384, or TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, in Erlang's words.
fn cipher_suite(name: &str) -> (String, String) {
    let name = name.trim_start_matches("TLS13_").trim_start_matches("TLS_").to_ascii_lowercase();
    let (key_exchange, cipher) = name.split_once("_with_").unwrap_or(("any", &name));
    let cipher = cipher.rsplit_once('_').map_or(cipher, |(cipher, _hash)| cipher);
    (key_exchange.to_owned(), cipher.to_owned())
}

fn peer(session: &ServerConnection) -> Option<&CertificateDer<'static>> {
    session.peer_certificates()?.first()
}

fn describe(certificate: &CertificateDer<'_>) -> Option<PeerCertificate> {
    let certificate = Certificate::parse(certificate)?;
    Some(PeerCertificate {
        subject: x509::distinguished_name(certificate.subject),
        issuer: x509::distinguished_name(certificate.issuer),
        validity: format!("{} - {}", certificate.not_before, certificate.not_after),
    })
}

/// The name of the user that the client's certificate names; it was checked, or there would be none.
fn login_name(session: &ServerConnection, options: &Options) -> Option<String> {
    let certificate = Certificate::parse(peer(session)?)?;
    let name = match options.login_from {
        LoginFrom::DistinguishedName => x509::distinguished_name(certificate.subject),
        LoginFrom::CommonName => x509::common_names(certificate.subject).join(","),
        LoginFrom::SubjectAlternativeName => {
            certificate.alternative_names(options.san_type).into_iter().nth(options.san_index).unwrap_or_default()
        }
    };
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cipher_suites_are_named_as_erlang_does() {
        for (name, key_exchange, cipher) in [
            ("TLS13_AES_256_GCM_SHA384", "any", "aes_256_gcm"),
            ("TLS13_CHACHA20_POLY1305_SHA256", "any", "chacha20_poly1305"),
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ecdhe_rsa", "aes_128_gcm"),
        ] {
            assert_eq!(cipher_suite(name), (key_exchange.to_owned(), cipher.to_owned()), "{name}");
        }
    }
}
