"""The programs in the README are the files in the examples folders, and they run."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PATIENCE, TARGET
from examples import FILES, ROOT, RUN, assert_shown_is_part_of, is_part, section

from waft import mqtt
from waft.aio import serve_broker
from waft.aio.broker import BrokerServer
from waft.aio.mqtt import MqttClient

PROGRAMS = {
    "rust": (ROOT / "core/examples/hello.rs", [TARGET / "release/examples/hello"]),
    "c": (ROOT / "c-include/examples/posix/hello.c", [TARGET / "c/hello"]),
    "python": (ROOT / "python/examples/hello.py", [sys.executable, ROOT / "python/examples/hello.py"]),
}


@pytest.mark.parametrize("language", PROGRAMS)
def test_the_readme_shows_the_program(language: str) -> None:
    shown = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert PROGRAMS[language][0].read_text() in shown


@pytest.mark.parametrize("language", PROGRAMS)
async def test_the_program_runs(language: str) -> None:
    async with await serve_broker() as broker:
        address = f"127.0.0.1:{broker.port}" if language == "rust" else str(broker.port)
        process = await asyncio.create_subprocess_exec(
            *map(str, PROGRAMS[language][1]), address, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, output.decode().strip()) == (0, "the broker has it")


# ---- the section on MQTT ----


@pytest.mark.parametrize("language", FILES)
def test_what_is_shown_of_mqtt_is_part_of_programs(language: str) -> None:
    assert_shown_is_part_of("MQTT", language, "store", "broker")
    assert not is_part("a\n  b", "  a\n  b") and is_part("a\n  b", "x\n  a\n    b")


class Cutting(BrokerServer):
    """A broker that cuts its client off when it has sent it so much over a connection, by closing that or as told."""

    def __init__(self, broker: mqtt.Broker, after: list[int]) -> None:
        super().__init__(broker)
        self.after = after
        self._cut_off: set[int] = set()
        self.cut: Callable[[int], object] = lambda peer: self.broker.disconnect(self.now(), peer)

    def _transmit(self, peer: int, data: bytes) -> None:
        super()._transmit(peer, data)
        connection = self._connections.get(peer)
        # A killed process's connection lives on for a moment; a second kill() would poll it, and take its status from asyncio.
        if self.after and connection is not None and connection.sent > self.after[0] and peer not in self._cut_off:
            self.after.pop(0)
            self._cut_off.add(peer)
            self.cut(peer)


@pytest.mark.parametrize("language", FILES)
async def test_firmware_is_stored_and_sent_back_over_many_power_cuts(language: str, tmp_path: Path) -> None:
    image, after = os.urandom(200_000), [1, 50_000, 200_030, 5_000]
    async with Cutting(mqtt.Broker(), after) as broker:
        await broker.start("127.0.0.1", 0)
        broker.publish("fw/image", image, 1, True)
        broker.publish("fw/other", bytes(10_000), 1, True)
        where = f"127.0.0.1:{broker.port}" if language == "rust" else str(broker.port)
        for n in range(len(after) + 1):
            command = [*RUN[language]("store"), where, str(tmp_path)]
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            broker.cut = lambda peer, process=process: process.kill()  # type: ignore[misc]
            output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
            if process.returncode == 0:
                break
            assert process.returncode == -9, output
        assert n > 1 and output.decode().splitlines()[-1] == "sent back"
        assert broker.broker.retained("report") == [("report", image, 1)]
        assert broker.broker.stats.queued == 0


@pytest.mark.parametrize("language", FILES)
async def test_firmware_is_stored_and_sent_back_over_many_connections(language: str, tmp_path: Path) -> None:
    image, after = os.urandom(200_000), [50_000, 600_000, 900_000]
    async with Cutting(mqtt.Broker(max_payload=4 << 20), after) as broker:
        await broker.start("127.0.0.1", 0)
        broker.publish("fw/image", image, 1, True)
        broker.publish("fw/large", bytes((1 << 20) + 1), 1, True)
        broker.publish("fw/other", bytes(10_000), 1, True)
        where = f"127.0.0.1:{broker.port}" if language == "rust" else str(broker.port)
        command = [*RUN[language]("store"), where, str(tmp_path)]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        except TimeoutError:
            process.kill()
            raise
        lines = output.decode().splitlines()
        assert process.returncode == 0 and lines[-1] == "sent back", lines
        assert sum(line.startswith("once more") for line in lines) == 3 and not after
        assert broker.broker.retained("report") == [("report", image, 1)]
        assert (tmp_path / "image").read_bytes() == image
        assert f"{(1 << 20) + 1} bytes refused" in lines


@pytest.mark.parametrize("language", FILES)
async def test_a_broker_that_breaks_mqtt_ends_it_by_name_and_number(language: str, tmp_path: Path) -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"\x20\x02\x00\x00\xf0\x00")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(rude, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        where = f"127.0.0.1:{port}" if language == "rust" else str(port)
        command = [*RUN[language]("store"), where, str(tmp_path)]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        _, complaint = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode == 1
        assert re.search(r"the broker broke MQTT: \w*(Reserved|RESERVED)_?(Type|TYPE) \(-6\d\)", complaint.decode()), complaint


@pytest.mark.parametrize("language", FILES)
async def test_the_broker_keeps_rights_and_its_state(language: str, tmp_path: Path) -> None:
    (tmp_path / "acl").write_text("topic readwrite lab/#\n")
    for kept in (False, True):
        port = "127.0.0.1:0" if language == "rust" else "0"
        command = [*RUN[language]("broker"), port, str(tmp_path / "acl"), str(tmp_path / "state")]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        try:
            line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode()
            port_given = int(line.rsplit(":", 1)[1])
            async with await MqttClient.connect("127.0.0.1", port_given) as client:
                assert await client.subscribe(("lab/1", 1), ("other", 1)) == [1, 0x80]
                if kept:
                    message = await client.next_message(PATIENCE)
                    assert (message.payload, message.retain) == (b"kept" * 50_000, True)
                await client.publish("lab/1", b"kept" * 50_000, 1, True)
                assert (await client.next_message(PATIENCE)).payload == b"kept" * 50_000
        finally:
            process.kill()
            await process.wait()


async def test_the_command_that_is_shown_runs(tmp_path: Path) -> None:
    [shown] = re.findall(r"```sh\nwaft (broker .*?)\n```", section("MQTT"))
    (tmp_path / "acl").write_text("user ann\ntopic readwrite #\n")
    (tmp_path / "passwords").write_text("ann:secret\n")
    command = [sys.executable, "-m", "waft", *shlex.split(shown), "--port", "0"]
    process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode()
        port = int(line.split(":")[1].split()[0])
        async with await MqttClient.connect("127.0.0.1", port, username="ann", password=b"secret") as client:
            await client.publish("t", b"x", 1)
    finally:
        process.kill()
        await process.wait()
