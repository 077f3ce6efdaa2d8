"""What every store promises of what the gate's evidence rests on."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from greenlight.domain.evidence_rows import JudgedDay, OutOfSample, UniverseReturn
from greenlight.ports import Store

AT = datetime(2013, 10, 7, 22, 30, tzinfo=UTC)
DAYS = [date(2013, 10, day) for day in (7, 8, 9)]


def run(run_id: str, at: datetime, fingerprint: str = "f00d") -> OutOfSample:
    days = tuple(
        JudgedDay(day=day, return_frac=0.01, exposure_frac=0.5, universe_frac=-0.02) for day in DAYS
    )
    return OutOfSample(run_id=run_id, at=at, fingerprint=fingerprint, trials=100, days=days)


def test_universe_returns_when_written_twice_then_the_first_stays(store: Store) -> None:
    rows = [UniverseReturn(day=day, frac=0.01, symbols=5) for day in DAYS]
    store.write_universe_returns(rows)
    store.write_universe_returns([UniverseReturn(day=DAYS[0], frac=0.5, symbols=5)])
    store.write_universe_returns([])
    assert store.universe_returns(DAYS[0], DAYS[2]) == rows
    assert store.universe_returns(DAYS[1], DAYS[1]) == rows[1:2]


def test_out_of_samples_when_kept_then_those_of_the_fingerprint_oldest_first(
    store: Store,
) -> None:
    first, second = run("b", AT), run("a", AT + timedelta(days=1))
    for each in (second, first, run("c", AT, "other"), run("b", AT + timedelta(days=9))):
        store.record_out_of_sample(each)
    assert store.out_of_samples("f00d") == [first, second]


def test_latest_calibration_when_kept_then_the_newest_up_to_now(store: Store) -> None:
    assert store.latest_calibration(AT) is None
    store.record_calibration(AT, "hash", {"traders": 10_000})
    store.record_calibration(AT, "again", {})
    store.record_calibration(AT + timedelta(days=2), "later", {})
    assert store.latest_calibration(AT + timedelta(days=1)) == (AT, "hash", {"traders": 10_000})
