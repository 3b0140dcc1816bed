"""A device on asyncio: the agent with a file for flash, a TCP stream to the broker, UDP sockets to CoAP servers."""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from .. import agent as agents
from .. import ota
from .._errors import PeerError
from ..agent import Link
from ._driver import Driver, offer
from .flash import ERASE, FileFlash

#: Stream bytes that may wait for the agent before reading from the socket pauses.
HIGH_WATER = 64 << 10

Told = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """What a device is told once."""

    name: str
    class_name: str
    vendor: uuid.UUID
    class_id: uuid.UUID
    keys: list[bytes]
    flash: Path
    root: str = "waft"
    slot_size: int = 1 << 20
    more_slots: tuple[int, ...] = ()
    """Bytes of a slot of each image besides the firmware, from image 1 on."""
    broker: tuple[str, int] | None = None
    gateway: tuple[str, int] | None = None
    username: str | None = None
    password: bytes | None = None
    seed: int = 0
    stall_ms: int = 3_000
    retry_ms: int = 500
    rotation: bool = False
    """Keys can be replaced by a release that brings a table of them."""
    device_id: uuid.UUID | None = None
    """For manifests that are for one device only, and for its turn in a fleet."""
    jitter_ms: int = 0
    """A download begins so much later at most, by a share that ``device_id`` and the manifest give."""
    backoff_ms: int = 60_000
    """The first pause before a download that came to nothing is made again."""
    window: tuple[int, int] | None = None
    """When downloads are made: the second of the day, UTC, when they may begin, and for how many seconds. It takes ``clock``."""
    battery: int = 0
    """The least charge to download and to reboot with, mWh, where ``charge`` says what there is."""
    step: int = 1 << 32
    """How far above that of the last confirmed release a sequence number may lie."""
    attempts: int = 3
    """How often a new image is booted before the bootloader goes back."""
    trial_ms: int = 600_000
    """How long a new image may run without being confirmed."""
    version: str | None = None
    """The version that is installed: manifests may ask for it."""
    charge: int | None = None
    """The charge of its battery, mWh."""
    clock: bool = False
    """It has a clock that can be believed: this computer's."""
    report_key: ota.SecretKey | None = None
    """What it signs its reports with; their numbers rise with this computer's time."""
    self_test: str = "pass"
    """What a new image finds out about itself: ``"pass"``, ``"fail"``, or ``"crash"``: it reboots without a word."""
    flash_delay: float = 0.0
    """Seconds that each write to a slot takes, half of it with only half of the bytes written: as slow flash does."""


@dataclass(slots=True)
class Outcome:
    """What became of the update; the last line that ``waft device`` prints."""

    state: str = "idle"
    model: str | None = None
    severity: str | None = None
    version: str | None = None
    sequence: int = 0
    rx: int = 0
    tx: int = 0
    image: int = 0
    messages: int = 0
    resumed_at: int = 0
    reason: str | None = None


@dataclass(slots=True)
class _Udp(asyncio.DatagramProtocol):
    """A connected UDP socket."""

    boot: Boot
    peer: int
    transport: asyncio.DatagramTransport | None = field(default=None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.boot._datagram(self.peer, data)

    def error_received(self, exc: Exception) -> None:
        """ICMP errors are hints only: the agent's own time-outs decide."""


class _Tcp(asyncio.Protocol):
    """The stream to the broker."""

    def __init__(self, boot: Boot, peer: int) -> None:
        self.boot = boot
        self.peer = peer
        self.transport: asyncio.Transport | None = None
        self.rx = bytearray()
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self.rx += data
        self.boot._outcome.rx += len(data)
        self.pace()
        self.boot.turn()

    def pace(self) -> None:
        """TCP's own flow control holds the broker back while flash is busy."""
        if self.transport is None or self.transport.is_closing():
            return
        if len(self.rx) > HIGH_WATER and not self.paused:
            self.transport.pause_reading()
            self.paused = True
        elif len(self.rx) <= HIGH_WATER // 2 and self.paused:
            self.transport.resume_reading()
            self.paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.boot._stream_lost(self)


class Boot(Driver):
    """One boot of a device: from power-on to a reboot or to the end."""

    def __init__(
        self, config: DeviceConfig, flash: FileFlash, outcome: Outcome, seed: int, tell: Callable[[Told], None]
    ) -> None:
        # What a bootloader does: choose the slot, count the attempt.
        decision = ota.boot(*flash.journal())
        if decision.note is not None:
            if decision.note.erase is not None:
                flash.erase(ota.Area.JOURNAL, decision.note.erase * ERASE, ERASE)
            flash.store(ota.Area.JOURNAL, decision.note.page * ERASE + decision.note.offset, decision.note.data)
        self.agent = agents.Agent(
            root=config.root,
            class_name=config.class_name,
            device=config.name,
            broker=config.broker,
            gateway=config.gateway,
            username=config.username,
            password=config.password,
            vendor=config.vendor.bytes,
            class_id=config.class_id.bytes,
            keys=config.keys,
            running=decision.slots,
            slot_size=config.slot_size,
            more_slots=list(config.more_slots),
            erase_size=ERASE,
            write_size=4,
            rotation=config.rotation,
            device_id=None if config.device_id is None else config.device_id.bytes,
            jitter=config.jitter_ms * 1_000,
            backoff=config.backoff_ms * 1_000,
            window=config.window,
            battery=config.battery,
            step=config.step,
            attempts=config.attempts,
            trial=config.trial_ms * 1_000,
            version=config.version or "",
            stall=config.stall_ms * 1_000,
            retry=config.retry_ms * 1_000,
            seed=seed,
        )
        if config.report_key is not None:
            self.agent.sign_reports(config.report_key, int(time.time()))
        super().__init__(self.agent)
        self._config = config
        self._flash = flash
        self._outcome = outcome
        self._tell = tell
        self._peers = 0
        self._tcp: _Tcp | None = None
        self._udp: dict[int, _Udp] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turning = False
        #: Done when the device wants to reboot (True), or is at the end of an update (False).
        self.ended: asyncio.Future[bool] = self._loop.create_future()
        self.rebooting = False
        self.settle = False

    def start(self) -> None:
        """Power on."""
        self.agent.start(self.now())
        config = self._config
        clock = int(time.time()) if config.clock else None
        self.agent.tell(self.now(), time=clock, battery=config.charge, version=config.version)
        self.turn()

    def turn(self) -> None:
        """Drains the agent and offers it what has come of the stream, until neither does anything."""
        if self._turning or self._stopped:
            return
        self._turning = True
        try:
            while True:
                self.drain()
                if not self._offer():
                    break
        finally:
            self._turning = False
        if self.settle and not self.ended.done() and self.agent.is_settled:
            self.ended.set_result(self.rebooting)

    def _expired(self) -> None:
        self._timer = None
        if not self._stopped:
            self.agent.handle_timeout(self.now())
            self.turn()

    def _offer(self) -> bool:
        tcp = self._tcp
        if tcp is None or not tcp.rx or self._stopped:
            return False
        try:
            handled = offer(tcp.rx, lambda head: self.agent.handle_input(self.now(), tcp.peer, head))
        except PeerError:
            self._close(tcp.peer)
            return True
        tcp.pace()
        if handled.event is not None:
            self._event(handled.event)
        return handled.consumed > 0 or handled.event is not None

    def _datagram(self, peer: int, data: bytes) -> None:
        if self._stopped:
            return
        self._outcome.rx += len(data)
        handled = self.agent.handle_input(self.now(), peer, data)
        if handled.event is not None:
            self._event(handled.event)
        self.turn()

    def _stream_lost(self, tcp: _Tcp) -> None:
        if self._tcp is tcp:
            self._tcp = None
            if not self._stopped:
                self.agent.closed(self.now(), Link.BROKER)
                self.turn()

    def _transmit(self, peer: int, data: bytes) -> None:
        self._outcome.tx += len(data)
        if self._tcp is not None and self._tcp.peer == peer:
            if self._tcp.transport is not None:
                self._tcp.transport.write(data)
        elif (udp := self._udp.get(peer)) is not None and udp.transport is not None:
            udp.transport.sendto(data)

    def _event(self, event: agents.Event) -> None:
        now = self.now()
        match event:
            case agents.Open(link, host, port):
                task = self._loop.create_task(self._open(link, host, port))
                self._tasks.add(task)
                task.add_done_callback(self._tried)
            case agents.Close(_, peer):
                self._close(peer)
            case agents.Refused(code, name):
                self._tell({"event": "broker-refused", "code": code, "name": name})
            case ota.Load(area, offset, length, image):
                self.agent.loaded(now, self._flash.load(area, offset, length, image))
            case ota.Erase(area, offset, length, image):
                self._flash.erase(area, offset, length, image)
                self.agent.done(now)
            case ota.Store(area, offset, data, image):
                if self._config.flash_delay > 0:
                    self._store_slowly(area, offset, data, image)
                else:
                    self._flash.store(area, offset, data, image)
                    self._stored()
            case ota.Record(offset, data):
                self._flash.store(ota.Area.JOURNAL, offset, data)
                self.agent.done(now)
            case ota.Activate():
                self.agent.done(now)
                self.rebooting = True
                self._after(0.0)
            case ota.StateChanged(state):
                self._state(state)
            case ota.Report(state, reason):
                self._report(state, reason)
            case _:
                pass

    def _store_slowly(self, area: ota.Area, offset: int, data: bytes, image: int) -> None:
        half = len(data) // 2
        self._flash.store(area, offset, data[:half], image)
        self._tell({"event": "storing", "area": int(area), "offset": offset, "len": len(data)})

        def rest() -> None:
            if not self._stopped:
                self._flash.store(area, offset + half, data[half:], image)
                self._stored()
                self.turn()

        self._loop.call_later(self._config.flash_delay, rest)

    def _stored(self) -> None:
        self.agent.done(self.now())
        have, total = self.agent.progress
        self._tell({"event": "progress", "have": have, "total": total})

    def _note_manifest(self) -> None:
        outcome, manifest = self._outcome, self.agent.manifest
        if manifest is not None:
            outcome.version = manifest.version
            outcome.severity = manifest.severity.value
            outcome.sequence = manifest.sequence
            outcome.image = manifest.image_size
        if self.agent.model is not None:
            outcome.model = self.agent.model

    def _state(self, state: ota.State) -> None:
        self._note_manifest()
        told: Told = {"event": "state", "state": state.value}
        if self._outcome.model is not None:
            told["model"] = self._outcome.model
        self._tell(told)
        match state:
            case ota.State.TRIAL:
                self._self_test()
            case ota.State.CONFIRMED | ota.State.REVERTED | ota.State.FAILED:
                self._outcome.state = state.value
                self._after(2.0)
            case _:
                pass

    def _self_test(self) -> None:
        """Here a product finds out whether it still does what it is for."""
        match self._config.self_test:
            case "pass":
                self.agent.confirm(self.now())
            case "fail":
                self.agent.reject(self.now())
            case _:
                # It crashes: nothing is told, and power comes again.
                self.rebooting = True
                if not self.ended.done():
                    self.ended.set_result(True)

    def _report(self, state: ota.State, reason: str | None) -> None:
        if reason is not None:
            self._outcome.reason = reason
            if state is not ota.State.REVERTED:
                self._outcome.state = "refused"
            self._tell({"event": "refused", "reason": reason})
            self._after(2.0)

    def _after(self, seconds: float) -> None:
        """The boot ends when all is told, but does not wait for it longer than this."""
        self.settle = True

        def late() -> None:
            if not self.ended.done():
                self.ended.set_result(self.rebooting)

        self._loop.call_later(seconds, late)

    async def _open(self, link: Link, host: str, port: int) -> None:
        peer = self._peers
        self._peers += 1
        try:
            if link is Link.BROKER:
                tcp = _Tcp(self, peer)
                await asyncio.wait_for(self._loop.create_connection(lambda: tcp, host, port), 5)
                self._tcp = tcp
            else:
                udp = _Udp(self, peer)
                await asyncio.wait_for(
                    self._loop.create_datagram_endpoint(lambda: udp, remote_addr=(host, port)), 5
                )
                self._udp[peer] = udp
        except (OSError, TimeoutError) as e:
            if not self._stopped:
                self._tell({"event": "unreachable", "host": host, "port": port, "why": str(e) or "timed out"})
                self.agent.closed(self.now(), link)
                self.turn()
            return
        if self._stopped:
            self._close(peer)
            return
        self.agent.opened(self.now(), link, peer)
        self.turn()

    def _tried(self, task: asyncio.Task[None]) -> None:
        """What the agent does not go on with, such as a user name that MQTT has no room for, ends the boot and is raised where it is
        waited for."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self.ended.done():
            self.ended.set_exception(error)

    def _close(self, peer: int) -> None:
        if self._tcp is not None and self._tcp.peer == peer:
            tcp, self._tcp = self._tcp, None
            if tcp.transport is not None:
                tcp.transport.close()
        udp = self._udp.pop(peer, None)
        if udp is not None and udp.transport is not None:
            udp.transport.close()

    def power_off(self) -> None:
        """Everything but the flash is gone."""
        self._note_manifest()
        stats = self.agent.stats
        self._outcome.messages += stats.received + stats.sent
        self._outcome.resumed_at = max(self._outcome.resumed_at, stats.resumed_at)
        self._stop()
        for task in self._tasks:
            task.cancel()
        if self._tcp is not None:
            self._close(self._tcp.peer)
        for peer in list(self._udp):
            self._close(peer)


class Device:
    """A device under update: ``outcome = await Device(config).run()``."""

    def __init__(self, config: DeviceConfig, on_event: Callable[[Told], None] | None = None) -> None:
        self.config = config
        self.outcome = Outcome()
        self._tell = on_event if on_event is not None else lambda event: None

    async def run(self, until: str = "confirmed", timeout: float | None = None) -> Outcome:
        """Runs, rebooting where an update asks for it.

        ``until`` is ``"confirmed"`` (an update was confirmed or has failed), ``"refused"`` (or one was refused), or
        ``"forever"``; with a ``timeout`` in seconds it ends then at the latest.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        seed = self.config.seed
        with FileFlash(self.config.flash, self.config.slot_size, self.config.more_slots) as flash:
            while True:
                boot = Boot(self.config, flash, self.outcome, seed, self._tell)
                try:
                    boot.start()
                    again = await self._boot(boot, until, deadline)
                finally:
                    boot.power_off()
                if not again:
                    return self.outcome
                seed += 1

    async def _boot(self, boot: Boot, until: str, deadline: float | None) -> bool:
        """Whether the device boots again."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    reboot = await asyncio.shield(boot.ended)
            except TimeoutError:
                return False
            if reboot:
                self._tell({"event": "reboot"})
                return True
            final = self.outcome.state in ("confirmed", "reverted", "failed")
            if until != "forever" and (final or (until == "refused" and self.outcome.reason is not None)):
                return False
            # Refused, and something better may come.
            boot.settle = False
            boot.ended = loop.create_future()


__all__ = ["Boot", "Device", "DeviceConfig", "Outcome"]
