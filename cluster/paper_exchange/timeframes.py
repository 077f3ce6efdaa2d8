"""Timeframes of bars, and how finer bars fold into coarser ones.

Decided here: which buckets a timeframe has: minutes and hours from midnight
New York, weeks from Monday, months from the first. Used by `rest_data`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import Any, Final

from cluster.paper_exchange.orders import to_datetime, to_ns
from cluster.paper_exchange.refusal import Refused
from greenlight.domain.market import EASTERN, eastern_date, eastern_midnight

_UNITS: Final = {
    "Min": ("Min", 59),
    "T": ("Min", 59),
    "Hour": ("Hour", 23),
    "H": ("Hour", 23),
    "Day": ("Day", 1),
    "D": ("Day", 1),
    "Week": ("Week", 1),
    "W": ("Week", 1),
    "Month": ("Month", 12),
    "M": ("Month", 12),
}
_PATTERN: Final = re.compile(r"(\d+)([A-Za-z]+)")
_MONTHS: Final = (1, 2, 3, 4, 6, 12)


@dataclass(frozen=True, slots=True)
class Timeframe:
    """So many of a unit: Min, Hour, Day, Week or Month."""

    amount: int
    unit: str

    @property
    def is_daily(self) -> bool:
        """Made of daily bars rather than of minute bars."""
        return self.unit in ("Day", "Week", "Month")

    @property
    def is_base(self) -> bool:
        """One minute or one day: nothing to fold."""
        return self.amount == 1 and self.unit in ("Min", "Day")

    @property
    def span(self) -> timedelta:
        """The longest time that one bar covers."""
        days = {"Day": 1, "Week": 7, "Month": 31}
        if self.unit in days:
            return timedelta(days=self.amount * days[self.unit])
        return timedelta(minutes=self.amount * (60 if self.unit == "Hour" else 1))

    def bucket_ns(self, at_ns: int) -> int:
        """Start of the bar that an instant falls into (ns, UTC)."""
        at = to_datetime(at_ns)
        day = eastern_date(at)
        if self.unit == "Day":
            first = day
        elif self.unit == "Week":
            first = day - timedelta(days=day.weekday())
        elif self.unit == "Month":
            first = date(day.year, day.month - (day.month - 1) % self.amount, 1)
        else:
            local = at.astimezone(EASTERN)
            width = self.amount * (60 if self.unit == "Hour" else 1)
            minute = local.hour * 60 + local.minute
            back = timedelta(
                minutes=minute % width, seconds=local.second, microseconds=local.microsecond
            )
            return to_ns(at - back)
        return to_ns(eastern_midnight(first))


def parse_timeframe(value: str) -> Timeframe:
    """Read `5Min`, `1Hour`, `1Day`, `1Week`, `3Month` or their short forms.

    Raises
    ------
    Refused
        400 for anything else.
    """
    match = _PATTERN.fullmatch(value)
    if match and match[2] in _UNITS:
        unit, most = _UNITS[match[2]]
        amount = int(match[1])
        if 1 <= amount <= most and (unit != "Month" or amount in _MONTHS):
            return Timeframe(amount, unit)
    raise Refused(400, None, f"invalid timeframe: {value}")


def fold(
    bars: Iterable[tuple[int, dict[str, Any]]], timeframe: Timeframe
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Fold (start ns, bar) pairs, in order of time, into a coarser timeframe."""
    for start_ns, pairs in groupby(bars, key=lambda pair: timeframe.bucket_ns(pair[0])):
        group = [bar for _, bar in pairs]
        volume = sum(bar["v"] for bar in group)
        value = sum(bar["vw"] * bar["v"] for bar in group)
        yield (
            start_ns,
            {
                "o": group[0]["o"],
                "h": max(bar["h"] for bar in group),
                "l": min(bar["l"] for bar in group),
                "c": group[-1]["c"],
                "v": volume,
                "n": sum(bar["n"] for bar in group),
                "vw": round(value / volume, 6) if volume else group[-1]["c"],
            },
        )
