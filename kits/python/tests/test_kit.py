"""What the fixtures and the object promise, tried with pika."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pika
import pytest
from leveret import Leveret, LeveretError, NotInTime, StartError


def queues(broker):
    return [queue["name"] for queue in broker.request("GET", "/api/queues")]


@pytest.mark.parametrize("_", [1, 2])
def test_nothing_of_another_test_is_there(leveret, leveret_broker, channel, _):
    assert leveret is leveret_broker
    assert queues(leveret_broker) == [] and leveret_broker.journal() == []
    channel.queue_declare("left")
    channel.basic_publish("", "left", b"")
    leveret_broker.wait_for("enqueued", queue="left")


@pytest.mark.parametrize("_", [1, 2])
def test_no_alarm_of_another_test_is_there(leveret_broker, _):
    def alarm():
        return leveret_broker.request("GET", "/api/nodes")[0]["mem_alarm"]

    assert not alarm()
    leveret_broker.alarms(memory=True)
    assert alarm()


def test_time_passes_when_told(leveret_broker, channel):
    channel.queue_declare("q", arguments={"x-message-ttl": 60_000})
    channel.basic_publish("", "q", b"")
    leveret_broker.wait_for("enqueued", queue="q")
    start = leveret_broker.now()
    assert leveret_broker.advance(59.999) == []
    [fired] = leveret_broker.advance(timedelta(milliseconds=1))
    assert (fired["what"], fired["queue"], fired["count"]) == ("message-expired", "q", 1)
    assert leveret_broker.now() - start == timedelta(minutes=1)
    channel.basic_publish("", "q", b"")
    leveret_broker.wait_for("enqueued", queue="q", count=2)
    leveret_broker.advance_to_next()
    assert leveret_broker.now() - start == timedelta(minutes=2)

    later = start + timedelta(days=1)
    leveret_broker.set(later)
    assert leveret_broker.now() == later
    leveret_broker.advance(to=later + timedelta(days=1))
    assert leveret_broker.now() == later + timedelta(days=1)
    with pytest.raises(LeveretError) as refused:
        leveret_broker.set(start)
    assert refused.value.status == 400
    with pytest.raises(ValueError):
        leveret_broker.set(datetime(2040, 1, 1))
    leveret_broker.unfreeze()
    assert not leveret_broker.request("GET", "/api/test/clock")["frozen"]
    leveret_broker.freeze()
    assert leveret_broker.request("GET", "/api/test/clock")["frozen"]


def test_a_snapshot_is_gone_back_to(leveret_broker, channel):
    channel.queue_declare("kept", durable=True)
    snapshot = leveret_broker.snapshot()
    channel.queue_declare("later")
    leveret_broker.restore(snapshot)
    assert queues(leveret_broker) == ["kept"]
    leveret_broker.snapshot(vhost="/", id="a/b")
    leveret_broker.reset(vhost="/")
    assert queues(leveret_broker) == []
    leveret_broker.restore("a/b", connections="keep")
    assert queues(leveret_broker) == ["kept"]
    with pytest.raises(LeveretError) as refused:
        leveret_broker.restore("unknown")
    assert refused.value.status == 404


def test_reset_can_keep_what_is_declared(leveret_broker, channel):
    channel.queue_declare("q")
    channel.basic_publish("", "q", b"")
    leveret_broker.wait_for("enqueued", queue="q")
    leveret_broker.reset(keep="definitions")
    assert queues(leveret_broker) == ["q"] and leveret_broker.messages("q") == []


def test_a_crash_keeps_what_is_durable(leveret_broker, channel):
    channel.queue_declare("durable", durable=True)
    channel.queue_declare("transient")
    leveret_broker.crash()
    assert queues(leveret_broker) == ["durable"]
    with pytest.raises(pika.exceptions.AMQPError):
        channel.queue_declare("durable", passive=True)


def test_the_journal_tells(leveret_broker, channel):
    channel.queue_declare("a/b")
    channel.basic_publish("", "a/b", b"body", pika.BasicProperties(message_id="m-1"))
    [event] = leveret_broker.wait_for("enqueued", queue="a/b")
    assert event["properties"]["message_id"] == "m-1"
    assert [e["event"] for e in leveret_broker.journal(message_id="m-1")] == ["published", "routed", "enqueued"]
    assert [e["event"] for e in leveret_broker.journal(event=["routed", "enqueued"])] == ["routed", "enqueued"]
    assert 'enqueued in "a/b"' in leveret_broker.story("m-1")
    assert [message["payload"] for message in leveret_broker.messages("a/b")] == ["body"]
    with pytest.raises(NotInTime, match="expected 2 × event acked") as late:
        leveret_broker.wait_for("acked", queue="a/b", count=2, timeout=0.01)
    assert isinstance(late.value, AssertionError)

    with pytest.raises(NotInTime, match="a/b"):
        leveret_broker.settle(timeout=0.01)
    channel.basic_get("a/b", auto_ack=True)
    leveret_broker.settle("a/b")
    leveret_broker.settle()


def test_faults_happen_when_told(leveret_broker, channel):
    channel.queue_declare("q")
    channel.confirm_delivery()
    rule = leveret_broker.faults.add({"kind": "nack"}, match={"routing_key": "q"}, times=1)
    with pytest.raises(pika.exceptions.NackError):
        channel.basic_publish("", "q", b"1")
    channel.basic_publish("", "q", b"2")
    assert [fault["hits"] for fault in leveret_broker.faults.list()] == [1]
    leveret_broker.faults.remove(rule)
    leveret_broker.faults.add({"kind": "close-channel", "code": 406}, match={"method": "basic.get"})
    leveret_broker.reset()
    assert leveret_broker.faults.list() == []


def test_what_is_unacked_is_seen(leveret_broker, channel):
    channel.queue_declare("q")
    channel.basic_publish("", "q", b"")
    channel.basic_get("q")
    [unacked] = leveret_broker.messages("q", state="unacked")
    assert unacked["delivery_tag"] == 1


def test_brokers_of_their_own_with_options(tmp_path, monkeypatch):
    monkeypatch.setenv("RABBITMQ_NODE_PORT", "1")
    monkeypatch.setenv("LEVERET_CONFIG", "/nowhere")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Leveret(clock="real") as one, Leveret("--data-dir", tmp_path / "data") as other:
        assert one.port != other.port
        assert not one.request("GET", "/api/test/clock")["virtual"]
        assert (tmp_path / "data").is_dir()
        os.kill(other.pid, signal.SIGKILL)
    assert one.stop() == 0
    assert other.stop() == -signal.SIGKILL


PATIENCE = 20
STARTS_TWO = """
import json, signal
from leveret import Leveret
brokers = [Leveret(), Leveret()]
print(json.dumps([broker.pid for broker in brokers]), flush=True)
signal.pause()
"""


def test_brokers_end_with_the_process_that_is_killed(tmp_path):
    def ended(broker):
        return select.select([broker], [], [], PATIENCE)[0] == [broker]

    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", STARTS_TWO], env=environment, stdout=subprocess.PIPE) as starter:
        try:
            first, second = (os.pidfd_open(pid) for pid in json.loads(starter.stdout.readline()))
            # Halted, it would keep the first one's pipe open if it had been given it.
            signal.pidfd_send_signal(second, signal.SIGSTOP)
        finally:
            starter.kill()
    try:
        assert ended(first)
        signal.pidfd_send_signal(second, signal.SIGCONT)
        assert ended(second)
    finally:
        for broker in (first, second):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(broker, signal.SIGKILL)
            os.close(broker)


def test_what_does_not_start_says_why(tmp_path, monkeypatch):
    with pytest.raises(StartError, match="--no-such-option"):
        Leveret("--no-such-option")
    monkeypatch.setenv("LEVERET_BINARY", str(tmp_path / "missing"))
    with pytest.raises(StartError, match="missing"):
        Leveret()


def test_a_failure_shows_what_the_broker_saw(pytester):
    pytester.makepyfile(
        """
        import pika, pytest

        @pytest.fixture(scope="session")
        def leveret_options():
            return ["--log", "none"]

        def test_it(leveret_broker):
            with pika.BlockingConnection(pika.URLParameters(leveret_broker.amqp_url)) as connection:
                connection.channel().basic_publish("", "nowhere", b"")
            leveret_broker.wait_for("enqueued", timeout=0.05)
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*expected 1 × event enqueued", "*what the broker saw*", "* unroutable *message 1*nowhere*"])
