"""rabbitmqadmin as the management plugin of RabbitMQ 3.10 brings it: what people and test containers do with it."""

import glob
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from words import HOST, PORT, equal, run

SCRIPTS = glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/plugins/rabbitmq_management-*/priv/www/cli/rabbitmqadmin")


def admin(*arguments, user="guest", password="guest", fails=False):
    command = [sys.executable, SCRIPTS[0], "-H", HOST, "-P", str(PORT), "-u", user, "-p", password, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode != 0) == fails, f"exit code {done.returncode}: {done.stdout}{done.stderr}"
    return (done.stdout + done.stderr).strip()


def listed(what, *columns):
    return json.loads(admin("-f", "raw_json", "list", what, *columns))


def overview():
    shown = json.loads(admin("-f", "raw_json", "show", "overview"))
    assert shown[0]["rabbitmq_version"].split(".")[0] == "4", shown
    assert shown[0]["object_totals"]["queues"] == 0, shown


def declares():
    equal(admin("declare", "queue", "name=ra.q", "durable=true", 'arguments={"x-max-length": 5}'), "queue declared")
    equal(admin("declare", "exchange", "name=ra.x", "type=topic"), "exchange declared")
    equal(admin("declare", "binding", "source=ra.x", "destination=ra.q", "routing_key=a.#"), "binding declared")
    [queue] = listed("queues", "name", "durable", "arguments", "messages")
    equal(queue, {"name": "ra.q", "durable": True, "arguments": {"x-max-length": 5}, "messages": 0})
    assert {"source": "ra.x", "destination": "ra.q", "routing_key": "a.#"} in listed("bindings", "source", "destination", "routing_key")


def refuses_another_declaration():
    said = admin("declare", "queue", "name=ra.q", "durable=false", fails=True)
    assert "inequivalent arg 'durable' for queue 'ra.q' in vhost '/': received 'false' but current is 'true'" in said, said


def publishes_and_gets():
    equal(admin("publish", "exchange=ra.x", "routing_key=a.b", "payload=hello"), "Message published")
    equal(admin("publish", "exchange=ra.x", "routing_key=b", "payload=hello"), "Message published but NOT routed")
    equal(listed("queues", "messages", "messages_ready"), [{"messages": 1, "messages_ready": 1}])
    [message] = json.loads(admin("-f", "raw_json", "get", "queue=ra.q", "ackmode=ack_requeue_true"))
    equal((message["payload"], message["exchange"], message["routing_key"]), ("hello", "ra.x", "a.b"))
    equal(admin("purge", "queue", "name=ra.q"), "queue purged")
    equal(listed("queues", "messages"), [{"messages": 0}])


def users():
    equal(admin("declare", "vhost", "name=ra.v"), "vhost declared")
    equal(admin("declare", "user", "name=ra.u", "password=p", "tags=management"), "user declared")
    equal(admin("declare", "permission", "vhost=ra.v", "user=ra.u", "configure=^x", "write=.*", "read="), "permission declared")
    permissions = [p for p in listed("permissions") if p["user"] == "ra.u"]
    equal(permissions, [{"user": "ra.u", "vhost": "ra.v", "configure": "^x", "write": ".*", "read": ""}])
    equal(admin("-V", "ra.v", "declare", "queue", "name=x1", user="ra.u", password="p"), "queue declared")
    said = admin("-V", "ra.v", "declare", "queue", "name=y1", user="ra.u", password="p", fails=True)
    assert "Access refused" in said, said
    assert "Access refused" in admin("list", "users", password="wrong", fails=True)


def policies():
    equal(admin("declare", "policy", "name=ra.p", "pattern=^ra", 'definition={"max-length": 2}', "apply-to=queues"), "policy declared")
    for n in range(3):
        admin("publish", "exchange=amq.default", "routing_key=ra.q", f"payload={n}")
    equal(listed("queues", "name", "messages", "policy")[0], {"name": "ra.q", "messages": 2, "policy": "ra.p"})
    equal(admin("declare", "operator_policy", "name=ra.o", "pattern=^ra", 'definition={"max-length": 1}'), "operator_policy declared")
    equal(listed("queues", "name", "messages")[0]["messages"], 1)
    equal(admin("declare", "vhost_limit", "vhost=ra.v", "name=max-queues", "value=1"), "vhost_limit declared")
    assert "limit" in admin("-V", "ra.v", "declare", "queue", "name=x2", fails=True)


def definitions():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "definitions.json"
        admin("export", str(file))
        exported = json.loads(file.read_text())
        assert {"ra.q", "x1"} <= {queue["name"] for queue in exported["queues"]}, exported["queues"]
        admin("delete", "exchange", "name=ra.x")
        admin("delete", "queue", "name=ra.q")
        admin("delete", "user", "name=ra.u")
        admin("import", str(file))
        assert {"source": "ra.x", "destination": "ra.q"} in listed("bindings", "source", "destination")
        equal(admin("-V", "ra.v", "list", "queues", "name", user="ra.u", password="p").count("x1"), 1)


def deletes():
    for what in (["policy", "name=ra.p"], ["operator_policy", "name=ra.o"], ["exchange", "name=ra.x"], ["queue", "name=ra.q"]):
        assert "deleted" in admin("delete", *what)
    for what in (["user", "name=ra.u"], ["vhost", "name=ra.v"]):
        assert "deleted" in admin("delete", *what)
    equal(listed("queues"), [])
    assert "Not found" in admin("delete", "queue", "name=ra.q", fails=True)


if not SCRIPTS:
    sys.exit("rabbitmq-server is not installed: no rabbitmqadmin")
run("rabbitmqadmin (Python)", SCRIPTS[0].split("rabbitmq_server-")[1].split("/")[0], [
    ("shows the overview", overview),
    ("declares queues, exchanges and bindings", declares),
    ("is refused what differs, in RabbitMQ's words", refuses_another_declaration),
    ("publishes, gets and purges", publishes_and_gets),
    ("makes users and virtual hosts, whose permissions count", users),
    ("sets policies and limits, which count", policies),
    ("exports definitions and imports them", definitions),
    ("deletes all of it", deletes),
])
