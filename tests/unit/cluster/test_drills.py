"""How a drill is measured, and where it is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psutil
import pytest

from actors.position_monitor import PositionMonitor
from cluster.cli_drill import require_paper
from cluster.desk_file import DeskFile
from cluster.drills import ModelHung, NakedWatch, fault_of, measure
from cluster.ollama_server import pid_file
from cluster.processes import StartError
from greenlight.domain.drills import BOUNDS_S, Drill, DrillKind
from greenlight.domain.market import Unavailable
from greenlight.ports import Run
from greenlight.testing import FakeClock
from greenlight.testing_broker import FakeBroker
from tests.actor_cases import T0, Surroundings

DESK = DeskFile(
    database_url="postgresql://elsewhere/greenlight",
    redis_url="redis://elsewhere",
    ray_dashboard_url=None,
    exchange_url=None,
    dashboard_url=None,
    pid=1,
    started_at=datetime(2026, 1, 5, tzinfo=UTC),
    health_url="http://127.0.0.1:9",
)
RUN = Run(
    run_id="r",
    started_at=T0,
    account_kind="paper",
    account_number="PA1",
    source="alpaca-paper",
    is_synthetic=False,
    start_cash_usd=Decimal(1),
    fingerprint="f",
)


class Seconds:
    """A clock that goes on only by waiting."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def wait(self, seconds: float) -> None:
        self.now_s += seconds


class SlowFault:
    """Recovers so long after it struck."""

    detail = "something"

    def __init__(self, seconds: Seconds, *, after_s: float) -> None:
        self._seconds = seconds
        self._after_s = after_s
        self._struck_s = 0.0

    def strike(self) -> None:
        self._seconds.wait(7.0)
        self._struck_s = self._seconds.now_s

    def has_recovered(self) -> bool:
        return self._seconds.now_s - self._struck_s >= self._after_s


def drilled(*, after_s: float, broker: FakeBroker | None = None) -> Drill:
    seconds = Seconds()
    return measure(
        DrillKind.MONITOR,
        SlowFault(seconds, after_s=after_s),
        account_kind="paper",
        naked=NakedWatch(broker or FakeBroker(FakeClock(T0)), period_s=0.001),
        now=lambda: T0,
        monotonic=lambda: seconds.now_s,
        sleep=seconds.wait,
    )


def test_measure_when_it_recovers_then_timed_from_the_faults_end() -> None:
    found = drilled(after_s=2.5)
    assert found.recovered_s == pytest.approx(2.5, abs=0.11)
    assert found.is_passed
    assert (found.at, found.naked_s, found.detail) == (T0, 0.0, "something")


def test_measure_when_it_never_recovers_then_unavailable_after_four_times_the_bound() -> None:
    found = drilled(after_s=1e9)
    limit_s = 4 * BOUNDS_S[DrillKind.MONITOR]
    assert found.recovered_s == Unavailable(f"not within {limit_s:g} s")
    assert not found.is_passed


def test_measure_when_the_broker_does_not_tell_then_not_passed() -> None:
    broker = FakeBroker(FakeClock(T0))
    broker.up = False
    found = drilled(after_s=1.0, broker=broker)
    assert found.naked_s == Unavailable("the broker did not tell")
    assert not found.is_passed


def test_look_when_a_position_has_no_stop_then_the_longest_gap_is_kept() -> None:
    around = Surroundings()
    around.enter(10)
    watch = NakedWatch(around.broker, period_s=60)
    for now_s in (0.0, 1.0, 3.5):
        watch.look(now_s)
    around.broker.up = False
    watch.look(9.0)
    around.broker.up = True
    PositionMonitor(
        symbol="AAPL",
        store=around.store,
        broker=around.broker,
        notifier=around.notifier,
        desk="t",
        now=T0,
        sleep=around.sleep,
    ).check(T0)
    watch.look(10.0)
    watch.look(11.0)
    watch.start()
    assert watch.stop() == 3.5


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (DrillKind.MONITOR, "no position is open"),
        (DrillKind.MODEL, "no model is configured"),
        (DrillKind.CACHE, "REDIS_URL"),
        (DrillKind.DATABASE, "DATABASE_URL"),
    ],
)
def test_fault_of_when_it_cannot_be_carried_out_then_one_line_says_why(
    kind: DrillKind, said: str, tmp_path: Path
) -> None:
    with pytest.raises(StartError, match=said):
        fault_of(kind, DESK, tmp_path, [])


def test_fault_of_when_there_is_no_health_port_then_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no health port"):
        fault_of(DrillKind.CACHE, replace(DESK, health_url=None), tmp_path, ["AAPL"])


def test_fault_of_when_a_position_is_open_then_its_monitor(tmp_path: Path) -> None:
    assert fault_of(DrillKind.MONITOR, DESK, tmp_path, ["GOOG"]).detail == "position-monitor:GOOG"


@pytest.mark.parametrize("kind", ["paper", "replay"])
def test_require_paper_when_on_paper_then_its_kind(kind: str) -> None:
    assert require_paper(replace(RUN, account_kind=kind)) == kind


@pytest.mark.parametrize("run", [None, replace(RUN, account_kind="live")])
def test_require_paper_when_live_or_unknown_then_refused(run: Run | None) -> None:
    with pytest.raises(StartError, match="on paper alone"):
        require_paper(run)


def test_fault_of_when_the_desk_runs_its_own_model_server_then_that_is_made_to_hang(
    tmp_path: Path,
) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "serve"]) as server:
        try:
            pid_file(tmp_path).write_text(f"{server.pid}\n")
            found = fault_of(DrillKind.MODEL, DESK, tmp_path, [])
            assert isinstance(found, ModelHung)
            asked: list[str] = []

            def part(name: str) -> str:
                asked.append(name)
                is_hung = psutil.Process(server.pid).status() == psutil.STATUS_STOPPED
                return "degraded" if is_hung else "up"

            ModelHung(psutil.Process(server.pid), part).strike()
            assert set(asked) == {"sentiment"}
            assert psutil.Process(server.pid).status() != psutil.STATUS_STOPPED
        finally:
            server.kill()
