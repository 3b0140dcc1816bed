"""The device: MQTT client, CoAP endpoint and update as one machine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from . import ota
from ._native import Agent

__all__ = ["Agent", "AgentStats", "Close", "Event", "Link", "Open", "Refused"]


class Link(IntEnum):
    """A connection that the host keeps for the agent."""

    BROKER = 0
    """The TCP stream to the MQTT broker."""
    GATEWAY = 1
    """The UDP peer that is the gateway."""
    SERVER = 2
    """The UDP peer that a manifest's ``coap://`` URI names."""


@dataclass(frozen=True, slots=True)
class Open:
    """Open this link and answer ``opened``, or ``closed`` if that fails."""

    link: Link
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Close:
    """Close this link; no answer."""

    link: Link
    peer: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The broker refuses the connection; the agent tries again later."""

    code: int
    name: str


@dataclass(frozen=True, slots=True)
class AgentStats:
    """What an agent counts: messages both ways, and where the last download went on after a reboot."""

    received: int
    sent: int
    resumed_at: int


Event = Open | Close | Refused | ota.Event
