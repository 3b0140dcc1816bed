"""coap get, put, post, delete, fetch, observe, ping, discover, plugtest: CoAP by hand."""

from __future__ import annotations

import asyncio
import enum
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import coap
from .._errors import Misuse
from ..aio.coap import Answer, CoapClient
from ..plugtest import serve_plugtest
from ._common import EXIT_CODES, Exit, Fail, emit, err, host_port, out, read_file, run, usage, write_file
from .serve import Host, cannot_listen, first, until_told

app = typer.Typer(
    name="coap",
    help="CoAP requests by hand, and a server to try clients against.",
    epilog=EXIT_CODES.strip(),
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

#: Names of Content-Formats that one may say instead of their numbers (RFC 7252 §12.3 and the registry).
FORMATS = {
    "text": 0,
    "text/plain": 0,
    "link-format": 40,
    "application/link-format": 40,
    "xml": 41,
    "application/xml": 41,
    "octet-stream": 42,
    "application/octet-stream": 42,
    "json": 50,
    "application/json": 50,
    "cbor": 60,
    "application/cbor": 60,
}

IF_MATCH, ETAG, IF_NONE_MATCH, CONTENT_FORMAT, ACCEPT = 1, 4, 5, 12, 17


class BlockSize(enum.StrEnum):
    """Bytes of the largest block."""

    B16 = "16"
    B32 = "32"
    B64 = "64"
    B128 = "128"
    B256 = "256"
    B512 = "512"
    B1024 = "1024"


Uri = Annotated[str, typer.Argument(help="coap://HOST[:PORT]/PATH[?QUERY], percent-encoded.")]
Non = Annotated[bool, typer.Option("--non", help="Send NON messages, which are not sent again, instead of CON.")]
Size = Annotated[BlockSize, typer.Option("--block-size", help="Bytes of the largest block wanted or sent.")]
Accept = Annotated[str | None, typer.Option(help="Content-Format wanted: a number or text, json, cbor, xml, ….")]
Etag = Annotated[list[str] | None, typer.Option(help="A version that is here already, hexadecimal: 2.03 if it is still valid; repeatable.")]
Raw = Annotated[list[str] | None, typer.Option("--option", help="NUMBER=HEX, a further option; repeatable.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the whole answer.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write the body to this file instead of standard output.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Data = Annotated[str | None, typer.Option("--data", "-d", help="The body, as text.")]
File = Annotated[Path | None, typer.Option("--file", "-f", help="A file with the body; - is standard input.")]
Form = Annotated[str | None, typer.Option("--content-format", help="Content-Format of the body: a number or text, json, ….")]
IfMatch = Annotated[list[str] | None, typer.Option(help="Only if its version is this, hexadecimal (empty: if it is there); repeatable.")]
IfNone = Annotated[bool, typer.Option("--if-none-match", help="Only if there is none yet.")]


@app.command()
def get(
    uri: Uri,
    accept: Accept = None,
    etag: Etag = None,
    non: Non = False,
    block_size: Size = BlockSize.B1024,
    option: Raw = None,
    output: Output = None,
    timeout: Timeout = 120.0,
    json: Json = False,
) -> None:
    """GET a resource, block by block where it is long."""
    given = [*_raw(option), *_form(ACCEPT, accept), *((ETAG, _hex(tag, "an ETag")) for tag in etag or [])]
    _one(coap.Code.GET, uri, b"", given, non, block_size, output, timeout, json)


@app.command()
def put(
    uri: Uri,
    data: Data = None,
    file: File = None,
    content_format: Form = None,
    if_match: IfMatch = None,
    if_none_match: IfNone = False,
    non: Non = False,
    block_size: Size = BlockSize.B1024,
    option: Raw = None,
    output: Output = None,
    timeout: Timeout = 120.0,
    json: Json = False,
) -> None:
    """PUT a representation in place, block by block where it is long."""
    given = [*_raw(option), *_form(CONTENT_FORMAT, content_format), *_conditions(if_match, if_none_match)]
    _one(coap.Code.PUT, uri, _body(data, file), given, non, block_size, output, timeout, json)


@app.command()
def post(
    uri: Uri,
    data: Data = None,
    file: File = None,
    content_format: Form = None,
    accept: Accept = None,
    non: Non = False,
    block_size: Size = BlockSize.B1024,
    option: Raw = None,
    output: Output = None,
    timeout: Timeout = 120.0,
    json: Json = False,
) -> None:
    """POST to a resource; where something is created, its location is printed."""
    given = [*_raw(option), *_form(CONTENT_FORMAT, content_format), *_form(ACCEPT, accept)]
    _one(coap.Code.POST, uri, _body(data, file), given, non, block_size, output, timeout, json)


@app.command()
def fetch(
    uri: Uri,
    data: Data = None,
    file: File = None,
    content_format: Form = None,
    accept: Accept = None,
    non: Non = False,
    block_size: Size = BlockSize.B1024,
    option: Raw = None,
    output: Output = None,
    timeout: Timeout = 120.0,
    json: Json = False,
) -> None:
    """FETCH: a GET with a body that says what of the resource is wanted (RFC 8132)."""
    given = [*_raw(option), *_form(CONTENT_FORMAT, content_format), *_form(ACCEPT, accept)]
    _one(coap.Code.FETCH, uri, _body(data, file), given, non, block_size, output, timeout, json)


@app.command()
def delete(
    uri: Uri,
    if_match: IfMatch = None,
    non: Non = False,
    option: Raw = None,
    timeout: Timeout = 120.0,
    json: Json = False,
) -> None:
    """DELETE a resource."""
    given = [*_raw(option), *_conditions(if_match, False)]
    _one(coap.Code.DELETE, uri, b"", given, non, BlockSize.B1024, None, timeout, json)


@app.command()
def observe(
    uri: Uri,
    accept: Accept = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many representations.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="End after so many seconds.")] = None,
    non: Non = False,
    block_size: Size = BlockSize.B1024,
    option: Raw = None,
    json: Json = False,
) -> None:
    """Observe a resource: prints its representation, and again at each change, until it is interrupted."""
    given = [*_raw(option), *_form(ACCEPT, accept)]

    async def watch() -> None:
        told = 0
        async with await _client(uri) as client:
            answers = client.observe(uri, szx=_szx(block_size), options=given, confirmable=not non)
            try:
                async for answer in answers:
                    _show(uri, answer, json, lines=True)
                    _check(uri, answer, json)
                    told += 1
                    if told == count:
                        return
            finally:
                await answers.aclose()  # type: ignore[attr-defined]
                # The deregistration leaves before the socket closes.
                await asyncio.sleep(0.05)

    async def main() -> None:
        waits = [watch(), until_told()]
        if seconds is not None:
            waits.append(asyncio.sleep(seconds))
        await first(*waits)

    with _asked(uri):
        run(main())


@app.command()
def ping(
    host: Annotated[str, typer.Argument(help="HOST, HOST:PORT or coap://HOST:PORT.")],
    timeout: Timeout = 120.0,
    json: Json = False,
) -> None:
    """Ask whether a CoAP endpoint is there: an empty CON message, answered by RST (RFC 7252 §4.3)."""
    name, port = host_port(host, 5683)
    began = time.monotonic()

    async def main() -> bool:
        async with await CoapClient.open("::" if ":" in name else "0.0.0.0") as client:
            return await asyncio.wait_for(client.ping(name, port), timeout)

    if not run(main()):
        raise Fail(Exit.UNREACHABLE, f"{name}:{port} does not answer")
    took = time.monotonic() - began
    if json:
        emit({"ok": True, "host": name, "port": port, "seconds": round(took, 6)})
    else:
        out.print(f"{name}:{port} answers after {took * 1000:.1f} ms", highlight=False)


@app.command()
def discover(
    host: Annotated[str, typer.Argument(help="HOST, HOST:PORT or coap://HOST:PORT.")],
    filter: Annotated[str | None, typer.Argument(help="NAME=VALUE, such as rt=firmware* or href=/link1 (RFC 6690 §4.1).")] = None,
    block_size: Size = BlockSize.B1024,
    timeout: Timeout = 120.0,
    json: Json = False,
) -> None:
    """List the resources of a server: its /.well-known/core."""
    from urllib.parse import quote

    name, port = host_port(host, 5683)
    where = f"coap://{f'[{name}]' if ':' in name else name}:{port}/.well-known/core"
    uri = where + (f"?{quote(filter, safe='=*/')}" if filter else "")
    answer = _ask(coap.Code.GET, uri, b"", [(ACCEPT, coap.uint(40))], False, block_size, timeout)
    _check(uri, answer)
    try:
        links = coap.read_links(answer.payload.decode())
    except ValueError as e:
        raise Fail(Exit.FAILED, f"{where} is no list of links: {e}") from None
    if json:
        emit({"ok": True, "links": [{"target": target, **dict(attributes)} for target, attributes in links]})
        return
    for target, attributes in links:
        what = " ".join(f"{name}={value!r}" if value else name for name, value in attributes)
        out.print(f"{target}  {what}".rstrip(), highlight=False, markup=False, soft_wrap=True)


@app.command()
def plugtest(
    # [RFC7252-7.1-1]
    port: Annotated[int, typer.Option(min=0, max=65535, help="UDP port; 0 takes a free one.")] = 5683,
    host: Host = "127.0.0.1",
    period: Annotated[float, typer.Option(min=0.05, help="Seconds between changes of what is observed.")] = 5.0,
    delay: Annotated[float, typer.Option(min=0, help="Seconds that /separate takes.")] = 2.0,
    json: Json = False,
) -> None:
    """Run a server with the resources of ETSI's CoAP#4 plugtest until it is interrupted; it prefers blocks of 64 bytes."""

    async def main() -> None:
        try:
            server = await serve_plugtest(host, port, period=period, delay=delay)
        except OSError as e:
            raise cannot_listen(e, host, port) from None
        async with server:
            if json:
                emit({"event": "listening", "host": host, "port": server.port})
            else:
                name = f"[{host}]" if ":" in host else host
                out.print(f"CoAP plugtest server on coap://{name}:{server.port}/; Ctrl-C ends it", highlight=False)
            await until_told()

    run(main())


# ---- inside ----


class _asked:
    """What the machine refuses of a request was written wrongly by the user."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: Any) -> None:
        if isinstance(e, Misuse):
            usage(f"{self.uri}: {e} ({e.name})")
        if isinstance(e, ValueError):
            usage(str(e))
        if isinstance(e, TimeoutError):
            raise Fail(Exit.UNREACHABLE, f"{self.uri}: no whole answer in time; --timeout gives it more") from None


async def _client(uri: str) -> CoapClient:
    host, _, _ = coap.split_uri(uri)
    return await CoapClient.open("::" if ":" in host else "0.0.0.0")


def _ask(
    method: int, uri: str, body: bytes, options: list[coap.Option], non: bool, size: BlockSize, timeout: float
) -> Answer:
    async def main() -> Answer:
        async with await _client(uri) as client:
            request = client.request(method, uri, body, options=options, szx=_szx(size), confirmable=not non)
            return await asyncio.wait_for(request, timeout)

    with _asked(uri):
        return run(main())


def _one(
    method: int,
    uri: str,
    body: bytes,
    options: list[coap.Option],
    non: bool,
    size: BlockSize,
    output: Path | None,
    timeout: float,
    json: bool,
) -> None:
    answer = _ask(method, uri, body, options, non, size, timeout)
    if output is not None and answer.code.is_success:
        write_file(output, answer.payload, "body")
    _show(uri, answer, json, output)
    _check(uri, answer, json)


def _show(uri: str, answer: Answer, json: bool, output: Path | None = None, *, lines: bool = False) -> None:
    """The body on standard output, as it is or as ``lines``; the rest, for people, on standard error."""
    text = answer.payload.decode("utf-8", "replace") if _is_text(answer) else None
    if json:
        found: dict[str, Any] = {"ok": answer.code.is_success, "code": str(answer.code), "name": answer.code.title}
        for name, value in (
            ("content_format", answer.content_format),
            ("etag", answer.etag.hex() if answer.etag is not None else None),
            ("location", answer.location),
        ):
            if value is not None:
                found[name] = value
        found["bytes"] = len(answer.payload)
        if output is None:
            found |= {"text": text} if text is not None else {"hex": answer.payload.hex()}
        emit(found)
        return
    if not answer.code.is_success:
        return
    line = f"{answer.code} {answer.code.title}"
    line += f" etag={answer.etag.hex()}" if answer.etag is not None else ""
    line += f" location={answer.location}" if answer.location is not None else ""
    line += f" {len(answer.payload)} bytes" if answer.payload else ""
    err.print(line, highlight=False, markup=False, soft_wrap=True)
    if output is None and answer.payload:
        sys.stdout.flush()
        ends = text is not None and not text.endswith("\n") and (lines or sys.stdout.isatty())
        sys.stdout.buffer.write(answer.payload + (b"\n" if ends else b""))
        sys.stdout.buffer.flush()


def _check(uri: str, answer: Answer, told: bool = False) -> None:
    """An answer of class 4 or 5 ends the command, with the server's diagnosis unless that was ``told``."""
    if not answer.code.is_success:
        if told:
            raise typer.Exit(Exit.FAILED)
        why = f": {answer.payload.decode('utf-8', 'replace')[:200]}" if answer.payload else ""
        raise Fail(Exit.FAILED, f"{uri}: {answer.code} {answer.code.title}{why}", str(answer.code))


def _is_text(answer: Answer) -> bool:
    if answer.content_format in (0, 40, 41, 50) or not answer.code.is_success:
        return True
    try:
        return answer.content_format is None and answer.payload.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _szx(size: BlockSize) -> int:
    return int(size).bit_length() - 5


def _hex(text: str, what: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        usage(f"{what} is written in hexadecimal, not {text!r}")


def _raw(options: list[str] | None) -> list[coap.Option]:
    given = []
    for text in options or []:
        number, separator, value = text.partition("=")
        if not separator or not number.isdecimal() or int(number) > 65535:
            usage(f"--option {text}: not NUMBER=HEX, such as 2048=00ff")
        given.append((int(number), _hex(value, f"the value of option {number}")))
    return given


def _form(number: int, text: str | None) -> list[coap.Option]:
    if text is None:
        return []
    value = FORMATS.get(text, int(text) if text.isdecimal() else None)
    if value is None or value > 65535:
        usage(f"a Content-Format is a number up to 65535 or one of {', '.join(FORMATS)}, not {text!r}")
    return [(number, coap.uint(value))]


def _conditions(if_match: list[str] | None, if_none_match: bool) -> list[coap.Option]:
    given = [(IF_MATCH, _hex(tag, "an ETag")) for tag in if_match or []]
    return [*given, (IF_NONE_MATCH, b"")] if if_none_match else given


def _body(data: str | None, file: Path | None) -> bytes:
    if data is not None and file is not None:
        usage("the body comes from --data or from --file, not from both")
    if file is not None:
        return sys.stdin.buffer.read() if str(file) == "-" else read_file(file, "body")
    return (data or "").encode()
