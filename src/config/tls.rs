//! What TLS is served with, and where in a client's certificate its name is.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::Config;

const MECHANISMS: &[&str] = &["PLAIN", "AMQPLAIN", "EXTERNAL", "ANONYMOUS"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// Where in a client's certificate the name of the user is, for EXTERNAL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoginFrom {
    #[default]
    DistinguishedName,
    CommonName,
    SubjectAlternativeName,
}

/// A kind of subject alternative name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SanType {
    #[default]
    Dns,
    Ip,
    Email,
    Uri,
    Other,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// By their names.
    pub listeners: BTreeMap<String, SocketAddr>,
    /// Who may sign clients' certificates.
    pub cacertfile: Option<PathBuf>,
    pub certfile: Option<PathBuf>,
    pub keyfile: Option<PathBuf>,
    /// Clients are asked for a certificate, which is checked.
    pub verify_peer: bool,
    /// They are refused without one.
    pub fail_if_no_peer_cert: bool,
    /// By their numbers; all that are supported when there are none.
    pub versions: BTreeMap<u32, TlsVersion>,
    pub login_from: LoginFrom,
    pub san_type: SanType,
    /// From 0.
    pub san_index: usize,
    /// Instead of `certfile` and `keyfile`: a certificate for development, made when there is none.
    pub auto: bool,
}

/// Where something is served that nobody said where to serve.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// RabbitMQ's port for the HTTP API over TLS.
pub(super) const HTTPS_PORT: u16 = 15671;
/// And for the metrics.
pub(super) const PROMETHEUS_SSL_PORT: u16 = 15691;

impl Config {
    /// Where AMQP is served over TLS. Whoever wants a certificate for development and does not say where it is to be used means the
    /// usual port.
    #[must_use]
    pub fn ssl_listeners(&self) -> Vec<SocketAddr> {
        if self.tls.listeners.is_empty() && self.tls.auto {
            return vec![SocketAddr::new(HERE, 5671)];
        }
        self.tls.listeners.values().copied().collect()
    }

    /// Where the HTTP API is served over TLS. Whoever has a certificate for it and does not say where, or wants one for development
    /// and does not say where anything is to be served over TLS, means the usual port.
    #[must_use]
    pub fn https_listener(&self) -> Option<SocketAddr> {
        let is_meant = self.https_tls.certfile.is_some() || self.tls.auto && self.tls.listeners.is_empty();
        self.https.or_else(|| is_meant.then_some(SocketAddr::new(HERE, HTTPS_PORT)))
    }

    /// What the HTTP API is served with over TLS: where it has no certificate of its own, the one that AMQP has. Whether clients are
    /// asked for theirs is a question of its own.
    #[must_use]
    pub fn https_options(&self) -> Tls {
        self.or_as_amqp(&self.https_tls)
    }

    /// Where metrics are served over TLS. Whoever has a certificate for them and does not say where means the usual port.
    #[must_use]
    pub fn prometheus_ssl_listener(&self) -> Option<SocketAddr> {
        self.prometheus_ssl.or_else(|| self.prometheus_tls.certfile.is_some().then_some(SocketAddr::new(HERE, PROMETHEUS_SSL_PORT)))
    }

    /// What they are served with, as the HTTP API.
    #[must_use]
    pub fn prometheus_options(&self) -> Tls {
        self.or_as_amqp(&self.prometheus_tls)
    }

    fn or_as_amqp(&self, own: &Tls) -> Tls {
        let mut options = own.clone();
        if options.certfile.is_none() && options.keyfile.is_none() {
            options.auto = self.tls.auto;
            options.certfile.clone_from(&self.tls.certfile);
            options.keyfile.clone_from(&self.tls.keyfile);
            options.cacertfile = options.cacertfile.or_else(|| self.tls.cacertfile.clone());
        }
        options
    }
}

impl TlsVersion {
    pub(super) fn named(value: &str) -> Result<Self, String> {
        match value {
            "tlsv1.2" => Ok(Self::Tls12),
            "tlsv1.3" => Ok(Self::Tls13),
            _ => Err(format!("'{value}' is not supported: tlsv1.2 and tlsv1.3 are")),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "tlsv1.2",
            Self::Tls13 => "tlsv1.3",
        }
    }
}

impl LoginFrom {
    pub(super) fn named(value: &str) -> Result<Self, String> {
        match value {
            "distinguished_name" => Ok(Self::DistinguishedName),
            "common_name" => Ok(Self::CommonName),
            "subject_alternative_name" | "subject_alt_name" => Ok(Self::SubjectAlternativeName),
            _ => Err(format!("'{value}' is neither distinguished_name nor common_name nor subject_alternative_name")),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DistinguishedName => "distinguished_name",
            Self::CommonName => "common_name",
            Self::SubjectAlternativeName => "subject_alternative_name",
        }
    }
}

impl SanType {
    pub(super) fn named(value: &str) -> Result<Self, String> {
        match value {
            "dns" => Ok(Self::Dns),
            "ip" => Ok(Self::Ip),
            "email" => Ok(Self::Email),
            "uri" => Ok(Self::Uri),
            "other_name" => Ok(Self::Other),
            _ => Err(format!("'{value}' is neither dns, ip, email, uri nor other_name")),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Ip => "ip",
            Self::Email => "email",
            Self::Uri => "uri",
            Self::Other => "other_name",
        }
    }
}

/// The name of a mechanism, as it is offered.
pub(super) fn mechanism(value: &str) -> Result<String, String> {
    let known = MECHANISMS.iter().find(|known| value.eq_ignore_ascii_case(known));
    known.map(|known| (*known).to_owned()).ok_or_else(|| format!("unknown mechanism '{value}'; there are {}", MECHANISMS.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Config {
        let mut config = Config::default();
        config.read(text).expect("understood");
        config
    }

    #[test]
    fn mechanisms_are_offered_in_the_order_of_their_numbers() {
        let config = read("auth_mechanisms.10 = PLAIN\nauth_mechanisms.9 = external");
        assert_eq!(config.auth_mechanisms.into_values().collect::<Vec<_>>(), ["EXTERNAL", "PLAIN"]);
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        read("ssl_options.depth = 2\nssl_options.honor_cipher_order = true\nssl_options.password = x");
        for line in [
            "ssl_options.versions.1 = tlsv1.1",
            "ssl_options.versions.first = tlsv1.3",
            "ssl_options.verify = yes",
            "ssl_options.cypher = none at all",
            "ssl_cert_login_from = name",
            "auth_mechanisms.1 = GSSAPI",
            "listeners.ssl.1 = somewhere",
        ] {
            assert!(Config::default().read(line).is_err(), "{line}");
        }
    }
}
