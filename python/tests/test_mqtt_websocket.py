"""MQTT over WebSocket (MQTT 3.1.1 §6) in both roles, against the websockets library."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conftest import PATIENCE
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from waft import mqtt
from waft.aio import broker as aio
from waft.aio.broker import Deny, serve_broker
from waft.aio.mqtt import MqttClient, MqttError

MQTT = Subprotocol("mqtt")
CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c"
CONNACK, PINGREQ, PINGRESP = b"\x20\x02\x00\x00", b"\xc0\x00", b"\xd0\x00"

#: Ways to put bytes into messages. A list is a message of several frames.
CUTS: dict[str, Callable[[bytes], list[bytes | list[bytes]]]] = {
    "all in one frame": lambda data: [data],
    "a byte a frame": lambda data: [data[n : n + 1] for n in range(len(data))],
    "frames that end within packets": lambda data: [data[n : n + 7] for n in range(0, len(data), 7)],
    "a message of many frames": lambda data: [[data[n : n + 3] for n in range(0, len(data), 3)]],
    "empty frames between": lambda data: [b"", data[:5], b"", data[5:], b""],
}


def uri(port: int) -> str:
    return f"ws://127.0.0.1:{port}/mqtt"


async def receive(websocket: ClientConnection | ServerConnection, length: int) -> bytes:
    """So many bytes, all of which came in binary frames."""
    got = b""
    async with asyncio.timeout(PATIENCE):
        while len(got) < length:
            frame = await websocket.recv()
            assert isinstance(frame, bytes), f"a text frame: {frame!r}"
            got += frame
    return got


async def raw(protocol: ClientProtocol | ServerProtocol, reader: asyncio.StreamReader) -> list[Any]:
    """What comes until the other side has closed the connection, though nobody here says goodbye."""
    async with asyncio.timeout(PATIENCE):
        while data := await reader.read(65_536):
            protocol.receive_data(data)
    return protocol.events_received()


def close_code(events: Iterable[Any]) -> int:
    """Of the close frame that came."""
    [code] = [Close.parse(e.data).code for e in events if isinstance(e, Frame) and e.opcode is Opcode.CLOSE]
    return int(code)


# ---- the broker ----


@pytest.mark.parametrize("offered", [None, ["chat"], ["mqttv3.1"], ["MQTT"]])
async def test_a_broker_selects_nothing_but_mqtt(offered: list[Subprotocol] | None) -> None:
    """[MQTT-6.0.0-4]"""
    async with await serve_broker(websocket=True) as server:
        with pytest.raises(InvalidStatus) as refused:
            await connect(uri(server.port), subprotocols=offered)
        assert refused.value.response.status_code == 400


@pytest.mark.parametrize("offered", [["mqtt"], ["chat", "mqtt", "mqttv3.1"]])
async def test_a_broker_selects_mqtt(offered: list[Subprotocol]) -> None:
    """[MQTT-6.0.0-4]"""
    async with await serve_broker(websocket=True) as server, connect(uri(server.port), subprotocols=offered) as client:
        assert client.subprotocol == "mqtt"


@pytest.mark.parametrize("cut", CUTS)
async def test_a_broker_takes_packets_however_frames_cut_them(cut: str) -> None:
    """[MQTT-6.0.0-1] and [MQTT-6.0.0-2]: what is answered comes in binary frames."""
    publish = b"\x32\x0a\x00\x01t\x00\x05hello"
    async with await serve_broker(websocket=True) as server, connect(uri(server.port), subprotocols=[MQTT]) as client:
        for message in CUTS[cut](CONNECT + publish + PINGREQ):
            await client.send(message)
        assert await receive(client, 10) == CONNACK + b"\x40\x02\x00\x05" + PINGRESP


async def opened(port: int) -> tuple[ClientProtocol, asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket whose frames are the test's own."""
    protocol = ClientProtocol(parse_uri(uri(port)), subprotocols=[MQTT])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    protocol.send_request(protocol.connect())
    writer.writelines(protocol.data_to_send())
    protocol.receive_data(await reader.readuntil(b"\r\n\r\n"))
    protocol.events_received()
    return protocol, reader, writer


@pytest.mark.parametrize("whole", [True, False])
async def test_a_broker_closes_at_a_text_frame_and_takes_nothing_behind_it(whole: bool) -> None:
    """[MQTT-6.0.0-1]"""
    events: list[mqtt.BrokerEvent] = []
    async with await serve_broker(websocket=True, on_event=events.append) as server:
        protocol, reader, writer = await opened(server.port)
        if whole:
            protocol.send_text(b"text")
            protocol.send_binary(CONNECT)
        else:
            protocol.send_text(b"text", fin=False)
            protocol.send_continuation(CONNECT, fin=True)
        writer.write(b"".join(protocol.data_to_send()))
        assert close_code(await raw(protocol, reader)) == 1003
        writer.close()
    assert not [event for event in events if isinstance(event, mqtt.ClientConnected)]


async def test_a_goodbye_arrives_whatever_was_sent_meanwhile() -> None:
    """A socket closed while something is unread is reset, and what was sent last may be lost with it."""
    async with await serve_broker(websocket=True) as server:
        protocol, reader, writer = await opened(server.port)
        protocol.send_text(b"text")
        for _ in range(24):
            protocol.send_binary(bytes(32_768))
        writer.writelines(protocol.data_to_send())
        await writer.drain()
        # It has ended for the broker, and its end is only late.
        async with asyncio.timeout(PATIENCE):
            while server.connections:
                await asyncio.sleep(0)
        assert close_code(await raw(protocol, reader)) == 1003
        writer.close()
        async with asyncio.timeout(PATIENCE):
            while server._ending:
                await asyncio.sleep(0.001)


async def test_a_refusal_arrives_whatever_was_sent_meanwhile() -> None:
    """Likewise without WebSocket: the CONNACK that refuses ([MQTT-3.2.2-5])."""
    async with await serve_broker(authenticate=lambda _: Deny(5)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(CONNECT + (b"\x30\x82\x80\x02\x00\x01t" + bytes(32_767)) * 24)
        await writer.drain()
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b"\x20\x02\x00\x05"
        writer.close()


async def test_who_goes_on_sending_after_the_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio, "MAX_LATE", 1000)
    async with await serve_broker(authenticate=lambda _: Deny(5)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(CONNECT)
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b"\x20\x02\x00\x05"
        assert len(server._ending) == 1
        writer.write(bytes(1001))
        async with asyncio.timeout(PATIENCE):
            while server._ending:
                await asyncio.sleep(0.001)
        writer.close()


# ---- the client ----


@asynccontextmanager
async def server_that(
    does: Callable[[ServerConnection], Any], subprotocols: list[Subprotocol] | None
) -> AsyncIterator[int]:
    """A WebSocket server; gives its port. What goes wrong in ``does`` is raised at the end."""
    failures: list[Exception] = []

    async def handle(websocket: ServerConnection) -> None:
        try:
            await does(websocket)
        except ConnectionClosed:
            pass
        except Exception as e:
            failures.append(e)

    async with serve(handle, "127.0.0.1", 0, subprotocols=subprotocols) as server:
        yield next(iter(server.sockets)).getsockname()[1]
    if failures:
        raise failures[0]


async def test_a_client_offers_mqtt_and_takes_packets_however_frames_cut_them() -> None:
    """[MQTT-6.0.0-1], [MQTT-6.0.0-2] and [MQTT-6.0.0-3]: what it sends comes in binary frames."""
    offered = []
    publish = b"\x30\x0d\x00\x01tsome bytes" + b"\x30\x04\x00\x01tx"
    for name, cut in CUTS.items():

        async def does(websocket: ServerConnection) -> None:
            assert websocket.request is not None
            offered.append(websocket.request.headers["Sec-WebSocket-Protocol"])
            connect = await receive(websocket, 2)
            assert connect[0] == 0x10
            for message in cut(CONNACK + publish):  # noqa: B023
                await websocket.send(message)
            assert await receive(websocket, 2) == b"\xe0\x00"
            await websocket.wait_closed()

        async with server_that(does, [MQTT]) as port:
            async with await MqttClient.connect("127.0.0.1", port, websocket="/mqtt", timeout=PATIENCE) as client:
                got = [(await client.next_message(PATIENCE)).payload for _ in range(2)]
                assert got == [b"some bytes", b"x"], name
    assert offered == ["mqtt"] * len(CUTS)


async def test_a_client_gives_up_where_mqtt_is_not_selected() -> None:
    async with server_that(lambda websocket: websocket.wait_closed(), None) as port:
        with pytest.raises(MqttError, match="subprotocol"):
            await MqttClient.connect("127.0.0.1", port, websocket="/mqtt", timeout=PATIENCE)
    async with await serve_broker() as plain:
        with pytest.raises(MqttError):
            await MqttClient.connect("127.0.0.1", plain.port, websocket="/mqtt", timeout=PATIENCE)


async def test_a_client_closes_at_a_text_frame_and_takes_nothing_behind_it() -> None:
    """[MQTT-6.0.0-1]"""
    came: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    async def does(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol(subprotocols=[MQTT])
        protocol.receive_data(await reader.readuntil(b"\r\n\r\n"))
        [request] = protocol.events_received()
        assert isinstance(request, Request)
        protocol.send_response(protocol.accept(request))
        writer.writelines(protocol.data_to_send())
        while not (connect := protocol.events_received()):
            protocol.receive_data(await reader.read(65_536))
        assert isinstance(connect[0], Frame) and connect[0].opcode is Opcode.BINARY
        protocol.send_binary(CONNACK)
        protocol.send_text(b"text")
        protocol.send_binary(b"\x30\x04\x00\x01tx")
        writer.write(b"".join(protocol.data_to_send()))
        came.set_result(await raw(protocol, reader))
        writer.close()

    async with await asyncio.start_server(does, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(MqttError):
            client = await MqttClient.connect("127.0.0.1", port, websocket="/mqtt", timeout=PATIENCE)
            await client.next_message(PATIENCE)
        assert close_code(await came) == 1003
