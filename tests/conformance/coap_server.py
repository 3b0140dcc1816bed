"""What a CoAP server is asked, and what it has to answer. The resources are those of README.md."""

from coap_wire import *

C = Cases()
TEST = path("test")
TEXT = (CONTENT_FORMAT, 0)
LARGE = bytes(97 + n % 26 for n in range(150))


def get(mid, token="", opts=TEST, payload=b"", type=CON):
    return message(type, GET, mid, token, opts, payload)


def content(mid, token="", payload="test", type=ACK, opts=(TEXT,)):
    return message(type, CONTENT, mid, token, opts, payload)


def answered(request, *answers, handled=1):
    """One datagram, what comes of it, and how many requests the host saw."""
    return [("in", request), ("out", list(answers)), ("handled", handled)]


def malformed():
    """Datagrams that are no message (RFC 7252 §3, §4.2, §4.3): a CON is reset, all else ignored; nothing reaches the host."""
    bodies = {
        "a token longer than the message": ("4.2-1", dict(token="aa", length=4)),
        "an option with delta 15": ("3.1-2 7252-4.2-1", dict(opts="f0")),
        "an option with delta 15 and length 15 that is no marker": ("3.1-2", dict(opts="f1" + "00")),
        "an option with length 15": ("3.1-3 7252-4.2-1", dict(opts="0f")),
        "an option with length 15 behind others": ("3.1-3", dict(opts=options(*TEST) + "1f")),
        "an option whose value is cut off": ("4.2-1", dict(opts="b574657374"[:-2])),
        "an option whose one-byte delta is cut off": ("4.2-1", dict(opts="d0")),
        "an option whose two-byte delta is cut off": ("4.2-1", dict(opts="e000")),
        "an option whose one-byte length is cut off": ("4.2-1", dict(opts="bd")),
        "an option whose two-byte length is cut off": ("4.2-1", dict(opts="be00")),
        "an option whose long value is cut off": ("4.2-1", dict(opts="be0000" + "61" * 268)),
        "options whose numbers pass 65535": ("4.2-1", dict(opts="e0fff2" + "e0000a")),
        "a marker without payload": ("3-4 7252-4.2-1", dict(opts="ff")),
        "a marker without payload behind options": ("3-4", dict(opts=options(*TEST) + "ff")),
    }
    for length in range(9, 16):
        bodies[f"token length {length}"] = ("3-3 7252-4.2-1", dict(token="aa" * length, length=length))
    for name, (ids, how) in bodies.items():
        con, non = (message(type, GET, 0x1234, **how) for type in (CON, NON))
        C.add(f"CON with {name}", f"7252-{ids} 7252-4.2-3", answered(con, empty(RST, 0x1234), handled=0))
        C.add(f"NON with {name}", f"7252-{ids.split()[0]} 7252-4.3-3 7252-4.3-4", answered(non, handled=0))
        for type, kind in ((ACK, "ACK"), (RST, "RST")):
            C.add(f"{kind} with {name}", "7252-4.2-4", answered(message(type, CONTENT, 0x1234, **how), handled=0))
    for version in (0, 2, 3):
        for type, kind in ((CON, "CON"), (NON, "NON")):
            request = message(type, GET, 0x1234, opts=TEST, version=version)
            C.add(f"{kind} of version {version}", "7252-3-2", answered(request, handled=0))
    for klass in (1, 6, 7):
        code = klass << 5 | 5
        C.add(f"CON with a code of class {klass}", "7252-4.2-1 7252-4.2-3", answered(message(CON, code, 7), empty(RST, 7), handled=0))
        C.add(f"NON with a code of class {klass}", "7252-4.3-3", answered(message(NON, code, 7), handled=0))
    for tail, name in (("00", "a byte"), ("b474657374", "an option"), ("ff61", "a payload")):
        C.add(f"an empty CON with {name}", "7252-4.1-1 7252-4.1-2", answered(empty(CON, 7) + tail, empty(RST, 7), handled=0))
        C.add(f"an empty ACK with {name}", "7252-4.1-2 7252-4.2-4", answered(empty(ACK, 7) + tail, handled=0))
        C.add(f"an empty RST with {name}", "7252-4.1-2 7252-4.2-4", answered(empty(RST, 7) + tail, handled=0))
    C.add("an empty CON with a token", "7252-4.1-1 7252-4.1-2", answered(message(CON, 0, 7, "aabb"), empty(RST, 7), handled=0))
    C.add("an empty NON", "7252-4.3-1 7252-4.3-3", answered(empty(NON, 7), handled=0))
    C.add("a ping", "7252-4.2-1 7252-4.2-3 TD_COAP_CORE_31", answered(empty(CON, 0xBEEF), empty(RST, 0xBEEF), handled=0))
    for text, name in (("", "no bytes"), ("40", "one byte"), ("4001", "two bytes"), ("400112", "three bytes")):
        C.add(f"a datagram of {name}", "7252-3-2", answered(text, handled=0))
    for code, name in ((GET, "a request"), (CHANGED, "a response")):
        C.add(f"an RST that carries {name}", "7252-4.2-4", answered(message(RST, code, 7, "aa", TEST), handled=0))
        C.add(f"an ACK that carries {name} nobody waits for", "7252-4.2-4", answered(message(ACK, code, 7, "aa", TEST), handled=0))
    C.add("an ACK of nothing", "7252-4.2-4", answered(empty(ACK, 7), handled=0))
    C.add("an RST of nothing", "7252-4.2-4", answered(empty(RST, 7), handled=0))
    C.add("a CON response nobody waits for", "7252-4.2-1", answered(message(CON, CONTENT, 7, "aa", (), "x"), empty(RST, 7), handled=0))
    C.add("a NON response nobody waits for", "7252-4.3-2 7252-4.3-3", answered(message(NON, CONTENT, 7, "aa", (), "x"), handled=0))


def layer():
    """Types, message IDs, tokens, duplicates, separate responses."""
    for n in range(9):
        token = "".join(f"{0xF0 + k:02x}" for k in range(n))
        C.add(
            f"a token of {n} bytes comes back as it was",
            "7252-5.3.1-1 7252-5.3.1-2 7252-3-1 7252-4.2-2 7252-4.4-1",
            answered(get(0x0102, token), content(0x0102, token)),
        )
    for mid in (0, 1, 0x7FFF, 0xFFFF):
        C.add(f"message ID {mid:04x} comes back", "7252-4.2-2 7252-4.4-1", answered(get(mid), content(mid)))
    C.add(
        "a NON is answered by NON and not acknowledged",
        "7252-4.3-2 7252-5.2.3-1",
        answered(get(7, "aa", type=NON), content("<m>", "aa", type=NON)),
    )
    C.add(
        "a duplicate is answered as the first was, and not handled again",
        "7252-4.2-2",
        [*answered(get(7, "aa"), content(7, "aa")), *answered(get(7, "aa"), content(7, "aa"), handled=0)],
    )
    C.add(
        "the same message ID of another peer is another message",
        "7252-4.4-3",
        [*answered(get(7, "aa"), content(7, "aa")), ("in", get(7, "bb"), "b"), ("out", [content(7, "bb")], "b"), ("handled", 1)],
    )
    C.add(
        "a NON that comes again is not handled again",
        "7252-4.3-2",
        [*answered(get(7, "aa", type=NON), content("<m>", "aa", type=NON)), *answered(get(7, "aa", type=NON), handled=0)],
    )
    sep = path("separate")
    late = message(CON, CONTENT, "<m>", "aa", (TEXT,), "late")
    begun = answered(get(7, "aa", sep), empty(ACK, 7))
    C.add(
        "a separate response",
        "7252-5.2.2-1 7252-4.2-2 7252-5.3.1-1",
        [*begun, ("wait", 2000), ("out", [late]), ("in", empty(ACK, "<m>")), ("wait", 10000), ("out", [])],
    )
    C.add(
        "a request that comes again before its separate response gets another empty ACK",
        "7252-5.2.2-1 7252-5.2.2-2",
        [*begun, *answered(get(7, "aa", sep), empty(ACK, 7), handled=0), ("wait", 2000), ("out", [late])],
    )
    C.add(
        "a request that comes again behind its separate response gets another empty ACK",
        "7252-4.2-7 7252-5.2.2-1",
        [
            *begun,
            *[("wait", 2000), ("out", [late]), ("in", empty(ACK, "<m>"))],
            *answered(get(7, "aa", sep), empty(ACK, 7), handled=0),
        ],
    )
    for name, reply in (
        ("an ACK", empty(ACK, "<m>")),
        ("an RST", empty(RST, "<m>")),
        ("an ACK with a response code", message(ACK, CONTENT, "<m>", "aa", (), "what")),
        ("an ACK with a response code and no token", message(ACK, CHANGED, "<m>")),
    ):
        C.add(
            f"{name} stops a separate response",
            "7252-5.2.2-4 7252-4.4-3",
            [*begun, ("wait", 2000), ("out", [late]), ("in", reply), ("wait", 100_000), ("out", [])],
        )
    for name, reply in (("another peer's", empty(ACK, "<m>")),):
        C.add(
            f"an ACK of {name} does not stop a separate response",
            "7252-4.4-3",
            [*begun, ("wait", 2000), ("out", [late]), ("in", reply, "b"), ("wait", 3000), ("out", [late])],
        )
    C.add(
        "a separate response that is not acknowledged comes five times in all",
        "7252-4.2-5 7252-4.2-6 7252-4.8.1-2",
        [
            *begun,
            *[("wait", 2000), ("out", [late]), ("wait", 1999), ("out", []), ("wait", 1001), ("out", [late])],
            *[("wait", 6000), ("out", [late]), ("wait", 12000), ("out", [late]), ("wait", 24000), ("out", [late])],
            *[("wait", 300_000), ("out", [])],
        ],
    )
    C.add(
        "a separate response to a NON is NON, and no ACK comes before it",
        "7252-5.2.3-1 7252-4.3-2",
        [("in", get(7, "aa", sep, type=NON)), ("out", []), ("wait", 2000), ("out", [message(NON, CONTENT, "<m>", "aa", (TEXT,), "late")])],
    )


def option_rules():
    """Unknown, wrong and repeated options (RFC 7252 §5.4)."""
    def con(*opts, payload=b"", code=GET):
        return message(CON, code, 7, "aa", opts, payload)

    def bad(number):
        """The answer names the option (§5.4.1: a diagnostic payload)."""
        return message(ACK, BAD_OPTION, 7, "aa", payload=f"option {number}")

    ok = content(7, "aa")
    for number in (2, 258, 2048, 65000):
        request = con(*sorted([*TEST, (number, b"xyz")], key=lambda o: o[0]))
        C.add(f"an unknown elective option, {number}, is skipped", "7252-5.4.1-1 7252-3.1-1", answered(request, ok))
    for number in (9, 13, 259, 65001):
        opts = sorted([*TEST, (number, b"xyz")], key=lambda o: o[0])
        C.add(f"an unknown critical option, {number}, in a CON is refused", "7252-5.4.1-2", answered(con(*opts), bad(number), handled=0))
        C.add(f"an unknown critical option, {number}, in a NON is rejected", "7252-5.4.1-4", answered(message(NON, GET, 7, "aa", opts), handled=0))
    for name, number, opts in (
        ("an empty Uri-Host", URI_HOST, [(URI_HOST, b""), *TEST]),
        ("a Uri-Host of 256 bytes", URI_HOST, [(URI_HOST, b"a" * 256), *TEST]),
        ("a Uri-Port of three bytes", URI_PORT, [(URI_PORT, b"abc"), *TEST]),
        ("a Uri-Path of 256 bytes", URI_PATH, path("a" * 256)),
        ("an If-Match of nine bytes", IF_MATCH, [(IF_MATCH, b"a" * 9), *TEST]),
        ("an If-None-Match of a byte", IF_NONE_MATCH, [(IF_NONE_MATCH, b"a"), *TEST]),
        ("an Accept of three bytes", ACCEPT, [*TEST, (ACCEPT, b"abc")]),
        ("a Uri-Query of 256 bytes", URI_QUERY, [*TEST, (URI_QUERY, b"a" * 256)]),
        ("a Block2 of four bytes", BLOCK2, [*TEST, (BLOCK2, b"abcd")]),
    ):
        C.add(f"{name} counts as not understood", "7252-5.4.3-1 7252-5.4.1-2", answered(con(*opts), bad(number), handled=0))
    for name, opts in (
        ("an ETag of nine bytes", [(ETAG, b"a" * 9), *TEST]),
        ("an empty ETag", [(ETAG, b""), *TEST]),
        ("an Observe of four bytes", [(OBSERVE, b"\0\0\0\0"), *TEST]),
        ("a Content-Format of three bytes", [*TEST, (CONTENT_FORMAT, b"abc")]),
        ("a Max-Age of five bytes", [*TEST, (MAX_AGE, b"abcde")]),
    ):
        C.add(f"{name} is skipped", "7252-5.4.3-1 7252-5.4.1-1", answered(con(*opts), ok))
    for name, number, value in (
        ("Uri-Host", URI_HOST, b"a"),
        ("Uri-Port", URI_PORT, b"\1"),
        ("If-None-Match", IF_NONE_MATCH, b""),
        ("Accept", ACCEPT, b"\0"),
        ("Block2", BLOCK2, b""),
        ("Block1", BLOCK1, b""),
    ):
        opts = sorted([*TEST, (number, value), (number, value)], key=lambda o: o[0])
        C.add(f"a second {name} counts as not understood", "7252-5.4.5-2" + (" 7959-2.1-2" if "Block" in name else ""), answered(con(*opts), bad(number), handled=0))
    opts = [*TEST, (CONTENT_FORMAT, 0), (CONTENT_FORMAT, 50)]
    C.add("a second Content-Format is skipped", "7252-5.4.5-2", answered(con(*opts), ok))
    opts = [*TEST, (SIZE2, 0), (SIZE2, 9)]
    C.add("a second Size2 is skipped", "7959-4-3", answered(con(*opts), ok))
    C.add("a long option value", "7252-3.1-1", answered(con((IF_MATCH, b"a" * 8), *TEST, (2048, b"x" * 300)), ok))
    C.add("Observe in a PUT is skipped", "7252-5.4-1", answered(con((OBSERVE, 0), *TEST, code=PUT), message(ACK, CHANGED, 7, "aa")))
    C.add("a payload in a GET means nothing", "7252-5.5-1", answered(con(*TEST, payload="what"), ok))
    for name, opts in (
        ("Proxy-Uri", [(PROXY_URI, "coap://example.org/test")]),
        ("Proxy-Uri beside Uri-Path", [*TEST, (PROXY_URI, "coap://example.org/x")]),
        ("Proxy-Scheme", [(URI_HOST, "example.org"), *TEST, (PROXY_SCHEME, "coap")]),
    ):
        C.add(
            f"{name} is answered 5.05 by who is no proxy",
            "7252-5.7.2-1 7252-5.10.2-2 7252-5.10.2-3",
            answered(con(*opts), message(ACK, PROXYING_NOT_SUPPORTED, 7, "aa"), handled=0),
        )
    for code in (6, 7, 8, 31):
        C.add(f"method 0.{code:02} is not allowed", "7252-5.8-1", answered(con(*TEST, code=code), message(ACK, METHOD_NOT_ALLOWED, 7, "aa")))
    C.add("a path that is not there", "7252-5.5.2-1", answered(con(*path("none")), message(ACK, NOT_FOUND, 7, "aa")))
    C.add(
        "the options of a request in a response's answer are unsigned integers as short as can be",
        "7252-3.2-1",
        answered(con(*path("large"), (BLOCK2, b"\0\0\2")), block2(7, "aa", 0, 2)),
    )
    for method, code in ((PUT, CHANGED), (POST, CHANGED), (DELETE, DELETED)):
        C.add(f"method 0.{method:02}", "7252-4.2-2", answered(con(*TEST, code=method), message(ACK, code, 7, "aa")))


def block2(mid, token, num, szx, type=ACK, size2=None):
    """A block of /large, as it has to come."""
    size = 16 << szx
    part = LARGE[num * size : (num + 1) * size]
    more = (num + 1) * size < len(LARGE)
    opts = [(ETAG, "v1"), TEXT, (BLOCK2, block(num, more, szx))]
    if size2 if size2 is not None else num == 0 and more:
        opts.append((SIZE2, len(LARGE)))
    return message(type, CONTENT, mid, token, opts, part)


def blocks():
    """RFC 7959. The server takes blocks of up to 64 bytes."""
    large = path("large")

    def ask(mid, value=None, more=()):
        return message(CON, GET, mid, "aa", [*large, *([] if value is None else [(BLOCK2, value)]), *more])

    C.add("late negotiation", "7959-2.4-2 7959-2.4-5 TD_COAP_BLOCK_02", answered(ask(7), block2(7, "aa", 0, 2)))
    for szx in range(7):
        taken = min(szx, 2)
        steps = []
        for num in range(-(-len(LARGE) // (16 << taken))):
            value = block(0, False, szx) if num == 0 else block(num, False, taken)
            steps += answered(ask(7 + num, value), block2(7 + num, "aa", num, taken))
        C.add(f"blocks of {16 << szx} asked for", "7959-2.4-2 7959-2.4-5 7959-2.3-1 7959-2.3-5 7959-2.1-1 TD_COAP_BLOCK_01", steps)
    C.add("the M bit of a Block2 in a request is ignored", "7959-2.2-1 7959-2.4-1 7959-2.3-3", answered(ask(7, block(1, True, 1)), block2(7, "aa", 1, 1)))
    for num in (10, 0xFFFFF):
        C.add(f"block {num}, past the end", "7959-2.4-2", answered(ask(7, block(num, False, 0)), message(ACK, BAD_REQUEST, 7, "aa")))
    C.add("a larger size in mid-transfer is cut down at the same place", "7959-2.4-2", answered(ask(7, block(1, False, 2)), block2(7, "aa", 1, 2)))
    for number, name in ((BLOCK2, "Block2"), (BLOCK1, "Block1")):
        request = message(CON, PUT if number == BLOCK1 else GET, 7, "aa", [*large, (number, 7)], b"x" if number == BLOCK1 else b"")
        C.add(f"{name} with the reserved size 7", "7959-2.2-2", answered(request, message(ACK, BAD_REQUEST, 7, "aa"), handled=0))
    C.add("Size2 asks for the size", "7959-4-2", answered(ask(7, block(1, False, 2), [(SIZE2, 0)]), block2(7, "aa", 1, 2, size2=True)))

    def put(mid, num, more, szx, payload, opts=(TEXT,), code=PUT):
        return message(CON, code, mid, "aa", [*path("upload"), *opts, (BLOCK1, block(num, more, szx))], payload)

    def took(mid, code, num, more, szx):
        return message(ACK, code, mid, "aa", [(BLOCK1, block(num, more, szx))])

    full = b"x" * 64
    C.add(
        "a body by Block1",
        "7959-2.3-4 7959-2.5-1 7959-2.1-1 TD_COAP_BLOCK_03",
        [
            *answered(put(7, 0, True, 2, full), took(7, CONTINUE, 0, True, 2)),
            *answered(put(8, 1, True, 2, full), took(8, CONTINUE, 1, True, 2)),
            *answered(put(9, 2, False, 2, b"end"), took(9, CHANGED, 2, False, 2)),
        ],
    )
    C.add("larger blocks than the server takes", "7959-2.3-4", answered(put(7, 0, True, 3, full * 2), took(7, CONTINUE, 0, True, 2)))
    C.add("the last block without those before", "7959-2.5-1", answered(put(7, 2, False, 2, b"end"), took(7, INCOMPLETE, 2, False, 2)))
    C.add(
        "a block is missing in the middle",
        "7959-2.5-1",
        [*answered(put(7, 0, True, 2, full), took(7, CONTINUE, 0, True, 2)), *answered(put(8, 2, False, 2, b"end"), took(8, INCOMPLETE, 2, False, 2))],
    )
    C.add(
        "a block of another Content-Format belongs to no body",
        "7959-2.3-6",
        [
            *answered(put(7, 0, True, 2, full), took(7, CONTINUE, 0, True, 2)),
            *answered(put(8, 1, False, 2, b"end", opts=[(CONTENT_FORMAT, 50)]), took(8, INCOMPLETE, 1, False, 2)),
        ],
    )
    for length in (0, 63, 65):
        request = put(7, 0, True, 2, b"x" * length)
        C.add(f"a block of {length} bytes that says 64", "7959-2.3-1", answered(request, message(ACK, BAD_REQUEST, 7, "aa"), handled=0))


def observing():
    """RFC 7641."""
    obs = path("obs")

    def register(mid=7, token="aa", value=0, opts=obs, type=CON):
        return message(type, GET, mid, token, [(OBSERVE, value), *opts])

    def state(mid, token, number, payload, type=ACK):
        return message(type, CONTENT, mid, token, [*([] if number is None else [(OBSERVE, number)]), TEXT], payload)

    begun = answered(register(), state(7, "aa", 1, "0"))

    def told(number, text, name="<m>", con=True, ack=True):
        steps = [("notify", text.encode().hex(), con), ("out", [state(name, "aa", number, text, CON if con else NON)])]
        return [*steps, *([("in", empty(ACK, name))] if ack and con else [])]

    C.add(
        "registration and notifications",
        "7641-4.1-1 7641-4.2-1 7641-4.2-5 7641-4.4-1 7641-4.4-2 7641-4.4-3 7641-4.3.1-1 TD_COAP_OBS_01",
        [*begun, ("observers", 1), *told(2, "1"), *told(3, "2", "<n>")],
    )
    C.add("NON notifications", "7252-4.4-2 7641-4.2-1 7641-4.2-5 TD_COAP_OBS_02", [*begun, *told(2, "1", con=False), *told(3, "2", "<n>", con=False)])
    C.add(
        "registered again with the same token, it is one observer",
        "7641-4.1-2",
        [*begun, *answered(register(8), state(8, "aa", 1, "0")), ("observers", 1), *told(2, "1")],
    )
    C.add(
        "another token is another observer",
        "7641-4.1-2",
        [*begun, *answered(register(8, "bb"), state(8, "bb", 1, "0")), ("observers", 2)],
    )
    C.add(
        "Observe 1 deregisters",
        "7641-4.1-4 7641-4.1-5 TD_COAP_OBS_12",
        [*begun, *answered(register(8, value=1), state(8, "aa", None, "0")), ("observers", 0), ("notify", "31", True), ("out", [])],
    )
    C.add(
        "Observe 1 of another token deregisters nobody",
        "7641-4.1-4",
        [*begun, *answered(register(8, "bb", value=1), state(8, "bb", None, "0")), ("observers", 1)],
    )
    for name, value in (("2", 2), ("of the largest value", 0xFFFFFF)):
        C.add(f"Observe {name} registers nobody", "7641-4.1-3", [*answered(register(value=value), state(7, "aa", None, "0")), ("observers", 0)])
    C.add("a resource that cannot be observed", "7641-4.1-3", [*answered(register(opts=TEST), content(7, "aa")), ("observers", 0)])
    C.add(
        "a full table turns an observer down",
        "7641-4.1-3",
        [
            *[step for n in range(4) for step in answered(register(10 + n, f"b{n}"), state(10 + n, f"b{n}", 1, "0"))],
            *answered(register(20, "cc"), state(20, "cc", None, "0")),
            ("observers", 4),
        ],
    )
    C.add(
        "an error ends the observation",
        "7641-4.2-2 7641-4.2-4 7641-4.2-5 TD_COAP_OBS_07",
        [*begun, ("end", NOT_FOUND), ("out", [message(CON, NOT_FOUND, "<m>", "aa")]), ("in", empty(ACK, "<m>")), ("observers", 0), ("notify", "31", True), ("out", [])],
    )
    C.add(
        "RST of a CON notification",
        "7641-4.5-2 TD_COAP_OBS_06",
        [*begun, *told(2, "1", ack=False), ("in", empty(RST, "<m>")), ("observers", 0), ("notify", "32", True), ("out", [])],
    )
    C.add(
        "RST of a NON notification",
        "7641-4.5-2 TD_COAP_OBS_06",
        [*begun, *told(2, "1", con=False), ("in", empty(RST, "<m>")), ("observers", 0), ("notify", "32", True), ("out", [])],
    )
    C.add(
        "RST of another peer ends nothing",
        "7641-4.5-2",
        [*begun, *told(2, "1", ack=False), ("in", empty(RST, "<m>"), "b"), ("observers", 1)],
    )
    C.add(
        "a notification that is never acknowledged is the last",
        "7641-4.5-2 TD_COAP_OBS_05",
        [*begun, *told(2, "1", ack=False)]
        + [step for wait in (3000, 6000, 12000, 24000) for step in (("wait", wait), ("out", [state("<m>", "aa", 2, "1", CON)]))]
        + [("wait", 48000), ("out", []), ("observers", 0)],
    )
    C.add(
        "what is sent again is the state of then, under its number",
        "7641-4.4-4 7641-4.5-1 TD_COAP_OBS_05 TD_COAP_OBS_11",
        [
            *begun,
            *told(2, "1", ack=False),
            *[("notify", "32", True), ("out", []), ("notify", "33", True), ("out", []), ("wait", 3000)],
            ("out", [state("<n>", "aa", 4, "3", CON)]),
            *[("in", empty(ACK, "<n>")), ("wait", 100_000), ("out", [])],
        ],
    )
    C.add(
        "one notification at a time; then the latest state",
        "7641-4.5.1-1 7641-4.5-1 7252-4.7-1 TD_COAP_OBS_11",
        [
            *begun,
            *told(2, "1", ack=False),
            *[("notify", "32", True), ("notify", "33", True), ("out", []), ("in", empty(ACK, "<m>"))],
            *[("out", [state("<n>", "aa", 4, "3", CON)]), ("in", empty(ACK, "<n>")), ("out", [])],
        ],
    )
    C.add(
        "among NON notifications there is a CON one each day",
        "7641-4.5-3",
        [*begun, *told(2, "1", con=False), ("wait", 86_500_000), ("notify", "32", False), ("out", [state("<n>", "aa", 3, "2", CON)])],
    )
    steps, number = [*begun], 1
    for _ in range(31):
        number += 1
        steps += [("notify", "31", False), ("out", [state(f"<n{number}>", "aa", number, "1", NON)])]
    C.add(
        "NON notifications are interspersed with CON ones, and none follows before that is acknowledged",
        "7641-7-1",
        [
            *steps,
            *[("notify", "32", False), ("out", [state("<m>", "aa", 33, "2", CON)])],
            *[("notify", "33", False), ("out", []), ("in", empty(ACK, "<m>")), ("out", [state("<o>", "aa", 34, "3", CON)])],
        ],
    )


malformed()
layer()
option_rules()
blocks()
observing()
