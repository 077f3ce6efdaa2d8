"""How a resting entry is worked: left alone, priced again, or cancelled.

Before it stand sizing (the first limit and the highest price) and the latest
quote; after it the risk gate, which sends what was decided. An entry is always
a limit order. The size was judged at `max_price`, so no repricing needs the
risk chain again: whatever it fills at, it risks and costs no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.market import Quote, quote_refusal
from greenlight.domain.orders import round_price

LOOK_AGAIN: Final = timedelta(seconds=5)
"""A price that has not moved away is looked at again after this."""
TIMEOUT: Final = "entry_timeout"
HALTED: Final = "halted"
"""Reasons of a cancel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPolicy:
    """How long an entry rests and how often it is priced again.

    `timeout_s` counts from the first order, `reprice_after_s` from the last
    one; `reprices` is how often at most, 0 for never.

    Raises
    ------
    ValueError
        A time is not positive, or `reprices` is negative.
    """

    timeout_s: float
    reprices: int
    reprice_after_s: float

    def __post_init__(self) -> None:
        # Written so that NaN is refused too.
        if not (self.timeout_s > 0 and self.reprice_after_s > 0 and self.reprices >= 0):
            raise ValueError(f"not an entry policy: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingEntry:
    """An entry that rests; times aware UTC, prices US dollars.

    `first_at` and `last_at` are when its first and its last order were decided,
    `reprices` how many orders followed the first, `limit_price` what rests now.
    """

    first_at: datetime
    last_at: datetime
    reprices: int
    limit_price: Decimal
    max_price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Leave the order as it is."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reprice:
    """Change the order's limit."""

    limit_price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Take the rest of the order back."""

    reason: str


def work_entry(
    entry: WorkingEntry, quote: Quote | None, policy: EntryPolicy, limits: RiskLimits, now: datetime
) -> Keep | Reprice | Cancel:
    """Decide what becomes of a resting entry.

    Parameters
    ----------
    quote : Quote | None
        The last good quote of its symbol, if there is one.
    limits : RiskLimits
        `max_quote_age_s` and `max_spread_frac` say which quotes decide,
        `entry_slack_bps` how far above the ask a limit lies.
    now : datetime
        Aware UTC.

    Notes
    -----
    The new limit is ``min(ask * (1 + slack), max_price)``, to the tick. An ask
    above `max_price` is not followed: no price that is allowed would reach it.
    """
    if now >= entry.first_at + timedelta(seconds=policy.timeout_s):
        return Cancel(reason=TIMEOUT)
    if entry.reprices >= policy.reprices:
        return Keep(reason="no repricing is left")
    if now < entry.last_at + timedelta(seconds=policy.reprice_after_s):
        return Keep(reason="too soon")
    if quote is None or not _is_usable(quote, limits, now):
        return Keep(reason="no usable quote")
    if quote.ask <= entry.limit_price:
        return Keep(reason="the ask has not moved away")
    if quote.ask > entry.max_price:
        return Keep(reason="the ask is out of reach")
    wanted = round_price(quote.ask * (1 + limits.entry_slack_bps / 1e4), up=True)
    return Reprice(limit_price=min(wanted, entry.max_price))


def next_look(entry: WorkingEntry, policy: EntryPolicy, now: datetime) -> datetime:
    """When `work_entry` may decide something new: the next repricing or the time limit."""
    timeout = entry.first_at + timedelta(seconds=policy.timeout_s)
    if entry.reprices >= policy.reprices:
        return timeout
    due = entry.last_at + timedelta(seconds=policy.reprice_after_s)
    return min(timeout, due if due > now else now + LOOK_AGAIN)


def _is_usable(quote: Quote, limits: RiskLimits, now: datetime) -> bool:
    if quote_refusal(quote, None) is not None:
        return False
    age_s = (now - quote.at).total_seconds()
    spread = 2 * (quote.ask - quote.bid) / (quote.ask + quote.bid)
    return 0 <= age_s <= limits.max_quote_age_s and spread <= limits.max_spread_frac
