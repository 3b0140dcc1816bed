"""Our client against brokers that others wrote, mosquitto, RabbitMQ and NATS, and against ours."""

from __future__ import annotations

import itertools

import pytest
from brokers import Server
from conftest import TARGET, execute, make_image
from links import Link

from waft import mqtt

_names = itertools.count()


def name(what: str) -> str:
    """A topic or client identifier that no other test has: the brokers serve them all."""
    return f"{what}{next(_names)}"


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_comes_back_at_the_qos_it_was_sent_with(server: Server, qos: int) -> None:
    topic = name("round")
    with Link(server.port, name("c")) as link:
        assert link.connect() is False
        assert link.subscribe((f"{topic}/+", qos)) == [server.up_to(qos)]
        for payload in (b"", b"x", bytes(range(256)) * 4):
            link.publish(f"{topic}/a", payload, server.up_to(qos))
            publish, got = link.next_message()
            assert (publish.topic, got, publish.qos, publish.retain) == (f"{topic}/a", payload, server.up_to(qos), False)
        link.run("the end of the last handshake", lambda: link.client.in_flight == 0)
        link.close()


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_many_messages_come_in_order(server: Server, qos: int) -> None:
    topic, qos = name("order"), server.up_to(qos)
    with Link(server.port, name("c")) as link:
        link.connect()
        link.subscribe((topic, qos))
        for n in range(200):
            while link.client.in_flight > 10:
                link.turn(1)
            link.client.publish(link.now(), topic, str(n).encode(), qos)
            link.drain()
        link.run("200 messages", lambda: len(link.messages) == 200)
        assert [int(payload) for _, payload in link.messages] == list(range(200))
        link.run("all acknowledgements", lambda: link.client.in_flight == 0)


def test_what_is_retained_is_found_and_can_be_cleared(server: Server) -> None:
    topic = name("kept")
    with Link(server.port, name("c")) as link:
        link.connect()
        link.publish(f"{topic}/a", b"old", 1, True)
        link.publish(f"{topic}/a", b"new", 1, True)
        link.subscribe((f"{topic}/a", 1))
        publish, payload = link.next_message()
        assert (publish.retain, publish.qos, payload) == (True, 1, b"new")
        link.close()
    with Link(server.port, name("c")) as link:
        link.connect()
        link.subscribe((f"{topic}/#", 0))
        if server.wildcards_find_retained:
            publish, payload = link.next_message()
            assert (publish.retain, publish.qos, payload) == (True, 0, b"new")
        link.publish(f"{topic}/a", b"", 1, True)
        assert link.next_message()[0].retain is False
        link.subscribe((f"{topic}/a", 1))
        link.rest(0.3)
        assert link.messages == []


def test_the_will_comes_when_the_stream_breaks_and_not_when_it_is_closed(server: Server) -> None:
    topic = name("will")
    with Link(server.port, name("heir")) as heir, Link(server.port, name("testator")) as testator:
        heir.connect()
        heir.subscribe((f"{topic}/+", 1))
        testator.connect(will=mqtt.Will(f"{topic}/gone", b"adieu", 1, True))
        testator.close()
        heir.rest(0.3)
        assert heir.messages == []
        testator.connect(will=mqtt.Will(f"{topic}/gone", b"adieu", 1, True))
        testator.cut()
        publish, payload = heir.next_message()
        assert (publish.topic, publish.qos, publish.retain, payload) == (f"{topic}/gone", 1, False, b"adieu")


def test_a_session_waits_for_its_client(server: Server) -> None:
    topic, sleeper = name("night"), name("sleeper")
    with Link(server.port, sleeper, clean=False) as link, Link(server.port, name("c")) as other:
        assert link.connect() is False
        link.subscribe((topic, server.up_to(2)))
        link.close()
        other.connect()
        other.rest(server.leave_taking)
        for n in range(5):
            other.publish(topic, str(n).encode(), server.up_to(1 + n % 2))
        assert link.connect() is True
        arrived = [link.next_message() for _ in range(5)]
        assert sorted(payload for _, payload in arrived) == [b"0", b"1", b"2", b"3", b"4"]
        # Only what was sent before and comes again may be out of its place.
        placed = [payload for publish, payload in arrived if server.keeps_its_place or not publish.dup]
        assert placed == sorted(placed)
        link.run("all acknowledgements", lambda: link.client.in_flight == 0)
        link.close()
    with Link(server.port, sleeper) as link:
        assert link.connect() is False, "a clean session follows none"
        link.close()


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_large_payload_passes_both_ways(server: Server, qos: int) -> None:
    topic, payload = name("large"), make_image(700_001)
    with Link(server.port, name("c")) as link:
        link.connect()
        link.subscribe((topic, 2))
        link.publish(topic, payload, server.up_to(qos))
        assert link.next_message()[1] == payload
        link.publish(topic, b"after", 0)
        assert link.next_message()[1] == b"after"


@pytest.mark.parametrize("qos", [1, 2])
def test_what_is_not_acknowledged_comes_again_after_the_stream_broke(server: Server, qos: int) -> None:
    topic, qos = name("again"), server.up_to(qos)
    with Link(server.port, name("r"), clean=False, manual_ack=True) as link, Link(server.port, name("s")) as other:
        link.connect()
        link.subscribe((topic, qos))
        other.connect()
        other.publish(topic, b"once", qos)
        first, payload = link.next_message()
        assert payload == b"once" and first.qos == qos and first.id is not None
        link.cut()
        if qos == 2:
            # It is told once only; its handshake goes on when it is safe.
            link.client.acknowledge(link.now(), first.id)
            assert link.connect() is True
        else:
            assert link.connect() is True
            again, payload = link.next_message()
            assert (payload, again.dup) == (b"once", True)
            assert again.id is not None
            link.client.acknowledge(link.now(), again.id)
        link.run("the end of the handshake", lambda: link.client.in_flight == 0)
        link.rest(0.2)
        link.cut()
        assert link.connect() is True
        link.rest(1.5 if server.name == "NATS" else 0.3)
        assert link.messages == []


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("sent", [0, 1, 12, 10_000])
def test_what_was_published_into_a_breaking_stream_arrives(server: Server, qos: int, sent: int) -> None:
    """The stream breaks after so many bytes of the PUBLISH; with all of them sent, before the answer is read."""
    topic, qos = name("cut"), server.up_to(qos)
    with Link(server.port, name("p"), clean=False) as link, Link(server.port, name("r")) as reader:
        reader.connect()
        reader.subscribe((topic, qos))
        link.connect()
        number = link.client.publish(link.now(), topic, b"precious", qos)
        link.drain(at_most=sent)
        link.cut()
        link.connect()
        assert link.wait(mqtt.Acknowledged) == mqtt.Acknowledged(number)
        assert reader.next_message()[1] == b"precious"
        reader.rest(0.2)
        copies = 1 + len(reader.messages)
        assert copies == 1 or (qos == 1 and copies == 2 and sent == 10_000)


def test_subscriptions_end(server: Server) -> None:
    topic = name("end")
    with Link(server.port, name("c")) as link:
        link.connect()
        link.subscribe((f"{topic}/1", 1), (f"{topic}/2", 1))
        number = link.client.unsubscribe(link.now(), [f"{topic}/1"])
        assert link.wait(mqtt.Unsubscribed) == mqtt.Unsubscribed(number)
        link.publish(f"{topic}/1", b"unheard", 1)
        link.publish(f"{topic}/2", b"heard", 1)
        assert link.next_message()[1] == b"heard"
        assert link.messages == []


def test_a_silent_connection_is_kept_alive(server: Server) -> None:
    with Link(server.port, name("c")) as link:
        link.connect(keep_alive=1)
        link.rest(2.6)
        assert link.client.is_connected
        link.close()


async def test_our_client_in_rust_does_all_of_that_too(server: Server) -> None:
    path = TARGET / "debug/waft-interop"
    if not path.is_file():
        pytest.fail(f"{path} is not built: cargo build -p waft-interop", pytrace=False)
    patience = "1500" if server.name == "NATS" else "300"
    code, out, err = await execute(path, "--broker", server.address, "--qos", str(server.qos), "--patience", patience)
    assert code == 0, (out.decode(), err)
    assert out.count(b": passed\n") == 9
