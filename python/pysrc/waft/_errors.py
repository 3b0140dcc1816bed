"""Exceptions: who is to blame, and a number that is the same in Rust, C and Python."""

from __future__ import annotations


class Error(Exception):
    """Anything a waft machine refuses. ``code`` and ``name`` are stable over releases; ``str()`` says what is wrong."""

    code: int
    name: str

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.name = name

    def __reduce__(self) -> tuple[type[Error], tuple[int, str, str]]:
        return type(self), (self.code, self.name, str(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code}, {self.name!r}, {str(self)!r})"


class Misuse(Error):
    """The caller broke the rules; the machine's state is unchanged. Mend the program. Codes -1 … -31."""


class Capacity(Error):
    """Storage is full; the machine's state is unchanged. Retry when something has left, or give more memory.
    Codes -32 … -63."""


class PeerError(Error):
    """The other side broke the protocol. Close the connection and connect again. Codes -64 … -95."""


class Refusal(PeerError):
    """A manifest or an image is refused; ``name`` is the reason that is reported. Codes -96 … -191."""
