//! The commands that look at a node.

use super::super::{attempts, checks, cluster, lists, report, status};
use super::{Group, MANY, Needs, command};

pub(super) const OBSERVING: Group = Group {
    heading: "Monitoring, observability and health checks",
    commands: &[
        command("ping", "", (0, 0), "Checks that the node is up", checks::ping).needs(Needs::Nothing),
        command("status", "[--unit <unit>]", (0, 0), "Displays status of a node", status::status).with(&["unit="]),
        command("environment", "", (0, 0), "Displays the configuration", status::environment),
        command(
            "list_queues",
            "[--vhost <vhost>] [--online] [--offline] [--local] [--no-table-headers] [<column>, ...]",
            (0, MANY),
            "Lists queues and their properties",
            lists::list_queues,
        )
        .with(&["online", "offline", "local"]),
        command(
            "list_exchanges",
            "[--vhost <vhost>] [--no-table-headers] [<column> ...]",
            (0, MANY),
            "Lists exchanges",
            lists::list_exchanges,
        ),
        command(
            "list_bindings",
            "[--vhost <vhost>] [--no-table-headers] [<column> ...]",
            (0, MANY),
            "Lists all bindings on a vhost",
            lists::list_bindings,
        ),
        command("list_connections", "[--no-table-headers] [<column> ...]", (0, MANY), "Lists connections", lists::list_connections),
        command("list_channels", "[--no-table-headers] [<column> ...]", (0, MANY), "Lists channels", lists::list_channels),
        command(
            "list_consumers",
            "[--vhost <vhost>] [--no-table-headers] [<column> ...]",
            (0, MANY),
            "Lists all consumers for a vhost",
            lists::list_consumers,
        ),
        command(
            "list_unresponsive_queues",
            "[--vhost <vhost>]",
            (0, MANY),
            "Lists queues that do not respond",
            lists::list_unresponsive_queues,
        )
        .with(&["local", "queue-timeout="]),
        command("list_hashes", "", (0, 0), "Lists hash functions for passwords", lists::list_hashes).needs(Needs::Nothing),
        command("server_version", "", (0, 0), "Displays the version of the node", status::server_version),
        command("listeners", "", (0, 0), "Lists active listeners", status::listeners),
        command("alarms", "", (0, 0), "Lists resource alarms", checks::alarms),
        command("memory_breakdown", "[--unit <unit>]", (0, 0), "Displays what takes memory", status::memory_breakdown).with(&["unit="]),
        command("log_location", "", (0, 0), "Displays where the log is", status::log_location).with(&["all"]),
        command("log_tail", "[--number|-N <number>]", (0, 0), "Displays the end of the log file", status::log_tail).with(&["number="]),
        command("log_tail_stream", "[--duration|-d <seconds>]", (0, 0), "Shows the log file as it grows", status::log_tail_stream)
            .with(&["duration="]),
        command("is_running", "", (0, 0), "Tells whether the application runs", checks::is_running).needs(Needs::Node),
        command("is_booting", "", (0, 0), "Tells whether the application is starting", checks::is_booting).needs(Needs::Node),
        command("check_running", "", (0, 0), "Checks that the application runs", checks::check_running).needs(Needs::Node),
        command("check_local_alarms", "", (0, 0), "Checks for alarms on the node", checks::check_local_alarms),
        command("check_alarms", "", (0, 0), "Checks for alarms", checks::check_alarms),
        command("check_virtual_hosts", "", (0, 0), "Checks that all virtual hosts run", checks::check_virtual_hosts),
        command("check_port_connectivity", "[--address <host>]", (0, 0), "Connects to every listener", checks::check_port_connectivity)
            .with(&["address="]),
        command("check_port_listener", "<port>", (1, 1), "Checks for a listener on a port", checks::check_port_listener),
        command("check_protocol_listener", "<protocol>", (1, 1), "Checks for a listener of a protocol", checks::check_protocol_listener),
        command(
            "check_certificate_expiration",
            "--within <period> [--unit <unit>]",
            (0, 0),
            "Checks that no certificate expires soon",
            checks::check_certificate_expiration,
        )
        .with(&["within=", "unit="]),
        command("check_if_node_is_quorum_critical", "", (0, 0), "Does not apply to one node", checks::check_if_node_is_quorum_critical),
        command(
            "check_if_node_is_mirror_sync_critical",
            "",
            (0, 0),
            "Does not apply to one node",
            checks::check_if_node_is_mirror_sync_critical,
        ),
        command(
            "check_for_quorum_queues_without_an_elected_leader",
            "[--vhost <vhost>] [--across-all-vhosts] <pattern>",
            (1, 1),
            "Checks that quorum queues have leaders",
            cluster::check_leaders,
        )
        .with(&["across-all-vhosts"]),
        command(
            "check_if_any_deprecated_features_are_used",
            "",
            (0, 0),
            "Lists the deprecated features that are used",
            checks::check_if_any_deprecated_features_are_used,
        ),
        command(
            "check_if_cluster_has_classic_queue_mirroring_policy",
            "",
            (0, 0),
            "Checks that no policy asks for mirrors",
            checks::check_if_cluster_has_classic_queue_mirroring_policy,
        ),
        command(
            "check_if_metadata_store_is_initialized",
            "",
            (0, 0),
            "Checks that definitions are there",
            checks::check_if_metadata_store_is_initialized,
        )
        .needs(Needs::Node),
        command(
            "check_if_metadata_store_is_initialized_with_data",
            "",
            (0, 0),
            "Checks that there are virtual hosts",
            checks::check_if_metadata_store_is_initialized_with_data,
        )
        .needs(Needs::Node),
        command("node_health_check", "", (0, 0), "DEPRECATED. Checks the node", checks::node_health_check),
        command("report", "", (0, 0), "Says all that support wants to know", report::report),
        command(
            "list_node_auth_attempt_stats",
            "[--by-source]",
            (0, 0),
            "Lists how often somebody has tried to log in",
            attempts::list_node_auth_attempt_stats,
        )
        .with(&["by-source"]),
        command(
            "reset_node_auth_attempt_metrics",
            "",
            (0, 0),
            "Begins to count attempts to log in anew",
            attempts::reset_node_auth_attempt_metrics,
        ),
        command(
            "enable_auth_attempt_source_tracking",
            "",
            (0, 0),
            "Counts attempts to log in by address and user, too",
            attempts::enable_auth_attempt_source_tracking,
        ),
        command(
            "disable_auth_attempt_source_tracking",
            "",
            (0, 0),
            "Counts attempts to log in as a whole",
            attempts::disable_auth_attempt_source_tracking,
        ),
    ],
};
