"""Signed updates: authoring, verifying, the delivery policy, and the update machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple

from . import _native
from ._manifest import (
    Extra,
    Key,
    KeyTable,
    Manifest,
    Mapping,
    Payload,
    Release,
    Requires,
    Scope,
    Severity,
    Step,
    Text,
    UpdateType,
    Wait,
    Walk,
    _plain,
    check_chunk,
    chunk_list,
    chunks,
    image_id,
    inspect,
    mappings,
    verify,
    verify_signature,
    walk,
)
from ._native import SecretKey, Update

__all__ = [
    "Activate",
    "Area",
    "BootDecision",
    "BootLayout",
    "Erase",
    "Event",
    "Extra",
    "Fetch",
    "Key",
    "KeyTable",
    "Load",
    "Manifest",
    "Mapping",
    "Model",
    "Note",
    "Payload",
    "Policy",
    "Record",
    "Release",
    "Report",
    "Requires",
    "Scope",
    "SecretKey",
    "Severity",
    "SignedReport",
    "State",
    "StateChanged",
    "Step",
    "Store",
    "SwapBegin",
    "SwapMove",
    "Text",
    "Update",
    "UpdateType",
    "Wait",
    "Walk",
    "Wanted",
    "boot",
    "boot_swap",
    "check_chunk",
    "chunk_list",
    "chunks",
    "image_id",
    "inspect",
    "mappings",
    "open_report",
    "open_signed",
    "read_report",
    "refusals",
    "sign_payload",
    "verify",
    "verify_signature",
    "walk",
]


class Model(StrEnum):
    """How an update reaches a device."""

    A = "a"
    """MQTT only: manifest and image chunks are retained messages."""
    B = "b"
    """MQTT carries the manifest, a CoAP server the image."""
    C = "c"
    """CoAP only: the device observes a gateway."""


class State(StrEnum):
    """How far a device is with an update, in protocol order."""

    IDLE = "idle"
    ANNOUNCED = "announced"
    VERIFIED = "verified"
    DEFERRED = "deferred"
    FETCHING = "fetching"
    FETCHED = "fetched"
    VALIDATED = "validated"
    READY = "ready"
    TRIAL = "trial"
    CONFIRMED = "confirmed"
    REVERTED = "reverted"
    FAILED = "failed"


class Area(IntEnum):
    """A part of the flash; offsets count from its start. Each image has two slots."""

    SLOT0 = 0
    SLOT1 = 1
    JOURNAL = 2
    KEYS = 3


# ---- policy --------------------------------------------------------------------------------------------------------


class Policy:
    """Update type × severity → model: high → A, medium → B, low → the cheaper of the two, unless overridden.

    ``overrides`` maps ``(type, severity)`` to ``"a"``, ``"b"``, ``"c"`` or ``"cheaper"``.
    """

    def __init__(self, overrides: dict[tuple[UpdateType, Severity], str] | None = None) -> None:
        self._overrides = [(str(k), str(s), str(choice)) for (k, s), choice in (overrides or {}).items()]
        self.choose(UpdateType.SOFTWARE, Severity.LOW)  # refuses a choice that does not exist, here and not later

    def choose(self, kind: UpdateType, severity: Severity, cost_a: int = 1, cost_b: int = 1) -> Model:
        """The model for an update; ``cost_*`` is what a kilobyte costs on the device's link by either model."""
        return Model(_native.choose_model(str(kind), str(severity), cost_a, cost_b, self._overrides))


# ---- events of the update machine ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load:
    """Read ``len`` bytes; answer with ``loaded``."""

    area: Area
    offset: int
    len: int
    image: int = 0
    """The image that a slot is of."""


@dataclass(frozen=True, slots=True)
class Erase:
    """Erase; answer with ``done``."""

    area: Area
    offset: int
    len: int
    image: int = 0
    """The image that a slot is of."""


@dataclass(frozen=True, slots=True)
class Store:
    """Write image bytes to a slot; answer with ``done``."""

    area: Area
    offset: int
    data: bytes
    image: int = 0
    """The image that a slot is of."""


@dataclass(frozen=True, slots=True)
class Record:
    """Write a record to the journal; answer with ``done``."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Activate:
    """Boot from those slots next; answer with ``done``, then reboot."""

    slots: int
    """Bit n is the slot of image n: with one image it is its slot."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Deliver the image, or the list of its chunk digests, from ``offset`` on."""

    offset: int
    image: int = 0


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The update's state changed."""

    state: State


@dataclass(frozen=True, slots=True)
class Report:
    """What to tell the author of the release. ``reason`` is a name from :func:`refusals`."""

    state: State
    reason: str | None
    version: str | None
    sequence: int
    digest: bytes
    attempts: int = 0
    """How often in a row the download has come to nothing."""

    def encode(self, reference_uri: str = "") -> bytes:
        """The report as a device sends it: a SUIT_Report, for the manifest that is at ``reference_uri``."""
        return _native.encode_report(
            str(self.state), self.reason, self.version, self.sequence, self.digest, self.attempts, reference_uri
        )


def read_report(data: bytes) -> tuple[Report, str]:
    """Reads a SUIT_Report of a waft device: the report, and the reference URI of the manifest that it is about. Raises
    :class:`waft.Refusal` where it is none."""
    return _native.read_report(data)


@dataclass(frozen=True, slots=True)
class SignedReport:
    """A report whose device is known."""

    report: Report
    nonce: int
    """Its number, which rises from each report of a device to the next: to be kept for the next one."""
    key_id: bytes
    """The identifier of the device's key."""


def open_report(signed: bytes, keys: Sequence[bytes | Key], last: int = 0) -> SignedReport:
    """Opens a report that a device signed (:meth:`waft.agent.Agent.sign_reports`). ``last`` is the number of the last report that
    was taken of that device. Raises :class:`waft.Refusal`: none of ``keys`` signed it, or it is not newer
    (``ReportReplay``)."""
    return _native.open_report(signed, [_plain(key) for key in keys], last)


def sign_payload(payload: bytes, key: SecretKey) -> bytes:
    """A payload, a report say, with a signature around it: a COSE_Sign1."""
    return _native.sign1(payload, key)


def open_signed(signed: bytes, keys: Sequence[bytes | Key]) -> tuple[bytes, bytes]:
    """The payload of what :func:`sign_payload` made, and the identifier of the key that signed it. Raises
    :class:`waft.Refusal` where none of ``keys`` did."""
    return _native.open1(signed, [_plain(key) for key in keys])


@dataclass(frozen=True, slots=True)
class Wanted:
    """The missing bytes: the first one, how far data is taken now, and the size of the image."""

    offset: int
    end: int
    size: int


Event = Load | Erase | Store | Record | Activate | Fetch | StateChanged | Report

# ---- boot ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Note:
    """A journal record that the bootloader writes before it jumps."""

    erase: int | None
    page: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class BootDecision:
    """Which slots to boot from: bit n is the slot of image n, so that with one image it is its slot."""

    slots: int
    trial: bool
    active: int
    note: Note | None


def boot(page0: bytes, page1: bytes, factory: int = 0) -> BootDecision:
    """Decides as the bootloader does, from the two journal pages."""
    slots, trial, active, note = _native.boot(page0, page1, factory)
    return BootDecision(slots, trial, active, None if note is None else Note(*note))


@dataclass(frozen=True, slots=True)
class BootLayout:
    """The sizes of a device's flash in bytes, where firmware runs from a primary area and updates are stored in a staging area."""

    slot: int
    """Of the staging area: a multiple of ``erase``. The primary area has ``erase`` more."""
    erase: int
    """Of an erase block."""
    write: int
    """Of a program unit."""

    @property
    def status_len(self) -> int:
        """Bytes that each of the two status pages has to have at least, of which it is as many whole erase blocks."""
        return _native.boot_status_len((self.slot, self.erase, self.write))


class SwapBegin(NamedTuple):
    """Erase that status page and write its header."""

    page: int
    header: bytes


class SwapMove(NamedTuple):
    """Erase the block at ``to``, copy there the one at ``origin``, then write a program unit of zeros at ``mark`` of the page.

    A place is whether it is in the staging area, and its offset.
    """

    origin: tuple[bool, int]
    to: tuple[bool, int]
    page: int
    mark: int


def boot_swap(status0: bytes, status1: bytes, slot: int, layout: BootLayout) -> SwapBegin | SwapMove | None:
    """The next step on the way to having ``slot``, of :func:`boot`, in the primary area; None when it is there.

    For a bootloader whose device has a staging area, which stands for both slots. It does the step and asks again.
    """
    begin, move = _native.boot_swap(status0, status1, slot, (layout.slot, layout.erase, layout.write))
    if begin is not None:
        return SwapBegin(*begin)
    return None if move is None else SwapMove(*move)


def refusals() -> dict[str, int]:
    """Every reason for which an update is refused, and its number."""
    return {name: code for kind, code, name, _ in _native.error_table() if kind == "Refusal"}
