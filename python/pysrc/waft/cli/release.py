"""keygen, sign, keys: the author's commands."""

from __future__ import annotations

import tomllib
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import ota
from .._errors import Misuse
from ._common import Exit, Fail, class_id, emit, hex_bytes, out, read_file, usage, vendor_id, write_file
from .inspect import Json, describe, trusted

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


#: What people call the types of TOML.
TYPES = {str: "a string", int: "a whole number", bool: "true or false", dict: "a table", list: "an array", datetime: "a time"}

#: What a description in TOML may say, and of which type.
DESCRIPTION: dict[str, tuple[type, ...]] = {
    "image": (str,),
    "key": (str,),
    "vendor": (str,),
    "class": (str,),
    "sequence": (int,),
    "version": (str,),
    "output": (str,),
    "type": (str,),
    "severity": (str,),
    "uri": (str,),
    "chunk": (int,),
    "chunk_digests": (str,),
    "integrated": (bool,),
    "reference_uri": (str,),
    "requires": (dict,),
    "text": (dict,),
    "images": (list,),
}
REQUIRES: dict[str, tuple[type, ...]] = {
    "use_before": (int, str, datetime),
    "battery": (int,),
    "authorization": (bool,),
    "version": (list,),
    "device": (str,),
    "wait": (dict,),
}
WAIT: dict[str, tuple[type, ...]] = {
    "power": (int,),
    "network": (int,),
    "time": (int, str, datetime),
    "time_of_day": (int,),
    "day_of_week": (int,),
}
TEXT: dict[str, tuple[type, ...]] = {
    "language": (str,),
    "description": (str,),
    "vendor": (str,),
    "model": (str,),
    "version": (str,),
}
IMAGE: dict[str, tuple[type, ...]] = {"number": (int,), "file": (str,), "uri": (str,), "integrated": (bool,)}


def _known(table: Any, types: dict[str, tuple[type, ...]], where: str) -> dict[str, Any]:
    """A table of which every key is known and of its type."""
    if not isinstance(table, dict):
        usage(f"{where} must be a table")
    for name, value in table.items():
        if name not in types:
            usage(f"{where} has no {name!r}; it may have {', '.join(types)}")
        if not isinstance(value, types[name]) or (isinstance(value, bool) and bool not in types[name]):
            usage(f"{name!r} in {where} must be {' or '.join(TYPES[t] for t in types[name])}")
    return table


def seconds(value: int | str | datetime | None, what: str) -> int | None:
    """A time in seconds since 1970: those, or ISO 8601; UTC where it says nothing else."""
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, str):
        if value.isdigit():
            return int(value)
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            usage(f"{what} must be seconds since 1970 or like 2027-01-31T12:00:00Z, not {value!r}")
    if not value.tzinfo:
        value = value.replace(tzinfo=UTC)
    return int(value.timestamp())


def _requires(table: dict[str, Any]) -> ota.Requires:
    table = _known(table, REQUIRES, "requires")
    wait = _known(table["wait"], WAIT, "requires.wait") if "wait" in table else None
    try:
        device = uuid.UUID(table["device"]) if table.get("device") else None
    except ValueError:
        usage(f"the device must be a UUID, not {table['device']!r}")
    return ota.Requires(
        use_before=seconds(table.get("use_before"), "use_before"),
        battery=table.get("battery"),
        authorization=table.get("authorization", False),
        version=tuple(str(version) for version in table.get("version", [])),
        device=device,
        wait=None if wait is None else ota.Wait(**{**wait, "time": seconds(wait.get("time"), "time")}),
    )


def _extra(table: Any, folder: Path) -> ota.Extra:
    table = _known(table, IMAGE, "images")
    if "number" not in table or "file" not in table:
        usage("each of images has a number, 1 to 6, and a file")
    if not 1 <= table["number"] <= 6:
        usage(f"the number of an image is 1 to 6, not {table['number']}")
    return ota.Extra(
        table["number"], read_file(folder / table["file"], "image"), table.get("uri"), table.get("integrated", False)
    )


def sign(
    image: Annotated[
        Path | None, typer.Argument(help="The firmware image; none where the description has other images only.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Secret key file, from `waft keygen`.")] = None,
    vendor: Annotated[str | None, typer.Option("--vendor", help="Vendor: a UUID or a domain name (its UUID 5 is taken).")] = None,
    klass: Annotated[str | None, typer.Option("--class", help="Device class: a UUID or a name (its UUID 5 is taken).")] = None,
    sequence: Annotated[int | None, typer.Option("--sequence", min=1, max=2**63 - 1, help="Sequence number: higher with each release.")] = None,
    version: Annotated[str | None, typer.Option("--version", help="Version for people and reports: 1.2.0.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Envelope to write; IMAGE.suit by default, or the description's name where there is no IMAGE.")] = None,
    description: Annotated[Path | None, typer.Option("--from", help="A description of the release in TOML; what else is given goes before it.")] = None,
    kind: Annotated[ota.UpdateType | None, typer.Option("--type", help="What the update is for; software by default.")] = None,
    severity: Annotated[ota.Severity | None, typer.Option(help="How urgent it is; medium by default.")] = None,
    uri: Annotated[
        str | None,
        typer.Option(
            help="Where devices get the image: relative to the manifest (image/{id} by default), or absolute coap://… for "
            "model B. {id} stands for the image's id."
        ),
    ] = None,
    chunk: Annotated[int | None, typer.Option(min=16, max=65535, help="Bytes per MQTT chunk for model A; 16384 by default.")] = None,
    chunk_digests: Annotated[str | None, typer.Option(help="Sign for each chunk: where the list of their digests is; #chunks puts it into the envelope.")] = None,
    integrated: Annotated[bool, typer.Option("--integrated", help="Put the image into the envelope.")] = False,
    reference_uri: Annotated[str | None, typer.Option(help="Where the whole manifest can be had.")] = None,
    use_before: Annotated[str | None, typer.Option(help="Not to be installed at or after this time: 2027-01-31T12:00:00Z.")] = None,
    battery: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="Least charge of the battery, mWh.")] = None,
    authorize: Annotated[bool, typer.Option("--authorize", help="The device's application is to be asked.")] = False,
    require: Annotated[list[str] | None, typer.Option("--require-version", help="What the installed version has to be: '>=1.2.0'; at most two.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="The UUID of the only device it is for.")] = None,
    json: Json = False,
) -> None:
    """Sign a release: write the SUIT envelope that describes IMAGE, and other images that the description names."""
    given: dict[str, Any] = {}
    folder = Path()
    if description is not None:
        try:
            given = tomllib.loads(read_file(description, "description").decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
            usage(f"{description} is not TOML: {e}")
        folder = description.parent
        _known(given, DESCRIPTION, str(description))

    for name, text in (("uri", uri), ("chunk-digests", chunk_digests), ("reference-uri", reference_uri)):
        if text == "":
            usage(f"--{name} is empty")

    def wanted(name: str, flag: Any) -> Any:
        value = flag if flag is not None else given.get(name)
        if value is None:
            usage(f"say the {name}: --{name} …" + ("" if description else ", or --from release.toml"))
        return value

    if image is None:
        if description is None:
            usage("say which image, or --from release.toml")
        if "image" in given or not given.get("images"):
            image = folder / wanted("image", None)
    if key is None:
        key = folder / wanted("key", None)
    data = None if image is None else read_file(image, "image")
    if data is not None and not data:
        raise Fail(Exit.FILE, f"the image {image} is empty")
    vendor_uuid = vendor_id(wanted("vendor", vendor))
    requires = dict(given.get("requires", {}))
    for name, flag in (("use_before", use_before), ("battery", battery), ("version", require), ("device", device)):
        if flag is not None:
            requires[name] = flag
    if authorize:
        requires["authorization"] = True
    integrated = integrated or given.get("integrated", False)
    where = uri or given.get("uri")
    if where and data is not None:
        where = where.replace("{id}", ota.image_id(data))
    number = wanted("sequence", sequence)
    if not 1 <= number < 2**63:
        usage("the sequence number is 1 to 2^63 - 1")
    try:
        release = ota.Release(
            image=data,
            vendor=vendor_uuid,
            class_id=class_id(wanted("class", klass), vendor_uuid),
            sequence=number,
            version=wanted("version", version),
            kind=ota.UpdateType(kind or given.get("type", "software")),
            severity=ota.Severity(severity or given.get("severity", "medium")),
            uri=where,
            chunk=chunk or given.get("chunk", 16_384),
            reference_uri=reference_uri or given.get("reference_uri"),
            requires=_requires(requires),
            text=ota.Text(**_known(given["text"], TEXT, "text")) if "text" in given else None,
            content=integrated,
            list_uri=chunk_digests or given.get("chunk_digests"),
            images=[_extra(extra, folder) for extra in given.get("images", [])],
        )
        secret = load_secret(key)
        envelope = release.sign(secret)
    except OverflowError:
        usage("this release cannot be signed: a number is negative or too large")
    except (ValueError, Misuse) as e:
        usage(f"this release cannot be signed: {e}")
    if output is not None:
        path = output
    elif "output" in given:
        path = folder / given["output"]
    elif image is not None:
        path = image.with_name(image.name + ".suit")
    else:
        assert description is not None
        path = description.with_suffix(".suit")
    write_file(path, envelope, "envelope")
    if json:
        emit({"ok": True, "envelope": str(path), "bytes": len(envelope), **describe(ota.verify(envelope, [secret.public]))})
    else:
        sizes = [len(content) for content in (data, *(extra.image for extra in release.images)) if content is not None]
        what = f"an image of {sizes[0]} bytes" if len(sizes) == 1 else f"{len(sizes)} images of {sum(sizes)} bytes"
        out.print(f"{path}: {len(envelope)} bytes, signed, for {what}", highlight=False)


def keys(
    trust: Annotated[
        list[str],
        typer.Argument(help="Keys of the new table: .pub files, and after a colon perhaps what they may sign: firmware, keys, all, or the number of an image, joined by +."),
    ],
    key: Annotated[Path, typer.Option("--key", help="Secret key file that signs; its public key stays in the table.")],
    vendor: Annotated[str, typer.Option("--vendor", help="Vendor: a UUID or a domain name.")],
    klass: Annotated[str, typer.Option("--class", help="Device class: a UUID or a name.")],
    sequence: Annotated[int, typer.Option("--sequence", min=1, max=2**63 - 1, help="Sequence number, above the last release's.")],
    epoch: Annotated[int, typer.Option("--epoch", min=1, max=2**32 - 1, help="Number of the table: higher with each.")],
    before: Annotated[Path | None, typer.Option("--before", help="The envelope with the table before this one: keys in it keep their epochs.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Envelope to write.")] = Path("keys.suit"),
    json: Json = False,
) -> None:
    """Change the keys that devices trust: sign a table that takes the place of theirs.

    To replace a key, first bring the new one, signed by the old; then leave the old one out, signed by the new.
    """
    old: dict[tuple[bytes, int], int] = {}
    if before is not None:
        payloads = ota.inspect(read_file(before, "envelope")).payloads
        if not payloads or payloads[0].component != "keys" or payloads[0].content is None:
            raise Fail(Exit.FILE, f"{before} has no table of keys")
        old = {(k.public, int(k.scope)): k.epoch for k in ota.KeyTable.from_bytes(payloads[0].content).keys}
    secret = load_secret(key)
    vendor_uuid = vendor_id(vendor)
    table_keys = []
    for text in trust:
        k = trusted(text)
        # Without a table before, the key that signs has been there since the factory.
        since = old.get((k.public, int(k.scope)), 0 if before is None and k.public == secret.public else epoch)
        table_keys.append(ota.Key(k.public, k.scope, since))
    try:
        table = ota.KeyTable(tuple(table_keys), epoch)
        envelope = table.sign(secret, vendor=vendor_uuid, class_id=class_id(klass, vendor_uuid), sequence=sequence)
    except Misuse:
        usage("the key that signs has to stay in the table, with the right to sign tables: nobody locks himself out")
    except ValueError as e:
        usage(str(e))
    write_file(output, envelope, "envelope")
    if json:
        emit({"ok": True, "envelope": str(output), "bytes": len(envelope), "epoch": epoch, "keys": [k.id.hex() for k in table.keys]})
    else:
        out.print(f"{output}: {len(envelope)} bytes, signed: epoch {epoch}, {len(table.keys)} keys", highlight=False)
