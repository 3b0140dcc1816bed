"""The cases for clients."""

from wire import (
    BAD_FILTERS,
    BAD_NAMES,
    BAD_UTF8,
    DISCONNECT,
    GOOD_UTF8,
    PINGREQ,
    PINGRESP,
    Cases,
    connack,
    connect,
    field,
    packet,
    puback,
    pubcomp,
    publish,
    pubrec,
    pubrel,
    string,
    suback,
    subscribe,
    unsuback,
    unsubscribe,
)

C = Cases()


def opening(**how):
    """CONNECT is out."""
    told = {key: list(value) if isinstance(value, tuple) else value for key, value in how.items()}
    return [("connect", told), ("out", connect(**how))]


def opened(present=0, **how):
    return [*opening(**how), ("in", connack(present)), ("told", [f"connected {present}"])]


def kept_session():
    return opened(clean=False)


def again(*then, present=1):
    """The connection breaks and comes back; these are sent."""
    return [("lose",), *opened(present, clean=False), ("out", "".join(then))]


def refused(name, ids, bad, reason, before=(), told=()):
    C.add(name, ids, [*opened(), *before, ("in", bad), ("out", ""), ("told", list(told)), ("closed", reason)])


def rejected(name, ids, bad, reason):
    """As the first packet."""
    C.add(name, ids, [*opening(), ("in", bad), ("out", ""), ("told", []), ("closed", reason)])


def flow(name, ids, *steps, **more):
    C.add(name, ids, [*steps, ("kept",)], **more)


def told(*lines):
    return ("told", list(lines))


def sub(*filters):
    return ("subscribe", [list(one) for one in filters])


FROM_SERVER = {
    "PUBACK": (0x40, puback(1)),
    "PUBREC": (0x50, pubrec(1)),
    "PUBREL": (0x62, pubrel(1)),
    "PUBCOMP": (0x70, pubcomp(1)),
    "SUBACK": (0x90, suback(1, 0)),
    "UNSUBACK": (0xB0, unsuback(1)),
    "PINGRESP": (0xD0, PINGRESP),
}
FROM_CLIENT = {
    "CONNECT": connect(),
    "SUBSCRIBE": subscribe(1, ("a", 0)),
    "UNSUBSCRIBE": unsubscribe(1, "a"),
    "PINGREQ": PINGREQ,
    "DISCONNECT": DISCONNECT,
}


def fixed_headers():
    for name, (first, good) in {"CONNACK": (0x20, connack()), **FROM_SERVER}.items():
        for flags in set(range(16)) - {first & 15}:
            end = rejected if name == "CONNACK" else refused
            end(
                f"{name} with flags {flags:04b}",
                "2.2.2-2 4.8.0-1",
                f"{first & 0xF0 | flags:02x}{good[2:]}",
                "ReservedFlags",
            )
    for flags in range(16):
        bad = f"{0x30 | flags:02x}{publish('a', 'xyz')[2:]}"
        if flags & 6 == 6:
            refused(f"PUBLISH of QoS 3 with flags {flags:04b}", "3.3.1-4 2.2.2-2", bad, "QoS")
        elif flags & 14 == 8:
            refused(f"PUBLISH of QoS 0 with DUP and flags {flags:04b}", "3.3.1-2", bad, "DupQoS0")
    for kind in (0, 15):
        for flags in (0, 1, 2, 8, 15):
            refused(
                f"reserved type {kind} with flags {flags:04b}", "4.8.0-1", f"{kind << 4 | flags:02x}00", "ReservedType"
            )
        rejected(f"reserved type {kind} before CONNACK", "4.8.0-1", f"{kind << 4:02x}00", "ReservedType")
    for name, what in FROM_CLIENT.items():
        refused(f"{name} from a server", "4.8.0-1", what, "UnexpectedPacket")
        rejected(f"{name} from a server before CONNACK", "3.2.0-1", what, "UnexpectedPacket")
    for name, (_, what) in FROM_SERVER.items():
        rejected(f"{name} before CONNACK", "3.2.0-1", what, "UnexpectedPacket")
    for qos in range(3):
        rejected(f"PUBLISH of QoS {qos} before CONNACK", "3.2.0-1", publish("a", "x", qos, pid=1), "UnexpectedPacket")
    for code in range(6):
        refused(f"a second CONNACK, code {code}", "3.2.0-1", connack(0, code), "UnexpectedPacket")


def connacks():
    for flags in (*[1 << bit for bit in range(1, 8)], 3, 0x81, 0xFE, 0xFF):
        rejected(f"CONNACK with flags byte 0x{flags:02x}", "4.8.0-1", connack(flags), "ConnAck")
    for code in (6, 7, 0x10, 0x7F, 0x80, 0x84, 0xFF):
        rejected(f"CONNACK with code {code}", "4.8.0-1", connack(0, code), "ConnAck")
    for code in range(1, 6):
        C.add(
            f"CONNACK with code {code} ends the connection",
            "3.2.2-5",
            [*opening(), ("in", connack(0, code)), told(f"refused {code}"), ("out", ""), ("closed", "Refused")],
        )
        rejected(f"CONNACK with code {code} and a session present", "3.2.2-4", connack(1, code), "ConnAck")
    for body in ("", "00", "000000"):
        rejected(f"CONNACK of {len(body) // 2} bytes", "4.8.0-1", packet(0x20, body), "Length")
    rejected("CONNACK with a session present for a clean one", "3.2.2-1", connack(1), "ConnAck")
    for present in (0, 1):
        flow(
            f"CONNACK with session present {present} for a session to be kept",
            "3.2.2-2 3.2.2-3",
            *opened(present, clean=False),
        )
    C.add(
        "no CONNACK comes",
        "3.2.0-1",
        [
            *opening(),
            ("wait", 9999),
            ("kept",),
            ("wait", 1),
            told("closed ConnectTimeout"),
            ("closed", "ConnectTimeout"),
        ],
    )


def lengths():
    for name, (first, _) in {"PUBLISH": (0x30, ""), **FROM_SERVER}.items():
        refused(f"{name} with a remaining length of five bytes", "4.8.0-1", f"{first:02x}8080808001", "RemainingLength")
        refused(f"{name} with a remaining length without end", "4.8.0-1", f"{first:02x}ffffffff", "RemainingLength")
    rejected("CONNACK with a remaining length of five bytes", "4.8.0-1", "208080808001", "RemainingLength")
    for name in ("PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "UNSUBACK"):
        first = FROM_SERVER[name][0]
        for body in ("", "00", "000100", "00010000"):
            refused(f"{name} of {len(body) // 2} bytes", "4.8.0-1", packet(first, body), "Length")
    for name in ("PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "UNSUBACK", "SUBACK"):
        refused(
            f"{name} with identifier 0",
            "2.3.1-1",
            packet(FROM_SERVER[name][0], "0000" + ("00" if name == "SUBACK" else "")),
            "ZeroPacketId",
        )
    for body in ("00", "0001"):
        refused(f"PINGRESP of {len(body) // 2} bytes", "4.8.0-1", packet(0xD0, body), "Length")
    refused("SUBACK of nothing", "3.9.3-1", packet(0x90), "Length")
    refused("SUBACK with half an identifier", "3.9.3-1", packet(0x90, "00"), "Length")
    refused("SUBACK without a code", "3.9.3-1", packet(0x90, "0001"), "SubAck")
    asked = [sub(("a", 2), ("b", 2)), ("out", packet(0x82, "<s>" + string("a") + "02" + string("b") + "02"))]
    for code in (3, 4, 0x10, 0x7F, 0x81, 0x82, 0xFF):
        refused(f"SUBACK with code 0x{code:02x}", "3.9.3-2", packet(0x90, f"<s>00{code:02x}"), "SubAck", asked)
    for codes in ("00", "000000", "00000080"):
        refused(
            f"SUBACK with {len(codes) // 2} codes for 2 filters",
            "3.9.3-1 3.8.4-5",
            packet(0x90, "<s>" + codes),
            "SubAck",
            asked,
        )
    refused("PUBLISH of nothing", "3.3.2-1", packet(0x30), "Length")
    refused("PUBLISH with half a length", "3.3.2-1", packet(0x30, "00"), "Length")
    refused("PUBLISH with a topic longer than it", "3.3.2-1", packet(0x30, "000261"), "Length")
    for qos in (1, 2):
        first = 0x30 | qos << 1
        refused(f"PUBLISH of QoS {qos} without an identifier", "2.3.1-1", packet(first, string("a")), "Length")
        refused(f"PUBLISH of QoS {qos} with half an identifier", "2.3.1-1", packet(first, string("a") + "00"), "Length")
        refused(
            f"PUBLISH of QoS {qos} with identifier 0", "2.3.1-1", packet(first, string("a") + "0000"), "ZeroPacketId"
        )


def strings():
    for what, text in {**BAD_UTF8, "U+0000": "00"}.items():
        null = what == "U+0000"
        for around, text in (("", text), (" among others", "61" + text + "62")):
            ids = ("1.5.3-2 4.7.3-2" if null else "1.5.3-1") + " 3.3.2-1"
            for qos in range(3):
                bad = packet(0x30 | qos << 1, field(text) + ("0001" if qos else "") + "78")
                refused(
                    f"topic name at QoS {qos} with {what}{around}", ids, bad, "NullCharacter" if null else "NotUtf8"
                )
    for what, text in GOOD_UTF8.items():
        flow(
            f"{what} in a topic is told as it is",
            "1.5.3-3",
            *opened(),
            ("in", publish(text, "x")),
            told(f"message {text} q0 78"),
        )
        flow(
            f"{what} in a topic is sent as it is",
            "1.5.3-3 4.7.3-4",
            *opened(),
            ("publish", text, "78", 0, False),
            ("out", publish(text, "x")),
        )
    for name in [*BAD_NAMES, ""]:
        ids = "3.3.2-2 4.7.1-1" if name else "4.7.3-1"
        refused(f"topic name {name!r} comes", ids, publish(name, "x"), "TopicName")
        flow(
            f"topic name {name!r} is not sent",
            ids,
            *opened(),
            ("error", "InvalidTopic", ["publish", name, "78", 1, False]),
            ("out", ""),
        )
        C.add(
            f"topic name {name!r} of a will is not sent",
            f"{ids} 3.1.3-10",
            [("error", "InvalidTopic", ["connect", {"will": [name, "78", 0, False]}]), ("out", "")],
        )
    for name in ("a\0b", "\0"):
        flow(
            f"topic name {name!r} is not sent",
            "1.5.3-2 4.7.3-2",
            *opened(),
            ("error", "InvalidTopic", ["publish", name, "78", 1, False]),
            ("out", ""),
        )
        C.add(
            f"client identifier {name!r} is not sent",
            "1.5.3-2 3.1.3-4",
            [("error", "InvalidString", ["connect", {"client": name}]), ("out", "")],
        )
        C.add(
            f"user name {name!r} is not sent",
            "1.5.3-2 3.1.3-11",
            [("error", "InvalidString", ["connect", {"user": name}]), ("out", "")],
        )
    for name in [*BAD_FILTERS, "", "a\0b"]:
        ids = "4.7.3-1" if not name else "4.7.3-2" if "\0" in name else "4.7.1-2" if "#" in name else "4.7.1-3"
        flow(
            f"filter {name!r} is not subscribed to",
            ids,
            *opened(),
            ("error", "InvalidFilter", ["subscribe", [["a", 0], [name, 0]]]),
            ("out", ""),
        )
        flow(
            f"filter {name!r} is not unsubscribed",
            ids,
            *opened(),
            ("error", "InvalidFilter", ["unsubscribe", ["a", name]]),
            ("out", ""),
        )
    flow(
        "a subscription to nothing is not sent",
        "3.8.3-3",
        *opened(),
        ("error", "InvalidFilter", ["subscribe", []]),
        ("out", ""),
    )
    flow(
        "an unsubscription of nothing is not sent",
        "3.10.3-2",
        *opened(),
        ("error", "InvalidFilter", ["unsubscribe", []]),
        ("out", ""),
    )
    long = "a" * 65536
    flow(
        "a topic name of 65,536 bytes is not sent",
        "4.7.3-3",
        *opened(),
        ("error", "InvalidTopic", ["publish", long, "", 0, False]),
        ("out", ""),
    )
    flow(
        "a filter of 65,536 bytes is not sent",
        "4.7.3-3",
        *opened(),
        ("error", "InvalidFilter", ["subscribe", [[long, 0]]]),
        ("out", ""),
    )


def encodings():
    for clean in (True, False):
        for user, password in ((None, None), ("u", None), ("u", "7077"), ("", ""), ("\ufeffu", "00ff")):
            for will in (
                None,
                *[("w", "", qos, retain) for qos in range(3) for retain in (False, True)],
                ("w/\u00e4", "00ff", 2, True),
            ):
                who = f"clean {int(clean)}, user {user!r}, password {password!r}, will {will!r}"
                flow(
                    f"CONNECT: {who}",
                    "3.1.0-1 2.2.2-1 3.1.3-1 3.1.3-3 3.1.2-9 3.1.2-11 3.1.2-13 3.1.2-15 3.1.2-18 3.1.2-19 3.1.2-20 3.1.2-21 3.1.2-22",
                    *opening(client="c", clean=clean, user=user, password=password, will=will),
                )
    C.add(
        "a password without a user name is not sent",
        "3.1.2-22",
        [("error", "InvalidOption", ["connect", {"password": "70"}]), ("out", "")],
    )
    C.add(
        "no client identifier for a session to be kept is not sent",
        "3.1.3-7",
        [("error", "InvalidOption", ["connect", {"client": "", "clean": False}]), ("out", "")],
    )
    flow("no client identifier for a clean session", "3.1.3-7 3.1.3-3", *opened(client=""))
    flow("a second CONNECT is not sent", "3.1.0-2", *opened(), ("error", "WrongState", ["connect", {}]), ("out", ""))
    for keep_alive in (1, 255, 256, 65535):
        flow(f"CONNECT with keep-alive {keep_alive}", "3.1.2-23", *opening(keep_alive=keep_alive))
    for qos in range(3):
        for retain in (False, True):
            for n in (0, 1, 121, 122, 123, 124, 125, 500):
                flow(
                    f"PUBLISH of QoS {qos}, retained {int(retain)}, {n} bytes",
                    "4.3.1-1 2.3.1-5" if qos == 0 else "2.3.1-1 2.3.1-2",
                    *opened(),
                    ("publish", "t", "78" * n, qos, retain),
                    ("out", publish("t", "x" * n, qos, retain, pid="<x>")),
                )
    many = [(f"f/{n}", n % 3) for n in range(50)]
    flow(
        "SUBSCRIBE of fifty",
        "3.8.1-1 3.8.3-1 3.8.3-3 3.8.3-4",
        *opened(),
        sub(*many),
        ("out", packet(0x82, "<s>" + "".join(string(f) + f"{q:02x}" for f, q in many))),
        ("in", packet(0x90, "<s>" + "".join(f"{q:02x}" for _, q in many))),
        told("subscribed <s> " + "".join(f"{q:02x}" for _, q in many)),
    )
    flow(
        "UNSUBSCRIBE of fifty",
        "3.10.1-1 3.10.3-1 3.10.3-2",
        *opened(),
        ("unsubscribe", [f for f, _ in many]),
        ("out", packet(0xA2, "<s>" + "".join(string(f) for f, _ in many))),
        ("in", unsuback("<s>")),
        told("unsubscribed <s>"),
    )
    C.add(
        "DISCONNECT, and nothing after it",
        "3.14.1-1 3.14.4-1 3.14.4-2",
        [
            *opened(),
            ("disconnect",),
            ("out", DISCONNECT),
            told("closed Requested"),
            ("closed", "Requested"),
            ("error", "NotConnected", ["publish", "t", "", 0, False]),
            ("out", ""),
        ],
    )


def tables():
    fixed_headers()
    connacks()
    lengths()
    strings()
    encodings()
    return C
