//! The keys that RabbitMQ and its plugins have and that mean nothing here: accepted, with one warning that names them.

use super::syntax::segments;

/// What several groups have in common.
const TLS: &str = ". bypass_pem_cache cacertfile cacerts.$ cert certfile ciphers.$ client_renegotiation crl_check crl_sources.$ \
    crl_sources.$.path crl_sources.$.timeout depth dh dhfile fail_if_no_peer_cert honor_cipher_order honor_ecc_order \
    hostname_verification key.DSAPrivateKey key.PrivateKeyInfo key.RSAPrivateKey keyfile log_alert log_level password psk_identity \
    reuse_session reuse_sessions secure_renegotiate sni verify versions.$";
const SOCKET: &str = ". backlog buffer delay_send dontroute exit_on_close fd high_msgq_watermark high_watermark keepalive linger.on \
    linger.timeout low_msgq_watermark low_watermark nodelay port priority recbuf send_timeout send_timeout_close sndbuf tos";
const HTTP: &str =
    "backlog compress idle_timeout inactivity_timeout ip listener max_connections max_keepalive port request_timeout shutdown_timeout";
const WEB_SOCKET: &str = "cowboy_opts.idle_timeout cowboy_opts.max_authority_length cowboy_opts.max_authorization_header_value_length \
    cowboy_opts.max_cookie_header_value_length cowboy_opts.max_empty_lines cowboy_opts.max_header_name_length \
    cowboy_opts.max_header_value_length cowboy_opts.max_headers cowboy_opts.max_keepalive cowboy_opts.max_request_line_length \
    cowboy_opts.timeout hsts.policy max_connections num_acceptors.ssl num_acceptors.tcp port proxy_protocol use_http_auth ws_frame \
    ws_opts.compress ws_opts.idle_timeout ws_opts.max_frame_size ws_path";
const PROTOCOL: &str = "default_pass default_user listeners.ssl listeners.ssl.$ listeners.tcp listeners.tcp.$ login_timeout \
    max_connections num_acceptors.ssl num_acceptors.tcp proxy_protocol ssl_cert_login";
const FORMATTER: &str = ". json.field_map json.verbosity_map level_format plaintext.format single_line time_format";
const CATEGORY: &str = "file level rotation.compress rotation.count rotation.date rotation.size";

/// How keys begin, with how they go on: `.` is the beginning alone, a segment that begins with `$` any one.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "auth_backends.$ auth_backends.$.authn auth_backends.$.authz \
             background_gc_enabled background_gc_target_interval classic_queue.default_version collect_statistics \
             consumer_disconnected_timeout default_worker_pool_size delegate_count erlang.K hipe_compile http_dispatch.access_log_dir \
             link_max_per_session memory_monitor_interval message_store_shutdown_timeout metadata_store.khepri.default_timeout \
             mirroring_sync_batch_size mirroring_sync_max_throughput mnesia_table_loading_retry_limit \
             mnesia_table_loading_retry_timeout motd_file net_ticktime password_hashing_module prevent_startup_if_node_was_reset \
             product.name product.version queue_index_embed_msgs_below queue_leader_locator queue_master_locator \
             ranch_connection_max reverse_dns_lookups session_max_per_connection socket_writer.gc_threshold \
             vhost_restart_strategy vm_memory_calculation_strategy",
            "channel_interceptor.priorities.$ credential_validator.min_length credential_validator.regexp \
             credential_validator.validation_backend deprecated_features.permit.$ event_exchange.protocol event_exchange.vhost \
             exchange_types.local_random.enabled num_acceptors.ssl num_acceptors.tcp queue_types.classic.enabled \
             queue_types.quorum.enabled queue_types.stream.enabled runtime_parameters.limits.$",
        ],
    ),
    ("listeners", &["ssl"]),
    ("ssl_options", &[TLS]),
    ("", &["ssl_allow_poodle_attack ssl_handshake_timeout"]),
    ("tcp_listen_options", &[SOCKET]),
    ("definitions", &["hashing.algorithm https.url"]),
    ("definitions.tls", &[TLS]),
    ("default_users.$", &["configure password read tags vhost_pattern write"]),
    ("default_limits.vhosts.$", &["max_connections max_queues pattern"]),
    (
        "default_policies.operator.$",
        &["apply_to classic_queues.ha_mode classic_queues.ha_params classic_queues.ha_sync_mode classic_queues.queue_version \
           delivery_limit expires max_in_memory_bytes max_in_memory_length max_length max_length_bytes message_ttl queue_pattern \
           vhost_pattern"],
    ),
    ("cluster_partition_handling", &[". pause_if_all_down.nodes.$ pause_if_all_down.recover"]),
    ("", &["cluster_exchange_limit cluster_keepalive_interval cluster_queue_limit"]),
    (
        "cluster_formation",
        &["aws.access_key_id aws.instance_tags aws.instance_tags.$ aws.region aws.secret_key aws.use_autoscaling_group \
           aws.use_private_ip aws.hostname_path.$ classic_config.nodes.$ discovery_retry_interval discovery_retry_limit dns.hostname \
           internal_lock_retries lock_retry_limit lock_retry_timeout node_cleanup.interval node_cleanup.only_log_warning node_type \
           peer_discovery_backend proxy.http_proxy proxy.https_proxy proxy.proxy_exclusions.$ randomized_startup_delay_range.max \
           randomized_startup_delay_range.min registration.enabled target_cluster_size_hint"],
    ),
    (
        "cluster_formation.consul",
        &["acl_token cluster_name deregister_after domain_suffix host include_nodes_with_warnings lock_prefix lock_timeout \
           lock_wait_time port scheme svc svc_addr svc_addr_auto svc_addr_nic svc_addr_use_nodename svc_meta svc_meta.$ svc_port \
           svc_tags svc_tags.$ svc_ttl use_longname"],
    ),
    ("cluster_formation.consul.ssl_options", &[TLS]),
    (
        "cluster_formation.etcd",
        &["cluster_name endpoints endpoints.$ host key_prefix lock_timeout lock_wait_time node_ttl password port scheme username"],
    ),
    ("cluster_formation.etcd.ssl_options", &[TLS]),
    (
        "cluster_formation.k8s",
        &["address_type cert_path discovery_retry_interval discovery_retry_limit host hostname_suffix namespace_path \
           ordinal_start port scheme service_name token_path tls_ca_file"],
    ),
    ("cluster_formation.k8s.tls", &[TLS]),
    (
        "quorum_queue",
        &["commands_soft_limit compress_mem_tables compute_checksums continuous_membership_reconciliation.auto_remove \
           continuous_membership_reconciliation.enabled continuous_membership_reconciliation.interval \
           continuous_membership_reconciliation.target_group_size continuous_membership_reconciliation.trigger_interval \
           initial_cluster_size max_append_entries_rpc_batch_size property_equivalence.relaxed_checks_on_redeclaration \
           segment_compute_checksums segment_max_entries segment_max_size_bytes snapshot_chunk_size wal_compute_checksums \
           wal_max_batch_size wal_max_entries wal_max_size_bytes"],
    ),
    (
        "raft",
        &["adaptive_failure_detector.poll_interval data_dir segment_max_entries snapshot_chunk_size wal_hibernate_after \
           wal_max_batch_size wal_max_entries wal_max_size_bytes"],
    ),
    ("message_interceptors", &["incoming.$.overwrite incoming.$.enabled outgoing.$.enabled outgoing.$.overwrite $.$.$"]),
    ("distribution.listener", &["interface port_range.max port_range.min"]),
    (
        "sysmon_handler",
        &["thresholds.busy_ports thresholds.busy_processes triggers.distribution_port triggers.port \
           triggers.process.garbage_collection triggers.process.heap_size triggers.process.long_scheduled_execution"],
    ),
    (
        "log",
        &["console.color_esc_seqs.alert console.color_esc_seqs.critical console.color_esc_seqs.debug \
           console.color_esc_seqs.emergency console.color_esc_seqs.error console.color_esc_seqs.info console.color_esc_seqs.notice \
           console.color_esc_seqs.warning error_logger_format_depth exchange exchange.level journald journald.fields journald.level \
           summarize_process_state summarize_process_state.enabled syslog"],
    ),
    ("log.default", &["rotation.compress rotation.count rotation.date rotation.size"]),
    ("log.file", &["rotation.compress"]),
    ("log.console.formatter", &[FORMATTER]),
    ("log.file.formatter", &[FORMATTER]),
    ("log.exchange.formatter", &[FORMATTER]),
    ("log.syslog.formatter", &[FORMATTER]),
    ("log.syslog", &["facility host identity ip level multiline_mode port protocol transport"]),
    ("log.syslog.ssl_options", &[TLS]),
    ("log.channel", &[CATEGORY]),
    ("log.connection", &[CATEGORY]),
    ("log.federation", &[CATEGORY]),
    ("log.mirroring", &[CATEGORY]),
    ("log.queue", &[CATEGORY]),
    ("log.ra", &[CATEGORY]),
    ("log.upgrade", &[CATEGORY]),
    ("log.user", &[CATEGORY]),
    (
        "management",
        &[
            "cors.allow_origins cors.allow_origins.$ cors.max_age credential_encryption_secret csp.policy db_cache_multiplier \
             definitions.require_json_extension delegate_count disable_basic_auth disable_stats enable_queue_totals enable_uaa \
             headers.content_type_options headers.frame_options headers.referrer_policy headers.xss_protection hsts.policy \
             http.hide_allow_header http.max_body_size http_log_dir login_session_timeout path_prefix \
             require_auth_for_api_desc_page require_auth_for_api_reference restrictions.operator_policy_changes.disabled \
             restrictions.quorum_queue_replica_operations.disabled sample_retention_policies.$.$ uaa_client_id uaa_location",
            "oauth_authorization_endpoint_params.$ oauth_client_id oauth_client_secret oauth_disable_basic_auth oauth_enabled \
             oauth_initiated_logon_type oauth_metadata_url oauth_provider_url oauth_response_type oauth_scopes \
             oauth_token_endpoint_params.$",
        ],
    ),
    (
        "management.oauth_resource_servers.$",
        &["disabled id label oauth_authorization_endpoint_params.$ oauth_client_id oauth_client_secret oauth_initiated_logon_type \
           oauth_metadata_url oauth_provider_url oauth_response_type oauth_scopes oauth_token_endpoint_params.$"],
    ),
    ("management.tcp", &[HTTP]),
    ("management.ssl", &[HTTP, TLS]),
    ("management.listener", &["ssl"]),
    ("management.listener.server", &[HTTP]),
    ("management.listener.ssl_opts", &[TLS]),
    ("management_agent", &["disable_metrics_collector filter_aggregated_queue_metrics_pattern"]),
    ("prometheus", &["authentication.enabled filter_aggregated_queue_metrics_pattern path"]),
    ("prometheus.tcp", &[HTTP]),
    ("prometheus.ssl", &[HTTP, TLS]),
    (
        "mqtt",
        &[
            PROTOCOL,
            "allow_anonymous disconnect_on_unauthorized durable_queue_type exchange mailbox_soft_limit max_packet_size_authenticated \
             max_packet_size_unauthenticated max_session_expiry_interval_seconds message_interceptors.$ prefetch \
             rates_mode retained_message_store retained_message_store.max_messages retained_message_store.max_size_bytes \
             retained_message_store_dets_sync_interval sparkplug \
             ssl_cert_client_id_from ssl_cert_login_san_index ssl_cert_login_san_type subscription_ttl topic_alias_maximum vhost",
        ],
    ),
    ("mqtt.tcp_listen_options", &[SOCKET]),
    (
        "stomp",
        &[
            PROTOCOL,
            "default_nack_requeue default_topic_exchange default_vhost hide_server_info implicit_connect max_body_length \
             max_frame_size max_frame_size_unauthenticated max_header_length max_headers",
        ],
    ),
    ("stomp.tcp_listen_options", &[SOCKET]),
    ("web_mqtt", &[WEB_SOCKET]),
    ("web_mqtt.tcp", &[HTTP]),
    ("web_mqtt.ssl", &[HTTP, TLS]),
    ("web_stomp", &[WEB_SOCKET]),
    ("web_stomp.tcp", &[HTTP]),
    ("web_stomp.ssl", &[HTTP, TLS]),
    (
        "stream",
        &[
            PROTOCOL,
            "advertised_host advertised_port advertised_tls_host advertised_tls_port credits_required_for_unblocking data_dir \
             frame_max heartbeat initial_credits initial_frame_max max_uncompressed_sub_entry_batch_size read_ahead read_ahead_limit \
             replication.address_family replication.port_range.max replication.port_range.min",
        ],
    ),
    ("stream.tcp_listen_options", &[SOCKET]),
    ("amqp1_0", &["default_user default_vhost protocol_strict_mode"]),
    ("amqp_client.ssl_options", &[TLS]),
    ("auth_cache", &["cache_module cache_refusals cache_ttl cached_backend cached_backend.authn cached_backend.authz"]),
    (
        "auth_http",
        &["authorization_failure_disclosure connection_timeout http_method request_timeout resource_path topic_path user_path \
           vhost_path"],
    ),
    ("auth_http.ssl_options", &[TLS]),
    (
        "auth_ldap",
        &["connection_pool_size dn_lookup_attribute dn_lookup_base dn_lookup_bind dn_lookup_bind.password dn_lookup_bind.user_dn \
           group_lookup_base idle_timeout log other_bind other_bind.password other_bind.user_dn pool_size port \
           queries.resource_access queries.tags queries.topic_access queries.vhost_access servers servers.$ timeout use_ssl \
           use_starttls user_bind_pattern user_dn_pattern"],
    ),
    ("auth_ldap.ssl_options", &[TLS]),
    (
        "auth_oauth2",
        &["additional_scopes_key algorithms.$ authorization_endpoint default_key default_oauth_provider discovery_endpoint_params.$ \
           discovery_endpoint_path end_session_endpoint issuer jwks_uri jwks_url preferred_username_claims.$ require_exp \
           resource_server_id resource_server_type scope_aliases.$ scope_aliases.$.alias scope_aliases.$.scope scope_prefix \
           signing_keys.$ token_endpoint verify_aud"],
    ),
    ("auth_oauth2.https", &["cacertfile crl_check depth fail_if_no_peer_cert hostname_verification peer_verification verify"]),
    (
        "auth_oauth2.oauth_providers.$",
        &["algorithms.$ authorization_endpoint default_key discovery_endpoint_params.$ discovery_endpoint_path end_session_endpoint \
           https.cacertfile https.crl_check https.depth https.fail_if_no_peer_cert https.hostname_verification https.verify issuer \
           jwks_uri jwks_url signing_keys.$ token_endpoint verify_aud"],
    ),
    (
        "auth_oauth2.resource_servers.$",
        &["additional_scopes_key id oauth_provider_id preferred_username_claims.$ resource_server_type scope_aliases.$ \
           scope_aliases.$.alias scope_aliases.$.scope scope_prefix verify_aud"],
    ),
    ("aws", &["prefer_imdsv2 sts.region"]),
    ("shovel", &["delete_after_duration_floor operating_mode topology.predeclared"]),
    ("federation", &["internal_exchange_check_interval"]),
    ("trust_store", &["directory providers.$ refresh_interval url"]),
    ("trust_store.ssl_options", &[TLS]),
];

/// All patterns, whole.
pub(super) fn patterns() -> impl Iterator<Item = String> {
    GROUPS.iter().flat_map(|(beginning, endings)| {
        endings.iter().flat_map(|endings| endings.split_whitespace()).map(|ending| match (*beginning, ending) {
            (beginning, ".") => beginning.to_owned(),
            ("", ending) => ending.to_owned(),
            (beginning, ending) => format!("{beginning}.{ending}"),
        })
    })
}

/// Whether a key is one of RabbitMQ's.
pub(super) fn is_ignored(key: &str) -> bool {
    let key = segments(key);
    patterns().any(|pattern| {
        let parts = pattern.split('.');
        parts.clone().count() == key.len() && parts.zip(&key).all(|(part, segment)| part.starts_with('$') || part == segment)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_keys_of_any_names() {
        for key in [
            "mqtt.listeners.tcp.default",
            "mqtt.tcp_listen_options",
            "cluster_formation.k8s.host",
            "cluster_formation.classic_config.nodes.1",
            "management.sample_retention_policies.global.minute",
            "auth_oauth2.resource_servers.1.scope_aliases.x",
            r"default_users.a\.b.tags",
            "tcp_listen_options.linger.on",
            "queue_master_locator",
        ] {
            assert!(is_ignored(key), "{key}");
        }
        for key in ["mqtt", "mqtt.listners.tcp.default", "cluster_formation.classic_config.nodes", "heartbeat", "auth_backends.1.auth", ""]
        {
            assert!(!is_ignored(key), "{key}");
        }
    }

    #[test]
    fn no_pattern_has_the_form_of_something_else() {
        for pattern in patterns() {
            let is_part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_$".contains(c));
            assert!(pattern.split('.').all(is_part), "{pattern}");
        }
    }
}
