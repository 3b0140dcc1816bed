"""What an agent is told of its device reaches its update: turns, windows, the battery, times, the version, new keys."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from conftest import Fleet, make_image

import waft
from waft import ota
from waft._machine import Timeout, Transmit
from waft.agent import Agent, Open
from waft.aio.flash import ERASE

IMAGE = make_image(10_000)
SLOT = 4 * ERASE
NOON = 20_000 * 86_400 + 43_200


class Device:
    """An agent over empty flash, and a gateway that has one manifest."""

    def __init__(self, fleet: Fleet, **more: Any) -> None:
        self.now = 0
        sizes = {ota.Area.SLOT0: SLOT, ota.Area.SLOT1: SLOT, ota.Area.JOURNAL: 2 * ERASE, ota.Area.KEYS: 2 * ERASE}
        self.flash = {area: bytearray(b"\xff" * size) for area, size in sizes.items()}
        self.reasons: list[str] = []
        self.told: list[bytes] = []
        self.agent = Agent(
            root="waft",
            class_name=fleet.class_name,
            device="d1",
            gateway=("gateway", 5683),
            vendor=fleet.vendor.bytes,
            class_id=fleet.class_id.bytes,
            keys=[fleet.key.public],
            slot_size=SLOT,
            **more,
        )
        self.agent.start(0)

    def act(self, event: object) -> None:
        match event:
            case Open(link, _, _):
                self.agent.opened(self.now, link, 7)
            case ota.Load(area, offset, length):
                self.agent.loaded(self.now, bytes(self.flash[area][offset : offset + length]))
            case ota.Erase(area, offset, length):
                self.flash[area][offset : offset + length] = b"\xff" * length
                self.agent.done(self.now)
            case ota.Store(area, offset, data):
                self.flash[area][offset : offset + len(data)] = data
                self.agent.done(self.now)
            case ota.Record(offset, data):
                self.flash[ota.Area.JOURNAL][offset : offset + len(data)] = data
                self.agent.done(self.now)
            case ota.Report(_, reason) if reason is not None:
                self.reasons.append(reason)

    def announce(self, manifest: bytes = b"") -> ota.State:
        """Lets the agent run until it wants nothing; its GET is answered with the manifest, piggybacked (RFC 7252 §5.2.1)."""
        while not isinstance(output := self.agent.poll_output(self.now), Timeout):
            if not isinstance(output, Transmit):
                self.act(output)
            elif manifest and output.data[1] == 1:
                token = output.data[0] & 15
                head = bytes([0x60 | token, 0x45]) + output.data[2 : 4 + token]
                body, manifest = manifest, b""
                handled = self.agent.handle_input(self.now, 7, head + b"\x60\xff" + body)
                self.act(handled.event)
            elif output.data[1] == 3:  # the PUT of a report; no option of it has the byte 255
                token = output.data[0] & 15
                self.told.append(output.data[4 + token :].split(b"\xff", 1)[1])
                changed = bytes([0x60 | token, 0x44]) + output.data[2 : 4 + token]
                self.act(self.agent.handle_input(self.now, 7, changed).event)
        return self.agent.state

    def pass_time(self, seconds: int) -> ota.State:
        self.now += seconds * 1_000_000
        return self.announce()


def test_it_waits_for_its_turn(fleet: Fleet) -> None:
    device = Device(fleet, device_id=bytes([9] * 16), jitter=3_600_000_000)
    assert device.announce(fleet.sign(IMAGE)) is ota.State.DEFERRED
    assert device.pass_time(3_601) is ota.State.FETCHING


def test_it_keeps_to_its_window(fleet: Fleet) -> None:
    device = Device(fleet, window=(13 * 3600, 3600))
    device.agent.tell(0, time=NOON)  # before the journal has been read, and it counts
    assert device.announce(fleet.sign(IMAGE)) is ota.State.DEFERRED
    assert device.pass_time(3_601) is ota.State.FETCHING


def test_it_waits_for_its_battery(fleet: Fleet) -> None:
    device = Device(fleet, battery=100)
    device.agent.tell(0, battery=99)
    assert device.announce(fleet.sign(IMAGE)) is ota.State.DEFERRED
    assert device.agent.reason == "Battery"
    device.agent.tell(0, battery=100)
    assert device.announce() is ota.State.FETCHING


@pytest.mark.parametrize(
    "requires, reason",
    [
        (ota.Requires(device=uuid.UUID(int=8)), "Device"),
        (ota.Requires(use_before=NOON), "Expired"),
        (ota.Requires(version=(">=1.3.0",)), "Version"),
    ],
)
def test_it_decides_what_manifests_ask(fleet: Fleet, requires: ota.Requires, reason: str) -> None:
    device = Device(fleet, device_id=bytes([9] * 16))
    device.agent.tell(0, time=NOON, version="1.2.0")
    assert device.announce(fleet.sign(IMAGE, requires=requires)) is ota.State.IDLE
    assert device.reasons == [reason]


def test_keys_are_replaced_where_it_says_so(fleet: Fleet) -> None:
    table = ota.KeyTable((ota.Key(fleet.key.public),), epoch=3)
    envelope = table.sign(fleet.key, vendor=fleet.vendor, class_id=fleet.class_id, sequence=4)
    device = Device(fleet)
    assert (device.announce(envelope), device.agent.epoch) == (ota.State.IDLE, 0)
    device = Device(fleet, rotation=True)
    assert (device.announce(envelope), device.agent.epoch, device.agent.floor) == (ota.State.CONFIRMED, 3, 4)
    assert device.flash[ota.Area.KEYS][: len(table.to_bytes())] == table.to_bytes()


def test_what_it_is_told_has_to_be_in_range(fleet: Fleet) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Device(fleet, device_id=b"short")
    with pytest.raises(waft.Misuse):
        Device(fleet, window=(86_400, 1))
    device = Device(fleet)
    with pytest.raises(ValueError, match="no version"):
        device.agent.tell(0, version="one")


def test_reports_are_signed_and_no_other_is_believed(fleet: Fleet) -> None:
    own, other = ota.SecretKey(bytes([7] * 32)), ota.SecretKey(bytes([8] * 32))
    told: list[bytes] = []
    for start in (1, 2):  # and once more after a reset
        device = Device(fleet)
        device.agent.sign_reports(own, start)
        device.announce(fleet.sign(IMAGE))
        device.pass_time(1)
        told += device.told
    keys, last = [fleet.key.public, own.public], 0
    assert len(told) >= 2
    for signed in told:
        opened = ota.open_report(signed, keys, last)
        assert opened.key_id == own.id and opened.nonce > last
        last = opened.nonce
        with pytest.raises(waft.Refusal, match="not newer") as again:
            ota.open_report(signed, keys, last)
        assert again.value.name == "ReportReplay"
    assert last >> 32 == 2
    forged = ota.sign_payload(opened.report.encode(), other)
    for signed, name in ((forged, "UnknownKey"), (opened.report.encode(), "Malformed"), (ota.sign_payload(opened.report.encode(), own), "MissingMember")):  # fmt: skip
        with pytest.raises(waft.Refusal) as refused:
            ota.open_report(signed, keys)
        assert refused.value.name == name
