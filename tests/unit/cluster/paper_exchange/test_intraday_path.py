from __future__ import annotations

import importlib.util
from datetime import date
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.paper_exchange.intraday_path import MinutePath, minute_path, path_seed

TWIN = Path(__file__).parents[3] / "golden" / "intraday_path_twin.py"
# Made by the twin: `python tests/golden/intraday_path_twin.py`.
AAPL_2013_03_01 = "132993a42aef72fc779012a767f56cb9"


def twin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("intraday_path_twin", TWIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@st.composite
def bars(draw: st.DrawFn) -> tuple[float, float, float, float]:
    cents = st.integers(min_value=1, max_value=300_000)
    opened, close, a, b = (draw(cents) for _ in range(4))
    # Sometimes an end of the range is the open or close itself.
    low = min(opened, close) if draw(st.booleans()) else min(opened, close, a, b)
    high = max(opened, close) if draw(st.booleans()) else max(opened, close, a, b)
    return opened / 100, high / 100, low / 100, close / 100


def made(path: MinutePath) -> tuple[list[list[float]], list[int]]:
    return path.bar.tolist(), path.volume.tolist()


@settings(max_examples=150, deadline=None)
@given(
    ohlc=bars(),
    minutes=st.sampled_from([1, 2, 30, 60, 210, 390]),
    volume=st.integers(min_value=0, max_value=2_000_000_000),
    seed=st.integers(min_value=0, max_value=2**128 - 1),
)
def test_path_when_any_bar_then_its_four_prices_and_volume_are_kept(
    ohlc: tuple[float, float, float, float], minutes: int, volume: int, seed: int
) -> None:
    path = minute_path(seed=seed, minutes=minutes, ohlc=ohlc, volume=volume)
    opened, high, low, close = ohlc
    assert path.bar.shape == (minutes, 4)
    assert path.bar[0, 0] == opened
    assert path.bar[-1, 3] == close
    assert path.bar[:, 1].max() == high
    assert path.bar[:, 2].min() == low
    assert (path.bar[:, 1] >= path.bar[:, [0, 3]].max(axis=1)).all()
    assert (path.bar[:, 2] <= path.bar[:, [0, 3]].min(axis=1)).all()
    assert np.abs(path.bar * 100 - np.rint(path.bar * 100)).max() < 1e-6
    assert int(path.volume.sum()) == volume
    assert int(path.volume.min()) >= (4 if volume >= 4 * minutes else 0)


@settings(max_examples=25, deadline=None)
@given(
    ohlc=bars(),
    minutes=st.sampled_from([1, 30, 210]),
    volume=st.integers(min_value=0, max_value=10**9),
    seed=st.integers(min_value=0, max_value=2**64),
)
def test_path_when_made_by_the_slow_twin_then_it_is_the_same(
    ohlc: tuple[float, float, float, float], minutes: int, volume: int, seed: int
) -> None:
    path = minute_path(seed=seed, minutes=minutes, ohlc=ohlc, volume=volume)
    assert made(path) == twin().path(seed, minutes, ohlc, volume)


def test_path_when_made_anywhere_then_the_checksum_is_the_golden_one() -> None:
    path = minute_path(
        seed=path_seed("AAPL", date(2013, 3, 1)),
        minutes=390,
        ohlc=(438.0, 438.1799, 429.98, 430.47),
        volume=19_730_300,
    )
    assert twin().checksum(*made(path)) == AAPL_2013_03_01


def test_path_when_the_day_differs_then_the_path_differs() -> None:
    paths = [
        minute_path(
            seed=path_seed("AAPL", date(2013, 3, day)),
            minutes=390,
            ohlc=(100.0, 101.0, 99.0, 100.5),
            volume=10**6,
        )
        for day in (4, 5)
    ]
    assert not np.array_equal(paths[0].bar, paths[1].bar)


def test_volume_when_a_whole_session_then_it_is_larger_at_its_ends() -> None:
    path = minute_path(
        seed=path_seed("IBM", date(2013, 3, 1)),
        minutes=390,
        ohlc=(200.0, 203.0, 199.0, 202.0),
        volume=4_000_000,
    )
    ends = path.volume[:30].mean() + path.volume[-30:].mean()
    assert ends / 2 > 2 * path.volume[180:210].mean()


@pytest.mark.parametrize(
    ("ohlc", "minutes", "volume"),
    [
        ((10.0, 9.0, 8.0, 9.0), 390, 100),
        ((10.0, 11.0, 10.5, 10.0), 390, 100),
        ((0.0, 1.0, 0.0, 1.0), 390, 100),
        ((float("nan"), 1.0, 0.5, 1.0), 390, 100),
        ((1.0, 1.0, 1.0, 1.0), 0, 100),
        ((1.0, 1.0, 1.0, 1.0), 390, -1),
        ((1.0, 1.0, 1.0, 1.0), 390, 2**36 + 1),
    ],
)
def test_path_when_the_bar_cannot_be_true_then_it_is_refused(
    ohlc: tuple[float, float, float, float], minutes: int, volume: int
) -> None:
    with pytest.raises(ValueError, match=r"is no bar|cannot be split"):
        minute_path(seed=1, minutes=minutes, ohlc=ohlc, volume=volume)
