"""pika's SelectConnection: a program of callbacks on an event loop that it runs itself."""

import functools
import socket

import pika

from checks import URL, WAIT_S, check, equal, names, run, unique


class Loop:
    """An event loop that runs until a check says it is done, and what its connections were closed with."""

    def __init__(self):
        self.ioloop = pika.adapters.select_connection.IOLoop()
        self.connections, self.failure, self.finished = [], None, False

    def connect(self, on_channel, on_error=None, **changes):
        parameters = pika.URLParameters(URL)
        for name, value in changes.items():
            setattr(parameters, name, value)
        connection = pika.SelectConnection(
            parameters,
            on_open_callback=lambda it: it.channel(on_open_callback=self.guard(on_channel)),
            on_open_error_callback=lambda _, error: self.guard(on_error or self.fail)(error),
            on_close_callback=self.guard(lambda _, error: on_error(error) if on_error and not self.finished else None),
            custom_ioloop=self.ioloop,
        )
        self.connections.append(connection)
        return connection

    def guard(self, callback):
        """The callback, whose exceptions end the loop and fail the check."""

        @functools.wraps(callback)
        def guarded(*arguments):
            try:
                callback(*arguments)
            except Exception as error:
                self.fail(error)

        return guarded

    def fail(self, error):
        self.failure = error
        self.ioloop.stop()

    def done(self):
        self.finished = True
        self.ioloop.stop()

    def run(self):
        self.ioloop.call_later(WAIT_S, lambda: self.fail(TimeoutError(f"not done within {WAIT_S} s")))
        self.ioloop.start()
        for connection in self.connections:
            if connection.is_open:
                connection.close()
                connection.add_on_close_callback(lambda *_: self.ioloop.stop())
                self.ioloop.start()
        if self.failure:
            raise self.failure
        assert self.finished, "the loop ended early"


def looping(function):
    """Runs a check that only sets callbacks up."""

    @functools.wraps(function)
    def on_a_loop():
        loop = Loop()
        function(loop)
        loop.run()

    return on_a_loop


@check("publish, consume, ack and nack: in order, requeued in place, redelivered")
@looping
def consume_and_requeue(loop):
    seen = []

    def start(channel):
        channel.queue_declare("", exclusive=True, callback=lambda frame: consume(channel, frame.method.queue))

    def consume(channel, queue):
        channel.basic_qos(prefetch_count=3)
        for body in [b"1", b"2", b"3"]:
            channel.basic_publish("", queue, body)
        channel.basic_consume(queue, loop.guard(deliver))

    def deliver(channel, method, _, body):
        seen.append((body, method.redelivered))
        if len(seen) == 3:
            channel.basic_ack(1)
            channel.basic_nack(3, multiple=True, requeue=True)
        if len(seen) == 5:
            equal(seen, [(b"1", False), (b"2", False), (b"3", False), (b"2", True), (b"3", True)])
            channel.basic_ack(0, multiple=True)
            loop.done()

    loop.connect(start)


@check("publisher confirms: every publish is acked once, a return comes before its ack")
@looping
def confirms(loop):
    count, events, acked = 100, [], set()

    def start(channel):
        channel.add_on_return_callback(lambda _, method, __, body: events.append((method.reply_code, body)))
        channel.confirm_delivery(loop.guard(confirmed), callback=lambda _: publish(channel))

    def publish(channel):
        for _ in range(count - 1):
            channel.basic_publish("amq.fanout", "", b"to nobody")
        channel.basic_publish("", "nowhere", b"returned", mandatory=True)

    def confirmed(frame):
        ack = frame.method
        assert isinstance(ack, pika.spec.Basic.Ack), ack
        tags = range(max(acked, default=0) + 1 if ack.multiple else ack.delivery_tag, ack.delivery_tag + 1)
        acked.update(tags)
        if count in tags:
            equal(events, [(312, b"returned")])
        if len(acked) == count:
            equal(acked, set(range(1, count + 1)))
            loop.done()

    loop.connect(start)


@check("fan-out: an exchange with three queues, and a consumer on each")
@looping
def fan_out(loop):
    exchange, seen, consuming = unique("fanout"), [], []

    def start(channel):
        def declare(_):
            for _ in range(3):
                channel.queue_declare("", exclusive=True, callback=bind)

        def bind(frame):
            queue = frame.method.queue
            channel.queue_bind(queue, exchange, callback=lambda _: channel.basic_consume(queue, deliver, callback=consume_ok))

        def consume_ok(frame):
            consuming.append(frame)
            if len(consuming) == 3:
                channel.basic_publish(exchange, "", b"news")

        def deliver(_, method, __, body):
            seen.append((method.consumer_tag, body))
            if len(seen) == 3:
                equal({tag for tag, _ in seen}, {frame.method.consumer_tag for frame in consuming})
                loop.done()

        channel.exchange_declare(exchange, "fanout", auto_delete=True, callback=declare)

    loop.connect(start)


@check("RPC between two connections on one loop, over direct reply-to")
@looping
def rpc(loop):
    def serve(channel):
        def answer(_, method, properties, body):
            reply = pika.BasicProperties(correlation_id=properties.correlation_id)
            channel.basic_publish("", properties.reply_to, body.upper(), reply)
            channel.basic_ack(method.delivery_tag)

        def consume(frame):
            queue = frame.method.queue
            channel.basic_consume(queue, answer, callback=lambda _: loop.connect(lambda client: ask(client, queue)))

        channel.queue_declare("", exclusive=True, callback=consume)

    def ask(channel, queue):
        def answered(_, __, properties, body):
            equal((properties.correlation_id, body), ("42", b"QUESTION"))
            loop.done()

        def send(_):
            channel.basic_publish("", queue, b"question", pika.BasicProperties(reply_to=REPLY_TO, correlation_id="42"))

        channel.basic_consume(REPLY_TO, loop.guard(answered), auto_ack=True, callback=send)

    loop.connect(serve)


REPLY_TO = "amq.rabbitmq.reply-to"


@check("connection loss: the loop hears of it, reconnects, and the message comes back redelivered")
@looping
def connection_loss(loop):
    queue, connections = unique("queue"), []

    def start(channel):
        channel.queue_declare(queue, durable=True, callback=lambda _: consume(channel))

    def consume(channel):
        channel.basic_publish("", queue, b"precious")
        channel.basic_consume(queue, loop.guard(cut_off))

    def cut_off(_, method, __, ___):
        equal(method.redelivered, False)
        connections[0]._transport._sock.shutdown(socket.SHUT_RDWR)

    def lost(error):
        assert isinstance(error, pika.exceptions.StreamLostError), repr(error)
        loop.connect(lambda channel: channel.basic_consume(queue, loop.guard(again)))

    def again(channel, method, _, body):
        equal((body, method.redelivered), (b"precious", True))
        channel.basic_ack(method.delivery_tag)
        channel.queue_delete(queue, callback=lambda _: loop.done())

    connections.append(loop.connect(start, lost))


@check("404 closes the channel and leaves the connection's other channels alone")
@looping
def not_found(loop):
    def start(channel):
        channel.add_on_close_callback(loop.guard(closed))
        channel.queue_declare("interop.missing", passive=True)

    def closed(channel, error):
        equal((error.reply_code, error.reply_text), (404, "NOT_FOUND - no queue 'interop.missing' in vhost '/'"))
        channel.connection.channel(on_open_callback=lambda other: other.queue_declare("", exclusive=True, callback=fine))

    def fine(_):
        loop.done()

    loop.connect(start)


@check("530 closes the connection: a consumer tag used twice")
@looping
def duplicate_tag(loop):
    def start(channel):
        channel.queue_declare("", exclusive=True, callback=lambda frame: consume_twice(channel, frame.method.queue))

    def consume_twice(channel, queue):
        channel.basic_consume(queue, print, consumer_tag="twin")
        channel._consumers.clear()
        channel.basic_consume(queue, print, consumer_tag="twin")

    def closed(error):
        equal(error.reply_code, 530)
        loop.done()

    loop.connect(start, closed)


@check("a wrong password and an unknown vhost reach the open-error callback")
@looping
def refused(loop):
    def wrong_password(error):
        assert isinstance(error, (pika.exceptions.ProbableAuthenticationError, pika.exceptions.ConnectionClosedByBroker)), error
        assert "403" in str(error), error
        loop.connect(print, loop.guard(unknown_vhost), virtual_host="interop.missing")

    def unknown_vhost(error):
        assert "530" in str(error) and "interop.missing" in str(error), error
        loop.done()

    loop.connect(print, wrong_password, credentials=pika.PlainCredentials("guest", "wrong"))


@check("heartbeats of one second keep an idle connection open")
@looping
def heartbeats(loop):
    def start(channel):
        loop.ioloop.call_later(3.5, loop.guard(lambda: channel.queue_declare("", exclusive=True, callback=lambda _: loop.done())))

    loop.connect(start, loop.fail, heartbeat=1)


@check("deleting a queue cancels its consumer")
@looping
def cancel_notification(loop):
    queue = unique("queue")

    def start(channel):
        channel.add_on_cancel_callback(lambda _: loop.done())
        channel.queue_declare(queue, durable=True)
        channel.basic_consume(queue, print, callback=lambda _: channel.queue_delete(queue))

    loop.connect(start)


@check("nothing is left behind")
@looping
def nothing_left_behind(loop):
    missing = [(name, kind) for name in names for kind in ["queue_declare", "exchange_declare"]]

    def look(channel):
        name, kind = missing.pop()

        def closed(_, error):
            equal(error.reply_code, 404)
            loop.done() if not missing else channel.connection.channel(on_open_callback=loop.guard(look))

        channel.add_on_close_callback(loop.guard(closed))
        getattr(channel, kind)(name, passive=True)

    loop.connect(look)


run("pika (SelectConnection)", pika.__version__)
