"""An MQTT client on asyncio."""

from __future__ import annotations

import asyncio
import secrets
import ssl as ssl_module
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from .. import mqtt
from .._errors import Capacity, Error, PeerError
from ._driver import Driver
from ._websocket import InvalidURI, WebSocket


#: Bytes that the client keeps of messages and subscriptions until they are acknowledged. A message longer than a part of it
#: is taken from the caller's own bytes piece by piece.
ARENA = 1 << 20
STREAMED = ARENA // 16


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message that arrived."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class MqttError(ConnectionError):
    """The connection could not be made, was refused, or was lost."""


class MqttClient(Driver, asyncio.Protocol):
    """A connection to a broker: ``async with await MqttClient.connect("localhost", 1883) as client: …``."""

    def __init__(self, max_payload: int = 16 << 20) -> None:
        self._client = mqtt.Client(arena=ARENA, in_flight=64, max_payload=max_payload, window=1 << 14)
        super().__init__(self._client)
        self._transport: asyncio.Transport | None = None
        self._websocket: WebSocket | None = None
        self._upgraded: asyncio.Future[None] = self._loop.create_future()
        self._rx = b""
        self._connack: asyncio.Future[bool] = self._loop.create_future()
        self._pending: dict[tuple[str, int], asyncio.Future[Any]] = {}
        self._room = asyncio.Event()
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self._incoming: tuple[mqtt.Publish, bytearray] | None = None
        #: Payloads that are streamed, by packet identifier; at QoS 0 in their order.
        self._streams: dict[int, bytes] = {}
        self._unnumbered: deque[bytes] = deque()
        self._closed = self._loop.create_future()
        self._writable = asyncio.Event()
        self._writable.set()
        self.session_present = False
        #: Messages that were passed over, because their payload is longer than ``max_payload``.
        self.skipped = 0
        #: Bytes received and sent, TCP payload only.
        self.received = 0
        self.sent = 0

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int = 1883,
        *,
        client_id: str | None = None,
        clean_session: bool = True,
        keep_alive: int = 60,
        will: mqtt.Will | None = None,
        username: str | None = None,
        password: bytes | None = None,
        timeout: float = 10,
        ssl: ssl_module.SSLContext | bool | None = None,
        websocket: str | None = None,
        max_payload: int = 16 << 20,
    ) -> MqttClient:
        """Opens the stream and the session.

        A message with a payload longer than ``max_payload`` bytes is passed over, acknowledged and counted in ``skipped``.

        ``ssl``: over TLS, with the checks of this context (True: the system's). ``websocket``: over WebSocket, to this
        path, usually ``/mqtt``.

        Raises ``MqttError`` where the broker cannot be reached or says no.
        """
        loop = asyncio.get_running_loop()
        self = cls(max_payload)
        name = client_id if client_id is not None else f"waft-{secrets.token_hex(6)}"
        if websocket is not None:
            scheme, name_or_address = "wss" if ssl else "ws", f"[{host}]" if ":" in host else host
            try:
                self._websocket = WebSocket.client(f"{scheme}://{name_or_address}:{port}{websocket}")
            except InvalidURI as e:
                raise MqttError(str(e)) from None
        try:
            await asyncio.wait_for(loop.create_connection(lambda: self, host, port, ssl=ssl or None), timeout)
            if self._websocket is not None:
                await asyncio.wait_for(asyncio.shield(self._upgraded), timeout)
        except ssl_module.SSLError as e:
            raise MqttError(f"{host}:{port}: TLS failed: {e.reason or e}") from None
        except (OSError, TimeoutError) as e:
            if isinstance(e, MqttError):
                raise
            raise MqttError(f"no MQTT broker answers at {host}:{port} ({e or 'timed out'}): is it running?") from None
        self._client.connect(
            self.now(),
            0,
            name,
            clean_session=clean_session,
            keep_alive=keep_alive,
            will=will,
            username=username,
            password=password,
        )
        self.drain()
        try:
            self.session_present = await asyncio.wait_for(asyncio.shield(self._connack), timeout)
        except TimeoutError:
            self._abort()
            raise MqttError(f"{host}:{port} accepted the connection but does not speak MQTT 3.1.1") from None
        return self

    async def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        """Publishes; returns when it has left (QoS 0) or when the broker has acknowledged it (QoS 1, 2)."""
        streamed = len(payload) > STREAMED
        while True:
            self._check()
            try:
                if streamed:
                    number = self._client.publish_streamed(self.now(), topic, len(payload), qos, retain)
                else:
                    number = self._client.publish(self.now(), topic, payload, qos, retain)
                break
            except Capacity:
                if not self._pending:
                    raise
                self._room.clear()
                self.drain()
                await self._room.wait()
        if number is None:
            if streamed:
                self._unnumbered.append(payload)
            self.drain()
            await self._writable.wait()
        else:
            if streamed:
                self._streams[number] = payload
            await self._answer("publish", number)

    async def subscribe(self, *filters: str | tuple[str, int]) -> list[int]:
        """Subscribes; gives the granted QoS of each filter. A refused filter is 0x80."""
        self._check()
        wanted = [(f, 0) if isinstance(f, str) else f for f in filters]
        number = self._client.subscribe(self.now(), wanted)
        codes: bytes = await self._answer("subscribe", number)
        return list(codes)

    async def unsubscribe(self, *filters: str) -> None:
        """Ends subscriptions."""
        self._check()
        await self._answer("unsubscribe", self._client.unsubscribe(self.now(), list(filters)))

    async def messages(self) -> AsyncIterator[Message]:
        """Messages as they arrive, until the connection ends."""
        while (message := await self._messages.get()) is not None:
            yield message

    async def next_message(self, timeout: float | None = None) -> Message:
        """The next message."""
        message = await asyncio.wait_for(self._messages.get(), timeout)
        if message is None:
            self._messages.put_nowait(None)
            raise MqttError("the connection is closed")
        return message

    async def close(self) -> None:
        """DISCONNECT, then close. Wills are not published."""
        if not self._stopped and self._transport is not None:
            try:
                self._client.disconnect(self.now())
                self.drain()
            except Error:
                pass
            if self._websocket is not None:
                self._websocket.close()
            self._transport.close()
        if self._transport is not None:
            await self._closed

    def abort(self) -> None:
        """Cuts the connection without a word; the broker publishes the will."""
        self._abort()

    async def __aenter__(self) -> MqttClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # ---- inside ----

    def _check(self) -> None:
        if self._stopped or self._closed.done():
            raise MqttError("the connection is closed")

    async def _answer(self, what: str, number: int) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._pending[what, number] = future
        self.drain()
        return await future

    def _resolve(self, what: str, number: int, value: Any) -> None:
        future = self._pending.pop((what, number), None)
        if future is not None and not future.done():
            future.set_result(value)
        self._room.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._websocket is not None:
            self._websocket.start(transport)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._stopped:
            return
        self.received += len(data)
        if self._websocket is not None:
            data = self._websocket.received(data)
            if self._websocket.failure is not None and not self._upgraded.done():
                failure = f"no WebSocket for MQTT there: {self._websocket.failure}"
                self._upgraded.set_exception(MqttError(failure))
                self._upgraded.exception()
                self._abort()
            elif self._websocket.is_open and not self._upgraded.done():
                self._upgraded.set_result(None)
        rx = self._rx + data
        try:
            while rx and not self._stopped:
                handled = self._client.handle_all(self.now(), 0, rx)
                rx = rx[handled.consumed :]
                for event in handled.events:
                    self._event(event)
                if handled.needed or not (handled.consumed or handled.events):
                    break
                # What is left waits for acknowledgements to leave.
                self.drain()
        except PeerError as e:
            self._lost(MqttError(f"the broker broke MQTT 3.1.1: {e}"))
            self._abort()
            return
        self._rx = rx
        self.drain()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._stopped:
            self._client.connection_lost(self.now())
        self._lost(MqttError("the connection is closed" if exc is None else f"the connection is lost: {exc}"))
        if not self._closed.done():
            self._closed.set_result(None)

    def _lost(self, error: MqttError) -> None:
        self._stop()
        if not self._upgraded.done():
            self._upgraded.set_exception(error)
            self._upgraded.exception()
        if not self._connack.done():
            self._connack.set_exception(error)
            self._connack.exception()  # not everybody waits for it
        for future in self._pending.values():
            if not future.done():
                future.set_exception(error)
        self._pending.clear()
        self._room.set()
        self._writable.set()
        self._messages.put_nowait(None)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _transmit(self, peer: int, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self.sent += len(data)
            if self._websocket is not None:
                self._websocket.send(data)
            else:
                self._transport.write(data)

    def _event(self, event: mqtt.Event) -> None:
        match event:
            case mqtt.Connected(session_present):
                if not self._connack.done():
                    self._connack.set_result(session_present)
            case mqtt.Refused(code, name):
                self._lost(MqttError(f"the broker refused the connection: {name} (code {code})"))
                self._abort()
            case mqtt.Publish(payload_len=length):
                self._incoming = (event, bytearray())
                if length == 0:
                    self._deliver()
            case mqtt.Payload(data, last):
                if self._incoming is not None:
                    self._incoming[1].extend(data)
                    if last:
                        self._deliver()
            case mqtt.Skipped():
                self.skipped += 1
            case mqtt.PayloadWanted(number, offset, length):
                payload = self._unnumbered[0] if number is None else self._streams[number]
                offset += self._client.payload(self.now(), payload[offset : offset + length])
                if number is None and offset == len(payload):
                    self._unnumbered.popleft()
            case mqtt.Acknowledged(number):
                self._streams.pop(number, None)
                self._resolve("publish", number, None)
            case mqtt.Subscribed(number, codes):
                self._resolve("subscribe", number, codes)
            case mqtt.Unsubscribed(number):
                self._resolve("unsubscribe", number, None)
            case mqtt.Closed(reason):
                self._lost(MqttError(f"the connection was given up: {reason}"))
                self._abort()
            case _:
                pass

    def _deliver(self) -> None:
        if self._incoming is not None:
            publish, payload = self._incoming
            self._incoming = None
            self._messages.put_nowait(Message(publish.topic, bytes(payload), publish.qos, publish.retain))


async def publish_all(
    client: MqttClient,
    messages: Sequence[tuple[str, bytes]],
    *,
    retain: bool = True,
    window: int = 16,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Publishes many messages at QoS 1, ``window`` at a time; ``progress`` is told of payload bytes acknowledged."""
    slots = asyncio.Semaphore(window)

    async def one(topic: str, payload: bytes) -> None:
        async with slots:
            await client.publish(topic, payload, 1, retain)
        if progress is not None:
            progress(len(payload))

    async with asyncio.TaskGroup() as group:
        for topic, payload in messages:
            group.create_task(one(topic, payload))
