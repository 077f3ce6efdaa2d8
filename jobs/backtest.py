"""A backtest from history to its row in the trial ledger.

Before it stands `jobs.backtest_market`, which lays history out; after it the
command and, later, the sweeps. Here the strategies' steps run over whole
histories and the desk's forecasts are made as of each signal's day.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from greenlight.adapters.history import IntArray
from greenlight.domain import performance
from greenlight.domain.backtest import BacktestResult, Wishes, simulate
from greenlight.domain.backtest_arrays import Terms
from greenlight.domain.backtest_fills import CostTerms
from greenlight.domain.backtest_signals import (
    Column,
    History,
    in_order,
    stepped_signals,
    strategy_signals,
)
from greenlight.domain.correlation import SESSIONS
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.execution import EntryPolicy
from greenlight.domain.forecasts import VolatilityForecast, expected_vol_ann
from greenlight.domain.market import Bar, Unavailable, eastern_date, eastern_midnight
from greenlight.domain.metrics import (
    DailyReturns,
    daily_returns,
    max_drawdown,
    profit_factor,
    sharpe_ann,
    win_rate,
)
from greenlight.domain.signals import Strategy
from greenlight.domain.sizing import recent_volatility, volatility_scale
from greenlight.domain.trials import Trial
from greenlight.domain.volatility import VolatilityPolicy, forecast
from jobs.backtest_market import Board

_DAILY = "1Day"
_MINUTE = timedelta(minutes=1)
_AFTER_CLOSE = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestPlan:
    """What is backtested: strategies, from which day on, and how the desk trades.

    `policy` None leaves sizes without a volatility forecast. A halt by drawdown
    ends after `resume_sessions` sessions; 0: never.
    """

    strategies: tuple[Strategy, ...]
    start: date
    limits: RiskLimits
    costs: CostTerms
    entry: EntryPolicy
    start_cash_usd: float
    policy: VolatilityPolicy | None
    resume_sessions: int = 0


def backtest(board: Board, plan: BacktestPlan) -> BacktestResult:
    """Run the strategies over the board and trade their signals.

    Raises
    ------
    ValueError
        The board has no bar from the plan's start on, or a strategy decides on
        minutes and the board has none.
    """
    terms = _terms(board, plan)
    if terms.first >= terms.end:
        raise ValueError(f"there is no bar on or after {plan.start}")
    wishes = strategy_wishes(board, plan.strategies)
    judged, sessions = _judged_sessions(board, wishes, terms)
    board.believe(sessions.tolist())
    if plan.policy is not None:
        scales = wishes.signals.volatility_scale
        for i, session in zip(judged.tolist(), sessions.tolist(), strict=True):
            symbol = int(wishes.signals.symbol[i])
            scales[i] = _scale(board, symbol, session, plan.policy)
    return simulate(board.market, wishes, limits=plan.limits, costs=plan.costs, terms=terms)


def strategy_wishes(board: Board, strategies: Sequence[Strategy]) -> Wishes:
    """All signals of the strategies on a board, in the order in which they are judged.

    Raises
    ------
    ValueError
        A strategy decides on minutes, and the board has none.
    """
    columns = [
        _column(board, strategy, number, symbol)
        for number, strategy in enumerate(strategies)
        for symbol in range(len(board.market.symbols))
    ]
    signals, strategy_of = in_order(columns)
    names = tuple(strategy.name for strategy in strategies)
    return Wishes(names=names, strategy=strategy_of, signals=signals)


def _column(board: Board, strategy: Strategy, number: int, symbol: int) -> Column:
    is_daily = strategy.timeframe == _DAILY
    if board.is_daily and not is_daily:
        raise ValueError(f"{strategy.name} decides on minutes")
    history, rows = board.daily_history(symbol) if is_daily else board.minute_history(symbol)
    found = strategy_signals(strategy, history)
    if found is None:
        found, hold = stepped_signals(strategy, _as_bars(board, history, rows, is_daily))
    else:
        hold = np.full(len(rows), getattr(strategy, "hold_sessions", 0), dtype=np.int64)
    fired = np.flatnonzero(found[:, 0] > 0)
    bars = board.market.bars
    if is_daily:
        session = np.minimum(rows[fired] + 1, len(board.sessions) - 1)
        # In the next session's first minute, or at its open where a bar is a session.
        bar = rows[fired] if board.is_daily else np.searchsorted(bars.session, rows[fired] + 1)
    else:
        session, bar = bars.session[rows[fired]], rows[fired]
    factor = board.factor[session, symbol]
    return Column(
        strategy=number,
        symbol=symbol,
        bar=bar.astype(np.int64),
        confidence=found[fired, 0].astype(np.int64),
        hold=hold[fired],
        atr=found[fired, 1] * factor,
        stop_frac=found[fired, 2],
        target_frac=found[fired, 3],
        reference=history.close[fired] * factor,
    )


def _as_bars(board: Board, history: History, rows: IntArray, is_daily: bool) -> list[Bar]:
    """A history as the bars that a strategy's step takes."""
    bars = []
    for i, row in enumerate(rows.tolist()):
        if is_daily:
            session = board.sessions[row]
            start, end = eastern_midnight(session.day), session.close
        else:
            session = board.sessions[int(board.market.bars.session[row])]
            start = session.open + history.minute[i] * _MINUTE
            end = start + _MINUTE
        bars.append(
            Bar(
                symbol=history.symbol,
                start=start,
                end=end,
                open=float(history.open[i]),
                high=float(history.high[i]),
                low=float(history.low[i]),
                close=float(history.close[i]),
                volume=int(history.volume[i]),
            )
        )
    return bars


def _terms(board: Board, plan: BacktestPlan) -> Terms:
    return Terms(
        first=board.first_bar(plan.start),
        end=len(board.market.bars.session),
        is_judged_at_open=board.is_daily,
        is_left_at_open=not board.is_daily,
        fixed_qty=0,
        entry_bars=max(1, math.ceil(plan.entry.timeout_s / 60)),
        reprices=plan.entry.reprices,
        reprice_bars=max(1, math.ceil(plan.entry.reprice_after_s / 60)),
        resume_sessions=plan.resume_sessions,
        start_cash_usd=plan.start_cash_usd,
    )


def _judged_sessions(board: Board, wishes: Wishes, terms: Terms) -> tuple[IntArray, IntArray]:
    """The signals of the window, and the session that each is judged in."""
    bar = wishes.signals.bar + int(terms.is_judged_at_open)
    inside = np.flatnonzero((bar >= terms.first) & (bar < terms.end))
    return inside, board.market.bars.session[bar[inside]]


# -- the forecast of the day


def _scale(board: Board, symbol: int, session: int, policy: VolatilityPolicy) -> float:
    """What is left of the size by the forecast as of a session's open; see `sizing`."""
    name = board.market.symbols[symbol]
    known = board.daily[name]
    seen = [known[s.day] for s in board.sessions[:session] if s.day in known]
    if not seen:
        return 1.0
    made = _forecast(board, name, seen, policy)
    if made is None:
        return 1.0
    age = sum(s.day > made.through for s in board.sessions[:session])
    window = board.market.bars.returns[max(0, session - SESSIONS) : session, symbol]
    recent = recent_volatility(window[np.isfinite(window)].tolist())
    return volatility_scale(expected_vol_ann(made, age), recent)


def _forecast(
    board: Board, symbol: str, seen: Sequence[Bar], policy: VolatilityPolicy
) -> VolatilityForecast | None:
    """The forecast made after the last bar: fitted in the week's first session, run on since."""
    splits = board.series[symbol].splits
    last = seen[-1].start.isocalendar()[:2]
    first = len(seen) - 1
    while first > 0 and seen[first - 1].start.isocalendar()[:2] == last:
        first -= 1
    made: VolatilityForecast | None = None
    for bars in {first + 1: seen[: first + 1], len(seen): seen}.values():
        found = forecast(
            symbol=symbol,
            now=bars[-1].end + _AFTER_CLOSE,
            bars=bars[-(policy.window + 1) :],
            splits=splits,
            previous=made,
            policy=policy,
        )
        made = found if isinstance(found, VolatilityForecast) else made
    return made


# -- what it came to


def session_returns(board: Board, result: BacktestResult) -> DailyReturns:
    """Returns of the result's equity from close to close; the first counts from the start."""
    closes = {
        eastern_date(datetime.fromtimestamp(at_s, UTC)): float(usd)
        for at_s, usd in _closes(board, result)
    }
    days = sorted(closes)
    before = days[0] - timedelta(days=1) if days else None
    sessions = days if before is None else [before, *days]
    known = closes if before is None else {before: result.start_cash_usd, **closes}
    return daily_returns(known, sessions)


def _closes(board: Board, result: BacktestResult) -> list[tuple[int, float]]:
    """The last mark of each session: when, in seconds since 1970, and US dollars."""
    session = board.market.bars.session[-len(result.marks.at_s) :]
    ends = np.flatnonzero(np.append(np.diff(session), 1))
    return list(zip(result.marks.at_s[ends].tolist(), result.marks.equity_usd[ends], strict=True))


def summary_figures(board: Board, result: BacktestResult) -> dict[str, float | Unavailable]:
    """The figures of a result by name, each defined in `metrics` or `performance`."""
    returns = session_returns(board, result).values
    equity, count = result.marks.equity_usd, len(returns)
    fall, won = max_drawdown(result.marks), win_rate(result.trades)
    fall_frac = fall if isinstance(fall, Unavailable) else fall.frac
    growth = performance.cagr_frac(result.start_cash_usd, float(equity[-1]), count)
    found = performance.moments(returns)
    return {
        "return_frac": result.return_frac,
        "cagr_frac": growth,
        "volatility_ann_frac": performance.volatility_ann(returns),
        "sharpe_ann": sharpe_ann(returns),
        "sortino_ann": performance.sortino_ann(returns),
        "calmar_ann": fall_frac
        if isinstance(fall_frac, Unavailable)
        else performance.calmar(growth, fall_frac),
        "max_drawdown_frac": fall_frac,
        "longest_drawdown_bars": float(performance.longest_drawdown(equity)),
        "probabilistic_sharpe_frac": found
        if isinstance(found, Unavailable)
        else performance.probabilistic_sharpe(found),
        "min_track_record_sessions": found
        if isinstance(found, Unavailable)
        else performance.min_track_record(found),
        "signals": float(len(result.judged)),
        "trades": float(len(result.trades)),
        "unfilled": float(result.unfilled),
        "win_rate_frac": won if isinstance(won, Unavailable) else won.frac,
        "profit_factor": profit_factor(result.trades),
        "expectancy_usd": performance.expectancy_usd(result.trades),
        "exposure_frac": performance.exposure_frac(result.exposure_usd, equity),
        "turnover_ann": performance.turnover_ann(result.traded_usd, equity, count),
        "fees_usd": float(sum(trade.fees_usd for trade in result.trades)),
        "dividends_usd": result.dividends_usd,
        "loss_halts": float(result.loss_halts),
        "drawdown_halts": float(result.drawdown_halts),
    }


# -- the trial ledger


def data_hash(board: Board) -> str:
    """SHA-256 of the data that a result depends on."""
    digest = hashlib.sha256(json.dumps([board.market.symbols, board.market.sectors]).encode())
    # What is believed follows from the rest, and is only asked where there is a signal.
    bars = board.market.bars._replace(sound=np.empty(0, dtype=np.bool_))
    for array in (*bars, *board.market.actions, board.volume):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def trial_of(
    board: Board,
    plan: BacktestPlan,
    result: BacktestResult,
    *,
    at: datetime,
    end: date,
    source: str,
    code_hash: str,
    params: Mapping[str, object],
) -> Trial:
    """The ledger's row of a backtest.

    Parameters
    ----------
    at : datetime
        When it ran, aware UTC.
    params : Mapping[str, object]
        Every setting that a decision depends on, as JSON values.
    """
    figures = {
        name: None if isinstance(value, Unavailable) else value
        for name, value in summary_figures(board, result).items()
    }
    return Trial.of(
        at=at,
        kind="backtest",
        code_hash=code_hash,
        strategies=tuple(strategy.name for strategy in plan.strategies),
        params=params,
        source=source,
        symbols=board.market.symbols,
        data_hash=data_hash(board),
        start=plan.start,
        end=end,
        figures=figures,
    )
