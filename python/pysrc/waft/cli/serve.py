"""broker, gateway: servers for the bench."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import secrets
import signal
import ssl
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import mqtt
from .._errors import Misuse
from ..aio.gateway import serve_gateway
from ..aio.broker import Allow, BrokerServer, Deny
from ..passwords import Passwords
from ._common import Exit, Fail, emit, err, out, read_file, run, usage

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
    tls_port: Annotated[int | None, typer.Option(min=0, max=65535, help="TLS port, usually 8883; needs --cert and --key.")] = None,
    ws_port: Annotated[int | None, typer.Option(min=0, max=65535, help="WebSocket port (subprotocol mqtt), any path.")] = None,
    wss_port: Annotated[int | None, typer.Option(min=0, max=65535, help="WebSocket over TLS; needs --cert and --key.")] = None,
    cert: Annotated[Path | None, typer.Option(help="Certificate chain of the broker, PEM.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    client_ca: Annotated[Path | None, typer.Option(help="TLS clients must have a certificate of these authorities, PEM.")] = None,
    state: Annotated[Path | None, typer.Option(help="File in which sessions and messages survive a restart.")] = None,
    passwords: Annotated[
        Path | None, typer.Option(help="Who may connect: lines name:password, or as mosquitto_passwd writes them.")
    ] = None,
    acl: Annotated[Path | None, typer.Option(help="Who may publish and subscribe to what, as mosquitto's acl_file.")] = None,
    sys_interval: Annotated[float | None, typer.Option(min=0, help="Seconds between publications of $SYS topics; 0: none.")] = 10.0,
    max_connections: Annotated[int | None, typer.Option(min=1, help="Connections at a time (1,024); one more is closed.")] = None,
    max_payload: Annotated[int | None, typer.Option(min=0, help="Bytes of a message (1 MiB); a longer one closes its connection.")] = None,
    max_queued: Annotated[int | None, typer.Option(min=0, help="Messages that wait for one client (1,000); one more is dropped.")] = None,
    max_in_flight: Annotated[
        int | None, typer.Option(min=1, max=65534, help="Messages of QoS 1 and 2 unacknowledged by one client (20); others wait.")
    ] = None,
    max_qos: Annotated[int | None, typer.Option(min=0, max=2, help="The highest QoS granted to a subscription (2).")] = None,
    connect_timeout: Annotated[float | None, typer.Option(min=0.001, help="Seconds until CONNECT must have come (10).")] = None,
    session_expiry: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds that the session of an absent client is kept (for ever).")
    ] = None,
    limit: Annotated[
        list[str] | None, typer.Option(help="NAME=NUMBER, repeatable: any bound of waft.mqtt.Broker, such as max_client_id=23.")
    ] = None,
    json: Json = False,
) -> None:
    """Run an MQTT 3.1.1 broker until it is interrupted. Without --state it keeps everything in memory."""
    options = limits(limit or [])
    for name, bound in (
        ("max_connections", max_connections),
        ("max_payload", max_payload),
        ("max_queued", max_queued),
        ("max_in_flight", max_in_flight),
        ("max_qos", max_qos),
        ("connect_timeout", microseconds(connect_timeout)),
        ("session_expiry", microseconds(session_expiry)),
    ):
        if bound is not None:
            options[name] = bound
    if acl is not None:
        options["acl"] = read_text(acl, "access control list")
    tls = tls_context(cert, key, client_ca)
    if (tls_port is not None or wss_port is not None) and tls is None:
        usage("TLS needs a certificate: --cert FILE --key FILE")
    users = None
    if passwords is not None:
        try:
            users = Passwords(read_text(passwords, "password file"))
        except ValueError as e:
            raise Fail(Exit.FILE, f"{passwords}, {e}") from None
    if sys_interval:
        options["sys_interval"] = microseconds(sys_interval)
    options |= {"seed": secrets.randbits(64), "ask_host": users is not None, "persistent": state is not None}
    try:
        machine = mqtt.Broker(**options)
    except TypeError as e:
        usage(f"--limit: {str(e).replace('Broker.__new__() got an ', '')}; see waft.mqtt.Broker")
    except (OverflowError, Misuse) as e:
        usage(f"--limit: out of range: {e}")
    except ValueError as e:
        raise Fail(Exit.FILE, f"{acl}, {e}") from None
    if acl is not None and users is None and client_ca is None:
        err.print(
            "--acl without --passwords: everybody may come in and call himself what he likes; "
            "rights of a user or client are anybody's",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip

    clients: dict[int, str] = {}

    def told(event: mqtt.BrokerEvent) -> None:
        if json:
            emit({"event": type(event).__name__, **dataclasses.asdict(event)})
            return
        match event:
            case mqtt.ClientConnected(peer, client_id, session_present):
                clients[peer] = client_id
                line = f"peer={peer} client={client_id!r} connected" + (", session present" if session_present else "")
            case mqtt.CloseConnection(peer, reason, code):
                client = f" client={clients.pop(peer)!r}" if peer in clients else ""
                line = f"peer={peer}{client} closed: {reason}" + (f" ({code})" if code else "")
            case _:
                return
        err.print(line, highlight=False, markup=False, soft_wrap=True)

    async def authenticate(question: mqtt.Authenticate) -> Allow | Deny:
        assert users is not None
        # A slow hash keeps nobody else waiting.
        right = await asyncio.to_thread(users.check, question.username, question.password)
        return Allow() if right else Deny(4)

    async def main() -> None:
        server = BrokerServer(machine, told, authenticate if users is not None else None)
        if state is not None:
            keep(server, state)
        async with server:
            ports = {}
            for name, number, context, websocket in (
                ("port", port, None, False),
                ("tls_port", tls_port, tls, False),
                ("ws_port", ws_port, None, True),
                ("wss_port", wss_port, tls, True),
            ):
                if number is not None:
                    try:
                        ports[name] = await server.start(host, number, ssl=context, websocket=websocket)
                    except OSError as e:
                        raise cannot_listen(e, host, number) from None
            if json:
                emit({"event": "listening", "host": host, **ports})
            else:
                schemes = {"port": "mqtt", "tls_port": "mqtts", "ws_port": "ws", "wss_port": "wss"}
                where = ", ".join(f"{schemes[name]}://{host}:{number}" for name, number in ports.items())
                out.print(f"MQTT broker on {host}:{ports['port']} ({where}); Ctrl-C ends it", highlight=False, soft_wrap=True)
            try:
                await first(until_told(), server.failed())
            except OSError as e:
                raise Fail(Exit.FILE, f"cannot write {state}: {e.strerror or e}; nothing unwritten was acknowledged") from None

    run(main())


async def first(*waits: Coroutine[Any, Any, None]) -> None:
    """Waits until one of them is over."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()


def keep(server: BrokerServer, state: Path) -> None:
    """The state file, or why not."""
    try:
        server.keep(state)
    except OSError as e:
        raise Fail(Exit.FILE, f"cannot use the state file {state}: {e.strerror or e}") from None
    except Misuse:
        raise Fail(Exit.FILE, f"{state} is not a state file of waft broker; it is left alone") from None
    sessions, retained, torn = server.restored
    if torn:
        err.print(
            f"{state}: the last {torn} bytes are of a write that was cut off, and count for nothing; "
            f"the file as it was is {state}.torn",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip


def read_text(path: Path, what: str) -> str:
    """A text file."""
    try:
        return read_file(path, what).decode()
    except UnicodeDecodeError:
        raise Fail(Exit.FILE, f"the {what} {path} is not UTF-8") from None


def microseconds(seconds: float | None) -> int | None:
    """As the machines count."""
    return None if seconds is None else int(seconds * 1_000_000)


def limits(given: list[str]) -> dict[str, Any]:
    """``--limit NAME=NUMBER …`` as keywords."""
    bounds: dict[str, Any] = {}
    for text in given:
        name, equals, number = text.partition("=")
        if not equals or not number.isdecimal() or not (name.startswith("max_") or name in ("connect_timeout", "session_expiry")):
            usage(f"--limit {text}: not NAME=NUMBER, such as max_payload=4096 (times are microseconds)")
        bounds[name] = int(number)
    return bounds


def tls_context(cert: Path | None, key: Path | None, client_ca: Path | None) -> ssl.SSLContext | None:
    """What TLS ports speak with; none without a certificate."""
    if cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as e:
        raise Fail(Exit.FILE, f"cannot use the certificate {cert}: {e.strerror or e}") from None
    return context


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
    if not re.match(r"https?://[^/]", provider):
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
