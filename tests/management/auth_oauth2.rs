//! Tokens in place of passwords: signatures, keys, scopes, their end, and new ones for connections that are open (behaviour C28, P11).

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::{Value as Json, json};

use super::auth_http::{channel_closed, login};
use super::http::Http;
use super::service::{Reply, Service, text};
use super::support::broker::{Broker, Scratch, leveret};
use super::support::raw::{Close, Raw};
use super::support::{eventually, tls, wire};
use super::tokens::{Key, claims, seconds_from_now};

const REFUSED: &str = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.";
const ALL: &str = "rabbitmq.read:*/* rabbitmq.write:*/* rabbitmq.configure:*/*";
const UPDATE_SECRET: wire::Id = (10, 70);
const UPDATE_SECRET_OK: wire::Id = (10, 71);
const CANCEL: wire::Id = (60, 30);

const OAUTH2: &str = "auth_backends.1 = oauth2\nauth_oauth2.resource_server_id = rabbitmq\n";

/// A broker that takes tokens of one key, which they call `k`.
fn broker(key: &Key, more: &str) -> Broker {
    let scratch = Scratch::new();
    let file = scratch.file("key", &key.file());
    let lines = format!("{OAUTH2}auth_oauth2.signing_keys.k = {}\n{more}", file.display());
    let config = scratch.file("leveret.conf", &lines);
    let mut command = leveret();
    command.arg("--config").arg(config);
    Broker::launch(command, scratch)
}

fn refused(broker: &Broker, token: &str) -> String {
    login(broker, "", token).err().expect("a refusal")
}

/// What is left of claims when some are others.
fn with(mut claims: Json, more: &Json) -> Json {
    claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    claims
}

#[test]
fn signatures_of_all_kinds() {
    for (key, algorithms) in [
        (Key::rsa(), &["RS256", "RS384", "RS512", "PS256"][..]),
        (Key::p256(), &["ES256"]),
        (Key::p384(), &["ES384"]),
        (Key::ed25519(), &["EdDSA"]),
        (Key::secret(), &["HS256", "HS384", "HS512"]),
    ] {
        let broker = broker(&key, "");
        for algorithm in algorithms {
            let token = key.token(algorithm, &claims(ALL));
            let mut raw = login(&broker, "whoever", &token).expect(algorithm);
            raw.round_trip_on_new_queue("q");
            let (signed, signature) = token.rsplit_once('.').expect("three parts");
            let forged = key.token(algorithm, &with(claims(ALL), &json!({"sub": "fox"})));
            let forged = forged.rsplit_once('.').expect("three parts").0;
            assert_eq!(refused(&broker, &format!("{forged}.{signature}")), REFUSED);
            assert_eq!(refused(&broker, &format!("{signed}.")), REFUSED);
        }
        let log = broker.log();
        assert!(log.contains("user 'hare' authenticated and granted access to vhost '/'"), "{log}");
        assert!(log.contains("Authentication using OAuth 2/JWT token failed: signature_invalid"), "{log}");
        assert!(!log.contains(".ey"), "tokens are not logged");
    }
}

/// What attackers try.
#[test]
fn a_token_is_signed_with_the_key_and_in_the_way_that_the_broker_knows() {
    let key = Key::rsa();
    let broker = broker(&key, "auth_oauth2.algorithms.1 = RS256\nauth_oauth2.default_key = k\n");
    let claims = claims(ALL);
    let public_as_secret = Key::Secret(key.file().into_bytes());
    for (signer, header) in [
        (&public_as_secret, json!({"alg": "HS256", "kid": "k"})),
        (&key, json!({"alg": "none", "kid": "k"})),
        (&key, json!({"alg": "RS512", "kid": "k"})),
        (&key, json!({"alg": "RS256", "kid": "another"})),
        (&key, json!({"alg": "RS256", "kid": "k", "crit": ["exp"]})),
    ] {
        assert_eq!(refused(&broker, &signer.token_with(&header, &claims)), REFUSED, "{header}");
    }
    for nonsense in ["", "a.b.c", "guest", "..", &"x".repeat(5000)] {
        assert_eq!(refused(&broker, nonsense), REFUSED);
    }
    // The default key is that of tokens without a name.
    assert!(login(&broker, "", &key.token_with(&json!({"alg": "RS256"}), &claims)).is_ok());
}

#[test]
fn a_token_is_for_this_broker_and_has_an_end() {
    let key = Key::secret();
    let broker = broker(&key, "");
    let try_with = |more: &Json| login(&broker, "", &key.token("HS256", &with(claims(ALL), more))).err();
    assert_eq!(try_with(&json!({"aud": "other rabbitmq"})), None);
    for bad in [
        json!({"aud": "other"}),
        json!({"aud": null}),
        json!({"exp": seconds_from_now(0) - 1}),
        json!({"exp": "tomorrow"}),
        json!({"exp": null}),
    ] {
        assert_eq!(try_with(&bad), Some(REFUSED.to_owned()), "{bad}");
    }
    assert_eq!(
        try_with(&json!({"scope": "rabbitmq.read:other/* openid"})),
        Some("NOT_ALLOWED - access to vhost '/' refused for user 'hare'".to_owned())
    );
    assert!(broker.log().contains("Provided JWT token has expired at timestamp"), "{}", broker.log());
}

#[test]
fn scopes_say_what_may_be_done() {
    let key = Key::p256();
    let broker = broker(&key, "");
    let scopes = "rabbitmq.configure:%2F/q-* rabbitmq.write:%2F/amq.default rabbitmq.write:*/t/{sub}.* rabbitmq.read:*/q-*";
    let mut raw = login(&broker, "", &key.token("ES256", &claims(scopes))).expect("let in");
    let boss = Http::bearer(broker.http(), &key.token("ES256", &claims(&format!("{ALL} rabbitmq.tag:administrator"))));
    boss.put("/api/exchanges/%2F/t", &json!({"type": "topic"})).is(201);
    raw.send(&wire::queue_declare(1, "q-1", 0));
    raw.expect(wire::QUEUE_DECLARE_OK);
    raw.send(&[wire::publish(1, "", "q-1", b"hello"), wire::publish(1, "t", "hare.x", b"hello"), wire::get(1, "q-1")].concat());
    raw.expect(wire::GET_OK);
    for _content in 0..2 {
        raw.next().expect("a frame");
    }
    for (bytes, text) in [
        (wire::queue_declare(1, "other", 0), "configure access to queue 'other' in vhost '/' refused for user 'hare'"),
        (wire::publish(1, "x", "", b""), "write access to exchange 'x' in vhost '/' refused for user 'hare'"),
        (wire::get(1, "r"), "read access to queue 'r' in vhost '/' refused for user 'hare'"),
        (wire::publish(1, "t", "fox.x", b""), "write access to topic 'fox.x' in exchange 't' in vhost '/' refused for user 'hare'"),
    ] {
        raw.send(&bytes);
        assert_eq!(channel_closed(&mut raw), format!("ACCESS_REFUSED - {text}"));
    }
}

#[test]
fn other_names_and_other_places() {
    let key = Key::secret();
    let more = "auth_oauth2.scope_prefix = mq:\nauth_oauth2.preferred_username_claims.1 = user_name\n\
                auth_oauth2.additional_scopes_key = roles\nauth_oauth2.scope_aliases.developer = mq:read:*/* mq:configure:*/*\n";
    let broker = broker(&key, more);
    let claims = with(claims("openid"), &json!({"user_name": "tortoise", "roles": "developer mq:tag:monitoring"}));
    let token = key.token("HS256", &claims);
    let mut raw = login(&broker, "", &token).expect("let in");
    raw.send(&wire::publish(1, "", "q", b""));
    assert_eq!(
        channel_closed(&mut raw),
        "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'tortoise'"
    );
    let whoami = Http::bearer(broker.http(), &token).get("/api/whoami").ok();
    assert_eq!(whoami, json!({"name": "tortoise", "tags": ["monitoring"], "is_internal_user": false}));
}

#[test]
fn the_http_api_takes_bearer_tokens() {
    let key = Key::p384();
    let broker = broker(&key, "auth_backends.2 = internal\n");
    let http = |scopes: &str| Http::bearer(broker.http(), &key.token("ES384", &claims(scopes)));
    http(ALL).get("/api/whoami").refuses(401, "not_authorised", "Not management user");
    Http::bearer(broker.http(), "a.b.c").get("/api/whoami").refuses(401, "not_authorized", "Not_Authorized");
    let boss = http(&format!("{ALL} rabbitmq.tag:administrator"));
    assert_eq!(boss.get("/api/whoami").ok()["tags"], json!(["administrator"]));
    boss.put("/api/vhosts/other", &json!({})).is(201);
    boss.put("/api/queues/%2F/q", &json!({})).is(201);
    let manager = http("rabbitmq.tag:management rabbitmq.read:%2F/* rabbitmq.write:%2F/amq.default");
    assert_eq!(super::all(&manager.get("/api/vhosts").ok(), "name"), [json!("/")]);
    manager.put("/api/queues/%2F/mine", &json!({})).refuses(401, "not_authorised", "Access refused.");
    let publish = json!({"properties": {}, "routing_key": "q", "payload": "hello", "payload_encoding": "string"});
    assert_eq!(manager.post("/api/exchanges/%2F/amq.default/publish", &publish).ok(), json!({"routed": true}));
    // Another token of the same user is another permission.
    let reader = http("rabbitmq.tag:management rabbitmq.read:%2F/*");
    let refused = reader.post("/api/exchanges/%2F/amq.default/publish", &publish);
    refused.is(400);
    assert!(refused.text().contains("write access to exchange 'amq.default' in vhost '/' refused for user 'hare'"), "{}", refused.text());
    assert_eq!(super::all(&reader.get("/api/leveret/queues/%2F/q/peek").ok()["messages"], "payload"), [json!("hello")]);
    // As a password, and beside users of the node.
    let token = key.token("ES384", &claims("rabbitmq.tag:monitoring"));
    assert_eq!(Http::new(broker.http(), "any", &token).get("/api/whoami").ok()["name"], "hare");
    assert_eq!(Http::guest(broker.http()).get("/api/whoami").ok()["is_internal_user"], true);
}

#[test]
fn a_connection_ends_when_its_token_expires() {
    let key = Key::ed25519();
    let broker = broker(&key, "");
    let token = key.token("EdDSA", &with(claims(ALL), &json!({"exp": seconds_from_now(3)})));
    let mut raw = login(&broker, "", &token).expect("let in");
    let close = Close::of(&raw.expect(wire::CLOSE));
    assert_eq!((close.code, &*close.text), (320, "CONNECTION_FORCED - credential expired"));
    assert_eq!(refused(&broker, &token), REFUSED);
}

fn update_secret(raw: &mut Raw, token: &str) {
    raw.send(&wire::method(0, UPDATE_SECRET, &wire::Fields::new().bytes(token.as_bytes()).text("it is time")));
}

#[test]
fn a_new_secret_puts_the_end_off_and_changes_what_may_be_done() {
    let key = Key::p256();
    let broker = broker(&key, "");
    let token = |scopes: &str, seconds: u64| key.token("ES256", &with(claims(scopes), &json!({"exp": seconds_from_now(seconds)})));
    let first = token(ALL, 4);
    let mut raw = login(&broker, "", &first).expect("let in");
    raw.send(&wire::queue_declare(1, "q", 0));
    raw.expect(wire::QUEUE_DECLARE_OK);
    raw.send(&wire::consume(1, "q", 2));
    raw.expect(wire::CONSUME_OK);
    // It still may read, and goes on.
    update_secret(&mut raw, &token("rabbitmq.read:*/q rabbitmq.write:*/*", 3600));
    raw.expect(UPDATE_SECRET_OK);
    raw.send(&wire::publish(1, "", "q", b"hello"));
    raw.expect(wire::DELIVER);
    raw.send(&wire::queue_declare(1, "r", 0));
    let text = loop {
        let frame = raw.next().expect("a frame");
        if frame.id() == wire::CHANNEL_CLOSE {
            break Close::of(&frame).text;
        }
    };
    raw.send(&wire::method(1, wire::CHANNEL_CLOSE_OK, &wire::Fields::new()));
    raw.open_channel(1);
    assert_eq!(text, "ACCESS_REFUSED - configure access to queue 'r' in vhost '/' refused for user 'hare'");
    eventually("the first one has expired", || login(&broker, "", &first).err());
    raw.send(&wire::consume(1, "q", 2));
    raw.expect(wire::CONSUME_OK);
    // It may not read any more: its consumers end.
    update_secret(&mut raw, &token("rabbitmq.write:*/*", 3600));
    raw.expect(CANCEL);
    raw.expect(UPDATE_SECRET_OK);
}

#[test]
fn a_new_secret_that_is_not_good_ends_the_connection() {
    let key = Key::p256();
    let broker = broker(&key, "");
    let token = |claims: &Json| key.token("ES256", claims);
    let new_secret = "NOT_ALLOWED - New secret was refused by one of the backends";
    for (secret, text) in [
        ("nonsense".to_owned(), new_secret),
        (token(&with(claims(ALL), &json!({"exp": 1}))), new_secret),
        (token(&with(claims(ALL), &json!({"sub": "fox"}))), new_secret),
        (token(&claims("rabbitmq.read:other/*")), "NOT_ALLOWED - access to vhost '/' refused for user 'hare'"),
    ] {
        let mut raw = login(&broker, "", &token(&claims(ALL))).expect("let in");
        update_secret(&mut raw, &secret);
        let close = Close::of(&raw.expect(wire::CLOSE));
        assert_eq!((close.code, &*close.text, close.id), (530, text, UPDATE_SECRET));
    }
    assert!(broker.log().contains("Not allowed to change username on refreshed token"));
    // Users of the node have no other secret.
    let broker = Broker::start();
    let mut raw = Raw::channel(&broker);
    update_secret(&mut raw, "anything");
    raw.expect(UPDATE_SECRET_OK);
}

/// Keys that somebody has, who changes them.
#[test]
fn keys_are_fetched_when_they_are_not_known() {
    let keys: Arc<Mutex<Json>> = Arc::new(Mutex::new(json!({"keys": []})));
    let set = Arc::clone(&keys);
    let service = Service::start(move |_| text(&set.lock().to_string()));
    let (first, second) = (Key::p256(), Key::rsa());
    let broker = Broker::with_config(&format!("{OAUTH2}auth_oauth2.jwks_url = http://{}/keys\n", service.address));
    let of = |key: &Key, name: &str| {
        let algorithm = if name == "first" { "ES256" } else { "RS256" };
        key.token_with(&json!({"alg": algorithm, "kid": name}), &claims(ALL))
    };
    assert_eq!(refused(&broker, &of(&first, "first")), REFUSED);
    *keys.lock() = json!({"keys": [first.jwk("first"), {"kid": "odd", "kty": "unknown"}]});
    eventually("it asks again", || login(&broker, "", &of(&first, "first")).ok());
    service.was_asked();
    for _ in 0..3 {
        assert!(login(&broker, "", &of(&first, "first")).is_ok());
    }
    assert_eq!(service.lines(), [""; 0], "what is known is not asked for");
    *keys.lock() = json!({"keys": [second.jwk("second")]});
    eventually("it asks again", || login(&broker, "", &of(&second, "second")).ok());
    assert_eq!(refused(&broker, &of(&first, "first")), REFUSED, "it is one of the keys no more");
    // Who invents names makes nobody ask without end.
    service.was_asked();
    let began = Instant::now();
    for number in 0..20 {
        assert_eq!(refused(&broker, &of(&first, &number.to_string())), REFUSED);
    }
    let rests = usize::try_from(began.elapsed().as_millis() / 250).expect("not long");
    assert!(service.was_asked().len() <= rests + 1);
}

#[test]
fn an_issuer_says_where_its_keys_are() {
    let key = Key::p256();
    let set = json!({"keys": [key.jwk("k")]}).to_string();
    let keys = Service::start(move |_| text(&set));
    let address = keys.address;
    let issuer = Service::start(move |_| text(&json!({"jwks_uri": format!("http://{address}/keys")}).to_string()));
    let broker = Broker::with_config(&format!("{OAUTH2}auth_oauth2.issuer = http://{}/realm/\n", issuer.address));
    assert!(login(&broker, "", &key.token("ES256", &claims(ALL))).is_ok());
    assert_eq!(issuer.lines(), ["GET /realm/.well-known/openid-configuration"]);
    assert_eq!(keys.lines(), ["GET /keys"]);
}

/// A broker of these lines, in which `KEY` stands for a file with a key.
fn broker_with(lines: &str, key: &Key) -> Broker {
    let scratch = Scratch::new();
    let file = scratch.file("key", &key.file());
    let lines = lines.replace("KEY", &file.display().to_string());
    let config = scratch.file("leveret.conf", &format!("auth_backends.1 = oauth2\n{lines}"));
    let mut command = leveret();
    command.arg("--config").arg(config);
    Broker::launch(command, scratch)
}

#[test]
fn each_name_of_the_broker_has_scopes_of_its_own() {
    let key = Key::secret();
    let broker = broker_with(
        "auth_oauth2.resource_server_id = rabbitmq\nauth_oauth2.signing_keys.k = KEY\n\
         auth_oauth2.resource_servers.1.id = warren-prod\nauth_oauth2.resource_servers.1.scope_prefix = prod:\n\
         auth_oauth2.resource_servers.1.preferred_username_claims.1 = user_name\n\
         auth_oauth2.resource_servers.warren-dev.scope_aliases.developer = warren-dev.configure:*/* warren-dev.read:*/*\n",
        &key,
    );
    let scopes = "prod:write:*/* prod:read:*/* developer rabbitmq.configure:*/q rabbitmq.read:*/*";
    let token = |audience: Json| key.token("HS256", &with(claims(scopes), &json!({"aud": audience, "user_name": "tortoise"})));
    for (audience, user, may_declare, may_publish) in [
        (json!("rabbitmq"), "hare", true, false),
        (json!(["warren-prod", "somebody"]), "tortoise", false, true),
        (json!("warren-dev somebody"), "hare", true, false),
    ] {
        let mut raw = login(&broker, "", &token(audience)).expect("let in");
        let refused = |what: &str| format!("ACCESS_REFUSED - {what} in vhost '/' refused for user '{user}'");
        raw.send(&wire::queue_declare(1, "q", 0));
        if may_declare {
            raw.expect(wire::QUEUE_DECLARE_OK);
        } else {
            assert_eq!(channel_closed(&mut raw), refused("configure access to queue 'q'"));
        }
        raw.send(&[wire::publish(1, "", "q", b"hello"), wire::get(1, "q")].concat());
        if may_publish {
            raw.expect(wire::GET_OK);
        } else {
            assert_eq!(channel_closed(&mut raw), refused("write access to exchange 'amq.default'"));
        }
    }
    for (audience, why) in
        [(json!("rabbitmq warren-dev"), "aud_matched_many_resource_servers_only_one_allowed"), (json!("1"), "no_matching_aud_found")]
    {
        assert_eq!(refused(&broker, &token(audience)), REFUSED);
        assert!(broker.log().contains(&format!("Authentication using OAuth 2/JWT token failed: {why}")), "{}", broker.log());
    }
}

/// The keys of all of them are called the same.
#[test]
fn each_provider_has_keys_of_its_own() {
    let (filed, fetched, found) = (Key::p256(), Key::rsa(), Key::ed25519());
    let (set, other) = (json!({"keys": [fetched.jwk("k")]}).to_string(), json!({"keys": [found.jwk("k")]}).to_string());
    let keys = Service::start(move |question| text(if question.path == "/burrow" { &set } else { &other }));
    let address = keys.address;
    let issuer = Service::start(move |_| text(&json!({"jwks_uri": format!("http://{address}/form")}).to_string()));
    let lines = format!(
        "auth_oauth2.resource_servers.prod.oauth_provider_id = hutch\nauth_oauth2.oauth_providers.hutch.signing_keys.k = KEY\n\
         auth_oauth2.oauth_providers.hutch.default_key = k\n\
         auth_oauth2.resource_servers.dev.oauth_provider_id = burrow\nauth_oauth2.oauth_providers.burrow.jwks_uri = http://{address}/burrow\n\
         auth_oauth2.oauth_providers.burrow.algorithms.1 = RS256\n\
         auth_oauth2.resource_server_id = rabbitmq\nauth_oauth2.default_oauth_provider = form\n\
         auth_oauth2.oauth_providers.form.issuer = http://{}/realm\nauth_oauth2.oauth_providers.form.discovery_endpoint_path = discovery\n\
         auth_oauth2.oauth_providers.form.discovery_endpoint_params.a = 1\n\
         auth_oauth2.signing_keys.k = KEY\n",
        issuer.address
    );
    let broker = broker_with(&lines, &filed);
    let signers = [("ES256", &filed), ("RS256", &fetched), ("EdDSA", &found)];
    for (audience, own) in [("prod", "ES256"), ("dev", "RS256"), ("rabbitmq", "EdDSA")] {
        let scopes = format!("{audience}.read:*/* {audience}.write:*/* {audience}.configure:*/*");
        let claims = with(claims(&scopes), &json!({"aud": audience}));
        for (algorithm, key) in signers {
            let token = key.token(algorithm, &claims);
            if algorithm == own {
                login(&broker, "", &token).expect(audience).round_trip_on_new_queue(audience);
            } else {
                assert_eq!(refused(&broker, &token), REFUSED, "{audience} {algorithm}");
            }
        }
        // What is said of one is not said of another: its algorithms, and the key of tokens that name none.
        assert_eq!(login(&broker, "", &filed.token_with(&json!({"alg": "ES256"}), &claims)).is_ok(), audience == "prod");
        assert!(login(&broker, "", &fetched.token("RS512", &claims)).is_err(), "{audience}");
    }
    assert_eq!(issuer.lines(), ["GET /realm/discovery?a=1"]);
    let mut asked = keys.lines();
    asked.sort();
    assert_eq!(asked, ["GET /burrow", "GET /form"]);
    assert!(broker.log().contains("Authentication using OAuth 2/JWT token failed: signature_invalid"), "{}", broker.log());
}

#[test]
fn who_has_no_keys_is_logged() {
    let service = Service::start(|_| Reply::Status(500, "oops"));
    let broker = Broker::with_config(&format!("{OAUTH2}auth_oauth2.jwks_url = http://{}/keys\n", service.address));
    assert_eq!(refused(&broker, &Key::p256().token("ES256", &claims(ALL))), REFUSED);
    assert!(broker.log().contains("Failed to download signing keys: {500,\"oops\"}"), "{}", broker.log());
}

/// The HTTP API of another broker serves over TLS what it is asked for; here it is what is looked at before that.
#[test]
fn keys_come_over_tls_from_who_is_trusted() {
    let authority = tls::Authority::new();
    let scratch = Scratch::new();
    let (identity, ca) = (authority.issue("keys"), scratch.file("authority.pem", &authority.certificate));
    let file = |name: &str, text: &str| scratch.file(name, text).display().to_string();
    let lines = format!(
        "management.ssl.port = 127.0.0.1:0\nmanagement.ssl.certfile = {}\nmanagement.ssl.keyfile = {}\n",
        file("server.pem", &identity.certificate),
        file("server.key", &identity.key)
    );
    let keys = Broker::with_config(&lines);
    let token = Key::p256().token("ES256", &claims(ALL));
    let url = format!("https://localhost:{}/api/whoami", keys.https().port());
    let trusted = format!("https.cacertfile = {}\n", ca.display());
    let other = format!("https.cacertfile = {}\n", file("other.pem", &tls::Authority::new().certificate));
    let (root, named) = ("auth_oauth2", "auth_oauth2.oauth_providers.a");
    for (provider, trust, seen) in [
        (root, format!("{root}.{trusted}"), "{401,"),
        (root, format!("{root}.https.verify = verify_none\n"), "{401,"),
        (root, format!("{root}.{other}"), "invalid peer certificate"),
        (named, format!("{named}.{trusted}{root}.{other}"), "{401,"),
        (named, format!("{named}.https.verify = verify_none\n"), "{401,"),
        (named, format!("{root}.{trusted}"), "invalid peer certificate"),
    ] {
        let provided = if provider == named { "auth_oauth2.default_oauth_provider = a\n" } else { "" };
        let broker = Broker::with_config(&format!("{OAUTH2}{provided}{provider}.jwks_uri = {url}\n{trust}"));
        assert_eq!(refused(&broker, &token), REFUSED);
        let log = broker.log();
        assert!(log.contains("Failed to download signing keys: ") && log.contains(seen), "{seen}: {log}");
    }
}

/// Tokens say who somebody is, and the node what it may do.
#[test]
fn the_node_may_say_what_somebody_may_do() {
    let key = Key::secret();
    let lines = "auth_backends.1.authn = oauth2\nauth_backends.1.authz = internal\nauth_backends.2 = internal\n";
    let broker = broker(&key, lines);
    let token = key.token("HS256", &claims("rabbitmq.read:other/*"));
    assert_eq!(refused(&broker, &token), REFUSED, "the node has no such user");
    let guest = Http::guest(broker.http());
    guest.put("/api/users/hare", &json!({"password_hash": "", "tags": ""})).is(201);
    guest.put("/api/permissions/%2F/hare", &json!({"configure": "^q", "write": "", "read": ""})).is(201);
    let mut raw = login(&broker, "", &token).expect("let in");
    raw.send(&wire::queue_declare(1, "q", 0));
    raw.expect(wire::QUEUE_DECLARE_OK);
    raw.send(&wire::queue_declare(1, "x", 0));
    assert_eq!(channel_closed(&mut raw), "ACCESS_REFUSED - configure access to queue 'x' in vhost '/' refused for user 'hare'");
}

#[test]
fn keys_that_are_none_do_not_start() {
    let scratch = Scratch::new();
    let file = scratch.file("key", "a carrot");
    for (lines, why) in [
        (
            format!("auth_oauth2.signing_keys.k = {}\n", file.display()),
            format!("auth_oauth2.signing_keys.k: {}: no public key or certificate in PEM of a kind that is known", file.display()),
        ),
        (
            format!("auth_oauth2.jwks_url = http://127.0.0.1/keys\nauth_oauth2.oauth_providers.a.signing_keys.k = {}\n", file.display()),
            format!(
                "auth_oauth2.oauth_providers.a.signing_keys.k: {}: no public key or certificate in PEM of a kind that is known",
                file.display()
            ),
        ),
        (
            "auth_oauth2.jwks_url = http://127.0.0.1/keys\nauth_oauth2.algorithms.1 = none\n".to_owned(),
            "auth_oauth2.algorithms.1: 'none' is not supported".to_owned(),
        ),
    ] {
        let config = scratch.file("leveret.conf", &format!("{OAUTH2}{lines}"));
        let output = leveret().args(["--amqp", "127.0.0.1:0", "--log", "none", "--config"]).arg(config).output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("leveret: {why}\n"));
        assert_eq!(output.status.code(), Some(1));
    }
}
