"""A consumer that is gone before it has acknowledged: the message comes back, and its work is not done twice."""

import threading

import pika
from worker import Worker


class Till:
    """Charges each order once, however often its message comes."""

    def __init__(self):
        self.charged = []
        self.seen = set()
        self.has_charged, self.may_go_on = threading.Event(), threading.Event()

    def handle(self, _channel, _delivery, properties, _body):
        if properties.message_id in self.seen:
            return
        self.seen.add(properties.message_id)
        self.charged.append(properties.message_id)
        self.has_charged.set()
        assert self.may_go_on.wait(10)


def test_an_order_is_charged_once_though_it_comes_twice(leveret_broker, channel):
    till = Till()
    channel.queue_declare("orders", durable=True)
    with Worker(leveret_broker.amqp_url, "orders", till.handle):
        channel.basic_publish("", "orders", b"", pika.BasicProperties(message_id="order-1", delivery_mode=2))
        assert till.has_charged.wait(10)
        # It has done its work, and its connection is lost before it can say so.
        [unacked] = leveret_broker.messages("orders", state="unacked")
        leveret_broker.disconnect(unacked["connection"])
        [requeued] = leveret_broker.wait_for("requeued", queue="orders")
        assert requeued["reason"] == "connection-closed"
        till.may_go_on.set()
        leveret_broker.settle("orders")

    first, second = leveret_broker.journal(queue="orders", event="delivered")
    assert not first.get("redelivered") and second["redelivered"]
    assert first["message"] == second["message"] and first["connection"] != second["connection"]
    assert till.charged == ["order-1"]
