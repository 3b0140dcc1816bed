"""CoAP with libcoap and aiocoap, both roles, over links that lose, delay, double and reorder: bytes are compared.

Each test runs its combinations at once, so that it takes as long as the slowest. (libcoap's client ends with exit code 0
whatever became of its request: only the file that it wrote counts.)
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from conftest import aiocoap_server, execute, libcoap_server, make_image, program

from waft import coap
from waft.aio import Asked, CoapClient, CoapError, CoapServer, Reply, serve_coap
from waft.aio.coap_server import IF_MATCH, IF_NONE_MATCH
from waft.coap import Code
from waft.plugtest import LARGE, serve_plugtest
from waft.testing import Link, Relay

#: Seconds that one combination may take: five losses in a row are a minute and a half of waiting.
LONG = 100.0

#: How often a peer may be asked that gives up, or says that what has not changed has.
TURNS = 8

SIZES = range(7)
LOSSES = (0.0, 0.05, 0.2)


def links(seed: int) -> list[Link]:
    """Links that lose more and more, and one that does everything else."""
    lossy = [Link(loss=loss, seed=seed + n) for n, loss in enumerate(LOSSES)]
    return [*lossy, Link(loss=0.05, delay=0.01, jitter=0.02, duplicate=0.1, reorder=0.1, seed=seed)]


async def together(*works: Awaitable[None]) -> None:
    """All of them, each within its time; the first failure ends the others."""
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(asyncio.wait_for(work, LONG))  # type: ignore[arg-type]


def combinations(seed: int) -> Iterator[tuple[int, int, Link]]:
    """A number, a size of blocks, and a link: all sizes on each, but where much is lost, three."""
    wanted = [(szx, link) for szx, link in itertools.product(SIZES, links(seed)) if link.loss < 0.1 or szx % 3 == 0]
    for number, (szx, link) in enumerate(wanted):
        yield number, szx, link


def body_of(szx: int) -> bytes:
    """Five blocks and something, whatever their size."""
    return make_image((16 << szx) * 5 + 7)


@pytest.fixture
def libcoap() -> Iterator[int]:
    with libcoap_server() as port:
        yield port


@pytest.fixture
def aiocoap_files(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    root = tmp_path / "served"
    root.mkdir()
    with aiocoap_server(root, "--write") as port:
        yield port, root


# ---- our client ----


@pytest.mark.parametrize("window", [1, 16])
async def test_our_client_gets_from_aiocoap(aiocoap_files: tuple[int, Path], window: int) -> None:
    port, root = aiocoap_files

    async def one(number: int, szx: int, link: Link) -> None:
        body = body_of(szx)
        (root / f"f{number}").write_bytes(body)
        async with Relay(port, link) as relay, await CoapClient.open() as client:
            uri = f"coap://127.0.0.1:{relay.port}/f{number}"
            answer = await client.request(Code.GET, uri, szx=szx, window=window)
            assert (answer.code, answer.payload) == (Code.CONTENT, body)

    await together(*itertools.starmap(one, combinations(100)))


async def test_our_client_puts_to_libcoap_and_gets_it_back(libcoap: int) -> None:
    """libcoap detects no duplicates: a last block that comes twice, its answer having been lost, replaces the body. So of
    the PUT only what goes there gets lost, and nothing is doubled."""

    async def one(number: int, szx: int, link: Link) -> None:
        body = body_of(szx)
        there = Link(loss=link.loss, delay=link.delay, jitter=link.jitter, seed=link.seed)
        path = f"/r{number % 20}"
        async with await CoapClient.open() as client:
            async with Relay(libcoap, there, back=Link(delay=link.delay)) as relay:
                answer = await client.request(Code.PUT, f"coap://127.0.0.1:{relay.port}{path}", body, szx=szx)
                assert answer.code in (Code.CREATED, Code.CHANGED)
            async with Relay(libcoap, link) as relay:
                uri = f"coap://127.0.0.1:{relay.port}{path}"
                for turn in range(TURNS):
                    try:
                        answer = await client.request(Code.GET, uri, szx=szx)
                    except CoapError as e:
                        # libcoap gives the same body another ETag where a request for a block comes twice.
                        assert "Changed" in str(e) and turn < TURNS - 1
                        continue
                    assert (answer.code, answer.payload) == (Code.CONTENT, body)
                    break

    every = list(combinations(200))
    # libcoap makes twenty resources: no two of those that run at once may share one.
    for at in range(0, len(every), 20):
        await together(*itertools.starmap(one, every[at : at + 20]))


@pytest.mark.parametrize("length", [0, 7, None])
async def test_our_client_puts_to_aiocoap_and_gets_it_back(aiocoap_files: tuple[int, Path], length: int | None) -> None:
    """Empty, in one message, and by Block1; what arrives twice is answered as it was, so anything may get lost or doubled."""
    port, root = aiocoap_files

    async def one(number: int, szx: int, link: Link) -> None:
        body = body_of(szx) if length is None else make_image(length)
        async with Relay(port, link) as relay, await CoapClient.open() as client:
            uri = f"coap://127.0.0.1:{relay.port}/p{number}"
            given = [(body, [], Code.CHANGED)]
            if not link.loss:
                # A new file first, but not where none is to be, or another one is. By blocks without a condition: aiocoap wants
                # If-None-Match with each, which RFC 7959 §2.5 forbids.
                given = [
                    (body[::-1], [(IF_NONE_MATCH, b"")] if length is not None and length <= 16 << szx else [], Code.CHANGED),
                    (b"no", [(IF_NONE_MATCH, b"")], Code.PRECONDITION_FAILED),
                    (b"no", [(IF_MATCH, b"other")], Code.PRECONDITION_FAILED),
                    *given,
                ]
            for content, options, expected in given:
                answer = await client.request(Code.PUT, uri, content, options=options, szx=szx)
                assert answer.code == expected
            assert (root / f"p{number}").read_bytes() == body
            answer = await client.request(Code.GET, f"coap://127.0.0.1:{port}/p{number}", szx=szx)
            assert (answer.code, answer.payload) == (Code.CONTENT, body)

    await together(*itertools.starmap(one, combinations(250)))


async def test_our_client_asks_by_non(libcoap: int, aiocoap_files: tuple[int, Path]) -> None:
    """NON is not sent again: without loss, and over a link that doubles and reorders."""
    port, root = aiocoap_files
    (root / "f").write_bytes(body_of(4))

    async def one(port: int, path: str, body: bytes, link: Link) -> None:
        async with Relay(port, link) as relay, await CoapClient.open() as client:
            uri = f"coap://127.0.0.1:{relay.port}{path}"
            if path.startswith("/non"):
                assert (await client.request(Code.PUT, uri, body, szx=4, confirmable=False)).code.is_success
            answer = await client.request(Code.GET, uri, szx=4, confirmable=False)
            assert answer.payload == body
            sent = [coap.decode(p.data).type for p in relay.seen if p.to_server]
            assert set(sent) <= {"NON", "ACK", "RST"}

    rough = Link(delay=0.005, jitter=0.01, duplicate=0.2, reorder=0.2, seed=5)
    await together(
        one(libcoap, "/non", body_of(4), Link()),
        one(port, "/non-too", body_of(4), Link()),
        one(port, "/f", body_of(4), Link()),
        one(port, "/f", body_of(4), rough),
    )


@pytest.mark.parametrize(("loss", "szx"), [(0.0, 1), (0.05, 4), (0.2, 6)])
async def test_our_client_observes_libcoap(libcoap: int, loss: float, szx: int) -> None:
    """Small and large states, in blocks where they are long; the last one arrives whatever is lost."""
    states = [make_image(length) for length in (5, 700, 16, 1500, 900)]

    async with Relay(libcoap, Link(loss=loss, seed=7)) as relay, await CoapClient.open() as writer, await CoapClient.open() as client:
        direct = f"coap://127.0.0.1:{libcoap}/watched"
        await writer.put(direct, b"first")
        seen: list[bytes] = []

        async def watch() -> None:
            async for answer in client.observe(f"coap://127.0.0.1:{relay.port}/watched", szx=szx):
                seen.append(answer.payload)
                if answer.payload == states[-1]:
                    return

        watching = asyncio.create_task(watch())
        while not seen:
            await asyncio.sleep(0.02)
            assert not watching.done() or not watching.exception()
        for state in states:
            await writer.put(direct, state)
            await asyncio.sleep(0.1)
        await asyncio.wait_for(watching, LONG)
        assert seen[0] == b"first" and set(seen) <= {b"first", *states}
        order = [[b"first", *states].index(state) for state in seen]
        assert order == sorted(order)


# ---- our server ----


@contextlib.asynccontextmanager
async def our_server(**how: float) -> AsyncIterator[CoapServer]:
    async with await serve_plugtest(**how) as server:  # type: ignore[arg-type]
        yield server


COAP_CLIENT = ("-B", "200", "-v", "0")


class Shelf:
    """Bodies of some blocks of each size to get, and a place to put others."""

    def __init__(self) -> None:
        self.bodies = {f"get{szx}": body_of(szx) for szx in SIZES}

    def __call__(self, asked: Asked) -> Reply:
        (name,) = asked.path
        if asked.code == Code.PUT:
            self.bodies[name] = asked.payload
            return Reply(Code.CHANGED)
        return Reply(Code.CONTENT, self.bodies[name])


async def test_libcoaps_client_gets_and_puts(tmp_path: Path) -> None:
    shelf, client = Shelf(), program("coap-client-notls")

    async def one(server: CoapServer, number: int, szx: int, link: Link) -> None:
        up, down, size = tmp_path / f"up{number}", tmp_path / f"down{number}", str(16 << szx)
        body = make_image(len(body_of(szx)) + number)
        up.write_bytes(body)
        async with Relay(server.port, link) as relay:
            uri = f"coap://127.0.0.1:{relay.port}"
            # It gives up where five are lost in a row: then its user asks again.
            for turn in range(TURNS if link.loss else 1):
                await execute(client, *COAP_CLIENT, "-b", size, "-o", down, f"{uri}/get{szx}", timeout=LONG)
                if down.exists() and down.read_bytes() == body_of(szx):
                    break
            assert down.read_bytes() == body_of(szx), f"{size} bytes, {link}"
            for turn in range(TURNS if link.loss else 1):
                put = ("-b", size, "-m", "put", "-f", up, f"{uri}/put{number}")
                await execute(client, *COAP_CLIENT, *put, timeout=LONG)
                if shelf.bodies.get(f"put{number}") == body:
                    break
            assert shelf.bodies[f"put{number}"] == body, f"{size} bytes, {link}"

    async with await serve_coap(shelf) as server:
        await together(*[one(server, *how) for how in combinations(300)])


async def test_libcoaps_client_loses_datagrams_of_its_own(tmp_path: Path) -> None:
    """Its own `-l`, by number and by chance."""

    async def one(server: CoapServer, loss: str) -> None:
        down = tmp_path / f"down{loss}"
        uri = f"coap://127.0.0.1:{server.port}/large"
        await execute(program("coap-client-notls"), *COAP_CLIENT, "-l", loss, "-b", "64", "-o", down, uri, timeout=LONG)
        assert down.read_bytes() == LARGE

    async with our_server() as server:
        await together(*[one(server, loss) for loss in ("1", "2,3", "1,5,6", "10%", "20%")])


async def test_libcoaps_client_asks_by_non_and_separately(tmp_path: Path) -> None:
    async def one(server: CoapServer, path: str, expected: bytes, *how: str) -> None:
        down = tmp_path / (path.replace("/", "_") + "".join(how))
        uri = f"coap://127.0.0.1:{server.port}{path}"
        await execute(program("coap-client-notls"), *COAP_CLIENT, *how, "-o", down, uri, timeout=LONG)
        assert down.read_bytes() == expected

    async with our_server(delay=0.5) as server:
        await together(
            one(server, "/large", LARGE, "-N"),
            one(server, "/large", LARGE, "-N", "-b", "32"),
            one(server, "/separate", b"That took a while"),
            one(server, "/separate", b"That took a while", "-N"),
        )


@pytest.mark.parametrize("loss", [0.0, 0.1])
async def test_libcoaps_client_observes(tmp_path: Path, loss: float) -> None:
    async def one(server: CoapServer, path: str, check: Callable[[bytes], None]) -> None:
        down = tmp_path / path.strip("/")
        async with Relay(server.port, Link(loss=loss, seed=3)) as relay:
            uri = f"coap://127.0.0.1:{relay.port}{path}"
            await execute(program("coap-client-notls"), *COAP_CLIENT, "-s", "6", "-o", down, uri, timeout=LONG)
        check(down.read_bytes())

    def clocks(data: bytes) -> None:
        assert data.count(b"(") >= 3

    def larges(data: bytes) -> None:
        # The file is appended to, or written anew, with each state: the last is whole either way.
        head, _, rest = data[data.rindex(b"Representation ") :].partition(b"\n")
        assert head and LARGE.startswith(rest) and rest

    async with our_server(period=0.5) as server:
        # Where something is lost, libcoap's client puts blocks of different states together, whatever their ETags.
        large = [one(server, "/obs-large", larges)] if not loss else []
        await together(one(server, "/obs", clocks), one(server, "/obs-non", clocks), *large)


@contextlib.asynccontextmanager
async def aiocoap_client() -> AsyncIterator[object]:
    import aiocoap

    context = await aiocoap.Context.create_client_context(transports=["udp6"])
    try:
        yield context
    finally:
        await context.shutdown()


async def test_aiocoaps_client_gets_and_puts() -> None:
    import aiocoap

    async def one(server: CoapServer, client: aiocoap.Context, number: int, szx: int, link: Link) -> None:
        async with Relay(server.port, link) as relay:
            uri = f"coap://127.0.0.1:{relay.port}"
            block = aiocoap.optiontypes.BlockOption.BlockwiseTuple(0, False, szx)
            request = aiocoap.Message(code=aiocoap.GET, uri=f"{uri}/large", block2=block)
            answer = await client.request(request).response
            assert answer.payload == LARGE
            body = make_image(2000 + number)
            post = aiocoap.Message(code=aiocoap.POST, uri=f"{uri}/large-create", payload=body)
            answer = await client.request(post).response
            assert str(answer.code).startswith("2.01")
            where = "/".join(answer.opt.location_path)
            answer = await client.request(aiocoap.Message(code=aiocoap.GET, uri=f"{uri}/{where}")).response
            assert answer.payload == body
            both = aiocoap.Message(code=aiocoap.POST, uri=f"{uri}/large-post", payload=b"x" * 1500)
            answer = await client.request(both).response
            assert answer.payload == b"X" * 1500 + LARGE

    # aiocoap gives a block up after its five times, and each of many may be lost: no more than 5 % each way.
    every = [one for one in combinations(400) if one[2].loss <= 0.05]
    async with our_server() as server, aiocoap_client() as client:
        await together(*[one(server, client, *how) for how in every])  # type: ignore[arg-type]


async def test_aiocoaps_client_observes() -> None:
    import aiocoap

    async def one(server: CoapServer, client: aiocoap.Context, path: str) -> None:
        async with Relay(server.port, Link(loss=0.05, delay=0.002, seed=9)) as relay:
            uri = f"coap://127.0.0.1:{relay.port}{path}"
            request = client.request(aiocoap.Message(code=aiocoap.GET, uri=uri, observe=0))
            seen = [(await request.response).payload]
            async for answer in request.observation:
                seen.append(answer.payload)
                if len(seen) == 5:
                    break
            request.observation.cancel()
        assert len(set(seen)) == 5

    async def large(client: aiocoap.Context) -> None:
        """A state changes when the one before is there: aiocoap gives up where one changes while it fetches the blocks."""
        state = b"0" + LARGE
        async with await serve_coap(lambda asked: Reply(Code.CONTENT, state, observe=1)) as server:
            async with Relay(server.port, Link(delay=0.002, seed=9)) as relay:
                uri = f"coap://127.0.0.1:{relay.port}/"
                request = client.request(aiocoap.Message(code=aiocoap.GET, uri=uri, observe=0))
                assert (await request.response).payload == state
                changes = aiter(request.observation)
                for number in range(1, 5):
                    state = b"%d" % number + LARGE
                    server.notify(1, Reply(Code.CONTENT, state))
                    assert (await anext(changes)).payload == state
                request.observation.cancel()

    async with our_server(period=0.5) as server, aiocoap_client() as client:
        await together(one(server, client, "/obs"), one(server, client, "/obs-non"), large(client))  # type: ignore[arg-type]


# ---- the relay ----


async def test_the_relay_keeps_to_its_rate_and_its_seed() -> None:
    fates = []
    for _ in range(2):
        async with our_server() as server, Relay(server.port, Link(loss=0.3, duplicate=0.2, seed=4)) as relay, await CoapClient.open() as client:
            for number in range(30):
                ping = b"\x40\x00" + number.to_bytes(2, "big")
                client._transmit(client.peers.number(("127.0.0.1", relay.port)), ping)
            await asyncio.sleep(0.1)
            fates.append([p.copies for p in relay.seen if p.to_server])
            assert len(relay.seen) == 30 + sum(fates[-1])
    assert fates[0] == fates[1] and set(fates[0]) == {0, 1, 2}
    loop = asyncio.get_running_loop()
    async with our_server() as server, Relay(server.port, rate=4000) as relay, await CoapClient.open() as client:
        began = loop.time()
        answer = await client.get(f"coap://127.0.0.1:{relay.port}/large")
        assert answer.payload == LARGE
        came = sum(len(p.data) for p in relay.seen if not p.to_server)
        assert loop.time() - began >= came / 4000, "no faster than its rate"
    async with our_server() as server, Relay(server.port, rate=1000, queue=100) as relay, await CoapClient.open() as client:
        for _ in range(20):
            client._transmit(client.peers.number(("127.0.0.1", relay.port)), b"\x40\x00" + bytes(58))
        await asyncio.sleep(0.1)
        assert 2 <= sum(p.copies for p in relay.seen if p.to_server) <= 4, "its queue is full"
