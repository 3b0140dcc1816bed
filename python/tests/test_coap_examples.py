"""The programs of the README's section on CoAP: with each other in all three languages, with libcoap and aiocoap, over links that
lose, and through kills of either side."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from coap_wire import PUT, Wire, block, block_of
from conftest import PATIENCE, aiocoap_server, execute, free_port, libcoap_server, make_image, program
from examples import FILES, assert_shown_is_part_of, ended, serving, slay, start

from waft import coap
from waft.aio import CoapClient
from waft.testing import Link, Relay

LANGUAGES = list(FILES)
IMAGE = make_image(200_000)
COAP_CLIENT = ("-B", "60", "-v", "0")
#: What a kill costs at most: blocks that no note was made of yet.
UNNOTED = 64


@pytest.mark.parametrize("language", FILES)
def test_what_is_shown_of_coap_is_part_of_programs(language: str) -> None:
    shown = {"rust": ("transfer", "transfer"), "c": ("transfer", "serve"), "python": ("serve", "serve")}
    assert_shown_is_part_of("CoAP", language, *shown[language])


class Killing(Relay):
    """A link that kills somebody when so many blocks more have got through one way, whatever had to be sent again."""

    def __init__(self, port: int, link: Link, back: Link | None) -> None:
        super().__init__(port, link, back=back)
        self._victim: asyncio.subprocess.Process | None = None
        self._after, self._to_server = 0, False
        self._through: set[bytes] = set()
        self.killed = asyncio.Event()

    def kill(self, process: asyncio.subprocess.Process, after: int, *, to_server: bool) -> None:
        """Kills this process then."""
        self._victim, self._after, self._to_server = process, after, to_server
        self._through.clear()
        self.killed.clear()

    def _carry(self, to_server: bool, client: tuple[str, int], data: bytes) -> None:
        super()._carry(to_server, client, data)
        if to_server == self._to_server and self.seen[-1].copies:
            self._through.add(coap.decode(data).token)
        if self._victim is not None and len(self._through) >= self._after:
            slay(self._victim)
            self._victim = None
            self.killed.set()

    def asked(self, since: int) -> set[int]:
        """Where the blocks begin that were asked for since so many datagrams."""
        requests = [coap.decode(passed.data) for passed in self.seen[since:] if passed.to_server]
        blocks = [block_of(request, "block2") for request in requests if request.code == coap.Code.GET]
        return {number << szx + 4 for number, _, szx in filter(None, blocks)}


def noted(note: Path, of: str) -> set[int]:
    """Where the pieces of 16 bytes begin that a note says are there, whichever program wrote it."""
    if not note.exists():
        return set()
    head = f"{of}\n".encode()
    record = note.read_bytes()
    assert record.startswith(head) and 1 <= record[len(head)] <= 8
    bits = record[len(head) + 13 :]
    return {16 * unit for unit in range(8 * len(bits)) if bits[unit // 8] >> unit % 8 & 1}


@contextlib.asynccontextmanager
async def relayed(port: int, link: Link, back: Link | None = None) -> AsyncIterator[Killing]:
    async with Killing(port, link, back) as relay:
        yield relay


def lossy(seed: int) -> Link:
    return Link(loss=0.03, delay=0.002, jitter=0.002, seed=seed)


@pytest.mark.parametrize("server", LANGUAGES)
async def test_a_file_is_fetched_in_spite_of_kills_and_in_whatever_language(server: str, tmp_path: Path) -> None:
    """Each run goes on where the one before was killed, whose language was another one; the server is killed too."""
    served, got, port = tmp_path / "served", tmp_path / "got", free_port(socket.SOCK_DGRAM)
    served.write_bytes(IMAGE)
    languages = itertools.islice(itertools.cycle(LANGUAGES), LANGUAGES.index(server), None)
    async with contextlib.AsyncExitStack() as stack, relayed(port, lossy(LANGUAGES.index(server))) as relay:
        await stack.enter_async_context(serving(server, "serve", "127.0.0.1", port, served))
        of, before = f"127.0.0.1 {relay.port} /fw", set[int]()
        for language, after in zip(languages, (5, 90, 90, None), strict=False):
            process, since = await start(language, "transfer", "get", *of.split(), got), len(relay.seen)
            if after is not None:
                relay.kill(process, after, to_server=False)
            status, said = await ended(process)
            asked, now = relay.asked(since), noted(tmp_path / "got.note", of)
            assert asked.isdisjoint(before), "what was noted is not asked for again"
            assert said[:1] == [f"{16 * len(before)} bytes are here"] or not before
            if after is None:
                break
            assert status == -9 and not got.exists(), said
            assert now >= before and len(now) - len(before) >= 64 * (after - UNNOTED - 16), "no more is lost than that"
            before = now
            # The server too; what it told stays true.
            await stack.aclose()
            await stack.enter_async_context(serving(server, "serve", "127.0.0.1", port, served))
        assert (status, said[-1]) == (0, f"{len(IMAGE)} bytes fetched"), said
        assert got.read_bytes() == IMAGE and sorted(tmp_path.iterdir()) == [got, served]
        assert len(before) >= 64 * UNNOTED, "something was resumed"


@pytest.mark.parametrize("language", LANGUAGES)
async def test_what_is_here_of_another_version_is_forgotten(language: str, tmp_path: Path) -> None:
    served, got, port = tmp_path / "served", tmp_path / "got", free_port(socket.SOCK_DGRAM)
    served.write_bytes(IMAGE)
    async with serving(language, "serve", "127.0.0.1", port, served), relayed(port, Link()) as relay:
        where = ("127.0.0.1", relay.port, "/fw")
        process = await start(language, "transfer", "get", *where, got)
        relay.kill(process, 80, to_server=False)
        assert (await ended(process))[0] == -9 and (tmp_path / "got.note").exists()
        # Another one of the same length; then one that ends before what is asked for.
        for image in (IMAGE[::-1], IMAGE[:3000]):
            (tmp_path / "new").write_bytes(image)
            assert (await ended(await start(language, "transfer", "put", *where, tmp_path / "new")))[0] == 0
            assert served.read_bytes() == image
            process = await start(language, "transfer", "get", *where, got)
            if image == IMAGE[::-1]:
                relay.kill(process, 90, to_server=False)
            status, said = await ended(process)
            assert said[1].startswith("once more: "), said
        assert (status, got.read_bytes()) == (0, IMAGE[:3000])
        # A note of something else says nothing of this.
        (tmp_path / "got.part").write_bytes(b"x" * 3000)
        (tmp_path / "got.note").write_bytes(b"127.0.0.1 1 /other\n\x01e" + bytes(11) + b"\xff" * 24)
        assert await ended(await start(language, "transfer", "get", *where, got)) == (0, ["3000 bytes fetched"])
        assert got.read_bytes() == IMAGE[:3000]


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_file_is_put_in_spite_of_kills_and_is_whole_or_not_there(language: str, tmp_path: Path) -> None:
    """Each loss of a block that is put costs seconds: there are a few, and much comes twice or late."""
    old, image, served = make_image(5000), tmp_path / "image", tmp_path / "served"
    link, back = (Link(drop=(40, 90), delay=0.001, duplicate=0.1, reorder=0.1, seed=seed) for seed in (1, 2))
    other = LANGUAGES[LANGUAGES.index(language) - 1]
    port = free_port(socket.SOCK_DGRAM)
    image.write_bytes(IMAGE)
    served.write_bytes(old)
    async with contextlib.AsyncExitStack() as stack, relayed(port, link, back) as relay:
        server = await stack.enter_async_context(serving(other, "serve", "127.0.0.1", port, served))
        put = ("put", "127.0.0.1", relay.port, "/fw", image)
        process = await start(language, "transfer", *put)
        relay.kill(process, 50, to_server=True)
        assert (await ended(process))[0] == -9 and served.read_bytes() == old
        process = await start(language, "transfer", *put)
        relay.kill(server, 50, to_server=True)
        await asyncio.wait_for(relay.killed.wait(), PATIENCE)
        await stack.aclose()
        assert served.read_bytes() == old
        await stack.enter_async_context(serving(other, "serve", "127.0.0.1", port, served))
        status, said = await ended(process)
        assert (status, said) == (0, ["once more: 4.08", f"{len(IMAGE)} bytes put"])
        assert served.read_bytes() == IMAGE


@pytest.mark.parametrize("language", LANGUAGES)
async def test_files_come_from_and_go_to_servers_that_are_not_ours(language: str, tmp_path: Path) -> None:
    image, got, root = tmp_path / "image", tmp_path / "got", tmp_path / "root"
    root.mkdir()
    image.write_bytes(IMAGE)
    with aiocoap_server(root, "--write") as port:
        async with relayed(port, lossy(11)) as relay:
            of, put = f"127.0.0.1 {relay.port} /fw", ("put", "127.0.0.1", port, "/fw", image)
            assert await ended(await start(language, "transfer", *put)) == (0, ["200000 bytes put"])
            assert (root / "fw").read_bytes() == IMAGE
            process = await start(language, "transfer", "get", *of.split(), got)
            relay.kill(process, 120, to_server=False)
            assert (await ended(process))[0] == -9
            before, since = noted(tmp_path / "got.note", of), len(relay.seen)
            status, said = await ended(await start(language, "transfer", "get", *of.split(), got))
            assert (status, said) == (0, [f"{16 * len(before)} bytes are here", "200000 bytes fetched"])
            assert got.read_bytes() == IMAGE and before and relay.asked(since).isdisjoint(before)
    with libcoap_server() as port:
        # Nothing gets lost here: libcoap gives the same body another ETag where a request for a block comes twice.
        where = ("127.0.0.1", port, "/fw")
        assert (await ended(await start(language, "transfer", "put", *where, image)))[0] == 0
        got.unlink()
        assert await ended(await start(language, "transfer", "get", *where, got)) == (0, ["200000 bytes fetched"])
        assert got.read_bytes() == IMAGE
        assert await ended(await start(language, "transfer", "get", *where[:2], "/none", got)) in [
            (1, ["4.04"]),
            (1, ['Error: "4.04"']),
        ]


@pytest.mark.parametrize("language", LANGUAGES)
async def test_clients_that_are_not_ours_are_served_and_told(language: str, tmp_path: Path) -> None:
    import aiocoap

    up, down, served, port = tmp_path / "up", tmp_path / "down", tmp_path / "served", free_port(socket.SOCK_DGRAM)
    states = [make_image(length) for length in (5_000, 5, 8_000)]
    async with serving(language, "serve", "127.0.0.1", port, served) as server, relayed(port, lossy(13)) as relay:
        uri, client = f"coap://127.0.0.1:{port}", program("coap-client-notls")
        lossy_uri = f"coap://127.0.0.1:{relay.port}/fw"
        context = await aiocoap.Context.create_client_context(transports=["udp6"])
        async with await CoapClient.open() as ours:
            assert (await ours.get(f"{uri}/fw")).code == coap.Code.NOT_FOUND
            core = await ours.get(f"{uri}/.well-known/core")
            assert (core.payload, core.content_format) == (b'</fw>;rt="firmware";ct=42;obs', 40)
            for query, left in ("rt=firmware", core.payload), ("rt=f*", core.payload), ("rt=other", b""), ("sz=1", b""):
                assert (await ours.get(f"{uri}/.well-known/core?{query}")).payload == left
            for method, path, code in (
                (coap.Code.DELETE, "/fw", coap.Code.METHOD_NOT_ALLOWED),
                (coap.Code.PUT, "/.well-known/core", coap.Code.METHOD_NOT_ALLOWED),
                (coap.Code.GET, "/else", coap.Code.NOT_FOUND),
                (coap.Code.PUT, "/else", coap.Code.NOT_FOUND),
            ):
                assert (await ours.request(method, uri + path)).code == code
            watching = None
            for number, state in enumerate(states):
                up.write_bytes(state)
                await execute(client, *COAP_CLIENT, "-m", "put", "-f", up, f"{uri}/fw")
                assert served.read_bytes() == state
                if watching is None:
                    watching = ours.observe(lossy_uri)
                    seen = context.request(aiocoap.Message(code=aiocoap.GET, uri=lossy_uri, observe=0))
                    theirs = [(await asyncio.wait_for(seen.response, PATIENCE)).payload]
                    changes = aiter(seen.observation)
                else:
                    theirs.append((await asyncio.wait_for(anext(changes), PATIENCE)).payload)
                told = await asyncio.wait_for(anext(watching), PATIENCE)
                assert told.payload == theirs[number] == state
                await execute(client, *COAP_CLIENT, "-o", down, lossy_uri, timeout=2 * PATIENCE)
                assert down.read_bytes() == state
                # Who has this version need not get it again, nor replaces another one unseen.
                again = await ours.request(coap.Code.GET, f"{uri}/fw", options=[(4, told.etag or b"")])
                assert (again.code, again.payload, again.etag) == (coap.Code.VALID, b"", told.etag)
                refused = await ours.request(coap.Code.PUT, f"{uri}/fw", b"x", options=[(1, b"other")])
                assert refused.code == coap.Code.PRECONDITION_FAILED
        await context.shutdown()
        slay(server)
        assert (await ended(server))[1] == [f"{len(state)} bytes stored" for state in states]


@pytest.mark.parametrize("language", LANGUAGES)
async def test_what_is_too_large_or_has_no_beginning_is_not_stored(language: str, tmp_path: Path) -> None:
    served, port, slot = tmp_path / "served", free_port(socket.SOCK_DGRAM), 1 << 21
    async with serving(language, "serve", "127.0.0.1", port, served):
        with Wire(port) as wire, Wire(port) as other:

            def put(wire: Wire, at: int, more: bool = True) -> coap.Code:
                return wire.ask(PUT, "/fw", bytes(1024), block1=block(at // 1024, more, 6)).code

            assert put(wire, 1024) == coap.Code.REQUEST_ENTITY_INCOMPLETE
            codes = {put(wire, at) for at in range(0, slot, 1024)}
            assert codes == {coap.Code.CONTINUE}
            assert put(other, slot) == put(wire, slot + 1024) == coap.Code.REQUEST_ENTITY_INCOMPLETE
            assert put(wire, slot, more=False) == coap.Code.REQUEST_ENTITY_TOO_LARGE and not served.exists()
            # A block that comes again, in another message, takes its own place.
            assert put(wire, slot - 1024, more=False) == coap.Code.CREATED
        assert served.read_bytes() == bytes(slot)
