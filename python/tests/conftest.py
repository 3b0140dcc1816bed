"""What the tests share: real peers as processes, ports that are free, time-outs that end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from waft import ota

if TYPE_CHECKING:
    from brokers import Server

#: Seconds that any wait for a peer may take.
PATIENCE = 30.0

#: Where cargo puts what it builds.
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).resolve().parents[2] / "target"))

#: Debian packages of the programs that the tests talk to.
PACKAGES = {
    "mosquitto": "mosquitto",
    "mosquitto_pub": "mosquitto-clients",
    "mosquitto_sub": "mosquitto-clients",
    "coap-client-notls": "libcoap3-bin",
    "coap-server-notls": "libcoap3-bin",
    "epmd": "rabbitmq-server",
}


def program(name: str) -> str:
    """The path of a program. One that is missing fails the test and is named, with its package."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    if found is None:
        package = PACKAGES.get(name, name)
        pytest.fail(f"{name} is missing: sudo apt-get install {package}", pytrace=False)
    return found


#: Ports that the kernel gives to nobody by itself: below those of `ip_local_port_range`.
PORTS = range(12_000, 32_000)
#: What says that a port is ours, for as long as this process lives.
_ours: list[socket.socket] = []


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port on which nothing listens, for a program that cannot choose one by itself; given out once on this machine.

    Between the choice and the program's start nobody takes it: not the kernel, for who asks for any port or connects, for it is
    none of those; and no other worker or run of these tests, for its number is taken as a name that only one can have.
    """
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        name, found = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_INET, kind)
        with found:
            try:
                name.bind(f"\0waft-tests-port-{port}")  # abstract (unix(7)): it goes with its socket
                found.bind(("127.0.0.1", port))
            except OSError:
                name.close()
                continue
        _ours.append(name)
        return port
    raise AssertionError("no port is free")


def wait_for(what: str, check: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Waits until ``check`` holds."""
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            pytest.fail(f"{what} did not happen within {seconds:.0f} s", pytrace=False)
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Whether somebody accepts TCP connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def running(*command: str | Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended by its own handle, whatever happens."""
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        process.communicate()


def answers(port: int) -> bool:
    """Whether a CoAP ping is answered there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.2)
        s.connect(("127.0.0.1", port))
        try:
            s.send(b"\x40\x00\x12\x34")
            return s.recv(64)[2:4] == b"\x12\x34"
        except OSError:
            return False


def wait_for_coap(process: subprocess.Popen[bytes], what: str, port: int) -> None:
    """Until a CoAP server answers; where it ends instead, what it said is told."""
    wait_for(f"the start of {what}", lambda: answers(port) or process.poll() is not None)
    if process.poll() is not None:
        said = process.stdout.read().decode("utf-8", "replace") if process.stdout is not None else ""
        pytest.fail(f"{what} ended at once: {said[-600:]}", pytrace=False)


@contextlib.contextmanager
def libcoap_server(*options: str) -> Iterator[int]:
    """libcoap's coap-server, which takes new resources by PUT (with `-L 3` as a whole); gives its port."""
    port = free_port(socket.SOCK_DGRAM)
    with running(program("coap-server-notls"), "-A", "127.0.0.1", "-p", str(port), "-d", "20", *options) as process:
        wait_for_coap(process, "coap-server", port)
        yield port


@contextlib.contextmanager
def aiocoap_server(root: Path, *options: str) -> Iterator[int]:
    """aiocoap's file server, which with `--write` takes files too; gives its port."""
    port = free_port(socket.SOCK_DGRAM)
    # UDP only: it would take the TCP port of that number too, which may be somebody else's.
    only_udp = {"AIOCOAP_SERVER_TRANSPORT": "udp6"}
    command = [sys.executable, "-m", "aiocoap.cli.fileserver", *options, "--bind", f"127.0.0.1:{port}", root]
    with running(*command, env=only_udp) as process:
        wait_for_coap(process, "aiocoap's file server", port)
        yield port


async def execute(*command: str | Path, stdin: bytes | None = None, timeout: float = PATIENCE) -> tuple[int, bytes, bytes]:
    """Runs a program to its end while the event loop goes on: exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        *[str(part) for part in command],
        stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin), timeout)
    except TimeoutError:
        process.kill()
        await process.wait()
        pytest.fail(f"{command[0]} did not end within {timeout:.0f} s", pytrace=False)
    assert process.returncode is not None
    return process.returncode, out, err


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[int]:
    """Debian's mosquitto; gives its port."""
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    with running(program("mosquitto"), "-c", config) as process:
        wait_for("mosquitto's start", lambda: listens(port) or process.poll() is not None)
        assert process.poll() is None, "mosquitto ended at once"
        yield port


@pytest.fixture(scope="session")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """Brokers by name; each is started when it is first asked for, and serves all tests."""
    from brokers import BROKERS

    with contextlib.ExitStack() as stack:

        @functools.cache
        def get(name: str) -> Server:
            return stack.enter_context(BROKERS[name](tmp_path_factory.mktemp(name)))

        yield get


@pytest.fixture(params=["mosquitto", "rabbitmq", "nats", "waft"])
def server(request: pytest.FixtureRequest, brokers: Callable[[str], Server]) -> Server:
    """Each broker in turn."""
    return brokers(request.param)


@dataclass(frozen=True)
class Fleet:
    """A vendor, a class and a key."""

    key: ota.SecretKey
    vendor: uuid.UUID
    class_id: uuid.UUID
    class_name: str = "lamp"

    def sign(self, image: bytes, sequence: int = 1, version: str = "1.0.0", **more: object) -> bytes:
        """A release."""
        release = ota.Release(
            image=image,
            vendor=self.vendor,
            class_id=self.class_id,
            sequence=sequence,
            version=version,
            **more,  # type: ignore[arg-type]
        )
        return release.sign(self.key)


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    """The fleet that the tests update."""
    vendor = uuid.uuid5(uuid.NAMESPACE_DNS, "test.waft.example")
    return Fleet(ota.SecretKey(bytes(range(32))), vendor, uuid.uuid5(vendor, "lamp"))


def make_image(size: int) -> bytes:
    """Bytes that do not repeat."""
    import hashlib

    return b"".join(hashlib.sha256(n.to_bytes(4, "big")).digest() for n in range(-(-size // 32)))[:size]


