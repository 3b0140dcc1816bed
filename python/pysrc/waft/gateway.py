"""The gateway of model C: serves over CoAP what it got once from a provider."""

from __future__ import annotations

from dataclasses import dataclass

from ._native import Gateway

__all__ = ["Event", "Fetch", "Gateway", "GatewayStats", "Report"]


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get ``url`` and answer ``put`` or ``failed`` for ``path``. Asked for once, however many wait."""

    path: str
    url: str


@dataclass(frozen=True, slots=True)
class Report:
    """A device reports: ``payload`` is a SUIT_Report."""

    peer: int
    path: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class GatewayStats:
    """What a gateway counts."""

    requests: int
    hits: int
    fetches: int
    notifications: int
    sent: int


Event = Fetch | Report
