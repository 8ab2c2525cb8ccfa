//! Passwords as RabbitMQ keeps them: base64 of a salt of four bytes and the digest of salt and password (behaviour P5), so that
//! users move between brokers with their definitions.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha2::{Digest, Sha256, Sha512};

/// Bytes of the salt in front of a digest.
pub const SALT: usize = 4;

/// How a password is digested; RabbitMQ's modules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    #[default]
    Sha256,
    Sha512,
    Md5,
}

impl Algorithm {
    /// The name in definitions and in the HTTP API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "rabbit_password_hashing_sha256",
            Self::Sha512 => "rabbit_password_hashing_sha512",
            Self::Md5 => "rabbit_password_hashing_md5",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512, Self::Md5].into_iter().find(|algorithm| algorithm.name() == name)
    }

    fn digest(self, salt: &[u8], password: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::new().chain_update(salt).chain_update(password).finalize().to_vec(),
            Self::Sha512 => Sha512::new().chain_update(salt).chain_update(password).finalize().to_vec(),
            Self::Md5 => Md5::new().chain_update(salt).chain_update(password).finalize().to_vec(),
        }
    }
}

/// What is kept of a password. Never shown but in definitions, as RabbitMQ does; not even to a log.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    pub algorithm: Algorithm,
    /// Salt and digest; empty for a user without a password, who cannot log in with one.
    bytes: Vec<u8>,
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl PasswordHash {
    #[must_use]
    pub fn new(algorithm: Algorithm, salt: [u8; SALT], password: &str) -> Self {
        let mut bytes = salt.to_vec();
        bytes.extend(algorithm.digest(&salt, password.as_bytes()));
        Self { algorithm, bytes }
    }

    /// Of a user who logs in by other means.
    #[must_use]
    pub fn none() -> Self {
        Self { algorithm: Algorithm::default(), bytes: Vec::new() }
    }

    /// From what definitions have; `None` when it is not base64.
    #[must_use]
    pub fn from_base64(algorithm: Algorithm, text: &str) -> Option<Self> {
        STANDARD.decode(text).ok().map(|bytes| Self { algorithm, bytes })
    }

    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.bytes)
    }

    /// Whether this is the password. Takes the same time whatever is wrong with it, and for users without one; an empty password
    /// lets nobody in (behaviour P5).
    #[must_use]
    pub fn is_of(&self, password: &[u8]) -> bool {
        let (salt, digest) = self.bytes.split_at(self.bytes.len().min(SALT));
        let same = same_in_constant_time(&self.algorithm.digest(salt, password), digest);
        same && !password.is_empty()
    }
}

/// How long it takes tells nothing about how much was right.
fn same_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |differing, (a, b)| differing | (a ^ b));
    std::hint::black_box(differing) == 0 && a.len() == b.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_s_example() {
        // From RabbitMQ's guide on passwords: salt 908D C60A, password "test12".
        let hash = PasswordHash::new(Algorithm::Sha256, [0x90, 0x8d, 0xc6, 0x0a], "test12");
        assert_eq!(hash.to_base64(), "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
        let imported = PasswordHash::from_base64(Algorithm::Sha256, "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR").expect("base64");
        assert!(imported.is_of(b"test12"));
        assert!(!imported.is_of(b"test13"));
        assert!(!imported.is_of(b""));
    }

    #[test]
    fn each_algorithm_knows_its_own_digests() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Md5] {
            let hash = PasswordHash::new(algorithm, [1, 2, 3, 4], "secret");
            assert!(hash.is_of(b"secret"));
            assert!(!hash.is_of(b"Secret"));
            let other = if algorithm == Algorithm::Md5 { Algorithm::Sha256 } else { Algorithm::Md5 };
            assert!(!PasswordHash::from_base64(other, &hash.to_base64()).expect("base64").is_of(b"secret"));
            assert_eq!(Algorithm::named(algorithm.name()), Some(algorithm));
        }
    }

    #[test]
    fn nobody_without_a_password_gets_in() {
        assert!(!PasswordHash::none().is_of(b""));
        assert!(!PasswordHash::none().is_of(b"anything"));
        assert!(!PasswordHash::new(Algorithm::Sha256, [1, 2, 3, 4], "").is_of(b""));
        assert_eq!(format!("{:?}", PasswordHash::new(Algorithm::Sha256, [1, 2, 3, 4], "secret")), "PasswordHash");
    }
}
