"""An MQTT client and a broker on asyncio."""

from __future__ import annotations

import asyncio
import secrets
import ssl as ssl_module
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from .. import mqtt
from .._errors import Capacity, Error, Misuse, PeerError
from ._driver import Driver, offer
from ._state import StateFile
from ._websocket import InvalidURI, WebSocket

#: Bytes of a connection that wait for the broker to take them, besides a packet; no more is read from it then.
MAX_UNTAKEN = 1 << 20

#: Bytes that wait for a client to read them; no more is read from it then. MQTT's own stop before: these are pongs.
MAX_UNREAD = 1 << 18

#: Seconds that a client has to read what was sent to it before its connection was closed.
LINGER = 5.0


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
        self._websocket: WebSocket | None = None
        self._upgraded: asyncio.Future[None] = self._loop.create_future()
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
        ssl: ssl_module.SSLContext | bool | None = None,
        websocket: str | None = None,
    ) -> MqttClient:
        """Opens the stream and the session.

        ``ssl``: over TLS, with the checks of this context (True: the system's). ``websocket``: over WebSocket, to this
        path, usually ``/mqtt``.

        Raises ``MqttError`` where the broker cannot be reached or says no.
        """
        loop = asyncio.get_running_loop()
        self = cls()
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


@dataclass(frozen=True, slots=True)
class Allow:
    """Let the client in; ``acl`` says what it may publish and subscribe to, instead of the broker's own."""

    acl: str | None = None


@dataclass(frozen=True, slots=True)
class Deny:
    """Refuse the client by a return code (MQTT 3.1.1 §3.2.2.3): 4 bad user name or password, 5 not authorized."""

    code: int = 5


Authenticator = Callable[[mqtt.Authenticate], Allow | Deny | Awaitable[Allow | Deny]]


class _Connection(asyncio.Protocol):
    """One client of a :class:`BrokerServer`."""

    def __init__(self, server: BrokerServer, websocket: bool) -> None:
        self._server = server
        self.websocket = WebSocket.server(server.max_message) if websocket else None
        self._is_stuck = False
        self._lingering: asyncio.TimerHandle | None = None
        self.peer = -1
        self.transport: asyncio.Transport | None = None
        self.rx = bytearray()
        #: With fewer bytes than these there is nothing new for the broker.
        self.wanted = 0
        self.received = 0
        self.sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.websocket is not None:
            self.websocket.start(transport)
        self._server._accepted(self)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.websocket is not None:
            data = self.websocket.received(data)
        self.rx += data
        self._server._received(self)

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.sent += len(data)
        if self.websocket is not None:
            self.websocket.send(data)
        else:
            self.transport.write(data)

    def close(self) -> None:
        """Closes when all has been sent, to a client that reads; at once what another would hold open for ever."""
        assert self.transport is not None
        if self._is_stuck:
            self.transport.abort()
            return
        if self.websocket is not None:
            self.websocket.close()
        self.transport.close()
        self._lingering = asyncio.get_running_loop().call_later(LINGER, self.transport.abort)

    def pause_writing(self) -> None:
        self._is_stuck = True
        self._server.broker.pause(self.peer)

    def resume_writing(self) -> None:
        self._is_stuck = False
        self._server._resumed(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
        self._server._gone(self)


class BrokerServer(Driver):
    """An MQTT broker on TCP, TLS and WebSocket ports: ``async with await serve_broker() as server: …``."""

    def __init__(
        self,
        broker: mqtt.Broker,
        on_event: Callable[[mqtt.BrokerEvent], None] | None = None,
        authenticate: Authenticator | None = None,
    ) -> None:
        super().__init__(broker)
        self.broker = broker
        self._on_event = on_event
        self._authenticate = authenticate
        self._connections: dict[int, _Connection] = {}
        self._next = 0
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._state: StateFile | None = None
        self._writer: asyncio.Task[None] | None = None
        self._failure: asyncio.Future[None] = self._loop.create_future()
        bounds = broker.bounds
        packet = int(bounds["max_packet"] or 0) + 5
        self._max_rx = MAX_UNTAKEN + packet
        self._patience = int(bounds["connect_timeout"] or 0) / 1_000_000
        #: Bytes of a WebSocket message at the most: any packet that the broker takes comes in one, if it likes.
        self.max_message = max(MAX_UNTAKEN, packet + int(bounds["max_payload"] or 0))
        #: What was found in the state file: sessions, retained messages, bytes of a write that was cut off.
        self.restored = (0, 0, 0)

    def keep(self, path: Path) -> None:
        """Keeps the state in a file, and takes up what is there. Before anything else; the broker is ``persistent``."""
        self._state = StateFile(path)
        try:
            self.restored = self.broker.restore(self.now(), self._state.read())
            if self.restored[2]:
                self._state.keep_copy()
            self._state.replace(self.broker.compact())
            self.broker.recorded(self.now())
        except BaseException:
            self._state.close()
            self._state = None
            raise

    async def start(
        self, host: str, port: int, *, ssl: ssl_module.SSLContext | None = None, websocket: bool = False
    ) -> int:
        """Listens, as often as it is called; gives the port (0 takes a free one)."""
        # TLS has as long to begin as a CONNECT has to come.
        server = await self._loop.create_server(
            lambda: _Connection(self, websocket),
            host,
            port,
            ssl=ssl,
            ssl_handshake_timeout=None if ssl is None else max(self._patience, 0.1),
            ssl_shutdown_timeout=None if ssl is None else LINGER,
        )
        self._servers.append(server)
        self.drain()
        return int(server.sockets[0].getsockname()[1])

    @property
    def port(self) -> int:
        """The first port it listens on."""
        assert self._servers, "call start() first"
        return int(self._servers[0].sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        """Publishes as the host."""
        self.broker.publish(self.now(), topic, payload, qos, retain)
        self.drain()

    async def failed(self) -> None:
        """Waits until the state cannot be written, and raises why, an ``OSError``. All connections are cut then."""
        await asyncio.shield(self._failure)

    async def close(self) -> None:
        """Stops listening and cuts all connections. With a state file, wills are published at the next start."""
        self._stop()
        for server in self._servers:
            server.close()
        for connection in list(self._connections.values()):
            if connection.transport is not None:
                connection.transport.abort()
        for server in self._servers:
            await server.wait_closed()
        for task in self._tasks:
            task.cancel()
        if self._writer is not None:
            await asyncio.wait([self._writer])
        if self._state is not None:
            self._state.close()
            self._state = None
        if not self._failure.done():
            self._failure.cancel()

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
        if len(rx) < connection.wanted:
            return self._hold(connection)
        while True:
            needed, sent = 0, connection.sent
            try:
                while rx and connection.peer in self._connections:
                    handled = offer(rx, lambda head: self.broker.handle_input(self.now(), connection.peer, head))
                    if handled.consumed == 0:
                        needed = handled.needed
                        break
            except Error:
                # The broker itself asks for the connection to be closed.
                rx.clear()
            self.drain()
            # What it would not take before acknowledgements had left, it may now.
            if not rx or needed or connection.sent == sent or self._stopped:
                break
        connection.wanted = len(rx) + needed
        self._hold(connection)

    def _hold(self, connection: _Connection) -> None:
        """Reads no more from a connection whose bytes are not taken, or whose client does not read."""
        transport = connection.transport
        if transport is None or transport.is_closing():
            return
        full = len(connection.rx) > self._max_rx or transport.get_write_buffer_size() > MAX_UNREAD
        if full and connection.peer in self._connections:
            if transport.is_reading():
                transport.pause_reading()
        elif not transport.is_reading():
            transport.resume_reading()

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
        if connection is not None and connection.transport is not None:
            connection.write(data)

    def _event(self, event: mqtt.BrokerEvent) -> None:
        match event:
            case mqtt.Record(data):
                self._writer = self._loop.create_task(self._record(data))
                return
            case mqtt.Authenticate():
                task = self._loop.create_task(self._answer(event))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                return
            case mqtt.CloseConnection(peer):
                connection = self._connections.pop(peer, None)
                if connection is not None and connection.transport is not None:
                    connection.close()
        if self._on_event is not None:
            self._on_event(event)

    async def _answer(self, question: mqtt.Authenticate) -> None:
        verdict: Allow | Deny = Deny(3)
        try:
            if self._authenticate is not None:
                given = self._authenticate(question)
                verdict = await given if isinstance(given, Awaitable) else given
        finally:
            # Whatever went wrong with the question, the client gets an answer.
            if not self._stopped:
                self._answered(question.peer, verdict)

    def _answered(self, peer: int, verdict: Allow | Deny) -> None:
        try:
            if isinstance(verdict, Allow):
                self.broker.allow(self.now(), peer, verdict.acl)
            else:
                self.broker.deny(self.now(), peer, verdict.code)
        except Misuse:
            return  # it has gone, or waited too long
        except ValueError:
            # Rights that cannot be read give none.
            self.broker.deny(self.now(), peer, 3)
            raise
        finally:
            self.drain()
        if (connection := self._connections.get(peer)) is not None:
            self._received(connection)

    async def _record(self, data: bytes) -> None:
        assert self._state is not None, "call keep() first"
        try:
            await asyncio.to_thread(self._state.append, data)
            self.broker.recorded(self.now())
            if self._state.is_bloated:
                pieces = self.broker.compact()
                self.drain()
                await asyncio.to_thread(self._state.replace, pieces)
                self.broker.recorded(self.now())
        except Exception as e:
            # What cannot be kept is not acknowledged.
            if not self._failure.done():
                self._failure.set_exception(e)
                self._failure.exception()
            self._stop()
            for connection in list(self._connections.values()):
                if connection.transport is not None:
                    connection.transport.abort()
            return
        self._writer = None
        self.drain()
        for connection in [c for c in self._connections.values() if c.rx]:
            self._received(connection)


async def serve_broker(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    broker: mqtt.Broker | None = None,
    on_event: Callable[[mqtt.BrokerEvent], None] | None = None,
    authenticate: Authenticator | None = None,
    state: Path | None = None,
    ssl: ssl_module.SSLContext | None = None,
    websocket: bool = False,
) -> BrokerServer:
    """A broker that listens; ``server.port`` tells where, ``server.start()`` adds ports.

    ``authenticate`` is asked about every client, ``state`` is the file in which everything survives a restart. A
    ``broker`` of your own has to be ``ask_host`` for the one and ``persistent`` for the other.
    """
    if broker is None:
        seed = secrets.randbits(64)
        broker = mqtt.Broker(seed=seed, ask_host=authenticate is not None, persistent=state is not None)
    server = BrokerServer(broker, on_event, authenticate)
    if state is not None:
        server.keep(state)
    try:
        await server.start(host, port, ssl=ssl, websocket=websocket)
    except BaseException:
        await server.close()
        raise
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
