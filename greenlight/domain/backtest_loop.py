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

from greenlight.domain.backtest_arrays import Actions, Bars, IntArray, Signals, Terms
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

STOP, TARGET, TIME, SIGNAL, END, SPLIT = 0, 1, 2, 3, 4, 5
"""Why a position was left; `backtest.EXIT_REASONS` names them."""
NOT_JUDGED: Final = -1
"""Verdict on a signal that came too late: no bar follows it."""
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400
_HIGH_WINDOW_S: Final = 30 * _DAY_S
_EMPTY, _RESTING, _HELD = 0, 1, 2
# Columns of `Book.slots`. _SINCE is the bar of the order or the fill, _LEAVE the bar
# to leave in, _MUST whether it leaves at the next open, _PRICED the last repricing's bar.
_STATE, _SYMBOL, _SIGNAL, _QTY, _BOUGHT, _SINCE, _LEAVE, _MUST, _REPRICES, _PRICED = range(10)
# Of `Book.prices`. _COST is what its shares cost, _GOT what a fraction of one was paid
# with, _MARK the last price.
_STOP, _TARGET, _LIMIT, _MAX, _COST, _GOT, _FEES, _MARK = range(8)
# Of `Book.purse`, US dollars.
_CASH, _EQUITY, _LOSS_BASE, _HIGH = range(4)
# Of `Book.tally`. _OPEN counts slots in use, _TAKEN entries.
_OPEN, _CLOSED, _TAKEN, _WINNERS, _LOSS_UNTIL_S, _IN_DRAWDOWN, _DRAWDOWN_SESSION = range(7)
DIVIDENDS_USD, TRADED_USD, LOSS_HALTS, DRAWDOWN_HALTS = range(4)
"""Columns of `Book.totals`."""


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
    trades : int64[signals, 6]
        Of each closed trade the signal, shares bought and sold, bars of entry
        and exit, reason.
    money : float64[signals, 3]
        What it paid and received for the shares, and fees, US dollars.
    totals : float64[4]
        See the names above.
    """

    figures: FloatArray
    verdicts: IntArray
    plans: FloatArray
    trades: IntArray
    money: FloatArray
    totals: FloatArray
    slots: IntArray
    prices: FloatArray
    purse: FloatArray
    tally: IntArray
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
    slots, prices, purse, tally = book.slots, book.prices, book.purse, book.tally
    # What every bar looks at has a name of its own: taking an array out of its tuple, or
    # handing the tuples to a function, costs more than a whole bar does.
    opens, highs, lows, closes = bars.open, bars.high, bars.low, bars.close
    sessions, last_bar, figures = bars.session, bars.last, book.figures
    signal_bar, action_bar, leave = signals.bar, actions.bar, signals.leave
    has_exits = leave.size > 0
    is_at_open, is_left_at_open = terms.is_judged_at_open, terms.is_left_at_open
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
    for t in range(terms.first, end):
        if sessions[t] != session:
            session = sessions[t]
            if t > terms.first:
                mark_s[marks], mark_usd[marks] = bars.end_s[t - 1], purse[_EQUITY]
                marks += 1
            halted_for = session - tally[_DRAWDOWN_SESSION]
            if tally[_IN_DRAWDOWN] and 0 < terms.resume_sessions <= halted_for:
                # The fall counts anew from here, or the halt would come back at once.
                tally[_IN_DRAWDOWN], oldest = 0, marks - 1
            while oldest < marks - 1 and mark_s[oldest] < bars.start_s[t] - _HIGH_WINDOW_S:
                oldest += 1
            purse[_LOSS_BASE] = mark_usd[marks - 1]
            purse[_HIGH] = np.max(mark_usd[oldest:marks])
        while action_at < len(action_bar) and action_bar[action_at] <= t:
            _act(bars, actions, book, action_at, t)
            action_at += 1
        k, left = 0, tally[_OPEN]
        while left > 0:
            if slots[k, _STATE] != _EMPTY:
                left -= 1
            if slots[k, _STATE] == _HELD:
                is_due = slots[k, _MUST] != 0 or (is_left_at_open and t >= slots[k, _LEAVE])
                bid = opens[t, slots[k, _SYMBOL]] * bid_share
                is_out = bid <= prices[k, _STOP] or bid >= prices[k, _TARGET]
                if is_out or (is_due and bid > 0.0):
                    _leave_at_open(bars, costs, book, k, t, is_due)
            k += 1
        if is_at_open:
            while at < len(signal_bar) and signal_bar[at] < t:
                if has_rules:
                    _judge(bars, signals, costs, limits, terms, book, at, t)
                else:
                    symbol = signal_symbol[at]
                    ask = opens[t, symbol] * ask_share
                    usd = terms.fixed_qty * ask
                    failed, free = _fixed_verdict(slots, prices, symbol, purse[_CASH], usd)
                    failed |= ONE_POSITION if stopped[symbol] == t else 0
                    verdicts[at] = failed
                    if failed == 0:
                        _want(bars, signals, terms, book, free, at, t, ask)
                at += 1
        exposure, before = 0.0, purse[_EQUITY]
        k, left = 0, tally[_OPEN]
        while left > 0:
            if slots[k, _STATE] == _EMPTY:
                k += 1
                continue
            left -= 1
            symbol = slots[k, _SYMBOL]
            is_hit = lows[t, symbol] * bid_share <= prices[k, _STOP]
            is_hit |= highs[t, symbol] * bid_share >= prices[k, _TARGET]
            if is_hit or slots[k, _STATE] == _RESTING:
                _trade_inside(bars, costs, book, k, t)
            if slots[k, _STATE] == _HELD:
                close = closes[t, symbol]
                if close > 0.0:
                    prices[k, _MARK] = close
                is_due = not is_left_at_open and t >= slots[k, _LEAVE] and close > 0.0
                if is_due or t >= last_bar[symbol] or t + 1 == end:
                    price = market_sell_price(
                        prices[k, _MARK], costs.half_spread_frac, costs.slippage_frac
                    )
                    _sell(bars, costs, book, k, t, price, TIME if is_due else END)
                else:
                    exposure += slots[k, _QTY] * prices[k, _MARK]
                    if has_exits and leave[t, symbol]:
                        slots[k, _MUST] = 1
            k += 1
        equity = purse[_CASH] + exposure
        purse[_EQUITY] = equity
        if equity != before and has_rules:
            _halt(limits, book, bars.end_s[t], session)
        row = t - terms.first
        figures[row, 0], figures[row, 1], figures[row, 2] = purse[_CASH], equity, exposure
        if is_at_open:
            continue
        k, left = 0, tally[_OPEN]
        while left > 0:
            if slots[k, _STATE] != _EMPTY:
                left -= 1
            if slots[k, _STATE] == _RESTING:
                is_over = t + 1 >= end or sessions[t + 1] != session
                _work(bars, costs, limits, terms, book, k, t, is_over)
            k += 1
        while at < len(signal_bar) and signal_bar[at] <= t:
            if t + 1 < end and has_rules:
                _judge(bars, signals, costs, limits, terms, book, at, t)
            elif t + 1 < end:
                symbol = signal_symbol[at]
                ask = closes[t, symbol] * ask_share
                usd = terms.fixed_qty * ask
                failed, free = _fixed_verdict(slots, prices, symbol, purse[_CASH], usd)
                verdicts[at] = failed
                if failed == 0:
                    _want(bars, signals, terms, book, free, at, t, ask)
            at += 1
    return book, int(tally[_CLOSED])


@njit(cache=True)
def _new_book(count: int, symbols: int, limits: Limits, terms: Terms) -> Book:
    return Book(
        np.empty((terms.end - terms.first, 3)),
        np.full(count, NOT_JUDGED, dtype=np.int64),
        np.full((count, 6), np.nan),
        np.zeros((count, 6), dtype=np.int64),
        np.zeros((count, 3)),
        np.zeros(4),
        np.zeros((limits.max_positions, 10), dtype=np.int64),
        np.zeros((limits.max_positions, 8)),
        np.full(4, terms.start_cash_usd),
        np.zeros(7, dtype=np.int64),
        np.zeros(count, dtype=np.int64),
        np.full(symbols, -1, dtype=np.int64),
        np.full((symbols, symbols), -1, dtype=np.int64),
        np.zeros((symbols, symbols)),
    )


# -- deciding


@njit(cache=True, inline="always")
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
    slots, prices, purse, tally = book.slots, book.prices, book.purse, book.tally
    symbol, session = signals.symbol[i], bars.session[t]
    price = bars.open[t, symbol] if terms.is_judged_at_open else bars.close[t, symbol]
    now_s = bars.start_s[t] if terms.is_judged_at_open else bars.end_s[t]
    equity, power, exposure, in_sector = purse[_CASH], purse[_CASH], 0.0, 0.0
    taken, is_wanted, highest, free = 0, book.stopped[symbol] == t, math.nan, -1
    for k in range(len(slots)):
        if slots[k, _STATE] == _EMPTY:
            free = k if free < 0 else free
            continue
        other = slots[k, _SYMBOL]
        taken += 1
        is_wanted |= other == symbol
        if slots[k, _STATE] == _HELD:
            mark = bars.open[t, other] if terms.is_judged_at_open else prices[k, _MARK]
            equity += slots[k, _QTY] * (mark if mark > 0.0 else prices[k, _MARK])
            cost = prices[k, _COST]
        else:
            cost = slots[k, _QTY] * prices[k, _MAX]
            power -= cost
        exposure += cost
        if bars.sector[other] == bars.sector[symbol]:
            in_sector += cost
        if other != symbol:
            found = _pair(bars, book, session, symbol, other)
            highest = found if np.isnan(highest) else max(highest, found)
    bid, ask = price * (1.0 - costs.half_spread_frac), price * (1.0 + costs.half_spread_frac)
    stop_frac, target_frac = signals.stop_frac[i], signals.target_frac[i]
    desk = Desk(
        _is_halted(book, now_s),
        bool(bars.sound[session, symbol]),
        is_wanted,
        taken,
        _entries_within(book, now_s, _MINUTE_S),
        _entries_within(book, now_s, _HOUR_S),
        equity,
        power,
        purse[_LOSS_BASE],
        purse[_HIGH],
        exposure,
        in_sector,
        highest,
        tally[_WINNERS],
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
        _place(bars, signals, terms, book, plan, free, i, t, now_s)


@njit(cache=True)
def _fixed_verdict(
    slots: IntArray, prices: FloatArray, symbol: int, cash_usd: float, usd: float
) -> tuple[int, int]:
    """Why an order of so many dollars cannot be placed, as bits, and a free slot."""
    # NaN, which is no quote, is not above zero.
    failed, free = 0 if usd > 0.0 else FRESH_QUOTE, -1
    for k in range(len(slots)):
        if slots[k, _STATE] == _EMPTY:
            free = k if free < 0 else free
        elif slots[k, _SYMBOL] == symbol:
            failed |= ONE_POSITION
        elif slots[k, _STATE] == _RESTING:
            cash_usd -= slots[k, _QTY] * prices[k, _MAX]
    failed |= MAX_POSITIONS if free < 0 else 0
    failed |= BUYING_POWER if usd > cash_usd else 0
    return failed, free


@njit(cache=True)
def _want(
    bars: Bars, signals: Signals, terms: Terms, book: Book, free: int, i: int, t: int, ask: float
) -> None:
    """Place an order for fixed shares at the market, decided on the close that was seen."""
    seen, stop_frac = signals.reference[i], signals.stop_frac[i]
    stop = tick_up(seen * (1.0 - stop_frac)) if stop_frac < 1.0 else 0.0
    target = tick_nearest(seen * (1.0 + signals.target_frac[i]))
    plan = Plan(terms.fixed_qty, math.inf, ask, stop, target)
    book.plans[i, 0], book.plans[i, 1] = plan.qty, plan.limit_price
    book.plans[i, 2], book.plans[i, 3], book.plans[i, 4] = stop, target, ask
    now_s = bars.start_s[t] if terms.is_judged_at_open else bars.end_s[t]
    _place(bars, signals, terms, book, plan, free, i, t, now_s)


@njit(cache=True, inline="always")
def _place(
    bars: Bars,
    signals: Signals,
    terms: Terms,
    book: Book,
    plan: Plan,
    free: int,
    i: int,
    t: int,
    now_s: int,
) -> None:
    slots, prices, tally = book.slots, book.prices, book.tally
    book.taken_s[tally[_TAKEN]] = now_s
    tally[_TAKEN] += 1
    tally[_OPEN] += 1
    slots[free, :] = 0
    prices[free, :] = 0.0
    until = bars.session[t] + signals.hold[i]
    slots[free, _STATE], slots[free, _SYMBOL], slots[free, _SIGNAL] = _RESTING, signals.symbol[i], i
    slots[free, _QTY], slots[free, _SINCE], slots[free, _PRICED] = plan.qty, t, t
    slots[free, _LEAVE] = bars.leave[until] if until < len(bars.leave) else terms.end
    prices[free, _STOP], prices[free, _TARGET] = plan.stop_price, plan.target_price
    prices[free, _LIMIT], prices[free, _MAX] = plan.limit_price, plan.max_price


@njit(cache=True)
def _pair(bars: Bars, book: Book, session: int, first: int, second: int) -> float:
    """Correlation of two symbols, which holds for a session."""
    if book.pair_session[first, second] != session:
        found = correlation_step(bars.returns, bars.sound, session, first, second)
        book.pair_session[first, second] = book.pair_session[second, first] = session
        book.pair[first, second] = book.pair[second, first] = found
    return float(book.pair[first, second])


@njit(cache=True)
def _is_halted(book: Book, now_s: int) -> bool:
    return bool(book.tally[_IN_DRAWDOWN] != 0 or now_s < book.tally[_LOSS_UNTIL_S])


@njit(cache=True)
def _entries_within(book: Book, now_s: int, window_s: int) -> int:
    last = book.tally[_TAKEN]
    first = last
    while first > 0 and now_s - book.taken_s[first - 1] < window_s:
        first -= 1
    return int(last - first)


@njit(cache=True)
def _halt(limits: Limits, book: Book, now_s: int, session: int) -> None:
    """Halt entries where equity demands it; see `halts.due_halts`."""
    purse, tally = book.purse, book.tally
    lost = purse[_LOSS_BASE] - purse[_EQUITY]
    if lost >= limits.max_daily_loss_usd and now_s >= tally[_LOSS_UNTIL_S]:
        tally[_LOSS_UNTIL_S] = now_s + _DAY_S
        book.totals[LOSS_HALTS] += 1
    fallen = 1.0 - purse[_EQUITY] / purse[_HIGH]
    if fallen >= limits.max_drawdown_frac and not tally[_IN_DRAWDOWN]:
        tally[_IN_DRAWDOWN], tally[_DRAWDOWN_SESSION] = 1, session
        book.totals[DRAWDOWN_HALTS] += 1


@njit(cache=True)
def _work(
    bars: Bars,
    costs: CostTerms,
    limits: Limits,
    terms: Terms,
    book: Book,
    k: int,
    t: int,
    is_over: bool,
) -> None:
    """Cancel a resting entry, or price it again; see `execution.work_entry`."""
    slots, prices = book.slots, book.prices
    is_old = t - slots[k, _SINCE] >= terms.entry_bars
    if is_over or is_old or _is_halted(book, bars.end_s[t]):
        slots[k, _STATE] = _EMPTY
        book.tally[_OPEN] -= 1
        return
    ask = bars.close[t, slots[k, _SYMBOL]] * (1.0 + costs.half_spread_frac)
    is_early = t - slots[k, _PRICED] < terms.reprice_bars
    if is_early or slots[k, _REPRICES] >= terms.reprices:
        return
    if prices[k, _LIMIT] < ask <= prices[k, _MAX]:
        wanted = tick_up(ask * (1.0 + limits.entry_slack_bps / 1e4))
        prices[k, _LIMIT] = min(wanted, prices[k, _MAX])
        slots[k, _REPRICES] += 1
        slots[k, _PRICED] = t


# -- trading


@njit(cache=True)
def _act(bars: Bars, actions: Actions, book: Book, i: int, t: int) -> None:
    """Book a dividend or a split. A fraction of a share is paid out at the last price."""
    slots, prices, ratio = book.slots, book.prices, actions.ratio[i]
    for k in range(len(slots)):
        if slots[k, _STATE] != _HELD or slots[k, _SYMBOL] != actions.symbol[i]:
            continue
        if ratio == 0.0:
            paid = slots[k, _QTY] * actions.usd[i]
            book.purse[_CASH] += paid
            book.totals[DIVIDENDS_USD] += paid
            continue
        shares = slots[k, _QTY] * ratio
        whole = math.floor(shares + 1e-9)
        prices[k, _MARK] /= ratio
        if whole < 1.0:
            _close(book, k, t, prices[k, _MARK] * ratio, 0.0, SPLIT)
            continue
        rest = max(shares - whole, 0.0) * prices[k, _MARK]
        book.purse[_CASH] += rest
        prices[k, _GOT] += rest
        slots[k, _QTY] = int(whole)
        prices[k, _STOP] = tick_up(prices[k, _STOP] / ratio)
        prices[k, _TARGET] = tick_nearest(prices[k, _TARGET] / ratio)


@njit(cache=True, inline="always")
def _buy(bars: Bars, costs: CostTerms, book: Book, k: int, t: int, price: float) -> None:
    slots, prices = book.slots, book.prices
    qty = slots[k, _QTY]
    fees = commission(costs, qty, price)
    slots[k, _STATE], slots[k, _SINCE], slots[k, _BOUGHT] = _HELD, t, qty
    prices[k, _COST], prices[k, _FEES], prices[k, _MARK] = qty * price, fees, price
    book.purse[_CASH] -= qty * price + fees
    book.totals[TRADED_USD] += qty * price


@njit(cache=True, inline="always")
def _sell(
    bars: Bars, costs: CostTerms, book: Book, k: int, t: int, price: float, reason: int
) -> None:
    qty, day = book.slots[k, _QTY], bars.session[t]
    fees = commission(costs, qty, price)
    if costs.is_regulated:
        fees += sale_fees(qty, price, bars.sec_usd[day], bars.taf_usd[day], bars.taf_cap_usd[day])
    _close(book, k, t, price, fees, reason)


@njit(cache=True, inline="always")
def _close(book: Book, k: int, t: int, price: float, fees: float, reason: int) -> None:
    slots, prices, tally = book.slots, book.prices, book.tally
    row, qty = tally[_CLOSED], slots[k, _QTY]
    received = qty * price + prices[k, _GOT]
    prices[k, _FEES] += fees
    book.purse[_CASH] += qty * price - fees
    book.totals[TRADED_USD] += qty * price
    book.trades[row, 0], book.trades[row, 1] = slots[k, _SIGNAL], slots[k, _BOUGHT]
    book.trades[row, 2], book.trades[row, 3] = qty, slots[k, _SINCE]
    book.trades[row, 4], book.trades[row, 5] = t, reason
    book.money[row, 0], book.money[row, 1] = prices[k, _COST], received
    book.money[row, 2] = prices[k, _FEES]
    is_won = received - prices[k, _COST] - prices[k, _FEES] > 0.0
    tally[_WINNERS] = tally[_WINNERS] + 1 if is_won else 0
    tally[_CLOSED] += 1
    tally[_OPEN] -= 1
    slots[k, _STATE] = _EMPTY


@njit(cache=True, inline="always")
def _leave_at_open(bars: Bars, costs: CostTerms, book: Book, k: int, t: int, is_due: bool) -> None:
    """Sell at the open what its stop or target was gapped over by, or what is due."""
    symbol = book.slots[k, _SYMBOL]
    opened = bars.open[t, symbol]
    bid = opened * (1.0 - costs.half_spread_frac)
    at_market = market_sell_price(opened, costs.half_spread_frac, costs.slippage_frac)
    if not is_due:
        book.stopped[symbol] = t
    if bid <= book.prices[k, _STOP]:
        _sell(bars, costs, book, k, t, at_market, STOP)
    elif bid >= book.prices[k, _TARGET]:
        _sell(bars, costs, book, k, t, bid, TARGET)
    else:
        _sell(bars, costs, book, k, t, at_market, SIGNAL if book.slots[k, _MUST] else TIME)


@njit(cache=True, inline="always")
def _trade_inside(bars: Bars, costs: CostTerms, book: Book, k: int, t: int) -> None:
    """Fill a resting entry, then stop or target, inside a bar."""
    slots, prices = book.slots, book.prices
    symbol = slots[k, _SYMBOL]
    opened, low = bars.open[t, symbol], bars.low[t, symbol]
    spread, slippage = costs.half_spread_frac, costs.slippage_frac
    is_from_open = True
    if slots[k, _STATE] == _RESTING:
        price, is_from_open = buy_limit_price(opened, low, prices[k, _LIMIT], spread, slippage)
        if np.isnan(price):
            return
        _buy(bars, costs, book, k, t, price)
    high, stop, target = bars.high[t, symbol], prices[k, _STOP], prices[k, _TARGET]
    price, is_stop = exit_price(opened, high, low, stop, target, spread, slippage, is_from_open)
    if not np.isnan(price):
        _sell(bars, costs, book, k, t, price, STOP if is_stop else TARGET)
