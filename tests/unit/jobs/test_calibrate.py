from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from greenlight.domain.calibration import policy_hash
from greenlight.domain.calibration_history import KINDS, draw_history_traders
from greenlight.domain.gate import ReadinessPolicy
from greenlight.domain.market import Unavailable
from greenlight.testing import FakeStore
from jobs.calibrate import (
    CalibrationRow,
    calibrate,
    evaluation_days,
    history_returns,
    standing_calibration,
    to_report,
)

POLICY = ReadinessPolicy()
NOW = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def rows() -> list[CalibrationRow]:
    return calibrate(POLICY, traders=400, seed=1)


def test_calibrate_when_there_is_no_edge_then_nearly_nobody_passes_but_the_thresholds_do(
    rows: list[CalibrationRow],
) -> None:
    edgeless = [row for row in rows if row.is_edgeless]
    assert {row.model for row in edgeless} >= {"t4", "ar1", "regimes", *KINDS}
    assert max(row.gate.promoted for row in edgeless) <= 2
    bare = next(row.bare.frac for row in rows if (row.model, row.sharpe_ann) == ("t4", 0.0))
    # design.md: 44% in 8,000 runs.
    assert bare == pytest.approx(0.44, abs=0.08)


def test_calibrate_when_the_edge_is_real_then_it_passes_as_designed(
    rows: list[CalibrationRow],
) -> None:
    power = {row.sharpe_ann: row.gate.frac for row in rows if row.model == "t4"}
    # design.md: 22%, 61% and 86%.
    assert power[2.0] == pytest.approx(0.24, abs=0.08)
    assert power[2.5] >= 0.5
    assert power[3.0] >= 0.8


def test_calibrate_when_chunks_come_from_elsewhere_then_the_same(
    rows: list[CalibrationRow],
) -> None:
    def elsewhere(
        function: Callable[..., Any], chunks: Iterable[tuple[object, ...]]
    ) -> Iterator[Any]:
        done = [function(*chunk) for chunk in reversed(list(chunks))]
        return reversed(done)

    assert calibrate(POLICY, traders=20, seed=3, fan_out=elsewhere) == calibrate(
        POLICY, traders=20, seed=3
    )


def test_calibrate_when_there_are_no_traders_then_refused() -> None:
    with pytest.raises(ValueError, match="needs traders"):
        calibrate(POLICY, traders=0, seed=1)


def test_evaluation_days_when_a_year_is_watched_then_as_the_calendar_says() -> None:
    days = evaluation_days()
    assert len(days) == 253
    assert days[:6].tolist() == [0, 1, 2, 3, 6, 7]


def test_history_returns_when_a_symbol_split_then_no_day_halves() -> None:
    market = history_returns()
    # Apple split 2:1 in February 2005; GOOG began in August 2004.
    assert market.shape == (2147, 4)
    assert market.min() > -0.25
    assert market.max() < 0.25


@pytest.mark.parametrize("kind", KINDS)
def test_draw_history_traders_when_the_market_only_rises_then_no_excess_on_average(
    kind: str,
) -> None:
    market = np.full((600, 4), 0.001)
    traders = draw_history_traders(
        kind, market, np.zeros(50, dtype=np.int64), 300, np.random.default_rng(4)
    )
    assert abs(float(traders.excess[:, 20:].mean())) < 5e-5
    assert (traders.won <= traders.closed).all()


def test_draw_history_traders_when_entries_are_random_then_some_300_trades_a_year() -> None:
    market = history_returns()
    traders = draw_history_traders(
        "random_entry", market, np.arange(50), 252, np.random.default_rng(4)
    )
    assert 300 < traders.closed.sum(axis=1).mean() < 360


@pytest.mark.parametrize(
    ("kind", "first", "match"),
    [
        ("other", [0], "no kind"),
        ("random_entry", [2000], "leave the"),
        ("random_entry", [], "leave"),
    ],
)
def test_draw_history_traders_when_it_cannot_then_refused(
    kind: str, first: list[int], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        draw_history_traders(
            kind, history_returns(), np.array(first, dtype=np.int64), 252, np.random.default_rng(0)
        )


def test_standing_calibration_when_the_policy_changed_then_refused(
    rows: list[CalibrationRow],
) -> None:
    store = FakeStore()
    assert isinstance(standing_calibration(store, POLICY, NOW), Unavailable)
    store.record_calibration(NOW, policy_hash(POLICY), to_report(rows, traders=400, seconds=1))
    found = standing_calibration(store, POLICY, NOW)
    assert not isinstance(found, Unavailable)
    assert found["traders"] == 400
    other = standing_calibration(store, ReadinessPolicy(alpha=0.01), NOW)
    assert isinstance(other, Unavailable)
    assert "another policy" in other.reason
