"""What every machine returns: the contract of ``waft::machine``."""

from __future__ import annotations

from ._native import BufferTooSmall, Handled, HandledAll, Timeout, Transmit

__all__ = ["BufferTooSmall", "Handled", "HandledAll", "Timeout", "Transmit"]
