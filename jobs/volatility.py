"""The nightly forecast of every symbol's volatility, and its score.

Before it stand daily bars; after it the store, whose forecasts the risk gate,
the scorer and the page read. Models are fitted in the first session of a week,
on the other nights the variance runs on. A symbol whose fit fails keeps its
last good forecast with its age. `cluster.fanout` runs `forecast_chunk` as tasks
of several symbols each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Protocol, TypeVar

import numpy as np

from greenlight.domain.audit import DecisionKind
from greenlight.domain.corporate_actions import present_symbols, symbol_changes
from greenlight.domain.forecasts import (
    Distribution,
    FailedForecast,
    Model,
    VolatilityForecast,
    VolatilityScore,
)
from greenlight.domain.market import (
    Bar,
    Split,
    Unavailable,
    eastern_date,
)
from greenlight.domain.volatility import (
    VolatilityPolicy,
    daily_returns_pct,
    fit_garch,
    forecast,
    is_fit_due,
    scores,
)
from greenlight.ports import MarketData, Store
from jobs.forecasts import FORECAST_KEPT

logger = logging.getLogger(__name__)

_R = TypeVar("_R")
_TASK_S: Final = 0.25
_SYMBOL_S: Final = {Model.GARCH: 0.001, Model.GJR: 0.002}
"""About how long both distributions of a model take for one symbol."""


class FanOut(Protocol):
    """Calls a function on each chunk, here or elsewhere; answers in the chunks' order."""

    def __call__(
        self, function: Callable[..., _R], chunks: Iterable[tuple[object, ...]]
    ) -> Iterable[_R]:
        """See the class."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a forecast of one symbol needs; `previous` is its last good one."""

    symbol: str
    bars: tuple[Bar, ...]
    splits: tuple[Split, ...]
    previous: VolatilityForecast | None

    @property
    def through(self) -> date:
        """Session of its newest bar; there must be one."""
        return eastern_date(self.bars[-1].start)


@dataclass(frozen=True, slots=True, kw_only=True)
class NightlyForecasts:
    """What a night's work came to."""

    made: tuple[VolatilityForecast, ...]
    failed: tuple[FailedForecast, ...]
    scores: tuple[VolatilityScore, ...]


def forecast_chunk(
    histories: Sequence[History], now: datetime, policy: VolatilityPolicy
) -> list[VolatilityForecast | FailedForecast]:
    """Forecast several symbols; one that breaks costs only itself."""
    made: list[VolatilityForecast | FailedForecast] = []
    for history in histories:
        try:
            made.append(
                forecast(
                    symbol=history.symbol,
                    now=now,
                    bars=history.bars,
                    splits=history.splits,
                    previous=history.previous,
                    policy=policy,
                )
            )
        except Exception as error:
            logger.exception("a forecast broke", extra={"action": "forecast"})
            made.append(FailedForecast(symbol=history.symbol, at=now, reason=f"broke: {error!r}"))
    return made


def score_chunk(
    histories: Sequence[History], now: datetime, policy: VolatilityPolicy
) -> list[VolatilityScore]:
    """Score the last good forecasts in the session after the one they know."""
    found: list[VolatilityScore] = []
    for history in histories:
        made = history.previous
        if made is None:
            continue
        later = [bar for bar in history.bars if eastern_date(bar.start) > made.through]
        if not later:
            continue
        bars = history.bars[: len(history.bars) - len(later) + 1]
        returns_pct = daily_returns_pct(bars, history.splits, bars[-1].end, policy)
        if not isinstance(returns_pct, Unavailable):
            found += scores(made, returns_pct, later[0])
    return found


def here(function: Callable[..., _R], chunks: Iterable[tuple[object, ...]]) -> Iterable[_R]:
    """The fan-out that calls in this process, one chunk after the other."""
    return (function(*chunk) for chunk in chunks)


def symbols_a_task(policy: VolatilityPolicy) -> int:
    """How many symbols make a task long enough to be worth sending."""
    return max(1, round(_TASK_S / sum(_SYMBOL_S[model] for model in policy.models)))


class Forecaster:
    """Every night's work for one universe; see `run_nightly`.

    It remembers the week's daily bars, so that most nights ask for one session.

    Parameters
    ----------
    symbols : Sequence[str]
        The universe; symbol changes are followed.
    fan_out : FanOut
        Runs the fits.
    """

    def __init__(
        self,
        *,
        store: Store,
        market_data: MarketData,
        symbols: Sequence[str],
        policy: VolatilityPolicy,
        fan_out: FanOut = here,
    ) -> None:
        self._store = store
        self._market_data = market_data
        self._symbols = tuple(symbols)
        self._policy = policy
        self._fan_out = fan_out
        self._bars: dict[str, tuple[Bar, ...]] = {}
        self._week: tuple[int, int] | None = None

    def warm_up(self) -> None:
        """Load and compile what fits need, which takes seconds that no night should wait."""
        returns_pct = np.random.default_rng(0).normal(size=self._policy.min_returns)
        for distribution in Distribution:
            for model in self._policy.models:
                fit_garch(returns_pct, distribution, model=model)

    def __call__(self, now: datetime) -> NightlyForecasts:
        """Score and forecast after a session's close (aware UTC); see `run_nightly`."""
        year, week, _ = eastern_date(now).isocalendar()
        if self._week != (year, week):
            # What the broker corrected since is read again with the fit.
            self._week, self._bars = (year, week), {}
        rows = self._store.decisions(kind=DecisionKind.ADJUST, limit=None)
        symbols = present_symbols(self._symbols, symbol_changes(row.decision for row in rows))
        histories = read_histories(
            self._store, self._market_data, symbols, now, self._policy, known=self._bars
        )
        self._bars = {history.symbol: history.bars for history in histories}
        return run_nightly(
            store=self._store,
            histories=histories,
            now=now,
            policy=self._policy,
            fan_out=self._fan_out,
        )


def run_nightly(
    *,
    store: Store,
    histories: Sequence[History],
    now: datetime,
    policy: VolatilityPolicy,
    fan_out: FanOut = here,
) -> NightlyForecasts:
    """Score the last forecasts, make new ones, and store both.

    Parameters
    ----------
    now : datetime
        Aware UTC, after a session's close.

    Raises
    ------
    StoreUnavailable
        The store does not answer; a repetition completes what was written.
    """
    # A task is worth sending for a fit alone.
    due: list[History] = []
    rest: list[History] = []
    for history in histories:
        is_due = bool(history.bars) and is_fit_due(history.previous, history.through)
        (due if is_due else rest).append(history)
    size = symbols_a_task(policy)
    chunks = [(due[i : i + size], now, policy) for i in range(0, len(due), size)]
    scored = score_chunk(histories, now, policy)
    # One task alone would only wait for a worker that has to load everything first.
    run = fan_out if len(chunks) > 1 else here
    made = [row for rows in run(forecast_chunk, chunks) for row in rows]
    made += forecast_chunk(rest, now, policy)
    store.write_volatility_scores(scored)
    store.write_forecasts(made)
    return NightlyForecasts(
        made=tuple(row for row in made if isinstance(row, VolatilityForecast)),
        failed=tuple(row for row in made if isinstance(row, FailedForecast)),
        scores=tuple(scored),
    )


def read_histories(
    store: Store,
    market_data: MarketData,
    symbols: Sequence[str],
    now: datetime,
    policy: VolatilityPolicy,
    *,
    known: Mapping[str, Sequence[Bar]],
) -> list[History]:
    """Daily bars, splits and the last good forecast of each symbol, up to `now`.

    Parameters
    ----------
    known : Mapping[str, Sequence[Bar]]
        Bars of every symbol that need not be asked for again; empty: none.

    Raises
    ------
    StoreUnavailable, BrokerUnavailable, BrokerRefused
        The store or the market data does not answer.
    """
    # 252 sessions a year, with some to spare for holidays.
    start = now - timedelta(days=round(1.5 * policy.window) + 10)
    newest = [bars[-1].end for bars in known.values() if bars]
    bars = market_data.bars(symbols, "1Day", min(newest, default=start), now)
    splits = market_data.splits(symbols, eastern_date(start), eastern_date(now))
    previous = {made.symbol: made for made in store.latest_forecasts(now - FORECAST_KEPT, now)}
    histories = []
    for symbol in symbols:
        seen = tuple(known.get(symbol, ()))
        last = seen[-1].start if seen else start
        later = tuple(b for b in bars.get(symbol, []) if last < b.start and b.end <= now)
        own = tuple(split for split in splits if split.symbol == symbol)
        histories.append(
            History(symbol=symbol, bars=seen + later, splits=own, previous=previous.get(symbol))
        )
    return histories
