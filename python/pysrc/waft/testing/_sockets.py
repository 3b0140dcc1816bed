"""Servers for programs under test: real sockets on the loopback, in a thread of their own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

from .. import mqtt
from .._machine import Transmit
from ..aio.broker import BrokerServer, serve_broker
from ._script import RUDE_SERVERS, Part, Script

T = TypeVar("T")


class _Threaded:
    """An event loop in a thread, for as long as the ``with`` statement lasts."""

    #: Where it listens.
    host = "127.0.0.1"
    port = 0

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> None:
        raise NotImplementedError

    async def _stop(self) -> None:
        raise NotImplementedError

    @property
    def address(self) -> str:
        """As command lines take it."""
        return f"{self.host}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._call(self._start())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._call(self._stop())
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


class BenchBroker(_Threaded):
    """Our broker on a free port: ``with BenchBroker() as broker: connect(broker.host, broker.port)``.

    It may be used from tests with and without an event loop. ``settings`` are those of :class:`waft.mqtt.Broker`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self._settings = settings
        self._server: BrokerServer | None = None

    async def _start(self) -> None:
        self._server = await serve_broker(self.host, broker=mqtt.Broker(**self._settings))
        self.port = self._server.port

    async def _stop(self) -> None:
        await self._running.close()

    @property
    def _running(self) -> BrokerServer:
        assert self._server is not None, "use it in a with statement"
        return self._server

    def _ask(self, question: Callable[[BrokerServer], T]) -> T:
        async def ask() -> T:
            return question(self._running)

        return self._call(ask())

    def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        """Publishes as the broker's host."""
        self._ask(lambda server: server.publish(topic, payload, qos, retain))

    def retained(self, filter: str = "#") -> dict[str, bytes]:
        """The retained messages that match."""
        return {topic: payload for topic, payload, _ in self._ask(lambda server: server.broker.retained(filter))}

    @property
    def stats(self) -> mqtt.BrokerStats:
        """What it holds and has done."""
        return self._ask(lambda server: server.broker.stats)

    def cut(self) -> None:
        """Breaks all connections, as a network does: wills are published, sessions stay."""

        def cut(server: BrokerServer) -> None:
            for connection in list(server._connections.values()):
                if connection.transport is not None:
                    connection.transport.abort()

        self._ask(cut)


class RudeServer(_Threaded):
    """A TCP server that plays a script to whoever connects; ``what`` names one of :data:`RUDE_SERVERS`, or is one.

    With ``hang_up`` it closes the connection when it has said everything.
    """

    def __init__(self, what: str | Iterable[Part], *, hang_up: bool = False) -> None:
        super().__init__()
        self._parts = RUDE_SERVERS[what] if isinstance(what, str) else (lambda parts=tuple(what): parts)
        self._hang_up = hang_up
        self._tasks: set[asyncio.Task[None]] = set()
        #: One for each connection, in order; see their ``received``.
        self.scripts: list[Script] = []

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def _stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        script = Script(*self._parts())
        self.scripts.append(script)
        try:
            await self._play(script, reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _play(self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            now = int(self._loop.time() * 1_000_000)
            while isinstance(out := script.poll_output(now), Transmit):
                writer.write(out.data)
                await writer.drain()
            if script.is_over and self._hang_up:
                writer.close()
                await writer.wait_closed()
                return
            wait = None if out.at is None else max(out.at - now, 0) / 1_000_000
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    data = await reader.read(65_536)
                    if not data:
                        return
                    script.handle_input(now, 0, data)
