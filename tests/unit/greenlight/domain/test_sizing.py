"""Whole shares by hand, and what makes them fewer."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.market import Unavailable
from greenlight.domain.sizing import (
    allowed_risk_frac,
    recent_volatility,
    size,
    volatility_scale,
    winners_in_a_row,
)
from greenlight.domain.trades import Trade
from tests.risk_cases import NOW, quote, signal, state

LIMITS = RiskLimits()
NONE = Unavailable("none")


def test_size_when_weight_binds_then_by_hand() -> None:
    # Limit 100 + 5 bps = 100.05, at most + 20 bps = 100.25, stop 95, distance
    # max(2 * 2, 5.25) = 5.25: by risk 100000 * 0.02 / 5.25 = 380, by weight
    # 20000 / 100.25 = 199.5.
    entry = size(signal(), state(), LIMITS)
    assert entry is not None
    assert (entry.qty, entry.limit_price) == (199, Decimal("100.05"))
    assert entry.max_price == Decimal("100.25")
    assert (entry.stop_price, entry.target_price) == (Decimal("95.00"), Decimal("105.00"))


@pytest.mark.parametrize(
    ("confidence", "qty"),
    # Distance 2 * 10 = 20: 2000 / 20 = 100 shares at full confidence.
    [(5, 100), (4, 87), (3, 75), (2, 62), (1, 50)],
)
def test_size_when_volatile_then_by_risk_and_confidence(confidence: int, qty: int) -> None:
    entry = size(signal(confidence=confidence, atr_usd=10.0), state(), LIMITS)
    assert entry is not None
    assert entry.qty == qty


@pytest.mark.parametrize(
    "changes",
    [
        {"quote": None},
        {"equity_usd": None},
        {"equity_usd": Decimal(0)},
        {"equity_usd": Decimal(-5)},
        {"equity_usd": Decimal("NaN")},
        {"equity_usd": Decimal("Infinity")},
        {"quote": quote(ask=math.nan)},
        {"quote": quote(ask=math.inf)},
        {"quote": quote(ask=0.0)},
    ],
)
def test_size_when_an_input_of_the_desk_is_missing_then_none(changes: dict[str, object]) -> None:
    assert size(signal(), state(**changes), LIMITS) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"atr_usd": math.nan},
        {"atr_usd": math.inf},
        {"atr_usd": -1.0},
        {"stop_frac": math.nan},
        {"stop_frac": 0.0},
        {"stop_frac": 1.0},
        {"target_frac": math.nan},
        {"target_frac": 0.0},
        {"confidence": 0},
        {"confidence": 6},
    ],
)
def test_size_when_an_input_of_the_signal_is_missing_then_none(changes: dict[str, object]) -> None:
    assert size(signal(**changes), state(), LIMITS) is None


@pytest.mark.parametrize(
    ("forecast", "recent", "qty"),
    # 100 shares at full size: a forecast of 60% after 30% halves them.
    [
        (0.60, 0.30, 50),
        (0.45, 0.30, 66),
        (0.30, 0.30, 100),
        (0.10, 0.30, 100),
        (NONE, 0.30, 100),
        (0.60, NONE, 100),
        (math.nan, 0.30, 100),
        (math.inf, 0.30, 100),
        (0.0, 0.30, 100),
        (0.60, -0.1, 100),
    ],
)
def test_size_when_a_rougher_time_is_expected_then_fewer_and_never_more(
    forecast: Any, recent: Any, qty: int
) -> None:
    desk = state(forecast_vol_ann=forecast, recent_vol_ann=recent)
    entry = size(signal(atr_usd=10.0), desk, LIMITS)
    assert entry is not None
    assert entry.qty == qty
    assert entry.volatility_scale == volatility_scale(forecast, recent)


@pytest.mark.parametrize(
    ("winners", "base", "qty"),
    # 2% of 100,000 over $20 is 100 shares, 1% is 50.
    [(0, 0.01, 50), (9, 0.01, 50), (10, 0.01, 100), (11, 0.01, 100), (0, 0.02, 100)],
)
def test_size_when_ten_in_a_row_were_won_then_raised_to_the_full_risk(
    winners: int, base: float, qty: int
) -> None:
    limits = RiskLimits(base_risk_frac=base)
    entry = size(signal(atr_usd=10.0), state(winners_in_a_row=winners), limits)
    assert entry is not None
    assert (entry.qty, entry.risk_frac) == (qty, allowed_risk_frac(winners, limits))


def test_allowed_risk_when_the_base_is_above_the_limit_then_the_limit() -> None:
    assert allowed_risk_frac(0, RiskLimits(risk_frac=0.005, base_risk_frac=0.02)) == 0.005


@pytest.mark.parametrize(
    "changes",
    [{"risk_frac": 0.0201}, {"risk_frac": 0.0}, {"risk_frac": math.nan}, {"max_positions": 0}],
)
def test_limits_when_one_is_beyond_its_ceiling_or_no_limit_then_raises(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        RiskLimits(**changes)


def trade(net: str, number: int) -> Trade:
    at = NOW + timedelta(days=number)
    return Trade(
        position_id=str(number),
        symbol="AAPL",
        strategy="A",
        qty=1,
        entry_price=Decimal(100),
        exit_price=Decimal(100) + Decimal(net),
        opened_at=at,
        closed_at=at,
        pnl_usd=Decimal(net) + 1,
        fees_usd=Decimal(1),
        haircut_usd=Decimal(0),
        exit_reason="target",
    )


@pytest.mark.parametrize(
    ("nets", "count"),
    [([], 0), (["1", "1"], 2), (["1", "-1", "2"], 1), (["1", "0"], 0), (["-1"] + ["1"] * 10, 10)],
)
def test_winners_in_a_row_when_a_trade_earned_nothing_then_the_count_starts_again(
    nets: list[str], count: int
) -> None:
    assert winners_in_a_row([trade(net, i) for i, net in enumerate(nets)]) == count


def test_recent_volatility_when_enough_returns_then_as_numpy() -> None:
    values = [0.01 * math.sin(i * i) for i in range(60)]
    expected = np.std(values, ddof=1) * math.sqrt(252)
    assert recent_volatility(values) == pytest.approx(float(expected), rel=1e-12)
    assert isinstance(recent_volatility(values[:19]), Unavailable)
    assert isinstance(recent_volatility(values[:20]), float)
