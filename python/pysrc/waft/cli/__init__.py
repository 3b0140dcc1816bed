"""The command ``waft``: from a key to a confirmed update."""

from __future__ import annotations

import os
import sys

import typer

from .. import __version__
from .._errors import Capacity, Error, Misuse, Refusal
from ..aio.mqtt import MqttError
from . import coap, demo, device, inspect, publish, release, serve
from ._common import EXIT_CODES, Exit, Fail, emit, err

app = typer.Typer(
    name="waft",
    help="Signed firmware updates over MQTT and CoAP.\n\n"
    "A first release:  waft keygen release;  waft sign firmware.bin …;  waft publish …",
    epilog=EXIT_CODES.strip(),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command, panel in (
    (release.keygen, "Author"),
    (release.sign, "Author"),
    (release.keys, "Author"),
    (inspect.inspect, "Author"),
    (inspect.verify, "Author"),
    (inspect.report, "Author"),
    (publish.publish, "Publisher"),
    (serve.broker, "Bench"),
    (serve.gateway, "Bench"),
    (device.device, "Bench"),
    (demo.demo, "Bench"),
):
    app.command(rich_help_panel=panel, epilog=EXIT_CODES.strip())(command)

app.add_typer(coap.app, rich_help_panel="Bench")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"waft {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_version, is_eager=True),
) -> None:
    """Signed firmware updates over MQTT and CoAP."""


def _describe(e: BaseException) -> Fail:
    """Any exception as an exit code and a line that says what to do."""
    match e:
        case Fail():
            return e
        case ExceptionGroup(exceptions=[first, *_]):
            return _describe(first)
        case Refusal():
            return Fail(Exit.REFUSED, f"refused: {e} ({e.name}, code {e.code})", e.name)
        case MqttError():
            return Fail(Exit.UNREACHABLE, str(e))
        case Misuse() | Capacity() | Error():
            return Fail(Exit.FAILED, f"{e} ({e.name}, code {e.code})", e.name)
        case ConnectionError() | TimeoutError():
            return Fail(Exit.UNREACHABLE, str(e) or "timed out: is the peer running?")
        case OSError(strerror=str(why), filename=str(name)):
            return Fail(Exit.FILE, f"cannot use {name}: {why}")
        case OSError():
            return Fail(Exit.FILE, str(e))
        case OverflowError():
            return Fail(Exit.USAGE, f"a number that was given is negative or too large ({e})")
        case KeyboardInterrupt():
            return Fail(Exit.INTERRUPTED, "interrupted")
    return Fail(
        Exit.INTERNAL, f"error inside waft: {type(e).__name__}: {e}; please report it (WAFT_DEBUG=1 shows the traceback)"
    )


def main() -> None:
    """Runs the command line; every error is one line on standard error and an exit code."""
    try:
        app()
    except (SystemExit, GeneratorExit):
        raise
    except BaseException as e:
        if os.environ.get("WAFT_DEBUG"):
            raise
        fail = _describe(e)
        if "--json" in sys.argv:
            emit({"ok": False, "error": fail.name, "message": str(fail)})
        err.print(f"waft: {fail}", style="bold red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(fail.code)
