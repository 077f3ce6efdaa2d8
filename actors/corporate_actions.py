"""Follows splits and symbol changes before a session, or when one was missed.

Before it stand the broker's announcements; after it the ledger and the
position monitors. Market data owns one and calls it before the open, and while
it fills in what it missed, where a fill of a later day may only be booked after
what changed the shares before it. Every call is safe to repeat.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from actors.links import MonitorsLink
from greenlight.domain.corporate_actions import (
    present_symbols,
    split_decision,
    symbol_change_decision,
)
from greenlight.domain.market import Split, SymbolChange, eastern_date
from greenlight.domain.positions import WatchBand
from greenlight.ports import MarketData, Notifier, Store

logger = logging.getLogger(__name__)

LOOK_BACK: Final = timedelta(days=30)
"""Symbol changes, and splits of what is not held, are looked for this far back."""

Bands = dict[str, WatchBand | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What was found up to a day's open, told for the first time or again.

    `bands` are the monitors' answers, `ex_dates` the last split of each held
    symbol, `changes` the symbol changes of the last weeks, oldest first.
    """

    bands: Bands
    ex_dates: dict[str, date]
    changes: tuple[SymbolChange, ...]


class CorporateActions:
    """See the module.

    Parameters
    ----------
    symbols : Sequence[str]
        The universe, under its names of today.
    desk : str
        Name of the desk, for its decisions.
    """

    def __init__(
        self,
        *,
        store: Store,
        market_data: MarketData,
        monitors: MonitorsLink,
        notifier: Notifier,
        symbols: Sequence[str],
        desk: str,
    ) -> None:
        self._store = store
        self._market_data = market_data
        self._monitors = monitors
        self._notifier = notifier
        self._desk = desk
        self.symbols = tuple(symbols)

    def apply(self, day: date, now: datetime) -> Followed:
        """Follow every symbol change and split that took effect up to a day's open."""
        changes, bands = self._follow_changes(day, now)
        opened = {p.symbol: eastern_date(p.opened_at) for p in self._store.open_positions()}
        ex_dates: dict[str, date] = {}
        for split in self._splits(opened, day):
            symbol, ex_date = split.symbol, split.ex_date
            if symbol in opened and opened[symbol] < ex_date:
                ratio = Decimal(repr(split.ratio))
                bands[symbol] = self._monitors.on_split(symbol, ex_date, ratio, now)
                ex_dates[symbol] = ex_date
            else:
                self._store.record_decision(split_decision(self._desk, split, now))
        return Followed(bands=bands, ex_dates=ex_dates, changes=changes)

    # -- inside
    def _splits(self, opened: Mapping[str, date], day: date) -> list[Split]:
        """Those of the last weeks and since any position was opened, also where known before."""
        first = min((day - LOOK_BACK, *opened.values()))
        found = self._market_data.splits(sorted({*self.symbols, *opened}), first, day)
        return sorted(found, key=lambda s: (s.ex_date, s.symbol))

    def _follow_changes(self, day: date, now: datetime) -> tuple[tuple[SymbolChange, ...], Bands]:
        held = {p.symbol for p in self._store.open_positions()}
        watched = sorted({*self.symbols, *held})
        found = self._market_data.symbol_changes(watched, day - LOOK_BACK, day)
        bands: Bands = {}
        for change in found:
            self._rename(change, now)
            if self._store.open_orders(change.old):
                # The old name's protection rests for nobody now.
                bands[change.old] = self._monitors.check(change.old, now)
        self.symbols = present_symbols(self.symbols, found)
        return found, bands

    def _rename(self, change: SymbolChange, now: datetime) -> None:
        position = self._store.position(change.old)
        if position is not None and eastern_date(position.opened_at) >= change.day:
            # Other shares, which took the name later.
            position = None
        decision = symbol_change_decision(self._desk, change, position, now)
        if position is None:
            self._store.record_decision(decision)
            return
        try:
            self._store.adjust_position(replace(position, symbol=change.new), decision)
        except ValueError as error:
            logger.error("symbol change: %s", error, extra={"action": "rename"})
            self._notifier.alert(f"{change.old} is now {change.new}: {error}; merge them by hand")
