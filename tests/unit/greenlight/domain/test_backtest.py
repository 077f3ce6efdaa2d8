"""The fills, costs and corporate actions of the backtest, worked out by hand."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlight.domain.backtest import BacktestResult
from greenlight.domain.backtest_fills import CostTerms
from greenlight.domain.market import Unavailable
from greenlight.domain.trades import Trade
from tests.backtest_cases import FREE, GAP, NEVER, Ohlc, Wish, traded

FLAT: Ohlc = (100.0, 100.0, 100.0, 100.0)


def one(result: BacktestResult) -> Trade:
    (trade,) = result.trades
    return trade


def bars(*rows: Ohlc) -> list[Ohlc]:
    """A first bar at 100, at whose end the wish is known, and these."""
    return [FLAT, *rows]


# -- entries


def test_entry_when_wished_at_a_bars_end_then_fills_at_the_next_open() -> None:
    result = traded(bars((101.0, 103.0, 99.0, 102.0), FLAT), want=[Wish(bar=0)])
    trade = one(result)
    assert (trade.qty, trade.entry_price) == (100, 101)
    assert trade.opened_at.isoformat() == "2013-10-08T13:30:00+00:00"
    # Marked at the close of 102: 100,000 + 100 shares x $1.
    assert result.marks.equity_usd.tolist() == [100_000, 100_100, 99_900]


def test_entry_when_no_bar_follows_then_not_judged() -> None:
    result = traded([FLAT, FLAT], want=[Wish(bar=1)])
    assert (result.trades, result.judged, result.refusals) == ((), (), {})


def test_entry_when_the_symbol_has_no_next_bar_then_refused_for_want_of_a_quote() -> None:
    result = traded([FLAT, GAP, FLAT], want=[Wish(bar=0)])
    assert result.trades == ()
    assert result.refusals["fresh_quote"] == 1


def test_entry_when_cash_is_short_then_refused() -> None:
    result = traded(bars(FLAT), want=[Wish(bar=0)], start_cash_usd=9_999.0)
    assert result.refusals == {"buying_power": 1}


def test_entry_when_already_held_then_refused() -> None:
    result = traded(bars(FLAT, FLAT, FLAT), want=[Wish(bar=0), Wish(bar=1)])
    assert result.refusals == {"one_position_a_symbol": 1}
    assert len(result.trades) == 1


# -- stops and targets


def test_stop_when_the_low_reaches_it_then_fills_at_the_stop() -> None:
    result = traded(bars(FLAT, (97.0, 98.0, 95.0, 96.0)), want=[Wish(bar=0)])
    assert one(result).exit_reason == "stop"
    assert one(result).exit_price == 95
    assert one(result).pnl_usd == -500


def test_stop_when_the_low_stays_a_cent_above_then_held() -> None:
    result = traded(bars(FLAT, (97.0, 98.0, 95.01, 96.0)), want=[Wish(bar=0)])
    assert one(result).exit_reason == "end"


def test_stop_when_the_bar_gaps_below_it_then_fills_at_the_open() -> None:
    result = traded(bars(FLAT, (90.0, 99.0, 89.0, 98.0)), want=[Wish(bar=0)])
    assert (one(result).exit_reason, one(result).exit_price) == ("stop", 90)


def test_stop_when_hit_in_the_entrys_own_bar_then_fills_there() -> None:
    result = traded(bars((100.0, 101.0, 94.0, 100.0), FLAT), want=[Wish(bar=0)])
    trade = one(result)
    assert (trade.exit_reason, trade.exit_price) == ("stop", 95)
    assert trade.opened_at.date() == trade.closed_at.date()


def test_target_when_the_high_reaches_it_then_fills_at_the_target() -> None:
    want = [Wish(bar=0, target_frac=0.10)]
    result = traded(bars(FLAT, (105.0, 112.0, 104.0, 111.0)), want=want)
    assert (one(result).exit_reason, one(result).exit_price) == ("target", 110)


def test_target_when_touched_under_a_spread_then_not_filled() -> None:
    costs = FREE._replace(half_spread_frac=0.0005)
    want = [Wish(bar=0, target_frac=0.10)]
    touched = traded(bars(FLAT, (105.0, 110.0, 104.0, 109.0)), want=want, costs=costs)
    assert one(touched).exit_reason == "end"
    # Prints at 110.06 show a bid of 110.005.
    through = traded(bars(FLAT, (105.0, 110.06, 104.0, 109.0)), want=want, costs=costs)
    assert (one(through).exit_reason, one(through).exit_price) == ("target", 110)


def test_target_when_the_bar_gaps_above_it_then_fills_at_the_open() -> None:
    want = [Wish(bar=0, target_frac=0.10)]
    result = traded(bars(FLAT, (115.0, 116.0, 114.0, 115.0)), want=want)
    assert (one(result).exit_reason, one(result).exit_price) == ("target", 115)


def test_exit_when_stop_and_target_lie_in_one_bar_then_the_stop_came_first() -> None:
    want = [Wish(bar=0, target_frac=0.10)]
    result = traded(bars(FLAT, (100.0, 112.0, 94.0, 111.0)), want=want)
    assert (one(result).exit_reason, one(result).exit_price) == ("stop", 95)


# -- time, signals, the end


def test_exit_when_time_is_up_then_leaves_at_that_bars_open() -> None:
    rows = bars(FLAT, FLAT, (102.0, 103.0, 101.0, 102.5), FLAT)
    result = traded(rows, want=[Wish(bar=0, hold=2)])
    assert (one(result).exit_reason, one(result).exit_price) == ("time", 102)


def test_exit_when_time_is_up_at_the_close_then_leaves_there() -> None:
    rows = bars(FLAT, FLAT, (102.0, 103.0, 101.0, 102.5), FLAT)
    result = traded(rows, want=[Wish(bar=0, hold=2)], is_left_at_open=False)
    assert (one(result).exit_reason, one(result).exit_price) == ("time", 102.5)
    assert one(result).closed_at.isoformat() == "2013-10-10T20:00:00+00:00"


def test_exit_when_time_is_up_in_a_hole_then_leaves_at_the_next_bar() -> None:
    rows = bars(FLAT, GAP, (102.0, 103.0, 101.0, 102.5), FLAT)
    result = traded(rows, want=[Wish(bar=0, hold=1)])
    assert (one(result).exit_reason, one(result).exit_price) == ("time", 102)


def test_exit_when_asked_for_at_a_close_then_leaves_at_the_next_open() -> None:
    rows = bars(FLAT, FLAT, (103.0, 104.0, 102.0, 103.0), FLAT)
    result = traded(rows, want=[Wish(bar=0)], leave=[(2, 0)])
    assert (one(result).exit_reason, one(result).exit_price) == ("signal", 103)


def test_entry_when_the_position_leaves_at_that_open_then_bought_again() -> None:
    rows = bars(FLAT, FLAT, FLAT, FLAT)
    result = traded(rows, want=[Wish(bar=0, hold=2), Wish(bar=2)])
    assert [trade.exit_reason for trade in result.trades] == ["time", "end"]


def test_entry_when_stopped_out_at_that_open_then_not_bought_again() -> None:
    rows = bars(FLAT, FLAT, (90.0, 91.0, 89.0, 90.0), FLAT)
    result = traded(rows, want=[Wish(bar=0), Wish(bar=2)])
    assert [trade.exit_reason for trade in result.trades] == ["stop"]
    assert result.refusals == {"one_position_a_symbol": 1}


def test_position_when_the_last_bar_closes_then_sold_at_its_close() -> None:
    result = traded(bars(FLAT, (100.0, 105.0, 99.0, 104.0)), want=[Wish(bar=0)])
    assert (one(result).exit_reason, one(result).exit_price) == ("end", 104)
    assert result.cash_usd[-1] == 100_400
    assert result.exposure_usd[-1] == 0


def test_position_when_its_symbols_history_ends_then_sold_at_its_last_close() -> None:
    other = [FLAT] * 5
    rows = [FLAT, FLAT, (100.0, 105.0, 99.0, 104.0), GAP, GAP]
    result = traded(rows, other, want=[Wish(bar=0)])
    assert (one(result).exit_reason, one(result).exit_price) == ("end", 104)
    assert one(result).closed_at.isoformat() == "2013-10-09T20:00:00+00:00"


def test_position_when_its_symbol_has_no_bar_then_marked_at_the_last_close() -> None:
    rows = [FLAT, (100.0, 103.0, 99.0, 102.0), GAP, FLAT]
    result = traded(rows, want=[Wish(bar=0)])
    assert result.marks.equity_usd.tolist() == [100_000, 100_200, 100_200, 100_000]


# -- costs


def test_costs_when_all_are_charged_then_as_counted_by_hand() -> None:
    costs = CostTerms(
        half_spread_frac=0.001,
        slippage_frac=0.002,
        commission_frac=0.0005,
        commission_usd_a_share=0.01,
        is_regulated=True,
    )
    result = traded(bars(FLAT, FLAT, FLAT), want=[Wish(bar=0, hold=1)], costs=costs)
    trade = one(result)
    # Bought at 100 x 1.001 x 1.002, sold at 100 x 0.999 x 0.998.
    assert float(trade.entry_price) == pytest.approx(100.3002)
    assert float(trade.exit_price) == pytest.approx(99.7002)
    # 5 bps of 10,030.02 and of 9,970.02, a cent for each of 200 shares, SEC's 17.40 a
    # million of 9,970.02 (18 cents) and FINRA's 0.000119 x 100 (2 cents).
    assert float(trade.fees_usd) == pytest.approx(5.01501 + 4.98501 + 2.0 + 0.18 + 0.02)
    assert result.cash_usd[-1] == pytest.approx(100_000 - 60.0 - 12.20002)
    assert result.traded_usd == pytest.approx(10_030.02 + 9_970.02)


def test_stop_when_it_slips_then_fills_below_it() -> None:
    costs = FREE._replace(slippage_frac=0.01)
    result = traded(bars(FLAT, (97.0, 98.0, 94.0, 96.0)), want=[Wish(bar=0)], costs=costs)
    assert float(one(result).exit_price) == pytest.approx(94.05)


# -- splits and dividends


def test_dividend_when_held_at_the_close_before_then_paid_in_cash() -> None:
    rows = bars(FLAT, FLAT)
    result = traded(rows, want=[Wish(bar=0)], actions=[(2, 0, 0.0, 0.53)])
    assert result.dividends_usd == pytest.approx(53.0)
    assert result.cash_usd[-1] == pytest.approx(100_053.0)
    assert one(result).pnl_usd == 0


def test_dividend_when_bought_on_its_ex_date_then_not_paid() -> None:
    result = traded(bars(FLAT, FLAT), want=[Wish(bar=0)], actions=[(1, 0, 0.0, 0.53)])
    assert result.dividends_usd == 0


def test_split_when_held_then_shares_stop_and_target_follow() -> None:
    half = (50.0, 50.0, 50.0, 50.0)
    rows = bars(FLAT, half, (49.0, 49.5, 47.0, 48.0))
    result = traded(rows, want=[Wish(bar=0)], actions=[(2, 0, 2.0, 0.0)])
    trade = one(result)
    # 200 shares at the stop of 95 / 2.
    assert (trade.exit_reason, trade.exit_price) == ("stop", Decimal("47.5"))
    assert (trade.qty, trade.pnl_usd) == (100, -500)
    assert result.marks.equity_usd.tolist() == [100_000, 100_000, 100_000, 99_500]


def test_split_when_a_fraction_is_left_then_paid_in_cash() -> None:
    third = (300.0, 300.0, 300.0, 300.0)
    rows = bars(FLAT, third, third)
    result = traded(rows, want=[Wish(bar=0)], actions=[(2, 0, 1 / 3, 0.0)])
    # 33 shares at 300 and a third of one: nothing is won or lost.
    assert float(one(result).pnl_usd) == pytest.approx(0.0, abs=1e-6)
    assert result.cash_usd[2] == pytest.approx(90_000 + 100.0)
    assert result.cash_usd[-1] == pytest.approx(100_000.0)


def test_split_when_no_whole_share_is_left_then_paid_out() -> None:
    rows = bars(FLAT, (20_000.0, 20_000.0, 20_000.0, 20_000.0))
    result = traded(rows, want=[Wish(bar=0)], actions=[(2, 0, 1 / 200, 0.0)])
    assert one(result).exit_reason == "split"
    assert result.cash_usd[-1] == pytest.approx(100_000.0)


def test_dividend_and_split_when_on_one_day_then_the_dividend_is_for_old_shares() -> None:
    half = (50.0, 50.0, 50.0, 50.0)
    actions = [(2, 0, 0.0, 1.0), (2, 0, 2.0, 0.0)]
    result = traded(bars(FLAT, half), want=[Wish(bar=0)], actions=actions)
    assert result.dividends_usd == 100


# -- resting entries of minutes

MINUTES = {"is_judged_at_open": False, "fixed_qty": 0, "bars_a_session": 10}


def rested(*rows: Ohlc, **changes: object) -> BacktestResult:
    """A wish at 100 in the first minute: a limit of 100.05, never above 100.25."""
    found = [FLAT, *rows]
    found += [rows[-1]] * (10 - len(found))
    want = [Wish(bar=0, target_frac=0.05)]
    return traded(found, want=want, **{**MINUTES, **changes})  # type: ignore[arg-type]


def test_resting_entry_when_the_open_is_below_its_limit_then_fills_at_the_open() -> None:
    trade = one(rested((100.02, 100.02, 100.0, 100.0)))
    assert float(trade.entry_price) == pytest.approx(100.02)


def test_resting_entry_when_the_low_reaches_its_limit_then_fills_at_the_limit() -> None:
    trade = one(rested((100.1, 100.2, 100.05, 100.1)))
    assert float(trade.entry_price) == pytest.approx(100.05)


def test_resting_entry_when_the_low_stays_above_then_repriced_after_two_minutes() -> None:
    above = (100.1, 100.12, 100.08, 100.1)
    result = rested(above, above, above)
    # At the second close the ask is 100.10: a new limit of 100.16, met by the third open.
    assert float(one(result).entry_price) == pytest.approx(100.1)
    assert one(result).opened_at.minute == 33


def test_resting_entry_when_the_ask_runs_away_then_never_filled() -> None:
    result = rested((101.0, 101.2, 100.9, 101.0))
    assert (result.trades, result.unfilled, result.refusals) == ((), 1, {})


def test_resting_entry_when_filled_inside_a_bar_then_stopped_but_not_at_its_target() -> None:
    stopped = one(rested((100.1, 106.0, 94.0, 100.0)))
    assert (float(stopped.entry_price), stopped.exit_price) == (pytest.approx(100.05), 95)
    lucky = one(rested((100.1, 106.0, 100.0, 100.0), FLAT))
    assert lucky.exit_reason == "end"


def test_result_when_an_idle_symbol_stands_beside_then_the_same() -> None:
    """What one symbol alone passes over in one go comes to the same bar by bar."""
    rng = np.random.default_rng(11)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0, 0.01, size=400)))
    rows = [(c, c * 1.01, c * 0.99, c) for c in close.tolist()]
    want = [Wish(bar=i, hold=30, reference=rows[i][3]) for i in range(0, 399, 3)]
    leave = [(i, 0) for i in range(50, 399, 50)]
    alone = traded(rows, want=want, leave=leave)
    beside = traded(rows, [FLAT] * 400, want=want, leave=leave)
    assert len(alone.trades) > 10
    assert alone.trades == beside.trades
    assert alone.judged == beside.judged
    assert alone.marks.equity_usd.tolist() == beside.marks.equity_usd.tolist()


# -- properties


@st.composite
def histories(draw: st.DrawFn) -> list[Ohlc]:
    price, rows = 100.0, []
    for _ in range(draw(st.integers(3, 40))):
        if draw(st.booleans()) and draw(st.booleans()):
            rows.append(GAP)
            continue
        opened = price * draw(st.floats(0.85, 1.15))
        close = opened * draw(st.floats(0.9, 1.1))
        high = max(opened, close) * draw(st.floats(1.0, 1.1))
        low = min(opened, close) * draw(st.floats(0.9, 1.0))
        rows.append((opened, high, low, close))
        price = close
    if math.isnan(rows[-1][0]):
        rows.append(FLAT)
    return rows


WISHES = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.integers(1, 5),
        st.sampled_from([0, 1, 3, NEVER]),
        st.floats(0.01, 0.05),
        st.floats(0.02, 0.3),
    ),
    max_size=12,
)
COSTS = st.builds(
    CostTerms,
    half_spread_frac=st.floats(0.0, 0.005),
    slippage_frac=st.floats(0.0, 0.005),
    commission_frac=st.floats(0.0, 0.001),
    commission_usd_a_share=st.floats(0.0, 0.01),
    is_regulated=st.booleans(),
)


@settings(deadline=None, max_examples=200)
@given(
    rows=histories(),
    drawn=WISHES,
    costs=COSTS,
    is_sized=st.booleans(),
    is_minutes=st.booleans(),
    ratio=st.sampled_from([0.0, 2.0, 0.5, 1.5]),
)
def test_account_when_anything_is_drawn_then_adds_up_and_fills_lie_in_the_bars(
    rows: list[Ohlc],
    drawn: list[tuple[int, int, int, float, float]],
    costs: CostTerms,
    is_sized: bool,
    is_minutes: bool,
    ratio: float,
) -> None:
    want = sorted(
        (
            Wish(bar=bar, confidence=confidence, hold=hold, stop_frac=stop, target_frac=target)
            for bar, confidence, hold, stop, target in drawn
            if bar < len(rows) and not math.isnan(rows[bar][3])
        ),
        key=lambda wish: wish.bar,
    )
    want = [
        Wish(
            **{name: getattr(wish, name) for name in Wish.__slots__}
            | {"reference": rows[wish.bar][3]}
        )
        for wish in want
    ]
    action = [(len(rows) // 2, 0, ratio, 0.5)]
    result = traded(
        rows,
        want=want,
        costs=costs,
        actions=action,
        fixed_qty=0 if is_sized else 50,
        is_judged_at_open=not is_minutes,
        bars_a_session=5 if is_minutes else 1,
    )
    equity, cash = result.marks.equity_usd, result.cash_usd
    # Cash and holdings are equity, nothing is short, and the cash is never overdrawn
    # by more than what one order's slippage and commission may come to.
    np.testing.assert_allclose(cash + result.exposure_usd, equity, rtol=1e-12)
    assert (result.exposure_usd >= 0).all()
    assert cash.min() >= -1000.0
    # All is sold at the end: the trades and the dividends are the whole gain.
    gain = sum(float(trade.net_usd) for trade in result.trades) + result.dividends_usd
    assert equity[-1] - 100_000 == pytest.approx(gain, abs=1e-4)
    at = {int(second): i for i, second in enumerate(np.unique(_starts(result, is_minutes, rows)))}
    bid = (1 - costs.half_spread_frac) * (1 - costs.slippage_frac)
    ask = (1 + costs.half_spread_frac) * (1 + costs.slippage_frac)
    for trade in result.trades:
        assert trade.qty >= 1
        assert trade.opened_at <= trade.closed_at
        row = rows[at[int(trade.opened_at.timestamp())]]
        assert row[2] * (1 - 1e-9) <= float(trade.entry_price) <= row[1] * ask * (1 + 1e-9)
        left = rows[_end(result, trade)]
        if trade.exit_reason != "split" and ratio == 0.0 and not math.isnan(left[0]):
            low, high = left[2] * bid * (1 - 1e-9), left[1] * (1 + 1e-9)
            assert low <= float(trade.exit_price) <= high


def _starts(result: BacktestResult, is_minutes: bool, rows: list[Ohlc]) -> list[int]:
    ends = result.marks.at_s.tolist()
    if is_minutes:
        return [end - 60 for end in ends]
    # Every session opens at 9:30 New York.
    return [end - (390 if _is_full(end) else 210) * 60 for end in ends]


def _is_full(end_s: int) -> bool:
    return (end_s // 3600) % 24 in (20, 21)


def _end(result: BacktestResult, trade: Trade) -> int:
    return int(np.searchsorted(result.marks.at_s, int(trade.closed_at.timestamp())))


# -- reports


def test_groups_when_two_strategies_traded_two_sectors_then_each_has_its_own() -> None:
    up = (100.0, 110.0, 100.0, 110.0)
    result = traded(
        bars(FLAT, up),
        bars(FLAT, FLAT),
        want=[Wish(bar=0, strategy=1), Wish(bar=0, symbol=1)],
        sectors=("one", "two"),
    )
    assert result.by_strategy["b"].net_usd == 1000
    assert result.by_strategy["b"].wins == 1
    assert result.by_sector["two"].net_usd == 0
    assert result.by_sector["two"].win_rate_frac == 0
    assert isinstance(result.by_sector["one"].profit_factor, Unavailable)


def test_months_when_one_has_no_trade_then_left_out_of_the_mean_and_told_apart() -> None:
    # October 2013 from the 7th on has 19 sessions, November 20.
    up = (100.0, 110.0, 100.0, 110.0)
    rows = [FLAT, FLAT, up, *[(110.0, 110.0, 110.0, 110.0)] * 40]
    result = traded(rows, want=[Wish(bar=0, hold=2)])
    months = [(m.month, round(m.return_frac, 6), m.trades, m.is_traded) for m in result.by_month]
    assert months == [(10, 0.01, 1, True), (11, 0.0, 0, False), (12, 0.0, 0, False)]
    assert result.mean_month_frac == pytest.approx(0.01)
    assert result.return_frac == pytest.approx(0.01)


def test_simulate_when_the_window_is_empty_then_raises() -> None:
    with pytest.raises(ValueError, match="bars 2 to 2 of 2"):
        traded([FLAT, FLAT], want=[], first=2)
