from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlight.domain.evidence import Evidence
from greenlight.domain.gate import BacktestSummary, Figure
from greenlight.domain.market import Unavailable, eastern_date, session_on
from greenlight.domain.metrics import EquitySeries
from greenlight.domain.readiness import (
    TITLES,
    Criterion,
    Evaluation,
    ReadinessInputs,
    ReadinessPolicy,
    State,
    evaluate,
    from_json,
    to_json,
)
from greenlight.ports import Coverage
from greenlight.testing import FakeStore
from jobs.readiness import gather
from tests.sample_desk import SampleDesk

POLICY = ReadinessPolicy()
GREEN, RED, SHORT, STALE = State.GREEN, State.RED, State.INSUFFICIENT, State.STALE
EVIDENCE = Evidence(at=datetime(2008, 4, 1, tzinfo=UTC), backtest=1000.0, trials=100, paper=2.5)


@cache
def history(win_share: float = 0.7, end: date = date(2008, 3, 20)) -> ReadinessInputs:
    """Inputs of a desk that lived from 2008-01-02 to the close of `end`."""
    store = FakeStore()
    desk = SampleDesk(store, start=date(2008, 1, 2), win_share=win_share)
    desk.trade_until(end)
    return gather(store, desk.now, POLICY)


def backtest(inputs: ReadinessInputs, **changes: Any) -> BacktestSummary:
    assert not isinstance(inputs.run, Unavailable)
    good = BacktestSummary(
        at=inputs.now - timedelta(days=6),
        fingerprint=inputs.run.fingerprint,
        sharpe_ann=1.4,
        drawdown_frac=0.10,
        pbo_frac=0.2,
        deflated_sharpe=0.96,
        has_live_parity=True,
    )
    return replace(good, **changes)


def all_green() -> ReadinessInputs:
    inputs = history()
    return replace(inputs, evidence=EVIDENCE, backtest=backtest(inputs))


def light(inputs: ReadinessInputs, name: str, policy: ReadinessPolicy = POLICY) -> Criterion:
    return next(c for c in evaluate(inputs, policy).criteria if c.name == name)


def at_minute(inputs: ReadinessInputs, index: int, equity_usd: float) -> ReadinessInputs:
    """The inputs with one of the desk's marks replaced."""
    equity = inputs.desk_marks.equity_usd.copy()
    equity[index] = equity_usd
    return replace(inputs, desk_marks=EquitySeries(at_s=inputs.desk_marks.at_s, equity_usd=equity))


def after_reading(inputs: ReadinessInputs, seconds: float, covered_share: float) -> Coverage:
    """A reading of the last closed position, some time after it was opened."""
    position = inputs.closed_positions[-1]
    first = next(r for r in inputs.coverage if r.position_id == position.position_id)
    return Coverage(
        position_id=position.position_id,
        symbol=position.symbol,
        at=position.opened_at + timedelta(seconds=seconds),
        position_qty=first.position_qty,
        covered_qty=int(first.position_qty * covered_share),
    )


def with_readings(inputs: ReadinessInputs, *rows: Coverage) -> ReadinessInputs:
    return replace(inputs, coverage=sorted([*inputs.coverage, *rows], key=lambda r: r.at))


# -- all together


def test_evaluate_when_everything_is_there_and_good_then_ready() -> None:
    evaluation = evaluate(all_green(), POLICY)
    assert [c.name for c in evaluation.criteria] == list(TITLES)
    assert {c.name: c.state for c in evaluation.criteria} == dict.fromkeys(TITLES, GREEN)
    assert evaluation.is_ready
    assert all(c.missing == () and c.reason for c in evaluation.criteria)


def test_evaluate_when_evidence_and_backtest_never_ran_then_insufficient_and_not_ready() -> None:
    evaluation = evaluate(history(), POLICY)
    states = {c.name: c.state for c in evaluation.criteria}
    assert states["sharpe"] is SHORT
    assert states["backtest"] is SHORT
    assert not evaluation.is_ready


def test_evaluate_when_the_desk_never_ran_then_seven_say_why() -> None:
    inputs = replace(all_green(), run=Unavailable("never ran"))
    evaluation = evaluate(inputs, POLICY)
    assert len(evaluation.criteria) == 7
    assert {(c.state, c.reason) for c in evaluation.criteria} == {(SHORT, "never ran")}
    assert not evaluation.is_ready


def test_evaluate_when_nothing_was_recorded_then_no_light_is_green() -> None:
    inputs = all_green()
    nothing = replace(
        inputs,
        trades=(),
        closed_positions=(),
        open_positions=(),
        broker_marks=EquitySeries(at_s=np.array([], dtype=np.int64), equity_usd=np.array([])),
        desk_marks=EquitySeries(at_s=np.array([], dtype=np.int64), equity_usd=np.array([])),
        beats=np.array([], dtype=np.int64),
        coverage=(),
        protections=(),
        backtest=Unavailable("none"),
        evidence=Unavailable("none"),
    )
    assert GREEN not in {c.state for c in evaluate(nothing, POLICY).criteria}


def test_evaluate_when_the_newest_data_is_five_days_old_then_no_light_is_green() -> None:
    inputs = all_green()
    late = replace(inputs, now=inputs.now + timedelta(days=5))
    evaluation = evaluate(late, POLICY)
    assert GREEN not in {c.state for c in evaluation.criteria}
    assert "5 days old" in evaluation.criteria[0].reason


# -- each of them


def test_duration_when_young_then_says_what_is_missing() -> None:
    inputs = history(end=date(2008, 1, 18))
    found = light(inputs, "duration")
    # 2008-01-02 to 01-18: 3 + 5 + 5 sessions, sixteen days.
    trades = len(inputs.trades)
    assert found.state is SHORT
    assert f"{trades} of 30 closed trades; {30 - trades} more needed" in found.missing
    assert "13 of 20 sessions observed; 7 more needed" in found.missing
    assert "16 of 30 calendar days; 14 more needed" in found.missing


def test_win_rate_when_half_are_won_then_red_and_one_more_makes_it_green() -> None:
    inputs = history()
    positions = list(inputs.closed_positions)[:30]
    trades = list(inputs.trades)[:30]

    def won(count: int) -> ReadinessInputs:
        changed = [
            replace(t, pnl_usd=Decimal(10 if i < count else -10), haircut_usd=Decimal(0))
            for i, t in enumerate(trades)
        ]
        held = [
            replace(p, realized_usd=Decimal(10 if i < count else -10))
            for i, p in enumerate(positions)
        ]
        return replace(inputs, trades=changed, closed_positions=held)

    assert [t.position_id for t in trades] == [p.position_id for p in positions]
    half = light(won(15), "win_rate")
    assert (half.state, half.value, half.sample_size) == (RED, 0.5, 30)
    more = light(won(16), "win_rate")
    assert more.state is GREEN
    # statsmodels' Wilson interval of 16 in 30, and 16 winners against 14 losers.
    assert more.interval == pytest.approx((0.3614229962, 0.6976761109), abs=1e-9)
    assert more.figures[0] == Figure(
        name="profit factor", value=pytest.approx(16 / 14), threshold=1.5, unit=""
    )


def test_win_rate_when_a_losing_trade_is_missing_then_stale_and_says_so() -> None:
    inputs = all_green()
    lost = next(t for t in inputs.trades if t.net_usd < 0)
    found = light(replace(inputs, trades=[t for t in inputs.trades if t is not lost]), "win_rate")
    assert found.state is STALE
    assert "ledger incomplete" in found.reason


def test_win_rate_when_a_trades_gain_differs_from_its_positions_then_stale() -> None:
    inputs = all_green()
    trades = [replace(inputs.trades[0], pnl_usd=Decimal(9999)), *inputs.trades[1:]]
    assert light(replace(inputs, trades=trades), "win_rate").state is STALE


@pytest.mark.parametrize(
    ("evidence", "state"),
    [
        (Unavailable("none"), SHORT),
        (replace(EVIDENCE, paper=1.99), SHORT),
        (replace(EVIDENCE, paper=2.0), GREEN),
    ],
)
def test_sharpe_when_good_then_evidence_decides(
    evidence: Evidence | Unavailable, state: State
) -> None:
    assert light(replace(all_green(), evidence=evidence), "sharpe").state is state


def test_sharpe_when_the_account_only_loses_then_red() -> None:
    inputs = replace(history(win_share=0.1), evidence=EVIDENCE)
    found = light(inputs, "sharpe")
    assert found.state is RED
    assert isinstance(found.value, float)
    assert found.value < 0


def test_sharpe_when_a_close_is_missing_then_stale_and_names_the_day() -> None:
    inputs = all_green()
    marks = inputs.broker_marks
    gone = EquitySeries(at_s=marks.at_s[:-1], equity_usd=marks.equity_usd[:-1])
    for name in ("sharpe", "drawdown"):
        found = light(replace(inputs, broker_marks=gone), name)
        assert found.state is STALE
        assert "2008-03-20" in found.reason


@pytest.mark.parametrize(("frac", "state"), [(0.149, GREEN), (0.151, RED)])
def test_drawdown_when_one_minute_falls_then_the_limit_decides(frac: float, state: State) -> None:
    inputs = all_green()
    peak = float(inputs.desk_marks.equity_usd[:5001].max())
    peak = max(
        peak,
        float(
            inputs.broker_marks.equity_usd[
                inputs.broker_marks.at_s < inputs.desk_marks.at_s[5000]
            ].max()
        ),
    )
    found = light(at_minute(inputs, 5000, peak * (1 - frac)), "drawdown")
    assert found.state is state
    assert found.value == pytest.approx(frac, abs=1e-9)


def test_drawdown_when_the_worst_minute_is_deleted_then_not_green() -> None:
    inputs = at_minute(all_green(), 5000, 50_000.0)
    assert light(inputs, "drawdown").state is RED
    marks = inputs.desk_marks
    gone = EquitySeries(
        at_s=np.delete(marks.at_s, 5000), equity_usd=np.delete(marks.equity_usd, 5000)
    )
    found = light(replace(inputs, desk_marks=gone), "drawdown")
    assert found.state is STALE
    assert "1 minute at work without a mark" in found.reason


@pytest.mark.parametrize(("end_s", "state"), [(125.0, GREEN), (125.5, RED)])
def test_stop_coverage_when_uncovered_for_some_seconds_then_five_are_allowed(
    end_s: float, state: State
) -> None:
    inputs = all_green()
    rows = after_reading(inputs, 120, 0.5), after_reading(inputs, end_s, 1)
    found = light(with_readings(inputs, *rows), "stop_coverage")
    assert found.state is state
    assert found.value == end_s - 120


def test_stop_coverage_when_an_open_position_has_no_stop_then_red() -> None:
    inputs = all_green()
    held = inputs.open_positions[0]
    rows = [r for r in inputs.coverage if r.position_id != held.position_id]
    shots = [p for p in inputs.protections if (p.symbol, p.at) in {(r.symbol, r.at) for r in rows}]
    found = light(replace(inputs, coverage=rows, protections=shots), "stop_coverage")
    assert found.state is RED
    assert held.symbol in found.reason


def test_stop_coverage_when_the_gap_is_older_than_21_days_then_green() -> None:
    inputs = all_green()
    assert inputs.now - inputs.since > timedelta(days=40)
    position = next(
        p
        for p in inputs.closed_positions
        if p.closed_at and p.closed_at < inputs.now - timedelta(22)
    )
    row = Coverage(
        position_id=position.position_id,
        symbol=position.symbol,
        at=position.opened_at + timedelta(seconds=60),
        position_qty=10,
        covered_qty=0,
    )
    assert light(with_readings(inputs, row), "stop_coverage").state is GREEN


def test_stop_coverage_when_nothing_was_held_lately_then_insufficient() -> None:
    inputs = all_green()
    found = light(
        replace(
            inputs, open_positions=(), closed_positions=(), trades=(), coverage=(), protections=()
        ),
        "stop_coverage",
    )
    assert found.state is SHORT


def test_stop_coverage_when_stops_were_not_checked_for_today_then_stale() -> None:
    inputs = all_green()
    today = session_on(eastern_date(inputs.now))
    assert today is not None
    rows = [r for r in inputs.coverage if r.at < today.open - timedelta(hours=1)]
    old = [p for p in inputs.open_positions if p.opened_at < today.open]
    assert old
    found = light(replace(inputs, coverage=rows, open_positions=old), "stop_coverage")
    assert found.state is STALE


@pytest.mark.parametrize(("lost", "state"), [(1, GREEN), (90, RED)])
def test_uptime_when_minutes_are_lost_then_one_percent_is_allowed(lost: int, state: State) -> None:
    # Thirty days back from 2008-03-20 lie 21 sessions of 390 minutes and a rest: 1% is 82 or so.
    inputs = all_green()
    assert light(replace(inputs, beats=inputs.beats[:-lost]), "uptime").state is state


def test_uptime_when_watched_for_less_than_30_days_then_insufficient() -> None:
    found = light(history(end=date(2008, 1, 18)), "uptime")
    assert (found.state, found.value) == (SHORT, 1.0)
    assert found.reason == "16 of 30 days watched; 14 more needed"


@pytest.mark.parametrize(("minutes", "state"), [(5, GREEN), (7, STALE)])
def test_uptime_when_silent_in_an_open_session_then_stale_after_five_minutes(
    minutes: int, state: State
) -> None:
    inputs = all_green()
    session = session_on(eastern_date(inputs.now))
    assert session is not None
    now = session.open + timedelta(hours=2)
    last = int((now - timedelta(minutes=minutes)).timestamp()) // 60 - 1
    cut = replace(inputs, now=now, beats=inputs.beats[inputs.beats <= last])
    assert light(cut, "uptime").state is state


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, GREEN),
        ({"sharpe_ann": 1.0}, RED),
        ({"drawdown_frac": 0.15}, RED),
        ({"pbo_frac": 0.5}, RED),
        ({"deflated_sharpe": 0.94}, RED),
        ({"has_live_parity": False}, RED),
        ({"has_live_parity": Unavailable("not compared")}, SHORT),
        ({"sharpe_ann": float("nan")}, RED),
        ({"fingerprint": "other"}, STALE),
    ],
)
def test_backtest_when_one_figure_fails_then_not_green(
    changes: dict[str, Any], state: State
) -> None:
    inputs = history()
    found = light(replace(inputs, backtest=backtest(inputs, **changes)), "backtest")
    assert found.state is state


@pytest.mark.parametrize(("days", "state"), [(7, GREEN), (8, STALE), (-1, STALE)])
def test_backtest_when_a_week_old_then_stale_afterwards(days: int, state: State) -> None:
    inputs = history()
    made = backtest(inputs, at=inputs.now - timedelta(days=days))
    assert light(replace(inputs, backtest=made), "backtest").state is state


# -- missing data never turns a light green


@cache
def bases() -> tuple[ReadinessInputs, ...]:
    """Histories as a desk would have written them: good, and bad in each way."""
    good = all_green()
    loser = history(win_share=0.1)
    bad_row = after_reading(good, 120, 0.5)
    gap = with_readings(good, bad_row, after_reading(good, 140, 1))
    witness = replace(good.protections[0], symbol=bad_row.symbol, at=bad_row.at)
    last = float(good.broker_marks.equity_usd[-1])
    fallen = good.broker_marks.equity_usd.copy()
    fallen[-1] = last * 0.5
    return (
        good,
        replace(loser, evidence=EVIDENCE, backtest=backtest(loser)),
        at_minute(good, 5000, 50_000.0),
        replace(good, broker_marks=EquitySeries(at_s=good.broker_marks.at_s, equity_usd=fallen)),
        replace(gap, protections=[*good.protections, witness]),
        replace(
            good,
            beats=good.beats[:-200],
            desk_marks=EquitySeries(
                at_s=good.desk_marks.at_s[:-200], equity_usd=good.desk_marks.equity_usd[:-200]
            ),
        ),
        replace(history(end=date(2008, 1, 18)), evidence=EVIDENCE),
    )


ROWS = (
    "trades",
    "closed_positions",
    "open_positions",
    "broker_marks",
    "desk_marks",
    "beats",
    "coverage",
    "protections",
)


def without(inputs: ReadinessInputs, field: str, lost: Sequence[int]) -> ReadinessInputs:
    rows = getattr(inputs, field)
    kept: Any
    if isinstance(rows, EquitySeries):
        kept = EquitySeries(
            at_s=np.delete(rows.at_s, lost), equity_usd=np.delete(rows.equity_usd, lost)
        )
    elif isinstance(rows, np.ndarray):
        kept = np.delete(rows, lost)
    else:
        kept = [row for index, row in enumerate(rows) if index not in set(lost)]
    changed: dict[str, Any] = {field: kept}
    return replace(inputs, **changed)


def size(inputs: ReadinessInputs, field: str) -> int:
    rows = getattr(inputs, field)
    return len(rows.at_s) if isinstance(rows, EquitySeries) else len(rows)


def turned_green(before: ReadinessInputs, after: ReadinessInputs) -> list[str]:
    pairs = zip(evaluate(before, POLICY).criteria, evaluate(after, POLICY).criteria, strict=True)
    return [b.name for b, a in pairs if a.state is GREEN and b.state is not GREEN]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_evaluate_when_rows_of_one_kind_are_deleted_then_no_light_turns_green(
    data: st.DataObject,
) -> None:
    base = data.draw(st.sampled_from(range(len(bases()))))
    inputs = bases()[base]
    field = data.draw(st.sampled_from(ROWS))
    count = size(inputs, field)
    lost = data.draw(st.sets(st.integers(0, max(count - 1, 0)), min_size=1, max_size=5))
    after = without(inputs, field, [index for index in lost if index < count])
    assert turned_green(inputs, after) == []


@pytest.mark.parametrize("field", [*ROWS[:3], "broker_marks", "coverage", "protections"])
@pytest.mark.parametrize("base", range(7))
def test_evaluate_when_any_single_row_is_deleted_then_no_light_turns_green(
    base: int, field: str
) -> None:
    inputs = bases()[base]
    for index in range(size(inputs, field)):
        assert turned_green(inputs, without(inputs, field, [index])) == []


@pytest.mark.parametrize("field", ROWS)
def test_evaluate_when_a_whole_table_is_deleted_then_no_light_turns_green(field: str) -> None:
    for inputs in bases():
        after = without(inputs, field, range(size(inputs, field)))
        assert turned_green(inputs, after) == []


def test_bases_when_evaluated_then_each_kind_of_red_occurs() -> None:
    # The properties above say nothing unless there is something to turn green.
    reds = {c.name for i in bases() for c in evaluate(i, POLICY).criteria if c.state is RED}
    assert {"win_rate", "sharpe", "drawdown", "stop_coverage", "uptime"} <= reds


# -- policy and JSON


@pytest.mark.parametrize("field", list(fields(ReadinessPolicy)), ids=lambda field: field.name)
def test_policy_when_a_threshold_is_looser_than_the_seeds_then_refused(field: Any) -> None:
    is_ceiling = field.name.startswith("max_") or field.name == "alpha"
    looser = field.default * (1.01 if is_ceiling else 0.99)
    stricter = field.default * (0.99 if is_ceiling else 1.01)
    with pytest.raises(ValueError, match=field.name):
        ReadinessPolicy(**{field.name: looser})
    assert getattr(ReadinessPolicy(**{field.name: stricter}), field.name) == stricter


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
def test_policy_when_a_threshold_is_no_number_then_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        ReadinessPolicy(alpha=bad)


TEXT = st.text(max_size=20)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = NUMBERS | st.builds(Unavailable, TEXT)
TIMES = st.datetimes(timezones=st.just(UTC))
CRITERIA = st.builds(
    Criterion,
    name=TEXT,
    title=TEXT,
    state=st.sampled_from(State),
    value=VALUES,
    threshold=st.none() | NUMBERS,
    unit=TEXT,
    sample_size=st.integers(0, 10**9),
    interval=st.none() | st.tuples(NUMBERS, NUMBERS),
    reason=TEXT,
    missing=st.lists(TEXT, max_size=3).map(tuple),
    since=st.none() | TIMES,
    figures=st.lists(
        st.builds(Figure, name=TEXT, value=VALUES, threshold=st.none() | NUMBERS, unit=TEXT),
        max_size=2,
    ).map(tuple),
)


@given(
    st.builds(
        Evaluation,
        at=TIMES,
        since=st.none() | TIMES,
        account_kind=st.none() | TEXT,
        account_number=st.none() | TEXT,
        source=st.none() | TEXT,
        is_synthetic=st.booleans(),
        fingerprint=st.none() | TEXT,
        criteria=st.lists(CRITERIA, max_size=3).map(tuple),
    )
)
def test_json_when_written_and_read_then_the_same(evaluation: Evaluation) -> None:
    text = json.dumps(to_json(evaluation), allow_nan=False)
    assert from_json(json.loads(text)) == evaluation
