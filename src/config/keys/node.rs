//! The keys that are about the node: its name, its files, its log, where it listens.

use std::net::SocketAddr;

use super::super::values::{ANYWHERE, boolean, fsync, ip, level, level_name, listener, number, on_or_off, places, profile, size};
use super::super::{Fsync, RatesMode, Schedule};
use super::{Key, alias, format_name, infinite, json, key, maybe, named, one, path, path_of, put, some, take};

/// Where RabbitMQ has its metrics.
const PROMETHEUS: u16 = 15692;

pub(super) const NODE: &[Key] = &[
    key("node_name", "What the node is called.", |c, _, v| take(&mut c.node_name, v), |c| one(&c.node_name)),
    key(
        "cluster_name",
        "What the cluster is called; the node's name where nothing is said.",
        |c, _, v| some(&mut c.cluster_name, Ok(v.to_owned())),
        |c| maybe(c.cluster_name.as_ref()),
    ),
    key(
        "cluster_tags.$tag",
        "What the HTTP API says of the cluster.",
        |c, name, v| take(c.cluster_tags.entry(name.to_owned()).or_default(), v),
        |c| named(&c.cluster_tags),
    ),
    key(
        "node_tags.$tag",
        "What the HTTP API says of the node.",
        |c, name, v| take(c.node_tags.entry(name.to_owned()).or_default(), v),
        |c| named(&c.node_tags),
    ),
    key(
        "data_dir",
        "The directory for what is to survive. Without it everything is kept in memory.",
        |c, _, v| path(&mut c.data_dir, v),
        |c| path_of(c.data_dir.as_ref()),
    ),
    key(
        "control_socket",
        "The socket that `leveret ctl` talks to. Where nothing is said: `leveret.sock` in the data directory, or else \
         `leveret-PORT.sock` in $XDG_RUNTIME_DIR or the directory for temporary files.",
        |c, _, v| path(&mut c.control_socket, v),
        |c| path_of(c.control_socket.as_ref()),
    ),
    key("pid_file", "A file for the number of the process.", |c, _, v| path(&mut c.pid_file, v), |c| path_of(c.pid_file.as_ref())),
    key(
        "fsync",
        "When what is written is forced to the disk: `always` (before it is confirmed), an interval in milliseconds (a power cut \
         may take what was confirmed since the last one), or `never` (when the system sees fit).",
        |c, _, v| put(&mut c.fsync, fsync(v)),
        |c| match c.fsync {
            Fsync::Always => one("always"),
            Fsync::Never => one("never"),
            Fsync::Every(interval) => one(interval.as_millis()),
        },
    ),
    key(
        "compat",
        "The RabbitMQ release whose version-dependent behaviour is shown: `permissive` (4.x, refusing nothing that is only \
         deprecated), `3.13`, `4.0`, `4.1` or `4.3`.",
        |c, _, v| put(&mut c.compat, profile(v)),
        |c| one(&c.compat),
    ),
    key(
        "deprecated_features.permit.transient_nonexcl_queues",
        "Over the profile: whether queues may be transient without being exclusive.",
        |c, _, v| some(&mut c.permit_transient_nonexcl_queues, boolean(v)),
        |c| maybe(c.permit_transient_nonexcl_queues),
    ),
    key(
        "deprecated_features.permit.global_qos",
        "Over the profile: whether basic.qos knows `global`.",
        |c, _, v| some(&mut c.permit_global_qos, boolean(v)),
        |c| maybe(c.permit_global_qos),
    ),
];

pub(super) const LOG: &[Key] = &[
    key(
        "log.default.level",
        "What every output of the log shows at most: `debug`, `info`, `warning`, `error` or `none`.",
        |c, _, v| some(&mut c.log.default_level, level(v)),
        |c| maybe(c.log.default_level.map(level_name)),
    ),
    key(
        "log.console",
        "Whether there is a log on the console.",
        |c, _, v| put(&mut c.log.console.on, boolean(v)),
        |c| one(c.log.console.on),
    ),
    key(
        "log.console.level",
        "What the console shows; `info` where nothing is said.",
        |c, _, v| some(&mut c.log.console.level, level(v)),
        |c| maybe(c.log.console.level.map(level_name)),
    ),
    key(
        "log.console.formatter",
        "`plaintext`, or `json`: one object a line.",
        |c, _, v| put(&mut c.log.console.json, json(v)),
        |c| format_name(c.log.console.json),
    ),
    key(
        "log.console.stdio",
        "`stderr` or `stdout`.",
        |c, _, v| match v {
            "stdout" | "stderr" => take(&mut c.log.stdout, v == "stdout"),
            _ => Err(format!("'{v}' is neither stdout nor stderr")),
        },
        |c| one(if c.log.stdout { "stdout" } else { "stderr" }),
    ),
    key(
        "log.console.use_colors",
        "`on` or `off`; where nothing is said, whether the console is a terminal.",
        |c, _, v| some(&mut c.log.colors, on_or_off(v)),
        |c| maybe(c.log.colors.map(|on| if on { "on" } else { "off" })),
    ),
    key(
        "log.file",
        "A file that the log is appended to, or `false`.",
        |c, _, v| {
            c.log.file.on = v != "false";
            take(&mut c.log.path, if c.log.file.on { v } else { "" })
        },
        |c| if c.log.file.on { one(c.log.path.display()) } else { one("false") },
    ),
    key(
        "log.file.level",
        "What the file shows; `info` where nothing is said.",
        |c, _, v| some(&mut c.log.file.level, level(v)),
        |c| maybe(c.log.file.level.map(level_name)),
    ),
    key("log.file.formatter", "As for the console.", |c, _, v| put(&mut c.log.file.json, json(v)), |c| format_name(c.log.file.json)),
    key(
        "log.file.rotation.size",
        "Bytes from which on another log file begins: the old one is `FILE.0`, the one before `FILE.1`, and so on. Without it files are as \
         large as they get.",
        |c, _, v| {
            c.log.rotation.size = Some(size(v)?).filter(|bytes| *bytes > 0);
            Ok(())
        },
        |c| maybe(c.log.rotation.size),
    ),
    key(
        "log.file.rotation.date",
        "When another log file begins, in UTC: `$D0` each day at midnight, `$D23` at 23:00, `$W0D23` on Sundays, `$M1D5` on the first of a \
         month at 5:00, `$H30` at half past each hour.",
        |c, _, v| {
            c.log.rotation.date = if v.is_empty() { None } else { Some(Schedule::named(v)?) };
            Ok(())
        },
        |c| maybe(c.log.rotation.date),
    ),
    key(
        "log.file.rotation.count",
        "How many old log files are kept.",
        |c, _, v| put(&mut c.log.rotation.count, number(v)),
        |c| one(c.log.rotation.count),
    ),
    key("log.dir", "Where a `log.file` that is not absolute lies.", |c, _, v| path(&mut c.log.dir, v), |c| path_of(c.log.dir.as_ref())),
];

pub(super) const LISTENERS: &[Key] = &[
    key(
        "listeners.tcp",
        "`none`: AMQP is not served without TLS.",
        |c, _, v| if v == "none" { take(&mut c.tcp, false) } else { Err(format!("'{v}' is not none")) },
        |c| if c.tcp { Vec::new() } else { one("none") },
    ),
    key(
        "listeners.tcp.$name",
        "Where AMQP is served: a port of all interfaces, or an address with a port. Port 0 picks a free one.",
        |c, name, v| {
            if name == "default" {
                return put(&mut c.amqp, listener(v));
            }
            c.listeners.insert(name.to_owned(), listener(v)?);
            Ok(())
        },
        |c| std::iter::once(("default".to_owned(), c.amqp.to_string())).chain(named(&c.listeners)).collect(),
    ),
    key(
        "listeners.unix",
        "The path of a socket that AMQP is served on, for clients on this machine.",
        |c, _, v| path(&mut c.unix_listener, v),
        |c| path_of(c.unix_listener.as_ref()),
    ),
    key(
        "proxy_protocol",
        "Whether connections over TCP, with TLS or without, begin with a header of the PROXY protocol (1 or 2), from which the \
         client's address is taken. Without one they are closed.",
        |c, _, v| put(&mut c.proxy_protocol, boolean(v)),
        |c| one(c.proxy_protocol),
    ),
    alias("management.listener.port", "management.tcp.port", |c, _, v| put(&mut c.http, listener(v))),
    key(
        "management.tcp.port",
        "The port of the HTTP API, of all interfaces where `management.tcp.ip` is not set; or an address with a port.",
        |c, _, v| put(&mut c.http, listener(v)),
        |c| one(c.http.port()),
    ),
    alias("management.listener.ip", "management.tcp.ip", |c, _, v| ip(v).map(|ip| c.http.set_ip(ip))),
    key(
        "management.tcp.ip",
        "The address of the HTTP API.",
        |c, _, v| ip(v).map(|ip| c.http.set_ip(ip)),
        |c| if c.http.ip() == ANYWHERE { Vec::new() } else { one(c.http.ip()) },
    ),
    key(
        "management.tcp.max_connections",
        "How many connections the HTTP API takes at a time, or `infinity`; those beyond wait until one is through. The port of the metrics \
         takes as many of its own.",
        |c, _, v| put(&mut c.http_limits.max_connections, places(v)),
        |c| infinite(c.http_limits.max_connections),
    ),
    alias("management.listener.server.request_timeout", "management.tcp.request_timeout", |c, _, v| {
        put(&mut c.http_limits.request_timeout_ms, number(v))
    }),
    key(
        "management.tcp.request_timeout",
        "How long a client of the HTTP API, or of the metrics, may take to send the head of a request, and to send nothing between two, in \
         milliseconds.",
        |c, _, v| put(&mut c.http_limits.request_timeout_ms, number(v)),
        |c| one(c.http_limits.request_timeout_ms),
    ),
    key(
        "prometheus.tcp.port",
        "The port of the metrics for Prometheus, usually 15692, of all interfaces where `prometheus.tcp.ip` is not set. Without \
         either key they are at /metrics of the HTTP API alone.",
        |c, _, v| put(&mut c.prometheus, listener(v).map(Some)),
        |c| maybe(c.prometheus.map(|address| address.port())),
    ),
    key(
        "prometheus.tcp.ip",
        "The address of the metrics for Prometheus.",
        |c, _, v| ip(v).map(|ip| c.prometheus.get_or_insert(SocketAddr::new(ANYWHERE, PROMETHEUS)).set_ip(ip)),
        |c| maybe(c.prometheus.map(|address| address.ip()).filter(|ip| *ip != ANYWHERE)),
    ),
    key(
        "handshake_timeout",
        "How long a client may take to open a virtual host, and one of the HTTP API to agree on TLS, in milliseconds.",
        |c, _, v| put(&mut c.handshake_timeout_ms, number(v)),
        |c| one(c.handshake_timeout_ms),
    ),
    key(
        "heartbeat",
        "Seconds between heartbeats that connection.tune proposes; 0 is off.",
        |c, _, v| put(&mut c.heartbeat_s, number(v)),
        |c| one(c.heartbeat_s),
    ),
    key(
        "frame_max",
        "The largest frame that connection.tune proposes, in bytes.",
        |c, _, v| put(&mut c.frame_max, size(v)),
        |c| one(c.frame_max),
    ),
    key(
        "initial_frame_max",
        "The largest frame before connection.tune-ok, in bytes.",
        |c, _, v| put(&mut c.initial_frame_max, size(v)),
        |c| one(c.initial_frame_max),
    ),
    alias("max_channels_per_connection", "channel_max", |c, _, v| put(&mut c.channel_max, number(v))),
    key(
        "channel_max",
        "How many channels a connection may have; 0 is no limit.",
        |c, _, v| put(&mut c.channel_max, number(v)),
        |c| one(c.channel_max),
    ),
];

pub(super) const DEFINITIONS: &[Key] = &[
    alias("management.load_definitions", "load_definitions", |c, _, v| path(&mut c.load_definitions, v)),
    alias("definitions.local.path", "load_definitions", |c, _, v| path(&mut c.load_definitions, v)),
    key(
        "load_definitions",
        "A file of definitions in RabbitMQ's JSON, read at the start and again when the process gets SIGHUP.",
        |c, _, v| path(&mut c.load_definitions, v),
        |c| path_of(c.load_definitions.as_ref()),
    ),
    key(
        "definitions.import_backend",
        "Where definitions come from: `local_filesystem` only.",
        |_, _, v| match v {
            "local_filesystem" | "local" | "rabbit_definitions_import_local_filesystem" => Ok(()),
            _ => Err(format!("definitions cannot be imported by '{v}', only from the local_filesystem")),
        },
        |_| one("local_filesystem"),
    ),
    key(
        "definitions.skip_if_unchanged",
        "Whether a file that has not changed since it was loaded is left alone at the start.",
        |c, _, v| put(&mut c.skip_unchanged_definitions, boolean(v)),
        |c| one(c.skip_unchanged_definitions),
    ),
];

pub(super) const STATISTICS: &[Key] = &[
    key(
        "collect_statistics_interval",
        "How often statistics are collected, in milliseconds.",
        |c, _, v| put(&mut c.collect_statistics_interval_ms, number(v)),
        |c| one(c.collect_statistics_interval_ms),
    ),
    key(
        "management.rates_mode",
        "How much the HTTP API says about rates: `none`, `basic`, or `detailed`, which counts between channels, exchanges and queues as well.",
        |c, _, v| match v {
            "basic" => take(&mut c.rates_mode, RatesMode::Basic),
            "detailed" => take(&mut c.rates_mode, RatesMode::Detailed),
            "none" => take(&mut c.rates_mode, RatesMode::None),
            _ => Err(format!("'{v}' is neither basic nor detailed nor none")),
        },
        |c| match c.rates_mode {
            RatesMode::Basic => one("basic"),
            RatesMode::Detailed => one("detailed"),
            RatesMode::None => one("none"),
        },
    ),
    key(
        "prometheus.return_per_object_metrics",
        "Whether /metrics has the metrics of each queue, connection and channel, instead of their sums.",
        |c, _, v| put(&mut c.per_object_metrics, boolean(v)),
        |c| one(c.per_object_metrics),
    ),
];
