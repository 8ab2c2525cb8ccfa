"""rabbitmqadmin v2, the tool in Rust that RabbitMQ's documentation recommends by now: what it declares, lists, exports and deletes."""

import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import amqp_connection
from words import AMQP_URL, HOST, PORT, equal, run

BINARY = sys.argv[1]
VHOST = "rabbitmqadmin"


def admin(*arguments, vhost=VHOST, user="guest", password="guest", fails=False):
    command = [BINARY, "--host", HOST, "--port", str(PORT), "--username", user, "--password", password, "--vhost", vhost]
    done = subprocess.run([*command, "--non-interactive", *arguments], capture_output=True, text=True, timeout=60)
    assert (done.returncode != 0) == fails, f"{arguments}: exit code {done.returncode}: {done.stdout}{done.stderr}"
    return (done.stdout + done.stderr).strip()


def has(output, *words):
    for word in words:
        assert word in output, f"no {word!r} in {output!r}"


def has_not(output, *words):
    for word in words:
        assert word not in output, f"{word!r} in {output!r}"


def shows():
    has(admin("show", "overview", vhost="/"), "Product name", "RabbitMQ", "Cluster tags")
    has(admin("show", "churn", vhost="/"), "connections opened", "created")
    nodes = admin("nodes", "list", vhost="/")
    node = next(word for word in nodes.split() if "@" in word)
    for command in (["show"], ["nodes"]):
        has(admin(*command, "memory_breakdown_in_bytes", "--node", node), "Total (RSS)", "Metadata store")
        has(admin(*command, "memory_breakdown_in_percent", "--node", node), "%")
    admin("plugins", "list_all")
    admin("auth_attempts", "stats", "--node", node)


def health_checks():
    for check in ("cluster_wide_alarms", "local_alarms", "node_is_quorum_critical"):
        admin("health_check", check)
    admin("health_check", "port_listener", "--port", str(PORT))
    admin("health_check", "protocol_listener", "--protocol", "amqp")
    admin("health_check", "port_listener", "--port", "1", fails=True)
    admin("health_check", "protocol_listener", "--protocol", "mqtt", fails=True)


def features():
    has(admin("feature_flags", "list"), "quorum_queue", "enabled")
    admin("feature_flags", "enable", "--name", "quorum_queue")
    admin("feature_flags", "enable_all")
    has(admin("deprecated_features", "list"), "transient_nonexcl_queues")
    has_not(admin("deprecated_features", "list_used"), "transient_nonexcl_queues")


def vhosts():
    arguments = ["--default-queue-type", "quorum", "--description", "for the tool"]
    admin("vhosts", "declare", "--name", VHOST, *arguments, vhost="/")
    has(admin("vhosts", "list", vhost="/"), VHOST, "for the tool", "quorum")
    admin("vhosts", "enable_deletion_protection", "--name", VHOST)
    admin("vhosts", "delete", "--name", VHOST, fails=True)
    admin("vhosts", "disable_deletion_protection", "--name", VHOST)


def users():
    admin("users", "declare", "--name", "ra.user", "--password", "secret", "--tags", "management", "--hashing-algorithm", "sha256")
    has(admin("users", "list"), "ra.user", "management")
    admin("permissions", "declare", "--username", "ra.user", "--configure", "^x", "--read", ".*", "--write", ".*")
    has(admin("permissions", "list"), "ra.user", "^x")
    admin("queues", "declare", "--name", "x1", user="ra.user", password="secret")
    has(admin("queues", "declare", "--name", "y1", user="ra.user", password="secret", fails=True), "Access refused")
    admin("queues", "delete", "--name", "x1", user="ra.user", password="secret")
    admin("users", "list", user="ra.user", password="wrong", fails=True)
    has(admin("user_limits", "declare", "--username", "ra.user", "--name", "max-channels", "--value", "7"), "")
    has(admin("user_limits", "list"), "ra.user", "max-channels", "7")
    admin("user_limits", "delete", "--username", "ra.user", "--name", "max-channels")
    admin("vhost_limits", "declare", "--name", "max-queues", "--value", "50")
    has(admin("vhost_limits", "list"), "max-queues", "50")
    admin("vhost_limits", "delete", "--name", "max-queues")


def queues_and_streams():
    admin("declare", "queue", "--name", "ra.classic", "--type", "classic", "--durable", "true", "--arguments", '{"x-max-length": 9}')
    admin("declare", "queue", "--name", "ra.quorum", "--type", "quorum")
    admin("declare", "stream", "--name", "ra.stream", "--expiration", "8h", "--max-length-bytes", "1000000")
    has(admin("queues", "list"), "ra.classic", "ra.quorum", "ra.stream", "x-max-length")
    has(admin("queues", "list", "--columns", "name,queue_type"), "ra.quorum", "quorum")
    has(admin("queues", "show", "--name", "ra.classic"), "ra.classic", "x-max-length: 9")
    has(admin("streams", "list"), "ra.stream")
    has(admin("streams", "show", "--name", "ra.stream"), 'x-max-age: "8h"')
    equal(sum(f"ra.{kind}" in admin("queues", "list", "--page", "1", "--page-size", "2") for kind in ("classic", "quorum", "stream")), 2)
    has(admin("declare", "queue", "--name", "ra.classic", "--type", "classic", fails=True), "inequivalent arg 'x-max-length'")
    has(admin("queues", "show", "--name", "ra.missing", fails=True), "404")


def exchanges_and_bindings():
    admin("exchanges", "declare", "--name", "ra.topic", "--type", "topic", "--durable", "true")
    admin("exchanges", "declare", "--name", "ra.fanout", "--type", "fanout", "--auto-delete", "true")
    has(admin("exchanges", "list"), "ra.topic", "ra.fanout", "amq.headers")
    binding = ["--source", "ra.topic", "--destination-type", "queue", "--destination", "ra.classic", "--routing-key", "a.#"]
    admin("bindings", "declare", *binding)
    admin("declare", "binding", "--source", "ra.topic", "--destination-type", "exchange", "--destination", "ra.fanout",
          "--routing-key", "b", "--arguments", '{"n": 1}')
    has(admin("bindings", "list"), "a.#", "ra.fanout", "n: 1")
    admin("bindings", "delete", *binding)
    has_not(admin("bindings", "list"), "a.#")
    admin("bindings", "declare", *binding)


def publishes_and_gets():
    has(admin("publish", "message", "--exchange", "ra.topic", "--routing-key", "a.b", "--payload", "hello",
              "--properties", '{"timestamp": 1234, "message_id": "m1"}'), "routed successfully")
    has(admin("publish", "message", "--exchange", "ra.topic", "--routing-key", "c", "--payload", "lost"), "NOT routed")
    has(admin("get", "messages", "--queue", "ra.classic", "--ack-mode", "ack_requeue_true"), "hello", "m1", "a.b")
    has(admin("get", "messages", "--queue", "ra.classic", "--count", "5"), "hello")
    has_not(admin("get", "messages", "--queue", "ra.classic"), "hello")
    admin("publish", "message", "--routing-key", "ra.classic", "--payload", "more")
    admin("queues", "purge", "--name", "ra.classic")
    has_not(admin("get", "messages", "--queue", "ra.classic"), "more")
    admin("rebalance", "queues")


def policies():
    admin("policies", "declare", "--name", "ra.policy", "--pattern", "^ra", "--apply-to", "queues", "--priority", "10",
          "--definition", '{"max-length": 3, "foo": "bar"}', fails=True)
    admin("policies", "declare", "--name", "ra.policy", "--pattern", "^ra", "--apply-to", "queues", "--priority", "10",
          "--definition", '{"max-length": 3, "expires": 3600000}')
    has(admin("policies", "list"), "ra.policy", "max-length: 3")
    has(admin("policies", "list_in", "--apply-to", "queues"), "ra.policy")
    has(admin("policies", "list_matching_object", "--name", "ra.quorum", "--type", "queues"), "ra.policy")
    admin("policies", "patch", "--name", "ra.policy", "--definition", '{"max-length": 4}')
    admin("policies", "update_definition", "--name", "ra.policy", "--definition-key", "expires", "--new-value", "7200000")
    admin("policies", "declare_override", "--name", "ra.policy", "--override-name", "ra.over", "--definition", '{"max-length": 5}')
    admin("policies", "declare_blanket", "--name", "ra.blanket", "--apply-to", "queues", "--definition", '{"max-length": 6}')
    has(admin("policies", "list_in"), "max-length: 4", "expires: 7200000", "ra.over", "ra.blanket")
    admin("policies", "delete_definition_keys", "--name", "ra.policy", "--definition-keys", "expires")
    # The override has a copy of its own.
    equal(admin("policies", "list_in").count("expires: 7200000"), 1)
    admin("operator_policies", "declare", "--name", "ra.operator", "--pattern", ".*", "--apply-to", "queues",
          "--definition", '{"max-length": 2}')
    has(admin("operator_policies", "list"), "ra.operator", "max-length: 2")
    for n in range(4):
        admin("publish", "message", "--routing-key", "ra.classic", "--payload", f"m{n}")
    got = admin("get", "messages", "--queue", "ra.classic", "--count", "9")
    has(got, "m2", "m3")
    has_not(got, "m0", "m1")


def parameters():
    admin("parameters", "set", "--name", "limits", "--component", "vhost-limits", "--value", '{"max-connections": 900}')
    has(admin("parameters", "list_all"), "vhost-limits", "max-connections: 900")
    has(admin("parameters", "list", "--component", "vhost-limits"), "900")
    admin("parameters", "clear", "--name", "limits", "--component", "vhost-limits")
    admin("global_parameters", "set", "--name", "ra.global", "--value", '{"test": "value"}')
    has(admin("global_parameters", "list"), "ra.global", "value")
    admin("global_parameters", "clear", "--name", "ra.global")


def definitions():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "definitions.json"
        admin("definitions", "export", "--file", str(file))
        exported = json.loads(file.read_text())
        assert {"ra.classic", "ra.quorum"} <= {queue["name"] for queue in exported["queues"]}, exported["queues"]
        admin("queues", "delete", "--name", "ra.classic")
        admin("definitions", "import", "--file", str(file))
        has(admin("queues", "show", "--name", "ra.classic"), "x-max-length: 9")
        changed = admin("definitions", "export", "--stdout", "--transformations", "exclude_users,exclude_policies,drop_empty_policies")
        transformed = json.loads(changed)
        equal((transformed["users"], transformed["policies"], len(transformed["queues"]) > 2), ([], [], True))
        admin("definitions", "export_from_vhost", "--file", str(file))
        admin("vhosts", "declare", "--name", "ra.copy")
        admin("definitions", "import_into_vhost", "--file", str(file), vhost="ra.copy")
        has(admin("queues", "list", vhost="ra.copy"), "ra.classic", "ra.quorum", "ra.stream")
        has(admin("bindings", "list", vhost="ra.copy"), "a.#")
        admin("vhosts", "delete", "--name", "ra.copy")


def connections():
    with amqp_connection.opened(AMQP_URL) as connection:
        until(lambda: str(connection.port) in admin("connections", "list"))
        has(admin("channels", "list"), f":{connection.port} ")
        admin("list", "consumers")
        has(admin("connections", "list_of_user", "--username", "guest"), str(connection.port))
        admin("connections", "close_of_user", "--username", "guest")
        assert connection.is_closed()


def shovels():
    uri = AMQP_URL.replace("%2F", VHOST)
    admin("shovels", "declare_amqp091", "--name", "ra.shovel", "--source-uri", uri, "--destination-uri", uri,
          "--source-queue", "ra.from", "--destination-queue", "ra.to")
    until(lambda: "running" in admin("shovels", "list_all"))
    admin("publish", "message", "--routing-key", "ra.from", "--payload", "moved")
    until(lambda: "moved" in admin("get", "messages", "--queue", "ra.to"))
    admin("shovels", "delete", "--name", "ra.shovel")
    has_not(admin("shovels", "list_all"), "ra.shovel")
    for queue in ("ra.from", "ra.to"):
        admin("queues", "delete", "--name", queue)


def deletes():
    for policy in ("ra.policy", "ra.over", "ra.blanket"):
        admin("policies", "delete", "--name", policy)
    admin("operator_policies", "delete", "--name", "ra.operator")
    has(admin("queues", "delete_multiple", "--name-pattern", "^ra\\.", "--dry-run"), "ra.classic", "ra.quorum")
    admin("queues", "delete_multiple", "--name-pattern", "^ra\\.(classic|quorum)", "--approve")
    admin("streams", "delete", "--name", "ra.stream")
    admin("exchanges", "delete", "--name", "ra.topic")
    has_not(admin("queues", "list"), "ra.classic", "ra.quorum", "ra.stream")
    admin("queues", "delete", "--name", "ra.quorum", fails=True)
    admin("queues", "delete", "--name", "ra.quorum", "--idempotently")
    admin("permissions", "delete", "--username", "ra.user")
    admin("users", "delete", "--name", "ra.user")
    admin("vhosts", "delete", "--name", VHOST)
    has_not(admin("vhosts", "list", vhost="/"), VHOST)


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come about within 10 s"
        time.sleep(0.05)


def has_shovels():
    request = urllib.request.Request(f"http://{HOST}:{PORT}/api/shovels")
    request.add_header("Authorization", f"Basic {b64encode(b'guest:guest').decode()}")
    try:
        with urllib.request.urlopen(request, timeout=10):
            return True
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return False
        raise


version = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
checks = [
    ("shows the overview, churn, memory, plugins, attempts to log in", shows),
    ("health checks, in words and exit codes", health_checks),
    ("feature flags and deprecated features", features),
    ("virtual hosts with their metadata", vhosts),
    ("users with hashed passwords, permissions, limits", users),
    ("queues and streams, in columns and pages", queues_and_streams),
    ("exchanges and bindings", exchanges_and_bindings),
    ("publishes, gets and purges", publishes_and_gets),
    ("policies, patched, overridden, by operators", policies),
    ("parameters and global parameters", parameters),
    ("definitions, exported, transformed and imported", definitions),
    ("lists connections and channels, closes those of a user", connections),
]
if has_shovels():
    checks.append(("a shovel declared, listed, moving, deleted", shovels))
run("rabbitmqadmin (Rust)", version, [*checks, ("deletes all of it", deletes)])
