//! The table of commands: their names, what they take, who carries them out. Help, errors and docs/COMMANDS.md are made of it.

mod machine;
mod observing;

use super::call::Call;
use super::failure::Failure;
use super::{connections, definitions, eval, node, permissions, plugins, policies, queues, shovels, status, users, vhosts};

/// What has to be there for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    Node,
    /// The application runs (`start_app`).
    App,
    /// It does not (`stop_app`).
    NoApp,
}

pub(super) struct Command {
    pub(super) name: &'static str,
    /// How it is used, after its name and RabbitMQ's general options.
    pub(super) usage: &'static str,
    pub(super) about: &'static str,
    /// The least and the most words behind the name.
    pub(super) takes: (usize, usize),
    /// `name`, or `name=` for one with a value.
    pub(super) options: &'static [&'static str],
    pub(super) needs: Needs,
    pub(super) run: fn(&mut Call) -> Result<(), Failure>,
}

/// The commands of one heading.
pub(super) struct Group {
    pub(super) heading: &'static str,
    pub(super) commands: &'static [Command],
}

const fn command(
    name: &'static str,
    usage: &'static str,
    takes: (usize, usize),
    about: &'static str,
    run: fn(&mut Call) -> Result<(), Failure>,
) -> Command {
    Command { name, usage, about, takes, options: &[], needs: Needs::App, run }
}

impl Command {
    const fn with(self, options: &'static [&'static str]) -> Self {
        Self { options, ..self }
    }

    const fn needs(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }
}

const MANY: usize = usize::MAX;

const NODES: Group = Group {
    heading: "Nodes",
    commands: &[
        command("await_startup", "", (0, 0), "Waits for the RabbitMQ application to start on the target node", node::await_startup)
            .needs(Needs::Nothing),
        command("wait", "[<pidfile>] [--pid|-P <pid>]", (0, 1), "Waits for node startup by monitoring a PID file", node::wait)
            .with(&["pid="])
            .needs(Needs::Nothing),
        command("stop", "[<pidfile>]", (0, 1), "Stops the node", node::stop).with(&["idempotent"]).needs(Needs::Node),
        command("shutdown", "[--wait]", (0, 0), "Stops the node and waits for its end", node::shutdown)
            .with(&["wait", "no-wait"])
            .needs(Needs::Node),
        command("stop_app", "", (0, 0), "Stops serving clients, leaving the process running", node::stop_app).needs(Needs::Node),
        command("start_app", "", (0, 0), "Serves clients again", node::start_app).needs(Needs::Node),
        command("reset", "", (0, 0), "Returns the node to its virgin state", node::reset).needs(Needs::NoApp),
        command("force_reset", "", (0, 0), "Returns the node to its virgin state", node::force_reset).needs(Needs::NoApp),
        command("suspend_listeners", "", (0, 0), "Closes the listeners for clients", node::suspend_listeners),
        command("resume_listeners", "", (0, 0), "Opens the listeners for clients again", node::resume_listeners),
        command("drain", "", (0, 0), "Puts the node in maintenance mode: it serves no clients", node::drain),
        command("revive", "", (0, 0), "Puts the node out of maintenance mode", node::revive),
        command("rotate_logs", "", (0, 0), "Begins a new log file", node::rotate_logs).needs(Needs::Node),
        command("force_gc", "", (0, 0), "Does nothing: there is no garbage to collect", node::force_gc),
        command("set_cluster_name", "<name>", (1, 1), "Sets the cluster name", node::set_cluster_name),
        command("cluster_status", "", (0, 0), "Displays the node, which is the whole cluster", status::cluster_status),
    ],
};

const USERS: Group = Group {
    heading: "Users",
    commands: &[
        command("add_user", "<username> <password>", (1, 2), "Creates a new user, without permissions", users::add_user),
        command("authenticate_user", "<username> <password>", (1, 2), "Attempts to authenticate a user", users::authenticate_user),
        command("change_password", "<username> <password>", (1, 2), "Changes the user password", users::change_password),
        command("clear_password", "<username>", (1, 1), "Disables password login for a user", users::clear_password),
        command("delete_user", "<username>", (1, 1), "Removes a user", users::delete_user),
        command("list_users", "[--no-table-headers]", (0, 0), "Lists user names and tags", users::list_users),
        command("set_user_tags", "<username> <tag> [...]", (1, MANY), "Sets user tags", users::set_user_tags),
        command("set_user_limits", "<username> <definition>", (2, 2), "Sets user limits", policies::set_user_limits),
        command("clear_user_limits", "username <limit_type> | all", (2, 2), "Clears user limits", policies::clear_user_limits),
        command("list_user_limits", "[--user <username>] [--global]", (0, 0), "Displays user limits", policies::list_user_limits)
            .with(&["user=", "global"]),
        command("hash_password", "<cleartext_password>", (1, 1), "Hashes a plaintext password", users::hash_password),
    ],
};

const ACCESS: Group = Group {
    heading: "Access Control",
    commands: &[
        command(
            "set_permissions",
            "[--vhost <vhost>] <username> <conf> <write> <read>",
            (4, 4),
            "Sets user permissions for a vhost",
            permissions::set_permissions,
        ),
        command("clear_permissions", "[--vhost <vhost>] <username>", (1, 1), "Revokes user permissions", permissions::clear_permissions),
        command("list_permissions", "[--vhost <vhost>]", (0, 0), "Lists user permissions", permissions::list_permissions),
        command(
            "set_permissions_globally",
            "<username> <conf> <write> <read>",
            (4, 4),
            "Sets user permissions for all virtual hosts",
            permissions::set_permissions_globally,
        ),
        command("list_user_permissions", "<username>", (1, 1), "Lists permissions of a user", permissions::list_user_permissions),
        command(
            "set_topic_permissions",
            "[--vhost <vhost>] <username> <exchange> <write> <read>",
            (4, 4),
            "Sets user topic permissions for an exchange",
            permissions::set_topic_permissions,
        ),
        command(
            "clear_topic_permissions",
            "[--vhost <vhost>] <username> [<exchange>]",
            (1, 2),
            "Clears user topic permissions for a vhost or exchange",
            permissions::clear_topic_permissions,
        ),
        command("list_topic_permissions", "[--vhost <vhost>]", (0, 0), "Lists topic permissions", permissions::list_topic_permissions),
        command(
            "list_user_topic_permissions",
            "<username>",
            (1, 1),
            "Lists user topic permissions",
            permissions::list_user_topic_permissions,
        ),
    ],
};

const POLICIES: Group = Group {
    heading: "Policies and parameters",
    commands: &[
        command(
            "set_policy",
            "[--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>",
            (3, 3),
            "Sets or updates a policy",
            policies::set_policy,
        )
        .with(&["priority=", "apply-to="]),
        command("clear_policy", "[--vhost <vhost>] <name>", (1, 1), "Clears (removes) a policy", policies::clear_policy),
        command("list_policies", "[--vhost <vhost>]", (0, 0), "Lists all policies in a virtual host", policies::list_policies),
        command(
            "set_operator_policy",
            "[--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>",
            (3, 3),
            "Sets an operator policy",
            policies::set_operator_policy,
        )
        .with(&["priority=", "apply-to="]),
        command(
            "list_policies_that_match",
            "[--vhost <vhost>] [--object-type <queue | exchange>] <name>",
            (1, 1),
            "Lists all policies that match a queue or an exchange; the first one counts",
            policies::list_policies_that_match,
        )
        .with(&["object-type="]),
        command("clear_operator_policy", "[--vhost <vhost>] <name>", (1, 1), "Clears an operator policy", policies::clear_operator_policy),
        command("list_operator_policies", "[--vhost <vhost>]", (0, 0), "Lists operator policies", policies::list_operator_policies),
        command(
            "set_parameter",
            "[--vhost <vhost>] <component_name> <name> <value>",
            (3, 3),
            "Sets a runtime parameter",
            policies::set_parameter,
        ),
        command("clear_parameter", "[--vhost <vhost>] <component_name> <name>", (2, 2), "Clears a parameter", policies::clear_parameter),
        command("list_parameters", "[--vhost <vhost>]", (0, 0), "Lists runtime parameters", policies::list_parameters),
        command("set_global_parameter", "<name> <value>", (2, 2), "Sets a global parameter", policies::set_global_parameter),
        command("clear_global_parameter", "<name>", (1, 1), "Clears a global parameter", policies::clear_global_parameter),
        command("list_global_parameters", "", (0, 0), "Lists global parameters", policies::list_global_parameters),
    ],
};

const VHOSTS: Group = Group {
    heading: "Virtual hosts",
    commands: &[
        command(
            "add_vhost",
            "<vhost> [--description <description> --tags <tags> --default-queue-type <quorum|classic|stream>]",
            (1, 1),
            "Creates a virtual host",
            vhosts::add_vhost,
        )
        .with(&["description=", "tags=", "default-queue-type=", "protected-from-deletion"]),
        command("delete_vhost", "<vhost>", (1, 1), "Deletes a virtual host", vhosts::delete_vhost),
        command("list_vhosts", "[--no-table-headers] [<column> ...]", (0, MANY), "Lists virtual hosts", vhosts::list_vhosts),
        command("restart_vhost", "[--vhost <vhost>]", (0, 0), "Does nothing: no virtual host fails alone", vhosts::restart_vhost),
        command("set_vhost_tags", "<vhost> <tag> [...]", (1, MANY), "Sets virtual host tags", vhosts::set_vhost_tags),
        command(
            "update_vhost_metadata",
            "<vhost> [--description <description>] [--tags <tags>] [--default-queue-type <type>]",
            (1, 1),
            "Updates the metadata of a virtual host",
            vhosts::update_vhost_metadata,
        )
        .with(&["description=", "tags=", "default-queue-type="]),
        command("enable_vhost_deletion_protection", "<vhost>", (1, 1), "Protects a virtual host from deletion", vhosts::protect),
        command("disable_vhost_deletion_protection", "<vhost>", (1, 1), "Removes the protection", vhosts::unprotect),
        command("set_vhost_limits", "[--vhost <vhost>] <definition>", (1, 1), "Sets virtual host limits", policies::set_vhost_limits),
        command("clear_vhost_limits", "[--vhost <vhost>]", (0, 0), "Clears virtual host limits", policies::clear_vhost_limits),
        command("list_vhost_limits", "[--vhost <vhost>] [--global]", (0, 0), "Displays limits", policies::list_vhost_limits)
            .with(&["global"]),
        command("trace_on", "[--vhost <vhost>]", (0, 0), "Starts tracing", vhosts::trace_on),
        command("trace_off", "[--vhost <vhost>]", (0, 0), "Stops tracing", vhosts::trace_off),
    ],
};

const OPERATIONS: Group = Group {
    heading: "Operations",
    commands: &[
        command(
            "delete_queue",
            "[--vhost <vhost>] <queue_name> [--if-empty|-e] [--if-unused|-u]",
            (1, 1),
            "Deletes a queue",
            queues::delete_queue,
        )
        .with(&["if-empty", "if-unused"]),
        command("purge_queue", "[--vhost <vhost>] <queue>", (1, 1), "Removes all messages of a queue", queues::purge_queue),
        command("peek", "[--vhost <vhost>] <queue> <pos>", (2, 2), "Shows a message of a queue", queues::peek),
        command("quorum_status", "[--vhost <vhost>] <queue>", (1, 1), "Displays the replicas of a quorum queue", queues::quorum_status),
        command("close_connection", "<connectionpid> <explanation>", (2, 2), "Closes a connection", connections::close_connection),
        command(
            "close_all_connections",
            "[--vhost <vhost> --limit <limit>] [-n <node> --global] [--per-connection-delay <delay>] <explanation>",
            (1, 1),
            "Closes all connections of a virtual host or of the node",
            connections::close_all_connections,
        )
        .with(&["limit=", "global", "per-connection-delay="]),
        command(
            "close_all_user_connections",
            "<username> <explanation>",
            (2, 2),
            "Closes all connections of a user",
            connections::close_all_user_connections,
        )
        .with(&["limit=", "per-connection-delay="]),
        command("export_definitions", "<file_path | \"-\">", (1, 1), "Exports definitions in JSON", definitions::export_definitions)
            .with(&["format="]),
        command("import_definitions", "<file_path | \"-\">", (0, 1), "Imports definitions in JSON", definitions::import_definitions)
            .with(&["format=", "skip-if-unchanged"]),
        command(
            "set_vm_memory_high_watermark",
            "<fraction> | absolute <value>",
            (1, 2),
            "Sets the vm_memory_high_watermark setting",
            node::set_vm_memory_high_watermark,
        ),
        command(
            "set_disk_free_limit",
            "<disk_limit> | mem_relative <fraction>",
            (1, 2),
            "Sets the disk_free_limit setting",
            node::set_disk_free_limit,
        ),
        command(
            "activate_free_disk_space_monitoring",
            "",
            (0, 0),
            "Looks again how much room the disk has",
            node::activate_free_disk_space_monitoring,
        ),
        command(
            "deactivate_free_disk_space_monitoring",
            "",
            (0, 0),
            "Looks no more how much room the disk has",
            node::deactivate_free_disk_space_monitoring,
        ),
        command("shovel_status", "", (0, 0), "Displays the status of shovels", shovels::shovel_status),
        command("delete_shovel", "[--vhost <vhost>] <name>", (1, 1), "Deletes a shovel", shovels::delete_shovel).with(&["force"]),
        command("restart_shovel", "[--vhost <vhost>] <name>", (1, 1), "Restarts a shovel", shovels::restart_shovel),
        command("set_log_level", "<log_level>", (1, 1), "Sets the level of the log", node::set_log_level),
        command("list_feature_flags", "[--no-table-headers] [<column> ...]", (0, MANY), "Lists feature flags", plugins::list_feature_flags),
        command("enable_feature_flag", "<all | feature_flag>", (1, 1), "Enables a feature flag", plugins::enable_feature_flag)
            .with(&["experimental", "opt-in"]),
        command("list_deprecated_features", "[--used]", (0, MANY), "Lists deprecated features", plugins::list_deprecated_features)
            .with(&["used"]),
        command("eval", "<expression>", (1, MANY), "Understands what test suites evaluate, and no Erlang", eval::eval),
    ],
};

/// All that rabbitmqctl, rabbitmq-diagnostics and rabbitmq-queues have.
pub(super) const GROUPS: &[Group] =
    &[NODES, USERS, ACCESS, observing::OBSERVING, machine::CONFIGURATION, POLICIES, VHOSTS, OPERATIONS, machine::CLUSTER, machine::ERLANG];

/// What rabbitmq-plugins has.
pub(super) const PLUGINS: &[Group] = &[Group {
    heading: "Plugin management",
    commands: &[
        command("list", "[pattern] [--verbose] [--minimal] [--enabled] [--implicitly-enabled]", (0, 1), "Lists plugins", plugins::list)
            .with(&["minimal", "enabled", "implicitly-enabled"])
            .needs(Needs::Nothing),
        command(
            "enable",
            "<plugin> [<plugin> ...] [--offline|--online] [--all]",
            (0, MANY),
            "Enables plugins that are built in",
            plugins::enable,
        )
        .with(&["offline", "online", "all"])
        .needs(Needs::Nothing),
        command(
            "disable",
            "<plugin> [<plugin> ...] [--offline|--online] [--all]",
            (0, MANY),
            "Does nothing: what is built in stays",
            plugins::disable,
        )
        .with(&["offline", "online", "all"])
        .needs(Needs::Nothing),
        command("set", "[<plugin> ...] [--offline|--online]", (0, MANY), "Enables plugins that are built in", plugins::enable)
            .with(&["offline", "online"])
            .needs(Needs::Nothing),
        command(
            "is_enabled",
            "<plugin> [<plugin> ...] [--offline|--online]",
            (1, MANY),
            "Tells whether plugins are built in",
            plugins::is_enabled,
        )
        .with(&["offline", "online"])
        .needs(Needs::Nothing),
    ],
}];

pub(super) fn all(groups: &'static [Group]) -> impl Iterator<Item = &'static Command> {
    groups.iter().flat_map(|group| group.commands)
}

pub(super) fn named(groups: &'static [Group], name: &str) -> Option<&'static Command> {
    all(groups).find(|command| command.name == name)
}
