"""Our broker serves the clients that the world has: mosquitto_pub, mosquitto_sub, mosquitto's bridge, paho-mqtt, aiomqtt."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
import pytest
from brokers import mosquitto as mosquitto_broker
from conftest import PATIENCE, execute, program

from waft import mqtt
from waft.aio.broker import BrokerServer, serve_broker
from waft.aio.mqtt import MqttClient, MqttError


@pytest.fixture
async def broker() -> AsyncIterator[BrokerServer]:
    async with await serve_broker() as server:
        yield server


class Paho:
    """paho-mqtt with its callbacks as queues."""

    def __init__(self, client_id: str, clean: bool = True) -> None:
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id, clean_session=clean, protocol=paho.MQTTv311)
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.connected: queue.Queue[tuple[bool, Any]] = queue.Queue()
        self.subscribed: queue.Queue[list[Any]] = queue.Queue()
        self.client.on_message = lambda c, u, m: self.messages.put(m)
        self.client.on_connect = lambda c, u, flags, code, p: self.connected.put((flags.session_present, code))
        self.client.on_subscribe = lambda c, u, mid, codes, p: self.subscribed.put(codes)

    async def next(self, source: queue.Queue[Any], timeout: float = PATIENCE) -> Any:
        return await asyncio.to_thread(source.get, True, timeout)

    async def connect(self, port: int) -> bool:
        await asyncio.to_thread(self.client.connect, "127.0.0.1", port, 30)
        self.client.loop_start()
        present, code = await self.next(self.connected)
        assert code == 0, code
        return bool(present)

    async def subscribe(self, topic: str, qos: int) -> None:
        self.client.subscribe(topic, qos)
        assert [int(code.value) for code in await self.next(self.subscribed)] == [qos]

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> None:
        info = self.client.publish(topic, payload, qos, retain)
        await asyncio.to_thread(info.wait_for_publish, PATIENCE)
        assert info.is_published()

    async def close(self) -> None:
        await asyncio.to_thread(self.client.disconnect)
        await asyncio.to_thread(self.client.loop_stop)

    def vanish(self) -> None:
        """Cuts the connection without a DISCONNECT."""
        self.client.on_disconnect = None
        sock = self.client.socket()
        assert sock is not None
        self.client.loop_stop()
        sock.close()


@asynccontextmanager
async def paho_client(port: int, client_id: str, clean: bool = True) -> AsyncIterator[Paho]:
    client = Paho(client_id, clean)
    await client.connect(port)
    try:
        yield client
    finally:
        await client.close()


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("size", [0, 1, 70_000])
async def test_paho_publishes_and_receives(broker: BrokerServer, qos: int, size: int) -> None:
    payload = bytes(n % 251 for n in range(size))
    async with paho_client(broker.port, "sub") as sub, paho_client(broker.port, "pub") as pub:
        await sub.subscribe("t/+", qos)
        await pub.publish("t/x", payload, qos)
        message = await sub.next(sub.messages)
        assert (message.topic, message.payload, message.qos, message.retain) == ("t/x", payload, qos, False)


async def test_paho_keeps_the_order_of_many(broker: BrokerServer) -> None:
    async with paho_client(broker.port, "sub") as sub, paho_client(broker.port, "pub") as pub:
        await sub.subscribe("n", 2)
        for n in range(200):
            pub.client.publish("n", str(n), n % 3)
        got = [int((await sub.next(sub.messages)).payload) for _ in range(200)]
        assert sorted(got) == list(range(200))
        for qos in (1, 2):
            assert [n for n in got if n % 3 == qos] == list(range(qos, 200, 3))


async def test_paho_finds_retained_messages_and_clears_them(broker: BrokerServer) -> None:
    async with paho_client(broker.port, "p") as client:
        await client.publish("r/1", b"kept", 1, True)
        await client.subscribe("r/#", 1)
        message = await client.next(client.messages)
        assert (message.payload, message.retain) == (b"kept", True)
        await client.publish("r/1", b"", 1, True)
    assert broker.broker.retained("r/#") == []


async def test_paho_wakes_up_to_what_came_while_it_slept(broker: BrokerServer) -> None:
    sleeper = Paho("sleeper", clean=False)
    assert await sleeper.connect(broker.port) is False
    await sleeper.subscribe("s", 2)
    await sleeper.close()
    async with paho_client(broker.port, "pub") as pub:
        for qos in (1, 2, 1):
            await pub.publish("s", str(qos).encode(), qos)
    sleeper = Paho("sleeper", clean=False)
    assert await sleeper.connect(broker.port) is True
    got = [(await sleeper.next(sleeper.messages)).payload for _ in range(3)]
    # paho tells of a message of QoS 2 when its handshake is over: order holds within a QoS.
    assert sorted(got) == [b"1", b"1", b"2"]
    await sleeper.close()


async def test_the_will_of_a_client_that_vanishes_is_published(broker: BrokerServer) -> None:
    async with paho_client(broker.port, "heir") as heir:
        await heir.subscribe("will/+", 1)
        doomed = Paho("doomed")
        doomed.client.will_set("will/doomed", b"gone", 1, True)
        await doomed.connect(broker.port)
        await asyncio.to_thread(doomed.vanish)
        message = await heir.next(heir.messages)
        assert (message.topic, message.payload) == ("will/doomed", b"gone")
        polite = Paho("polite")
        polite.client.will_set("will/polite", b"gone", 1)
        await polite.connect(broker.port)
        await polite.close()
        with pytest.raises(queue.Empty):
            await heir.next(heir.messages, 0.3)


@pytest.mark.parametrize("qos", ["0", "1", "2"])
async def test_mosquitto_pub_and_sub(broker: BrokerServer, qos: str) -> None:
    where = ["-h", "127.0.0.1", "-p", str(broker.port), "-V", "mqttv311", "-q", qos]
    sub = asyncio.create_task(execute(program("mosquitto_sub"), *where, "-t", "m/#", "-C", "2", "-W", "20", "-v"))
    await until(lambda: broker.broker.stats.subscriptions == 1)
    code, _, err = await execute(program("mosquitto_pub"), *where, "-t", "m/1", "-m", "one")
    assert code == 0, err
    code, _, err = await execute(program("mosquitto_pub"), *where, "-t", "m/2", "-s", stdin=b"two")
    assert code == 0, err
    code, out, err = await sub
    assert (code, out) == (0, b"m/1 one\nm/2 two\n"), err


async def test_mosquitto_finds_retained_messages_sessions_and_wills(broker: BrokerServer) -> None:
    where = ["-h", "127.0.0.1", "-p", str(broker.port), "-V", "mqttv311"]
    pub, sub = program("mosquitto_pub"), program("mosquitto_sub")
    assert (await execute(pub, *where, "-t", "r", "-m", "kept", "-r", "-q", "1"))[0] == 0
    code, out, err = await execute(sub, *where, "-t", "r", "-C", "1", "-W", "20")
    assert (code, out) == (0, b"kept\n"), err
    # A persistent session: -c -i, subscribed at QoS 1, absent while messages come.
    session = [*where, "-i", "night", "-c", "-q", "1", "-t", "n/#"]
    code, _, err = await execute(sub, *session, "-E")
    assert code == 0, err
    assert (await execute(pub, *where, "-t", "n/1", "-m", "late", "-q", "1"))[0] == 0
    code, out, err = await execute(sub, *session, "-C", "1", "-W", "20")
    assert (code, out) == (0, b"late\n"), err


@pytest.mark.parametrize("private", ["true", "false"])
async def test_mosquitto_bridges_to_our_broker(broker: BrokerServer, tmp_path: Path, private: str) -> None:
    # With try_private it announces itself by a protocol level of its own first, and takes our refusal of that.
    bridge = [
        "connection ours",
        f"address 127.0.0.1:{broker.port}",
        "bridge_protocol_version mqttv311",
        f"try_private {private}",
        "restart_timeout 1",
        "cleansession false",
        "topic up/# out 2",
        "topic down/# in 1",
    ]
    with mosquitto_broker(tmp_path, *bridge) as other:
        async with (
            await MqttClient.connect("127.0.0.1", broker.port) as near,
            await MqttClient.connect("127.0.0.1", other.port) as far,
        ):
            await near.subscribe(("up/#", 2))
            await far.subscribe(("down/#", 1))
            await until(lambda: broker.broker.stats.subscriptions == 2)
            await far.publish("up/a", b"to ours", 2)
            message = await near.next_message(PATIENCE)
            assert (message.topic, message.payload, message.qos) == ("up/a", b"to ours", 2)
            await near.publish("down/a", b"to theirs", 1)
            message = await far.next_message(PATIENCE)
            assert (message.topic, message.payload, message.qos) == ("down/a", b"to theirs", 1)


def aiomqtt_client(broker: BrokerServer, identifier: str, **more: Any) -> aiomqtt.Client:
    return aiomqtt.Client(
        "127.0.0.1", broker.port, identifier=identifier, protocol=aiomqtt.ProtocolVersion.V311, timeout=PATIENCE, **more
    )


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("size", [0, 1, 70_000])
async def test_aiomqtt_publishes_and_receives(broker: BrokerServer, qos: int, size: int) -> None:
    payload = bytes(n % 251 for n in range(size))
    async with aiomqtt_client(broker, "sub") as sub, aiomqtt_client(broker, "pub") as pub, asyncio.timeout(PATIENCE):
        assert [code.value for code in await sub.subscribe("t/+", qos)] == [qos]
        await pub.publish("t/x", payload, qos)
        message = await anext(aiter(sub.messages))
        assert (message.topic.value, message.payload, message.qos, message.retain) == ("t/x", payload, qos, False)


async def test_aiomqtt_finds_retained_messages_and_wills(broker: BrokerServer) -> None:
    async with aiomqtt_client(broker, "a") as client, asyncio.timeout(PATIENCE):
        await client.publish("r/1", b"kept", 1, True)
        await client.subscribe("r/#", 1)
        incoming = aiter(client.messages)
        message = await anext(incoming)
        assert (message.payload, message.retain) == (b"kept", True)
        await client.subscribe("w", 1)
        doomed = aiomqtt_client(broker, "doomed", will=aiomqtt.Will("w", b"gone", 1))
        await doomed.__aenter__()
        broker.broker.disconnect(broker.now(), max(broker._connections))
        broker.drain()
        message = await anext(incoming)
        assert (message.topic.value, message.payload) == ("w", b"gone")
        with contextlib.suppress(aiomqtt.MqttError):
            await doomed.__aexit__(None, None, None)


async def test_aiomqtt_wakes_up_to_what_came_while_it_slept(broker: BrokerServer) -> None:
    async with aiomqtt_client(broker, "sleeper", clean_session=False) as client:
        await client.subscribe("s", 2)
    async with aiomqtt_client(broker, "pub") as pub:
        for n in range(20):
            await pub.publish("s", str(n), 1)
    async with aiomqtt_client(broker, "sleeper", clean_session=False) as client, asyncio.timeout(PATIENCE):
        incoming = aiter(client.messages)
        assert [(await anext(incoming)).payload for _ in range(20)] == [str(n).encode() for n in range(20)]


async def until(check: Callable[[], bool], seconds: float = PATIENCE) -> None:
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.01)


async def test_users_are_asked_for_their_passwords() -> None:
    async with await serve_broker(broker=mqtt.Broker(users=[("ann", b"secret")])) as server:
        async with await MqttClient.connect("127.0.0.1", server.port, username="ann", password=b"secret"):
            pass
        with pytest.raises(MqttError, match="bad user name or password"):
            await MqttClient.connect("127.0.0.1", server.port, username="ann", password=b"wrong")


async def test_one_who_breaks_the_protocol_is_cut_and_nobody_else(broker: BrokerServer) -> None:
    async with await MqttClient.connect("127.0.0.1", broker.port) as good:
        await good.subscribe(("x", 1))
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        writer.close()
        await good.publish("x", b"still here", 1)
        assert (await good.next_message(PATIENCE)).payload == b"still here"


async def test_a_client_says_what_is_wrong_when_nobody_answers() -> None:
    from conftest import free_port

    port = free_port()
    with pytest.raises(MqttError, match=f"no MQTT broker answers at 127.0.0.1:{port}"):
        await MqttClient.connect("127.0.0.1", port, timeout=2)


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_our_client_and_mosquitto_understand_each_other(mosquitto: int, qos: int) -> None:
    payload = bytes(range(256)) * 400
    async with await MqttClient.connect("127.0.0.1", mosquitto, client_id="ours") as client:
        assert await client.subscribe(("k/#", qos)) == [qos]
        await client.publish("k/big", payload, qos, retain=True)
        message = await client.next_message(PATIENCE)
        assert (message.topic, message.payload, message.qos) == ("k/big", payload, qos)
        await client.unsubscribe("k/#")
    async with await MqttClient.connect("127.0.0.1", mosquitto) as client:
        await client.subscribe(("k/big", qos))
        assert (await client.next_message(PATIENCE)).retain is True
