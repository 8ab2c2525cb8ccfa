"""A pytest plugin that points the clients' own suites at the broker under test and prints each case as interop/run reads it."""

import os
import re
import sys
import types
from types import SimpleNamespace

import pytest

HOST, PORT = os.environ["AMQP_HOST"], int(os.environ["AMQP_PORT"])
# What the suites of aiormq and aio-pika know as their container. Its TLS port is not one: the cases that need TLS fail fast.
CONTAINER = SimpleNamespace(id="broker", host=HOST, ports={"5672/tcp": PORT, "5671/tcp": PORT})


class DockerClient:
    """Stands in for the one of aio-pika's tests/docker_client.py, which would start a container."""

    def __init__(self, _=None):
        pass

    def run(self, *_, **__):
        return CONTAINER

    def kill(self, _):
        pass

    remove = kill


def replace_docker_client():
    module = types.ModuleType("tests.docker_client")
    module.ContainerInfo = module.DockerHostInfo = SimpleNamespace
    module.DockerNotAvailableError = RuntimeError
    module.check_docker_available = lambda: CONTAINER
    module.DockerClient = DockerClient
    sys.modules[module.__name__] = module


replace_docker_client()


# aiormq's source distribution leaves out the file that defines these two.
@pytest.fixture(scope="session")
def rabbitmq_container():
    return CONTAINER


@pytest.fixture(scope="session")
def amqp_direct_url():
    from yarl import URL

    return URL(os.environ["AMQP_URL"])


class Report:
    """Prints a line for each case once it is through."""

    def __init__(self, known, lines):
        self.known, self.lines = known, lines
        self.worst = None

    def pytest_collection_modifyitems(self, config, items):
        not_run = [item for item in items if (self.reason(item.nodeid) or "").startswith("not run: ")]
        for item in not_run:
            self.lines.write(f"known suite: {item.nodeid} - {self.reason(item.nodeid)}\n")
        items[:] = [item for item in items if item not in not_run]
        config.hook.pytest_deselected(items=not_run)

    def pytest_runtest_logstart(self):
        self.worst = None

    def pytest_runtest_logreport(self, report):
        # A case has set-up, call and tear-down, and any of them can fail it.
        if (report.when == "call" or not report.passed) and (self.worst is None or self.worst.passed):
            self.worst = report
        if report.when == "teardown" and self.worst:
            self.lines.write(f"{self.line(self.worst)}\n")
            self.lines.flush()

    def line(self, report):
        name = f"suite: {report.nodeid}"
        if report.passed:
            return f"ok {name}"
        if report.skipped:
            return f"known {name} - skips itself: {report.longrepr[2].removeprefix('Skipped: ')}"
        reason = self.reason(report.nodeid)
        if reason:
            return f"known {name} - {reason}"
        crash = getattr(report.longrepr, "reprcrash", None)
        message = crash.message if crash else str(report.longrepr)
        return f"not ok {name} - {' '.join(message.split())[:300]}"

    def reason(self, name):
        return next((reason for pattern, reason in self.known if pattern.fullmatch(name)), None)


def pytest_addoption(parser):
    parser.addoption("--known", required=True, help="file of lines 'NAME - REASON', where * stands for anything")


def pytest_configure(config):
    # pytest's own output goes to standard error, the lines to what was standard output.
    lines = os.fdopen(int(os.environ["SUITE_LINES_FD"]), "w")
    config.pluginmanager.register(Report(read_known(config.getoption("known")), lines))


def read_known(path):
    known = []
    with open(path) as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                name, reason = line.strip().split(" - ", 1)
                known.append((re.compile(".*".join(map(re.escape, name.split("*")))), reason))
    return known
