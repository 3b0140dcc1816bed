"""Manifests of several components, payloads in the envelope, chunk digests, and tables of keys, read by cbor2 too."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import cbor2
import pytest
from conftest import Fleet, make_image
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import waft
from waft import ota

IMAGE = make_image(10_000)
RADIO = make_image(300)


def release(fleet: Fleet, **more: Any) -> ota.Release:
    fields: dict[str, Any] = {"image": IMAGE, "chunk": 4096, **more}
    return ota.Release(vendor=fleet.vendor, class_id=fleet.class_id, sequence=9, version="1.2.0", **fields)


def read(envelope: bytes) -> tuple[dict[Any, Any], dict[int, Any]]:
    """What cbor2 makes of it: the envelope's members and the manifest's."""
    members = dict(cbor2.loads(envelope).value)
    assert cbor2.dumps(cbor2.loads(envelope), canonical=True) == envelope
    return members, cbor2.loads(members[3])


def test_a_release_of_several_images_says_so_to_others(fleet: Fleet) -> None:
    signed = release(
        fleet, list_uri="#chunks", images=[ota.Extra(1, RADIO), ota.Extra(2, RADIO, content=True)]
    ).sign(fleet.key)
    members, manifest = read(signed)
    common = cbor2.loads(manifest[3])
    assert common[2] == [[b"\x00"], [b"\x00", b"chunks"], [b"\x01"], [b"\x02"]]
    digests = b"".join(hashlib.sha256(IMAGE[at : at + 4096]).digest() for at in range(0, len(IMAGE), 4096))
    assert (members["#chunks"], members["#2"]) == (digests, RADIO)
    assert ota.chunk_list(IMAGE, 4096) == digests

    found = ota.verify(signed, [fleet.key.public])
    assert [(p.component, p.number, p.size) for p in found.payloads] == [
        ("chunks", 0, 96),
        ("image", 0, 10_000),
        ("image", 1, 300),
        ("image", 2, 300),
    ]
    assert found.payloads[0].content == digests
    assert found.payloads[1].chunks == (4096, hashlib.sha256(digests).digest())
    assert found.payloads[2].uri == f"image/{ota.image_id(RADIO)}"
    assert found.signer == fleet.key.id

    for n, chunk in enumerate(ota.chunks(IMAGE, 4096)):
        ota.check_chunk(digests, 4096, len(IMAGE), n, chunk)
        with pytest.raises(waft.Refusal) as refused:
            ota.check_chunk(digests, 4096, len(IMAGE), n, bytes([chunk[0] ^ 1]) + chunk[1:])
        assert refused.value.name == "ChunkDigest"


def test_a_release_without_firmware_says_so_to_others(fleet: Fleet) -> None:
    signed = release(fleet, image=None, images=[ota.Extra(2, RADIO)], text=ota.Text(model="lamp")).sign(fleet.key)
    members, manifest = read(signed)
    assert cbor2.loads(manifest[3])[2] == [[b"\x02"]]
    # What is said of a component is said of the one that there is.
    assert [key for key in cbor2.loads(members[23])["en"] if not isinstance(key, int)] == [(b"\x02",)]
    found = ota.verify(signed, [ota.Key(fleet.key.public, ota.Scope(1 << 2))])
    assert (found.uri, found.image_size, found.image_digest, found.chunk) == ("", 0, bytes(32), 4096)
    assert [(p.component, p.number, p.digest) for p in found.payloads] == [("image", 2, hashlib.sha256(RADIO).digest())]

    for wrong in (
        {"images": []},
        {"uri": "image/x"},
        {"content": True},
        {"list_uri": "#chunks"},
        {"requires": ota.Requires(version=(">=1.0",))},
    ):
        with pytest.raises(ValueError):
            release(fleet, **{"image": None, "images": [ota.Extra(2, RADIO)], **wrong}).sign(fleet.key)


def test_what_a_device_has_to_decide_is_read_back(fleet: Fleet) -> None:
    requires = ota.Requires(
        use_before=2_000_000_000,
        battery=500,
        authorization=True,
        version=(">=1.0", "<1.10-rc.2"),
        device=uuid.UUID(int=7),
        wait=ota.Wait(power=1, network=-2, time=1_900_000_000, time_of_day=7200, day_of_week=6),
    )
    text = ota.Text(description="closes a hole", vendor="waft")
    signed = release(fleet, requires=requires, text=text, reference_uri="https://example.com/m").sign(fleet.key)
    found = ota.verify(signed, [fleet.key.public])
    assert (found.requires, found.reference_uri) == (requires, "https://example.com/m")
    members, manifest = read(signed)
    assert cbor2.loads(members[23])["en"][2] == "closes a hole"
    install = cbor2.loads(manifest[20])
    parameters = dict(zip(install[::2], install[1::2], strict=True))
    assert {4, 26, 27, 28, 29} <= parameters.keys()
    with pytest.raises(ValueError, match=">=1.2.0"):
        release(fleet, requires=ota.Requires(version=("~1",))).sign(fleet.key)


def test_the_whole_image_can_be_in_the_envelope(fleet: Fleet) -> None:
    signed = release(fleet, content=True).sign(fleet.key)
    members, _ = read(signed)
    assert members["#firmware"] == IMAGE
    assert ota.verify(signed, [fleet.key.public]).payloads[0].content == IMAGE
    for changed in (members | {"#firmware": IMAGE[1:]}, members | {"#more": b"x"}):
        tampered = cbor2.dumps(cbor2.CBORTag(107, changed), canonical=True)
        with pytest.raises(waft.Refusal) as refused:
            ota.verify(tampered, [fleet.key.public])
        assert refused.value.name == "Payload"


def test_a_key_is_rotated_out_in_two_steps(fleet: Fleet) -> None:
    new = ota.SecretKey.generate()
    old_key, new_key = ota.Key(fleet.key.public), ota.Key(new.public, epoch=1)
    factory = ota.KeyTable((old_key,))

    def take(table: ota.KeyTable, envelope: bytes) -> ota.KeyTable:
        manifest = ota.verify(envelope, table.keys)
        content, signer = manifest.payloads[0].content, manifest.signer
        assert content is not None and signer is not None
        return table.apply(content, signer)

    identity = {"vendor": fleet.vendor, "class_id": fleet.class_id}
    bring = ota.KeyTable((old_key, new_key), 1).sign(fleet.key, sequence=10, **identity)
    revoke = ota.KeyTable((new_key,), 2).sign(new, sequence=11, **identity)
    with pytest.raises(waft.Refusal) as refused:
        take(factory, revoke)
    assert refused.value.name == "UnknownKey"
    last = take(take(factory, bring), revoke)
    assert (last.keys, last.epoch) == ((new_key,), 2)
    with pytest.raises(waft.Refusal) as refused:
        last.apply(factory.payload(), new.id)
    assert refused.value.name == "KeyEpoch"
    with pytest.raises(waft.Misuse):
        ota.KeyTable((new_key,), 3).sign(fleet.key, sequence=12, **identity)
    assert ota.KeyTable.from_bytes(last.to_bytes()) == last
    damaged = bytearray(last.to_bytes())
    damaged[30] ^= 1
    with pytest.raises(waft.Refusal):
        ota.KeyTable.from_bytes(bytes(damaged))


def test_a_key_signs_what_is_in_its_scope(fleet: Fleet) -> None:
    firmware = [ota.Key(fleet.key.public, ota.Scope.FIRMWARE)]
    ota.verify(release(fleet, list_uri="#chunks").sign(fleet.key), firmware)
    for other in (
        release(fleet, images=[ota.Extra(1, RADIO)]).sign(fleet.key),
        ota.KeyTable((ota.Key(fleet.key.public),), 1).sign(
            fleet.key, vendor=fleet.vendor, class_id=fleet.class_id, sequence=10
        ),
    ):
        with pytest.raises(waft.Refusal) as refused:
            ota.verify(other, firmware)
        assert refused.value.name == "Scope"


def test_every_refusal_has_a_place_in_other_vocabularies() -> None:
    mappings = ota.mappings()
    assert {name: m.code for name, m in mappings.items()} == ota.refusals()
    for m in mappings.values():
        assert 1 <= m.suit_report <= 11 and 2 <= m.lwm2m <= 10 and 400 <= m.fumo < 600, m


def test_pyca_verifies_what_a_key_signs(fleet: Fleet) -> None:
    Ed25519PublicKey.from_public_bytes(fleet.key.public).verify(fleet.key.sign_message(b"m"), b"m")


def test_a_report_is_signed_and_read_by_others(fleet: Fleet) -> None:
    report = ota.Report(ota.State.FAILED, "ChunkDigest", "1.2.0", 9, hashlib.sha256(b"m").digest())
    encoded = report.encode("coap://h/m")
    assert ota.read_report(encoded) == (report, "coap://h/m")
    told = cbor2.loads(encoded)
    assert told[99] == ["coap://h/m", [-16, report.digest]]
    assert (told[4][5], told[4][7]) == (ota.refusals()["ChunkDigest"], ota.mappings()["ChunkDigest"].suit_report)
    assert cbor2.dumps(told, canonical=True) == encoded

    signed = ota.sign_payload(encoded, fleet.key)
    protected, unprotected, payload, signature = cbor2.loads(signed).value
    assert (unprotected, payload) == ({}, encoded)
    message = cbor2.dumps(["Signature1", protected, b"", payload])
    Ed25519PublicKey.from_public_bytes(fleet.key.public).verify(signature, message)
    assert ota.open_signed(signed, [fleet.key.public]) == (encoded, fleet.key.id)
    for keys in ([], [ota.SecretKey.generate().public]):
        with pytest.raises(waft.Refusal) as refused:
            ota.open_signed(signed, keys)
        assert refused.value.name == "UnknownKey"
    with pytest.raises(waft.Refusal):
        ota.open_signed(signed[:-1] + bytes([signed[-1] ^ 1]), [fleet.key.public])
