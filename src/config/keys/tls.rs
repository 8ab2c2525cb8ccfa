//! The keys that are about TLS, and about how clients may prove who they are.

use std::net::{IpAddr, SocketAddr};

use super::super::Config;
use super::super::tls::{HTTPS_PORT, LoginFrom, SanType, Tls, TlsVersion, mechanism};
use super::super::values::{ANYWHERE, boolean, ip, listener, number, places};
use super::{Key, alias, infinite, key, maybe, named, one, path, path_of, put, some, take};

pub(super) const TLS: &[Key] = &[
    key(
        "listeners.ssl.$name",
        "Where AMQP is served over TLS: a port of all interfaces, or an address with a port. Port 0 picks a free one.",
        |c, name, v| {
            c.tls.listeners.insert(name.to_owned(), listener(v)?);
            Ok(())
        },
        |c| named(&c.tls.listeners),
    ),
    key(
        "ssl_options.certfile",
        "The server's certificate, with those of intermediate authorities behind it: PEM, as all of these files. They are read again \
         when the process gets SIGHUP.",
        |c, _, v| path(&mut c.tls.certfile, v),
        |c| path_of(c.tls.certfile.as_ref()),
    ),
    key(
        "ssl_options.keyfile",
        "Its private key, not encrypted.",
        |c, _, v| path(&mut c.tls.keyfile, v),
        |c| path_of(c.tls.keyfile.as_ref()),
    ),
    key(
        "ssl_options.cacertfile",
        "The authorities that may sign clients' certificates.",
        |c, _, v| path(&mut c.tls.cacertfile, v),
        |c| path_of(c.tls.cacertfile.as_ref()),
    ),
    key(
        "ssl_options.verify",
        "`verify_peer`: clients are asked for a certificate, which is checked. `verify_none`: they are not.",
        |c, _, v| verify(&mut c.tls, v),
        |c| verified(&c.tls),
    ),
    key(
        "ssl_options.fail_if_no_peer_cert",
        "Whether clients without a certificate are refused.",
        |c, _, v| put(&mut c.tls.fail_if_no_peer_cert, boolean(v)),
        |c| one(c.tls.fail_if_no_peer_cert),
    ),
    key(
        "ssl_options.versions.$number",
        "The versions of TLS that are spoken: `tlsv1.2`, `tlsv1.3`; both when none is named.",
        |c, place, v| version(&mut c.tls, place, v),
        |c| versions(&c.tls),
    ),
    key(
        "auth_mechanisms.$number",
        "How clients may prove who they are: `PLAIN`, `AMQPLAIN`, `EXTERNAL` (over TLS only, by the certificate), `ANONYMOUS`. When none \
         is named, `PLAIN` and `AMQPLAIN`, and `ANONYMOUS` where the profile has it.",
        |c, place, v| {
            c.auth_mechanisms.insert(number(place)?, mechanism(v)?);
            Ok(())
        },
        |c| c.auth_mechanisms.iter().map(|(place, name)| (place.to_string(), name.clone())).collect(),
    ),
    key(
        "ssl_cert_login_from",
        "Where in a client's certificate the name of the user is: `distinguished_name`, `common_name` or `subject_alternative_name`.",
        |c, _, v| put(&mut c.tls.login_from, LoginFrom::named(v)),
        |c| one(c.tls.login_from.name()),
    ),
    key(
        "ssl_cert_login_san_type",
        "Of which kind the alternative name is: `dns`, `ip`, `email`, `uri` or `other_name`.",
        |c, _, v| put(&mut c.tls.san_type, SanType::named(v)),
        |c| one(c.tls.san_type.name()),
    ),
    key("ssl_cert_login_san_index", "Which one of them, from 0.", |c, _, v| put(&mut c.tls.san_index, number(v)), |c| one(c.tls.san_index)),
];

pub(super) const HTTPS: &[Key] = &[
    alias("management.listener.ssl_opts.certfile", "management.ssl.certfile", |c, _, v| path(&mut c.https_tls.certfile, v)),
    alias("management.listener.ssl_opts.keyfile", "management.ssl.keyfile", |c, _, v| path(&mut c.https_tls.keyfile, v)),
    alias("management.listener.ssl_opts.cacertfile", "management.ssl.cacertfile", |c, _, v| path(&mut c.https_tls.cacertfile, v)),
    key(
        "management.ssl.port",
        "The port of the HTTP API over TLS, of all interfaces where `management.ssl.ip` is not set; or an address with a port.",
        |c, _, v| some(&mut c.https, listener(v)),
        |c| maybe(c.https.map(|https| https.port())),
    ),
    key(
        "management.ssl.ip",
        "The address of the HTTP API over TLS.",
        |c, _, v| ip(v).map(|ip| https_ip(c, ip)),
        |c| maybe(c.https.map(|https| https.ip()).filter(|ip| *ip != ANYWHERE)),
    ),
    key(
        "management.ssl.max_connections",
        "As `management.tcp.max_connections`, over TLS.",
        |c, _, v| put(&mut c.https_limits.max_connections, places(v)),
        |c| infinite(c.https_limits.max_connections),
    ),
    key(
        "management.ssl.request_timeout",
        "As `management.tcp.request_timeout`, over TLS.",
        |c, _, v| put(&mut c.https_limits.request_timeout_ms, number(v)),
        |c| one(c.https_limits.request_timeout_ms),
    ),
    key(
        "management.ssl.certfile",
        "The certificate of the HTTP API, as `ssl_options.certfile`, which it is where nothing is said.",
        |c, _, v| path(&mut c.https_tls.certfile, v),
        |c| path_of(c.https_tls.certfile.as_ref()),
    ),
    key(
        "management.ssl.keyfile",
        "Its private key, not encrypted.",
        |c, _, v| path(&mut c.https_tls.keyfile, v),
        |c| path_of(c.https_tls.keyfile.as_ref()),
    ),
    key(
        "management.ssl.cacertfile",
        "The authorities that may sign the certificates of the HTTP API's clients.",
        |c, _, v| path(&mut c.https_tls.cacertfile, v),
        |c| path_of(c.https_tls.cacertfile.as_ref()),
    ),
    key(
        "management.ssl.verify",
        "`verify_peer`: clients of the HTTP API are asked for a certificate, which is checked; they need a password nevertheless. \
         `verify_none`: they are not.",
        |c, _, v| verify(&mut c.https_tls, v),
        |c| verified(&c.https_tls),
    ),
    key(
        "management.ssl.fail_if_no_peer_cert",
        "Whether those without a certificate are refused.",
        |c, _, v| put(&mut c.https_tls.fail_if_no_peer_cert, boolean(v)),
        |c| one(c.https_tls.fail_if_no_peer_cert),
    ),
    key(
        "management.ssl.versions.$number",
        "The versions of TLS that the HTTP API speaks, as `ssl_options.versions.$number`.",
        |c, place, v| version(&mut c.https_tls, place, v),
        |c| versions(&c.https_tls),
    ),
    key(
        "websocket.allow_origins.$number",
        "Whose pages may speak AMQP over WebSocket, at the ports of the HTTP API: `https://example.com`. Everybody's when none is named; \
         programs that are no browsers always may.",
        |c, place, v| {
            c.websocket_origins.insert(number(place)?, v.to_owned());
            Ok(())
        },
        |c| c.websocket_origins.iter().map(|(place, origin)| (place.to_string(), origin.clone())).collect(),
    ),
];

fn https_ip(config: &mut Config, ip: IpAddr) {
    config.https.get_or_insert(SocketAddr::new(ip, HTTPS_PORT)).set_ip(ip);
}

pub(super) fn verify(tls: &mut Tls, value: &str) -> Result<(), String> {
    match value {
        "verify_peer" | "verify_none" => take(&mut tls.verify_peer, value == "verify_peer"),
        _ => Err(format!("'{value}' is neither verify_peer nor verify_none")),
    }
}

pub(super) fn verified(tls: &Tls) -> Vec<(String, String)> {
    one(if tls.verify_peer { "verify_peer" } else { "verify_none" })
}

pub(super) fn version(tls: &mut Tls, place: &str, value: &str) -> Result<(), String> {
    tls.versions.insert(number(place)?, TlsVersion::named(value)?);
    Ok(())
}

pub(super) fn versions(tls: &Tls) -> Vec<(String, String)> {
    tls.versions.iter().map(|(place, version)| (place.to_string(), version.name().to_owned())).collect()
}
