"""The server of ETSI's CoAP#4 plugtest: the resources that its test descriptions ask for.

The descriptions (TD_COAP_CORE, TD_COAP_BLOCK, TD_COAP_OBS, TD_COAP_LINK) begin each with the resources as they were at first, in any
order and again. So what a DELETE or a PUT does to ``/test`` and ``/obs`` does not last: ``/test`` is there again at once, and
``/obs`` tells the time again for the next client that observes it.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from . import coap
from .aio.coap_server import (
    ACCEPT,
    CONTENT_FORMAT,
    ETAG,
    IF_MATCH,
    IF_NONE_MATCH,
    LOCATION_PATH,
    LOCATION_QUERY,
    MAX_AGE,
    Asked,
    CoapServer,
    Reply,
)
from .coap import Code

#: Content-Formats (RFC 7252 §12.3).
TEXT, LINK_FORMAT, XML = 0, 40, 41

#: The server prefers blocks of 64 bytes.
SZX = 2

#: Bytes of a body that is put or posted, and how many resources may be created.
MAX_BODY = 1 << 16
MAX_CREATED = 64

#: Seconds after which observers who did not come back after a "reboot" are forgotten for good.
FORGOTTEN = 600.0

Path = tuple[str, ...]

_LINES = "".join(f"|{n:02}| The quick brown fox jumps over the lazy dog and does not stop.\n" for n in range(1, 20))
LARGE = _LINES.encode()


@dataclass
class Stored:
    """A representation that can be put in place of another."""

    payload: bytes
    form: int = TEXT

    @property
    def etag(self) -> bytes:
        """Its version, of its bytes and their format."""
        return hashlib.sha256(self.form.to_bytes(2, "big") + self.payload).digest()[:4]

    def reply(self, asked: Asked) -> Reply:
        """2.05, 2.03 to who has it already, or 4.06 to who wants another format (RFC 7252 §5.10.4, §5.10.6)."""
        # [RFC7252-5.10.4-1]
        if asked.uint(ACCEPT) not in (None, self.form):
            return Reply(Code.NOT_ACCEPTABLE)
        etag = ((ETAG, self.etag),)
        if self.etag in asked.values(ETAG):
            # [RFC7252-5.9.1.3-1]
            return Reply(Code.VALID, options=etag)
        return Reply(Code.CONTENT, self.payload, self.form, etag)


@dataclass
class Observable:
    """A resource that changes by itself, and whose observers are told so."""

    number: int
    confirmable: bool
    body: Callable[[int], bytes]
    turn: int = 0
    #: What was put in its place.
    put: Stored | None = None

    def state(self) -> Stored:
        """What it is now."""
        return self.put if self.put is not None else Stored(self.body(self.turn))


def _clock(turn: int) -> bytes:
    return f"{time.strftime('%H:%M:%S')} ({turn})".encode()


def _large(turn: int) -> bytes:
    return f"Representation {turn}\n".encode() + LARGE[: 320 + turn % 7]


def _pumping(turn: int) -> bytes:
    return f"Representation {turn}\n".encode() + LARGE[: 400 if turn % 2 else 20]


#: What ``/.well-known/core`` lists: targets and their attributes (RFC 6690).
#: [RFC7252-7.2.1-1] [RFC7641-6-1] [RFC7641-6-2]
#: [TD_COAP_LINK_01] [TD_COAP_LINK_02] [TD_COAP_LINK_03] [TD_COAP_LINK_04] [TD_COAP_LINK_05] [TD_COAP_LINK_06] [TD_COAP_LINK_07]
#: [TD_COAP_LINK_08]
LINKS: list[tuple[str, dict[str, str]]] = [
    ("/test", {"title": "Default test resource", "ct": "0"}),
    ("/seg1/seg2/seg3", {"title": "Long path resource"}),
    ("/query", {"title": "Resource accepting query parameters"}),
    ("/separate", {"title": "Resource which cannot be served immediately"}),
    ("/large", {"title": "Large resource", "rt": "block", "sz": str(len(LARGE))}),
    ("/large-separate", {"title": "Large resource, not served immediately", "rt": "block", "sz": str(len(LARGE))}),
    ("/large-update", {"title": "Large resource that can be updated by PUT", "rt": "block"}),
    ("/large-create", {"title": "Large resource that can be created by POST", "rt": "block"}),
    ("/large-post", {"title": "Two-way block-wise transfer by POST", "rt": "block"}),
    ("/obs", {"title": "Observable resource which changes every 5 seconds", "rt": "observe", "obs": ""}),
    ("/obs-non", {"title": "The same, with NON notifications", "rt": "observe", "obs": ""}),
    ("/obs-large", {"title": "Observable resource of several blocks", "rt": "observe block", "obs": ""}),
    ("/obs-pumping", {"title": "Observable resource, sometimes of several blocks", "rt": "observe block", "obs": ""}),
    ("/obs-pumping-non", {"title": "The same, with NON notifications", "rt": "observe block", "obs": ""}),
    ("/obs-reset", {"title": "POST: the observers of /obs are forgotten, as by a reboot"}),
    ("/location-query", {"title": "POST: created at a location with queries"}),
    ("/multi-format", {"title": "Resource in two formats", "ct": "0 41"}),
    ("/link1", {"title": "Link test resource", "rt": "Type1 Type2", "if": "If1"}),
    ("/link2", {"title": "Link test resource", "rt": "Type2 Type3", "if": "If2"}),
    ("/link3", {"title": "Link test resource", "rt": "Type1 Type3", "if": "foo"}),
    ("/path", {"title": "Hierarchical link descriptions", "ct": "40"}),
    ("/validate", {"title": "Resource that varies, with ETag"}),
]
#: [TD_COAP_LINK_09]
SUB_LINKS = [(f"/path/sub{n}", {"title": f"Sub-resource {n}"}) for n in (1, 2, 3)]
#: Served by PUT, absent at first. [TD_COAP_CORE_23]
CREATED_BY_PUT = {("create1",), ("create2",), ("create3",)}


class Plugtest:
    """The resources: ``async with await serve_plugtest(port=5683): …`` serves them."""

    def __init__(self, *, period: float = 5.0, delay: float = 2.0) -> None:
        self.period = period
        self.delay = delay
        self._server: CoapServer | None = None
        self._next = 0
        self._created = 0
        self.stored: OrderedDict[Path, Stored] = OrderedDict(
            {
                # [TD_COAP_CORE_01] [TD_COAP_CORE_05] [TD_COAP_CORE_10] [TD_COAP_CORE_12] [TD_COAP_CORE_15]
                ("test",): Stored(b"The resource of the default test"),
                # [TD_COAP_CORE_21] [TD_COAP_CORE_22]
                ("validate",): Stored(b"A resource that varies"),
                # [TD_COAP_BLOCK_03]
                ("large-update",): Stored(LARGE),
            }
        )
        self.observables: dict[Path, Observable] = {
            # [TD_COAP_OBS_01] [TD_COAP_OBS_05] [TD_COAP_OBS_06] [TD_COAP_OBS_10] [TD_COAP_OBS_11] [TD_COAP_OBS_12]
            ("obs",): Observable(self._number(), True, _clock),
            # [TD_COAP_OBS_02]
            ("obs-non",): Observable(self._number(), False, _clock),
            # [TD_COAP_OBS_13] [TD_COAP_OBS_14]
            ("obs-large",): Observable(self._number(), True, _large),
            ("obs-pumping",): Observable(self._number(), True, _pumping),
            ("obs-pumping-non",): Observable(self._number(), False, _pumping),
        }

    def attach(self, server: CoapServer) -> None:
        """Whose observers are told."""
        self._server = server

    def tick(self) -> None:
        """A period is over: what changes by itself has changed."""
        for path, one in self.observables.items():
            one.turn += 1
            self._tell(path)

    def handle(self, asked: Asked) -> Reply | Awaitable[Reply]:
        """A request."""
        path = asked.path[:-1] if len(asked.path) > 1 and not asked.path[-1] else asked.path
        if path in self.observables:
            return self._observable(path, asked)
        if path in CREATED_BY_PUT or path in self.stored:
            return self._stored(path, asked)
        # [RFC7252-5.8-1]
        method = _METHODS.get((path, asked.code))
        if method is not None:
            return method(self, asked)
        return Reply(Code.METHOD_NOT_ALLOWED if path in _PATHS else Code.NOT_FOUND)

    # ---- resources that are stored ----

    def _stored(self, path: Path, asked: Asked) -> Reply:
        now = self.stored.get(path)
        # Conditions come first. [RFC7252-5.10.8-1] [RFC7252-5.10.8-2]
        wanted = asked.values(IF_MATCH)
        if wanted and (now is None or not any(tag in (b"", now.etag) for tag in wanted)):
            return Reply(Code.PRECONDITION_FAILED)
        if asked.values(IF_NONE_MATCH) and now is not None:
            return Reply(Code.PRECONDITION_FAILED)
        # [RFC7252-5.1-1] [RFC7252-5.1-2] [RFC7252-5.5-1]
        match asked.code:
            case Code.GET:
                return now.reply(asked) if now is not None else Reply(Code.NOT_FOUND)
            # [TD_COAP_CORE_03] [TD_COAP_CORE_07]
            case Code.PUT:
                self.stored[path] = Stored(asked.payload, asked.uint(CONTENT_FORMAT) or TEXT)
                return Reply(Code.CREATED if now is None else Code.CHANGED)
            # [TD_COAP_CORE_02] [TD_COAP_CORE_06]
            case Code.DELETE:
                if path in _OFFERED:
                    self.stored[path] = Stored(_OFFERED[path])
                else:
                    self.stored.pop(path, None)
                return Reply(Code.DELETED)
            # [TD_COAP_CORE_04] [TD_COAP_CORE_08] [TD_COAP_CORE_18]
            case Code.POST if path == ("test",):
                return self._create(("location1", "location2", "location3"), asked)
        return Reply(Code.METHOD_NOT_ALLOWED)

    def _create(self, path: Path, asked: Asked) -> Reply:
        self.stored.pop(path, None)
        self.stored[path] = Stored(asked.payload, asked.uint(CONTENT_FORMAT) or TEXT)
        created = [known for known in self.stored if known not in _OFFERED]
        for oldest in created[: max(0, len(created) - MAX_CREATED)]:
            del self.stored[oldest]
        return Reply(Code.CREATED, options=tuple((LOCATION_PATH, segment.encode()) for segment in path))

    # ---- resources that are observed ----

    def _observable(self, path: Path, asked: Asked) -> Reply:
        one = self.observables[path]
        match asked.code:
            case Code.GET:
                if asked.observes and self._server is not None and not self._server.observers(one.number):
                    one.put = None
                reply = one.state().reply(asked)
                # Until the next change, it is as fresh as can be.
                options = (*reply.options, (MAX_AGE, coap.uint(max(1, round(self.period)))))
                return Reply(reply.code, reply.payload, reply.content_format, options, one.number)
            case Code.PUT:
                form = asked.uint(CONTENT_FORMAT)
                form = one.state().form if form is None else form
                changed = form != one.state().form
                one.put = Stored(asked.payload, form)
                if changed:
                    # A notification would have another format than the client was told.
                    # [RFC7641-4.2-3] [RFC7641-4.2-4] [TD_COAP_OBS_08]
                    self._end(one, Code.NOT_ACCEPTABLE)
                else:
                    # [TD_COAP_OBS_09]
                    self._tell(path)
                return Reply(Code.CHANGED)
            case Code.DELETE:
                # [TD_COAP_OBS_07]
                one.put = None
                self._end(one, Code.NOT_FOUND)
                return Reply(Code.DELETED)
        return Reply(Code.METHOD_NOT_ALLOWED)

    def _tell(self, path: Path) -> None:
        one = self.observables[path]
        if self._server is not None:
            state = one.state()
            # [RFC7641-4.3.1-2] [RFC7641-4.3.1-3]
            options = ((ETAG, state.etag), (MAX_AGE, coap.uint(max(1, round(self.period)))))
            reply = Reply(Code.CONTENT, state.payload, state.form, options)
            self._server.notify(one.number, reply, confirmable=one.confirmable)

    def _end(self, one: Observable, code: Code) -> None:
        if self._server is not None:
            self._server.notify(one.number, Reply(code), confirmable=one.confirmable)

    def _number(self) -> int:
        self._next += 1
        return self._next

    # ---- resources that answer ----

    def _core(self, asked: Asked) -> Reply:
        links = [(target, list(attributes.items())) for target, attributes in LINKS]
        return Stored(coap.write_links(links, list(asked.queries)).encode(), LINK_FORMAT).reply(asked)

    def _path(self, asked: Asked) -> Reply:
        links = [(target, list(attributes.items())) for target, attributes in SUB_LINKS]
        return Stored(coap.write_links(links).encode(), LINK_FORMAT).reply(asked)

    def _name(self, asked: Asked) -> Reply:
        return Stored(f"/{'/'.join(asked.path)}".encode()).reply(asked)

    def _query(self, asked: Asked) -> Reply:
        lines = ["Uri-Query:", *asked.queries] if asked.queries else ["no Uri-Query"]
        return Stored("\n".join(lines).encode()).reply(asked)

    def _large(self, asked: Asked) -> Reply:
        return Stored(LARGE).reply(asked)

    def _separate(self, asked: Asked) -> Awaitable[Reply]:
        return self._later(Stored(b"That took a while").reply(asked))

    def _large_separate(self, asked: Asked) -> Reply | Awaitable[Reply]:
        reply = Stored(LARGE).reply(asked)
        return self._later(reply) if asked.first_block else reply

    async def _later(self, reply: Reply) -> Reply:
        await asyncio.sleep(self.delay)
        return reply

    def _multi_format(self, asked: Asked) -> Reply:
        if asked.uint(ACCEPT) == XML:
            return Stored(b"<?xml version='1.0'?><waft>in two formats</waft>", XML).reply(asked)
        return Stored(b"in two formats").reply(asked)

    def _location_query(self, asked: Asked) -> Reply:
        return Reply(Code.CREATED, options=tuple((LOCATION_QUERY, value) for value in (b"first=1", b"second=2")))

    def _large_create(self, asked: Asked) -> Reply:
        self._created += 1
        return self._create(("large-create", str(self._created)), asked)

    def _large_post(self, asked: Asked) -> Reply:
        return Reply(Code.CHANGED, asked.payload.upper() + LARGE, TEXT)

    def _obs_reset(self, asked: Asked) -> Reply:
        """[TD_COAP_OBS_04]: the observers stay with a number that is told nothing any more, until they are surely gone."""
        one = self.observables[("obs",)]
        old = Observable(one.number, True, one.body)
        one.number = self._number()
        if self._server is not None:
            asyncio.get_running_loop().call_later(FORGOTTEN, self._end, old, Code.NOT_FOUND)
        return Reply(Code.CHANGED)


#: What answers what, besides what is stored or observed.
_METHODS: dict[tuple[Path, Code], Callable[[Plugtest, Asked], Reply | Awaitable[Reply]]] = {
    ((".well-known", "core"), Code.GET): Plugtest._core,
    # [TD_COAP_CORE_13]
    (("seg1", "seg2", "seg3"), Code.GET): Plugtest._name,
    # [TD_COAP_CORE_14]
    (("query",), Code.GET): Plugtest._query,
    # [TD_COAP_CORE_09] [TD_COAP_CORE_11] [TD_COAP_CORE_16] [TD_COAP_CORE_17]
    (("separate",), Code.GET): Plugtest._separate,
    # [TD_COAP_BLOCK_01] [TD_COAP_BLOCK_02] [TD_COAP_BLOCK_06]
    (("large",), Code.GET): Plugtest._large,
    (("large-separate",), Code.GET): Plugtest._large_separate,
    # [TD_COAP_BLOCK_04]
    (("large-create",), Code.POST): Plugtest._large_create,
    # [TD_COAP_BLOCK_05]
    (("large-post",), Code.POST): Plugtest._large_post,
    (("obs-reset",), Code.POST): Plugtest._obs_reset,
    # [TD_COAP_CORE_19]
    (("location-query",), Code.POST): Plugtest._location_query,
    # [TD_COAP_CORE_20]
    (("multi-format",), Code.GET): Plugtest._multi_format,
    (("path",), Code.GET): Plugtest._path,
    **{((name,), Code.GET): Plugtest._name for name in ("link1", "link2", "link3")},
    **{(("path", f"sub{n}"), Code.GET): Plugtest._name for n in (1, 2, 3)},
}
_PATHS = {path for path, _ in _METHODS}

#: What is offered from the start, and again after a DELETE.
_OFFERED = {path: stored.payload for path, stored in Plugtest().stored.items()}


async def serve_plugtest(
    host: str = "127.0.0.1", port: int = 0, *, period: float = 5.0, delay: float = 2.0
) -> CoapServer:
    """A plugtest server that listens. ``period``: seconds between changes of what is observed; ``delay``: of ``/separate``."""
    site = Plugtest(period=period, delay=delay)
    server = CoapServer(site.handle, szx=SZX, max_body=MAX_BODY)
    await server.bind(host, port)
    site.attach(server)

    async def tick() -> None:
        while True:
            await asyncio.sleep(period)
            site.tick()

    server.spawn(tick())
    return server
