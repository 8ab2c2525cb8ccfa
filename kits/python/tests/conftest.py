"""What the tests share."""

import contextlib

import pika
import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def channel(leveret_broker):
    connection = pika.BlockingConnection(pika.URLParameters(leveret_broker.amqp_url))
    yield connection.channel()
    # A test that resets or crashes the broker has closed it.
    with contextlib.suppress(pika.exceptions.AMQPError):
        connection.close()
