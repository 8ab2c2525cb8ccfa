"""celery on quorum queues: countdowns wait in its chain of queues with a TTL and a dead-letter exchange, not in the worker."""

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import amqp
from kombu import Connection
from kombu.transport.native_delayed_delivery import CELERY_DELAYED_DELIVERY_EXCHANGE, MAX_NUMBER_OF_BITS_TO_USE, level_name

from checks import URL, WAIT_S, check, equal, names, raises, run, unique, wait_until

os.environ["CELERY_QUEUE"] = unique("celery-quorum")
os.environ["CELERY_QUORUM"] = "yes"
from celery_tasks import QUEUE, add, app, succeed_on  # noqa: E402

NODE = f"{QUEUE}@interop"
LEVELS = [level_name(level) for level in range(MAX_NUMBER_OF_BITS_TO_USE)]
worker = subprocess.Popen(
    [sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", "--concurrency", "2", "--hostname", NODE, "--loglevel", "INFO"],
    cwd=Path(__file__).parent, stdout=sys.stderr, stderr=sys.stderr, start_new_session=True,
)


def waiting():
    with Connection(URL) as connection:
        return [connection.default_channel.queue_declare(level, passive=True).message_count for level in LEVELS]


@check("a worker declares its quorum queue and the 28 queues of the delays, and answers a ping")
def ping():
    pinged = lambda: app.control.ping(destination=[NODE], timeout=1)
    wait_until(pinged, lambda: None)
    equal(pinged(), [{NODE: {"ok": "pong"}}])
    equal(waiting(), [0] * len(LEVELS))
    with Connection(URL) as connection:
        raises(amqp.exceptions.PreconditionFailed, connection.default_channel.queue_declare, QUEUE, durable=True, auto_delete=False)


@check("tasks go through a quorum queue, and their results come back")
def result():
    results = [add.delay(n, n) for n in range(30)]
    equal([it.get(timeout=WAIT_S) for it in results], [2 * n for n in range(30)])


@check("a countdown waits in the broker, level after level, and is not early")
def countdown():
    started = time.monotonic()
    delayed = {seconds: add.apply_async((seconds, 0), countdown=seconds) for seconds in [3, 2, 1]}
    far = add.apply_async((0, 0), countdown=5000)
    for seconds in [1, 2, 3]:
        equal(delayed[seconds].get(timeout=WAIT_S), seconds)
        assert time.monotonic() - started > seconds - 0.1, f"{seconds} s were over after {time.monotonic() - started:.1f} s"
    # The highest bit of 5000 is 12; quorum queues may count a little late.
    wait_until(lambda: waiting()[12] == 1, lambda: None)
    equal(sum(waiting()), 1)
    equal(far.ready(), False)


@check("a task that retries after a delay comes back through the broker")
def retries():
    equal(succeed_on.apply_async((2,), countdown=1).get(timeout=WAIT_S), 2)


@check("SIGTERM ends the worker warmly")
def warm_shutdown():
    worker.terminate()
    equal(worker.wait(timeout=WAIT_S), 0)


@check("nothing is left behind but what celery leaves: its durable queues and exchanges, deleted here")
def nothing_left_behind():
    with Connection(URL) as connection:
        for name in [*names, *LEVELS, CELERY_DELAYED_DELIVERY_EXCHANGE]:
            channel = connection.channel()
            channel.queue_delete(name)
            channel.exchange_delete(name)
            raises(amqp.exceptions.NotFound, connection.channel().queue_declare, name, passive=True)


try:
    run("celery (quorum queues)", version("celery"))
finally:
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)
