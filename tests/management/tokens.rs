//! Tokens that a test signs, with keys of every kind.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value as Json, json};

/// Made for these tests and used nowhere else.
const RSA_PRIVATE: &str = include_str!("tokens/rsa.key");
const RSA_PUBLIC: &str = include_str!("tokens/rsa.pem");

pub(crate) enum Key {
    Rsa(Box<RsaKeyPair>),
    Elliptic(KeyPair),
    Edwards(KeyPair),
    Secret(Vec<u8>),
}

impl Key {
    pub(crate) fn rsa() -> Self {
        let der = PrivatePkcs8KeyDer::from_pem_slice(RSA_PRIVATE.as_bytes()).expect("a key");
        Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("a key")))
    }

    pub(crate) fn p256() -> Self {
        Self::Elliptic(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key"))
    }

    pub(crate) fn p384() -> Self {
        Self::Elliptic(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key"))
    }

    pub(crate) fn ed25519() -> Self {
        Self::Edwards(KeyPair::generate_for(&PKCS_ED25519).expect("a key"))
    }

    pub(crate) fn secret() -> Self {
        Self::Secret(b"a secret of thirty-two bytes or so".to_vec())
    }

    /// What a broker reads from a file.
    pub(crate) fn file(&self) -> String {
        match self {
            Self::Rsa(_) => RSA_PUBLIC.to_owned(),
            Self::Elliptic(pair) | Self::Edwards(pair) => pair.public_key_pem(),
            Self::Secret(_) => self.jwk("k").to_string(),
        }
    }

    /// What a set of keys has.
    pub(crate) fn jwk(&self, name: &str) -> Json {
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rsa(pair) => {
                let public: ring::rsa::PublicKeyComponents<Vec<u8>> = pair.public().into();
                json!({"kty": "RSA", "kid": name, "use": "sig", "n": encoded(&public.n), "e": encoded(&public.e)})
            }
            Self::Elliptic(pair) => {
                let point = &pair.public_key_raw()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "kid": name, "crv": curve, "x": encoded(x), "y": encoded(y)})
            }
            Self::Edwards(pair) => json!({"kty": "OKP", "kid": name, "crv": "Ed25519", "x": encoded(pair.public_key_raw())}),
            Self::Secret(secret) => json!({"kty": "oct", "kid": name, "k": encoded(secret)}),
        }
    }

    /// A token of the key called `k`.
    pub(crate) fn token(&self, algorithm: &str, claims: &Json) -> String {
        self.token_with(&json!({"alg": algorithm, "kid": "k", "typ": "JWT"}), claims)
    }

    pub(crate) fn token_with(&self, header: &Json, claims: &Json) -> String {
        let encoded = |json: &Json| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let signature = self.sign(header["alg"].as_str().expect("an algorithm"), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let encoding: &dyn RsaEncoding = match algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).expect("a signature");
                signature
            }
            Self::Elliptic(pair) => {
                let algorithm = if algorithm == "ES384" { &ECDSA_P384_SHA384_FIXED_SIGNING } else { &ECDSA_P256_SHA256_FIXED_SIGNING };
                let pair = EcdsaKeyPair::from_pkcs8(algorithm, pair.serialized_der(), &random).expect("a key");
                pair.sign(&random, message).expect("a signature").as_ref().to_vec()
            }
            Self::Edwards(pair) => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pair.serialized_der()).expect("a key");
                pair.sign(message).as_ref().to_vec()
            }
            Self::Secret(secret) => {
                let hash = match algorithm {
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::sign(&hmac::Key::new(hash, secret), message).as_ref().to_vec()
            }
        }
    }
}

/// In so many seconds.
pub(crate) fn seconds_from_now(seconds: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs() + seconds
}

/// Claims of a good token of `hare`, with these scopes.
pub(crate) fn claims(scopes: &str) -> Json {
    json!({"sub": "hare", "aud": ["rabbitmq"], "exp": seconds_from_now(3600), "scope": scopes})
}
