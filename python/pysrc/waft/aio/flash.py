"""A file as a device's flash: two journal pages of 4096 bytes, slot 0 and slot 1 of the firmware, two pages for key tables, and then both
slots of each other image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from ..ota import Area

#: Bytes of a journal page, and of an erase block.
ERASE = 4096


class FileFlash:
    """NOR flash in a file: erased bytes are 0xFF, and writing can only clear bits."""

    def __init__(self, path: str | Path, slot_size: int = 1 << 20, more_slots: Sequence[int] = ()) -> None:
        for size in (slot_size, *more_slots):
            if size <= 0 or size % ERASE:
                raise ValueError(f"the slot size must be a multiple of {ERASE}, not {size}")
        self.slot_size = slot_size
        self.more_slots = tuple(more_slots)
        self.size = 4 * ERASE + 2 * sum((slot_size, *more_slots))
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        length = os.fstat(self._fd).st_size
        if length > self.size:
            os.close(self._fd)
            raise ValueError(
                f"{path} holds {length} bytes, but two slots of {' and '.join(map(str, (slot_size, *more_slots)))} take "
                f"{self.size}: give the slot size it was made with, or another file"
            )
        # A new file is erased flash; so is the rest of one whose making was cut short.
        for at in range(length, self.size, 1 << 16):
            os.pwrite(self._fd, b"\xff" * min(1 << 16, self.size - at), at)

    def _place(self, area: Area, offset: int, length: int, image: int) -> int:
        if area == Area.JOURNAL:
            start, size = 0, 2 * ERASE
        elif area == Area.KEYS:
            start, size = 2 * ERASE + 2 * self.slot_size, 2 * ERASE
        elif image:
            size = self.more_slots[image - 1]
            start = 4 * ERASE + 2 * (self.slot_size + sum(self.more_slots[: image - 1])) + int(area) * size
        else:
            start, size = 2 * ERASE + int(area) * self.slot_size, self.slot_size
        if offset < 0 or length < 0 or offset + length > size:
            raise ValueError(f"{length} bytes at {offset} are not within {area.name}")
        return start + offset

    def load(self, area: Area, offset: int, length: int, image: int = 0) -> bytes:
        """Reads."""
        return os.pread(self._fd, length, self._place(area, offset, length, image))

    def erase(self, area: Area, offset: int, length: int, image: int = 0) -> None:
        """Sets every byte to 0xFF."""
        os.pwrite(self._fd, b"\xff" * length, self._place(area, offset, length, image))

    def store(self, area: Area, offset: int, data: bytes, image: int = 0) -> None:
        """Writes. Bits that are 0 stay 0, as in the real thing."""
        place = self._place(area, offset, len(data), image)
        old = os.pread(self._fd, len(data), place)
        if old.count(0xFF) != len(old):
            data = bytes(a & b for a, b in zip(old, data))
        os.pwrite(self._fd, data, place)

    def journal(self) -> tuple[bytes, bytes]:
        """The two journal pages, for :func:`waft.ota.boot`."""
        return self.load(Area.JOURNAL, 0, ERASE), self.load(Area.JOURNAL, ERASE, ERASE)

    def close(self) -> None:
        """Closes the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> FileFlash:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
