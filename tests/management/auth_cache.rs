//! What a service has said is kept for a while, as rabbitmq_auth_backend_cache does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::auth_http::{channel_closed, login, paths};
use super::service::{Question, Reply, Service, text};
use super::support::broker::Broker;
use super::support::{eventually, wire};

fn broker(service: &Service, more: &str) -> Broker {
    let lines = "auth_backends.1 = cache\nauth_cache.cached_backend = http\n";
    Broker::with_config(&format!("{lines}{}{more}", paths(service)))
}

fn asked(service: &Service) -> Vec<String> {
    service.was_asked().iter().map(|question| question.path.trim_start_matches("/auth/").to_owned()).collect()
}

fn strict(question: &Question) -> Reply {
    text(if question.get("name") == "denied" || question.get("password") == "wrong" { "deny" } else { "allow" })
}

#[test]
fn connections_share_what_was_allowed() {
    let service = Service::start(strict);
    let broker = broker(&service, "auth_cache.cache_ttl = 600000\n");
    for round in 0..3 {
        let mut raw = login(&broker, "hare", "secret").expect("let in");
        raw.send(&wire::queue_declare(1, "q", 0));
        raw.expect(wire::QUEUE_DECLARE_OK);
        let expected: &[&str] = if round == 0 { &["user", "vhost", "resource"] } else { &[] };
        assert_eq!(asked(&service), expected);
    }
    assert!(login(&broker, "hare", "another secret").is_ok());
    assert_eq!(asked(&service), ["user"], "another password is another question");
    assert!(login(&broker, "hare", "wrong").is_err());
    assert_eq!(asked(&service), ["user"]);
}

#[test]
fn refusals_are_kept_where_that_is_asked_for() {
    for refusals in [false, true] {
        let service = Service::start(strict);
        let broker = broker(&service, &format!("auth_cache.cache_ttl = 600000\nauth_cache.cache_refusals = {refusals}\n"));
        let mut raw = login(&broker, "hare", "secret").expect("let in");
        asked(&service);
        let mut questions = 0;
        for _ in 0..3 {
            raw.send(&wire::get(1, "denied"));
            assert_eq!(channel_closed(&mut raw), "ACCESS_REFUSED - read access to queue 'denied' in vhost '/' refused for user 'hare'");
            questions += asked(&service).len();
            assert!(login(&broker, "hare", "wrong").is_err());
            questions += asked(&service).len();
        }
        assert_eq!(questions, if refusals { 2 } else { 6 });
    }
}

#[test]
fn nothing_is_kept_for_ever() {
    let lenient = Arc::new(AtomicBool::new(true));
    let now = Arc::clone(&lenient);
    let service = Service::start(move |_| text(if now.load(Ordering::Relaxed) { "allow" } else { "deny" }));
    let broker = broker(&service, "auth_cache.cache_ttl = 200\n");
    assert!(login(&broker, "hare", "secret").is_ok());
    lenient.store(false, Ordering::Relaxed);
    eventually("it is asked again", || login(&broker, "hare", "secret").err());
}

/// Who could not be asked has said nothing.
#[test]
fn a_failure_is_not_kept() {
    let works = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&works);
    let service = Service::start(move |_| if now.load(Ordering::Relaxed) { text("allow") } else { Reply::Status(503, "") });
    let broker = broker(&service, "auth_cache.cache_ttl = 600000\nauth_cache.cache_refusals = true\n");
    assert!(login(&broker, "hare", "secret").is_err());
    works.store(true, Ordering::Relaxed);
    assert!(login(&broker, "hare", "secret").is_ok());
}
