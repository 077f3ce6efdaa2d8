"""What splits, cash dividends and symbol changes do to history, cash and names.

Before it stand market data and the broker's account activities; after it the
strategist (history in today's shares), market data (which books payments and
follows names) and the stores. Prices of bars are float64 US dollars, money
`Decimal`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

from greenlight.domain.audit import Decision, DecisionKind, Figure, Verdict
from greenlight.domain.market import Bar, Split, SymbolChange, eastern_date
from greenlight.domain.orders import decision_id
from greenlight.domain.positions import Position

SPLIT = "split"
"""Reason of the decision row of a split; a refused one says more after it."""
DIVIDEND = "dividend"
"""Reason of the decision row of a payment."""
SYMBOL_CHANGE = "symbol change"
"""Reason of the decision row of a new name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DividendPaid:
    """Cash that the account received for shares held; negative for tax withheld.

    `activity_id` is the broker's. `usd` is exact; `qty` and `usd_a_share` are
    what the broker says it paid for, None where it does not say. `position_id`
    is the position that earned it, None until it is booked, or where it is gone.
    """

    activity_id: str
    symbol: str
    at: datetime
    usd: Decimal
    qty: Decimal | None
    usd_a_share: Decimal | None
    position_id: str | None = None


def split_factor(splits: Iterable[Split], symbol: str, after: date, until: date) -> float:
    """How many shares of `until` one share of `after` has become.

    Notes
    -----
    The product of the ratios with ``after < ex_date <= until``; 1 without a split.
    """
    return math.prod(s.ratio for s in splits if s.symbol == symbol and after < s.ex_date <= until)


def split_adjusted(bars: Sequence[Bar], splits: Sequence[Split], day: date) -> list[Bar]:
    """Raw bars as they read in the shares of a day.

    Parameters
    ----------
    bars : Sequence[Bar]
        Raw, of any symbols.
    splits : Sequence[Split]
        All that took effect since the first bar.
    day : date
        Whose shares; later splits are not applied.

    Returns
    -------
    list[Bar]
        In the order given: prices divided by the factor since the bar's day,
        the volume times it (to the share). Dividends are left in.
    """
    if not splits:
        return list(bars)
    return [_in_shares_of(bar, splits, day) for bar in bars]


def _in_shares_of(bar: Bar, splits: Sequence[Split], day: date) -> Bar:
    factor = split_factor(splits, bar.symbol, eastern_date(bar.start), day)
    if factor == 1:
        return bar
    return replace(
        bar,
        open=bar.open / factor,
        high=bar.high / factor,
        low=bar.low / factor,
        close=bar.close / factor,
        volume=round(bar.volume * factor),
    )


def split_decision(desk: str, split: Split, at: datetime) -> Decision:
    """The decision row of a split of what is only watched: its history changes."""
    day = split.ex_date.isoformat()
    return Decision(
        decision_id=decision_id(desk, SPLIT, split.symbol, day),
        at=at,
        kind=DecisionKind.ADJUST,
        verdict=Verdict.TAKEN,
        symbol=split.symbol,
        strategy=None,
        reason=SPLIT,
        figures={"ex_date": day, "ratio": str(split.ratio), "qty": 0},
    )


def recorded_splits(decisions: Iterable[Decision]) -> tuple[Split, ...]:
    """The splits that decision rows tell of, each once, by ex-date and symbol."""
    found = {
        (str(row.figures["ex_date"]), row.symbol): float(str(row.figures["ratio"]))
        for row in decisions
        if row.reason.startswith(SPLIT) and "ex_date" in row.figures and row.symbol is not None
    }
    return tuple(
        Split(symbol=symbol, ex_date=date.fromisoformat(day), ratio=ratio)
        for (day, symbol), ratio in sorted(found.items())
        if symbol is not None
    )


def dividend_decision(desk: str, paid: DividendPaid) -> Decision:
    """The decision row of a payment; the same payment gives the same row."""
    figures: dict[str, Figure] = {
        "usd": str(paid.usd),
        "qty": None if paid.qty is None else str(paid.qty),
        "usd_a_share": None if paid.usd_a_share is None else str(paid.usd_a_share),
        "position_id": paid.position_id,
    }
    return Decision(
        decision_id=decision_id(desk, DIVIDEND, paid.activity_id),
        at=paid.at,
        kind=DecisionKind.ADJUST,
        verdict=Verdict.TAKEN,
        symbol=paid.symbol,
        strategy=None,
        reason=DIVIDEND,
        figures=figures,
    )


def symbol_change_decision(
    desk: str, change: SymbolChange, position: Position | None, at: datetime
) -> Decision:
    """The decision row of a new name, for what is held and for what is only watched."""
    day = change.day.isoformat()
    return Decision(
        decision_id=decision_id(desk, SYMBOL_CHANGE, change.old, change.new, day),
        at=at,
        kind=DecisionKind.ADJUST,
        verdict=Verdict.TAKEN,
        symbol=change.new,
        strategy=None if position is None else position.strategy,
        reason=SYMBOL_CHANGE,
        figures={
            "symbol.before": change.old,
            "symbol": change.new,
            "day": day,
            "qty": 0 if position is None else position.qty,
        },
    )


def symbol_changes(decisions: Iterable[Decision]) -> tuple[SymbolChange, ...]:
    """The changes that decision rows tell of, oldest first."""
    found = [
        SymbolChange(
            old=str(row.figures["symbol.before"]),
            new=str(row.figures["symbol"]),
            day=date.fromisoformat(str(row.figures["day"])),
        )
        for row in decisions
        if row.reason == SYMBOL_CHANGE
    ]
    return tuple(sorted(found, key=lambda change: change.day))


def present_symbol(symbol: str, changes: Iterable[SymbolChange]) -> str:
    """What a symbol is called after changes, oldest first."""
    for change in changes:
        if change.old == symbol:
            symbol = change.new
    return symbol


def present_symbols(symbols: Iterable[str], changes: Sequence[SymbolChange]) -> tuple[str, ...]:
    """Symbols under their present names, each once, in their order."""
    return tuple(dict.fromkeys(present_symbol(symbol, changes) for symbol in symbols))
