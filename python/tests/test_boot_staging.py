"""A bootloader of a device with a staging area: what is wanted is brought to where firmware runs, whenever power fails."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

import waft
from waft import ota

LAYOUT = ota.BootLayout(slot=768, erase=256, write=8)
OLD, NEW = (bytes(random.Random(n).randbytes(LAYOUT.slot)) for n in (1, 2))


class Flash:
    """The areas, and what a bootloader does with them, a piece at a time."""

    def __init__(self) -> None:
        size = -(-LAYOUT.status_len // LAYOUT.erase) * LAYOUT.erase
        self.status = [bytearray(b"\xff" * size), bytearray(b"\xff" * size)]
        self.areas = [bytearray(OLD + b"\xff" * LAYOUT.erase), bytearray(NEW)]

    def copy(self) -> Flash:
        other = Flash()
        other.status = [bytearray(page) for page in self.status]
        other.areas = [bytearray(area) for area in self.areas]
        return other

    def bring(self, slot: int) -> Iterator[None]:
        """Power may fail where it yields."""
        while (step := ota.boot_swap(bytes(self.status[0]), bytes(self.status[1]), slot, LAYOUT)) is not None:
            if isinstance(step, ota.SwapBegin):
                page = self.status[step.page]
                page[:] = b"\xff" * len(page)
                yield
                for at in range(0, len(step.header), LAYOUT.write):
                    page[at : at + LAYOUT.write] = step.header[at : at + LAYOUT.write]
                    yield
                continue
            (source, start), (target, to) = step.origin, step.to
            self.areas[target][to : to + LAYOUT.erase] = b"\xff" * LAYOUT.erase
            yield
            for at in range(0, LAYOUT.erase, 64):
                self.areas[target][to + at : to + at + 64] = self.areas[source][start + at : start + at + 64]
                yield
            self.status[step.page][step.mark : step.mark + LAYOUT.write] = bytes(LAYOUT.write)
            yield

    def holds(self) -> tuple[bytes, bytes]:
        return bytes(self.areas[0][: LAYOUT.slot]), bytes(self.areas[1])


def test_what_is_wanted_is_brought_and_brought_back_whenever_power_fails() -> None:
    flash = Flash()
    for slot, expected in ((1, (NEW, OLD)), (0, (OLD, NEW)), (1, (NEW, OLD))):
        before = flash.copy()
        steps = sum(1 for _ in flash.bring(slot))
        assert flash.holds() == expected and steps > 50
        for cut in range(steps):
            torn = before.copy()
            for n, _ in enumerate(torn.bring(slot)):
                if n == cut:
                    break
            other = torn.copy()
            assert len(list(torn.bring(slot))) <= steps and torn.holds() == expected
            list(other.bring(slot ^ 1))
            assert other.holds() == expected[::-1]


def test_a_device_from_the_factory_has_nothing_to_do() -> None:
    assert list(Flash().bring(0)) == []


@pytest.mark.parametrize("layout", [ota.BootLayout(700, 256, 8), ota.BootLayout(768, 256, 3), ota.BootLayout(0, 256, 8)])
def test_sizes_that_cannot_be_are_refused(layout: ota.BootLayout) -> None:
    assert layout.status_len == 0
    with pytest.raises(waft.Misuse):
        ota.boot_swap(bytes(256), bytes(256), 0, layout)
