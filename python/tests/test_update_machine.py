"""The update machine over a file for flash, and what power cuts do to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Fleet, make_image

import waft
from waft import ota
from waft._machine import Timeout
from waft.aio.flash import ERASE, FileFlash

IMAGE = make_image(20_001)
SLOT = 8 * ERASE


class PowerCut(Exception):
    """The device lost power."""


class Device:
    """An update machine and its flash."""

    def __init__(self, path: Path, fleet: Fleet, cut_after: int | None = None) -> None:
        self.flash = FileFlash(path, SLOT)
        decision = ota.boot(*self.flash.journal())
        if decision.note is not None:
            if decision.note.erase is not None:
                self.flash.erase(ota.Area.JOURNAL, decision.note.erase * ERASE, ERASE)
            self.flash.store(ota.Area.JOURNAL, decision.note.page * ERASE + decision.note.offset, decision.note.data)
        self.slot = decision.slots
        self.machine = ota.Update(
            vendor=fleet.vendor.bytes,
            class_id=fleet.class_id.bytes,
            keys=[fleet.key.public],
            slot_size=SLOT,
            running=decision.slots,
        )
        self.now = 0
        self.cut_after = cut_after
        self.states: list[ota.State] = []
        self.reports: list[ota.Report] = []
        self.fetched_from: list[int] = []
        self.activated = False
        self.machine.start(0)
        self.drain()

    def write(self, place: ota.Area, offset: int, data: bytes) -> None:
        if self.cut_after is not None and self.cut_after < len(data):
            self.flash.store(place, offset, data[: self.cut_after])
            self.flash.close()
            raise PowerCut
        if self.cut_after is not None:
            self.cut_after -= len(data)
        self.flash.store(place, offset, data)

    def act(self, event: ota.Event) -> None:
        match event:
            case ota.Load(area, offset, length):
                self.machine.loaded(self.now, self.flash.load(area, offset, length))
            case ota.Erase(area, offset, length):
                self.flash.erase(area, offset, length)
                self.machine.done(self.now)
            case ota.Store(area, offset, data):
                self.write(area, offset, data)
                self.machine.done(self.now)
            case ota.Record(offset, data):
                self.write(ota.Area.JOURNAL, offset, data)
                self.machine.done(self.now)
            case ota.Activate():
                self.machine.done(self.now)
                self.activated = True
            case ota.StateChanged(state):
                self.states.append(state)
            case ota.Fetch(offset):
                self.fetched_from.append(offset)
            case ota.Report():
                self.reports.append(event)

    def drain(self) -> None:
        while not isinstance(event := self.machine.poll_output(self.now), Timeout):
            self.act(event)  # type: ignore[arg-type]

    def download(self, image: bytes) -> None:
        """Gives it what it wants until it wants nothing."""
        for _ in range(10_000):
            wanted = self.machine.wanted
            if wanted is None:
                return
            handled = self.machine.data(self.now, wanted.offset, image[wanted.offset : min(wanted.end, wanted.offset + 700)])
            if handled.event is not None:
                self.act(handled.event)
            self.drain()
        pytest.fail("the download does not end")

    def image(self) -> bytes:
        return self.flash.load(ota.Area.SLOT1, 0, len(IMAGE))


def test_an_update_is_fetched_tried_and_confirmed(tmp_path: Path, fleet: Fleet) -> None:
    envelope = fleet.sign(IMAGE, 5, "1.2.0", severity=ota.Severity.HIGH)
    device = Device(tmp_path / "flash", fleet)
    device.machine.announce(0, envelope)
    device.drain()
    assert device.machine.manifest == ota.inspect(envelope)
    device.download(IMAGE)
    assert device.activated and device.machine.state is ota.State.READY
    assert device.image() == IMAGE
    assert device.machine.floor == 0, "the floor rises at confirm, not before"
    device.flash.close()

    device = Device(tmp_path / "flash", fleet)
    assert device.slot == 1 and device.machine.state is ota.State.TRIAL
    device.machine.confirm(0)
    device.drain()
    assert device.machine.state is ota.State.CONFIRMED
    assert (device.machine.floor, device.machine.active_slots) == (5, 1)
    with pytest.raises(waft.Refusal) as e:
        device.machine.announce(0, fleet.sign(IMAGE, 4, "1.1.0"))
    assert e.value.name == "Rollback"
    device.drain()
    assert device.reports[-1].reason == "Rollback"
    device.flash.close()


def test_a_rejected_trial_goes_back(tmp_path: Path, fleet: Fleet) -> None:
    device = Device(tmp_path / "flash", fleet)
    device.machine.announce(0, fleet.sign(IMAGE))
    device.drain()
    device.download(IMAGE)
    device.flash.close()
    device = Device(tmp_path / "flash", fleet)
    device.machine.reject(0)
    device.drain()
    assert device.machine.state is ota.State.REVERTED
    device.flash.close()
    assert Device(tmp_path / "flash", fleet).slot == 0


def test_a_tampered_image_is_refused(tmp_path: Path, fleet: Fleet) -> None:
    device = Device(tmp_path / "flash", fleet)
    device.machine.announce(0, fleet.sign(IMAGE))
    device.drain()
    device.download(IMAGE[:-1] + b"\x00")
    assert device.machine.state is ota.State.FAILED
    assert device.machine.reason == "ImageDigest"
    assert not device.activated
    device.flash.close()


def test_another_class_and_too_large_an_image_are_refused(tmp_path: Path, fleet: Fleet) -> None:
    import uuid

    device = Device(tmp_path / "flash", fleet)
    other = Fleet(fleet.key, fleet.vendor, uuid.uuid4())
    with pytest.raises(waft.Refusal) as e:
        device.machine.announce(0, other.sign(IMAGE))
    assert e.value.name == "Class"
    with pytest.raises(waft.Refusal) as e:
        device.machine.announce(0, fleet.sign(make_image(SLOT + 1)))
    assert e.value.name == "Size"
    device.flash.close()


@pytest.mark.parametrize("cut", [0, 1, 127, 128, 129, 1_000, 4_095, 4_096, 4_097, 9_000, 15_000, 20_500])
def test_a_power_cut_inside_a_write_costs_no_more_than_a_block(tmp_path: Path, fleet: Fleet, cut: int) -> None:
    envelope = fleet.sign(IMAGE)
    device = Device(tmp_path / "flash", fleet)
    device.cut_after = cut
    reached = 0
    try:
        device.machine.announce(0, envelope)
        device.drain()
        device.download(IMAGE)
        pytest.fail("the power was not cut")
    except PowerCut:
        reached = device.machine.progress[0]

    device = Device(tmp_path / "flash", fleet)
    device.machine.announce(0, envelope)
    device.drain()
    device.download(IMAGE)
    assert device.activated and device.image() == IMAGE
    assert device.fetched_from[0] + 2 * ERASE >= reached
    device.flash.close()


def test_an_empty_journal_boots_the_factory_slot() -> None:
    blank = b"\xff" * ERASE
    assert ota.boot(blank, blank) == ota.BootDecision(0, False, 0, None)
    assert ota.boot(blank, blank, 1).slots == 1
    assert ota.boot(b"", b"\x00").slots == 0
    with pytest.raises(ValueError, match="four images"):
        ota.boot(blank, blank, 16)


def test_flash_is_flash(tmp_path: Path) -> None:
    with FileFlash(tmp_path / "f", SLOT) as flash:
        assert flash.load(ota.Area.SLOT0, 0, 4) == b"\xff" * 4
        flash.store(ota.Area.SLOT0, 0, b"\xf0")
        flash.store(ota.Area.SLOT0, 0, b"\x0f")
        assert flash.load(ota.Area.SLOT0, 0, 1) == b"\x00"
        with pytest.raises(ValueError, match="not within"):
            flash.load(ota.Area.SLOT1, SLOT, 1)
    with pytest.raises(ValueError, match="slot size it was made with"):
        FileFlash(tmp_path / "f", ERASE)


def test_a_download_that_comes_to_nothing_is_made_again_later(tmp_path: Path, fleet: Fleet) -> None:
    envelope = fleet.sign(IMAGE, 5, "1.2.0")
    wrong = bytes(len(IMAGE))
    device = Device(tmp_path / "flash", fleet)
    device.machine.announce(0, envelope)
    device.drain()
    for attempt in (1, 2, 3):
        device.download(wrong)
        assert (device.machine.state, device.machine.attempts) == (ota.State.FAILED, attempt)
        report = device.reports[-1]
        assert (report.reason, report.attempts) == ("ImageDigest", attempt)
        assert ota.read_report(report.encode()) == (report, "")
        again = device.machine.next_timeout()
        full = 60_000_000 << (attempt - 1)
        assert again is not None and full // 2 <= again - device.now <= full
        device.now = again
        device.drain()
        assert device.machine.state is ota.State.FETCHING
    device.machine.unreachable(device.now)
    device.drain()
    assert (device.machine.state, device.machine.reason, device.machine.attempts) == (ota.State.DEFERRED, "Unreachable", 4)
    device.flash.close()

    device = Device(tmp_path / "flash", fleet)
    device.machine.announce(0, envelope)
    device.drain()
    assert (device.machine.state, device.machine.attempts) == (ota.State.DEFERRED, 4)
    device.machine.resume(0)
    device.drain()
    device.download(IMAGE)
    assert (device.machine.state, device.machine.attempts) == (ota.State.READY, 0)
    device.flash.close()
