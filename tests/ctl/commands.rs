//! Every command once, with what RabbitMQ 3.10.8's say. The last test sees to it that none is left out.

use serde_json::{Value as Json, json};

use super::http::Http;
use super::support::broker::Broker;
use super::support::raw::Raw;
use super::tools::{Tools, running};

const LOST: &str = "Error:\nParameter does not exist\n";

fn json_of(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn users(tools: &Tools) {
    let done =
        "Done. Don't forget to grant the user permissions to some virtual hosts! See 'rabbitmqctl help set_permissions' to learn more.";
    tools.ctl_says(&["add_user", "u", "p"], &format!("Adding user \"u\" ...\n{done}\n"));
    tools.ctl_fails(&["add_user", "u", "p"], 70, "Error:\nUser \"u\" already exists\n");
    let said = tools.run_with(&["rabbitmqctl", "-q", "add_user", "v"], "secret\n");
    assert_eq!((said.code, said.out.as_str()), (0, "Password: \n"));
    tools.ctl_says(&["authenticate_user", "v", "secret"], "Authenticating user \"v\" ...\nSuccess\n");
    tools.ctl_says(&["set_user_tags", "u", "monitoring", "management"], "Setting tags for user \"u\" to [monitoring, management] ...\n");
    tools.ctl_says(&["list_users"], "Listing users ...\nuser\ttags\nguest\t[administrator]\nu\t[monitoring, management]\nv\t[]\n");
    tools.ctl_says(&["-s", "list_users"], "guest\t[administrator]\nu\t[monitoring, management]\nv\t[]\n");
    let listed = tools.ctl(&["list_users", "--formatter", "json"]);
    assert_eq!(json_of(&listed)[1], json!({"user": "u", "tags": ["monitoring", "management"]}));
    tools.ctl_says(&["change_password", "u", "q"], "Changing password for user \"u\" ...\n");
    tools.ctl_says(&["-q", "authenticate_user", "u", "q"], "Success\n");
    let refused = "Error:\nError: failed to authenticate user \"u\"\nuser 'u' - invalid credentials\n";
    tools.ctl_fails(&["authenticate_user", "u", "p"], 65, refused);
    tools.ctl_says(&["clear_password", "u"], "Clearing password for user \"u\" ...\n");
    tools.ctl_fails(&["authenticate_user", "u", "q"], 65, refused);
    tools.ctl_fails(&["set_user_tags", "nope", "a"], 67, "Error:\nUser \"nope\" does not exist\n");
    tools.ctl_says(&["delete_user", "v"], "Deleting user \"v\" ...\n");
    tools.ctl_fails(&["delete_user", "v"], 67, "Error:\nUser \"v\" does not exist\n");
    assert_eq!(tools.ctl(&["-q", "hash_password", "x"]).len(), 49);
    tools.ctl_says(
        &["set_user_limits", "u", r#"{"max-connections": 5}"#],
        "Setting user limits to \"{\"max-connections\": 5}\" for user \"u\" ...\n",
    );
    tools.ctl_says(&["list_user_limits", "--user", "u"], "Listing limits for user \"u\" ...\n{\"max-connections\":5}\n");
    tools.ctl_says(&["list_user_limits", "--global"], "Listing limits for all users ...\nuser\tlimits\nu\t{\"max-connections\":5}\n");
    tools.ctl_says(&["clear_user_limits", "u", "all"], "Clearing \"all\" limit for user \"u\" ...\n");
    tools.ctl_says(&["list_user_limits"], "Listing limits for user \"guest\" ...\n{}\n");
    let unknown = "Error:\nUnrecognised terms [{<<\"x\">>,1}] in user-limits\n";
    tools.ctl_fails(&["set_user_limits", "u", r#"{"x":1}"#], 69, unknown);
}

fn permissions(tools: &Tools) {
    let set = "Setting permissions for user \"u\" in vhost \"/\" ...\n";
    tools.ctl_says(&["set_permissions", "u", "^a", ".*", ""], set);
    tools.ctl_fails(&["set_permissions", "-p", "nope", "u", "", "", ""], 69, "Error:\nVirtual host nope does not exist\n");
    tools.ctl_fails(&["set_permissions", "nope", "", "", ""], 67, "Error:\nUser nope does not exist\n");
    let listed = "Listing permissions for vhost \"/\" ...\nuser\tconfigure\twrite\tread\nguest\t.*\t.*\t.*\nu\t^a\t.*\t\n";
    tools.ctl_says(&["list_permissions"], listed);
    tools.ctl_fails(&["list_permissions", "-p", "nope"], 65, "Virtual host 'nope' does not exist\n");
    tools.ctl_says(&["list_user_permissions", "u"], "Listing permissions for user \"u\" ...\nvhost\tconfigure\twrite\tread\n/\t^a\t.*\t\n");
    tools.ctl_fails(&["list_user_permissions", "nope"], 69, "Error:\n{:no_such_user, \"nope\"}\n");
    let set = "Setting topic permissions on \"amq.topic\" for user \"u\" in vhost \"/\" ...\n";
    tools.ctl_says(&["set_topic_permissions", "u", "amq.topic", "^w", "^r"], set);
    let listed = "Listing topic permissions for vhost \"/\" ...\nuser\texchange\twrite\tread\nu\tamq.topic\t^w\t^r\n";
    tools.ctl_says(&["list_topic_permissions"], listed);
    tools.ctl_says(&["-s", "list_user_topic_permissions", "u"], "/\tamq.topic\t^w\t^r\n");
    let cleared = "Clearing topic permissions on \"amq.topic\" for user \"u\" in vhost \"/\" ...\n";
    tools.ctl_says(&["clear_topic_permissions", "u", "amq.topic"], cleared);
    tools.ctl_says(&["-s", "list_topic_permissions"], "");
    let globally = "Setting permissions for user \"u\" in all virtual hosts ...\n";
    tools.ctl_says(&["set_permissions_globally", "u", "^b", ".*", ""], globally);
    tools.ctl_says(&["-s", "list_user_permissions", "u"], "/\t^b\t.*\t\n");
    tools.ctl_fails(&["set_permissions_globally", "nope", "", "", ""], 67, "Error:\nUser nope does not exist\n");
    tools.ctl_says(&["clear_permissions", "u"], "Clearing permissions for user \"u\" in vhost \"/\" ...\n");
    tools.ctl_says(&["-s", "list_user_permissions", "u"], "");
}

fn vhosts(tools: &Tools) {
    let options = ["--description", "d", "--tags", "a,b", "--default-queue-type", "quorum"];
    tools.ctl_says(&[&["add_vhost", "v1"][..], &options].concat(), "Adding vhost \"v1\" ...\n");
    tools.ctl_says(&["add_vhost", "v1"], "Adding vhost \"v1\" ...\n");
    let listed = "Listing vhosts ...\nname\ttracing\tdescription\ttags\tdefault_queue_type\n";
    let said = tools.ctl(&["list_vhosts", "name", "tracing", "description", "tags", "default_queue_type"]);
    assert!(said.starts_with(listed) && said.ends_with("v1\tfalse\td\ta,b\tquorum\n"), "{said}");
    tools.ctl_says(&["set_vhost_tags", "v1", "c", "d"], "Setting tags for virtual host \"v1\" to [c, d] ...\n");
    tools.ctl_says(&["update_vhost_metadata", "v1", "--description", "e"], "Updating metadata of vhost \"v1\" ...\n");
    assert!(tools.ctl(&["list_vhosts", "name", "description", "tags"]).ends_with("v1\te\tc,d\n"));
    tools.ctl_says(&["trace_on", "-p", "v1"], "Starting tracing for vhost \"v1\" ...\nTrace enabled for vhost v1\n");
    assert!(tools.ctl(&["list_vhosts", "name", "tracing"]).ends_with("v1\ttrue\n"));
    tools.ctl_says(&["trace_off", "-p", "v1"], "Stopping tracing for vhost \"v1\" ...\nTrace disabled for vhost v1\n");
    tools.ctl(&["restart_vhost", "-p", "v1"]);
    tools.ctl_says(
        &["set_vhost_limits", "-p", "v1", r#"{"max-queues": 5}"#],
        "Setting vhost limits to \"{\"max-queues\": 5}\" for vhost \"v1\" ...\n",
    );
    tools.ctl_says(&["list_vhost_limits", "-p", "v1"], "Listing limits for vhost \"v1\" ...\n{\"max-queues\":5}\n");
    tools.ctl_says(&["clear_vhost_limits", "-p", "v1"], "Clearing vhost \"v1\" limits ...\n");
    tools.ctl_says(&["list_vhost_limits"], "Listing limits for vhost \"/\" ...\n\n");
    tools.ctl_fails(&["set_vhost_limits", "nope"], 69, "Error:\nJSON decoding error. Reason: badarg\n");
    let unknown = "Error:\nValidation failed\n\nUnrecognised terms [{<<\"x\">>,1}] in limits\n";
    tools.ctl_fails(&["set_vhost_limits", r#"{"x":1}"#], 69, unknown);
    tools.ctl(&["enable_vhost_deletion_protection", "v1"]);
    assert_eq!(tools.run(&["rabbitmqctl", "delete_vhost", "v1"]).code, 69);
    tools.ctl(&["disable_vhost_deletion_protection", "v1"]);
    tools.ctl_says(&["delete_vhost", "v1"], "Deleting vhost \"v1\" ...\n");
    tools.ctl_fails(&["delete_vhost", "v1"], 65, "Virtual host 'v1' does not exist\n");
}

fn policies(tools: &Tools) {
    let set = "Setting policy \"p1\" for pattern \"^x\" to \"{\"max-length\":5}\" with priority \"3\" for vhost \"/\" ...\n";
    tools.ctl_says(&["set_policy", "p1", "^x", r#"{"max-length":5}"#, "--apply-to", "queues", "--priority", "3"], set);
    let unknown = "Error:\nValidation failed\n\n[{<<\"max-lengthx\">>,5}] are not recognised policy settings\n";
    tools.ctl_fails(&["set_policy", "p1", "^x", r#"{"max-lengthx":5}"#], 69, unknown);
    tools.ctl_fails(&["set_policy", "p1", "^x", "foo"], 69, "Error:\nJSON decoding error. Reason: badarg\n");
    let listed = "Listing policies for vhost \"/\" ...\nvhost\tname\tpattern\tapply-to\tdefinition\tpriority\n";
    tools.ctl_says(&["list_policies"], &format!("{listed}/\tp1\t^x\tqueues\t{{\"max-length\":5}}\t3\n"));
    let row = r#"{"vhost":"/","name":"p1","pattern":"^x","apply-to":"queues","definition":"{\"max-length\":5}","priority":3}"#;
    tools.ctl_says(&["list_policies", "--formatter", "json"], &format!("[\n{row}\n]\n"));
    tools.ctl_fails(&["list_policies", "-p", "nope"], 65, "Virtual host 'nope' does not exist\n");
    tools.ctl_says(&["clear_policy", "p1"], "Clearing policy \"p1\" on vhost \"/\" ...\n");
    tools.ctl_fails(&["clear_policy", "p1"], 69, LOST);
    tools.ctl(&["set_operator_policy", "o1", "^x", r#"{"max-length":5}"#]);
    tools.ctl_says(&["-s", "list_operator_policies"], "/\to1\t^x\tall\t{\"max-length\":5}\t0\n");
    tools.ctl_says(&["clear_operator_policy", "o1"], "Clearing operator policy \"o1\" on vhost \"/\" ...\n");
    tools.ctl_says(&["set_global_parameter", "g", r#"{"a":1}"#], "Setting global runtime parameter \"g\" to \"{\"a\":1}\" ...\n");
    assert!(tools.ctl(&["list_global_parameters"]).contains("\ng\t{\"a\":1}\n"));
    tools.ctl_says(&["clear_global_parameter", "g"], "Clearing global runtime parameter \"g\" ...\n");
    tools.ctl_fails(&["clear_global_parameter", "g"], 69, LOST);
    let foreign = "Error:\nValidation failed\n\ncomponent foo not found\n";
    tools.ctl_fails(&["set_parameter", "foo", "bar", "1"], 69, foreign);
    tools.ctl_fails(&["clear_parameter", "foo", "bar"], 69, LOST);
    tools.ctl_says(&["list_parameters"], "Listing runtime parameters for vhost \"/\" ...\n");
}

/// Channel 1 has declared q1 with two messages in it, and is open.
fn objects(tools: &Tools, broker: &Broker) {
    let mut connection = Raw::channel(broker);
    connection.declare("q1", 0);
    let http = broker.http().port().to_string();
    let admin = |words: &[&str]| {
        let said = tools.run(&[&["rabbitmqadmin", "-q", "-P", http.as_str()], words].concat());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{words:?}");
    };
    admin(&["declare", "queue", "name=q2", r#"arguments={"x-max-length":5}"#]);
    admin(&["declare", "binding", "source=amq.topic", "destination=q1", "routing_key=k.#", r#"arguments={"a":1}"#]);
    admin(&["publish", "routing_key=q1", "payload=one"]);
    admin(&["publish", "routing_key=q1", "payload=two"]);
    tools.ctl_says(&["list_queues"], "Timeout: 60.0 seconds ...\nListing queues for vhost / ...\nname\tmessages\nq1\t2\nq2\t0\n");
    tools.ctl_says(&["-q", "list_queues", "name", "arguments"], "name\targuments\nq1\t[]\nq2\t[{\"x-max-length\",5}]\n");
    tools.ctl_says(&["list_queues", "-p", "nope", "-q"], "");
    let said = tools.run(&["rabbitmqctl", "list_queues", "nope"]);
    assert_eq!(said.code, 64);
    assert!(
        said.err.starts_with("Error (argument validation): Info key(s) nope are not supported\nArguments given:\n\tlist_queues nope\n")
    );
    assert!(tools.ctl(&["-s", "list_exchanges"]).contains("amq.topic\ttopic\n"));
    let binding = "amq.topic\texchange\tq1\tqueue\tk.#\t[{\"a\",1}]\n";
    assert!(tools.ctl(&["-s", "list_bindings"]).ends_with(binding));
    tools.ctl_says(&["-s", "list_consumers"], "");
    tools.ctl_says(&["list_unresponsive_queues", "--formatter", "json"], "[\n]\n");
    let peeked = tools.run(&["rabbitmq-queues", "-s", "peek", "q1", "2"]);
    assert!(peeked.out.contains("payload\ttwo\n") && peeked.out.contains("redelivered\tfalse\n"), "{peeked:?}");
    let classic = tools.run(&["rabbitmq-queues", "quorum_status", "q1"]);
    assert_eq!((classic.code, classic.err.as_str()), (69, "Error:\nOperation not supported for classic queues\n"));
    tools.ctl_says(&["purge_queue", "q1"], "Purging queue 'q1' in vhost '/' ...\n");
    tools.ctl_fails(&["purge_queue", "nope"], 69, "Error:\nnot_found\n");
    tools.ctl_says(&["delete_queue", "q1"], "Deleting queue 'q1' on vhost '/' ...\nQueue was successfully deleted with 0 ready messages\n");
    tools.ctl_fails(&["delete_queue", "q1"], 64, "Error:\nQueue not found\n");
    tools.ctl_says(&["-s", "list_queues"], "q2\t0\n");

    let listed = tools.ctl(&["-s", "list_connections", "pid", "user", "peer_host", "state"]);
    let pid = listed.split('\t').next().expect("a column").to_owned();
    assert_eq!(listed, format!("{pid}\tguest\t127.0.0.1\trunning\n"));
    assert_eq!(tools.ctl(&["-s", "list_channels", "connection", "number", "user"]), format!("{pid}\t1\tguest\n"));
    tools.ctl_says(&["close_connection", &pid, "bye"], &format!("Closing connection {pid}, reason: bye...\n"));
    let close = connection.closed();
    assert_eq!((close.code, close.text.as_str()), (320, "CONNECTION_FORCED - bye"));
    let wrong = "Error:\nError:\n{:invalid_pid_syntax, \"what\"}\n";
    tools.ctl_fails(&["close_connection", "what", "bye"], 69, wrong);
    let mut two = [Raw::channel(broker), Raw::channel(broker)];
    let closing = "Closing all connections in vhost /, reason: bye...\nClosed 2 connections\n";
    tools.ctl_says(&["close_all_connections", "bye"], closing);
    two.iter_mut().for_each(|connection| assert_eq!(connection.closed().code, 320));
    let mut one = Raw::channel(broker);
    tools.ctl_says(&["close_all_user_connections", "nobody", "bye"], "Closing connections of user nobody, reason: bye...\n");
    tools.ctl(&["close_all_user_connections", "guest", "bye"]);
    assert_eq!(one.closed().code, 320);
}

fn reports(tools: &Tools, broker: &Broker) {
    let port = broker.address().port().to_string();
    let status = tools.ctl(&["status"]);
    assert!(status.contains(&format!("\nOS PID: {}\n", broker.pid())) && status.contains("Alarms\n\n(none)\n"), "{status}");
    let found = json_of(&tools.ctl(&["status", "--formatter", "json"]));
    assert_eq!((&found["pid"], &found["alarms"]), (&json!(broker.pid()), &json!([])));
    let ping = "Will ping leveret@localhost. This only checks if the OS process is running and registered with epmd. Timeout: 60000 ms.\n";
    tools.ctl_says(&["ping"], &format!("{ping}Ping succeeded\n"));
    tools.diagnostics_says(&["-q", "ping"], "Ping succeeded\n");
    tools.diagnostics_says(&["-q", "check_running"], "RabbitMQ on node leveret@localhost is fully booted and running\n");
    tools.diagnostics_says(&["-q", "is_running"], "RabbitMQ on node leveret@localhost is fully booted and running\n");
    assert!(tools.ctl(&["is_booting"]).contains("fully booted"));
    tools.diagnostics_says(&["-q", "check_local_alarms"], "Node leveret@localhost reported no local alarms\n");
    tools.diagnostics_says(&["-q", "check_alarms"], "Node leveret@localhost reported no alarms, local or clusterwide\n");
    tools.diagnostics_says(&["alarms", "--formatter", "json"], "{\"alarms\":[],\"node\":\"leveret@localhost\",\"result\":\"ok\"}\n");
    tools.diagnostics_says(&["-q", "check_virtual_hosts"], "Node leveret@localhost reported all vhosts as running\n");
    let reached = tools.run(&["rabbitmq-diagnostics", "-q", "check_port_connectivity"]);
    assert_eq!(reached.code, 0, "{reached:?}");
    assert!(reached.out.starts_with("Successfully connected to ports ") && reached.out.contains(&port), "{reached:?}");
    let listening = format!("A listener for port {port} is running on node leveret@localhost.\n");
    tools.diagnostics_says(&["-q", "check_port_listener", &port], &listening);
    assert_eq!(tools.run(&["rabbitmq-diagnostics", "check_port_listener", "1"]).code, 69);
    tools.diagnostics_says(
        &["-q", "check_protocol_listener", "amqp"],
        "A listener for protocol amqp is running on node leveret@localhost.\n",
    );
    assert_eq!(tools.run(&["rabbitmq-diagnostics", "check_protocol_listener", "nope"]).code, 69);
    let within = ["check_certificate_expiration", "-q", "--unit", "weeks", "--within", "4"];
    tools.diagnostics_says(&within, "No certificates are expiring within 4 weeks.\n");
    for check in ["check_if_node_is_quorum_critical", "check_if_node_is_mirror_sync_critical"] {
        let only = "Node leveret@localhost seems to be the only one in a single node cluster, the check does not apply\n";
        tools.diagnostics_says(&["-q", check], only);
    }
    tools.diagnostics_says(&["-q", "node_health_check"], "Health check passed\n");
    assert!(tools.ctl(&["listeners"]).contains(&format!("port: {port}, protocol: amqp, purpose: AMQP 0-9-1 and AMQP 1.0\n")));
    assert!(tools.ctl(&["-q", "memory_breakdown", "--unit", "mb"]).starts_with("other: "));
    assert!(tools.ctl(&["-q", "server_version"]).starts_with("4."));
    assert!(tools.ctl(&["cluster_status"]).contains("Running Nodes\n\nleveret@localhost\n"));
    tools.ctl_says(&["-q", "log_location"], "<stderr>\n");
    assert_eq!(tools.run(&["rabbitmq-diagnostics", "log_tail"]).code, 69);
    assert!(tools.ctl(&["-q", "environment"]).contains("leveret@localhost"));
    tools.ctl_says(&["-q", "list_hashes"], "[sha512,sha256,md5]\n");
    assert!(tools.ctl(&["list_feature_flags"]).contains("\nquorum_queue\tenabled\n"));
    tools.ctl_says(&["enable_feature_flag", "all"], "Enabling all feature flags ...\n");
    tools.ctl(&["enable_feature_flag", "quorum_queue"]);
    let unknown = "Error:\nThis feature flag is not supported by node leveret@localhost\n";
    tools.ctl_fails(&["enable_feature_flag", "nope"], 64, unknown);
    tools.ctl(&["list_deprecated_features"]);
    tools.ctl(&["set_cluster_name", "warren"]);
    assert!(tools.ctl(&["cluster_status"]).contains("Cluster name: warren\n"));
    tools.ctl_says(&["rotate_logs"], "Rotating logs for node leveret@localhost ...\n");
    assert_eq!(tools.run(&["rabbitmq-diagnostics", "log_tail_stream", "-d", "1"]).code, 69);
    tools.ctl(&["force_gc"]);
}

/// What is about the process, its machine, and other nodes.
fn surroundings(tools: &Tools, broker: &Broker) {
    let node = "leveret@localhost";
    tools.diagnostics_says(&["-q", "tls_versions"], "tlsv1.3\ntlsv1.2\n");
    let suites = tools.run(&["rabbitmq-diagnostics", "-q", "cipher_suites", "--format", "openssl"]).out;
    assert!(suites.lines().any(|suite| suite == "TLS_AES_256_GCM_SHA384"), "{suites}");
    assert_eq!(tools.run(&["rabbitmq-diagnostics", "cipher_suites", "--format", "erlang"]).code, 64);
    tools.diagnostics_says(&["-q", "certificates"], "\n");
    assert!(tools.ctl(&["command_line_arguments"]).contains("--ready-file\n"));
    assert!(tools.ctl(&["os_env"]).starts_with(&format!("Listing RabbitMQ-specific environment variables defined on node {node}...\n")));
    let resolving = format!("Asking node {node} to resolve hostname localhost to IPv4 addresses...\n127.0.0.1\n");
    tools.diagnostics_says(&["resolve_hostname", "localhost"], &resolving);
    let nowhere = tools.run(&["rabbitmq-diagnostics", "-q", "resolve_hostname", "nowhere.invalid"]);
    let text = "Error:\nHostname does not resolve (resolution failed with an nxdomain)\n";
    assert_eq!((nowhere.code, nowhere.err.as_str()), (65, text));
    tools.diagnostics_says(&["-q", "erlang_version"], "none: leveret has no Erlang runtime\n");
    tools.ctl_says(&["autocomplete", "list_vhost"], "list_vhost_limits\nlist_vhosts\n");
    for absent in [
        "erlang_cookie_hash",
        "erlang_cookie_sources",
        "eval_file",
        "exec",
        "maybe_stuck",
        "observer",
        "remote_shell",
        "resolver_info",
        "runtime_thread_stats",
        "schema_info",
    ] {
        tools.ctl_fails(&[absent], 64, &format!("Error: {absent} is not available: leveret has no Erlang runtime\n"));
    }

    tools.ctl_says(
        &["await_online_nodes", "1"],
        &format!("Will wait for at least 1 nodes to join the cluster of {node}. Timeout: 300 seconds.\n"),
    );
    let missed = format!("Error:\nError: timed out while waiting. Not enough nodes joined {node}'s cluster.\n");
    tools.ctl_fails(&["await_online_nodes", "2", "-t", "0.1"], 70, &missed);
    let alone = "Target node seems to be the only one in a single node cluster, the command does not apply\n";
    tools.ctl_says(&["-q", "await_online_quorum_plus_one"], alone);
    tools.ctl_says(&["-q", "await_online_synchronized_mirror"], alone);
    tools.ctl_says(&["post_upgrade"], "Executing post upgrade tasks...\nRebalancing queue masters...\n");
    tools.ctl_says(&["discover_peers"], "Discovering peers nodes ...\nNo peers discovered\n");
    tools.ctl_fails(&["join_cluster", "rabbit@other"], 70, "Error:\nleveret runs as a single node, which joins no cluster\n");
    tools.ctl_fails(&["forget_cluster_node", "rabbit@other"], 70, "Error:\nThe node selected is not in the cluster.\n");
    assert_eq!(tools.run(&["rabbitmqctl", "change_cluster_node_type", "ram"]).code, 64, "the application runs");
    tools.ctl_says(&["rebalance", "quorum"], "Re-balancing leaders of quorum queues...\n");
    tools.ctl_fails(&["rebalance", "x"], 64, "Error:\ntype x is not supported. Try one of all, classic, quorum, stream.\n");
    let http = Http::guest(broker.http());
    http.put("/api/queues/%2F/qq", &json!({"durable": true, "arguments": {"x-queue-type": "quorum"}})).is(201);
    tools.ctl_says(&["add_member", "qq", node], &format!("Adding a member for queue qq on node {node}...\n"));
    tools.ctl_fails(&["add_member", "qq", "rabbit@other"], 69, "Error:\nnode_not_running\n");
    tools.ctl_fails(&["delete_member", "qq", node], 69, "Error:\nlast_node\n");
    tools.ctl_fails(&["delete_member", "nope", node], 69, "Error:\nnot_found\n");
    tools.ctl_says(&["grow", node, "all"], &format!("Growing all quorum queues on {node}...\n"));
    tools.ctl_says(&["-s", "shrink", node], "/\tqq\t1\terror: the last node cannot be removed\n");
    tools.ctl_says(&["reclaim_quorum_memory", "qq"], "Will flush Raft WAL of quorum queue qq ...\n");
    let leaders = format!("Node {node} reported all quorum queue leaders as healthy\n");
    tools.diagnostics_says(&["-q", "check_for_quorum_queues_without_an_elected_leader", ".*", "--across-all-vhosts"], &leaders);
    http.delete("/api/queues/%2F/qq").is(204);

    let mirrors = "check_if_cluster_has_classic_queue_mirroring_policy";
    tools.diagnostics_says(&["-q", mirrors], "Cluster reported no policies enabling classic queue mirroring\n");
    let deprecated = "check_if_any_deprecated_features_are_used";
    let used = tools.ctl(&["-s", "list_deprecated_features", "--used"]);
    let said = tools.run(&["rabbitmq-diagnostics", "-q", deprecated]);
    if used.is_empty() {
        assert_eq!((said.code, said.out.as_str()), (0, "Cluster reported no deprecated features in use\n"));
    } else {
        assert_eq!(said.code, 69, "{said:?}");
    }
    for check in ["check_if_metadata_store_is_initialized", "check_if_metadata_store_is_initialized_with_data"] {
        tools.diagnostics_says(&["-q", check], &format!("Metadata store on node {node} has completed its initialization\n"));
    }
    tools.ctl(&["set_policy", "low", "^a", r#"{"max-length":1}"#, "--priority", "1"]);
    tools.ctl(&["set_policy", "high", "^amq.t", r#"{"alternate-exchange":"x"}"#, "--priority", "2", "--apply-to", "exchanges"]);
    tools.ctl(&["set_policy", "other", "^b", r#"{"max-length":1}"#]);
    let matching = "/\thigh\t^amq.t\texchanges\t{\"alternate-exchange\":\"x\"}\t2\n/\tlow\t^a\tall\t{\"max-length\":1}\t1\n";
    tools.ctl_says(&["-s", "list_policies_that_match", "amq.topic", "--object-type", "exchange"], matching);
    tools.ctl_fails(&["list_policies_that_match", "nope"], 69, "Error:\nnot_found\n");
    ["low", "high", "other"].iter().for_each(|policy| drop(tools.ctl(&["clear_policy", policy])));

    let reported = tools.ctl(&["report"]);
    for part in ["Status of node", "Cluster status of node", "Application environment", "Listing queues for vhost / ", "Listing policies"] {
        assert!(reported.contains(part), "{part}: {reported}");
    }
}

fn attempts(tools: &Tools, broker: &Broker) {
    let none = "Node leveret@localhost reported no authentication attempt stats\n";
    tools.ctl(&["reset_node_auth_attempt_metrics"]);
    tools.diagnostics_says(&["-q", "list_node_auth_attempt_stats"], none);
    tools.ctl(&["enable_auth_attempt_source_tracking"]);
    drop(Raw::channel(broker));
    Http::new(broker.http(), "guest", "wrong").get("/api/overview").refuses(401, "not_authorized", "Not_Authorized");
    let listed = "amqp091\t1\t0\t1\nhttp\t1\t1\t0\n";
    tools.diagnostics_says(&["-s", "list_node_auth_attempt_stats"], listed);
    let by_source = "127.0.0.1\tguest\tamqp091\t1\t0\t1\n127.0.0.1\tguest\thttp\t1\t1\t0\n";
    tools.diagnostics_says(&["-s", "list_node_auth_attempt_stats", "--by-source"], by_source);
    let found = Http::guest(broker.http()).get("/api/auth/attempts/leveret@localhost/source").ok();
    let first = json!({
        "remote_address": "127.0.0.1", "username": "guest", "protocol": "amqp091",
        "auth_attempts": 1, "auth_attempts_failed": 0, "auth_attempts_succeeded": 1,
    });
    assert_eq!(found[0], first);
    tools.ctl(&["disable_auth_attempt_source_tracking"]);
    tools.ctl(&["reset_node_auth_attempt_metrics"]);
    drop(Raw::channel(broker));
    tools.diagnostics_says(&["-q", "list_node_auth_attempt_stats", "--by-source"], none);
}

fn shovels(tools: &Tools) {
    let definition = r#"{"src-uri":"amqp://","src-queue":"from","dest-uri":"amqp://","dest-queue":"to"}"#;
    tools.ctl(&["set_parameter", "shovel", "mover", definition]);
    super::support::eventually("a shovel that runs", || {
        tools.ctl(&["-s", "shovel_status"]).starts_with("mover\t/\tdynamic\trunning\t").then_some(())
    });
    let restarting = "Restarting dynamic Shovel mover in virtual host / on node leveret@localhost\n";
    tools.ctl_says(&["restart_shovel", "mover"], restarting);
    tools.ctl_says(&["delete_shovel", "mover"], "Deleting shovel mover in vhost /\n");
    assert_eq!(tools.run(&["rabbitmqctl", "restart_shovel", "mover"]).code, 69);
    let lost = tools.run(&["rabbitmqctl", "delete_shovel", "mover"]);
    let text = "Error:\nShovel with the given name was not found on the target node 'leveret@localhost' and/or virtual host '/'.";
    assert!(lost.code == 69 && lost.err.starts_with(text), "{lost:?}");
    ["from", "to"].iter().for_each(|queue| drop(tools.ctl(&["delete_queue", queue])));
}

fn definitions(tools: &Tools) {
    let file = tools.file("definitions.json");
    tools.ctl_says(&["export_definitions", &file], &format!("Exporting definitions in JSON to a file at \"{file}\" ...\n"));
    let exported = json_of(&std::fs::read_to_string(&file).expect("a file"));
    assert!(exported["queues"].as_array().expect("queues").iter().any(|queue| queue["name"] == "q2"), "{exported}");
    assert_eq!(json_of(&tools.ctl(&["export_definitions", "-"]))["users"], exported["users"]);
    tools.ctl(&["delete_queue", "q2"]);
    let done = "Successfully started definition import. This process is asynchronous and can take some time.\n";
    tools.ctl_says(&["import_definitions", &file], &format!("Importing definitions in JSON from a file at \"{file}\" ...\n{done}"));
    tools.ctl_says(&["-s", "list_queues", "name"], "q2\n");
    let missing = tools.run(&["rabbitmqctl", "import_definitions", "/nope"]);
    assert_eq!(missing.code, 65);
    assert!(missing.err.starts_with("Error (argument validation): Bad argument: File /nope does not exist\nArguments given:\n"));
}

fn plugins(tools: &Tools) {
    let run = |words: &[&str]| tools.run(&[&["rabbitmq-plugins"], words].concat());
    assert!(run(&["list"]).out.contains("\n[E*] rabbitmq_management "));
    assert_eq!(run(&["-s", "list", "-m", "-E", "^rabbitmq_management$"]).out, "rabbitmq_management\n");
    let enabled = run(&["enable", "rabbitmq_management", "--offline"]);
    assert_eq!(enabled.code, 0);
    assert!(enabled.out.starts_with("Enabling plugins on node leveret@localhost:\nrabbitmq_management\nThe following plugins have been"));
    let unknown = run(&["enable", "nope"]);
    assert_eq!((unknown.code, unknown.err.as_str()), (70, "Error:\n{:plugins_not_found, [:nope]}\n"));
    assert_eq!([run(&["disable", "nope"]).code, run(&["set", "rabbitmq_management"]).code], [0, 0]);
    assert_eq!(run(&["-q", "is_enabled", "rabbitmq_management"]).out, "Plugin rabbitmq_management is enabled on node leveret@localhost\n");
    assert_eq!(run(&["is_enabled", "rabbitmq_stomp"]).code, 69);
}

/// One node and one order of things: what a command leaves is what the next one finds.
#[test]
fn every_command_does_what_it_says() {
    let (tools, mut broker) = running();
    users(&tools);
    permissions(&tools);
    vhosts(&tools);
    policies(&tools);
    objects(&tools, &broker);
    reports(&tools, &broker);
    surroundings(&tools, &broker);
    attempts(&tools, &broker);
    shovels(&tools);
    definitions(&tools);
    plugins(&tools);
    super::node::limits(&tools, &broker);
    super::node::stopping_and_starting(&tools, &broker);
    super::node::ending(&tools, &mut broker);
    let text = include_str!("../../docs/COMMANDS.md");
    let (commands, plugins) = text.split_once("### Plugin management").expect("both tables");
    let rows = |text: &'static str| text.lines().filter_map(|line| line.strip_prefix("| `")?.split([' ', '`']).next());
    let all: Vec<String> = rows(commands).map(str::to_owned).chain(rows(plugins).map(|name| format!("plugins {name}"))).collect();
    assert!(all.len() > 100, "{all:?}");
    let left_out: Vec<&String> = all.iter().filter(|command| !tools.was_given(command)).collect();
    assert!(left_out.is_empty(), "never given: {left_out:?}");
}
