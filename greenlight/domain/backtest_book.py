"""The positions of a backtest: bought, sold, split, and what is written of them. Compiled.

Before it stand orders that `backtest_loop` judged and prices that
`backtest_fills` found; after it the account's cash and its closed trades.
Prices are raw float64 US dollars.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from greenlight.domain.backtest_arrays import IntArray
from greenlight.domain.backtest_fills import (
    CostTerms,
    buy_limit_price,
    commission,
    exit_price,
    market_sell_price,
    sale_fees,
    tick_nearest,
    tick_up,
)
from greenlight.domain.indicators import FloatArray

STOP, TARGET, TIME, SIGNAL, END, SPLIT = 0, 1, 2, 3, 4, 5
"""Why a position was left; `backtest.EXIT_REASONS` names them."""
EMPTY, RESTING, HELD = 0, 1, 2
"""What a slot holds: nothing, an entry's order, a position."""
S_STATE, S_SYMBOL, S_SIGNAL, S_QTY, S_BOUGHT, S_SINCE, S_LEAVE, S_MUST, S_REPRICES, S_PRICED = (
    range(10)
)
"""Columns of `Hand.slots`. S_SINCE is the bar of the order or the fill, S_LEAVE the bar
to leave in, S_MUST whether it leaves at the next open, S_PRICED the last repricing's bar."""
P_STOP, P_TARGET, P_LIMIT, P_MAX, P_COST, P_GOT, P_FEES, P_MARK = range(8)
"""Columns of `Hand.prices`. P_COST is what its shares cost, P_GOT what a fraction of one
was paid with, P_MARK the last price."""
CASH, EQUITY, LOSS_BASE, HIGH = range(4)
"""Places of `Hand.purse`, US dollars."""
OPEN, CLOSED, TAKEN, WINNERS, LOSS_UNTIL_S, IN_DRAWDOWN, DRAWDOWN_SESSION = range(7)
"""Places of `Hand.tally`. OPEN counts slots in use, TAKEN entries."""
DIVIDENDS_USD, TRADED_USD, LOSS_HALTS, DRAWDOWN_HALTS = range(4)
"""Places of `Hand.totals`."""


class Hand(NamedTuple):
    """What changes with every trade.

    Attributes
    ----------
    slots : int64[positions, 10]
    prices : float64[positions, 8]
    purse : float64[4]
    tally : int64[7]
    totals : float64[4]
        See the names above.
    trades : int64[signals, 6]
        Of each closed trade the signal, shares bought and sold, bars of entry
        and exit, reason.
    money : float64[signals, 3]
        What it paid and received for the shares, and fees, US dollars.
    """

    slots: IntArray
    prices: FloatArray
    purse: FloatArray
    tally: IntArray
    totals: FloatArray
    trades: IntArray
    money: FloatArray


class Rates(NamedTuple):
    """A day's fees on sales; see `costs.FeeRates`."""

    sec_usd_per_million: float
    taf_usd_a_share: float
    taf_cap_usd: float


@njit(cache=True)
def new_hand(positions: int, signals: int, cash_usd: float) -> Hand:
    """An account with nothing but cash."""
    return Hand(
        np.zeros((positions, 10), dtype=np.int64),
        np.zeros((positions, 8)),
        np.full(4, cash_usd),
        np.zeros(7, dtype=np.int64),
        np.zeros(4),
        np.zeros((signals, 6), dtype=np.int64),
        np.zeros((signals, 3)),
    )


@njit(cache=True)
def act(hand: Hand, symbol: int, ratio: float, usd: float, t: int) -> None:
    """Book a dividend (ratio 0) or a split. A fraction of a share is paid out at the last price."""
    slots, prices, purse = hand.slots, hand.prices, hand.purse
    for k in range(len(slots)):
        if slots[k, S_STATE] != HELD or slots[k, S_SYMBOL] != symbol:
            continue
        if ratio == 0.0:
            paid = slots[k, S_QTY] * usd
            purse[CASH] += paid
            hand.totals[DIVIDENDS_USD] += paid
            continue
        shares = slots[k, S_QTY] * ratio
        whole = math.floor(shares + 1e-9)
        prices[k, P_MARK] /= ratio
        if whole < 1:
            _close(hand, k, t, prices[k, P_MARK] * ratio, 0.0, SPLIT)
            continue
        rest = max(shares - whole, 0.0) * prices[k, P_MARK]
        purse[CASH] += rest
        prices[k, P_GOT] += rest
        slots[k, S_QTY] = whole
        prices[k, P_STOP] = tick_up(prices[k, P_STOP] / ratio)
        prices[k, P_TARGET] = tick_nearest(prices[k, P_TARGET] / ratio)


@njit(cache=True)
def leave_at_open(
    hand: Hand, costs: CostTerms, rates: Rates, k: int, t: int, opened: float
) -> None:
    """Sell at the open what its stop or target was gapped over by, or what must leave."""
    bid = opened * (1.0 - costs.half_spread_frac)
    at_market = market_sell_price(opened, costs.half_spread_frac, costs.slippage_frac)
    if bid <= hand.prices[k, P_STOP]:
        sell(hand, costs, rates, k, t, at_market, STOP)
    elif bid >= hand.prices[k, P_TARGET]:
        sell(hand, costs, rates, k, t, bid, TARGET)
    else:
        sell(hand, costs, rates, k, t, at_market, SIGNAL if hand.slots[k, S_MUST] else TIME)


@njit(cache=True)
def trade_inside(
    hand: Hand,
    costs: CostTerms,
    rates: Rates,
    k: int,
    t: int,
    opened: float,
    high: float,
    low: float,
) -> None:
    """Fill a resting entry, then stop or target, inside a bar."""
    slots, prices = hand.slots, hand.prices
    spread, slippage = costs.half_spread_frac, costs.slippage_frac
    is_from_open = True
    if slots[k, S_STATE] == RESTING:
        price, is_from_open = buy_limit_price(opened, low, prices[k, P_LIMIT], spread, slippage)
        if np.isnan(price):
            return
        _buy(hand, costs, k, t, price)
    stop, target = prices[k, P_STOP], prices[k, P_TARGET]
    price, is_stop = exit_price(opened, high, low, stop, target, spread, slippage, is_from_open)
    if not np.isnan(price):
        sell(hand, costs, rates, k, t, price, STOP if is_stop else TARGET)


@njit(cache=True)
def sell(
    hand: Hand, costs: CostTerms, rates: Rates, k: int, t: int, price: float, reason: int
) -> None:
    """Sell a whole position at a price, with its fees."""
    qty = hand.slots[k, S_QTY]
    fees = commission(costs, qty, price)
    if costs.is_regulated:
        fees += sale_fees(
            qty, price, rates.sec_usd_per_million, rates.taf_usd_a_share, rates.taf_cap_usd
        )
    _close(hand, k, t, price, fees, reason)


@njit(cache=True)
def _buy(hand: Hand, costs: CostTerms, k: int, t: int, price: float) -> None:
    slots, prices = hand.slots, hand.prices
    qty = slots[k, S_QTY]
    fees = commission(costs, qty, price)
    slots[k, S_STATE], slots[k, S_SINCE], slots[k, S_BOUGHT] = HELD, t, qty
    prices[k, P_COST], prices[k, P_FEES], prices[k, P_MARK] = qty * price, fees, price
    hand.purse[CASH] -= qty * price + fees
    hand.totals[TRADED_USD] += qty * price


@njit(cache=True)
def _close(hand: Hand, k: int, t: int, price: float, fees: float, reason: int) -> None:
    slots, prices, tally = hand.slots, hand.prices, hand.tally
    row, qty = tally[CLOSED], slots[k, S_QTY]
    received = qty * price + prices[k, P_GOT]
    prices[k, P_FEES] += fees
    hand.purse[CASH] += qty * price - fees
    hand.totals[TRADED_USD] += qty * price
    hand.trades[row, 0], hand.trades[row, 1] = slots[k, S_SIGNAL], slots[k, S_BOUGHT]
    hand.trades[row, 2], hand.trades[row, 3] = qty, slots[k, S_SINCE]
    hand.trades[row, 4], hand.trades[row, 5] = t, reason
    hand.money[row, 0], hand.money[row, 1] = prices[k, P_COST], received
    hand.money[row, 2] = prices[k, P_FEES]
    is_won = received - prices[k, P_COST] - prices[k, P_FEES] > 0.0
    tally[WINNERS] = tally[WINNERS] + 1 if is_won else 0
    tally[CLOSED] += 1
    tally[OPEN] -= 1
    slots[k, S_STATE] = EMPTY
