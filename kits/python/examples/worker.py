"""A consumer as programs have it: a thread that reconnects, and acknowledges what its handler has done."""

import contextlib
import threading

import pika
from pika.exceptions import AMQPError


class Worker:
    """Calls `handle(channel, delivery, properties, body)` for each message of a queue; what it raises rejects the message."""

    def __init__(self, url, queue, handle, prefetch=1, consumer_tag=None):
        self.parameters = pika.URLParameters(url)
        self.queue, self.handle, self.prefetch, self.consumer_tag = queue, handle, prefetch, consumer_tag
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.connection = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        with self.lock:
            self.stopping.set()
            connection = self.connection
        if connection:
            with contextlib.suppress(AMQPError):
                connection.add_callback_threadsafe(connection.close)
        self.thread.join(10)
        assert not self.thread.is_alive()

    def _run(self):
        while not self.stopping.is_set():
            with contextlib.suppress(AMQPError, OSError), pika.BlockingConnection(self.parameters) as connection:
                with self.lock:
                    if self.stopping.is_set():
                        return
                    self.connection = connection
                channel = connection.channel()
                channel.basic_qos(prefetch_count=self.prefetch)
                channel.basic_consume(self.queue, self._on_message, consumer_tag=self.consumer_tag)
                channel.start_consuming()
            self.stopping.wait(0.05)  # Until the next attempt.

    def _on_message(self, channel, delivery, properties, body):
        try:
            self.handle(channel, delivery, properties, body)
        except Exception:
            channel.basic_reject(delivery.delivery_tag, requeue=False)
        else:
            channel.basic_ack(delivery.delivery_tag)
