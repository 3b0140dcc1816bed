"""A link that does to datagrams what links do."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass, field


@dataclass
class Link:
    """What happens to a datagram on its way, the same with the same ``seed``.

    ``drop`` names datagrams by their number, both directions counted together from 0; ``loss``, ``duplicate``, ``corrupt``
    (one bit is turned) and ``reorder`` (it takes three times as long) are probabilities; ``delay`` and ``jitter`` are
    seconds. A stream takes ``delay`` and ``jitter`` only, keeps its order, and is cut at random places if ``split``.
    """

    drop: Collection[int] = ()
    loss: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    reorder: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    split: bool = False
    seed: int = 0
    #: Datagrams, or pieces of a stream, offered so far, and how many of them got lost.
    sent: int = field(default=0, init=False)
    lost: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "corrupt", "reorder"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a probability, from 0 to 1")
        if self.delay < 0 or self.jitter < 0:
            raise ValueError("delay and jitter are seconds, 0 or more")
        self._random = random.Random(self.seed)

    def _happens(self, probability: float) -> bool:
        # A probability of 0 draws nothing, so that one impairment does not change what another one does.
        return probability > 0 and self._random.random() < probability

    def _takes(self) -> int:
        return round((self.delay + (self._random.uniform(0, self.jitter) if self.jitter else 0)) * 1_000_000)

    def carry(self, data: bytes) -> list[tuple[int, bytes]]:
        """What arrives of a datagram: after how many microseconds, and what. Nothing, if it is lost."""
        number, self.sent = self.sent, self.sent + 1
        if number in self.drop or self._happens(self.loss):
            self.lost += 1
            return []
        arrives = []
        for _ in range(2 if self._happens(self.duplicate) else 1):
            after = self._takes() * (3 if self._happens(self.reorder) else 1)
            if data and self._happens(self.corrupt):
                bit = self._random.randrange(len(data) * 8)
                data = data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]
            arrives.append((after, data))
        return arrives

    def pieces(self, data: bytes) -> list[tuple[int, bytes]]:
        """The same for the next bytes of a stream."""
        parts = []
        while data:
            size = self._random.randint(1, len(data)) if self.split else len(data)
            parts.append((self._takes(), data[:size]))
            data = data[size:]
        self.sent += len(parts)
        return parts
