"""What all commands share: exit codes, one-line errors, consoles, and the parsing of names and addresses."""

from __future__ import annotations

import json
import re
import sys
import uuid
from collections.abc import Coroutine
from enum import IntEnum
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import asyncio

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TransferSpeedColumn

T = TypeVar("T")

#: Standard output is for results, standard error for everything else.
out = Console()
err = Console(stderr=True)


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    REFUSED = 3
    FAILED = 4
    UNREACHABLE = 5
    FILE = 6
    INTERRUPTED = 130


EXIT_CODES = """
Exit codes: 0 done; 1 an error inside waft; 2 wrong usage; 3 refused (signature, class, rollback, digest, …);
4 failed; 5 a peer cannot be reached; 6 a file cannot be read or written; 130 interrupted.
"""


class Fail(Exception):
    """Ends the command with one line on standard error and an exit code."""

    def __init__(self, code: Exit, message: str, name: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.name = name or code.name.lower()


def usage(message: str) -> NoReturn:
    """Ends the command: it was called wrongly."""
    raise Fail(Exit.USAGE, message)


def emit(value: dict[str, Any]) -> None:
    """One JSON object on one line of standard output, at once."""
    sys.stdout.write(json.dumps(value, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs a command's asynchronous part."""
    return asyncio.run(main)


def read_file(path: Path, what: str) -> bytes:
    """A file's bytes."""
    try:
        return path.read_bytes()
    except OSError as e:
        raise Fail(Exit.FILE, f"cannot read the {what} {path}: {e.strerror or e}") from None


def write_file(path: Path, data: bytes, what: str, *, private: bool = False, force: bool = True) -> None:
    """Writes a file whole or not at all; ``private`` ones are readable by their owner only."""
    import os

    if not path.name:
        raise Fail(Exit.FILE, f"cannot write the {what}: {path} is no name of a file")
    if not force and path.exists():
        raise Fail(Exit.FILE, f"{path} exists; choose another name or say --force to replace it")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o644)
        with os.fdopen(descriptor, "wb") as f:
            f.write(data)
        os.replace(temporary, path)
    except OSError as e:
        temporary.unlink(missing_ok=True)
        raise Fail(Exit.FILE, f"cannot write the {what} {path}: {e.strerror or e}") from None


def hex_bytes(text: str, length: int, what: str) -> bytes:
    """``length`` bytes written in hexadecimal."""
    try:
        value = bytes.fromhex(text.strip())
    except ValueError:
        usage(f"{what} must be {2 * length} hexadecimal digits")
    if len(value) != length:
        usage(f"{what} must be {2 * length} hexadecimal digits, not {len(text.strip())}")
    return value


def public_key(text: str) -> bytes:
    """A public key: 64 hexadecimal digits, or a file that holds them."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return bytes.fromhex(text)
    return hex_bytes(read_file(Path(text), "public key").decode("ascii", "replace"), 32, f"the public key in {text}")


def vendor_id(text: str) -> uuid.UUID:
    """A vendor: a UUID, or a domain name whose UUID 5 is taken (RFC 9562 §5.5, as SUIT recommends)."""
    try:
        return uuid.UUID(text)
    except ValueError:
        if not text:
            usage("the vendor must be a UUID or a domain name")
        return uuid.uuid5(uuid.NAMESPACE_DNS, text)


def class_id(text: str, vendor: uuid.UUID) -> uuid.UUID:
    """A device class: a UUID, or a name within the vendor whose UUID 5 is taken."""
    try:
        return uuid.UUID(text)
    except ValueError:
        if not text:
            usage("the class must be a UUID or a name")
        return uuid.uuid5(vendor, text)


def topic_level(text: str, what: str) -> str:
    """A name that is one level of an MQTT topic and one segment of a path."""
    if text in ("", ".", "..") or any(c in text for c in "/+#\0"):
        usage(f"the {what} must be one topic level: not empty, no '/', '+' or '#', not '.' or '..'")
    return text


def topic_root(text: str) -> str:
    """The first levels of topics."""
    if not text or any(c in text for c in "+#\0"):
        usage(f"--root must be a topic: not empty, no '+' or '#', not {text!r}")
    return text


def host_port(text: str, default: int, what: str = "address") -> tuple[str, int]:
    """``host``, ``host:port``, ``[v6]:port`` or the same behind a scheme."""
    parts = urlsplit(text if "://" in text else f"//{text}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        usage(f"the {what} must be HOST or HOST:PORT, not {text!r}")
    # Whoever asks for TLS is not to be answered without it.
    scheme = {1883: "mqtt", 5683: "coap"}[default]
    if parts.scheme not in ("", scheme):
        usage(f"the {what} is spoken to by {scheme}://, not by {parts.scheme}://")
    return host, default if port is None else port


def transfer_bar(quiet: bool = False) -> Progress:
    """A progress bar for bytes, on standard error."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        console=err,
        disable=quiet,
    )
