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
from typing import Final, NamedTuple

import numpy as np
from numba import njit

from greenlight.domain.backtest_arrays import Actions, Bars, BoolArray, IntArray, Signals, Terms
from greenlight.domain.backtest_book import (
    CASH,
    CLOSED,
    DRAWDOWN_HALTS,
    DRAWDOWN_SESSION,
    EMPTY,
    END,
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
    S_MUST,
    S_PRICED,
    S_QTY,
    S_REPRICES,
    S_SIGNAL,
    S_SINCE,
    S_STATE,
    S_SYMBOL,
    TAKEN,
    TIME,
    WINNERS,
    Hand,
    Rates,
    act,
    leave_at_open,
    new_hand,
    sell,
    trade_inside,
)
from greenlight.domain.backtest_fills import CostTerms, market_sell_price, tick_nearest, tick_up
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
_HIGH_WINDOW_S: Final = 30 * _DAY_S


class Book(NamedTuple):
    """What the loop writes.

    Attributes
    ----------
    figures : float64[bars, 3]
        Cash, equity and marked exposure after each bar, US dollars.
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
def run_bars(
    bars: Bars, signals: Signals, actions: Actions, costs: CostTerms, limits: Limits, terms: Terms
) -> tuple[Book, int]:
    """Trade the bars; what came of it, and the number of closed trades."""
    book = _new_book(len(signals.bar), bars.last.size, limits, terms)
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
                    while is_alone and at < len(signal_bar) and signal_bar[at] + 1 < t:
                        usd = terms.fixed_qty * opens[signal_bar[at] + 1, 0] * ask_share
                        failed, _ = _fixed_verdict(slots, prices, 0, purse[CASH], usd)
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
                    _judge(bars, signals, costs, limits, terms, book, at, t)
                else:
                    symbol = signal_symbol[at]
                    ask = opens[t, symbol] * ask_share
                    usd = terms.fixed_qty * ask
                    failed, free = _fixed_verdict(slots, prices, symbol, purse[CASH], usd)
                    failed |= ONE_POSITION if stopped[symbol] == t else 0
                    verdicts[at] = failed
                    if failed == 0:
                        plan = _fixed_plan(
                            terms.fixed_qty, seen[at], stop_fracs[at], target_fracs[at], ask
                        )
                        plans[at, 0], plans[at, 1], plans[at, 4] = plan.qty, plan.limit_price, ask
                        plans[at, 2], plans[at, 3] = plan.stop_price, plan.target_price
                        up = session + hold[at]
                        leave_bar = leave_bars[up] if up < len(leave_bars) else end
                        _place(hand, plan, free, at, symbol, t, leave_bar)
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
            _halt(limits, hand, bars.end_s[t], session)
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
                _work(hand, limits, terms, k, t, bars.end_s[t], ask, is_over)
            k += 1
        while at < len(signal_bar) and signal_bar[at] <= t:
            if t + 1 < end and has_rules:
                _judge(bars, signals, costs, limits, terms, book, at, t)
            elif t + 1 < end:
                symbol = signal_symbol[at]
                ask = closes[t, symbol] * ask_share
                usd = terms.fixed_qty * ask
                failed, free = _fixed_verdict(slots, prices, symbol, purse[CASH], usd)
                verdicts[at] = failed
                if failed == 0:
                    plan = _fixed_plan(
                        terms.fixed_qty, seen[at], stop_fracs[at], target_fracs[at], ask
                    )
                    plans[at, 0], plans[at, 1], plans[at, 4] = plan.qty, plan.limit_price, ask
                    plans[at, 2], plans[at, 3] = plan.stop_price, plan.target_price
                    up = session + hold[at]
                    leave_bar = leave_bars[up] if up < len(leave_bars) else end
                    _place(hand, plan, free, at, symbol, t, leave_bar)
            at += 1
        t += 1
    return book, int(tally[CLOSED])


@njit(cache=True)
def _idle(figures: FloatArray, t: int, until: int, first: int, cash_usd: float) -> int:
    """Write the bars before `until` in which nothing is held; the next bar."""
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
    has_exits = leave.size > 0
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
        figures[row, 0], figures[row, 1], figures[row, 2] = cash_usd, equity, qty * price
        mark, equity_usd = price, equity
        t += 1
    return t, mark, equity_usd


@njit(cache=True)
def _new_book(count: int, symbols: int, limits: Limits, terms: Terms) -> Book:
    return Book(
        new_hand(limits.max_positions, count, terms.start_cash_usd),
        np.empty((terms.end - terms.first, 3)),
        np.full(count, NOT_JUDGED, dtype=np.int64),
        np.full((count, 6), np.nan),
        np.zeros(count, dtype=np.int64),
        np.full(symbols, -1, dtype=np.int64),
        np.full((symbols, symbols), -1, dtype=np.int64),
        np.zeros((symbols, symbols)),
    )


# -- deciding


@njit(cache=True)
def _judge(
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
        _is_halted(tally, now_s),
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
        _place(hand, plan, free, i, symbol, t, leave)


@njit(cache=True)
def _fixed_verdict(
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
def _fixed_plan(qty: int, seen: float, stop_frac: float, target_frac: float, ask: float) -> Plan:
    """An order for fixed shares at the market, decided on the close that was seen."""
    stop = tick_up(seen * (1.0 - stop_frac)) if stop_frac < 1.0 else 0.0
    return Plan(qty, math.inf, ask, stop, tick_nearest(seen * (1.0 + target_frac)))


@njit(cache=True)
def _place(hand: Hand, plan: Plan, k: int, i: int, symbol: int, t: int, leave: int) -> None:
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
def _is_halted(tally: IntArray, now_s: int) -> bool:
    return bool(tally[IN_DRAWDOWN] != 0 or now_s < tally[LOSS_UNTIL_S])


@njit(cache=True)
def _entries_within(taken_s: IntArray, taken: int, now_s: int, window_s: int) -> int:
    first = taken
    while first > 0 and now_s - taken_s[first - 1] < window_s:
        first -= 1
    return taken - first


@njit(cache=True)
def _halt(limits: Limits, hand: Hand, now_s: int, session: int) -> None:
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
def _work(
    hand: Hand, limits: Limits, terms: Terms, k: int, t: int, now_s: int, ask: float, is_over: bool
) -> None:
    """Cancel a resting entry, or price it again; see `execution.work_entry`."""
    slots, prices, tally = hand.slots, hand.prices, hand.tally
    is_old = t - slots[k, S_SINCE] >= terms.entry_bars
    if is_over or is_old or _is_halted(tally, now_s):
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
