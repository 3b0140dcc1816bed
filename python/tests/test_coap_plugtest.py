"""The test descriptions of ETSI's CoAP#4 plugtest, server's side: `waft coap plugtest` is asked by hand, byte for byte."""

from __future__ import annotations

import inspect
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from coap_wire import DELETE, FETCH, GET, POST, PUT, Wire, block, block_of, every, option, unsigned
from conftest import PATIENCE, running

from waft import coap
from waft.cli.coap import plugtest
from waft.cli.serve import gateway
from waft.coap import Code, Message
from waft.plugtest import LINKS as LINK_TABLE

#: Of the resources that are observed; of /separate.
PERIOD, DELAY = 0.4, 0.3
TEXT, XML, LINKS, JSON = 0, 41, 40, 50


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The server, as a program."""
    command = [sys.executable, "-m", "waft", "coap", "plugtest", "--port", "0", "--json"]
    with running(*command, "--period", str(PERIOD), "--delay", str(DELAY)) as process:
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["port"])


@pytest.fixture
def wire(port: int) -> Iterator[Wire]:
    """A client that has never been there."""
    with Wire(port) as one:
        yield one


def is_content(message: Message, form: int | None = TEXT) -> None:
    assert message.code == Code.CONTENT and message.payload
    assert form is None or unsigned(message, "content_format") == form


@pytest.mark.parametrize(
    ("method", "codes"),
    [(GET, [Code.CONTENT]), (DELETE, [Code.DELETED]), (PUT, [Code.CHANGED]), (POST, [Code.CREATED])],
)
@pytest.mark.parametrize("type", ["CON", "NON"])
def test_core_01_to_08_methods(wire: Wire, type: str, method: Code, codes: list[Code]) -> None:
    """[TD_COAP_CORE_01] [TD_COAP_CORE_02] [TD_COAP_CORE_03] [TD_COAP_CORE_04], and by NON
    [TD_COAP_CORE_05] [TD_COAP_CORE_06] [TD_COAP_CORE_07] [TD_COAP_CORE_08]"""
    body: dict[str, Any] = {"payload": b"anything", "content_format": TEXT} if method in (PUT, POST) else {}
    answer = wire.ask(method, "/test", type=type, **body)
    assert answer.code in codes
    assert answer.type == ("ACK" if type == "CON" else "NON")
    if method == GET:
        is_content(answer)
    assert not answer.payload or option(answer, "content_format") is not None


@pytest.mark.parametrize("token", [b"", b"t", b"12345678"])
def test_core_09_11_separate_response(wire: Wire, token: bytes) -> None:
    """[TD_COAP_CORE_09] [TD_COAP_CORE_11]"""
    request = wire.send(GET, "/separate", token=token)
    first = wire.receive()
    assert first is not None
    assert (first.type, first.code, first.id, first.token, first.payload) == ("ACK", Code.EMPTY, request.id, b"", b"")
    response = wire.expect()
    assert (response.type, response.token) == ("CON", token)
    is_content(response)
    wire.acknowledge(response)
    assert wire.receive(0.5) is None


@pytest.mark.parametrize("token", [b"", b"t", b"12345678"])
def test_core_10_12_tokens(wire: Wire, token: bytes) -> None:
    """[TD_COAP_CORE_10] [TD_COAP_CORE_12]"""
    is_content(wire.ask(GET, "/test", token=token))


def test_core_13_14_path_and_query(wire: Wire) -> None:
    """[TD_COAP_CORE_13] [TD_COAP_CORE_14]"""
    is_content(wire.ask(GET, "/seg1/seg2/seg3"))
    assert wire.ask(GET, "/seg1/seg2").code == Code.NOT_FOUND
    answer = wire.ask(GET, "/query?first=1&second=2&third=3")
    is_content(answer)
    assert answer.payload.splitlines()[1:] == [b"first=1", b"second=2", b"third=3"]


def test_core_15_a_lost_response_comes_again(wire: Wire) -> None:
    """[TD_COAP_CORE_15]: the request comes again, and so does the same response."""
    request = wire.send(GET, "/test")
    first = wire.expect()
    wire.raw(request.encode())
    assert wire.expect() == first


def test_core_16_what_is_lost_of_a_separate_response(wire: Wire) -> None:
    """[TD_COAP_CORE_16]"""
    request = wire.send(GET, "/separate")
    assert wire.expect().type == "ACK"
    wire.raw(request.encode())
    again = wire.expect()
    assert (again.type, again.code, again.id) == ("ACK", Code.EMPTY, request.id), "a dropped request ACK"
    response = wire.expect(lambda m: m.type == "CON")
    is_content(response)
    assert wire.expect(seconds=4) == response, "a dropped response ACK: retransmission"
    wire.acknowledge(response)
    assert wire.receive(0.5) is None


def test_core_17_separate_by_non(wire: Wire) -> None:
    """[TD_COAP_CORE_17]"""
    began = time.monotonic()
    request = wire.send(GET, "/separate", type="NON")
    response = wire.expect()
    assert (response.type, response.token) == ("NON", request.token), "no acknowledgement before it"
    is_content(response)
    assert time.monotonic() - began >= DELAY


def test_core_18_location_path(wire: Wire) -> None:
    """[TD_COAP_CORE_18]"""
    answer = wire.ask(POST, "/test", b"new", content_format=TEXT)
    assert answer.code == Code.CREATED
    assert every(answer, "location_path") == [b"location1", b"location2", b"location3"]
    assert wire.ask(GET, "/location1/location2/location3").payload == b"new"


def test_core_19_location_query(wire: Wire) -> None:
    """[TD_COAP_CORE_19]"""
    answer = wire.ask(POST, "/location-query", b"new", content_format=TEXT)
    assert answer.code == Code.CREATED and every(answer, "location_query") == [b"first=1", b"second=2"]


def test_core_20_accept(wire: Wire) -> None:
    """[TD_COAP_CORE_20] [RFC7252-5.10.4-1]"""
    is_content(wire.ask(GET, "/multi-format", accept=TEXT), TEXT)
    is_content(wire.ask(GET, "/multi-format", accept=XML), XML)
    is_content(wire.ask(GET, "/multi-format"), TEXT)
    assert wire.ask(GET, "/multi-format", accept=JSON).code == Code.NOT_ACCEPTABLE


def test_core_21_etag(wire: Wire, port: int) -> None:
    """[TD_COAP_CORE_21] [RFC7252-5.9.1.3-1]"""
    first = wire.ask(GET, "/validate")
    is_content(first)
    tag = option(first, "etag")
    assert tag
    valid = wire.ask(GET, "/validate", etag=tag)
    assert (valid.code, option(valid, "etag"), valid.payload) == (Code.VALID, tag, b"")
    with Wire(port) as other:
        assert other.ask(PUT, "/validate", b"now " + str(time.time()).encode(), content_format=TEXT).code == Code.CHANGED
    changed = wire.ask(GET, "/validate", etag=tag)
    is_content(changed)
    assert option(changed, "etag") != tag and changed.payload != first.payload


def test_core_22_if_match(wire: Wire) -> None:
    """[TD_COAP_CORE_22] [RFC7252-5.10.8-1] [RFC7252-5.10.8-2]"""

    def put(text: str, **conditions: bytes) -> Code:
        return wire.ask(PUT, "/validate", f"{text} {time.time()}".encode(), content_format=TEXT, **conditions).code

    tag = option(wire.ask(GET, "/validate"), "etag")
    assert tag and put("first", if_match=tag) == Code.CHANGED
    second = wire.ask(GET, "/validate")
    assert second.payload.startswith(b"first") and option(second, "etag") not in (None, tag)
    assert put("second") == Code.CHANGED
    assert put("third", if_match=option(second, "etag") or b"") == Code.PRECONDITION_FAILED
    assert wire.ask(GET, "/validate").payload.startswith(b"second")
    assert put("any", if_match=b"") == Code.CHANGED


@pytest.mark.parametrize("path", ["/create1", "/create2", "/create3"])
def test_core_23_if_none_match(wire: Wire, path: str) -> None:
    """[TD_COAP_CORE_23]"""
    assert wire.ask(DELETE, path).code == Code.DELETED
    assert wire.ask(PUT, path, b"x", if_match=b"").code == Code.PRECONDITION_FAILED
    assert wire.ask(PUT, path, b"one", content_format=TEXT, if_none_match=b"").code == Code.CREATED
    assert wire.ask(PUT, path, b"two", content_format=TEXT, if_none_match=b"").code == Code.PRECONDITION_FAILED
    assert wire.ask(GET, path).payload == b"one"


def test_core_31_ping(wire: Wire) -> None:
    """[TD_COAP_CORE_31]"""
    wire.raw(b"\x40\x00\x12\x34")
    wire.socket.settimeout(PATIENCE)
    assert wire.socket.recv(100) == b"\x70\x00\x12\x34"


def test_methods_are_safe_and_idempotent(wire: Wire) -> None:
    """[RFC7252-5.1-1] [RFC7252-5.1-2]: what a GET answers it does not change; PUT and DELETE twice are as once."""
    for _ in range(2):
        assert wire.ask(GET, "/create3").code in (Code.NOT_FOUND, Code.CONTENT)
        assert wire.ask(PUT, "/create3", b"this").code in (Code.CREATED, Code.CHANGED)
        assert wire.ask(GET, "/create3", b"not this").payload == b"this"
    for _ in range(2):
        assert wire.ask(DELETE, "/create3").code == Code.DELETED
        assert wire.ask(GET, "/create3").code == Code.NOT_FOUND


def test_unknown_methods_are_not_allowed(wire: Wire) -> None:
    """[RFC7252-5.8-1]: on the acknowledgement, of every resource that there is"""
    for path in ("/test", "/large", "/separate", "/obs", "/create1", "/.well-known/core"):
        for method in (FETCH, 6, 7, 8, 31):
            answer = wire.ask(method, path)
            assert (answer.type, answer.code) == ("ACK", Code.METHOD_NOT_ALLOWED), path


def test_the_default_port_is_that_of_coap() -> None:
    """[RFC7252-7.1-1]"""
    for server in (plugtest, gateway):
        assert inspect.signature(server).parameters["port"].default == 5683


# ---- Block ----


def fetch_all(wire: Wire, path: str, szx: int | None) -> bytes:
    """Block by block, in the size that the server takes."""
    want = {} if szx is None else {"block2": block(0, False, szx)}
    answer = wire.ask(GET, path, **want)
    body, number, tag = b"", 0, option(answer, "etag")
    while True:
        is_content(answer)
        found = block_of(answer, "block2")
        assert found is not None and found[0] == number and found[2] <= (6 if szx is None else szx)
        body += answer.payload
        assert option(answer, "etag") == tag
        if not found[1]:
            assert 0 < len(answer.payload) <= 16 << found[2]
            return body
        assert len(answer.payload) == 16 << found[2]
        number += 1
        answer = wire.ask(GET, path, block2=block(number, False, found[2]))


def test_block_01_02_06_get(wire: Wire) -> None:
    """[TD_COAP_BLOCK_01] early, [TD_COAP_BLOCK_02] late negotiation, [TD_COAP_BLOCK_06] 16 bytes"""
    bodies = [fetch_all(wire, "/large", szx) for szx in (None, 0, 1, 2, 3, 6)]
    assert len(set(bodies)) == 1 and len(bodies[0]) > 1024
    late = wire.ask(GET, "/large")
    assert block_of(late, "block2") == (0, True, 2), "the server prefers 64 bytes"


def upload(wire: Wire, method: Code, path: str, body: bytes, szx: int) -> Message:
    """All blocks of a body; the last answer."""
    offset = 0
    while True:
        part = body[offset : offset + (16 << szx)]
        more = offset + len(part) < len(body)
        number = offset // (16 << szx)
        answer = wire.ask(method, path, part, content_format=TEXT, block1=block(number, more, szx))
        found = block_of(answer, "block1")
        assert found is not None and found[0] == number and found[2] <= szx
        if not more:
            assert not found[1]
            return answer
        assert (answer.code, found[1]) == (Code.CONTINUE, True)
        offset += len(part)
        szx = found[2]


@pytest.mark.parametrize("szx", [0, 2, 6])
def test_block_03_put(wire: Wire, szx: int) -> None:
    """[TD_COAP_BLOCK_03]"""
    body = b"".join(f"{n:5} {szx}\n".encode() for n in range(200))
    assert upload(wire, PUT, "/large-update", body, szx).code == Code.CHANGED
    assert fetch_all(wire, "/large-update", szx) == body


@pytest.mark.parametrize("szx", [0, 6])
def test_block_04_post_creates(wire: Wire, szx: int) -> None:
    """[TD_COAP_BLOCK_04]"""
    body = b"".join(f"{n:5} new\n".encode() for n in range(200))
    answer = upload(wire, POST, "/large-create", body, szx)
    assert answer.code == Code.CREATED
    where = every(answer, "location_path")
    assert where[0] == b"large-create" and len(where) == 2 and not any(b"/" in part for part in where)
    assert fetch_all(wire, "/" + b"/".join(where).decode(), 6) == body


def test_block_05_both_ways(wire: Wire) -> None:
    """[TD_COAP_BLOCK_05]"""
    body = b"x" * 300
    answer = upload(wire, POST, "/large-post", body, 2)
    got, number = b"", 0
    while True:
        found = block_of(answer, "block2")
        assert answer.code == Code.CHANGED and found is not None and found[0] == number
        assert len(answer.payload) == 64 or not found[1]
        got += answer.payload
        if not found[1]:
            break
        number += 1
        answer = wire.ask(POST, "/large-post", content_format=TEXT, block2=block(number, False, found[2]))
    assert got.startswith(b"X" * 300) and len(got) > 1300


def test_a_block_that_is_missing_is_told(wire: Wire) -> None:
    """RFC 7959 §2.9.2: 4.08."""
    assert wire.ask(PUT, "/large-update", b"x" * 64, block1=block(0, True, 2)).code == Code.CONTINUE
    answer = wire.ask(PUT, "/large-update", b"x" * 64, block1=block(2, True, 2))
    assert answer.code == Code.REQUEST_ENTITY_INCOMPLETE
    assert wire.ask(POST, "/large-post", block2=block(3, False, 2)).code == Code.REQUEST_ENTITY_INCOMPLETE
    large = wire.ask(PUT, "/large-update", b"x" * 1024, block1=block(64, True, 6))
    assert large.code == Code.REQUEST_ENTITY_INCOMPLETE


def test_a_body_that_never_ends_is_refused(wire: Wire) -> None:
    """RFC 7959 §2.9.3: 4.13, and nothing is kept of it."""
    number, code = 0, Code.CONTINUE
    while code == Code.CONTINUE and number < 2000:
        code = wire.ask(PUT, "/large-update", b"x" * 64, block1=block(number, True, 2)).code
        number += 1
    assert (code, number) == (Code.REQUEST_ENTITY_TOO_LARGE, 1025)
    assert wire.ask(PUT, "/large-update", b"x" * 64, block1=block(number, True, 2)).code == Code.REQUEST_ENTITY_INCOMPLETE


# ---- Observe ----


class Watched:
    """An observation by hand: each notification is acknowledged, and its number looked at."""

    def __init__(self, wire: Wire, path: str, type: str = "CON", **options: Any) -> None:
        self.wire = wire
        self.path = path
        self.token = b"obs" + type.encode()
        self.first = wire.ask(GET, path, type=type, token=self.token, observe=b"", **options)
        is_content(self.first)
        number = unsigned(self.first, "observe")
        assert number is not None
        self.number = number
        self.form = unsigned(self.first, "content_format")

    def next(self, type: str | None = "CON", acknowledge: bool = True) -> Message:
        """The next notification."""
        message = self.wire.expect(lambda m: m.token == self.token)
        assert type is None or message.type == type
        if message.type == "CON" and acknowledge:
            self.wire.acknowledge(message)
        if message.code == Code.CONTENT:
            number = unsigned(message, "observe")
            assert number is not None and 0 < (number - self.number) & 0xFFFFFF < 1 << 23
            self.number = number
            assert unsigned(message, "content_format") == self.form
            assert unsigned(message, "max_age") == 1
        return message

    def over(self) -> None:
        """Nothing comes any more."""
        assert self.wire.receive(3 * PERIOD) is None


def test_obs_01_con_notifications(wire: Wire) -> None:
    """[TD_COAP_OBS_01] [RFC7641-4.3.1-2] [RFC7641-4.3.1-3]"""
    watched = Watched(wire, "/obs")
    payloads = [watched.next().payload for _ in range(3)]
    assert len(set(payloads)) == 3


def test_obs_02_non_notifications(wire: Wire) -> None:
    """[TD_COAP_OBS_02]"""
    watched = Watched(wire, "/obs-non", type="NON")
    assert len({watched.next("NON").payload for _ in range(3)}) == 3


def test_obs_04_a_server_that_forgot_takes_the_client_back(wire: Wire, port: int) -> None:
    """[TD_COAP_OBS_04]"""
    watched = Watched(wire, "/obs")
    assert unsigned(watched.first, "max_age") == 1, "rounded up: how long it is fresh"
    watched.next()
    with Wire(port) as other:
        assert other.ask(POST, "/obs-reset").code == Code.CHANGED
    while wire.receive(2 * PERIOD) is not None:
        pass
    watched.over()
    watched = Watched(wire, "/obs")
    watched.next()


def test_obs_05_a_client_that_is_off_is_given_up(wire: Wire) -> None:
    """[TD_COAP_OBS_05]: what is sent again has the new state and its number. (That it ends is the endpoint's own test.)"""
    watched = Watched(wire, "/obs")
    first = watched.next(acknowledge=False)
    again = watched.next(acknowledge=False)
    assert again.payload != first.payload and unsigned(again, "observe") != unsigned(first, "observe")


@pytest.mark.parametrize(("path", "type"), [("/obs", "CON"), ("/obs-non", "NON")])
def test_obs_06_rst_ends_it(wire: Wire, path: str, type: str) -> None:
    """[TD_COAP_OBS_06]"""
    watched = Watched(wire, path)
    notification = watched.next(type, acknowledge=False)
    wire.acknowledge(notification, "RST")
    watched.over()


def test_obs_07_delete_ends_it(wire: Wire, port: int) -> None:
    """[TD_COAP_OBS_07]"""
    watched = Watched(wire, "/obs")
    watched.next()
    with Wire(port) as other:
        assert other.ask(DELETE, "/obs").code == Code.DELETED
    end = watched.next()
    while end.code == Code.CONTENT:
        end = watched.next()
    assert end.code == Code.NOT_FOUND and option(end, "observe") is None
    watched.over()


def test_obs_08_another_content_format_ends_it(wire: Wire, port: int) -> None:
    """[TD_COAP_OBS_08] [RFC7641-4.2-3] [RFC7641-4.2-4]"""
    watched = Watched(wire, "/obs")
    watched.next()
    with Wire(port) as other:
        assert other.ask(PUT, "/obs", b"{}", content_format=JSON).code == Code.CHANGED
        is_content(other.ask(GET, "/obs"), JSON)
    end = watched.next()
    while end.code == Code.CONTENT:
        end = watched.next()
    assert end.code == Code.NOT_ACCEPTABLE and option(end, "observe") is None
    watched.over()


def test_obs_09_an_update_is_told(wire: Wire, port: int) -> None:
    """[TD_COAP_OBS_09]"""
    watched = Watched(wire, "/obs")
    watched.next()
    with Wire(port) as other:
        assert other.ask(PUT, "/obs", b"the new value", content_format=TEXT).code == Code.CHANGED
    while watched.next().payload != b"the new value":
        pass
    assert watched.next().payload == b"the new value"


def test_obs_10_a_get_does_not_end_it(wire: Wire) -> None:
    """[TD_COAP_OBS_10]"""
    watched = Watched(wire, "/obs")
    watched.next()
    plain = wire.ask(GET, "/obs")
    is_content(plain)
    assert option(plain, "observe") is None
    watched.next()


def test_obs_11_one_notification_at_a_time(wire: Wire) -> None:
    """[TD_COAP_OBS_11]: unacknowledged, none of a new message ID follows before the time for the next try is over."""
    watched = Watched(wire, "/obs")
    watched.next(acknowledge=False)
    assert wire.receive(1.9) is None
    watched.next()
    watched.next()


def test_obs_12_observe_1_ends_it(wire: Wire) -> None:
    """[TD_COAP_OBS_12]"""
    watched = Watched(wire, "/obs")
    watched.next()
    last = wire.ask(GET, "/obs", token=watched.token, observe=1)
    is_content(last)
    assert option(last, "observe") is None
    watched.over()


def test_obs_13_large_representations(wire: Wire) -> None:
    """[TD_COAP_OBS_13]"""
    watched = Watched(wire, "/obs-large")
    for message in (watched.first, watched.next()):
        assert block_of(message, "block2") == (0, True, 2) and len(message.payload) == 64
    number, body = 0, b""
    head = watched.next()
    tag = option(head, "etag")
    while True:
        number += 1
        answer = wire.ask(GET, "/obs-large", block2=block(number, False, 2))
        if option(answer, "etag") != tag:
            number, body, head = 0, b"", watched.next()
            tag = option(head, "etag")
            continue
        body += answer.payload
        if not block_of(answer, "block2")[1]:  # type: ignore[index]
            break
    assert len(head.payload + body) > 320


@pytest.mark.parametrize(("path", "type"), [("/obs-pumping", "CON"), ("/obs-pumping-non", "NON")])
def test_obs_14_sizes_that_vary(wire: Wire, path: str, type: str) -> None:
    """[TD_COAP_OBS_14]"""
    watched = Watched(wire, path)
    found = [block_of(watched.next(type), "block2") for _ in range(4)]
    assert found.count(None) == 2 and found.count((0, True, 2)) == 2


# ---- Link ----


def links(wire: Wire, query: str = "", path: str = "/.well-known/core") -> dict[str, dict[str, str]]:
    """A list of links, whole."""
    answer = wire.ask(GET, path + query, block2=block(0, False, 6))
    document, number = b"", 0
    while True:
        is_content(answer, LINKS)
        document += answer.payload
        found = block_of(answer, "block2")
        if found is None or not found[1]:
            break
        number += 1
        answer = wire.ask(GET, path + query, block2=block(number, False, found[2]))
    return {target: dict(attributes) for target, attributes in coap.read_links(document.decode())}


def test_link_01_discovery(wire: Wire) -> None:
    """[TD_COAP_LINK_01] [RFC7252-7.2.1-1] [RFC7641-6-1] [RFC7641-6-2]"""
    found = links(wire)
    raw = coap.read_links(coap.write_links([(path, list(about.items())) for path, about in LINK_TABLE]))
    assert found == {path: dict(attributes) for path, attributes in raw}
    for attributes in found.values():
        assert all(0 <= int(form) <= 65535 for form in attributes.get("ct", "").split())
        assert attributes.get("obs", "") == ""
    for path in found:
        if path not in ("/large-create", "/large-post", "/location-query", "/obs-reset"):
            assert wire.ask(GET, path, type="NON").code == Code.CONTENT, path
    assert {"/test", "/large", "/obs", "/validate", "/path"} <= set(found)


@pytest.mark.parametrize(
    ("query", "targets"),
    [
        # One of several types.
        ("rt=Type1", {"/link1", "/link3"}),
        ("rt=Type2", {"/link1", "/link2"}),
        ("rt=Type3", {"/link2", "/link3"}),
        ("rt=Type", set()),
        ("if=If*", {"/link1", "/link2"}),
        ("if=foo", {"/link3"}),
        ("href=/link1", {"/link1"}),
        ("href=/link*", {"/link1", "/link2", "/link3"}),
        ("rt=Type1&if=If1", {"/link1"}),
    ],
)
def test_link_02_04_05_07_08_filters(wire: Wire, query: str, targets: set[str]) -> None:
    """[TD_COAP_LINK_02] [TD_COAP_LINK_04] [TD_COAP_LINK_05] [TD_COAP_LINK_07] [TD_COAP_LINK_08]"""
    if targets:
        assert set(links(wire, f"?{query}")) == targets
    else:
        answer = wire.ask(GET, f"/.well-known/core?{query}")
        assert (answer.code, answer.payload) == (Code.CONTENT, b"")


@pytest.mark.parametrize("attribute", ["rt", "sz", "ct", "if"])
def test_link_03_06_any_value(wire: Wire, attribute: str) -> None:
    """[TD_COAP_LINK_03] [TD_COAP_LINK_06]"""
    every_link = links(wire)
    found = links(wire, f"?{attribute}=*")
    assert found == {path: link for path, link in every_link.items() if attribute in link}
    assert 0 < len(found) < len(every_link)


def test_link_09_hierarchy(wire: Wire) -> None:
    """[TD_COAP_LINK_09]"""
    assert links(wire)["/path"]["ct"] == "40"
    below = links(wire, path="/path")
    assert set(below) == {"/path/sub1", "/path/sub2", "/path/sub3"}
    for path in below:
        answer = wire.ask(GET, path)
        is_content(answer)
        assert path.encode() in answer.payload
