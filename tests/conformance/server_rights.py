"""The cases for servers about who is let in and to what: the host's answer, rights by topic, client identifiers."""

from server import C, opened
from server_flows import expect, kept, send
from wire import (
    PINGREQ,
    PINGRESP,
    connack,
    connect,
    hexed,
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

ASKS = {"ask_host": True}
REFUSALS = {
    2: "IdentifierRejected",
    3: "ServerUnavailable",
    4: "BadUserNameOrPassword",
    5: "NotAuthorized",
}


def knocks(who, *behind, **how):
    """CONNECT, and what comes with it, of which the host hears and nobody else does."""
    how = {"client": who, **how}
    user, password = how.get("user"), how.get("password")
    return [
        ("open", who),
        send(who, connect(**how), *behind),
        ("asked", who, how["client"], user, password),
        expect(who),
        ("kept", who),
    ]


def let_in(who, *then, present=0, **how):
    return [*knocks(who, **how), ("allow", who), expect(who, connack(present), *then), ("kept", who)]


def the_hosts_answer():
    def add(name, ids, steps, note=None):
        C.add(f"host: {name}", ids, steps, broker=ASKS, **({"note": note} if note else {}))

    add("lets in, and only then is CONNACK sent", "3.1.4-4 3.2.0-1", let_in("a", user="u", password="7077"))
    add("hears of no name and no password", "3.1.4-4", let_in("a"))
    add("hears of a name without a password", "3.1.4-4", let_in("a", user="u"))
    add("hears of a password that is empty", "3.1.4-4", let_in("a", user="", password=""))
    for code, reason in REFUSALS.items():
        add(
            f"refuses by return code {code}",
            "3.2.2-4 3.2.2-5 3.1.4-1",
            [*knocks("a", user="u"), ("deny", "a", code), expect("a", connack(0, code)), ("closed", "a", reason)],
        )
    add(
        "gives no answer: server unavailable",
        "3.2.2-5",
        [*knocks("a"), ("wait", 9), ("kept", "a"), ("wait", 1), expect("a", connack(0, 3)), ("closed", "a", "ConnectTimeout")],
    )
    add(
        "is not asked about a level that there is not",
        "3.1.2-2",
        [("open", "a"), send("a", connect("a", level=5)), expect("a", connack(0, 1)), ("closed", "a", "ProtocolLevel")],
    )
    behind = [subscribe(1, ("t", 0)), publish("t", "x", 1, pid=5), PINGREQ]
    add(
        "lets in: what came behind CONNECT waited, and counts",
        "3.1.4-5 3.1.4-4",
        [
            *knocks("a", *behind),
            ("allow", "a"),
            ("answers", "a", [connack(), suback(1, 0), publish("t", "x"), puback(5), PINGRESP]),
            *kept("a"),
        ],
    )
    add(
        "refuses: what came behind CONNECT counts for nothing",
        "3.1.4-5",
        [
            *knocks("a", publish("t", "x", 0, True)),
            ("deny", "a", 5),
            expect("a", connack(0, 5)),
            ("closed", "a", "NotAuthorized"),
            *let_in("b"),
            send("b", subscribe(1, ("#", 0))),
            expect("b", suback(1, 0)),
        ],
    )
    watched = [*let_in("b"), send("b", subscribe(1, ("w", 0))), expect("b", suback(1, 0))]
    will = {"will": ("w", "61", 0, False)}
    add(
        "refuses: there is no will",
        "3.1.2-8",
        [*watched, *knocks("a", **will), ("deny", "a", 4), expect("a", connack(0, 4)), ("closed", "a", REFUSALS[4]), expect("b")],
    )
    add(
        "has not answered when the client goes: there is no will",
        "3.1.2-8",
        [*watched, *knocks("a", **will), ("lose", "a"), ("allow", "a"), expect("b"), *kept("b")],
    )
    add("lets in: there is a will", "3.1.2-8", [*watched, *let_in("a", **will), ("lose", "a"), expect("b", publish("w", "a"))])
    add(
        "refuses: nobody loses a connection to who is not let in",
        "3.1.4-2",
        [
            *let_in("a", client="x"),
            *knocks("b", client="x"),
            ("deny", "b", 5),
            expect("b", connack(0, 5)),
            ("closed", "b", "NotAuthorized"),
            send("a", PINGREQ),
            expect("a", PINGRESP),
            *kept("a"),
        ],
    )
    add(
        "lets in: the client of that identifier who was there is disconnected",
        "3.1.4-2",
        [*let_in("a", client="x"), *knocks("b", client="x"), ("kept", "a"), ("allow", "b"), ("closed", "a", "TakenOver"), expect("b", connack())],
    )
    add(
        "refuses: a session is not ended by who is not let in",
        "3.1.2-6 3.1.2-4",
        [
            *let_in("a", clean=False),
            send("a", subscribe(1, ("t", 1))),
            expect("a", suback(1, 1)),
            ("lose", "a"),
            *knocks("b", client="a"),
            ("deny", "b", 5),
            expect("b", connack(0, 5)),
            ("closed", "b", "NotAuthorized"),
            *let_in("a", clean=False, present=1),
            send("a", publish("t", "x", 1, pid=5)),
            ("answers", "a", [puback(5), publish("t", "x", 1, pid="<x>")]),
        ],
        note="answers: the first is PUBACK or not by the server's choice; ours acknowledges first.",
    )


READER = "topic read #\ntopic write open\ntopic deny closed/#"


def rights():
    def add(name, ids, steps, acl=READER, **more):
        C.add(f"rights: {name}", ids, steps, broker={"acl": acl}, **more)

    listens = [*opened("b"), send("b", subscribe(1, ("#", 2))), expect("b", suback(1, 2))]
    for qos, answer in ((0, ""), (1, puback(5)), (2, pubrec(5))):
        add(
            f"PUBLISH of QoS {qos} that may not be is acknowledged, and goes nowhere",
            "3.3.5-2 3.3.4-1",
            [
                *listens,
                *opened(),
                send("a", publish("t", "x", qos, True, pid=5)),
                expect("a", answer),
                expect("b"),
                *kept("a", "b"),
                *opened("c"),
                send("c", subscribe(1, ("#", 2))),
                expect("c", suback(1, 2)),
            ],
            note="A server may close the connection instead.",
        )
        got = publish("open", "x", min(qos, 2), pid="<x>")
        done = [send("a", pubrel(5)), expect("a", pubcomp(5))] if qos == 2 else []
        add(
            f"PUBLISH of QoS {qos} that may be is passed on",
            "3.3.5-1 4.5.0-1",
            [*listens, *opened(), send("a", publish("open", "x", qos, pid=5)), expect("a", answer), *done, expect("b", got), *kept("a", "b")],
        )
    add(
        "PUBLISH of QoS 2 that may not be is completed, and its identifier is free",
        "3.3.5-2 4.3.3-2",
        [
            *listens,
            *opened(),
            send("a", publish("t", "x", 2, pid=5), publish("t", "x", 2, dup=True, pid=5)),
            expect("a", pubrec(5) * 2),
            send("a", pubrel(5)),
            expect("a", pubcomp(5)),
            send("a", publish("open", "x", 2, pid=5)),
            expect("a", pubrec(5)),
            send("a", pubrel(5)),
            expect("a", pubcomp(5)),
            expect("b", publish("open", "x", 2, pid="<x>")),
            *kept("a"),
        ],
    )
    for topic in ("closed", "closed/a", "closed/+", "closed/#"):
        add(
            f"SUBSCRIBE to {topic!r}, of which nothing may be read, fails",
            "3.8.4-5 3.9.3-2",
            [*opened(), send("a", subscribe(7, (topic, 1))), expect("a", suback(7, 0x80)), *kept("a")],
        )
    add(
        "SUBSCRIBE of several: each has its own answer",
        "3.8.4-4 3.8.4-5 3.9.3-1",
        [
            *opened(),
            send("a", subscribe(7, ("open", 2), ("closed/a", 2), ("t", 1))),
            expect("a", suback(7, 2, 0x80, 1)),
            send("a", unsubscribe(8, "closed/a", "t")),
            expect("a", unsuback(8)),
            *kept("a"),
        ],
    )
    add(
        "SUBSCRIBE that reaches further than the rights: what may be read arrives",
        "3.8.4-5 3.3.2-3",
        [
            *opened("b"),
            send("b", publish("a", "1", 0, True), publish("closed/a", "2", 0, True)),
            *opened("a"),
            send("a", subscribe(7, ("#", 0))),
            expect("a", suback(7, 0), publish("a", "1", retain=True)),
            send("b", publish("closed/a", "3"), publish("a", "4")),
            expect("a", publish("a", "4")),
            *kept("a"),
        ],
        "topic write #\ntopic read a",
    )
    add(
        "a will that may not be published is refused with its CONNECT",
        "3.2.2-5 3.1.4-1",
        [("open", "a"), send("a", connect("a", will=("t", "61", 0, False))), expect("a", connack(0, 5)), ("closed", "a", "NotAuthorized")],
        note="A server may let the client in, and not publish the will.",
    )
    add(
        "a will that may be published is",
        "3.1.2-8",
        [*listens, *opened("a", will=("open", "61", 0, False)), ("lose", "a"), expect("b", publish("open", "a"))],
    )
    own = "pattern of/%c\npattern %c/own\ntopic read public"
    add(
        "a pattern is the client's own level",
        "3.3.5-2",
        [
            *opened("b"),
            send("b", subscribe(1, ("of/b", 0), ("of/a", 0), ("b/own", 0), ("a/own", 0))),
            expect("b", suback(1, 0, 0x80, 0, 0x80)),
            send("b", publish("of/b", "1"), publish("of/a", "2"), publish("b/own", "3")),
            expect("b", publish("of/b", "1"), publish("b/own", "3")),
            *kept("b"),
        ],
        own,
    )
    for client in ("+", "#", "b/c", "a+", "a#b", "/", "of/+"):
        add(
            f"a pattern gives nothing to the identifier {client!r}",
            "3.3.5-2 4.7.1-1",
            [
                *opened("b"),
                send("b", subscribe(1, ("of/b", 0), ("b/own", 0))),
                expect("b", suback(1, 0, 0)),
                *opened("a", client=client),
                send("a", subscribe(1, ("of/+", 0), ("of/b", 0), ("+/own", 0), ("#", 0))),
                expect("a", suback(1, 0x80, 0x80, 0x80, 0)),
                send("a", publish("of/b", "x"), publish("b/own", "x"), publish(f"of/{client}".replace("+", "p").replace("#", "h"), "x")),
                expect("b"),
                *kept("a", "b"),
            ],
            own,
        )
    add(
        "nobody becomes the server by the identifier '$SYS'",
        "4.7.2-1",
        [*opened("a", client="$SYS"), send("a", subscribe(1, ("$SYS/#", 0), ("$SYS/own", 0))), expect("a", suback(1, 0x80, 0x80)), *kept("a")],
        own,
    )
    who = "user u\ntopic read #\nuser v\ntopic read open\nuser w\ntopic write #"
    add(
        "who takes up a session under another name gets what that one may read",
        "3.1.3-2 4.4.0-1",
        [
            *opened("a", clean=False, user="u"),
            send("a", subscribe(1, ("#", 1))),
            expect("a", suback(1, 1)),
            ("lose", "a"),
            *opened("b", user="w"),
            send("b", publish("t", "x", 1, pid=5), publish("open", "y", 1, pid=6)),
            expect("b", puback(5), puback(6)),
            ("open", "a"),
            send("a", connect("a", clean=False, user="v")),
            expect("a", connack(1), publish("open", "y", 1, pid="<y>")),
            send("b", publish("t", "x"), publish("open", "z")),
            expect("a", publish("open", "z")),
            *kept("a"),
        ],
        who,
    )


def identifiers():
    def add(name, bound, client, accepted):
        end = [expect("a", connack()), ("kept", "a")] if accepted else [expect("a", connack(0, 2)), ("closed", "a", "IdentifierRejected")]
        ids = "3.1.3-5" if accepted else "3.1.3-9 3.2.2-5"
        C.add(f"client identifier of {name}", ids, [("open", "a"), send("a", connect(client)), *end], broker={"max_client_id": bound})

    for bound in (23, 1_024):
        for length in (bound - 1, bound, bound + 1):
            add(f"{length:,} bytes where {bound:,} are allowed", bound, "a" * length, length <= bound)
        add(f"{bound + 1:,} bytes and fewer characters where {bound:,} are allowed", bound, "a" * (bound - 1) + "\u00e4", False)
    C.add(
        "client identifier too long: neither session nor will",
        "3.1.3-9 3.1.4-5",
        [
            *opened("b"),
            send("b", subscribe(1, ("#", 0))),
            expect("b", suback(1, 0)),
            ("open", "a"),
            send("a", connect("a" * 24, will=("w", hexed("gone"), 0, True)), publish("t", "x")),
            expect("a", connack(0, 2)),
            ("closed", "a", "IdentifierRejected"),
            expect("b"),
            *kept("b"),
        ],
        broker={"max_client_id": 23},
    )
    C.add(
        "client identifier too long: the host is not asked",
        "3.1.3-9",
        [("open", "a"), send("a", connect("a" * 24)), expect("a", connack(0, 2)), ("closed", "a", "IdentifierRejected")],
        broker={"max_client_id": 23, **ASKS},
    )
    C.add(
        "client identifier of 65,535 bytes: CONNECT itself is too long",
        "4.8.0-1",
        [("open", "a"), send("a", connect("a" * 65_535)), expect("a"), ("closed", "a", "PacketTooLarge")],
        broker={"max_connect": 16_384},
    )


def who():
    the_hosts_answer()
    rights()
    identifiers()
