"""Figures of CoAP's servers and of Python's decoder, for figures.py.

A server's rate is what it answers in a second of its own CPU time, so of one core: the load comes from another program
(tests/coapload), which looks at every answer, and need not be the faster of the two. All have the same 64 bytes to give.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BODY = "x" * 64
SECONDS = 2.0

WAFT = """
import asyncio, sys
from waft.aio import Asked, Reply, serve_coap
from waft.coap import Code

BODY = b"x" * 64

def handler(asked: Asked) -> Reply:
    if asked.path != ("bench",):
        return Reply(Code.NOT_FOUND)
    return Reply(Code.CONTENT, BODY, 0) if asked.code == Code.GET else Reply(Code.METHOD_NOT_ALLOWED)

async def main() -> None:
    await serve_coap(handler, port=int(sys.argv[1]))
    await asyncio.Event().wait()

asyncio.run(main())
"""
AIOCOAP = """
import asyncio, sys
import aiocoap, aiocoap.resource

class Bench(aiocoap.resource.Resource):
    async def render_get(self, request):
        return aiocoap.Message(payload=b"x" * 64, content_format=0)

async def main():
    site = aiocoap.resource.Site()
    site.add_resource(["bench"], Bench())
    await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", int(sys.argv[1])), transports=["udp6"])
    await asyncio.Event().wait()

asyncio.run(main())
"""


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def answers(port: int) -> bool:
    """Whether a ping is answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(0.2)
        one.connect(("127.0.0.1", port))
        try:
            one.send(b"\x40\x00\x12\x34")
            return one.recv(64) == b"\x70\x00\x12\x34"
        except OSError:
            return False


@contextmanager
def serving(port: int, *command: str | Path) -> Iterator[int]:
    """A server that answers on its port; gives its process id."""
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        while not answers(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{command[0]} does not serve")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def cpu(process: int) -> float:
    """Seconds of CPU time that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rate(load: Path, port: int, process: int) -> float:
    """Answers a second of the server's CPU time."""
    before = cpu(process)
    done = subprocess.run([load, str(port), str(SECONDS)], check=True, capture_output=True, text=True, timeout=60)
    took = cpu(process) - before
    # The load's first tenth is in the CPU time and not in its rate.
    return float(done.stdout) * SECONDS * 1.1 / took


def server_rates() -> dict[str, float]:
    """Answers a second of CPU time, by server; the median of five turns."""
    crate, target = ROOT / "tests/coapload", TARGET / "coapload"
    subprocess.run(["cargo", "build", "-q", "--release", "--manifest-path", crate / "Cargo.toml", "--target-dir", target],
                   check=True)  # fmt: skip
    load = target / "release/load"
    libcoap = shutil.which("coap-server-notls") or "/usr/bin/coap-server-notls"
    client = shutil.which("coap-client-notls") or "/usr/bin/coap-client-notls"
    ports = {name: free_port() for name in ("libcoap", "waft", "aiocoap", "waft, Python")}
    with (
        serving(ports["libcoap"], libcoap, "-A", "127.0.0.1", "-p", str(ports["libcoap"]), "-d", "4", "-v", "0") as c,
        serving(ports["waft"], target / "release/host", str(ports["waft"])) as rust,
        serving(ports["aiocoap"], sys.executable, "-c", AIOCOAP, str(ports["aiocoap"])) as aiocoap,
        serving(ports["waft, Python"], sys.executable, "-c", WAFT, str(ports["waft, Python"])) as python,
    ):
        uri = f"coap://127.0.0.1:{ports['libcoap']}/bench"
        subprocess.run([client, "-m", "put", "-t", "0", "-e", BODY, uri], check=True, capture_output=True, timeout=60)
        processes = {"libcoap": c, "waft": rust, "aiocoap": aiocoap, "waft, Python": python}
        rates: dict[str, list[float]] = {name: [] for name in ports}
        for _ in range(5):
            for name, port in ports.items():
                rates[name].append(rate(load, port, processes[name]))
    return {name: round(statistics.median(found)) for name, found in rates.items()}


def decode_us() -> dict[str, float]:
    """Microseconds of CPU time to decode a response of 1024 bytes in Python, the best of ten turns."""
    import aiocoap

    from waft import coap

    options = [(4, b"12345678"), (12, b"*"), (23, b"\x0e")]
    datagram = coap.Message("ACK", coap.Code.CONTENT, 7, b"abcd", options, bytes(1024)).encode()
    best = {}
    for name, decode, turns in (("waft", coap.decode, 20_000), ("aiocoap", aiocoap.Message.decode, 2_000)):
        assert len(decode(datagram).payload) == 1024
        took = []
        for _ in range(10):
            before = time.process_time()
            for _ in range(turns):
                decode(datagram)
            took.append((time.process_time() - before) / turns)
        best[name] = round(min(took) * 1e6, 2)
    return best


if __name__ == "__main__":
    print(json.dumps({"decode": decode_us(), "rates": server_rates()}))
