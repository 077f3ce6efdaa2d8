"""Corporate actions as Alpaca's data API lists them.

Decided here: which item of the answer a split, a dividend or a symbol change
becomes. Before it stand the tapes' library; after it `rest_data`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from cluster.paper_exchange.orders import derived_id
from cluster.paper_exchange.tapes import TapeLibrary
from greenlight.domain.market import Dividend, Split, SymbolChange

ACTION_TYPES: Final = ("forward_split", "reverse_split", "cash_dividend", "name_change")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedAction:
    """One item; `kind` is its type, `day` the one it takes effect on."""

    kind: str
    day: date
    symbols: frozenset[str]
    item: dict[str, Any]


def actions_between(library: TapeLibrary, after: date, until: date) -> Iterator[ListedAction]:
    """Everything with `after` < day ≤ `until`, by type, then by day."""
    yield from map(_split, library.splits_between(after, until))
    yield from map(_dividend, library.dividends_between(after, until))
    yield from map(_change, library.symbol_changes_between(after, until))


def _cusip(symbol: str) -> str:
    return derived_id(f"cusip:{symbol}")[:9].replace("-", "0").upper()


def _split(split: Split) -> ListedAction:
    kind = "forward_split" if split.ratio >= 1 else "reverse_split"
    day = split.ex_date.isoformat()
    item = {
        "id": derived_id(f"split:{split.symbol}:{day}"),
        "symbol": split.symbol,
        "new_rate": split.ratio if split.ratio >= 1 else 1.0,
        "old_rate": 1.0 if split.ratio >= 1 else 1 / split.ratio,
        "process_date": day,
        "ex_date": day,
        "record_date": None,
        "payable_date": day,
    }
    names = ("cusip",) if kind == "forward_split" else ("old_cusip", "new_cusip")
    item |= dict.fromkeys(names, _cusip(split.symbol))
    return ListedAction(kind=kind, day=split.ex_date, symbols=frozenset({split.symbol}), item=item)


def _dividend(paid: Dividend) -> ListedAction:
    day = paid.ex_date.isoformat()
    item = {
        "id": derived_id(f"dividend:{paid.symbol}:{day}"),
        "symbol": paid.symbol,
        "cusip": _cusip(paid.symbol),
        "rate": paid.usd_a_share,
        "special": False,
        "foreign": False,
        "process_date": day,
        "ex_date": day,
        "record_date": day,
        "payable_date": day,
    }
    return ListedAction(
        kind="cash_dividend", day=paid.ex_date, symbols=frozenset({paid.symbol}), item=item
    )


def _change(change: SymbolChange) -> ListedAction:
    day = change.day.isoformat()
    item = {
        "id": derived_id(f"name:{change.old}:{change.new}:{day}"),
        "old_symbol": change.old,
        "old_cusip": _cusip(change.old),
        "new_symbol": change.new,
        "new_cusip": _cusip(change.new),
        "process_date": day,
    }
    return ListedAction(
        kind="name_change",
        day=change.day,
        symbols=frozenset({change.old, change.new}),
        item=item,
    )
