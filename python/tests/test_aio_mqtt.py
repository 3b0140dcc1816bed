"""The client on asyncio: messages of any length out, and in only what is wanted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from conftest import PATIENCE

from waft import mqtt
from waft.aio import Message, MqttClient, serve_broker


@pytest.fixture(params=["waft", "mosquitto"])
async def port(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """A broker that takes messages of any length."""
    if request.param == "mosquitto":
        yield request.getfixturevalue("mosquitto")
        return
    async with await serve_broker(broker=mqtt.Broker(max_payload=16 << 20)) as server:
        yield server.port


async def next_messages(client: MqttClient, count: int) -> list[Message]:
    return [await client.next_message(PATIENCE) for _ in range(count)]


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_messages_longer_than_all_memory_go_out_whole_and_in_their_order(port: int, qos: int) -> None:
    payloads = [os.urandom(length) for length in (3 << 20, 5, (1 << 16) + 1, 1 << 16, 2 << 20, 0)]
    async with (
        await MqttClient.connect("127.0.0.1", port) as subscriber,
        await MqttClient.connect("127.0.0.1", port) as client,
    ):
        await subscriber.subscribe(("long", qos))
        sent = asyncio.gather(*(client.publish("long", payload, qos) for payload in payloads))
        messages = await next_messages(subscriber, len(payloads))
        await asyncio.wait_for(sent, PATIENCE)
        assert [message.payload for message in messages] == payloads
        assert {message.qos for message in messages} == {qos}
        assert not client._streams and not client._unnumbered


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_message_that_is_too_long_is_passed_over_and_the_connection_stays(port: int, qos: int) -> None:
    async with (
        await MqttClient.connect("127.0.0.1", port, max_payload=1000) as subscriber,
        await MqttClient.connect("127.0.0.1", port) as client,
    ):
        await subscriber.subscribe(("t", qos))
        for length in (1000, 1001, 300_000, 7):
            await client.publish("t", bytes(length), qos)
        assert [len(message.payload) for message in await next_messages(subscriber, 2)] == [1000, 7]
        assert subscriber.skipped == 2
