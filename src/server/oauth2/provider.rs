//! Who makes tokens: the keys that it signs them with, from files and from where it has more, and what a signature has to be like.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;

use super::Parts;
use super::keys::{Algorithm, Key};
use crate::config::OAuthProvider;
use crate::server::authentication::http::{Client, Patience};

/// How long it takes until a key that is not known may be asked for again: who invents names of keys must not make us flood somebody.
const REST: Duration = Duration::from_millis(250);
/// How long keys may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

type Keys = BTreeMap<String, Key>;

#[derive(Debug)]
pub(super) struct Provider {
    default_key: Option<String>,
    /// Those that may be used; when there are none, all.
    algorithms: Vec<Algorithm>,
    /// From files.
    fixed: Keys,
    /// From who was asked; they come first.
    fetched: RwLock<Arc<Keys>>,
    /// Held by who asks; when somebody last did.
    fetching: tokio::sync::Mutex<Option<Instant>>,
    jwks_url: Option<String>,
    /// Who knows where they are otherwise.
    discovery: Option<String>,
    client: Client,
}

impl Provider {
    /// One whose keys of the configuration begin with `place`.
    ///
    /// # Errors
    /// A key that cannot be read, an algorithm that is not known, TLS that cannot be had.
    pub(super) fn new(config: &OAuthProvider, place: &str) -> Result<Self, String> {
        let fixed = config.signing_keys.iter().map(|(name, path)| {
            let why = |why: &dyn Display| format!("{place}.signing_keys.{name}: {}: {why}", path.display());
            let bytes = std::fs::read(path).map_err(|error| why(&error))?;
            Ok((name.clone(), Key::read(&bytes).map_err(|error| why(&error))?))
        });
        let algorithms = config
            .algorithms
            .iter()
            .map(|(number, name)| Algorithm::named(name).ok_or_else(|| format!("{place}.algorithms.{number}: '{name}' is not supported")));
        let discovery = discovery(config);
        let addresses = config.jwks_url.iter().chain(&discovery).map(String::as_str);
        let client = Client::new(addresses, &config.tls, Patience { to_connect: PATIENCE, in_all: PATIENCE });
        Ok(Self {
            default_key: config.default_key.clone(),
            algorithms: algorithms.collect::<Result<_, _>>()?,
            fixed: fixed.collect::<Result<_, String>>()?,
            fetched: RwLock::default(),
            fetching: tokio::sync::Mutex::new(None),
            jwks_url: config.jwks_url.clone(),
            client: client.map_err(|error| format!("{place}.https: {error}"))?,
            discovery,
        })
    }

    /// # Errors
    /// Why a token is not one that it has signed.
    pub(super) async fn check(&self, token: &Parts<'_>) -> Result<(), String> {
        if !self.algorithms.is_empty() && !self.algorithms.contains(&token.algorithm) {
            return Err("signature_invalid".to_owned());
        }
        let name = token.key.as_ref().or(self.default_key.as_ref()).ok_or("key_not_found")?;
        let key = match self.known(name) {
            Some(key) => key,
            None => self.fetched(name).await?,
        };
        if key.has_signed(token.algorithm, token.signed, &token.signature) { Ok(()) } else { Err("signature_invalid".to_owned()) }
    }

    fn known(&self, name: &str) -> Option<Key> {
        self.fetched.read().get(name).or_else(|| self.fixed.get(name)).cloned()
    }

    /// A key that is not known yet.
    async fn fetched(&self, name: &str) -> Result<Key, String> {
        let not_found = || "key_not_found".to_owned();
        if self.jwks_url.is_none() && self.discovery.is_none() {
            return Err(not_found());
        }
        let mut last = self.fetching.lock().await;
        // Somebody may have been quicker.
        if let Some(key) = self.known(name) {
            return Ok(key);
        }
        if last.is_none_or(|last| last.elapsed() >= REST) {
            let fetched = self.fetch().await;
            *last = Some(Instant::now());
            let keys = fetched.map_err(|why| {
                tracing::error!("Failed to download signing keys: {why}");
                "signing keys cannot be had".to_owned()
            })?;
            tracing::debug!("Downloaded {} signing keys", keys.len());
            *self.fetched.write() = Arc::new(keys);
        }
        self.known(name).ok_or_else(not_found)
    }

    async fn fetch(&self) -> Result<Keys, String> {
        let url = match (&self.jwks_url, &self.discovery) {
            (Some(url), _) => url.clone(),
            (None, Some(discovery)) => {
                let configuration = self.get(discovery).await?;
                let url = configuration.get("jwks_uri").and_then(Json::as_str).ok_or("the issuer names no jwks_uri")?;
                let is_safe = url.starts_with("https://") || discovery.starts_with("http://");
                if is_safe { url.to_owned() } else { return Err("the issuer names a jwks_uri without TLS".to_owned()) }
            }
            (None, None) => return Err("nobody has any".to_owned()),
        };
        let set = self.get(&url).await?;
        let keys = set.get("keys").and_then(Json::as_array).ok_or("there is no set of keys")?;
        Ok(keys.iter().filter_map(|jwk| Some((jwk.get("kid")?.as_str()?.to_owned(), Key::from_jwk(jwk)?))).collect())
    }

    async fn get(&self, url: &str) -> Result<Json, String> {
        let answer = self.client.get(url).await.map_err(|failure| failure.to_string())?;
        serde_json::from_str(&answer).map_err(|error| error.to_string())
    }
}

/// Where the issuer says what it has: a path behind its own, with parameters behind those that it may have.
fn discovery(config: &OAuthProvider) -> Option<String> {
    let issuer = config.issuer.as_deref()?;
    let (issuer, query) = issuer.split_once('?').map_or((issuer, None), |(issuer, query)| (issuer, Some(query)));
    let mut url = format!("{}/{}", issuer.trim_end_matches('/'), config.discovery_endpoint_path.trim_start_matches('/'));
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let more = config.discovery_endpoint_params.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    for (index, parameter) in query.map(str::to_owned).into_iter().chain(more).enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(url, "{}{parameter}", if index == 0 { '?' } else { '&' });
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_asked_at_its_path_with_parameters() {
        let ask = |issuer: &str, path: &str, parameters: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            discovery(&OAuthProvider {
                issuer: Some(issuer.to_owned()),
                discovery_endpoint_path: path.to_owned(),
                discovery_endpoint_params: parameters.iter().map(owned).collect(),
                ..OAuthProvider::default()
            })
        };
        let usual = OAuthProvider::default().discovery_endpoint_path;
        assert_eq!(ask("https://a/v2/", &usual, &[]).as_deref(), Some("https://a/v2/.well-known/openid-configuration"));
        assert_eq!(ask("https://a", "/x", &[("b", "1 2"), ("a", "&")]).as_deref(), Some("https://a/x?a=%26&b=1%202"));
        assert_eq!(ask("https://a/?t=1", "x", &[("b", "2")]).as_deref(), Some("https://a/x?t=1&b=2"));
        assert_eq!(discovery(&OAuthProvider::default()), None);
    }
}
