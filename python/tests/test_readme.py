"""The programs in the README are the files in the examples folders, and they run."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from waft.aio import serve_broker

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PROGRAMS = {
    "rust": (ROOT / "core/examples/hello.rs", [TARGET / "release/examples/hello"]),
    "c": (ROOT / "c-include/examples/posix/hello.c", [TARGET / "c/hello"]),
    "python": (ROOT / "python/examples/hello.py", [sys.executable, ROOT / "python/examples/hello.py"]),
}


@pytest.mark.parametrize("language", PROGRAMS)
def test_the_readme_shows_the_program(language: str) -> None:
    shown = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert PROGRAMS[language][0].read_text() in shown


@pytest.mark.parametrize("language", PROGRAMS)
async def test_the_program_runs(language: str) -> None:
    async with await serve_broker() as broker:
        address = f"127.0.0.1:{broker.port}" if language == "rust" else str(broker.port)
        process = await asyncio.create_subprocess_exec(
            *map(str, PROGRAMS[language][1]), address, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, output.decode().strip()) == (0, "the broker has it")
