"""An MQTT client and a broker on asyncio."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from .. import mqtt
from .._errors import Capacity, Error, PeerError
from ._driver import Driver, offer


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
        self._client = mqtt.Client(arena=1 << 20, in_flight=64)
        super().__init__(self._client)
        self._max_payload = max_payload
        self._transport: asyncio.Transport | None = None
        self._rx = b""
        self._connack: asyncio.Future[bool] = self._loop.create_future()
        self._pending: dict[tuple[str, int], asyncio.Future[Any]] = {}
        self._room = asyncio.Event()
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self._incoming: tuple[mqtt.Publish, bytearray] | None = None
        self._closed = self._loop.create_future()
        self._writable = asyncio.Event()
        self._writable.set()
        self.session_present = False
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
    ) -> MqttClient:
        """Opens the stream and the session.

        Raises ``MqttError`` where the broker cannot be reached or says no.
        """
        loop = asyncio.get_running_loop()
        self = cls()
        name = client_id if client_id is not None else f"waft-{secrets.token_hex(6)}"
        try:
            await asyncio.wait_for(loop.create_connection(lambda: self, host, port), timeout)
        except (OSError, TimeoutError) as e:
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
        while True:
            self._check()
            try:
                number = self._client.publish(self.now(), topic, payload, qos, retain)
                break
            except Capacity:
                if not self._pending:
                    raise
                self._room.clear()
                self.drain()
                await self._room.wait()
        if number is None:
            self.drain()
            await self._writable.wait()
        else:
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

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._stopped:
            return
        self.received += len(data)
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
                if length > self._max_payload:
                    self._lost(MqttError(f"a message of {length} bytes is longer than max_payload"))
                    self._abort()
                self._incoming = (event, bytearray())
                if length == 0:
                    self._deliver()
            case mqtt.Payload(data, last):
                if self._incoming is not None:
                    self._incoming[1].extend(data)
                    if last:
                        self._deliver()
            case mqtt.Acknowledged(number):
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


class _Connection(asyncio.Protocol):
    """One client of a :class:`BrokerServer`."""

    def __init__(self, server: BrokerServer) -> None:
        self._server = server
        self.peer = -1
        self.transport: asyncio.Transport | None = None
        self.rx = bytearray()
        self.received = 0
        self.sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server._accepted(self)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self.rx += data
        self._server._received(self)

    def pause_writing(self) -> None:
        self._server.broker.pause(self.peer)

    def resume_writing(self) -> None:
        self._server._resumed(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server._gone(self)


class BrokerServer(Driver):
    """An MQTT broker on a TCP port: ``async with await serve_broker() as server: …``."""

    def __init__(self, broker: mqtt.Broker, on_event: Callable[[mqtt.BrokerEvent], None] | None = None) -> None:
        super().__init__(broker)
        self.broker = broker
        self._on_event = on_event
        self._connections: dict[int, _Connection] = {}
        self._next = 0
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Listens. Port 0 takes a free one: see :attr:`port`."""
        self._server = await self._loop.create_server(lambda: _Connection(self), host, port)

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server is not None, "call start() first"
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        """Publishes as the host."""
        self.broker.publish(self.now(), topic, payload, qos, retain)
        self.drain()

    async def close(self) -> None:
        """Stops listening and cuts all connections."""
        self._stop()
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections.values()):
            if connection.transport is not None:
                connection.transport.abort()
        if self._server is not None:
            await self._server.wait_closed()

    async def __aenter__(self) -> BrokerServer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # ---- inside ----

    def _accepted(self, connection: _Connection) -> None:
        connection.peer = self._next
        self._next = (self._next + 1) & 0xFFFF_FFFF
        try:
            self.broker.accept(self.now(), connection.peer)
        except Error:
            if connection.transport is not None:
                connection.transport.abort()
            return
        self._connections[connection.peer] = connection
        self.drain()

    def _received(self, connection: _Connection) -> None:
        if self._stopped:
            return
        rx = connection.rx
        try:
            while rx and connection.peer in self._connections:
                handled = offer(rx, lambda head: self.broker.handle_input(self.now(), connection.peer, head))
                if handled.event is not None:
                    self._event(handled.event)
                elif handled.consumed == 0:
                    break
        except Error:
            # The broker itself asks for the connection to be closed.
            rx.clear()
        self.drain()

    def _resumed(self, connection: _Connection) -> None:
        if not self._stopped and connection.peer in self._connections:
            self.broker.resume(connection.peer)
            self.drain()
            # What it would not take while the client did not read.
            self._received(connection)

    def _gone(self, connection: _Connection) -> None:
        if self._connections.get(connection.peer) is connection:
            del self._connections[connection.peer]
            if not self._stopped:
                self.broker.connection_lost(self.now(), connection.peer)
                self.drain()

    def _transmit(self, peer: int, data: bytes) -> None:
        connection = self._connections.get(peer)
        if connection is None or connection.transport is None:
            return
        connection.sent += len(data)
        connection.transport.write(data)

    def _event(self, event: mqtt.BrokerEvent) -> None:
        if isinstance(event, mqtt.CloseConnection):
            connection = self._connections.pop(event.peer, None)
            if connection is not None and connection.transport is not None:
                connection.transport.close()
        if self._on_event is not None:
            self._on_event(event)


async def serve_broker(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    broker: mqtt.Broker | None = None,
    on_event: Callable[[mqtt.BrokerEvent], None] | None = None,
) -> BrokerServer:
    """A broker that listens; ``server.port`` tells where."""
    server = BrokerServer(broker if broker is not None else mqtt.Broker(), on_event)
    await server.start(host, port)
    return server


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
