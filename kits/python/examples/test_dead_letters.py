"""A dead-letter flow: an invoice that nobody can read, that waits too long, or that is one too many ends where somebody looks."""

import json

import pika
import pytest
from worker import Worker

LONGEST = 3
HOUR = 3600


def declare(channel):
    channel.exchange_declare("dead", "fanout", durable=True)
    channel.queue_declare("invoices.dead", durable=True)
    channel.queue_bind("invoices.dead", "dead")
    channel.queue_declare("invoices", durable=True, arguments={
        "x-dead-letter-exchange": "dead", "x-message-ttl": HOUR * 1000, "x-max-length": LONGEST})


def publish(channel, name, body=b'{"amount": 12}'):
    channel.basic_publish("", "invoices", body, pika.BasicProperties(message_id=name, delivery_mode=2))


def dead(broker):
    """Who is there, and why."""
    messages = (message["properties"] for message in broker.messages("invoices.dead"))
    return [(properties["message_id"], properties["headers"]["x-first-death-reason"]) for properties in messages]


def test_what_cannot_be_read_is_put_aside_and_the_rest_goes_on(leveret_broker, channel):
    amounts = []
    declare(channel)
    publish(channel, "broken", b"{")
    publish(channel, "good")
    with Worker(leveret_broker.amqp_url, "invoices", lambda _c, _d, _p, body: amounts.append(json.loads(body)["amount"])):
        leveret_broker.settle("invoices")
    assert amounts == [12]
    assert dead(leveret_broker) == [("broken", "rejected")]


def test_what_nobody_takes_for_an_hour_is_put_aside(leveret_broker, channel):
    declare(channel)
    publish(channel, "forgotten")
    leveret_broker.wait_for("enqueued", queue="invoices")
    leveret_broker.advance(HOUR - 1)
    assert dead(leveret_broker) == []
    leveret_broker.advance(1)
    assert dead(leveret_broker) == [("forgotten", "expired")]
    assert "dead-lettered" in leveret_broker.story("forgotten")


@pytest.mark.parametrize("surplus", [1, 2])
def test_the_oldest_gives_way_where_there_are_too_many(leveret_broker, channel, surplus):
    declare(channel)
    names = [f"invoice-{number}" for number in range(LONGEST + surplus)]
    for name in names:
        publish(channel, name)
    leveret_broker.wait_for("enqueued", queue="invoices.dead", count=surplus)
    assert dead(leveret_broker) == [(name, "maxlen") for name in names[:surplus]]
