"""The cases for servers that take more than one packet: messages, acknowledgements, subscriptions."""

from server import C, opened
from wire import (
    PINGREQ,
    PINGRESP,
    connack,
    connect,
    puback,
    pubcomp,
    publish,
    pubrec,
    pubrel,
    suback,
    subscribe,
    unsuback,
    unsubscribe,
)


def subscribed(who, *filters, **how):
    codes = [qos for _, qos in filters]
    return [*opened(who, **how), ("send", who, subscribe(1, *filters)), ("expect", who, suback(1, *codes))]


def send(who, *what):
    return ("send", who, "".join(what))


def expect(who, *what):
    return ("expect", who, "".join(what))


def back(who, *then, present=1):
    """Comes back, and gets these."""
    return [("open", who), send(who, connect(who, False)), expect(who, connack(present), *then)]


def said(who, payload, qos, topic="t", retain=False):
    """Publishes, and gets the answers that are due."""
    what = publish(topic, payload, qos, retain, pid=5)
    if qos == 0:
        return [send(who, what)]
    if qos == 1:
        return [send(who, what), expect(who, puback(5))]
    return [send(who, what, pubrel(5)), expect(who, pubrec(5), pubcomp(5))]


def kept(*who):
    return [("kept", one) for one in who]


P0, P1, P2 = publish("t", "x"), publish("t", "x", 1, pid="<x>"), publish("t", "x", 2, pid="<x>")
R1, R2 = publish("t", "x", 1, dup=True, pid="<x>"), publish("t", "x", 2, dup=True, pid="<x>")


def inbound():
    add = C.add
    add("QoS 0 is not answered", "3.3.4-1 4.3.1-1", [*opened(), send("a", publish("t", "x")), expect("a"), *kept("a")])
    add(
        "QoS 1 is answered by PUBACK",
        "3.3.4-1 4.3.2-2 2.3.1-6",
        [*opened(), send("a", publish("t", "x", 1, pid=0x1234)), expect("a", puback(0x1234)), *kept("a")],
    )
    add(
        "QoS 2 is answered by PUBREC, PUBREL by PUBCOMP",
        "3.3.4-1 4.3.3-2 2.3.1-6",
        [
            *opened(),
            send("a", publish("t", "x", 2, pid=0xFFFF)),
            expect("a", pubrec(0xFFFF)),
            send("a", pubrel(0xFFFF)),
            expect("a", pubcomp(0xFFFF)),
            *kept("a"),
        ],
    )
    for qos, answer in ((0, ""), (1, puback(5)), (2, pubrec(5))):
        add(
            f"an empty payload at QoS {qos}",
            "3.3.4-1",
            [*opened(), send("a", publish("t", "", qos, pid=5)), expect("a", answer), *kept("a")],
        )
        add(
            f"DUP is not passed on at QoS {qos}",
            "3.3.1-3",
            [
                *subscribed("b", ("t", 0)),
                *opened(),
                send("a", publish("t", "x", qos, dup=qos > 0, pid=5)),
                expect("a", answer),
                expect("b", P0),
                *kept("a", "b"),
            ],
        )
        add(
            f"RETAIN is not passed on at QoS {qos}",
            "3.3.1-9",
            [
                *subscribed("b", ("t", 0)),
                *opened(),
                send("a", publish("t", "x", qos, True, pid=5)),
                expect("a", answer),
                expect("b", P0),
                *kept("a", "b"),
            ],
        )
    add(
        "an identifier may be used again after PUBACK",
        "4.3.2-2",
        [
            *subscribed("b", ("t", 0)),
            *opened(),
            send("a", publish("t", "x", 1, pid=5), publish("t", "x", 1, dup=True, pid=5)),
            expect("a", puback(5), puback(5)),
            expect("b", P0, P0),
            *kept("a"),
        ],
    )
    add(
        "the same identifier at QoS 2 is the same message until PUBREL",
        "4.3.3-2",
        [
            *subscribed("b", ("t", 0)),
            *opened(),
            send("a", publish("t", "x", 2, pid=5), publish("t", "x", 2, dup=True, pid=5), publish("t", "x", 2, pid=5)),
            expect("a", pubrec(5) * 3),
            expect("b", P0),
            send("a", pubrel(5)),
            expect("a", pubcomp(5)),
            send("a", publish("t", "x", 2, pid=5)),
            expect("a", pubrec(5)),
            expect("b", P0),
            *kept("a"),
        ],
    )
    add(
        "QoS 2 is not delivered twice after a reconnect",
        "4.3.3-2 4.1.0-1 3.1.2-4",
        [
            *subscribed("b", ("t", 0)),
            *opened("a", clean=False),
            send("a", publish("t", "x", 2, pid=5)),
            expect("a", pubrec(5)),
            expect("b", P0),
            ("lose", "a"),
            *back("a"),
            send("a", publish("t", "x", 2, dup=True, pid=5)),
            expect("a", pubrec(5)),
            expect("b"),
            send("a", pubrel(5)),
            expect("a", pubcomp(5)),
            *kept("a"),
        ],
    )
    add(
        "QoS 2 is a new message after a clean session",
        "3.1.2-6",
        [
            *subscribed("b", ("t", 0)),
            *opened("a", clean=False),
            send("a", publish("t", "x", 2, pid=5)),
            expect("a", pubrec(5)),
            expect("b", P0),
            ("lose", "a"),
            *opened("a"),
            send("a", publish("t", "x", 2, pid=5)),
            expect("a", pubrec(5)),
            expect("b", P0),
            *kept("a"),
        ],
    )
    add(
        "PUBREL again and PUBREL of nothing are answered",
        "4.3.3-2",
        [*opened(), send("a", pubrel(5), pubrel(5)), expect("a", pubcomp(5) * 2), *kept("a")],
    )
    for name, what, answer in (
        ("PUBACK", puback(5), ""),
        ("PUBREC", pubrec(5), pubrel(5)),
        ("PUBCOMP", pubcomp(5), ""),
    ):
        add(
            f"{name} that nobody asked for",
            "4.3.3-1" if name == "PUBREC" else "4.3.2-1",
            [*opened(), send("a", what), expect("a", answer), *kept("a")],
            note="The text does not call it a violation: a client may remember what a server has lost.",
        )
    add(
        "PUBACKs in the order of the PUBLISHes",
        "4.6.0-2",
        [
            *opened(),
            send("a", *[publish("t", "x", 1, pid=n) for n in (9, 3, 7, 1)]),
            expect("a", *[puback(n) for n in (9, 3, 7, 1)]),
        ],
    )
    add(
        "PUBRECs in the order of the PUBLISHes, PUBCOMPs in that of the PUBRELs",
        "4.6.0-3 4.6.0-4",
        [
            *opened(),
            send("a", *[publish("t", "x", 2, pid=n) for n in (9, 3, 7)]),
            expect("a", *[pubrec(n) for n in (9, 3, 7)]),
            send("a", pubrel(3), pubrel(9)),
            expect("a", pubcomp(3), pubcomp(9)),
            *kept("a"),
        ],
    )
    add(
        "PINGREQ is answered",
        "3.12.4-1",
        [*opened(), send("a", PINGREQ, PINGREQ), expect("a", PINGRESP * 2), *kept("a")],
    )
    for n in range(1, 24, 4):
        whole = publish("t", "x" * 5, 1, pid=5) + PINGREQ
        parts = [whole[i : i + 2 * n] for i in range(0, len(whole), 2 * n)]
        add(
            f"packets in parts of {n} bytes",
            "7.1.1-1 4.3.2-2",
            [*opened(), *[send("a", part) for part in parts], expect("a", puback(5), PINGRESP), *kept("a")],
        )


def outbound():
    add = C.add
    for granted in range(3):
        for qos in range(3):
            got = publish("t", "x", min(granted, qos), pid="<x>")
            answer = {0: "", 1: puback(5), 2: pubrec(5)}[qos]
            add(
                f"published at QoS {qos}, subscribed at {granted}",
                "3.8.4-6 2.3.1-4 2.3.1-5 4.5.0-1",
                [
                    *subscribed("b", ("t", granted)),
                    *opened(),
                    send("a", publish("t", "x", qos, pid=5)),
                    expect("a", answer),
                    expect("b", got),
                    *kept("a", "b"),
                ],
            )
    start = [*subscribed("b", ("t", 2), clean=False), *opened()]
    one, two = said("a", "x", 1), said("a", "x", 2)
    add(
        "QoS 1 to a client, acknowledged",
        "4.3.2-1 2.3.1-4",
        [*start, *one, expect("b", P1), send("b", puback("<x>")), ("lose", "b"), *back("b"), expect("b"), *kept("b")],
    )
    add(
        "QoS 1 not acknowledged is sent again",
        "4.4.0-1 3.3.1-1 4.3.2-1",
        [
            *start,
            *one,
            expect("b", P1),
            ("lose", "b"),
            *back("b", R1),
            send("b", puback("<x>")),
            expect("b"),
            *kept("b"),
        ],
    )
    add(
        "QoS 1 is not sent again over the same connection",
        "4.4.0-1",
        [*start, *one, expect("b", P1), ("wait", 60), expect("b"), *kept("b")],
    )
    add(
        "QoS 2 to a client, all four steps",
        "4.3.3-1 2.3.1-6 2.2.2-1",
        [
            *start,
            *two,
            expect("b", P2),
            send("b", pubrec("<x>")),
            expect("b", pubrel("<x>")),
            send("b", pubcomp("<x>")),
            ("lose", "b"),
            *back("b"),
            expect("b"),
            *kept("b"),
        ],
    )
    add(
        "QoS 2 without PUBREC is sent again",
        "4.4.0-1 3.3.1-1",
        [
            *start,
            *two,
            expect("b", P2),
            ("lose", "b"),
            *back("b", R2),
            send("b", pubrec("<x>")),
            expect("b", pubrel("<x>")),
            *kept("b"),
        ],
    )
    add(
        "QoS 2 after PUBREC is not sent again, but PUBREL",
        "4.3.3-1 4.4.0-1",
        [
            *start,
            *two,
            expect("b", P2),
            send("b", pubrec("<x>")),
            expect("b", pubrel("<x>")),
            ("lose", "b"),
            *back("b", pubrel("<x>")),
            send("b", pubcomp("<x>")),
            ("lose", "b"),
            *back("b"),
            expect("b"),
            *kept("b"),
        ],
    )
    add(
        "PUBREC again is answered again",
        "4.3.3-1",
        [
            *start,
            *two,
            expect("b", P2),
            send("b", pubrec("<x>"), pubrec("<x>")),
            expect("b", pubrel("<x>"), pubrel("<x>")),
            *kept("b"),
        ],
    )
    for name, first, ids, wrong in (
        ("PUBREC for QoS 1", one, P1, pubrec("<x>")),
        ("PUBCOMP for QoS 1", one, P1, pubcomp("<x>")),
        ("PUBACK for QoS 2", two, P2, puback("<x>")),
        ("PUBCOMP before PUBREC", two, P2, pubcomp("<x>")),
    ):
        add(
            f"{name} closes",
            "4.8.0-1",
            [*start, *first, expect("b", ids), send("b", wrong), expect("b"), ("closed", "b", "UnexpectedPacket")],
        )
    three = [step for n in range(3) for step in said("a", str(n), 1)]
    sent = [publish("t", str(n), 1, pid=f"<{n}>") for n in range(3)]
    again = [publish("t", str(n), 1, dup=True, pid=f"<{n}>") for n in range(3)]
    add("messages keep their order", "4.6.0-6 4.6.0-5", [*start, *three, expect("b", *sent), *kept("b")])
    add(
        "messages sent again keep their order",
        "4.6.0-1 4.4.0-1",
        [
            *start,
            *three,
            expect("b", *sent),
            send("b", puback("<1>")),
            ("lose", "b"),
            *back("b", again[0], again[2]),
            *kept("b"),
        ],
    )
    add(
        "PUBRELs in the order of the PUBRECs",
        "4.6.0-4",
        [
            *start,
            *[step for n in range(3) for step in said("a", str(n), 2)],
            expect("b", *[publish("t", str(n), 2, pid=f"<{n}>") for n in range(3)]),
            send("b", pubrec("<2>"), pubrec("<0>")),
            expect("b", pubrel("<2>"), pubrel("<0>")),
            *kept("b"),
        ],
    )
    add(
        "subscriptions that overlap: the highest QoS",
        "3.3.5-1",
        [
            *subscribed("b", ("t/#", 0), ("t/+", 2), ("t/a", 1)),
            *opened(),
            *said("a", "x", 2, "t/a"),
            expect("b", publish("t/a", "x", 2, pid="<x>")),
        ],
        note="A server may send a copy for each subscription instead.",
    )
    add(
        "a client gets its own messages",
        "4.5.0-1",
        [*subscribed("a", ("t", 0)), send("a", P0), expect("a", P0), *kept("a")],
    )
    add(
        "a dollar topic is the server's",
        "4.7.2-1 3.3.5-2",
        [
            *subscribed("b", ("#", 0), ("$x/#", 0)),
            *opened(),
            send("a", publish("$x/a", "x", 1, pid=5)),
            expect("a", puback(5)),
            expect("b"),
            *kept("a", "b"),
        ],
        note="4.7.2: a server SHOULD prevent that clients talk below $.",
    )


def subscriptions():
    add = C.add
    add(
        "SUBACK under the identifier of SUBSCRIBE",
        "3.8.4-1 3.8.4-2 2.3.1-7",
        [*opened(), send("a", subscribe(0xABCD, ("a", 1))), expect("a", suback(0xABCD, 1)), *kept("a")],
    )
    add(
        "one return code a filter, in their order",
        "3.8.4-4 3.8.4-5 3.9.3-1 3.9.3-2",
        [
            *opened(),
            send("a", subscribe(1, ("a", 2), ("b/+", 0), ("#", 1), ("d", 2))),
            expect("a", suback(1, 2, 0, 1, 2)),
            *kept("a"),
        ],
    )
    many = [(f"f/{n}", n % 3) for n in range(100)]
    add(
        "a hundred filters",
        "3.8.4-4 3.9.3-1",
        [
            *opened(),
            send("a", subscribe(1, *many)),
            expect("a", suback(1, *[qos for _, qos in many])),
            send("a", publish("f/99", "x")),
            expect("a", publish("f/99", "x")),
            *kept("a"),
        ],
    )
    add(
        "a filter again replaces its subscription",
        "3.8.4-3",
        [
            *subscribed("b", ("t", 2)),
            send("b", subscribe(2, ("t", 0))),
            expect("b", suback(2, 0)),
            *opened(),
            *said("a", "x", 2),
            expect("b", P0),
            *kept("b"),
        ],
    )
    add(
        "a filter twice in one SUBSCRIBE: the second counts",
        "3.8.4-4 3.8.4-3",
        [*subscribed("b", ("t", 2), ("t", 0)), *opened(), *said("a", "x", 2), expect("b", P0), *kept("b")],
    )
    twice = [(("t", 1), ("t", 0)), (("t", 0), ("t", 1)), (("t", 0), ("+", 0), ("t", 0))]
    for filters in twice:
        codes = [qos for _, qos in filters]
        got = [publish("t", "x", qos, retain=True, pid=f"<{n}>") for n, qos in enumerate(codes)]
        add(
            f"SUBSCRIBE to {', '.join(f'{topic} at {qos}' for topic, qos in filters)}: retained messages for each",
            "3.8.4-4 3.8.4-3 3.3.1-6",
            [
                *opened(),
                send("a", publish("t", "x", 1, True, pid=5)),
                expect("a", puback(5)),
                *opened("b"),
                send("b", subscribe(1, *filters)),
                ("answers", "b", [suback(1, *codes), *got]),
                *kept("b"),
            ],
            note="As if each filter came in a packet of its own, and the second of the same filter re-sends.",
        )
    add(
        "UNSUBACK under the identifier of UNSUBSCRIBE",
        "3.10.4-4 2.3.1-7",
        [*subscribed("a", ("a", 0)), send("a", unsubscribe(0xABCD, "a")), expect("a", unsuback(0xABCD)), *kept("a")],
    )
    add(
        "UNSUBSCRIBE of what is unknown is answered",
        "3.10.4-5",
        [*opened(), send("a", unsubscribe(3, "a")), expect("a", unsuback(3)), *kept("a")],
    )
    add(
        "an unsubscribed filter delivers no more",
        "3.10.4-2",
        [
            *subscribed("b", ("t", 0)),
            send("b", unsubscribe(3, "t")),
            expect("b", unsuback(3)),
            *opened(),
            send("a", P0),
            expect("b"),
            *kept("b"),
        ],
    )
    for other in ("#", "+", "T", "t/#", "t/", "/t"):
        add(
            f"UNSUBSCRIBE {other!r} leaves the subscription 't'",
            "3.10.4-1",
            [
                *subscribed("b", ("t", 0)),
                send("b", unsubscribe(3, other)),
                expect("b", unsuback(3)),
                *opened(),
                send("a", P0),
                expect("b", P0),
                *kept("b"),
            ],
        )
    add(
        "UNSUBSCRIBE of a wildcard ends exactly it",
        "3.10.4-1",
        [
            *subscribed("b", ("t/+", 0), ("t/#", 0)),
            send("b", unsubscribe(3, "t/+")),
            expect("b", unsuback(3)),
            *opened(),
            send("a", publish("t/a", "x")),
            expect("b", publish("t/a", "x")),
            *kept("b"),
        ],
    )
    add(
        "UNSUBSCRIBE of many is one answer",
        "3.10.4-6",
        [
            *subscribed("b", ("a", 0), ("b", 0), ("c", 0)),
            send("b", unsubscribe(3, "a", "x", "c")),
            expect("b", unsuback(3)),
            send("b", publish("a", "x"), publish("b", "x"), publish("c", "x")),
            expect("b", publish("b", "x")),
            *kept("b"),
        ],
    )
    for qos in (1, 2):
        out = publish("t", "x", qos, pid="<x>")
        end = (
            [send("b", puback("<x>"))]
            if qos == 1
            else [send("b", pubrec("<x>")), expect("b", pubrel("<x>")), send("b", pubcomp("<x>"))]
        )
        add(
            f"delivery begun at QoS {qos} is completed after UNSUBSCRIBE",
            "3.10.4-3",
            [
                *subscribed("b", ("t", qos), clean=False),
                *opened(),
                *said("a", "x", qos),
                expect("b", out),
                send("b", unsubscribe(3, "t")),
                expect("b", unsuback(3)),
                ("lose", "b"),
                *back("b", publish("t", "x", qos, dup=True, pid="<x>")),
                *end,
                expect("b"),
                *kept("b"),
            ],
        )


def flows():
    for part in (inbound, outbound, subscriptions):
        part()
