"""Blocks side by side from servers that are not ours, over a link that loses and delays."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from conftest import PATIENCE, aiocoap_server, libcoap_server, make_image

from waft import coap
from waft.aio.coap import CoapClient
from waft.aio.coap_server import Asked, Reply, serve_coap
from waft.testing import Link, Relay


async def fetch(port: int, path: str, link: Link, window: int) -> tuple[bytes, list[bytes]]:
    """The file at ``path``, and the requests that went out for it."""
    async with Relay(port, link) as relay, await CoapClient.open() as client:
        uri = f"coap://127.0.0.1:{relay.port}{path}"
        answer = await asyncio.wait_for(client.get(uri, window=window), PATIENCE)
        assert answer.code == coap.Code.CONTENT
        return answer.payload, [passed.data for passed in relay.seen if passed.to_server]


@pytest.mark.parametrize("loss", [0.0, 0.05])
async def test_libcoaps_server_gives_a_window_of_blocks(loss: float) -> None:
    body = make_image(64 * 1024)
    with libcoap_server() as port:
        async with await CoapClient.open() as client:
            await asyncio.wait_for(client.put(f"coap://127.0.0.1:{port}/image", body), PATIENCE)
        got, requests = await fetch(port, "/image", Link(loss=loss, delay=0.02, seed=5), 16)
        assert got == body
        tokens = {coap.decode(request).token for request in requests}
        assert len(tokens) == 64, "one request with a token of its own for each block"


@pytest.mark.parametrize("loss", [0.0, 0.05])
async def test_aiocoaps_file_server_gives_a_window_of_blocks(tmp_path: Path, loss: float) -> None:
    body = make_image(64 * 1024 + 7)
    (tmp_path / "image").write_bytes(body)
    with aiocoap_server(tmp_path) as port:
        got, requests = await fetch(port, "/image", Link(loss=loss, delay=0.02, seed=6), 16)
        assert got == body
        # It does not say how long the file is: the end is found by asking beyond it, a window's worth at most.
        tokens = {coap.decode(request).token for request in requests}
        assert 65 <= len(tokens) <= 65 + 16


async def put(
    port: int, path: str, body: bytes, link: Link, back: Link | None = None
) -> tuple[coap.Code, list[coap.Message]]:
    """What comes of putting the body there block by block, several at a time, and the answers that were no 2.31."""
    async with Relay(port, link, back=back) as relay, await CoapClient.open() as client:
        uri = f"coap://127.0.0.1:{relay.port}{path}"
        answer = await asyncio.wait_for(client.put(uri, body, random_access=True), PATIENCE)
        answers = [coap.decode(passed.data) for passed in relay.seen if not passed.to_server]
        return answer.code, [a for a in answers if a.code not in (coap.Code.EMPTY, coap.Code.CONTINUE)]


@pytest.mark.parametrize("loss", [0.0, 0.05])
async def test_a_server_of_ours_takes_each_block_by_itself_and_keeps_nothing(loss: float) -> None:
    body = make_image(64 * 1024 + 7)
    file = bytearray(len(body))

    def take_block(asked: Asked, offset: int, more: bool) -> Reply | None:
        if asked.path != ("log",):
            return None
        file[offset : offset + len(asked.payload)] = asked.payload
        return Reply(coap.Code.CHANGED)

    async with await serve_coap(lambda asked: Reply(coap.Code.NOT_FOUND), take_block=take_block) as server:
        code, answers = await put(server.port, "/log", body, Link(loss=loss, delay=0.02, seed=8))
        assert code == coap.Code.CHANGED and file == body
        assert {a.code for a in answers} == {coap.Code.CHANGED}
        # What it does not take so is put together first.
        code, _ = await put(server.port, "/other", body, Link(loss=loss, delay=0.02, seed=8))
        assert code == coap.Code.NOT_FOUND


@pytest.mark.parametrize("loss", [0.0, 0.05])
async def test_a_server_of_ours_that_puts_blocks_together_gets_them_in_order(loss: float) -> None:
    body, got = make_image(64 * 1024 + 7), []

    def handler(asked: Asked) -> Reply:
        got.append(asked.payload)
        return Reply(coap.Code.CHANGED)

    async with await serve_coap(handler) as server:
        code, answers = await put(server.port, "/log", body, Link(loss=loss, delay=0.02, seed=9))
        assert code == coap.Code.CHANGED and got == [body]
        refused = {a.code for a in answers} - {coap.Code.CHANGED}
        assert refused == ({coap.Code.REQUEST_ENTITY_INCOMPLETE} if loss else set())


@pytest.mark.parametrize(("lost", "refused"), [((), False), ((6, 14, 20), False), ((7, 9, 11, 13, 15, 17, 19, 21), True)])
async def test_libcoaps_server_puts_a_window_of_blocks_together(lost: tuple[int, ...], refused: bool) -> None:
    body = make_image(64 * 1024)
    # By itself (`-L 3`): its example, left to do it block by block, mixes up what comes late. More than four gaps are too many for
    # it: it says 4.08 and drops what it had. (It does not know duplicates: no answer is lost here.)
    with libcoap_server("-L", "3") as port:
        link = Link(drop=lost, delay=0.02)
        code, answers = await put(port, "/image", body, link, back=Link(delay=0.02))
        assert code.is_success
        assert (coap.Code.REQUEST_ENTITY_INCOMPLETE in {a.code for a in answers}) == refused
        got, _ = await fetch(port, "/image", Link(delay=0.001), 16)
        assert got == body


@pytest.mark.parametrize("loss", [0.0, 0.05])
async def test_aiocoaps_file_server_gets_the_rest_in_order_where_a_block_is_lost(tmp_path: Path, loss: float) -> None:
    body = make_image(64 * 1024 + 7)
    with aiocoap_server(tmp_path, "--write") as port:
        code, answers = await put(port, "/image", body, Link(loss=loss, delay=0.02, seed=11))
        assert code.is_success and (tmp_path / "image").read_bytes() == body
        # It says so by 5.00.
        assert {str(a.code) for a in answers} == ({"2.04", "5.00"} if loss else {"2.04"})


def test_a_window_and_a_policy_are_asked_for_and_checked() -> None:
    endpoint = coap.Endpoint(seed=1, policy="cocoa")
    exchange = endpoint.request(0, 1, coap.Code.GET, "/x", window=4, offset=64, until=256)
    assert endpoint.position(exchange) == 64
    with pytest.raises(ValueError, match="standard, cocoa or windowed"):
        coap.Endpoint(policy="reno")
