"""Ray itself breaks: a node dies, the head's control store is restarted.

The replay is held at its step while Ray is broken, so that the same position is
watched from the first moment to the last. One whose entry fills while Ray cannot
start a process has no stop until it can.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from ray.exceptions import RayError

from actors.position_monitor import monitor_name
from cluster.processes import free_port
from cluster.services import redis_binary
from tests.fault_table import Recovery
from tests.faults.process_desk import ClusterDesk, ProcessDesk, process_desk, within

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@contextmanager
def control_store(folder: Path) -> Iterator[str]:
    """A Redis on a port of loopback, where Ray's head keeps its tables."""
    binary, port = redis_binary(), free_port()
    assert binary is not None
    redis = subprocess.Popen(
        [
            str(binary),
            *("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"),
            *("--dir", str(folder), "--protected-mode", "no"),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        yield f"127.0.0.1:{port}"
    finally:
        redis.kill()
        redis.wait()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessDesk]:
    folder = tmp_path_factory.mktemp("nodes")
    with control_store(folder) as address:
        os.environ["RAY_REDIS_ADDRESS"] = address
        try:
            home = folder / "home"
            with process_desk(home, ClusterDesk, start="2008-01-14", end="2009-12-31") as found:
                yield found
        finally:
            del os.environ["RAY_REDIS_ADDRESS"]


def test_head_when_its_control_store_restarts_then_the_desk_goes_on(rig: ProcessDesk) -> None:
    head = rig.desk.cluster.head_node  # type: ignore[attr-defined]
    with rig.standing() as held, rig.watched():
        name = monitor_name(held.symbol)
        head.kill_gcs_server()
        time.sleep(3)
        head.start_gcs_server()
        within(60, lambda: _answers(rig, name), "the monitor is found again")
        before = rig.pid(name)
        rig.kill(name)
        within(60, lambda: _answers(rig, name) and rig.pid(name) != before, "a new monitor")
    rig.go_on(bound_s=120)
    rig.assert_exact()


@pytest.mark.fault("a Ray node dies", bound_s=30)
def test_node_when_its_raylet_is_killed_then_its_monitors_live_on_another(
    rig: ProcessDesk, recovery: Recovery
) -> None:
    with rig.standing() as held, rig.watched():
        name = monitor_name(held.symbol)
        within(30, lambda: _answers(rig, name), "the monitor answers")
        raylet = _raylet(rig, name)
        assert raylet is not None
        raylet.kill()
        recovery.injected()
        within(90, lambda: _raylet(rig, name) not in {None, raylet}, "it lives elsewhere")
        recovery.done()
    rig.go_on(bound_s=120)
    rig.assert_exact()


def _raylet(rig: ProcessDesk, actor: str) -> psutil.Process | None:
    try:
        return rig.desk.raylet(rig.pid(actor))  # type: ignore[attr-defined, no-any-return]
    except (RayError, ValueError):
        return None


def _answers(rig: ProcessDesk, actor: str) -> bool:
    try:
        return rig.pid(actor) > 0
    except (RayError, ValueError):
        return False
