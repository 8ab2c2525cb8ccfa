//! Who is asked who somebody is and what it may do: the node, a service over HTTP, or the tokens of OAuth 2.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use super::Config;
use crate::node::identity::{Backend, Backends};

/// What RabbitMQ calls an authentication backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum BackendName {
    #[default]
    Internal,
    Http,
    OAuth2,
    Cache,
    /// One that there is not here.
    Other(String),
}

impl BackendName {
    pub(super) fn named(value: &str) -> Self {
        match value.strip_prefix("rabbit_auth_backend_").unwrap_or(value) {
            "internal" => Self::Internal,
            "http" => Self::Http,
            "oauth2" | "oauth" => Self::OAuth2,
            "cache" => Self::Cache,
            _ => Self::Other(value.to_owned()),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Internal => "internal",
            Self::Http => "http",
            Self::OAuth2 => "oauth2",
            Self::Cache => "cache",
            Self::Other(name) => name,
        }
    }
}

/// Who knows who somebody is, and who knows what it may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) authn: BackendName,
    pub(super) authz: BackendName,
}

/// By their numbers; the node itself alone when there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedBackends(pub(super) BTreeMap<u32, Named>);

/// How somebody is reached over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// Whether its certificate is looked at.
    pub verify: bool,
    /// The authorities that may have signed it; `None`: those of the system.
    pub cacertfile: Option<PathBuf>,
    /// Our own certificate, where one is wanted.
    pub certfile: Option<PathBuf>,
    pub keyfile: Option<PathBuf>,
}

impl Default for ClientTls {
    fn default() -> Self {
        Self { verify: true, cacertfile: None, certfile: None, keyfile: None }
    }
}

/// A service that is asked over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthHttp {
    /// The question is a form that is sent, instead of a part of the path.
    pub post: bool,
    /// Where it is asked about users, virtual hosts, queues and exchanges, routing keys.
    pub user_path: String,
    pub vhost_path: String,
    pub resource_path: String,
    pub topic_path: String,
    /// How long it may take to answer, in milliseconds.
    pub request_timeout_ms: u64,
    /// How long it may take to reach it, in milliseconds.
    pub connection_timeout_ms: u64,
    /// Clients are told why it refuses them.
    pub disclosure: bool,
    pub tls: ClientTls,
}

impl Default for AuthHttp {
    fn default() -> Self {
        let path = |what| format!("http://localhost:8000/auth/{what}");
        Self {
            post: false,
            user_path: path("user"),
            vhost_path: path("vhost"),
            resource_path: path("resource"),
            topic_path: path("topic"),
            request_timeout_ms: 15_000,
            connection_timeout_ms: 15_000,
            disclosure: false,
            tls: ClientTls::default(),
        }
    }
}

/// What is kept of the answers of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthCache {
    /// Whose: where only one of them is named, it is both.
    pub(super) authn: Option<BackendName>,
    pub(super) authz: Option<BackendName>,
    /// For how long, in milliseconds.
    pub ttl_ms: u64,
    /// Refusals, too.
    pub refusals: bool,
}

impl Default for AuthCache {
    fn default() -> Self {
        Self { authn: None, authz: None, ttl_ms: 15_000, refusals: false }
    }
}

impl AuthCache {
    pub(super) fn cached(&self) -> Named {
        let both = self.authn.as_ref().zip(self.authz.as_ref()).or(self.authn.as_ref().zip(self.authn.as_ref()));
        let both = both.or(self.authz.as_ref().zip(self.authz.as_ref()));
        both.map(|(authn, authz)| Named { authn: authn.clone(), authz: authz.clone() }).unwrap_or_default()
    }
}

/// `http://host/path`, or the same with https.
pub(super) fn url(value: &str) -> Result<String, String> {
    let host = value.strip_prefix("http://").or_else(|| value.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() && !host.starts_with('/') => Ok(value.to_owned()),
        _ => Err(format!("'{value}' is neither http://host/path nor https://host/path")),
    }
}

/// The same for what must not be changed on its way: without TLS it does not leave this machine.
pub(super) fn safe_url(value: &str) -> Result<String, String> {
    let url = url(value)?;
    let Some(rest) = url.strip_prefix("http://") else { return Ok(url) };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = if authority.starts_with('[') {
        authority.trim_start_matches('[').split(']').next().unwrap_or_default()
    } else {
        authority.split(':').next().unwrap_or_default()
    };
    if host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()) {
        return Ok(url);
    }
    Err(format!("'{value}' is not https://host/path, and not on this machine"))
}

impl Config {
    /// Who is asked, in this order.
    ///
    /// # Errors
    /// One line about a backend that cannot be had: no connection would get what the configuration means.
    pub fn backends(&self) -> Result<Vec<Backends>, String> {
        let mut asked = Vec::new();
        let cached = self.auth_cache.cached();
        for (number, Named { authn, authz }) in &self.auth_backends.0 {
            let place = format!("auth_backends.{number}");
            let authn = self.backend(authn, &cached.authn, &place)?;
            let authz = self.backend(authz, &cached.authz, &place)?;
            asked.push(Backends { authn, authz });
        }
        Ok(asked)
    }

    fn backend(&self, name: &BackendName, cached: &BackendName, place: &str) -> Result<Backend, String> {
        match name {
            BackendName::Internal => Ok(Backend::Internal),
            BackendName::Http => Ok(Backend::Http { cached: false }),
            BackendName::OAuth2 => self.auth_oauth2.check(place).map(|()| Backend::OAuth2),
            BackendName::Cache => match cached {
                BackendName::Http => Ok(Backend::Http { cached: true }),
                BackendName::Cache => Err("auth_cache.cached_backend: 'cache' cannot be cached".to_owned()),
                // There is nothing to gain: nobody is asked.
                other => self.backend(other, other, "auth_cache.cached_backend"),
            },
            BackendName::Other(name) => Err(format!("{place}: '{name}' is not supported; internal, http, oauth2 and cache are")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: Backend = Backend::Http { cached: false };
    const CACHED: Backend = Backend::Http { cached: true };

    fn backends(text: &str) -> Result<Vec<(Backend, Backend)>, String> {
        let mut config = Config::default();
        config.read(text).expect("understood");
        Ok(config.backends()?.into_iter().map(|Backends { authn, authz }| (authn, authz)).collect())
    }

    #[test]
    fn backends_are_asked_in_the_order_of_their_numbers() {
        let internal = (Backend::Internal, Backend::Internal);
        assert_eq!(backends(""), Ok(Vec::new()));
        let http = "auth_backends.2.authn = http\nauth_backends.2.authz = internal\n";
        let both = (HTTP, Backend::Internal);
        assert_eq!(backends(&format!("{http}auth_backends.10 = rabbit_auth_backend_internal")), Ok(vec![both, internal]));
        assert_eq!(backends(&format!("{http}auth_backends.1 = internal")), Ok(vec![internal, both]));
        assert_eq!(backends("auth_backends.1 = rabbit_auth_backend_http"), Ok(vec![(HTTP, HTTP)]));
        let oauth2 = "auth_backends.1 = oauth2\nauth_oauth2.resource_server_id = r\nauth_oauth2.signing_keys.a = /a.pem\n";
        assert_eq!(backends(oauth2), Ok(vec![(Backend::OAuth2, Backend::OAuth2)]));
    }

    #[test]
    fn what_is_cached_is_one_of_the_others() {
        let cache = "auth_backends.1 = cache\n";
        assert_eq!(backends(&format!("{cache}auth_cache.cached_backend = http")), Ok(vec![(CACHED, CACHED)]));
        let split = "auth_cache.cached_backend.authn = http\nauth_cache.cached_backend.authz = internal\n";
        assert_eq!(backends(&format!("{cache}{split}")), Ok(vec![(CACHED, Backend::Internal)]));
        assert_eq!(backends(&format!("{cache}auth_cache.cached_backend.authz = http")), Ok(vec![(CACHED, CACHED)]));
        assert_eq!(backends(cache), Ok(vec![(Backend::Internal, Backend::Internal)]));
        let twice = backends(&format!("{cache}auth_cache.cached_backend = cache"));
        assert_eq!(twice, Err("auth_cache.cached_backend: 'cache' cannot be cached".to_owned()));
    }

    #[test]
    fn what_would_mean_something_else_here_is_refused() {
        let ldap = "'ldap' is not supported; internal, http, oauth2 and cache are";
        for (text, why) in [
            ("auth_backends.1 = ldap", format!("auth_backends.1: {ldap}")),
            ("auth_backends.1.authz = ldap", format!("auth_backends.1: {ldap}")),
            ("auth_backends.1 = cache\nauth_cache.cached_backend = ldap", format!("auth_cache.cached_backend: {ldap}")),
            (
                "auth_backends.1 = oauth2",
                "auth_backends.1 = oauth2 needs auth_oauth2.resource_server_id or auth_oauth2.resource_servers.$name.id".to_owned(),
            ),
            (
                "auth_backends.1 = oauth2\nauth_oauth2.resource_server_id = r",
                "auth_backends.1 = oauth2 needs keys: auth_oauth2.signing_keys.$name, auth_oauth2.jwks_url or auth_oauth2.issuer"
                    .to_owned(),
            ),
        ] {
            assert_eq!(backends(text), Err(why));
        }
        assert!(Config::default().read("auth_http.user_path = localhost/user").is_err());
        assert!(Config::default().read("auth_http.http_method = put").is_err());
    }

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        for good in ["https://keys.example/jwks", "http://localhost/jwks", "http://127.0.0.1:8080/jwks", "http://[::1]:8080/jwks"] {
            assert_eq!(safe_url(good), Ok(good.to_owned()));
        }
        for bad in
            ["http://keys.example/jwks", "http://127.0.0.1.example/jwks", "http://localhost.example", "ftp://localhost/x", "https://"]
        {
            assert!(safe_url(bad).is_err(), "{bad}");
        }
    }
}
