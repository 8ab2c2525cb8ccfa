//! Tokens of OAuth 2 (JWT) as credentials, as rabbitmq_auth_backend_oauth2 reads them. A token is looked at and thrown away: what it
//! says is kept, and neither it nor what it is signed with is ever logged.

mod audience;
mod claims;
mod keys;
mod provider;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value as Json};

use super::time::Time;
use crate::config::{AuthOAuth2, ResourceServer};
use audience::addressed;
use claims::Reader;
use keys::Algorithm;
use provider::Provider;

pub(super) use claims::Verified;

/// Bytes of a token.
const LONGEST: usize = 128 * 1024;

#[derive(Debug)]
pub(super) struct OAuth2 {
    servers: Vec<Server>,
    time: Arc<Time>,
}

/// The broker by one of its names.
#[derive(Debug)]
struct Server {
    reader: Reader,
    /// It takes no tokens that do not name it.
    verify_aud: bool,
    /// Who makes its tokens; others may have theirs from the same one.
    provider: Arc<Provider>,
}

/// A token taken apart, with nothing believed of it yet.
struct Parts<'a> {
    algorithm: Algorithm,
    key: Option<String>,
    signed: &'a [u8],
    claims: Map<String, Json>,
    signature: Vec<u8>,
}

const INVALID: &str = "provided token is invalid";

impl OAuth2 {
    /// # Errors
    /// A key that cannot be read, an algorithm that is not known, TLS that cannot be had.
    pub(super) fn new(config: &AuthOAuth2, time: &Arc<Time>) -> Result<Self, String> {
        Ok(Self { servers: servers(config)?, time: Arc::clone(time) })
    }

    /// # Errors
    /// Why the token is not good; nothing of what is in it.
    pub(super) async fn verify(&self, token: &[u8]) -> Result<Verified, String> {
        let parts = Parts::of(token).ok_or(INVALID)?;
        let server = addressed(&self.servers, &parts.claims)?;
        server.provider.check(&parts).await?;
        server.reader.read(&parts.claims, self.time.now().0 / 1000)
    }
}

fn servers(config: &AuthOAuth2) -> Result<Vec<Server>, String> {
    let providers = config.providers().map(|(name, place, provider)| Ok((name, Arc::new(Provider::new(provider, &place)?))));
    let providers: BTreeMap<_, _> = providers.collect::<Result<_, String>>()?;
    let server = |(id, server): (String, ResourceServer)| {
        let name = server.oauth_provider_id.as_ref();
        let provider = providers.get(&name).ok_or_else(|| format!("auth_oauth2: who makes tokens for {id} has no keys"))?;
        let verify_aud = server.verify_aud.unwrap_or(true);
        Ok(Server { reader: Reader::new(id, &server, config.require_exp), verify_aud, provider: Arc::clone(provider) })
    };
    config.servers().into_iter().map(server).collect()
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
            claims: json(claims)?,
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
            token(r#"{"alg":"HS256"}"#, "[]"),
            token(r#"{"alg":"HS256"}"#, "{"),
            "x".repeat(LONGEST + 1),
        ] {
            assert!(Parts::of(bad.as_bytes()).is_none(), "{bad:.60}");
        }
        assert!(Parts::of(&[0xFF]).is_none());
    }
}
