//! The commands about the process and its machine, and about other nodes.

use super::super::{cluster, machine};
use super::{Group, MANY, Needs, command};

pub(super) const CONFIGURATION: Group = Group {
    heading: "Configuration and Environment",
    commands: &[
        command("certificates", "", (0, 0), "Displays the certificates of listeners with TLS", machine::certificates),
        command(
            "cipher_suites",
            "[--format openssl] [--all]",
            (0, 0),
            "Lists the cipher suites that TLS is spoken with",
            machine::cipher_suites,
        )
        .with(&["format=", "all", "openssl-format"]),
        command("tls_versions", "", (0, 0), "Lists the versions of TLS that can be spoken", machine::tls_versions),
        command("command_line_arguments", "", (0, 0), "Displays the command line of the node", machine::command_line_arguments)
            .needs(Needs::Node),
        command("os_env", "", (0, 0), "Lists the variables of the environment that the node goes by", machine::os_env),
        command(
            "resolve_hostname",
            "<hostname> [--address-family <ipv4 | ipv6>]",
            (1, 1),
            "Resolves a host name on this machine",
            machine::resolve_hostname,
        )
        .with(&["address-family=", "offline"])
        .needs(Needs::Nothing),
        command("erlang_version", "", (0, 0), "Says that there is no Erlang", machine::erlang_version),
        command("autocomplete", "[<prefix>]", (0, MANY), "Lists the commands that begin so", machine::autocomplete).needs(Needs::Nothing),
    ],
};

pub(super) const CLUSTER: Group = Group {
    heading: "Clusters and upgrades",
    commands: &[
        command(
            "await_online_nodes",
            "<count>",
            (1, 1),
            "Waits for <count> nodes to join the cluster; with 1, it exits at once",
            cluster::await_online_nodes,
        ),
        command(
            "await_online_quorum_plus_one",
            "",
            (0, 0),
            "Waits for quorum queues to have more members than they need: does not apply to one node",
            cluster::await_online_quorum_plus_one,
        ),
        command(
            "await_online_synchronized_mirror",
            "",
            (0, 0),
            "Waits for mirrors: does not apply to one node",
            cluster::await_online_synchronized_mirror,
        ),
        command("post_upgrade", "", (0, 0), "Runs post-upgrade tasks", cluster::post_upgrade),
        command("discover_peers", "", (0, 0), "Lists discovered nodes, of which there are none", cluster::discover_peers),
        command("join_cluster", "<node>", (1, 1), "Is refused: a node is alone", cluster::join_cluster)
            .with(&["disc", "ram"])
            .needs(Needs::Node),
        command("forget_cluster_node", "<node>", (1, 1), "Is refused: there is no other node", cluster::forget_cluster_node)
            .with(&["offline"])
            .needs(Needs::Node),
        command(
            "change_cluster_node_type",
            "<disc | ram>",
            (1, 1),
            "Is refused: a node that is alone is of one type",
            cluster::change_cluster_node_type,
        )
        .needs(Needs::NoApp),
        command(
            "rebalance",
            "< all | classic | quorum | stream > [--vhost-pattern <pattern>] [--queue-pattern <pattern>]",
            (1, 1),
            "Re-balances leaders of replicated queues: they are where they belong",
            cluster::rebalance,
        )
        .with(&["vhost-pattern=", "queue-pattern="]),
        command(
            "add_member",
            "[--vhost <vhost>] <queue> <node> [--membership <promotable|voter>]",
            (2, 2),
            "Adds a member of a quorum queue on a node",
            cluster::add_member,
        )
        .with(&["membership="]),
        command(
            "delete_member",
            "[--vhost <vhost>] <queue> <node>",
            (2, 2),
            "Removes a member of a quorum queue from a node",
            cluster::delete_member,
        ),
        command(
            "grow",
            "<node> <all | even> [--vhost-pattern <pattern>] [--queue-pattern <pattern>]",
            (2, 2),
            "Adds members of quorum queues on a node",
            cluster::grow,
        )
        .with(&["vhost-pattern=", "queue-pattern=", "errors-only"]),
        command("shrink", "<node> [--errors-only]", (1, 1), "Removes members of quorum queues from a node", cluster::shrink)
            .with(&["errors-only"]),
        command(
            "reclaim_quorum_memory",
            "[--vhost <vhost>] <queue>",
            (1, 1),
            "Does nothing: memory is given back as it is freed",
            cluster::reclaim_quorum_memory,
        ),
    ],
};

/// What asks Erlang about itself.
pub(super) const ERLANG: Group = Group {
    heading: "Not available: there is no Erlang runtime",
    commands: &[
        absent("erlang_cookie_hash"),
        absent("erlang_cookie_sources"),
        absent("eval_file"),
        absent("exec"),
        absent("maybe_stuck"),
        absent("observer"),
        absent("remote_shell"),
        absent("resolver_info"),
        absent("runtime_thread_stats"),
        absent("schema_info"),
    ],
};

const fn absent(name: &'static str) -> super::Command {
    command(name, "", (0, MANY), "Is refused", machine::absent).needs(Needs::Nothing)
}
