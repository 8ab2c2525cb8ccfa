"""Debian's prometheus scrapes the broker and is asked what it has found; promtool says what it thinks of the text."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from base64 import b64encode
from pathlib import Path

from words import HOST, PORT, equal, run

WAIT_S = 30


def fetch(path):
    authorization = b64encode(b"guest:guest").decode()
    request = urllib.request.Request(f"http://{HOST}:{PORT}{path}", headers={"Authorization": f"Basic {authorization}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def put(path, body):
    authorization = b64encode(b"guest:guest").decode()
    headers = {"Authorization": f"Basic {authorization}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{HOST}:{PORT}{path}", json.dumps(body).encode(), headers, method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


def is_understood():
    for path in ("/metrics", "/metrics/per-object", "/metrics/detailed?family=queue_coarse_metrics"):
        done = subprocess.run(["promtool", "check", "metrics"], input=fetch(path), capture_output=True, text=True, timeout=30)
        # It has opinions on RabbitMQ's names, which are what they are; errors are about the text.
        assert "error while linting" not in done.stdout + done.stderr, done.stdout + done.stderr


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def is_scraped():
    put("/api/queues/%2F/prometheus.q", {"durable": True})
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "prometheus.yml"
        config.write_text(
            "scrape_configs:\n"
            "  - job_name: rabbitmq\n    scrape_interval: 1s\n    metrics_path: /metrics/per-object\n"
            f"    basic_auth: {{username: guest, password: guest}}\n    static_configs: [{{targets: ['{HOST}:{PORT}']}}]\n"
        )
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"]
        process = subprocess.Popen(command, stdout=sys.stderr, stderr=sys.stderr)
        try:
            found = asked(port, 'rabbitmq_queue_messages_ready{queue="prometheus.q",vhost="/"}')
            equal(found["value"][1], "0")
            equal(asked(port, "up")["value"][1], "1")
            assert asked(port, "rabbitmq_identity_info")["metric"]["rabbitmq_node"]
        finally:
            process.terminate()
            process.wait(10)


def asked(port, query):
    """The first series of an answer, when there is one."""
    address = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.request.quote(query)}"
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            result = []
        if result:
            return result[0]
        time.sleep(0.1)
    raise AssertionError(f"prometheus has nothing for {query}")


if not shutil.which("prometheus"):
    sys.exit("prometheus is not installed")
version = subprocess.run(["prometheus", "--version"], capture_output=True, text=True).stdout.split()[2]
run("prometheus", version, [("understands every page of metrics", is_understood), ("scrapes the broker", is_scraped)])
