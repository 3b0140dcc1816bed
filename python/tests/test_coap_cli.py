"""`waft coap`: exit codes, --json, one-line errors, bytes as they are."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import free_port, make_image, running
from test_cli import error, parsed, waft


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A plugtest server; gives the beginning of its URIs."""
    command = [sys.executable, "-m", "waft", "coap", "plugtest", "--port", "0", "--json", "--period", "0.2", "--delay", "0.2"]
    with running(*command) as process:
        assert process.stdout is not None
        yield f"coap://127.0.0.1:{json.loads(process.stdout.readline())['port']}"


def test_get_prints_the_body_and_nothing_else(server: str, tmp_path: Path) -> None:
    done = waft("coap", "get", f"{server}/test", cwd=tmp_path)
    assert done.stdout == "The resource of the default test" and "2.05 Content" in done.stderr
    told = parsed("coap", "get", f"{server}/multi-format", "--accept", "xml", cwd=tmp_path)
    assert told["ok"] and told["code"] == "2.05" and told["content_format"] == 41 and told["text"].startswith("<?xml")
    valid = parsed("coap", "get", f"{server}/multi-format", "--etag", parsed("coap", "get", f"{server}/multi-format", cwd=tmp_path)["etag"], cwd=tmp_path)
    assert valid["code"] == "2.03"


@pytest.mark.parametrize("size", ["16", "1024"])
def test_a_file_goes_there_and_comes_back(server: str, tmp_path: Path, size: str) -> None:
    body = make_image(5_000)
    (tmp_path / "up").write_bytes(body)
    where = ["--file", "up", "--content-format", "octet-stream", "--block-size", size]
    assert parsed("coap", "put", f"{server}/large-update", *where, cwd=tmp_path)["code"] == "2.04"
    waft("coap", "get", f"{server}/large-update", "-o", "down", "--block-size", size, cwd=tmp_path)
    assert (tmp_path / "down").read_bytes() == body
    told = parsed("coap", "get", f"{server}/large-update", cwd=tmp_path)
    assert told["bytes"] == 5_000 and bytes.fromhex(told["hex"]) == body


def test_what_is_created_is_located_and_conditions_hold(server: str, tmp_path: Path) -> None:
    made = parsed("coap", "post", f"{server}/test", "-d", "x", cwd=tmp_path)
    assert (made["code"], made["location"]) == ("2.01", "/location1/location2/location3")
    assert parsed("coap", "delete", f"{server}/create2", cwd=tmp_path)["code"] == "2.02"
    put = ["coap", "put", f"{server}/create2", "-d", "x", "--if-none-match"]
    assert parsed(*put, cwd=tmp_path)["code"] == "2.01"
    assert parsed(*put, cwd=tmp_path, code=4) == {"ok": False, "code": "4.12", "name": "Precondition Failed", "bytes": 0, "text": ""}
    tag = parsed("coap", "get", f"{server}/create2", cwd=tmp_path)["etag"]
    assert parsed("coap", "put", f"{server}/create2", "-d", "y", "--if-match", tag, cwd=tmp_path)["code"] == "2.04"
    assert "4.12 Precondition Failed" in error("coap", "delete", f"{server}/create2", "--if-match", tag, cwd=tmp_path, code=4)


def test_observe_prints_one_representation_a_line(server: str, tmp_path: Path) -> None:
    done = waft("coap", "observe", f"{server}/obs", "--count", "3", cwd=tmp_path)
    assert len(set(done.stdout.splitlines())) == 3
    lines = waft("coap", "observe", f"{server}/obs-large", "--seconds", "1.5", "--json", cwd=tmp_path).stdout.splitlines()
    assert len(lines) >= 3 and all(json.loads(line)["text"].startswith("Representation") for line in lines)
    assert "4.04" in error("coap", "observe", f"{server}/none", cwd=tmp_path, code=4)


def test_discover_lists_and_filters(server: str, tmp_path: Path) -> None:
    found = parsed("coap", "discover", server, cwd=tmp_path)["links"]
    assert {"target": "/path", "title": "Hierarchical link descriptions", "ct": "40"} in found
    lines = waft("coap", "discover", server.removeprefix("coap://"), "if=If*", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["/link1", "/link2"]


def test_ping_says_whether_somebody_is_there(server: str, tmp_path: Path) -> None:
    assert parsed("coap", "ping", server, cwd=tmp_path)["ok"]
    gone = f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    assert "timed out" in error("coap", "ping", gone, "--timeout", "0.3", cwd=tmp_path, code=5)
    nobody = error("coap", "get", f"coap://{gone}/x", "--timeout", "0.3", cwd=tmp_path, code=5)
    assert "no whole answer in time" in nobody


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["get", "http://127.0.0.1/x"], "a CoAP URI is"),
        (["get", "coap://127.0.0.1/ü"], "InvalidUri"),
        (["get", "coap://127.0.0.1/x", "--accept", "what"], "a Content-Format is"),
        (["get", "coap://127.0.0.1/x", "--etag", "xyz"], "hexadecimal"),
        (["get", "coap://127.0.0.1/x", "--option", "12"], "NUMBER=HEX"),
        (["get", "coap://127.0.0.1/x", "--option", "11=00"], "InvalidOption"),
        (["put", "coap://127.0.0.1/x", "-d", "a", "-f", "b"], "not from both"),
    ],
)
def test_wrong_usage_is_said_in_a_line(tmp_path: Path, args: list[str], says: str) -> None:
    assert says in error("coap", *args, cwd=tmp_path, code=2)
    told = parsed("coap", *args, cwd=tmp_path, code=2)
    assert told["ok"] is False and told["error"] == "usage"


def test_a_port_that_is_taken_is_said_so(server: str, tmp_path: Path) -> None:
    port = server.rpartition(":")[2]
    assert "choose another --port" in error("coap", "plugtest", "--port", port, cwd=tmp_path, code=5)
    assert "cannot read the body" in error("coap", "put", f"{server}/test", "-f", "none", cwd=tmp_path, code=6)
