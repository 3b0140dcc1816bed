"""A CoAP client on asyncio."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from .. import coap
from .._errors import Error
from ._driver import DatagramDriver


class CoapError(ConnectionError):
    """The peer does not answer, resets, or the exchange fell apart."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    code: coap.Code
    payload: bytes
    etag: bytes | None
    #: The options of its last block.
    options: tuple[coap.Option, ...] = ()

    @property
    def content_format(self) -> int | None:
        """Its Content-Format."""
        values = [value for number, value in self.options if number == 12]
        return int.from_bytes(values[0], "big") if values else None

    @property
    def location(self) -> str | None:
        """Where something was created: path and query, percent-encoded (RFC 7252 §5.10.7)."""
        # What may stand in a segment or an argument as it is (RFC 7252 §6.5).
        path, query = (
            [quote(value, safe=safe) for n, value in self.options if n == number]
            for number, safe in ((8, "!$&'()*+,;=:@"), (20, "!$'()*+,;=:@/?"))
        )
        if not path and not query:
            return None
        return "/" + "/".join(path) + ("?" + "&".join(query) if query else "")


@dataclass(slots=True)
class _Call:
    """A request under way."""

    answers: asyncio.Queue[Answer | CoapError]
    progress: Callable[[int, int | None], None] | None
    body: bytearray
    have: int = 0
    etag: bytes | None = None
    #: Nothing more will come: it is no observation, or the server ended it.
    over: bool = False


class CoapClient(DatagramDriver):
    """CoAP requests from one UDP socket: ``async with await CoapClient.open() as client: await client.get(uri)``."""

    def __init__(self) -> None:
        self._endpoint = coap.Endpoint(seed=secrets.randbits(63))
        super().__init__(self._endpoint)
        self._calls: dict[int, _Call] = {}
        self._pings: dict[int, list[asyncio.Future[bool]]] = {}
        self._family = socket.AF_INET

    @classmethod
    async def open(cls, host: str = "0.0.0.0", port: int = 0) -> Self:
        """Binds the socket; ``"::"`` for IPv6."""
        self = cls()
        if ":" in host:
            self._family = socket.AF_INET6
        await self.bind(host, port)
        return self

    async def request(
        self,
        method: int,
        uri: str,
        payload: bytes = b"",
        *,
        options: list[coap.Option] | None = None,
        szx: int = 6,
        confirmable: bool = True,
        progress: Callable[[int, int | None], None] | None = None,
        window: int = 1,
        random_access: bool = False,
    ) -> Answer:
        """One request and its whole response, where it is long block by block, of which up to ``window`` are under way at a
        time under congestion control. ``random_access``: the server takes the blocks of a long ``payload`` in any order, and it
        is those. Raises ``CoapError``."""
        number, call = await self._start(
            method, uri, payload, options, szx, confirmable, False, progress, window, random_access
        )
        try:
            answer = await call.answers.get()
        finally:
            self._end(number)
        if isinstance(answer, CoapError):
            raise CoapError(f"{uri}: {answer}")
        return answer

    async def get(
        self,
        uri: str,
        *,
        szx: int = 6,
        progress: Callable[[int, int | None], None] | None = None,
        window: int = 16,
    ) -> Answer:
        """GET: of a long response up to ``window`` blocks are under way at a time, under congestion control."""
        return await self.request(coap.Code.GET, uri, szx=szx, progress=progress, window=window)

    async def put(
        self, uri: str, payload: bytes, *, szx: int = 6, window: int = 16, random_access: bool = False
    ) -> Answer:
        """PUT, by Block1 where it is long; up to ``window`` blocks at a time to a server that takes them in any order."""
        return await self.request(coap.Code.PUT, uri, payload, szx=szx, window=window, random_access=random_access)

    async def observe(
        self, uri: str, *, szx: int = 6, options: list[coap.Option] | None = None, confirmable: bool = True
    ) -> AsyncIterator[Answer]:
        """A representation at once and one at each change, until the iteration is left or the server ends it."""
        number, call = await self._start(coap.Code.GET, uri, b"", options, szx, confirmable, True, None, 1, False)
        try:
            while True:
                answer = await call.answers.get()
                if isinstance(answer, CoapError):
                    raise CoapError(f"{uri}: {answer}")
                yield answer
                if call.over:
                    return
        finally:
            self._end(number)

    async def ping(self, host: str, port: int = 5683) -> bool:
        """Whether a CoAP endpoint is there (RFC 7252 §4.3)."""
        peer = await self._peer(host, port)
        answer: asyncio.Future[bool] = self._loop.create_future()
        self._pings.setdefault(peer, []).append(answer)
        self._endpoint.ping(self.now(), peer)
        self.drain()
        return await answer

    async def close(self) -> None:
        """Closes the socket."""
        self._stop()
        for pings in self._pings.values():
            for ping in pings:
                if not ping.done():
                    ping.set_exception(CoapError("the client is closed"))
        for call in self._calls.values():
            call.answers.put_nowait(CoapError("the client is closed"))
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # ---- inside ----

    async def _start(
        self,
        method: int,
        uri: str,
        payload: bytes,
        options: list[coap.Option] | None,
        szx: int,
        confirmable: bool,
        observe: bool,
        progress: Callable[[int, int | None], None] | None,
        window: int,
        random_access: bool,
    ) -> tuple[int, _Call]:
        host, port, path = coap.split_uri(uri)
        peer = await self._peer(host, port)
        number = self._endpoint.request(
            self.now(),
            peer,
            method,
            path,
            payload,
            options=options or [],
            host=None if _is_address(host) else host,
            szx=szx,
            confirmable=confirmable,
            observe=observe,
            window=window,
            random_access=random_access,
        )
        call = self._calls[number] = _Call(asyncio.Queue(), progress, bytearray())
        self.drain()
        return number, call

    async def _peer(self, host: str, port: int) -> int:
        try:
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM, family=self._family)
        except OSError as e:
            raise CoapError(f"{host} cannot be found: {e.strerror or e}") from None
        return self.peers.number(found[0][4])

    def _end(self, number: int) -> None:
        if self._calls.pop(number, None) is not None and not self._stopped:
            try:
                self._endpoint.cancel(self.now(), number)
            except Error:
                pass  # it is over already
            self.drain()

    def _input(self, peer: int, data: bytes) -> None:
        handled = self._endpoint.handle_input(self.now(), peer, data)
        if handled.event is not None:
            self._event(handled.event)

    def _event(self, event: Any) -> None:
        match event:
            case coap.Response(exchange, code, options, etag, observe, offset, total, payload, last):
                call = self._calls.get(exchange)
                if call is None:
                    return
                if offset == 0:
                    call.body.clear()
                    call.have = 0
                call.etag = etag
                end = offset + len(payload)
                call.body.extend(bytes(max(end - len(call.body), 0)))
                call.body[offset:end] = payload
                call.have += len(payload)
                if call.progress is not None:
                    call.progress(call.have, total)
                if last:
                    call.over = observe is None
                    call.answers.put_nowait(Answer(code, bytes(call.body), call.etag, tuple(options)))
            case coap.Failed(exchange, reason):
                call = self._calls.get(exchange)
                if call is not None:
                    why = {"Timeout": "no answer: is the server running?", "Reset": "the server reset the request"}
                    call.answers.put_nowait(CoapError(why.get(reason, f"the exchange failed: {reason}")))
            case coap.Request(number):
                # A client serves nothing: 4.04.
                self._endpoint.respond(self.now(), number, coap.Code.NOT_FOUND, b"")
            case coap.Pong(peer) | coap.Silent(peer):
                waiting = self._pings.get(peer)
                if waiting:
                    ping = waiting.pop(0)
                    if not ping.done():
                        ping.set_result(isinstance(event, coap.Pong))
            case _:
                pass


def _is_address(host: str) -> bool:
    """Whether it is an address and no name: then a request has no Uri-Host (RFC 7252 §6.4)."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
