"""demo: one signed update, end to end, by all three models, and what must be refused."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ._common import Exit, Fail, emit, err, out, read_file, run


def demo(
    firmware: Annotated[
        Path | None, typer.Option(help="The image to deliver; by default the library this program runs on.", envvar="FIRMWARE")
    ] = None,
    rust_device: Annotated[
        Path | None, typer.Option(help="The Rust device (core/examples/device).", envvar="WAFT_RUST_DEVICE")
    ] = None,
    c_device: Annotated[
        Path | None, typer.Option(help="The C device (c-include/examples/posix).", envvar="WAFT_C_DEVICE")
    ] = None,
    timeout: Annotated[float, typer.Option(min=10, help="Seconds that each step may take.")] = 60.0,
    keep: Annotated[Path | None, typer.Option(help="Keep keys, envelopes and flash files in this folder.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Sign an update and deliver it by models A, B and C to devices in Python, Rust and C.

    Then: a tampered image, an older release, a foreign class and a revoked key are refused, a newer release overtakes an older
    one, an image that crashes in its trial gives way to the one before it, and a device that is killed twice finishes without
    fetching what it had. Exit code 0 only if every line of the table is as it must be.
    """
    from ..demo import Demo, default_image, table

    image = read_file(firmware, "firmware") if firmware is not None else default_image()
    if not image:
        raise Fail(Exit.FILE, f"the firmware {firmware} is empty")
    languages = {"python": None, "rust": rust_device, "c": c_device}
    for language, path in languages.items():
        if path is not None and not path.is_file():
            raise Fail(Exit.FILE, f"the {language} device {path} is not there: build it, or leave the option out")
    with tempfile.TemporaryDirectory(prefix="waft-demo-") as temporary:
        folder = keep if keep is not None else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        show = Demo(image, folder, rust_device, c_device, timeout, err, quiet=json)
        rows = run(show.run())
    good = all(row.good for row in rows)
    if json:
        emit({"ok": good, "rows": [row.json() for row in rows]})
    else:
        Console(width=max(out.width, 122)).print(table(rows))
        for row in rows:
            if not row.good:
                out.print(f"{row.device}: {row.wrong}", style="bold red", highlight=False, markup=False)
    if not good:
        raise typer.Exit(Exit.FAILED)
    if not json:
        missing = [name for name, path in languages.items() if path is None and name != "python"]
        note = f" (without the {' and '.join(missing)} device: give --rust-device and --c-device)" if missing else ""
        out.print(f"[bold green]All {len(rows)} lines are as they must be[/]{note}", highlight=False, soft_wrap=True)


__all__ = ["demo"]
