"""inspect and verify: what an envelope says, and whether a device would take it."""

from __future__ import annotations

import hashlib
import re
import sys
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from .. import ota
from .._errors import Refusal
from ._common import Exit, Fail, class_id, emit, out, public_key, read_file, vendor_id
from ._diag import COMMANDS, COMPONENT_TEXTS, PARAMETERS, SECTIONS, TEXTS, argument, diagnose

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Envelope = Annotated[Path, typer.Argument(help="A SUIT envelope.")]
Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        help="Trusted public key: 64 hexadecimal digits or a .pub file, and after a colon perhaps what it may sign: "
        "firmware, keys, all, or a number; repeatable.",
    ),
]


def trusted(text: str, epoch: int = 0) -> ota.Key:
    """A trusted key with its scope: ``release.pub``, ``release.pub:firmware``, ``release.pub:firmware+keys``."""
    name, colon, scopes = text.rpartition(":")
    if not colon:
        return ota.Key(public_key(text), epoch=epoch)
    scope = ota.Scope(0)
    for word in scopes.split("+"):
        try:
            scope |= ota.Scope[word.upper()] if not re.fullmatch("[0-6]", word) else ota.Scope(1 << int(word))
        except KeyError:
            raise Fail(Exit.USAGE, f"a key may sign firmware, keys, all, or the number of an image, not {word!r}") from None
    return ota.Key(public_key(name), ota.Scope(scope & 0xFF), epoch)


def when(seconds: int) -> str:
    """A time as people read it."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s after 1970"


def _payload(p: ota.Payload) -> dict[str, Any]:
    return {
        "component": p.component,
        "number": p.number,
        "digest": p.digest.hex(),
        "size": p.size,
        "uri": p.uri,
        "integrated": p.content is not None,
        "chunk": p.chunks[0] if p.chunks else None,
        "list_digest": p.chunks[1].hex() if p.chunks else None,
    }


def describe(m: ota.Manifest) -> dict[str, Any]:
    """A manifest as JSON."""
    requires = asdict(m.requires)
    requires["device"] = str(m.requires.device) if m.requires.device else None
    requires["version"] = list(m.requires.version)
    return {
        "sequence": m.sequence,
        "version": m.version,
        "vendor": str(m.vendor),
        "class": str(m.class_id),
        "type": m.kind.value,
        "severity": m.severity.value,
        "uri": m.uri,
        "image_digest": m.image_digest.hex(),
        "image_size": m.image_size,
        "chunk": m.chunk,
        "digest": m.digest.hex(),
        "signer": m.signer.hex() if m.signer else None,
        "reference_uri": m.reference_uri,
        "requires": requires,
        "payloads": [_payload(p) for p in m.payloads],
    }


def _requirements(r: ota.Requires) -> list[str]:
    lines = []
    if r.use_before is not None:
        lines.append(f"installed before {when(r.use_before)}")
    if r.battery is not None:
        lines.append(f"a battery of at least {r.battery} mWh")
    if r.authorization:
        lines.append("the application's consent")
    lines += [f"an installed version {version}" for version in r.version]
    if r.device is not None:
        lines.append(f"the device {r.device}")
    if (w := r.wait) is not None:
        if w.time is not None:
            lines.append(f"waiting until {when(w.time)}")
        days = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split()
        if w.day_of_week is not None:
            lines.append(f"waiting for a {days[w.day_of_week]} (UTC)")
        if w.time_of_day is not None:
            lines.append(f"waiting until {w.time_of_day // 3600:02}:{w.time_of_day // 60 % 60:02} UTC")
        if w.power is not None:
            lines.append(f"power state {w.power}")
        if w.network is not None:
            lines.append(f"network state {w.network}")
    return lines


def show(m: ota.Manifest, title: str) -> None:
    """A manifest for people."""
    table = Table(title=title, show_header=False, title_justify="left")
    version = f" (version {m.version})" if m.version else ""
    table.add_row("release", f"{m.sequence}{version}, a {m.kind.value} update of {m.severity.value} severity")
    table.add_row("for", f"vendor {m.vendor}\nclass  {m.class_id}")
    for p in m.payloads:
        what = {"image": "firmware" if p.number == 0 else f"image {p.number}", "chunks": "chunk digests", "keys": "key table"}
        lines = [f"{p.size} bytes {'in the envelope' if p.content is not None else f'from {p.uri}'}", p.digest.hex()]
        if p.chunks:
            lines.append(f"each {p.chunks[0]} bytes signed for")
        if p.component == "keys" and p.content is not None:
            lines += _keys(p.content)
        table.add_row(what[p.component], "\n".join(lines))
    if m.chunk:
        table.add_row("MQTT chunks", f"{m.chunk} bytes")
    if needs := _requirements(m.requires):
        table.add_row("requires", "\n".join(needs))
    if m.reference_uri:
        table.add_row("manifest at", m.reference_uri)
    table.add_row("manifest", m.digest.hex())
    table.add_row("signed by", m.signer.hex() if m.signer else "a key that it does not name")
    out.print(table)


def _keys(payload: bytes) -> list[str]:
    try:
        table = ota.KeyTable.from_bytes(payload)
    except Refusal as e:
        return [f"no table of keys: {e}"]
    lines = [f"epoch {table.epoch}"]
    for key in table.keys:
        scope = "everything" if key.scope == ota.Scope.ALL else str(key.scope)
        lines.append(f"{key.id.hex()} for {scope}, since epoch {key.epoch}")
    return lines


def steps(walk: ota.Walk) -> list[str]:
    """The sequences of a manifest, a line for each step."""
    lines = []
    for step in walk.steps:
        indent = "  " * (step.depth + 1)
        match step.what:
            case "sequence" if step.depth == 0:
                lines.append(f"{SECTIONS[step.key]}:")
            case "sequence":
                lines.append(f"{indent}run:")
            case "alternative":
                lines.append(f"{indent}either:")
            case "command":
                lines.append(f"{indent}{COMMANDS[step.key]} {argument(step.value)}".rstrip())
            case "parameter":
                lines.append(f"{indent}  {PARAMETERS[step.key]} = {argument(step.value)}")
            case "text":
                lines.append(f"text {TEXTS.get(step.key, step.key)}, {step.value.decode()}")
            case _:
                lines.append(f"text {COMPONENT_TEXTS.get(step.key, step.key)}, {step.value.decode()}")
    return lines


def inspect(
    envelope: Envelope,
    sequences: Annotated[bool, typer.Option("--steps", help="Show the command sequences too.")] = False,
    diag: Annotated[bool, typer.Option("--diag", help="Print CBOR diagnostic notation with the names of everything.")] = False,
    json: Json = False,
) -> None:
    """Show what an envelope says, without asking who signed it. Trust nothing of it: see `waft verify`."""
    data = read_file(envelope, "envelope")
    walk = ota.walk(data)
    if diag:
        sys.stdout.write(diagnose(data) + "\n")
        return
    try:
        manifest, refusal = ota.inspect(data), None
    except Refusal as e:
        manifest, refusal = None, e
    if json:
        value: dict[str, Any] = {"ok": True, "verified": False, "device_profile": refusal is None}
        if manifest is not None:
            value |= describe(manifest)
        else:
            value |= {
                "sequence": walk.sequence,
                "version": walk.version,
                "digest": walk.digest.hex(),
                "reference_uri": walk.reference_uri,
                "refusal": refusal.name if refusal else None,
            }
        if sequences:
            value["steps"] = steps(walk)
        emit(value)
        return
    if manifest is not None:
        show(manifest, f"{envelope} (signature not checked)")
    else:
        out.print(
            f"{envelope}: release {walk.sequence}, well-formed, but not for a device of this profile: {refusal}",
            highlight=False,
        )
    if sequences or manifest is None:
        out.print("\n".join(steps(walk)), highlight=False, markup=False)


def verify(
    envelope: Envelope,
    image: Annotated[Path | None, typer.Argument(help="The image, to be checked too: the firmware, where there is one.")] = None,
    key: Keys = None,
    vendor: Annotated[str | None, typer.Option("--vendor", help="The vendor it must be for.")] = None,
    klass: Annotated[str | None, typer.Option("--class", help="The class it must be for.")] = None,
    json: Json = False,
) -> None:
    """Check an envelope as a device would: signature, structure, and the image where it is given."""
    if not key:
        raise Fail(Exit.USAGE, "say which key is trusted: --key release.pub")
    data = read_file(envelope, "envelope")
    manifest = ota.verify(data, [trusted(k) for k in key])
    vendor_uuid: uuid.UUID | None = vendor_id(vendor) if vendor is not None else None
    if vendor_uuid is not None and manifest.vendor != vendor_uuid:
        raise Fail(Exit.REFUSED, f"refused: it is for vendor {manifest.vendor}", "Vendor")
    if klass is not None and manifest.class_id != class_id(klass, vendor_uuid or manifest.vendor):
        raise Fail(Exit.REFUSED, f"refused: it is for class {manifest.class_id}", "Class")
    if image is not None:
        content = read_file(image, "image")
        # The firmware, or in a release without one any of its images.
        images = {(p.size, p.digest) for p in manifest.payloads if p.component == "image" and (p.number == 0 or not manifest.uri)}
        if (len(content), hashlib.sha256(content).digest()) not in images:
            raise Fail(Exit.REFUSED, f"refused: {image} is not the image that the manifest describes", "ImageDigest")
    if json:
        emit({"ok": True, "verified": True, "image_checked": image is not None, **describe(manifest)})
    else:
        show(manifest, f"{envelope}: signature good" + (", image matches" if image else ""))


def report(
    file: Annotated[Path, typer.Argument(help="A signed report, as it came from the device.")],
    key: Keys = None,
    last: Annotated[int, typer.Option(min=0, max=2**64 - 1, help="Number of the last report that was taken of that device.")] = 0,
    json: Json = False,
) -> None:
    """Check that a report is a device's own and newer than the last one, and say what it tells."""
    if not key:
        raise Fail(Exit.USAGE, "say whose report it may be: --key device.pub")
    told = ota.open_report(read_file(file, "report"), [trusted(k) for k in key], last)
    said = told.report
    if json:
        emit({
            "ok": True, "key_id": told.key_id.hex(), "nonce": told.nonce, "state": said.state.value, "reason": said.reason,
            "version": said.version, "sequence": said.sequence, "digest": said.digest.hex(), "attempts": said.attempts,
        })  # fmt: skip
    else:
        why = f", {said.reason}" if said.reason else ""
        out.print(f"{file}: signed by {told.key_id.hex()}, number {told.nonce}", highlight=False)
        out.print(f"release {said.sequence} ({said.version or 'no version'}): {said.state.value}{why}", highlight=False)
