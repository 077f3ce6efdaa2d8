"""States of the market, and how the desk did in each.

Before it stand daily returns of the universe and of the desk; after it the monthly
report. The state of a session is known before it begins: nothing of the session
itself decides in which state it counts. Returns are simple, as fractions.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from statistics import mean, median, stdev
from typing import Final

from greenlight.domain.market import Unavailable
from greenlight.domain.metrics import SESSIONS_A_YEAR, sharpe_ann

WINDOW: Final = 20
"""Sessions that trend and volatility are taken over: a month (ours)."""


class Volatility(StrEnum):
    """Whether the last month moved more than the months before it did."""

    LOW = "low volatility"
    HIGH = "high volatility"


class Trend(StrEnum):
    """Whether the market stands above its mean of the last month."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """The desk in one state: sessions, linked returns of the desk and the market, Sharpe."""

    volatility: Volatility
    trend: Trend
    sessions: int
    return_frac: float
    market_frac: float
    sharpe_ann: float | Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Regimes:
    """Every state that occurred, and the one at the end (`volatility_ann` a year, fraction)."""

    rows: tuple[Regime, ...]
    volatility: Volatility
    trend: Trend
    volatility_ann: float


def regimes(market: Mapping[date, float], own: Mapping[date, float]) -> Regimes | Unavailable:
    """Sort the desk's sessions by the state of the market.

    Parameters
    ----------
    market, own : Mapping[date, float]
        Daily returns by day; the market's without a gap.

    Notes
    -----
    With the market's level ``L`` (the product of its returns), a session's trend is
    up where ``L`` after the session before exceeds the mean of its last 20 values;
    its volatility is high where the standard deviation of the last 20 returns before
    it exceeds the median of all such deviations so far. So the first 20 sessions
    have no state.
    """
    days = sorted(market)
    if len(days) < WINDOW:
        return Unavailable(f"{len(days)} daily returns of the market; a state needs {WINDOW}")
    levels, level = [1.0], 1.0
    for day in days:
        level *= 1 + market[day]
        levels.append(level)
    deviations: list[float] = []
    groups: defaultdict[tuple[Volatility, Trend], list[date]] = defaultdict(list)
    state = (Volatility.LOW, Trend.DOWN)
    for place in range(WINDOW, len(days) + 1):
        deviations.append(stdev(market[day] for day in days[place - WINDOW : place]))
        is_high = deviations[-1] > median(deviations)
        is_up = levels[place] > mean(levels[place - WINDOW + 1 : place + 1])
        state = (
            Volatility.HIGH if is_high else Volatility.LOW,
            Trend.UP if is_up else Trend.DOWN,
        )
        if place < len(days) and days[place] in own:
            groups[state].append(days[place])
    return Regimes(
        rows=tuple(
            _regime(volatility, trend, groups[volatility, trend], market, own)
            for volatility in Volatility
            for trend in Trend
            if groups[volatility, trend]
        ),
        volatility=state[0],
        trend=state[1],
        volatility_ann=deviations[-1] * math.sqrt(SESSIONS_A_YEAR),
    )


def _regime(
    volatility: Volatility,
    trend: Trend,
    days: list[date],
    market: Mapping[date, float],
    own: Mapping[date, float],
) -> Regime:
    return Regime(
        volatility=volatility,
        trend=trend,
        sessions=len(days),
        return_frac=math.prod(1 + own[day] for day in days) - 1,
        market_frac=math.prod(1 + market[day] for day in days) - 1,
        sharpe_ann=sharpe_ann([own[day] for day in days]),
    )
