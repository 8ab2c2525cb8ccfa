//! Tokens of OAuth 2 (JWT) as credentials, as rabbitmq_auth_backend_oauth2 reads them. A token is looked at and thrown away: what it
//! says is kept, and neither it nor what it is signed with is ever logged.

mod claims;
mod keys;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::RwLock;
use serde_json::{Map, Value as Json};

use super::authentication::http::{Client, Patience};
use super::time::Time;
use crate::config::AuthOAuth2;
use claims::Reader;
use keys::{Algorithm, Key};

pub(super) use claims::Verified;

/// Bytes of a token.
const LONGEST: usize = 128 * 1024;
/// How long it takes until a key that is not known may be asked for again: who invents names of keys must not make us flood somebody.
const REST: Duration = Duration::from_millis(250);
/// How long keys may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

type Keys = BTreeMap<String, Key>;

#[derive(Debug)]
pub(super) struct OAuth2 {
    reader: Reader,
    time: Arc<Time>,
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

/// A token taken apart, with nothing believed of it yet.
struct Parts<'a> {
    algorithm: Algorithm,
    key: Option<String>,
    signed: &'a [u8],
    claims: &'a str,
    signature: Vec<u8>,
}

const INVALID: &str = "provided token is invalid";

impl OAuth2 {
    /// # Errors
    /// A key that cannot be read, an algorithm that is not known, TLS that cannot be had.
    pub(super) fn new(config: &AuthOAuth2, time: &Arc<Time>) -> Result<Self, String> {
        let fixed = config.signing_keys.iter().map(|(name, path)| {
            let why = |why: &dyn std::fmt::Display| format!("auth_oauth2.signing_keys.{name}: {}: {why}", path.display());
            let bytes = std::fs::read(path).map_err(|error| why(&error))?;
            Ok((name.clone(), Key::read(&bytes).map_err(|error| why(&error))?))
        });
        let algorithms = config.algorithms.iter().map(|(place, name)| {
            Algorithm::named(name).ok_or_else(|| format!("auth_oauth2.algorithms.{place}: '{name}' is not supported"))
        });
        let path = config.discovery_endpoint_path.trim_start_matches('/');
        let discovery = config.issuer.as_ref().map(|issuer| format!("{}/{path}", issuer.trim_end_matches('/')));
        let addresses = config.jwks_url.iter().chain(&discovery).map(String::as_str);
        let client = Client::new(addresses, &config.tls, Patience { to_connect: PATIENCE, in_all: PATIENCE });
        Ok(Self {
            reader: Reader::new(config),
            time: Arc::clone(time),
            default_key: config.default_key.clone(),
            algorithms: algorithms.collect::<Result<_, _>>()?,
            fixed: fixed.collect::<Result<_, String>>()?,
            fetched: RwLock::default(),
            fetching: tokio::sync::Mutex::new(None),
            jwks_url: config.jwks_url.clone(),
            client: client.map_err(|error| format!("auth_oauth2.https: {error}"))?,
            discovery,
        })
    }

    /// # Errors
    /// Why the token is not good; nothing of what is in it.
    pub(super) async fn verify(&self, token: &[u8]) -> Result<Verified, String> {
        let parts = Parts::of(token).ok_or(INVALID)?;
        if !self.algorithms.is_empty() && !self.algorithms.contains(&parts.algorithm) {
            return Err("signature_invalid".to_owned());
        }
        let name = parts.key.as_ref().or(self.default_key.as_ref()).ok_or("key_not_found")?;
        let key = match self.known(name) {
            Some(key) => key,
            None => self.fetched(name).await?,
        };
        if !key.has_signed(parts.algorithm, parts.signed, &parts.signature) {
            return Err("signature_invalid".to_owned());
        }
        let claims: Map<String, Json> = json(parts.claims).ok_or(INVALID)?;
        self.reader.read(&claims, self.time.now().0 / 1000)
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

impl<'a> Parts<'a> {
    fn of(token: &'a [u8]) -> Option<Self> {
        let token = std::str::from_utf8(token).ok().filter(|token| token.len() <= LONGEST)?;
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Map<String, Json> = json(header)?;
        // Extensions that have to be understood, of which we know none.
        if claims.contains('.') || header.contains_key("crit") {
            return None;
        }
        let text = |name: &str| header.get(name).and_then(Json::as_str);
        Some(Self {
            algorithm: Algorithm::named(text("alg")?)?,
            key: text("kid").map(str::to_owned),
            signed: signed.as_bytes(),
            claims,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }
}

fn json(encoded: &str) -> Option<Map<String, Json>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", encoded(header), encoded(claims), encoded("signature"))
    }

    #[test]
    fn what_is_no_token_has_no_parts() {
        let good = token(r#"{"alg":"HS256","kid":"k"}"#, "{}");
        let parts = Parts::of(good.as_bytes()).expect("a token");
        assert_eq!((parts.algorithm, parts.key.as_deref()), (Algorithm::Hs256, Some("k")));
        assert_eq!(parts.signature, b"signature");
        for bad in [
            String::new(),
            "a.b.c".to_owned(),
            "a.b".to_owned(),
            format!("{good}.x"),
            good.replace('.', ""),
            token(r#"{"alg":"none"}"#, "{}"),
            token(r#"{"kid":"k"}"#, "{}"),
            token(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, "{}"),
            token("[]", "{}"),
            "x".repeat(LONGEST + 1),
        ] {
            assert!(Parts::of(bad.as_bytes()).is_none(), "{bad:.60}");
        }
        assert!(Parts::of(&[0xFF]).is_none());
    }
}
