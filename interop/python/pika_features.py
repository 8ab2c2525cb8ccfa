"""pika on what queues can do beyond keeping messages: time, dead letters, priorities, and the other types of queue."""

import time
from datetime import datetime, timezone

import pika
from pika import exceptions

from checks import check, equal, raises, unique, wait_until
from pika_words import Inbox, channel, connect, drain, get, private_queue, publish, run_to_the_end, shared_queue


def ready(on, queue):
    return on.queue_declare(queue, passive=True).method.message_count


def gone(on, queue):
    """Whether a mandatory message, which is no use of the queue, finds it no more."""
    try:
        on.basic_publish("", queue, b"", mandatory=True)
    except exceptions.UnroutableError:
        return True
    return False


@check("time to live: the queue's and the message's, the shorter of both, and only at the head")
def time_to_live():
    with channel() as on:
        shorter, live = private_queue(on), private_queue(on)
        on.queue_declare(brief := unique("brief"), exclusive=True, arguments={"x-message-ttl": 100})
        publish(on, live, b"live")
        on.basic_publish("", live, b"dead", pika.BasicProperties(expiration="1"))
        publish(on, brief, b"by the queue")
        on.basic_publish("", brief, b"by the queue", pika.BasicProperties(expiration="60000"))
        on.basic_publish("", shorter, b"by the message", pika.BasicProperties(expiration="100"))
        wait_until(lambda: ready(on, brief) == ready(on, shorter) == 0, lambda: None)
        # The one behind the live message was dead long before, and is still counted.
        equal(ready(on, live), 2)
        equal(drain(on, live), [b"live"])


@check("x-expires: a queue goes when it was not used for so long, but not while it has a consumer")
def expires():
    with channel() as on:
        on.confirm_delivery()
        idle, used = unique("idle"), unique("used")
        for queue in [idle, used]:
            on.queue_declare(queue, durable=True, arguments={"x-expires": 400})
        inbox = Inbox(on, used, auto_ack=True)
        wait_until(lambda: gone(on, idle), lambda: None)
        assert not gone(on, used)
        on.basic_cancel(inbox.tag)
        wait_until(lambda: gone(on, used), lambda: None)


@check("dead letters: rejected, expired and overflowing messages arrive with their history, and their own properties kept")
def dead_letters():
    with channel() as on:
        dead, grave = unique("dead"), private_queue(on)
        on.exchange_declare(dead, "topic", auto_delete=True)
        on.queue_bind(grave, dead, "#")
        inbox = Inbox(on, grave, auto_ack=True)
        reasons = {"rejected": {}, "expired": {"x-message-ttl": 10}, "maxlen": {"x-max-length": 0}}
        for turn, (reason, arguments) in enumerate(reasons.items()):
            source = unique(reason)
            on.queue_declare(source, exclusive=True, arguments=arguments | {"x-dead-letter-exchange": dead})
            properties = pika.BasicProperties(message_id=reason, expiration="60000", headers={"CC": ["copied"], "mine": 1})
            on.basic_publish("", source, reason.encode(), properties)
            if reason == "rejected":
                on.basic_nack(get(on, source)[2], requeue=False)
            inbox.wait_for(turn + 1)
            method, properties, body = inbox[turn]
            equal((body, method.exchange, method.routing_key, method.redelivered), (reason.encode(), dead, source, False))
            equal((properties.message_id, properties.expiration, properties.headers["mine"]), (reason, None, 1))
            [death] = properties.headers["x-death"]
            assert abs(death.pop("time").timestamp() - time.time()) < 60
            equal(death, {
                "count": 1, "reason": reason, "queue": source, "exchange": "", "routing-keys": [source, "copied"],
                "original-expiration": "60000",
            })
            first = [properties.headers[f"x-first-death-{it}"] for it in ["reason", "queue", "exchange"]]
            equal(first, [reason, source, ""])


@check("delayed retry: a rejected message waits in a queue with a TTL, comes back, and is parked after three attempts")
def delayed_retry():
    with channel() as on:
        work, delay, parking = unique("work"), unique("delay"), private_queue(on)
        to = lambda key: {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": key}
        on.queue_declare(work, exclusive=True, arguments=to(delay))
        on.queue_declare(delay, exclusive=True, arguments=to(work) | {"x-message-ttl": 30})
        attempts = []

        def attempt(_, method, properties, body):
            deaths = {death["queue"]: death for death in (properties.headers or {}).get("x-death", [])}
            attempts.append({queue: (death["reason"], death["count"]) for queue, death in deaths.items()})
            if len(attempts) < 3:
                on.basic_reject(method.delivery_tag, requeue=False)
            else:
                on.basic_publish("", parking, body)
                on.basic_ack(method.delivery_tag)

        on.basic_consume(work, attempt)
        publish(on, work, b"job")
        wait_until(lambda: ready(on, parking) == 1, lambda: on.connection.process_data_events(0.02))
        equal(attempts, [{}] + [{work: ("rejected", n), delay: ("expired", n)} for n in [1, 2]])


@check("a dead-letter routing key replaces the CC header's keys, at the next death as well")
def dead_letter_routing_key():
    with channel() as on:
        dead = unique("dead")
        on.exchange_declare(dead, "direct", auto_delete=True)
        first, second, right, wrong = unique("first"), unique("second"), private_queue(on), private_queue(on)
        on.queue_declare(second, exclusive=True, arguments={"x-max-length": 0, "x-dead-letter-exchange": dead})
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": second}
        on.queue_declare(first, exclusive=True, arguments=arguments | {"x-max-length": 0})
        on.queue_bind(right, dead, second)
        on.queue_bind(wrong, dead, "copied")
        on.basic_publish("", first, b"once", pika.BasicProperties(headers={"CC": ["copied"]}))
        [[method, properties, _]] = Inbox(on, right, auto_ack=True).returned(1)
        equal(method.routing_key, second)
        equal([death["routing-keys"] for death in properties.headers["x-death"]], [[second], [first, "copied"]])
        equal(drain(on, wrong), [])


@check("a cycle of dead letters that nobody rejected ends")
def dead_letter_cycle():
    with channel() as on:
        queue = unique("cycle")
        arguments = {"x-message-ttl": 10, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
        on.queue_declare(queue, exclusive=True, arguments=arguments)
        publish(on, queue, b"round")
        wait_until(lambda: ready(on, queue) == 0, lambda: None)


@check("priorities: higher ones first, in order within one; none is 0, and more than the maximum is the maximum")
def priorities():
    with channel() as on:
        on.queue_declare(queue := unique("priorities"), exclusive=True, arguments={"x-max-priority": 5})
        for body, priority in [(b"none", None), (b"1", 1), (b"5", 5), (b"0", 0), (b"9", 9), (b"1 again", 1)]:
            on.basic_publish("", queue, body, pika.BasicProperties(priority=priority))
        first = get(on, queue)
        equal(first[0], b"5")
        on.basic_nack(first[2], requeue=True)
        equal(drain(on, queue), [b"5", b"9", b"1", b"1 again", b"none", b"0"])


@check("single active consumer: the others wait, the next in line takes over, and exclusive consumers are refused")
def single_active_consumer():
    with channel() as on, shared_queue(on, **{"x-single-active-consumer": True}) as queue:
        inboxes = [Inbox(on, queue, auto_ack=True) for _ in range(3)]
        publish(on, queue, b"1", b"2")
        equal(inboxes[0].wait_for(2), [b"1", b"2"])
        on.basic_cancel(inboxes[0].tag)
        publish(on, queue, b"3", b"4")
        equal(inboxes[1].wait_for(2), [b"3", b"4"])
        equal([len(inbox) for inbox in inboxes], [2, 2, 0])
        other = on.connection.channel()
        error = raises(exceptions.ChannelClosedByBroker, other.basic_consume, queue, print, exclusive=True)
        equal(error.reply_code, 403)


@check("quorum queue: counts the deliveries that were rejected, and dead-letters at its limit")
def quorum_queue():
    with channel() as on, shared_queue(on) as dead:
        arguments = {"x-queue-type": "quorum", "x-delivery-limit": 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
        with shared_queue(on, **arguments) as queue:
            on.confirm_delivery()
            publish(on, queue, b"poison")
            inbox = Inbox(on, queue)
            for turn in range(3):
                inbox.wait_for(turn + 1)
                method, properties, _ = inbox[turn]
                equal((method.redelivered, (properties.headers or {}).get("x-delivery-count", 0)), (turn > 0, turn))
                on.basic_reject(method.delivery_tag, requeue=True)
            [[method, properties, body]] = Inbox(on, dead, auto_ack=True).returned(1)
            equal(body, b"poison")
            equal([(it["reason"], it["queue"], it["count"]) for it in properties.headers["x-death"]], [("delivery_limit", queue, 1)])
            inbox.stays_at(3)


@check("stream: read again from the first, the last, the next, an offset and a time, by readers that do not disturb each other")
def stream():
    with channel() as on, shared_queue(on, **{"x-queue-type": "stream"}) as queue:
        on.confirm_delivery()
        # Where a time begins is decided by whole chunks; one written a second later is another.
        publish(on, queue, b"0", b"1", b"2")
        time.sleep(1.1)
        between = datetime.now(timezone.utc)
        time.sleep(1.1)
        publish(on, queue, b"3", b"4")
        expected = {"first": [0, 1, 2, 3, 4], "last": [4], "next": [5], 2: [2, 3, 4, 5], between: [3, 4, 5]}
        readers = {}
        for start in expected:
            reader = on.connection.channel()
            reader.basic_qos(prefetch_count=2)
            readers[start] = Inbox(reader, queue, arguments={"x-stream-offset": start})
        publish(on, queue, b"5")
        for start, offsets in expected.items():
            if start in ["first", "last"]:
                offsets = [*offsets, 5][:6]
            inbox = readers[start]
            for turn, offset in enumerate(offsets):
                inbox.wait_for(turn + 1)
                method, properties, body = inbox[turn]
                equal((body, properties.headers["x-stream-offset"], method.redelivered), (str(offset).encode(), offset, False))
                inbox.channel.basic_ack(method.delivery_tag)
            inbox.stays_at(len(offsets))


@check("what a stream does not do, and arguments that are wrong, are refused in the server's words")
def feature_errors():
    connection = connect()
    name = unique("refused")
    for code, text, arguments in [
        (406, f"PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue '{name}' in vhost '/': {{value_negative,-1}}", {"x-message-ttl": -1}),
        (406, f"PRECONDITION_FAILED - invalid arg 'x-expires' for queue '{name}' in vhost '/': {{value_zero,0}}", {"x-expires": 0}),
        (406, f"PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue '{name}' in vhost '/': {{max_value_exceeded,256}}", {"x-max-priority": 256}),
        (406, f"PRECONDITION_FAILED - invalid arg 'x-dead-letter-routing-key' for queue '{name}' in vhost '/': routing_key_but_no_dlx_defined",
         {"x-dead-letter-routing-key": "k"}),
        (406, f"PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue '{name}' in vhost '/' of queue type rabbit_quorum_queue",
         {"x-queue-type": "quorum", "x-max-priority": 5}),
    ]:
        error = raises(exceptions.ChannelClosedByBroker, connection.channel().queue_declare, name, durable=True, arguments=arguments)
        equal((error.reply_code, error.reply_text), (code, text))
    on = connection.channel()
    with shared_queue(on, **{"x-queue-type": "stream"}) as queue:
        error = raises(exceptions.ChannelClosedByBroker, on.basic_consume, queue, print)
        # From there on the words are another version's.
        assert error.reply_text.startswith("PRECONDITION_FAILED - consumer prefetch count is not set for "), error.reply_text
        equal(raises(exceptions.ConnectionClosedByBroker, connection.channel().basic_get, queue).reply_code, 540)
    on = connect().channel()
    on.basic_publish("", name, b"", pika.BasicProperties(expiration="soon"))
    error = raises(exceptions.ChannelClosedByBroker, on.queue_declare, "", exclusive=True)
    equal((error.reply_code, error.reply_text), (406, "PRECONDITION_FAILED - invalid expiration 'soon': no_integer"))
    on.connection.close()


run_to_the_end("pika (queue features)")
