"""Starts the binary, stops it, and asks it over /api/test. Standard library only."""

import base64
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote, urlencode

START_SECONDS = 30
STOP_SECONDS = 10
# Longer than any wait that the broker is asked for.
ANSWER_SECONDS = 30
CREDENTIALS = "guest:guest"


class LeveretError(Exception):
    """What the broker refused."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status, self.reason = status, reason


class NotInTime(LeveretError, AssertionError):
    """What was waited for did not come about; the text says what did."""


class StartError(Exception):
    """The binary is not there, or has ended instead of serving; the text has its log."""


def binary():
    """The path of the binary: $LEVERET_BINARY, what this package has brought along, or the first on the PATH."""
    told = os.environ.get("LEVERET_BINARY")
    if told:
        return told
    for scripts in (sysconfig.get_path("scripts"), os.path.dirname(sys.executable)):
        candidate = os.path.join(scripts, "leveret")
        if os.access(candidate, os.X_OK):
            return candidate
    found = shutil.which("leveret")
    if not found:
        raise StartError("there is no binary: neither in this environment nor on the PATH, and LEVERET_BINARY is not set")
    return found


class Leveret:
    """A running broker.

    with Leveret() as broker:
        pika.BlockingConnection(pika.URLParameters(broker.amqp_url))
    """

    def __init__(self, *options, clock="virtual", executable=None):
        """Starts it on free ports of the loopback interface; `options` go to `leveret serve`."""
        self._scratch = tempfile.TemporaryDirectory(prefix="leveret-", ignore_cleanup_errors=True) \
            if sys.version_info >= (3, 10) else tempfile.TemporaryDirectory(prefix="leveret-")
        self.log_path = Path(self._scratch.name) / "log"
        ready_path = Path(self._scratch.name) / "ready.json"
        command = [
            executable or binary(), "serve", "--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0",
            "--test-api", "--clock", clock, "--ready-file", str(ready_path), "--until-stdin-closes", *map(str, options),
        ]
        # What configures brokers elsewhere on this machine is not meant for this one.
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("RABBITMQ_", "LEVERET_"))}
        try:
            with open(self.log_path, "wb") as log:
                # Nothing is ever written to the pipe: it closes when this process ends, however it does, and the broker ends with it.
                self._process = subprocess.Popen(
                    command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log)
        except OSError as error:
            self._scratch.cleanup()
            raise StartError(f"cannot start {command[0]}: {error}") from None
        try:
            ready = self._await_ready(ready_path)
        except BaseException:
            self.stop()
            raise
        self.host, port = ready["amqp"].rsplit(":", 1)
        self.port = int(port)
        self.amqp_url = f"amqp://{CREDENTIALS}@{ready['amqp']}/%2F"
        self.http_url = f"http://{CREDENTIALS}@{ready['http']}"
        self._base = f"http://{ready['http']}"
        self._headers = {
            "Authorization": "Basic " + base64.b64encode(CREDENTIALS.encode()).decode(),
            "Content-Type": "application/json",
        }
        # A proxy of the environment has no business with the loopback interface.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.faults = Faults(self)

    def _await_ready(self, path):
        """What the ready file says; it appears whole."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return json.loads(path.read_text())
            except FileNotFoundError:
                pass
            code = self._process.poll()
            if code is not None:
                raise StartError(f"leveret ended with {code}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise StartError(f"leveret did not serve within {START_SECONDS} s:\n{self.log()}")
            time.sleep(0.001)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def pid(self):
        return self._process.pid

    def log(self):
        """What it has logged so far."""
        return self.log_path.read_text(errors="replace")

    def stop(self):
        """Asks it to end, and waits until it has; once is enough. Its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process.stdin.close()
        self._scratch.cleanup()
        return self._process.returncode

    def request(self, method, path, body=None, accept="application/json"):
        """The answer of the HTTP API, read if it is JSON: `request("GET", "/api/queues")`."""
        request = urllib.request.Request(self._base + path, method=method, headers={**self._headers, "Accept": accept})
        if body is not None or method in ("POST", "PUT"):
            request.data = json.dumps(body or {}).encode()
        try:
            with self._opener.open(request, timeout=ANSWER_SECONDS) as response:
                text = response.read().decode()
                is_json = response.headers.get_content_type() == "application/json"
                return json.loads(text) if is_json and text else text
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error.code, error.read().decode(errors="replace")) from None

    # Between tests

    def reset(self, vhost=None, keep="nothing", connections="close"):
        """Begins again, as after the first start: with nothing declared, no fault, no alarm, and an empty journal.

        With `keep="definitions"` what is declared stays, and messages go; with a `vhost` only that one is reset.
        """
        self.request("POST", "/api/test/reset", _given(vhost=vhost, keep=keep, connections=connections))
        if vhost is None:
            if self.request("GET", "/api/test").get("faults"):
                self.faults.clear()
            self.alarms(memory=False, disk=False)
            self.request("DELETE", "/api/test/journal")

    # Time

    def now(self):
        """The broker's time."""
        return datetime.fromtimestamp(self.request("GET", "/api/test/clock")["now"] / 1000, timezone.utc)

    def advance(self, seconds=0, to=None, sockets=False):
        """Lets time pass, by seconds (or a timedelta), or up to a datetime, and says what was due: `[{"what", "queue", "count", …}]`.

        When it returns, all of that has happened. With `sockets` time passes for heartbeats as well.
        """
        by = seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)
        target = {"to": _timestamp(to)} if to is not None else {"ms": by // timedelta(milliseconds=1)}
        return self.request("POST", "/api/test/clock/advance", {**target, "sockets": sockets})["fired"]

    def advance_to_next(self):
        """Lets time pass until something is due."""
        return self.request("POST", "/api/test/clock/advance", {"to_next": True})["fired"]

    def freeze(self):
        """Time stands still, as it does from the start."""
        self.request("PUT", "/api/test/clock", {"frozen": True})

    def unfreeze(self):
        """Time goes on by itself, from where it is."""
        self.request("PUT", "/api/test/clock", {"frozen": False})

    def set(self, time):
        """Moves the clock to a datetime, which is not in its past."""
        self.request("PUT", "/api/test/clock", {"now": _timestamp(time)})

    # States

    def snapshot(self, vhost=None, id=None, file=None):
        """Takes one, of a virtual host or of all; what it returns is for `restore`."""
        return self.request("POST", "/api/test/snapshots", _given(vhost=vhost, id=id, file=file))["id"]

    def restore(self, snapshot, connections="close"):
        """Goes back to a snapshot."""
        self.request("POST", f"/api/test/snapshots/{_quoted(snapshot)}/restore", {"connections": connections})

    def crash(self, unsynced="lost", seed=None):
        """Dies and comes back on the same ports: connections are gone, what is durable is not."""
        self.request("POST", "/api/test/crash", _given(unsynced=unsynced, seed=seed))

    def disconnect(self, connection):
        """Closes a connection from the broker's side; the journal and `messages` say their names."""
        self.request("DELETE", f"/api/connections/{_quoted(connection)}")

    def alarms(self, memory=False, disk=False):
        """Raises alarms, or clears them. Connections that publish are not read from until then, so they cannot be closed either."""
        self.request("PUT", "/api/test/alarms", {"memory": memory, "disk": disk})

    # What has happened

    def journal(self, **filters):
        """What has become of messages: `journal(queue="orders", event="acked")`; docs/TEST_API.md has filters and events."""
        return self.request("GET", "/api/test/journal?" + urlencode(filters, doseq=True))["events"]

    def story(self, message):
        """All that happened to one message, as text; it is named by the journal's number or by its message_id."""
        return self.request("GET", f"/api/test/journal/story/{_quoted(message)}", accept="text/plain")

    def wait_for(self, event, count=1, timeout=5, since=None, **match):
        """Waits until the journal has so many events: `wait_for("acked", queue="orders", count=5)`. NotInTime otherwise."""
        wanted = {"match": {"event": event, **match}, "count": count, "timeout_ms": round(timeout * 1000)}
        return self.request("POST", "/api/test/journal/wait", {**wanted, **_given(since=since)})["events"]

    def settle(self, *queues, vhost="/", timeout=5):
        """Waits until nothing is ready, unacked or unconfirmed; in these queues, or in all. NotInTime otherwise."""
        body = {"vhost": vhost, "timeout_ms": round(timeout * 1000)}
        self.request("POST", "/api/test/settle", {**body, **({"queues": list(queues)} if queues else {})})

    def messages(self, queue, vhost="/", state="ready"):
        """Looks at messages without touching them; `state="unacked"` says who has which. Bodies that are on disk alone are not shown."""
        return self.request("GET", f"/api/test/queues/{_quoted(vhost)}/{_quoted(queue)}/messages?state={state}")["messages"]


class Faults:
    """Faults on demand: `broker.faults.add({"kind": "close-connection", "code": 320}, match={"queue": "orders"}, times=1)`."""

    def __init__(self, broker):
        self._broker = broker

    def add(self, action, **rule):
        """Adds a rule, and returns its id; docs/TEST_API.md has what there is."""
        return self._broker.request("POST", "/api/test/faults", {**rule, "action": action})["ids"][0]

    def list(self):
        """The rules, with how often each was hit."""
        return self._broker.request("GET", "/api/test/faults")

    def remove(self, id):
        self._broker.request("DELETE", f"/api/test/faults/{_quoted(id)}")

    def clear(self):
        self._broker.request("DELETE", "/api/test/faults")


def _refusal(status, text):
    try:
        reason = json.loads(text)["reason"]
    except (ValueError, KeyError, TypeError):
        reason = text or f"status {status}"
    if not isinstance(reason, str):
        reason = json.dumps(reason)
    return (NotInTime if status == 408 else LeveretError)(status, reason)


def _given(**arguments):
    return {name: value for name, value in arguments.items() if value is not None}


def _quoted(part):
    return quote(str(part), safe="")


def _timestamp(time):
    if time.tzinfo is None:
        raise ValueError("a time needs a time zone: datetime.now(timezone.utc)")
    return time.isoformat(timespec="milliseconds")
