"""An MQTT broker on asyncio: TCP, TLS and WebSocket ports around :class:`waft.mqtt.Broker`."""

from __future__ import annotations

import asyncio
import secrets
import ssl as ssl_module
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from .. import mqtt
from .._errors import Error, Misuse
from ._driver import Driver, offer
from ._state import StateFile
from ._websocket import WebSocket

#: Bytes of a connection that wait for the broker to take them, besides a packet; no more is read from it then.
MAX_UNTAKEN = 1 << 20

#: Bytes that wait for a client to read them; no more is read from it then. MQTT's own stop before: these are pongs.
MAX_UNREAD = 1 << 18

#: Seconds that a client has to read what was sent to it before its connection was closed, and to close it too.
LINGER = 5.0

#: Bytes that it may still send meanwhile, which go nowhere.
MAX_LATE = 1 << 20

#: So many connections are waited for so at once. Others are closed as they are.
MAX_LINGERING = 256


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
        # Bytes that may still come of a connection that was ended; None while it is not.
        self._late: int | None = None
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
            self.websocket.start(transport, self._end)
        self._server._accepted(self)

    def data_received(self, data: bytes) -> None:
        if self._late is not None:
            self._late -= len(data)
            if self._late < 0 and self.transport is not None:
                self.transport.abort()
            return
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
        self._end()

    def _end(self) -> None:
        """Closes this side, and the other when its client does: a socket that is closed while something is unread is reset (RFC 1122
        §4.2.2.13), and what was sent last is lost with it. TLS sees to that itself."""
        transport, loop = self.transport, asyncio.get_running_loop()
        if self._late is not None or transport is None:
            return
        self._late = MAX_LATE
        if transport.is_closing():
            return
        if transport.can_write_eof() and len(self._server._ending) < MAX_LINGERING:
            self._server._ending.add(self)
            transport.write_eof()
            if not transport.is_reading():
                transport.resume_reading()
        else:
            transport.close()
        self._lingering = loop.call_later(LINGER, transport.abort)
        # To the broker it has gone; what came in one piece with the end is taken first.
        loop.call_soon(self._server._gone, self)

    def pause_writing(self) -> None:
        self._is_stuck = True
        self._server.broker.pause(self.peer)

    def resume_writing(self) -> None:
        self._is_stuck = False
        self._server._resumed(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
        self._server._ending.discard(self)
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
        self._ending: set[_Connection] = set()
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
        for connection in [*self._connections.values(), *self._ending]:
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
