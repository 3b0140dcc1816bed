"""The cases for servers that follow from tables: every flag, every length, every string."""

from wire import (
    BAD_FILTERS,
    BAD_NAMES,
    BAD_UTF8,
    DISCONNECT,
    GOOD_FILTERS,
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
OK = connack()


def opened(who="a", **how):
    return [("open", who), ("send", who, connect(**{"client": who, **how})), ("expect", who, OK)]


def refused(name, ids, bad, reason, note=None):
    """On a connection that stands: it is closed and nothing is answered."""
    steps = [*opened(), ("send", "a", bad), ("expect", "a", ""), ("closed", "a", reason)]
    C.add(name, ids, steps, **({"note": note} if note else {}))


def rejected(name, ids, bad, reason, answer="", **more):
    """As the first packet."""
    C.add(name, ids, [("open", "a"), ("send", "a", bad), ("expect", "a", answer), ("closed", "a", reason)], **more)


def answered(name, ids, good, answer):
    C.add(name, ids, [*opened(), ("send", "a", good), ("expect", "a", answer), ("kept", "a")])


FROM_CLIENT = {
    "PUBACK": (0x40, puback(1), "2.2.2-2"),
    "PUBREC": (0x50, pubrec(1), "2.2.2-2"),
    "PUBREL": (0x62, pubrel(1), "2.2.2-2 3.6.1-1"),
    "PUBCOMP": (0x70, pubcomp(1), "2.2.2-2"),
    "SUBSCRIBE": (0x82, subscribe(1, ("a", 0)), "2.2.2-2 3.8.1-1"),
    "UNSUBSCRIBE": (0xA2, unsubscribe(1, "a"), "2.2.2-2 3.10.1-1"),
    "PINGREQ": (0xC0, PINGREQ, "2.2.2-2"),
    "DISCONNECT": (0xE0, DISCONNECT, "2.2.2-2 3.14.1-1"),
}
FROM_SERVER = {"CONNACK": connack(), "SUBACK": suback(1, 0), "UNSUBACK": unsuback(1), "PINGRESP": PINGRESP}


def fixed_headers():
    for name, (first, good, ids) in {"CONNECT": (0x10, connect(), "2.2.2-2"), **FROM_CLIENT}.items():
        for flags in set(range(16)) - {first & 15}:
            bad = f"{first & 0xF0 | flags:02x}{good[2:]}"
            end = rejected if name == "CONNECT" else refused
            end(f"{name} with flags {flags:04b}", f"{ids} 4.8.0-1", bad, "ReservedFlags")
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
        rejected(f"reserved type {kind} as the first packet", "3.1.0-1", f"{kind << 4:02x}00", "ReservedType")
    for name, what in FROM_SERVER.items():
        refused(f"{name} from a client", "4.8.0-1", what, "UnexpectedPacket")
        rejected(f"{name} as the first packet", "3.1.0-1", what, "UnexpectedPacket")
    for name, (_, what, _) in FROM_CLIENT.items():
        rejected(f"{name} as the first packet", "3.1.0-1", what, "UnexpectedPacket")
    for qos in range(3):
        rejected(
            f"PUBLISH of QoS {qos} as the first packet", "3.1.0-1", publish("a", "x", qos, pid=1), "UnexpectedPacket"
        )
    for name, again in {"the same": connect("a"), "another": connect("b"), "a malformed": packet(0x10)}.items():
        reason = "Length" if name == "a malformed" else "UnexpectedPacket"
        refused(f"CONNECT a second time, {name}", "3.1.0-2", again, reason)
    level = connect("a", level=5)
    refused("CONNECT a second time, of another level: no CONNACK", "3.1.0-2", level, "ProtocolLevel")


def lengths():
    for name, (first, _, _) in {"PUBLISH": (0x30, "", ""), **FROM_CLIENT}.items():
        refused(f"{name} with a remaining length of five bytes", "4.8.0-1", f"{first:02x}8080808001", "RemainingLength")
        refused(f"{name} with a remaining length without end", "4.8.0-1", f"{first:02x}ffffffff", "RemainingLength")
    rejected("CONNECT with a remaining length of five bytes", "3.1.4-1", "108080808001", "RemainingLength")
    for name in ("PUBACK", "PUBREC", "PUBREL", "PUBCOMP"):
        first = FROM_CLIENT[name][0]
        for body in ("", "00", "000100", "00010000"):
            refused(f"{name} of {len(body) // 2} bytes", "4.8.0-1", packet(first, body), "Length")
        refused(f"{name} with identifier 0", "2.3.1-1 4.8.0-1", packet(first, "0000"), "ZeroPacketId")
    for name in ("PINGREQ", "DISCONNECT"):
        for body in ("00", "0001"):
            refused(f"{name} of {len(body) // 2} bytes", "4.8.0-1", packet(FROM_CLIENT[name][0], body), "Length")
    for name, first, tail in (("SUBSCRIBE", 0x82, "00"), ("UNSUBSCRIBE", 0xA2, "")):
        none = "3.8.3-3" if tail else "3.10.3-2"
        refused(f"{name} of nothing", none, packet(first), "Length")
        refused(f"{name} with half an identifier", "2.3.1-1", packet(first, "00"), "Length")
        refused(f"{name} without a filter", none, packet(first, "0001"), "NoFilter")
        refused(f"{name} with half a length", none, packet(first, "000100"), "Length")
        refused(f"{name} with a filter cut off", none, packet(first, "0001000361"), "Length")
        refused(f"{name} with identifier 0", "2.3.1-1", packet(first, "0000" + string("a") + tail), "ZeroPacketId")
        second = packet(first, "0001" + string("a") + tail + "0002")
        refused(f"{name} with its second filter cut off", none, second, "Length")
    refused("SUBSCRIBE without a QoS", "3.8.3-3", packet(0x82, "0001" + string("a")), "Length")
    refused(
        "SUBSCRIBE with the second QoS missing",
        "3.8.3-3",
        packet(0x82, "0001" + string("a") + "00" + string("b")),
        "Length",
    )
    for qos in (3, 4, 5, 8, 0x10, 0x11, 0x20, 0x40, 0x42, 0x7F, 0x80, 0x81, 0x82, 0xFF):
        bad = packet(0x82, f"0001{string('a')}{qos:02x}")
        refused(f"SUBSCRIBE wanting QoS 0x{qos:02x}", "3.8.3-4", bad, "QoS")
        second = packet(0x82, f"0001{string('a')}00{string('b')}{qos:02x}")
        refused(f"SUBSCRIBE wanting QoS 0x{qos:02x} second", "3.8.3-4", second, "QoS")
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
    for n in (0, 1, 120, 121, 122, 123, 124, 125, 126, 127, 128):
        answered(f"PUBLISH with a payload of {n} bytes", "3.3.4-1 4.3.2-2", publish("a", "x" * n, 1, pid=7), puback(7))


def connects():
    full = connect("a", True, 10, ("w", "6162", 1, True), "u", "7077")[4:]
    for n in range(len(full) // 2):
        rejected(
            f"CONNECT cut off after {n} bytes",
            "3.1.4-1 3.1.3-1 3.1.2-9 3.1.2-19 3.1.2-21",
            packet(0x10, full[: 2 * n]),
            "Length",
        )
    rejected("CONNECT with a byte too many", "3.1.4-1 3.1.2-18 3.1.2-20", packet(0x10, full + "00"), "Length")
    plain = connect("a")[4:]
    extra = {"a will": string("w") + field("61"), "a user name": string("u"), "a password": field("70")}
    for name, more in extra.items():
        rejected(
            f"CONNECT with {name} but no flag for it",
            "3.1.2-11 3.1.2-18 3.1.2-20 3.1.4-1",
            packet(0x10, plain + more),
            "Length",
        )
    for flags in range(256):
        will, user, password = flags & 4, flags & 0x80, flags & 0x40
        body = string("a") + (string("w") + field("61") if will else "")
        body += (string("u") if user else "") + (field("70") if password else "")
        what = packet(0x10, f"{string('MQTT')}04{flags:02x}0000{body}")
        name = f"CONNECT with flags {flags:08b}"
        if flags & 0x18 == 0x18:
            ids = "3.1.2-14" if will else "3.1.2-13 3.1.2-11"
            rejected(name, f"{ids} 3.1.4-1", what, "QoS")
        elif flags & 1 or (password and not user) or (not will and flags & 0x38):
            ids = ["3.1.2-3"] if flags & 1 else []
            ids += ["3.1.2-22"] if password and not user else []
            ids += ["3.1.2-13"] if not will and flags & 0x18 else []
            ids += ["3.1.2-15"] if not will and flags & 0x20 else []
            rejected(name, " ".join([*ids, "3.1.4-1"]), what, "ConnectFlags")
        else:
            ids = "3.1.4-4 3.1.3-1 3.2.0-1 3.2.2-3" + (" 3.1.2-9" if will else "") + (" 3.1.2-19" if user else "")
            ids += " 3.2.2-1" if flags & 2 else ""
            C.add(name, ids, [("open", "a"), ("send", "a", what), ("expect", "a", OK), ("kept", "a")])
    for name in ("mqtt", "MQIsdp", "MQT", "MQTTT", "MQTT ", ""):
        rejected(f"protocol name {name!r}", "3.1.2-1 3.2.2-6", connect("a", name=name), "ProtocolName")
    for level in (0, 1, 2, 3, 5, 6, 0x7F, 0x80, 0x84, 0xFF):
        rejected(
            f"protocol level {level}",
            "3.1.2-2 3.2.2-4 3.2.2-5",
            connect("a", level=level),
            "ProtocolLevel",
            connack(0, 1),
        )
    for client in (
        "a",
        "a" * 23,
        "0123456789",
        "abcdefghijklmnopqrstuvw",
        "xyzABCDEFGHIJKLMNOPQRST",
        "UVWXYZ",
        "a" * 24,
        "a/b+#$ ä",
    ):
        C.add(
            f"client identifier {client!r}",
            "3.1.3-5 3.1.3-3",
            [("open", "a"), ("send", "a", connect(client)), ("expect", "a", OK), ("kept", "a")],
        )
    C.add(
        "no client identifier, a clean session",
        "3.1.3-6",
        [
            ("open", "a"),
            ("send", "a", connect("")),
            ("expect", "a", OK),
            ("open", "b"),
            ("send", "b", connect("")),
            ("expect", "b", OK),
            ("kept", "a"),
            ("kept", "b"),
        ],
    )
    rejected(
        "no client identifier, a session to be kept",
        "3.1.3-8 3.1.3-9 3.2.2-5",
        connect("", False),
        "ClientId",
        connack(0, 2),
    )
    half = packet(0x10, f"{string('MQTT')}04040000{string('')}0009")
    rejected("no client identifier, and malformed", "3.1.4-1", half, "Length")
    long = [("open", "a"), ("send", "a", packet(0x10, plain[:-6] + "0000")), ("expect", "a", OK), ("kept", "a")]
    C.add("no client identifier, as short as CONNECT can be", "3.1.3-6", long)


def strings():
    bad = {**{k: (v, "NotUtf8", "1.5.3-1") for k, v in BAD_UTF8.items()}, "U+0000": ("00", "NullCharacter", "1.5.3-2")}
    for what, (text, reason, base) in bad.items():
        for around, text in (("", text), (" among others", "61" + text + "62")):
            if around and what.startswith("an overlong") is False and "surrogate" not in what and what != "U+0000":
                continue
            s, head = field(text), f"{string('MQTT')}04"
            rejected(
                f"client identifier with {what}{around}", f"{base} 3.1.3-4", packet(0x10, f"{head}020000{s}"), reason
            )
            rejected(
                f"will topic with {what}{around}",
                f"{base} 3.1.3-10",
                packet(0x10, f"{head}060000{string('a')}{s}{field('61')}"),
                reason,
            )
            rejected(
                f"user name with {what}{around}",
                f"{base} 3.1.3-11",
                packet(0x10, f"{head}820000{string('a')}{s}"),
                reason,
            )
            null = " 4.7.3-2" if reason == "NullCharacter" else ""
            refused(f"topic name with {what}{around}", f"{base} 3.3.2-1{null}", packet(0x30, s), reason)
            refused(
                f"filter of SUBSCRIBE with {what}{around}", f"{base} 3.8.3-1{null}", packet(0x82, f"0001{s}00"), reason
            )
            refused(
                f"filter of UNSUBSCRIBE with {what}{around}", f"{base} 3.10.3-1{null}", packet(0xA2, f"0001{s}"), reason
            )
    rejected(
        "protocol name that is not UTF-8",
        "1.5.3-1",
        packet(0x10, f"{field('4d5154ff')}04020000{string('a')}"),
        "NotUtf8",
    )
    for what, text in GOOD_UTF8.items():
        sub = [("send", "a", subscribe(1, (text, 0))), ("expect", "a", suback(1, 0))]
        pub = [("send", "a", publish(text, "x")), ("expect", "a", publish(text, "x")), ("kept", "a")]
        C.add(f"{what} in a topic comes back as it was", "1.5.3-3 4.7.3-4", [*opened(), *sub, *pub])
    for name in [*BAD_NAMES, ""]:
        ids = "3.3.2-2 4.7.1-1" if name else "4.7.3-1"
        refused(f"topic name {name!r}", ids, publish(name, "x"), "TopicName")
        rejected(
            f"topic name {name!r} of a will", f"{ids} 3.1.4-1", connect("a", will=(name, "61", 0, False)), "TopicName"
        )
    for name in [*BAD_FILTERS, ""]:
        ids = "4.7.3-1" if not name else "4.7.1-2" if "#" in name else "4.7.1-3"
        refused(f"filter {name!r} in SUBSCRIBE", ids, subscribe(1, (name, 0)), "TopicFilter")
        refused(f"filter {name!r} in UNSUBSCRIBE", ids, unsubscribe(1, name), "TopicFilter")
        refused(f"filter {name!r} after a good one in SUBSCRIBE", ids, subscribe(1, ("a", 0), (name, 0)), "TopicFilter")
    for name in GOOD_FILTERS:
        answered(
            f"filter {name!r} in SUBSCRIBE", "4.7.1-2 4.7.1-3 3.8.3-2 3.8.4-1", subscribe(9, (name, 1)), suback(9, 1)
        )
        answered(f"filter {name!r} in UNSUBSCRIBE", "3.10.4-5", unsubscribe(9, name), unsuback(9))


MATCHES = [
    ("sport/tennis/player1/#", "sport/tennis/player1", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
    ("sport/#", "sport", True),
    ("sport/#", "sports", False),
    ("#", "a", True),
    ("#", "/", True),
    ("#", "a/b/c", True),
    ("#", "$a", False),
    ("#", "$SYS/a", False),
    ("+", "$a", False),
    ("+/a", "$b/a", False),
    ("+/#", "$a/b", False),
    ("a/#", "a/$b", True),
    ("+", "a", True),
    ("+", "a/b", False),
    ("+", "/a", False),
    ("+/+", "/a", True),
    ("/+", "/a", True),
    ("/+", "/", True),
    ("+/", "a/", True),
    ("+/", "a", False),
    ("a/+", "a", False),
    ("a/+", "a/", True),
    ("a/+", "a/b", True),
    ("a/+", "a/b/c", False),
    ("+/b/+", "a/b/c", True),
    ("+/b/+", "a/c/c", False),
    ("a/+/#", "a/b", True),
    ("a/+/#", "a", False),
    ("a/+/#", "a/b/c/d", True),
    ("ACCOUNTS", "Accounts", False),
    ("a", "a", True),
    ("a", "/a", False),
    ("/a", "a", False),
    ("a/", "a", False),
    ("a", "a/", False),
    ("//", "//", True),
    ("a//b", "a//b", True),
    ("a//b", "a/b", False),
    ("a/+/b", "a//b", True),
    ("\u00e4", "a\u0308", False),
    ("Accounts payable", "Accounts payable", True),
    ("a/b/c/d/e/f/g/h", "a/b/c/d/e/f/g/h", True),
    ("/", "/", True),
]


def matching():
    for topic_filter, topic, matches in MATCHES:
        ids = "3.3.2-3 4.7.3-4 4.5.0-1" + (" 4.7.2-1" if topic.startswith("$") else "")
        sub = [*opened("b"), ("send", "b", subscribe(1, (topic_filter, 0))), ("expect", "b", suback(1, 0))]
        got = publish(topic, "x") if matches else ""
        C.add(
            f"filter {topic_filter!r} and topic {topic!r}: {'delivered' if matches else 'not'}",
            ids,
            [
                *sub,
                *opened("a"),
                ("send", "a", publish(topic, "x")),
                ("expect", "b", got),
                ("kept", "a"),
                ("kept", "b"),
            ],
        )
        # The same of what is retained, which is searched the other way round.
        if not topic.startswith("$"):
            got = suback(1, 0) + (publish(topic, "x", retain=True) if matches else "")
            C.add(
                f"filter {topic_filter!r} and retained {topic!r}: {'delivered' if matches else 'not'}",
                "3.3.1-6 3.3.1-8",
                [
                    *opened("a"),
                    ("send", "a", publish(topic, "x", retain=True)),
                    *opened("b"),
                    ("send", "b", subscribe(1, (topic_filter, 0))),
                    ("expect", "b", got),
                    ("kept", "b"),
                ],
            )


def tables():
    fixed_headers()
    lengths()
    connects()
    strings()
    matching()
    return C
