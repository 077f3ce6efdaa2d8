from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain.evidence import (
    BACKTEST_CAP,
    DailyRecord,
    Evidence,
    backtest_share,
    excess_returns,
    paper_record,
    wealth_path,
)
from greenlight.domain.market import Unavailable
from greenlight.domain.metrics import FloatArray

GOLDEN = Path(__file__).parents[3] / "golden" / "wealth.csv"
DAYS = [date(2008, 1, d) for d in (2, 3, 4)]
AT = datetime(2008, 4, 1, tzinfo=UTC)


def golden() -> list[tuple[Any, Any]]:
    with GOLDEN.open(newline="") as file:
        return [(json.loads(row["given"]), json.loads(row["path"])) for row in csv.DictReader(file)]


def record(*columns: list[Any]) -> DailyRecord:
    names = ("returns", "universe", "exposures")
    return DailyRecord(
        **{n: np.array(c, dtype=np.float64) for n, c in zip(names, columns, strict=True)}
    )


@pytest.mark.parametrize(("given_", "path"), golden())
def test_wealth_path_when_computed_in_exact_fractions_then_the_same(
    given_: list[Any], path: list[float]
) -> None:
    assert wealth_path(excess_returns(record(*given_))) == pytest.approx(path, rel=1e-12)


def test_wealth_path_when_one_day_gains_one_percent_then_as_by_hand() -> None:
    # The mean leverage of 0.5 … 10 is 5.25.
    assert wealth_path(np.array([0.01])).tolist() == pytest.approx([1.0, 1.0525])


def test_excess_returns_when_it_only_holds_its_universe_then_nothing_is_left() -> None:
    held = record([0.006, -0.012, 0.03], [0.01, -0.02, 0.05], [0.6, 0.6, 0.6])
    assert excess_returns(held) == pytest.approx([0.0, 0.0, 0.0])


def test_excess_returns_when_exposure_changes_then_only_the_past_counts() -> None:
    given_ = record([0.0, 0.0], [0.1, 0.1], [0.2, 0.6])
    assert excess_returns(given_) == pytest.approx([-0.02, -0.04])
    # The exposure of the day itself is nowhere in it: a changed last one moves nothing before.
    later = record([0.0, 0.0], [0.1, 0.1], [0.2, 0.0])
    assert excess_returns(later)[0] == excess_returns(given_)[0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_wealth_path_when_a_return_is_not_finite_then_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        wealth_path(np.array([0.01, bad]))


@given(st.lists(st.floats(-0.3, 0.3), max_size=60), st.integers(0, 59), st.floats(0, 0.3))
def test_wealth_path_when_a_day_was_worse_then_wealth_is_not_higher(
    excess: list[float], place: int, less: float
) -> None:
    worse = [x - less if i == place else x for i, x in enumerate(excess)]
    better, lower = wealth_path(np.array(excess)), wealth_path(np.array(worse))
    assert (lower <= better * (1 + 1e-9)).all()
    assert (lower >= 0).all()


@pytest.mark.parametrize(
    ("wealth", "trials", "share"),
    [(100.0, 100, 1.0), (5.0, 100, 0.05), (5000.0, 100, BACKTEST_CAP), (0.0, 1, 0.0)],
)
def test_backtest_share_when_divided_by_the_trials_then_capped_at_ten(
    wealth: float, trials: int, share: float
) -> None:
    assert backtest_share(wealth, trials) == pytest.approx(share)
    found = Evidence(at=AT, backtest=wealth, trials=trials, paper=3.0)
    assert found.wealth == pytest.approx(3 * share)


@pytest.mark.parametrize(("wealth", "trials"), [(1.0, 0), (float("nan"), 5)])
def test_backtest_share_when_nothing_was_tried_or_no_number_then_refused(
    wealth: float, trials: int
) -> None:
    with pytest.raises(ValueError, match=r"trial|number"):
        backtest_share(wealth, trials)


def paper(**changes: Any) -> DailyRecord | Unavailable:
    given_: dict[str, Any] = {
        "before": DAYS[:2],
        "exposures": {DAYS[0]: 0.5, DAYS[1]: 0.7},
        "universe": {DAYS[1]: 0.01, DAYS[2]: 0.02},
        "haircuts": {DAYS[2]: 0.001},
    }
    return paper_record(DAYS[1:], [0.01, 0.02], **given_ | changes)


def test_paper_record_when_complete_then_costs_are_taken_off_and_exposure_is_of_before() -> None:
    found = paper()
    assert isinstance(found, DailyRecord)
    assert found.returns.tolist() == pytest.approx([0.01, 0.019])
    assert found.exposures.tolist() == [0.5, 0.7]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exposures": {DAYS[0]: 0.5}}, "no exposure of 2008-01-03"),
        ({"universe": {DAYS[2]: 0.1}}, "no return of the universe of 2008-01-03"),
        (
            {"universe": {DAYS[1]: float("nan"), DAYS[2]: 0.1}},
            "no return of the universe of 2008-01-03",
        ),
        ({"haircuts": {DAYS[1]: float("nan")}}, "a daily return is not finite"),
    ],
)
def test_paper_record_when_a_day_lacks_something_then_there_is_none(
    changes: dict[str, Any], reason: str
) -> None:
    assert paper(**changes) == Unavailable(reason)


# -- the promise: without an edge, ever reaching 20 has a chance of at most 5%

RUNS, TEN_YEARS = 1_500, 2_520
LIMIT = RUNS * 0.05 + 2.33 * (RUNS * 0.05 * 0.95) ** 0.5
"""99% of the runs of a process that reaches it with exactly 5% lie below."""


def _t4(rng: np.random.Generator, size: int) -> FloatArray:
    return np.clip(rng.standard_t(4, size) * 0.02 / np.sqrt(2), -0.1, 0.1)


def _normal(rng: np.random.Generator, size: int) -> FloatArray:
    return np.clip(rng.normal(0, 0.0063, size), -0.1, 0.1)


def _lottery(rng: np.random.Generator, size: int) -> FloatArray:
    """A small loss almost always, rarely the whole bound gained."""
    return np.where(rng.random(size) < 1 / 101, 0.1, -0.001)


def _ruin(rng: np.random.Generator, size: int) -> FloatArray:
    """A small gain almost always, rarely the whole bound lost."""
    return np.where(rng.random(size) < 1 / 101, -0.1, 0.001)


def _coin(rng: np.random.Generator, size: int) -> FloatArray:
    return np.where(rng.random(size) < 0.5, 0.1, -0.1)


@pytest.mark.parametrize("draw", [_t4, _normal, _lottery, _ruin, _coin])
def test_wealth_path_when_there_is_no_edge_then_twenty_is_reached_by_at_most_one_in_twenty(
    draw: Callable[[np.random.Generator, int], FloatArray],
) -> None:
    rng = np.random.default_rng(20260101)
    ever = sum(float(wealth_path(draw(rng, TEN_YEARS)).max()) >= 20 for _ in range(RUNS))
    assert ever <= LIMIT


def test_wealth_path_when_volatility_depends_on_the_past_then_still_at_most_one_in_twenty() -> None:
    # Doubled stakes after a loss: a martingale in both senses of the word.
    rng = np.random.default_rng(7)
    ever = 0
    for _ in range(RUNS // 4):
        signs = rng.choice([-1.0, 1.0], TEN_YEARS)
        after_loss = np.concatenate([[False], signs[:-1] < 0])
        ever += float(wealth_path(signs * np.where(after_loss, 0.04, 0.02)).max()) >= 20
    assert ever <= LIMIT / 4 + 10
