"""A release of several images, over the vector that Rust and C have too (core/tests/update_images.rs): all or none."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from conftest import Fleet

import waft
from waft import ota
from waft._machine import Timeout
from waft.aio.flash import ERASE, FileFlash

VECTORS = Path(__file__).parents[2] / "tests/vectors/suit"
ENVELOPE = bytes.fromhex((VECTORS / "waft-parts.suit.hex").read_text())
WITHOUT_FIRMWARE = bytes.fromhex((VECTORS / "waft-image.suit.hex").read_text())
# RFC 8032 §7.1 TEST 1.
AUTHOR = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
FIRMWARE, RADIO = bytes([5] * 1000), b"for the radio"
SLOT = 2 * ERASE


class Device:
    """An update machine with slots for a firmware and other images."""

    def __init__(self, path: Path, more_slots: list[int]) -> None:
        self.flash = FileFlash(path, SLOT, more_slots)
        decision = ota.boot(*self.flash.journal())
        if decision.note is not None:
            if decision.note.erase is not None:
                self.flash.erase(ota.Area.JOURNAL, decision.note.erase * ERASE, ERASE)
            self.flash.store(ota.Area.JOURNAL, decision.note.page * ERASE + decision.note.offset, decision.note.data)
        self.slots = decision.slots
        self.activated: int | None = None
        self.fetched: list[int] = []
        self.machine = ota.Update(
            vendor=bytes([1] * 16),
            class_id=bytes([2] * 16),
            keys=[AUTHOR],
            slot_size=SLOT,
            more_slots=more_slots,
            running=decision.slots,
        )
        self.machine.start(0)
        self.drain()

    def act(self, event: ota.Event) -> None:
        match event:
            case ota.Load(area, offset, length, image):
                self.machine.loaded(0, self.flash.load(area, offset, length, image))
            case ota.Erase(area, offset, length, image):
                self.flash.erase(area, offset, length, image)
                self.machine.done(0)
            case ota.Store(area, offset, data, image):
                self.flash.store(area, offset, data, image)
                self.machine.done(0)
            case ota.Record(offset, data):
                self.flash.store(ota.Area.JOURNAL, offset, data)
                self.machine.done(0)
            case ota.Activate(slots):
                self.activated = slots
                self.machine.done(0)
            case ota.Fetch(_, image):
                self.fetched.append(image)
            case _:
                pass

    def drain(self) -> None:
        while not isinstance(event := self.machine.poll_output(0), Timeout):
            self.act(event)  # type: ignore[arg-type]

    def announce(self, envelope: bytes = ENVELOPE) -> None:
        self.machine.announce(0, envelope)
        self.drain()

    def give(self, image: bytes) -> None:
        number = self.machine.image
        while (wanted := self.machine.wanted) is not None and self.machine.image == number:
            handled = self.machine.data(0, wanted.offset, image[wanted.offset : wanted.end])
            assert handled.event is not None
            self.act(handled.event)
            self.drain()

    def holds(self, slots: int, images: list[bytes]) -> bool:
        found = [self.flash.load(ota.Area(slots >> n & 1), 0, len(image), n) for n, image in enumerate(images)]
        return found == images


def test_three_images_become_active_together(tmp_path: Path) -> None:
    path = tmp_path / "flash"
    device = Device(path, [SLOT, SLOT])
    device.announce()
    device.give(FIRMWARE)
    assert (device.machine.image, device.machine.payload_uri) == (1, "image/radio")
    device.flash.close()

    # A reboot between two images: the first is not fetched again, and none of them is active.
    device = Device(path, [SLOT, SLOT])
    assert device.slots == 0
    device.announce()
    assert device.fetched == [1]
    device.give(RADIO)
    # The third was in the envelope.
    assert device.machine.state is ota.State.READY and device.activated == 0b111
    assert device.holds(0b111, [FIRMWARE, RADIO, RADIO])
    device.flash.close()

    device = Device(path, [SLOT, SLOT])
    assert device.slots == 0b111 and device.machine.state is ota.State.TRIAL and device.machine.active_slots == 0
    device.machine.confirm(0)
    device.drain()
    assert (device.machine.floor, device.machine.active_slots) == (7, 0b111)

    # And then one without the firmware: that image alone changes its slot.
    device.announce(WITHOUT_FIRMWARE)
    device.give(RADIO)
    assert device.machine.state is ota.State.READY and device.activated == 0b101
    device.flash.close()
    device = Device(path, [SLOT, SLOT])
    assert device.slots == 0b101 and device.machine.state is ota.State.TRIAL
    device.machine.confirm(0)
    device.drain()
    assert (device.machine.floor, device.machine.active_slots) == (8, 0b101)
    assert device.holds(0b101, [FIRMWARE, RADIO, RADIO])
    device.flash.close()


def test_the_vector_without_firmware_is_what_python_signs() -> None:
    release = ota.Release(
        image=None,
        vendor=uuid.UUID(bytes=bytes([1] * 16)),
        class_id=uuid.UUID(bytes=bytes([2] * 16)),
        sequence=8,
        version="1.2.0",
        kind=ota.UpdateType.SECURITY,
        severity=ota.Severity.LOW,
        chunk=300,
        images=[ota.Extra(1, RADIO, "image/radio")],
    )
    # RFC 8032 §7.1 TEST 1.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    assert release.sign(ota.SecretKey(seed)) == WITHOUT_FIRMWARE


def test_an_image_that_the_device_has_not_is_refused(tmp_path: Path) -> None:
    device = Device(tmp_path / "flash", [SLOT])
    with pytest.raises(waft.Refusal) as e:
        device.announce()
    assert e.value.name == "Component"
    device.flash.close()


def test_what_no_device_has_is_no_configuration(tmp_path: Path, fleet: Fleet) -> None:
    with pytest.raises(ValueError, match="4 images"):
        ota.Update(
            vendor=fleet.vendor.bytes,
            class_id=fleet.class_id.bytes,
            keys=[fleet.key.public],
            slot_size=SLOT,
            more_slots=[SLOT] * 4,
        )
    with pytest.raises(ValueError, match="multiple"):
        FileFlash(tmp_path / "flash", SLOT, [100])
