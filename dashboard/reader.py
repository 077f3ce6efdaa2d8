"""What the page reads: one snapshot a refresh, the last good one kept.

Before it stand the store, the cache and the desk's file; after it the view
model. It writes nothing. A store that does not answer costs a sentence on the
page; what was read last stays there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from dashboard.view_model import CurvePoint, Price, curve
from greenlight.domain.audit import DecisionKind
from greenlight.domain.corporate_actions import recorded_splits, split_factor
from greenlight.domain.forecasts import VolatilityScore
from greenlight.domain.market import eastern_date
from greenlight.domain.positions import Position
from greenlight.domain.readiness import Evaluation, ReadinessPolicy
from greenlight.domain.sentiment_status import SentimentStatus, from_json
from greenlight.domain.trades import Trade
from greenlight.ports import Cache, Coverage, Halt, SchemaError, Store, StoreUnavailable
from jobs.forecasts import AgedForecast, current_forecasts
from jobs.readiness import WINDOW, Evaluator, present

logger = logging.getLogger(__name__)

TRADES: Final = 25
"""Closed trades that the page shows."""
_RECENT: Final = timedelta(minutes=30)
_SCORES: Final = timedelta(days=90)
_COVERAGE: Final = timedelta(days=10)
_NO_DESK: Final = "No desk is running. Start one with: greenlight up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the desk keeps things; `cache_url` and the pages only where there are some."""

    database_url: str
    cache_url: str | None
    ray_dashboard_url: str | None


def find_desk(home: Path, database_url: str | None) -> Addresses | None:
    """The addresses that a running desk wrote into its folder, or the given database."""
    try:
        row = json.loads((home / "desk.json").read_text())
        return Addresses(
            database_url=row["database_url"],
            cache_url=row.get("redis_url"),
            ray_dashboard_url=row.get("ray_dashboard_url"),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        if database_url is None:
            return None
        return Addresses(database_url=database_url, cache_url=None, ray_dashboard_url=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that the page shows, read at once; times aware UTC."""

    now: datetime
    evaluation: Evaluation
    curve: tuple[CurvePoint, ...]
    positions: tuple[Position, ...]
    prices: dict[str, Price]
    coverage: tuple[Coverage, ...]
    trades: tuple[Trade, ...]
    halts: tuple[Halt, ...]
    forecasts: tuple[AgedForecast, ...]
    scores: tuple[VolatilityScore, ...]
    sentiment: SentimentStatus | None
    """How the model that reads the news stands; None: none ever did."""
    changed_at: datetime
    """When, by the clock, the evidence last moved on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A refresh: the snapshot (an old one after a failure), and what went wrong."""

    snapshot: Snapshot | None
    trouble: str | None
    ray_dashboard_url: str | None = None


class DeskReader:
    """Reads the desk again and again.

    Parameters
    ----------
    find : Callable[[], Addresses | None]
        Where the desk is now; asked at every refresh, because it may move.
    connect : Callable[[Addresses], tuple[Store, Cache]]
        Opens its store and cache.
    clock : Callable[[], datetime]
        The present, aware UTC.
    sentiment : Callable[[Store], Mapping[str, object] | None]
        The stored state of the model that reads the news.
    """

    def __init__(
        self,
        *,
        find: Callable[[], Addresses | None],
        connect: Callable[[Addresses], tuple[Store, Cache]],
        clock: Callable[[], datetime],
        sentiment: Callable[[Store], Mapping[str, object] | None] = lambda _: None,
    ) -> None:
        self._sentiment = sentiment
        self._find = find
        self._connect = connect
        self._clock = clock
        self._addresses: Addresses | None = None
        self._desk: tuple[Store, Cache, Evaluator] | None = None
        self._last: Snapshot | None = None

    def read(self) -> Reading:
        """One refresh; never raises for what the store or the network did."""
        addresses = self._find()
        if addresses is None:
            return Reading(snapshot=self._last, trouble=_NO_DESK)
        try:
            self._last = self._snapshot(addresses)
        except StoreUnavailable:
            trouble = "The store does not answer. The stops at the broker stay where they are."
        except SchemaError as error:
            trouble = f"The store cannot be read: {error}"
        except Exception:
            # One step of the page's loop: the next refresh tries again.
            logger.exception("a refresh failed", extra={"action": "refresh"})
            trouble = "The page could not be brought up to date; the log says why."
        else:
            return Reading(
                snapshot=self._last,
                trouble=None,
                ray_dashboard_url=addresses.ray_dashboard_url,
            )
        return Reading(snapshot=self._last, trouble=trouble)

    def _snapshot(self, addresses: Addresses) -> Snapshot:
        if self._desk is None or addresses != self._addresses:
            store, cache = self._connect(addresses)
            self._desk = (store, cache, Evaluator(store, ReadinessPolicy()))
            self._addresses = addresses
        store, cache, evaluator = self._desk
        clock_now = self._clock()
        now = present(store, clock_now)
        evaluation = evaluator(now)
        since = evaluation.since or now
        closes = store.equity(max(since, now - WINDOW), now + _TICK, "broker")
        # Before the first close the day's first hours are the whole curve.
        begin = closes[-1].at if closes else max(since, now - timedelta(days=1))
        minutes = store.equity(begin, now + _TICK, "desk")
        positions = tuple(store.open_positions())
        last = self._last
        model = self._sentiment(store)
        is_same = last is not None and last.now == now and last.evaluation == evaluation
        is_live = evaluation.account_kind != "replay"
        newest = max([m.at for m in (*minutes[-1:], *closes[-1:])], default=clock_now)
        return Snapshot(
            now=now,
            evaluation=evaluation,
            curve=curve(closes, minutes, store.cash_movements(start=since - _MOVED, limit=None)),
            positions=positions,
            prices=_prices(store, cache, positions, now),
            coverage=tuple(store.coverage(now - _COVERAGE, now + timedelta(days=1))),
            trades=tuple(store.trades(limit=TRADES)),
            halts=tuple(store.halts_in_force(now)),
            forecasts=tuple(current_forecasts(store, now).values()),
            scores=tuple(store.volatility_scores((now - _SCORES).date(), now.date())),
            sentiment=None if model is None else from_json(model),
            changed_at=newest
            if is_live
            else last.changed_at
            if last is not None and is_same
            else clock_now,
        )


_TICK: Final = timedelta(microseconds=1)
_MOVED: Final = timedelta(days=30)
"""A transfer in a mark may be dated so much earlier."""
_ADJUSTED: Final = timedelta(days=7)
"""A price that is older than this is of a desk that does not run."""


def _prices(
    store: Store, cache: Cache, positions: tuple[Position, ...], now: datetime
) -> dict[str, Price]:
    """Latest mids from the cache; where it has none, the last minute bar's close.

    In the shares of today: before the open after a split the last price is of others.
    """
    symbols = [p.symbol for p in positions]
    found = {
        symbol: Price(price=(quote.bid + quote.ask) / 2, at=quote.at)
        for symbol, quote in cache.quotes(symbols).items()
    }
    for symbol in symbols:
        if symbol not in found:
            for bar in store.bars(symbol, "1Min", now - _RECENT, now + _TICK)[-1:]:
                found[symbol] = Price(price=bar.close, at=bar.end)
    rows = store.decisions(kind=DecisionKind.ADJUST, start=now - _ADJUSTED, limit=None)
    splits, today = recorded_splits(row.decision for row in rows), eastern_date(now)
    return {
        symbol: replace(
            last, price=last.price / split_factor(splits, symbol, eastern_date(last.at), today)
        )
        for symbol, last in found.items()
    }


def system_clock() -> datetime:
    """The machine's clock, aware UTC."""
    return datetime.now(UTC)
