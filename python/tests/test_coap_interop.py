"""Our CoAP client against libcoap's coap-server and aiocoap's servers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PATIENCE, aiocoap_server, free_port, libcoap_server, make_image

from waft import coap
from waft.aio.coap import CoapClient, CoapError


@pytest.fixture
def coap_server() -> Iterator[int]:
    with libcoap_server() as port:
        yield port


@pytest.fixture
def file_server(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    root = tmp_path / "served"
    root.mkdir()
    with aiocoap_server(root) as port:
        yield port, root


@pytest.mark.parametrize("szx", [2, 6])
async def test_libcoap_keeps_what_is_put_and_gives_it_back(coap_server: int, szx: int) -> None:
    body = make_image(30_000)
    async with await CoapClient.open() as client:
        uri = f"coap://127.0.0.1:{coap_server}/lamp/image"
        answer = await asyncio.wait_for(client.put(uri, body, szx=szx), PATIENCE)
        assert answer.code.is_success
        answer = await asyncio.wait_for(client.get(uri, szx=szx), PATIENCE)
        assert (answer.code, answer.payload) == (coap.Code.CONTENT, body)


async def test_libcoap_tells_of_changes(coap_server: int) -> None:
    async with await CoapClient.open() as client:
        uri = f"coap://127.0.0.1:{coap_server}/watched"
        await client.put(uri, b"one")
        seen = client.observe(uri)
        assert (await asyncio.wait_for(anext(seen), PATIENCE)).payload == b"one"
        await client.put(uri, b"two")
        assert (await asyncio.wait_for(anext(seen), PATIENCE)).payload == b"two"
        await seen.aclose()  # type: ignore[attr-defined]


async def test_aiocoaps_file_server_gives_a_megabyte(file_server: tuple[int, Path]) -> None:
    port, root = file_server
    body = make_image(1 << 20)
    (root / "image").write_bytes(body)
    async with await CoapClient.open() as client:
        answer = await asyncio.wait_for(client.get(f"coap://127.0.0.1:{port}/image"), PATIENCE)
        assert answer.payload == body
        missing = await asyncio.wait_for(client.get(f"coap://127.0.0.1:{port}/none"), PATIENCE)
        assert missing.code == coap.Code.NOT_FOUND


async def test_nobody_there_is_said_so() -> None:
    from waft.aio import coap as aio

    client = await aio.CoapClient.open()
    client._endpoint = client._machine = coap.Endpoint()  # type: ignore[assignment]
    async with client:
        task = asyncio.create_task(client.get(f"coap://127.0.0.1:{free_port(socket.SOCK_DGRAM)}/x"))
        await asyncio.sleep(0.05)
        # 93 s of retransmissions, in no time.
        for minute in range(1, 6):
            client._endpoint.handle_timeout(client.now() + minute * 60_000_000)
            client.drain()
        with pytest.raises(CoapError, match="no answer: is the server running"):
            await asyncio.wait_for(task, 5)
