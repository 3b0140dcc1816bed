"""A CoAP peer that does nothing by itself: one socket, messages put together and looked at by hand."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable
from typing import Any

from conftest import PATIENCE

from waft import coap
from waft.coap import Code, Message

GET, POST, PUT, DELETE, FETCH = Code.GET, Code.POST, Code.PUT, Code.DELETE, Code.FETCH
OPTIONS = {
    "if_match": 1,
    "etag": 4,
    "if_none_match": 5,
    "observe": 6,
    "location_path": 8,
    "content_format": 12,
    "max_age": 14,
    "accept": 17,
    "location_query": 20,
    "block2": 23,
    "block1": 27,
    "size2": 28,
    "size1": 60,
}


def block(num: int, more: bool, szx: int) -> bytes:
    """The value of a Block option (RFC 7959 §2.2)."""
    return coap.uint(num << 4 | more << 3 | szx)


def options_of(path: str, given: dict[str, Any]) -> list[coap.Option]:
    """Uri-Path and Uri-Query of a path, and options by name: bytes as they are, numbers as unsigned integers."""
    path, _, query = path.partition("?")
    options = [(11, part.encode()) for part in path.strip("/").split("/") if part]
    options += [(15, part.encode()) for part in query.split("&") if part]
    for name, value in given.items():
        options.append((OPTIONS[name], coap.uint(value) if isinstance(value, int) else value))
    return sorted(options, key=lambda option: option[0])


def option(message: Message, name: str) -> bytes | None:
    """The value of the first option of that name."""
    return next((value for number, value in message.options if number == OPTIONS[name]), None)


def every(message: Message, name: str) -> list[bytes]:
    """The values of all options of that name."""
    return [value for number, value in message.options if number == OPTIONS[name]]


def unsigned(message: Message, name: str) -> int | None:
    """The first option of that name as a number."""
    value = option(message, name)
    return None if value is None else int.from_bytes(value, "big")


def block_of(message: Message, name: str) -> tuple[int, bool, int] | None:
    """Number, whether more follow, and size exponent."""
    bits = unsigned(message, name)
    return None if bits is None else (bits >> 4, bool(bits & 8), bits & 7)


class Wire:
    """One client's end of the wire."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", port))
        # A socket of a test before may have had the same port: its messages are remembered (RFC 7252 §4.5).
        self.mid = secrets.randbelow(1 << 16)
        self.tokens = 0

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def send(
        self, code: int, path: str = "", payload: bytes = b"", *, type: str = "CON", token: bytes | None = None, **options: Any
    ) -> Message:
        """Sends a request; gives it."""
        self.mid = self.mid + 1 & 0xFFFF
        if token is None:
            self.tokens += 1
            token = self.tokens.to_bytes(2, "big")
        message = Message(type, Code(code), self.mid, token, options_of(path, options), payload)
        self.socket.send(message.encode())
        return message

    def raw(self, data: bytes) -> None:
        """Sends these bytes."""
        self.socket.send(data)

    def receive(self, seconds: float = PATIENCE) -> Message | None:
        """The next message, or none within the time."""
        self.socket.settimeout(seconds)
        try:
            return coap.decode(self.socket.recv(1 << 16))
        except TimeoutError:
            return None

    def expect(self, check: Callable[[Message], bool] = lambda message: True, seconds: float = PATIENCE) -> Message:
        """The next message for which ``check`` holds; notifications before it are acknowledged."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            message = self.receive(left)
            if message is None:
                break
            if check(message):
                return message
            if message.type == "CON":
                self.acknowledge(message)
        raise AssertionError("the message that was expected did not come")

    def acknowledge(self, message: Message, type: str = "ACK") -> None:
        """An empty ACK or RST."""
        self.socket.send(Message(type, Code.EMPTY, message.id).encode())

    def ask(self, code: int, path: str, payload: bytes = b"", **how: Any) -> Message:
        """A request and the response on its acknowledgement, or of its NON: message ID and token are checked."""
        request = self.send(code, path, payload, **how)
        if request.type == "NON":
            return self.expect(lambda m: m.type == "NON" and m.token == request.token)
        response = self.expect(lambda m: m.id == request.id and m.type == "ACK")
        assert response.token == request.token
        return response
