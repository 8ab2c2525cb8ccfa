"""As much of AMQP 0-9-1 as it takes to have a connection with a channel for the management API to show and to close."""

import socket
import struct
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

METHOD, END = 1, b"\xce"
START, START_OK, TUNE, TUNE_OK = (10, 10), (10, 11), (10, 30), (10, 31)
OPEN, OPEN_OK, CLOSE, CLOSE_OK = (10, 40), (10, 41), (10, 50), (10, 51)
CHANNEL_OPEN, CHANNEL_OPEN_OK = (20, 10), (20, 11)


def short(text):
    return bytes([len(text)]) + text


def long(text):
    return struct.pack(">I", len(text)) + text


class Connection:
    def __init__(self, url):
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), 10)
        self.port = self.socket.getsockname()[1]
        self.socket.sendall(b"AMQP\x00\x00\x09\x01")
        self.expect(START)
        answer = f"\0{parts.username}\0{parts.password}".encode()
        self.send(0, START_OK, long(b"") + short(b"PLAIN") + long(answer) + short(b"en_US"))
        self.expect(TUNE)
        self.send(0, TUNE_OK, struct.pack(">HIH", 10, 131072, 0))
        self.send(0, OPEN, short(unquote(parts.path[1:]).encode()) + short(b"") + b"\0")
        self.expect(OPEN_OK)
        self.send(1, CHANNEL_OPEN, short(b""))
        self.expect(CHANNEL_OPEN_OK)

    def send(self, channel, method, arguments):
        payload = struct.pack(">HH", *method) + arguments
        self.socket.sendall(struct.pack(">BHI", METHOD, channel, len(payload)) + payload + END)

    def read(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def method(self):
        _, _, size = struct.unpack(">BHI", self.read(7))
        return struct.unpack(">HH", self.read(size + 1)[:4])

    def expect(self, expected):
        method = self.method()
        assert method == expected, f"expected {expected}, got {method}"

    def is_closed(self):
        """Waits for the server to close it."""
        self.expect(CLOSE)
        self.send(0, CLOSE_OK, b"")
        return True


@contextmanager
def opened(url):
    connection = Connection(url)
    try:
        yield connection
    finally:
        connection.socket.close()
