"""The server cases of tests/conformance over TCP. That folder's README.md says what each step means.

Over TCP nobody tells when a server has done all it will do with what it got. So each case has a second connection, the
probe: when the server has answered as many PINGREQs of the probe as it may need turns of its loop, it has dealt with what
was sent before them. There is no time to wait for, and none that is too short on a busy machine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "conformance"

CASES: list[dict[str, Any]] = json.loads((FOLDER / "mqtt_server.json").read_text())

#: CONNECT of the probe: a clean session and no keep-alive.
PROBE = b"\x10\x12\x00\x04MQTT\x04\x02\x00\x00\x00\x06~probe"
CONNACK, PINGREQ, PINGRESP = b"\x20\x02\x00\x00", b"\xc0\x00", b"\xd0\x00"

#: Turns of its loop that a server may need besides one for each packet: to accept, to close, to tell others.
TURNS = 4

#: How often a server is given that many turns more before something counts as missing.
CHANCES = 8

#: Seconds that a server may take over an answer before it counts as hung.
HUNG = 30.0


class Differs(Exception):
    """The server does not do what the case says."""


def takes_time(case: dict[str, Any]) -> bool:
    """Whether a case waits, up to a day: for servers with a clock that can be set, only."""
    return any(step[0] == "wait" for step in case["steps"])


def is_for_waft(case: dict[str, Any]) -> bool:
    """Whether a case is about what other servers have not, or have otherwise: bounds, and a host that is asked."""
    return not case.get("broker", {}).keys() <= {"acl"}


class Host(Protocol):
    """Who is asked about clients; connections by the address that their client has."""

    def asked(self, address: Any) -> list[str | None] | None:
        """Client identifier, user name and password of the last question, that was not looked at yet."""

    def answer(self, address: Any, code: int) -> None:
        """Lets in by code 0."""

    def rest(self) -> str | None:
        """Questions that nobody looked at."""


class Ids:
    """Packet identifiers that the server chose, by the names that a case gives them."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    @staticmethod
    def _parts(text: str) -> list[tuple[str, bytes]]:
        """Names and bytes, by turns."""
        first, *rest = text.split("<")
        parts = [("", bytes.fromhex(first))]
        for part in rest:
            name, after = part.split(">")
            parts += [(name, b""), ("", bytes.fromhex(after))]
        return parts

    def bytes(self, text: str) -> bytes:
        """Bytes from hex, with identifiers for their names."""
        return b"".join(self._known[name] if name else data for name, data in self._parts(text))

    def matches(self, text: str, got: bytes) -> int | None:
        """How many bytes these are, where ``got`` begins with them. Learns new names: each another number, not 0."""
        at, new = 0, dict[str, bytes]()
        for name, data in self._parts(text):
            if name:
                data = self._known.get(name) or new.get(name, b"")
                if not data:
                    data = got[at : at + 2]
                    if len(data) < 2 or data == b"\0\0" or data in new.values():
                        return None
                    new[name] = data
            if got[at : at + len(data)] != data:
                return None
            at += len(data)
        self._known.update(new)
        return at


class Connection(asyncio.Protocol):
    """A connection, as its client sees it."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        #: Received, and not looked at yet.
        self.got = bytearray()
        self.closed = False
        self._changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.got += data
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._changed.set()

    async def expect(self, expected: bytes) -> None:
        """Waits for these bytes and takes them."""
        async with asyncio.timeout(HUNG):
            while len(self.got) < len(expected) and not self.closed:
                self._changed.clear()
                await self._changed.wait()
        assert self.got == expected, f"the probe expected {expected.hex()} and got {self.got.hex()}"
        self.got.clear()


def packets(data: bytes) -> int:
    """How many packets these bytes may be for a server: the last, or the first that is malformed, may be cut off."""
    count = at = 0
    while at < len(data):
        count += 1
        end = at + 1
        while end < len(data) and data[end] & 0x80:
            end += 1
        length = sum((byte & 0x7F) << 7 * n for n, byte in enumerate(data[at + 1 : end + 1]))
        at = end + 1 + length
    return count


class Bench:
    """One case against one server, which is fresh."""

    def __init__(
        self, host: str, port: int, wait: Callable[[float], None] | None = None, asks: Host | None = None
    ) -> None:
        self._where = (host, port)
        self._wait = wait
        self._asks = asks
        self._connections: dict[str, Connection] = {}
        self._ids = Ids()

    async def _open(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, *self._where)
        return connection

    async def _turns(self, count: int) -> None:
        """The server does all there is to do."""
        self._probe.transport.write(PINGREQ * count)
        await self._probe.expect(PINGRESP * count)
        # A second round, for those that take all of the first in one turn. What they sent before is here by then, but
        # may be behind the answer in the turn of our own loop.
        self._probe.transport.write(PINGREQ)
        await self._probe.expect(PINGRESP)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _until(self, done: Callable[[], bool]) -> bool:
        for _ in range(CHANCES):
            if done():
                return True
            await self._turns(TURNS)
        return done()

    async def _step(self, what: str, *given: Any) -> None:
        if what == "wait":
            assert self._wait is not None, "this server's clock cannot be set"
            self._wait(given[0])
            return await self._turns(TURNS)
        who = given[0]
        if what == "open":
            self._connections[who] = await self._open()
            return None
        connection = self._connections[who]
        got = connection.got
        match what:
            case "send":
                data = self._ids.bytes(given[1])
                if not connection.closed:
                    connection.transport.write(data)
                await self._turns(packets(data) + TURNS)
            case "lose":
                connection.transport.abort()
                await self._turns(TURNS)
            case "expect":
                if not await self._until(lambda: self._ids.matches(given[1], got) == len(got)):
                    raise Differs(f"{who} expected {given[1]!r} and got {got.hex()!r}")
                got.clear()
            case "answers":
                await self._until(lambda: len(got) >= sum(len(self._bare(one)) // 2 for one in given[1]))
                self._answers(who, given[1])
            case "asked":
                assert self._asks is not None, "this server asks nobody"
                address = connection.transport.get_extra_info("sockname")
                asked = self._asks.asked(address)
                if asked != list(given[1:]):
                    raise Differs(f"the host was to be asked {given[1:]} about {who}, and was {asked}")
            case "allow" | "deny":
                assert self._asks is not None, "this server asks nobody"
                address = connection.transport.get_extra_info("sockname")
                self._asks.answer(address, 0 if what == "allow" else given[1])
                await self._turns(TURNS)
            case "closed":
                if not await self._until(lambda: connection.closed):
                    raise Differs(f"{who} is kept")
            case "kept":
                if connection.closed:
                    raise Differs(f"{who} is closed")
            case _:
                raise AssertionError(f"no such step: {what}")

    @staticmethod
    def _bare(text: str) -> str:
        """As long as what it stands for."""
        first, *rest = text.split("<")
        return first + "".join("0000" + part.split(">")[1] for part in rest)

    def _answers(self, who: str, expected: list[str]) -> None:
        """The first of them first, the others in any order."""
        got, left = self._connections[who].got, list(expected)
        while left:
            candidates = left[:1] if len(left) == len(expected) else left
            for one in candidates:
                if (length := self._ids.matches(one, got)) is not None:
                    del got[:length]
                    left.remove(one)
                    break
            else:
                raise Differs(f"{who} expected one of {candidates} and got {got.hex()!r}")

    async def run(self, case: dict[str, Any]) -> str | None:
        """How the server differs from the case; None where it does not."""
        self._probe = await self._open()
        try:
            self._probe.transport.write(PROBE)
            await self._probe.expect(CONNACK)
            for n, step in enumerate(case["steps"]):
                try:
                    await self._step(*step)
                except Differs as how:
                    return f"step {n}: {how}"
            await self._turns(TURNS)
            rest = [f"{who} got {one.got.hex()!r} too" for who, one in self._connections.items() if one.got]
            if self._asks is not None and (asked := self._asks.rest()) is not None:
                rest.append(asked)
            return "; ".join(rest) or None
        finally:
            for connection in [self._probe, *self._connections.values()]:
                connection.transport.abort()


async def run_all(
    cases: list[dict[str, Any]], one: Callable[[int, dict[str, Any]], Any], at_once: int = 8
) -> dict[str, str]:
    """Runs cases, some at once; gives how the server differs, by the names of the cases."""
    differs: dict[str, str] = {}
    left = iter(enumerate(cases))

    async def worker() -> None:
        for n, case in left:
            if (how := await one(n, case)) is not None:
                differs[case["name"]] = how

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())
    return differs
