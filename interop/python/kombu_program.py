"""kombu: the messaging layer under celery, on py-amqp."""

import contextlib
import socket
import time
from importlib.metadata import version

import amqp
from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.pools import producers

from checks import BODY_1_MIB, QUIET_S, URL, WAIT_S, check, equal, names, raises, run, unique, wait_until


@contextlib.contextmanager
def connected(**options):
    with Connection(URL, **options) as connection:
        yield connection


@contextlib.contextmanager
def shared_queue(connection, **arguments):
    queue = Queue(unique("queue"), durable=True, queue_arguments=arguments, channel=connection.default_channel)
    queue.declare()
    try:
        yield queue
    finally:
        with connected() as other:
            queue(other.default_channel).delete()


def private_queue(connection, *arguments, **named):
    queue = Queue(unique("private"), *arguments, exclusive=True, durable=False, channel=connection.default_channel, **named)
    queue.declare()
    return queue


def publish(queue, *bodies, **options):
    producer = Producer(queue.channel)
    for body in bodies:
        producer.publish(body, routing_key=queue.name, **options)


def drain(queue):
    bodies = []
    while (message := queue.get(no_ack=True)) is not None:
        bodies.append(message.payload)
    return bodies


class Inbox(list):
    """What a consumer got."""

    def __init__(self, connection, queue, **options):
        self.connection = connection
        self.consumer = Consumer(connection.default_channel, [queue], on_message=self.append, accept=["json", "pickle"], **options)
        self.consumer.consume()

    def wait_for(self, count):
        wait_until(lambda: len(self) >= count, lambda: self.step(0.05))
        return [(message.payload, message.delivery_info["redelivered"]) for message in self]

    def step(self, timeout):
        with contextlib.suppress(socket.timeout):
            self.connection.drain_events(timeout=timeout)

    def stays_at(self, count):
        self.step(QUIET_S)
        equal(len(self), count)


@check("publish, consume, ack, requeue and reject, in kombu's words")
def consume_and_requeue():
    with connected() as connection, shared_queue(connection) as queue:
        publish(queue, {"n": 1}, {"n": 2}, {"n": 3})
        first, second, third = [queue.get() for _ in range(3)]
        equal([m.payload for m in [first, second, third]], [{"n": 1}, {"n": 2}, {"n": 3}])
        third.requeue()
        first.requeue()
        second.reject()
        inbox = Inbox(connection, queue)
        equal(inbox.wait_for(2), [({"n": 1}, True), ({"n": 3}, True)])
        for message in inbox:
            message.ack()
        inbox.consumer.cancel()
        equal(drain(queue), [])


@check("publisher confirms: publish waits, an unroutable mandatory message is returned, a full queue refuses")
def confirms():
    with connected(transport_options={"confirm_publish": True}) as connection:
        with shared_queue(connection, **{"x-max-length": 1, "x-overflow": "reject-publish"}) as queue:
            publish(queue, "fits")
            raises(amqp.exceptions.MessageNacked, publish, queue, "too many")
            returned = []
            producer = Producer(connection.default_channel, on_return=lambda error, *_: returned.append(error))
            producer.publish("lost", routing_key="nowhere", mandatory=True)
            wait_until(lambda: returned, lambda: connection.drain_events(timeout=1))
            equal((returned[0].reply_code, returned[0].reply_text), (312, "NO_ROUTE"))


@check("fan-out: fanout, topic and direct exchanges with several queues")
def fan_out():
    with connected() as connection:
        channel = connection.default_channel
        producer = Producer(channel)
        exchanges = {kind: Exchange(unique(kind), kind, auto_delete=True) for kind in ["fanout", "topic", "direct"]}
        everyone = [private_queue(connection, exchanges["fanout"]) for _ in range(3)]
        errors, disk = [private_queue(connection, exchanges["topic"], key) for key in ["*.error", "disk.#"]]
        red = private_queue(connection, exchanges["direct"], "red")
        producer.publish("news", exchange=exchanges["fanout"])
        for key in ["disk.error", "disk", "net.error"]:
            producer.publish(key, exchange=exchanges["topic"], routing_key=key)
        for key in ["red", "blue"]:
            producer.publish(key, exchange=exchanges["direct"], routing_key=key)
        equal([drain(queue) for queue in everyone], [["news"]] * 3)
        equal([drain(errors), drain(disk), drain(red)], [["disk.error", "net.error"], ["disk.error", "disk"], ["red"]])


@check("load balancing: two consumers with prefetch 1 share a queue")
def load_balancing():
    with connected() as first, connected() as second, shared_queue(first) as queue:
        inboxes = [Inbox(connection, queue(connection.default_channel), prefetch_count=1) for connection in [first, second]]
        publish(queue, *range(10))
        for inbox in inboxes:
            inbox.wait_for(1)
        for turn in range(1, 6):
            for inbox in inboxes:
                inbox.wait_for(turn)
                inbox.stays_at(turn)
                inbox[-1].ack()
        equal(sorted(message.payload for inbox in inboxes for message in inbox), list(range(10)))


@check("RPC over an exclusive queue, replies matched by correlation_id")
def rpc():
    with connected() as client, connected() as server:
        requests, replies = private_queue(server), private_queue(client)
        calls, answers = Inbox(server, requests), Inbox(client, replies, no_ack=True)
        for number in [2, 3]:
            publish(requests(client.default_channel), number, reply_to=replies.name, correlation_id=str(number))
        calls.wait_for(2)
        for call in reversed(calls):
            Producer(server.default_channel).publish(
                call.payload**2, routing_key=call.properties["reply_to"], correlation_id=call.properties["correlation_id"]
            )
            call.ack()
        answers.wait_for(2)
        equal([(m.properties["correlation_id"], m.payload) for m in answers], [("3", 9), ("2", 4)])


@check("connection loss: ensure reconnects, and what was not acked comes back redelivered")
def connection_loss():
    with connected() as keeper, shared_queue(keeper) as queue, connected() as lost:
        publish(queue, 1, 2)
        inbox = Inbox(lost, queue(lost.default_channel))
        equal(inbox.wait_for(2), [(1, False), (2, False)])
        lost.connection.transport.sock.shutdown(socket.SHUT_RDWR)
        raises(lost.recoverable_connection_errors, lost.drain_events, timeout=WAIT_S)
        lost.ensure_connection(max_retries=3)
        inbox = Inbox(lost, queue(lost.default_channel))
        equal(inbox.wait_for(2), [(1, True), (2, True)])


@check("404, 406, 403 and 405 raise py-amqp's exceptions of their names")
def channel_errors():
    exceptions = amqp.exceptions
    with connected() as connection, connected() as stranger:
        locked = private_queue(connection)
        for kind, action in [
            (exceptions.NotFound, lambda on: on.queue_declare("interop.missing", passive=True)),
            (exceptions.NotFound, lambda on: on.basic_consume("interop.missing")),
            (exceptions.PreconditionFailed, lambda on: on.queue_declare(locked.name, exclusive=True, auto_delete=False)),
            (exceptions.AccessRefused, lambda on: on.queue_declare("amq.interop", durable=True)),
            (exceptions.AccessRefused, lambda on: on.exchange_declare("amq.interop", "direct")),
        ]:
            raises(kind, action, connection.channel())
            assert connection.connected
        raises(exceptions.ResourceLocked, stranger.channel().queue_declare, locked.name, passive=True)


@check("a wrong password is AccessRefused, an unknown vhost NotAllowed")
def refused():
    error = raises(amqp.exceptions.AccessRefused, Connection(URL.replace("guest:guest", "guest:wrong")).connect)
    equal(error.code, 403)
    error = raises(amqp.exceptions.NotAllowed, Connection(URL.replace("%2F", "interop.missing")).connect)
    equal(error.code, 530)


@check("a 1 MiB body, compression, every serializer's content type and all properties come back as they were")
def large_body():
    properties = dict(
        priority=9, correlation_id="correlation", reply_to="reply", message_id="id", timestamp=1709209845, type="type",
        user_id="guest", app_id="interop",
    )
    headers = {"int": -7, "long": 2**40, "text": "häder", "bool": True, "float": 1.5, "table": {"deep": {"x": 1}}, "list": [1, "two", None]}
    with connected() as connection:
        queue = private_queue(connection)
        publish(queue, BODY_1_MIB, content_type="application/data", content_encoding="binary", headers=headers, expiration=60, **properties)
        message = queue.get(no_ack=True)
        assert message.body == BODY_1_MIB
        equal({name: message.properties[name] for name in properties}, properties)
        equal(message.properties["expiration"], "60000")
        equal({name: message.headers[name] for name in headers}, headers)
        for serializer in ["json", "yaml", "msgpack", "pickle"]:
            publish(queue, {"a": [1, 2]}, serializer=serializer, compression="zlib")
            equal(queue.get(no_ack=True, accept=[serializer]).payload, {"a": [1, 2]})


@check("heartbeats of two seconds are negotiated, sent both ways, and keep a connection open")
def heartbeats():
    with connected(heartbeat=2) as connection:
        connection.connect()
        equal(connection.get_heartbeat_interval(), 2)
        received = connection.connection.bytes_recv
        deadline = time.monotonic() + WAIT_S
        # py-amqp leaves it to the program to look after heartbeats; two of the server's are seen, then all is well.
        while connection.connection.bytes_recv < received + 2:
            assert time.monotonic() < deadline, "no heartbeat from the server"
            connection.heartbeat_check(rate=2)
            with contextlib.suppress(socket.timeout):
                connection.drain_events(timeout=0.5)
        private_queue(connection)


@check("transactions: nothing is seen before commit")
def transactions():
    with connected() as connection, connected() as other, shared_queue(connection) as queue:
        channel = connection.default_channel
        channel.tx_select()
        publish(queue, "committed")
        equal(drain(queue(other.default_channel)), [])
        channel.tx_commit()
        equal(drain(queue(other.default_channel)), ["committed"])
        publish(queue, "rolled back")
        channel.tx_rollback()
        equal(drain(queue(other.default_channel)), [])


@check("deleting a queue cancels its consumer")
def cancel_notification():
    with connected() as connection, connected() as other, shared_queue(connection) as queue:
        cancelled = []
        tag = connection.default_channel.basic_consume(queue.name, callback=print, on_cancel=cancelled.append)
        queue(other.default_channel).delete()

        def step():
            with contextlib.suppress(amqp.exceptions.ConsumerCancelled):
                connection.drain_events(timeout=1)

        wait_until(lambda: cancelled, step)
        equal(cancelled, [tag])


@check("SimpleQueue and a producer pool")
def conveniences():
    with connected() as connection:
        with contextlib.closing(connection.SimpleQueue(unique("simple"))) as simple:
            simple.put({"job": 1})
            simple.put({"job": 2})
            for job in [1, 2]:
                message = simple.get(timeout=WAIT_S)
                equal(message.payload, {"job": job})
                message.ack()
            equal(simple.qsize(), 0)
            raises(simple.Empty, simple.get_nowait)
        connection.default_channel.queue_delete(simple.queue.name)
        connection.default_channel.exchange_delete(simple.queue.exchange.name)
        queue = private_queue(connection)
        with producers[connection].acquire(block=True) as producer:
            producer.publish("pooled", routing_key=queue.name, retry=True)
            wait_until(lambda: queue.queue_declare(passive=True).message_count == 1, lambda: None)
        producers[connection].force_close_all()


@check("a queue with max_priority gives out the higher first, and puts a requeued message back among its equals")
def priorities():
    with connected() as connection:
        queue = private_queue(connection, max_priority=10)
        for body, priority in [("low", 3), ("high", 6), ("low again", 3), ("none", None), ("above all", 200)]:
            publish(queue, body, priority=priority)
        first, second = queue.get(), queue.get()
        equal([first.payload, second.payload], ["above all", "high"])
        equal(second.properties["priority"], 6)
        second.requeue()
        equal(drain(queue), ["high", "low", "low again", "none"])


@check("message_ttl and expires, in seconds: a message goes, and then the queue")
def time_to_live():
    with connected() as connection, connected() as other:
        queue = Queue(unique("brief"), durable=True, message_ttl=0.1, expires=0.5, channel=connection.default_channel)
        queue.declare()
        publish(queue, "brief")
        publish(queue, "briefer", expiration=0.05)
        wait_until(lambda: queue.queue_declare(passive=True).message_count == 0, lambda: None)
        returned = []
        producer = Producer(other.default_channel, on_return=lambda error, *_: returned.append(error))

        def look():
            # A mandatory message is no use of the queue, a declaration is.
            producer.publish("anyone there?", routing_key=queue.name, mandatory=True)
            with contextlib.suppress(socket.timeout):
                other.drain_events(timeout=0.1)

        wait_until(lambda: returned, look)


@check("delayed retry: what is rejected waits in a queue with a TTL and comes back, with its deaths counted")
def delayed_retry():
    with connected() as connection:
        to = lambda exchange, key: {"x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": key}
        retry = Exchange(unique("retry"), "direct", auto_delete=True)
        work = private_queue(connection, retry, "work", queue_arguments=to(retry.name, "wait"))
        private_queue(connection, retry, "wait", message_ttl=0.05, queue_arguments=to(retry.name, "work"))
        Producer(connection.default_channel, retry, "work").publish({"job": 7})
        inbox = Inbox(connection, work)
        for attempt in range(3):
            inbox.wait_for(attempt + 1)
            deaths = inbox[attempt].headers.get("x-death", [])
            equal([(it["reason"], it["count"]) for it in deaths], [("expired", attempt), ("rejected", attempt)] if attempt else [])
            inbox[attempt].reject()
        equal([message.payload for message in inbox], [{"job": 7}] * 3)
        inbox.consumer.cancel()


@check("quorum queue with a delivery limit: the message that was rejected too often goes to the dead")
def quorum():
    with connected() as connection, shared_queue(connection) as dead:
        arguments = {"x-queue-type": "quorum", "x-delivery-limit": 1, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name}
        with shared_queue(connection, **arguments) as queue:
            publish(queue, ["poison"])
            inbox, graves = Inbox(connection, queue), Inbox(connection, dead, no_ack=True)
            for turn in range(2):
                inbox.wait_for(turn + 1)
                equal(inbox[turn].headers.get("x-delivery-count", 0), turn)
                inbox[turn].requeue()
            equal(graves.wait_for(1), [(["poison"], False)])
            equal(graves[0].headers["x-first-death-reason"], "delivery_limit")


@check("stream: consumer_arguments choose the offset, and every reader sees everything")
def stream():
    with connected() as connection, shared_queue(connection, **{"x-queue-type": "stream"}) as queue:
        publish(queue, *range(5))
        for start, expected in [("first", [0, 1, 2, 3, 4]), (3, [3, 4])]:
            with connected() as other:
                name = Queue(queue.name, no_declare=True, consumer_arguments={"x-stream-offset": start})
                inbox = Inbox(other, name, prefetch_count=10)
                inbox.wait_for(len(expected))
                equal([(m.payload, m.headers["x-stream-offset"]) for m in inbox], [(n, n) for n in expected])


@check("nothing is left behind")
def nothing_left_behind():
    with connected() as connection:
        for name in names:
            raises(amqp.exceptions.NotFound, connection.channel().queue_declare, name, passive=True)
            raises(amqp.exceptions.NotFound, connection.channel().exchange_declare, name, "direct", passive=True)


run("kombu", version("kombu"))
