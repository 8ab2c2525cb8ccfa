"""Fixtures: `leveret`, one broker for the session, and `leveret_broker`, the same one as after its first start for each test."""

import pytest

from .broker import Leveret

EVENTS_SHOWN = 100
# What a line of the journal shows beside the event, if it is there.
SHOWN = ["queue", "exchange", "routing_key", "reason", "consumer_tag", "delivery_tag", "redelivered", "count"]


@pytest.fixture(scope="session")
def leveret_options():
    """Options of `leveret serve` beside the fixture's own; override it to add some."""
    return []


@pytest.fixture(scope="session")
def leveret(leveret_options):
    """A broker on free ports, with a clock that the tests move."""
    with Leveret(*leveret_options) as broker:
        yield broker


@pytest.fixture
def leveret_broker(leveret):
    """The session's broker, in which nothing has happened yet."""
    leveret.reset()
    return leveret


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that failed shows what the broker saw."""
    outcome = yield
    report = outcome.get_result()
    broker = getattr(item, "funcargs", {}).get("leveret_broker")
    if broker is not None and call.when == "call" and report.failed:
        report.sections.append(("what the broker saw", _saw(broker)))


def _saw(broker):
    try:
        events = broker.journal(limit=100_000)
    except Exception as error:  # The report of the failure matters more than this.
        return f"{error}\n{broker.log()}"
    lines = [f"… {len(events) - EVENTS_SHOWN} events before"] if len(events) > EVENTS_SHOWN else []
    for event in events[-EVENTS_SHOWN:]:
        after = (event["time"] - events[0]["time"]) / 1000
        beside = " ".join(f"{name}={event[name]!r}" for name in SHOWN if name in event)
        message = f"message {event['message']}" if "message" in event else ""
        lines.append(f"{after:+10.3f} s  {event['event']:<16} {message} {beside}".rstrip())
    return "\n".join(lines)
