"""The scorer, by hand calculation and by properties."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from greenlight.domain.market import Unavailable
from greenlight.domain.scoring import (
    WEIGHTS,
    Action,
    Score,
    ScoreInputs,
    by_urgency,
    month_return,
    score,
)

# Ten pairs of +2% and -1%: a drift of 10 * (ln 1.02 + ln 0.99).
CLOSES = [100.0]
for _ in range(10):
    CLOSES += [CLOSES[-1] * 1.02, CLOSES[-1] * 1.02 * 0.99]
DRIFT = 10 * (math.log(1.02) + math.log(0.99))
# Twenty values, ten each of two: the sample deviation is half their distance times sqrt(20/19).
DEVIATION = (math.log(1.02) - math.log(0.99)) / 2 * math.sqrt(20 / 19)

KNOWN = ScoreInputs(
    symbol="IBM",
    closes=CLOSES,
    sector_returns_frac=[0.04, 0.02],
    universe_returns_frac=[0.04, 0.02, -0.01, 0.01],
    weight_frac=0.05,
    max_weight_frac=0.20,
    forecast_vol_ann=0.30,
    usual_vol_ann=0.30,
)


def scored(inputs: ScoreInputs) -> Score:
    found = score(inputs)
    assert isinstance(found, Score)
    return found


def test_score_when_all_is_known_then_contributions_by_hand() -> None:
    found = scored(KNOWN)
    momentum = DRIFT / (DEVIATION * math.sqrt(20)) / 2
    assert found.contributions["momentum"] == pytest.approx(0.35 * momentum)
    # The sector made 3%, the universe 1.5%: 1.5% of the 5% that count fully.
    assert found.contributions["sector"] == pytest.approx(0.20 * 0.3)
    # A quarter of the limit: half-way between nothing and half the limit.
    assert found.contributions["weight"] == pytest.approx(0.15 * 0.5)
    assert found.contributions["volatility"] == 0
    assert found.value == pytest.approx(sum(found.contributions.values()))
    assert (found.action, found.missing) == (Action.HOLD, {})


def test_score_when_volatility_rises_then_shifts_towards_exit() -> None:
    actions = [
        scored(replace(KNOWN, forecast_vol_ann=0.30 * times)).action for times in (0.5, 1, 1.9, 2)
    ]
    assert actions == [Action.ADD, Action.HOLD, Action.HOLD, Action.TRIM]


def test_score_when_the_forecast_is_missing_then_never_add() -> None:
    strong = replace(KNOWN, sector_returns_frac=[0.2, 0.2], weight_frac=0.0)
    assert scored(strong).action is Action.ADD
    found = scored(replace(strong, forecast_vol_ann=None))
    assert found.action is Action.HOLD
    assert found.value > 0.4
    assert found.missing == {"volatility": "no volatility forecast"}


def test_score_when_everything_is_bad_then_exit() -> None:
    falling = list(reversed(CLOSES))
    found = scored(
        replace(
            KNOWN,
            closes=falling,
            sector_returns_frac=[-0.2, -0.2],
            weight_frac=0.2,
            forecast_vol_ann=0.6,
        )
    )
    assert found.action is Action.EXIT


def test_score_when_half_of_the_weight_is_missing_then_unavailable() -> None:
    assert isinstance(score(replace(KNOWN, closes=[], forecast_vol_ann=None)), Unavailable)
    assert isinstance(score(replace(KNOWN, closes=[], weight_frac=None)), Score)


@pytest.mark.parametrize("closes", [CLOSES[:20], [math.nan] * 21, [0.0] * 21, [-1.0] * 21])
def test_month_return_when_history_is_short_or_broken_then_unavailable(
    closes: list[float],
) -> None:
    assert isinstance(month_return(closes), Unavailable)


def test_score_when_the_price_stands_still_then_momentum_is_missing() -> None:
    assert scored(replace(KNOWN, closes=[50.0] * 30)).missing == {
        "momentum": "the price does not move"
    }


def test_by_urgency_when_sorted_then_what_needs_a_person_first() -> None:
    base = scored(KNOWN)
    rows = [
        replace(base, symbol="A", action=Action.HOLD, value=0.0),
        replace(base, symbol="B", action=Action.TRIM, value=-0.3),
        replace(base, symbol="C", action=Action.EXIT, value=-0.7),
        replace(base, symbol="D", action=Action.ADD, value=0.5),
        replace(base, symbol="E", action=Action.EXIT, value=-0.9),
    ]
    assert [row.symbol for row in by_urgency(rows)] == ["E", "C", "B", "D", "A"]


number = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


@example(  # their quotient is less than the smallest number there is
    closes=[], sector=[], others=[], weight=None, forecast=4503599627370496.0, usual=1.2e-308
)
@given(
    closes=st.lists(st.floats(), max_size=30),
    sector=st.lists(st.floats(), max_size=3),
    others=st.lists(st.floats(), max_size=3),
    weight=number,
    forecast=number,
    usual=number,
)
def test_score_when_anything_comes_in_then_bounded_or_unavailable(
    closes: list[float],
    sector: list[float],
    others: list[float],
    weight: float | None,
    forecast: float | None,
    usual: float | None,
) -> None:
    found = score(
        ScoreInputs(
            symbol="X",
            closes=closes,
            sector_returns_frac=sector,
            universe_returns_frac=sector + others,
            weight_frac=weight,
            max_weight_frac=0.2,
            forecast_vol_ann=forecast,
            usual_vol_ann=usual,
        )
    )
    if isinstance(found, Unavailable):
        return
    assert -1 - 1e-12 <= found.value <= 1 + 1e-12
    assert set(found.contributions) | set(found.missing) == set(WEIGHTS)
    assert found.action is not Action.ADD or "volatility" not in found.missing
