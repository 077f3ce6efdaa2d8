"""Strategy C buys the first break above the opening range, once a session, with volume and time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from greenlight.adapters.history_lean import open_lean
from greenlight.domain.market import Bar, Session, session_on
from greenlight.domain.opening_range import OpeningRange, opening_range_signals
from greenlight.domain.sentiment import unread
from greenlight.domain.signals import Missed, Signal
from tests.shared_data import lean_root

STRATEGY = OpeningRange(period=2)
# A range of 99 to 101 at 1,000 shares a minute.
WIDE = (101.0, 99.0)


def session(day: date = date(2013, 10, 7)) -> Session:
    found = session_on(day)
    assert found is not None
    return found


def bar(minute: int, close: float, volume: int = 1000, *, day: Session | None = None) -> Bar:
    start = (day or session()).open + timedelta(minutes=minute)
    high, low = WIDE if minute < 30 else (close, close)
    return Bar(
        symbol="AAPL",
        start=start,
        end=start + timedelta(minutes=1),
        open=close,
        high=high,
        low=low,
        close=close,
        volume=volume,
    )


def run(
    bars: list[Bar], strategy: OpeningRange = STRATEGY, state: np.ndarray | None = None
) -> list[Signal | Missed | None]:
    state = strategy.new_state() if state is None else state
    return [strategy.step(state, one, unread) for one in bars]


def opening(day: Session | None = None) -> list[Bar]:
    return [bar(minute, 100.0, day=day) for minute in range(30)]


def test_step_when_price_breaks_out_then_signal_with_stop_at_the_low_and_target() -> None:
    signal = run([*opening(), bar(30, 100.5), bar(31, 101.5)])[-1]
    assert isinstance(signal, Signal)
    # The range's low is 2.5 of 101.5 away; the target twice that.
    assert signal.stop_frac == pytest.approx(2.5 / 101.5, abs=1e-12)
    assert signal.target_frac == pytest.approx(5.0 / 101.5, abs=1e-12)
    assert signal.hold_sessions == 0
    assert signal.features["range_high"] == 101.0
    assert signal.features["range_low"] == 99.0
    assert signal.features["volume_ratio"] == 1.0
    # Thirty bars at (101 + 99 + 100) / 3, one at 100.5, one at 101.5, all of 1,000 shares.
    assert signal.features["vwap"] == pytest.approx((30 * 100 + 100.5 + 101.5) / 32, abs=1e-9)


@pytest.mark.parametrize(
    ("volume", "confidence"),
    [(999, None), (1000, 1), (1249, 1), (1250, 2), (1500, 3), (1750, 4), (2000, 5), (9000, 5)],
)
def test_step_when_breaking_volume_grows_then_confidence_by_quarters(
    volume: int, confidence: int | None
) -> None:
    signal = run([*opening(), bar(30, 101.5, volume)])[-1]
    assert (signal.confidence if isinstance(signal, Signal) else None) == confidence


def test_step_when_it_has_fired_then_not_again_before_the_next_session() -> None:
    first = [*opening(), bar(30, 101.5), bar(31, 100.5), bar(32, 101.6)]
    next_day = session(date(2013, 10, 8))
    second = [*opening(next_day), bar(30, 101.5, day=next_day)]
    fired = [s is not None for s in run([*first, *second])]
    assert [i for i, f in enumerate(fired) if f] == [30, len(first) + 30]


def test_step_when_the_close_before_was_above_already_then_no_break() -> None:
    weak = bar(30, 101.5, 500)
    assert not any(run([*opening(), weak, bar(31, 101.6, 5000)]))


@pytest.mark.parametrize(("minute", "fires"), [(299, True), (300, False)])
def test_step_when_the_day_is_late_then_no_entry_after_half_past_two(
    minute: int, fires: bool
) -> None:
    late = bar(minute, 101.5)
    # Minute 299 ends at 14:30 New York.
    assert (bar(299, 101.5).end == datetime(2013, 10, 7, 18, 30, tzinfo=UTC)) is True
    assert (run([*opening(), bar(minute - 1, 100.0), late])[-1] is not None) == fires


@pytest.mark.parametrize(("minute", "fires"), [(119, True), (120, False)])
def test_step_when_the_session_is_a_half_day_then_the_limit_moves_with_the_close(
    minute: int, fires: bool
) -> None:
    half = session(date(2013, 11, 29))
    assert half.minutes == 210
    bars = [*opening(half), bar(minute - 1, 100.0, day=half), bar(minute, 101.5, day=half)]
    assert (run(bars)[-1] is not None) == fires


def test_step_when_the_range_is_wide_then_the_stop_is_capped_at_five_percent() -> None:
    signal = run([*opening(), bar(30, 100.0), bar(31, 110.0)])[-1]
    assert isinstance(signal, Signal)
    assert (signal.stop_frac, signal.target_frac) == (0.05, 0.10)


def test_step_when_bar_lies_outside_the_session_then_nothing_changes() -> None:
    state = STRATEGY.new_state()
    run(opening(), state=state)
    before = state.copy()
    early, late = bar(-10, 150.0, 9999), bar(395, 150.0, 9999)
    assert run([early, late], state=state) == [None, None]
    np.testing.assert_array_equal(state, before)


@pytest.mark.shared_data
@pytest.mark.parametrize("symbol", ["IBM", "BAC", "SPY"])
def test_signals_when_real_minutes_in_bulk_then_those_of_bar_by_bar(symbol: str) -> None:
    lean, bars = open_lean(lean_root()), []
    for day in (date(2013, 10, 7), date(2013, 10, 8), date(2013, 10, 9)):
        found = lean.minute_trades(symbol, day)
        for minute, ohlc, volume in zip(found.minute, found.ohlc, found.volume, strict=True):
            offset = int(minute) - (9 * 60 + 30)
            if 0 <= offset < 390:
                start = session(day).open + timedelta(minutes=offset)
                o, h, lo, c = (float(price) for price in ohlc)
                bars.append(
                    Bar(
                        symbol=symbol,
                        start=start,
                        end=start + timedelta(minutes=1),
                        open=o,
                        high=h,
                        low=lo,
                        close=c,
                        volume=int(volume),
                    )
                )
    strategy = OpeningRange()
    one_by_one = [
        (s.confidence, s.atr_usd, s.stop_frac, s.target_frac)
        if isinstance(s, Signal)
        else (0.0,) * 4
        for s in run(bars, strategy)
    ]
    opens = [session(bar.start.date()).open for bar in bars]
    columns = (
        [bar.start.date().toordinal() for bar in bars],
        [
            (bar.start - opened).total_seconds() // 60
            for bar, opened in zip(bars, opens, strict=True)
        ],
        [390] * len(bars),
        [bar.high for bar in bars],
        [bar.low for bar in bars],
        [bar.close for bar in bars],
        [bar.volume for bar in bars],
    )
    arrays = [np.array(column, dtype=np.float64) for column in columns]
    bulk = opening_range_signals(*arrays, 14, 30, 1.0, 90, 2.0)
    assert 0 < (bulk[:, 0] > 0).sum() <= 3
    np.testing.assert_array_equal(bulk, np.array(one_by_one))
