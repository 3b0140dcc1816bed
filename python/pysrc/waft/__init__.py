"""waft: MQTT 3.1.1, CoAP and signed firmware updates as machines that do no I/O of their own.

The whole manual: *mutate, drain ``poll_output`` to ``Timeout``, wait for bytes or for the deadline, repeat.*
:mod:`waft.aio` does that on asyncio. Times are microseconds of any monotonic clock; peers are numbers of your own.
"""

from __future__ import annotations

from . import agent, coap, gateway, mqtt, ota
from ._errors import Capacity, Error, Misuse, PeerError, Refusal
from ._machine import BufferTooSmall, Handled, HandledAll, Timeout, Transmit
from ._native import Agent, Gateway, __version__, error_table
from .ota import Release, SecretKey, Update, verify

__all__ = [
    "Agent",
    "BufferTooSmall",
    "Capacity",
    "Error",
    "Gateway",
    "Handled",
    "HandledAll",
    "Misuse",
    "PeerError",
    "Refusal",
    "Release",
    "SecretKey",
    "Timeout",
    "Transmit",
    "Update",
    "__version__",
    "agent",
    "coap",
    "error_table",
    "gateway",
    "mqtt",
    "ota",
    "verify",
]
