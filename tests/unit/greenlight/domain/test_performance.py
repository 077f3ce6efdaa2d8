"""Figures of return series against other packages' answers and papers' examples."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain import performance
from greenlight.domain.market import Unavailable
from greenlight.domain.metrics import SESSIONS_A_YEAR, sharpe_ann
from greenlight.domain.performance import Moments

GOLDEN = Path(__file__).parents[3] / "golden" / "performance.csv"


def golden() -> list[tuple[list[float], list[float], dict[str, float]]]:
    with GOLDEN.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        (json.loads(r["returns"]), json.loads(r["benchmark"]), json.loads(r["answers"]))
        for r in rows
    ]


@pytest.mark.parametrize(("returns", "benchmark", "answers"), golden())
def test_figures_when_returns_are_given_then_the_other_packages(
    returns: list[float], benchmark: list[float], answers: dict[str, float]
) -> None:
    equity = 100_000 * np.cumprod([1.0, *(1 + r for r in returns)])
    growth = performance.cagr_frac(100_000, float(equity[-1]), len(returns))
    drawdown = float((1 - equity / np.maximum.accumulate(equity)).max())
    beside = performance.beside_market(returns, [1.0] * len(returns), benchmark)
    moments = performance.moments(returns)
    assert not isinstance(beside, Unavailable)
    assert not isinstance(moments, Unavailable)
    found = {
        "cagr": growth,
        "volatility": performance.volatility_ann(returns),
        "sortino": performance.sortino_ann(returns),
        "calmar": performance.calmar(growth, drawdown),
        "longest_drawdown": performance.longest_drawdown(equity),
        "beta": beside.beta,
        "skewness": moments.skewness,
        "kurtosis": moments.kurtosis,
    }
    for name, answer in answers.items():
        assert found[name] == pytest.approx(answer, rel=1e-9), name


# Bailey and López de Prado (2014), the example of section 5: 100 trials whose annual
# ratios vary by 1/2, the best with 2.5 a year of 250 days over five years.
PAPER = Moments(sharpe=2.5 / math.sqrt(250), skewness=-3.0, kurtosis=10.0, count=1250)


def test_deflated_sharpe_when_the_paper_s_example_then_its_answers() -> None:
    variance = 0.5 / 250
    assert performance.luckiest_sharpe(100, variance) == pytest.approx(0.1132, abs=5e-5)
    assert performance.deflated_sharpe(PAPER, 100, variance) == pytest.approx(0.9004, abs=5e-5)
    # "Should the strategist have made N = 46 ... the DSR would be 0.9505".
    assert performance.deflated_sharpe(PAPER, 46, variance) == pytest.approx(0.9505, abs=5e-5)


def test_min_track_record_when_normal_monthly_returns_then_the_paper_s_table() -> None:
    # Bailey and López de Prado (2012): an annual ratio of 2 in daily Normal returns of a
    # 250-day year needs 2.73 years to beat 1 with 95%.
    daily = Moments(sharpe=2 / math.sqrt(250), skewness=0.0, kurtosis=3.0, count=1)
    found = performance.min_track_record(daily, benchmark=1 / math.sqrt(250))
    assert not isinstance(found, Unavailable)
    assert found / 250 == pytest.approx(2.73, abs=0.005)


def test_probabilistic_sharpe_when_the_track_is_as_long_as_needed_then_95_percent() -> None:
    needed = performance.min_track_record(PAPER)
    assert not isinstance(needed, Unavailable)
    exact = Moments(sharpe=PAPER.sharpe, skewness=-3.0, kurtosis=10.0, count=round(needed))
    assert performance.probabilistic_sharpe(exact) == pytest.approx(0.95, abs=0.002)


def test_luckiest_sharpe_when_there_is_one_trial_then_nothing_to_take_off() -> None:
    assert performance.luckiest_sharpe(1, 0.5) == 0.0
    with pytest.raises(ValueError, match="0 trials"):
        performance.luckiest_sharpe(0, 0.5)


def test_bootstrap_when_returns_are_independent_then_near_the_formula() -> None:
    rng = np.random.default_rng(3)
    returns = rng.normal(0.001, 0.01, size=1000).tolist()
    found = performance.sharpe_bootstrap(returns, seed=1)
    assert not isinstance(found, Unavailable)
    ratio = sharpe_ann(returns)
    assert not isinstance(ratio, Unavailable)
    # Lo (2002): the standard error is sqrt((1 + q^2 / 2) / n) of a day.
    daily = ratio / math.sqrt(SESSIONS_A_YEAR)
    error = math.sqrt((1 + daily**2 / 2) / 1000) * math.sqrt(SESSIONS_A_YEAR)
    assert found[0] == pytest.approx(ratio - 1.96 * error, abs=0.25 * error)
    assert found[1] == pytest.approx(ratio + 1.96 * error, abs=0.25 * error)
    assert performance.sharpe_bootstrap(returns, seed=1) == found


def test_beside_market_when_half_was_held_then_half_the_market_is_no_edge() -> None:
    market = [0.01, -0.02, 0.03, 0.0]
    found = performance.beside_market([r / 2 for r in market], [0.5] * 4, market)
    assert not isinstance(found, Unavailable)
    assert found.beta == pytest.approx(0.5)
    assert found.excess_ann == pytest.approx(0.0)
    assert found.matched_ann == pytest.approx(252 * 0.0025)
    with pytest.raises(ValueError, match="1 exposures"):
        performance.beside_market([0.1, 0.2], [1.0], [0.1, 0.2])


def test_turnover_when_equity_was_bought_and_sold_once_a_year_then_one() -> None:
    assert performance.turnover_ann(200_000.0, np.full(253, 100_000.0), 252) == pytest.approx(1.0)


def test_exposure_when_half_the_days_are_half_invested_then_a_quarter() -> None:
    found = performance.exposure_frac(np.array([0.0, 50.0]), np.array([100.0, 100.0]))
    assert found == pytest.approx(0.25)


@pytest.mark.parametrize(
    "found",
    [
        performance.cagr_frac(100.0, -1.0, 10),
        performance.cagr_frac(100.0, 100.0, 0),
        performance.volatility_ann([0.1]),
        performance.sortino_ann([0.1, 0.2]),
        performance.calmar(0.1, 0.0),
        performance.calmar(Unavailable("no"), 0.1),
        performance.expectancy_usd([]),
        performance.exposure_frac(np.empty(0), np.empty(0)),
        performance.turnover_ann(1.0, np.empty(0), 0),
        performance.moments([0.1]),
        performance.min_track_record(PAPER, benchmark=1.0),
        performance.sharpe_bootstrap([0.1] * 5, seed=1),
        performance.sharpe_bootstrap([0.0] * 50, seed=1),
        performance.beside_market([0.1, 0.2], [1.0, 1.0], [0.1, 0.1]),
    ],
)
def test_figure_when_it_has_no_value_then_unavailable(found: object) -> None:
    assert isinstance(found, Unavailable)


@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=40))
def test_probability_when_returns_are_drawn_then_a_probability(returns: list[float]) -> None:
    moments = performance.moments(returns)
    if isinstance(moments, Unavailable):
        return
    found = performance.probabilistic_sharpe(moments)
    assert isinstance(found, Unavailable) or 0 <= found <= 1
