"""The programs in the examples folders, in each language, and what the README shows of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from conftest import PATIENCE, TARGET

ROOT = Path(__file__).resolve().parents[2]
FILES = {"rust": "core/examples/{}.rs", "c": "c-include/examples/posix/{}.c", "python": "python/examples/{}.py"}
RUN = {
    "rust": lambda name: [str(TARGET / f"release/examples/{name}")],
    "c": lambda name: [str(TARGET / f"c/{name}")],
    "python": lambda name: [sys.executable, str(ROOT / f"python/examples/{name}.py")],
}
#: Lines that the README's section on a protocol may take.
SECTION = 62


def section(title: str) -> str:
    """The README's section of that title."""
    text = (ROOT / "README.md").read_text()
    start = text.index(f"\n## {title}\n")
    return text[start : text.index("\n## ", start + 1)]


def is_part(block: str, program: str) -> bool:
    """Whether the lines stand in the program one after another, all further to the right by the same."""
    lines, all_lines = block.splitlines(), program.splitlines()
    for at in range(len(all_lines) - len(lines) + 1):
        indent = all_lines[at][: len(all_lines[at]) - len(all_lines[at].lstrip())]
        if all_lines[at : at + len(lines)] == [indent + line for line in lines]:
            return True
    return False


def assert_shown_is_part_of(title: str, language: str, *names: str) -> None:
    """What the section shows in a language are parts of these programs, and the section is no longer than it may be."""
    shown = re.findall(rf"```{language}\n(.*?)```", section(title), re.DOTALL)
    for name, block in zip(names, shown, strict=True):
        assert is_part(block, (ROOT / FILES[language].format(name)).read_text()), block
    assert len(section(title).splitlines()) <= SECTION


async def start(language: str, name: str, *arguments: object) -> asyncio.subprocess.Process:
    """A program; what it says comes by a pipe."""
    command = [*RUN[language](name), *map(str, arguments)]
    return await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )


async def ended(process: asyncio.subprocess.Process, seconds: float = 2 * PATIENCE) -> tuple[int, list[str]]:
    """Its exit status, and the lines that it said."""
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        slay(process)
        raise
    assert process.returncode is not None
    return process.returncode, output.decode().splitlines()


def slay(process: asyncio.subprocess.Process) -> None:
    """Kills it, twice if need be: the second kill() of asyncio's own would poll it, and take its exit status from the watcher."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def serving(language: str, name: str, *arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that says in its first line that it is there, and is killed in the end."""
    process = await start(language, name, *arguments)
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode()
        assert " on " in line, line
        yield process
    finally:
        slay(process)
        await process.wait()
