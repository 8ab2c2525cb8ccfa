"""pika's BlockingConnection: a program that waits for each answer."""

import select
import socket
import time

import pika
from pika import exceptions

import checks
from checks import BODY_1_MIB, WAIT_S, WHEN, check, equal, raises, same_headers, unique, wait_until
from pika_words import Inbox, channel, connect, drain, get, private_queue, publish, run_to_the_end, shared_queue

# pika has no floats, and writes byte arrays from bytes.
HEADERS = {name: value for name, value in checks.HEADERS.items() if name != "float"} | {"bytes": bytes(checks.HEADERS["bytes"])}


@check("publish, consume and ack: in order, not redelivered, the queue is empty afterwards")
def consume_and_ack():
    with channel() as on, shared_queue(on) as queue:
        publish(on, queue, b"1", b"2", b"3")
        inbox = Inbox(on, queue)
        equal(inbox.wait_for(3), [b"1", b"2", b"3"])
        equal([method.redelivered for method, _, _ in inbox], [False] * 3)
        equal([method.delivery_tag for method, _, _ in inbox], [1, 2, 3])
        on.basic_ack(3, multiple=True)
        on.basic_cancel(inbox.tag)
        equal(on.queue_declare(queue, passive=True).method.message_count, 0)


@check("nack with requeue: messages return to their places, redelivered")
def nack_and_requeue():
    with channel() as on, shared_queue(on) as queue:
        publish(on, queue, b"1", b"2", b"3", b"4")
        tags = {body: tag for body, _, tag in (get(on, queue) for _ in range(3))}
        on.basic_nack(tags[b"3"], requeue=True)
        on.basic_nack(tags[b"1"], requeue=True)
        equal(get(on, queue)[:2], (b"1", True))
        equal(get(on, queue)[:2], (b"3", True))
        equal(get(on, queue)[:2], (b"4", False))


@check("reject without requeue discards, recover redelivers")
def reject_and_recover():
    with channel() as on:
        queue = private_queue(on)
        publish(on, queue, b"bad", b"good")
        on.basic_reject(get(on, queue)[2], requeue=False)
        equal(get(on, queue)[:2], (b"good", False))
        on.basic_recover(requeue=True)
        equal(get(on, queue)[:2], (b"good", True))


@check("publisher confirms: accepted, returned if mandatory and unroutable, refused by a full queue")
def confirms():
    with channel() as on, shared_queue(on, **{"x-max-length": 1, "x-overflow": "reject-publish"}) as queue:
        on.confirm_delivery()
        on.basic_publish("", queue, b"fits", mandatory=True)
        on.basic_publish("", "nowhere", b"not mandatory")
        error = raises(exceptions.UnroutableError, on.basic_publish, "", "nowhere", b"lost", mandatory=True)
        returned = error.messages[0]
        equal((returned.method.reply_code, returned.method.reply_text, returned.body), (312, "NO_ROUTE", b"lost"))
        raises(exceptions.NackError, on.basic_publish, "", queue, b"too many")


@check("fan-out: a fanout exchange copies to every queue, a topic exchange to those that match")
def fan_out():
    with channel() as on:
        fanout, topic = unique("fanout"), unique("topic")
        on.exchange_declare(fanout, "fanout", auto_delete=True)
        on.exchange_declare(topic, "topic", auto_delete=True)
        everyone = [private_queue(on) for _ in range(3)]
        for queue in everyone:
            on.queue_bind(queue, fanout)
        on.basic_publish(fanout, "", b"news")
        equal([drain(on, queue) for queue in everyone], [[b"news"]] * 3)

        patterns = {"*.error": [], "disk.#": [], "#": [], "disk.error": []}
        bound = {pattern: private_queue(on) for pattern in patterns}
        for pattern, queue in bound.items():
            on.queue_bind(queue, topic, pattern)
        for key in ["disk.error", "disk", "net.error", "disk.sda.full"]:
            on.basic_publish(topic, key, key.encode())
        equal(drain(on, bound["*.error"]), [b"disk.error", b"net.error"])
        equal(drain(on, bound["disk.#"]), [b"disk.error", b"disk", b"disk.sda.full"])
        equal(len(drain(on, bound["#"])), 4)
        equal(drain(on, bound["disk.error"]), [b"disk.error"])
        on.queue_unbind(bound["#"], topic, "#")
        on.basic_publish(topic, "other", b"unbound")
        equal(drain(on, bound["#"]), [])


@check("routing: direct and headers exchanges, exchange to exchange, alternate exchange")
def routing():
    with channel() as on:
        direct, headers, spare = unique("direct"), unique("headers"), unique("spare")
        on.exchange_declare(spare, "fanout", auto_delete=True)
        on.exchange_declare(direct, "direct", auto_delete=True, arguments={"alternate-exchange": spare})
        on.exchange_declare(headers, "headers", auto_delete=True)
        red, matched, unrouted = (private_queue(on) for _ in range(3))
        on.queue_bind(unrouted, spare)
        on.queue_bind(red, direct, "red")
        on.exchange_bind(headers, direct, "green")
        on.queue_bind(matched, headers, arguments={"x-match": "all", "a": 1, "b": "two"})
        for key, table in [("red", {}), ("green", {"a": 1, "b": "two"}), ("green", {"a": 1}), ("blue", {})]:
            on.basic_publish(direct, key, key.encode(), pika.BasicProperties(headers=table))
        equal(drain(on, red), [b"red"])
        equal(drain(on, matched), [b"green"])
        # The second green went to an exchange, so it counts as routed even though nothing took it there.
        equal(drain(on, unrouted), [b"blue"])


@check("load balancing: two consumers with prefetch 1 share a queue, each holding one message")
def load_balancing():
    with channel() as first, channel() as second, shared_queue(first) as queue:
        inboxes = []
        for on in [first, second]:
            on.basic_qos(prefetch_count=1)
            inboxes.append(Inbox(on, queue))
        publish(first, queue, *(str(n).encode() for n in range(10)))
        for inbox in inboxes:
            inbox.wait_for(1)
        for inbox in inboxes:
            inbox.stays_at(1)
        for round_ in range(1, 6):
            for inbox in inboxes:
                inbox.wait_for(round_)
                inbox.channel.basic_ack(inbox[-1][0].delivery_tag)
                # The ack has been carried out once this is answered: acks of two connections may overtake each other.
                inbox.channel.queue_declare(queue, passive=True)
        bodies = sorted(body for inbox in inboxes for _, _, body in inbox)
        equal(bodies, [str(n).encode() for n in range(10)])
        equal([len(inbox) for inbox in inboxes], [5, 5])


@check("round robin: without a prefetch limit, consumers take turns")
def round_robin():
    with channel() as on:
        queue = private_queue(on)
        inboxes = [Inbox(on, queue, auto_ack=True) for _ in range(3)]
        publish(on, queue, *(str(n).encode() for n in range(9)))
        for turn, inbox in enumerate(inboxes):
            equal(inbox.wait_for(3), [str(n).encode() for n in range(turn, 9, 3)])


@check("RPC over an exclusive server-named queue: reply_to and correlation_id come back")
def rpc():
    with channel() as client, channel() as server:
        requests, replies = private_queue(server), private_queue(client)
        assert replies.startswith("amq.gen-"), replies
        serve_doubling(server, requests)
        equal(call(client, server, requests, replies, replies), [("1", b"2"), ("2", b"4")])


@check("RPC over direct reply-to")
def direct_reply_to():
    with channel() as client, channel() as server:
        requests = private_queue(server)
        serve_doubling(server, requests)
        equal(call(client, server, requests, "amq.rabbitmq.reply-to", None), [("1", b"2"), ("2", b"4")])


def serve_doubling(on, requests):
    # The exclusive queue belongs to the server's connection; whoever knows its name may publish to it.
    def answer(_, method, properties, body):
        reply = pika.BasicProperties(correlation_id=properties.correlation_id)
        on.basic_publish("", properties.reply_to, str(2 * int(body)).encode(), reply)
        on.basic_ack(method.delivery_tag)

    on.basic_consume(requests, answer)


def call(on, server, requests, reply_to, replies):
    inbox = Inbox(on, replies or reply_to, auto_ack=True)
    for number in ["1", "2"]:
        properties = pika.BasicProperties(reply_to=reply_to, correlation_id=number)
        on.basic_publish("", requests, number.encode(), properties)

    def serve_and_listen():
        server.connection.process_data_events(0.02)
        on.connection.process_data_events(0.02)

    wait_until(lambda: len(inbox) >= 2, serve_and_listen)
    return [(properties.correlation_id, body) for _, properties, body in inbox]


@check("connection loss: what was not acked comes back redelivered, in order, on a new connection")
def connection_loss():
    with channel() as keeper, shared_queue(keeper) as queue:
        lost = connect()
        on = lost.channel()
        publish(on, queue, b"1", b"2", b"3", b"4")
        on.basic_qos(prefetch_count=3)
        inbox = Inbox(on, queue)
        inbox.wait_for(3)
        on.basic_ack(1)
        inbox.wait_for(4)
        lost._impl._transport._sock.shutdown(socket.SHUT_RDWR)
        raises(exceptions.AMQPConnectionError, on.basic_get, queue)

        with channel() as again:
            inbox = Inbox(again, queue)
            equal(inbox.wait_for(3), [b"2", b"3", b"4"])
            equal([method.redelivered for method, _, _ in inbox], [True] * 3)


@check("404 on a missing queue and exchange closes the channel, not the connection")
def not_found():
    connection = connect()
    for action in [
        lambda on: on.queue_declare("interop.missing", passive=True),
        lambda on: on.basic_consume("interop.missing", print),
        lambda on: on.basic_get("interop.missing"),
        lambda on: on.exchange_declare("interop.missing", passive=True),
        lambda on: on.queue_bind(private_queue(on), "interop.missing"),
    ]:
        on = connection.channel()
        error = raises(exceptions.ChannelClosedByBroker, action, on)
        equal(error.reply_code, 404)
        assert error.reply_text.startswith("NOT_FOUND - no "), error.reply_text
        assert on.is_closed and connection.is_open
    on = connection.channel()
    on.confirm_delivery()
    equal(raises(exceptions.ChannelClosedByBroker, on.basic_publish, "interop.missing", "", b"").reply_code, 404)
    connection.close()


@check("406 on an inequivalent declare and on an unknown delivery tag")
def precondition_failed():
    with channel() as on, shared_queue(on) as queue:
        error = raises(exceptions.ChannelClosedByBroker, on.queue_declare, queue, durable=False)
        equal(error.reply_code, 406)
        assert f"inequivalent arg 'durable' for queue '{queue}' in vhost '/'" in error.reply_text, error.reply_text
        on = on.connection.channel()
        on.basic_ack(99)
        error = raises(exceptions.ChannelClosedByBroker, on.queue_declare, queue, passive=True)
        equal((error.reply_code, error.reply_text), (406, "PRECONDITION_FAILED - unknown delivery tag 99"))


@check("403 on reserved names and a taken exclusive consumer, 405 on another connection's exclusive queue")
def refused():
    with channel() as owner:
        connection = owner.connection
        private = private_queue(owner)
        owner.basic_consume(private, print, exclusive=True)
        for code, action in [
            (403, lambda on: on.queue_declare("amq.interop", durable=True)),
            (403, lambda on: on.exchange_declare("amq.interop", "direct")),
            (403, lambda on: on.basic_consume(private, print)),
        ]:
            equal(raises(exceptions.ChannelClosedByBroker, action, connection.channel()).reply_code, code)
        with channel() as stranger:
            error = raises(exceptions.ChannelClosedByBroker, stranger.queue_declare, private, passive=True)
            equal(error.reply_code, 405)
            assert error.reply_text.startswith("RESOURCE_LOCKED - cannot obtain exclusive access"), error.reply_text


@check("a wrong password and an unknown user raise ProbableAuthenticationError's family, with 403")
def wrong_password():
    for user, password in [("guest", "wrong"), ("nobody", "guest")]:
        error = raises(exceptions.AMQPConnectionError, connect, credentials=pika.PlainCredentials(user, password))
        assert isinstance(error, (exceptions.ProbableAuthenticationError, exceptions.ConnectionClosedByBroker)), repr(error)
        assert "403" in str(error) and "ACCESS_REFUSED" in str(error), str(error)


@check("an unknown vhost is refused with 530")
def unknown_vhost():
    error = raises(exceptions.AMQPConnectionError, connect, virtual_host="interop.missing")
    assert "530" in str(error) and "vhost interop.missing not found" in str(error), repr(error)


@check("a 1 MiB body with every property and a header of every field type comes back as it was")
def large_body():
    sent = pika.BasicProperties(
        content_type="application/octet-stream", content_encoding="identity", headers=HEADERS, delivery_mode=2, priority=9,
        correlation_id="correlation", reply_to="reply", expiration="60000", message_id="id", timestamp=int(WHEN.timestamp()),
        type="type", user_id="guest", app_id="interop", cluster_id="cluster",
    )
    with channel() as on:
        queue = private_queue(on)
        on.basic_publish("", queue, BODY_1_MIB, sent)
        method, received, body = on.basic_get(queue, auto_ack=True)
        equal((method.routing_key, method.exchange, method.message_count), (queue, "", 0))
        assert body == BODY_1_MIB
        same_headers(received.headers, HEADERS)
        # Headers may be read back as other Python types; everything else is compared as it is.
        received.headers = HEADERS
        equal(received.__dict__, sent.__dict__)


@check("an empty body, and one of exactly a frame, arrive whole")
def frame_sized_bodies():
    with channel() as on:
        queue = private_queue(on)
        frame_max = on.connection._impl.params.frame_max
        sizes = [0, 1, frame_max - 8, frame_max - 7, 2 * (frame_max - 8)]
        for size in sizes:
            publish(on, queue, b"x" * size)
        equal([len(body) for body in drain(on, queue)], sizes)


@check("heartbeats: the client's value holds, the server keeps an idle connection and drops a silent one")
def heartbeats():
    with channel(heartbeat=1) as on:
        equal(on.connection._impl.params.heartbeat, 1)
        # Longer than the server lets a silent client live: pika's heartbeats must reach it.
        on.connection.process_data_events(3.5)
        equal(on.queue_declare("", exclusive=True).method.message_count, 0)

    silent = connect(heartbeat=1)
    started = time.monotonic()
    seen = read_to_the_end(silent._impl._transport._sock)
    assert 1.5 < time.monotonic() - started < WAIT_S, "dropped too early or too late"
    assert b"\x08\x00\x00\x00\x00\x00\x00\xce" in seen, "no heartbeat from the server"


def read_to_the_end(sock):
    """Everything the peer sends until it closes; nothing is sent back, not even a heartbeat."""
    seen = b""
    while select.select([sock], [], [], WAIT_S)[0]:
        try:
            data = sock.recv(4096)
        except ConnectionResetError:
            return seen
        if not data:
            return seen
        seen += data
    raise AssertionError("the server did not drop a silent connection")


@check("transactions: nothing is seen before commit, rollback forgets")
def transactions():
    with channel() as on, channel() as other, shared_queue(on) as queue:
        on.tx_select()
        publish(on, queue, b"committed")
        equal(get(other, queue), None)
        on.tx_commit()
        equal(drain(other, queue), [b"committed"])
        publish(on, queue, b"rolled back")
        on.tx_rollback()
        on.tx_commit()
        equal(get(other, queue), None)
        error = raises(exceptions.ChannelClosedByBroker, on.confirm_delivery)
        equal(error.reply_code, 406)


@check("deleting a queue cancels its consumer")
def cancel_notification():
    with channel() as on, channel() as other, shared_queue(on) as queue:
        cancelled = []
        on.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
        tag = on.basic_consume(queue, print)
        other.queue_delete(queue)
        wait_until(lambda: cancelled, lambda: on.connection.process_data_events(0.05))
        equal(cancelled, [tag])


@check("basic.get counts what is left, and an empty queue answers with nothing")
def basic_get():
    with channel() as on:
        queue = private_queue(on)
        publish(on, queue, b"1", b"2", b"3")
        equal([on.basic_get(queue, auto_ack=True)[0].message_count for _ in range(3)], [2, 1, 0])
        equal(on.basic_get(queue), (None, None, None))
        publish(on, queue, b"4", b"5")
        equal(on.queue_purge(queue).method.message_count, 2)


@check("qos: a consumer holds as many messages as its prefetch, across acks")
def qos():
    with channel() as on:
        queue = private_queue(on)
        publish(on, queue, *(str(n).encode() for n in range(6)))
        on.basic_qos(prefetch_count=2)
        inbox = Inbox(on, queue)
        inbox.wait_for(2)
        inbox.stays_at(2)
        on.basic_ack(inbox[0][0].delivery_tag)
        inbox.wait_for(3)
        inbox.stays_at(3)
        equal(on.basic_get(queue)[2], b"3")
        on.basic_ack(0, multiple=True)
        inbox.wait_for(5)


@check("cancel hands back what comes after, and an auto-delete queue goes with its last consumer")
def cancel():
    with channel() as on:
        queue = unique("auto-delete")
        on.queue_declare(queue, auto_delete=True, durable=True)
        inbox = Inbox(on, queue)
        publish(on, queue, b"1")
        inbox.wait_for(1)
        on.basic_cancel(inbox.tag)
        equal(raises(exceptions.ChannelClosedByBroker, on.queue_declare, queue, passive=True).reply_code, 404)


run_to_the_end("pika (BlockingConnection)")
