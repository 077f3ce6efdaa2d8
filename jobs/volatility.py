"""The nightly forecast of every symbol's volatility, and its score.

Before it stand daily bars; after it the store, whose forecasts the scorer and
the page read. A symbol whose fit fails keeps its last good forecast with its
age. Plain functions: `cluster.fanout` runs `forecast_chunk` and `score_chunk`
as tasks of several symbols each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar

from greenlight.domain.forecasts import FailedForecast, Model, VolatilityForecast, VolatilityScore
from greenlight.domain.market import (
    Bar,
    Split,
    Unavailable,
    eastern_date,
    sessions_between,
)
from greenlight.domain.volatility import VolatilityPolicy, daily_returns_pct, forecast, scores
from greenlight.ports import MarketData, Store

logger = logging.getLogger(__name__)

_R = TypeVar("_R")
_KEPT: Final = timedelta(days=30)
"""A forecast older than this is not shown or used any more."""
_TASK_S: Final = 0.25
_SYMBOL_S: Final = {Model.GARCH: 0.001, Model.GJR: 0.05}
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


@dataclass(frozen=True, slots=True, kw_only=True)
class AgedForecast:
    """A forecast and how many sessions have closed since the last one it knows."""

    forecast: VolatilityForecast
    age_sessions: int


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


def run_nightly(
    *,
    store: Store,
    market_data: MarketData,
    symbols: Sequence[str],
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
    StoreUnavailable, BrokerUnavailable
        The store or the market data does not answer; nothing is written.
    """
    histories = read_histories(store, market_data, symbols, now, policy)
    size = symbols_a_task(policy)
    chunks = [(histories[i : i + size], now, policy) for i in range(0, len(histories), size)]
    scored = [row for rows in fan_out(score_chunk, chunks) for row in rows]
    made = [row for rows in fan_out(forecast_chunk, chunks) for row in rows]
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
) -> list[History]:
    """Daily bars, splits and the last good forecast of each symbol, up to `now`."""
    # 252 sessions a year, with some to spare for holidays.
    start = now - timedelta(days=round(1.5 * policy.window) + 10)
    bars = market_data.bars(symbols, "1Day", start, now)
    splits = market_data.splits(symbols, eastern_date(start), eastern_date(now))
    previous = {made.symbol: made for made in store.latest_forecasts(now - _KEPT, now)}
    return [
        History(
            symbol=symbol,
            bars=tuple(bar for bar in bars.get(symbol, []) if bar.end <= now),
            splits=tuple(split for split in splits if split.symbol == symbol),
            previous=previous.get(symbol),
        )
        for symbol in symbols
    ]


def current_forecasts(store: Store, now: datetime) -> dict[str, AgedForecast]:
    """The last good forecast of each symbol with its age, none older than 30 days.

    Raises
    ------
    StoreUnavailable
        The store does not answer.
    """
    today = eastern_date(now)
    return {
        made.symbol: AgedForecast(
            forecast=made,
            age_sessions=sum(
                session.close <= now
                for session in sessions_between(made.through + timedelta(days=1), today)
            ),
        )
        for made in store.latest_forecasts(now - _KEPT, now + timedelta(microseconds=1))
    }
