"""celery: a real worker process, its results over the rpc backend, and remote control."""

import os
import signal
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import amqp
from kombu import Connection

from checks import URL, WAIT_S, check, equal, names, raises, run, unique, wait_until

os.environ["CELERY_QUEUE"] = unique("celery")
from celery import chain, group  # noqa: E402
from celery.exceptions import TaskRevokedError  # noqa: E402
from celery_tasks import QUEUE, add, app, echo, fail, hold, succeed_on, survive  # noqa: E402

scratch = tempfile.TemporaryDirectory(prefix="interop-celery-")
NODE = f"{QUEUE}@interop"


def start_worker():
    return subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", "--concurrency", "2", "--hostname", NODE, "--loglevel", "INFO"],
        cwd=Path(__file__).parent, stdout=sys.stderr, stderr=sys.stderr, start_new_session=True,
    )


worker = start_worker()


def pinged():
    return app.control.ping(destination=[NODE], timeout=1)


@check("a worker starts and answers a ping over its control queue")
def ping():
    wait_until(pinged, lambda: None)
    equal(pinged(), [{NODE: {"ok": "pong"}}])


@check("a task's result comes back over the rpc backend")
def result():
    equal(add.delay(2, 3).get(timeout=WAIT_S), 5)
    equal(echo.delay("x" * 2**20).get(timeout=WAIT_S), "x" * 2**20)


@check("a hundred tasks come back, each with its own result")
def many():
    results = [add.delay(n, n) for n in range(100)]
    equal([it.get(timeout=WAIT_S) for it in results], [2 * n for n in range(100)])


@check("a group and a chain run through")
def canvas():
    equal(group(add.s(n, 1) for n in range(5))().get(timeout=WAIT_S), [1, 2, 3, 4, 5])
    equal(chain(add.s(1, 2), add.s(4), add.s(8))().get(timeout=WAIT_S), 15)


@check("a failure comes back as the exception it was")
def failure():
    equal(str(raises(ValueError, fail.delay().get, timeout=WAIT_S)), "as asked")


@check("a task that retries succeeds in the end")
def retries():
    equal(succeed_on.delay(2).get(timeout=WAIT_S), 2)


@check("a countdown is waited for by the worker, beyond its prefetch")
def countdown():
    delayed = [add.apply_async((n, 0), countdown=1) for n in range(10)]
    equal(add.delay(1, 1).get(timeout=WAIT_S), 2)
    equal([it.get(timeout=WAIT_S) for it in delayed], list(range(10)))


@check("acks_late: a task whose process is killed is delivered again, redelivered")
def late_ack():
    equal(survive.delay(os.path.join(scratch.name, "survived")).get(timeout=WAIT_S), True)


@check("remote control: inspect, rate limit, and a broadcast that adds and cancels a consumer")
def remote_control():
    inspect = app.control.inspect(destination=[NODE], timeout=2)
    equal([it["name"] for it in inspect.active_queues()[NODE]], [QUEUE])
    assert "celery_tasks.add" in inspect.registered()[NODE]
    assert inspect.stats()[NODE]["broker"]["transport"] == "amqp"
    equal(app.control.rate_limit("celery_tasks.echo", "100/s", destination=[NODE], reply=True, timeout=2)[0][NODE]["ok"][:8], "new rate")
    other = unique("celery-other")
    assert "ok" in app.control.add_consumer(other, destination=[NODE], reply=True, timeout=2)[0][NODE]
    equal(add.apply_async((1, 2), queue=other).get(timeout=WAIT_S), 3)
    assert "ok" in app.control.cancel_consumer(other, destination=[NODE], reply=True, timeout=2)[0][NODE]


@check("revoke: a task that was revoked while it waited does not run")
def revoke():
    waiting = echo.apply_async(("never",), countdown=2)
    app.control.revoke(waiting.id, destination=[NODE], reply=True, timeout=2)
    raises(TaskRevokedError, waiting.get, timeout=WAIT_S)


@check("a worker killed with SIGKILL: what it held goes to the next one, redelivered")
def killed_worker():
    global worker
    release = Path(scratch.name) / "release"
    held = [hold.delay(str(release)) for _ in range(2)]
    wait_until(lambda: len(app.control.inspect(destination=[NODE], timeout=1).active()[NODE]) == 2, lambda: None)
    # The whole process group, so that none of the pool is left to finish the tasks.
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    worker = start_worker()
    release.touch()
    equal([it.get(timeout=3 * WAIT_S) for it in held], [True, True])


@check("SIGTERM ends the worker warmly")
def warm_shutdown():
    worker.terminate()
    equal(worker.wait(timeout=WAIT_S), 0)


@check("nothing is left behind but what celery leaves: its durable queues, deleted here")
def nothing_left_behind():
    with Connection(URL) as connection:
        for name in names:
            channel = connection.channel()
            channel.queue_delete(name)
            channel.exchange_delete(name)
            raises(amqp.exceptions.NotFound, connection.channel().queue_declare, name, passive=True)


try:
    run("celery", version("celery"))
finally:
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)
    scratch.cleanup()
