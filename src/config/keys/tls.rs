//! The keys that are about TLS, and about how clients may prove who they are.

use super::super::tls::{LoginFrom, SanType, TlsVersion, mechanism};
use super::super::values::{boolean, listener, number};
use super::{Key, key, named, one, path, path_of, put, take};

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
        |c, _, v| match v {
            "verify_peer" | "verify_none" => take(&mut c.tls.verify_peer, v == "verify_peer"),
            _ => Err(format!("'{v}' is neither verify_peer nor verify_none")),
        },
        |c| one(if c.tls.verify_peer { "verify_peer" } else { "verify_none" }),
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
        |c, place, v| {
            c.tls.versions.insert(number(place)?, TlsVersion::named(v)?);
            Ok(())
        },
        |c| c.tls.versions.iter().map(|(place, version)| (place.to_string(), version.name().to_owned())).collect(),
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
