//! The effective configuration in the syntax of its files, which can be read again, and the table of keys for the documentation.

use std::fmt::Write;

use super::keys::{self, Key};
use super::syntax::written;
use super::{Config, FileError, Sources};

/// What stands in place of a secret.
const REDACTED: &str = "[redacted]";

impl Config {
    /// Every key with its value, as [`Sources::effective`] has them, without where they come from.
    #[must_use]
    pub fn written(&self) -> String {
        let mut text = String::new();
        for key in keys::all().filter(|key| key.alias_of.is_none()) {
            for Line { key: name, value } in lines(key, self) {
                write_line(&mut text, key, &name, value, "");
            }
        }
        text
    }
}

/// A key that has no value, or whose value is a secret, is commented out.
fn write_line(text: &mut String, key: &Key, name: &str, value: Option<String>, place: &str) {
    // Writing to a string cannot fail.
    let _ = match value {
        Some(_) if key.secret => writeln!(text, "# {name} = {REDACTED}{place}"),
        Some(value) => writeln!(text, "{name} = {}{place}", written(&value)),
        None => writeln!(text, "# {name} ="),
    };
}

impl Sources {
    /// Every key with its value; what is not as it would be by default says where it comes from. A key that has no value, or whose
    /// value is a secret, is commented out. What the keys mean is there, too, where that is asked for.
    ///
    /// # Errors
    /// Whatever is not understood.
    pub fn effective(&self, explained: bool) -> Result<String, FileError> {
        let config = self.config()?;
        let default = Config::default();
        let mut text = String::new();
        for key in keys::all().filter(|key| key.alias_of.is_none()) {
            if explained {
                let _ = write!(text, "\n## {}\n", key.meaning);
            }
            for line in lines(key, &config) {
                let differs = !lines(key, &default).contains(&line);
                let Line { key: name, value } = line;
                let place = self.origin(&name).filter(|_| differs).map(|origin| format!("    # {origin}")).unwrap_or_default();
                write_line(&mut text, key, &name, value, &place);
            }
        }
        Ok(text)
    }
}

#[derive(PartialEq, Eq)]
struct Line {
    key: String,
    value: Option<String>,
}

/// A pattern of keys without a value gives its own line once, too.
fn lines(key: &Key, config: &Config) -> Vec<Line> {
    let values = (key.show)(config);
    if values.is_empty() {
        return vec![Line { key: key.pattern.to_owned(), value: None }];
    }
    values.into_iter().map(|(name, value)| Line { key: key.named(&name), value: Some(value) }).collect()
}

/// The rows of docs/CONFIGURATION.md.
#[cfg(test)]
fn rows() -> String {
    let default = Config::default();
    let row = |key: &Key| {
        if let Some(other) = key.alias_of {
            return format!("| `{}` | | The same as `{other}`. |\n", key.pattern);
        }
        let values: Vec<String> = (key.show)(&default)
            .into_iter()
            .map(|(name, value)| if key.pattern.contains('$') { format!("`{} = {value}`", key.named(&name)) } else { format!("`{value}`") })
            .collect();
        format!("| `{}` | {} | {} |\n", key.pattern, values.join(", "), key.meaning)
    };
    keys::all().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    fn sources(settings: &[(&str, &str)]) -> Sources {
        let mut sources = Sources::new(|_| None);
        for (index, (key, value)) in settings.iter().enumerate() {
            sources.set(key, value, Origin::File("/x.conf".into(), index + 1));
        }
        sources
    }

    /// Every key of the tables with values that differ from the default ones.
    const EVERYTHING: &[(&str, &str)] = &[
        ("node_name", "rabbit@hare"),
        ("cluster_name", "meadow #1"),
        ("cluster_tags.region", "eu"),
        (r"cluster_tags.a\.b", " x "),
        ("node_tags.role", "it's"),
        ("data_dir", "/var/lib/leveret"),
        ("pid_file", "/run/leveret.pid"),
        ("control_socket", "/c"),
        ("fsync", "100"),
        ("compat", "3.13"),
        ("deprecated_features.permit.transient_nonexcl_queues", "false"),
        ("deprecated_features.permit.global_qos", "true"),
        ("log.default.level", "debug"),
        ("log.console", "false"),
        ("log.console.level", "warning"),
        ("log.console.formatter", "json"),
        ("log.console.stdio", "stdout"),
        ("log.console.use_colors", "off"),
        ("log.file", "leveret.log"),
        ("log.file.level", "none"),
        ("log.file.formatter", "json"),
        ("log.file.rotation.size", "1000"),
        ("log.file.rotation.date", "$W0D23"),
        ("log.file.rotation.count", "3"),
        ("log.dir", "/var/log"),
        ("listeners.tcp", "none"),
        ("listeners.tcp.default", "::1:1"),
        ("listeners.tcp.more", "127.0.0.2:2"),
        ("listeners.unix", "/run/leveret.sock"),
        ("proxy_protocol", "true"),
        ("listeners.ssl.a", "127.0.0.1:1"),
        ("ssl_options.certfile", "/etc/server.pem"),
        ("ssl_options.keyfile", "/etc/server.key"),
        ("ssl_options.cacertfile", "/etc/ca.pem"),
        ("ssl_options.verify", "verify_peer"),
        ("ssl_options.fail_if_no_peer_cert", "true"),
        ("ssl_options.versions.2", "tlsv1.3"),
        ("auth_mechanisms.1", "EXTERNAL"),
        ("auth_backends.1", "ldap"),
        ("auth_backends.2.authn", "http"),
        ("auth_backends.2.authz", "internal"),
        ("auth_http.http_method", "post"),
        ("auth_http.user_path", "http://burrow:8000/user"),
        ("auth_http.vhost_path", "http://burrow:8000/vhost"),
        ("auth_http.resource_path", "https://burrow/resource"),
        ("auth_http.topic_path", "http://burrow:8000/topic"),
        ("auth_http.request_timeout", "19"),
        ("auth_http.connection_timeout", "20"),
        ("auth_http.authorization_failure_disclosure", "true"),
        ("auth_http.ssl_options.verify", "verify_none"),
        ("auth_http.ssl_options.cacertfile", "/etc/burrow.pem"),
        ("auth_http.ssl_options.certfile", "/etc/us.pem"),
        ("auth_http.ssl_options.keyfile", "/etc/us.key"),
        ("auth_cache.cached_backend.authn", "http"),
        ("auth_cache.cached_backend.authz", "oauth2"),
        ("auth_cache.cache_ttl", "21"),
        ("auth_cache.cache_refusals", "true"),
        ("auth_oauth2.resource_server_id", "rabbitmq"),
        ("auth_oauth2.resource_server_type", "hutch"),
        ("auth_oauth2.scope_prefix", ""),
        ("auth_oauth2.additional_scopes_key", "roles a.b"),
        ("auth_oauth2.scope_aliases.developer", "read:*/* write:*/*"),
        ("auth_oauth2.scope_aliases.1.alias", "an admin"),
        ("auth_oauth2.scope_aliases.1.scope", "tag:administrator"),
        ("auth_oauth2.preferred_username_claims.1", "user_name"),
        ("auth_oauth2.verify_aud", "false"),
        ("auth_oauth2.require_exp", "false"),
        ("auth_oauth2.default_oauth_provider", "burrow"),
        ("auth_oauth2.signing_keys.key-1", "/etc/key.pem"),
        ("auth_oauth2.default_key", "key-1"),
        ("auth_oauth2.algorithms.1", "ES256"),
        ("auth_oauth2.jwks_url", "https://hutch.example/keys"),
        ("auth_oauth2.issuer", "https://hutch.example/realm"),
        ("auth_oauth2.discovery_endpoint_path", "discovery"),
        (r"auth_oauth2.discovery_endpoint_params.a\.b", "1"),
        ("auth_oauth2.https.verify", "verify_none"),
        ("auth_oauth2.https.cacertfile", "/etc/hutch.pem"),
        (r"auth_oauth2.resource_servers.a\.b.id", "prod"),
        (r"auth_oauth2.resource_servers.a\.b.resource_server_type", "hutch"),
        (r"auth_oauth2.resource_servers.a\.b.scope_prefix", ""),
        (r"auth_oauth2.resource_servers.a\.b.additional_scopes_key", "roles"),
        (r"auth_oauth2.resource_servers.a\.b.scope_aliases.c\.d", "read:*/*"),
        (r"auth_oauth2.resource_servers.a\.b.scope_aliases.1.alias", "an admin"),
        (r"auth_oauth2.resource_servers.a\.b.scope_aliases.1.scope", "tag:administrator"),
        (r"auth_oauth2.resource_servers.a\.b.preferred_username_claims.2", "email"),
        (r"auth_oauth2.resource_servers.a\.b.verify_aud", "true"),
        ("auth_oauth2.resource_servers.dev.oauth_provider_id", "burrow"),
        ("auth_oauth2.oauth_providers.burrow.signing_keys.key-1", "/etc/key.pem"),
        (r"auth_oauth2.oauth_providers.a\.b.signing_keys.c\.d", "/etc/key.pem"),
        (r"auth_oauth2.oauth_providers.a\.b.default_key", "c.d"),
        (r"auth_oauth2.oauth_providers.a\.b.algorithms.1", "ES256"),
        (r"auth_oauth2.oauth_providers.a\.b.jwks_uri", "https://a.example/keys"),
        (r"auth_oauth2.oauth_providers.a\.b.issuer", "https://a.example/realm"),
        (r"auth_oauth2.oauth_providers.a\.b.discovery_endpoint_path", "discovery"),
        (r"auth_oauth2.oauth_providers.a\.b.discovery_endpoint_params.x", "1"),
        (r"auth_oauth2.oauth_providers.a\.b.https.verify", "verify_none"),
        (r"auth_oauth2.oauth_providers.a\.b.https.cacertfile", "/etc/a.pem"),
        ("ssl_cert_login_from", "subject_alternative_name"),
        ("ssl_cert_login_san_type", "email"),
        ("ssl_cert_login_san_index", "1"),
        ("management.tcp.port", "3"),
        ("management.tcp.ip", "127.0.0.3"),
        ("management.tcp.max_connections", "20"),
        ("management.tcp.request_timeout", "21"),
        ("management.ssl.port", "127.0.0.4:4"),
        ("management.ssl.max_connections", "infinity"),
        ("management.ssl.request_timeout", "22"),
        ("management.ssl.certfile", "/etc/https.pem"),
        ("management.ssl.keyfile", "/etc/https.key"),
        ("management.ssl.cacertfile", "/etc/https-ca.pem"),
        ("management.ssl.verify", "verify_peer"),
        ("management.ssl.fail_if_no_peer_cert", "true"),
        ("management.ssl.versions.1", "tlsv1.3"),
        ("websocket.allow_origins.1", "https://meadow.example"),
        ("test_api", "true"),
        ("test_vhosts.pattern", "test-*"),
        ("test_vhosts.template", "/"),
        ("clock", "virtual"),
        ("seed", "5"),
        ("faults", "/etc/leveret/faults.json"),
        ("tcp_listen_options.backlog", "5"),
        ("tcp_listen_options.nodelay", "false"),
        ("tcp_listen_options.keepalive", "true"),
        ("tcp_listen_options.sndbuf", "4096"),
        ("tcp_listen_options.recbuf", "8192"),
        ("track_auth_attempt_source", "true"),
        ("prometheus.ssl.port", "6"),
        ("prometheus.ssl.ip", "::1"),
        ("prometheus.ssl.certfile", "/p/server.pem"),
        ("prometheus.ssl.keyfile", "/p/server.key"),
        ("prometheus.ssl.cacertfile", "/p/ca.pem"),
        ("prometheus.ssl.verify", "verify_peer"),
        ("prometheus.ssl.fail_if_no_peer_cert", "true"),
        ("prometheus.ssl.versions.1", "tlsv1.3"),
        ("prometheus.tcp.port", "4"),
        ("prometheus.tcp.ip", "::1"),
        ("handshake_timeout", "5"),
        ("heartbeat", "6"),
        ("frame_max", "7000"),
        ("initial_frame_max", "8000"),
        ("channel_max", "9"),
        ("connection_max", "10"),
        ("channel_max_per_node", "11"),
        ("consumer_max_per_channel", "12"),
        ("vhost_max", "13"),
        ("max_message_size", "14kB"),
        ("outbox_high", "15MiB"),
        ("total_memory_available_override_value", "2GB"),
        ("vm_memory_high_watermark.absolute", "1GiB"),
        ("vm_memory_high_watermark_paging_ratio", "0.75"),
        ("disk_free_limit.relative", "1.5"),
        ("default_user", "hare"),
        ("default_vhost", "meadow"),
        ("default_user_tags.monitoring", "true"),
        ("default_permissions.configure", "^a$"),
        ("default_permissions.read", "^b#c$"),
        ("default_permissions.write", ""),
        ("anonymous_login_user", "none"),
        (r"loopback_users.a\.b", "true"),
        ("loopback_users.guest", "false"),
        ("default_queue_type", "quorum"),
        ("default_max_length", "16"),
        ("default_max_length_bytes", "17"),
        ("default_overflow", "reject-publish"),
        ("consumer_timeout", "infinity"),
        ("tracing", "true"),
        ("event_exchange", "true"),
        ("load_definitions", "/etc/d.json"),
        ("definitions.skip_if_unchanged", "true"),
        ("collect_statistics_interval", "18"),
        ("management.rates_mode", "detailed"),
        ("prometheus.return_per_object_metrics", "true"),
        ("opentelemetry.endpoint", "http://burrow:4318"),
        ("opentelemetry.traces", "false"),
        ("opentelemetry.logs", "false"),
        ("opentelemetry.service_name", "warren"),
        (r#"shovel.a\.b.src-uri"#, r#"amqp://user:pass@a amqps://b"#),
        (r#"shovel.a\.b.src-protocol"#, r#"amqp091"#),
        (r#"shovel.a\.b.src-queue"#, r#"q"#),
        (r#"shovel.a\.b.src-queue-args"#, r#"{"x-max-length":3}"#),
        (r#"shovel.a\.b.src-consumer-args"#, r#"{"x-priority":1}"#),
        (r#"shovel.a\.b.src-predeclared"#, r#"true"#),
        (r#"shovel.a\.b.src-prefetch-count"#, r#"7"#),
        (r#"shovel.a\.b.src-delete-after"#, r#"queue-length"#),
        (r#"shovel.a\.b.dest-uri"#, r#"amqp://"#),
        (r#"shovel.a\.b.dest-protocol"#, r#"amqp091"#),
        (r#"shovel.a\.b.dest-exchange"#, r#"x"#),
        (r#"shovel.a\.b.dest-exchange-key"#, r#"k"#),
        (r#"shovel.a\.b.dest-queue-args"#, r#"{}"#),
        (r#"shovel.a\.b.dest-predeclared"#, r#"false"#),
        (r#"shovel.a\.b.dest-add-forward-headers"#, r#"true"#),
        (r#"shovel.a\.b.dest-add-timestamp-header"#, r#"true"#),
        (r#"shovel.a\.b.dest-publish-properties"#, r#"{"priority":3}"#),
        (r#"shovel.a\.b.ack-mode"#, r#"on-publish"#),
        (r#"shovel.a\.b.reconnect-delay"#, r#"9"#),
        ("shovel.c.src-uri", "amqp://"),
        ("shovel.c.src-exchange", "x"),
        ("shovel.c.src-exchange-key", "k"),
        ("shovel.c.src-delete-after", "5"),
        ("shovel.c.dest-uri", "amqp://"),
        ("shovel.c.dest-queue", "r"),
        ("test_fail_on", "leaks,unroutable"),
    ];

    fn read_back(sources: &Sources) -> Config {
        let mut config = Config::default();
        config.read(&sources.effective(false).expect("a configuration")).expect("it is read back");
        let mut explained = Config::default();
        explained.read(&sources.effective(true).expect("a configuration")).expect("it is read back");
        assert_eq!(explained, config);
        config
    }

    #[test]
    fn what_is_printed_is_read_back() {
        for settings in [
            &[][..],
            EVERYTHING,
            &[("loopback_users", "none"), ("default_user_tags.administrator", "false"), ("disk_free_limit.absolute", "1")],
            &[("listeners.tcp.a", "1"), ("listeners.tcp.b", "2"), ("vm_memory_high_watermark.relative", "0.4")],
            &[("management.tcp.port", "1"), ("prometheus.tcp.port", "2"), ("log.file", "false")],
        ] {
            let sources = sources(settings);
            let mut expected = sources.config().expect("a configuration");
            // These have passwords in them.
            expected.shovels.values_mut().for_each(|shovel| shovel.retain(|key, _| !key.ends_with("-uri")));
            assert_eq!(read_back(&sources), expected, "{settings:?}");
        }
    }

    /// So that the round trip above is about all keys.
    #[test]
    fn everything_is_different() {
        let shown = |config: &Config, key: &Key| lines(key, config);
        let (default, config) = (Config::default(), sources(EVERYTHING).config().expect("a configuration"));
        for key in keys::all().filter(|key| key.alias_of.is_none() && !key.secret) {
            let same = shown(&default, key) == shown(&config, key);
            let exceptions = [
                "auth_cache.cached_backend",
                "vm_memory_high_watermark.relative",
                "disk_free_limit.absolute",
                "loopback_users",
                "definitions.import_backend",
            ];
            assert!(!same || exceptions.contains(&key.pattern), "{}", key.pattern);
        }
    }

    #[test]
    fn each_key_is_there_once_with_its_place_and_secrets_are_not() {
        let mut sources = sources(&[("default_pass", "carrot"), ("heartbeat", "60"), ("frame_max", "9000")]);
        sources.set("channel_max", "5", Origin::Environment("CHANNELS"));
        let text = sources.effective(false).expect("a configuration");
        let line = |key: &str| {
            let begins = |line: &&str| line.trim_start_matches("# ").starts_with(&format!("{key} ="));
            let found: Vec<&str> = text.lines().filter(begins).collect();
            assert_eq!(found.len(), 1, "{key}: {found:?}");
            found[0].to_owned()
        };
        assert_eq!(line("default_pass"), "# default_pass = [redacted]    # /x.conf: line 1");
        assert_eq!(line("heartbeat"), "heartbeat = 60");
        assert_eq!(line("frame_max"), "frame_max = 9000    # /x.conf: line 3");
        assert_eq!(line("channel_max"), "channel_max = 5    # environment: CHANNELS");
        assert_eq!(line("max_message_size"), "# max_message_size =");
        assert!(!text.contains("carrot"));
        for key in keys::all().filter(|key| key.alias_of.is_none() && !key.pattern.contains('$')) {
            line(key.pattern);
        }
    }

    /// `UPDATE_EXPECT=1` writes the rows into the document.
    #[test]
    fn the_document_has_the_rows_of_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CONFIGURATION.md");
        let document = std::fs::read_to_string(path).expect("the document");
        let head = "| key | default | meaning |\n|---|---|---|\n";
        let (before, after) = document.split_once(head).expect("a table of keys");
        let (table, after) = after.split_once("\n\n").expect("something after the table");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, format!("{before}{head}{}\n{after}", rows())).expect("the document is written");
        } else {
            assert_eq!(format!("{table}\n"), rows(), "UPDATE_EXPECT=1 writes it");
        }
    }
}
