"""The demonstration's judge can say no: a table that is always green proves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from waft import ota
from waft.aio import serve_gateway
from waft.aio.flash import ERASE
from waft.demo import BLOCKS, Demo, Part, Process, Row

IMAGE = bytes(range(256)) * 40


@pytest.fixture
def show(tmp_path: Path) -> Demo:
    demo = Demo(IMAGE, tmp_path, None, None, 10, Console(quiet=True), quiet=True)
    slot = IMAGE + b"\xff" * (demo.slot - len(IMAGE))
    (tmp_path / "d.flash").write_bytes(b"\xff" * 2 * ERASE + slot + slot)
    return demo


def judge(show: Demo, code: int = 0, refused: str | None = None, reverted: str | None = None, **fields: object) -> str:
    """What the judge says of a line that is right but for these fields."""
    right: dict[str, object] = dict(
        model="a", wire=len(IMAGE) + 900, image=len(IMAGE), state="confirmed", version="1.2.0", reason=None
    )
    row = Row("d", "python", **{**right, **fields})  # type: ignore[arg-type]
    process = Process("d", lambda name, have, total: None)
    process.code = code
    return show._judge(Part("d", "python", "lamp", ota.Model.A), process, row, refused, reverted)


def test_a_line_that_is_right_passes(show: Demo) -> None:
    assert judge(show) == ""
    assert judge(show, 3, "Rollback", state="refused", reason="Rollback") == ""
    assert judge(show, 4, None, "1.3.0", state="reverted", reason="Trial", version="1.3.0") == ""


@pytest.mark.parametrize(
    "wrong",
    [
        dict(code=1),
        dict(state="failed"),
        dict(model="b"),
        dict(version="1.0.0"),
        dict(image=7),
        dict(wire=len(IMAGE) - 1),
        dict(reason="Malformed"),
        dict(reverted="1.3.0", state="reverted", reason="Trial", version="1.3.0"),
        dict(reverted="1.3.0", code=4, state="failed", reason="Trial", version="1.3.0"),
        dict(reverted="1.3.0", code=4, state="reverted", reason="Storage", version="1.3.0"),
        dict(reverted="1.3.0", code=4, state="reverted", reason="Trial", version="1.2.0"),
        dict(refused="Rollback", state="refused", reason="Rollback"),
        dict(refused="Rollback", code=3, state="refused", reason="Class"),
    ],
)
def test_a_line_that_is_wrong_does_not(show: Demo, wrong: dict[str, object]) -> None:
    assert judge(show, **wrong)  # type: ignore[arg-type]


def test_a_flash_without_the_image_does_not_pass(show: Demo, tmp_path: Path) -> None:
    (tmp_path / "d.flash").write_bytes(b"\xff" * (2 * ERASE + 2 * show.slot))
    assert "flash" in judge(show)
    assert "does not boot" in judge(show, 4, None, "1.3.0", state="reverted", reason="Trial", version="1.3.0")


async def test_a_window_saves_two_round_trips_of_three_at_least(show: Demo) -> None:
    show.timeout = 120  # nine seconds where nothing else runs
    async with await serve_gateway() as show.gateway:
        await show._window()
    [row] = show.rows
    assert row.good and row.wire > row.image == BLOCKS * 1024, row
    assert show._judge_window(BLOCKS, BLOCKS // 3) == ""
    assert "a third" in show._judge_window(BLOCKS, BLOCKS // 3 + 1)
    assert "count" in show._judge_window(BLOCKS - 1, 1)
