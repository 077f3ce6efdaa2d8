from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain import metrics
from greenlight.domain.market import Unavailable, session_on, sessions_between
from greenlight.domain.metrics import EquitySeries
from greenlight.domain.positions import Position
from greenlight.domain.trades import Trade
from greenlight.ports import Coverage

GOLDEN = Path(__file__).parents[3] / "golden" / "metrics.csv"
OPENED = datetime(2013, 10, 7, 14, 0, tzinfo=UTC)


def golden(figure: str) -> list[Any]:
    with GOLDEN.open(newline="") as file:
        return [
            pytest.param(json.loads(row["given"]), json.loads(row["answer"]))
            for row in csv.DictReader(file)
            if row["figure"] == figure
        ]


def series(*equity: float) -> EquitySeries:
    return EquitySeries(
        at_s=np.arange(len(equity), dtype=np.int64) * 60, equity_usd=np.array(equity, dtype=float)
    )


def trade(net_usd: str, *, fees: str = "0") -> Trade:
    return Trade(
        position_id=f"p{net_usd}",
        symbol="IBM",
        strategy="a",
        qty=10,
        entry_price=Decimal(100),
        exit_price=Decimal(100),
        opened_at=OPENED,
        closed_at=OPENED,
        pnl_usd=Decimal(net_usd) + Decimal(fees),
        fees_usd=Decimal(fees),
        haircut_usd=Decimal(0),
        exit_reason="stop",
    )


def position(*, closed_after_s: float | None = None) -> Position:
    return Position(
        position_id="p1",
        symbol="IBM",
        strategy="a",
        qty=100 if closed_after_s is None else 0,
        cost_usd=Decimal(10_000),
        realized_usd=Decimal(0),
        stop_price=Decimal(95),
        target_price=Decimal(105),
        opened_at=OPENED,
        exit_by=OPENED + timedelta(days=3),
        closed_at=None if closed_after_s is None else OPENED + timedelta(seconds=closed_after_s),
    )


def reading(after_s: float, covered: int, *, size: int = 100) -> Coverage:
    return Coverage(
        position_id="p1",
        symbol="IBM",
        at=OPENED + timedelta(seconds=after_s),
        position_qty=size,
        covered_qty=covered,
    )


def gaps_s(
    held: Position, *readings: Coverage, start_s: float = -60, end_s: float = 1000
) -> list[tuple[float, float]]:
    found = metrics.coverage_gaps(
        [held],
        readings,
        OPENED + timedelta(seconds=start_s),
        OPENED + timedelta(seconds=end_s),
    )
    return [
        ((gap.start - OPENED).total_seconds(), (gap.end - OPENED).total_seconds()) for gap in found
    ]


@pytest.mark.parametrize(("given_", "answer"), golden("wilson"))
def test_wilson_interval_when_compared_with_statsmodels_then_equal(
    given_: list[int], answer: list[float]
) -> None:
    assert metrics.wilson_interval(*given_) == pytest.approx(answer, abs=1e-12)


@pytest.mark.parametrize(("given_", "answer"), golden("sharpe"))
def test_sharpe_when_compared_with_pandas_then_equal(given_: list[float], answer: float) -> None:
    sessions = [s.day for s in sessions_between(date(2010, 1, 4), date(2014, 12, 31))]
    days = sessions[: len(given_)]
    returns = metrics.daily_returns(dict(zip(days, given_, strict=True)), days)
    assert metrics.sharpe_ann(returns.values) == pytest.approx(answer, rel=1e-9)


@pytest.mark.parametrize(("given_", "answer"), golden("drawdown"))
def test_drawdown_when_compared_with_pandas_then_equal(given_: list[float], answer: float) -> None:
    found = metrics.max_drawdown(series(*given_))
    assert not isinstance(found, Unavailable)
    assert found.frac == pytest.approx(answer, abs=1e-12)


def test_drawdown_when_equity_falls_and_recovers_then_names_peak_and_trough() -> None:
    found = metrics.max_drawdown(series(100, 120, 90, 130, 117))
    assert found == metrics.Drawdown(frac=0.25, peak_s=60, trough_s=120)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -5.0])
def test_drawdown_when_a_mark_is_no_money_then_unavailable(bad: float) -> None:
    assert isinstance(metrics.max_drawdown(series(100, bad, 99)), Unavailable)


def test_drawdown_when_there_is_no_mark_then_unavailable() -> None:
    assert isinstance(metrics.max_drawdown(metrics.EMPTY_SERIES), Unavailable)


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=50), st.floats(0.01, 100))
def test_drawdown_when_equity_is_scaled_then_unchanged(equity: list[float], by: float) -> None:
    one, other = (metrics.max_drawdown(series(*e)) for e in (equity, [x * by for x in equity]))
    assert not isinstance(one, Unavailable)
    assert not isinstance(other, Unavailable)
    assert 0 <= one.frac < 1
    assert other.frac == pytest.approx(one.frac, abs=1e-9)


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=50), st.floats(1, 1e6))
def test_drawdown_when_a_mark_is_added_then_never_smaller(equity: list[float], new: float) -> None:
    before, after = (
        metrics.max_drawdown(series(*equity)),
        metrics.max_drawdown(series(*equity, new)),
    )
    assert not isinstance(before, Unavailable)
    assert not isinstance(after, Unavailable)
    assert after.frac >= before.frac


def test_daily_returns_when_a_close_is_missing_then_a_gap_and_no_zero() -> None:
    days = [date(2013, 10, d) for d in (7, 8, 9, 10)]
    found = metrics.daily_returns({days[0]: 100, days[1]: 110, days[3]: 99}, days)
    assert found.days == (days[1],)
    assert found.values == pytest.approx((0.1,))
    assert found.missing == (days[2],)


@pytest.mark.parametrize("bad", [math.nan, 0.0, -1.0, math.inf])
def test_daily_returns_when_a_close_is_no_money_then_missing(bad: float) -> None:
    days = [date(2013, 10, d) for d in (7, 8)]
    found = metrics.daily_returns({days[0]: bad, days[1]: 110}, days)
    assert found.values == ()
    assert found.missing == (days[0],)


# -- what the owner moves


def test_daily_returns_when_the_owner_moved_money_then_as_by_hand() -> None:
    days = [date(2013, 10, d) for d in (7, 8, 9, 10)]
    closes = dict(zip(days, [100_000.0, 151_000.0, 151_000.0, 9_960.0], strict=True))
    moved = dict(zip(days, [0.0, 50_000.0, 50_000.0, -91_000.0], strict=True))
    # 50,000 came and 1,000 was earned; 141,000 went and 40 was lost.
    found = metrics.daily_returns(closes, days, moved)
    assert found.values == pytest.approx((0.01, 0.0, -40 / 151_000))


def test_drawdown_when_the_owner_moved_money_then_only_losses_count() -> None:
    marks = EquitySeries(
        at_s=np.arange(5, dtype=np.int64),
        equity_usd=np.array([100.0, 110.0, 60.0, 54.0, 1055.0]),
        transfers_usd=np.array([7.0, 7.0, -43.0, -43.0, 957.0]),
    )
    # 50 went at 110; then a tenth was lost; then 1,000 came and 1 was gained.
    found = metrics.max_drawdown(marks)
    assert isinstance(found, metrics.Drawdown)
    assert found.frac == pytest.approx(0.10)
    assert (found.peak_s, found.trough_s) == (1, 3)


def test_drawdown_when_everything_was_withdrawn_then_unavailable() -> None:
    marks = EquitySeries(
        at_s=np.arange(3, dtype=np.int64),
        equity_usd=np.array([100.0, 0.0, 100.0]),
        transfers_usd=np.array([0.0, -100.0, 0.0]),
    )
    assert isinstance(metrics.max_drawdown(marks), Unavailable)


def test_without_transfers_when_there_were_none_then_the_same_numbers() -> None:
    marks = series(100, 120, 90.1)
    same = metrics.without_transfers(metrics.merged(marks, metrics.EMPTY_SERIES))
    assert np.array_equal(same.equity_usd, marks.equity_usd)


moves = st.floats(-0.2, 0.2)
transfers = st.floats(-0.9, 20)
"""A transfer as a share of equity before it: nearly everything out, twenty times as much in."""


def lived(story: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Equity after each return with a transfer at its end, and what was moved until then."""
    equity, moved = [100_000.0], [0.0]
    for change, share in story:
        earned = equity[-1] * (1 + change)
        equity.append(earned * (1 + share))
        moved.append(moved[-1] + earned * share)
    return equity, moved


@given(st.lists(st.tuples(moves, transfers), min_size=1, max_size=20))
def test_returns_when_money_moves_at_any_time_then_as_without(
    story: list[tuple[float, float]],
) -> None:
    equity, moved = lived(story)
    days = [s.day for s in sessions_between(date(2010, 1, 4), date(2010, 3, 1))][: len(equity)]
    found = metrics.daily_returns(
        dict(zip(days, equity, strict=True)), days, dict(zip(days, moved, strict=True))
    )
    scale = max(1.0, max(map(abs, moved)) / min(equity))
    assert found.values == pytest.approx([change for change, _ in story], abs=1e-12 * scale)


@given(st.lists(st.tuples(moves, transfers), min_size=1, max_size=20))
def test_drawdown_when_money_moves_at_any_time_then_as_without(
    story: list[tuple[float, float]],
) -> None:
    equity, moved = lived(story)
    plain, _ = lived([(change, 0.0) for change, _ in story])
    marks = replace(series(*equity), transfers_usd=np.array(moved))
    found, without = metrics.max_drawdown(marks), metrics.max_drawdown(series(*plain))
    assert isinstance(found, metrics.Drawdown)
    assert isinstance(without, metrics.Drawdown)
    scale = max(1.0, max(map(abs, moved)) / min(equity))
    assert found.frac == pytest.approx(without.frac, abs=1e-10 * scale)


@pytest.mark.parametrize("returns", [[], [0.01], [0.01, 0.01, 0.01], [0.0, 0.0]])
def test_sharpe_when_returns_do_not_vary_then_unavailable(returns: list[float]) -> None:
    assert isinstance(metrics.sharpe_ann(returns), Unavailable)


def test_sharpe_interval_when_computed_by_hand_then_equal() -> None:
    # Daily ratio 0.1, n = 252: error sqrt(1.005 / 252) a day, 1.0024969 a year.
    low, high = metrics.sharpe_interval(0.1 * math.sqrt(252), 252)
    assert (high - low) / 2 == pytest.approx(1.959964 * 1.0024969, abs=1e-5)
    assert (high + low) / 2 == pytest.approx(1.5874508, abs=1e-6)


def test_win_rate_when_a_trade_breaks_even_or_only_pays_fees_then_no_win() -> None:
    found = metrics.win_rate([trade("5"), trade("0"), trade("-1", fees="3"), trade("-7")])
    assert not isinstance(found, Unavailable)
    assert (found.wins, found.trades, found.frac) == (1, 4, 0.25)


def test_profit_factor_when_there_are_both_then_ratio_after_fees() -> None:
    assert metrics.profit_factor([trade("30", fees="2"), trade("15"), trade("-20")]) == 2.25


@pytest.mark.parametrize("nets", [[], ["5", "0"]])
def test_profit_factor_when_nothing_was_lost_then_unavailable(nets: list[str]) -> None:
    assert isinstance(metrics.profit_factor([trade(net) for net in nets]), Unavailable)


def test_win_rate_when_there_is_no_trade_then_unavailable() -> None:
    assert isinstance(metrics.win_rate([]), Unavailable)


@pytest.mark.parametrize(("wins", "trials"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_interval_when_counts_are_impossible_then_raises(wins: int, trials: int) -> None:
    with pytest.raises(ValueError, match="wins of"):
        metrics.wilson_interval(wins, trials)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_when_any_counts_then_holds_the_share(counts: tuple[int, int]) -> None:
    low, high = metrics.wilson_interval(*counts)
    assert 0 <= low <= counts[0] / counts[1] + 1e-12
    assert counts[0] / counts[1] - 1e-12 <= high <= 1


def beats(day: date, minutes: range) -> list[int]:
    session = session_on(day)
    assert session is not None
    return [int(session.open.timestamp()) // 60 + index for index in minutes]


def test_uptime_when_a_half_day_lacks_minutes_then_its_210_count() -> None:
    # The day after Thanksgiving closes at 13:00; the holiday itself has no minute.
    sessions = sessions_between(date(2013, 11, 28), date(2013, 11, 29))
    found = metrics.uptime(
        np.array(beats(date(2013, 11, 29), range(200))),
        sessions,
        datetime(2013, 11, 27, 23, tzinfo=UTC),
        datetime(2013, 11, 30, tzinfo=UTC),
    )
    assert found == metrics.Uptime(up=200, total=210)


def test_uptime_when_beats_lie_outside_the_session_then_they_count_for_nothing() -> None:
    sessions = sessions_between(date(2013, 10, 7), date(2013, 10, 7))
    found = metrics.uptime(
        np.array(
            beats(date(2013, 10, 7), range(-30, 10)) + beats(date(2013, 10, 7), range(390, 420))
        ),
        sessions,
        sessions[0].open - timedelta(days=1),
        sessions[0].close + timedelta(days=1),
    )
    assert found == metrics.Uptime(up=10, total=390)


def test_uptime_when_the_window_cuts_a_session_then_whole_minutes_inside_count() -> None:
    sessions = sessions_between(date(2013, 10, 7), date(2013, 10, 7))
    found = metrics.uptime(
        np.array(beats(date(2013, 10, 7), range(390))),
        sessions,
        sessions[0].open + timedelta(minutes=9, seconds=30),
        sessions[0].open + timedelta(minutes=20, seconds=59),
    )
    assert found == metrics.Uptime(up=10, total=10)


def test_uptime_when_no_session_lies_in_the_window_then_unavailable() -> None:
    saturday = datetime(2013, 10, 5, tzinfo=UTC)
    assert isinstance(
        metrics.uptime(np.array([], dtype=np.int64), [], saturday, saturday + timedelta(days=1)),
        Unavailable,
    )


@pytest.mark.parametrize(("count", "is_seen"), [(370, False), (371, True)])
def test_sessions_observed_when_95_percent_of_390_minutes_then_counts(
    count: int, is_seen: bool
) -> None:
    # 0.95 * 390 = 370.5
    day = date(2013, 10, 7)
    found = metrics.sessions_observed(
        np.array(beats(day, range(count))), sessions_between(day, day), 0.95
    )
    assert found == ((day,) if is_seen else ())


def test_coverage_gaps_when_there_is_no_reading_then_one_gap_from_the_opening() -> None:
    assert gaps_s(position()) == [(0, 1000)]
    assert gaps_s(position(closed_after_s=40)) == [(0, 40)]


def test_coverage_gaps_when_covered_late_and_lost_between_then_both_are_named() -> None:
    held = position(closed_after_s=500)
    found = gaps_s(held, reading(2, 100), reading(60, 40), reading(67, 0), reading(75, 100))
    assert found == [(0, 2), (60, 75)]


def test_coverage_gaps_when_the_stop_is_lost_for_good_then_open_until_the_close() -> None:
    found = gaps_s(position(closed_after_s=500), reading(0, 100), reading(90, 0))
    assert found == [(90, 500)]


def test_coverage_gaps_when_readings_precede_the_window_then_they_give_its_start() -> None:
    assert gaps_s(position(), reading(0, 100), start_s=500) == []
    assert gaps_s(position(), reading(0, 99), start_s=500) == [(500, 1000)]


def test_coverage_gaps_when_position_grows_then_each_reading_has_its_own_size() -> None:
    found = gaps_s(position(), reading(0, 60, size=60), reading(10, 60), reading(13, 100))
    assert found == [(10, 13)]


@given(st.lists(st.tuples(st.floats(0, 900), st.sampled_from([0, 50, 100])), max_size=12))
def test_coverage_gaps_when_any_readings_then_disjoint_and_inside_the_window(
    events: list[tuple[float, int]],
) -> None:
    found = gaps_s(position(), *(reading(at, covered) for at, covered in sorted(events)))
    for before, after in pairwise(found):
        assert before[1] <= after[0]
    assert all(0 <= start < end <= 1000 for start, end in found)


@given(
    st.lists(
        st.tuples(st.integers(0, 900), st.sampled_from([0, 50, 100])), min_size=1, max_size=12
    ),
    st.data(),
)
def test_coverage_gaps_when_a_whole_reading_is_deleted_then_never_less_uncovered(
    events: list[tuple[int, int]], data: st.DataObject
) -> None:
    readings = [reading(at, covered) for at, covered in sorted(events)]
    lost = data.draw(st.integers(0, len(readings) - 1))
    if readings[lost].covered_qty < 100:
        readings[lost] = reading(events[lost][0], 100)
        readings.sort(key=lambda row: row.at)
        lost = next(i for i, row in enumerate(readings) if row.covered_qty == 100)
    kept = [row for index, row in enumerate(readings) if index != lost]
    before, after = (sum(e - s for s, e in gaps_s(position(), *rows)) for rows in (readings, kept))
    assert after >= before
