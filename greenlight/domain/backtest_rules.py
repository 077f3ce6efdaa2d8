"""Sizing and the risk chain over plain numbers: what `sizing` and `risk` decide, compiled.

Before it stand a signal and the simulated desk; after it the engine's loop.
`risk.judge` stays the definition: every rule here is the one of the same name
there, in the same order, and a property test holds the two against each other
on drawn desks. It differs in kind alone: float64 instead of `Decimal`, with a
rounding error of 1e-12 forgiven where an exact sum would meet its limit or make
one more share.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit

from greenlight.domain.backtest_arrays import BoolArray
from greenlight.domain.backtest_fills import tick_nearest, tick_up
from greenlight.domain.correlation import MIN_RETURNS, PRIOR, PRIOR_SESSIONS, SESSIONS
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.indicators import FloatArray
from greenlight.domain.sizing import CONFIDENCE_SCALE

RULES: Final = (
    "not_halted",
    "reconciled",
    "session_open",
    "fresh_quote",
    "tight_spread",
    "price_sanity",
    "sound_history",
    "one_position_a_symbol",
    "max_positions",
    "entries_a_minute",
    "entries_an_hour",
    "daily_loss",
    "drawdown",
    "correlation",
    "at_least_one_share",
    "risk_a_trade",
    "sector_cap",
    "buying_power",
    "no_leverage",
)
"""`risk.CHAIN` by name; rule i is bit i of what `judge_step` answers."""
NOT_HALTED: Final = 1 << 0
FRESH_QUOTE: Final = 1 << 3
TIGHT_SPREAD: Final = 1 << 4
PRICE_SANITY: Final = 1 << 5
SOUND_HISTORY: Final = 1 << 6
ONE_POSITION: Final = 1 << 7
MAX_POSITIONS: Final = 1 << 8
MINUTE_RATE: Final = 1 << 9
HOUR_RATE: Final = 1 << 10
DAILY_LOSS: Final = 1 << 11
DRAWDOWN: Final = 1 << 12
CORRELATION: Final = 1 << 13
WHOLE_SHARE: Final = 1 << 14
RISK_A_TRADE: Final = 1 << 15
SECTOR_CAP: Final = 1 << 16
BUYING_POWER: Final = 1 << 17
NO_LEVERAGE: Final = 1 << 18

_SCALES: Final = tuple(CONFIDENCE_SCALE[level] for level in sorted(CONFIDENCE_SCALE))
_MAX_PRICE_USD: Final = 1e7
_MAX_TARGET_FRAC: Final = 10.0
_MAX_SAMPLE: Final = 0.999999
_PRIOR_Z: Final = math.atanh(PRIOR)
_SLACK: Final = 1e-12
"""Relative rounding error of float64 sums of a few prices, generously."""


class Limits(NamedTuple):
    """`RiskLimits` as compiled code takes them; the fields mean the same."""

    risk_frac: float
    base_risk_frac: float
    winners_to_raise: int
    atr_multiple: float
    max_positions: int
    max_weight_frac: float
    max_sector_frac: float
    max_daily_loss_usd: float
    max_drawdown_frac: float
    max_correlation: float
    max_entries_a_minute: int
    max_entries_an_hour: int
    max_price_move_frac: float
    max_spread_frac: float
    entry_slack_bps: float
    entry_chase_bps: float


def compiled_limits(limits: RiskLimits) -> Limits:
    """The limits for the loop; the age of a quote is always 0 there."""
    return Limits(**{name: getattr(limits, name) for name in Limits._fields})


class Desk(NamedTuple):
    """What a judgement looks at besides the signal; see `DeskState`. US dollars.

    `taken` is how many symbols are held or wanted, `is_wanted` whether this one is.
    `exposure_usd` and `sector_usd` are what is held has cost and what is wanted
    may cost, in all and in the signal's sector. `correlation` is the highest with
    another symbol held or wanted: NaN without one, infinite where it is not known.
    """

    is_halted: bool
    is_sound: bool
    is_wanted: bool
    taken: int
    entries_a_minute: int
    entries_an_hour: int
    equity_usd: float
    power_usd: float
    loss_base_usd: float
    high_usd: float
    exposure_usd: float
    sector_usd: float
    correlation: float
    winners: int
    volatility_scale: float


class Plan(NamedTuple):
    """An entry's shares and prices (`sizing.Sized`); quantity -1 where there is none."""

    qty: int
    limit_price: float
    max_price: float
    stop_price: float
    target_price: float


@njit(cache=True)
def size_step(
    limits: Limits,
    confidence: int,
    atr: float,
    stop_frac: float,
    target_frac: float,
    ask: float,
    equity: float,
    winners: int,
    volatility_scale: float,
) -> Plan:
    """Whole shares and prices for a signal; see `sizing.size`."""
    nothing = Plan(-1, math.nan, math.nan, math.nan, math.nan)
    # Written so that NaN has no size.
    if not (equity > 0.0 and 0.0 < ask <= _MAX_PRICE_USD and 0.0 < stop_frac < 1.0):
        return nothing
    if not (0.0 < target_frac <= _MAX_TARGET_FRAC and 0.0 <= atr < math.inf):
        return nothing
    if confidence < 1 or confidence > 5:
        return nothing
    limit_price = tick_up(ask * (1.0 + limits.entry_slack_bps / 1e4))
    max_price = _chased(limit_price, limits.entry_chase_bps)
    stop_price = tick_up(ask * (1.0 - stop_frac))
    target_price = tick_nearest(ask * (1.0 + target_frac))
    distance = max(limits.atr_multiple * atr, max_price - stop_price)
    if distance <= 0.0 or target_price <= max_price:
        return nothing
    risk_frac = min(limits.base_risk_frac, limits.risk_frac)
    if winners >= limits.winners_to_raise:
        risk_frac = limits.risk_frac
    at_risk = equity * risk_frac * _SCALES[confidence - 1] * volatility_scale
    shares = min(at_risk / distance, equity * limits.max_weight_frac / max_price)
    qty = math.floor(shares * (1.0 + _SLACK))
    return Plan(qty, limit_price, max_price, stop_price, target_price)


@njit(cache=True)
def _chased(limit_price: float, chase_bps: float) -> float:
    """`limit_price` and so many basis points, rounded down to the tick."""
    price = limit_price * (1.0 + chase_bps / 1e4)
    ticks = 100.0 if price >= 1.0 else 10_000.0
    return math.floor(price * ticks + 1e-6) / ticks


@njit(cache=True)
def correlation_step(
    returns: FloatArray, sound: BoolArray, day: int, first: int, second: int
) -> float:
    """`correlation.correlation` of two symbols before a session; infinite where not known.

    Parameters
    ----------
    returns : float64[sessions, symbols]
        Daily returns, NaN where there is none.
    sound : bool[sessions, symbols]
        Whether the history before that session can be believed.
    day : int
        The session that is judged in; only earlier rows count.
    """
    if not (sound[day, first] and sound[day, second]):
        return math.inf
    count, sum_x, sum_y = 0, 0.0, 0.0
    begin = max(0, day - SESSIONS)
    for i in range(begin, day):
        x, y = returns[i, first], returns[i, second]
        if math.isfinite(x) and math.isfinite(y):
            count += 1
            sum_x += x
            sum_y += y
    if count < MIN_RETURNS:
        return math.inf
    mean_x, mean_y = sum_x / count, sum_y / count
    xx, yy, xy = 0.0, 0.0, 0.0
    for i in range(begin, day):
        x, y = returns[i, first] - mean_x, returns[i, second] - mean_y
        if math.isfinite(x) and math.isfinite(y):
            xx += x * x
            yy += y * y
            xy += x * y
    if xx <= 0.0 or yy <= 0.0:
        return math.inf
    sample = max(-_MAX_SAMPLE, min(xy / math.sqrt(xx * yy), _MAX_SAMPLE))
    seen = count - 3
    z = (seen * math.atanh(sample) + PRIOR_SESSIONS * _PRIOR_Z) / (seen + PRIOR_SESSIONS)
    return math.tanh(z)


@njit(cache=True)
def judge_step(
    limits: Limits,
    desk: Desk,
    confidence: int,
    atr: float,
    stop_frac: float,
    target_frac: float,
    reference: float,
    bid: float,
    ask: float,
) -> tuple[int, Plan]:
    """Run the whole chain over a signal; see `risk.judge`.

    Parameters
    ----------
    reference : float
        Close that the strategy saw, in shares of the day of the judgement.
    bid, ask : float
        US dollars; NaN where there is no quote.

    Returns
    -------
    tuple[int, Plan]
        The rules that refused, rule i of `RULES` as bit i, and what the size came
        to. Reconciliation and the session do not refuse in a backtest.
    """
    plan = size_step(
        limits,
        confidence,
        atr,
        stop_frac,
        target_frac,
        ask,
        desk.equity_usd,
        desk.winners,
        desk.volatility_scale,
    )
    equity, failed = desk.equity_usd, 0
    if desk.is_halted:
        failed |= NOT_HALTED
    # From here on written so that NaN, which is not known, refuses.
    if not ask > 0.0:
        failed |= FRESH_QUOTE
    spread = 2.0 * (ask - bid) / (ask + bid)
    if not (bid > 0.0 and 0.0 <= spread <= limits.max_spread_frac):
        failed |= TIGHT_SPREAD
    if not (reference > 0.0 and abs(ask / reference - 1.0) <= limits.max_price_move_frac):
        failed |= PRICE_SANITY
    if not desk.is_sound:
        failed |= SOUND_HISTORY
    if desk.is_wanted:
        failed |= ONE_POSITION
    if desk.taken >= limits.max_positions:
        failed |= MAX_POSITIONS
    if desk.entries_a_minute >= limits.max_entries_a_minute:
        failed |= MINUTE_RATE
    if desk.entries_an_hour >= limits.max_entries_an_hour:
        failed |= HOUR_RATE
    if not desk.loss_base_usd - equity < limits.max_daily_loss_usd:
        failed |= DAILY_LOSS
    if not 1.0 - equity / desk.high_usd < limits.max_drawdown_frac:
        failed |= DRAWDOWN
    if not np.isnan(desk.correlation) and not desk.correlation <= limits.max_correlation:
        failed |= CORRELATION
    if plan.qty < 1:
        failed |= WHOLE_SHARE
    cost = plan.qty * plan.max_price
    slack = _SLACK * equity
    at_stop = plan.qty * (plan.max_price - plan.stop_price)
    if not 0.0 <= at_stop <= limits.risk_frac * equity + slack:
        failed |= RISK_A_TRADE
    if not desk.sector_usd + cost <= limits.max_sector_frac * equity + slack:
        failed |= SECTOR_CAP
    if not cost <= desk.power_usd + slack:
        failed |= BUYING_POWER
    if not desk.exposure_usd + cost <= equity + slack:
        failed |= NO_LEVERAGE
    return failed, plan


def refusing(bits: int) -> tuple[str, ...]:
    """The names of the rules that refused, in the chain's order."""
    return tuple(name for i, name in enumerate(RULES) if bits >> i & 1)
