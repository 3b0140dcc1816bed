"""The cases for servers about what lasts: retained messages, sessions, wills, keep-alive."""

from server import OK, C, opened
from server_flows import P0, P1, R1, back, expect, kept, said, send, subscribed
from wire import DISCONNECT, PINGREQ, PINGRESP, connack, connect, hexed, puback, publish, suback, subscribe


def retained():
    add = C.add
    late = [*opened("b"), send("b", subscribe(1, ("t", 2)))]

    def keep(payload, qos=0):
        return said("a", payload, qos, retain=True)

    for qos in range(3):
        add(
            f"a retained message of QoS {qos} waits for subscribers",
            "3.3.1-5 3.3.1-6 3.3.1-8",
            [
                *opened(),
                *keep("x", qos),
                *late,
                expect("b", suback(1, 2), publish("t", "x", qos, True, pid="<x>")),
                *kept("b"),
            ],
        )
        add(
            f"an empty retained message of QoS {qos} removes, and is passed on",
            "3.3.1-10 3.3.1-11 3.3.1-9",
            [
                *subscribed("c", ("t", 0)),
                *opened(),
                *keep("x"),
                expect("c", P0),
                *keep("", qos),
                expect("c", publish("t")),
                *late,
                expect("b", suback(1, 2)),
                *kept("b"),
            ],
        )
    add(
        "a retained message replaces the one before",
        "3.3.1-5 3.3.1-7",
        [
            *opened(),
            *keep("1", 1),
            *keep("2", 0),
            *late,
            expect("b", suback(1, 2), publish("t", "2", retain=True)),
            *kept("b"),
        ],
    )
    add(
        "a message without RETAIN neither stays nor removes",
        "3.3.1-12",
        [
            *opened(),
            *keep("1"),
            send("a", publish("t", "2"), publish("t", "")),
            *late,
            expect("b", suback(1, 2), publish("t", "1", retain=True)),
            *kept("b"),
        ],
    )
    add(
        "a message without RETAIN is not kept",
        "3.3.1-12",
        [*opened(), send("a", P0), *late, expect("b", suback(1, 2)), *kept("b")],
    )
    add(
        "retained messages outlive sessions",
        "3.1.2-7",
        [
            *opened(),
            *keep("x"),
            send("a", DISCONNECT),
            ("closed", "a", "Disconnected"),
            *opened(),
            *late,
            expect("b", suback(1, 2), publish("t", "x", retain=True)),
            *kept("b"),
        ],
    )
    add(
        "a subscription again brings retained messages again",
        "3.8.4-3",
        [
            *opened(),
            *keep("x"),
            *late,
            expect("b", suback(1, 2), publish("t", "x", retain=True)),
            send("b", subscribe(2, ("t", 0))),
            expect("b", suback(2, 0), publish("t", "x", retain=True)),
            *kept("b"),
        ],
    )
    add(
        "a session found again brings no retained messages",
        "3.3.1-6",
        [
            *subscribed("b", ("t", 0), clean=False),
            ("lose", "b"),
            *opened(),
            *keep("x"),
            *back("b"),
            expect("b"),
            *kept("b"),
        ],
    )


def sessions():
    add = C.add
    add(
        "a session that is kept is found again",
        "3.2.2-2 3.2.2-3 3.1.2-4 3.1.3-2",
        [*opened("a", clean=False), ("lose", "a"), *back("a"), *kept("a")],
    )
    add(
        "a session that is kept outlives DISCONNECT",
        "3.1.2-4 3.2.2-2",
        [*opened("a", clean=False), send("a", DISCONNECT), ("closed", "a", "Disconnected"), *back("a"), *kept("a")],
    )
    add(
        "a session belongs to its client identifier",
        "3.1.3-2",
        [*opened("a", clean=False), ("lose", "a"), *back("b", present=0), *kept("b")],
    )
    add(
        "a clean session is not kept",
        "3.1.2-6 3.2.2-3",
        [*subscribed("a", ("t", 0)), ("lose", "a"), *back("a", present=0), send("a", P0), expect("a"), *kept("a")],
    )
    add(
        "a clean session forgets the one kept",
        "3.1.2-6 3.2.2-1",
        [
            *subscribed("a", ("t", 0), clean=False),
            ("lose", "a"),
            *opened("a"),
            send("a", P0),
            expect("a"),
            ("lose", "a"),
            *back("a", present=0),
            send("a", P0),
            expect("a"),
            *kept("a"),
        ],
    )
    add(
        "subscriptions are kept",
        "3.1.2-4 4.1.0-1",
        [
            *subscribed("a", ("t", 0), clean=False),
            ("lose", "a"),
            *back("a"),
            send("a", P0),
            expect("a", P0),
            *kept("a"),
        ],
    )
    later = [step for n in range(4) for step in said("b", str(n), 1 + n % 2)]
    got = [publish("t", str(n), 1 + n % 2, pid=f"<{n}>") for n in range(4)]
    add(
        "messages for who is away wait in their order",
        "3.1.2-5 4.5.0-1 4.6.0-6",
        [
            *subscribed("a", ("t", 2), clean=False),
            ("lose", "a"),
            *opened("b"),
            *later,
            ("open", "a"),
            send("a", connect("a", False)),
            expect("a", connack(1), *got),
            *kept("a"),
        ],
    )
    add(
        "messages for who said goodbye wait",
        "3.1.2-5",
        [
            *subscribed("a", ("t", 2), clean=False),
            send("a", DISCONNECT),
            ("closed", "a", "Disconnected"),
            *opened("b"),
            *said("b", "0", 1),
            ("open", "a"),
            send("a", connect("a", False)),
            expect("a", connack(1), got[0]),
            *kept("a"),
        ],
    )
    add(
        "messages that wait are forgotten by a clean session",
        "3.1.2-6",
        [
            *subscribed("a", ("t", 2), clean=False),
            ("lose", "a"),
            *opened("b"),
            *later,
            *opened("a"),
            expect("a"),
            *kept("a"),
        ],
    )
    for clean in (True, False):
        add(
            f"a second client of the same name takes over, clean session {int(clean)}",
            "3.1.4-2 3.1.4-3",
            [
                *opened("a", clean=clean),
                ("open", "b"),
                send("b", connect("a", clean)),
                ("closed", "a", "TakenOver"),
                expect("b", connack(0 if clean else 1)),
                *kept("b"),
            ],
        )
    add(
        "who takes over gets what was not acknowledged",
        "3.1.4-2 4.4.0-1",
        [
            *subscribed("a", ("t", 1), clean=False),
            *opened("b"),
            *said("b", "x", 1),
            expect("a", P1),
            ("open", "c"),
            send("c", connect("a", False)),
            ("closed", "a", "TakenOver"),
            expect("c", connack(1), R1),
            *kept("c"),
        ],
    )
    add(
        "a malformed CONNECT takes nothing over",
        "3.1.4-1",
        [*opened("a"), ("open", "b"), send("b", connect("a", flags=3)), ("closed", "b", "ConnectFlags"), *kept("a")],
    )
    add(
        "packets sent before CONNACK are taken in",
        "3.1.4-4 3.2.0-1",
        [
            ("open", "a"),
            send("a", connect("a"), subscribe(1, ("t", 0)), P0, PINGREQ, publish("t", "y", 1, pid=5)),
            ("answers", "a", [OK, suback(1, 0), P0, PINGRESP, publish("t", "y"), puback(5)]),
            *kept("a"),
        ],
    )
    add(
        "what follows a CONNECT that is refused counts for nothing",
        "3.1.4-5",
        [
            *subscribed("b", ("t", 0)),
            ("open", "a"),
            send("a", connect("a", level=5), P0),
            expect("a", connack(0, 1)),
            expect("b"),
            ("closed", "a", "ProtocolLevel"),
        ],
    )
    add(
        "what follows DISCONNECT counts for nothing",
        "3.14.4-2 3.14.4-1",
        [
            *subscribed("b", ("t", 0)),
            *opened(),
            send("a", DISCONNECT, P0, PINGREQ),
            expect("a"),
            ("closed", "a", "Disconnected"),
            expect("b"),
            *kept("b"),
        ],
    )
    add(
        "what came before DISCONNECT is answered",
        "3.1.4-4 3.3.4-1",
        [
            ("open", "a"),
            send("a", connect("a"), publish("t", "x", 1, pid=5), DISCONNECT),
            expect("a", OK, puback(5)),
            ("closed", "a", "Disconnected"),
        ],
    )
    add(
        "what follows a violation counts for nothing",
        "4.8.0-1",
        [
            *subscribed("b", ("t", 0)),
            *opened(),
            send("a", "f000", P0),
            expect("b"),
            ("closed", "a", "ReservedType"),
            *kept("b"),
        ],
    )
    add(
        "half a message of a connection that broke is none",
        "4.3.1-1",
        [*subscribed("b", ("t", 0)), *opened(), send("a", P0[:-2]), ("lose", "a"), expect("b"), *kept("b")],
    )
    add(
        "a violation ends no other connection",
        "4.8.0-2 4.8.0-1",
        [
            *opened("a"),
            *opened("b"),
            send("a", "c100"),
            ("closed", "a", "ReservedFlags"),
            send("b", PINGREQ),
            expect("b", PINGRESP),
            *kept("b"),
        ],
    )


def wills():
    add = C.add

    def start(qos=0, retain=False, clean=True, keep_alive=0, payload="gone", wanted=2):
        how = dict(clean=clean, keep_alive=keep_alive, will=("w", hexed(payload), qos, retain))
        return [*subscribed("b", ("w", wanted)), *opened("a", **how)]

    gone = publish("w", "gone")
    for qos in range(3):
        got = publish("w", "gone", qos, pid="<x>")
        for retain in (False, True):
            late = [
                *opened("c"),
                send("c", subscribe(1, ("w", 2))),
                expect("c", suback(1, 2) + (publish("w", "gone", qos, True, pid="<y>") if retain else "")),
            ]
            keeps = "retained" if retain else "not retained"
            add(
                f"a will of QoS {qos}, {keeps}",
                f"3.1.2-8 3.1.2-{17 if retain else 16}",
                [*start(qos, retain), ("lose", "a"), expect("b", got), *late, *kept("b", "c")],
            )
    for clean in (True, False):
        add(
            f"a will is published when the connection breaks, clean session {int(clean)}",
            "3.1.2-8",
            [*start(clean=clean), ("lose", "a"), expect("b", gone), *kept("b")],
        )
    add(
        "a will is published after a violation",
        "3.1.2-8 4.8.0-1",
        [*start(), send("a", "f000"), ("closed", "a", "ReservedType"), expect("b", gone), *kept("b")],
    )
    add(
        "a will is published when another takes over",
        "3.1.2-8 3.1.4-2",
        [
            *start(),
            ("open", "c"),
            send("c", connect("a")),
            expect("c", OK),
            ("closed", "a", "TakenOver"),
            expect("b", gone),
            *kept("b", "c"),
        ],
    )
    add(
        "a will is published when the client falls silent",
        "3.1.2-8 3.1.2-24",
        [*start(keep_alive=2), ("wait", 3), ("closed", "a", "KeepAlive"), expect("b", gone), *kept("b")],
    )
    add(
        "a will is forgotten by DISCONNECT",
        "3.14.4-3 3.1.2-10",
        [*start(), send("a", DISCONNECT), ("closed", "a", "Disconnected"), expect("b"), *kept("b")],
    )
    add(
        "a will is forgotten by DISCONNECT of a session that is kept",
        "3.14.4-3 3.1.2-10",
        [
            *start(clean=False),
            send("a", DISCONNECT),
            ("closed", "a", "Disconnected"),
            *back("a"),
            ("lose", "a"),
            expect("b"),
            *kept("b"),
        ],
    )
    add(
        "a will is published once",
        "3.1.2-10 3.1.2-12",
        [*start(clean=False), ("lose", "a"), expect("b", gone), *back("a"), ("lose", "a"), expect("b"), *kept("b")],
    )
    add(
        "a malformed DISCONNECT does not forget the will",
        "3.14.1-1 3.1.2-8",
        [*start(), send("a", "e100"), ("closed", "a", "ReservedFlags"), expect("b", gone), *kept("b")],
    )
    add(
        "without a will nothing is published",
        "3.1.2-12",
        [*subscribed("b", ("#", 0)), *opened(), ("lose", "a"), expect("b"), *kept("b")],
    )
    add(
        "a will may be empty",
        "3.1.2-8 3.1.2-9",
        [*start(payload=""), ("lose", "a"), expect("b", publish("w")), *kept("b")],
    )
    add(
        "an empty retained will removes what is retained",
        "3.1.2-17 3.3.1-10",
        [
            *start(retain=True, payload=""),
            send("b", publish("w", "x", retain=True)),
            expect("b", publish("w", "x")),
            ("lose", "a"),
            expect("b", publish("w")),
            *opened("c"),
            send("c", subscribe(1, ("w", 0))),
            expect("c", suback(1, 0)),
            *kept("c"),
        ],
    )
    add(
        "a refused client leaves no will",
        "3.1.2-8 3.1.4-5",
        [
            *subscribed("b", ("w", 0)),
            ("open", "a"),
            send("a", connect("a", will=("w", "61", 0, False), level=5)),
            expect("a", connack(0, 1)),
            ("closed", "a", "ProtocolLevel"),
            expect("b"),
            *kept("b"),
        ],
    )
    add(
        "a will waits for who is away",
        "3.1.2-8 3.1.2-5",
        [
            *subscribed("b", ("w", 1), clean=False),
            ("lose", "b"),
            *opened("a", will=("w", hexed("gone"), 1, False)),
            ("lose", "a"),
            ("open", "b"),
            send("b", connect("b", False)),
            expect("b", connack(1), publish("w", "gone", 1, pid="<x>")),
            *kept("b"),
        ],
    )


def keep_alives():
    add = C.add
    add(
        "silence of one and a half times the keep-alive closes",
        "3.1.2-24",
        [*opened(keep_alive=10), ("wait", 14), *kept("a"), ("wait", 1), expect("a"), ("closed", "a", "KeepAlive")],
    )
    add(
        "PINGREQ is a sign of life",
        "3.1.2-24",
        [
            *opened(keep_alive=10),
            ("wait", 14),
            send("a", PINGREQ),
            expect("a", PINGRESP),
            ("wait", 14),
            *kept("a"),
            ("wait", 1),
            ("closed", "a", "KeepAlive"),
        ],
    )
    add(
        "any packet is a sign of life",
        "3.1.2-24",
        [
            *opened(keep_alive=10),
            ("wait", 14),
            send("a", P0),
            ("wait", 14),
            send("a", puback(9)),
            ("wait", 14),
            *kept("a"),
        ],
    )
    add(
        "what is sent to a client is no sign of life",
        "3.1.2-24",
        [
            *subscribed("a", ("t", 0), keep_alive=10),
            ("wait", 14),
            *opened("b"),
            send("b", P0),
            expect("a", P0),
            ("wait", 1),
            ("closed", "a", "KeepAlive"),
        ],
    )
    add("a keep-alive of 0 is none", "3.1.2-24", [*opened(keep_alive=0), ("wait", 100000), *kept("a")])
    add(
        "the longest keep-alive",
        "3.1.2-24",
        [*opened(keep_alive=65535), ("wait", 98302), *kept("a"), ("wait", 1), ("closed", "a", "KeepAlive")],
    )


def lasting():
    for part in (retained, sessions, wills, keep_alives):
        part()
