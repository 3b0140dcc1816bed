"""What every machine returns: the contract of ``waft::machine``, as dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

E = TypeVar("E", covariant=True)


@dataclass(frozen=True, slots=True)
class Handled(Generic[E]):
    """What became of some input. Keep ``data[consumed:]`` and offer it again with more behind it.

    ``event`` is at most one thing a call; there may be more in the bytes that are left. With no event and bytes left,
    at least ``needed`` further bytes are missing; ``needed == 0`` says *not now*: drain ``poll_output`` and answer its
    events first.
    """

    consumed: int
    needed: int
    event: E | None


@dataclass(frozen=True, slots=True)
class Transmit:
    """Send ``data`` to ``peer`` (your own number for it): one datagram, or the next bytes of the stream."""

    peer: int
    data: bytes


@dataclass(frozen=True, slots=True)
class BufferTooSmall:
    """The next output takes ``needed`` bytes. It is kept: call again with that ``max``."""

    needed: int


@dataclass(frozen=True, slots=True)
class Timeout:
    """Nothing more for now. Call ``handle_timeout`` at ``at`` (microseconds), or wait for input only where it is None."""

    at: int | None
