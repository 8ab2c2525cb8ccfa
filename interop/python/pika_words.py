"""The few words that pika's programs share."""

import contextlib

import pika
from pika.exceptions import ChannelClosedByBroker

from checks import QUIET_S, URL, check, equal, names, raises, run, unique, wait_until


def connect(**changes):
    parameters = pika.URLParameters(URL)
    for name, value in changes.items():
        setattr(parameters, name, value)
    return pika.BlockingConnection(parameters)


@contextlib.contextmanager
def channel(**changes):
    connection = connect(**changes)
    try:
        yield connection.channel()
    finally:
        if connection.is_open:
            connection.close()


@contextlib.contextmanager
def shared_queue(on, **arguments):
    """A durable queue that outlives connections, and is deleted on the way out."""
    name = unique("queue")
    on.queue_declare(name, durable=True, arguments=arguments or None)
    try:
        yield name
    finally:
        with channel() as other:
            other.queue_delete(name)


def private_queue(on):
    return on.queue_declare("", exclusive=True).method.queue


def publish(on, queue, *bodies):
    for body in bodies:
        on.basic_publish("", queue, body)


def get(on, queue):
    method, _, body = on.basic_get(queue)
    return (body, method.redelivered, method.delivery_tag) if method else None


def drain(on, queue):
    return [body for body, _, _ in iter(lambda: get(on, queue), None)]


class Inbox(list):
    """What a consumer got: (method, properties, body) in order."""

    def __init__(self, on, queue, **options):
        self.channel = on
        self.tag = on.basic_consume(queue, lambda _, *delivery: self.append(delivery), **options)

    def wait_for(self, count):
        wait_until(lambda: len(self) >= count, lambda: self.channel.connection.process_data_events(0.05))
        return [body for _, _, body in self]

    def returned(self, count):
        self.wait_for(count)
        return list(self)

    def stays_at(self, count):
        self.channel.connection.process_data_events(QUIET_S)
        equal(len(self), count)


def run_to_the_end(client):
    """Runs the program's checks, and then looks for what they left behind."""

    @check("nothing is left behind")
    def nothing_left_behind():
        connection = connect()
        for name in names:
            for look in [lambda on: on.queue_declare(name, passive=True), lambda on: on.exchange_declare(name, passive=True)]:
                equal(raises(ChannelClosedByBroker, look, connection.channel()).reply_code, 404)
        connection.close()

    run(client, pika.__version__)
