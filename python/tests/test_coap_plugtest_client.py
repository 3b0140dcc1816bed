"""The test descriptions of ETSI's CoAP#4 plugtest, client's side: our client asks the plugtest server, and what it sends is looked at."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from coap_wire import block_of, every, option
from conftest import PATIENCE

from waft import coap
from waft.aio import Answer, CoapClient, CoapError
from waft.coap import Code, Message
from waft.plugtest import LARGE, serve_plugtest
from waft.testing import Link, Relay

PERIOD, DELAY = 0.2, 0.3
TEXT, XML = 0, 41


class Seen:
    """A client, and everything that goes by between it and the server."""

    def __init__(self, client: CoapClient, relay: Relay) -> None:
        self.client = client
        self.relay = relay

    def uri(self, path: str) -> str:
        return f"coap://127.0.0.1:{self.relay.port}{path}"

    async def ask(self, method: Code, path: str, payload: bytes = b"", **how: Any) -> Answer:
        return await asyncio.wait_for(self.client.request(method, self.uri(path), payload, **how), PATIENCE)

    def sent(self, code: int | None = None) -> list[Message]:
        """What the client sent, once each; of a code."""
        found = {p.data: coap.decode(p.data) for p in self.relay.seen if p.to_server}
        return [m for m in found.values() if code is None or m.code == code]

    def came(self, code: int | None = None) -> list[Message]:
        """What the server sent, once each; of a code."""
        found = {p.data: coap.decode(p.data) for p in self.relay.seen if not p.to_server}
        return [m for m in found.values() if code is None or m.code == code]


@contextlib.asynccontextmanager
async def plugtest(link: Link | None = None) -> AsyncIterator[Seen]:
    async with (
        await serve_plugtest(period=PERIOD, delay=DELAY) as server,
        Relay(server.port, link) as relay,
        await CoapClient.open() as client,
    ):
        yield Seen(client, relay)


@pytest.mark.parametrize("confirmable", [True, False])
@pytest.mark.parametrize("method", [Code.GET, Code.DELETE, Code.PUT, Code.POST])
async def test_core_01_to_08_methods(method: Code, confirmable: bool) -> None:
    """[TD_COAP_CORE_01] [TD_COAP_CORE_02] [TD_COAP_CORE_03] [TD_COAP_CORE_04]
    [TD_COAP_CORE_05] [TD_COAP_CORE_06] [TD_COAP_CORE_07] [TD_COAP_CORE_08] [TD_COAP_CORE_10]"""
    body: dict[str, Any] = {"payload": b"any", "options": [(12, b"")]} if method in (Code.PUT, Code.POST) else {}
    async with plugtest() as seen:
        answer = await seen.ask(method, "/test", confirmable=confirmable, **body)
        assert answer.code.is_success
        (request,) = seen.sent()
        assert (request.type, request.code) == ("CON" if confirmable else "NON", method)
        assert request.options == [(11, b"test"), *body.get("options", [])]
        assert 1 <= len(request.token) <= 8 and request.payload == body.get("payload", b"")


@pytest.mark.parametrize("confirmable", [True, False])
async def test_core_09_11_17_separate_response(confirmable: bool) -> None:
    """[TD_COAP_CORE_09] [TD_COAP_CORE_11] [TD_COAP_CORE_17]"""
    async with plugtest() as seen:
        answer = await seen.ask(Code.GET, "/separate", confirmable=confirmable)
        assert answer.payload
        await asyncio.sleep(0.1)
        response = seen.came(Code.CONTENT)[0]
        request, *acknowledged = seen.sent()
        assert request.code == Code.GET and response.token == request.token
        assert [(m.type, m.code, m.id) for m in acknowledged] == ([("ACK", Code.EMPTY, response.id)] if confirmable else [])


async def test_core_12_a_response_to_an_empty_token_is_not_for_us() -> None:
    """[TD_COAP_CORE_12]: our client never sends a zero-length token (RFC 7252 §5.3.1), so what has none answers nothing."""
    async with plugtest() as seen:
        await seen.ask(Code.GET, "/test")
        assert all(len(m.token) >= 4 for m in seen.sent() if m.code)


async def test_core_13_14_path_and_query() -> None:
    """[TD_COAP_CORE_13] [TD_COAP_CORE_14]"""
    async with plugtest() as seen:
        await seen.ask(Code.GET, "/seg1/seg2/seg3")
        answer = await seen.ask(Code.GET, "/query?first=1&second=2&third=3")
        assert answer.payload.endswith(b"first=1\nsecond=2\nthird=3")
        one, other = seen.sent()
        assert one.options == [(11, b"seg1"), (11, b"seg2"), (11, b"seg3")]
        assert other.options == [(11, b"query"), (15, b"first=1"), (15, b"second=2"), (15, b"third=3")]


@pytest.mark.parametrize("path", ["/test", "/separate"])
@pytest.mark.parametrize("drop", range(4))
async def test_core_15_16_in_a_lossy_context(path: str, drop: int) -> None:
    """[TD_COAP_CORE_15] [TD_COAP_CORE_16]: a dropped request, its ACK, the response, and the ACK of that"""
    ways = {0: (True, 0), 1: (False, 0), 2: (False, 1), 3: (True, 1)}
    to_server, number = ways[drop]
    async with plugtest() as seen:
        seen.relay._links[0 if to_server else 1].drop = (number,)
        answer = await seen.ask(Code.GET, path)
        assert answer.payload
        # Nothing is sent again that has been answered.
        await asyncio.sleep(3.5 if drop == 3 else 0.2)
        gets = [p.data for p in seen.relay.seen if p.to_server and coap.decode(p.data).code == Code.GET]
        answers = [p.data for p in seen.relay.seen if not p.to_server and coap.decode(p.data).code == Code.CONTENT]
        assert len(set(gets)) == 1 and len(set(answers)) == 1
        if path == "/test":
            assert (len(gets), len(answers)) == {0: (2, 1), 1: (2, 2)}.get(drop, (1, 1))
        else:
            # A dropped ACK of the request: the response stops the retransmission.
            assert (len(gets), len(answers)) == {0: (2, 1), 2: (1, 2), 3: (1, 2)}.get(drop, (1, 1))


async def test_core_18_19_locations() -> None:
    """[TD_COAP_CORE_18] [TD_COAP_CORE_19]"""
    async with plugtest() as seen:
        assert (await seen.ask(Code.POST, "/test", b"x")).location == "/location1/location2/location3"
        assert (await seen.ask(Code.POST, "/location-query", b"x")).location == "/?first=1&second=2"


async def test_core_20_accept() -> None:
    """[TD_COAP_CORE_20]"""
    async with plugtest() as seen:
        for form in (TEXT, XML):
            answer = await seen.ask(Code.GET, "/multi-format", options=[(17, coap.uint(form))])
            assert answer.content_format == form
            assert option(seen.sent()[-1], "accept") == coap.uint(form)


async def test_core_21_22_validation_and_conditions() -> None:
    """[TD_COAP_CORE_21] [TD_COAP_CORE_22]"""
    async with plugtest() as seen:
        first = await seen.ask(Code.GET, "/validate")
        assert first.etag
        valid = await seen.ask(Code.GET, "/validate", options=[(4, first.etag)])
        assert (valid.code, valid.payload, valid.etag) == (Code.VALID, b"", first.etag)
        match = [(1, first.etag)]
        assert (await seen.ask(Code.PUT, "/validate", b"a", options=match)).code == Code.CHANGED
        assert (await seen.ask(Code.PUT, "/validate", b"b", options=match)).code == Code.PRECONDITION_FAILED
        changed = await seen.ask(Code.GET, "/validate", options=[(4, first.etag)])
        assert (changed.code, changed.payload) == (Code.CONTENT, b"a")


async def test_core_23_if_none_match() -> None:
    """[TD_COAP_CORE_23]"""
    async with plugtest() as seen:
        none = [(5, b"")]
        assert (await seen.ask(Code.PUT, "/create1", b"a", options=none)).code == Code.CREATED
        assert (await seen.ask(Code.PUT, "/create1", b"b", options=none)).code == Code.PRECONDITION_FAILED
        assert every(seen.sent()[0], "if_none_match") == [b""]


async def test_core_31_ping() -> None:
    """[TD_COAP_CORE_31]"""
    async with plugtest() as seen:
        assert await asyncio.wait_for(seen.client.ping("127.0.0.1", seen.relay.port), PATIENCE)
        (passed, answer) = seen.relay.seen
        assert len(passed.data) == 4 and passed.data[:2] == b"\x40\x00"
        assert answer.data == b"\x70\x00" + passed.data[2:]


@pytest.mark.parametrize("szx", [0, 1, 2, 3, 6])
async def test_block_01_02_06_get(szx: int) -> None:
    """[TD_COAP_BLOCK_01] [TD_COAP_BLOCK_02] [TD_COAP_BLOCK_06]: asked for in advance below 1024 bytes, else taken as it comes"""
    async with plugtest() as seen:
        assert (await seen.ask(Code.GET, "/large", szx=szx)).payload == LARGE
        first, *others = seen.sent(Code.GET)
        taken = min(szx, 2)
        assert block_of(first, "block2") == (None if szx == 6 else (0, False, szx))
        assert [block_of(m, "block2") for m in others] == [
            (number, False, taken) for number in range(1, -(-len(LARGE) // (16 << taken)))
        ]


@pytest.mark.parametrize("szx", [0, 2, 6])
@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        (Code.PUT, "/large-update", Code.CHANGED),
        (Code.POST, "/large-create", Code.CREATED),
        (Code.POST, "/large-post", Code.CHANGED),
    ],
)
async def test_block_03_04_05_uploads(method: Code, path: str, code: Code, szx: int) -> None:
    """[TD_COAP_BLOCK_03] [TD_COAP_BLOCK_04] [TD_COAP_BLOCK_05]"""
    body = bytes(range(97, 123)) * 60
    async with plugtest() as seen:
        answer = await seen.ask(method, path, body, szx=szx)
        assert answer.code == code
        sent = [m for m in seen.sent(method) if option(m, "block1") is not None]
        offset, size = 0, szx
        for message in sent:
            assert block_of(message, "block1") == (offset >> size + 4, offset + (16 << size) < len(body), size)
            assert message.payload == body[offset : offset + (16 << size)]
            offset += len(message.payload)
            # The server takes no more than 64 bytes, and says so with the first block.
            size = min(szx, 2)
        assert offset == len(body)
        if path == "/large-post":
            assert answer.payload == body.upper() + LARGE
            tail = [m for m in seen.sent(method) if option(m, "block1") is None]
            assert [block_of(m, "block2") for m in tail] == [
                (number, False, size) for number in range(1, -(-len(answer.payload) // (16 << size)))
            ]
            assert all(not m.payload for m in tail)
        else:
            where = answer.location or path
            assert (await seen.ask(Code.GET, where)).payload == body


async def several(seen: Seen, path: str, count: int, **how: Any) -> list[Answer]:
    """So many representations, then the observation is left."""
    answers: list[Answer] = []
    async with contextlib.aclosing(seen.client.observe(seen.uri(path), **how)) as stream:  # type: ignore[type-var]
        async with asyncio.timeout(PATIENCE):
            async for answer in stream:
                answers.append(answer)
                if len(answers) == count:
                    break
    return answers


@pytest.mark.parametrize("path", ["/obs", "/obs-non"])
async def test_obs_01_02_12_watched_and_left(path: str) -> None:
    """[TD_COAP_OBS_01] [TD_COAP_OBS_02] [TD_COAP_OBS_12]"""
    async with plugtest() as seen:
        answers = await several(seen, path, 4, confirmable=path == "/obs")
        assert len({answer.payload for answer in answers}) == 4
        await asyncio.sleep(0.2)
        first = seen.sent(Code.GET)[0]
        last = seen.sent(Code.GET)[-1]
        assert (option(first, "observe"), option(last, "observe")) == (b"", b"\x01")
        assert first.token == last.token
        notified = [m for m in seen.came(Code.CONTENT) if m.token == first.token and m.type == "CON"]
        if path == "/obs":
            assert {m.id for m in seen.sent(Code.EMPTY) if m.type == "ACK"} == {m.id for m in notified}
        before = len(seen.came())
        await asyncio.sleep(3 * PERIOD)
        assert len(seen.came()) == before, "no more of them"


async def test_obs_04_05_06_each_side_forgets() -> None:
    """[TD_COAP_OBS_05] [TD_COAP_OBS_06]: a client that has forgotten resets what it does not know. (Re-registration after
    Max-Age, [TD_COAP_OBS_04], takes 6 s at least; here the server's forgetting is seen, and a new beginning with the same token.)"""
    async with plugtest() as seen:
        watching = asyncio.create_task(several(seen, "/obs", 99))
        while len(seen.came(Code.CONTENT)) < 2:
            await asyncio.sleep(0.02)
        assert (await seen.ask(Code.POST, "/obs-reset")).code == Code.CHANGED
        token = seen.sent(Code.GET)[0].token
        while len([m for m in seen.sent(Code.GET) if m.token == token]) < 2:
            await asyncio.sleep(0.05)
        again = [m for m in seen.sent(Code.GET) if m.token == token][1]
        assert option(again, "observe") == b"", "registered again, with the same token"
        while len([m for m in seen.came(Code.CONTENT) if m.token == token]) < 5:
            await asyncio.sleep(0.05)
        # The client is replaced by one that knows nothing, behind the same address.
        seen.client._endpoint = seen.client._machine = coap.Endpoint(seed=9)  # type: ignore[assignment]
        while not [m for m in seen.sent(Code.EMPTY) if m.type == "RST"]:
            await asyncio.sleep(0.02)
        before = len(seen.came())
        await asyncio.sleep(3 * PERIOD)
        assert len(seen.came()) == before
        watching.cancel()


@pytest.mark.parametrize(
    ("method", "form", "code"),
    [
        (Code.DELETE, None, Code.NOT_FOUND),
        (Code.PUT, 50, Code.NOT_ACCEPTABLE),
    ],
)
async def test_obs_07_08_ended_from_there(method: Code, form: int | None, code: Code) -> None:
    """[TD_COAP_OBS_07] [TD_COAP_OBS_08]"""
    async with plugtest() as seen:
        watching = asyncio.create_task(several(seen, "/obs", 99))
        while len(seen.came(Code.CONTENT)) < 2:
            await asyncio.sleep(0.02)
        options = [(12, coap.uint(form))] if form is not None else []
        assert (await seen.ask(method, "/obs", b"{}" if form else b"", options=options)).code.is_success
        answers = await asyncio.wait_for(watching, PATIENCE)
        assert answers[-1].code == code, "the iteration ends by itself"


async def test_obs_09_10_updates_and_other_requests() -> None:
    """[TD_COAP_OBS_09] [TD_COAP_OBS_10]"""
    async with plugtest() as seen:
        watching = asyncio.create_task(several(seen, "/obs", 12))
        while len(seen.came(Code.CONTENT)) < 2:
            await asyncio.sleep(0.02)
        plain = await seen.ask(Code.GET, "/obs")
        assert plain.code == Code.CONTENT
        assert (await seen.ask(Code.PUT, "/obs", b"new", options=[(12, b"")])).code == Code.CHANGED
        answers = await asyncio.wait_for(watching, PATIENCE)
        assert len(answers) == 12 and b"new" in [answer.payload for answer in answers]
        gets = seen.sent(Code.GET)
        assert option(gets[1], "observe") is None and gets[1].token != gets[0].token


async def test_obs_11_in_a_lossy_context() -> None:
    """[TD_COAP_OBS_11]: the latest state arrives, in order"""
    async with plugtest(Link(loss=0.2, seed=11)) as seen:
        answers = await several(seen, "/obs", 5)
        turns = [int(answer.payload.split(b"(")[1].rstrip(b")")) for answer in answers]
        assert turns == sorted(set(turns))
        sent = [coap.decode(p.data) for p in seen.relay.seen if not p.to_server]
        notified = [m for m in sent if m.type == "CON"]
        assert len(notified) > 4
        # Whatever was sent again, and with whichever state: its number never went back.
        numbers = [int.from_bytes(option(m, "observe") or b"", "big") for m in notified]
        assert numbers == sorted(numbers)


@pytest.mark.parametrize("path", ["/obs-large", "/obs-pumping", "/obs-pumping-non"])
async def test_obs_13_14_representations_of_several_blocks(path: str) -> None:
    """[TD_COAP_OBS_13] [TD_COAP_OBS_14]"""
    async with plugtest() as seen:
        answers = await several(seen, path, 6)
        for answer in answers:
            head, _, rest = answer.payload.partition(b"\n")
            assert head.startswith(b"Representation ") and LARGE.startswith(rest) and rest
        assert len({answer.payload for answer in answers}) == 6
        if path != "/obs-large":
            assert {len(answer.payload) > 64 for answer in answers} == {True, False}


async def test_link_01_to_09_discovery() -> None:
    """[TD_COAP_LINK_01] [TD_COAP_LINK_02] [TD_COAP_LINK_03] [TD_COAP_LINK_04] [TD_COAP_LINK_05] [TD_COAP_LINK_06]
    [TD_COAP_LINK_07] [TD_COAP_LINK_08] [TD_COAP_LINK_09]"""
    async with plugtest() as seen:

        async def find(where: str) -> set[str]:
            answer = await seen.ask(Code.GET, where)
            assert answer.content_format == 40
            return {target for target, _ in coap.read_links(answer.payload.decode())}

        for query, found in [
            ("rt=Type1", {"/link1", "/link3"}),
            ("rt=Type2", {"/link1", "/link2"}),
            ("if=If*", {"/link1", "/link2"}),
            ("sz=*", {"/large", "/large-separate"}),
            ("href=/link1", {"/link1"}),
            ("href=/link*", {"/link1", "/link2", "/link3"}),
        ]:
            assert await find(f"/.well-known/core?{query}") == found
            first = next(m for m in seen.sent(Code.GET) if every(m, "etag") == [] and (15, query.encode()) in m.options)
            assert first.options[:2] == [(11, b".well-known"), (11, b"core")]
        assert await find("/path") == {"/path/sub1", "/path/sub2", "/path/sub3"}
        assert b"/path/sub1" in (await seen.ask(Code.GET, "/path/sub1")).payload


async def test_a_client_that_is_closed_tells_those_who_wait() -> None:
    async with plugtest(Link(loss=1.0)) as seen:
        waiting = [
            asyncio.create_task(seen.ask(Code.GET, "/test")),
            asyncio.create_task(seen.client.ping("127.0.0.1", seen.relay.port)),
        ]
        await asyncio.sleep(0.05)
        await seen.client.close()
        for one in waiting:
            with pytest.raises(CoapError, match="closed"):
                await one
