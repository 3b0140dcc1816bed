"""broker, gateway: servers for the bench."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
from typing import Annotated, Any

import typer

from .. import mqtt
from ..aio.gateway import serve_gateway
from ..aio.mqtt import serve_broker
from ._common import Exit, Fail, emit, err, out, run, usage

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per event.")]
Host = Annotated[str, typer.Option(help="Address to listen on. 127.0.0.1: this machine only; 0.0.0.0: everybody.")]


async def until_told() -> None:
    """Waits for SIGINT or SIGTERM."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    await told.wait()


def cannot_listen(e: OSError, host: str, port: int) -> Fail:
    """The usual reasons, in one line."""
    return Fail(Exit.UNREACHABLE, f"cannot listen on {host}:{port}: {e.strerror or e}; choose another --port (0 takes a free one)")


def broker(
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")] = 1883,
    host: Host = "127.0.0.1",
    json: Json = False,
) -> None:
    """Run an MQTT 3.1.1 broker until it is interrupted. It keeps everything in memory."""

    def told(event: mqtt.BrokerEvent) -> None:
        fields: dict[str, Any] = dataclasses.asdict(event)
        if json:
            emit({"event": type(event).__name__, **fields})
        else:
            err.print(type(event).__name__, *(f"{k}={v}" for k, v in fields.items()), highlight=False, markup=False)

    async def main() -> None:
        try:
            server = await serve_broker(host, port, on_event=told)
        except OSError as e:
            raise cannot_listen(e, host, port) from None
        async with server:
            if json:
                emit({"event": "listening", "host": host, "port": server.port})
            else:
                out.print(f"MQTT broker on {host}:{server.port}; Ctrl-C ends it", highlight=False)
            await until_told()

    run(main())


def gateway(
    provider: Annotated[str | None, typer.Option(help="Base URL of the HTTP provider: http://HOST/…/ with index.json.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="UDP port; 0 takes a free one.")] = 5683,
    host: Host = "127.0.0.1",
    poll: Annotated[float, typer.Option(min=0.05, help="Seconds between looks at the provider's index.")] = 10.0,
    json: Json = False,
) -> None:
    """Run a CoAP gateway until it is interrupted: fetches each release from the provider once, serves it to many."""
    if provider is None:
        usage("say where the releases are: --provider http://HOST:PORT/")
    if not provider.startswith(("http://", "https://")):
        usage(f"the provider must be an http:// or https:// URL, not {provider!r}")

    def told(event: dict[str, Any]) -> None:
        if json:
            emit(event)
        else:
            err.print(" ".join(str(v) for v in event.values()), highlight=False, markup=False)

    async def main() -> None:
        try:
            server = await serve_gateway(provider, host, port, poll=poll, on_event=told)
        except OSError as e:
            raise cannot_listen(e, host, port) from None
        async with server:
            if json:
                emit({"event": "listening", "host": host, "port": server.port})
            else:
                out.print(f"CoAP gateway on coap://{host}:{server.port}/; Ctrl-C ends it", highlight=False)
            await until_told()

    run(main())
