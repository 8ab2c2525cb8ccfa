//! Who is asked whether somebody is who it says it is.

use std::collections::BTreeMap;

use super::Config;
use crate::node::users::Authn;

/// What RabbitMQ calls an authentication backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum BackendName {
    #[default]
    Internal,
    Http,
    /// One that there is not here.
    Other(String),
}

impl BackendName {
    pub(super) fn named(value: &str) -> Self {
        match value.strip_prefix("rabbit_auth_backend_").unwrap_or(value) {
            "internal" => Self::Internal,
            "http" => Self::Http,
            _ => Self::Other(value.to_owned()),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Internal => "internal",
            Self::Http => "http",
            Self::Other(name) => name,
        }
    }
}

/// Who knows who somebody is, and who knows what it may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Backend {
    pub(super) authn: BackendName,
    pub(super) authz: BackendName,
}

/// By their numbers; the node itself alone when there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backends(pub(super) BTreeMap<u32, Backend>);

/// A service that is asked over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthHttp {
    /// The question is a form that is sent, instead of a part of the path.
    pub post: bool,
    /// Where it is asked about users.
    pub user_path: Option<String>,
    /// How long it may take to answer, in milliseconds.
    pub request_timeout_ms: u64,
}

impl Default for AuthHttp {
    fn default() -> Self {
        Self { post: false, user_path: None, request_timeout_ms: 15_000 }
    }
}

impl Config {
    /// Who is asked, in this order.
    ///
    /// # Errors
    /// One line about a backend that cannot be had: no connection would get what the configuration means.
    pub fn authn(&self) -> Result<Vec<Authn>, String> {
        let mut asked = Vec::new();
        for (number, Backend { authn, authz }) in &self.auth_backends.0 {
            if let Some(BackendName::Other(name)) = [authn, authz].into_iter().find(|name| matches!(name, BackendName::Other(_))) {
                return Err(format!("auth_backends.{number}: '{name}' is not supported; internal and http are"));
            }
            if *authz == BackendName::Http {
                let why = "http says who somebody is, not what it may do";
                return Err(format!("auth_backends.{number}: {why}: set .authn = http with .authz = internal"));
            }
            if *authn == BackendName::Http && self.auth_http.user_path.is_none() {
                return Err(format!("auth_backends.{number}.authn = http needs auth_http.user_path"));
            }
            asked.push(if *authn == BackendName::Http { Authn::Http } else { Authn::Internal });
        }
        Ok(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authn(text: &str) -> Result<Vec<Authn>, String> {
        let mut config = Config::default();
        config.read(text).expect("understood");
        config.authn()
    }

    #[test]
    fn backends_are_asked_in_the_order_of_their_numbers() {
        assert_eq!(authn(""), Ok(Vec::new()));
        let http = "auth_http.user_path = http://localhost/user\nauth_backends.2.authn = http\nauth_backends.2.authz = internal\n";
        assert_eq!(authn(&format!("{http}auth_backends.10 = rabbit_auth_backend_internal")), Ok(vec![Authn::Http, Authn::Internal]));
        assert_eq!(authn(&format!("{http}auth_backends.1 = internal")), Ok(vec![Authn::Internal, Authn::Http]));
    }

    #[test]
    fn what_would_mean_something_else_here_is_refused() {
        let path = "auth_http.user_path = http://localhost/user\n";
        for (text, why) in [
            ("auth_backends.1 = ldap", "auth_backends.1: 'ldap' is not supported; internal and http are"),
            ("auth_backends.1.authn = ldap", "auth_backends.1: 'ldap' is not supported; internal and http are"),
            (
                &*format!("{path}auth_backends.1 = http"),
                "auth_backends.1: http says who somebody is, not what it may do: set .authn = http with .authz = internal",
            ),
            ("auth_backends.3.authn = http", "auth_backends.3.authn = http needs auth_http.user_path"),
        ] {
            assert_eq!(authn(text), Err(why.to_owned()));
        }
        assert!(Config::default().read("auth_http.user_path = https://localhost/user").is_err());
        assert!(Config::default().read("auth_http.http_method = put").is_err());
    }
}
