//! What others have said, kept for a while, as rabbitmq_auth_backend_cache does.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::service::Reply;
use crate::config::AuthCache;

/// Answers that are kept at most.
const MOST: usize = 10_000;

/// Which question. Passwords are part of some, so that only a digest is kept of it, with a salt of this process.
type Key = [u8; 32];

#[derive(Debug)]
pub(super) struct Cache {
    ttl: Duration,
    refusals: bool,
    salt: [u64; 2],
    kept: Mutex<HashMap<Key, (Reply, Instant)>>,
}

impl Cache {
    pub(super) fn new(config: &AuthCache) -> Self {
        let random = || RandomState::new().hash_one(0);
        let ttl = Duration::from_millis(config.ttl_ms);
        Self { ttl, refusals: config.refusals, salt: [random(), random()], kept: Mutex::default() }
    }

    pub(super) fn key(&self, address: &str, question: &str) -> Key {
        let mut digest = Sha256::new();
        self.salt.iter().for_each(|part| digest.update(part.to_ne_bytes()));
        digest.update((address.len() as u64).to_ne_bytes());
        digest.update(address);
        digest.update(question);
        digest.finalize().into()
    }

    pub(super) fn get(&self, key: &Key) -> Option<Reply> {
        let kept = self.kept.lock();
        let (reply, until) = kept.get(key)?;
        (Instant::now() < *until).then(|| reply.clone())
    }

    /// A service that could not be asked has said nothing.
    pub(super) fn put(&self, key: Key, reply: &Reply) {
        let keeps = match reply {
            Reply::Allow(_) => true,
            Reply::Deny(_) => self.refusals,
            Reply::Failed(_) => false,
        };
        if !keeps {
            return;
        }
        let now = Instant::now();
        let mut kept = self.kept.lock();
        if kept.len() >= MOST {
            kept.retain(|_, (_, until)| now < *until);
        }
        if kept.len() < MOST {
            kept.insert(key, (reply.clone(), now + self.ttl));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(ttl_ms: u64, refusals: bool) -> Cache {
        let mut config = AuthCache::default();
        (config.ttl_ms, config.refusals) = (ttl_ms, refusals);
        Cache::new(&config)
    }

    #[test]
    fn what_was_allowed_is_kept_and_refusals_where_that_is_asked_for() {
        let (allow, deny, failed) = (Reply::Allow(vec!["a".to_owned()]), Reply::Deny(None), Reply::Failed("timeout".to_owned()));
        for refusals in [false, true] {
            let cache = cache(60_000, refusals);
            for (question, reply) in [("1", &allow), ("2", &deny), ("3", &failed)] {
                cache.put(cache.key("a", question), reply);
            }
            assert_eq!(cache.get(&cache.key("a", "1")), Some(allow.clone()));
            assert_eq!(cache.get(&cache.key("b", "1")), None);
            assert_eq!(cache.get(&cache.key("a", "2")), refusals.then(|| deny.clone()));
            assert_eq!(cache.get(&cache.key("a", "3")), None);
        }
    }

    #[test]
    fn nothing_is_kept_for_longer_than_it_may_be() {
        let cache = cache(0, true);
        cache.put(cache.key("a", "1"), &Reply::Allow(Vec::new()));
        assert_eq!(cache.get(&cache.key("a", "1")), None);
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let cache = cache(60_000, true);
        for number in 0..MOST + 10 {
            cache.put(cache.key("a", &number.to_string()), &Reply::Deny(None));
        }
        assert_eq!(cache.kept.lock().len(), MOST);
    }
}
