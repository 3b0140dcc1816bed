"""Fixtures for pytest, there as soon as waft is installed; their names begin with ``waft_``.

- ``waft_broker``: a :class:`~waft.testing.BenchBroker` for the test, on ``waft_broker.host`` and ``waft_broker.port``.
- ``waft_pair``: a :class:`~waft.testing.StreamPair` of an MQTT client that is connected to a broker, in virtual time.
- ``waft_rude_server``: a :class:`~waft.testing.RudeServer`, once for each of :data:`~waft.testing.RUDE_SERVERS`: a test
  that takes it runs against them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .. import mqtt
    from . import BenchBroker, RudeServer, StreamPair

# What is imported here is imported by every run of pytest on the machine: as little as can be.


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``waft_rude_server`` has one parameter for each of them."""
    if "waft_rude_server" in metafunc.fixturenames:
        from . import RUDE_SERVERS

        metafunc.parametrize("waft_rude_server", list(RUDE_SERVERS), indirect=True)


@pytest.fixture
def waft_broker() -> Iterator[BenchBroker]:
    """An MQTT broker for this test, on a free port of the loopback."""
    from . import BenchBroker

    with BenchBroker() as broker:
        yield broker


@pytest.fixture
def waft_pair() -> StreamPair[mqtt.Client, mqtt.Broker]:
    """An MQTT client that is connected to a broker, without sockets and in virtual time."""
    from . import StreamPair

    return StreamPair.mqtt()


@pytest.fixture
def waft_rude_server(request: pytest.FixtureRequest) -> Iterator[RudeServer]:
    """An MQTT server that does something wrong: each of ``waft.testing.RUDE_SERVERS`` in turn."""
    from . import RudeServer

    with RudeServer(request.param) as server:
        yield server
