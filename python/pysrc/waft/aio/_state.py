"""The file in which a broker's state survives restarts: appended to, and rewritten when most of it is history."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

#: A file is not rewritten before it has grown by so many bytes.
SLACK = 1 << 20


class StateFile:
    """One broker's file. All methods block; nobody else may have it open."""

    def __init__(self, path: Path) -> None:
        # Where it leads, so that nobody comes to the same file by another name, or puts one in place of a link.
        path = path.resolve()
        self.path = path
        self._file: int | None = None
        self._size = 0
        self._base = 0
        self._lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise BlockingIOError(errno.EAGAIN, "another broker has it", str(path)) from None
        except OSError:
            os.close(self._lock)
            raise

    def read(self) -> bytes:
        """All of it; nothing where there is none yet."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""

    def keep_copy(self) -> Path:
        """Another name for what is there now."""
        copy = self.path.with_name(self.path.name + ".torn")
        copy.unlink(missing_ok=True)
        try:
            os.link(self.path, copy)
        except OSError:
            # Not every file system has links.
            shutil.copyfile(self.path, copy)
        return copy

    def append(self, data: bytes) -> None:
        """Appends; durable when it returns."""
        assert self._file is not None, "replace() comes first"
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        os.fdatasync(self._file)
        self._size += len(data)

    def replace(self, pieces: Sequence[bytes]) -> None:
        """Puts other contents in place of all there is: these or the old ones, whatever happens."""
        new = self.path.with_name(self.path.name + ".new")
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self.path)
        except OSError:
            # On a full disk it would be in the way of the one that stands.
            new.unlink(missing_ok=True)
            raise
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        if self._file is not None:
            os.close(self._file)
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._size = self._base = os.fstat(self._file).st_size

    @property
    def is_bloated(self) -> bool:
        """Whether most of it is history."""
        return self._size > 2 * self._base + SLACK

    def close(self) -> None:
        """Lets go of it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        os.close(self._lock)
