"""The compiled chain against the live one, on drawn desks; and rules in the loop."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlight.domain import correlation, costs, risk
from greenlight.domain.backtest_fills import sale_fees, tick_nearest, tick_up
from greenlight.domain.backtest_rules import (
    RULES,
    Desk,
    compiled_limits,
    correlation_step,
    judge_step,
    refusing,
)
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.market import Unavailable
from greenlight.domain.orders import Side, round_price
from greenlight.domain.sizing import volatility_scale
from tests.backtest_cases import FREE, Ohlc, Wish, traded
from tests.risk_cases import DAYS, NOW, position, quote, signal, state

PRICES = st.one_of(
    st.integers(1, 50_000_00).map(lambda cents: cents / 100),
    st.floats(0.01, 50_000),
    st.integers(1, 10_000_000).map(lambda tenths: tenths / 1000),
)


def test_rules_when_named_then_the_chain_s_in_its_order() -> None:
    found = risk.judge(signal(), state(), RiskLimits())
    assert tuple(rule.rule for rule in found.rules) == RULES


@settings(deadline=None, max_examples=1000)
@given(price=PRICES)
def test_ticks_when_drawn_then_those_of_round_price(price: float) -> None:
    assert tick_up(price) == float(round_price(price, up=True))
    assert tick_nearest(price) == float(round_price(price))


@settings(deadline=None)
@given(qty=st.integers(1, 100_000), cents=st.integers(1, 1_000_000), day=st.dates())
def test_fees_when_drawn_then_those_of_the_tables(qty: int, cents: int, day) -> None:  # type: ignore[no-untyped-def]
    rates = costs.fee_rates(day)
    numbers = rates.sec_usd_per_million, rates.taf_usd_a_share, rates.taf_cap_usd
    found = sale_fees(qty, cents / 100, *map(float, numbers))
    exact = costs.regulatory_fees(Side.SELL, qty, Decimal(cents) / 100, day)
    assert found == pytest.approx(float(exact), abs=1e-9)


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(0, 90),
    holes=st.floats(0, 0.9),
    likeness=st.floats(-1, 1),
)
def test_correlation_when_drawn_then_the_live_one(
    seed: int, count: int, holes: float, likeness: float
) -> None:
    source = random.Random(seed)
    table = np.full((count + 1, 2), math.nan)
    for row in range(count):
        common = source.gauss(0, 0.02)
        for column in range(2):
            if source.random() >= holes:
                own = source.gauss(0, 0.02)
                table[row, column] = likeness * common + (1 - abs(likeness)) * own
    days = [DAYS[0] + timedelta(days=i) for i in range(count)]
    recent = range(max(0, count - 60), count)
    first, second = (
        {days[i]: float(table[i, c]) for i in recent if math.isfinite(table[i, c])}
        for c in range(2)
    )
    live = correlation.correlation(first, second)
    sound = np.ones((count + 1, 2), dtype=np.bool_)
    found = correlation_step(table, sound, count, 0, 1)
    if isinstance(live, Unavailable):
        assert found == math.inf
    else:
        assert found == pytest.approx(live.estimate, abs=1e-9)


EQUITIES = st.integers(-10_000, 300_000).map(Decimal)


@settings(deadline=None, max_examples=1500)
@given(data=st.data())
def test_verdict_when_a_desk_is_drawn_then_the_live_chain_s(data: st.DataObject) -> None:
    draw = data.draw
    limits = RiskLimits(
        base_risk_frac=draw(st.sampled_from([0.02, 0.01])),
        max_entries_a_minute=draw(st.integers(1, 4)),
        max_entries_an_hour=draw(st.integers(1, 6)),
    )
    ask = draw(st.sampled_from([0.5, 4.37, 20.2, 99.9, 100.0, 612.34]) | PRICES)
    spread = draw(st.sampled_from([0.0, 0.0005, 0.03]))
    bid = ask * (1 - spread)
    wanted = signal(
        confidence=draw(st.integers(1, 5)),
        atr_usd=draw(st.sampled_from([0.0, 2.0, 0.37]) | st.floats(0, 50)),
        stop_frac=draw(st.sampled_from([0.05, 0.002]) | st.floats(0.001, 0.05)),
        target_frac=draw(st.sampled_from([0.05, 0.001]) | st.floats(0.001, 0.2)),
        reference_price=ask * draw(st.sampled_from([1.0, 0.9, 0.7, 1.3])),
    )
    held = draw(st.lists(st.sampled_from("ABCDE"), unique=True, max_size=5))
    if draw(st.booleans()) and draw(st.booleans()):
        held = [*held[:4], "AAPL"]
    positions = tuple(position(s, draw(st.sampled_from(["1000", "19000.55"]))) for s in held)
    entries = {s: Decimal("12000") for s in draw(st.sets(st.sampled_from("XY"), max_size=1))}
    unsound = draw(st.sampled_from([None, None, None, "AAPL", "A"]))
    base = state()
    known = dict(base.returns)
    if unsound is not None:
        known[unsound] = Unavailable("gap")
    technology = dict.fromkeys(["AAPL", *draw(st.sets(st.sampled_from("ABCX")))], "technology")
    equity = draw(EQUITIES)
    recent = [
        NOW - timedelta(seconds=draw(st.integers(0, 4000))) for _ in range(draw(st.integers(0, 6)))
    ]
    forecast = draw(st.sampled_from([0.2, 0.3, 0.4507, 0.7331]))
    live = replace(
        base,
        quote=quote(bid, ask),
        equity_usd=equity,
        buying_power_usd=draw(EQUITIES),
        loss_base_usd=equity + draw(st.integers(-600, 600)),
        high_usd=max(equity, Decimal(1)) * Decimal(draw(st.sampled_from(["1", "1.05", "1.2"]))),
        positions=positions,
        entries=entries,
        recent_entries=recent,
        halts=draw(st.sampled_from([(), ("drawdown: far below",)])),
        returns=known,
        sectors=technology,
        winners_in_a_row=draw(st.integers(0, 12)),
        forecast_vol_ann=forecast,
    )
    assert live.recent_vol_ann == 0.3
    verdict = risk.judge(wanted, live, limits)
    others = {p.symbol: p.cost_usd for p in live.positions} | dict(entries)
    named = {r.rule: r for r in verdict.rules}
    found = named["correlation"]
    highest = math.nan
    if set(others) - {"AAPL"}:
        is_known = unsound is None or unsound not in {"AAPL", *others}
        highest = float(found.value) if is_known and found.value is not None else math.inf  # type: ignore[arg-type]
    desk = Desk(
        bool(live.halts),
        unsound != "AAPL",
        "AAPL" in others,
        len(others),
        sum((NOW - at).total_seconds() < 60 for at in recent),
        sum((NOW - at).total_seconds() < 3600 for at in recent),
        float(equity),
        float(live.buying_power_usd or 0),
        float(live.loss_base_usd or 0),
        float(live.high_usd or 0),
        float(sum(others.values(), Decimal(0))),
        float(sum((c for s, c in others.items() if live.sector(s) == "technology"), Decimal(0))),
        highest,
        live.winners_in_a_row,
        volatility_scale(forecast, 0.3),
    )
    bits, plan = judge_step(
        compiled_limits(limits),
        desk,
        wanted.confidence,
        wanted.atr_usd,
        wanted.stop_frac,
        wanted.target_frac,
        wanted.reference_price,
        bid,
        ask,
    )
    assert refusing(bits) == tuple(rule.rule for rule in verdict.failed)
    if verdict.sized is None:
        assert plan.qty == -1
    else:
        sized = verdict.sized
        prices = sized.limit_price, sized.max_price, sized.stop_price, sized.target_price
        assert plan.qty == sized.qty
        assert (plan.limit_price, plan.max_price, plan.stop_price, plan.target_price) == tuple(
            map(float, prices)
        )


# -- the chain in the loop

FLAT: Ohlc = (100.0, 100.0, 100.0, 100.0)
SIZED = {"fixed_qty": 0, "is_left_at_open": False}


def want(**changes: object) -> Wish:
    return Wish(**{"bar": 0, "target_frac": 0.05, **changes})  # type: ignore[arg-type]


def test_entry_when_sized_then_the_live_size() -> None:
    # At most a fifth of 100,000 at the highest price of 100.25: 199 shares.
    result = traded([FLAT] * 3, want=[want()], **SIZED)  # type: ignore[arg-type]
    assert result.trades[0].qty == 199
    assert (result.judged[0].limit_price, result.judged[0].stop_price) == (100.05, 95.0)


def test_entry_when_volatility_is_expected_to_rise_then_smaller() -> None:
    # 100,000 x 2% x 0.1 over max(2 x 2, 100.25 - 95).
    result = traded([FLAT] * 3, want=[want(volatility_scale=0.1)], **SIZED)  # type: ignore[arg-type]
    assert result.trades[0].qty == 38


def test_entries_when_more_than_five_are_wanted_then_the_sixth_is_refused() -> None:
    rows = [[FLAT] * 70 for _ in range(6)]
    limits = RiskLimits(max_weight_frac=0.10)
    result = traded(
        *rows,
        want=[want(bar=66, symbol=i) for i in range(6)],
        sectors=tuple("uvwxyz"),
        returns=_independent(70, 6),
        limits=limits,
        **SIZED,  # type: ignore[arg-type]
    )
    assert len(result.trades) == 5
    assert result.refusals == {"max_positions": 1}


def test_entry_when_too_much_like_what_is_held_then_refused() -> None:
    returns = _independent(70, 2)
    returns[:, 1] = returns[:, 0]
    rows = [[FLAT] * 70, [FLAT] * 70]
    result = traded(
        *rows,
        want=[want(bar=66, symbol=0), want(bar=66, symbol=1)],
        returns=returns,
        **SIZED,  # type: ignore[arg-type]
    )
    assert result.refusals == {"correlation": 1}


def test_entry_when_its_history_is_not_sound_then_refused() -> None:
    result = traded([FLAT] * 3, want=[want()], sound=(False,), **SIZED)  # type: ignore[arg-type]
    assert result.refusals == {"sound_history": 1}


def test_entry_when_one_sector_is_full_then_refused() -> None:
    rows = [[FLAT] * 70 for _ in range(4)]
    result = traded(
        *rows,
        want=[want(bar=66, symbol=i) for i in range(4)],
        returns=_independent(70, 4),
        **SIZED,  # type: ignore[arg-type]
    )
    assert result.refusals == {"sector_cap": 1}


def test_entry_when_the_day_lost_its_limit_then_halted_for_a_day() -> None:
    fall: Ohlc = (100.0, 100.0, 97.0, 97.0)
    after: Ohlc = (97.0, 97.0, 97.0, 97.0)
    rows = [[FLAT, fall, after, after, after], [FLAT] * 5]
    wants = [want(hold=0), *(want(bar=bar, symbol=1) for bar in (1, 2))]
    result = traded(*rows, want=wants, sectors=("one", "two"), **SIZED)  # type: ignore[arg-type]
    # 199 shares lose $3 each; the halt is over on the second open after that close.
    assert result.loss_halts == 1
    assert [row.refused_by for row in result.judged] == [(), ("not_halted",), ()]


def test_entry_when_far_below_the_high_then_halted_until_resumed() -> None:
    rows: list[Ohlc] = [FLAT]
    for _ in range(6):
        rows += [FLAT, (80.0, 80.0, 80.0, 80.0)]
    wants = [want(bar=bar, hold=1) for bar in range(0, 12, 2)]
    limits = RiskLimits(max_daily_loss_usd=1e9, max_weight_frac=1.0, max_sector_frac=1.0)
    never = traded(rows, want=wants, limits=limits, **SIZED)  # type: ignore[arg-type]
    assert never.drawdown_halts == 1
    assert never.refusals["not_halted"] >= 1
    resumed = traded(rows, want=wants, limits=limits, resume_sessions=2, **SIZED)  # type: ignore[arg-type]
    assert len(resumed.trades) > len(never.trades)


def _independent(count: int, symbols: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(7).normal(0, 0.02, size=(count, symbols))


def test_costs_when_free_then_nothing_is_charged() -> None:
    result = traded([FLAT] * 3, want=[want()], costs=FREE, **SIZED)  # type: ignore[arg-type]
    assert result.return_frac == 0
