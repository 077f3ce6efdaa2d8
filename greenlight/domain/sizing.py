"""How many shares a signal is worth, and the prices of its plan.

Before it stand the signal and the desk's state; after it the risk chain, which
checks what came out. Every step rounds down: nothing here can take more risk
than the limits name.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import takewhile
from typing import Final

from greenlight.domain.desk_state import DeskState, RiskLimits, finite
from greenlight.domain.market import Unavailable
from greenlight.domain.orders import round_price
from greenlight.domain.signals import Signal
from greenlight.domain.trades import Trade

CONFIDENCE_SCALE: Final = {1: 0.5, 2: 0.625, 3: 0.75, 4: 0.875, 5: 1.0}
"""Share of the full risk that each confidence may take."""
MIN_RETURNS: Final = 20
"""Daily returns below which the recent volatility is not known: a month (ours)."""
_SESSIONS_A_YEAR: Final = 252
_MAX_PRICE_USD: Final = 1e7
"""No US share has traded above this; a higher price is corrupt."""
_MAX_TARGET_FRAC: Final = 10.0
"""A target further away than this is corrupt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """An entry: whole shares, limit price, the plan's prices, and what the size came from.

    `max_price` is the highest price that it may be repriced to, and what its
    risk and its cost are counted at. `risk_frac` is the share of equity that it
    was allowed before the scales.
    """

    qty: int
    limit_price: Decimal
    max_price: Decimal
    stop_price: Decimal
    target_price: Decimal
    risk_frac: float
    confidence_scale: float
    volatility_scale: float


def winners_in_a_row(trades: Sequence[Trade]) -> int:
    """How many of the latest trades, oldest first, were won after fees without a break."""
    return sum(1 for _ in takewhile(lambda trade: trade.net_usd > 0, reversed(trades)))


def allowed_risk_frac(winners: int, limits: RiskLimits) -> float:
    """Share of equity that a trade may risk: raised only after enough winners in a row.

    One loser takes it back to the base.
    """
    if winners >= limits.winners_to_raise:
        return limits.risk_frac
    return min(limits.base_risk_frac, limits.risk_frac)


def recent_volatility(returns: Iterable[float]) -> float | Unavailable:
    """Volatility a year, as a fraction, of daily returns.

    Notes
    -----
    ``sqrt(252) s`` with the sample standard deviation ``s``.
    """
    values = list(returns)
    if len(values) < MIN_RETURNS:
        return Unavailable(f"{len(values)} daily returns; the volatility needs {MIN_RETURNS}")
    return math.sqrt(_SESSIONS_A_YEAR) * statistics.stdev(values)


def volatility_scale(forecast_ann: float | Unavailable, recent_ann: float | Unavailable) -> float:
    """Share of the risk that is left when a rougher time is expected than lies behind.

    Notes
    -----
    ``min(1, recent / forecast)``. The ATR carries the volatility behind into
    the size; the forecast corrects it, and only downwards. Sizing by the
    inverse of forecast volatility: Moreira and Muir (2017), "Volatility-Managed
    Portfolios", J. of Finance 72(4). Without either figure there is no
    correction: 1.
    """
    if isinstance(forecast_ann, Unavailable) or isinstance(recent_ann, Unavailable):
        return 1.0
    known = math.isfinite(forecast_ann) and math.isfinite(recent_ann)
    if not known or forecast_ann <= 0 or recent_ann <= 0:
        return 1.0
    return min(1.0, recent_ann / forecast_ann)


def size(signal: Signal, state: DeskState, limits: RiskLimits) -> Sized | None:
    """Whole shares and prices for a signal, or None where an input is missing.

    Notes
    -----
    ``qty = floor(equity * risk * confidence * volatility / max(atr_multiple *
    ATR, max_price - stop))``, and not more than `max_weight_frac` of equity
    buys at `max_price`. Everything rounds down. The stop is rounded up and so never lies further
    away than asked.
    """
    quote, equity = state.quote, finite(state.equity_usd)
    inputs = (signal.atr_usd, signal.stop_frac, signal.target_frac)
    if quote is None or equity is None or equity <= 0 or not all(map(math.isfinite, inputs)):
        return None
    if not (0 < quote.ask <= _MAX_PRICE_USD and 0 < signal.stop_frac < 1):
        return None
    if not 0 < signal.target_frac <= _MAX_TARGET_FRAC:
        return None
    if signal.atr_usd < 0 or signal.confidence not in CONFIDENCE_SCALE:
        return None
    limit_price = round_price(quote.ask * (1 + limits.entry_slack_bps / 1e4), up=True)
    chase = 1 + _exact(limits.entry_chase_bps) / 10_000
    max_price = round_price(limit_price * chase, up=False)
    stop_price = round_price(quote.ask * (1 - signal.stop_frac), up=True)
    target_price = round_price(quote.ask * (1 + signal.target_frac))
    distance = max(_exact(limits.atr_multiple * signal.atr_usd), max_price - stop_price)
    if distance <= 0 or target_price <= max_price:
        return None
    risk_frac = allowed_risk_frac(state.winners_in_a_row, limits)
    confidence = CONFIDENCE_SCALE[signal.confidence]
    volatility = volatility_scale(state.forecast_vol_ann, state.recent_vol_ann)
    at_risk = equity * _exact(risk_frac) * _exact(confidence) * _exact(volatility)
    by_weight = equity * _exact(limits.max_weight_frac) / max_price
    return Sized(
        qty=int(min(at_risk / distance, by_weight)),
        limit_price=limit_price,
        max_price=max_price,
        stop_price=stop_price,
        target_price=target_price,
        risk_frac=risk_frac,
        confidence_scale=confidence,
        volatility_scale=volatility,
    )


def _exact(value: float) -> Decimal:
    return Decimal(repr(value))
