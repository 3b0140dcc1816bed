"""Manifests: what a release is, signed and read back; chunk digests; tables of keys. Everything is in ``waft.ota``."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntFlag, StrEnum
from typing import Any

from . import _native
from ._native import SecretKey


class _Word(StrEnum):
    """One of some words; of any other it is said which there are."""

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise ValueError(f"{value!r} is not one of {', '.join(cls)}")


class UpdateType(_Word):
    """What an update is for."""

    SOFTWARE = "software"
    SECURITY = "security"


class Severity(_Word):
    """How urgent an update is: SUIT update-priority 0, 1, 2; LwM2M critical, mandatory, optional."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Scope(IntFlag):
    """The components for which a key may sign. ``1 << n`` is the image number n."""

    FIRMWARE = 0x01
    """The firmware, with its list of chunk digests."""
    KEYS = 0x80
    """The table of keys."""
    ALL = 0xFF


@dataclass(frozen=True, slots=True)
class Key:
    """A public key that is trusted: for what, and since which epoch of the table of keys (0: the factory)."""

    public: bytes
    scope: Scope = Scope.ALL
    epoch: int = 0

    @property
    def id(self) -> bytes:
        """The identifier that signatures name: 8 bytes."""
        return _native.key_id(self.public)


def _plain(key: Key | bytes) -> tuple[bytes, int, int]:
    return (key.public, int(key.scope), key.epoch) if isinstance(key, Key) else (key, int(Scope.ALL), 0)


@dataclass(frozen=True, slots=True)
class Wait:
    """What a device is to wait for before it fetches: all of it. The draft leaves to the deployment what the states mean."""

    power: int | None = None
    network: int | None = None
    time: int | None = None
    """Seconds since 1970."""
    time_of_day: int | None = None
    """Seconds since 00:00:00 UTC."""
    day_of_week: int | None = None
    """Days since Sunday, UTC."""


@dataclass(frozen=True, slots=True)
class Requires:
    """What only the device can decide, before it installs."""

    use_before: int | None = None
    """Not to be installed at or after this time, seconds since 1970."""
    battery: int | None = None
    """Least charge of the battery, mWh."""
    authorization: bool = False
    """The application is to be asked."""
    version: tuple[str, ...] = ()
    """What the installed version has to be, as ``">=1.2.0"`` or ``"<2"``; at most two."""
    device: uuid.UUID | None = None
    """The only device it is for."""
    wait: Wait | None = None

    def _plain(self) -> tuple[Any, ...]:
        wait = self.wait
        return (
            self.use_before,
            self.battery,
            self.authorization,
            list(self.version),
            None if self.device is None else self.device.bytes,
            None if wait is None else (wait.power, wait.network, wait.time, wait.time_of_day, wait.day_of_week),
        )


@dataclass(frozen=True, slots=True)
class Payload:
    """Something that a manifest wants installed."""

    component: str
    """``"image"``, ``"chunks"`` (the list of the digests of an image's chunks) or ``"keys"`` (the table of keys)."""
    number: int
    """Of the image; 0 is the firmware."""
    digest: bytes
    size: int
    uri: str
    content: bytes | None
    """The payload itself, where it is in the envelope."""
    chunks: tuple[int, bytes] | None
    """Of an image with chunk digests: the bytes of a chunk, and the digest of the list."""


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
    """Where the firmware is; empty where the manifest is about something else, and then the next two are zero."""
    image_digest: bytes
    image_size: int
    chunk: int | None
    digest: bytes
    signer: bytes | None = None
    """The identifier of the key that signed it."""
    reference_uri: str | None = None
    requires: Requires = Requires()
    payloads: tuple[Payload, ...] = field(default=(), compare=False)
    """In the order in which they are fetched. A machine's manifest has none: ask :func:`verify`."""

    @property
    def image_id(self) -> str:
        """The name of the image in topics and paths."""
        return self.image_digest[:8].hex()


def _requires(plain: tuple[Any, ...]) -> Requires:
    use_before, battery, authorization, version, device, wait = plain
    return Requires(
        use_before,
        battery,
        authorization,
        tuple(version),
        None if device is None else uuid.UUID(bytes=bytes(device)),
        None if wait is None else Wait(*wait),
    )


def _manifest(fields: dict[str, Any]) -> Manifest:
    """What the native module calls to make one."""
    fields["vendor"] = uuid.UUID(bytes=fields["vendor"])
    fields["class_id"] = uuid.UUID(bytes=fields["class_id"])
    fields["kind"] = UpdateType(fields["kind"])
    fields["severity"] = Severity(fields["severity"])
    fields["requires"] = _requires(fields["requires"])
    fields["payloads"] = tuple(Payload(*payload) for payload in fields["payloads"])
    return Manifest(**fields)


def verify(envelope: bytes, keys: Sequence[bytes | Key]) -> Manifest:
    """Checks an envelope as a device does: signature first, then its structure.

    ``keys`` are trusted: :class:`Key`, or Ed25519 public keys of 32 bytes, which may sign everything. Raises
    :class:`waft.Refusal` with the reason.
    """
    return _native.verify(envelope, [_plain(key) for key in keys])


def verify_signature(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is the Ed25519 signature of ``message`` by the holder of the public ``key``, judged as strictly
    as manifests are."""
    return _native.verify_signature(key, message, signature)


def inspect(envelope: bytes) -> Manifest:
    """As :func:`verify` but without asking who signed. Trust nothing of it."""
    return _native.inspect(envelope)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a manifest says."""

    what: str
    """``"sequence"``, ``"alternative"``, ``"command"``, ``"parameter"``, ``"text"`` or ``"component text"``."""
    depth: int
    """How deep the sequence is in others."""
    key: int
    """The number of the member, the command, the parameter or the text."""
    value: bytes
    """The argument or value as it is encoded; of a text, its language and itself."""


@dataclass(frozen=True, slots=True)
class Walk:
    """All that a well-formed envelope says, whether or not a device can apply it."""

    sequence: int
    digest: bytes
    key_id: bytes | None
    reference_uri: str | None
    version: str | None
    components: bytes
    """The component identifiers, encoded one after another."""
    steps: tuple[Step, ...]


def walk(envelope: bytes) -> Walk:
    """Reads any well-formed envelope, without asking who signed. Raises :class:`waft.Refusal` where it is not."""
    sequence, digest, key_id, reference_uri, version, components, steps = _native.walk(envelope)
    return Walk(
        sequence, digest, key_id, reference_uri, version, components, tuple(Step(*step) for step in steps)
    )


def image_id(image: bytes) -> str:
    """The name of an image in topics and paths: the first 16 digits of its SHA-256."""
    return hashlib.sha256(image).digest()[:8].hex()


def chunks(image: bytes, size: int) -> list[bytes]:
    """An image cut for delivery over MQTT: each ``size`` bytes, the last shorter."""
    if size <= 0:
        raise ValueError("the chunk size must be positive")
    return [image[at : at + size] for at in range(0, len(image), size)]


def chunk_list(image: bytes, size: int) -> bytes:
    """The list of the digests of an image's chunks of ``size`` bytes: what a manifest with chunk digests refers to."""
    return _native.chunk_list(image, size)


def check_chunk(list: bytes, chunk: int, size: int, n: int, data: bytes) -> None:
    """Raises :class:`waft.Refusal` where ``data`` are not chunk ``n`` of the image of ``size`` bytes that ``list``, with a
    digest for every ``chunk`` bytes, describes."""
    _native.check_chunk(list, chunk, size, n, data)


@dataclass(frozen=True, slots=True)
class Text:
    """Texts for people."""

    language: str = "en"
    description: str | None = None
    """What the update is about."""
    vendor: str | None = None
    """Who makes the device."""
    model: str | None = None
    """What the device is called."""
    version: str | None = None
    """The release as people call it."""


@dataclass(frozen=True, slots=True)
class Extra:
    """An image that is installed together with the firmware, or without one."""

    number: int
    """1 to 6."""
    image: bytes
    uri: str | None = None
    """Where it is; ``image/<id>`` when None."""
    content: bool = False
    """It is put into the envelope; its URI then begins with ``#``, and is ``#<number>`` when None."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release to be signed."""

    image: bytes | None
    """The firmware. None: it brings other images only, and then no version of the firmware can be required."""
    vendor: uuid.UUID
    class_id: uuid.UUID
    sequence: int
    version: str | None
    kind: UpdateType = UpdateType.SOFTWARE
    severity: Severity = Severity.MEDIUM
    uri: str | None = None
    """Where the firmware is: absolute ``coap://…``, or relative to where the manifest lies. ``image/<id>`` when None."""
    chunk: int | None = 16_384
    """Bytes per chunk for model A, and for chunk digests."""
    reference_uri: str | None = None
    """Where the whole manifest can be had."""
    requires: Requires = Requires()
    """What devices have to decide before they install."""
    text: Text | None = None
    """Texts for people; they stand in the envelope and can be left out on the way."""
    content: bool = False
    """The image is put into the envelope; its URI then begins with ``#``, and is ``#firmware`` when None."""
    list_uri: str | None = None
    """Sign for each chunk, with the list of their digests (:func:`chunk_list`) there; ``#chunks`` puts it into the envelope."""
    images: Sequence[Extra] = ()
    """Images that are installed together with the firmware, or without one."""

    def sign(self, key: SecretKey) -> bytes:
        """The signed SUIT envelope. Raises ``ValueError`` or :class:`waft.Error` where a field is out of range."""
        text = self.text
        if self.image is None:
            uri = ""
            if not self.images:
                raise ValueError("a release brings an image at least")
            if self.uri or self.content or self.list_uri is not None or self.requires.version:
                raise ValueError("without firmware there is no URI, content, list or required version of it")
        else:
            uri = self.uri or ("#firmware" if self.content else f"image/{image_id(self.image)}")
        return key.sign(
            self.image,
            vendor=self.vendor.bytes,
            class_id=self.class_id.bytes,
            sequence=self.sequence,
            version=self.version,
            kind=str(self.kind),
            severity=str(self.severity),
            uri=uri,
            chunk=self.chunk,
            reference_uri=self.reference_uri,
            requires=self.requires._plain(),
            text=None if text is None else (text.language, text.description, text.vendor, text.model, text.version),
            content=self.content,
            list_uri=self.list_uri,
            images=[
                (e.number, e.image, e.uri or (f"#{e.number}" if e.content else f"image/{image_id(e.image)}"), e.content)
                for e in self.images
            ],
        )


@dataclass(frozen=True, slots=True)
class KeyTable:
    """The keys that a device trusts. A signed manifest brings another one, which takes its place or is refused."""

    keys: tuple[Key, ...]
    """One to four."""
    epoch: int = 0
    """0 in the factory, higher with each table."""
    _encoded: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_encoded", _native.encode_keys(self.epoch, self._plain(), False))
        epoch, keys = _native.read_keys(self._encoded)
        object.__setattr__(self, "keys", _keys(keys))

    def _plain(self) -> list[tuple[bytes, int, int]]:
        return [_plain(key) for key in self.keys]

    def payload(self) -> bytes:
        """The table as a manifest carries it."""
        return self._encoded

    def to_bytes(self) -> bytes:
        """The table as it stands in flash: 192 bytes with a checksum."""
        return _native.encode_keys(self.epoch, self._plain(), True)

    @classmethod
    def from_bytes(cls, data: bytes) -> KeyTable:
        """Reads a payload, or what stands in flash. Raises :class:`waft.Refusal`."""
        epoch, keys = _native.read_keys(data)
        return cls(_keys(keys), epoch)

    def apply(self, payload: bytes, signer: bytes) -> KeyTable:
        """The table that takes this one's place by a manifest with that payload, signed by the key of that identifier.
        Raises :class:`waft.Refusal` with the reason why not."""
        epoch, keys = _native.apply_keys(self.epoch, self._plain(), payload, signer)
        return KeyTable(_keys(keys), epoch)

    def sign(self, key: SecretKey, *, vendor: uuid.UUID, class_id: uuid.UUID, sequence: int) -> bytes:
        """The signed envelope that brings this table to devices. Raises :class:`waft.Misuse` where the key that signs is
        not in it."""
        return key.sign_keys(
            vendor=vendor.bytes, class_id=class_id.bytes, sequence=sequence, epoch=self.epoch, keys=self._plain()
        )


def _keys(plain: Iterable[tuple[bytes, int, int]]) -> tuple[Key, ...]:
    return tuple(Key(bytes(public), Scope(scope), epoch) for public, scope, epoch in plain)


@dataclass(frozen=True, slots=True)
class Mapping:
    """A reason for which an update is refused, in other vocabularies."""

    name: str
    code: int
    suit_report: int
    """suit-report-reason."""
    lwm2m: int
    """LwM2M object 5, ``Update Result``."""
    fumo: int
    """OMA FUMO result code."""


def mappings() -> dict[str, Mapping]:
    """Every reason for which an update is refused, by its name."""
    return {row[0]: Mapping(*row) for row in _native.refusal_table()}
