"""The backtest's loop: bar by bar, one account, compiled.

Before it stand arrays of bars, the signals that the strategies' compiled steps
gave on them, and the rules (`backtest_rules`) and fills (`backtest_fills`);
after it `backtest`, which names what came out.

The order within a bar is: dividends and splits; at the open what must leave
(stop or target gapped over, an exit asked for, time), then entries; inside the
bar stops and targets; at the close what is left there, the mark of equity, the
limits of equity; then, on what is known by then, new decisions. Prices are raw
float64 US dollars, instants whole seconds since 1970 (UTC).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit

from greenlight.domain.backtest_arrays import Actions, Bars, BoolArray, Signals, Terms
from greenlight.domain.backtest_book import (
    CASH,
    CLOSED,
    DRAWDOWN_SESSION,
    EMPTY,
    END,
    EQUITY,
    HELD,
    HIGH,
    IN_DRAWDOWN,
    LOSS_BASE,
    OPEN,
    P_MARK,
    P_STOP,
    P_TARGET,
    RESTING,
    S_LEAVE,
    S_MUST,
    S_QTY,
    S_STATE,
    S_SYMBOL,
    TIME,
    Rates,
    act,
    leave_at_open,
    sell,
    trade_inside,
)
from greenlight.domain.backtest_fills import CostTerms, market_sell_price
from greenlight.domain.backtest_judge import (
    Book,
    fixed_plan,
    fixed_verdict,
    halt,
    judge,
    new_book,
    place,
    work,
)
from greenlight.domain.backtest_rules import (
    ONE_POSITION,
    Limits,
)
from greenlight.domain.indicators import FloatArray

_HIGH_WINDOW_S: Final = 30 * 86_400


@njit(cache=True)
def run_bars(
    bars: Bars, signals: Signals, actions: Actions, costs: CostTerms, limits: Limits, terms: Terms
) -> tuple[Book, int]:
    """Trade the bars; what came of it, and the number of closed trades."""
    book = new_book(len(signals.bar), bars.last.size, limits, terms)
    hand = book.hand
    slots, prices, purse, tally = hand.slots, hand.prices, hand.purse, hand.tally
    # What every bar looks at has a name of its own: taking an array out of its tuple, or
    # handing the tuples to a function, costs more than a whole bar does.
    opens, highs, lows, closes = bars.open, bars.high, bars.low, bars.close
    sessions, last_bar, figures = bars.session, bars.last, book.figures
    signal_bar, action_bar, leave = signals.bar, actions.bar, signals.leave
    has_exits = leave.size > 0
    is_at_open, is_left_at_open = terms.is_judged_at_open, terms.is_left_at_open
    seen, hold, leave_bars, plans = signals.reference, signals.hold, bars.leave, book.plans
    stop_fracs, target_fracs = signals.stop_frac, signals.target_frac
    signal_symbol, stopped, verdicts = signals.symbol, book.stopped, book.verdicts
    ask_share = 1.0 + costs.half_spread_frac
    bid_share, end, has_rules = 1.0 - costs.half_spread_frac, terms.end, terms.fixed_qty == 0
    # Equity after each session, for the 30-day high; the first is the start.
    mark_s = np.empty(bars.leave.size + 1, dtype=np.int64)
    mark_usd = np.empty(bars.leave.size + 1)
    mark_s[0], mark_usd[0] = bars.start_s[terms.first] - 1, terms.start_cash_usd
    marks, oldest, session = 1, 0, -1
    at = int(np.searchsorted(signal_bar, terms.first - int(is_at_open)))
    action_at = int(np.searchsorted(action_bar, terms.first))
    # One symbol with fixed shares: what it holds refuses its signals, and nothing follows.
    is_alone = len(last_bar) == 1 and is_at_open and not has_rules
    t, quiet_end, floor_usd, rates = terms.first, end, -math.inf, Rates(0.0, 0.0, 0.0)
    while t < end:
        if sessions[t] != session:
            session = sessions[t]
            rates = Rates(bars.sec_usd[session], bars.taf_usd[session], bars.taf_cap_usd[session])
            if t > terms.first:
                mark_s[marks], mark_usd[marks] = bars.end_s[t - 1], purse[EQUITY]
                marks += 1
            halted_for = session - tally[DRAWDOWN_SESSION]
            if tally[IN_DRAWDOWN] and 0 < terms.resume_sessions <= halted_for:
                # The fall counts anew from here, or the halt would come back at once.
                tally[IN_DRAWDOWN], oldest = 0, marks - 1
            while oldest < marks - 1 and mark_s[oldest] < bars.start_s[t] - _HIGH_WINDOW_S:
                oldest += 1
            purse[LOSS_BASE] = mark_usd[marks - 1]
            purse[HIGH] = np.max(mark_usd[oldest:marks])
            if has_rules:
                quiet_end = int(np.searchsorted(sessions, session, side="right"))
                floor_usd = max(
                    purse[LOSS_BASE] - limits.max_daily_loss_usd,
                    purse[HIGH] * (1.0 - limits.max_drawdown_frac),
                )
        if tally[OPEN] < 2:
            until = min(quiet_end, end - 1)
            if at < len(signal_bar) and not (is_alone and tally[OPEN]):
                until = min(until, signal_bar[at] + int(is_at_open))
            if action_at < len(action_bar):
                until = min(until, action_bar[action_at])
            k = 0
            if tally[OPEN] == 0:
                purse[EQUITY] = purse[CASH]
                t = _idle(figures, t, until, terms.first, purse[CASH])
            else:
                while slots[k, S_STATE] == EMPTY:
                    k += 1
                symbol = slots[k, S_SYMBOL]
                if slots[k, S_STATE] == HELD and not slots[k, S_MUST]:
                    until = min(until, slots[k, S_LEAVE], last_bar[symbol])
                    t, prices[k, P_MARK], purse[EQUITY] = _hold(
                        opens,
                        highs,
                        lows,
                        closes,
                        leave,
                        figures,
                        t,
                        until,
                        terms.first,
                        symbol,
                        slots[k, S_QTY],
                        prices[k, P_STOP],
                        prices[k, P_TARGET],
                        prices[k, P_MARK],
                        purse[CASH],
                        purse[EQUITY],
                        floor_usd,
                        bid_share,
                    )
                    if is_alone and not terms.keeps_marks:
                        at += int(np.searchsorted(signal_bar[at:], t - 1))
                    while is_alone and at < len(signal_bar) and signal_bar[at] + 1 < t:
                        usd = terms.fixed_qty * opens[signal_bar[at] + 1, 0] * ask_share
                        failed, _ = fixed_verdict(slots, prices, 0, purse[CASH], usd)
                        verdicts[at] = failed
                        at += 1
            if sessions[t] != session:
                continue
        while action_at < len(action_bar) and action_bar[action_at] <= t:
            act(
                hand,
                actions.symbol[action_at],
                actions.ratio[action_at],
                actions.usd[action_at],
                t,
            )
            action_at += 1
        k, left = 0, tally[OPEN]
        while left > 0:
            if slots[k, S_STATE] != EMPTY:
                left -= 1
            if slots[k, S_STATE] == HELD:
                is_due = slots[k, S_MUST] != 0 or (is_left_at_open and t >= slots[k, S_LEAVE])
                bid = opens[t, slots[k, S_SYMBOL]] * bid_share
                is_out = bid <= prices[k, P_STOP] or bid >= prices[k, P_TARGET]
                if is_out or (is_due and bid > 0.0):
                    if not is_due:
                        stopped[slots[k, S_SYMBOL]] = t
                    leave_at_open(hand, costs, rates, k, t, opens[t, slots[k, S_SYMBOL]])
            k += 1
        if is_at_open:
            while at < len(signal_bar) and signal_bar[at] < t:
                if has_rules:
                    judge(bars, signals, costs, limits, terms, book, at, t)
                else:
                    symbol = signal_symbol[at]
                    ask = opens[t, symbol] * ask_share
                    usd = terms.fixed_qty * ask
                    failed, free = fixed_verdict(slots, prices, symbol, purse[CASH], usd)
                    failed |= ONE_POSITION if stopped[symbol] == t else 0
                    verdicts[at] = failed
                    if failed == 0:
                        plan = fixed_plan(
                            terms.fixed_qty, seen[at], stop_fracs[at], target_fracs[at], ask
                        )
                        plans[at, 0], plans[at, 1], plans[at, 4] = plan.qty, plan.limit_price, ask
                        plans[at, 2], plans[at, 3] = plan.stop_price, plan.target_price
                        up = session + hold[at]
                        leave_bar = leave_bars[up] if up < len(leave_bars) else end
                        place(hand, plan, free, at, symbol, t, leave_bar)
                at += 1
        exposure, before = 0.0, purse[EQUITY]
        k, left = 0, tally[OPEN]
        while left > 0:
            if slots[k, S_STATE] == EMPTY:
                k += 1
                continue
            left -= 1
            symbol = slots[k, S_SYMBOL]
            is_hit = lows[t, symbol] * bid_share <= prices[k, P_STOP]
            is_hit |= highs[t, symbol] * bid_share >= prices[k, P_TARGET]
            if is_hit or slots[k, S_STATE] == RESTING:
                opened, high, low = opens[t, symbol], highs[t, symbol], lows[t, symbol]
                trade_inside(hand, costs, rates, k, t, opened, high, low)
            if slots[k, S_STATE] == HELD:
                close = closes[t, symbol]
                if close > 0.0:
                    prices[k, P_MARK] = close
                is_due = not is_left_at_open and t >= slots[k, S_LEAVE] and close > 0.0
                if is_due or t >= last_bar[symbol] or t + 1 == end:
                    price = market_sell_price(
                        prices[k, P_MARK], costs.half_spread_frac, costs.slippage_frac
                    )
                    sell(hand, costs, rates, k, t, price, TIME if is_due else END)
                else:
                    exposure += slots[k, S_QTY] * prices[k, P_MARK]
                    if has_exits and leave[t, symbol]:
                        slots[k, S_MUST] = 1
            k += 1
        equity = purse[CASH] + exposure
        purse[EQUITY] = equity
        if equity != before and has_rules:
            halt(limits, hand, bars.end_s[t], session)
        if terms.keeps_marks:
            row = t - terms.first
            figures[row, 0], figures[row, 1], figures[row, 2] = purse[CASH], equity, exposure
        if is_at_open:
            t += 1
            continue
        k, left = 0, tally[OPEN]
        while left > 0:
            if slots[k, S_STATE] != EMPTY:
                left -= 1
            if slots[k, S_STATE] == RESTING:
                is_over = t + 1 >= end or sessions[t + 1] != session
                ask = closes[t, slots[k, S_SYMBOL]] * ask_share
                work(hand, limits, terms, k, t, bars.end_s[t], ask, is_over)
            k += 1
        while at < len(signal_bar) and signal_bar[at] <= t:
            if t + 1 < end and has_rules:
                judge(bars, signals, costs, limits, terms, book, at, t)
            elif t + 1 < end:
                symbol = signal_symbol[at]
                ask = closes[t, symbol] * ask_share
                usd = terms.fixed_qty * ask
                failed, free = fixed_verdict(slots, prices, symbol, purse[CASH], usd)
                verdicts[at] = failed
                if failed == 0:
                    plan = fixed_plan(
                        terms.fixed_qty, seen[at], stop_fracs[at], target_fracs[at], ask
                    )
                    plans[at, 0], plans[at, 1], plans[at, 4] = plan.qty, plan.limit_price, ask
                    plans[at, 2], plans[at, 3] = plan.stop_price, plan.target_price
                    up = session + hold[at]
                    leave_bar = leave_bars[up] if up < len(leave_bars) else end
                    place(hand, plan, free, at, symbol, t, leave_bar)
            at += 1
        t += 1
    return book, int(tally[CLOSED])


@njit(cache=True)
def _idle(figures: FloatArray, t: int, until: int, first: int, cash_usd: float) -> int:
    """Write the bars before `until` in which nothing is held; the next bar."""
    if len(figures) > 0:
        for row in range(t - first, until - first):
            figures[row, 0], figures[row, 1], figures[row, 2] = cash_usd, cash_usd, 0.0
    return max(t, until)


@njit(cache=True)
def _hold(
    opens: FloatArray,
    highs: FloatArray,
    lows: FloatArray,
    closes: FloatArray,
    leave: BoolArray,
    figures: FloatArray,
    t: int,
    until: int,
    first: int,
    symbol: int,
    qty: int,
    stop: float,
    target: float,
    mark: float,
    cash_usd: float,
    equity_usd: float,
    floor_usd: float,
    bid_share: float,
) -> tuple[int, float, float]:
    """Write the bars before `until` in which one position is held and nothing else happens.

    Returns
    -------
    tuple[int, float, float]
        The bar in which something does, and mark and equity before it.
    """
    has_exits, keeps_marks = leave.size > 0, len(figures) > 0
    while t < until:
        bid, low, high = opens[t, symbol] * bid_share, lows[t, symbol], highs[t, symbol]
        is_out = bid <= stop or bid >= target
        if is_out or low * bid_share <= stop or high * bid_share >= target:
            break
        if has_exits and leave[t, symbol]:
            break
        close = closes[t, symbol]
        price = close if close > 0.0 else mark
        equity = cash_usd + qty * price
        if equity <= floor_usd:
            break
        row = t - first
        if keeps_marks:
            figures[row, 0], figures[row, 1], figures[row, 2] = cash_usd, equity, qty * price
        mark, equity_usd = price, equity
        t += 1
    return t, mark, equity_usd
