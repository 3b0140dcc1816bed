"""The vectors that Rust, C and Python share: ``tests/vectors``."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

import waft
from waft import coap, mqtt, ota

VECTORS = Path(__file__).parents[2] / "tests" / "vectors"


def load(name: str) -> list[Any]:
    vectors = json.loads((VECTORS / f"{name}.json").read_text())["vectors"]
    assert len(vectors) >= 60
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


def plain(fields: dict[str, Any]) -> dict[str, Any]:
    """As the vectors have it: bytes in hex, flags as numbers, lists for tuples."""

    def one(key: str, value: Any) -> tuple[str, Any]:
        if isinstance(value, bytes):
            return f"{key}_hex", value.hex()
        if isinstance(value, list):
            return key, [list(item) if isinstance(item, tuple) else item for item in value]
        return key, int(value) if isinstance(value, bool) else value

    return dict(one(key, value) for key, value in fields.items())


def error(e: waft.Error) -> dict[str, Any]:
    return {"error": e.name, "code": e.code}


def read_stream(data: bytes, max: int) -> dict[str, Any]:
    says: list[dict[str, Any]] = []
    while data:
        try:
            handled = mqtt.decode(data, max)
        except waft.PeerError as e:
            return {"says": says, **error(e)}
        packet = handled.event
        if packet is None:
            return {"says": says, "needed": handled.needed}
        data = data[handled.consumed :]
        fields = dict(packet.fields)
        if packet.kind == "PUBLISH":
            fields["payload"], data = data[: fields["payload_len"]], data[fields["payload_len"] :]
        says.append({"packet": packet.kind, **plain(fields)})
    return {"says": says}


@pytest.mark.parametrize("vector", load("mqtt"))
def test_mqtt_streams_are_read_as_the_vectors_say(vector: dict[str, Any]) -> None:
    said = {key: vector[key] for key in ("says", "needed", "error", "code") if key in vector}
    assert read_stream(bytes.fromhex(vector["hex"]), vector.get("max", 0xFFFF_FFFF)) == said


def read_datagram(data: bytes) -> dict[str, Any]:
    try:
        m = coap.decode(data)
    except waft.PeerError as e:
        return error(e)
    assert coap.decode(m.encode()) == m
    return {
        "message": {
            "type": m.type,
            "code": str(m.code),
            "id": m.id,
            "token_hex": m.token.hex(),
            "options": [[number, value.hex()] for number, value in m.options],
            "payload_hex": m.payload.hex(),
        }
    }


@pytest.mark.parametrize("vector", load("coap"))
def test_coap_datagrams_are_read_as_the_vectors_say(vector: dict[str, Any]) -> None:
    said = {key: vector[key] for key in ("message", "error", "code") if key in vector}
    assert read_datagram(bytes.fromhex(vector["hex"])) == said


VERDICTS = json.loads((VECTORS / "suit" / "verdicts.json").read_text())


@pytest.mark.parametrize("verdict", [pytest.param(v, id=v["name"]) for v in VERDICTS["verdicts"]])
def test_envelopes_are_judged_as_the_verdicts_say(verdict: dict[str, Any]) -> None:
    data = bytearray.fromhex((VECTORS / "suit" / verdict["file"]).read_text())
    for at, bits in verdict.get("flip", []):
        data[at] ^= bits
    envelope = bytes(data[: verdict.get("length", len(data))]) + bytes.fromhex(verdict.get("append_hex", ""))
    key = bytes.fromhex(VERDICTS["public_key_hex"])
    if "error" in verdict:
        with pytest.raises(waft.Refusal) as refusal:
            ota.verify(envelope, [key])
        assert error(refusal.value) == {"error": verdict["error"], "code": verdict["code"]}
        return
    m = ota.verify(envelope, [key])
    assert {
        "sequence": m.sequence,
        "digest_hex": m.digest.hex(),
        "image_size": m.image_size,
        "image_digest_hex": m.image_digest.hex(),
        "uri": m.uri,
    } == verdict["manifest"]


def test_wycheproofs_signatures_are_judged_as_wycheproof_judges() -> None:
    judged = []
    for group in json.loads((VECTORS / "wycheproof" / "ed25519_test.json").read_text())["testGroups"]:
        key = bytes.fromhex(group["publicKey"]["pk"])
        for test in group["tests"]:
            good = ota.verify_signature(key, bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"]))
            assert good == (test["result"] == "valid"), test["tcId"]
            judged.append(good)
    assert (len(judged), sum(judged)) == (151, 88)


def test_a_message_that_cannot_be_is_not_encoded() -> None:
    get = coap.Code.GET
    with pytest.raises(ValueError, match="type"):
        coap.Message("CAN", get, 1).encode()
    with pytest.raises(ValueError, match="token"):
        coap.Message("CON", get, 1, bytes(9)).encode()
    with pytest.raises(waft.Misuse, match="option"):
        coap.Message("CON", get, 1, options=[(11, b"a"), (4, b"b")]).encode()


def test_a_message_is_a_value() -> None:
    options = [(4, b"12345678"), (12, b"*")]
    made = coap.Message("ACK", coap.Code.CONTENT, 7, b"abcd", options, b"x")
    m = coap.decode(made.encode())
    assert m == made == pickle.loads(pickle.dumps(m)) == copy.deepcopy(m)
    assert m != coap.Message("ACK", coap.Code.CONTENT, 8, b"abcd", options, b"x") and m != "m"
    assert (m.type, m.code, m.id, m.token, m.options, m.payload) == ("ACK", coap.Code.CONTENT, 7, b"abcd", options, b"x")
    assert type(m.code) is coap.Code and type(m.options) is list and type(m.options[0]) is tuple
    assert repr(m) == (
        "Message(type='ACK', code=Code(2.05), id=7, token=b'abcd', options=[(4, b'12345678'), (12, b'*')], payload=b'x')"
    )
    match coap.Message("CON", coap.Code.GET, id=1):
        case coap.Message("CON", code, 1, b"", [], b""):
            assert code == coap.Code.GET
        case _:
            pytest.fail("defaults")
    with pytest.raises(AttributeError):
        m.id = 8  # type: ignore[misc]
    assert m != type("Other", (coap.Message,), {})(*(getattr(m, name) for name in m.__match_args__))
    with pytest.raises(TypeError, match="unhashable"):
        hash(m)
