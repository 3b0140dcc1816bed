"""The server's cases of tests/conformance over UDP, against `waft.aio`'s server with the resources that they ask for.

The machines run all cases in virtual time (core/tests/coap_conformance); here those whose waits are short.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from waft.aio import Asked, CoapServer, Reply
from waft.coap import Code

CASES = json.loads((Path(__file__).resolve().parents[2] / "tests" / "conformance" / "coap_server.json").read_text())
#: Milliseconds that a case may wait in all.
MOST = 2_500
#: Seconds in which everything comes that is going to.
QUIET = 0.02
WATCHED = 1
LARGE = bytes(97 + n % 26 for n in range(150))
V1 = (4, b"v1")


def short(case: dict[str, Any]) -> bool:
    return sum(step[1] for step in case["steps"] if step[0] == "wait") <= MOST


class Site:
    """The resources of tests/conformance/README.md."""

    def __init__(self) -> None:
        self.state = b"0"

    def __call__(self, asked: Asked) -> Reply | Awaitable[Reply]:
        match asked.path, asked.code:
            case ("test",), Code.GET:
                return Reply(Code.CONTENT, b"test", 0)
            case ("test",), Code.PUT | Code.POST:
                return Reply(Code.CHANGED)
            case ("test",), Code.DELETE:
                return Reply(Code.DELETED)
            case ("separate",), Code.GET:
                return self.late()
            case ("large",), Code.GET:
                return Reply(Code.CONTENT, LARGE, 0, (V1,))
            case ("upload",), Code.PUT:
                return Reply(Code.CHANGED)
            case ("obs",), Code.GET:
                return Reply(Code.CONTENT, self.state, 0, observe=WATCHED)
            case ("test",) | ("separate",) | ("large",) | ("upload",) | ("obs",), _:
                return Reply(Code.METHOD_NOT_ALLOWED)
        return Reply(Code.NOT_FOUND)

    async def late(self) -> Reply:
        await asyncio.sleep(2)
        return Reply(Code.CONTENT, b"late", 0)


class Counting(CoapServer):
    """It counts the requests that its machine passes on, blocks of a body among them."""

    handled = 0

    def _asked(self, now: int, peer: int, request: Any) -> None:
        self.handled += 1
        super()._asked(now, peer, request)


class Bench:
    """A server and the sockets of its peers."""

    def __init__(self, server: Counting, site: Site) -> None:
        self.server = server
        self.site = site
        self.peers: dict[str, socket.socket] = {}
        self.names: dict[str, bytes] = {}

    def peer(self, name: str) -> socket.socket:
        if name not in self.peers:
            one = self.peers[name] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.setblocking(False)
            one.connect(("127.0.0.1", self.server.port))
        return self.peers[name]

    def fill(self, text: str) -> bytes:
        """Bytes from hex, with what the names stand for."""
        for name, value in self.names.items():
            text = text.replace(f"<{name}>", value.hex())
        return bytes.fromhex(text)

    def matches(self, text: str, data: bytes) -> bool:
        """Whether ``data`` is this; names that are new are learned, each another number."""
        at, out = 0, b""
        while text:
            if text.startswith("<"):
                name, _, text = text[1:].partition(">")
                found = data[at : at + 2]
                if name not in self.names and found in self.names.values():
                    return False
                out += self.names.setdefault(name, found)
                at += 2
            else:
                out += bytes.fromhex(text[:2])
                at, text = at + 1, text[2:]
        return out == data

    async def came(self, peer: str, at_least: int) -> list[bytes]:
        """What has come, and comes within a moment."""
        found: list[bytes] = []
        left = 200
        while left:
            try:
                found.append(self.peer(peer).recv(1 << 16))
                continue
            except BlockingIOError:
                left = left - 1 if len(found) < at_least else 0
            except ConnectionError:
                continue
            await asyncio.sleep(QUIET)
        return found

    async def step(self, step: list[Any]) -> None:
        match step:
            case ["in", text, *peer]:
                self.peer(*(peer or ["a"])).send(self.fill(text))
            case ["out", wanted, *peer]:
                found = await self.came(*(peer or ["a"]), at_least=len(wanted))
                same = len(found) == len(wanted) and all(map(self.matches, wanted, found))
                assert same, f"{[one.hex() for one in found]}, not {wanted}"
            case ["handled", count]:
                assert self.server.handled == count
                self.server.handled = 0
            case ["wait", milliseconds]:
                await asyncio.sleep(milliseconds / 1000)
            case ["notify", text, confirmable]:
                self.site.state = bytes.fromhex(text)
                self.server.notify(WATCHED, Reply(Code.CONTENT, self.site.state, 0), confirmable=confirmable)
            case ["end", code]:
                self.server.notify(WATCHED, Reply(Code(code)))
            case ["observers", count]:
                await asyncio.sleep(QUIET)
                assert self.server.observers(WATCHED) == count
            case _:
                pytest.fail(f"what is {step}?")


@pytest.mark.parametrize("case", [case for case in CASES if short(case)], ids=lambda case: case["name"])
async def test_server_case(case: dict[str, Any]) -> None:
    site = Site()
    server = Counting(site, szx=2, observers=4)
    await server.bind("127.0.0.1", 0)
    bench = Bench(server, site)
    async with server:
        try:
            for number, step in enumerate(case["steps"]):
                try:
                    await bench.step(step)
                except AssertionError as e:
                    raise AssertionError(f"step {number}, {step}: {e}") from None
            for peer in bench.peers:
                assert not await bench.came(peer, 0), "left unlooked at"
        finally:
            for one in bench.peers.values():
                one.close()


def test_most_cases_are_short_enough() -> None:
    assert sum(map(short, CASES)) > 0.9 * len(CASES)
