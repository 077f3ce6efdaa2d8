"""What a bar fills, at which price and for which fees: the backtest's rules, compiled.

Before it stand the bars and the prices of an order; after it the engine's loop.
The rules are stated once, here, and are on the pessimistic side:

- A bar shows trades. The bid lies `half_spread` below them, the ask above.
- A sell stop is hit where the bid reaches it. It fills at the stop, or at the
  open's bid where the bar opened below it, less slippage.
- A limit is filled where the other side of the quote reaches it: a print at the
  limit is not enough while there is a spread. It fills at the limit, or at the
  open where that is better, and pays no slippage.
- Where stop and target lie in one bar, the stop came first.
- An entry that filled inside its bar (not at the open) may be stopped out in
  that bar, and does not reach its target in it.

Prices are float64 US dollars; spread and slippage fractions of the price.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from numba import njit


class CostTerms(NamedTuple):
    """Costs of a fill. A tuple, because compiled code takes no dataclass.

    `half_spread_frac` and `slippage_frac` are part of the price. `commission_frac`
    is of the traded amount, `commission_usd_a_share` a share; `is_regulated` says
    whether the SEC's and FINRA's fees on sales are charged.
    """

    half_spread_frac: float
    slippage_frac: float
    commission_frac: float
    commission_usd_a_share: float
    is_regulated: bool


@njit(cache=True)
def _ticks_a_dollar(price: float) -> float:
    return 100.0 if price >= 1.0 else 10_000.0


@njit(cache=True)
def _whole_ticks(price: float, ticks: float) -> float:
    """Ticks at or below a price; `k / ticks` is the float64 nearest to that tick."""
    k = math.floor(price * ticks)
    if k / ticks > price:
        k -= 1
    elif (k + 1) / ticks <= price:
        k += 1
    return float(k)


@njit(cache=True)
def tick_up(price: float) -> float:
    """The price, or the next tick above it: `orders.round_price` with ``up=True``."""
    ticks = _ticks_a_dollar(price)
    k = _whole_ticks(price, ticks)
    return k / ticks if k / ticks == price else (k + 1) / ticks


@njit(cache=True)
def tick_nearest(price: float) -> float:
    """The nearest tick, halves to even: `orders.round_price` without a direction.

    An infinite price, which no bar reaches, stays.
    """
    if math.isinf(price):
        return price
    ticks = _ticks_a_dollar(price)
    k = _whole_ticks(price, ticks)
    half = (2 * k + 1) / (2 * ticks)
    is_up = price > half or (price == half and k % 2 == 1)
    return (k + 1) / ticks if is_up else k / ticks


@njit(cache=True)
def buy_limit_price(
    opened: float, low: float, limit: float, half_spread: float, slippage: float
) -> tuple[float, bool]:
    """What a resting buy limit fills at in a bar.

    Parameters
    ----------
    opened, low : float
        The bar's; NaN where there is none.
    limit : float
        US dollars; infinite for a market order.

    Returns
    -------
    tuple[float, bool]
        The price (NaN: not filled), and whether it was filled at the open. At
        the open it is a taker and pays slippage, up to its limit.
    """
    ask = opened * (1.0 + half_spread)
    if ask <= limit:
        return min(ask * (1.0 + slippage), limit), True
    if low * (1.0 + half_spread) <= limit:
        return limit, False
    return math.nan, False


@njit(cache=True)
def exit_price(
    opened: float,
    high: float,
    low: float,
    stop: float,
    target: float,
    half_spread: float,
    slippage: float,
    is_from_open: bool,
) -> tuple[float, bool]:
    """What stop and target of a position fill at in a bar.

    Parameters
    ----------
    is_from_open : bool
        Whether the position was held at the open. Without, it was bought inside
        the bar: only the stop can be hit.

    Returns
    -------
    tuple[float, bool]
        The price (NaN: neither), and whether it is the stop's.
    """
    bid = 1.0 - half_spread
    if low * bid <= stop:
        at = min(stop, opened * bid) if is_from_open else stop
        return at * (1.0 - slippage), True
    if is_from_open and high * bid >= target:
        return max(target, opened * bid), False
    return math.nan, False


@njit(cache=True)
def market_sell_price(price: float, half_spread: float, slippage: float) -> float:
    """What a market order to sell fills at where trades print `price`."""
    return price * (1.0 - half_spread) * (1.0 - slippage)


@njit(cache=True)
def _up_to_cent(usd: float) -> float:
    # A sum of cents is off by rounding errors, which must not cost one more.
    return math.ceil(usd * 100.0 - 1e-6) / 100.0


@njit(cache=True)
def sale_fees(
    qty: float, price: float, usd_per_million: float, usd_a_share: float, cap_usd: float
) -> float:
    """SEC and FINRA fees of one sale: `costs.regulatory_fees`, with its day's rates given."""
    sec = _up_to_cent(qty * price * usd_per_million / 1e6)
    return float(sec + min(_up_to_cent(qty * usd_a_share), cap_usd))


@njit(cache=True)
def commission(terms: CostTerms, qty: float, price: float) -> float:
    """The broker's commission of one fill, US dollars."""
    return float(qty * price * terms.commission_frac + qty * terms.commission_usd_a_share)
