//! A round through the management API with rabbitmq_http_client, whose types say precisely what RabbitMQ answers: a field that is
//! missing or of another type is an error of the client's.

use std::env;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rabbitmq_http_client::blocking_api::Client;
use rabbitmq_http_client::commons::{
    BindingDestinationType, ExchangeType, PaginationParams, PolicyTarget, QueueType, SupportedProtocol, UserLimitTarget,
    VirtualHostLimitTarget,
};
use rabbitmq_http_client::password_hashing::{base64_encoded_salted_password_hash_sha256, salt};
use rabbitmq_http_client::requests::{
    BindingDeletionParams, EnforcedLimitParams, ExchangeParams, GlobalRuntimeParameterDefinition, Permissions,
    PolicyParams, QueueParams, RuntimeParameterDefinition, StreamParams, TopicPermissions, UserParams, VirtualHostParams,
};
use rabbitmq_http_client::responses::ReachabilityProbeOutcome;
use serde_json::{Map, Value, json};

const VHOST: &str = "rust";

type Api = Client<String, String, String>;
type Check = (&'static str, fn(&Api));

const CHECKS: [Check; 24] = [
    ("overview, version, who it is", overview),
    ("nodes, their memory and their plugins", nodes),
    ("health checks", health),
    ("feature flags and deprecated features", features),
    ("the cluster's name and tags", cluster),
    ("virtual hosts with their metadata", vhosts),
    ("users with passwords hashed by the client", users),
    ("permissions, also on topics", permissions),
    ("limits of virtual hosts and users", limits),
    ("exchanges of all types", exchanges),
    ("queues of all types", queues),
    ("pages", pages),
    ("bindings, deleted by their properties", bindings),
    ("exchange to exchange", exchange_bindings),
    ("publishes and gets", messages),
    ("purges", purges),
    ("policies", policies),
    ("operator policies", operator_policies),
    ("runtime parameters", parameters),
    ("definitions, exported and imported", definitions),
    ("definitions of a virtual host", vhost_definitions),
    ("connections, channels, consumers", connections),
    ("rebalancing, attempts to log in", operations),
    ("deletes all of it", deletes),
];

fn main() {
    let url = env::var("HTTP_URL").expect("HTTP_URL");
    let at = url.rsplit_once('@').map_or(url.as_str(), |(_, at)| at);
    let api = Api::new(format!("http://{at}/api"), "guest".to_owned(), "guest".to_owned());
    println!("client: rabbitmq_http_client {}", "0.93.0");
    let mut failed = false;
    for (description, check) in CHECKS {
        match catch_unwind(AssertUnwindSafe(|| check(&api))) {
            Ok(()) => println!("ok {description}"),
            Err(panic) => {
                failed = true;
                let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
                // The client's errors bring a backtrace along.
                let reason: String = text.unwrap_or("panicked").split("backtrace").next().unwrap_or_default().chars().take(400).collect();
                println!("not ok {description} - {}", reason.split_whitespace().collect::<Vec<_>>().join(" "));
            }
        }
    }
    std::process::exit(i32::from(failed));
}

/// What was asked, or a failure that names it.
fn ask<T, E: Debug>(what: &str, answer: Result<T, E>) -> T {
    answer.unwrap_or_else(|error| panic!("{what}: {error:?}"))
}

/// Fails unless refused.
fn refused<T, E: Debug>(what: &str, answer: Result<T, E>) -> String {
    match answer {
        Ok(_) => panic!("{what}: accepted"),
        Err(error) => format!("{error:?}"),
    }
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

fn overview(api: &Api) {
    let overview = ask("overview", api.overview());
    assert!(!overview.cluster_name.is_empty() && overview.product_name == "RabbitMQ");
    assert!(overview.object_totals.exchanges >= 7, "{:?}", overview.object_totals);
    let protocols: Vec<&str> = overview.listeners.iter().map(|listener| listener.protocol.as_str()).collect();
    assert!(protocols.contains(&"amqp") && protocols.contains(&"http"), "{protocols:?}");
    assert_eq!(ask("server_version", api.server_version()), overview.rabbitmq_version);
    let user = ask("current_user", api.current_user());
    assert!(user.name == "guest" && user.tags.is_administrator());
    let probe = api.probe_reachability();
    assert!(matches!(probe, ReachabilityProbeOutcome::Reached(_)), "{probe:?}");
}

fn nodes(api: &Api) {
    let nodes = ask("list_nodes", api.list_nodes());
    let [node] = nodes.as_slice() else { panic!("{nodes:?}") };
    assert!(node.processors > 0 && node.uptime > 0 && node.os_pid > 0 && !node.being_drained);
    assert!(!node.has_memory_alarm_in_effect && !node.has_free_disk_space_alarm_in_effect);
    assert_eq!(ask("get_node_info", api.get_node_info(&node.name)).name, node.name);
    let memory = ask("memory", api.get_node_memory_footprint(&node.name)).breakdown.expect("a breakdown");
    assert!(memory.total.max() > 0);
    assert!(ask("list_node_plugins", api.list_node_plugins(&node.name)).contains("rabbitmq_management"));
    assert!(ask("list_all_cluster_plugins", api.list_all_cluster_plugins()).contains("rabbitmq_management"));
}

fn health(api: &Api) {
    ask("alarms", api.health_check_cluster_wide_alarms());
    ask("local alarms", api.health_check_local_alarms());
    ask("quorum critical", api.health_check_if_node_is_quorum_critical());
    let port: u16 = env::var("AMQP_PORT").expect("AMQP_PORT").parse().expect("a port");
    ask("port", api.health_check_port_listener(port));
    ask("protocol", api.health_check_protocol_listener(SupportedProtocol::AMQP));
    let said = refused("port 1", api.health_check_port_listener(1));
    assert!(said.contains("No active listener"), "{said}");
    let said = refused("mqtt", api.health_check_protocol_listener(SupportedProtocol::MQTT));
    assert!(said.contains("No active listener"), "{said}");
}

fn features(api: &Api) {
    let flags = ask("list_feature_flags", api.list_feature_flags());
    assert!(flags.0.iter().any(|flag| flag.name == "quorum_queue"));
    ask("enable_feature_flag", api.enable_feature_flag("quorum_queue"));
    ask("enable_all_stable_feature_flags", api.enable_all_stable_feature_flags());
    let deprecated = ask("list_all_deprecated_features", api.list_all_deprecated_features());
    assert!(deprecated.contains("transient_nonexcl_queues"));
    assert!(!ask("list_deprecated_features_in_use", api.list_deprecated_features_in_use()).contains("transient_nonexcl_queues"));
}

fn cluster(api: &Api) {
    let name = ask("get_cluster_name", api.get_cluster_name()).name;
    ask("set_cluster_name", api.set_cluster_name("rust.cluster"));
    assert_eq!(ask("get_cluster_name", api.get_cluster_name()).name, "rust.cluster");
    ask("set_cluster_name", api.set_cluster_name(&name));
    ask("set_cluster_tags", api.set_cluster_tags(map(json!({"region": "north"}))));
    assert_eq!(ask("get_cluster_tags", api.get_cluster_tags()).0["region"], "north");
    ask("clear_cluster_tags", api.clear_cluster_tags());
}

fn vhosts(api: &Api) {
    let params = VirtualHostParams::named(VHOST)
        .with_description("for a client in Rust")
        .with_tags(vec!["one", "two"])
        .with_default_queue_type(QueueType::Quorum);
    ask("create_vhost", api.create_vhost(&params));
    let vhost = ask("get_vhost", api.get_vhost(VHOST));
    assert_eq!(vhost.description.as_deref(), Some("for a client in Rust"));
    assert_eq!(vhost.tags.expect("tags").0, ["one", "two"]);
    assert_eq!(vhost.default_queue_type.as_deref(), Some("quorum"));
    ask("update_vhost", api.update_vhost(&VirtualHostParams::named(VHOST).with_description("changed")));
    assert_eq!(ask("get_vhost", api.get_vhost(VHOST)).description.as_deref(), Some("changed"));
    assert!(ask("list_vhosts", api.list_vhosts()).iter().any(|vhost| vhost.name == VHOST));
    ask("enable_vhost_deletion_protection", api.enable_vhost_deletion_protection(VHOST));
    refused("delete_vhost", api.delete_vhost(VHOST, false));
    ask("disable_vhost_deletion_protection", api.disable_vhost_deletion_protection(VHOST));
}

fn users(api: &Api) {
    let hash = base64_encoded_salted_password_hash_sha256(&salt(), "secret");
    ask("create_user", api.create_user(&UserParams::management("rust.user", &hash)));
    let user = ask("get_user", api.get_user("rust.user"));
    assert!(user.tags.contains("management") && user.password_hash.is_some());
    assert!(ask("list_users", api.list_users()).iter().any(|user| user.name == "rust.user"));
    let without = ask("list_users_without_permissions", api.list_users_without_permissions());
    assert!(without.iter().any(|user| user.name == "rust.user"));
    let at = env::var("HTTP_URL").expect("HTTP_URL").rsplit_once('@').expect("a user").1.to_owned();
    let theirs = Api::new(format!("http://{at}/api"), "rust.user".to_owned(), "secret".to_owned());
    assert_eq!(ask("current_user", theirs.current_user()).name, "rust.user");
    refused("list_users", theirs.list_users());
    let other = base64_encoded_salted_password_hash_sha256(&salt(), "other");
    for name in ["rust.bulk1", "rust.bulk2"] {
        ask("create_user", api.create_user(&UserParams::without_tags(name, &other)));
    }
    ask("delete_users", api.delete_users(vec!["rust.bulk1", "rust.bulk2"]));
    assert!(!ask("list_users", api.list_users()).iter().any(|user| user.name.starts_with("rust.bulk")));
}

fn permissions(api: &Api) {
    let given = Permissions { user: "rust.user", vhost: VHOST, configure: "^a", read: ".*", write: "^b" };
    ask("declare_permissions", api.declare_permissions(&given));
    let found = ask("get_permissions", api.get_permissions(VHOST, "rust.user"));
    assert_eq!((&*found.configure, &*found.read, &*found.write), ("^a", ".*", "^b"));
    assert!(ask("list_permissions", api.list_permissions()).contains(&found));
    assert!(ask("list_permissions_in", api.list_permissions_in(VHOST)).contains(&found));
    assert_eq!(ask("list_permissions_of", api.list_permissions_of("rust.user")), [found]);
    let topics = TopicPermissions { user: "rust.user", vhost: VHOST, exchange: "amq.topic", read: "^c", write: "^d" };
    ask("declare_topic_permissions", api.declare_topic_permissions(&topics));
    let all = ask("list_topic_permissions", api.list_topic_permissions());
    assert!(all.iter().any(|one| one.exchange == "amq.topic" && one.read == "^c"), "{all:?}");
    assert_eq!(ask("list_topic_permissions_in", api.list_topic_permissions_in(VHOST)), all);
    assert_eq!(ask("list_topic_permissions_of", api.list_topic_permissions_of("rust.user")), all);
    ask("clear_topic_permissions", api.clear_topic_permissions(VHOST, "rust.user", false));
    ask("clear_permissions", api.clear_permissions(VHOST, "rust.user", false));
    refused("clear_permissions", api.clear_permissions(VHOST, "rust.nobody", false));
}

fn limits(api: &Api) {
    ask("set_vhost_limit", api.set_vhost_limit(VHOST, EnforcedLimitParams::new(VirtualHostLimitTarget::MaxQueues, 1000)));
    let set = ask("list_vhost_limits", api.list_vhost_limits(VHOST));
    assert_eq!(set[0].limits["max-queues"], 1000);
    assert_eq!(ask("list_all_vhost_limits", api.list_all_vhost_limits()).len(), 1);
    ask("clear_vhost_limit", api.clear_vhost_limit(VHOST, VirtualHostLimitTarget::MaxQueues));
    ask("set_user_limit", api.set_user_limit("rust.user", EnforcedLimitParams::new(UserLimitTarget::MaxChannels, 5)));
    assert_eq!(ask("list_user_limits", api.list_user_limits("rust.user"))[0].limits["max-channels"], 5);
    assert_eq!(ask("list_all_user_limits", api.list_all_user_limits()).len(), 1);
    ask("clear_user_limit", api.clear_user_limit("rust.user", UserLimitTarget::MaxChannels));
}

fn exchanges(api: &Api) {
    let types = [
        ("rust.direct", ExchangeType::Direct),
        ("rust.fanout", ExchangeType::Fanout),
        ("rust.topic", ExchangeType::Topic),
        ("rust.headers", ExchangeType::Headers),
    ];
    for (name, kind) in types {
        let arguments = Some(map(json!({"alternate-exchange": "amq.fanout"})));
        ask("declare_exchange", api.declare_exchange(VHOST, &ExchangeParams::durable(name, kind, arguments)));
        let exchange = ask("get_exchange_info", api.get_exchange_info(VHOST, name));
        assert!(exchange.durable && !exchange.auto_delete, "{exchange:?}");
        assert_eq!(exchange.arguments["alternate-exchange"], "amq.fanout");
    }
    assert_eq!(ask("list_exchanges_in", api.list_exchanges_in(VHOST)).len(), 11);
    assert!(ask("list_exchanges", api.list_exchanges()).len() >= 18);
    refused("declare_exchange", api.declare_exchange(VHOST, &ExchangeParams::durable_fanout("rust.direct", None)));
}

fn queues(api: &Api) {
    let classic = QueueParams::new_durable_classic_queue("rust.classic", None).with_message_ttl(600_000).with_max_length(100);
    ask("declare_queue", api.declare_queue(VHOST, &classic));
    ask("declare_queue", api.declare_queue(VHOST, &QueueParams::new_quorum_queue("rust.quorum", None)));
    let stream = StreamParams::with_expiration_and_length_limit("rust.stream", "1D", 1_000_000);
    ask("declare_stream", api.declare_stream(VHOST, &stream));
    for (name, kind) in [("rust.classic", "classic"), ("rust.quorum", "quorum"), ("rust.stream", "stream")] {
        let queue = ask(name, api.get_queue_info(VHOST, name));
        assert_eq!((&*queue.queue_type, queue.durable, queue.message_count), (kind, true, 0), "{queue:?}");
        assert!(!queue.node.is_empty() && !queue.state.is_empty(), "{queue:?}");
    }
    assert_eq!(ask("get_queue_info", api.get_queue_info(VHOST, "rust.classic")).arguments["x-max-length"], 100);
    let quorum = ask("get_queue_info", api.get_queue_info(VHOST, "rust.quorum"));
    assert_eq!((quorum.leader.is_some(), quorum.members.map(|members| members.len())), (true, Some(1)));
    assert_eq!(ask("list_queues_in", api.list_queues_in(VHOST)).len(), 3);
    assert!(ask("list_queues", api.list_queues()).len() >= 3);
    assert!(ask("list_queues_with_details", api.list_queues_with_details()).len() >= 3);
    assert_eq!(ask("list_quorum_queues_in", api.list_quorum_queues_in(VHOST)).len(), 1);
    assert_eq!(ask("list_classic_queues_in", api.list_classic_queues_in(VHOST)).len(), 1);
    assert_eq!(ask("list_streams_in", api.list_streams_in(VHOST)).len(), 1);
    let said = refused("declare_queue", api.declare_queue(VHOST, &QueueParams::new_durable_classic_queue("rust.classic", None)));
    assert!(said.contains("inequivalent arg 'x-message-ttl'") || said.contains("inequivalent arg 'x-max-length'"), "{said}");
    refused("get_queue_info", api.get_queue_info(VHOST, "rust.missing"));
}

fn pages(api: &Api) {
    let first = PaginationParams::new(1, 2);
    assert_eq!(ask("queues", api.list_queues_in_paged(VHOST, &first)).len(), 2);
    assert_eq!(ask("queues", api.list_queues_in_paged(VHOST, &PaginationParams::new(2, 2))).len(), 1);
    assert_eq!(ask("queues", api.list_queues_paged(&first)).len(), 2);
    assert_eq!(ask("exchanges", api.list_exchanges_in_paged(VHOST, &first)).len(), 2);
    assert_eq!(ask("exchanges", api.list_exchanges_paged(&first)).len(), 2);
    assert_eq!(ask("vhosts", api.list_vhosts_paged(&first)).len(), 2);
    ask("connections", api.list_connections_paged(&first));
    ask("channels", api.list_channels_paged(&first));
}

fn bindings(api: &Api) {
    let arguments = map(json!({"x-match": "all", "kind": "new"}));
    ask("bind_queue", api.bind_queue(VHOST, "rust.classic", "rust.headers", Some("a"), Some(arguments.clone())));
    ask("bind_queue", api.bind_queue(VHOST, "rust.classic", "rust.topic", Some("x.#/%20 "), None));
    ask("bind_queue", api.bind_queue(VHOST, "rust.classic", "rust.direct", None, None));
    let of_queue = ask("list_queue_bindings", api.list_queue_bindings(VHOST, "rust.classic"));
    // With the one to the default exchange.
    assert_eq!(of_queue.len(), 4, "{of_queue:?}");
    assert_eq!(ask("list_bindings_in", api.list_bindings_in(VHOST)).len(), 6);
    ask("list_bindings", api.list_bindings());
    let of_source = ask("source", api.list_exchange_bindings_with_source(VHOST, "rust.headers"));
    assert_eq!((of_source.len(), &of_source[0].arguments["kind"]), (1, &json!("new")));
    for (source, key, arguments) in [("rust.headers", "a", Some(arguments)), ("rust.topic", "x.#/%20 ", None), ("rust.direct", "", None)] {
        let params = BindingDeletionParams {
            virtual_host: VHOST,
            source,
            destination: "rust.classic",
            destination_type: BindingDestinationType::Queue,
            routing_key: key,
            arguments,
        };
        ask(source, api.delete_binding(&params, false));
    }
    assert_eq!(ask("list_queue_bindings", api.list_queue_bindings(VHOST, "rust.classic")).len(), 1);
}

fn exchange_bindings(api: &Api) {
    ask("bind_exchange", api.bind_exchange(VHOST, "rust.fanout", "rust.topic", Some("a.*"), None));
    let [binding] = &ask("destination", api.list_exchange_bindings_with_destination(VHOST, "rust.fanout"))[..] else {
        panic!("not one binding");
    };
    assert_eq!((&*binding.source, &*binding.routing_key), ("rust.topic", "a.*"));
    let params = BindingDeletionParams {
        virtual_host: VHOST,
        source: "rust.topic",
        destination: "rust.fanout",
        destination_type: BindingDestinationType::Exchange,
        routing_key: "a.*",
        arguments: None,
    };
    ask("delete_binding", api.delete_binding(&params, false));
    ask("recreate_binding", api.recreate_binding(binding));
    assert_eq!(ask("source", api.list_exchange_bindings_with_source(VHOST, "rust.topic")).len(), 1);
}

fn messages(api: &Api) {
    let properties = map(json!({"message_id": "m1", "delivery_mode": 2, "headers": {"n": 1}}));
    let routed = ask("publish", api.publish_message(VHOST, "amq.default", "rust.classic", "hello", properties));
    assert!(routed.routed);
    assert!(!ask("publish", api.publish_message(VHOST, "amq.direct", "rust.nobody", "lost", Map::new())).routed);
    assert!(ask("publish", api.publish_message(VHOST, "amq.default", "rust.classic", "plain", Map::new())).routed);
    let [message] = &ask("get", api.get_messages(VHOST, "rust.classic", 1, "ack_requeue_true"))[..] else { panic!("not one message") };
    assert_eq!((&*message.payload, &*message.payload_encoding, message.redelivered), ("hello", "string", false));
    assert_eq!(message.properties.0["message_id"], "m1");
    let both = ask("get", api.get_messages(VHOST, "rust.classic", 5, "ack_requeue_false"));
    assert_eq!(both.iter().map(|message| &*message.payload).collect::<Vec<_>>(), ["hello", "plain"]);
    assert!(both[1].properties.0.is_empty(), "{:?}", both[1]);
    assert!(ask("get", api.get_messages(VHOST, "rust.classic", 1, "ack_requeue_false")).is_empty());
}

fn purges(api: &Api) {
    for queue in ["rust.classic", "rust.quorum"] {
        ask("publish", api.publish_message(VHOST, "amq.default", queue, "m", Map::new()));
        ask("purge_queue", api.purge_queue(VHOST, queue));
        assert!(ask("get", api.get_messages(VHOST, queue, 1, "ack_requeue_true")).is_empty());
    }
    refused("purge_queue", api.purge_queue(VHOST, "rust.missing"));
}

fn policies(api: &Api) {
    let definition = map(json!({"max-length": 7, "dead-letter-exchange": "rust.fanout"}));
    let params = PolicyParams::new(VHOST, "rust.policy", "^rust", definition).apply_to(PolicyTarget::ClassicQueues).priority(3);
    ask("declare_policy", api.declare_policy(&params));
    let policy = ask("get_policy", api.get_policy(VHOST, "rust.policy"));
    assert_eq!((&*policy.pattern, policy.priority, policy.apply_to), ("^rust", 3, PolicyTarget::ClassicQueues));
    assert_eq!(policy.definition_keys(), ["dead-letter-exchange", "max-length"]);
    assert_eq!(ask("list_policies_in", api.list_policies_in(VHOST)).len(), 1);
    assert_eq!(ask("list_policies", api.list_policies()).len(), 1);
    let matching = ask("list_matching_policies", api.list_matching_policies(VHOST, "rust.classic", PolicyTarget::ClassicQueues));
    assert_eq!(matching.len(), 1);
    let queue = ask("get_queue_info", api.get_queue_info(VHOST, "rust.classic"));
    assert_eq!(queue.policy.as_deref(), Some("rust.policy"));
    let wrong = PolicyParams::new(VHOST, "rust.wrong", ".*", map(json!({"max-length": "many"}))).apply_to(PolicyTarget::Queues);
    refused("declare_policy", api.declare_policy(&wrong));
}

fn operator_policies(api: &Api) {
    let params = PolicyParams::new(VHOST, "rust.operator", "^rust", map(json!({"max-length": 5}))).apply_to(PolicyTarget::Queues);
    ask("declare_operator_policy", api.declare_operator_policy(&params));
    let policy = ask("get_operator_policy", api.get_operator_policy(VHOST, "rust.operator"));
    assert_eq!(policy.definition_keys(), ["max-length"]);
    assert_eq!(ask("list_operator_policies_in", api.list_operator_policies_in(VHOST)).len(), 1);
    assert_eq!(ask("list_operator_policies", api.list_operator_policies()).len(), 1);
    let queue = ask("get_queue_info", api.get_queue_info(VHOST, "rust.classic"));
    assert_eq!(queue.operator_policy.as_deref(), Some("rust.operator"));
    let effective = queue.effective_policy_definition.and_then(|definition| definition.0).expect("a definition");
    assert_eq!(effective["max-length"], 5);
}

fn parameters(api: &Api) {
    let limits = RuntimeParameterDefinition {
        name: "limits",
        vhost: VHOST,
        component: "vhost-limits",
        value: map(json!({"max-connections": 500})),
    };
    ask("upsert_runtime_parameter", api.upsert_runtime_parameter(&limits));
    let found = ask("get_runtime_parameter", api.get_runtime_parameter("vhost-limits", VHOST, "limits"));
    assert_eq!(found.value["max-connections"], 500);
    assert_eq!(ask("of component", api.list_runtime_parameters_of_component("vhost-limits")).len(), 1);
    assert_eq!(ask("of component in", api.list_runtime_parameters_of_component_in("vhost-limits", VHOST)).len(), 1);
    assert!(ask("list_runtime_parameters", api.list_runtime_parameters()).contains(&found));
    ask("clear_runtime_parameter", api.clear_runtime_parameter("vhost-limits", VHOST, "limits", false));
    let global = GlobalRuntimeParameterDefinition { name: "rust.global", value: map(json!({"a": [1, "b"]})) };
    ask("upsert_global_runtime_parameter", api.upsert_global_runtime_parameter(&global));
    assert_eq!(ask("get", api.get_global_runtime_parameter("rust.global")).value.0["a"][1], "b");
    assert!(ask("list", api.list_global_runtime_parameters()).iter().any(|one| one.name == "rust.global"));
    ask("clear_global_runtime_parameter", api.clear_global_runtime_parameter("rust.global"));
    refused("get_global_runtime_parameter", api.get_global_runtime_parameter("rust.global"));
}

fn definitions(api: &Api) {
    let text = ask("as string", api.export_cluster_wide_definitions_as_string());
    let data = ask("as data", api.export_cluster_wide_definitions_as_data());
    assert!(data.queues.iter().any(|queue| queue.name == "rust.quorum" && queue.vhost == VHOST));
    assert!(data.users.iter().any(|user| user.name == "rust.user"));
    ask("delete_queue", api.delete_queue(VHOST, "rust.classic", false));
    ask("delete_exchange", api.delete_exchange(VHOST, "rust.topic", false));
    ask("import", api.import_definitions(serde_json::from_str(&text).expect("JSON")));
    assert_eq!(ask("get_queue_info", api.get_queue_info(VHOST, "rust.classic")).arguments["x-max-length"], 100);
    assert_eq!(ask("source", api.list_exchange_bindings_with_source(VHOST, "rust.topic")).len(), 1);
}

fn vhost_definitions(api: &Api) {
    let text = ask("as string", api.export_vhost_definitions_as_string(VHOST));
    let data = ask("as data", api.export_vhost_definitions_as_data(VHOST));
    assert_eq!((data.queues.len(), data.exchanges.len(), data.policies.len()), (3, 4, 1), "{data:?}");
    ask("create_vhost", api.create_vhost(&VirtualHostParams::named("rust.copy")));
    ask("import", api.import_vhost_definitions("rust.copy", serde_json::from_str(&text).expect("JSON")));
    assert_eq!(ask("list_queues_in", api.list_queues_in("rust.copy")).len(), 3);
    assert_eq!(ask("list_policies_in", api.list_policies_in("rust.copy"))[0].vhost, "rust.copy");
    ask("delete_vhost", api.delete_vhost("rust.copy", false));
}

fn connections(api: &Api) {
    ask("list_connections", api.list_connections());
    ask("list_connections_in", api.list_connections_in(VHOST));
    ask("list_user_connections", api.list_user_connections("guest"));
    ask("list_channels", api.list_channels());
    ask("list_channels_in", api.list_channels_in(VHOST));
    ask("list_consumers", api.list_consumers());
    ask("list_consumers_in", api.list_consumers_in(VHOST));
    refused("close_connection", api.close_connection("nobody", Some("a reason"), false));
    ask("close_connection", api.close_connection("nobody", Some("a reason"), true));
}

fn operations(api: &Api) {
    ask("rebalance_queue_leaders", api.rebalance_queue_leaders());
    let node = ask("overview", api.overview()).node;
    ask("auth_attempts_statistics", api.auth_attempts_statistics(&node));
}

fn deletes(api: &Api) {
    ask("delete_policy", api.delete_policy(VHOST, "rust.policy", false));
    ask("delete_operator_policy", api.delete_operator_policy(VHOST, "rust.operator", false));
    ask("delete_queues", api.delete_queues(VHOST, &["rust.classic", "rust.quorum"], false));
    ask("delete_stream", api.delete_stream(VHOST, "rust.stream", false));
    ask("delete_exchanges", api.delete_exchanges(VHOST, &["rust.direct", "rust.fanout", "rust.topic", "rust.headers"], false));
    assert!(ask("list_queues_in", api.list_queues_in(VHOST)).is_empty());
    assert_eq!(ask("list_exchanges_in", api.list_exchanges_in(VHOST)).len(), 7);
    refused("delete_queue", api.delete_queue(VHOST, "rust.quorum", false));
    ask("delete_queue", api.delete_queue(VHOST, "rust.quorum", true));
    ask("delete_user", api.delete_user("rust.user", false));
    ask("delete_vhost", api.delete_vhost(VHOST, false));
    assert!(!ask("list_vhosts", api.list_vhosts()).iter().any(|vhost| vhost.name == VHOST));
}
