"""Peers of `BrokerServer` and `waft broker` that mean harm, and disks that do."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import resource
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import PATIENCE
from test_broker_ports import broker_command, certificate, server_context
from websockets.asyncio.client import connect
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from waft import mqtt
from waft.aio import broker as aio
from waft.aio.broker import Allow, BrokerServer, serve_broker
from waft.aio.mqtt import MqttClient, MqttError
from waft.passwords import Passwords

__all__ = ["certificate"]

CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c"
CONNACK, PINGREQ, PINGRESP = b"\x20\x02\x00\x00", b"\xc0\x00", b"\xd0\x00"
MQTT = Subprotocol("mqtt")


def packet(first: int, body: bytes) -> bytes:
    """A control packet."""
    length, left = b"", len(body)
    while True:
        left, digit = left >> 7, left & 127
        length += bytes([digit | (128 if left else 0)])
        if not left:
            return bytes([first]) + length + body


def client_socket(port: int) -> socket.socket:
    """One that takes little in."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.setblocking(False)
    return client


async def gone(server_port: int, client: socket.socket) -> None:
    """Waits until this process has no socket to that client any more."""
    mine = ("127.0.0.1", server_port, *client.getsockname())
    async with asyncio.timeout(PATIENCE):
        while any((*c.laddr, *c.raddr) == mine for c in psutil.Process().net_connections("tcp4") if c.raddr and c.fd != -1):
            await asyncio.sleep(0.01)


async def until(done: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not done():
            await asyncio.sleep(0.005)


# ---- who does not read ----


async def test_who_does_not_read_and_is_closed_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its unread bytes would otherwise keep the socket for as long as it likes, past max_connections."""
    monkeypatch.setattr(aio, "LINGER", 1e6)
    async with await serve_broker(broker=mqtt.Broker(max_payload=20 << 20)) as server:
        client = client_socket(server.port)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, CONNECT + b"\x82\x06\x00\x09\x00\x01t\x00")
        await until(lambda: server.broker.stats.subscriptions == 1)
        server.publish("t", bytes(16 << 20))
        await until(lambda: server._connections[0]._is_stuck)
        await loop.sock_sendall(client, b"\xf0\x00")
        await gone(server.port, client)
        client.close()


async def test_who_reads_slowly_after_its_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio, "LINGER", 0.05)
    async with await serve_broker() as server:
        client = client_socket(server.port)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, CONNECT + b"\x82\x06\x00\x09\x00\x01t\x00")
        await until(lambda: server.broker.stats.subscriptions == 1)
        # More than the kernel takes, less than what counts as stuck.
        transport = server._connections[0].transport
        assert transport is not None
        transport.set_write_buffer_limits(high=1 << 30)
        server.publish("t", bytes(16 << 20))
        await until(lambda: transport.get_write_buffer_size() > 0)
        await loop.sock_sendall(client, b"\xf0\x00")
        await gone(server.port, client)
        client.close()


async def test_pings_of_a_websocket_that_reads_no_pongs_end_somewhere() -> None:
    async with await serve_broker(websocket=True) as server:
        protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{server.port}/mqtt"), subprotocols=[MQTT])
        client = client_socket(server.port)
        loop = asyncio.get_running_loop()
        protocol.send_request(protocol.connect())
        await loop.sock_sendall(client, b"".join(protocol.data_to_send()))
        protocol.receive_data(await loop.sock_recv(client, 4096))
        protocol.send_binary(CONNECT)
        await loop.sock_sendall(client, b"".join(protocol.data_to_send()))
        await until(lambda: server.broker.stats.connected == 1)
        frame = Frame(Opcode.PING, bytes(125)).serialize(mask=True)
        connection = server._connections[0]

        async def flood() -> None:
            for _ in range((64 << 20) // (len(frame) * 500)):
                await loop.sock_sendall(client, frame * 500)

        flooding = asyncio.create_task(flood())
        assert connection.transport is not None
        await until(lambda: not connection.transport.is_reading())
        flooding.cancel()
        assert connection.transport.get_write_buffer_size() < 4 * aio.MAX_UNREAD
        assert not connection.transport.is_reading()
        # When it reads, it is read from again.
        async with asyncio.timeout(PATIENCE):
            while not connection.transport.is_reading():
                await loop.sock_recv(client, 65_536)
        client.close()


ENDS = [Frame(Opcode.CLOSE, b"\x03\xe8"), Frame(Opcode.CLOSE, b"x"), Frame(Opcode.TEXT, b"x"), Frame(Opcode.PONG, b"")]


@pytest.mark.parametrize("ends", ENDS)
async def test_who_does_not_wait_for_the_answer_to_its_request_troubles_nobody(ends: Frame) -> None:
    noticed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: noticed.append(context))
    async with await serve_broker(websocket=True) as server:
        for cut in (None, 0, 1, 3, 4):
            protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{server.port}/mqtt"), subprotocols=[MQTT])
            protocol.send_request(protocol.connect())
            request = b"".join(protocol.data_to_send())
            rest = Frame(Opcode.BINARY, CONNECT).serialize(mask=True) + ends.serialize(mask=True)
            rest += Frame(Opcode.BINARY, b"\xf0\x00").serialize(mask=True)
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            at = 0 if cut is None else len(request) - cut
            writer.write(request[:at])
            await until(lambda at=at: sum(c.received for c in server._connections.values()) == at)  # type: ignore[misc]
            writer.write(request[at:] + rest)
            # It is answered all the same, and all ends in order.
            got = await asyncio.wait_for(reader.read(), PATIENCE)
            assert got.startswith(b"HTTP/1.1 101 ") and (CONNACK in got or ends.opcode is not Opcode.PONG)
            writer.close()
            await until(lambda: not server._connections)
        assert server.broker.stats.connections == 0
    assert not noticed


# ---- sizes ----


@pytest.mark.parametrize("bound", [1 << 20, 3 << 20])
async def test_a_websocket_message_may_hold_the_largest_packet_and_no_more(bound: int) -> None:
    async with await serve_broker(broker=mqtt.Broker(max_payload=bound), websocket=True) as server:
        where = f"ws://127.0.0.1:{server.port}/mqtt"
        async with connect(where, subprotocols=[MQTT]) as client:
            topic = b"\x03\xe8" + b"t" * 1_000
            await client.send(CONNECT + packet(0x31, topic + bytes(bound)) + PINGREQ)
            got = b""
            while got != CONNACK + PINGRESP:
                frame = await asyncio.wait_for(client.recv(), PATIENCE)
                assert isinstance(frame, bytes)
                got += frame
        assert server.broker.stats.retained_bytes == bound + 1_000
        await until(lambda: not server._connections)
        async with connect(where, subprotocols=[MQTT]) as client:
            fits = [CONNECT, packet(0x30, b"\x00\x01t" + bytes(bound))]
            fits.append(packet(0x30, b"\x00\x01t" + bytes(server.max_message - sum(map(len, fits)) - 20)))
            assert server.max_message - 20 < sum(map(len, fits)) <= server.max_message
            async def message() -> AsyncIterator[bytes]:
                for part in fits:
                    yield part
                yield PINGREQ * 20

            with pytest.raises(ConnectionClosedError) as closed:
                # Frames of one message count together.
                await client.send(message())
                while True:
                    await asyncio.wait_for(client.recv(), PATIENCE)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009


async def test_a_packet_as_large_as_the_bound_is_taken() -> None:
    """It must not count as one that the broker leaves lying."""
    filters = b"".join(b"\x03\xe8" + b"%06d" % n + b"x" * 994 + b"\x00" for n in range(3_000))
    broker = mqtt.Broker(max_packet=4 << 20, max_subscriptions=5_000, max_subscription_bytes=4 << 20)
    async with await serve_broker(broker=broker) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(CONNECT + packet(0x82, b"\x00\x09" + filters))
        async with asyncio.timeout(PATIENCE):
            assert await reader.readexactly(4) == CONNACK
            assert (await reader.readexactly(5))[0] == 0x90
        await until(lambda: broker.stats.subscriptions == 3_000)
        writer.close()


async def test_a_packet_that_comes_byte_by_byte_is_not_looked_at_for_each() -> None:
    class Counting:
        """A broker that counts how often it is offered something."""

        def __init__(self, broker: mqtt.Broker) -> None:
            self._broker = broker
            self.offered = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self._broker, name)

        def handle_input(self, now: int, peer: int, data: bytes) -> Any:
            self.offered += 1
            return self._broker.handle_input(now, peer, data)

    broker = Counting(mqtt.Broker())
    async with await serve_broker(broker=broker) as server:  # type: ignore[arg-type]
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        subscribe = packet(0x82, b"\x00\x09\x00\xc8" + b"f" * 200 + b"\x00")
        for n, byte in enumerate(CONNECT + subscribe, 1):
            writer.write(bytes([byte]))
            while not server._connections or server._connections[0].received != n:
                await asyncio.sleep(0)
        assert await asyncio.wait_for(reader.readexactly(9), PATIENCE) == CONNACK + b"\x90\x03\x00\x09\x00"
        assert broker.offered <= 10
        writer.close()


# ---- TLS ----


async def test_who_opens_a_tls_port_and_says_nothing_is_closed(certificate: tuple[Path, Path]) -> None:
    """Connections that have not finished the handshake count nowhere else."""
    async with await serve_broker(broker=mqtt.Broker(connect_timeout=200_000), ssl=server_context(certificate)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        writer.close()
        # Nor does one that speaks no TLS hold anything up.
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(CONNECT)
        assert CONNACK not in await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        trust = ssl.create_default_context(cafile=certificate[0])
        await (await MqttClient.connect("127.0.0.1", server.port, ssl=trust)).close()


# ---- who may do what ----


async def test_rights_that_cannot_be_read_let_nobody_in() -> None:
    noticed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: noticed.append(context))
    async with await serve_broker(authenticate=lambda question: Allow("allow all")) as server:
        with pytest.raises(MqttError, match="server unavailable"):
            await MqttClient.connect("127.0.0.1", server.port)


def test_a_name_that_nobody_has_takes_as_long_as_one_that_somebody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    users = Passwords("bob:$7$101$c2FsdHNhbHQ=$bm90IGl0\n")
    reckoned: list[bytes] = []
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", lambda name, password, *rest: reckoned.append(password) or b"nothing")
    for name in ("bob", "eve", None):
        assert not users.check(name, b"guess")
    assert reckoned == [b"guess"] * 3


# ---- the state file ----


async def test_a_state_file_is_the_same_by_all_its_names(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "a" / "state")
    async with await serve_broker(state=link) as server:
        server.publish("t", b"kept", 1, True)
        await until(lambda: b"kept" in (tmp_path / "a" / "state").read_bytes())
        for other in (tmp_path / "a" / "state", tmp_path / "a" / ".." / "a" / "state", link):
            with pytest.raises(OSError, match="another broker"):
                await serve_broker(state=other)
    assert link.is_symlink()
    async with await serve_broker(state=tmp_path / "a" / "state") as server:
        assert server.broker.retained("t") == [("t", b"kept", 1)]


async def test_a_file_system_without_links_keeps_the_torn_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    async with await serve_broker(state=path) as server:
        server.publish("t", b"kept", 1, True)
        await until(lambda: b"kept" in path.read_bytes())
    torn = path.read_bytes()[:-1]
    path.write_bytes(torn)

    def link(*names: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    async with await serve_broker(state=path) as server:
        assert server.restored[2] > 0
    assert (tmp_path / "state.torn").read_bytes() == torn


@pytest.mark.parametrize("slack", [1 << 30, 1])
async def test_a_full_disk_ends_the_broker_and_loses_nothing_acknowledged(tmp_path: Path, slack: int) -> None:
    """Full while appending, and while the file is written anew."""
    path = tmp_path / "state"
    start = f"import waft.aio._state as s; s.SLACK = {slack}; from waft.cli import main; main()"
    command = [sys.executable, "-c", start, "broker", "--port", "0", "--sys-interval", "0", "--state", str(path)]

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))

    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=little_room)
    assert process.stdout is not None
    port = int(process.stdout.readline().split(":")[1].split()[0])
    client = await MqttClient.connect("127.0.0.1", port)
    acknowledged = 0
    with pytest.raises(MqttError):
        while acknowledged < 200:
            await client.publish(f"t/{acknowledged}", bytes(1_000), 1, True)
            acknowledged += 1
    await client.close()
    _, complaint = await asyncio.to_thread(process.communicate)
    assert process.returncode == 6 and "cannot write" in complaint, complaint
    assert 10 < acknowledged < 100
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state", "state.lock"]
    async with await serve_broker(state=path) as server:
        assert len(server.broker.retained("t/#")) >= acknowledged


async def test_two_brokers_of_one_file_are_one(tmp_path: Path) -> None:
    state = ["--state", str(tmp_path / "state")]
    with broker_command(*state):
        command = [sys.executable, "-m", "waft", "broker", "--port", "0", *state]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 6 and "another broker has it" in done.stderr


# ---- the command ----


async def test_bounds_are_options_of_the_command() -> None:
    options = ["--max-payload", "10", "--max-qos", "1", "--max-connections", "2", "--connect-timeout", "0.3"]
    options += ["--session-expiry", "0.3", "--max-queued", "1", "--max-in-flight", "1", "--limit", "max_client_id=4"]
    with broker_command(*options, "--sys-interval", "0") as (_, where):
        port = where["port"]
        with pytest.raises(MqttError, match="identifier"):
            await MqttClient.connect("127.0.0.1", port, client_id="12345")
        one = await MqttClient.connect("127.0.0.1", port, client_id="one", clean_session=False)
        assert await one.subscribe(("t", 2), ("$SYS/#", 0)) == [1, 0]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        third = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(third[0].read(), PATIENCE) == b""
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""  # no CONNECT in time
        with pytest.raises(MqttError):
            await one.publish("t", bytes(11), 1)
        await one.close()
        await asyncio.sleep(0.5)
        again = await MqttClient.connect("127.0.0.1", port, client_id="one", clean_session=False)
        assert not again.session_present
        await again.close()
        writer.close()
        third[1].close()


@pytest.mark.parametrize("limit", ["max_packet=99999999999", "max_qos=3", "max_queued=1e9", "seed=1"])
def test_a_limit_out_of_range_is_a_line_and_no_traceback(limit: str) -> None:
    command = [sys.executable, "-m", "waft", "broker", "--port", "0", "--limit", limit]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "--limit" in done.stderr, done.stderr


async def test_rights_by_name_without_passwords_are_warned_of(tmp_path: Path) -> None:
    (tmp_path / "acl").write_text("user ann\ntopic #\n")
    command = [sys.executable, "-m", "waft", "broker", "--port", "0", "--acl", str(tmp_path / "acl")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    await asyncio.to_thread(process.stdout.readline)
    process.terminate()
    assert "without --passwords" in (await asyncio.to_thread(process.communicate))[1]


# ---- bounds ----


def test_bounds_are_the_same_in_rust_and_python_and_are_told() -> None:
    """The defaults stand in both languages."""
    source = (Path(__file__).resolve().parents[2] / "core/src/mqtt/broker/config.rs").read_text()
    defaults = source[source.index("impl Default for BrokerConfig") :]
    rust = {name: eval(text) for name, text in re.findall(r"(max_\w+): ([\d_]+(?: << \d+)?),", defaults)}
    bounds = mqtt.Broker().bounds
    assert len(rust) == 17 and rust == {name: bounds[name] for name in rust}
    assert {name: bounds[name] for name in bounds.keys() - rust.keys()} == {
        "max_qos": 2, "connect_timeout": 10_000_000, "session_expiry": None, "sys_interval": None,
    }  # fmt: skip
    given = {name: n for n, name in enumerate(rust, 3)} | {"max_qos": 1, "connect_timeout": 5, "session_expiry": 6, "sys_interval": 7}
    assert mqtt.Broker(**given).bounds == given
