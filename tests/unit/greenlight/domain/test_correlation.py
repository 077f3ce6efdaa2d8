"""Correlations against numpy and against an integrated posterior (tests/golden)."""

from __future__ import annotations

import csv
import math
import random
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain.correlation import Correlation, correlation
from greenlight.domain.market import Unavailable

GOLDEN = Path(__file__).parents[3] / "golden" / "correlation.csv"


def by_day(values: list[float]) -> dict[date, float]:
    return {date(2013, 1, 1) + timedelta(days=i): value for i, value in enumerate(values)}


def pair_with(sample: float, count: int) -> tuple[list[float], list[float]]:
    """Two series whose sample correlation is exactly the one asked for."""
    source = np.random.default_rng(count)
    first, noise = source.normal(size=(2, count))
    first = (first - first.mean()) / first.std()
    noise -= noise.mean()
    noise -= first * (noise @ first) / count
    second = sample * first + math.sqrt(1 - sample**2) * noise / noise.std()
    return first.tolist(), second.tolist()


def rows() -> list[tuple[float, int, float]]:
    with GOLDEN.open() as file:
        table = csv.DictReader(file)
        return [(float(r["sample"]), int(r["returns"]), float(r["estimate"])) for r in table]


@pytest.mark.parametrize(("sample", "count", "estimate"), rows())
def test_correlation_when_sample_and_length_vary_then_the_posterior_mean(
    sample: float, count: int, estimate: float
) -> None:
    first, second = pair_with(sample, count)
    found = correlation(by_day(first), by_day(second))
    assert isinstance(found, Correlation)
    assert found.sample == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-12)
    assert found.sample == pytest.approx(sample, abs=1e-9)
    assert found.estimate == pytest.approx(estimate, abs=1e-8)
    assert (found.returns, found.is_short) == (count, count < 60)


def test_correlation_when_histories_differ_in_days_then_the_last_common_sixty() -> None:
    first, second = pair_with(0.4, 90)
    left, right = by_day(first), by_day(second)
    for day in list(right)[-3:-1]:
        del right[day]
    found = correlation(left, right)
    common = sorted(left.keys() & right.keys())[-60:]
    assert isinstance(found, Correlation)
    assert found.returns == 60
    expected = np.corrcoef([left[d] for d in common], [right[d] for d in common])[0, 1]
    assert found.sample == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "second", [[], [0.1, 0.2, 0.3], [0.1] * 30, [math.nan, *[0.1, 0.2] * 15], [math.inf, 0.1] * 9]
)
def test_correlation_when_it_cannot_be_known_then_unavailable(second: list[float]) -> None:
    source = random.Random(1)
    first = [source.gauss(0, 1) for _ in range(30)]
    assert isinstance(correlation(by_day(first), by_day(second)), Unavailable)


values = st.lists(st.floats(-0.5, 0.5), min_size=0, max_size=80)


@given(values, values)
def test_correlation_when_any_returns_then_between_the_sample_and_the_prior(
    first: list[float], second: list[float]
) -> None:
    found = correlation(by_day(first), by_day(second))
    if isinstance(found, Unavailable):
        return
    low, high = sorted((max(-1.0, min(found.sample, 1.0)), 0.5))
    assert low - 1e-9 <= found.estimate <= high + 1e-9
    turned = correlation(by_day(second), by_day(first))
    assert isinstance(turned, Correlation)
    assert turned.estimate == pytest.approx(found.estimate, abs=1e-6)
