"""Python: microseconds to receive a message of QoS 1 and acknowledge it, by `waft.mqtt.Client` and by paho-mqtt, from the
same bytes in the same run. Prints one JSON object: {library: microseconds a message}.

Neither has a socket: waft needs none, and paho-mqtt is given one that hands out the bytes, which spares it the system
calls. Messages have a topic of 20 bytes and a payload of 64 and come in segments of 1,460 bytes; the topic and the payload
of each are looked at. Each figure is the CPU time of the best of five runs, taken in turns.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import paho.mqtt.client as paho

from waft import Timeout, Transmit, mqtt

MESSAGES = 10_000
TOPIC = "hall/7/sensor/42/deg"
PAYLOAD = bytes(64)
CONNACK = b"\x20\x02\x00\x00"
BYTES = MESSAGES * len(TOPIC + "/") + MESSAGES * len(PAYLOAD)


def publish(n: int) -> bytes:
    body = len(TOPIC).to_bytes(2, "big") + TOPIC.encode() + (n % 0xFFFF + 1).to_bytes(2, "big") + PAYLOAD
    return bytes([0x32, len(body)]) + body


STREAM = b"".join(publish(n) for n in range(MESSAGES))
SEGMENTS = [STREAM[n : n + 1460] for n in range(0, len(STREAM), 1460)]
PUBACKS = b"".join(b"\x40\x02" + (n % 0xFFFF + 1).to_bytes(2, "big") for n in range(MESSAGES))


def connected() -> mqtt.Client:
    client = mqtt.Client()
    client.connect(0, 0, "bench")
    client.poll_output(0)
    assert client.handle_input(0, 0, CONNACK).event == mqtt.Connected(False)
    return client


def waft_all() -> float:
    """All that a segment brings by one call."""
    client, seen, sent = connected(), 0, []
    before = time.process_time()
    rest = b""
    for segment in SEGMENTS:
        rest += segment
        handled = client.handle_all(0, 0, rest)
        rest = rest[handled.consumed :]
        for event in handled.events:
            seen += len(event.data) if type(event) is mqtt.Payload else len(event.topic) + 1
        while type(out := client.poll_output(0)) is Transmit:
            sent.append(out.data)
    took = time.process_time() - before
    assert seen == BYTES and b"".join(sent) == PUBACKS and not rest
    return took


def waft_each() -> float:
    """An event a call."""
    client, seen, sent = connected(), 0, []
    before = time.process_time()
    rest = b""
    for segment in SEGMENTS:
        rest += segment
        while rest:
            handled = client.handle_input(0, 0, rest)
            rest = rest[handled.consumed :]
            if (event := handled.event) is not None:
                seen += len(event.data) if type(event) is mqtt.Payload else len(event.topic) + 1
            elif handled.needed:
                break
        while type(out := client.poll_output(0)) is not Timeout:
            sent.append(out.data)
    took = time.process_time() - before
    assert seen == BYTES and b"".join(sent) == PUBACKS and not rest
    return took


class Memory:
    """As much of a socket as paho-mqtt needs."""

    def __init__(self) -> None:
        self.incoming, self.at, self.sent = b"", 0, []

    def feed(self, data: bytes) -> None:
        self.incoming, self.at = self.incoming[self.at :] + data, 0

    def recv(self, size: int) -> bytes:
        if self.at >= len(self.incoming):
            raise BlockingIOError
        data = self.incoming[self.at : self.at + size]
        self.at += len(data)
        return data

    def send(self, data: bytes) -> int:
        self.sent.append(bytes(data))
        return len(data)

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        pass

    def setblocking(self, yes: bool) -> None:
        pass

    def pending(self) -> int:
        return 0


class Paho(paho.Client):
    """paho-mqtt on such a socket."""

    memory: Memory

    def _create_socket(self) -> Memory:  # type: ignore[override]
        return self.memory


def paho_mqtt() -> float:
    client = Paho(paho.CallbackAPIVersion.VERSION2, "bench", protocol=paho.MQTTv311)
    client.memory = memory = Memory()
    seen = 0

    def on_message(client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        nonlocal seen
        seen += len(message.topic) + 1 + len(message.payload)

    client.on_message = on_message
    client.connect("127.0.0.1")
    memory.feed(CONNACK)
    client.loop_read()
    client.loop_write()
    memory.sent.clear()
    before = time.process_time()
    for segment in SEGMENTS:
        memory.feed(segment)
        while memory.at < len(memory.incoming):
            client.loop_read()
        client.loop_write()
    took = time.process_time() - before
    assert seen == BYTES and b"".join(memory.sent) == PUBACKS, (seen, BYTES)
    return took


def main() -> None:
    ways: dict[str, Callable[[], float]] = {"waft": waft_all, "waft, an event a call": waft_each, "paho-mqtt": paho_mqtt}
    best = {name: min(turn) for name, turn in zip(ways, zip(*([way() for way in ways.values()] for _ in range(5))))}
    print(json.dumps({name: round(seconds / MESSAGES * 1e6, 2) for name, seconds in best.items()}))


if __name__ == "__main__":
    main()
