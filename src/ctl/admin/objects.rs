//! What rabbitmqadmin can list, declare, delete and so on, with the names of its arguments.

/// What can be listed.
pub(super) struct Listable {
    pub(super) name: &'static str,
    /// Whether there is a list for each virtual host.
    pub(super) by_vhost: bool,
    /// What is shown where nothing is asked for.
    pub(super) columns: &'static [&'static str],
    /// Objects that are one column.
    pub(super) json: &'static [&'static str],
}

const fn listable(name: &'static str, by_vhost: bool, columns: &'static [&'static str], json: &'static [&'static str]) -> Listable {
    Listable { name, by_vhost, columns, json }
}

pub(super) const LISTABLE: &[Listable] = &[
    listable("connections", false, &["name", "user", "channels"], &[]),
    listable("channels", false, &["name", "user"], &[]),
    listable("consumers", true, &[], &[]),
    listable("exchanges", true, &["name", "type"], &[]),
    listable("queues", true, &["name", "messages"], &[]),
    listable("bindings", true, &["source", "destination", "routing_key"], &[]),
    listable("users", false, &[], &[]),
    listable("vhosts", false, &["name", "messages"], &[]),
    listable("permissions", false, &[], &[]),
    listable("nodes", false, &["name", "type", "mem_used"], &[]),
    listable("parameters", false, &[], &["value"]),
    listable("policies", false, &[], &["definition"]),
    listable("operator_policies", false, &[], &["definition"]),
    listable("vhost_limits", false, &[], &["value"]),
    listable("user_limits", false, &[], &["value"]),
];

pub(super) const SHOWABLE: &[Listable] =
    &[listable("overview", false, &["rabbitmq_version", "cluster_name", "queue_totals.messages", "object_totals.queues"], &[])];

/// What something can be done to.
pub(super) struct Object {
    pub(super) name: &'static str,
    /// Where it is: arguments stand in braces.
    pub(super) path: &'static str,
    /// Arguments that have to be there; one of several where they are separated by bars.
    pub(super) mandatory: &'static [&'static str],
    /// The others, with the values that they have otherwise.
    pub(super) optional: &'static [(&'static str, Option<&'static str>)],
    /// Arguments that are JSON.
    pub(super) json: &'static [&'static str],
}

const fn object(name: &'static str, path: &'static str, mandatory: &'static [&'static str]) -> Object {
    Object { name, path, mandatory, optional: &[], json: &[] }
}

impl Object {
    const fn optional(self, optional: &'static [(&'static str, Option<&'static str>)]) -> Self {
        Self { optional, ..self }
    }

    const fn json(self, json: &'static [&'static str]) -> Self {
        Self { json, ..self }
    }

    /// Every name that may stand before an equals sign.
    pub(super) fn knows(&self, argument: &str) -> bool {
        let mandatory = self.mandatory.iter().flat_map(|name| name.split('|'));
        mandatory.chain(self.optional.iter().map(|(name, _)| *name)).any(|name| name == argument)
    }
}

const POLICY: &[(&str, Option<&str>)] = &[("priority", Some("0")), ("apply-to", None)];

pub(super) const DECLARABLE: &[Object] = &[
    object("exchange", "/exchanges/{vhost}/{name}", &["name", "type"])
        .optional(&[("auto_delete", Some("false")), ("durable", Some("true")), ("internal", Some("false")), ("arguments", Some("{}"))])
        .json(&["arguments"]),
    object("queue", "/queues/{vhost}/{name}", &["name"])
        .optional(&[
            ("auto_delete", Some("false")),
            ("durable", Some("true")),
            ("arguments", Some("{}")),
            ("node", None),
            ("queue_type", None),
        ])
        .json(&["arguments"]),
    object("binding", "/bindings/{vhost}/e/{source}/{destination_char}/{destination}", &["source", "destination"])
        .optional(&[("destination_type", Some("queue")), ("routing_key", Some("")), ("arguments", Some("{}"))])
        .json(&["arguments"]),
    object("vhost", "/vhosts/{name}", &["name"]).optional(&[
        ("tracing", None),
        ("description", None),
        ("tags", None),
        ("default_queue_type", None),
    ]),
    object("user", "/users/{name}", &["name", "password|password_hash", "tags"]).optional(&[("hashing_algorithm", None)]),
    object("permission", "/permissions/{vhost}/{user}", &["vhost", "user", "configure", "write", "read"]),
    object("parameter", "/parameters/{component}/{vhost}/{name}", &["component", "name", "value"]).json(&["value"]),
    object("policy", "/policies/{vhost}/{name}", &["name", "pattern", "definition"]).optional(POLICY).json(&["definition", "priority"]),
    object("operator_policy", "/operator-policies/{vhost}/{name}", &["name", "pattern", "definition"])
        .optional(POLICY)
        .json(&["definition", "priority"]),
    object("vhost_limit", "/vhost-limits/{vhost}/{name}", &["vhost", "name", "value"]).json(&["value"]),
    object("user_limit", "/user-limits/{user}/{name}", &["user", "name", "value"]).json(&["value"]),
];

pub(super) const DELETABLE: &[Object] = &[
    object("exchange", "/exchanges/{vhost}/{name}", &["name"]),
    object("queue", "/queues/{vhost}/{name}", &["name"]),
    object(
        "binding",
        "/bindings/{vhost}/e/{source}/{destination_char}/{destination}/{properties_key}",
        &["source", "destination_type", "destination"],
    )
    .optional(&[("properties_key", Some("~"))]),
    object("vhost", "/vhosts/{name}", &["name"]),
    object("user", "/users/{name}", &["name"]),
    object("permission", "/permissions/{vhost}/{user}", &["vhost", "user"]),
    object("parameter", "/parameters/{component}/{vhost}/{name}", &["component", "name"]),
    object("policy", "/policies/{vhost}/{name}", &["name"]),
    object("operator_policy", "/operator-policies/{vhost}/{name}", &["name"]),
    object("vhost_limit", "/vhost-limits/{vhost}/{name}", &["vhost", "name"]),
    object("user_limit", "/user-limits/{user}/{name}", &["user", "name"]),
];

pub(super) const CLOSABLE: &[Object] = &[object("connection", "/connections/{name}", &["name"])];

pub(super) const PURGEABLE: &[Object] = &[object("queue", "/queues/{vhost}/{name}/contents", &["name"])];

pub(super) const PUBLISH: Object = object("publish", "/exchanges/{vhost}/{exchange}/publish", &["routing_key"])
    .optional(&[("payload", None), ("properties", Some("{}")), ("exchange", Some("amq.default")), ("payload_encoding", Some("string"))])
    .json(&["properties"]);

pub(super) const GET: Object = object("get", "/queues/{vhost}/{queue}/get", &["queue"]).optional(&[
    ("count", Some("1")),
    ("ackmode", Some("ack_requeue_true")),
    ("payload_file", None),
    ("encoding", Some("auto")),
]);
