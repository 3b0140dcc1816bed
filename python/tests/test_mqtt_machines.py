"""The MQTT machines without any I/O: the contract, driven from Python."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import waft
from waft import mqtt
from waft._machine import BufferTooSmall, Handled, Timeout, Transmit


def drain(machine: mqtt.Client | mqtt.Broker, now: int) -> tuple[bytes, list[object]]:
    """What it sends and tells until it waits."""
    sent, told = b"", []
    while True:
        out = machine.poll_output(now)
        if isinstance(out, Timeout):
            return sent, told
        if isinstance(out, Transmit):
            sent += out.data
        else:
            told.append(out)


def feed(machine: mqtt.Client | mqtt.Broker, now: int, data: bytes) -> list[object]:
    """Gives it bytes until it takes no more."""
    told: list[object] = []
    while data:
        handled: Handled[object] = machine.handle_input(now, 0, data)
        data = data[handled.consumed :]
        if handled.event is not None:
            told.append(handled.event)
        elif not handled.consumed:
            break
    return told


def pair() -> tuple[mqtt.Client, mqtt.Broker]:
    """A client that is connected to a broker."""
    client, broker = mqtt.Client(), mqtt.Broker()
    broker.accept(0, 0)
    client.connect(0, 0, "c", will=mqtt.Will("gone", b"c", 1))
    feed(broker, 0, drain(client, 0)[0])
    sent, told = drain(broker, 0)
    assert told == [mqtt.ClientConnected(0, "c", False)]
    assert feed(client, 0, sent) == [mqtt.Connected(session_present=False)]
    return client, broker


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_comes_back_to_its_subscriber(qos: int) -> None:
    client, broker = pair()
    number = client.subscribe(0, [("a/+", qos)])
    told: list[object] = []

    def turn() -> None:
        for _ in range(6):
            feed(broker, 0, drain(client, 0)[0])
            told.extend(feed(client, 0, drain(broker, 0)[0]))

    turn()
    assert told == [mqtt.Subscribed(number, bytes([qos]))]
    told.clear()
    published = client.publish(0, "a/b", b"hello", qos)
    assert (published is None) == (qos == 0)
    turn()
    [message] = [e for e in told if isinstance(e, mqtt.Publish)]
    assert (message.topic, message.payload_len, message.qos) == ("a/b", 5, qos)
    assert mqtt.Payload(b"hello", True) in told
    if published is not None:
        assert mqtt.Acknowledged(published) in told
    assert client.in_flight == 0


def test_any_split_of_the_input_gives_the_same_events() -> None:
    stream = b"\x20\x02\x00\x00" + b"\x30\x08\x00\x03a/bxyz" + b"\xd0\x00"
    whole: list[object] = []
    for split in range(len(stream) + 1):
        client = mqtt.Client()
        client.connect(0, 0, "c")
        drain(client, 0)
        rest, told = b"", []
        for part in (stream[:split], stream[split:]):
            rest += part
            while rest:
                handled = client.handle_input(0, 0, rest)
                rest = rest[handled.consumed :]
                if handled.event is None and not handled.consumed:
                    assert handled.needed > 0
                    break
                if handled.event is not None:
                    told.append(handled.event)
        payload = b"".join(e.data for e in told if isinstance(e, mqtt.Payload))
        rest_of = [e for e in told if not isinstance(e, mqtt.Payload)]
        assert payload == b"xyz"
        whole = whole or rest_of
        assert rest_of == whole


STREAM = b"\x20\x02\x00\x00" + b"\x32\x0a\x00\x03a/b\x00\x07xyz" + b"\x30\x05\x00\x03a/b" + b"\x32\x0a\x00\x03a/b\x00\x08xyz"
TOLD = [
    mqtt.Connected(False),
    mqtt.Publish("a/b", 3, 1, False, False, 7),
    mqtt.Payload(b"xyz", True),
    mqtt.Publish("a/b", 0, 0, False, False, None),
    mqtt.Publish("a/b", 3, 1, False, False, 8),
    mqtt.Payload(b"xyz", True),
]


def waiting(**how: Any) -> mqtt.Client:
    """A client that has sent its CONNECT."""
    client = mqtt.Client(**how)
    client.connect(0, 0, "c")
    drain(client, 0)
    return client


def test_all_input_at_once_gives_the_events_that_it_gives_step_by_step() -> None:
    one, all_at_once = waiting(), waiting()
    assert feed(one, 0, STREAM) == TOLD
    handled = all_at_once.handle_all(0, 0, STREAM + b"\xd0")
    assert (handled.events, handled.consumed) == (TOLD, len(STREAM)) and handled.needed > 0
    assert drain(one, 0) == drain(all_at_once, 0) == (b"\x40\x02\x00\x07\x40\x02\x00\x08", [])


def test_any_split_of_all_input_gives_the_same_messages() -> None:
    for split in range(len(STREAM) + 1):
        client, told = waiting(), []
        first = client.handle_all(0, 0, STREAM[:split])
        rest = STREAM[first.consumed :]
        second = client.handle_all(0, 0, rest)
        told = first.events + second.events
        assert [e for e in told if not isinstance(e, mqtt.Payload)] == [e for e in TOLD if not isinstance(e, mqtt.Payload)]
        assert b"".join(e.data for e in told if isinstance(e, mqtt.Payload)) == b"xyzxyz"
        assert second.consumed == len(rest)


def test_what_was_told_before_a_violation_is_not_lost() -> None:
    client = waiting()
    handled = client.handle_all(0, 0, STREAM + b"\xff\xff")
    assert (handled.events, handled.consumed, handled.needed) == (TOLD, len(STREAM), 0)
    assert not client.is_connected
    with pytest.raises(waft.PeerError):
        client.handle_all(0, 0, b"\xff\xff")
    with pytest.raises(waft.Misuse):
        client.handle_all(0, 0, b"\xff\xff")
    with pytest.raises(waft.PeerError):
        waiting().handle_all(0, 0, b"\xff\xff")
    # Another connection has no part in it.
    client = waiting()
    client.handle_all(0, 0, STREAM + b"\xff\xff")
    client.connect(0, 0, "c")
    drain(client, 0)
    assert client.handle_all(0, 0, STREAM).events == TOLD


def test_a_full_table_takes_no_more_until_acknowledgements_have_left() -> None:
    client = waiting(in_flight=4)
    stream = b"\x20\x02\x00\x00" + b"".join(b"\x32\x06\x00\x01a\x00" + bytes([n]) + b"x" for n in range(1, 101))
    got: list[int | None] = []
    for _ in range(200):
        handled = client.handle_all(0, 0, stream)
        stream = stream[handled.consumed :]
        got += [e.id for e in handled.events if isinstance(e, mqtt.Publish)]
        if not stream:
            break
        assert handled.needed == 0
        drain(client, 0)
    assert got == list(range(1, 101))


@pytest.mark.parametrize(
    "event",
    [
        mqtt.Publish("a", 1, 2, True, False, 9),
        mqtt.Payload(b"x", False),
        mqtt.Refused(5, "not authorized"),
        mqtt.PayloadWanted(None, 0, 7),
        Timeout(None),
        Transmit(3, b"abc"),
        Handled(1, 0, mqtt.Unsubscribed(4)),
    ],
)
def test_events_are_values(event: Any) -> None:
    fields = [getattr(event, name) for name in event.__match_args__]
    same = type(event)(*fields)
    assert same == event and hash(same) == hash(event) and not same != event
    assert repr(event) == f"{type(event).__name__}({', '.join(f'{n}={v!r}' for n, v in zip(event.__match_args__, fields))})"
    assert copy.deepcopy(event) == event and pickle.loads(pickle.dumps(event)) == event
    assert event != fields[0] and event != Timeout(77)
    with pytest.raises(AttributeError):
        setattr(event, event.__match_args__[0], 1)


def test_a_broken_peer_is_an_error_with_a_number_and_a_name() -> None:
    client, _ = pair()
    with pytest.raises(waft.PeerError) as e:
        client.handle_input(0, 0, b"\xff\xff\xff\xff\xff\xff")
    assert -83 <= e.value.code <= -64
    assert e.value.name and str(e.value)
    assert not client.is_connected


def test_misuse_and_capacity_leave_everything_as_it_was() -> None:
    client = mqtt.Client(arena=64, in_flight=4)
    with pytest.raises(waft.Misuse, match="no connection"):
        client.subscribe(0, [("a", 0)])
    client.connect(0, 0, "c")
    with pytest.raises(waft.Misuse) as wildcard:
        client.publish(0, "a/#", b"")
    assert wildcard.value.name == "InvalidTopic" and wildcard.value.code == -2
    with pytest.raises(waft.Capacity) as full:
        client.publish(0, "a", bytes(100))
    assert full.value.code == -32
    with pytest.raises(waft.Misuse):
        client.publish(0, "a", b"", 3)


def test_too_small_a_buffer_keeps_the_output() -> None:
    client = mqtt.Client()
    client.connect(0, 0, "a-name-of-some-length")
    small = client.poll_output(0, 4)
    if isinstance(small, BufferTooSmall):
        out = client.poll_output(0, small.needed)
        assert isinstance(out, Transmit) and out.data[0] == 0x10
    else:
        assert isinstance(small, Transmit) and len(small.data) <= 4


def test_the_same_input_gives_the_same_bytes() -> None:
    def once() -> bytes:
        broker = mqtt.Broker(seed=7)
        broker.accept(0, 0)
        feed(broker, 0, b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00")
        return drain(broker, 0)[0] + repr(broker.stats).encode()

    assert once() == once()


def test_a_streamed_message_asks_for_its_payload() -> None:
    client, broker = pair()
    broker_got = bytearray()
    data = bytes(range(256)) * 200
    client.publish_streamed(0, "big", len(data), 1, True)
    for _ in range(1000):
        out = client.poll_output(0)
        if isinstance(out, mqtt.PayloadWanted):
            taken = client.payload(0, data[out.offset : out.offset + out.len])
            assert taken == out.len
        elif isinstance(out, Transmit):
            broker_got += out.data
            while broker_got:
                handled = broker.handle_input(0, 0, bytes(broker_got))
                del broker_got[: handled.consumed]
                if not handled.consumed:
                    break
        else:
            break
    assert broker.retained("#") == [("big", data, 1)]


def test_topic_filters_match_as_the_standard_says() -> None:
    assert mqtt.topic_matches("sport/+/player", "sport/tennis/player")
    assert mqtt.topic_matches("sport/#", "sport")
    assert not mqtt.topic_matches("#", "$SYS/uptime")


def test_every_error_has_one_number() -> None:
    table = waft.error_table()
    assert len({code for _, code, _, _ in table}) == len(table)
    assert all(text and name.isidentifier() for _, _, name, text in table)
    for kind, code, _, _ in table:
        low, high = {"Misuse": (-31, -1), "Capacity": (-63, -32), "PeerError": (-95, -64), "Refusal": (-191, -96)}[kind]
        assert low <= code <= high


def test_a_session_goes_on_after_a_reboot() -> None:
    client = mqtt.Client()
    client.connect(0, 0, "c", clean_session=False)
    drain(client, 0)
    feed(client, 0, b"\x20\x02\x00\x00")
    assert client.publish(0, "a", b"x", 2) == 1
    record = client.export(b"1 published")
    assert client.is_exported_in(record)
    feed(client, 0, b"\x34\x05\x00\x01a\x00\x05")
    assert not client.is_exported_in(record)
    record = client.export(b"1 published, 5 received", sequence=7)

    rebooted = mqtt.Client()
    assert rebooted.import_(record) == b"1 published, 5 received"
    rebooted.connect(0, 0, "c", clean_session=False)
    drain(rebooted, 0)
    assert feed(rebooted, 0, b"\x20\x02\x01\x00") == [mqtt.Connected(True)]
    assert drain(rebooted, 0)[0] == b"\x3c\x06\x00\x01a\x00\x01x"
    assert feed(rebooted, 0, b"\x3c\x05\x00\x01a\x00\x05") == []
    assert drain(rebooted, 0)[0] == b"\x50\x02\x00\x05"
    for damaged in (b"", record[:-1], bytes(len(record))):
        with pytest.raises(waft.Misuse) as caught:
            mqtt.Client().import_(damaged)
        assert (caught.value.code, caught.value.name) == (-13, "InvalidSession")


def test_a_journal_finds_the_newest_whole_record_after_a_cut_at_any_byte() -> None:
    client = mqtt.Client()
    pages = [bytearray(b"\xff" * 64) for _ in range(2)]

    def write(note: bytes, cut: int | None = None) -> None:
        journal = mqtt.Journal(bytes(pages[0]), bytes(pages[1]), 4)
        place = journal.place(len(client.export(note)))
        record = client.export(note, sequence=place.sequence)[:cut]
        if place.erase:
            pages[place.page][:] = b"\xff" * 64
        pages[place.page][place.offset : place.offset + len(record)] = record

    def note() -> bytes | None:
        newest = mqtt.Journal(bytes(pages[0]), bytes(pages[1]), 4).newest
        return None if newest is None else mqtt.Client().import_(newest)

    assert note() is None
    for n in range(9):
        for cut in range(len(client.export(b"x"))):
            write(b"x", cut)
            assert note() == (b"%d" % (n - 1) if n else None)
        write(b"%d" % n)
        assert note() == b"%d" % n
    with pytest.raises(waft.Capacity):
        mqtt.Journal(bytes(64), bytes(64)).place(65)


def test_what_is_not_wanted_is_passed_over() -> None:
    client = mqtt.Client(max_payload=2, manual_ack=True)
    client.connect(0, 0, "c", clean_session=False)
    drain(client, 0)
    feed(client, 0, b"\x20\x02\x00\x00")
    assert feed(client, 0, b"\x34\x08\x00\x01a\x00\x05xyz") == [mqtt.Skipped(1, 3)]
    assert drain(client, 0)[0] == b"\x50\x02\x00\x05"
    assert feed(client, 0, b"\x32\x07\x00\x01a\x00\x06") == [mqtt.Publish("a", 2, 1, False, False, 6)]
    client.refuse(0)
    assert feed(client, 0, b"xy") == []
    assert drain(client, 0)[0] == b"\x40\x02\x00\x06"
    with pytest.raises(waft.Misuse):
        client.refuse(0)
