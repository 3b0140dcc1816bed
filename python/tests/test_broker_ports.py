"""TLS, WebSocket, passwords, rights and the state file of `waft broker`, tried with paho-mqtt and mosquitto's tools."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import os
import queue
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from conftest import PATIENCE, execute, program
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from waft import mqtt
from waft.aio.broker import Allow, BrokerServer, Deny, serve_broker
from waft.aio.mqtt import MqttClient, MqttError
from waft.passwords import Passwords


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    cert = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, False).add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder / "cert.pem", folder / "key.pem"


def server_context(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


async def talk(port: int, transport: str, ca: Path | None) -> None:
    """paho-mqtt subscribes, publishes at each QoS, small and large, and gets it all back."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "talker", transport=transport, protocol=paho.MQTTv311)  # type: ignore[arg-type]
    messages: queue.Queue[bytes] = queue.Queue()
    subscribed: queue.Queue[Any] = queue.Queue()
    client.on_message = lambda c, u, m: messages.put(m.payload)
    client.on_subscribe = lambda c, u, mid, codes, p: subscribed.put(codes)
    client.on_connect = lambda c, u, f, code, p: c.subscribe("t", 2)
    if ca is not None:
        client.tls_set(str(ca))
    await asyncio.to_thread(client.connect, "127.0.0.1", port, 30)
    client.loop_start()
    try:
        await asyncio.to_thread(subscribed.get, True, PATIENCE)
        for qos in (0, 1, 2):
            for size in (1, 300_000):
                payload = os.urandom(size)
                client.publish("t", payload, qos)
                assert await asyncio.to_thread(messages.get, True, PATIENCE) == payload
    finally:
        await asyncio.to_thread(client.disconnect)
        await asyncio.to_thread(client.loop_stop)


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
@pytest.mark.parametrize("secure", [False, True])
async def test_paho_talks_over_every_transport(certificate: tuple[Path, Path], transport: str, secure: bool) -> None:
    context = server_context(certificate) if secure else None
    async with await serve_broker(ssl=context, websocket=transport == "websockets") as server:
        await talk(server.port, transport, certificate[0] if secure else None)


@pytest.mark.parametrize("websocket", [None, "/mqtt"])
@pytest.mark.parametrize("secure", [False, True])
async def test_our_client_talks_over_every_transport(
    certificate: tuple[Path, Path], websocket: str | None, secure: bool
) -> None:
    context = server_context(certificate) if secure else None
    trust = ssl.create_default_context(cafile=certificate[0]) if secure else None
    async with await serve_broker(ssl=context, websocket=websocket is not None) as server:
        where: dict[str, Any] = {"ssl": trust, "websocket": websocket}
        async with await MqttClient.connect("127.0.0.1", server.port, **where) as client:
            await client.subscribe(("t", 1))
            payload = os.urandom(2_500_000 // 3)
            await client.publish("t", payload, 1)
            assert (await client.next_message(PATIENCE)).payload == payload


async def test_a_certificate_that_is_not_trusted_is_refused(certificate: tuple[Path, Path]) -> None:
    async with await serve_broker(ssl=server_context(certificate)) as server:
        with pytest.raises(MqttError, match="TLS"):
            await MqttClient.connect("127.0.0.1", server.port, ssl=True)


async def test_a_burst_of_more_than_is_acknowledged_at_once_is_answered() -> None:
    async with await serve_broker() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        pings = 100_000
        writer.write(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c" + b"\xc0\x00" * pings)
        assert await asyncio.wait_for(reader.readexactly(4 + 2 * pings), PATIENCE) == b"\x20\x02\x00\x00" + b"\xd0\x00" * pings
        writer.close()


# ---- who may do what ----


async def test_the_host_answers_who_may_come_in_and_to_what() -> None:
    async def ask(question: mqtt.Authenticate) -> Allow | Deny:
        await asyncio.sleep(0.01)
        assert "secret" not in repr(question)
        if (question.username, question.password) != ("ann", b"secret"):
            return Deny(4) if question.username else Deny(5)
        return Allow("user ann\ntopic read news\npattern write from/%c")

    async with await serve_broker(authenticate=ask) as server:
        for username, complaint in ((None, "not authorized"), ("bob", "bad user name or password")):
            with pytest.raises(MqttError, match=complaint):
                await MqttClient.connect("127.0.0.1", server.port, username=username)
        async with await MqttClient.connect(
            "127.0.0.1", server.port, client_id="c1", username="ann", password=b"secret"
        ) as ann:
            assert await ann.subscribe(("news", 1), ("other", 1), ("from/c1", 1)) == [1, 0x80, 0x80]
            server.publish("news", b"hello")
            assert (await ann.next_message(PATIENCE)).payload == b"hello"
            await ann.publish("from/c1", b"kept", 1, True)
            await ann.publish("from/c2", b"dropped", 1, True)
            assert [topic for topic, _, _ in server.broker.retained("#")] == ["from/c1"]
            assert server.broker.stats.denied == 1


def test_passwords_are_plain_or_mosquittos() -> None:
    users = Passwords("# who\nann:secret\nbob:$7$101$c2FsdHNhbHQ=$bm90IGl0\n")
    assert users.check("ann", b"secret")
    for name, password in (("ann", b"wrong"), ("ann", None), (None, b"secret"), ("bob", b"x"), ("", b"")):
        assert not users.check(name, password)
    for wrong in ("ann", ":x", "ann:$5$x$y", "ann:$7$0$c2E=$c2E=", "ann:$7$x$c2E=$c2E="):
        with pytest.raises(ValueError, match="line 1"):
            Passwords(wrong)


def test_what_mosquitto_passwd_writes_is_understood(tmp_path: Path) -> None:
    tool = program("mosquitto_passwd")
    file = tmp_path / "passwords"
    subprocess.run([tool, "-c", "-b", str(file), "ann", "sec:ret"], check=True, capture_output=True)
    users = Passwords(file.read_text())
    assert users.check("ann", b"sec:ret") and not users.check("ann", b"secret")


def test_a_table_that_says_nothing_known_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2"):
        mqtt.Broker(acl="topic a\nallow b")


# ---- the command ----


@contextmanager
def broker_command(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    command = [sys.executable, "-m", "waft", "broker", "--json", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate()[1])
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


async def test_the_command_listens_on_all_ports(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text("ann:secret\n")
    (tmp_path / "acl").write_text("user ann\ntopic m/#\n")
    options = ["--cert", str(certificate[0]), "--key", str(certificate[1])]
    options += ["--tls-port", "0", "--ws-port", "0", "--wss-port", "0", "--limit", "max_payload=10"]
    options += ["--passwords", str(tmp_path / "passwords"), "--acl", str(tmp_path / "acl")]
    with broker_command(*options) as (process, where):
        ann = ["-V", "mqttv311", "-h", "localhost", "-u", "ann", "-P", "secret", "-q", "1"]
        tls = [*ann, "-p", str(where["tls_port"]), "--cafile", str(certificate[0])]
        code, _, err = await execute(program("mosquitto_pub"), *tls, "-t", "m/1", "-m", "one", "-r")
        assert code == 0, err
        code, out, err = await execute(program("mosquitto_sub"), *tls, "-t", "m/#", "-C", "1", "-W", "20")
        assert (code, out) == (0, b"one\n"), err
        for scheme, trust in (("ws_port", None), ("wss_port", ssl.create_default_context(cafile=certificate[0]))):
            client = await MqttClient.connect(
                "localhost", where[scheme], ssl=trust, websocket="/mqtt", username="ann", password=b"secret"
            )
            await client.close()
        with pytest.raises(MqttError, match="bad user name"):
            await MqttClient.connect("127.0.0.1", where["port"])
        client = await MqttClient.connect("127.0.0.1", where["port"], username="ann", password=b"secret")
        with pytest.raises(MqttError):
            await client.publish("m/1", b"longer than ten bytes", 1)
        await client.close()
        process.send_signal(signal.SIGINT)
        out_text, _ = await asyncio.to_thread(process.communicate)
        closed = [json.loads(line) for line in out_text.splitlines() if "CloseConnection" in line]
        # A violation by its name and number.
        violations = [(event["reason"], event["code"]) for event in closed if event["code"]]
        assert violations == [("PacketTooLarge", violations[0][1])] and violations[0][1] < 0


async def test_the_log_names_and_numbers_violations() -> None:
    command = [sys.executable, "-m", "waft", "broker", "--port", "0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode()
    port = int(line.split(":")[1].split()[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c")
    await asyncio.wait_for(reader.readexactly(4), PATIENCE)
    writer.write(b"\xc1\x00")
    await asyncio.wait_for(reader.read(), PATIENCE)
    lines = [(await asyncio.wait_for(process.stderr.readline(), PATIENCE)).decode() for _ in range(2)]
    assert lines[0] == "peer=0 client='c' connected\n"
    assert lines[1].startswith("peer=0 client='c' closed: ReservedFlags (-6"), lines
    writer.close()
    process.terminate()
    await process.wait()


@pytest.mark.parametrize(
    ("options", "code", "complaint"),
    [
        (["--tls-port", "0"], 2, "--cert"),
        (["--limit", "max_payload"], 2, "NAME=NUMBER"),
        (["--limit", "max_nothing=1"], 2, "max_nothing"),
        (["--acl", "missing"], 6, "access control list"),
        (["--state", "other"], 6, "left alone"),
        (["--passwords", "other"], 6, "line 1"),
        (["--acl", "other"], 6, "line 1"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path: Path, options: list[str], code: int, complaint: str) -> None:
    (tmp_path / "other").write_text("something else\n")
    command = [sys.executable, "-m", "waft", "broker", "--port", "0", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert complaint in done.stderr
    assert (tmp_path / "other").read_text() == "something else\n"


# ---- the state file ----


async def test_everything_survives_kill_9(tmp_path: Path) -> None:
    state = ["--state", str(tmp_path / "state")]
    with broker_command(*state) as (process, where):
        async with await MqttClient.connect("127.0.0.1", where["port"], client_id="s", clean_session=False) as s:
            await s.subscribe(("q/#", 2))
        acknowledged = 0
        async with await MqttClient.connect("127.0.0.1", where["port"]) as p:
            await p.publish("r", b"retained", 1, True)

            async def flood() -> None:
                nonlocal acknowledged
                while True:
                    await p.publish(f"q/{acknowledged}", b"x" * 100, 1 + acknowledged % 2)
                    acknowledged += 1

            flooding = asyncio.create_task(flood())
            while acknowledged < 50:
                await asyncio.sleep(0.01)
            process.kill()
            with pytest.raises(MqttError):
                await flooding
    with broker_command(*state) as (process, where):
        async with await MqttClient.connect("127.0.0.1", where["port"], client_id="s", clean_session=False) as s:
            assert s.session_present
            topics = [(await s.next_message(PATIENCE)).topic for _ in range(acknowledged)]
            assert topics == [f"q/{n}" for n in range(acknowledged)]
            await s.subscribe("r")
            message = await s.next_message(PATIENCE)
            while message.topic != "r":  # one more may have been written before its acknowledgement left
                message = await s.next_message(PATIENCE)
            assert (message.payload, message.retain) == (b"retained", True)


async def test_a_file_cut_off_anywhere_still_starts(tmp_path: Path) -> None:
    path = tmp_path / "state"
    async with await serve_broker(state=path) as server:
        sizes = []
        async with await MqttClient.connect("127.0.0.1", server.port) as client:
            for n in range(5):
                await client.publish("t", str(n).encode(), 1, True)
                sizes.append(path.stat().st_size)
    whole = path.read_bytes()
    for length in range(sizes[0], len(whole)):
        path.write_bytes(whole[:length])
        broker = mqtt.Broker(persistent=True)
        server = BrokerServer(broker)
        server.keep(path)
        last = max(n for n, size in enumerate(sizes) if size <= length)
        assert int(broker.retained("t")[0][1]) >= last
        await server.close()


async def test_the_file_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waft.aio._state.SLACK", 10_000)
    path = tmp_path / "state"
    async with await serve_broker(state=path) as server:
        async with await MqttClient.connect("127.0.0.1", server.port) as client:
            for n in range(100):
                await client.publish("t", bytes(1_000), 1, True)
        assert path.stat().st_size < 20_000
        with pytest.raises(OSError, match="another broker"):
            await serve_broker(state=path)


async def test_what_cannot_be_written_is_not_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with await serve_broker(state=tmp_path / "state") as server:
        client = await MqttClient.connect("127.0.0.1", server.port)

        def full(self: object, data: bytes) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("waft.aio._state.StateFile.append", full)
        with pytest.raises(MqttError):
            await client.publish("t", b"x", 1, True)
        with pytest.raises(OSError, match="No space"):
            await server.failed()
        await client.close()
