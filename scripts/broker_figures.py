"""Figures of the broker, for figures.py: what matching costs, and how fast one message reaches many subscribers."""

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

SUBSCRIBERS = 20
AMQTT = """
listeners:
  default: {type: tcp, bind: "127.0.0.1:PORT"}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin: {allow_anonymous: true}
"""


def match_ratio() -> float:
    """Instructions to find the subscribers of a topic among 1,000,000 subscriptions, relative to 10."""
    subprocess.run(["cargo", "build", "-q", "--release", "-p", "waft", "--features", "std", "--example", "match_cost"],
                   cwd=ROOT, check=True)  # fmt: skip
    counts = []
    for n in (10, 1_000_000):
        told = subprocess.run(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*find_subscribers*",
             TARGET / "release/examples/match_cost", str(n)], check=True, capture_output=True, text=True)  # fmt: skip
        counts.append(int(re.search(r"Collected : (\d+)", told.stderr)[1]))
    return round(counts[1] / counts[0], 2)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def serving(port: int, *command: str | Path) -> Iterator[int]:
    """A broker that answers on its port."""
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def fanout() -> dict[str, float]:
    """Messages of QoS 0 delivered per second, 88 bytes to 20 subscribers, by broker; the median of three turns."""
    crate, target = ROOT / "tests/fanout", TARGET / "fanout"
    subprocess.run(["cargo", "build", "-q", "--release", "--manifest-path", crate / "Cargo.toml", "--target-dir", target],
                   check=True)  # fmt: skip
    here = Path(sys.executable).parent
    mosquitto = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = {name: free_port() for name in ("mosquitto", "amqtt", "waft broker", "waft in Rust")}
        (folder / "amqtt.yaml").write_text(AMQTT.replace("PORT", str(ports["amqtt"])))
        commands = {
            "mosquitto": [mosquitto, "-p", str(ports["mosquitto"])],
            "amqtt": [here / "amqtt", "-c", folder / "amqtt.yaml"],
            "waft broker": [sys.executable, "-m", "waft", "broker", "--port", str(ports["waft broker"])],
            "waft in Rust": [target / "release/host", str(ports["waft in Rust"])],
        }
        for name, command in commands.items():
            stack.enter_context(serving(ports[name], *command))
        rates: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(3):
            for name, port in ports.items():
                messages = {"amqtt": 2_000, "waft in Rust": 40_000}.get(name, 10_000)
                load = [target / "release/load", str(port), str(SUBSCRIBERS), str(messages)]
                done = subprocess.run([str(part) for part in load], check=True, capture_output=True, text=True, timeout=120)
                rates[name].append(float(done.stdout))
    return {name: statistics.median(rate) for name, rate in rates.items()}


if __name__ == "__main__":
    print(match_ratio(), fanout())
