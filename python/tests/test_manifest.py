"""Signed manifests: what we sign, others read (cbor2) and verify (pyca/cryptography); what others signed, we verify."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Any

import cbor2
import pytest
from conftest import Fleet, make_image
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import waft
from waft import ota

IMAGE = make_image(50_000)


def open_envelope(envelope: bytes) -> tuple[Any, bytes, Any, bytes]:
    """What cbor2 makes of it: the envelope's map, the digest that is signed, the COSE_Sign1, the manifest as wrapped."""
    tagged = cbor2.loads(envelope)
    assert tagged.tag == 107
    digest, sign1 = (cbor2.loads(part) for part in cbor2.loads(tagged.value[2]))
    assert sign1.tag == 18
    return tagged.value, digest, sign1.value, cbor2.dumps(tagged.value[3])


def test_pyca_cryptography_verifies_what_we_sign(fleet: Fleet) -> None:
    envelope = fleet.sign(IMAGE, 7, "1.2.0", severity=ota.Severity.HIGH)
    members, digest, (protected, unprotected, payload, signature), wrapped = open_envelope(envelope)
    # The digest covers the manifest with its bstr head; the payload of COSE is detached.
    assert digest == [-16, hashlib.sha256(wrapped).digest()]
    assert (unprotected, payload) == ({}, None)
    assert cbor2.loads(protected) == {1: -19, 4: fleet.key.id}
    signed = cbor2.dumps(["Signature1", protected, b"", cbor2.dumps(digest)])
    public = Ed25519PublicKey.from_public_bytes(fleet.key.public)
    public.verify(signature, signed)
    with pytest.raises(InvalidSignature):
        public.verify(signature, signed[:-1] + b"\x00")


def test_cbor2_reads_what_we_write_and_writes_the_same_bytes(fleet: Fleet) -> None:
    envelope = fleet.sign(IMAGE, 7, "1.2.0", kind=ota.UpdateType.SECURITY, severity=ota.Severity.LOW, chunk=2048)
    members, *_ = open_envelope(envelope)
    manifest = cbor2.loads(members[3])
    assert (manifest[1], manifest[2]) == (1, 7)
    common = cbor2.loads(manifest[3])
    assert common[2] == [[b"\x00"]]
    shared = cbor2.loads(common[4])
    parameters = shared[1]
    assert shared[0] == 20
    assert parameters[1] == fleet.vendor.bytes
    assert parameters[2] == fleet.class_id.bytes
    assert cbor2.loads(parameters[3]) == [-16, hashlib.sha256(IMAGE).digest()]
    assert parameters[14] == len(IMAGE)
    assert parameters[27] == 2
    assert cbor2.loads(parameters[-257]) == [1, 2048]
    assert cbor2.dumps(cbor2.loads(envelope), canonical=True) == envelope


def test_what_is_signed_is_read_back(fleet: Fleet) -> None:
    uri = "coap://[::1]:5683/lamp/image/x"
    envelope = fleet.sign(IMAGE, 3, "2.0.1", kind=ota.UpdateType.SECURITY, severity=ota.Severity.LOW, uri=uri, chunk=None)
    manifest = ota.verify(envelope, [fleet.key.public])
    assert manifest == ota.inspect(envelope)
    assert (manifest.sequence, manifest.version, manifest.uri, manifest.chunk) == (3, "2.0.1", uri, None)
    assert (manifest.vendor, manifest.class_id) == (fleet.vendor, fleet.class_id)
    assert (manifest.kind, manifest.severity) == (ota.UpdateType.SECURITY, ota.Severity.LOW)
    assert (manifest.image_size, manifest.image_digest) == (len(IMAGE), hashlib.sha256(IMAGE).digest())
    assert manifest.image_id == ota.image_id(IMAGE)


def test_every_changed_byte_is_refused_with_a_reason(fleet: Fleet) -> None:
    envelope = fleet.sign(IMAGE)
    names = ota.refusals()
    for at in range(len(envelope)):
        for bit in (0x01, 0x80):
            changed = envelope[:at] + bytes([envelope[at] ^ bit]) + envelope[at + 1 :]
            with pytest.raises(waft.Refusal) as e:
                ota.verify(changed, [fleet.key.public])
            assert names[e.value.name] == e.value.code
    for length in range(len(envelope)):
        with pytest.raises(waft.Refusal):
            ota.verify(envelope[:length], [fleet.key.public])
    with pytest.raises(waft.Refusal) as e:
        ota.verify(envelope + b"\x00", [fleet.key.public])


def test_the_wrong_key_is_refused(fleet: Fleet) -> None:
    envelope = fleet.sign(IMAGE)
    with pytest.raises(waft.Refusal) as e:
        ota.verify(envelope, [ota.SecretKey.generate().public])
    assert e.value.name == "UnknownKey"
    with pytest.raises(waft.Refusal):
        ota.verify(envelope, [])
    with pytest.raises(ValueError, match="32 bytes, not 3"):
        ota.verify(envelope, [b"abc"])


def test_the_same_release_and_key_give_the_same_bytes(fleet: Fleet) -> None:
    assert fleet.sign(IMAGE) == fleet.sign(IMAGE)
    assert fleet.sign(IMAGE) != fleet.sign(IMAGE, 2)


def test_what_cannot_be_signed_says_why(fleet: Fleet) -> None:
    with pytest.raises(ValueError, match='1.2.0, not "latest"'):
        fleet.sign(IMAGE, version="latest")
    with pytest.raises(waft.Misuse, match="URI"):
        fleet.sign(IMAGE, uri="not a uri")
    with pytest.raises(ValueError, match="32 bytes"):
        ota.SecretKey(b"short")
    with pytest.raises(OverflowError):
        fleet.sign(IMAGE, -1)


def test_the_policy_is_the_papers_unless_the_owner_says_otherwise() -> None:
    kind = ota.UpdateType.SOFTWARE
    policy = ota.Policy()
    assert policy.choose(kind, ota.Severity.HIGH) is ota.Model.A
    assert policy.choose(kind, ota.Severity.MEDIUM) is ota.Model.B
    assert policy.choose(kind, ota.Severity.LOW, cost_a=2, cost_b=1) is ota.Model.B
    assert policy.choose(kind, ota.Severity.LOW, cost_a=1, cost_b=2) is ota.Model.A
    mine = ota.Policy({(kind, ota.Severity.HIGH): "c"})
    assert mine.choose(kind, ota.Severity.HIGH) is ota.Model.C
    with pytest.raises(ValueError, match="a choice is"):
        ota.Policy({(kind, ota.Severity.HIGH): "x"})


def test_a_release_of_another_class_is_another_uuid() -> None:
    vendor = uuid.uuid5(uuid.NAMESPACE_DNS, "example.com")
    assert uuid.uuid5(vendor, "a") != uuid.uuid5(vendor, "b")


@pytest.mark.parametrize("name", ["waft.ota", "waft.mqtt", "waft.coap", "waft.gateway", "waft.agent", "waft.aio", "waft"])
def test_every_public_name_is_there(name: str) -> None:
    import importlib

    module = importlib.import_module(name)
    assert all(hasattr(module, public) for public in module.__all__)
    assert (Path(waft.__file__).parent / "py.typed").exists()
