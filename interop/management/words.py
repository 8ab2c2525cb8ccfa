"""What the programs share: where the API is, and how a check reads."""

import os
import traceback
from urllib.parse import urlsplit

PARTS = urlsplit(os.environ["HTTP_URL"])
HOST, PORT = PARTS.hostname, PARTS.port
AMQP_URL = os.environ["AMQP_URL"]


def run(client, version, checks):
    """Carries out the checks in their order; they build on each other."""
    print(f"client: {client} {version}", flush=True)
    for description, check in checks:
        try:
            check()
        except Exception as error:  # noqa: BLE001: whatever it is, the check has failed
            traceback.print_exc()
            print(f"not ok {description} - {type(error).__name__}: {' '.join(str(error).split())}", flush=True)
        else:
            print(f"ok {description}", flush=True)


def equal(actual, expected):
    assert actual == expected, f"expected {expected!r}, got {actual!r}"
