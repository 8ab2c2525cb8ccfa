"""Retry with back-off: a failed order waits 1, 10 and 60 seconds for its next attempt, and is put aside after the last."""

import pika
from worker import Worker

WAITS = [1, 10, 60]


def declare(channel):
    channel.queue_declare("orders", durable=True)
    channel.queue_declare("orders.failed", durable=True)
    for seconds in WAITS:
        # An order waits here until it expires, which takes it back to its queue.
        back = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "orders"}
        channel.queue_declare(f"orders.retry.{seconds}", durable=True, arguments={"x-message-ttl": seconds * 1000, **back})


def with_retries(handle):
    """A handler for a Worker: `handle(body)`, and what it raises leads to the next attempt."""

    def attempt(channel, _delivery, properties, body):
        headers = properties.headers or {}
        attempts = headers.get("attempts", 0)
        try:
            handle(body)
        except Exception as error:
            queue = f"orders.retry.{WAITS[attempts]}" if attempts < len(WAITS) else "orders.failed"
            properties.headers = {"attempts": attempts + 1, "error": str(error)}
            channel.basic_publish("", queue, body, properties)

    return attempt


def publish(channel):
    channel.basic_publish("", "orders", b"two carrots", pika.BasicProperties(message_id="order-1", delivery_mode=2))


def test_three_more_attempts_with_growing_distance(leveret_broker, channel):
    def fail(_body):
        raise RuntimeError("the shop is closed")

    declare(channel)
    with Worker(leveret_broker.amqp_url, "orders", with_retries(fail)):
        publish(channel)
        for attempts, seconds in enumerate(WAITS, 1):
            leveret_broker.wait_for("acked", queue="orders", count=attempts)
            # Not a millisecond earlier.
            assert leveret_broker.advance(seconds - 0.001) == []
            assert [(fired["what"], fired["queue"]) for fired in leveret_broker.advance(0.001)] == [
                ("message-expired", f"orders.retry.{seconds}")]
        leveret_broker.wait_for("enqueued", queue="orders.failed")

    starts = [event["time"] for event in leveret_broker.journal(queue="orders", event="delivered")]
    assert [(start - starts[0]) / 1000 for start in starts] == [0, 1, 11, 71]
    [failed] = leveret_broker.messages("orders.failed")
    assert failed["properties"]["headers"]["error"] == "the shop is closed"


def test_no_attempt_after_a_success(leveret_broker, channel):
    outcomes = [False, True]

    def fail_once(_body):
        if not outcomes.pop(0):
            raise RuntimeError("the shop is closed")

    declare(channel)
    with Worker(leveret_broker.amqp_url, "orders", with_retries(fail_once)):
        publish(channel)
        leveret_broker.wait_for("acked", queue="orders")
        leveret_broker.advance(1)
        leveret_broker.settle()
        # Nothing is due in the next year either.
        assert leveret_broker.advance(365 * 86400) == []
    assert outcomes == []
