"""What tests of protocol code need: time that jumps, links that lose, peers that misbehave.

Nothing waits here: two machines meet in virtual time, so an hour of retransmissions takes a moment, and the same seed
gives the same run. ::

    pair = Pair(coap.Endpoint(seed=1), coap.Endpoint(seed=2), link=Link(loss=0.2, seed=7))
    exchange = pair.left.request(pair.now, 0, coap.Code.GET, "/hello")
    pair.run(120)
    assert pair.told[0] == [...]

A stream is not lost in parts, but it is cut into pieces and it breaks: :class:`StreamPair`. :class:`Script` is a peer that
says what it is told to, right or wrong; :data:`RUDE_SERVERS` has some. For programs with sockets there are
:class:`BenchBroker` and :class:`RudeServer`, and :class:`Relay`, a link between
programs on UDP. As pytest fixtures: :mod:`waft.testing.plugin`.
"""

from __future__ import annotations

from ._link import Link
from ._pair import Machine, Pair, StreamPair
from ._relay import Passed, Relay
from ._script import RUDE_SERVERS, Part, Script
from ._sockets import BenchBroker, RudeServer

__all__ = [
    "RUDE_SERVERS",
    "BenchBroker",
    "Link",
    "Machine",
    "Pair",
    "Part",
    "Passed",
    "Relay",
    "RudeServer",
    "Script",
    "StreamPair",
]
