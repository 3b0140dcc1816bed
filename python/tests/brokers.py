"""MQTT brokers as processes, each in a folder of its own, on loopback ports of its own, and none of them a system service."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import free_port, listens, program, running, wait_for

#: Seconds that a broker may take to come up on a busy machine.
START = 180.0


@dataclass(frozen=True)
class Server:
    """A broker that runs."""

    name: str
    port: int
    #: The highest QoS at which it takes and gives messages.
    qos: int
    #: Whether a subscription with wildcards finds retained messages.
    wildcards_find_retained: bool = True
    #: Whether a message sent to a client as it leaves comes again in its place, before those after it.
    keeps_its_place: bool = True
    #: Seconds after a DISCONNECT until it knows that the client is gone.
    leave_taking: float = 0.0

    @property
    def address(self) -> str:
        """As command lines take it."""
        return f"127.0.0.1:{self.port}"

    def up_to(self, qos: int) -> int:
        """The QoS that comes of asking for ``qos``."""
        return min(qos, self.qos)


def _up(process: subprocess.Popen[bytes], what: str, port: int, log: Path) -> None:
    wait_for(f"the start of {what}", lambda: listens(port) or process.poll() is not None, START)
    if process.poll() is not None:
        pytest.fail(f"{what} ended at once: {log.read_text(errors='replace')[-800:]}", pytrace=False)


@contextlib.contextmanager
def _logged(what: str, port: int, folder: Path, *command: str | Path, env: dict[str, str] | None = None) -> Iterator[None]:
    """A broker whose output goes to a file: nobody reads a pipe while it runs."""
    log = folder / f"{what}.log"
    with running("sh", "-c", 'log=$1; shift; exec "$@" >"$log" 2>&1', "sh", log, *command, env=env) as process:
        _up(process, what, port, log)
        yield


@contextlib.contextmanager
def mosquitto(folder: Path, *lines: str) -> Iterator[Server]:
    """Debian's mosquitto; ``lines`` are further lines of its configuration."""
    port, config = free_port(), folder / "mosquitto.conf"
    config.write_text("\n".join([f"listener {port} 127.0.0.1", "allow_anonymous true", "persistence false", *lines, ""]))
    with _logged("mosquitto", port, folder, program("mosquitto"), "-c", config):
        yield Server("mosquitto", port, 2)


@contextlib.contextmanager
def waft(folder: Path) -> Iterator[Server]:
    """Our own, to hold it to the same."""
    port = free_port()
    with _logged("waft", port, folder, sys.executable, "-m", "waft", "broker", "--port", str(port)):
        yield Server("waft", port, 2)


@contextlib.contextmanager
def nats(folder: Path) -> Iterator[Server]:
    """NATS with JetStream. Before 2.10 it takes QoS 0 and 1 and gives QoS 1 where 2 is asked for.

    Once it gave a session's messages out of order after a DISCONNECT. Presumably the stream behind the connection had not heard of
    that yet, and what it still sent came again when ``ack_wait`` had passed, behind later messages; it did not happen again.
    """
    port, config = free_port(), folder / "nats.conf"
    config.write_text(
        f"""server_name: waft
listen: 127.0.0.1:{free_port()}
jetstream {{ store_dir: "{folder / "jetstream"}" }}
mqtt {{ listen: 127.0.0.1:{port}, ack_wait: "1s" }}
"""
    )
    with _logged("nats-server", port, folder, program("nats-server"), "-c", config):
        yield Server("NATS", port, 1, keeps_its_place=False, leave_taking=0.5)


def _program_of_rabbitmq() -> Path:
    """The server itself. Debian's ``/usr/sbin/rabbitmq-server`` changes user, which only root may."""
    program("rabbitmq-server")
    for path in (Path("/usr/lib/rabbitmq/bin/rabbitmq-server"), Path(shutil.which("rabbitmq-server") or "")):
        if os.access(path, os.X_OK):
            return path
    pytest.fail("rabbitmq-server is missing: sudo apt-get install rabbitmq-server", pytrace=False)


@contextlib.contextmanager
def rabbitmq(folder: Path) -> Iterator[Server]:
    """RabbitMQ with its MQTT plugin, which knows QoS 0 and 1 and finds retained messages by their exact topic only."""
    port, names = free_port(), free_port()
    (folder / "rabbitmq.conf").write_text(
        f"""listeners.tcp = none
mqtt.listeners.tcp.1 = 127.0.0.1:{port}
mqtt.allow_anonymous = true
mqtt.default_user = guest
mqtt.default_pass = guest
log.console = true
"""
    )
    (folder / "enabled_plugins").write_text("[rabbitmq_mqtt].\n")
    env = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"waft-{port}@localhost",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-setcookie waft",
        "ERL_EPMD_PORT": str(names),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_CRASH_DUMP": "/dev/null",
    }
    # The server would start this name service as a daemon that outlives it.
    with running(program("epmd"), "-port", str(names), "-address", "127.0.0.1"):
        wait_for("the start of epmd", lambda: listens(names))
        with _logged("rabbitmq", port, folder, _program_of_rabbitmq(), env=env):
            yield Server("RabbitMQ", port, 1, wildcards_find_retained=False)


#: All of them, by name.
BROKERS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Server]]] = {
    "mosquitto": mosquitto,
    "rabbitmq": rabbitmq,
    "nats": nats,
    "waft": waft,
}
