"""A CoAP server on asyncio: whole requests in, whole responses out; blocks and observers are the machine's business."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import Any, Generic, TypeVar

from .. import coap
from .._errors import Error
from ..coap import Code
from ._driver import DatagramDriver

#: Numbers of options (RFC 7252 §12.2, RFC 7959 §6).
IF_MATCH, ETAG, IF_NONE_MATCH, OBSERVE, LOCATION_PATH, URI_PATH, CONTENT_FORMAT, MAX_AGE = 1, 4, 5, 6, 8, 11, 12, 14
URI_QUERY, ACCEPT, LOCATION_QUERY, BLOCK2, BLOCK1, SIZE2, SIZE1 = 15, 17, 20, 23, 27, 28, 60

#: EXCHANGE_LIFETIME in seconds (RFC 7252 §4.8.2): so long a body in the making, or the rest of an answer, is kept.
LIFETIME = 247.0

V = TypeVar("V")

#: What `handle_request` gives.
_Request = tuple[
    coap.RequestId,
    int,
    tuple[int, bool] | None,
    Code,
    tuple[str, ...],
    tuple[str, ...],
    tuple[coap.Option, ...],
    bytes,
    bool,
]


@dataclass(slots=True)
class Asked:
    """A request with all of its body."""

    code: Code
    path: tuple[str, ...]
    queries: tuple[str, ...]
    options: tuple[coap.Option, ...]
    payload: bytes
    observes: bool
    peer: int
    first_block: bool

    def values(self, number: int) -> list[bytes]:
        """The values of all options with this number."""
        return [value for n, value in self.options if n == number]

    def uint(self, number: int) -> int | None:
        """The first option with this number as an unsigned integer."""
        values = self.values(number)
        return int.from_bytes(values[0], "big") if values else None


@dataclass(slots=True)
class Reply:
    """A whole response. ``observe``: the number of the resource, where the request may observe it."""

    code: Code
    payload: bytes = b""
    content_format: int | None = None
    options: tuple[coap.Option, ...] = ()
    observe: int | None = None

    def all_options(self) -> list[coap.Option]:
        """Its options, Content-Format among them."""
        form = [] if self.content_format is None else [(CONTENT_FORMAT, coap.uint(self.content_format))]
        return sorted([*self.options, *form], key=lambda option: option[0]) if self.options else form


Handler = Callable[[Asked], Reply | Awaitable[Reply]]

#: Is told of a block of a body, where in the body it begins, and whether more follow. Its ``Reply`` answers that block alone.
BlockHandler = Callable[[Asked, int, bool], Reply | None]


@dataclass
class _Kept(Generic[V]):
    """Things by key: no more than ``most``, none longer than LIFETIME; the oldest goes first."""

    most: int
    things: OrderedDict[Any, tuple[float, V]] = field(default_factory=OrderedDict)

    def put(self, now: float, key: Any, thing: V) -> None:
        self.things.pop(key, None)
        self.things[key] = (now, thing)
        while len(self.things) > self.most or next(iter(self.things.values()))[0] < now - LIFETIME:
            self.things.popitem(last=False)

    def get(self, key: Any) -> V | None:
        found = self.things.get(key)
        return found[1] if found is not None else None

    def pop(self, key: Any) -> None:
        self.things.pop(key, None)


class CoapServer(DatagramDriver):
    """Serves what ``handler`` says, on one UDP port: ``async with await serve_coap(handler, port=5683) as server: …``.

    A handler that gives a ``Reply`` is answered for at once, the response riding on the acknowledgement; one that gives an
    awaitable is acknowledged for, and its response follows separately. A body that comes by Block1 is put together before the
    handler sees it (RFC 7959 §2.5, atomically); an answer to a request that is no GET is kept until its blocks are
    fetched. No more than ``max_bodies`` of either are kept. ``take_block`` is asked of each block of a body before: what it gives a
    ``Reply`` to is taken by itself, in any order, and nothing is kept of it (RFC 7959 §2.3); ``None`` leaves it to be put together.
    A handler that raises is answered 5.00, and the exception goes to the event loop's handler.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        szx: int = 6,
        max_body: int = 1 << 20,
        max_bodies: int = 64,
        observers: int = 256,
        take_block: BlockHandler | None = None,
    ) -> None:
        self.endpoint = coap.Endpoint(seed=secrets.randbits(63), szx=szx, observers=observers)
        super().__init__(self.endpoint)
        self._handler = handler
        self._take_block = take_block
        self._max_body = max_body
        self._uploads: _Kept[bytearray] = _Kept(max_bodies)
        self._answers: _Kept[Reply] = _Kept(max_bodies)
        self._tasks: set[asyncio.Task[None]] = set()

    def notify(self, resource: int, reply: Reply, *, confirmable: bool = True) -> int:
        """Tells the observers of a resource its new state; gives how many there are. An error ends their observations."""
        told = self.endpoint.notify(
            self.now(), resource, reply.code, reply.payload, options=_options(reply), confirmable=confirmable
        )
        self.drain()
        return told

    def observers(self, resource: int) -> int:
        """How many observe a resource."""
        return self.endpoint.observers(resource)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Lets something go on until the server is closed."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Closes the socket and ends what is under way."""
        self._stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> CoapServer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # ---- inside ----

    def drain(self) -> None:
        if self._draining or self._stopped:
            return
        self._draining = True
        try:
            datagrams, events, at = self.endpoint.poll_all(self.now())
            for peer, data in datagrams:
                self._transmit(peer, data)
            for event in events:
                self._event(event)
            if not self._stopped:
                self._arm(at)
        finally:
            self._draining = False

    def _event(self, event: Any) -> None:
        """Nothing that a server has to know."""

    def _input(self, peer: int, data: bytes) -> None:
        now = self.now()
        request = self.endpoint.handle_request(now, peer, data)
        if request is not None:
            self._asked(now, peer, request)

    def _asked(self, now: int, peer: int, request: _Request) -> None:
        number, offset, block1, code, path, queries, options, payload, observes = request
        # Whose body it is, and for what: blocks of one body have all else in common, Content-Format among it (RFC 7959 §2.4,
        # §2.5). [RFC7959-2.3-6]
        key = None
        if block1 is not None or code != Code.GET:
            key = (peer, int(code), tuple(o for o in options if o[0] not in (OBSERVE, BLOCK1, BLOCK2, SIZE1, SIZE2)))
        if block1 is not None and self._take_block is not None:
            asked = Asked(code, path, queries, options, payload, observes, peer, offset == 0)
            try:
                taken = self._take_block(asked, *block1)
            except Exception as e:
                self._failed(number, e)
                return
            if taken is not None:
                self._answer(now, number, taken)
                return
        if block1 is not None:
            answer, body = self._take(key, payload, *block1)
            if body is None:
                self._answer(now, number, Reply(answer))
                return
            payload = body
        elif offset and code != Code.GET:
            kept = self._answers.get(key)
            self._answer(now, number, kept if kept is not None else Reply(Code.REQUEST_ENTITY_INCOMPLETE))
            return
        try:
            reply = self._handler(Asked(code, path, queries, options, payload, observes, peer, offset == 0))
        except Exception as e:
            self._failed(number, e)
            return
        if isinstance(reply, Reply):
            self._finish(now, number, key, reply)
        else:
            self.endpoint.acknowledge(now, number)
            self.spawn(self._later(number, key, reply))

    def _take(self, key: Any, part: bytes, offset: int, more: bool) -> tuple[Code, bytes | None]:
        """A block of a body: the whole of it at its end, else the code that asks for more or refuses it."""
        body = self._uploads.get(key) if offset else bytearray()
        # [RFC7959-2.5-1]
        if body is None or offset > len(body):
            return Code.REQUEST_ENTITY_INCOMPLETE, None
        if offset + len(part) > self._max_body:
            self._uploads.pop(key)
            return Code.REQUEST_ENTITY_TOO_LARGE, None
        # A block that comes again takes its own place, and what was behind it comes again too.
        body[offset:] = part
        if more:
            self._uploads.put(self._loop.time(), key, body)
            return Code.CONTINUE, None
        self._uploads.pop(key)
        return Code.CONTINUE, bytes(body)

    async def _later(self, number: coap.RequestId, key: Any, reply: Awaitable[Reply]) -> None:
        try:
            done = await reply
        except Exception as e:
            self._failed(number, e)
        else:
            if not self._stopped:
                self._finish(self.now(), number, key, done)
        self.drain()

    def _finish(self, now: int, number: coap.RequestId, key: Any, reply: Reply) -> None:
        # A key of None: a GET, which is asked anew for each block.
        if key is not None and key[1] != Code.GET and len(reply.payload) > number.wanted[1]:
            self._answers.put(self._loop.time(), key, reply)
        self._answer(now, number, reply)

    def _failed(self, number: coap.RequestId, e: Exception) -> None:
        self._loop.call_exception_handler({"message": "a CoAP handler raised", "exception": e})
        self._answer(self.now(), number, Reply(Code.INTERNAL_SERVER_ERROR))

    def _answer(self, now: int, number: coap.RequestId, reply: Reply) -> None:
        try:
            self.endpoint.respond(
                now, number, reply.code, reply.payload, options=_options(reply), observe=reply.observe
            )
        except Error:
            # No room, or the request is forgotten: as if the response had been lost.
            pass


def _tag(payload: bytes) -> bytes:
    return hashlib.sha256(payload).digest()[:4]


#: Of what is short: it may be asked for often.
_short_tag = lru_cache(maxsize=64)(_tag)


def _options(reply: Reply) -> list[coap.Option]:
    """Its options; a representation of several blocks has an ETag, so that two are never mixed up (RFC 7959 §2.4)."""
    payload = reply.payload
    options = reply.all_options()
    if len(payload) > 16 and reply.code == Code.CONTENT and not any(number == ETAG for number, _ in reply.options):
        # The endpoint puts them in order.
        options.append((ETAG, _short_tag(payload) if len(payload) <= 1024 else _tag(payload)))
    return options


async def serve_coap(
    handler: Handler,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    szx: int = 6,
    max_body: int = 1 << 20,
    take_block: BlockHandler | None = None,
) -> CoapServer:
    """A server that listens; ``server.port`` tells where. ``szx``: size exponent of the blocks it prefers, 0 to 6.
    ``take_block``: see ``CoapServer``."""
    server = CoapServer(handler, szx=szx, max_body=max_body, take_block=take_block)
    await server.bind(host, port)
    return server
