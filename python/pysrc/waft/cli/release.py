"""keygen, sign, inspect, verify: the author's commands."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from .. import ota
from .._errors import Misuse
from ._common import Exit, Fail, class_id, emit, hex_bytes, out, public_key, read_file, usage, vendor_id, write_file

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]


def keygen(
    name: Annotated[Path, typer.Argument(help="Name of the key: writes NAME.key (secret) and NAME.pub.")],
    force: Force = False,
    json: Json = False,
) -> None:
    """Make an Ed25519 key pair. Keep NAME.key secret; NAME.pub goes into the devices."""
    key = ota.SecretKey.generate()
    secret, public = Path(f"{name}.key"), Path(f"{name}.pub")
    for path in (secret, public):
        if not force and path.exists():
            raise Fail(Exit.FILE, f"{path} exists; choose another name or say --force to replace it")
    write_file(secret, key.seed.hex().encode() + b"\n", "secret key", private=True)
    write_file(public, key.public.hex().encode() + b"\n", "public key")
    if json:
        emit({"ok": True, "secret": str(secret), "public": str(public), "key": key.public.hex(), "id": key.id.hex()})
    else:
        out.print(f"secret key  {secret}  (keep it)\npublic key  {public}\n{key.public.hex()}", highlight=False)


def load_secret(path: Path) -> ota.SecretKey:
    """A secret key's file."""
    text = read_file(path, "secret key").decode("ascii", "replace")
    return ota.SecretKey(hex_bytes(text, 32, f"the secret key in {path}"))


def sign(
    image: Annotated[Path, typer.Argument(help="The firmware image.")],
    key: Annotated[Path, typer.Option("--key", help="Secret key file, from `waft keygen`.")],
    vendor: Annotated[str, typer.Option("--vendor", help="Vendor: a UUID or a domain name (its UUID 5 is taken).")],
    klass: Annotated[str, typer.Option("--class", help="Device class: a UUID or a name (its UUID 5 is taken).")],
    sequence: Annotated[int, typer.Option("--sequence", min=1, max=2**63 - 1, help="Sequence number: higher with each release.")],
    version: Annotated[str, typer.Option("--version", help="Version for people and reports: 1.2.0.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Envelope to write; IMAGE.suit by default.")] = None,
    kind: Annotated[ota.UpdateType, typer.Option("--type", help="What the update is for.")] = ota.UpdateType.SOFTWARE,
    severity: Annotated[ota.Severity, typer.Option(help="How urgent it is.")] = ota.Severity.MEDIUM,
    uri: Annotated[
        str,
        typer.Option(
            help="Where devices get the image: relative to the manifest, or absolute coap://… for model B. "
            "{id} stands for the image's id."
        ),
    ] = "image/{id}",
    chunk: Annotated[int, typer.Option(min=16, max=65535, help="Bytes per MQTT chunk for model A.")] = 16_384,
    json: Json = False,
) -> None:
    """Sign a release: write the SUIT envelope that describes IMAGE."""
    data = read_file(image, "image")
    if not data:
        raise Fail(Exit.FILE, f"the image {image} is empty")
    vendor_uuid = vendor_id(vendor)
    release = ota.Release(
        image=data,
        vendor=vendor_uuid,
        class_id=class_id(klass, vendor_uuid),
        sequence=sequence,
        version=version,
        kind=kind,
        severity=severity,
        uri=uri.replace("{id}", ota.image_id(data)),
        chunk=chunk,
    )
    try:
        envelope = release.sign(load_secret(key))
    except (ValueError, Misuse) as e:
        usage(f"this release cannot be signed: {e}")
    path = output or image.with_name(image.name + ".suit")
    write_file(path, envelope, "envelope")
    if json:
        emit({"ok": True, "envelope": str(path), "bytes": len(envelope), **describe(ota.verify(envelope, [load_secret(key).public]))})
    else:
        out.print(f"{path}: {len(envelope)} bytes, signed, for an image of {len(data)} bytes", highlight=False)


def describe(m: ota.Manifest) -> dict[str, Any]:
    """A manifest as JSON."""
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
    }


def show(m: ota.Manifest, title: str) -> None:
    """A manifest for people."""
    table = Table(title=title, show_header=False, title_justify="left")
    for name, value in describe(m).items():
        table.add_row(name.replace("_", " "), str(value))
    out.print(table)


Keys = Annotated[
    list[str] | None, typer.Option("--key", help="Trusted public key: 64 hexadecimal digits or a .pub file; repeatable.")
]


def inspect(
    envelope: Annotated[Path, typer.Argument(help="A SUIT envelope.")],
    json: Json = False,
) -> None:
    """Show what an envelope says, without asking who signed it. Trust nothing of it: see `waft verify`."""
    manifest = ota.inspect(read_file(envelope, "envelope"))
    if json:
        emit({"ok": True, "verified": False, **describe(manifest)})
    else:
        show(manifest, f"{envelope} (signature not checked)")


def verify(
    envelope: Annotated[Path, typer.Argument(help="A SUIT envelope.")],
    image: Annotated[Path | None, typer.Argument(help="The image, to be checked too.")] = None,
    key: Keys = None,
    vendor: Annotated[str | None, typer.Option("--vendor", help="The vendor it must be for.")] = None,
    klass: Annotated[str | None, typer.Option("--class", help="The class it must be for.")] = None,
    json: Json = False,
) -> None:
    """Check an envelope as a device would: signature, structure, and the image where it is given."""
    if not key:
        raise Fail(Exit.USAGE, "say which key is trusted: --key release.pub")
    manifest = ota.verify(read_file(envelope, "envelope"), [public_key(k) for k in key])
    vendor_uuid: uuid.UUID | None = vendor_id(vendor) if vendor else None
    if vendor_uuid is not None and manifest.vendor != vendor_uuid:
        raise Fail(Exit.REFUSED, f"refused: it is for vendor {manifest.vendor}", "Vendor")
    if klass and manifest.class_id != class_id(klass, vendor_uuid or manifest.vendor):
        raise Fail(Exit.REFUSED, f"refused: it is for class {manifest.class_id}", "Class")
    if image is not None:
        data = read_file(image, "image")
        if len(data) != manifest.image_size or hashlib.sha256(data).digest() != manifest.image_digest:
            raise Fail(Exit.REFUSED, f"refused: {image} is not the image that the manifest describes", "ImageDigest")
    if json:
        emit({"ok": True, "verified": True, "image_checked": image is not None, **describe(manifest)})
    else:
        show(manifest, f"{envelope}: signature good" + (", image matches" if image else ""))
