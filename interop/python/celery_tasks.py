"""The tasks that the celery program sends, and the application its worker runs."""

import os
import time

from celery import Celery

QUEUE = os.environ["CELERY_QUEUE"]

app = Celery("interop", broker=os.environ["AMQP_URL"], backend="rpc://")
app.conf.update(
    task_default_queue=QUEUE,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)
if "CELERY_QUORUM" in os.environ:
    # What celery's documentation asks of those who use quorum queues; a countdown then waits in the broker.
    app.conf.update(
        task_default_queue_type="quorum",
        task_default_exchange=QUEUE,
        task_default_exchange_type="topic",
        worker_detect_quorum_queues=True,
        broker_transport_options={"confirm_publish": True},
    )


@app.task
def add(a, b):
    return a + b


@app.task
def fail():
    raise ValueError("as asked")


@app.task(bind=True, max_retries=3, default_retry_delay=0)
def succeed_on(self, attempt):
    if self.request.retries < attempt:
        raise self.retry(countdown=0)
    return self.request.retries


@app.task(bind=True)
def survive(self, marker):
    """Dies with its worker process the first time, and tells on the second that it was delivered again."""
    if not os.path.exists(marker):
        open(marker, "w").close()
        os.kill(os.getpid(), 9)
    return self.request.delivery_info["redelivered"]


@app.task(bind=True)
def hold(self, release):
    """Runs until the file is there, and tells whether it was delivered again."""
    while not os.path.exists(release):
        time.sleep(0.05)
    return self.request.delivery_info["redelivered"]


@app.task
def echo(value):
    return value
