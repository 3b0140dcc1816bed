"""The CoAP endpoint without any I/O."""

from __future__ import annotations

from typing import Any

import pytest

import waft
from waft import coap
from waft.testing import Link, Pair


def pair_of(drop: tuple[int, ...] = ()) -> Pair[coap.Endpoint, coap.Endpoint]:
    """Two endpoints and a link that loses these datagrams."""
    return Pair(coap.Endpoint(seed=1), coap.Endpoint(seed=2), link=Link(drop=drop))


class Files:
    """The second end serves bodies by path and can be observed."""

    def __init__(self, drop: tuple[int, ...] = (), link: Link | None = None) -> None:
        link = link if link is not None else Link(drop=drop)
        self.pair = Pair(coap.Endpoint(seed=1), coap.Endpoint(seed=2), link=link, on_event=self.serve)
        self.ends = (self.pair.left, self.pair.right)
        self.told = self.pair.told
        self.run = self.pair.run
        self.files = {"/f": bytes(range(256)) * 40}

    @property
    def now(self) -> int:
        return self.pair.now

    def serve(self, side: int, event: coap.Event) -> None:
        if side == 1 and isinstance(event, coap.Request):
            body = self.files.get(event.path)
            if body is None:
                self.ends[1].respond(self.now, event.id, coap.Code.NOT_FOUND, b"")
            else:
                observe = 1 if event.id.observes else None
                options = [(4, b"v1")]
                self.ends[1].respond(self.now, event.id, coap.Code.CONTENT, body, options=options, observe=observe)

    def body(self) -> bytes:
        return b"".join(e.payload for e in self.told[0] if isinstance(e, coap.Response))


@pytest.mark.parametrize("szx", [0, 2, 6])
@pytest.mark.parametrize("drop", [(), (0,), (1, 2), (3, 7, 8)])
def test_a_body_comes_by_blocks_and_survives_loss(szx: int, drop: tuple[int, ...]) -> None:
    pair = Files(drop)
    exchange = pair.ends[0].request(0, 0, coap.Code.GET, "/f", szx=szx)
    pair.run(120)
    responses = [e for e in pair.told[0] if isinstance(e, coap.Response)]
    assert pair.body() == pair.files["/f"]
    assert all(r.exchange == exchange and r.code == coap.Code.CONTENT and r.etag == b"v1" for r in responses)
    assert [r.last for r in responses].count(True) == 1 and responses[-1].last
    assert responses[-1].total == 10_240


@pytest.mark.parametrize("seed", range(20))
def test_a_body_survives_a_link_that_does_everything_links_do(seed: int) -> None:
    link = Link(loss=0.15, duplicate=0.1, reorder=0.1, delay=0.05, jitter=0.1, seed=seed)
    pair = Files(link=link)
    pair.ends[0].request(0, 0, coap.Code.GET, "/f", szx=6)
    pair.run(600)
    assert pair.body() == pair.files["/f"]


class Taking:
    """The second end takes one body: each block by itself, or in order only. The first gives it whole or block by block."""

    def __init__(self, ordered: bool, link: Link) -> None:
        self.ordered = ordered
        self.pair = Pair(coap.Endpoint(seed=1), coap.Endpoint(seed=2), link=link, on_event=self.event)
        self.body = bytes(range(256)) * 40 + b"end"
        self.taken = bytearray()
        self.offsets: list[int] = []
        self.refused = 0

    def event(self, side: int, event: coap.Event) -> None:
        if isinstance(event, coap.BodyWanted):
            part = self.body[event.offset : event.offset + event.len]
            self.pair.left.body(self.pair.now, event.exchange, part)
        elif isinstance(event, coap.Request):
            self.offsets.append(event.offset)
            code = coap.Code.CONTINUE if self.ordered and event.more else coap.Code.CHANGED
            if self.ordered and event.offset > len(self.taken):
                code = coap.Code.REQUEST_ENTITY_INCOMPLETE
                self.refused += 1
            else:
                end = event.offset + len(event.payload)
                self.taken.extend(bytes(max(end - len(self.taken), 0)))
                self.taken[event.offset : end] = event.payload
            self.pair.right.respond(self.pair.now, event.id, code, b"")

    def put(self, **how: Any) -> list[coap.Event]:
        self.pair.left.request(0, 0, coap.Code.PUT, "/log", szx=4, window=16, **how)
        self.pair.run(600)
        return [e for e in self.pair.told[0] if not isinstance(e, coap.BodyWanted)]


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_blocks_of_a_body_go_side_by_side_or_in_order_to_who_takes_no_others(
    ordered: bool, streamed: bool, seed: int
) -> None:
    link = Link(loss=0.03 * seed, duplicate=0.05, delay=0.02, seed=seed)
    taking = Taking(ordered, link)
    given: dict[str, Any] = {"payload_len": len(taking.body)} if streamed else {"payload": taking.body}
    (answer,) = taking.put(random_access=True, **given)
    assert isinstance(answer, coap.Response) and answer.code == coap.Code.CHANGED and answer.last
    assert taking.taken == taking.body
    assert taking.offsets[0] == 0 and taking.offsets[-1] == 10_240
    lost = seed > 1
    assert not lost or taking.offsets != sorted(taking.offsets) or taking.refused
    assert ordered or taking.refused == 0


def test_nobody_is_taken_to_take_blocks_in_any_order() -> None:
    taking = Taking(True, Link(loss=0.1, delay=0.02, seed=3))
    (answer,) = taking.put(payload=taking.body)
    assert isinstance(answer, coap.Response) and answer.code == coap.Code.CHANGED
    assert taking.taken == taking.body and taking.refused == 0


def test_random_access_begins_at_an_offset() -> None:
    pair = Files()
    pair.ends[0].request(0, 0, coap.Code.GET, "/f", offset=9216, etag=b"v1")
    pair.run(10)
    assert pair.body() == pair.files["/f"][9216:]


def test_a_body_that_no_memory_holds_is_answered_for_by_parts() -> None:
    whole, asked = bytes(range(256)) * 40, []

    def serve(side: int, event: coap.Event) -> None:
        if side == 1 and isinstance(event, coap.Request):
            offset, length = event.id.wanted
            asked.append((offset, length))
            with pytest.raises(waft.Misuse):
                pair.right.respond(pair.now, event.id, coap.Code.CONTENT, b"", offset=offset, total=len(whole))
            part = whole[offset : offset + length]
            pair.right.respond(pair.now, event.id, coap.Code.CONTENT, part, observe=1, offset=offset, total=len(whole))

    pair = Pair(coap.Endpoint(seed=1), coap.Endpoint(seed=2), on_event=serve)
    pair.left.request(0, 0, coap.Code.GET, "/f", observe=True, szx=4)
    pair.run(10)
    got = [e for e in pair.told[0] if isinstance(e, coap.Response)]
    assert b"".join(e.payload for e in got) == whole and asked == [(at, 256) for at in range(0, len(whole), 256)]
    whole = whole[::-1]
    with pytest.raises(waft.Misuse):
        pair.right.notify(pair.now, 1, coap.Code.CONTENT, whole[:100], total=len(whole))
    assert pair.right.notify(pair.now, 1, coap.Code.CONTENT, whole[:1024], total=len(whole)) == 1
    pair.run(10)
    again = [e for e in pair.told[0] if isinstance(e, coap.Response)][len(got) :]
    assert b"".join(e.payload for e in again) == whole


def test_what_is_not_there_is_4_04() -> None:
    pair = Files()
    pair.ends[0].request(0, 0, coap.Code.GET, "/none")
    pair.run(10)
    [response] = pair.told[0]
    assert isinstance(response, coap.Response)
    assert str(response.code) == "4.04" and not response.code.is_success


def test_observers_are_told() -> None:
    pair = Files()
    pair.files["/f"] = b"one"
    exchange = pair.ends[0].request(0, 0, coap.Code.GET, "/f", observe=True)
    pair.run(1)
    assert pair.ends[1].observers(1) == 1
    pair.files["/f"] = b"two"
    assert pair.ends[1].notify(pair.now, 1, coap.Code.CONTENT, b"two", options=[(4, b"v2")]) == 1
    pair.run(1)
    got = [e for e in pair.told[0] if isinstance(e, coap.Response)]
    assert [e.payload for e in got] == [b"one", b"two"]
    assert all(e.observe is not None for e in got)
    pair.ends[0].cancel(pair.now, exchange)
    pair.run(1)
    assert pair.ends[1].observers(1) == 0


def test_nobody_there_is_a_failure_in_the_end() -> None:
    pair = pair_of(drop=tuple(range(100)))
    exchange = pair.left.request(0, 0, coap.Code.GET, "/")
    pair.run(300)
    assert pair.told[0] == [coap.Failed(exchange, "Timeout")]


def test_noise_is_dropped_and_counted() -> None:
    endpoint = coap.Endpoint()
    for noise in (b"", b"\x00", b"\xff" * 40, b"\x40\x01"):
        assert endpoint.handle_input(0, 0, noise).event is None
    assert endpoint.stats["malformed"] == 4


def test_misuse_says_what_is_wrong() -> None:
    endpoint = coap.Endpoint()
    with pytest.raises(waft.Misuse) as e:
        endpoint.cancel(0, 77)
    assert e.value.name == "UnknownId"
    with pytest.raises(waft.Misuse):
        endpoint.request(0, 0, coap.Code.GET, "no slash")
    with pytest.raises(ValueError, match="1 to 8 bytes"):
        endpoint.request(0, 0, coap.Code.GET, "/", etag=b"")


def test_uris_are_taken_apart() -> None:
    assert coap.split_uri("coap://[::1]/a?b=c") == ("::1", 5683, "/a?b=c")
    for wrong in ("http://h/", "coap:///a", "coap://h/#f", "h"):
        with pytest.raises(ValueError, match="CoAP URI"):
            coap.split_uri(wrong)


def _sent(endpoint: coap.Endpoint, now: int) -> list[coap.Message]:
    """All datagrams that are due, decoded."""
    messages = []
    while isinstance(output := endpoint.poll_output(now), waft.Transmit):
        messages.append(coap.decode(output.data))
    return messages


def test_a_multicast_request_is_answered_within_the_leisure_and_only_with_something_to_say() -> None:
    for code, body, answers in [(coap.Code.CONTENT, b"here", 1), (coap.Code.NOT_FOUND, b"x", 0), (coap.Code.CHANGED, b"", 0)]:
        server = coap.Endpoint(seed=3, leisure=2_000_000)
        datagram = coap.Message("NON", coap.Code.GET, 7, b"t").encode()
        event = server.handle_multicast(0, 1, datagram).event
        assert isinstance(event, coap.Request) and event.id.multicast
        server.respond(0, event.id, code, body)
        assert not _sent(server, 0)
        assert len(_sent(server, 2_000_000)) == answers
    assert server.handle_multicast(0, 1, coap.Message("CON", coap.Code.GET, 8).encode()).event is None


def test_a_client_shows_that_it_is_there_before_it_gets_much() -> None:
    server = coap.Endpoint(seed=3, unproven=0)

    def ask(mid: int, options: list[coap.Option]) -> tuple[coap.Request, coap.Message]:
        event = server.handle_input(0, 1, coap.Message("CON", coap.Code.GET, mid, b"t", options).encode()).event
        assert isinstance(event, coap.Request)
        server.respond(0, event.id, coap.Code.CONTENT, bytes(500))
        (answer,) = _sent(server, 0)
        return event, answer

    event, answer = ask(1, [])
    assert not event.id.proven and answer.code == coap.Code.UNAUTHORIZED and server.stats["challenged"] == 1
    event, answer = ask(2, [option for option in answer.options if option[0] == 252])
    assert event.id.proven and answer.code == coap.Code.CONTENT and len(answer.payload) == 500


def test_a_host_may_ask_for_freshness() -> None:
    server = coap.Endpoint(seed=3)
    event = server.handle_input(0, 1, coap.Message("CON", coap.Code.POST, 1).encode()).event
    assert isinstance(event, coap.Request)
    server.challenge(0, event.id)
    (answer,) = _sent(server, 0)
    assert answer.code == coap.Code.UNAUTHORIZED and [number for number, _ in answer.options] == [252]
    with pytest.raises(waft.Misuse):
        server.challenge(0, event.id)


def test_a_proxys_requests_come_where_they_are_wanted() -> None:
    request = coap.Message("CON", coap.Code.GET, 1, b"", [(39, b"coap")]).encode()
    assert coap.Endpoint().handle_input(0, 1, request).event is None
    assert isinstance(coap.Endpoint(proxy=True).handle_input(0, 1, request).event, coap.Request)


@pytest.mark.parametrize(
    ("method", "options", "exists", "etag", "code"),
    [
        (coap.Code.GET, [(4, b"a"), (4, b"b")], True, b"b", coap.Code.VALID),
        (coap.Code.GET, [(4, b"a")], True, b"b", None),
        (coap.Code.PUT, [(1, b"a")], True, b"b", coap.Code.PRECONDITION_FAILED),
        (coap.Code.PUT, [(1, b"")], True, None, None),
        (coap.Code.PUT, [(5, b"")], True, None, coap.Code.PRECONDITION_FAILED),
        (coap.Code.PUT, [(5, b"")], False, None, None),
    ],
)
def test_conditions(
    method: int, options: list[coap.Option], exists: bool, etag: bytes | None, code: coap.Code | None
) -> None:
    assert coap.condition(method, options, exists, etag) == code


def test_a_silent_peer_is_sent_its_rate_and_no_more() -> None:
    for rate, waits in ((1, 1009), (100, 93)):
        client = coap.Endpoint(seed=3, probing_rate=rate)
        for now in (0, 93_000_000):
            client.request(now, 9, coap.Code.POST, "/log", bytes(996), confirmable=False)
            assert len(_sent(client, now)) == (now == 0 or rate == 100)
        assert client.next_timeout() == (2 * 93_000_000 if rate == 100 else waits * 1_000_000 + 64)


def test_a_group_is_asked_once_and_each_member_answers() -> None:
    client = coap.Endpoint(seed=3)
    exchange = client.request(0, 9, coap.Code.GET, "/light", confirmable=False, group=True)
    (asked,) = _sent(client, 0)
    for member in (1, 2):
        answer = coap.Message("NON", coap.Code.CONTENT, 7, asked.token, [], bytes([member])).encode()
        event = client.handle_input(0, member, answer).event
        assert event == coap.GroupResponse(exchange, member, coap.Code.CONTENT, [], bytes([member]))
        assert client.handle_input(0, member, answer).event is None
    assert client.poll_output(93_000_000) == coap.Failed(exchange, "Timeout")
    with pytest.raises(waft.Misuse):
        client.request(0, 9, coap.Code.GET, "/light", group=True)


class Forwarding:
    """A client, a proxy and a server: peers 1, 2 and 3, without a network."""

    def __init__(self) -> None:
        self.client, self.middle, self.server = coap.Endpoint(seed=1), coap.Endpoint(seed=2, proxy=True), coap.Endpoint(seed=3)
        self.rules = coap.Proxy()
        self.told: list[coap.Event] = []
        self.waiting: dict[int, tuple[coap.Request, coap.ProxyForward, list[coap.Response]]] = {}
        self.served = 0

    def react(self, now: int, who: coap.Endpoint, event: coap.Event) -> None:
        if who is self.client:
            self.told.append(event)
        elif who is self.server and isinstance(event, coap.Request):
            self.served += 1
            who.respond(now, event.id, coap.Code.CONTENT, event.path.encode() * 500, options=[(4, b"v1"), (14, b"\x0a")])
        elif isinstance(event, coap.Request):
            step = self.rules.request(now, event.code, event.options, event.payload)
            if isinstance(step, coap.ProxyAnswer):
                who.respond(now, event.id, step.code, step.body, options=step.options)
                return
            _, _, target = coap.split_uri(step.uri)
            exchange = who.request(now, 3, step.method, target, event.payload, options=step.options)
            self.waiting[exchange] = (event, step, [])
        elif isinstance(event, coap.Response):
            request, forward, blocks = self.waiting[event.exchange]
            blocks.append(event)
            if event.last:
                body = b"".join(block.payload for block in blocks)
                answer = self.rules.response(now, forward, event.code, blocks[0].options, body)
                who.respond(now, request.id, answer.code, answer.body, options=answer.options)

    def run(self, now: int) -> None:
        ends = {1: self.client, 2: self.middle, 3: self.server}
        busy = True
        while busy:
            busy = False
            for number, end in ends.items():
                while not isinstance(output := end.poll_output(now), waft.Timeout):
                    busy = True
                    if isinstance(output, waft.Transmit):
                        event = ends[output.peer].handle_input(now, number, output.data).event
                        if event is not None:
                            self.react(now, ends[output.peer], event)

    def get(self, now: int, uri: bytes, options: list[coap.Option] | None = None) -> list[coap.Response]:
        self.told.clear()
        self.client.request(now, 2, coap.Code.GET, "/", options=[*(options or []), (35, uri)])
        self.run(now)
        return [event for event in self.told if isinstance(event, coap.Response)]


def test_a_proxy_passes_on_and_keeps_what_it_got() -> None:
    net = Forwarding()
    blocks = net.get(0, b"coap://server/f")
    assert b"".join(block.payload for block in blocks) == b"/f" * 500
    # Each block of the client's was had from the cache, but the first.
    fetched, hits = net.served, net.rules.counts[1]
    again = net.get(4_000_000, b"coap://SERVER:5683/f")
    assert b"".join(block.payload for block in again) == b"/f" * 500 and net.served == fetched
    assert net.rules.counts[1] > hits and (14, b"\x06") in again[0].options
    (valid,) = net.get(4_000_000, b"coap://server/f", [(4, b"v1")])
    assert valid.code == coap.Code.VALID
    (refused,) = net.get(0, b"http://server/f")
    assert refused.code == coap.Code.PROXYING_NOT_SUPPORTED
    assert coap.Proxy.failed("Timeout").code == coap.Code.GATEWAY_TIMEOUT
    assert coap.Proxy.failed().code == coap.Code.BAD_GATEWAY


def test_a_request_taken_at_once_is_the_one_that_an_event_tells() -> None:
    options = [(6, b""), (11, b"a"), (11, b"\xff"), (12, b"*"), (15, b"q=1"), (27, b"\x1e"), (60, b"\x10")]
    for number, wire in enumerate(
        (
            coap.Message("CON", coap.Code.GET, 1, b"t", [(6, b""), (11, b"a"), (23, b"\x10")]).encode(),
            coap.Message("NON", coap.Code.PUT, 2, b"", options[1:], b"x" * 1024).encode(),
            coap.Message("CON", coap.Code.POST, 3, b"12345678").encode(),
        )
    ):
        event = coap.Endpoint().handle_input(0, 7, wire).event
        request = coap.Endpoint().handle_request(0, 7, wire)
        assert isinstance(event, coap.Request) and request is not None
        block1 = (event.offset, event.more) if number == 1 else None
        path, queries = event.path.removeprefix("/"), event.queries
        assert request[0].peer == 7 and request[0].token == event.id.token
        assert request[1:3] == (event.id.wanted[0], block1)
        assert request[3:] == (
            event.code,
            tuple(path.split("/")) if path else (),
            tuple(queries),
            tuple(event.options),
            event.payload,
            event.id.observes,
        )
    for noise in (b"", b"\x40\x00\x12\x34", b"\x60\x45\x00\x01"):
        assert coap.Endpoint().handle_request(0, 7, noise) is None


def test_all_output_at_once_is_what_it_is_one_by_one() -> None:
    outcomes = []
    for at_once in (False, True):
        endpoint = coap.Endpoint(seed=3)
        for peer in (1, 2):
            endpoint.handle_request(0, peer, b"\x40\x00\x12\x34")
            endpoint.request(0, peer, coap.Code.GET, "/a")
        if at_once:
            outcomes.append(endpoint.poll_all(0))
            continue
        datagrams: list[tuple[int, bytes]] = []
        while not isinstance(output := endpoint.poll_output(0), waft.Timeout):
            assert isinstance(output, waft.Transmit)
            datagrams.append((output.peer, output.data))
        outcomes.append((datagrams, [], output.at))
    assert outcomes[0] == outcomes[1] and len(outcomes[0][0]) == 4
