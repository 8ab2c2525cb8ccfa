//! The keys that are about who says who somebody is and what it may do.

use super::super::authentication::{BackendName, Named, url};
use super::super::values::{boolean, number};
use super::super::{ClientTls, Config, NamedBackends};
use super::{Key, key, maybe, one, path, path_of, put, some, take};

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
        |c| one(verification(&c.auth_http.tls)),
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

pub(super) fn verify(tls: &mut ClientTls, value: &str) -> Result<(), String> {
    match value {
        "verify_peer" | "verify_none" => take(&mut tls.verify, value == "verify_peer"),
        _ => Err(format!("'{value}' is neither verify_peer nor verify_none")),
    }
}

pub(super) fn verification(tls: &ClientTls) -> &'static str {
    if tls.verify { "verify_peer" } else { "verify_none" }
}
