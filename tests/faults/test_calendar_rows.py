"""Days that are short, clocks that change, shares that split."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from greenlight.domain.audit import DecisionKind
from tests.exchange_fixture import SPLIT_DAY, ExchangeProcess, LockstepDriver
from tests.fault_table import Recovery
from tests.faults.plain_desk import PlainDesk
from tests.faults.plain_parts import write_source

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def desk_between(folder: Path, first: date, last: date) -> Iterator[PlainDesk]:
    """A desk on an exchange of its own."""
    source = write_source(folder / "source", first, last)
    options = ("--lockstep", "--faults", "--partial-fills", "0")
    with ExchangeProcess(source, folder / "data", *options, start=first, end=last) as exchange:
        driver = LockstepDriver(exchange)
        desk = PlainDesk(exchange, driver)
        desk.start()
        yield desk
        desk.stop()
        driver.close()


@pytest.mark.fault("half-day, holiday", bound_s=5)
def test_half_day_when_time_is_up_then_left_before_1300_and_next_session_is_the_calendars(
    tmp_path: Path, recovery: Recovery
) -> None:
    # Thursday is a half-day, Friday Independence Day: the next session is Monday's.
    with desk_between(tmp_path, date(2014, 7, 3), date(2014, 7, 7)) as desk:
        desk.hold(hold_sessions=0, stop_frac=0.05)
        position = desk.store.position("ALFA")
        assert position is not None
        assert position.exit_by == datetime(2014, 7, 3, 16, 50, tzinfo=UTC)
        desk.stop()
        while desk.clock.now() < position.exit_by - timedelta(minutes=5):
            desk.step()
        desk.start()
        while desk.clock.now() < position.exit_by:
            assert desk.held() > 0
            desk.step()
        recovery.injected()
        desk.wait_flat()
        recovery.done()
        assert desk.clock.now() < datetime(2014, 7, 3, 17, tzinfo=UTC)
        while desk.driver.current["kind"] != "close":
            desk.step()
        desk.step()
        assert desk.driver.current["session"] == "2014-07-07"
        desk.to_open()
        desk.hold(hold_sessions=0)
        position = desk.store.position("ALFA")
        assert position is not None
        assert position.exit_by == datetime(2014, 7, 7, 19, 50, tzinfo=UTC)
        desk.assert_exact()


@pytest.mark.fault("split overnight, stop not adjusted", bound_s=5)
def test_split_when_the_broker_left_the_stop_then_resized_before_the_open(
    tmp_path: Path, recovery: Recovery
) -> None:
    # tests/integration/test_replay.py does the same over AAPL's 7:1 of 2014-06-09.
    with desk_between(tmp_path, date(2014, 6, 6), SPLIT_DAY) as desk:
        qty = desk.hold("SPLT", stop_frac=0.05)
        before = desk.store.position("SPLT")
        assert before is not None
        desk.stop()
        while desk.driver.current["kind"] != "close":
            desk.step()
        desk.start()
        desk.step()
        assert desk.driver.current["kind"] == "pre_open"
        recovery.injected()
        desk.wait_covered("SPLT")
        recovery.done()
        after = desk.store.position("SPLT")
        assert after is not None
        assert (after.qty, after.stop_price) == (
            2 * qty,
            (before.stop_price / 2).quantize(Decimal("0.01"), rounding="ROUND_UP"),
        )
        stops = {order.stop_price for order in desk.sells("SPLT")} - {None}
        assert stops == {after.stop_price}
        assert [row.reason for row in desk.decisions(DecisionKind.ADJUST)] == ["split"]
        desk.step(3)
        assert desk.is_covered("SPLT")


# What a machine in some other time zone thinks; the answers are the exchange's.
QUESTIONS = """
import json, time
from datetime import UTC, date, datetime
time.tzset()
from dashboard.view_model import eastern
from greenlight.domain.market import eastern_date, eastern_midnight
from greenlight.domain.market import session_end_for_hold, session_on
days = [date(2014, 3, 7), date(2014, 3, 10), date(2014, 10, 31), date(2014, 11, 3)]
late = datetime(2014, 3, 11, 1, 30, tzinfo=UTC)
print(json.dumps({
    "machine": time.tzname[0],
    "opens": [session_on(day).open.isoformat() for day in days],
    "closes": [session_on(day).close.isoformat() for day in days],
    "midnights": [eastern_midnight(day).isoformat() for day in days],
    "day": eastern_date(late).isoformat(),
    "hold": session_end_for_hold(session_on(days[0]).open, 1).isoformat(),
    "shown": eastern(late),
}))
"""

ANSWERS = {
    # Eastern standard time is five hours behind UTC, daylight time (9 March to
    # 2 November in 2014) four.
    "opens": [
        "2014-03-07T14:30:00+00:00",
        "2014-03-10T13:30:00+00:00",
        "2014-10-31T13:30:00+00:00",
        "2014-11-03T14:30:00+00:00",
    ],
    "closes": [
        "2014-03-07T21:00:00+00:00",
        "2014-03-10T20:00:00+00:00",
        "2014-10-31T20:00:00+00:00",
        "2014-11-03T21:00:00+00:00",
    ],
    "midnights": [
        "2014-03-07T05:00:00+00:00",
        "2014-03-10T04:00:00+00:00",
        "2014-10-31T04:00:00+00:00",
        "2014-11-03T05:00:00+00:00",
    ],
    # Half past nine in the evening of the 10th in New York.
    "day": "2014-03-10",
    "hold": "2014-03-10T20:00:00+00:00",
}


@pytest.mark.fault("DST change; UTC against Eastern")
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles"])
def test_time_zone_when_the_machine_is_elsewhere_then_same_session_and_display(zone: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", QUESTIONS],
        cwd=ROOT,
        env={**os.environ, "TZ": zone},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    machine, shown = found.pop("machine"), found.pop("shown")
    assert machine == {"Asia/Tokyo": "JST", "America/Los_Angeles": "PST"}[zone]
    assert found == ANSWERS
    assert shown == "Mon Mar 10 2014, 21:30 ET"


@pytest.mark.fault("DST change; UTC against Eastern", bound_s=5)
def test_time_zone_when_the_clocks_change_over_the_weekend_then_traded_at_the_new_hours(
    tmp_path: Path, recovery: Recovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The exchange's machine is in Tokyo; the clocks went forward on Sunday, 9 March 2014.
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    with desk_between(tmp_path, date(2014, 3, 7), date(2014, 3, 10)) as desk:
        desk.hold(stop_frac=0.05, hold_sessions=1)
        position = desk.store.position("ALFA")
        assert position is not None
        assert position.exit_by == datetime(2014, 3, 10, 19, 50, tzinfo=UTC)
        desk.stop()
        while desk.driver.current["session"] != "2014-03-10":
            desk.step()
        desk.start()
        desk.step()
        # The first minute ends at 13:31 UTC; on Friday it did at 14:31.
        assert datetime.fromisoformat(desk.driver.current["at"]) == datetime(
            2014, 3, 10, 13, 31, tzinfo=UTC
        )
        assert desk.is_covered()
        recovery.injected()
        desk.enter("BETA")
        desk.wait_covered("BETA")
        recovery.done()
        desk.assert_exact()
