"""The few words that the programs share: what a check is, the names it may use, and how a run reads."""

import asyncio
import inspect
import os
import sys
import time
import traceback
import uuid
from datetime import datetime, timezone
from decimal import Decimal

URL = os.environ["AMQP_URL"]
HOST, PORT = os.environ["AMQP_HOST"], int(os.environ["AMQP_PORT"])
WAIT_S = 10
# How long a program watches for what must not come.
QUIET_S = 0.2

BODY_1_MIB = bytes(range(256)) * 4096
WHEN = datetime(2024, 2, 29, 12, 30, 45, tzinfo=timezone.utc)
# A value for each field type that Python's clients can write.
HEADERS = {
    "bool": True,
    "int": -7,
    "long": 2**40,
    "text": "häder",
    "bytes": bytearray(b"\x00\xff"),
    "decimal": Decimal("3.14"),
    "time": WHEN,
    "table": {"nested": {"deep": 1}, "empty": {}},
    "list": [1, "two", False, {"three": 3}, []],
    "void": None,
    "float": 1.5,
}

names = []
_checks = []
_run = uuid.uuid4().hex[:8]


def unique(kind):
    """A name that no other run has, remembered so that the last check can look for it."""
    names.append(f"interop.{_run}.{kind}.{len(names)}")
    return names[-1]


def check(description):
    """Marks a function as a check; it passes if it returns."""

    def register(function):
        _checks.append((description, function))
        return function

    return register


def equal(actual, expected):
    assert actual == expected, f"expected {expected!r}, got {actual!r}"


def same_headers(actual, expected):
    """The same fields and values; some clients read a time back without its zone."""
    equal(sorted(actual), sorted(expected))
    for name, value in expected.items():
        received = actual[name]
        if isinstance(received, datetime) and received.tzinfo is None:
            received = received.replace(tzinfo=timezone.utc)
        assert received == value, f"header {name}: expected {value!r}, got {received!r}"


def raises(kind, action, *arguments, **named):
    """The exception of that kind which the action must raise."""
    try:
        action(*arguments, **named)
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


async def raises_async(kind, awaitable):
    try:
        await asyncio.wait_for(awaitable, WAIT_S)
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def wait_until(condition, step):
    """Repeats the step until the condition holds."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {WAIT_S} s"
        step()


def run(client, version):
    """Runs the checks in the order they were written and prints a line for each."""
    print(f"client: {client} {version}", flush=True)
    for description, function in _checks:
        try:
            result = function()
            if inspect.iscoroutine(result):
                asyncio.run(asyncio.wait_for(result, 3 * WAIT_S))
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            text = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"not ok {description} - {text[:300]}", flush=True)
        else:
            print(f"ok {description}", flush=True)
