"""What the backtest's loop decides: orders placed, worked and cancelled, and halts. Compiled.

Before it stand signals and the account (`backtest_book`); after it the loop,
which fills. `backtest_rules` has the chain that is asked here.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit

from greenlight.domain.backtest_arrays import Bars, BoolArray, IntArray, Signals, Terms
from greenlight.domain.backtest_book import (
    CASH,
    DRAWDOWN_HALTS,
    DRAWDOWN_SESSION,
    EMPTY,
    EQUITY,
    HELD,
    HIGH,
    IN_DRAWDOWN,
    LOSS_BASE,
    LOSS_HALTS,
    LOSS_UNTIL_S,
    OPEN,
    P_COST,
    P_LIMIT,
    P_MARK,
    P_MAX,
    P_STOP,
    P_TARGET,
    RESTING,
    S_LEAVE,
    S_PRICED,
    S_QTY,
    S_REPRICES,
    S_SIGNAL,
    S_SINCE,
    S_STATE,
    S_SYMBOL,
    TAKEN,
    WINNERS,
    Hand,
    new_hand,
)
from greenlight.domain.backtest_fills import CostTerms, tick_nearest, tick_up
from greenlight.domain.backtest_rules import (
    BUYING_POWER,
    FRESH_QUOTE,
    MAX_POSITIONS,
    ONE_POSITION,
    Desk,
    Limits,
    Plan,
    correlation_step,
    judge_step,
)
from greenlight.domain.indicators import FloatArray

NOT_JUDGED: Final = -1
"""Verdict on a signal that came too late: no bar follows it."""
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400


class Book(NamedTuple):
    """What the loop writes.

    Attributes
    ----------
    figures : float64[bars, 3]
        Cash, equity and marked exposure after each bar, US dollars; empty where the
        terms keep no marks.
    verdicts : int64[signals]
        The rules that refused a signal, as bits; `NOT_JUDGED`.
    plans : float64[signals, 6]
        Its shares, limit, stop, target, and ask and equity at the decision.
    taken_s : int64[signals]
        When entries were decided, in their order.
    stopped : int64[symbols]
        The bar at whose open each was last stopped out.
    pair_session, pair : int64[symbols, symbols], float64[symbols, symbols]
        Correlations, and the session that each is of.
    """

    hand: Hand
    figures: FloatArray
    verdicts: IntArray
    plans: FloatArray
    taken_s: IntArray
    stopped: IntArray
    pair_session: IntArray
    pair: FloatArray


@njit(cache=True)
def new_book(count: int, symbols: int, limits: Limits, terms: Terms) -> Book:
    """Nothing written yet, for so many signals and symbols."""
    return Book(
        new_hand(limits.max_positions, count, terms.start_cash_usd),
        np.empty((terms.end - terms.first if terms.keeps_marks else 0, 3)),
        np.full(count, NOT_JUDGED, dtype=np.int64),
        np.full((count, 6), np.nan),
        np.zeros(count, dtype=np.int64),
        np.full(symbols, -1, dtype=np.int64),
        np.full((symbols, symbols), -1, dtype=np.int64),
        np.zeros((symbols, symbols)),
    )


@njit(cache=True)
def judge(
    bars: Bars,
    signals: Signals,
    costs: CostTerms,
    limits: Limits,
    terms: Terms,
    book: Book,
    i: int,
    t: int,
) -> None:
    """Judge a signal at a bar's open or close, and place its order.

    What was stopped out at this very open is known too late to buy there again.
    """
    hand = book.hand
    slots, prices, purse, tally = hand.slots, hand.prices, hand.purse, hand.tally
    symbol, session = signals.symbol[i], bars.session[t]
    price = bars.open[t, symbol] if terms.is_judged_at_open else bars.close[t, symbol]
    now_s = bars.start_s[t] if terms.is_judged_at_open else bars.end_s[t]
    equity, power, exposure, in_sector = purse[CASH], purse[CASH], 0.0, 0.0
    pair_session, pair, returns, sound = book.pair_session, book.pair, bars.returns, bars.sound
    taken, is_wanted, highest, free = 0, book.stopped[symbol] == t, math.nan, -1
    for k in range(len(slots)):
        if slots[k, S_STATE] == EMPTY:
            free = k if free < 0 else free
            continue
        other = slots[k, S_SYMBOL]
        taken += 1
        is_wanted |= other == symbol
        if slots[k, S_STATE] == HELD:
            mark = bars.open[t, other] if terms.is_judged_at_open else prices[k, P_MARK]
            equity += slots[k, S_QTY] * (mark if mark > 0.0 else prices[k, P_MARK])
            cost = prices[k, P_COST]
        else:
            cost = slots[k, S_QTY] * prices[k, P_MAX]
            power -= cost
        exposure += cost
        if bars.sector[other] == bars.sector[symbol]:
            in_sector += cost
        if other != symbol:
            found = _pair(pair_session, pair, returns, sound, session, symbol, other)
            highest = found if np.isnan(highest) else max(highest, found)
    bid, ask = price * (1.0 - costs.half_spread_frac), price * (1.0 + costs.half_spread_frac)
    stop_frac, target_frac = signals.stop_frac[i], signals.target_frac[i]
    desk = Desk(
        is_halted(tally, now_s),
        bool(bars.sound[session, symbol]),
        is_wanted,
        taken,
        _entries_within(book.taken_s, tally[TAKEN], now_s, _MINUTE_S),
        _entries_within(book.taken_s, tally[TAKEN], now_s, _HOUR_S),
        equity,
        power,
        purse[LOSS_BASE],
        purse[HIGH],
        exposure,
        in_sector,
        highest,
        tally[WINNERS],
        signals.volatility_scale[i],
    )
    failed, plan = judge_step(
        limits,
        desk,
        signals.confidence[i],
        signals.atr[i],
        stop_frac,
        target_frac,
        signals.reference[i],
        bid,
        ask,
    )
    book.verdicts[i] = failed
    book.plans[i, 0], book.plans[i, 1] = plan.qty, plan.limit_price
    book.plans[i, 2], book.plans[i, 3] = plan.stop_price, plan.target_price
    book.plans[i, 4], book.plans[i, 5] = ask, equity
    if failed == 0:
        until = session + signals.hold[i]
        leave = bars.leave[until] if until < len(bars.leave) else terms.end
        book.taken_s[tally[TAKEN]] = now_s
        place(hand, plan, free, i, symbol, t, leave)


@njit(cache=True)
def fixed_verdict(
    slots: IntArray, prices: FloatArray, symbol: int, cash_usd: float, usd: float
) -> tuple[int, int]:
    """Why an order of so many dollars cannot be placed, as bits, and a free slot."""
    # NaN, which is no quote, is not above zero.
    failed, free = 0 if usd > 0.0 else FRESH_QUOTE, -1
    for k in range(len(slots)):
        if slots[k, S_STATE] == EMPTY:
            free = k if free < 0 else free
        elif slots[k, S_SYMBOL] == symbol:
            failed |= ONE_POSITION
        elif slots[k, S_STATE] == RESTING:
            cash_usd -= slots[k, S_QTY] * prices[k, P_MAX]
    failed |= MAX_POSITIONS if free < 0 else 0
    failed |= BUYING_POWER if usd > cash_usd else 0
    return failed, free


@njit(cache=True)
def fixed_plan(qty: int, seen: float, stop_frac: float, target_frac: float, ask: float) -> Plan:
    """An order for fixed shares at the market, decided on the close that was seen."""
    stop = tick_up(seen * (1.0 - stop_frac)) if stop_frac < 1.0 else 0.0
    return Plan(qty, math.inf, ask, stop, tick_nearest(seen * (1.0 + target_frac)))


@njit(cache=True)
def place(hand: Hand, plan: Plan, k: int, i: int, symbol: int, t: int, leave: int) -> None:
    """Let an order of signal `i` rest in slot `k`; what it buys leaves in bar `leave`."""
    slots, prices, tally = hand.slots, hand.prices, hand.tally
    tally[TAKEN] += 1
    tally[OPEN] += 1
    slots[k, :] = 0
    prices[k, :] = 0.0
    slots[k, S_STATE], slots[k, S_SYMBOL], slots[k, S_SIGNAL] = RESTING, symbol, i
    slots[k, S_QTY], slots[k, S_SINCE], slots[k, S_PRICED] = plan.qty, t, t
    slots[k, S_LEAVE] = leave
    prices[k, P_STOP], prices[k, P_TARGET] = plan.stop_price, plan.target_price
    prices[k, P_LIMIT], prices[k, P_MAX] = plan.limit_price, plan.max_price


@njit(cache=True)
def _pair(
    pair_session: IntArray,
    pair: FloatArray,
    returns: FloatArray,
    sound: BoolArray,
    session: int,
    first: int,
    second: int,
) -> float:
    """Correlation of two symbols, which holds for a session."""
    if pair_session[first, second] != session:
        found = correlation_step(returns, sound, session, first, second)
        pair_session[first, second] = pair_session[second, first] = session
        pair[first, second] = pair[second, first] = found
    return float(pair[first, second])


@njit(cache=True)
def is_halted(tally: IntArray, now_s: int) -> bool:
    """Whether entries are halted."""
    return bool(tally[IN_DRAWDOWN] != 0 or now_s < tally[LOSS_UNTIL_S])


@njit(cache=True)
def _entries_within(taken_s: IntArray, taken: int, now_s: int, window_s: int) -> int:
    first = taken
    while first > 0 and now_s - taken_s[first - 1] < window_s:
        first -= 1
    return taken - first


@njit(cache=True)
def halt(limits: Limits, hand: Hand, now_s: int, session: int) -> None:
    """Halt entries where equity demands it; see `halts.due_halts`."""
    purse, tally = hand.purse, hand.tally
    lost = purse[LOSS_BASE] - purse[EQUITY]
    if lost >= limits.max_daily_loss_usd and now_s >= tally[LOSS_UNTIL_S]:
        tally[LOSS_UNTIL_S] = now_s + _DAY_S
        hand.totals[LOSS_HALTS] += 1
    fallen = 1.0 - purse[EQUITY] / purse[HIGH]
    if fallen >= limits.max_drawdown_frac and not tally[IN_DRAWDOWN]:
        tally[IN_DRAWDOWN], tally[DRAWDOWN_SESSION] = 1, session
        hand.totals[DRAWDOWN_HALTS] += 1


@njit(cache=True)
def work(
    hand: Hand, limits: Limits, terms: Terms, k: int, t: int, now_s: int, ask: float, is_over: bool
) -> None:
    """Cancel a resting entry, or price it again; see `execution.work_entry`."""
    slots, prices, tally = hand.slots, hand.prices, hand.tally
    is_old = t - slots[k, S_SINCE] >= terms.entry_bars
    if is_over or is_old or is_halted(tally, now_s):
        slots[k, S_STATE] = EMPTY
        tally[OPEN] -= 1
        return
    is_early = t - slots[k, S_PRICED] < terms.reprice_bars
    if is_early or slots[k, S_REPRICES] >= terms.reprices:
        return
    if prices[k, P_LIMIT] < ask <= prices[k, P_MAX]:
        wanted = tick_up(ask * (1.0 + limits.entry_slack_bps / 1e4))
        prices[k, P_LIMIT] = min(wanted, prices[k, P_MAX])
        slots[k, S_REPRICES] += 1
        slots[k, S_PRICED] = t
