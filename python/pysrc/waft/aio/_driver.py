"""The loop that all drivers share: mutate, drain to Timeout, wait for bytes or for the deadline, repeat."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from .._machine import BufferTooSmall, Handled, Timeout, Transmit

#: The largest packet that a driver asks a machine for at first; it grows when a machine asks for more.
SCRATCH = 65_536

Address = tuple[Any, ...]


class Machine(Protocol):
    """The part of a machine that a driver needs."""

    def handle_timeout(self, now: int, /) -> None: ...

    def poll_output(self, now: int, max: int = ..., /) -> Any: ...


class Driver:
    """Drives one machine from the running event loop. Subclasses say how to transmit and what to do with events."""

    def __init__(self, machine: Machine) -> None:
        self._loop = asyncio.get_running_loop()
        self._machine = machine
        self._timer: asyncio.TimerHandle | None = None
        self._scratch = SCRATCH
        self._draining = False
        self._stopped = False

    def now(self) -> int:
        """The loop's clock in microseconds."""
        return int(self._loop.time() * 1_000_000)

    def drain(self) -> None:
        """Takes everything out of the machine and sets the timer. Harmless when called from inside itself."""
        if self._draining or self._stopped:
            return
        self._draining = True
        try:
            while True:
                out = self._machine.poll_output(self.now(), self._scratch)
                if isinstance(out, Transmit):
                    self._transmit(out.peer, out.data)
                elif isinstance(out, Timeout):
                    self._arm(out.at)
                    return
                elif isinstance(out, BufferTooSmall):
                    self._scratch = out.needed
                else:
                    self._event(out)
                    if self._stopped:
                        return
        finally:
            self._draining = False

    def _arm(self, at: int | None) -> None:
        when = None if at is None else at / 1_000_000 + 0.000_1
        if self._timer is not None:
            # One that is earlier finds nothing to do, and sets the next: cheaper than another after each datagram.
            if when is not None and self._timer.when() <= when:
                return
            self._timer.cancel()
            self._timer = None
        if when is not None:
            self._timer = self._loop.call_at(when, self._expired)

    def _expired(self) -> None:
        self._timer = None
        if not self._stopped:
            self._machine.handle_timeout(self.now())
            self.drain()

    def _stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _transmit(self, peer: int, data: bytes) -> None:
        raise NotImplementedError

    def _event(self, event: Any) -> None:
        raise NotImplementedError


class PeerTable:
    """Numbers for the addresses of datagrams. The least recently heard of is forgotten when the table is full."""

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._next = 0
        self._by_address: OrderedDict[Address, int] = OrderedDict()
        self._by_number: dict[int, Address] = {}

    def number(self, address: Address) -> int:
        """The number of ``address``; a new one for a new address."""
        number = self._by_address.get(address)
        if number is not None:
            self._by_address.move_to_end(address)
            return number
        if len(self._by_address) >= self._size:
            _, gone = self._by_address.popitem(last=False)
            del self._by_number[gone]
        number = self._next
        self._next = (self._next + 1) & 0xFFFF_FFFF
        self._by_address[address] = number
        self._by_number[number] = address
        return number

    def address(self, number: int) -> Address | None:
        """The address behind ``number``, where it is still known."""
        return self._by_number.get(number)


class DatagramDriver(Driver):
    """A machine on one UDP socket."""

    #: Bytes of payload received and sent, and datagrams both ways.
    received = 0
    sent = 0
    datagrams = 0

    #: Datagrams that are taken in before what they brought about goes out, and before others have their turn.
    BURST = 8
    TURN = 64

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.peers = PeerTable()
        self._socket: socket.socket | None = None

    async def bind(self, host: str, port: int) -> None:
        """Opens the socket."""
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        one = socket.socket(family, socket.SOCK_DGRAM)
        try:
            one.setblocking(False)
            # A burst of blocks from many devices must not be lost in a default-sized buffer.
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
            one.bind(address)
        except BaseException:
            one.close()
            raise
        self._socket = one
        self._loop.add_reader(one, self._readable)

    @property
    def port(self) -> int:
        """The local port."""
        assert self._socket is not None, "call bind() first"
        return int(self._socket.getsockname()[1])

    def _readable(self) -> None:
        for number in range(1, self.TURN + 1):
            if self._socket is None or self._stopped:
                return
            try:
                data, address = self._socket.recvfrom(SCRATCH)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                # ICMP errors are hints only: the machine's own time-outs decide.
                continue
            self.received += len(data)
            self.datagrams += 1
            self._input(self.peers.number(address), data)
            if number % self.BURST == 0:
                self.drain()
        self.drain()

    def _input(self, peer: int, data: bytes) -> None:
        raise NotImplementedError

    def _transmit(self, peer: int, data: bytes) -> None:
        address = self.peers.address(peer)
        if address is not None and self._socket is not None:
            self.sent += len(data)
            self.datagrams += 1
            try:
                self._socket.sendto(data, address)
            except OSError:
                # What cannot be sent now is as good as lost.
                pass

    def _stop(self) -> None:
        super()._stop()
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None


#: How much of a stream is shown to a machine at once, at first.
WINDOW = 16_384


def offer(rx: bytearray, handle: Callable[[bytes], Handled[Any]]) -> Handled[Any]:
    """Shows the machine the start of what has come, more where it needs more, and forgets what it consumed."""
    size = WINDOW
    while True:
        with memoryview(rx) as view:
            head = bytes(view[:size])
        handled = handle(head)
        if handled.consumed == 0 and handled.event is None and handled.needed and len(rx) > size:
            size += max(size, handled.needed)
            continue
        del rx[: handled.consumed]
        return handled
