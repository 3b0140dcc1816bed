"""MQTT over WebSocket (MQTT 3.1.1 §6, RFC 6455), both roles, for a transport that somebody else owns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidURI
from websockets.frames import Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

#: What the client offers, ``[MQTT-6.0.0-3]``, and the server selects, ``[MQTT-6.0.0-4]``.
SUBPROTOCOL = Subprotocol("mqtt")

#: The largest message that a client takes in, in however many frames. A packet may come in several.
MAX_MESSAGE = 1 << 20

_quiet = logging.getLogger("waft.websocket")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


class WebSocket:
    """Turns bytes of the transport into bytes of the MQTT stream and back.

    Where frames begin and end says nothing about packets, ``[MQTT-6.0.0-2]``: what they carry is one stream.
    """

    def __init__(self, protocol: ServerProtocol | ClientProtocol) -> None:
        self._protocol = protocol
        self._transport: asyncio.Transport | None = None
        self._close: Callable[[], None] | None = None
        # The last bytes of a request that has not ended; None when it has, and for clients.
        self._request: bytes | None = b"" if isinstance(protocol, ServerProtocol) else None
        self.is_open = False
        #: Why the opening handshake failed.
        self.failure: Exception | None = None

    @classmethod
    def server(cls, max_message: int) -> WebSocket:
        """The role of the broker. A message of more bytes, in however many frames, closes by 1009."""
        return cls(ServerProtocol(subprotocols=[SUBPROTOCOL], max_size=max_message, logger=_quiet))

    @classmethod
    def client(cls, uri: str) -> WebSocket:
        """The role of the client of ``ws://…`` or ``wss://…``."""
        return cls(ClientProtocol(parse_uri(uri), subprotocols=[SUBPROTOCOL], max_size=MAX_MESSAGE, logger=_quiet))

    def start(self, transport: asyncio.Transport, close: Callable[[], None] | None = None) -> None:
        """The transport is connected. ``close`` ends it, once; by itself it is closed."""
        self._transport = transport
        self._close = close if close is not None else transport.close
        if isinstance(self._protocol, ClientProtocol):
            self._protocol.send_request(self._protocol.connect())
            self._flush()

    def received(self, data: bytes) -> bytes:
        """Bytes came; gives those of MQTT among them. Closes the transport where that is the answer."""
        if self._request is not None:
            end = (self._request + data).find(b"\r\n\r\n")
            if end < 0:
                self._request = (self._request + data)[-3:]
            else:
                # What an impatient client sends behind its request counts from the answer on.
                end += 4 - len(self._request)
                self._request = None
                return self.received(data[:end]) + self.received(data[end:])
        self._protocol.receive_data(data)
        payload = bytearray()
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._accept(event)
            elif isinstance(event, Response):
                self._accepted()
            elif event.opcode in (Opcode.BINARY, Opcode.CONT):
                payload += event.data
            elif event.opcode is Opcode.TEXT:
                # [MQTT-6.0.0-1]: binary frames, or the connection is closed. What came behind it counts for nothing,
                # and the other side's goodbye is not waited for.
                self._protocol.fail(1003, "MQTT comes in binary frames")
                self._flush()
                self._end()
                break
        self._flush()
        return bytes(payload)

    def send(self, data: bytes) -> None:
        """Sends bytes of MQTT, in one binary frame: ``[MQTT-6.0.0-1]``."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_binary(data)
            self._flush()

    def close(self) -> None:
        """Says goodbye; the transport is closed by whoever owns it."""
        if self._protocol.state is State.OPEN:
            if isinstance(self._protocol, ServerProtocol):
                # The server closes first, whatever has come meanwhile (RFC 6455 §7.1.1).
                self._protocol.fail(1000)
            else:
                self._protocol.send_close(1000)
            self._flush()

    def _accept(self, request: Request) -> None:
        assert isinstance(self._protocol, ServerProtocol)
        response = self._protocol.accept(request)
        if response.status_code == 101 and self._protocol.subprotocol != SUBPROTOCOL:
            response = self._protocol.reject(400, "the subprotocol must be mqtt\n")
        self._protocol.send_response(response)
        self.is_open = self._protocol.state is State.OPEN

    def _accepted(self) -> None:
        if self._protocol.state is not State.OPEN:
            self.failure = self._protocol.handshake_exc
        elif self._protocol.subprotocol != SUBPROTOCOL:
            self.failure = InvalidHandshake("the server does not speak the subprotocol mqtt")
        else:
            self.is_open = True

    def _flush(self) -> None:
        if self._transport is None or self._close is None or self._transport.is_closing():
            return
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._end()
                return
        if self._protocol.handshake_exc is not None and isinstance(self._protocol, ServerProtocol):
            self._end()

    def _end(self) -> None:
        close, self._close = self._close, None
        if close is not None:
            close()


__all__ = ["InvalidURI", "WebSocket"]
