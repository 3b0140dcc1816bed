"""A relay for UDP on loopback: a link with loss, delay and the like between programs that have sockets."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from ._link import Link

Address = tuple[str, int]

#: A socket's buffer: a burst is not to be lost but by the link.
BUFFER = 1 << 21


@dataclass(frozen=True, slots=True)
class Passed:
    """A datagram that was offered to the relay: whether on its way to the server, and how many copies of it went on."""

    to_server: bool
    data: bytes
    copies: int


class Relay:
    """Stands in for a UDP server, and does to datagrams both ways what its ``link`` says::

        async with Relay(server_port, Link(loss=0.1, delay=0.02, seed=7)) as relay:
            await client.get(f"coap://127.0.0.1:{relay.port}/large")

    ``back``: the link from the server, where it is not the same. ``rate``: bytes a second, each way; ``queue``: bytes that wait for it, beyond which datagrams are dropped. Each way draws
    from a seed of its own, so that the fate of its n-th datagram is the same with the same seed.
    It listens on loopback, runs in the event loop and has no threads. ``seen`` keeps what went by.
    """

    def __init__(
        self,
        port: int,
        link: Link | None = None,
        *,
        back: Link | None = None,
        rate: float | None = None,
        queue: int = 1 << 16,
    ) -> None:
        link = link if link is not None else Link()
        self._server = ("127.0.0.1", port)
        self._links = (link, back if back is not None else dataclasses.replace(link, seed=link.seed ^ 0x5EED))
        self._rate = rate
        self._queue = queue
        #: When each direction has sent what it was given.
        self._free = [0.0, 0.0]
        self._front: socket.socket | None = None
        self._clients: dict[Address, socket.socket] = {}
        self.seen: list[Passed] = []

    @property
    def port(self) -> int:
        """Where clients send to."""
        assert self._front is not None, "enter it first"
        return int(self._front.getsockname()[1])

    async def __aenter__(self) -> Relay:
        self._front = self._open(self._from_client)
        self._front.bind(("127.0.0.1", 0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for one in (self._front, *self._clients.values()):
            if one is not None:
                loop.remove_reader(one)
                one.close()
        self._front = None
        self._clients.clear()

    def _open(self, readable: Callable[[], None]) -> socket.socket:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        asyncio.get_running_loop().add_reader(one, readable)
        return one

    def _from_client(self) -> None:
        # An ICMP error shows up here: a port that is closed is as good as loss.
        with contextlib.suppress(OSError):
            while self._front is not None:
                data, client = self._front.recvfrom(1 << 16)
                if client not in self._clients:
                    upstream = self._open(lambda: self._from_server(client))
                    upstream.connect(self._server)
                    self._clients[client] = upstream
                self._carry(True, client, data)

    def _from_server(self, client: Address) -> None:
        with contextlib.suppress(OSError):
            while client in self._clients:
                self._carry(False, client, self._clients[client].recv(1 << 16))

    def _carry(self, to_server: bool, client: Address, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        arrivals = self._links[0 if to_server else 1].carry(data)
        waits = 0.0
        if self._rate is not None and arrivals:
            side = int(to_server)
            now = loop.time()
            start = max(now, self._free[side])
            if (start - now) * self._rate > self._queue:
                arrivals = []
            else:
                self._free[side] = start + len(data) / self._rate
                waits = self._free[side] - now
        self.seen.append(Passed(to_server, data, len(arrivals)))
        for after, copy in arrivals:
            seconds = waits + after / 1_000_000
            if seconds > 0:
                loop.call_later(seconds, self._deliver, to_server, client, copy)
            else:
                self._deliver(to_server, client, copy)

    def _deliver(self, to_server: bool, client: Address, data: bytes) -> None:
        """What is on its way when the relay is left is lost."""
        with contextlib.suppress(OSError):
            if to_server and client in self._clients:
                self._clients[client].send(data)
            elif not to_server and self._front is not None:
                self._front.sendto(data, client)
