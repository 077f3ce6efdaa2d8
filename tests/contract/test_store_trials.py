"""What every store promises of the trial ledger."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from greenlight.domain.trials import Trial
from greenlight.ports import Store


def trial(**changes: Any) -> Trial:
    given: dict[str, Any] = {
        "at": datetime(2013, 10, 7, 22, 30, tzinfo=UTC),
        "kind": "backtest",
        "code_hash": "c0de",
        "strategies": ("mean_reversion",),
        "params": {"rsi_oversold": 30.0, "sectors": {"AAPL": "Information Technology"}},
        "source": "bokeh",
        "symbols": ("AAPL", "IBM"),
        "data_hash": "da7a",
        "start": date(2008, 1, 2),
        "end": date(2009, 12, 31),
        "figures": {"return_frac": 0.125, "sharpe_ann": None},
    }
    return Trial.of(**given | changes)


def test_trials_when_recorded_then_read_back_oldest_first(store: Store) -> None:
    first, second = (
        trial(),
        trial(params={"rsi_oversold": 25.0}, at=datetime(2013, 10, 8, tzinfo=UTC)),
    )
    assert store.record_trial(second)
    assert store.record_trial(first)
    assert store.trials() == [first, second]
    assert store.trials(limit=1) == [second]
    assert store.trials(limit=None) == [first, second]


def test_trial_when_repeated_later_then_the_first_row_stays(store: Store) -> None:
    first = trial()
    assert store.record_trial(first)
    assert not store.record_trial(trial(at=datetime(2014, 1, 1, tzinfo=UTC)))
    assert store.trials() == [first]
