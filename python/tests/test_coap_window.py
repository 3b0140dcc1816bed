"""Blocks side by side from servers that are not ours, over a link that loses and delays."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from conftest import PATIENCE, aiocoap_server, libcoap_server, make_image

from waft import coap
from waft.aio.coap import CoapClient
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


def test_a_window_and_a_policy_are_asked_for_and_checked() -> None:
    endpoint = coap.Endpoint(seed=1, policy="cocoa")
    exchange = endpoint.request(0, 1, coap.Code.GET, "/x", window=4, offset=64, until=256)
    assert endpoint.position(exchange) == 64
    with pytest.raises(ValueError, match="standard, cocoa or windowed"):
        coap.Endpoint(policy="reno")
