"""waft.testing: virtual time, links, scripts, servers and fixtures."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE

import waft
from waft import coap, mqtt
from waft.aio.mqtt import MqttClient, MqttError
from waft.testing import RUDE_SERVERS, BenchBroker, Link, Pair, RudeServer, Script, StreamPair

pytest_plugins = ["pytester"]


def ping(link: Link) -> tuple[Pair[coap.Endpoint, coap.Endpoint], list[Any]]:
    pair = Pair(coap.Endpoint(seed=1), coap.Endpoint(seed=2), link=link)
    pair.left.request(0, 0, coap.Code.GET, "/")
    pair.run(300)
    return pair, pair.told[1]


def test_time_jumps_to_where_something_happens() -> None:
    pair, _ = ping(Link(loss=1.0))
    assert pair.now == 300_000_000
    # A request and four retransmissions (RFC 7252 §4.8).
    assert (pair.link.sent, pair.link.lost) == (5, 5)
    assert pair.told == ([coap.Failed(pair.told[0][0].exchange, "Timeout")], [])


def test_a_delay_takes_its_time_and_no_more() -> None:
    pair = Pair(coap.Endpoint(), Script(), link=Link(delay=0.25))
    pair.left.request(0, 0, coap.Code.GET, "/")
    assert pair.run_until(lambda: pair.right.received != b"")
    assert pair.now == 250_000
    assert not pair.run_until(lambda: False, 0.5)
    assert pair.now == 750_000


def test_the_same_seed_gives_the_same_run_and_another_gives_another() -> None:
    def run(seed: int) -> list[tuple[int, bytes]]:
        link = Link(loss=0.3, duplicate=0.3, corrupt=0.3, reorder=0.3, jitter=1, seed=seed)
        return [arrival for n in range(100) for arrival in link.carry(bytes([n] * 8))]

    assert run(1) == run(1) != run(2)


def test_a_link_does_what_it_is_told() -> None:
    assert Link().carry(b"x") == [(0, b"x")]
    assert Link(drop={0}).carry(b"x") == []
    assert Link(duplicate=1).carry(b"x") == [(0, b"x")] * 2
    assert Link(delay=1).carry(b"x") == [(1_000_000, b"x")]
    assert Link(delay=1, reorder=1).carry(b"x") == [(3_000_000, b"x")]
    [(_, turned)] = Link(corrupt=1).carry(b"\0\0")
    assert int.from_bytes(turned, "big").bit_count() == 1
    assert all(0 <= at <= 1_000_000 for at, _ in Link(jitter=1, duplicate=1).carry(b"x"))
    lost = Link(loss=0.25, seed=3)
    for _ in range(1000):
        lost.carry(b"x")
    assert 200 < lost.lost < 300
    pieces = Link(split=True).pieces(bytes(range(200)))
    assert len(pieces) > 1 and b"".join(piece for _, piece in pieces) == bytes(range(200))
    for wrong in ({"loss": 1.5}, {"corrupt": -1}, {"delay": -1}):
        with pytest.raises(ValueError, match="probability|seconds"):
            Link(**wrong)


def test_machines_that_never_stop_talking_are_found_out() -> None:
    class Chatterbox(Script):
        def handle_input(self, now: int, peer: int, data: bytes) -> waft.Handled[Any]:
            self._parts.append(data)
            return waft.Handled(len(data), 0, None)

    with pytest.raises(AssertionError, match="without end"):
        Pair(Chatterbox(b"hello"), Chatterbox()).run(1)


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_messages_pass_on_a_slow_stream_in_pieces(qos: int, seed: int) -> None:
    pair = StreamPair.mqtt(link=Link(delay=0.1, jitter=0.3, split=True, seed=seed), keep_alive=5)
    pair.left.subscribe(pair.now, [("#", qos)])
    pair.run(10)
    for n in range(10):
        pair.left.publish(pair.now, f"t/{n}", bytes(300), qos)
    pair.run(60)
    topics = [event.topic for event in pair.told[0] if isinstance(event, mqtt.Publish)]
    assert topics == [f"t/{n}" for n in range(10)]
    assert pair.left.in_flight == 0 and pair.left.is_connected and pair.wrong == ([], [])


@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_survives_a_stream_that_breaks_at_any_moment(qos: int) -> None:
    for moment in range(1, 12):
        pair = StreamPair(mqtt.Client(), mqtt.Broker(), link=Link(delay=0.1))
        pair.open("c", clean_session=False)
        pair.run(1)
        pair.left.subscribe(pair.now, [("t", qos)])
        pair.run(1)
        pair.left.publish(pair.now, "t", b"precious", qos)
        pair.run(moment * 0.1 - 0.05)
        pair.cut()
        assert not pair.left.is_connected
        pair.open("c", clean_session=False)
        pair.run(5)
        got = [event for event in pair.told[0] if isinstance(event, mqtt.Publish)]
        assert len(got) == 1 if qos == 2 else len(got) in (1, 2, 3)
        assert pair.left.in_flight == 0


@pytest.mark.parametrize("what", RUDE_SERVERS)
def test_our_client_is_done_with_every_rude_server(what: str) -> None:
    pair = StreamPair(mqtt.Client(), Script(*RUDE_SERVERS[what]()))
    pair.open(keep_alive=10)
    pair.run(60)
    assert not pair.left.is_connected and not pair.is_open
    assert pair.wrong[0] or any(isinstance(event, mqtt.Closed | mqtt.Refused) for event in pair.told[0])


def test_a_refusal_is_told_before_the_stream_ends() -> None:
    pair = StreamPair(mqtt.Client(), mqtt.Broker(users=[("ann", b"secret")]), link=Link(delay=1))
    pair.open(username="ann", password=b"wrong")
    pair.run(30)
    assert pair.told[0] == [mqtt.Refused(4, "bad user name or password")]
    assert not pair.is_open


def test_a_script_waits_and_asks() -> None:
    pair = StreamPair(mqtt.Client(), Script(lambda got: b"\x20" if got[:1] == b"\x10" else None, 1.5, b"\x02\x00\x00"))
    pair.open(keep_alive=0)
    assert pair.run_until(lambda: pair.left.is_connected)
    assert pair.now == 1_500_000 and pair.right.is_over


async def test_the_bench_broker_serves_tests_with_an_event_loop() -> None:
    with BenchBroker(max_connections=1) as broker:
        async with await MqttClient.connect(broker.host, broker.port, will=mqtt.Will("w", b"gone", 1, True)) as client:
            await client.subscribe(("t", 1))
            broker.publish("t", b"hello", 1)
            assert (await client.next_message(PATIENCE)).payload == b"hello"
            await client.publish("kept", b"x", 1, True)
            assert broker.retained("k#") == {} and broker.retained("kept") == {"kept": b"x"}
            assert broker.stats.connected == 1
            with pytest.raises(MqttError):
                await MqttClient.connect(broker.host, broker.port, timeout=5)
            broker.cut()
            with pytest.raises(MqttError):
                await client.next_message(PATIENCE)
        async with asyncio.timeout(PATIENCE):
            while broker.retained() != {"kept": b"x", "w": b"gone"}:
                await asyncio.sleep(0.01)


async def test_a_rude_server_plays_its_script_to_each_connection() -> None:
    with RudeServer([lambda got: b"bye" if got == b"hello" else None], hang_up=True) as server:
        for _ in range(2):
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(b"hello")
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b"bye"
            writer.close()
        assert [script.received for script in server.scripts] == [b"hello"] * 2


def test_the_fixtures_are_there_without_any_import(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import socket

        def test_broker(waft_broker):
            with socket.create_connection((waft_broker.host, waft_broker.port), 10) as s:
                s.sendall(b"\\x10\\x0d\\x00\\x04MQTT\\x04\\x02\\x00\\x00\\x00\\x01c")
                assert s.recv(4) == b"\\x20\\x02\\x00\\x00"

        def test_pair(waft_pair):
            waft_pair.left.publish(waft_pair.now, "t", b"x", 1, True)
            waft_pair.run(1)
            assert waft_pair.right.retained("#") == [("t", b"x", 1)]

        def test_rude(waft_rude_server):
            with socket.create_connection((waft_rude_server.host, waft_rude_server.port), 10):
                pass
        """
    )
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2 + len(RUDE_SERVERS))


async def test_our_asyncio_client_never_waits_for_ever(waft_rude_server: RudeServer) -> None:
    # An acknowledgement of nothing, and silence, are no reason to close before the keep-alive says so.
    with pytest.raises((MqttError, TimeoutError)):
        async with await MqttClient.connect(waft_rude_server.host, waft_rude_server.port, timeout=0.5) as client:
            await client.next_message(0.5)


def test_ports_are_given_back(tmp_path: Path) -> None:
    with BenchBroker() as broker:
        port = broker.port
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), 1):
        pass


def test_the_readme_is_right(pytester: pytest.Pytester) -> None:
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text()
    example = readme.split("## Testing")[1].split("```python\n")[1].split("```")[0]
    program = """
import pytest, socket
from waft.aio.mqtt import MqttClient
import asyncio

def my_program(address):
    async def run():
        host, port = address.split(":")
        async with await MqttClient.connect(host, int(port)) as client:
            await client.publish("status", b"ok", 1, True)
    asyncio.run(run())

def my_client(port):
    raise ConnectionError

"""
    pytester.makepyfile(program + example)
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=3 + len(RUDE_SERVERS))
