"""The cases for clients that receive messages."""

from client import C, again, flow, kept_session, opened, refused, told
from client_flows import P0, P1, came, put, went
from wire import PINGRESP, puback, pubcomp, publish, pubrec, pubrel


def receiving():
    flow("QoS 0 is not answered", "3.3.4-1 4.5.0-2", *opened(), came(P0), told("message t q0 78"), went())
    flow(
        "QoS 1 is answered by PUBACK",
        "3.3.4-1 4.3.2-2 2.3.1-6",
        *opened(),
        came(publish("t", "x", 1, pid=0x1234)),
        told("message t q1 #4660 78"),
        went(puback(0x1234)),
    )
    flow(
        "QoS 2 is answered by PUBREC, PUBREL by PUBCOMP",
        "3.3.4-1 4.3.3-2 2.3.1-6",
        *opened(),
        came(publish("t", "x", 2, pid=0xFFFF)),
        told("message t q2 #65535 78"),
        went(pubrec(0xFFFF)),
        came(pubrel(0xFFFF)),
        told(),
        went(pubcomp(0xFFFF)),
    )
    for qos in range(3):
        number, answer = ("", "") if qos == 0 else (" #5", puback(5) if qos == 1 else pubrec(5))
        flow(
            f"an empty payload at QoS {qos}",
            "3.3.4-1",
            *opened(),
            came(publish("t", "", qos, pid=5)),
            told(f"message t q{qos}{number}"),
            went(answer),
        )
        flow(
            f"a retained message at QoS {qos}",
            "3.3.1-8",
            *opened(),
            came(publish("t", "x", qos, True, pid=5)),
            told(f"message t q{qos}{number} retain 78"),
            went(answer),
        )
        flow(
            f"a message that no subscription asked for at QoS {qos}",
            "4.5.0-2",
            *opened(),
            came(publish("other", "x", qos, pid=5)),
            told(f"message other q{qos}{number} 78"),
            went(answer),
        )
        flow(
            f"a long payload at QoS {qos}",
            "3.3.4-1",
            *opened(),
            came(publish("t", "x" * 3000, qos, pid=5)),
            told(f"message t q{qos}{number} " + "78" * 3000),
            went(answer),
        )
    flow(
        "DUP does not make a duplicate",
        "4.3.2-2",
        *opened(),
        came(publish("t", "x", 1, dup=True, pid=5)),
        told("message t q1 #5 dup 78"),
        went(puback(5)),
        came(publish("t", "x", 1, dup=True, pid=5)),
        told("message t q1 #5 dup 78"),
        went(puback(5)),
    )
    q2, twice = publish("t", "x", 2, pid=5), publish("t", "x", 2, dup=True, pid=5)
    flow(
        "the same identifier at QoS 2 is the same message until PUBREL",
        "4.3.3-2",
        *opened(),
        came(q2),
        told("message t q2 #5 78"),
        went(pubrec(5)),
        came(twice),
        told(),
        went(pubrec(5)),
        came(q2),
        told(),
        went(pubrec(5)),
        came(pubrel(5)),
        went(pubcomp(5)),
        came(q2),
        told("message t q2 #5 78"),
        went(pubrec(5)),
    )
    flow(
        "QoS 2 is told once though the connection breaks",
        "4.3.3-2 4.1.0-1 3.1.2-4",
        *kept_session(),
        came(q2),
        told("message t q2 #5 78"),
        went(pubrec(5)),
        *again(),
        came(twice),
        told(),
        went(pubrec(5)),
        came(pubrel(5)),
        went(pubcomp(5)),
    )
    flow(
        "QoS 2: PUBREL comes over the next connection",
        "4.3.3-2",
        *kept_session(),
        came(q2),
        told("message t q2 #5 78"),
        went(pubrec(5)),
        *again(),
        came(pubrel(5)),
        told(),
        went(pubcomp(5)),
    )
    flow(
        "QoS 2 is a new message where the server lost the session",
        "3.1.2-6",
        *kept_session(),
        came(q2),
        told("message t q2 #5 78"),
        went(pubrec(5)),
        *again(present=0),
        came(q2),
        told("message t q2 #5 78"),
        went(pubrec(5)),
    )
    flow(
        "PUBREL again and PUBREL of nothing are answered",
        "4.3.3-2",
        *opened(),
        came(pubrel(5)),
        went(pubcomp(5)),
        came(pubrel(5)),
        went(pubcomp(5)),
        told(),
    )
    flow(
        "PUBACKs in the order of the PUBLISHes",
        "4.6.0-2",
        *opened(),
        came(*[publish("t", "", 1, pid=n) for n in (9, 3, 7)]),
        told(*[f"message t q1 #{n}" for n in (9, 3, 7)]),
        went(*[puback(n) for n in (9, 3, 7)]),
    )
    flow(
        "PUBRECs in the order of the PUBLISHes",
        "4.6.0-3",
        *opened(),
        came(*[publish("t", "", 2, pid=n) for n in (9, 3, 7)]),
        told(*[f"message t q2 #{n}" for n in (9, 3, 7)]),
        went(*[pubrec(n) for n in (9, 3, 7)]),
    )
    three = [
        came(*[publish("t", "", 1, pid=n) for n in (9, 3, 7)]),
        told(*[f"message t q1 #{n}" for n in (9, 3, 7)]),
        went(),
    ]
    flow(
        "PUBACKs keep their order whatever the application does",
        "4.6.0-2",
        *opened(),
        *three,
        ("acknowledge", 7),
        ("acknowledge", 3),
        went(),
        ("acknowledge", 9),
        went(puback(9), puback(3), puback(7)),
        manual_ack=True,
    )
    three = [
        came(*[publish("t", "", 2, pid=n) for n in (9, 3, 7)]),
        told(*[f"message t q2 #{n}" for n in (9, 3, 7)]),
        went(),
    ]
    flow(
        "PUBRECs keep their order whatever the application does",
        "4.6.0-3",
        *opened(),
        *three,
        ("acknowledge", 7),
        ("acknowledge", 3),
        went(),
        ("acknowledge", 9),
        went(pubrec(9), pubrec(3), pubrec(7)),
        manual_ack=True,
    )
    flow(
        "who acknowledges what is unknown is told",
        "4.3.2-2",
        *opened(),
        ("error", "UnknownId", ["acknowledge", 5]),
        went(),
        manual_ack=True,
    )
    held = [came(publish("t", "x", 1, pid=5)), told("message t q1 #5 78"), went()]
    flow(
        "a held message sent again by the server is told once",
        "4.3.2-2",
        *opened(),
        *held,
        came(publish("t", "x", 1, dup=True, pid=5)),
        told(),
        went(),
        ("acknowledge", 5),
        went(puback(5)),
        manual_ack=True,
    )
    C.add(
        "an identifier of a held message for another one closes",
        "2.3.1-4 4.8.0-1",
        [*opened(), *held, came(publish("u", "y", 1, pid=5)), told(), ("closed", "UnexpectedPacket")],
        manual_ack=True,
    )
    flow(
        "a held message of QoS 1 comes again after a reconnect",
        "4.4.0-1",
        *kept_session(),
        *held,
        *again(),
        came(publish("t", "x", 1, dup=True, pid=5)),
        told("message t q1 #5 dup 78"),
        ("acknowledge", 5),
        went(puback(5)),
        manual_ack=True,
    )
    hold2 = [came(q2), told("message t q2 #5 78"), went()]
    flow(
        "a held message of QoS 2 is told once",
        "4.3.3-2",
        *kept_session(),
        *hold2,
        *again(),
        came(twice),
        told(),
        went(),
        ("acknowledge", 5),
        went(pubrec(5)),
        manual_ack=True,
    )
    C.add(
        "PUBREL before PUBREC closes",
        "4.8.0-1",
        [*opened(), *hold2, came(pubrel(5)), told(), ("closed", "UnexpectedPacket")],
        manual_ack=True,
    )
    refused(
        "QoS 1 under the identifier of QoS 2 closes",
        "2.3.1-4 4.8.0-1",
        publish("t", "x", 1, pid=5),
        "UnexpectedPacket",
        [came(q2), told("message t q2 #5 78"), went(pubrec(5))],
    )
    flow(
        "both sides use the same identifier",
        "2.3.1-2",
        *opened(),
        put(1),
        went(P1),
        came(publish("t", "y", 1, pid="<x>")),
        told("message t q1 #<x> 79"),
        went(puback("<x>")),
        came(puback("<x>")),
        told("acknowledged <x>"),
    )
    flow(
        "half a message of a connection that broke does not count",
        "4.3.3-2",
        *kept_session(),
        came(q2[:-2]),
        told(),
        *again(),
        came(twice),
        told("message t q2 #5 dup 78"),
        went(pubrec(5)),
    )
    for n in range(1, 20, 3):
        whole = publish("t", "x" * 5, 1, pid=5) + PINGRESP + q2
        flow(
            f"packets in parts of {n} bytes",
            "7.1.2-1",
            *opened(),
            *[came(whole[i : i + 2 * n]) for i in range(0, len(whole), 2 * n)],
            told("message t q1 #5 " + "78" * 5, "message t q2 #5 78"),
            went(puback(5), pubrec(5)),
        )
