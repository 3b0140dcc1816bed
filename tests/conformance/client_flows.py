"""The cases for clients that take more than one packet: acknowledgements, sessions, keep-alive."""

from client import C, again, flow, kept_session, opened, opening, refused, sub, told
from wire import (
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    connack,
    connect,
    packet,
    puback,
    pubcomp,
    publish,
    pubrec,
    pubrel,
    string,
    suback,
    unsuback,
)

P0, P1, P2 = publish("t", "x"), publish("t", "x", 1, pid="<x>"), publish("t", "x", 2, pid="<x>")
R1, R2 = publish("t", "x", 1, dup=True, pid="<x>"), publish("t", "x", 2, dup=True, pid="<x>")


def put(qos, payload="78", name="t"):
    return ("publish", name, payload, qos, False)


def went(*packets):
    return ("out", "".join(packets))


def came(*packets):
    return ("in", "".join(packets))


def sending():
    flow("QoS 0 is sent once", "4.3.1-1", *kept_session(), put(0), went(P0), *again())
    flow(
        "QoS 1 until PUBACK",
        "4.3.2-1 2.3.1-3",
        *kept_session(),
        put(1),
        went(P1),
        came(puback("<x>")),
        told("acknowledged <x>"),
        *again(),
    )
    flow(
        "QoS 2 through all four steps",
        "4.3.3-1 2.3.1-6",
        *kept_session(),
        put(2),
        went(P2),
        came(pubrec("<x>")),
        told(),
        went(pubrel("<x>")),
        came(pubcomp("<x>")),
        told("acknowledged <x>"),
        *again(),
    )
    for present in (0, 1):
        flow(
            f"QoS 1 not acknowledged is sent again, session present {present}",
            "4.4.0-1 3.3.1-1 2.3.1-3",
            *kept_session(),
            put(1),
            went(P1),
            *again(R1, present=present),
            came(puback("<x>")),
            told("acknowledged <x>"),
        )
        flow(
            f"QoS 2 without PUBREC is sent again, session present {present}",
            "4.4.0-1 3.3.1-1",
            *kept_session(),
            put(2),
            went(P2),
            *again(R2, present=present),
            came(pubrec("<x>")),
            went(pubrel("<x>")),
        )
        flow(
            f"QoS 2 after PUBREC: PUBREL again, session present {present}",
            "4.3.3-1 4.4.0-1",
            *kept_session(),
            put(2),
            went(P2),
            came(pubrec("<x>")),
            went(pubrel("<x>")),
            *again(pubrel("<x>"), present=present),
            came(pubcomp("<x>")),
            told("acknowledged <x>"),
            *again(),
        )
    flow(
        "a third time, too",
        "4.4.0-1 3.3.1-1",
        *kept_session(),
        put(1),
        went(P1),
        *again(R1),
        *again(R1),
        came(puback("<x>")),
        told("acknowledged <x>"),
        *again(),
    )
    flow(
        "nothing is sent again over the same connection",
        "4.4.0-1",
        *kept_session(),
        put(1),
        put(2),
        went(P1, publish("t", "x", 2, pid="<y>")),
        ("wait", 3600000),
        went(),
    )
    flow(
        "PUBREC again is answered again",
        "4.3.3-1",
        *opened(),
        put(2),
        went(P2),
        came(pubrec("<x>")),
        went(pubrel("<x>")),
        came(pubrec("<x>")),
        went(pubrel("<x>")),
    )
    names = [f"<{n}>" for n in range(4)]
    puts = [put(1 + n % 2, f"3{n}") for n in range(4)]
    first = [publish("t", str(n), 1 + n % 2, pid=names[n]) for n in range(4)]
    second = [publish("t", str(n), 1 + n % 2, dup=True, pid=names[n]) for n in range(4)]
    flow(
        "messages sent again keep their order",
        "4.6.0-1 4.4.0-1",
        *kept_session(),
        *puts,
        went(*first),
        came(puback("<0>")),
        told("acknowledged <0>"),
        *again(*second[1:]),
    )
    flow(
        "PUBRELs in the order of the PUBRECs",
        "4.6.0-4",
        *kept_session(),
        *puts,
        went(*first),
        came(pubrec("<3>"), pubrec("<1>")),
        went(pubrel("<3>"), pubrel("<1>")),
        *again(second[0], second[2], pubrel("<3>"), pubrel("<1>")),
    )
    flow(
        "identifiers in flight are not used again",
        "2.3.1-2",
        *opened(),
        *[put(1, "", "t")] * 10,
        sub(("a", 0)),
        went(*[publish("t", "", 1, pid=f"<{n}>") for n in range(10)], packet(0x82, "<s>" + string("a") + "00")),
    )
    flow(
        "no session on the other side: what is ours is sent all the same",
        "4.4.0-1",
        *kept_session(),
        put(1),
        went(P1),
        ("lose",),
        *opened(0, clean=False),
        went(R1),
    )
    flow(
        "a clean session sends nothing again",
        "3.1.2-6",
        *kept_session(),
        put(1),
        put(2),
        went(P1, publish("t", "x", 2, pid="<y>")),
        ("lose",),
        *opened(),
        went(),
    )
    flow(
        "a clean session leaves nothing",
        "3.1.2-6",
        *opened(),
        put(1),
        went(P1),
        ("lose",),
        *opened(0, clean=False),
        went(),
    )
    for name, start, wrong in (
        ("PUBREC for QoS 1", [put(1), went(P1)], pubrec("<x>")),
        ("PUBCOMP for QoS 1", [put(1), went(P1)], pubcomp("<x>")),
        ("SUBACK for QoS 1", [put(1), went(P1)], packet(0x90, "<x>00")),
        ("UNSUBACK for QoS 1", [put(1), went(P1)], unsuback("<x>")),
        ("PUBACK for QoS 2", [put(2), went(P2)], puback("<x>")),
        ("PUBCOMP before PUBREC", [put(2), went(P2)], pubcomp("<x>")),
        ("PUBACK after PUBREC", [put(2), went(P2), came(pubrec("<x>")), went(pubrel("<x>"))], puback("<x>")),
        ("UNSUBACK for SUBSCRIBE", [sub(("a", 0)), went(packet(0x82, "<x>" + string("a") + "00"))], unsuback("<x>")),
        ("PUBACK for SUBSCRIBE", [sub(("a", 0)), went(packet(0x82, "<x>" + string("a") + "00"))], puback("<x>")),
        (
            "SUBACK for UNSUBSCRIBE",
            [("unsubscribe", ["a"]), went(packet(0xA2, "<x>" + string("a")))],
            packet(0x90, "<x>00"),
        ),
    ):
        refused(f"{name} closes", "4.8.0-1", wrong, "UnexpectedPacket", start)
    for name, what, answer in (
        ("PUBACK", puback(9), ""),
        ("PUBREC", pubrec(9), pubrel(9)),
        ("PUBCOMP", pubcomp(9), ""),
        ("SUBACK", suback(9, 0), ""),
        ("UNSUBACK", unsuback(9), ""),
        ("PINGRESP", PINGRESP, ""),
    ):
        flow(
            f"{name} that nobody asked for",
            "4.3.3-1" if name == "PUBREC" else "4.8.0-1",
            *opened(),
            came(what),
            told(),
            went(answer),
            note="The text does not call it a violation: a server may go on with a session that the client lost.",
        )
    flow(
        "nothing is sent before CONNACK",
        "3.1.0-1",
        *opening(),
        put(1),
        put(0),
        sub(("a", 0)),
        went(),
        came(connack()),
        told("connected 0"),
        went(P1, P0, packet(0x82, "<s>" + string("a") + "00")),
    )


def subscriptions():
    asked = [sub(("a", 2), ("b", 1)), went(packet(0x82, "<s>" + string("a") + "02" + string("b") + "01"))]
    for codes in ("0201", "0000", "8080", "0280"):
        flow(
            f"SUBACK {codes}",
            "2.3.1-7 3.8.4-5 3.9.3-1",
            *opened(),
            *asked,
            came(packet(0x90, "<s>" + codes)),
            told(f"subscribed <s> {codes}"),
        )
    flow(
        "SUBSCRIBE not answered is sent again",
        "2.3.1-3",
        *kept_session(),
        *asked,
        *again(packet(0x82, "<s>" + string("a") + "02" + string("b") + "01")),
    )
    flow(
        "PUBLISH before SUBACK",
        "3.8.4-3",
        *opened(),
        *asked,
        came(publish("a", "x")),
        told("message a q0 78"),
        came(packet(0x90, "<s>0201")),
        told("subscribed <s> 0201"),
    )
    flow(
        "UNSUBACK",
        "2.3.1-7 3.10.4-4",
        *opened(),
        ("unsubscribe", ["a"]),
        went(packet(0xA2, "<s>" + string("a"))),
        came(unsuback("<s>")),
        told("unsubscribed <s>"),
    )
    flow(
        "PUBLISH while UNSUBSCRIBE is on its way",
        "4.5.0-2",
        *opened(),
        ("unsubscribe", ["a"]),
        went(packet(0xA2, "<s>" + string("a"))),
        came(publish("a", "x", 1, pid=5)),
        told("message a q1 #5 78"),
        went(puback(5)),
    )


def keep_alives():
    flow(
        "PINGREQ before the keep-alive is over",
        "3.1.2-23",
        *opened(keep_alive=10),
        ("wait", 10000),
        went(PINGREQ),
        came(PINGRESP),
        ("wait", 10000),
        went(PINGREQ),
    )
    flow(
        "no PINGREQ while packets are sent",
        "3.1.2-23",
        *opened(keep_alive=10),
        ("wait", 5000),
        put(1),
        went(P1),
        came(puback("<x>")),
        told("acknowledged <x>"),
        ("wait", 5000),
        went(),
    )
    flow(
        "one PINGREQ at a time",
        "3.1.2-23",
        *opened(keep_alive=100),
        ("wait", 100000),
        went(PINGREQ),
        ("wait", 1000),
        went(),
    )
    flow("no keep-alive, no PINGREQ", "3.1.2-23", *opened(keep_alive=0), ("wait", 100000000), went())
    C.add(
        "no PINGRESP comes",
        "3.1.2-23",
        [
            *opened(keep_alive=100),
            ("wait", 100000),
            went(PINGREQ),
            ("wait", 9999),
            ("kept",),
            ("wait", 1),
            told("closed KeepAlive"),
            ("closed", "KeepAlive"),
        ],
    )
    C.add(
        "other packets instead of PINGRESP",
        "3.1.2-23",
        [
            *opened(keep_alive=100),
            ("wait", 100000),
            went(PINGREQ),
            ("wait", 9999),
            came(publish("a", "x")),
            told("message a q0 78"),
            ("kept",),
            ("wait", 1),
            told("closed KeepAlive"),
            ("closed", "KeepAlive"),
        ],
    )
    flow(
        "the keep-alive counts from CONNECT",
        "3.1.2-23",
        *opening(keep_alive=2),
        ("wait", 3000),
        came(connack()),
        told("connected 0"),
        went(PINGREQ),
    )
    for n in (1, 2, 60, 65535):
        flow(f"a keep-alive of {n} is kept", "3.1.2-23", *opened(keep_alive=n), ("wait", 1000 * n), went(PINGREQ))
    C.add(
        "DISCONNECT after what is queued",
        "3.14.4-2",
        [
            *kept_session(),
            put(0),
            put(1),
            ("disconnect",),
            went(P0, P1, DISCONNECT),
            told("closed Requested"),
            ("closed", "Requested"),
        ],
    )
    flow(
        "a session outlives DISCONNECT",
        "3.1.2-4 4.4.0-1",
        *kept_session(),
        put(1),
        went(P1),
        ("disconnect",),
        went(DISCONNECT),
        told("closed Requested"),
        *opened(1, clean=False),
        went(R1),
    )
    C.add(
        "a refused client keeps its session",
        "3.2.2-5 3.1.2-4",
        [
            *kept_session(),
            put(1),
            went(P1),
            ("lose",),
            ("connect", {"clean": False}),
            went(connect(clean=False)),
            came(connack(0, 3)),
            told("refused 3"),
            ("closed", "Refused"),
            *opened(1, clean=False),
            went(R1),
            ("kept",),
        ],
    )


def flows():
    for part in (sending, subscriptions, keep_alives):
        part()
