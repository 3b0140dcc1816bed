"""Manifests read twice: by waft, and by another reader made for this test of cbor2, which goes through the sequences the other
way, all components at once with a table of parameters each (draft-ietf-suit-manifest-37 §6.4). What waft takes, both read
alike; that reader knows nothing of waft's own rules, so it may take more."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import cbor2
import pytest

import waft
from waft import ota

VECTORS = Path(__file__).parents[2] / "tests" / "vectors" / "suit"
NAMES = ["example1_1.ed25519.alg19", "example2_2.ed25519.alg19", "example5_1.ed25519.alg19"]
NAMES += ["waft-release", "waft-parts", "waft-requires", "waft-integrated", "waft-keys", "waft-image", "copied", "swapped"]


class Failed(Exception):
    """A condition does not hold."""


class Reader:
    """The other reader."""

    def __init__(self, envelope: bytes) -> None:
        self.members = cbor2.loads(envelope).value
        self.manifest = cbor2.loads(self.members[3])
        common = cbor2.loads(self.manifest[3])
        self.components = common[2]
        self.fetched: dict[int, dict[int, Any]] = {}
        self.validated: set[int] = set()
        self.sources: set[int] = set()
        for key in (16, 20, 7):
            sequence = self.manifest.get(key)
            if isinstance(sequence, list):
                sequence = self.members[key]
            if sequence is None:
                continue
            self.parameters: list[dict[int, Any]] = [{} for _ in self.components]
            self.current = [0]
            self.run(cbor2.loads(common[4]), key)
            self.run(cbor2.loads(sequence), key)

    def run(self, sequence: list[Any], section: int) -> None:
        for code, argument in zip(sequence[::2], sequence[1::2], strict=True):
            if code == 12:
                everything = list(range(len(self.components)))
                self.current = everything if argument is True else argument if isinstance(argument, list) else [argument]
                continue
            selected = self.current
            for n in selected:
                self.current = [n]
                self.command(code, argument, n, section)
            self.current = selected

    def command(self, code: int, argument: Any, n: int, section: int) -> None:
        parameters = self.parameters[n]
        match code:
            case 20:
                parameters |= argument
            case 32:
                self.run(cbor2.loads(argument), section)
            case 15:
                for alternative in argument:
                    if alternative is None:
                        return
                    try:
                        self.run(cbor2.loads(alternative), section)
                    except Failed:
                        continue
                    return
                raise Failed
            case 14:
                raise Failed
            case 21:
                self.fetched[n] = dict(parameters)
            case 22 | 31:
                source = parameters[22]
                self.sources.add(source)
                self.fetched[n] = dict(parameters) | {21: self.fetched[source][21]}
            case 3 if section == 7:
                self.validated.add(n)
                assert self.fetched[n][3] == parameters[3]

    def payloads(self) -> set[tuple[Any, ...]]:
        found = set()
        for n in self.fetched.keys() & self.validated:
            parameters = self.fetched[n]
            digest = cbor2.loads(parameters[3])[1]
            uri = parameters[21]
            found.add((tuple(self.components[n]), digest, parameters[14], uri, self.members.get(uri)))
        return found


def identifier(p: ota.Payload) -> tuple[bytes, ...]:
    return {"image": (bytes([p.number]),), "chunks": (bytes([p.number]), b"chunks"), "keys": (b"keys",)}[p.component]


def agree(envelope: bytes) -> bool:
    """Whether waft takes it; both then read the same."""
    try:
        mine = ota.inspect(envelope)
    except waft.Refusal:
        return False
    other = Reader(envelope)
    assert mine.sequence == other.manifest[2]
    assert {(identifier(p), p.digest, p.size, p.uri, p.content) for p in mine.payloads} == other.payloads()
    assert cbor2.dumps(cbor2.loads(envelope), canonical=True) == envelope
    return True


def with_manifest(envelope: bytes, manifest: bytes) -> bytes:
    """The envelope around another manifest, with its digest. Nobody signed it, and inspect() does not ask."""
    tagged = cbor2.loads(envelope)
    members = dict(tagged.value)
    block = cbor2.loads(members[2])
    digest = [-16, hashlib.sha256(cbor2.dumps(manifest)).digest()]
    members[2] = cbor2.dumps([cbor2.dumps(digest), block[1]])
    members[3] = manifest
    return cbor2.dumps(cbor2.CBORTag(107, members), canonical=True)


@pytest.mark.parametrize("name", NAMES)
def test_two_readers_read_the_same(name: str) -> None:
    envelope = bytes.fromhex((VECTORS / f"{name}.suit.hex").read_text())
    assert agree(envelope)
    manifest = cbor2.loads(envelope).value[3]
    assert agree(with_manifest(envelope, manifest))
    rng = random.Random(name)
    taken = 0
    for _ in range(1500):
        changed = bytearray(manifest)
        for _ in range(rng.randint(1, 2)):
            at = rng.randrange(len(changed))
            changed[at] = rng.choice([changed[at] ^ 1 << rng.randrange(8), rng.choice(changed), rng.randrange(32)])
        taken += agree(with_manifest(envelope, bytes(changed)))
    assert taken > 20, "most changes break something, and some do not"
