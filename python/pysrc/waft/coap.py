"""CoAP (RFC 7252) with Observe and Block-wise transfers, client and server in one machine that does no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import urlsplit

from ._native import Endpoint, RequestId, encode_message
from ._native import decode_message as decode

__all__ = [
    "BodyWanted",
    "Code",
    "Endpoint",
    "Event",
    "Failed",
    "Message",
    "Observed",
    "ObserverGone",
    "Option",
    "Pong",
    "Request",
    "RequestId",
    "Response",
    "Silent",
    "decode",
    "split_uri",
]

#: An option: its number and its value.
Option = tuple[int, bytes]


class Code(int):
    """A method or a response code. ``str()`` gives it as the standard writes it: 2.05."""

    GET: ClassVar[Code]
    POST: ClassVar[Code]
    PUT: ClassVar[Code]
    DELETE: ClassVar[Code]
    CREATED: ClassVar[Code]
    DELETED: ClassVar[Code]
    VALID: ClassVar[Code]
    CHANGED: ClassVar[Code]
    CONTENT: ClassVar[Code]
    CONTINUE: ClassVar[Code]
    BAD_REQUEST: ClassVar[Code]
    NOT_FOUND: ClassVar[Code]
    METHOD_NOT_ALLOWED: ClassVar[Code]
    REQUEST_ENTITY_INCOMPLETE: ClassVar[Code]
    REQUEST_ENTITY_TOO_LARGE: ClassVar[Code]
    INTERNAL_SERVER_ERROR: ClassVar[Code]

    @property
    def is_success(self) -> bool:
        """Whether it is a 2.xx."""
        return int(self) >> 5 == 2

    def __str__(self) -> str:
        return f"{int(self) >> 5}.{int(self) & 31:02}"

    def __repr__(self) -> str:
        return f"Code({self!s})"


for _name, _code in {
    "GET": 0x01,
    "POST": 0x02,
    "PUT": 0x03,
    "DELETE": 0x04,
    "CREATED": 0x41,
    "DELETED": 0x42,
    "VALID": 0x43,
    "CHANGED": 0x44,
    "CONTENT": 0x45,
    "CONTINUE": 0x5F,
    "BAD_REQUEST": 0x80,
    "NOT_FOUND": 0x84,
    "METHOD_NOT_ALLOWED": 0x85,
    "REQUEST_ENTITY_INCOMPLETE": 0x88,
    "REQUEST_ENTITY_TOO_LARGE": 0x8D,
    "INTERNAL_SERVER_ERROR": 0xA0,
}.items():
    setattr(Code, _name, Code(_code))


@dataclass(frozen=True, slots=True)
class Message:
    """A message (RFC 7252 §3), for tools and tests. ``type`` is CON, NON, ACK or RST."""

    type: str
    code: Code
    id: int
    token: bytes = b""
    options: list[Option] = field(default_factory=list)
    payload: bytes = b""

    def encode(self) -> bytes:
        """Its datagram. The options have to be in ascending order of their numbers."""
        return encode_message(self.type, self.code, self.id, self.token, self.options, self.payload)


@dataclass(frozen=True, slots=True)
class Response:
    """A block of a response, in order; ``last`` with ``observe is None`` ends the exchange."""

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


@dataclass(frozen=True, slots=True)
class Failed:
    """An exchange came to nothing."""

    exchange: int
    reason: str


@dataclass(frozen=True, slots=True)
class BodyWanted:
    """Give this part of the request's body to ``body``."""

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


Event = Response | Request | Failed | BodyWanted | ObserverGone | Pong | Silent


@dataclass(frozen=True, slots=True)
class Observed:
    """A representation of an observed resource."""

    code: Code
    payload: bytes
    sequence: int | None


def split_uri(uri: str) -> tuple[str, int, str]:
    """``coap://host[:port]/path?query`` as host, port, and path with query. Raises ``ValueError`` for anything else."""
    parts = urlsplit(uri)
    if parts.scheme != "coap" or not parts.hostname or parts.fragment:
        raise ValueError(f"a CoAP URI is coap://HOST[:PORT]/PATH, not {uri!r}")
    return parts.hostname, parts.port or 5683, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
