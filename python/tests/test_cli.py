"""The command line: exit codes, --json, one-line errors that say what to do."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Fleet, free_port, make_image
from test_agent_machine import Device

from waft import ota

IMAGE = make_image(10_000)


def waft(*args: str | Path, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs the command and checks its exit code; never a traceback."""
    env = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    env.pop("WAFT_DEBUG", None)
    done = subprocess.run(
        [sys.executable, "-m", "waft", *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=60, env=env
    )
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout
    return done


def error(*args: str | Path, cwd: Path, code: int) -> str:
    """The one line that a failing command prints."""
    done = waft(*args, cwd=cwd, code=code)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("waft: "), done.stderr
    return lines[0]


def parsed(*args: str | Path, cwd: Path, code: int = 0) -> dict[str, Any]:
    """The JSON object that a command prints with --json."""
    value = json.loads(waft(*args, "--json", cwd=cwd, code=code).stdout)
    assert isinstance(value, dict)
    return value


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A folder with a key, an image and an envelope."""
    (tmp_path / "fw.bin").write_bytes(IMAGE)
    waft("keygen", "release", cwd=tmp_path)
    waft(*SIGN, "--severity", "high", cwd=tmp_path)
    return tmp_path


SIGN = [
    *("sign", "fw.bin", "--key", "release.key", "--vendor", "example.com", "--class", "lamp"),
    *("--sequence", "3", "--version", "1.2.0"),
]


def test_keygen_makes_a_pair_once(tmp_path: Path) -> None:
    made = parsed("keygen", "k", cwd=tmp_path)
    assert made["ok"] and bytes.fromhex(made["key"]) == ota.SecretKey(
        bytes.fromhex((tmp_path / "k.key").read_text())
    ).public
    assert (tmp_path / "k.key").stat().st_mode & 0o77 == 0, "a secret key is for its owner's eyes"
    assert "--force" in error("keygen", "k", cwd=tmp_path, code=6)
    assert parsed("keygen", "k", "--force", cwd=tmp_path)["key"] != made["key"]


def test_sign_inspect_verify(release: Path) -> None:
    seen = parsed("inspect", "fw.bin.suit", cwd=release)
    assert (seen["sequence"], seen["version"], seen["severity"], seen["verified"]) == (3, "1.2.0", "high", False)
    checked = parsed("verify", "fw.bin.suit", "fw.bin", "--key", "release.pub", cwd=release)
    assert checked["verified"] and checked["image_checked"]
    assert checked["uri"] == f"image/{ota.image_id(IMAGE)}"
    assert "1.2.0" in waft("verify", "fw.bin.suit", "--key", "release.pub", cwd=release).stdout


def test_verify_refuses_with_exit_code_3(release: Path) -> None:
    waft("keygen", "other", cwd=release)
    assert "UnknownKey" in error("verify", "fw.bin.suit", "--key", "other.pub", cwd=release, code=3)
    (release / "bad.bin").write_bytes(IMAGE[:-1])
    assert "bad.bin is not the image" in error(
        "verify", "fw.bin.suit", "bad.bin", "--key", "release.pub", cwd=release, code=3
    )
    assert "for class" in error(
        *("verify", "fw.bin.suit", "--key", "release.pub", "--vendor", "example.com", "--class", "pump"),
        cwd=release,
        code=3,
    )
    (release / "cut.suit").write_bytes((release / "fw.bin.suit").read_bytes()[:-1])
    refused = parsed("verify", "cut.suit", "--key", "release.pub", cwd=release, code=3)
    assert refused["ok"] is False and refused["error"] in ota.refusals() and refused["message"]


def test_files_that_are_not_there_are_exit_code_6(release: Path) -> None:
    assert "none.suit" in error("inspect", "none.suit", cwd=release, code=6)
    assert "none.key" in error("sign", "fw.bin", "--key", "none.key", *SIGN[4:], cwd=release, code=6)
    assert "cannot write" in error(*SIGN, "-o", "no/such/folder/x", cwd=release, code=6)


def test_wrong_usage_is_exit_code_2(release: Path) -> None:
    assert "--key release.pub" in error("verify", "fw.bin.suit", cwd=release, code=2)
    assert "64 hexadecimal digits" in error("verify", "fw.bin.suit", "--key", "fw.bin", cwd=release, code=2)
    for wrong in (["sign"], ["no-such-command"], ["sign", "fw.bin", "--sequence", "x"], ["broker", "--port", "99999"]):
        waft(*wrong, cwd=release, code=2)
    assert "like 1.2.0" in error(*SIGN[:-1], "latest", cwd=release, code=2)
    assert "URI" in error(*SIGN, "--uri", "a b", cwd=release, code=2)
    assert "one topic level" in error("publish", "fw.bin.suit", "fw.bin", "--class-name", "a/b", cwd=release, code=2)
    assert "--broker HOST:PORT" in error("publish", "fw.bin.suit", "fw.bin", "--class-name", "a", cwd=release, code=2)
    assert "--provider" in error(
        "publish", "fw.bin.suit", "fw.bin", "--class-name", "a", "--model", "c", cwd=release, code=2
    )
    assert "http://" in error("gateway", "--provider", "ftp://x", cwd=release, code=2)


def test_a_broker_that_is_not_there_is_exit_code_5(release: Path) -> None:
    port = free_port()
    message = error(
        *("publish", "fw.bin.suit", "fw.bin", "--class-name", "lamp", "--broker", f"127.0.0.1:{port}"), cwd=release, code=5
    )
    assert f"127.0.0.1:{port}" in message and "is it running?" in message


def test_a_port_that_is_taken_is_said_so(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        message = error("broker", "--port", str(taken.getsockname()[1]), cwd=tmp_path, code=5)
    assert "choose another --port" in message


def test_publish_c_makes_the_providers_folder(release: Path) -> None:
    done = parsed(
        *("publish", "fw.bin.suit", "fw.bin", "--class-name", "lamp", "--model", "c", "--provider", "www"), cwd=release
    )
    assert (done["model"], done["chosen_by"], done["sequence"]) == ("c", "--model", 3)
    index = json.loads((release / "www" / "index.json").read_text())
    entry = index["releases"]["lamp"]
    assert (release / "www" / entry["image"]).read_bytes() == IMAGE
    assert (release / "www" / entry["manifest"]).read_bytes() == (release / "fw.bin.suit").read_bytes()


def test_a_release_of_two_images_is_signed_and_published(release: Path) -> None:
    (release / "radio.bin").write_bytes(b"for the radio")
    (release / "two.toml").write_text('chunk_digests = "list/1"\nchunk = 4096\n[[images]]\nnumber = 1\nfile = "radio.bin"\n')
    waft(*SIGN, "--from", "two.toml", "-o", "two.suit", cwd=release)
    publish = ("publish", "two.suit", "fw.bin", "--class-name", "lamp", "--model", "c", "--provider", "www")
    assert "image 1 at image/" in error(*publish, cwd=release, code=2)
    parsed(*publish, "--with", "radio.bin", cwd=release)
    folder = release / "www" / "lamp"
    assert (folder / "image" / ota.image_id(b"for the radio")).read_bytes() == b"for the radio"
    assert (folder / "image" / ota.image_id(IMAGE)).read_bytes() == IMAGE
    assert (folder / "list" / "1").read_bytes() == ota.chunk_list(IMAGE, 4096)


def test_a_release_without_firmware_is_signed_and_published(release: Path) -> None:
    (release / "radio.bin").write_bytes(b"for the radio")
    radio = '[[images]]\nnumber = 1\nfile = "radio.bin"\n'
    (release / "radio.toml").write_text(radio)
    sign = ["sign", "--from", "radio.toml", *SIGN[2:]]
    signed = parsed(*sign, cwd=release)
    assert (signed["envelope"], signed["uri"], len(signed["payloads"])) == ("radio.suit", "", 1)
    assert parsed("verify", "radio.suit", "radio.bin", "--key", "release.pub", cwd=release)["image_checked"]
    assert "not the image" in error("verify", "radio.suit", "fw.bin", "--key", "release.pub", cwd=release, code=3)
    publish = ("publish", "radio.suit", "--class-name", "lamp", "--model", "c", "--provider", "www")
    assert "image 1 at image/" in error(*publish, cwd=release, code=2)
    assert "no firmware" in error("publish", "radio.suit", "radio.bin", *publish[2:], cwd=release, code=2)
    parsed(*publish, "--with", "radio.bin", cwd=release)
    index = json.loads((release / "www" / "index.json").read_text())
    assert (sorted(index["releases"]["lamp"]), index["releases"]["lamp"]["sequence"]) == (["envelope", "manifest", "sequence"], 3)
    assert (release / "www/lamp/image" / ota.image_id(b"for the radio")).read_bytes() == b"for the radio"
    # One that brings firmware is not published without.
    assert "behind the envelope" in error("publish", "fw.bin.suit", *publish[2:], cwd=release, code=2)
    for more in (["--integrated"], ["--uri", "coap://h/x"], ["--chunk-digests", "#chunks"], ["--require-version", ">=1"]):
        assert "without firmware" in error(*sign, *more, cwd=release, code=2)
    (release / "radio.toml").write_text("")
    assert "--image" in error(*sign, cwd=release, code=2)


def test_publish_refuses_an_image_that_is_not_the_signed_one(release: Path) -> None:
    (release / "bad.bin").write_bytes(IMAGE[:-1])
    message = error("publish", "fw.bin.suit", "bad.bin", "--class-name", "lamp", "--broker", "x", cwd=release, code=3)
    assert "sign it again" in message


@pytest.mark.parametrize("severity, model", [("high", "A"), ("medium", "B"), ("low", "A")])
def test_publish_prints_the_policys_choice(release: Path, severity: str, model: str) -> None:
    waft(*SIGN, "--severity", severity, cwd=release)
    done = waft("publish", "fw.bin.suit", "fw.bin", "--class-name", "lamp", "--broker", "127.0.0.1:1", cwd=release, code=5 if model == "A" else 2)
    assert f"model {model}: software update, severity {severity}" in done.stdout


@pytest.mark.parametrize(
    "line, says",
    [
        ("requires = 5", "must be a table"),
        ("requires = { wait = 3 }", "must be a table"),
        ("requires = { use_before = -5 }", "negative or too large"),
        ("chunk = 99999999999999", "negative or too large"),
        ('images = [{ number = 7, file = "fw.bin" }]', "1 to 6, not 7"),
        ("text = { description = 1 }", "must be a string"),
    ],
)
def test_a_description_that_cannot_be_is_told_in_its_own_words(release: Path, line: str, says: str) -> None:
    (release / "wrong.toml").write_text(line)
    assert says in error(*SIGN, "--from", "wrong.toml", cwd=release, code=2)


def test_numbers_and_names_out_of_range_are_wrong_usage(release: Path) -> None:
    huge = "99999999999999999999"
    device = ["device", "--name", "d", "--class-name", "lamp", "--vendor", "v", "--class", "lamp", "--key", "release.pub"]
    device += ["--flash", "f", "--broker", "127.0.0.1:1"]
    for option, says in (
        (["--until", "nan"], "--until"),
        (["--until", "-1"], "--until"),
        (["--until", "1", "--seed", huge], "too large"),
        (["--until", "1", "--trial", "1e30"], "too large"),
        (["--until", "1", "--root", ""], "--root"),
    ):
        assert says in error(*device, *option, cwd=release, code=2)
    assert huge in error("verify", "fw.bin.suit", "--key", f"release.pub:{huge}", cwd=release, code=2)
    # An empty shell variable does not mean that it is not asked for.
    assert "vendor" in error("verify", "fw.bin.suit", "--key", "release.pub", "--vendor", "", cwd=release, code=2)
    assert "class" in error("verify", "fw.bin.suit", "--key", "release.pub", "--class", "", cwd=release, code=2)
    assert "--chunk-digests is empty" in error(*SIGN, "--chunk-digests", "", cwd=release, code=2)
    (release / "out.toml").write_text('output = ""')
    assert "no name of a file" in error(*SIGN, "--from", "out.toml", cwd=release, code=6)
    assert "http://" in error("gateway", "--provider", "http://", cwd=release, code=2)


def test_what_is_published_stays_in_its_folder(release: Path) -> None:
    model = ("--model", "c", "--provider", "www")
    assert "not '.' or '..'" in error("publish", "fw.bin.suit", "fw.bin", "--class-name", "..", *model, cwd=release, code=2)
    assert "--root" in error(
        "publish", "fw.bin.suit", "fw.bin", "--class-name", "l", "--root", "a/#", "--broker", "127.0.0.1:1", cwd=release, code=2
    )
    for uri in ("../../fw", "/tmp/fw", "image/../../other/manifest"):
        waft(*SIGN, "--uri", uri, "-o", "out.suit", cwd=release)
        assert "outside of" in error("publish", "out.suit", "fw.bin", "--class-name", "lamp", *model, cwd=release, code=6)
    assert not (release / "www").exists()
    assert "cannot use fw.bin" in error(
        "publish", "fw.bin.suit", "fw.bin", "--class-name", "l", "--model", "c", "--provider", "fw.bin", cwd=release, code=6
    )


def test_help_names_the_exit_codes(tmp_path: Path) -> None:
    for command in ([], ["keygen"], ["sign"], ["publish"], ["device"], ["demo"]):
        text = waft(*command, "--help", cwd=tmp_path).stdout
        assert "Exit codes" in text
    assert waft("--version", cwd=tmp_path).stdout.startswith("waft 0.")


def test_the_device_wants_to_know_whom_to_trust(tmp_path: Path) -> None:
    base = ["device", "--name", "d", "--class-name", "lamp", "--vendor", "v", "--class", "lamp", "--flash", "f"]
    waft(*base, cwd=tmp_path, code=2)
    key = ["--key", "00" * 32]
    assert "--broker HOST:PORT" in error(*base, *key, cwd=tmp_path, code=2)
    assert "multiple of 4096" in error(*base, *key, "--broker", "h", "--slot-size", "5000", cwd=tmp_path, code=2)
    assert "one topic level" in error(*base, *key, "--broker", "h", "--name", "a/b", cwd=tmp_path, code=2)
    assert "--until" in error(*base, *key, "--broker", "h", "--until", "soon", cwd=tmp_path, code=2)
    assert "mqtt://" in error(*base, *key, "--broker", "mqtts://h", cwd=tmp_path, code=2)
    assert "coap://" in error(*base, *key, "--gateway", "coaps://h", cwd=tmp_path, code=2)


def test_a_user_name_that_mqtt_has_no_room_for_ends_the_device_by_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as broker:
        host, port = broker.getsockname()
        said = error(
            *("device", "--name", "d", "--class-name", "lamp", "--vendor", "v", "--class", "lamp", "--flash", "f"),
            *("--key", "00" * 32, "--broker", f"{host}:{port}", "--username", "u" * 70_000),
            cwd=tmp_path,
            code=4,
        )
    assert "InvalidString" in said


TOML = """
image = "fw.bin"
key = "release.key"
vendor = "example.com"
class = "lamp"
sequence = 12
version = "1.3.0"
severity = "high"
chunk = 4096
chunk_digests = "#chunks"

[requires]
use_before = 2033-05-18T03:33:20Z
version = [">=1.0"]
authorization = true

[requires.wait]
day_of_week = 0

[text]
description = "closes a hole"

[[images]]
number = 1
file = "radio.bin"
integrated = true
"""


def test_a_release_can_be_described_in_toml(release: Path) -> None:
    (release / "radio.bin").write_bytes(b"for the radio")
    (release / "release.toml").write_text(TOML)
    signed = parsed("sign", "--from", "release.toml", "-o", "out.suit", cwd=release)
    assert (signed["sequence"], signed["severity"], len(signed["payloads"])) == (12, "high", 3)
    assert signed["requires"]["use_before"] == 2_000_000_000
    assert signed["requires"]["wait"]["day_of_week"] == 0
    # What is given on the command line goes before it.
    again = parsed("sign", "--from", "release.toml", "--sequence", "13", "--battery", "7", "-o", "out.suit", cwd=release)
    assert (again["sequence"], again["requires"]["battery"]) == (13, 7)
    shown = waft("inspect", "out.suit", "--steps", cwd=release).stdout
    for words in ("1.3.0", "image 1", "chunk digests", "2033-05-18", "Sunday", "directive-fetch", "closes a hole"):
        assert words in shown, words
    diag = waft("inspect", "out.suit", "--diag", cwd=release).stdout
    assert diag.startswith("107({") and '/ uri / 21: "#chunks"' in diag and "/ directive-fetch / 21, 2" in diag

    for wrong, word in (
        (TOML.replace("sequence = 12", 'sequence = "x"'), "sequence"),
        (TOML.replace("sequence = 12", ""), "--sequence"),
        (TOML + "colour = 1", "colour"),
        (TOML.replace("sequence = 12", 'sequence = 12\nseverity = "urgent"').replace('severity = "high"\n', ""), "high, medium, low"),
        (TOML.replace('">=1.0"', '"~1"'), ">=1.2.0"),
        ("[", "TOML"),
    ):
        (release / "wrong.toml").write_text(wrong)
        assert word in error("sign", "--from", "wrong.toml", cwd=release, code=2)


def test_keys_are_rotated_from_the_command_line(release: Path) -> None:
    waft("keygen", "next", cwd=release)
    common = ("--vendor", "example.com", "--class", "lamp")
    bring = ("keys", "release.pub", "next.pub", "--key", "release.key", *common, "--sequence", "20", "--epoch", "1")
    assert parsed(*bring, "-o", "1.suit", cwd=release)["epoch"] == 1
    revoke = ("keys", "next.pub", "--key", "next.key", *common, "--sequence", "21", "--epoch", "2", "--before", "1.suit")
    assert len(parsed(*revoke, "-o", "2.suit", cwd=release)["keys"]) == 1
    assert "since epoch 1" in waft("inspect", "2.suit", cwd=release).stdout
    assert "Scope" in error("verify", "1.suit", "--key", "release.pub:firmware", cwd=release, code=3)
    assert parsed("verify", "1.suit", "--key", "release.pub:keys", cwd=release)["payloads"][0]["component"] == "keys"
    locked = ("keys", "next.pub", "--key", "release.key", *common, "--sequence", "22", "--epoch", "3")
    assert "locks himself out" in error(*locked, cwd=release, code=2)


def test_a_report_is_taken_once_and_from_its_device_only(fleet: Fleet, tmp_path: Path) -> None:
    waft("keygen", "lamp", cwd=tmp_path)
    waft("keygen", "other", cwd=tmp_path)
    device = Device(fleet)
    device.agent.sign_reports(ota.SecretKey(bytes.fromhex((tmp_path / "lamp.key").read_text())), 1)
    device.announce(fleet.sign(IMAGE, sequence=3))
    (tmp_path / "report").write_bytes(device.told[-1])
    said = parsed("report", "report", "--key", "lamp.pub", cwd=tmp_path)
    assert (said["sequence"], said["version"], said["nonce"] >> 32) == (3, "1.0.0", 1)
    assert "release 3 (1.0.0)" in waft("report", "report", "--key", "lamp.pub", cwd=tmp_path).stdout
    assert "ReportReplay" in error(
        "report", "report", "--key", "lamp.pub", "--last", str(said["nonce"]), cwd=tmp_path, code=3
    )
    assert "UnknownKey" in error("report", "report", "--key", "other.pub", cwd=tmp_path, code=3)
    assert "--key device.pub" in error("report", "report", cwd=tmp_path, code=2)


def test_inspect_shows_what_no_device_of_the_profile_would_take(tmp_path: Path) -> None:
    vectors = Path(__file__).parents[2] / "tests" / "vectors" / "suit"
    for name in ("example3_1", "example4_1"):
        (tmp_path / name).write_bytes(bytes.fromhex((vectors / f"{name}.ed25519.alg19.suit.hex").read_text()))
        seen = parsed("inspect", name, cwd=tmp_path)
        assert (seen["ok"], seen["device_profile"]) == (True, False)
    assert "directive-copy" in waft("inspect", "example4_1", cwd=tmp_path).stdout
    assert "either:" in waft("inspect", "example3_1", cwd=tmp_path).stdout
