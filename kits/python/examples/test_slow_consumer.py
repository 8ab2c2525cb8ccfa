"""A slow consumer: it keeps one job from the others and no more, and that one only until it is given up."""

import threading

from worker import Worker

JOBS = 10
CONSUMER_TIMEOUT = 30 * 60


def test_a_consumer_that_hangs_neither_holds_up_the_others_nor_keeps_its_job(leveret_broker, channel):
    done = []
    hanging, may_go_on = threading.Event(), threading.Event()

    def hang(*_):
        hanging.set()
        assert may_go_on.wait(10)

    channel.queue_declare("jobs", durable=True, arguments={"x-queue-type": "quorum"})
    with Worker(leveret_broker.amqp_url, "jobs", hang, consumer_tag="slow"):
        channel.basic_publish("", "jobs", b"0")
        assert hanging.wait(10)
        with Worker(leveret_broker.amqp_url, "jobs", lambda _c, _d, _p, body: done.append(int(body)), consumer_tag="fast"):
            for job in range(1, JOBS):
                channel.basic_publish("", "jobs", b"%d" % job)
            # All the others are done meanwhile.
            leveret_broker.wait_for("acked", queue="jobs", consumer_tag="fast", count=JOBS - 1)
            assert done == list(range(1, JOBS))
            [unacked] = leveret_broker.messages("jobs", state="unacked")
            assert (unacked["consumer_tag"], unacked["payload"]) == ("slow", "0")

            # After half an hour the broker takes it for dead, and its job goes to who works.
            fired = leveret_broker.advance(CONSUMER_TIMEOUT + 60)
            assert "consumer-timeout" in [each["what"] for each in fired]
            leveret_broker.wait_for("acked", queue="jobs", consumer_tag="fast", count=JOBS)
            assert done[-1] == 0
            may_go_on.set()
