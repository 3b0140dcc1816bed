"""CoAP messages as hex, put together by hand so that they may be wrong (RFC 7252 §3)."""

from wire import Cases as MqttCases

CON, NON, ACK, RST = range(4)
GET, POST, PUT, DELETE, FETCH = 1, 2, 3, 4, 5
CREATED, DELETED, VALID, CHANGED, CONTENT, CONTINUE = 0x41, 0x42, 0x43, 0x44, 0x45, 0x5F
BAD_REQUEST, BAD_OPTION, NOT_FOUND, METHOD_NOT_ALLOWED, NOT_ACCEPTABLE = 0x80, 0x82, 0x84, 0x85, 0x86
INCOMPLETE, PRECONDITION_FAILED, TOO_LARGE = 0x88, 0x8C, 0x8D
PROXYING_NOT_SUPPORTED = 0xA5
IF_MATCH, URI_HOST, ETAG, IF_NONE_MATCH, OBSERVE, URI_PORT, LOCATION_PATH, URI_PATH, CONTENT_FORMAT = 1, 3, 4, 5, 6, 7, 8, 11, 12
MAX_AGE, URI_QUERY, ACCEPT, LOCATION_QUERY, BLOCK2, BLOCK1, SIZE2, PROXY_URI, PROXY_SCHEME, SIZE1 = 14, 15, 17, 20, 23, 27, 28, 35, 39, 60


def nibble(n):
    """A four-bit field and what extends it (§3.1)."""
    if n < 13:
        return n, ""
    return (13, f"{n - 13:02x}") if n < 269 else (14, f"{n - 269:04x}")


def option(number, value, before=0):
    """One option: delta, length, value. ``value`` is bytes, text, or a number."""
    if isinstance(value, int):
        value = uint(value)
    value = value.encode() if isinstance(value, str) else value
    (delta, delta_ext), (length, length_ext) = nibble(number - before), nibble(len(value))
    return f"{delta:x}{length:x}{delta_ext}{length_ext}{value.hex()}"


def uint(n):
    return n.to_bytes((n.bit_length() + 7) // 8, "big")


def block(num, more, szx):
    """The value of Block1 or Block2 (RFC 7959 §2.2)."""
    return uint(num << 4 | more << 3 | szx)


def options(*pairs):
    """In the order that they are given in, which is theirs."""
    out, before = "", 0
    for number, value in pairs:
        out += option(number, value, before)
        before = number
    return out


def path(*segments):
    return [(URI_PATH, segment) for segment in segments]


def size_of(token):
    """Bytes of a token in hex; a name stands for four."""
    return 4 if token.startswith("<") else len(token) // 2


def message(type, code, mid, token="", opts=(), payload=b"", *, length=None, version=1):
    """``mid`` and ``token`` are numbers and hex, or names: `<m>` of a message ID, `<t>` of a token that the other side chooses.
    ``length``: what stands in the field Token Length instead of the truth."""
    mid = mid if isinstance(mid, str) else f"{mid:04x}"
    length = size_of(token) if length is None else length
    payload = payload.encode() if isinstance(payload, str) else payload
    tail = "ff" + payload.hex() if payload else ""
    opts = opts if isinstance(opts, str) else options(*opts)
    return f"{version << 6 | type << 4 | length:02x}{code:02x}{mid}{token}{opts}{tail}"


def empty(type, mid):
    return message(type, 0, mid)


class Cases(MqttCases):
    """The cases of a role; an id is `7252-4.2-1`, or a description of ETSI's."""

    def add(self, name, ids, steps, **more):
        assert not any(case["name"] == name for case in self.cases), name
        ids = [one if one.startswith("TD_") else f"RFC{one}" for one in ids.split()]
        self.cases.append({"name": name, "ids": ids, "steps": [list(step) for step in steps], **more})
