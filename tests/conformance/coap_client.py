"""What a CoAP client is told to do and what it is answered, and what it has to send and to tell."""

from coap_wire import *

C = Cases()
X = path("x")


def asks(mid="<m>", token="<t>", opts=X, code=GET, type=CON, payload=b""):
    return message(type, code, mid, token, opts, payload)


def answer(mid="<m>", token="<t>", opts=(), payload="hi", code=CONTENT, type=ACK):
    return message(type, code, mid, token, opts, payload)


def get(target="/x", **how):
    return ("request", {"method": GET, "path": target, **how})


def heard(text="hi", code="2.05", exchange=0, at=0, last=True, observe=None):
    """What the client tells of a block."""
    number = "" if observe is None else f" observe {observe}"
    return f"response {exchange} {code} at {at}{' last' if last else ''}{number} {text.encode().hex() if isinstance(text, str) else text.hex()}".strip()


GOT = ("told", [heard()])
BEGUN = [get(), ("out", [asks()])]


def layer():
    """Retransmission, matching, separate responses."""
    C.add("a response on the acknowledgement", "7252-5.2.1-1 7252-5.3.2-2 7252-3-1 TD_COAP_CORE_01", [*BEGUN, ("in", answer()), GOT, ("out", [])])
    C.add(
        "a separate response",
        "7252-5.2.1-1 7252-5.2.2-3 7252-5.3.2-3 7252-4.2-2 TD_COAP_CORE_09",
        [*BEGUN, ("in", empty(ACK, "<m>")), ("wait", 50_000), ("out", []), ("in", answer(900, type=CON)), GOT, ("out", [empty(ACK, 900)])],
    )
    C.add(
        "a separate response before its acknowledgement",
        "7252-5.2.1-1 7252-5.2.2-3 TD_COAP_CORE_16",
        [*BEGUN, ("in", answer(900, type=CON)), GOT, ("out", [empty(ACK, 900)]), ("in", empty(ACK, "<m>")), ("wait", 100_000), ("out", []), ("told", [])],
    )
    C.add(
        "a separate response that comes again is acknowledged again and told once",
        "7252-4.2-1 7252-4.2-2",
        [*BEGUN, ("in", answer(900, type=CON)), GOT, ("out", [empty(ACK, 900)]), ("in", answer(900, type=CON)), ("told", []), ("out", [empty(ACK, 900)])],
    )
    C.add("a NON response to a CON request", "7252-5.2.3-1 7252-4.3-2", [*BEGUN, ("in", answer(900, type=NON)), GOT, ("wait", 100_000), ("out", [])])
    C.add(
        "a NON response behind an empty acknowledgement",
        "7252-5.2.3-1",
        [*BEGUN, ("in", empty(ACK, "<m>")), ("in", answer(900, type=NON)), GOT, ("out", [])],
    )
    non = [get(con=False), ("out", [asks(type=NON)])]
    C.add("a NON request", "7252-5.3.2-3 7252-4.3-1 TD_COAP_CORE_05", [*non, ("in", answer(900, type=NON)), GOT, ("out", [])])
    C.add("a CON response to a NON request", "7252-5.2.3-1 7252-5.2.2-3", [*non, ("in", answer(900, type=CON)), GOT, ("out", [empty(ACK, 900)])])
    C.add("a NON is not sent again", "7252-4.3-1", [*non, ("wait", 90_000), ("out", []), ("told", [])])
    again = [asks()]
    C.add(
        "a request that nobody answers is sent five times and given up",
        "7252-4.2-5 7252-4.2-6 7252-4.8.1-2",
        [
            *BEGUN,
            *[("wait", 1999), ("out", []), ("wait", 1001), ("out", again), ("wait", 6000), ("out", again)],
            *[("wait", 12_000), ("out", again), ("wait", 24_000), ("out", again), ("told", [])],
            *[("wait", 48_000), ("out", []), ("told", ["failed 0 Timeout"]), ("wait", 300_000), ("out", [])],
        ],
    )
    C.add("an acknowledgement stops the retransmission", "7252-4.2-5", [*BEGUN, ("in", empty(ACK, "<m>")), ("wait", 90_000), ("out", [])])
    C.add("a reset ends it", "7252-4.4-3 7252-4.2-4", [*BEGUN, ("in", empty(RST, "<m>")), ("told", ["failed 0 Reset"]), ("wait", 100_000), ("out", [])])
    wrong = {
        "of another peer": ("7252-5.3.2-1 7252-4.4-3", answer(), "b"),
        "with another token": ("7252-5.3.2-2", answer(token="01020304"), "a"),
        "with no token": ("7252-5.3.2-2", answer(token=""), "a"),
        "with a longer token": ("7252-5.3.2-2", message(ACK, CONTENT, "<m>", "<t>00", (), "hi", length=5), "a"),
        "on an acknowledgement of another message": ("7252-5.3.2-2", answer(mid="0000"), "a"),
    }
    for name, (ids, bytes_, peer) in wrong.items():
        C.add(
            f"a response {name} is none",
            ids,
            [*BEGUN, ("in", bytes_, peer), ("told", []), ("wait", 3000), ("out", again), ("in", answer()), GOT],
        )
    C.add(
        "an acknowledgement and a reset of another peer's are none",
        "7252-4.4-3",
        [*BEGUN, ("in", empty(ACK, "<m>"), "b"), ("in", empty(RST, "<m>"), "b"), ("told", []), ("wait", 3000), ("out", again)],
    )
    C.add(
        "a separate response of another peer is none, and reset",
        "7252-5.3.2-1 7252-4.2-1 7252-4.2-3",
        [*BEGUN, ("in", answer(900, type=CON), "b"), ("told", []), ("out", [empty(RST, 900)], "b")],
    )
    C.add("a CON response that answers nothing is reset", "7252-4.2-1 7252-4.2-3", [("in", message(CON, CONTENT, 900, "aabb", (), "x")), ("out", [empty(RST, 900)]), ("told", [])])
    C.add("a NON response that answers nothing is ignored", "7252-4.3-3 7252-4.3-2", [("in", message(NON, CONTENT, 900, "aabb", (), "x")), ("out", []), ("told", [])])
    C.add(
        "a malformed acknowledgement is ignored",
        "7252-4.2-4",
        [*BEGUN, ("in", message(ACK, CONTENT, "<m>", "<t>", "ff")), ("told", []), ("wait", 3000), ("out", again)],
    )
    C.add(
        "NSTART: one interaction with a server at a time",
        "7252-4.7-1 7252-4.4-2",
        [
            *BEGUN,
            *[get("/y"), ("out", []), ("in", answer()), GOT, ("out", [asks("<n>", "<u>", path("y"))])],
            *[("in", answer("<n>", "<u>")), ("told", [heard(exchange=1)])],
        ],
    )
    C.add(
        "NSTART counts for each server",
        "7252-4.7-1",
        [*BEGUN, get("/y", peer="b"), ("out", [asks("<n>", "<u>", path("y"))], "b")],
    )
    C.add("a ping", "7252-4.1-1 TD_COAP_CORE_31", [("ping",), ("out", [empty(CON, "<m>")]), ("in", empty(RST, "<m>")), ("told", ["pong"])])
    C.add("a request from a server is answered by who serves nothing", "7252-4.2-1", [("in", message(CON, GET, 5, "aa", X)), ("out", [message(ACK, NOT_FOUND, 5, "aa")])])


def option_rules():
    """What a client sends, and what it makes of options (RFC 7252 §5.4, §5.10, §6.4)."""
    for target, opts in (
        ("/", []),
        ("/a/b/c", path("a", "b", "c")),
        ("/a%2Fb", path("a/b")),
        ("/%C3%BC", path("ü")),
        ("/a//b", path("a", "", "b")),
        ("/q?first=1&second=2", [*path("q"), (URI_QUERY, "first=1"), (URI_QUERY, "second=2")]),
        ("/?a%26b", [(URI_QUERY, "a&b")]),
        ("/...", path("...")),
    ):
        C.add(f"the options of {target}", "7252-3.1-1 7252-5.10.1-1 TD_COAP_CORE_13", [get(target), ("out", [asks(opts=opts)])])
    for target in ("/.", "/..", "/a/../b", "/a/./b", "/%2e", "/a/%2E%2e"):
        C.add(f"{target} is no path", "7252-5.10.1-1", [("error", "InvalidUri", get(target))])
    C.add("a host's name", "7252-6.1-1", [get(host="Example.ORG"), ("out", [asks(opts=[(URI_HOST, "example.org"), *X])])])
    C.add("a host without a name", "7252-6.1-1", [("error", "InvalidUri", get(host=""))])
    for number, name in ((URI_HOST, "Uri-Host"), (CONTENT_FORMAT, "Content-Format"), (ACCEPT, "Accept"), (IF_NONE_MATCH, "If-None-Match"), (URI_PORT, "Uri-Port")):
        value = {URI_HOST: b"a", IF_NONE_MATCH: b""}.get(number, b"\1").hex()
        C.add(f"{name} goes out once at most", "7252-5.4.5-1", [("error", "InvalidOption", get(options=[[number, value], [number, value]]))])
    for number, name in ((BLOCK2, "Block2"), (BLOCK1, "Block1"), (SIZE2, "Size2"), (SIZE1, "Size1"), (OBSERVE, "Observe")):
        C.add(f"{name} is the machine's own", "7959-2.1-2 7959-4-3", [("error", "InvalidOption", get(options=[[number, ""]]))])
    C.add(
        "several ETags and If-Match go out",
        "7252-5.4.5-1 7252-3.1-1",
        [get(options=[[ETAG, "aa"], [ETAG, "bb"]]), ("out", [asks(opts=[(ETAG, b"\xaa"), (ETAG, b"\xbb"), *X])])],
    )
    for number in (14, 2048, 65000):
        C.add(f"an unknown or elective option, {number}, in a response is skipped", "7252-5.4.1-1", [*BEGUN, ("in", answer(opts=[(number, b"1")])), GOT])
    for number in (9, 13, 259, 65001):
        ids = "7252-5.4.1-3 7252-5.4-1"
        C.add(
            f"an unknown critical option, {number}, on an acknowledgement: the response is rejected",
            ids,
            [*BEGUN, ("in", answer(opts=[(number, b"1")])), ("out", []), ("told", ["failed 0 BadResponse"])],
        )
        C.add(
            f"an unknown critical option, {number}, in a CON response: it is reset",
            ids,
            [*BEGUN, ("in", answer(900, type=CON, opts=[(number, b"1")])), ("out", [empty(RST, 900)]), ("told", ["failed 0 BadResponse"])],
        )
    for number, name, value in ((URI_PATH, "Uri-Path", "x"), (IF_MATCH, "If-Match", "x"), (ACCEPT, "Accept", 0), (PROXY_URI, "Proxy-Uri", "x")):
        C.add(
            f"{name}, which a response may not have, counts as unknown in one",
            "7252-5.4-1",
            [*BEGUN, ("in", answer(opts=[(number, value)])), ("out", []), ("told", ["failed 0 BadResponse"])],
        )
    C.add(
        "a second Block2 in a response counts as unknown",
        "7959-2.1-2 7252-5.4.5-2",
        [*BEGUN, ("in", answer(opts=[(BLOCK2, 0), (BLOCK2, 0)])), ("out", []), ("told", ["failed 0 BadResponse"])],
    )
    for tag in (b"\0", b"\xff" * 8, b"v1"):
        C.add(
            f"an ETag {tag.hex()} comes back as it was",
            "7252-5.10.6-1",
            [
                *[get(szx=0), ("out", [asks(opts=[*X, (BLOCK2, 0)])]), ("in", answer(opts=[(ETAG, tag), (BLOCK2, block(0, True, 0))], payload=b"a" * 16))],
                *[("told", [heard(b"a" * 16, last=False)]), ("out", [asks("<n>", "<u>", [*X, (BLOCK2, block(1, False, 0))])])],
                *[("in", answer("<n>", "<u>", opts=[(ETAG, tag), (BLOCK2, block(1, False, 0))], payload="end"))],
                ("told", [heard("end", at=16)]),
            ],
        )
    C.add("an unsigned integer with leading zeros", "7252-3.2-1", [*BEGUN, ("in", answer(opts=[(MAX_AGE, b"\0\0\0\5"), (BLOCK2, b"\0\0\6")])), GOT])


def blocks():
    """RFC 7959."""
    full = b"a" * 64

    def head(token="<t>", mid="<m>", tag="v1", num=0, szx=2, payload=full, more=True):
        return answer(mid, token, opts=[(ETAG, tag), (BLOCK2, block(num, more, szx))], payload=payload)

    def further(num, szx=2, mid="<n>", token="<u>"):
        return ("out", [asks(mid, token, [*X, (BLOCK2, block(num, False, szx))])])

    first = ("told", [heard(full, last=False)])
    asked = [get(szx=2), ("out", [asks(opts=[*X, (BLOCK2, block(0, False, 2))])])]
    C.add(
        "early negotiation",
        "7959-2.1-1 7959-2.2-1 7959-2.3-3 7959-2.4-1 7959-2.4-3 TD_COAP_BLOCK_01",
        [*asked, ("in", head()), first, further(1), ("in", head("<u>", "<n>", num=1, more=False, payload="z")), ("told", [heard("z", at=64)])],
    )
    C.add(
        "late negotiation",
        "7959-2.4-4 7959-2.3-2 TD_COAP_BLOCK_02",
        [*BEGUN, ("in", head()), first, further(1), ("in", head("<u>", "<n>", num=1, more=False, payload="z")), ("told", [heard("z", at=64)])],
    )
    C.add(
        "smaller blocks than asked for",
        "7959-2.3-2 7959-2.4-3 7959-2.4-4",
        [*asked, ("in", head(szx=1, payload=b"a" * 32)), ("told", [heard(b"a" * 32, last=False)]), further(1, szx=1)],
    )
    for name, bad in (
        ("another ETag", head("<u>", "<n>", tag="v2", num=1, more=False, payload="z")),
        ("no ETag any more", answer("<n>", "<u>", opts=[(BLOCK2, block(1, False, 2))], payload="z")),
    ):
        C.add(
            f"a block with {name} does not belong to what is there",
            "7959-2.4-6 7959-2.6-1",
            [*asked, ("in", head()), first, further(1), ("in", bad), ("told", ["failed 0 Changed"]), ("out", [])],
        )
    for name, bad in (
        ("of 63 bytes", head(payload=b"a" * 63)),
        ("of 65 bytes", head(payload=b"a" * 65)),
        ("with another number", head(num=1)),
        ("with the reserved size", answer(opts=[(BLOCK2, 7)], payload=full)),
    ):
        C.add(f"a block {name} that says 64", "7959-2.3-1", [*asked, ("in", bad), ("told", ["failed 0 BadResponse"]), ("out", [])])

    body = bytes(97 + n % 26 for n in range(150))

    def put(num, more, szx, mid, token, part, opts=(), size=None):
        size = [] if size is None else [(SIZE1, size)]
        return asks(mid, token, sorted([*opts, *X, (BLOCK1, block(num, more, szx)), *size], key=lambda o: o[0]), PUT, payload=part)

    def took(num, more, szx, mid, token, code=CONTINUE):
        return answer(mid, token, [(BLOCK1, block(num, more, szx))], b"", code)

    def up(**how):
        return ("request", {"method": PUT, "path": "/x", "payload": body.hex(), **how})

    C.add(
        "a body by Block1",
        "7959-2.3-1 7959-2.7-1 TD_COAP_BLOCK_03",
        [
            *[up(szx=2), ("out", [message(CON, PUT, "<m>", "<t>", [*X, (BLOCK1, block(0, True, 2)), (SIZE1, 150)], body[:64])])],
            *[("in", took(0, True, 2, "<m>", "<t>")), ("out", [put(1, True, 2, "<n>", "<u>", body[64:128])])],
            *[("in", took(1, True, 2, "<n>", "<u>"))],
            ("out", [message(CON, PUT, "<o>", "<v>", [*X, (BLOCK2, block(0, False, 2)), (BLOCK1, block(2, False, 2))], body[128:])]),
            *[("in", took(2, False, 2, "<o>", "<v>", CHANGED)), ("told", [heard("", "2.04")]), ("out", [])],
        ],
    )
    C.add(
        "the server wants smaller blocks: they are counted in the smaller size",
        "7959-3.2-1 7959-2.3-2",
        [
            *[up(szx=2), ("out", [message(CON, PUT, "<m>", "<t>", [*X, (BLOCK1, block(0, True, 2)), (SIZE1, 150)], body[:64])])],
            *[("in", took(0, True, 0, "<m>", "<t>")), ("out", [put(4, True, 0, "<n>", "<u>", body[64:80])])],
        ],
    )
    C.add(
        "the first block is too large: from the beginning, smaller",
        "7959-3.2-1",
        [
            *[up(szx=2), ("out", [message(CON, PUT, "<m>", "<t>", [*X, (BLOCK1, block(0, True, 2)), (SIZE1, 150)], body[:64])])],
            *[("in", took(0, True, 1, "<m>", "<t>", TOO_LARGE)), ("out", [put(0, True, 1, "<n>", "<u>", body[:32], size=150)])],
        ],
    )
    C.add(
        "If-None-Match goes with the first block only",
        "7959-2.10-1",
        [
            *[up(szx=2, options=[[IF_NONE_MATCH, ""]])],
            ("out", [message(CON, PUT, "<m>", "<t>", [(IF_NONE_MATCH, b""), *X, (BLOCK1, block(0, True, 2)), (SIZE1, 150)], body[:64])]),
            *[("in", took(0, True, 2, "<m>", "<t>")), ("out", [put(1, True, 2, "<n>", "<u>", body[64:128])])],
        ],
    )
    C.add(
        "Content-Format goes with every block",
        "7959-2.3-5",
        [
            *[up(szx=2, options=[[CONTENT_FORMAT, "2a"]])],
            ("out", [message(CON, PUT, "<m>", "<t>", [*X, (CONTENT_FORMAT, 42), (BLOCK1, block(0, True, 2)), (SIZE1, 150)], body[:64])]),
            *[("in", took(0, True, 2, "<m>", "<t>")), ("out", [put(1, True, 2, "<n>", "<u>", body[64:128], opts=[(CONTENT_FORMAT, 42)])])],
        ],
    )
    C.add(
        "the answer to a body comes in order, asked for without it",
        "7959-2.7-1 7959-2.4-4 TD_COAP_BLOCK_05",
        [
            *[("request", {"method": POST, "path": "/x", "payload": "71"}), ("out", [asks(code=POST, payload="q")])],
            *[("in", answer(code=CHANGED, opts=[(BLOCK2, block(0, True, 2))], payload=full)), ("told", [heard(full, "2.04", last=False)])],
            *[("out", [asks("<n>", "<u>", [*X, (BLOCK2, block(1, False, 2))], POST)])],
            *[("in", answer("<n>", "<u>", code=CHANGED, opts=[(BLOCK2, block(1, False, 2))], payload="z")), ("told", [heard("z", "2.04", at=64)])],
        ],
    )
    C.add("a server that does not say how large it is", "7959-4-2 7959-4-1", [*asked, ("in", head()), first, further(1)])


def observing():
    """RFC 7641."""
    opts = [(OBSERVE, 0), *X]
    begun = [get(observe=True), ("out", [asks(opts=opts)])]

    def state(number, payload="0", mid="<m>", type=ACK, more=()):
        return answer(mid, "<t>", sorted([(OBSERVE, number), *more], key=lambda o: o[0]), payload, type=type)

    watching = [*begun, ("in", state(5)), ("told", [heard("0", observe=5)])]
    C.add(
        "notifications are acknowledged and told",
        "7641-3.5-2 7252-4.2-1 TD_COAP_OBS_01",
        [*watching, ("in", state(6, "1", 900, CON)), ("told", [heard("1", observe=6)]), ("out", [empty(ACK, 900)])],
    )
    C.add("NON notifications are told", "7641-3.4-1 TD_COAP_OBS_02", [*watching, ("in", state(6, "1", 900, NON)), ("told", [heard("1", observe=6)]), ("out", [])])
    C.add(
        "an older notification is acknowledged and not told",
        "7641-3.4-1 7641-3.5-2",
        [*watching, ("in", state(4, "old", 900, CON)), ("told", []), ("out", [empty(ACK, 900)])],
    )
    C.add(
        "numbers wrap",
        "7641-3.4-1",
        [*begun, ("in", state(0xFFFFFF)), ("told", [heard("0", observe=0xFFFFFF)]), ("in", state(1, "1", 900, NON)), ("told", [heard("1", observe=1)])],
    )
    C.add(
        "after 128 seconds any number is newer",
        "7641-3.4-1",
        [
            *[*begun, ("in", state(5, more=[(MAX_AGE, 1000)])), ("told", [heard("0", observe=5)]), ("wait", 129_000)],
            *[("in", state(3, "1", 900, NON, [(MAX_AGE, 1000)])), ("told", [heard("1", observe=3)])],
        ],
    )
    C.add("a notification for nobody is reset", "7641-3.5-1 TD_COAP_OBS_06", [("in", message(CON, CONTENT, 900, "aabbccdd", [(OBSERVE, 5)], "x")), ("out", [empty(RST, 900)]), ("told", [])])
    C.add(
        "when Max-Age is over it registers again, with the same token and options",
        "7641-3.3.1-1 7641-3.3.1-2 TD_COAP_OBS_04",
        [*begun, ("in", state(5, more=[(MAX_AGE, 30)])), ("told", [heard("0", observe=5)]), ("wait", 34_900), ("out", []), ("wait", 10_100), ("again", asks("<n>", "<t>", opts))],
    )
    C.add(
        "Max-Age is 60 where it is not given",
        "7252-5.4.4-1 7641-3.3.1-1",
        [*watching, ("wait", 64_900), ("out", []), ("wait", 10_100), ("again", asks("<n>", "<t>", opts))],
    )
    C.add(
        "the version that is there is named when it registers again",
        "7641-3.3.1-2",
        [
            *[*begun, ("in", state(5, more=[(ETAG, "v1")])), ("told", [heard("0", observe=5)]), ("wait", 75_100)],
            ("again", asks("<n>", "<t>", [(ETAG, "v1"), *opts])),
        ],
    )
    C.add(
        "cancelled, with the same token and options",
        "7641-3.6-1 TD_COAP_OBS_12",
        [
            *[*watching, ("cancel", 0), ("out", [asks("<n>", "<t>", [(OBSERVE, 1), *X])])],
            *[("in", answer("<n>", "<t>", payload="1")), ("told", []), ("wait", 200_000), ("out", [])],
        ],
    )
    C.add(
        "a response without Observe ends it",
        "7641-3.3.1-1",
        [*begun, ("in", answer()), ("told", [heard()]), ("wait", 200_000), ("out", [])],
    )
    C.add(
        "an error ends it",
        "7641-3.3.1-1 TD_COAP_OBS_07",
        [*watching, ("in", answer(900, "<t>", payload="", code=NOT_FOUND, type=CON)), ("told", [heard("", "4.04")]), ("out", [empty(ACK, 900)]), ("wait", 200_000), ("out", [])],
    )
    C.add(
        "the same resource is registered for once",
        "7641-3.1-1",
        [*watching, ("error", "WrongState", get(observe=True)), get("/y", observe=True), ("out", [asks("<n>", "<u>", [(OBSERVE, 0), *path("y")])])],
    )
    C.add(
        "the rest of a notification is asked for without Observe",
        "7959-2.6-1 TD_COAP_OBS_13",
        [
            *watching,
            ("in", state(6, b"a" * 16, 900, CON, [(ETAG, "v2"), (BLOCK2, block(0, True, 0))])),
            ("told", [heard(b"a" * 16, observe=6, last=False)]),
            ("out", [empty(ACK, 900), asks("<n>", "<u>", [*X, (BLOCK2, block(1, False, 0))])]),
            *[("in", answer("<n>", "<u>", [(ETAG, "v2"), (BLOCK2, block(1, False, 0))], "z")), ("told", [heard("z", at=16, observe=6)])],
        ],
    )


layer()
option_rules()
blocks()
observing()
