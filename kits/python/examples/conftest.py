"""What the examples share."""

import contextlib

import pika
import pytest


@pytest.fixture
def channel(leveret_broker):
    connection = pika.BlockingConnection(pika.URLParameters(leveret_broker.amqp_url))
    yield connection.channel()
    # A test that crashes the broker has closed it.
    with contextlib.suppress(pika.exceptions.AMQPError):
        connection.close()
