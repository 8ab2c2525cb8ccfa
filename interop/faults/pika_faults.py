"""pika against faults on demand: which exception an application gets of each, or what it sees instead."""

import base64
import contextlib
import json
import os
import time
import urllib.request
from urllib.parse import urlsplit

import pika
from pika import exceptions
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout

from checks import QUIET_S, WAIT_S, check, equal, raises, run, wait_until
from pika_words import channel, connect, get, private_queue

API = urlsplit(os.environ["HTTP_URL"])
LATE_S = 0.4
LATE_MS = 400.0


def api(method, path, body=None):
    address = f"http://{API.hostname}:{API.port}/api/test/faults{path}"
    request = urllib.request.Request(address, method=method, data=json.dumps(body).encode() if body else None)
    request.add_header("authorization", "Basic " + base64.b64encode(f"{API.username}:{API.password}".encode()).decode())
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        text = answer.read()
    return json.loads(text) if text else None


@contextlib.contextmanager
def fault(kind, fields=None, match=None, **when):
    """A rule for as long as this lasts; it must have fired by then."""
    rule = {"match": match or {}, "action": {"kind": kind, **(fields or {})}, **when}
    number = api("POST", "", rule)["ids"][0]
    try:
        yield number
        assert api("GET", f"/{number}")["hits"] > 0, "the rule has not fired"
    finally:
        api("DELETE", f"/{number}")


def on(method, **more):
    return {"method": method, **more}


@contextlib.contextmanager
def dying(**changes):
    """A connection that the broker may break."""
    connection = connect(**changes)
    try:
        yield connection, connection.channel()
    finally:
        with contextlib.suppress(exceptions.AMQPError):
            connection.close()


def consume(on_channel, queue, count):
    """So many deliveries, as tag, redelivered, body; nothing is acknowledged."""
    seen = []
    for method, _, body in on_channel.consume(queue, inactivity_timeout=QUIET_S):
        if method is None:
            break
        seen.append((method.delivery_tag, method.redelivered, body))
        if len(seen) == count:
            break
    return seen


LOST = (exceptions.AMQPHeartbeatTimeout, exceptions.StreamLostError)


@check("drop: an answer that is lost is waited for until heartbeats are missing, too: AMQPHeartbeatTimeout")
def dropped():
    with dying(heartbeat=1) as (_, it), fault("drop", match={"direction": "out"}):
        raises(LOST, private_queue, it)


@check("delay: an answer takes its time")
def delayed():
    with channel() as it, fault("delay", {"ms": LATE_MS}, on("queue.declare-ok")):
        began = time.monotonic()
        private_queue(it)
        assert time.monotonic() - began >= LATE_S


@check("duplicate: one publish, two messages")
def duplicated():
    with channel() as it, fault("duplicate", match=on("basic.publish"), times=1):
        queue = private_queue(it)
        it.basic_publish("", queue, b"m")
        equal(get(it, queue)[:2], (b"m", False))
        equal(get(it, queue)[:2], (b"m", False))


@check("truncate and close: StreamLostError")
def truncated():
    with dying() as (_, it), fault("truncate", {"after": 5, "then": "close"}, on("queue.declare-ok")):
        raises(exceptions.StreamLostError, private_queue, it)


@check("corrupt-frame-end to the client: InvalidFrameError, and the connection is lost")
def corrupted():
    with dying() as (_, it), fault("corrupt-frame-end", match=on("queue.declare-ok")):
        raises((exceptions.InvalidFrameError, exceptions.AMQPConnectionError), private_queue, it)


@check("corrupt-frame-end to the broker: ConnectionClosedByBroker with 501")
def corrupted_there():
    with dying() as (_, it), fault("corrupt-frame-end", match=on("queue.declare")):
        equal(raises(exceptions.ConnectionClosedByBroker, private_queue, it).reply_code, 501)


@check("stop-heartbeats: AMQPHeartbeatTimeout")
def no_heartbeats():
    with dying(heartbeat=1) as (connection, _), fault("stop-heartbeats"):
        raises(LOST, watch, connection)


def watch(connection):
    # pika looks at heartbeats every interval and five seconds.
    until = time.monotonic() + 2 * WAIT_S
    while time.monotonic() < until:
        connection.process_data_events(0.1)


@check("stop-reading: an answer does not come before the rule is gone")
def not_read():
    with dying() as (_, it), fault("stop-reading", {"ms": LATE_MS}, on("queue.declare"), nth=1):
        private_queue(it)
        began = time.monotonic()
        private_queue(it)
        assert time.monotonic() - began >= LATE_S / 2


@check("reset: StreamLostError, connection reset by peer")
def reset():
    with dying() as (_, it), fault("reset", match=on("queue.declare")):
        error = raises(exceptions.StreamLostError, private_queue, it)
        assert "reset" in str(error).lower(), error


@check("half-close: StreamLostError, end of file")
def half_closed():
    with dying() as (_, it), fault("half-close", match=on("queue.declare")):
        raises(exceptions.StreamLostError, private_queue, it)


@check("close-connection: ConnectionClosedByBroker with the code and the text")
def connection_closed():
    with dying() as (_, it), fault("close-connection", {"code": 320, "text": "as asked"}, on("queue.declare")):
        error = raises(exceptions.ConnectionClosedByBroker, private_queue, it)
        equal((error.reply_code, error.reply_text), (320, "CONNECTION_FORCED - as asked"))


@check("close-channel: ChannelClosedByBroker with the code and the text, and the connection goes on")
def channel_closed():
    with dying() as (connection, it), fault("close-channel", {"code": 404, "text": "no queue 'q'"}, on("queue.declare"), times=1):
        error = raises(exceptions.ChannelClosedByBroker, private_queue, it)
        equal((error.reply_code, error.reply_text), (404, "NOT_FOUND - no queue 'q'"))
        private_queue(connection.channel())


@check("nack: NackError")
def nacked():
    with channel() as it, fault("nack", match=on("basic.publish"), nth=2):
        queue = private_queue(it)
        it.confirm_delivery()
        it.basic_publish("", queue, b"1")
        raises(exceptions.NackError, it.basic_publish, "", queue, b"2")
        it.basic_publish("", queue, b"3")


@check("withhold-confirm: basic_publish returns no sooner than the connection is lost")
def withheld():
    with dying(heartbeat=1) as (_, it), fault("withhold-confirm", match=on("basic.publish")):
        queue = private_queue(it)
        it.confirm_delivery()
        with fault("stop-heartbeats"):
            raises(LOST, it.basic_publish, "", queue, b"m")


@check("return-unroutable: UnroutableError, NO_ROUTE")
def returned():
    with channel() as it, fault("return-unroutable", match=on("basic.publish")):
        queue = private_queue(it)
        it.confirm_delivery()
        error = raises(exceptions.UnroutableError, it.basic_publish, "", queue, b"m", mandatory=True)
        method = error.messages[0].method
        equal((method.reply_code, method.reply_text), (312, "NO_ROUTE"))


@check("duplicate-delivery: the message comes again, redelivered, and both can be acknowledged")
def delivered_twice():
    with channel() as it, fault("duplicate-delivery", match=on("basic.deliver"), times=1):
        queue = private_queue(it)
        it.basic_publish("", queue, b"m")
        equal(consume(it, queue, 2), [(1, False, b"m"), (2, True, b"m")])
        it.basic_ack(1)
        it.basic_ack(2)
        it.cancel()
        equal(it.queue_declare(queue, passive=True).method.message_count, 0)


@check("mark-redelivered: a first delivery claims to be another")
def marked():
    with channel() as it, fault("mark-redelivered"):
        queue = private_queue(it)
        it.basic_publish("", queue, b"m")
        equal(get(it, queue)[:2], (b"m", True))


@check("refuse-handshake at the start: IncompatibleProtocolError or another AMQPConnectionError")
def refused_at_start():
    with fault("refuse-handshake"):
        raises(exceptions.AMQPConnectionError, connect)


@check("refuse-handshake at open: ConnectionClosedByBroker with the code and the text")
def refused_at_open():
    with fault("refuse-handshake", {"at": "open", "code": 530, "text": "vhost / is down"}):
        error = raises(exceptions.AMQPConnectionError, connect)
        assert "NOT_ALLOWED - vhost / is down" in repr(error) + repr(error.__cause__) + repr(error.args), repr(error)


@check("stall-handshake: AMQPConnectorStackTimeout")
def stalled():
    with fault("stall-handshake"):
        raises(AMQPConnectorStackTimeout, connect, stack_timeout=1)


@check("fail-authentication: ProbableAuthenticationError, ACCESS_REFUSED")
def login_failed():
    with fault("fail-authentication", match={"user": "guest"}):
        error = raises(exceptions.ProbableAuthenticationError, connect)
        assert "ACCESS_REFUSED" in str(error), error


@check("raise-alarm: connection.blocked and connection.unblocked are told")
def alarmed():
    told = []
    with channel() as it:
        connection = it.connection
        connection.add_on_connection_blocked_callback(lambda _, method: told.append(method.method.reason))
        connection.add_on_connection_unblocked_callback(lambda *_: told.append("unblocked"))
        queue = private_queue(it)
        with fault("raise-alarm", {"alarm": "memory"}):
            it.basic_publish("", queue, b"m")
            wait_until(lambda: told == ["low on memory"], lambda: connection.process_data_events(0.05))
        wait_until(lambda: told == ["low on memory", "unblocked"], lambda: connection.process_data_events(0.05))


@check("slow-disk: a confirm is late; fail-disk: it waits for the disk, and the connection is blocked meanwhile")
def disks():
    told = []
    with channel() as it:
        connection = it.connection
        connection.add_on_connection_blocked_callback(lambda _, method: told.append(method.method.reason))
        it.queue_declare(queue := "interop.faults.durable", durable=True)
        it.confirm_delivery()
        persistent = pika.BasicProperties(delivery_mode=2)
        with fault("slow-disk", {"ms": LATE_MS, "on": ["sync"]}):
            began = time.monotonic()
            it.basic_publish("", queue, b"1", persistent)
            assert time.monotonic() - began >= LATE_S
        with fault("fail-disk", times=1):
            it.basic_publish("", queue, b"2", persistent)
            connection.process_data_events(0)
        equal(told, ["low on disk"])
        equal(it.queue_delete(queue).method.message_count, 2)


run("pika (faults)", pika.__version__)
