"""Folds, overfitting, luck and months: hand calculations and other packages' answers."""

from __future__ import annotations

import csv
import json
import math
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain import performance
from greenlight.domain.market import Unavailable
from greenlight.domain.metrics import sharpe_ann
from greenlight.domain.trials import Trial
from greenlight.domain.walkforward import (
    BeyondHolding,
    Deflation,
    Fold,
    Overfitting,
    best_set,
    beyond_holding,
    daily_sharpes,
    deflation,
    folds,
    months,
    overfitting,
)

GOLDEN = Path(__file__).parents[3] / "golden"


def rows(name: str) -> list[dict[str, str]]:
    with (GOLDEN / name).open(newline="") as file:
        return list(csv.DictReader(file))


def trial(number: int, sharpe: float | None) -> Trial:
    return Trial.of(
        at=datetime(2013, 10, 7, tzinfo=UTC),
        kind="sweep",
        code_hash="c0de",
        strategies=("random_entry",),
        params={"seed": number},
        source="bokeh",
        symbols=("AAPL",),
        data_hash="da7a",
        start=date(2008, 1, 2),
        end=date(2009, 12, 31),
        figures={"sharpe_ann": sharpe},
    )


# -- folds


def test_folds_when_rolling_then_each_trains_on_as_many_days_before_its_embargo() -> None:
    found = folds(20, count=3, train_sessions=6, embargo=2, is_anchored=False)
    assert found == (
        Fold(train_first=0, train_end=6, test_first=8, test_end=12),
        Fold(train_first=4, train_end=10, test_first=12, test_end=16),
        Fold(train_first=8, train_end=14, test_first=16, test_end=20),
    )


def test_folds_when_anchored_then_training_grows_from_the_start() -> None:
    found = folds(20, count=3, train_sessions=6, embargo=2, is_anchored=True)
    assert [(f.train_first, f.train_end) for f in found] == [(0, 6), (0, 10), (0, 14)]


@pytest.mark.parametrize(
    ("sessions", "count", "train", "embargo"), [(10, 3, 6, 2), (20, 0, 6, 2), (20, 3, 1, 2)]
)
def test_folds_when_there_is_no_room_then_refused(
    sessions: int, count: int, train: int, embargo: int
) -> None:
    with pytest.raises(ValueError, match="folds"):
        folds(sessions, count=count, train_sessions=train, embargo=embargo, is_anchored=False)


@given(
    sessions=st.integers(10, 3000),
    count=st.integers(1, 20),
    train=st.integers(2, 500),
    embargo=st.integers(0, 30),
    is_anchored=st.booleans(),
)
def test_folds_when_drawn_then_judging_days_follow_one_another_and_never_train(
    sessions: int, count: int, train: int, embargo: int, is_anchored: bool
) -> None:
    if sessions - train - embargo < count:
        return
    found = folds(
        sessions, count=count, train_sessions=train, embargo=embargo, is_anchored=is_anchored
    )
    judged = [day for fold in found for day in range(fold.test_first, fold.test_end)]
    assert judged == list(range(train + embargo, sessions))
    for fold in found:
        assert fold.train_first >= 0
        assert fold.train_end - fold.train_first >= train
        assert fold.train_end + embargo == fold.test_first
        assert fold.test_end > fold.test_first


# -- choosing


def test_best_set_when_one_never_trades_then_it_beats_those_that_lose() -> None:
    losing, idle = [-0.01, 0.002, -0.01], [0.0, 0.0, 0.0]
    assert best_set(np.array([losing, idle])) == 1
    assert daily_sharpes(np.array([losing]))[0] == pytest.approx(
        float(sharpe_ann(losing)) / math.sqrt(252)  # type: ignore[arg-type]
    )


# -- overfitting


@pytest.mark.parametrize("row", rows("overfitting.csv"))
def test_overfitting_when_counted_slowly_then_the_same(row: dict[str, str]) -> None:
    found = overfitting(np.array(json.loads(row["returns"])), int(row["blocks"]))
    assert isinstance(found, Overfitting)
    assert found.pbo_frac == pytest.approx(float(row["pbo"]), abs=1e-12)


def test_overfitting_when_counted_by_hand_then_as_on_paper() -> None:
    # Two sets, two blocks of two days: A is +2, +4 | -3, -1 and B +1, +1.5 | -2, -0.5 (per
    # mille). Chosen on the first block: A has 3 / 1.414 = 2.12, B 1.25 / 0.354 = 3.54, so
    # B; on the second A has -1.41, B -1.25 / 1.061 = -1.18: B is the better, rank 2 of 2,
    # log(2/1) > 0: not overfitted. Chosen on the second block: B again, and on the first
    # B is the better again. So PBO is 0 of 2.
    table = np.array([[2, 4, -3, -1], [1, 1.5, -2, -0.5]]) / 1000
    assert overfitting(table, blocks=2) == Overfitting(pbo_frac=0.0, splits=2, sets=2)
    # With A's and B's second blocks exchanged, who is chosen is always the worse: 2 of 2.
    table[:, 2:] = table[::-1, 2:]
    assert overfitting(table, blocks=2) == Overfitting(pbo_frac=1.0, splits=2, sets=2)


def test_overfitting_when_100_strategies_are_random_then_about_a_half() -> None:
    found = [
        overfitting(np.random.default_rng(seed).normal(0, 0.01, (100, 1008))) for seed in range(5)
    ]
    pbo = [one.pbo_frac for one in found if isinstance(one, Overfitting)]
    assert len(pbo) == 5
    assert np.mean(pbo) == pytest.approx(0.5, abs=0.1)


def test_overfitting_when_one_set_has_an_edge_then_near_nothing() -> None:
    table = np.random.default_rng(1).normal(0, 0.01, (100, 1008))
    table[7] += 0.003
    found = overfitting(table)
    assert isinstance(found, Overfitting)
    assert found.pbo_frac < 0.01


def test_overfitting_when_there_is_no_choice_then_unavailable() -> None:
    assert isinstance(overfitting(np.zeros((1, 100))), Unavailable)
    assert isinstance(overfitting(np.zeros((5, 20))), Unavailable)
    with pytest.raises(ValueError, match="halved"):
        overfitting(np.zeros((5, 20)), blocks=3)


def test_overfitting_when_no_set_ever_trades_then_all_are_equal_and_nothing_is_gained() -> None:
    found = overfitting(np.zeros((5, 64)))
    assert isinstance(found, Overfitting)
    assert found.pbo_frac == 1.0


# -- luck


@pytest.mark.parametrize("row", rows("luck.csv"))
def test_luck_when_returns_are_given_then_the_other_package(row: dict[str, str]) -> None:
    returns, ratios = json.loads(row["returns"]), json.loads(row["trial_sharpes"])
    answers = json.loads(row["answers"])
    moments = performance.moments(returns)
    assert not isinstance(moments, Unavailable)
    assert performance.probabilistic_sharpe(moments, 0.01) == pytest.approx(answers["psr"])
    assert performance.min_track_record(moments, 0.01) == pytest.approx(answers["min_trl"])
    ledger = [trial(i, ratio * math.sqrt(252)) for i, ratio in enumerate(ratios)]
    found = deflation(returns, ledger)
    assert isinstance(found, Deflation)
    assert found.deflated_sharpe == pytest.approx(answers["dsr"])
    assert found.luckiest_ann / math.sqrt(252) == pytest.approx(answers["luckiest"])


def test_deflation_when_100_random_entries_are_in_the_ledger_then_more_is_demanded() -> None:
    rng = np.random.default_rng(5)
    drawn = rng.normal(0, 0.01, (100, 500))
    ledger = [trial(i, float(sharpe_ann(row.tolist()))) for i, row in enumerate(drawn)]  # type: ignore[arg-type]
    returns = rng.normal(0.001, 0.01, 500).tolist()
    alone, beside = deflation(returns, ledger[:2]), deflation(returns, ledger)
    assert isinstance(alone, Deflation)
    assert isinstance(beside, Deflation)
    assert (alone.trials, beside.trials) == (2, 100)
    assert beside.luckiest_ann > alone.luckiest_ann
    assert beside.luckiest_ann > 1.0
    assert beside.deflated_sharpe < alone.deflated_sharpe


def test_deflation_when_a_trial_is_there_twice_then_it_counts_once() -> None:
    returns = np.random.default_rng(6).normal(0.001, 0.01, 300).tolist()
    once = [trial(1, 0.5), trial(2, -0.5), trial(3, None)]
    assert deflation(returns, [*once, *once]) == deflation(returns, once)
    found = deflation(returns, once)
    assert isinstance(found, Deflation)
    assert found.trials == 3


def test_beyond_holding_when_a_set_earns_far_more_then_it_is_no_luck() -> None:
    rng = np.random.default_rng(8)
    holding = rng.normal(0, 0.01, 500)
    noise = rng.normal(0, 0.01, (10, 500))
    found = beyond_holding(noise, holding.tolist(), seed=1, draws=300)
    assert isinstance(found, BeyondHolding)
    assert found.p_lower <= found.p_consistent <= found.p_upper
    assert found.p_consistent > 0.05
    noise[3] += 0.004
    better = beyond_holding(noise, holding.tolist(), seed=1, draws=300)
    assert isinstance(better, BeyondHolding)
    assert better.p_consistent < 0.01
    assert isinstance(beyond_holding(np.zeros((2, 500)), holding.tolist(), seed=1), Unavailable)


# -- months


def test_months_when_one_had_no_trade_then_it_is_left_out_and_counted_apart() -> None:
    # January: held, 1.10 * 1.10 - 1 = 21%. February: nothing held. March: held, -1%.
    # The mean is (21% - 1%) / 2 = 10%; with February in it, it would be 6.67%.
    found = months(
        np.array([1, 1, 2, 2, 3]), np.array([0.1, 0.1, 0.0, 0.0, -0.01]), np.array([1, 0, 0, 0, 2])
    )
    assert (found.traded, found.idle) == (2, 1)
    assert found.mean_frac == pytest.approx(0.10)


def test_months_when_nothing_was_ever_held_then_no_mean() -> None:
    found = months(np.array([1, 2]), np.zeros(2), np.zeros(2, dtype=np.int64))
    assert (found.traded, found.idle) == (0, 2)
    assert isinstance(found.mean_frac, Unavailable)
