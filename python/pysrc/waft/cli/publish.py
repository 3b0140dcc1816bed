"""publish: puts a signed release where devices find it."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import ota
from ..aio.mqtt import MqttClient, publish_all
from ..provider import add_release
from ._common import Exit, Fail, emit, host_port, out, public_key, read_file, run, topic_level, topic_root, transfer_bar, usage


class ModelChoice(enum.StrEnum):
    """Which model to publish by."""

    AUTO = "auto"
    A = "a"
    B = "b"
    C = "c"


def publish(
    envelope: Annotated[Path, typer.Argument(help="Signed envelope, from `waft sign`.")],
    class_name: Annotated[str, typer.Option("--class-name", help="The class's name in topics and paths.")],
    image: Annotated[
        Path | None, typer.Argument(help="The image it describes: the firmware, where the release brings it.")
    ] = None,
    broker: Annotated[str | None, typer.Option(help="MQTT broker HOST:PORT (models A and B).")] = None,
    provider: Annotated[
        Path | None, typer.Option(help="Folder of the HTTP provider that gateways fetch from (models B and C).")
    ] = None,
    others: Annotated[
        list[Path] | None, typer.Option("--with", help="Another image of the release, in whatever order; repeatable.")
    ] = None,
    root: Annotated[str, typer.Option(help="First level of the topics.")] = "waft",
    model: Annotated[ModelChoice, typer.Option(help="auto: by the policy, from type and severity.")] = ModelChoice.AUTO,
    cost: Annotated[
        str, typer.Option(help="Cost of a kilobyte by model A and by B, where the policy takes the cheaper: A:B.")
    ] = "1:1",
    key: Annotated[
        list[str] | None, typer.Option("--key", help="Publish only what this public key signed; repeatable.")
    ] = None,
    username: Annotated[str | None, typer.Option(help="MQTT user name.")] = None,
    password: Annotated[str | None, typer.Option(help="MQTT password.", envvar="WAFT_PASSWORD")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Publish a release by the model that the policy chooses.

    A: image chunks, then the manifest, retained at the broker. B: the manifest at the broker; the image at the CoAP server
    that its URI names, or in the provider's folder. C: both in the provider's folder, for gateways.
    """
    data, suit = read_file(image, "image") if image else None, read_file(envelope, "envelope")
    manifest = ota.verify(suit, [public_key(k) for k in key]) if key else ota.inspect(suit)
    if data is None:
        if manifest.uri:
            usage("the release brings firmware: give its file behind the envelope")
    elif not manifest.uri:
        usage(f"the release brings no firmware: give the files of what it brings with --with, not {image}")
    elif hashlib.sha256(data).digest() != manifest.image_digest or len(data) != manifest.image_size:
        raise Fail(Exit.REFUSED, f"refused: {image} is not the image that {envelope} describes; sign it again", "ImageDigest")
    more = [read_file(path, "image") for path in others or []]
    topic_level(class_name, "class name")
    topic_root(root)
    try:
        cost_a, cost_b = (int(part) for part in cost.split(":"))
        chosen = ota.Policy().choose(manifest.kind, manifest.severity, cost_a, cost_b)
    except (ValueError, OverflowError):
        usage(f"--cost must be two positive numbers A:B, not {cost!r}")
    by = "policy"
    if model is not ModelChoice.AUTO:
        chosen, by = ota.Model(model.value), "--model"
    why = f"{manifest.kind} update, severity {manifest.severity}" if by == "policy" else "as told by --model"
    if not json:
        out.print(f"model {chosen.upper()}: {why}", highlight=False)
    result = run(
        send(chosen, suit, data, manifest, class_name, root, broker, provider, username, password, others=more, quiet=json)
    )
    if json:
        emit({"ok": True, "model": chosen.value, "chosen_by": by, "sequence": manifest.sequence, **result})
    else:
        out.print(
            f"published {manifest.version or 'sequence ' + str(manifest.sequence)} for {class_name}: {result['summary']}",
            highlight=False,
            soft_wrap=True,
        )


def payloads(manifest: ota.Manifest, firmware: bytes | None, others: Sequence[bytes]) -> list[tuple[str, bytes]]:
    """What a release has devices fetch, each with its URI: its firmware, of ``others`` what it wants, and lists of their chunks'
    digests."""
    files = {hashlib.sha256(data).digest(): data for data in others}
    if firmware is not None:
        files[manifest.image_digest] = firmware
    for payload in manifest.payloads:
        if payload.chunks is not None and payload.digest in files:
            files[payload.chunks[1]] = ota.chunk_list(files[payload.digest], payload.chunks[0])
    fetched = [payload for payload in manifest.payloads if payload.content is None]
    for payload in fetched:
        if payload.digest not in files:
            usage(f"the release has image {payload.number} at {payload.uri}: give its file with --with FILE")
    return [(payload.uri, files[payload.digest]) for payload in fetched]


async def send(
    model: ota.Model,
    suit: bytes,
    image: bytes | None,
    manifest: ota.Manifest,
    class_name: str,
    root: str,
    broker: str | None,
    provider: Path | None,
    username: str | None = None,
    password: str | None = None,
    *,
    others: Sequence[bytes] = (),
    quiet: bool = True,
) -> dict[str, Any]:
    """Publishes by one model; says what was done. ``image`` is the firmware, ``others`` are the other images of the release."""
    parts = payloads(manifest, image, others)
    if model is ota.Model.C:
        if provider is None:
            usage("model C needs the provider's folder: --provider DIR, the one that `waft gateway --provider URL` reads")
        entry = add_release(provider, class_name, suit, image, parts)
        images = [str(entry["image"])] if "image" in entry else [f"{class_name}/{uri}" for uri, _ in parts]
        return {"summary": " and ".join([str(provider / entry["manifest"]), *images]), "provider": str(provider)}
    if broker is None:
        usage(f"model {model.upper()} needs the MQTT broker: --broker HOST:PORT")
    host, port = host_port(broker, 1883, "broker")
    if model is ota.Model.B:
        absolute = all("://" in uri for uri, _ in parts)
        if not absolute and provider is None:
            usage(
                "model B needs an image on a CoAP server: sign with --uri coap://HOST/…, "
                "or give --provider DIR for devices that have a gateway"
            )
        if provider is not None:
            add_release(provider, class_name, suit, image, parts)
    messages: list[tuple[str, bytes]] = []
    if model is ota.Model.A:
        if manifest.chunk is None or any("://" in uri for uri, _ in parts):
            usage("model A needs relative URIs and a chunk size in the manifest: sign without --uri, with --chunk")
        base = f"{root}/{class_name}"
        for uri, data in parts:
            messages += [(f"{base}/{uri}/{n}", part) for n, part in enumerate(ota.chunks(data, manifest.chunk))]
    client = await MqttClient.connect(
        host, port, username=username, password=password.encode() if password is not None else None
    )
    async with client:
        with transfer_bar(quiet) as bar:
            task = bar.add_task(f"{class_name} {manifest.version or ''}", total=sum(len(p) for _, p in messages) + len(suit))
            await publish_all(client, messages, progress=lambda n: bar.advance(task, n))
            # The manifest last: whoever sees it finds all of the image.
            await client.publish(f"{root}/{class_name}/manifest", suit, 1, True)
            bar.advance(task, len(suit))
    where = manifest.uri or " and ".join(uri for uri, _ in parts) or "in it"
    what = f"{len(messages)} chunks and the manifest" if messages else f"the manifest; the image is at {where}"
    return {"summary": f"{what}, retained at {host}:{port}", "messages": len(messages) + 1, "bytes_sent": client.sent}


__all__ = ["ModelChoice", "payloads", "publish", "send"]
