"""CoAP (RFC 7252) with Observe and Block-wise transfers, client and server in one machine that does no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ._errors import Misuse
from ._native import (
    Endpoint,
    Message,
    Proxy,
    ProxyForward,
    RequestId,
    compose_uri,
    condition,
    parse_uri,
    read_links,
    resolve_uri,
    write_links,
)
from ._native import decode_message as decode

__all__ = [
    "BodyWanted",
    "Code",
    "Endpoint",
    "Event",
    "Failed",
    "GroupResponse",
    "Message",
    "Observed",
    "ObserverGone",
    "Option",
    "Pong",
    "Proxy",
    "ProxyAnswer",
    "ProxyForward",
    "Request",
    "RequestId",
    "Response",
    "Silent",
    "Uri",
    "compose_uri",
    "condition",
    "decode",
    "read_links",
    "resolve_uri",
    "split_uri",
    "uint",
    "write_links",
]

#: An option: its number and its value.
Option = tuple[int, bytes]


class Code(int):
    """A method or a response code. ``str()`` gives it as the standard writes it: 2.05."""

    EMPTY: ClassVar[Code]
    GET: ClassVar[Code]
    POST: ClassVar[Code]
    PUT: ClassVar[Code]
    DELETE: ClassVar[Code]
    FETCH: ClassVar[Code]
    PATCH: ClassVar[Code]
    IPATCH: ClassVar[Code]
    CREATED: ClassVar[Code]
    DELETED: ClassVar[Code]
    VALID: ClassVar[Code]
    CHANGED: ClassVar[Code]
    CONTENT: ClassVar[Code]
    CONTINUE: ClassVar[Code]
    BAD_REQUEST: ClassVar[Code]
    UNAUTHORIZED: ClassVar[Code]
    BAD_OPTION: ClassVar[Code]
    FORBIDDEN: ClassVar[Code]
    NOT_FOUND: ClassVar[Code]
    METHOD_NOT_ALLOWED: ClassVar[Code]
    NOT_ACCEPTABLE: ClassVar[Code]
    REQUEST_ENTITY_INCOMPLETE: ClassVar[Code]
    CONFLICT: ClassVar[Code]
    PRECONDITION_FAILED: ClassVar[Code]
    REQUEST_ENTITY_TOO_LARGE: ClassVar[Code]
    UNSUPPORTED_CONTENT_FORMAT: ClassVar[Code]
    UNPROCESSABLE_ENTITY: ClassVar[Code]
    TOO_MANY_REQUESTS: ClassVar[Code]
    INTERNAL_SERVER_ERROR: ClassVar[Code]
    NOT_IMPLEMENTED: ClassVar[Code]
    BAD_GATEWAY: ClassVar[Code]
    SERVICE_UNAVAILABLE: ClassVar[Code]
    GATEWAY_TIMEOUT: ClassVar[Code]
    PROXYING_NOT_SUPPORTED: ClassVar[Code]
    HOP_LIMIT_REACHED: ClassVar[Code]

    @property
    def title(self) -> str:
        """The name of its registry entry, such as ``Not Found``; empty where it has none here."""
        return _TITLES.get(int(self), "")

    @property
    def is_success(self) -> bool:
        """Whether it is a 2.xx."""
        return int(self) >> 5 == 2

    def __str__(self) -> str:
        return f"{int(self) >> 5}.{int(self) & 31:02}"

    def __repr__(self) -> str:
        return f"Code({self!s})"


#: Names and values of the codes (RFC 7252 §12.1, RFC 7959 §6, RFC 8132 §4, RFC 8516, RFC 8768).
_CODES = [
    ("EMPTY", 0x00, "Empty"),
    ("GET", 0x01, "GET"),
    ("POST", 0x02, "POST"),
    ("PUT", 0x03, "PUT"),
    ("DELETE", 0x04, "DELETE"),
    ("FETCH", 0x05, "FETCH"),
    ("PATCH", 0x06, "PATCH"),
    ("IPATCH", 0x07, "iPATCH"),
    ("CREATED", 0x41, "Created"),
    ("DELETED", 0x42, "Deleted"),
    ("VALID", 0x43, "Valid"),
    ("CHANGED", 0x44, "Changed"),
    ("CONTENT", 0x45, "Content"),
    ("CONTINUE", 0x5F, "Continue"),
    ("BAD_REQUEST", 0x80, "Bad Request"),
    ("UNAUTHORIZED", 0x81, "Unauthorized"),
    ("BAD_OPTION", 0x82, "Bad Option"),
    ("FORBIDDEN", 0x83, "Forbidden"),
    ("NOT_FOUND", 0x84, "Not Found"),
    ("METHOD_NOT_ALLOWED", 0x85, "Method Not Allowed"),
    ("NOT_ACCEPTABLE", 0x86, "Not Acceptable"),
    ("REQUEST_ENTITY_INCOMPLETE", 0x88, "Request Entity Incomplete"),
    ("CONFLICT", 0x89, "Conflict"),
    ("PRECONDITION_FAILED", 0x8C, "Precondition Failed"),
    ("REQUEST_ENTITY_TOO_LARGE", 0x8D, "Request Entity Too Large"),
    ("UNSUPPORTED_CONTENT_FORMAT", 0x8F, "Unsupported Content-Format"),
    ("UNPROCESSABLE_ENTITY", 0x96, "Unprocessable Entity"),
    ("TOO_MANY_REQUESTS", 0x9D, "Too Many Requests"),
    ("INTERNAL_SERVER_ERROR", 0xA0, "Internal Server Error"),
    ("NOT_IMPLEMENTED", 0xA1, "Not Implemented"),
    ("BAD_GATEWAY", 0xA2, "Bad Gateway"),
    ("SERVICE_UNAVAILABLE", 0xA3, "Service Unavailable"),
    ("GATEWAY_TIMEOUT", 0xA4, "Gateway Timeout"),
    ("PROXYING_NOT_SUPPORTED", 0xA5, "Proxying Not Supported"),
    ("HOP_LIMIT_REACHED", 0xA8, "Hop Limit Reached"),
]
_TITLES = {value: title for _, value, title in _CODES}

for _name, _value, _ in _CODES:
    setattr(Code, _name, Code(_value))


def uint(value: int) -> bytes:
    """An option's value that is an unsigned integer: big-endian, without leading zeros (RFC 7252 §3.2)."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


@dataclass(frozen=True, slots=True)
class Response:
    """A block of a response, in order unless a ``window`` was asked for; ``last`` with ``observe is None`` ends the exchange."""

    exchange: int
    code: Code
    options: list[Option]
    etag: bytes | None
    observe: int | None
    offset: int
    total: int | None
    payload: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class Request:
    """A peer asks: answer with ``respond``, now or later. ``more``: further blocks of its body follow."""

    id: RequestId
    code: Code
    options: list[Option]
    payload: bytes
    offset: int
    more: bool

    @property
    def path(self) -> str:
        """Its Uri-Path."""
        return "/" + "/".join(value.decode("utf-8", "replace") for number, value in self.options if number == 11)

    @property
    def queries(self) -> list[str]:
        """The arguments of its Uri-Query."""
        return [value.decode("utf-8", "replace") for number, value in self.options if number == 15]


@dataclass(frozen=True, slots=True)
class GroupResponse:
    """A member of a group answers a request to all (``group=True``); there may be more."""

    exchange: int
    peer: int
    code: Code
    options: list[Option]
    payload: bytes


@dataclass(frozen=True, slots=True)
class ProxyAnswer:
    """What a proxy's client is to be answered."""

    code: Code
    options: list[Option]
    body: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """An exchange came to nothing."""

    exchange: int
    reason: str


@dataclass(frozen=True, slots=True)
class BodyWanted:
    """Give this part of the request's body to ``body``. With ``random_access`` any may come again, in any order: it was lost."""

    exchange: int
    offset: int
    len: int


@dataclass(frozen=True, slots=True)
class ObserverGone:
    """An observer left, or did not acknowledge."""

    resource: int
    peer: int


@dataclass(frozen=True, slots=True)
class Pong:
    """An answer to ``ping``."""

    peer: int


@dataclass(frozen=True, slots=True)
class Silent:
    """No answer to ``ping``."""

    peer: int


Event = Response | GroupResponse | Request | Failed | BodyWanted | ObserverGone | Pong | Silent


@dataclass(frozen=True, slots=True)
class Observed:
    """A representation of an observed resource."""

    code: Code
    payload: bytes
    sequence: int | None


@dataclass(frozen=True, slots=True)
class Uri:
    """A ``coap`` or ``coaps`` URI in its parts (RFC 7252 §6)."""

    #: ``"coap"`` or ``"coaps"``.
    scheme: str
    #: A name, still percent-encoded, or an address; of IPv6 without its brackets.
    host: str
    #: The port; that of the scheme where the URI names none.
    port: int
    #: Path and query as they stand; empty where there is neither.
    target: str
    #: Whether the host is an address: then a request has no Uri-Host option.
    literal: bool

    @classmethod
    def parse(cls, text: str) -> Uri:
        """Takes an absolute URI apart. Raises :class:`waft.Misuse` where it is none."""
        return cls(*parse_uri(text))


def split_uri(uri: str) -> tuple[str, int, str]:
    """``coap://host[:port]/path?query`` as host, port, and path with query. Raises ``ValueError`` for anything else."""
    try:
        parts = Uri.parse(uri)
    except Misuse:
        parts = None
    if not parts or parts.scheme != "coap":
        raise ValueError(f"InvalidUri: a CoAP URI is coap://HOST[:PORT]/PATH, in visible ASCII, not {uri!r}")
    slash = "" if parts.target.startswith("/") else "/"
    return parts.host.lower(), parts.port, slash + parts.target
