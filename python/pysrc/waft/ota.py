"""Signed updates: authoring, verifying, the delivery policy, and the update machine."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from . import _native
from ._native import SecretKey, Update

__all__ = [
    "Activate",
    "Area",
    "BootDecision",
    "Erase",
    "Event",
    "Fetch",
    "Load",
    "Manifest",
    "Model",
    "Note",
    "Policy",
    "Record",
    "Release",
    "Report",
    "SecretKey",
    "Severity",
    "State",
    "StateChanged",
    "Store",
    "Update",
    "UpdateType",
    "Wanted",
    "boot",
    "chunks",
    "image_id",
    "inspect",
    "refusals",
    "verify",
    "verify_signature",
]


class UpdateType(StrEnum):
    """What an update is for."""

    SOFTWARE = "software"
    SECURITY = "security"


class Severity(StrEnum):
    """How urgent an update is: SUIT update-priority 0, 1, 2; LwM2M critical, mandatory, optional."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


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
    """A part of the flash; offsets count from its start."""

    SLOT0 = 0
    SLOT1 = 1
    JOURNAL = 2


# ---- manifests -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an envelope says of its release."""

    sequence: int
    version: str | None
    vendor: uuid.UUID
    class_id: uuid.UUID
    kind: UpdateType
    severity: Severity
    uri: str
    image_digest: bytes
    image_size: int
    chunk: int | None
    digest: bytes

    @property
    def image_id(self) -> str:
        """The name of the image in topics and paths."""
        return self.image_digest[:8].hex()


def _manifest(
    sequence: int,
    version: str | None,
    vendor: bytes,
    class_id: bytes,
    kind: str,
    severity: str,
    uri: str,
    image_digest: bytes,
    image_size: int,
    chunk: int | None,
    digest: bytes,
) -> Manifest:
    """What the native module calls to make one."""
    return Manifest(
        sequence,
        version,
        uuid.UUID(bytes=vendor),
        uuid.UUID(bytes=class_id),
        UpdateType(kind),
        Severity(severity),
        uri,
        image_digest,
        image_size,
        chunk,
        digest,
    )


def verify(envelope: bytes, keys: Sequence[bytes]) -> Manifest:
    """Checks an envelope as a device does: signature first, then its structure.

    ``keys`` are trusted Ed25519 public keys, 32 bytes each. Raises :class:`waft.Refusal` with the reason.
    """
    return _native.verify(envelope, list(keys))


def verify_signature(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is the Ed25519 signature of ``message`` by the holder of the public ``key``, judged as strictly
    as manifests are."""
    return _native.verify_signature(key, message, signature)


def inspect(envelope: bytes) -> Manifest:
    """As :func:`verify` but without asking who signed. Trust nothing of it."""
    return _native.inspect(envelope)


def image_id(image: bytes) -> str:
    """The name of an image in topics and paths: the first 16 digits of its SHA-256."""
    return hashlib.sha256(image).digest()[:8].hex()


def chunks(image: bytes, size: int) -> list[bytes]:
    """An image cut for delivery over MQTT: each ``size`` bytes, the last shorter."""
    if size <= 0:
        raise ValueError("the chunk size must be positive")
    return [image[at : at + size] for at in range(0, len(image), size)]


@dataclass(frozen=True, slots=True)
class Release:
    """A release to be signed."""

    image: bytes
    vendor: uuid.UUID
    class_id: uuid.UUID
    sequence: int
    version: str
    kind: UpdateType = UpdateType.SOFTWARE
    severity: Severity = Severity.MEDIUM
    uri: str | None = None
    """Absolute ``coap://…``, or relative to where the manifest lies. ``image/<id>`` when None."""
    chunk: int | None = 16_384
    """Bytes per chunk for model A."""

    def sign(self, key: SecretKey) -> bytes:
        """The signed SUIT envelope. Raises :class:`waft.Error` where a field is out of range."""
        return key.sign(
            self.image,
            vendor=self.vendor.bytes,
            class_id=self.class_id.bytes,
            sequence=self.sequence,
            version=self.version,
            kind=str(self.kind),
            severity=str(self.severity),
            uri=self.uri if self.uri is not None else f"image/{image_id(self.image)}",
            chunk=self.chunk,
        )


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


@dataclass(frozen=True, slots=True)
class Erase:
    """Erase; answer with ``done``."""

    area: Area
    offset: int
    len: int


@dataclass(frozen=True, slots=True)
class Store:
    """Write image bytes to a slot; answer with ``done``."""

    area: Area
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """Write a record to the journal; answer with ``done``."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Activate:
    """Boot that slot next; answer with ``done``, then reboot."""

    slot: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """Deliver the image from ``offset`` on."""

    offset: int


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
    """Which slot to boot."""

    slot: int
    trial: bool
    active: int
    note: Note | None


def boot(page0: bytes, page1: bytes, factory: int = 0) -> BootDecision:
    """Decides as the bootloader does, from the two journal pages."""
    slot, trial, active, note = _native.boot(page0, page1, factory)
    return BootDecision(slot, trial, active, None if note is None else Note(*note))


def refusals() -> dict[str, int]:
    """Every reason for which an update is refused, and its number."""
    return {name: code for kind, code, name, _ in _native.error_table() if kind == "Refusal"}
