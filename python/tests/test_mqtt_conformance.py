"""Each server case of tests/conformance over TCP, against our broker and, as a cross-check, Debian's mosquitto.

Every case has a server of its own, since all cases use the same client identifiers and topics. Reasons for closing are
not seen from outside and not compared. Cases that wait (``takes_time``) are skipped for mosquitto, whose clock is the
machine's; for our broker the clock is moved on.

``tests/conformance/mosquitto.json`` lists where mosquitto is known to differ, and what the standard says to that.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mqtt_cases import CASES, FOLDER, Bench, is_for_waft, run_all, takes_time
from conftest import PATIENCE, free_port, program

from waft import mqtt
from waft.aio.broker import Allow, BrokerServer, Deny


class OnItsOwnTime(BrokerServer):
    """Our broker, with a clock that can be moved on."""

    ahead = 0

    def now(self) -> int:
        return super().now() + self.ahead

    def wait(self, seconds: float) -> None:
        self.ahead += int(seconds * 1_000_000)
        self._expired()


class Host:
    """Answers when the case says so."""

    def __init__(self) -> None:
        self.server: BrokerServer | None = None
        self._asked: dict[Any, mqtt.Authenticate] = {}
        self._answers: dict[Any, asyncio.Future[Allow | Deny]] = {}

    async def authenticate(self, question: mqtt.Authenticate) -> Allow | Deny:
        if question.client_id == "~probe":
            return Allow()
        assert self.server is not None
        transport = self.server._connections[question.peer].transport
        assert transport is not None
        address = transport.get_extra_info("peername")
        self._asked[address] = question
        self._answers[address] = asyncio.get_running_loop().create_future()
        return await self._answers[address]

    def asked(self, address: Any) -> list[str | None] | None:
        question = self._asked.pop(address, None)
        if question is None:
            return None
        password = None if question.password is None else question.password.hex()
        return [question.client_id, question.username, password]

    def answer(self, address: Any, code: int) -> None:
        self._answers[address].set_result(Deny(code) if code else Allow())

    def rest(self) -> str | None:
        return f"the host was asked {self._asked}" if self._asked else None


async def against_waft(n: int, case: dict[str, Any]) -> str | None:
    host = Host()
    broker = mqtt.Broker(seed=n, **case.get("broker", {}))
    async with OnItsOwnTime(broker, authenticate=host.authenticate) as server:
        host.server = server
        port = await server.start("127.0.0.1", 0)
        return await Bench("127.0.0.1", port, server.wait, host).run(case)


async def test_our_broker_does_what_each_case_says() -> None:
    assert len(CASES) >= 300
    differs = await run_all(CASES, against_waft)
    told = "\n".join(f"{name}: {how}" for name, how in differs.items())
    assert not differs, f"{len(differs)} of {len(CASES)}:\n{told}"


@pytest.mark.parametrize(
    ("steps", "how"),
    [
        ([["expect", "a", "20020100"]], "step 2: a expected '20020100' and got '20020000'"),
        ([["expect", "a", "2002"]], "step 2: a expected '2002' and got '20020000'"),
        ([["answers", "a", ["20020000", "d000"]]], "step 2: a expected one of ['d000'] and got ''"),
        ([["kept", "a"]], "a got '20020000' too"),
        ([["expect", "a", "20020000"], ["closed", "a", "Length"]], "step 3: a is kept"),
        ([["expect", "a", "20020000"], ["send", "a", "0000"], ["kept", "a"]], "step 4: a is closed"),
        ([["expect", "a", "20020000"], ["kept", "a"]], None),
    ],
)
async def test_what_differs_is_told(steps: list[list[Any]], how: str | None) -> None:
    start = [["open", "a"], ["send", "a", "100d00044d51545404020000000161"]]
    assert await against_waft(0, {"steps": start + steps}) == how


@pytest.mark.parametrize(
    ("steps", "how"),
    [
        ([["asked", "a", "a", "u", None]], "step 2: the host was to be asked ('a', 'u', None) about a, and was ['a', None, None]"),
        ([], "the host was asked {"),
        ([["asked", "a", "a", None, None], ["allow", "a"], ["expect", "a", "20020000"]], None),
    ],
)
async def test_what_a_host_was_asked_is_looked_at(steps: list[list[Any]], how: str | None) -> None:
    start = [["open", "a"], ["send", "a", "100d00044d51545404020000000161"]]
    told = await against_waft(0, {"steps": start + steps, "broker": {"ask_host": True}})
    assert told == how or (how is not None and told is not None and told.startswith(how))


# ---- mosquitto ----

KNOWN: list[dict[str, str]] = json.loads((FOLDER / "mosquitto.json").read_text())


async def test_mosquitto_differs_where_it_is_known_to_and_nowhere_else(tmp_path: Path) -> None:
    mosquitto, port = program("mosquitto"), free_port()

    async def against_mosquitto(n: int, case: dict[str, Any]) -> str | None:
        # All of 127/8 is this machine: an address for each, so that no two want the same port.
        host, config = f"127.77.{n // 250}.{n % 250 + 1}", tmp_path / f"{n}.conf"
        lines = [f"listener {port} {host}", "allow_anonymous true", "persistence false", "log_type none"]
        # Nothing of its own below $SYS; no packet that waits for TCP to acknowledge the one before.
        if "broker" in case:
            rights = tmp_path / f"{n}.acl"
            rights.write_text(case["broker"]["acl"] + "\n")
            # It would become another user, who may not read here.
            lines += [f"acl_file {rights}", "user root"]
        config.write_text("\n".join([*lines, "sys_interval 0", "set_tcp_nodelay true", ""]))
        process = subprocess.Popen([mosquitto, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        return await Bench(host, port).run(case)
                    except ConnectionRefusedError:
                        assert process.poll() is None, "mosquitto ended at once"
                        await asyncio.sleep(0.002)
        finally:
            process.kill()
            process.wait()

    cases = [case for case in CASES if not takes_time(case) and not is_for_waft(case)]
    differs = await run_all(cases, against_mosquitto)
    (tmp_path / "differs.json").write_text(json.dumps(differs, indent=1))
    names = [case["name"] for case in cases]
    listed = {name: one["cases"] for one in KNOWN for name in names if re.fullmatch(one["cases"], name)}
    complaints = [f"not listed: {name}: {differs[name]}" for name in differs if name not in listed]
    complaints += [f"no longer differs: {name}, listed as {listed[name]}" for name in listed if name not in differs]
    complaints += [f"names no case: {one['cases']}" for one in KNOWN if one["cases"] not in listed.values()]
    version = subprocess.run([mosquitto, "-h"], capture_output=True, text=True).stdout.partition("\n")[0]
    assert not complaints, f"{version}, {len(complaints)} complaints:\n" + "\n".join(complaints)


@pytest.mark.parametrize("name", [case["name"] for case in CASES if takes_time(case)])
def test_mosquitto_is_not_waited_for(name: str) -> None:
    pytest.skip("the case waits, and mosquitto's clock is the machine's")
