"""MQTT 3.1.1, client and server side, as machines that do no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from ._native import (
    Acknowledged,
    Broker,
    Client,
    Closed,
    Connected,
    Journal,
    Payload,
    PayloadWanted,
    Publish,
    Refused,
    Skipped,
    Subscribed,
    Unsubscribed,
    topic_matches,
)
from ._native import decode_packet as decode

__all__ = [
    "Acknowledged",
    "Authenticate",
    "Broker",
    "BrokerEvent",
    "BrokerStats",
    "Client",
    "ClientConnected",
    "CloseConnection",
    "Closed",
    "Connected",
    "Event",
    "Journal",
    "Packet",
    "Payload",
    "PayloadWanted",
    "Place",
    "Publish",
    "QoS",
    "Record",
    "Refused",
    "Skipped",
    "Subscribed",
    "Unsubscribed",
    "Will",
    "decode",
    "topic_matches",
]


class QoS(IntEnum):
    """How hard a message is to lose (MQTT 3.1.1 §4.3)."""

    AT_MOST_ONCE = 0
    AT_LEAST_ONCE = 1
    EXACTLY_ONCE = 2


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for a client that vanishes."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Packet:
    """A control packet, as :func:`decode` gives it. ``fields`` are those of the packet, by the names that MQTT 3.1.1
    gives them: ``client_id``, ``clean_session``, ``keep_alive``, ``will_topic``, ``will_payload``, ``will_qos``,
    ``will_retain``, ``username``, ``password``; ``session_present``, ``code``; ``topic``, ``qos``, ``retain``, ``dup``,
    ``payload_len``; ``id``; ``filters``; ``codes``. What a packet does not have is not there.
    """

    kind: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next record of a :class:`Journal` is to be written: in page ``page`` (0 or 1) at ``offset``, after the
    page was erased (filled with 0xFF) where ``erase`` says so. ``sequence`` is for ``Client.export``."""

    page: int
    offset: int
    erase: bool
    sequence: int


#: What a client tells.
Event = (
    Connected | Refused | Publish | Payload | Skipped | Acknowledged | Subscribed | Unsubscribed | PayloadWanted | Closed
)

# ---- events of a broker --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClientConnected:
    """A client was let in."""

    peer: int
    client_id: str
    session_present: bool


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """Close the connection of ``peer`` now; the broker knows it no more. ``code`` is that of the violation, or 0."""

    peer: int
    reason: str
    code: int


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Somebody wants to be let in: answer by ``allow()`` or ``deny()``."""

    peer: int
    client_id: str
    username: str | None
    password: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Record:
    """Append these bytes to the file, make them durable, then call ``recorded()``."""

    data: bytes = field(repr=False)


BrokerEvent = ClientConnected | CloseConnection | Authenticate | Record


@dataclass(frozen=True, slots=True)
class BrokerStats:
    """What a broker holds and has done."""

    connections: int
    connected: int
    sessions: int
    subscriptions: int
    retained: int
    retained_bytes: int
    queued: int
    queued_bytes: int
    received: int
    sent: int
    dropped: int
    denied: int
