"""The trial ledger: every backtest that was ever looked at, so that luck can be counted.

Before it stand the backtests; after it the store, and the deflation of a
Sharpe ratio by how many were tried.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One combination of code, strategies, parameters, data and window that was tried.

    `trial_id` hashes all of these, so that the same trial repeated is the same
    row: its result is the same, and looking twice tells no more. `at` is aware
    UTC, `start` and `end` are New York dates, both included. A figure that has no
    value is None.
    """

    trial_id: str
    at: datetime
    kind: str
    code_hash: str
    strategies: tuple[str, ...]
    params: Mapping[str, object]
    source: str
    symbols: tuple[str, ...]
    data_hash: str
    start: date
    end: date
    figures: Mapping[str, float | None]

    @classmethod
    def of(
        cls,
        *,
        at: datetime,
        kind: str,
        code_hash: str,
        strategies: tuple[str, ...],
        params: Mapping[str, object],
        source: str,
        symbols: tuple[str, ...],
        data_hash: str,
        start: date,
        end: date,
        figures: Mapping[str, float | None],
    ) -> Self:
        """A trial with its id.

        Raises
        ------
        TypeError, ValueError
            A parameter is no JSON value.
        """
        tried = [kind, code_hash, strategies, dict(params), symbols, data_hash]
        tried += [start.isoformat(), end.isoformat()]
        text = json.dumps(tried, sort_keys=True, allow_nan=False)
        return cls(
            trial_id=hashlib.sha256(text.encode()).hexdigest(),
            at=at,
            kind=kind,
            code_hash=code_hash,
            strategies=strategies,
            params=params,
            source=source,
            symbols=symbols,
            data_hash=data_hash,
            start=start,
            end=end,
            figures=figures,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkForward:
    """A whole walk-forward, as the gate and the pages read it.

    `run_id` hashes all that it depends on, so that one run again takes its place. `at`
    is when it ended, aware UTC; `fingerprint` is that of the desk it was run for: code,
    strategies, parameters and limits. `plan` and `figures` are JSON values; a figure
    without a value is None.
    """

    run_id: str
    at: datetime
    fingerprint: str
    plan: Mapping[str, object]
    figures: Mapping[str, float | None]
