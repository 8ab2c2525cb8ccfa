//! The keys that are about who says who somebody is.

use super::super::authentication::{Backend, BackendName};
use super::super::values::{boolean, number};
use super::super::{Backends, Config};
use super::{Key, key, maybe, one, put, some, take};

pub(super) const AUTHENTICATION: &[Key] = &[
    key(
        "auth_backends.$number",
        "Who is asked whether somebody is who it says it is, one after the other: `internal`, the users of the node. When none is named, \
         these.",
        |c, place, v| {
            let name = BackendName::named(v);
            c.auth_backends.0.insert(number(place)?, Backend { authn: name.clone(), authz: name });
            Ok(())
        },
        |c| shown(c, |backend| (backend.authn == backend.authz).then_some(&backend.authn)),
    ),
    key(
        "auth_backends.$number.authn",
        "The same for who it is alone: `internal`, or `http`, a service that is asked, for users that the node has as well.",
        |c, place, v| take(&mut backend(&mut c.auth_backends, place)?.authn, BackendName::named(v)),
        |c| shown(c, |backend| (backend.authn != backend.authz).then_some(&backend.authn)),
    ),
    key(
        "auth_backends.$number.authz",
        "Who says what it may do: `internal`, the permissions of the node.",
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
        "Where it is asked about users, with `username` and `password`: `http://host:port/path`. It answers `allow` or `deny`.",
        |c, _, v| some(&mut c.auth_http.user_path, path(v)),
        |c| maybe(c.auth_http.user_path.as_ref()),
    ),
    key(
        "auth_http.request_timeout",
        "How long it may take to answer, in milliseconds.",
        |c, _, v| put(&mut c.auth_http.request_timeout_ms, number(v)),
        |c| one(c.auth_http.request_timeout_ms),
    ),
];

fn backend<'a>(backends: &'a mut Backends, place: &str) -> Result<&'a mut Backend, String> {
    Ok(backends.0.entry(number(place)?).or_default())
}

fn shown(config: &Config, show: impl Fn(&Backend) -> Option<&BackendName>) -> Vec<(String, String)> {
    let all = config.auth_backends.0.iter();
    all.filter_map(|(place, backend)| Some((place.to_string(), show(backend)?.name().to_owned()))).collect()
}

fn path(value: &str) -> Result<String, String> {
    match value.strip_prefix("http://") {
        Some(host) if !host.is_empty() && !host.starts_with('/') => Ok(value.to_owned()),
        _ => Err(format!("'{value}' is not http://host/path")),
    }
}
