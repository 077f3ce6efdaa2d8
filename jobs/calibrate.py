"""The calibration: the gate over thousands of traders whose edge is known.

Before it stand the policy and the made-up traders; after it the stored report, the
command and the page. The work is cut into chunks of traders, pure, each with a seed of
its own, so that a chunk may run anywhere and be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, Protocol, TypeVar

import numpy as np

from greenlight.adapters.history_bokeh import read_bokeh
from greenlight.domain.calibration import (
    JUDGED_SESSIONS,
    MODELS,
    SESSIONS,
    STREAK_DAYS,
    Bounds,
    Rate,
    bounds_of,
    draw_traders,
    final_wealth,
    green_sessions,
    lent_by,
    policy_hash,
    promoted_after,
    rate_of,
)
from greenlight.domain.calibration_history import KINDS, draw_history_traders
from greenlight.domain.gate import ReadinessPolicy
from greenlight.domain.market import Unavailable, sessions_between
from greenlight.domain.metrics import FloatArray, IntArray
from greenlight.ports import Store

_R = TypeVar("_R")
SHARPES: Final = (-1.0, 0.0, 1.0, 1.5, 2.0, 2.5, 3.0)
"""True annualised Sharpe ratios: negative, none, and an edge."""
DEFAULT_TRADERS: Final = 10_000
_CHUNK: Final = 1_000
"""Traders in a chunk: half a second's work, and the pool that luck is drawn from."""
_SYMBOLS: Final = ("AAPL", "GOOG", "IBM", "MSFT")
"""Of the sample data, those with five years and one more."""


class FanOut(Protocol):
    """Calls a function on each chunk, here or elsewhere; answers in the chunks' order."""

    def __call__(
        self, function: Callable[..., _R], chunks: Iterable[tuple[object, ...]]
    ) -> Iterator[_R]:
        """See the class."""
        ...


def here(function: Callable[..., _R], chunks: Iterable[tuple[object, ...]]) -> Iterator[_R]:
    """The fan-out that calls in this process, one chunk after the other."""
    return (function(*chunk) for chunk in chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRow:
    """One kind of trader: by this policy, and by its thresholds without the evidence.

    `sharpe_ann` is the true one beyond holding; it is 0 for traders on real history,
    whose `model` is one of `calibration_history.KINDS`.
    """

    model: str
    sharpe_ann: float
    gate: Rate
    bare: Rate

    @property
    def is_edgeless(self) -> bool:
        """Whether every promotion was false."""
        return self.sharpe_ann <= 0


def calibrate(
    policy: ReadinessPolicy, *, traders: int, seed: int, fan_out: FanOut = here
) -> list[CalibrationRow]:
    """Run the gate over every kind of trader, a year of daily looks each.

    Parameters
    ----------
    traders : int
        Of each kind.
    seed : int
        The same seed gives the same report, however the chunks are fanned out.

    Raises
    ------
    ValueError
        There is no trader.
    """
    if traders < 1:
        raise ValueError("a calibration needs traders")
    bounds, market = bounds_of(policy), history_returns()
    kinds = [(model, sharpe) for model in MODELS for sharpe in SHARPES]
    kinds += [(kind, 0.0) for kind in KINDS]
    chunks = [
        (model, sharpe, min(_CHUNK, traders - start), (seed, place, start), bounds, market)
        for place, (model, sharpe) in enumerate(kinds)
        for start in range(0, traders, _CHUNK)
    ]
    found: dict[tuple[str, float], list[tuple[IntArray, IntArray]]] = {}
    for chunk, answer in zip(chunks, fan_out(judge_chunk, chunks), strict=True):
        found.setdefault((chunk[0], chunk[1]), []).append(answer)
    return [
        CalibrationRow(
            model=model,
            sharpe_ann=sharpe,
            gate=rate_of(np.concatenate([gate for gate, _ in answers])),
            bare=rate_of(np.concatenate([bare for _, bare in answers])),
        )
        for (model, sharpe), answers in found.items()
    ]


def judge_chunk(
    model: str,
    sharpe_ann: float,
    traders: int,
    seed: tuple[int, ...],
    bounds: Bounds,
    market: FloatArray,
) -> tuple[IntArray, IntArray]:
    """The session at which each of some traders is promoted (0: never): gate, and bare."""
    rng = np.random.default_rng(seed)
    if model in KINDS:
        room = len(market) - JUDGED_SESSIONS - SESSIONS
        first = rng.integers(0, room + 1, traders)
        judged = draw_history_traders(model, market, first, JUDGED_SESSIONS, rng)
        watched = draw_history_traders(model, market, first + JUDGED_SESSIONS, SESSIONS, rng)
    else:
        judged = draw_traders(model, sharpe_ann, traders, JUDGED_SESSIONS, rng)
        watched = draw_traders(model, sharpe_ann, traders, SESSIONS, rng)
    lent = lent_by(final_wealth(judged.excess), is_luckiest=sharpe_ann <= 0, rng=rng)
    days = evaluation_days()
    gate, bare = green_sessions(watched, lent, days, bounds)
    return promoted_after(gate, days, STREAK_DAYS), promoted_after(bare, days, STREAK_DAYS)


def evaluation_days() -> IntArray:
    """Whole days from the clocks' start to the evaluation after each session of 2012's kind."""
    sessions = sessions_between(date(2012, 1, 3), date(2013, 2, 28))[: SESSIONS + 1]
    since = sessions[0].open - timedelta(hours=1)
    found = [(s.close + timedelta(minutes=5) - since).days for s in sessions]
    return np.array(found, dtype=np.int64)


def history_returns() -> FloatArray:
    """Daily returns of the sample data's symbols, float64[days, symbols], splits taken out."""
    series = [read_bokeh(symbol) for symbol in _SYMBOLS]
    days = series[0].days
    for one in series[1:]:
        days = np.intersect1d(days, one.days)
    columns = []
    for one in series:
        rows = np.searchsorted(one.days, days)
        close = one.close[rows].copy()
        for split in one.splits:
            close[days < np.datetime64(split.ex_date, "D")] /= split.ratio
        columns.append(close[1:] / close[:-1] - 1)
    return np.column_stack(columns)


# -- the report


def to_report(rows: Iterable[CalibrationRow], *, traders: int, seconds: float) -> dict[str, object]:
    """The calibration as JSON values."""
    return {
        "traders": traders,
        "sessions": SESSIONS,
        "seconds": round(seconds, 1),
        "rows": [
            {
                "model": row.model,
                "sharpe_ann": row.sharpe_ann,
                **_rate("gate", row.gate),
                **_rate("bare", row.bare),
            }
            for row in rows
        ],
    }


def _rate(name: str, rate: Rate) -> dict[str, object]:
    return {
        f"{name}_promoted": rate.promoted,
        f"{name}_frac": rate.frac,
        f"{name}_low_frac": rate.low_frac,
        f"{name}_high_frac": rate.high_frac,
        f"{name}_median_sessions": rate.median_sessions,
    }


def standing_calibration(
    store: Store, policy: ReadinessPolicy, now: datetime
) -> Mapping[str, Any] | Unavailable:
    """The newest calibration's report, if it is of this policy."""
    found = store.latest_calibration(now)
    if found is None:
        return Unavailable("the gate was never calibrated; run 'greenlight readiness calibrate'")
    at, made_for, report = found
    if made_for != policy_hash(policy):
        return Unavailable(
            f"the calibration of {at:%Y-%m-%d} is of another policy; "
            "run 'greenlight readiness calibrate'"
        )
    return {"at": at.isoformat(), **report}
