//! The keys that are about who says who somebody is and what it may do.

use super::super::authentication::{BackendName, Named, safe_url, url};
use super::super::values::{boolean, number};
use super::super::{ClientTls, Config, NamedBackends};
use super::{Key, alias, key, maybe, named, one, path, path_of, put, some, take};

pub(super) const AUTHENTICATION: &[Key] = &[
    key(
        "auth_backends.$number",
        "Who is asked who somebody is and what it may do, one after the other: `internal`, the users of the node; `http`, a service; \
         `oauth2`, tokens; `cache`, one of these whose answers are kept. When none is named, the users of the node.",
        |c, place, v| {
            let name = BackendName::named(v);
            c.auth_backends.0.insert(number(place)?, Named { authn: name.clone(), authz: name });
            Ok(())
        },
        |c| shown(c, |backend| (backend.authn == backend.authz).then_some(&backend.authn)),
    ),
    key(
        "auth_backends.$number.authn",
        "The same for who it is alone.",
        |c, place, v| take(&mut backend(&mut c.auth_backends, place)?.authn, BackendName::named(v)),
        |c| shown(c, |backend| (backend.authn != backend.authz).then_some(&backend.authn)),
    ),
    key(
        "auth_backends.$number.authz",
        "The same for what it may do.",
        |c, place, v| take(&mut backend(&mut c.auth_backends, place)?.authz, BackendName::named(v)),
        |c| shown(c, |backend| (backend.authn != backend.authz).then_some(&backend.authz)),
    ),
    key(
        "track_auth_attempt_source",
        "Whether attempts to log in are counted by address and user, too (/api/auth/attempts/NODE/source): 10,000 of them at most.",
        |c, _, v| put(&mut c.track_auth_attempt_source, boolean(v)),
        |c| one(c.track_auth_attempt_source),
    ),
    key(
        "auth_http.http_method",
        "How the service is asked: `get`, or `post` with a form.",
        |c, _, v| match v {
            "get" | "post" => take(&mut c.auth_http.post, v == "post"),
            _ => Err(format!("'{v}' is neither get nor post")),
        },
        |c| one(if c.auth_http.post { "post" } else { "get" }),
    ),
    key(
        "auth_http.user_path",
        "Where it is asked about users, with `username` and `password`. It answers `allow`, with tags behind it, or `deny`.",
        |c, _, v| put(&mut c.auth_http.user_path, url(v)),
        |c| one(&c.auth_http.user_path),
    ),
    key(
        "auth_http.vhost_path",
        "Where it is asked about virtual hosts, with `username`, `vhost`, `ip` and `tags`.",
        |c, _, v| put(&mut c.auth_http.vhost_path, url(v)),
        |c| one(&c.auth_http.vhost_path),
    ),
    key(
        "auth_http.resource_path",
        "Where it is asked about queues and exchanges, with `username`, `vhost`, `resource`, `name`, `permission` and `tags`.",
        |c, _, v| put(&mut c.auth_http.resource_path, url(v)),
        |c| one(&c.auth_http.resource_path),
    ),
    key(
        "auth_http.topic_path",
        "Where it is asked about routing keys of topic exchanges, with the same, `routing_key`, `variable_map.username` and \
         `variable_map.vhost`.",
        |c, _, v| put(&mut c.auth_http.topic_path, url(v)),
        |c| one(&c.auth_http.topic_path),
    ),
    key(
        "auth_http.request_timeout",
        "How long it may take to answer, in milliseconds.",
        |c, _, v| put(&mut c.auth_http.request_timeout_ms, number(v)),
        |c| one(c.auth_http.request_timeout_ms),
    ),
    key(
        "auth_http.connection_timeout",
        "How long it may take to reach it, in milliseconds.",
        |c, _, v| put(&mut c.auth_http.connection_timeout_ms, number(v)),
        |c| one(c.auth_http.connection_timeout_ms),
    ),
    key(
        "auth_http.authorization_failure_disclosure",
        "Whether clients are told what it says behind `deny`.",
        |c, _, v| put(&mut c.auth_http.disclosure, boolean(v)),
        |c| one(c.auth_http.disclosure),
    ),
    key(
        "auth_http.ssl_options.verify",
        "`verify_peer`: its certificate is checked where it is reached over https. `verify_none`: it is not.",
        |c, _, v| verify(&mut c.auth_http.tls, v),
        |c| verified(&c.auth_http.tls),
    ),
    key(
        "auth_http.ssl_options.cacertfile",
        "The authorities that may sign its certificate: PEM. Those of the system when there are none.",
        |c, _, v| path(&mut c.auth_http.tls.cacertfile, v),
        |c| path_of(c.auth_http.tls.cacertfile.as_ref()),
    ),
    key(
        "auth_http.ssl_options.certfile",
        "The certificate that it is shown.",
        |c, _, v| path(&mut c.auth_http.tls.certfile, v),
        |c| path_of(c.auth_http.tls.certfile.as_ref()),
    ),
    key(
        "auth_http.ssl_options.keyfile",
        "The private key of that.",
        |c, _, v| path(&mut c.auth_http.tls.keyfile, v),
        |c| path_of(c.auth_http.tls.keyfile.as_ref()),
    ),
    key(
        "auth_cache.cached_backend",
        "Whose answers `cache` keeps: `http`. Nothing is kept of the others, which ask nobody; when none is named, it is `internal`.",
        |c, _, v| {
            some(&mut c.auth_cache.authn, Ok(BackendName::named(v)))?;
            some(&mut c.auth_cache.authz, Ok(BackendName::named(v)))
        },
        |c| cached(c, |cached| (cached.authn == cached.authz).then_some(&cached.authn)),
    ),
    key(
        "auth_cache.cached_backend.authn",
        "The same for who somebody is alone.",
        |c, _, v| some(&mut c.auth_cache.authn, Ok(BackendName::named(v))),
        |c| cached(c, |cached| (cached.authn != cached.authz).then_some(&cached.authn)),
    ),
    key(
        "auth_cache.cached_backend.authz",
        "The same for what it may do.",
        |c, _, v| some(&mut c.auth_cache.authz, Ok(BackendName::named(v))),
        |c| cached(c, |cached| (cached.authn != cached.authz).then_some(&cached.authz)),
    ),
    key(
        "auth_cache.cache_ttl",
        "For how long they are kept, in milliseconds.",
        |c, _, v| put(&mut c.auth_cache.ttl_ms, number(v)),
        |c| one(c.auth_cache.ttl_ms),
    ),
    key(
        "auth_cache.cache_refusals",
        "Whether refusals are kept, too.",
        |c, _, v| put(&mut c.auth_cache.refusals, boolean(v)),
        |c| one(c.auth_cache.refusals),
    ),
];

pub(super) const OAUTH2: &[Key] = &[
    key(
        "auth_oauth2.resource_server_id",
        "What the broker is called in the audience of tokens, and in their scopes.",
        |c, _, v| some(&mut c.auth_oauth2.resource_server_id, Ok(v.to_owned())),
        |c| maybe(c.auth_oauth2.resource_server_id.as_ref()),
    ),
    key(
        "auth_oauth2.resource_server_type",
        "The type of what is meant for it in `authorization_details`.",
        |c, _, v| some(&mut c.auth_oauth2.resource_server_type, Ok(v.to_owned())),
        |c| maybe(c.auth_oauth2.resource_server_type.as_ref()),
    ),
    key(
        "auth_oauth2.scope_prefix",
        "What its scopes begin with; its name and a dot where this is not set.",
        |c, _, v| some(&mut c.auth_oauth2.scope_prefix, Ok(v.to_owned())),
        |c| maybe(c.auth_oauth2.scope_prefix.as_ref()),
    ),
    key(
        "auth_oauth2.additional_scopes_key",
        "Claims that have scopes beside `scope`, such as `roles` or `a.b`, with spaces between them.",
        |c, _, v| some(&mut c.auth_oauth2.additional_scopes_key, Ok(v.to_owned())),
        |c| maybe(c.auth_oauth2.additional_scopes_key.as_ref()),
    ),
    key(
        "auth_oauth2.scope_aliases.$alias",
        "The scopes that another name stands for, with spaces between them.",
        |c, name, v| {
            c.auth_oauth2.scope_aliases.insert(name.to_owned(), v.to_owned());
            Ok(())
        },
        |c| named(&c.auth_oauth2.scope_aliases),
    ),
    key(
        "auth_oauth2.scope_aliases.$number.alias",
        "The same for names that cannot be part of a key: the name.",
        |c, place, v| some(&mut c.auth_oauth2.numbered_aliases.entry(place.to_owned()).or_default().alias, Ok(v.to_owned())),
        |c| named(c.auth_oauth2.numbered_aliases.iter().filter_map(|(place, both)| Some((place, both.alias.as_ref()?)))),
    ),
    key(
        "auth_oauth2.scope_aliases.$number.scope",
        "The scopes that it stands for.",
        |c, place, v| some(&mut c.auth_oauth2.numbered_aliases.entry(place.to_owned()).or_default().scope, Ok(v.to_owned())),
        |c| named(c.auth_oauth2.numbered_aliases.iter().filter_map(|(place, both)| Some((place, both.scope.as_ref()?)))),
    ),
    key(
        "auth_oauth2.preferred_username_claims.$number",
        "Claims that name the user, the first that is there; `sub` and `client_id` when none is named.",
        |c, place, v| {
            c.auth_oauth2.preferred_username_claims.insert(number(place)?, v.to_owned());
            Ok(())
        },
        |c| c.auth_oauth2.preferred_username_claims.iter().map(|(place, claim)| (place.to_string(), claim.clone())).collect(),
    ),
    key(
        "auth_oauth2.verify_aud",
        "Whether tokens must have the broker in their audience (`aud`).",
        |c, _, v| put(&mut c.auth_oauth2.verify_aud, boolean(v)),
        |c| one(c.auth_oauth2.verify_aud),
    ),
    key(
        "auth_oauth2.require_exp",
        "Whether tokens must say when they expire (`exp`).",
        |c, _, v| put(&mut c.auth_oauth2.require_exp, boolean(v)),
        |c| one(c.auth_oauth2.require_exp),
    ),
    key(
        "auth_oauth2.signing_keys.$name",
        "A file with a key that tokens may be signed with, by what they call it (`kid`): a public key or a certificate in PEM, or a JWK.",
        |c, name, v| {
            c.auth_oauth2.signing_keys.insert(name.to_owned(), v.into());
            Ok(())
        },
        |c| named(c.auth_oauth2.signing_keys.iter().map(|(name, path)| (name, path.display()))),
    ),
    key(
        "auth_oauth2.default_key",
        "The key of a token that names none.",
        |c, _, v| some(&mut c.auth_oauth2.default_key, Ok(v.to_owned())),
        |c| maybe(c.auth_oauth2.default_key.as_ref()),
    ),
    key(
        "auth_oauth2.algorithms.$number",
        "Algorithms of signatures: `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`, `HS256`, `HS384`, \
         `HS512`. When none is named, all that go with the key.",
        |c, place, v| {
            c.auth_oauth2.algorithms.insert(place.to_owned(), v.to_owned());
            Ok(())
        },
        |c| named(&c.auth_oauth2.algorithms),
    ),
    key(
        "auth_oauth2.jwks_url",
        "Where more keys are (a JWK set): https, or http on this machine. It is asked when a token names a key that is not known.",
        |c, _, v| some(&mut c.auth_oauth2.jwks_url, safe_url(v)),
        |c| maybe(c.auth_oauth2.jwks_url.as_ref()),
    ),
    alias("auth_oauth2.jwks_uri", "auth_oauth2.jwks_url", |c, _, v| some(&mut c.auth_oauth2.jwks_url, safe_url(v))),
    key(
        "auth_oauth2.issuer",
        "Who knows where they are, where `jwks_url` is not set: asked by OpenID Connect's discovery.",
        |c, _, v| some(&mut c.auth_oauth2.issuer, safe_url(v)),
        |c| maybe(c.auth_oauth2.issuer.as_ref()),
    ),
    key(
        "auth_oauth2.discovery_endpoint_path",
        "Where the issuer is asked, behind its address.",
        |c, _, v| take(&mut c.auth_oauth2.discovery_endpoint_path, v),
        |c| one(&c.auth_oauth2.discovery_endpoint_path),
    ),
    key(
        "auth_oauth2.https.verify",
        "`verify_peer`: the certificates of both are checked. `verify_none`: they are not.",
        |c, _, v| verify(&mut c.auth_oauth2.tls, v),
        |c| verified(&c.auth_oauth2.tls),
    ),
    alias("auth_oauth2.https.peer_verification", "auth_oauth2.https.verify", |c, _, v| verify(&mut c.auth_oauth2.tls, v)),
    key(
        "auth_oauth2.https.cacertfile",
        "The authorities that may sign them: PEM. Those of the system when there are none.",
        |c, _, v| path(&mut c.auth_oauth2.tls.cacertfile, v),
        |c| path_of(c.auth_oauth2.tls.cacertfile.as_ref()),
    ),
];

fn backend<'a>(backends: &'a mut NamedBackends, place: &str) -> Result<&'a mut Named, String> {
    Ok(backends.0.entry(number(place)?).or_default())
}

fn shown(config: &Config, show: impl Fn(&Named) -> Option<&BackendName>) -> Vec<(String, String)> {
    let all = config.auth_backends.0.iter();
    all.filter_map(|(place, backend)| Some((place.to_string(), show(backend)?.name().to_owned()))).collect()
}

fn cached(config: &Config, show: impl Fn(&Named) -> Option<&BackendName>) -> Vec<(String, String)> {
    let is_set = config.auth_cache.authn.is_some() || config.auth_cache.authz.is_some();
    maybe(show(&config.auth_cache.cached()).filter(|_| is_set).map(|name| name.name().to_owned()))
}

fn verify(tls: &mut ClientTls, value: &str) -> Result<(), String> {
    match value {
        "verify_peer" | "verify_none" => take(&mut tls.verify, value == "verify_peer"),
        _ => Err(format!("'{value}' is neither verify_peer nor verify_none")),
    }
}

fn verified(tls: &ClientTls) -> Vec<(String, String)> {
    one(if tls.verify { "verify_peer" } else { "verify_none" })
}
