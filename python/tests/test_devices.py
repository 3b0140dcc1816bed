"""Devices in Rust, C and Python take updates from servers that are not ours: mosquitto, coap-server, aiocoap."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import Server
from conftest import PATIENCE, TARGET, Fleet, aiocoap_server, execute, libcoap_server, make_image, program

from waft import ota
from waft.aio.coap import CoapClient
from waft.aio.flash import ERASE
from waft.cli.publish import send

IMAGE = make_image(70_001)
SLOT = 32 * ERASE


def device_program(language: str) -> list[str | Path]:
    """The device in that language. One that is not built fails the test and is named, with what builds it."""
    if language == "python":
        return [sys.executable, "-m", "waft", "device"]
    variable, default, build = {
        "rust": (
            "WAFT_RUST_DEVICE",
            TARGET / "release/examples/device",
            "cargo build --release -p waft --example device --all-features",
        ),
        "c": ("WAFT_C_DEVICE", TARGET / "c/device", "make c-examples"),
    }[language]
    path = Path(os.environ.get(variable, default))
    if not path.is_file():
        pytest.fail(f"{path} is not built: {build}", pytrace=False)
    return [path]


LANGUAGES = pytest.mark.parametrize("language", ["python", "rust", "c"])


async def update(language: str, fleet: Fleet, folder: Path, *where: str, code: int = 0) -> dict[str, Any]:
    """Runs a device to its end; gives its last line."""
    command: list[str | Path] = [
        *device_program(language),
        *("--name", "d1", "--class-name", fleet.class_name, "--vendor", str(fleet.vendor)),
        *("--class", str(fleet.class_id), "--key", fleet.key.public.hex(), "--flash", folder / "flash"),
        *("--slot-size", str(SLOT), *where),
    ]
    got, out, err = await execute(*command, timeout=60)
    lines = [json.loads(line) for line in out.splitlines()]
    assert got == code, (lines[-3:], err)
    assert lines[-1]["event"] == "done"
    done: dict[str, Any] = lines[-1]
    return done


def check(done: dict[str, Any], folder: Path, model: str) -> None:
    """What a confirmed update has to say, and to have left in the flash."""
    assert (done["state"], done["model"], done["version"], done["sequence"]) == ("confirmed", model, "1.2.0", 2)
    assert done["image"] == len(IMAGE) and done["rx"] >= len(IMAGE) and done["reason"] is None
    flash = (folder / "flash").read_bytes()
    assert flash[2 * ERASE + SLOT :][: len(IMAGE)] == IMAGE


@LANGUAGES
async def test_model_a_from_mosquitto(language: str, mosquitto: int, fleet: Fleet, tmp_path: Path) -> None:
    envelope = fleet.sign(IMAGE, 2, "1.2.0", severity=ota.Severity.HIGH)
    manifest = ota.verify(envelope, [fleet.key.public])
    where = f"127.0.0.1:{mosquitto}"
    await send(ota.Model.A, envelope, IMAGE, manifest, fleet.class_name, "waft", where, None)
    check(await update(language, fleet, tmp_path, "--broker", where), tmp_path, "a")
    # Its report is retained.
    sub = program("mosquitto_sub")
    code, out, err = await execute(
        sub, "-h", "127.0.0.1", "-p", str(mosquitto), "-t", f"waft/{fleet.class_name}/d1/report", "-C", "1", "-W", "10"
    )
    assert code == 0 and out, err


async def test_two_images_become_active_together(mosquitto: int, fleet: Fleet, tmp_path: Path) -> None:
    radio = make_image(30_003)
    release = ota.Release(
        image=IMAGE,
        vendor=fleet.vendor,
        class_id=fleet.class_id,
        sequence=2,
        version="1.2.0",
        severity=ota.Severity.HIGH,
        uri=f"image/{ota.image_id(IMAGE)}",
        chunk=4096,
        images=[ota.Extra(1, radio)],
    )
    envelope = release.sign(fleet.key)
    where = f"127.0.0.1:{mosquitto}"
    manifest = ota.verify(envelope, [fleet.key.public])
    await send(ota.Model.A, envelope, IMAGE, manifest, fleet.class_name, "waft", where, None, others=[radio])
    check(await update("python", fleet, tmp_path, "--broker", where, "--more-slots", str(8 * ERASE)), tmp_path, "a")
    flash = (tmp_path / "flash").read_bytes()
    assert ota.boot(flash[:ERASE], flash[ERASE : 2 * ERASE]).slots == 0b11
    assert flash[4 * ERASE + 2 * SLOT + 8 * ERASE :][: len(radio)] == radio


async def test_an_image_comes_without_the_firmware(mosquitto: int, fleet: Fleet, tmp_path: Path) -> None:
    where, more_slots = f"127.0.0.1:{mosquitto}", ("--more-slots", str(8 * ERASE))
    envelope = fleet.sign(IMAGE, 2, "1.2.0", severity=ota.Severity.HIGH)
    await send(ota.Model.A, envelope, IMAGE, ota.inspect(envelope), fleet.class_name, "waft", where, None)
    check(await update("python", fleet, tmp_path, "--broker", where, *more_slots), tmp_path, "a")

    # Signed and published from the command line.
    (tmp_path / "release.key").write_text(fleet.key.seed.hex())
    (tmp_path / "radio.bin").write_bytes(radio := make_image(30_003))
    (tmp_path / "radio.toml").write_text(
        f'key = "release.key"\nvendor = "{fleet.vendor}"\nclass = "{fleet.class_id}"\nsequence = 3\nversion = "1.2.1"\n'
        'severity = "high"\nimages = [{ number = 1, file = "radio.bin" }]\n'
    )
    publish = ["publish", tmp_path / "radio.suit", "--with", tmp_path / "radio.bin", "--class-name", fleet.class_name]
    for command in (["sign", "--from", tmp_path / "radio.toml"], [*publish, "--broker", where]):
        code, _, err = await execute(sys.executable, "-m", "waft", *command)
        assert code == 0, err
    done = await update("python", fleet, tmp_path, "--broker", where, *more_slots)
    assert (done["state"], done["version"], done["sequence"]) == ("confirmed", "1.2.1", 3)
    flash = (tmp_path / "flash").read_bytes()
    # The firmware stays in the slot that it was in.
    assert ota.boot(flash[:ERASE], flash[ERASE : 2 * ERASE]).slots == 0b11
    assert flash[2 * ERASE + SLOT :][: len(IMAGE)] == IMAGE
    assert flash[4 * ERASE + 2 * SLOT + 8 * ERASE :][: len(radio)] == radio


@LANGUAGES
@pytest.mark.parametrize("broker", ["rabbitmq", "nats", "waft"])
async def test_model_a_from_other_brokers(
    language: str, broker: str, brokers: Callable[[str], Server], fleet: Fleet, tmp_path: Path
) -> None:
    fleet = dataclasses.replace(fleet, class_name=f"lamp-{language}")  # of its own: the brokers serve all tests
    envelope = fleet.sign(IMAGE, 2, "1.2.0", severity=ota.Severity.HIGH)
    manifest = ota.verify(envelope, [fleet.key.public])
    where = brokers(broker).address
    await send(ota.Model.A, envelope, IMAGE, manifest, fleet.class_name, "waft", where, None)
    check(await update(language, fleet, tmp_path, "--broker", where), tmp_path, "a")


@pytest.fixture(params=["libcoap", "aiocoap"])
def coap_files(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, int, Path]]:
    """A CoAP server that is not ours: its kind, its port, and where its files are."""
    root = tmp_path / "served"
    root.mkdir()
    with libcoap_server() if request.param == "libcoap" else aiocoap_server(root) as port:
        yield request.param, port, root


async def serve(server: tuple[str, int, Path], path: str, body: bytes) -> None:
    """Puts a body where the server gives it out."""
    kind, port, root = server
    if kind == "libcoap":
        async with await CoapClient.open() as client:
            answer = await client.put(f"coap://127.0.0.1:{port}/{path}", body)
            assert answer.code.is_success, str(answer.code)
    else:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(body)


@LANGUAGES
async def test_model_b_from_mosquitto_and_a_coap_server(
    language: str, mosquitto: int, coap_files: tuple[str, int, Path], fleet: Fleet, tmp_path: Path
) -> None:
    path = f"{fleet.class_name}/image/{ota.image_id(IMAGE)}"
    envelope = fleet.sign(IMAGE, 2, "1.2.0", uri=f"coap://127.0.0.1:{coap_files[1]}/{path}")
    await serve(coap_files, path, IMAGE)
    where = f"127.0.0.1:{mosquitto}"
    manifest = ota.verify(envelope, [fleet.key.public])
    await send(ota.Model.B, envelope, IMAGE, manifest, fleet.class_name, "waft", where, None)
    check(await update(language, fleet, tmp_path, "--broker", where), tmp_path, "b")


@LANGUAGES
async def test_model_c_from_a_coap_server(
    language: str, coap_files: tuple[str, int, Path], fleet: Fleet, tmp_path: Path
) -> None:
    envelope = fleet.sign(IMAGE, 2, "1.2.0", severity=ota.Severity.LOW)
    await serve(coap_files, f"{fleet.class_name}/image/{ota.image_id(IMAGE)}", IMAGE)
    await serve(coap_files, f"{fleet.class_name}/manifest", envelope)
    check(await update(language, fleet, tmp_path, "--gateway", f"coap://127.0.0.1:{coap_files[1]}"), tmp_path, "c")


@LANGUAGES
async def test_a_device_whose_report_nobody_takes_ends_all_the_same(language: str, fleet: Fleet, tmp_path: Path) -> None:
    root = tmp_path / "served"
    root.mkdir()
    # This one answers 5.00: where the report belongs, there is no folder.
    with aiocoap_server(root, "--write") as port:
        server = ("aiocoap", port, root)
        await serve(server, f"{fleet.class_name}/image/{ota.image_id(IMAGE)}", IMAGE)
        await serve(server, f"{fleet.class_name}/manifest", fleet.sign(IMAGE, 2, "1.2.0", severity=ota.Severity.LOW))
        check(await update(language, fleet, tmp_path, "--gateway", f"coap://127.0.0.1:{port}"), tmp_path, "c")
        assert not list(root.rglob("report"))


@LANGUAGES
async def test_a_tampered_image_is_refused(language: str, mosquitto: int, fleet: Fleet, tmp_path: Path) -> None:
    envelope = fleet.sign(IMAGE, 2, "1.2.0")
    manifest = ota.verify(envelope, [fleet.key.public])
    where = f"127.0.0.1:{mosquitto}"
    tampered = IMAGE[:1000] + bytes([IMAGE[1000] ^ 1]) + IMAGE[1001:]
    await send(ota.Model.A, envelope, tampered, manifest, fleet.class_name, "waft", where, None)
    done = await update(language, fleet, tmp_path, "--broker", where, "--until", "refused", code=3)
    assert done["reason"] == "ImageDigest"


ASKED = {
    "Device": (["--device-id", str(uuid.UUID(int=9))], ota.Requires(device=uuid.UUID(int=8))),
    "Expired": (["--clock"], ota.Requires(use_before=1_700_000_000)),
    "Version": (["--installed", "1.2.0"], ota.Requires(version=(">=1.3.0",))),
    "Battery": (["--charge", "10", "--battery", "20"], ota.Requires()),
}


@LANGUAGES
@pytest.mark.parametrize("reason", ASKED)
async def test_what_a_device_is_told_decides(
    language: str, reason: str, mosquitto: int, fleet: Fleet, tmp_path: Path
) -> None:
    flags, requires = ASKED[reason]
    envelope = fleet.sign(IMAGE, 2, "1.2.0", requires=requires)
    where = f"127.0.0.1:{mosquitto}"
    await send(ota.Model.A, envelope, IMAGE, ota.verify(envelope, [fleet.key.public]), fleet.class_name, "waft", where, None)
    done = await update(language, fleet, tmp_path, "--broker", where, "--until", "refused", *flags, code=3)
    assert done["reason"] == reason


@LANGUAGES
async def test_an_update_keeps_to_all_that_a_device_is_told(
    language: str, mosquitto: int, fleet: Fleet, tmp_path: Path
) -> None:
    requires = ota.Requires(device=uuid.UUID(int=9), use_before=1 << 33, battery=15, version=("<2",))
    envelope = fleet.sign(IMAGE, 2, "1.2.0", requires=requires)
    where = f"127.0.0.1:{mosquitto}"
    await send(ota.Model.A, envelope, IMAGE, ota.verify(envelope, [fleet.key.public]), fleet.class_name, "waft", where, None)
    told = ("--clock", "--window", "00:00-00:00", "--battery", "10", "--charge", "20", "--installed", "1.2.0", "--step", "9")
    flags = (*told, "--device-id", str(uuid.UUID(int=9)), "--jitter", "0", "--attempts", "2", "--trial", "60", "--rotation")
    check(await update(language, fleet, tmp_path, "--broker", where, *flags), tmp_path, "a")


@LANGUAGES
@pytest.mark.parametrize("verdict", ["fail", "crash"])
async def test_an_image_that_fails_its_trial_gives_way_to_the_one_before(
    language: str, verdict: str, mosquitto: int, fleet: Fleet, tmp_path: Path
) -> None:
    envelope = fleet.sign(IMAGE, 2, "1.2.0")
    where = f"127.0.0.1:{mosquitto}"
    await send(ota.Model.A, envelope, IMAGE, ota.verify(envelope, [fleet.key.public]), fleet.class_name, "waft", where, None)
    done = await update(language, fleet, tmp_path, "--broker", where, "--self-test", verdict, "--attempts", "2", code=4)
    assert (done["state"], done["reason"]) == ("reverted", "Trial")
    flash = (tmp_path / "flash").read_bytes()
    assert ota.boot(flash[:ERASE], flash[ERASE : 2 * ERASE]).slots == 0


async def test_the_demonstration_is_as_it_must_be(tmp_path: Path) -> None:
    rust, c = device_program("rust")[0], device_program("c")[0]
    (tmp_path / "fw.bin").write_bytes(make_image(210_000))
    code, out, err = await execute(
        *(sys.executable, "-m", "waft", "demo", "--json", "--firmware", tmp_path / "fw.bin"),
        *("--rust-device", rust, "--c-device", c),
        timeout=10 * PATIENCE,
    )
    result = json.loads(out)
    assert code == 0, (result, err)
    rows = {row["device"]: row for row in result["rows"]}
    assert {row["language"] for row in rows.values()} == {"python", "rust", "c"}
    assert rows["killed twice"]["resumed_at"] > 0
    assert [rows[name]["reason"] for name in ("tampered", "older release", "other class", "revoked key")] == [
        "ImageDigest",
        "Rollback",
        "Class",
        "UnknownKey",
    ]
    assert (rows["superseded"]["state"], rows["superseded"]["version"]) == ("confirmed", "1.4.0")
    failed = rows["trial fails"]
    assert (failed["state"], failed["reason"], failed["version"]) == ("reverted", "Trial", "1.2.0")
