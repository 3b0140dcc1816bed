"""A peer that says what it is told to, right or wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .._machine import Handled, Timeout, Transmit

#: What a script is made of: bytes to send; seconds to wait; or what is asked, with all that has been received, whether it
#: is time to go on (None: not yet), and what is to be sent then.
Part = bytes | float | Callable[[bytes], bytes | None]


class Script:
    """A machine that plays a script, for a :class:`~waft.testing.Pair`; ``received`` is all that it was sent."""

    def __init__(self, *parts: Part) -> None:
        self._parts = list(parts)
        self._until: int | None = None
        self.received = b""

    @property
    def is_over(self) -> bool:
        """Whether it has said everything."""
        return not self._parts

    def handle_input(self, now: int, peer: int, data: bytes) -> Handled[Any]:
        """Remembers it."""
        self.received += data
        return Handled(len(data), 0, None)

    def handle_timeout(self, now: int) -> None:
        """Nothing: ``poll_output`` looks at the time."""

    def next_timeout(self) -> int | None:
        """When it goes on."""
        return self._until

    def poll_output(self, now: int, max: int = 65_536) -> Transmit | Timeout:
        """The next thing to say."""
        while self._parts:
            part = self._parts[0]
            if isinstance(part, bytes):
                data: bytes | None = part
            elif callable(part):
                data = part(self.received)
            else:
                if self._until is None:
                    self._until = now + round(part * 1_000_000)
                if now < self._until:
                    break
                self._until, data = None, b""
            if data is None:
                break
            if len(data) > max:
                self._parts[0] = data[max:]
                return Transmit(0, data[:max])
            del self._parts[0]
            if data:
                return Transmit(0, data)
        return Timeout(self._until)


def _after(first_byte: int, answer: bytes) -> Part:
    """``answer``, when a packet that begins so has been received."""
    return lambda received: answer if bytes([first_byte]) in received else None


_CONNACK = b"\x20\x02\x00\x00"
_CONNECTED = _after(0x10, _CONNACK)

#: MQTT servers as nobody wants them, by what they do: scripts to play to a client, each new for each use.
RUDE_SERVERS: dict[str, Callable[[], Iterable[Part]]] = {
    "says nothing": lambda: (),
    "speaks HTTP": lambda: (b"HTTP/1.1 400 Bad Request\r\n\r\n",),
    "stops in the middle of CONNACK": lambda: (_after(0x10, b"\x20\x02\x00"),),
    "accepts with a reserved flag": lambda: (_after(0x10, b"\x20\x02\x02\x00"),),
    "refuses with an unknown code": lambda: (_after(0x10, b"\x20\x02\x00\x06"),),
    "accepts twice": lambda: (_CONNECTED, _CONNACK),
    "sends before it accepts": lambda: (b"\x30\x04\x00\x01ax",),
    "acknowledges what nobody sent": lambda: (_CONNECTED, b"\x40\x02\x00\x09"),
    "grants what nobody asked for": lambda: (_CONNECTED, b"\x90\x03\x00\x09\x00"),
    "sends a packet identifier of 0": lambda: (_CONNECTED, b"\x32\x06\x00\x01a\x00\x00x"),
    "sends QoS 3": lambda: (_CONNECTED, b"\x36\x06\x00\x01a\x00\x01x"),
    "sends a topic with a wildcard": lambda: (_CONNECTED, b"\x30\x04\x00\x01#x"),
    "sends a topic that is no UTF-8": lambda: (_CONNECTED, b"\x30\x04\x00\x01\xffx"),
    "sends a length of five bytes": lambda: (_CONNECTED, b"\x30\xff\xff\xff\xff\x01"),
    "sends a client's packet": lambda: (_CONNECTED, b"\xc0\x00"),
    "sends a reserved packet": lambda: (_CONNECTED, b"\xf0\x00"),
    "announces 256 MB and sends none": lambda: (_CONNECTED, b"\x30\xff\xff\xff\x7f\x00\x01a"),
    "accepts and falls silent": lambda: (_CONNECTED,),
}
