"""A sweep is the backtest's own loop, cell by cell."""

from __future__ import annotations

import numpy as np
import pytest

from greenlight.domain.backtest_loop import run_bars
from greenlight.domain.backtest_rules import compiled_limits
from greenlight.domain.backtest_sweep import Lane, sweep_lanes
from greenlight.domain.desk_state import RiskLimits
from tests.backtest_cases import FREE, NEVER, Wish, market, terms, wishes

LIMITS = compiled_limits(RiskLimits())


def walk(seed: int, count: int = 300) -> list[tuple[float, float, float, float]]:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, count)))
    opened = np.append(close[0], close[:-1]) * np.exp(rng.normal(0, 0.005, count))
    high = np.maximum(opened, close) * 1.01
    low = np.minimum(opened, close) * 0.99
    return list(zip(opened, high, low, close, strict=True))


def lane(seed: int) -> Lane:
    rng = np.random.default_rng(100 + seed)
    made = market(walk(seed))
    close = made.bars.close[:, 0]
    entries = []
    for share in (0.05, 0.2):
        bars = np.flatnonzero(rng.random(len(close)) < share)
        found = [Wish(bar=int(b), hold=NEVER, reference=float(close[b])) for b in bars]
        entries.append(wishes(found).signals)
    leaves = np.stack([rng.random((len(close), 1)) < share for share in (0.02, 0.1, 0.3)])
    return Lane(bars=made.bars, actions=made.actions, entries=entries, leaves=leaves)


@pytest.mark.parametrize("threads", [1, 3])
def test_sweep_when_run_then_every_cell_ends_as_the_loop_with_marks(threads: int) -> None:
    lanes = [lane(seed) for seed in range(4)]
    wanted = terms(300)
    found = sweep_lanes(lanes, costs=FREE, limits=LIMITS, terms=wanted, threads=threads)
    assert found.shape == (4, 2, 3)
    for i, one in enumerate(lanes):
        for j, entry in enumerate(one.entries):
            for k, leave in enumerate(one.leaves):
                signals = entry._replace(leave=leave)
                book, closed = run_bars(one.bars, signals, one.actions, FREE, LIMITS, wanted)
                assert closed > 0
                assert found[i, j, k] == book.figures[-1, 1]
    assert len(np.unique(found)) == found.size


def test_sweep_when_the_lanes_have_different_grids_then_refused() -> None:
    one, other = lane(0), lane(1)
    short = Lane(
        bars=other.bars, actions=other.actions, entries=other.entries[:1], leaves=one.leaves
    )
    with pytest.raises(ValueError, match="one grid"):
        sweep_lanes([one, short], costs=FREE, limits=LIMITS, terms=terms(300))
