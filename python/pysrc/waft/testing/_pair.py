"""Two machines, one clock, and what is between them."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from .. import mqtt
from .._errors import PeerError
from .._machine import BufferTooSmall, Handled, Timeout, Transmit
from ._link import Link


class Machine(Protocol):
    """The contract, as far as two machines need it to meet."""

    def handle_input(self, now: int, peer: int, data: bytes) -> Handled[Any]: ...

    def handle_timeout(self, now: int) -> None: ...

    def poll_output(self, now: int, max: int = ...) -> Any: ...

    def next_timeout(self) -> int | None: ...


L = TypeVar("L", bound=Machine)
R = TypeVar("R", bound=Machine)

#: Things that may happen at one moment. More is a conversation that never ends.
MOST_AT_ONCE = 100_000


class Pair(Generic[L, R]):
    """Two machines and the datagrams between them, in virtual time. Each knows the other as peer 0.

    ``on_event`` is a program's part: it is called for each event with the side (0 is ``left``, 1 is ``right``), and may
    command the machines. Events are kept in ``told``, what machines raise about their peer in ``wrong``, by side.
    """

    def __init__(
        self,
        left: L,
        right: R,
        *,
        link: Link | None = None,
        on_event: Callable[[int, Any], None] | None = None,
    ) -> None:
        self.left = left
        self.right = right
        self.link = link if link is not None else Link()
        self.now = 0
        self.told: tuple[list[Any], list[Any]] = ([], [])
        self.wrong: tuple[list[PeerError], list[PeerError]] = ([], [])
        self.on_event = on_event
        self._ends: tuple[Machine, Machine] = (left, right)
        self._way: list[tuple[int, int, int, bytes]] = []
        self._serial = 0

    def step(self) -> bool:
        """Everything that can happen now. Whether anything did."""
        busy = False
        for side in (0, 1):
            busy |= self._drain(side)
        while self._way and self._way[0][0] <= self.now:
            _, _, side, data = heapq.heappop(self._way)
            busy = True
            self._arrived(side, data)
        return busy

    def run(self, seconds: float) -> None:
        """Lets that much time pass."""
        self.run_until(lambda: False, seconds)

    def run_until(self, check: Callable[[], bool], seconds: float = 3600) -> bool:
        """Lets time pass until ``check`` holds, or for so long. Whether it does."""
        end = self.now + round(seconds * 1_000_000)
        at_once = 0
        while not check():
            if self.step():
                at_once += 1
                if at_once > MOST_AT_ONCE:
                    raise AssertionError(f"at {self.now} µs the machines talk without end")
                continue
            next_at = self._next()
            if next_at is None or next_at > end:
                self.now = max(self.now, end)
                return check()
            # A deadline in the past would stop the clock for ever.
            if next_at <= self.now and at_once > MOST_AT_ONCE:
                raise AssertionError(f"a deadline is at {next_at} µs and it is {self.now} µs")
            at_once = at_once + 1 if next_at <= self.now else 0
            self.now = max(self.now, next_at)
            for machine in self._ends:
                machine.handle_timeout(self.now)
        return True

    # ---- inside ----

    def _next(self) -> int | None:
        waits = [at for at in (machine.next_timeout() for machine in self._ends) if at is not None]
        if self._way:
            waits.append(self._way[0][0])
        return min(waits, default=None)

    def _drain(self, side: int) -> bool:
        busy, room = False, 65_536
        while not isinstance(out := self._ends[side].poll_output(self.now, room), Timeout):
            if isinstance(out, BufferTooSmall):
                room = out.needed
                continue
            busy = True
            if isinstance(out, Transmit):
                self._transmit(1 - side, out.data)
            else:
                self._tell(side, out)
        return busy

    def _transmit(self, to: int, data: bytes) -> None:
        for after, arriving in self.link.carry(data):
            self._push(self.now + after, to, arriving)

    def _push(self, at: int, side: int, data: bytes) -> None:
        heapq.heappush(self._way, (at, self._serial, side, data))
        self._serial += 1

    def _arrived(self, side: int, data: bytes) -> None:
        try:
            handled = self._ends[side].handle_input(self.now, 0, data)
        except PeerError as e:
            self.wrong[side].append(e)
            return
        assert handled.consumed == len(data), "a datagram is taken whole"
        if handled.event is not None:
            self._tell(side, handled.event)

    def _tell(self, side: int, event: Any) -> None:
        self.told[side].append(event)
        if self.on_event is not None:
            self.on_event(side, event)


class StreamPair(Pair[L, R]):
    """The same on a stream: in order, whole, in whatever pieces, and sometimes broken.

    Where a machine gives the connection up, by an event or because of what the other side did, it is broken for both.
    Sides that are no :class:`~waft.mqtt.Client` or :class:`~waft.mqtt.Broker` know nothing of connections.
    """

    def __init__(
        self, left: L, right: R, *, link: Link | None = None, on_event: Callable[[int, Any], None] | None = None
    ) -> None:
        super().__init__(left, right, link=link, on_event=on_event)
        self.is_open = False
        self._rest = [b"", b""]
        self._last = [0, 0]

    @classmethod
    def mqtt(
        cls, client_id: str = "waft", *, link: Link | None = None, **how: Any
    ) -> StreamPair[mqtt.Client, mqtt.Broker]:
        """A client that is connected to a broker; ``how`` goes to :meth:`open`."""
        pair = StreamPair(mqtt.Client(), mqtt.Broker(), link=link)
        pair.open(client_id, **how)
        if not pair.run_until(lambda: pair.left.is_connected, 60):
            raise AssertionError(f"the broker did not accept: {pair.told}, {pair.wrong}")
        return pair

    def open(self, client_id: str = "waft", **how: Any) -> None:
        """Opens a stream and tells clients and brokers of it; ``how`` goes to ``Client.connect``."""
        if self.is_open:
            raise ValueError("the stream is open")
        self.is_open = True
        for machine in self._ends:
            if isinstance(machine, mqtt.Broker):
                machine.accept(self.now, 0)
        for machine in self._ends:
            if isinstance(machine, mqtt.Client):
                machine.connect(self.now, 0, client_id, **how)

    def cut(self) -> None:
        """Breaks the stream: what is on its way is lost."""
        self.is_open = False
        self._way.clear()
        self._rest = [b"", b""]
        for machine in self._ends:
            if isinstance(machine, mqtt.Client):
                machine.connection_lost(self.now)
            elif isinstance(machine, mqtt.Broker):
                machine.connection_lost(self.now, 0)

    # ---- inside ----

    def _transmit(self, to: int, data: bytes) -> None:
        if self.is_open:
            for after, piece in self.link.pieces(data):
                self._last[to] = max(self._last[to], self.now + after)
                self._push(self._last[to], to, piece)

    def _arrived(self, side: int, data: bytes) -> None:
        self._rest[side] += data
        self._offer(side)

    def step(self) -> bool:
        busy = super().step()
        for side in (0, 1):
            # What was not taken because something had to be sent first.
            if self._rest[side]:
                busy |= self._offer(side)
        return busy

    def _offer(self, side: int) -> bool:
        before = len(self._rest[side])
        while self.is_open and (rest := self._rest[side]):
            try:
                handled = self._ends[side].handle_input(self.now, 0, rest)
            except PeerError as e:
                self.wrong[side].append(e)
                self._drain(side)
                if self.is_open:
                    self.cut()
                return True
            self._rest[side] = rest[handled.consumed :]
            if handled.event is not None:
                self._tell(side, handled.event)
            elif handled.consumed == 0:
                break
        return len(self._rest[side]) != before

    def _tell(self, side: int, event: Any) -> None:
        if isinstance(event, mqtt.Closed | mqtt.Refused | mqtt.CloseConnection) and self.is_open:
            # What was sent before the end arrives before it.
            arrived = sorted(entry for entry in self._way if entry[2] != side)
            self._way = [entry for entry in self._way if entry[2] == side]
            heapq.heapify(self._way)
            for _, _, to, data in arrived:
                self._arrived(to, data)
            if self.is_open:
                self.cut()
        super()._tell(side, event)
