//! The keys that are about sockets, and about metrics over TLS.

use std::net::SocketAddr;

use super::super::tls::PROMETHEUS_SSL_PORT;
use super::super::values::{ANYWHERE, boolean, ip, listener, number, size};
use super::tls::{verified, verify, version, versions};
use super::{Key, key, maybe, one, path, path_of, put, some};

pub(super) const SOCKETS: &[Key] = &[
    key(
        "tcp_listen_options.backlog",
        "How many connections of AMQP may wait to be accepted.",
        |c, _, v| put(&mut c.tcp_options.backlog, number(v)),
        |c| one(c.tcp_options.backlog),
    ),
    key(
        "tcp_listen_options.nodelay",
        "Whether what is written goes out at once, however little it is (TCP_NODELAY).",
        |c, _, v| put(&mut c.tcp_options.nodelay, boolean(v)),
        |c| one(c.tcp_options.nodelay),
    ),
    key(
        "tcp_listen_options.keepalive",
        "Whether the system asks silent clients if they are still there (SO_KEEPALIVE).",
        |c, _, v| put(&mut c.tcp_options.keepalive, boolean(v)),
        |c| one(c.tcp_options.keepalive),
    ),
    key(
        "tcp_listen_options.sndbuf",
        "Bytes that the system keeps of what is sent to a client; as it sees fit where nothing is said.",
        |c, _, v| some(&mut c.tcp_options.sndbuf, size(v)),
        |c| maybe(c.tcp_options.sndbuf),
    ),
    key(
        "tcp_listen_options.recbuf",
        "Bytes that it keeps of what a client has sent.",
        |c, _, v| some(&mut c.tcp_options.recbuf, size(v)),
        |c| maybe(c.tcp_options.recbuf),
    ),
];

pub(super) const METRICS: &[Key] = &[
    key(
        "prometheus.ssl.port",
        "The port of the metrics over TLS, usually 15691, of all interfaces where `prometheus.ssl.ip` is not set; or an address with a port.",
        |c, _, v| some(&mut c.prometheus_ssl, listener(v)),
        |c| maybe(c.prometheus_ssl.map(|address| address.port())),
    ),
    key(
        "prometheus.ssl.ip",
        "The address of the metrics over TLS.",
        |c, _, v| ip(v).map(|ip| c.prometheus_ssl.get_or_insert(SocketAddr::new(ip, PROMETHEUS_SSL_PORT)).set_ip(ip)),
        |c| maybe(c.prometheus_ssl.map(|address| address.ip()).filter(|ip| *ip != ANYWHERE)),
    ),
    key(
        "prometheus.ssl.certfile",
        "The certificate of the metrics, as `ssl_options.certfile`, which it is where nothing is said.",
        |c, _, v| path(&mut c.prometheus_tls.certfile, v),
        |c| path_of(c.prometheus_tls.certfile.as_ref()),
    ),
    key(
        "prometheus.ssl.keyfile",
        "Its private key, not encrypted.",
        |c, _, v| path(&mut c.prometheus_tls.keyfile, v),
        |c| path_of(c.prometheus_tls.keyfile.as_ref()),
    ),
    key(
        "prometheus.ssl.cacertfile",
        "The authorities that may sign the certificates of who asks for metrics.",
        |c, _, v| path(&mut c.prometheus_tls.cacertfile, v),
        |c| path_of(c.prometheus_tls.cacertfile.as_ref()),
    ),
    key(
        "prometheus.ssl.verify",
        "`verify_peer`: who asks for metrics is asked for a certificate, which is checked. `verify_none`: it is not.",
        |c, _, v| verify(&mut c.prometheus_tls, v),
        |c| verified(&c.prometheus_tls),
    ),
    key(
        "prometheus.ssl.fail_if_no_peer_cert",
        "Whether who has no certificate is refused.",
        |c, _, v| put(&mut c.prometheus_tls.fail_if_no_peer_cert, boolean(v)),
        |c| one(c.prometheus_tls.fail_if_no_peer_cert),
    ),
    key(
        "prometheus.ssl.versions.$number",
        "The versions of TLS that metrics are served with, as `ssl_options.versions.$number`.",
        |c, place, v| version(&mut c.prometheus_tls, place, v),
        |c| versions(&c.prometheus_tls),
    ),
];
