"""device: a simulated device with a file for flash."""

from __future__ import annotations

import math
import os
import re
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import TaskID

from ..aio.device import Device, DeviceConfig, Outcome
from ..aio.flash import ERASE
from ._common import Exit, class_id, emit, err, host_port, public_key, run, topic_level, topic_root, transfer_bar, usage, vendor_id
from .release import load_secret


def device(
    name: Annotated[str, typer.Option(help="Name of the device, unique in its class.")],
    class_name: Annotated[str, typer.Option("--class-name", help="The class's name in topics and paths.")],
    vendor: Annotated[str, typer.Option("--vendor", help="Vendor: a UUID or a domain name.")],
    klass: Annotated[str, typer.Option("--class", help="Device class: a UUID or a name.")],
    key: Annotated[list[str], typer.Option("--key", help="Trusted public key: hexadecimal or a .pub file; repeatable.")],
    flash: Annotated[Path, typer.Option(help="The file that is its flash; made where there is none.")],
    root: Annotated[str, typer.Option(help="First level of the topics.")] = "waft",
    slot_size: Annotated[int, typer.Option(min=ERASE, help="Bytes of an image slot, a multiple of 4096.")] = 1 << 20,
    more_slots: Annotated[list[int] | None, typer.Option("--more-slots", min=ERASE, help="Bytes of a slot of another image, from image 1 on; repeatable.")] = None,
    broker: Annotated[str | None, typer.Option(help="MQTT broker HOST:PORT (models A and B).")] = None,
    gateway: Annotated[str | None, typer.Option(help="CoAP gateway coap://HOST:PORT (model C, and B by the policy).")] = None,
    username: Annotated[str | None, typer.Option(help="MQTT user name.")] = None,
    password: Annotated[str | None, typer.Option(help="MQTT password.", envvar="WAFT_PASSWORD")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Where its randomness starts; the process id by default.")] = None,
    until: Annotated[str, typer.Option(help="confirmed, refused, or a number of seconds.")] = "confirmed",
    rotation: Annotated[bool, typer.Option("--rotation", help="Take releases that replace the keys.")] = False,
    device_id: Annotated[str | None, typer.Option(help="UUID of the device, for its own manifests and its turn in a fleet.")] = None,
    jitter: Annotated[float, typer.Option(min=0, help="Seconds that a download may begin later, by the device's UUID.")] = 0.0,
    backoff: Annotated[float, typer.Option(min=0, help="Seconds before a download that came to nothing is made again.")] = 60.0,
    window: Annotated[str | None, typer.Option(help="Time of the day for downloads, UTC: HH:MM-HH:MM; takes --clock.")] = None,
    battery: Annotated[int, typer.Option(min=0, help="Least charge to download and to reboot with, mWh.")] = 0,
    charge: Annotated[int | None, typer.Option(min=0, help="Charge of its battery, mWh.")] = None,
    clock: Annotated[bool, typer.Option("--clock", help="It has a clock that can be believed: this computer's.")] = False,
    installed: Annotated[str | None, typer.Option(help="Version that is installed, for manifests that ask for it.")] = None,
    step: Annotated[int, typer.Option(min=1, help="How far a sequence number may lie above the last confirmed one.")] = 1 << 32,
    attempts: Annotated[int, typer.Option(min=1, max=255, help="How often a new image is booted before it goes back.")] = 3,
    trial: Annotated[float, typer.Option(min=0.001, help="Seconds that a new image may run without being confirmed.")] = 600.0,
    report_key: Annotated[Path | None, typer.Option(help="Secret key that it signs its reports with: a .key file.")] = None,
    self_test: Annotated[str, typer.Option(help="What a new image does: pass, fail, or crash.")] = "pass",
    flash_delay: Annotated[float, typer.Option(min=0, help="Milliseconds that each write to a slot takes.")] = 0.0,
    bar: Annotated[bool, typer.Option("--bar", help="Draw a progress bar instead of printing JSON lines.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines; the default, as in the Rust and C devices.")] = False,
) -> None:
    """Run a device: it waits for an update, fetches, verifies, stores, tries and confirms it.

    Prints one JSON object a line, the last with "event":"done". Exit code 0: confirmed; 3: refused; 4: failed.
    """
    timeout: float | None = None
    if until not in ("confirmed", "refused"):
        try:
            timeout = float(until)
        except ValueError:
            timeout = -1.0
        if not 0 <= timeout < math.inf:
            usage(f"--until must be confirmed, refused or a number of seconds, not {until!r}")
    for size in (slot_size, *(more_slots or ())):
        if size % ERASE:
            usage(f"the bytes of a slot must be a multiple of {ERASE}, not {size}")
    if len(more_slots or ()) > 3:
        usage("a device has four images at most: --more-slots three times")
    if broker is None and gateway is None:
        usage("say where updates come from: --broker HOST:PORT, --gateway coap://HOST:PORT, or both")
    if self_test not in ("pass", "fail", "crash"):
        usage(f"--self-test must be pass, fail or crash, not {self_test!r}")
    topic_root(root)
    topic_level(name, "device's name")
    topic_level(class_name, "class name")
    vendor_uuid = vendor_id(vendor)
    config = DeviceConfig(
        name=name,
        class_name=class_name,
        vendor=vendor_uuid,
        class_id=class_id(klass, vendor_uuid),
        keys=[public_key(k) for k in key],
        flash=flash,
        root=root,
        slot_size=slot_size,
        more_slots=tuple(more_slots or ()),
        broker=None if broker is None else host_port(broker, 1883, "broker"),
        gateway=None if gateway is None else host_port(gateway, 5683, "gateway"),
        username=username,
        password=None if password is None else password.encode(),
        seed=os.getpid() if seed is None else seed,
        rotation=rotation,
        device_id=None if device_id is None else uuid_of(device_id),
        jitter_ms=round(jitter * 1000),
        backoff_ms=round(backoff * 1000),
        window=None if window is None else window_of(window),
        battery=battery,
        step=step,
        attempts=attempts,
        trial_ms=round(trial * 1000),
        version=installed,
        charge=charge,
        clock=clock,
        report_key=None if report_key is None else load_secret(report_key),
        self_test=self_test,
        flash_delay=flash_delay / 1000,
    )
    with transfer_bar(quiet=not bar) as progress:
        task: list[TaskID] = []

        def tell(event: dict[str, Any]) -> None:
            if not bar:
                emit(event)
                return
            match event:
                case {"event": "progress", "have": have, "total": total}:
                    if not task:
                        task.append(progress.add_task(name, total=total))
                    progress.update(task[0], completed=have)
                case {"event": "state", "state": state}:
                    progress.console.print(f"{name}: {state}", highlight=False)
                case {"event": "unreachable", "host": host, "port": port, "why": why}:
                    progress.console.print(f"{name}: cannot reach {host}:{port} ({why}); trying again", highlight=False)
                case {"event": "refused", "reason": reason}:
                    progress.console.print(f"{name}: refused: {reason}", highlight=False)

        mode = "confirmed" if timeout is not None else until
        try:
            outcome = run(Device(config, tell).run(mode, timeout))
        except ValueError as e:
            usage(str(e))
    finish(outcome, bar)


def uuid_of(text: str) -> uuid.UUID:
    """A device's UUID."""
    try:
        return uuid.UUID(text)
    except ValueError:
        usage(f"--device-id must be a UUID, not {text!r}")


def window_of(text: str) -> tuple[int, int]:
    """The second of the day when a window opens, and for how many seconds: ``02:00-04:30``, also over midnight."""
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", text)
    if match is None:
        usage(f"--window must be HH:MM-HH:MM, not {text!r}")
    begin, end = (int(match[n]) * 3600 + int(match[n + 1]) * 60 for n in (1, 3))
    return begin, (end - begin) % 86_400 or 86_400


def finish(outcome: Outcome, bar: bool) -> None:
    """The last line and the exit code."""
    line = {"event": "done", **{name: getattr(outcome, name) for name in Outcome.__slots__}}
    if bar:
        err.print(" ".join(f"{k}={v}" for k, v in line.items() if k != "event"), highlight=False)
    else:
        emit(line)
    if outcome.state == "confirmed":
        return
    raise typer.Exit(Exit.REFUSED if outcome.state == "refused" else Exit.FAILED)
