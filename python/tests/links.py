"""A host for the MQTT client that shows every step: one socket, no threads, and a stream that can be cut at any byte."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import PATIENCE

from waft import mqtt
from waft._machine import Timeout, Transmit


class Link:
    """A client and its connections, one after the other."""

    def __init__(self, port: int, client_id: str, *, clean: bool = True, manual_ack: bool = False) -> None:
        self.port = port
        self.client_id = client_id
        self.clean = clean
        self.client = mqtt.Client(manual_ack=manual_ack, arena=2 << 20)
        self.socket: socket.socket | None = None
        self.rx = b""
        #: What it told, a message being one pair of its beginning and its payload.
        self.told: list[Any] = []
        self.messages: list[tuple[mqtt.Publish, bytes]] = []

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *exc: object) -> None:
        self.cut()

    @staticmethod
    def now() -> int:
        return time.monotonic_ns() // 1000

    def connect(self, **how: Any) -> bool:
        """Opens a connection; gives whether the broker had kept the session."""
        self.socket = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rx = b""
        self.client.connect(self.now(), 0, self.client_id, clean_session=self.clean, **how)
        event = self.wait(mqtt.Connected, mqtt.Refused)
        assert isinstance(event, mqtt.Connected), event
        return event.session_present

    def drain(self, at_most: int | None = None) -> int:
        """Sends what is to be sent, or only the first bytes of it; gives how many bytes left."""
        assert self.socket is not None
        left = 0
        while not isinstance(out := self.client.poll_output(self.now()), Timeout):
            if isinstance(out, Transmit):
                data = out.data if at_most is None else out.data[: max(at_most - left, 0)]
                self.socket.sendall(data)
                left += len(data)
            else:
                self.told.append(out)
        return left

    def turn(self, seconds: float) -> None:
        """Sends, waits for bytes once, and takes them in."""
        assert self.socket is not None
        self.drain()
        if (at := self.client.next_timeout()) is not None:
            seconds = min(seconds, (at - self.now()) / 1_000_000)
        self.socket.settimeout(max(seconds, 0.001))
        try:
            got = self.socket.recv(1 << 16)
        except TimeoutError:
            self.client.handle_timeout(self.now())
            self.drain()
            return
        assert got, "the broker closed the connection"
        self.rx += got
        while self.rx:
            handled = self.client.handle_input(self.now(), 0, self.rx)
            self.rx = self.rx[handled.consumed :]
            match handled.event:
                case mqtt.Publish() as publish:
                    self.messages.append((publish, b""))
                case mqtt.Payload(data):
                    publish, before = self.messages[-1]
                    self.messages[-1] = (publish, before + data)
                case None if handled.consumed == 0:
                    break
                case None:
                    pass
                case event:
                    self.told.append(event)
        self.drain()

    def run(self, what: str, check: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Until ``check`` holds."""
        end = time.monotonic() + seconds
        while not check():
            if (left := end - time.monotonic()) <= 0:
                pytest.fail(f"{what} did not happen: {self.told}, {[m[0] for m in self.messages]}")
            self.turn(min(left, 0.2))

    def rest(self, seconds: float) -> None:
        """Goes on for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.turn(left)

    def wait(self, *kinds: type) -> Any:
        """The next event of these kinds."""
        self.run(f"one of {kinds}", lambda: any(isinstance(event, kinds) for event in self.told))
        event = next(event for event in self.told if isinstance(event, kinds))
        self.told.remove(event)
        return event

    def subscribe(self, *filters: tuple[str, int]) -> list[int]:
        """Subscribes; gives what was granted."""
        number = self.client.subscribe(self.now(), list(filters))
        answer = self.wait(mqtt.Subscribed)
        assert answer.id == number
        return list(answer.codes)

    def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        """Publishes, until it is acknowledged."""
        number = self.client.publish(self.now(), topic, payload, qos, retain)
        self.drain()
        if number is not None:
            assert self.wait(mqtt.Acknowledged) == mqtt.Acknowledged(number)

    def next_message(self) -> tuple[mqtt.Publish, bytes]:
        """The next whole message."""
        self.run("a message", self._has_message)
        return self.messages.pop(0)

    def _has_message(self) -> bool:
        return bool(self.messages) and len(self.messages[0][1]) == self.messages[0][0].payload_len

    def close(self) -> None:
        """DISCONNECT, then the end of the stream."""
        assert self.socket is not None
        self.client.disconnect(self.now())
        self.drain()
        self.socket.shutdown(socket.SHUT_WR)
        self.socket.settimeout(PATIENCE)
        while self.socket.recv(1 << 16):
            pass
        self.cut()

    def cut(self) -> None:
        """The stream breaks: what has been sent has been, nothing more comes."""
        if self.socket is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
            self.socket.close()
            self.socket = None
            self.client.connection_lost(self.now())
