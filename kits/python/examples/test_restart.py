"""A broker that dies and comes back: what was confirmed is there, and what was not is published again."""

import threading

import pika
from pika.exceptions import AMQPError
from worker import Worker

ORDERS = [f"order-{number}" for number in range(500)]


class Publisher:
    """Publishes until each is confirmed, over as many connections as that takes."""

    def __init__(self, url, names):
        self.parameters = pika.URLParameters(url)
        self.pending = list(names)
        self.connections = 0
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while self.pending:
            try:
                with pika.BlockingConnection(self.parameters) as connection:
                    self.connections += 1
                    channel = connection.channel()
                    channel.queue_declare("orders", durable=True)
                    channel.confirm_delivery()
                    while self.pending:
                        # Back when the broker has confirmed it.
                        channel.basic_publish("", "orders", b"", pika.BasicProperties(message_id=self.pending[0], delivery_mode=2))
                        self.pending.pop(0)
            except (AMQPError, OSError):
                pass  # The next connection goes on with the first that is not confirmed.


def test_every_order_arrives_though_the_broker_crashes_twice(leveret_broker):
    arrived = []
    publisher = Publisher(leveret_broker.amqp_url, ORDERS)
    publisher.thread.start()
    seen = None
    for _ in range(2):
        leveret_broker.wait_for("confirmed", count=20, timeout=20, since=seen)
        leveret_broker.crash(unsynced="lost")
        # So that the second crash is not before the publisher is back.
        seen = leveret_broker.journal(event="confirmed")[-1]["seq"] + 1
    publisher.thread.join(30)
    assert not publisher.thread.is_alive() and publisher.connections == 3

    with Worker(leveret_broker.amqp_url, "orders", lambda _c, _d, properties, _b: arrived.append(properties.message_id), prefetch=50):
        leveret_broker.settle("orders", timeout=20)
    # An order whose confirm was lost with its connection comes twice; none is lost, and they come in order.
    assert list(dict.fromkeys(arrived)) == ORDERS
    assert len(arrived) <= len(ORDERS) + 2


def test_what_is_to_survive_must_be_persistent(leveret_broker, channel):
    channel.queue_declare("orders", durable=True)
    channel.queue_declare("prices", durable=False)
    channel.confirm_delivery()
    for mode in (pika.DeliveryMode.Transient, pika.DeliveryMode.Persistent):
        channel.basic_publish("", "orders", mode.name.encode(), pika.BasicProperties(delivery_mode=mode))
    leveret_broker.crash()
    assert [queue["name"] for queue in leveret_broker.request("GET", "/api/queues")] == ["orders"]
    arrived = []
    with Worker(leveret_broker.amqp_url, "orders", lambda _c, _d, _p, body: arrived.append(body)):
        leveret_broker.settle("orders")
    assert arrived == [b"Persistent"]
