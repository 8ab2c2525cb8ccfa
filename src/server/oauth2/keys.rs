//! Keys that tokens are signed with: from PEM or a JWK, and whether a signature is theirs.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use rustls::pki_types::pem::{PemObject, SectionKind};
use serde_json::Value as Json;

use crate::server::tls::der::{BIT_STRING, Der, INTEGER, OBJECT_IDENTIFIER, SEQUENCE};

const RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1];
const ELLIPTIC: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 2, 1];
const P256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7];
const P384: &[u8] = &[0x2B, 0x81, 4, 0, 0x22];
const EDWARDS: &[u8] = &[0x2B, 0x65, 0x70];

/// Bytes of a secret below which it is none.
const SHORTEST_SECRET: usize = 16;

/// How something is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
    Hs256,
    Hs384,
    Hs512,
}

impl Algorithm {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            "HS256" => Self::Hs256,
            "HS384" => Self::Hs384,
            "HS512" => Self::Hs512,
            _ => return None,
        })
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &RSA_PSS_2048_8192_SHA512,
            _ => return None,
        })
    }

    fn hmac(self) -> Option<hmac::Algorithm> {
        Some(match self {
            Self::Hs256 => hmac::HMAC_SHA256,
            Self::Hs384 => hmac::HMAC_SHA384,
            Self::Hs512 => hmac::HMAC_SHA512,
            _ => return None,
        })
    }
}

/// The bytes of a key, in the form that goes with its kind. A kind goes with some algorithms alone, so that nobody signs with the bytes
/// of a public key as if they were a secret.
#[derive(Clone, PartialEq, Eq)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
    Secret(Vec<u8>),
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    material: Material,
    /// The only algorithm that it is for, where it says so.
    only: Option<Algorithm>,
}

/// It may be a secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.material {
            Material::Rsa { .. } => "RSA",
            Material::P256(_) => "P-256",
            Material::P384(_) => "P-384",
            Material::Ed25519(_) => "Ed25519",
            Material::Secret(_) => "secret",
        })
    }
}

impl Key {
    /// What is in a file: PEM, or a JWK.
    ///
    /// # Errors
    /// Why there is no key in it.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.trim_ascii_start().first() == Some(&b'{') {
            let json = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
            return Self::from_jwk(&json).ok_or_else(|| "no JWK of a kind that is known".to_owned());
        }
        let material = Section::from_pem_slice(bytes).ok().and_then(|section| section.key());
        let key = material.map(|material| Self { material, only: None });
        key.ok_or_else(|| "no public key or certificate in PEM of a kind that is known".to_owned())
    }

    /// `None` for a key of another kind, or for encryption.
    pub(super) fn from_jwk(jwk: &Json) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Json::as_str);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?.trim_end_matches('=')).ok();
        if text("use").is_some_and(|use_| use_ != "sig") {
            return None;
        }
        let point = |length: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            (x.len() == length && y.len() == length).then(|| [&[4], &x[..], &y[..]].concat())
        };
        let material = match (text("kty")?, text("crv")) {
            ("RSA", _) => Material::Rsa { modulus: unsigned(&bytes("n")?), exponent: unsigned(&bytes("e")?) },
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x")?),
            ("oct", _) => Material::Secret(bytes("k").filter(|secret| secret.len() >= SHORTEST_SECRET)?),
            _ => return None,
        };
        let only = match text("alg") {
            Some(name) => Some(Algorithm::named(name)?),
            None => None,
        };
        Some(Self { material, only })
    }

    /// Whether it has signed this.
    pub(super) fn has_signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if self.only.is_some_and(|only| only != algorithm) {
            return false;
        }
        match (&self.material, algorithm) {
            (Material::Rsa { modulus, exponent }, algorithm) => algorithm.rsa().is_some_and(|parameters| {
                let key = RsaPublicKeyComponents { n: modulus.as_slice(), e: exponent.as_slice() };
                key.verify(parameters, message, signature).is_ok()
            }),
            (Material::P256(point), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            (Material::P384(point), Algorithm::Es384) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, signature).is_ok()
            }
            (Material::Ed25519(point), Algorithm::EdDsa) => UnparsedPublicKey::new(&ED25519, point).verify(message, signature).is_ok(),
            // In constant time.
            (Material::Secret(secret), algorithm) => {
                algorithm.hmac().is_some_and(|hash| hmac::verify(&hmac::Key::new(hash, secret), message, signature).is_ok())
            }
            _ => false,
        }
    }
}

/// Without zeros in front.
fn unsigned(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|byte| *byte == 0).collect()
}

/// A section of PEM that may have a key in it.
struct Section(SectionKind, Vec<u8>);

impl PemObject for Section {
    fn from_pem(kind: SectionKind, der: Vec<u8>) -> Option<Self> {
        matches!(kind, SectionKind::PublicKey | SectionKind::Certificate).then_some(Self(kind, der))
    }
}

impl Section {
    fn key(&self) -> Option<Material> {
        if self.0 == SectionKind::PublicKey {
            return subject_public_key_info(Der(&self.1).expect(SEQUENCE)?);
        }
        let mut certificate = Der(Der(Der(&self.1).expect(SEQUENCE)?).expect(SEQUENCE)?);
        // The version may be left out; then the serial number, the algorithm, the issuer, the validity and the subject.
        let mut first = certificate;
        if first.next()?.0 != INTEGER {
            certificate.next()?;
        }
        for _ in 0..5 {
            certificate.next()?;
        }
        subject_public_key_info(certificate.expect(SEQUENCE)?)
    }
}

fn subject_public_key_info(content: &[u8]) -> Option<Material> {
    let mut content = Der(content);
    let mut algorithm = Der(content.expect(SEQUENCE)?);
    let kind = algorithm.expect(OBJECT_IDENTIFIER)?;
    // Whole bytes.
    let bits = content.expect(BIT_STRING)?.strip_prefix(&[0])?;
    match kind {
        RSA => {
            let mut numbers = Der(Der(bits).expect(SEQUENCE)?);
            let (modulus, exponent) = (unsigned(numbers.expect(INTEGER)?), unsigned(numbers.expect(INTEGER)?));
            Some(Material::Rsa { modulus, exponent })
        }
        ELLIPTIC => match algorithm.expect(OBJECT_IDENTIFIER)? {
            P256 => Some(Material::P256(bits.to_vec())),
            P384 => Some(Material::P384(bits.to_vec())),
            _ => None,
        },
        EDWARDS => Some(Material::Ed25519(bits.to_vec())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SigningKey};
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    use serde_json::json;

    use super::*;

    const MESSAGE: &[u8] = b"header.payload";

    #[test]
    fn a_key_knows_what_it_has_signed() {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let key = Key::read(pair.public_key_pem().as_bytes()).expect("a key");
        let signature = pair.sign(MESSAGE).expect("a signature");
        assert!(key.has_signed(Algorithm::EdDsa, MESSAGE, &signature));
        assert!(!key.has_signed(Algorithm::EdDsa, b"another", &signature));
        assert!(!key.has_signed(Algorithm::Hs256, MESSAGE, &signature));
        let another = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        assert!(!Key::read(another.public_key_pem().as_bytes()).expect("a key").has_signed(Algorithm::EdDsa, MESSAGE, &signature));
    }

    #[test]
    fn keys_are_read_from_pem_certificates_and_jwks_alike() {
        let random = SystemRandom::new();
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let ring = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pair.serialized_der(), &random).expect("a key");
        let signature = ring.sign(&random, MESSAGE).expect("a signature");
        let certificate = rcgen::CertificateParams::new(vec!["x".to_owned()]).expect("names").self_signed(&pair).expect("a certificate");
        let point = pair.public_key_raw();
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": encoded(&point[1..33]), "y": encoded(&point[33..])});
        for source in [pair.public_key_pem(), certificate.pem(), jwk.to_string()] {
            let key = Key::read(source.as_bytes()).expect("a key");
            assert!(key.has_signed(Algorithm::Es256, MESSAGE, signature.as_ref()), "{source}");
            assert!(!key.has_signed(Algorithm::Es384, MESSAGE, signature.as_ref()));
            assert!(!key.has_signed(Algorithm::Rs256, MESSAGE, signature.as_ref()));
        }
        let larger = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
        assert_eq!(format!("{:?}", Key::read(larger.public_key_pem().as_bytes()).expect("a key")), "P-384");
    }

    #[test]
    fn a_jwk_may_be_for_one_algorithm_alone_or_for_none_of_ours() {
        let secret = b"a secret of thirty-two bytes ...";
        let jwk = |more: Json| {
            let mut jwk = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(secret)});
            jwk.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            Key::from_jwk(&jwk)
        };
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), MESSAGE);
        let signed = |key: &Key| key.has_signed(Algorithm::Hs256, MESSAGE, signature.as_ref());
        assert!(signed(&jwk(json!({})).expect("a key")));
        assert!(signed(&jwk(json!({"alg": "HS256", "use": "sig"})).expect("a key")));
        assert!(!signed(&jwk(json!({"alg": "HS512"})).expect("a key")));
        assert_eq!(jwk(json!({"use": "enc"})), None);
        assert_eq!(jwk(json!({"alg": "A128KW"})), None);
        assert_eq!(jwk(json!({"k": URL_SAFE_NO_PAD.encode(b"short")})), None);
        assert_eq!(format!("{:?}", jwk(json!({})).expect("a key")), "secret");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "{}", "{\"kty\":\"RSA\"}", "{"] {
            assert!(Key::read(text.as_bytes()).is_err(), "{text}");
        }
        let private = KeyPair::generate().expect("a key").serialize_pem();
        assert!(Key::read(private.as_bytes()).is_err(), "a private key is not to lie here");
    }
}
