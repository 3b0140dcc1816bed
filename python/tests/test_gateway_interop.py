"""Our gateway serves the clients that the world has: libcoap's coap-client and aiocoap."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiocoap
import pytest
from conftest import PATIENCE, Fleet, execute, free_port, make_image, program

from waft.aio.coap import CoapClient
from waft.aio.gateway import GatewayServer, serve_gateway
from waft.provider import ProviderServer, add_class, add_release

MEGABYTE = make_image(1 << 20)


@pytest.fixture
async def gateway() -> AsyncIterator[GatewayServer]:
    async with await serve_gateway() as server:
        yield server


@pytest.fixture
async def context() -> AsyncIterator[aiocoap.Context]:
    made = await aiocoap.Context.create_client_context()
    yield made
    await made.shutdown()


@pytest.mark.parametrize("block", ["1024", "64"])
async def test_coap_client_gets_a_megabyte(gateway: GatewayServer, tmp_path: Path, block: str) -> None:
    body = MEGABYTE if block == "1024" else MEGABYTE[:50_001]
    gateway.put("/big", body)
    uri = f"coap://127.0.0.1:{gateway.port}/big"
    command = [program("coap-client-notls"), "-m", "get", "-b", block, "-B", "25", "-o", tmp_path / "got", uri]
    code, out, err = await execute(*command)
    assert code == 0, out + err
    assert (tmp_path / "got").read_bytes() == body


async def test_aiocoap_gets_a_megabyte(gateway: GatewayServer, context: aiocoap.Context) -> None:
    gateway.put("/big", MEGABYTE)
    request = aiocoap.Message(code=aiocoap.GET, uri=f"coap://127.0.0.1:{gateway.port}/big")
    response = await asyncio.wait_for(context.request(request).response, PATIENCE)
    assert (response.code, response.payload) == (aiocoap.CONTENT, MEGABYTE)
    assert response.opt.etag is not None or response.opt.etags


async def test_aiocoap_is_told_of_changes(gateway: GatewayServer, context: aiocoap.Context) -> None:
    gateway.put("/watched", b"one")
    request = aiocoap.Message(code=aiocoap.GET, uri=f"coap://127.0.0.1:{gateway.port}/watched", observe=0)
    asked = context.request(request)
    assert (await asyncio.wait_for(asked.response, PATIENCE)).payload == b"one"
    changes = aiter(asked.observation)
    for body in (b"two", bytes(3_000), b"four"):
        gateway.put("/watched", body)
        assert (await asyncio.wait_for(anext(changes), PATIENCE)).payload == body
    asked.observation.cancel()


async def test_coap_client_is_told_of_changes(gateway: GatewayServer) -> None:
    gateway.put("/watched", b"one\n")
    uri = f"coap://127.0.0.1:{gateway.port}/watched"
    task = asyncio.create_task(execute(program("coap-client-notls"), "-m", "get", "-s", "2", "-B", "5", uri))
    async with asyncio.timeout(PATIENCE):
        while not gateway.gateway.observers("/watched"):
            await asyncio.sleep(0.01)
    gateway.put("/watched", b"two\n")
    code, out, err = await task
    assert code == 0 and re.search(rb"one\s+two", out), out + err


async def test_discovery_lists_what_is_served(gateway: GatewayServer, context: aiocoap.Context) -> None:
    gateway.put("/lamp/manifest", b"x", 60)
    request = aiocoap.Message(code=aiocoap.GET, uri=f"coap://127.0.0.1:{gateway.port}/.well-known/core")
    response = await asyncio.wait_for(context.request(request).response, PATIENCE)
    assert response.opt.content_format == 40
    assert b"</lamp/manifest>" in response.payload


async def test_a_provider_is_asked_once_however_many_want_it(tmp_path: Path, fleet: Fleet) -> None:
    image = make_image(40_000)
    entry = add_release(tmp_path, "lamp", fleet.sign(image), image)
    with ProviderServer(tmp_path) as provider:
        async with await serve_gateway(provider.url, poll=None) as gateway:
            assert await gateway.poll() == 1
            assert await gateway.poll() == 0
            uri = f"coap://127.0.0.1:{gateway.port}/{entry['image']}"
            clients = [await CoapClient.open() for _ in range(8)]
            answers = await asyncio.wait_for(asyncio.gather(*(client.get(uri) for client in clients)), PATIENCE)
            assert all(answer.payload == image for answer in answers)
            missing = await asyncio.wait_for(clients[0].get(uri + "0"), PATIENCE)
            assert str(missing.code) == "4.04"
            for client in clients:
                await client.close()
        assert provider.counts[str(entry["image"])] == 1
        assert provider.counts[str(entry["manifest"])] == 1
        assert provider.counts["index.json"] == 1


async def test_observers_hear_of_a_new_release(tmp_path: Path, fleet: Fleet) -> None:
    old, new = make_image(5_000), make_image(6_000)
    first, second = fleet.sign(old, 1), fleet.sign(new, 2)
    add_release(tmp_path, "lamp", first, old)
    with ProviderServer(tmp_path) as provider:
        async with await serve_gateway(provider.url, poll=0.05) as gateway, await CoapClient.open() as client:
            async with asyncio.timeout(PATIENCE):
                while "/lamp/manifest" not in gateway.gateway.paths():
                    await asyncio.sleep(0.01)
            seen = client.observe(f"coap://127.0.0.1:{gateway.port}/lamp/manifest")
            assert (await asyncio.wait_for(anext(seen), PATIENCE)).payload == first
            add_release(tmp_path, "lamp", second, new)
            assert (await asyncio.wait_for(anext(seen), PATIENCE)).payload == second


async def test_a_provider_that_is_away_is_told_and_asked_again(tmp_path: Path) -> None:
    told: list[dict[str, object]] = []
    url = f"http://127.0.0.1:{free_port()}/"
    async with await serve_gateway(url, poll=0.05, on_event=told.append):
        async with asyncio.timeout(PATIENCE):
            while len(told) < 2:
                await asyncio.sleep(0.01)
    assert url in str(told[0]["error"])


async def test_a_class_without_a_release_can_be_observed(tmp_path: Path, fleet: Fleet) -> None:
    add_class(tmp_path, "lamp")
    image = make_image(5_000)
    envelope = fleet.sign(image)
    with ProviderServer(tmp_path) as provider:
        async with await serve_gateway(provider.url, poll=None) as gateway, await CoapClient.open() as client:
            assert await gateway.poll() == 1
            seen = client.observe(f"coap://127.0.0.1:{gateway.port}/lamp/manifest")
            assert (await asyncio.wait_for(anext(seen), PATIENCE)).payload == b""
            assert gateway.gateway.observers("/lamp/manifest") == 1
            add_release(tmp_path, "lamp", envelope, image)
            assert await gateway.poll() == 1
            assert (await asyncio.wait_for(anext(seen), PATIENCE)).payload == envelope
