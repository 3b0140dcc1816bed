"""waft: MQTT 3.1.1, CoAP and signed firmware updates as machines that do no I/O of their own."""

from __future__ import annotations

from ._errors import Capacity, Error, Misuse, PeerError, Refusal
from ._native import __version__, error_table

__all__ = ["Capacity", "Error", "Misuse", "PeerError", "Refusal", "__version__", "error_table"]
