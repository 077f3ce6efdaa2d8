"""The scorer: what to do with a position that is held, and why.

Before it stand positions, daily closes and volatility forecasts; after it the
portfolio review, and the monitors where a setting lets them act. Each input
gives a contribution from -1 (leave) to +1 (room for more); their weighted mean
is the score. An input that is missing is left out and named: it neither helps
nor hurts, and nothing is added to a position whose forecast is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from greenlight.domain.market import Unavailable

MOMENTUM_SESSIONS: Final = 20
"""Sessions of momentum: one month of trading."""
WEIGHTS: Final = {"momentum": 0.35, "sector": 0.20, "weight": 0.15, "volatility": 0.30}
"""Share of each input in the score; ours, momentum and volatility first."""
_SECTOR_SPAN_FRAC: Final = 0.05
"""A sector this far ahead of or behind the universe over a month counts fully."""
_MOMENTUM_SPAN: Final = 2.0
"""A month's return this many of its standard deviations from zero counts fully."""
ADD_ABOVE: Final = 0.40
TRIM_BELOW: Final = -0.25
EXIT_BELOW: Final = -0.60
_SESSIONS_A_YEAR: Final = 252
_MIN_RETURNS: Final = 20
"""Daily returns below which a realised volatility is not known: a month (ours)."""
_MIN_WEIGHT_KNOWN: Final = 0.5
"""Inputs with less than this share of the weights make no score."""


class Action(StrEnum):
    """What the scorer would do, in the order of urgency."""

    EXIT = "exit"
    TRIM = "trim"
    ADD = "add"
    HOLD = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreInputs:
    """What is known of one position; every part may be missing.

    `closes` are its daily closes, adjusted, oldest first, US dollars.
    `sector_returns_frac` are one-month returns of its sector's symbols,
    `universe_returns_frac` those of all symbols. `weight_frac` is its marked
    value over equity, `max_weight_frac` the limit. `forecast_vol_ann` and
    `usual_vol_ann` are annualised standard deviations as fractions: the
    forecast and what is usual for the symbol.
    """

    symbol: str
    closes: Sequence[float]
    sector_returns_frac: Sequence[float]
    universe_returns_frac: Sequence[float]
    weight_frac: float | None
    max_weight_frac: float
    forecast_vol_ann: float | None
    usual_vol_ann: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A scored position. `contributions` add up to `value`, each already weighted.

    `missing` names the inputs that were left out and why.
    """

    symbol: str
    action: Action
    value: float
    contributions: Mapping[str, float]
    missing: Mapping[str, str]


def month_return(closes: Sequence[float]) -> float | Unavailable:
    """Return over the last `MOMENTUM_SESSIONS` sessions, as a fraction."""
    recent = closes[-MOMENTUM_SESSIONS - 1 :]
    if len(recent) <= MOMENTUM_SESSIONS:
        return Unavailable(f"{len(closes)} closes, {MOMENTUM_SESSIONS + 1} are needed")
    if not all(math.isfinite(close) and close > 0 for close in recent):
        return Unavailable("a close is not a price")
    return recent[-1] / recent[0] - 1


def score(inputs: ScoreInputs) -> Score | Unavailable:
    """Score one position.

    Returns
    -------
    Score | Unavailable
        Unavailable where less than half of the inputs' weight is known.

    Notes
    -----
    momentum: the month's log return over its standard deviation, 2 counts
    fully. sector: mean return of the sector less the universe's, 5% counts
    fully. weight: +1 at nothing, 0 at half the limit, -1 at the limit.
    volatility: ``log2(usual / forecast)``, so twice the usual is -1. With a
    forecast at or above twice the usual the action moves one step towards
    EXIT, and without a forecast ADD becomes HOLD.
    """
    found = {
        "momentum": _momentum(inputs.closes),
        "sector": _sector(inputs.sector_returns_frac, inputs.universe_returns_frac),
        "weight": _weight(inputs.weight_frac, inputs.max_weight_frac),
        "volatility": _volatility(inputs.forecast_vol_ann, inputs.usual_vol_ann),
    }
    known = {name: part for name, part in found.items() if not isinstance(part, Unavailable)}
    missing = {name: part.reason for name, part in found.items() if isinstance(part, Unavailable)}
    total = sum(WEIGHTS[name] for name in known)
    if total < _MIN_WEIGHT_KNOWN:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        return Unavailable(f"too little is known of {inputs.symbol}: {reasons}")
    contributions = {name: WEIGHTS[name] / total * part for name, part in known.items()}
    value = sum(contributions.values())
    return Score(
        symbol=inputs.symbol,
        action=_action(value, known.get("volatility")),
        value=value,
        contributions=contributions,
        missing=missing,
    )


def score_holdings(
    weights_frac: Mapping[str, float | None],
    *,
    closes: Mapping[str, Sequence[float]],
    sectors: Mapping[str, str],
    forecasts_vol_ann: Mapping[str, float],
    max_weight_frac: float,
) -> tuple[list[Score], dict[str, str]]:
    """Score what is held, and name the reason for every holding without a score.

    Parameters
    ----------
    weights_frac : Mapping[str, float | None]
        Marked value over equity by symbol held; None where it is not known.
    closes : Mapping[str, Sequence[float]]
        Adjusted daily closes of the universe, oldest first.
    sectors : Mapping[str, str]
        Sector by symbol; those without one are one sector together.
    forecasts_vol_ann : Mapping[str, float]
        Expected volatility a year as a fraction, of the symbols that have one.
    """
    months = {symbol: month_return(days) for symbol, days in closes.items()}
    gains = {s: gain for s, gain in months.items() if not isinstance(gain, Unavailable)}
    scores: list[Score] = []
    unscored: dict[str, str] = {}
    for symbol, weight in weights_frac.items():
        days = closes.get(symbol, ())
        peers = [gain for s, gain in gains.items() if sectors.get(s) == sectors.get(symbol)]
        found = score(
            ScoreInputs(
                symbol=symbol,
                closes=days,
                sector_returns_frac=peers,
                universe_returns_frac=list(gains.values()),
                weight_frac=weight,
                max_weight_frac=max_weight_frac,
                forecast_vol_ann=forecasts_vol_ann.get(symbol),
                usual_vol_ann=realised_volatility(days),
            )
        )
        if isinstance(found, Unavailable):
            unscored[symbol] = found.reason
        else:
            scores.append(found)
    return by_urgency(scores), unscored


def realised_volatility(closes: Sequence[float]) -> float | None:
    """Volatility a year, as a fraction, of daily closes; None for too few or a bad one.

    Notes
    -----
    ``sqrt(252) s`` with the sample standard deviation ``s`` of the log returns.
    """
    if len(closes) <= _MIN_RETURNS or not min(closes) > 0:
        return None
    steps = [math.log(b) - math.log(a) for a, b in pairwise(closes)]
    mean = sum(steps) / len(steps)
    variance = sum((step - mean) ** 2 for step in steps) / (len(steps) - 1)
    return math.sqrt(_SESSIONS_A_YEAR * variance)


def by_urgency(scores: Sequence[Score]) -> list[Score]:
    """What needs attention first: EXIT, TRIM, ADD, HOLD, the lowest score first in each."""
    order = list(Action)
    return sorted(scores, key=lambda s: (order.index(s.action), s.value, s.symbol))


def _action(value: float, volatility: float | None) -> Action:
    steps = (Action.ADD, Action.HOLD, Action.TRIM, Action.EXIT)
    bounds = (ADD_ABOVE, TRIM_BELOW, EXIT_BELOW)
    place = 0 if value >= bounds[0] else 1 + sum(value <= bound for bound in bounds[1:])
    if volatility is None:
        place = max(place, 1)
    elif volatility <= -1:
        place = min(place + 1, len(steps) - 1)
    return steps[place]


def _momentum(closes: Sequence[float]) -> float | Unavailable:
    gain = month_return(closes)
    if isinstance(gain, Unavailable):
        return gain
    recent = closes[-MOMENTUM_SESSIONS - 1 :]
    steps = [math.log(b) - math.log(a) for a, b in pairwise(recent)]
    mean = sum(steps) / len(steps)
    deviation = math.sqrt(sum((s - mean) ** 2 for s in steps) / (len(steps) - 1))
    if deviation == 0:
        return Unavailable("the price does not move")
    return _clip(sum(steps) / (deviation * math.sqrt(len(steps))) / _MOMENTUM_SPAN)


def _sector(sector: Sequence[float], universe: Sequence[float]) -> float | Unavailable:
    if not sector or len(universe) <= len(sector):
        return Unavailable("no other sector to compare with")
    ahead = sum(sector) / len(sector) - sum(universe) / len(universe)
    return _clip(ahead / _SECTOR_SPAN_FRAC) if math.isfinite(ahead) else Unavailable("not a number")


def _weight(weight: float | None, limit: float) -> float | Unavailable:
    if weight is None or not math.isfinite(weight):
        return Unavailable("the position has no marked weight")
    return _clip(1 - 2 * weight / limit)


def _volatility(forecast: float | None, usual: float | None) -> float | Unavailable:
    if forecast is None or not math.isfinite(forecast) or forecast <= 0:
        return Unavailable("no volatility forecast")
    if usual is None or not math.isfinite(usual) or usual <= 0:
        return Unavailable("no usual volatility to compare with")
    return _clip(math.log2(usual) - math.log2(forecast))


def _clip(value: float) -> float:
    return min(max(value, -1.0), 1.0)
