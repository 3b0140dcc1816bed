"""The demonstration behind ``waft demo``: servers in this process, devices as processes of their own.

1. Keys, an image, an older image; an MQTT broker, an HTTP provider and a CoAP gateway on free loopback ports.
2. Devices start. One of model A goes to sleep. Then releases are published: A, B and C by the policy's severities.
3. All of them confirm; what the provider was asked for is counted. A part of the image goes over a long, lossy path twice, block
   after block and by the window that models B and C fetch with; round trips are counted.
4. Refusals: a tampered image, an older release, a manifest for another class.
5. A key is revoked; a newer release overtakes an older one; an image crashes in its trial and the old one is back.
6. A device is killed in mid-download and while it stores, and finishes without fetching what it had.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn
from rich.table import Table

from . import _native, coap, ota
from .aio.broker import BrokerServer, serve_broker
from .aio.coap import CoapClient
from .aio.flash import ERASE
from .aio.gateway import GatewayServer, serve_gateway
from .aio.mqtt import MqttClient
from .cli._common import Exit, Fail
from .cli.publish import send
from .provider import ProviderServer, add_class
from .testing import Link, Relay

Told = dict[str, Any]

#: What is on the wire beside the image: manifests, acknowledgements, block requests, keep-alives. A download by blocks of
#: 1024 bytes or chunks of 16 KiB stays well below this.
MOST_OVERHEAD = 0.35
#: The same, absolute: sessions, manifests and reports.
FIXED_OVERHEAD = 24_000
#: What was on its way to a device that is killed comes again when it is back (MQTT 3.1.1 §4.4): as many chunks as it asks for at once.
ON_ITS_WAY = 4 * 16_384


#: Blocks that the agent fetches side by side, and how many of the image are fetched to compare that with one after another.
WINDOW, BLOCKS, BLOCK = 16, 64, 1024
#: The path that they are fetched over: 50 ms there and back; of the datagrams of each direction, every fiftieth gets lost.
PATH = Link(delay=0.025, loss=0.02, seed=1)


class Counting(CoapClient):
    """Counts round trips: a request begins one after that of the last response that was there when it went, and one that is sent
    again none. So they do not depend on how fast the machine is."""

    def __init__(self) -> None:
        super().__init__()
        self.round_trips = 0
        self._went: dict[bytes, int] = {}

    def _transmit(self, peer: int, data: bytes) -> None:
        self._went.setdefault(coap.decode(data).token, self.round_trips + 1)
        super()._transmit(peer, data)

    def _input(self, peer: int, data: bytes) -> None:
        self.round_trips = max(self.round_trips, self._went.get(coap.decode(data).token, 0))
        super()._input(peer, data)


def default_image() -> bytes:
    """A real binary that is always there: the native library of this package."""
    return Path(str(_native.__file__)).read_bytes()


@dataclass(slots=True)
class Row:
    """A line of the final table."""

    device: str
    language: str
    model: str | None = None
    severity: str | None = None
    wire: int = 0
    image: int = 0
    messages: int = 0
    resumed_at: int = 0
    state: str = "?"
    version: str | None = None
    reason: str | None = None
    wrong: str = ""

    @property
    def good(self) -> bool:
        """Whether the line is as it must be."""
        return not self.wrong

    def json(self) -> Told:
        """The line as JSON."""
        return {"good": self.good, **{name: getattr(self, name) for name in Row.__slots__}}


def table(rows: list[Row]) -> Table:
    """The lines for people."""
    shown = Table(title="waft demo", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, justify in (
        ("device", "left"),
        ("language", "left"),
        ("model", "center"),
        ("severity", "left"),
        ("bytes on\nthe wire", "right"),
        ("bytes of\nimage", "right"),
        ("messages", "right"),
        ("resumed\nat", "right"),
        ("final state", "left"),
        ("version", "left"),
    ):
        shown.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for row in rows:
        state = row.state if row.reason is None else f"{row.state}: {row.reason}"
        shown.add_row(
            row.device,
            row.language,
            (row.model or "-").upper(),
            row.severity or "-",
            f"{row.wire:,}",
            f"{row.image:,}",
            f"{row.messages:,}",
            f"{row.resumed_at:,}",
            state,
            row.version or "-",
            style="red" if row.wrong else "",
        )
    return shown


class Process:
    """A device as a process; what it prints is read as it comes."""

    def __init__(self, name: str, bar: Callable[[str, int, int], None]) -> None:
        self.name = name
        self.events: list[Told] = []
        self.done: Told | None = None
        self.noise: list[str] = []
        self.code: int | None = None
        self._bar = bar
        self._news = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self, command: list[str]) -> None:
        """Starts it."""
        self._process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
        )
        self._reader = asyncio.create_task(self._read(self._process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None and process.stderr is not None
        errors = asyncio.create_task(process.stderr.read())
        async for line in process.stdout:
            try:
                told: Told = json.loads(line)
            except ValueError:
                self.noise.append(line.decode("utf-8", "replace").strip())
                continue
            self.events.append(told)
            if told.get("event") == "progress":
                self._bar(self.name, int(told["have"]), int(told["total"]))
            elif told.get("event") == "done":
                self.done = told
            self._news.set()
        self.noise.extend((await errors).decode("utf-8", "replace").splitlines()[-3:])
        self.code = await process.wait()
        self._news.set()

    async def until(self, wanted: Callable[[Told], bool], timeout: float) -> Told | None:
        """The first event, from now on or already there, that is wanted; None if the process ends or time is up."""
        seen = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while True:
                    for told in self.events[seen:]:
                        if wanted(told):
                            return told
                    seen = len(self.events)
                    if self.code is not None:
                        return None
                    self._news.clear()
                    await self._news.wait()
        return None

    async def finish(self, timeout: float) -> Told | None:
        """Waits for its end; gives its last line."""
        if self._reader is not None:
            try:
                await asyncio.wait_for(asyncio.shield(self._reader), timeout)
            except TimeoutError:
                self.noise.append(f"not done within {timeout:.0f} s")
                await self.end(signal.SIGKILL)
        return self.done

    async def end(self, number: signal.Signals) -> None:
        """Sends a signal and waits."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
        if self._reader is not None:
            await self._reader


@dataclass(slots=True)
class Part:
    """A device's part in the demonstration."""

    name: str
    language: str
    class_name: str
    model: ota.Model
    broker: bool = False
    gateway: bool = False
    flags: list[str] = field(default_factory=list)
    version: str = "1.2.0"
    """What it must end with."""
    image: bytes | None = None
    """The image of that version; None: the demonstration's."""


class Demo:
    """See the module's text."""

    VENDOR = uuid.uuid5(uuid.NAMESPACE_DNS, "demo.waft.example")

    def __init__(
        self,
        image: bytes,
        folder: Path,
        rust: Path | None,
        c: Path | None,
        timeout: float,
        console: Console,
        quiet: bool = False,
    ) -> None:
        self.image = image
        self.folder = folder
        self.timeout = timeout
        self.slot = -(-(len(image) + 64) // ERASE) * ERASE
        self.key = ota.SecretKey.generate()
        #: Another image, of the same size.
        self.newer = image[1:] + image[:1]
        self.provider_folder = folder / "provider"
        self.provider_folder.mkdir(exist_ok=True)
        self.programs = {
            "python": [sys.executable, "-m", "waft", "device"],
            "rust": None if rust is None else [str(rust)],
            "c": None if c is None else [str(c)],
        }
        self.console = console
        self.quiet = quiet
        self.progress = Progress(
            TextColumn("  {task.description:<14}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=quiet,
        )
        self.tasks: dict[str, TaskID] = {}
        self.rows: list[Row] = []
        self.running: list[Process] = []
        self.broker: BrokerServer
        self.gateway: GatewayServer
        self.provider: ProviderServer

    # ---- the story -------------------------------------------------------------------------------------------------

    async def run(self) -> list[Row]:
        """All of it."""
        try:
            with ProviderServer(self.provider_folder) as self.provider:
                async with await serve_broker() as self.broker:
                    async with await serve_gateway(self.provider.url, poll=None) as self.gateway:
                        with self.progress:
                            await self._story()
        finally:
            for process in self.running:
                await process.end(signal.SIGKILL)
        return self.rows

    async def _story(self) -> None:
        self.say(
            f"broker on port {self.broker.port}, gateway on port {self.gateway.port}, provider on port {self.provider.port}; "
            f"image of {len(self.image):,} bytes, {hashlib.sha256(self.image).hexdigest()[:16]}"
        )
        await self._deliver()
        await self._window()
        await self._refuse()
        await self._revoke()
        await self._supersede()
        await self._revert()
        await self._kill()

    def say(self, text: str) -> None:
        """A line of the story."""
        if not self.quiet:
            self.progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    async def _deliver(self) -> None:
        a = dict(class_name="pump", model=ota.Model.A, broker=True)
        b = dict(class_name="valve", model=ota.Model.B, broker=True)
        c = dict(class_name="meter", model=ota.Model.C, gateway=True)
        other = "rust" if self.programs["rust"] else "python"
        parts = [
            Part("a-awake", "python", **a),  # type: ignore[arg-type]
            Part("a-asleep", other, **a),  # type: ignore[arg-type]
            Part("b-1", other, **b),  # type: ignore[arg-type]
            Part("c-1", "python", **c),  # type: ignore[arg-type]
            Part("c-2", other, **c),  # type: ignore[arg-type]
            Part("c-3", other, **c),  # type: ignore[arg-type]
        ]
        if self.programs["c"]:
            parts += [
                Part("a-in-c", "c", **a),  # type: ignore[arg-type]
                Part("b-in-c", "c", **b),  # type: ignore[arg-type]
                Part("c-in-c", "c", **c),  # type: ignore[arg-type]
            ]
        add_class(self.provider_folder, "meter")
        await self.gateway.poll()
        self.say(f"{len(parts)} devices start; a-asleep subscribes and falls asleep")
        processes = {part.name: await self.launch(part) for part in parts}
        await self._settle(parts)
        sleeper = parts[1]
        awake = self.broker.broker.stats.connected
        await processes[sleeper.name].end(signal.SIGTERM)
        await self.until("a-asleep is away", lambda: self.broker.broker.stats.connected < awake)

        self.say("release 1.2.0 is signed and published: high severity by A, medium by B, low by C")
        await self.publish("pump", ota.Model.A, 2, "1.2.0", ota.UpdateType.SECURITY, ota.Severity.HIGH)
        await self.publish("valve", ota.Model.B, 2, "1.2.0", ota.UpdateType.SOFTWARE, ota.Severity.MEDIUM)
        await self.publish("meter", ota.Model.C, 2, "1.2.0", ota.UpdateType.SOFTWARE, ota.Severity.LOW)
        await processes["a-awake"].until(lambda e: e.get("event") == "progress", self.timeout)
        self.say("a-asleep wakes up")
        processes[sleeper.name] = await self.launch(sleeper)

        for part in parts:
            await self.finish(part, processes[part.name])
        fetched = self.provider.counts[f"meter/image/{ota.image_id(self.image)}"]
        observers = sum(1 for part in parts if part.model is ota.Model.C)
        if fetched != 1:
            self.rows[-1].wrong = f"the provider was asked {fetched} times for the image of model C, not once"
        self.say(f"the gateway fetched the image of model C {fetched}× from the provider for {observers} devices")

    async def _window(self) -> None:
        part = (self.image * (BLOCKS * BLOCK // len(self.image) + 1))[: BLOCKS * BLOCK]
        self.gateway.put("/window/part", part)
        self.say(f"{len(part):,} bytes of the image over 50 ms and 2 % loss, block after block, then {WINDOW} blocks side by side")
        row = Row("window", "python", "b, c", image=len(part))
        self.rows.append(row)
        round_trips: list[int] = []
        for window in (1, WINDOW):
            # Each time anew: what happens to the n-th datagram is the same.
            async with Relay(self.gateway.port, dataclasses.replace(PATH)) as relay, await Counting.open() as client:
                began = time.monotonic()
                try:
                    uri = f"coap://127.0.0.1:{relay.port}/window/part"
                    answer = await asyncio.wait_for(client.get(uri, window=window), self.timeout)
                except (TimeoutError, OSError) as e:
                    row.state, row.wrong = "no answer", f"{window} at a time: {e or 'not in time'}"
                    return
                seconds, row.wire, row.messages = time.monotonic() - began, client.received + client.sent, client.datagrams
            round_trips.append(client.round_trips)
            self.say(f"  {window:2} at a time: {client.round_trips} round trips, {seconds:.1f} s")
            if answer.payload != part:
                row.wrong = f"{window} at a time: not what is served"
        row.state = "{} → {} round trips".format(*round_trips)
        row.wrong = row.wrong or self._judge_window(*round_trips)

    @staticmethod
    def _judge_window(alone: int, side_by_side: int) -> str:
        """What is wrong with that; nothing, where the window saves two round trips of three at least."""
        if alone < BLOCKS:
            return f"{alone} round trips for {BLOCKS} blocks, one after another: the count is wrong"
        if side_by_side * 3 > alone:
            return f"{side_by_side} round trips by a window of {WINDOW}, and {alone} without: it must be a third at most"
        return ""

    async def _settle(self, parts: list[Part]) -> None:
        """Until every device has subscribed to its manifest, or observes it."""
        subscribers = sum(part.broker for part in parts)
        observers = sum(part.gateway for part in parts)
        await self.until(
            "every device subscribes or observes",
            lambda: (
                self.broker.broker.stats.subscriptions >= subscribers
                and self.gateway.gateway.observers("/meter/manifest") >= observers
            ),
        )

    async def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Waits, but not for ever."""
        try:
            async with asyncio.timeout(self.timeout):
                while not holds():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise Fail(Exit.FAILED, f"not within {self.timeout:.0f} s: {what}") from None

    async def _refuse(self) -> None:
        self.say("now what must be refused: a tampered image, an older release, a manifest for another class")

        # Tampered on its way: the manifest is good, one byte of the image is not.
        tampered = bytearray(self.image)
        tampered[len(tampered) // 2] ^= 0x01
        await self.publish("tampered", ota.Model.A, 2, "1.3.0", delivered=bytes(tampered))
        part = Part("tampered", "python", "tampered", ota.Model.A, broker=True, flags=["--until", "refused"])
        await self.finish(part, await self.launch(part), refused="ImageDigest")

        # Older than what is confirmed: the first device, whose floor is 2 now.
        older = self.image[: len(self.image) - 1]
        await self.publish("pump", ota.Model.A, 1, "1.0.0", image=older)
        part = Part("a-awake", "python", "pump", ota.Model.A, broker=True, flags=["--until", "refused"])
        await self.finish(part, await self.launch(part), refused="Rollback", label="older release")

        # For another class, under this class's name.
        await self.publish("foreign", ota.Model.A, 2, "1.3.0", signed_for="other")
        part = Part("foreign", "python", "foreign", ota.Model.A, broker=True, flags=["--until", "refused"])
        await self.finish(part, await self.launch(part), refused="Class", label="other class")

    async def _revoke(self) -> None:
        self.say("a second key signs a release; a table of keys revokes it; what it signs from then on is refused")
        other = ota.SecretKey.generate()
        flags = ["--key", other.public.hex(), "--rotation"]
        language = "c" if self.programs["c"] else "python"
        part = Part("revoked", language, "revoked", ota.Model.A, broker=True, flags=flags, version="1.1.0")
        await self.publish("revoked", ota.Model.A, 1, "1.1.0", key=other)
        row = await self.finish(part, await self.launch(part), shown=False)
        if not row.good:
            return
        table = ota.KeyTable((ota.Key(self.key.public),), epoch=1)
        envelope = table.sign(self.key, vendor=self.VENDOR, class_id=self.class_id("revoked"), sequence=2)
        self.broker.publish("waft/revoked/manifest", envelope, 1, True)
        process = await self.launch(part)
        done = await process.finish(self.timeout)
        kept = self.flash(part)[2 * ERASE + 2 * self.slot :][: len(table.to_bytes())]
        await self.publish("revoked", ota.Model.A, 3, "1.3.0", key=other)
        part.flags += ["--until", "refused"]
        row = await self.finish(part, await self.launch(part), refused="UnknownKey", label="revoked key")
        if row.good and (process.code != 0 or done is None or done.get("state") != "confirmed" or kept != table.to_bytes()):
            row.wrong = f"the table of keys must be confirmed and kept in flash, not {done}"

    async def _supersede(self) -> None:
        self.say("a newer release arrives while an older one is being fetched")
        await self.publish("overtaken", ota.Model.A, 2, "1.2.0", ota.UpdateType.SECURITY, ota.Severity.HIGH)
        part = Part("superseded", "python", "overtaken", ota.Model.A, broker=True, version="1.4.0", image=self.newer)
        process = await self.launch(part, self.slow())
        told = await process.until(lambda e: e.get("event") == "progress" and e["have"] * 3 >= len(self.image), self.timeout)
        await self.publish("overtaken", ota.Model.A, 4, "1.4.0", severity=ota.Severity.HIGH, image=self.newer)
        row = await self.finish(part, process)
        states = [e.get("state") for e in process.events if e.get("event") == "state"]
        if row.good and (told is None or states.count("announced") != 2 or states.count("fetched") != 1):
            row.wrong = f"the older release must be given up in mid-download, not go through {states}"

    async def _revert(self) -> None:
        self.say("an image crashes in its trial, however often it is booted: the one before it is back")
        language = "rust" if self.programs["rust"] else "python"
        part = Part("trial", language, "trial", ota.Model.A, broker=True)
        await self.publish("trial", ota.Model.A, 2, "1.2.0", ota.UpdateType.SECURITY, ota.Severity.HIGH)
        row = await self.finish(part, await self.launch(part), shown=False)
        if not row.good:
            return
        await self.publish("trial", ota.Model.A, 3, "1.3.0", severity=ota.Severity.HIGH, image=self.newer)
        part.flags += ["--self-test", "crash"]
        process = await self.launch(part)
        row = await self.finish(part, process, reverted="1.3.0", label="trial fails")
        report = await self.report(part)
        if row.good and (report.state is not ota.State.REVERTED or report.reason != "Trial" or report.sequence != 3):
            row.wrong = f"what it reports must be that 1.3.0 was reverted, not {report}"

    async def _kill(self) -> None:
        self.say("a device is killed in mid-download, and again while it stores")
        await self.publish("killed", ota.Model.A, 2, "1.2.0", ota.UpdateType.SECURITY, ota.Severity.HIGH)
        part = Part("killed", "python", "killed", ota.Model.A, broker=True)
        size = len(self.image)
        slow = self.slow()
        first = await self.launch(part, slow)
        told = await first.until(lambda e: e.get("event") == "progress" and e["have"] * 3 >= size, self.timeout)
        await first.end(signal.SIGKILL)
        have = max((int(e["have"]) for e in first.events if e.get("event") == "progress"), default=0)
        self.say(f"  killed with {have:,} bytes")
        second = await self.launch(part, slow)
        caught = await second.until(lambda e: e.get("event") == "storing" and e["offset"] * 3 >= 2 * size, self.timeout)
        await second.end(signal.SIGKILL)
        resumed = [int(e["have"]) for e in second.events if e.get("event") == "progress"]
        stored = int(caught["offset"]) if caught else 0
        self.say(f"  killed while it stored at {stored:,}")
        third = await self.launch(part)
        row = await self.finish(part, third, label="killed twice")
        block = 2 * ERASE
        if row.good and (told is None or caught is None):
            row.wrong = "the device was finished before it could be killed"
        if row.good and (not resumed or resumed[0] + block < have):
            row.wrong = f"after the first kill at {have:,} bytes it began again at {resumed[:1]}"
        if row.good and row.resumed_at + block < stored:
            row.wrong = f"it resumed at {row.resumed_at:,}, but had {stored:,}"
        rest = size - row.resumed_at
        if row.good and row.wire > rest * (1 + MOST_OVERHEAD) + FIXED_OVERHEAD + ON_ITS_WAY:
            row.wrong = f"{row.wire:,} bytes on the wire for the {rest:,} that were missing"

    def slow(self) -> list[str]:
        """Flash as slow as it takes for a device to be caught in the act, and no slower than 4 s in all."""
        blocks = max(1, len(self.image) // ERASE)
        return ["--flash-delay", f"{min(20.0, 4000 / (4 * blocks)):.3f}"]

    # ---- its tools -------------------------------------------------------------------------------------------------

    def class_id(self, name: str) -> uuid.UUID:
        """The UUID of a class."""
        return uuid.uuid5(self.VENDOR, name)

    async def publish(
        self,
        class_name: str,
        model: ota.Model,
        sequence: int,
        version: str,
        kind: ota.UpdateType = ota.UpdateType.SOFTWARE,
        severity: ota.Severity = ota.Severity.HIGH,
        *,
        image: bytes | None = None,
        delivered: bytes | None = None,
        signed_for: str | None = None,
        key: ota.SecretKey | None = None,
    ) -> None:
        """Signs and publishes a release, as ``waft sign`` and ``waft publish`` do."""
        image = self.image if image is None else image
        uri = f"image/{ota.image_id(image)}"
        if model is ota.Model.B:
            uri = f"coap://127.0.0.1:{self.gateway.port}/{class_name}/{uri}"
        release = ota.Release(
            image=image,
            vendor=self.VENDOR,
            class_id=self.class_id(signed_for or class_name),
            sequence=sequence,
            version=version,
            kind=kind,
            severity=severity,
            uri=uri,
        )
        key = key or self.key
        envelope = release.sign(key)
        (self.folder / f"{class_name}-{version}.suit").write_bytes(envelope)
        manifest = ota.verify(envelope, [key.public])
        await send(
            model,
            envelope,
            image if delivered is None else delivered,
            manifest,
            class_name,
            "waft",
            f"127.0.0.1:{self.broker.port}",
            None if model is ota.Model.A else self.provider_folder,
        )
        if model is not ota.Model.A:
            await self.gateway.poll()

    async def report(self, part: Part) -> ota.Report:
        """The last report of a device, which the broker retains."""
        async with await MqttClient.connect("127.0.0.1", self.broker.port) as client:
            await client.subscribe(f"waft/{part.class_name}/{part.name}/report")
            return ota.read_report((await client.next_message(self.timeout)).payload)[0]

    def flash(self, part: Part) -> bytes:
        """What is in a device's flash."""
        return (self.folder / f"{part.name}.flash").read_bytes()

    def bar(self, name: str, have: int, total: int) -> None:
        """Moves a device's progress bar."""
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, total=total, note="")
        self.progress.update(self.tasks[name], completed=have, total=total)

    async def launch(self, part: Part, more: list[str] | None = None) -> Process:
        """Starts a device."""
        program = self.programs[part.language]
        assert program is not None
        command = [
            *program,
            *("--name", part.name, "--root", "waft", "--vendor", str(self.VENDOR)),
            *("--class", str(self.class_id(part.class_name)), "--class-name", part.class_name),
            *("--key", self.key.public.hex(), "--flash", str(self.folder / f"{part.name}.flash")),
            *("--slot-size", str(self.slot), "--seed", str(int.from_bytes(os.urandom(3), "big"))),
            *(("--broker", f"127.0.0.1:{self.broker.port}") if part.broker else ()),
            *(("--gateway", f"coap://127.0.0.1:{self.gateway.port}") if part.gateway else ()),
            *part.flags,
            *(more or []),
        ]
        process = Process(part.name, self.bar)
        self.running.append(process)
        await process.start(command)
        return process

    async def finish(
        self,
        part: Part,
        process: Process,
        *,
        refused: str | None = None,
        reverted: str | None = None,
        label: str | None = None,
        shown: bool = True,
    ) -> Row:
        """Waits for a device's end and judges its last line. One that is not ``shown`` is, where it is not as it must be."""
        row = await self._finished(part, process, refused, reverted, label)
        if shown or not row.good:
            self.rows.append(row)
        return row

    async def _finished(
        self, part: Part, process: Process, refused: str | None, reverted: str | None, label: str | None
    ) -> Row:
        done = await process.finish(self.timeout)
        row = Row(label or part.name, part.language)
        if done is None:
            row.state = "no answer"
            row.wrong = "it did not finish: " + "; ".join(process.noise or ["nothing was printed"])
            return row
        row.model = done.get("model")
        row.severity = done.get("severity")
        row.wire = int(done.get("rx", 0)) + int(done.get("tx", 0))
        row.image = int(done.get("image", 0))
        row.messages = int(done.get("messages", 0))
        row.resumed_at = int(done.get("resumed_at", 0))
        row.state = str(done.get("state"))
        row.version = done.get("version")
        row.reason = done.get("reason")
        if part.name in self.tasks:
            self.progress.update(self.tasks[part.name], note=row.state)
        row.wrong = self._judge(part, process, row, refused, reverted)
        if reverted is not None and row.good:
            row.version = part.version  # what runs
        return row

    def _judge(
        self, part: Part, process: Process, row: Row, refused: str | None = None, reverted: str | None = None
    ) -> str:
        """What is wrong with a line; nothing, if it is as it must be."""
        image = self.image if part.image is None else part.image
        if reverted is not None:
            if process.code != 4 or (row.state, row.reason, row.version) != ("reverted", "Trial", reverted):
                return f"{reverted} must be reverted with exit code 4, not {row.state} ({row.reason}), code {process.code}"
            flash = self.flash(part)
            decision = ota.boot(flash[:ERASE], flash[ERASE : 2 * ERASE])
            if decision.trial or flash[2 * ERASE + decision.slots * self.slot :][: len(image)] != image:
                return f"it does not boot {part.version}"
            return ""
        if refused is not None:
            if process.code != 3 or row.reason != refused:
                return f"it must be refused as {refused} with exit code 3, not {row.state} ({row.reason}), code {process.code}"
            return ""
        if process.code != 0 or row.state != "confirmed":
            return f"it must be confirmed, not {row.state} ({row.reason}), code {process.code}: " + "; ".join(process.noise)
        if row.reason is not None:
            return f"it was confirmed, but reported {row.reason} on the way"
        if row.model != part.model.value:
            return f"it must come by model {part.model.upper()}, not {row.model}"
        if row.version != part.version or row.image != len(image):
            return f"it must be version {part.version} of {len(image):,} bytes"
        if row.wire < row.image - row.resumed_at:
            return "fewer bytes on the wire than the image has: the count is wrong"
        flash = self.flash(part)
        slots = [flash[2 * ERASE + n * self.slot :][: len(image)] for n in (0, 1)]
        if image not in slots:
            return "its flash does not hold the image"
        return ""
