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
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np

from greenlight.adapters.history import FloatArray, IntArray
from greenlight.domain import performance
from greenlight.domain.backtest import BacktestResult, Wishes, simulate
from greenlight.domain.backtest_arrays import Signals, Terms
from greenlight.domain.backtest_fills import CostTerms
from greenlight.domain.backtest_signals import (
    Column,
    History,
    in_order,
    same_signals,
    stepped_signals,
    strategy_signals,
)
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.execution import EntryPolicy
from greenlight.domain.market import Bar, Unavailable, eastern_date, eastern_midnight
from greenlight.domain.mean_reversion import MeanReversion
from greenlight.domain.metrics import (
    DailyReturns,
    daily_returns,
    max_drawdown,
    profit_factor,
    sharpe_ann,
    win_rate,
)
from greenlight.domain.news_reversal import NewsReversal
from greenlight.domain.signals import Strategy
from greenlight.domain.trials import Trial
from greenlight.domain.volatility import VolatilityPolicy
from jobs.backtest_forecasts import symbol_scales
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
    terms = loop_terms(board, plan)
    if terms.first >= terms.end:
        raise ValueError(f"there is no bar on or after {plan.start}")
    wishes = strategy_wishes(board, plan.strategies)
    if plan.policy is not None:
        judged, sessions = judged_sessions(board, wishes.signals, terms)
        scales, symbols = wishes.signals.volatility_scale, wishes.signals.symbol[judged]
        for symbol in np.unique(symbols).tolist():
            own = symbols == symbol
            scales[judged[own]] = symbol_scales(
                board.series[board.market.symbols[symbol]],
                board.sessions,
                board.market.bars.returns[:, symbol],
                sessions[own].tolist(),
                plan.policy,
            )
    return simulate(board.market, wishes, limits=plan.limits, costs=plan.costs, terms=terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What several sets of parameters share on one board, up to one of its bars.

    Histories by whether they are daily and by symbol, signals by symbol and by the
    strategy that fires alike (see `same_signals`).
    """

    histories: dict[tuple[bool, int], tuple[History, IntArray]] = field(default_factory=dict)
    signals: dict[tuple[int, Strategy], FloatArray] = field(default_factory=dict)


def strategy_wishes(
    board: Board,
    strategies: Sequence[Strategy],
    *,
    end: int | None = None,
    shared: Shared | None = None,
) -> Wishes:
    """All signals of the strategies on a board, in the order in which they are judged.

    Parameters
    ----------
    end : int | None
        The board's bar from which on nothing is known; None: all of them are.
    shared : Shared | None
        What several calls with one board and `end` share; filled here.

    Raises
    ------
    ValueError
        A strategy decides on minutes, and the board has none.
    """
    known = Shared() if shared is None else shared
    columns = [
        _column(board, strategy, number, symbol, end, known)
        for number, strategy in enumerate(strategies)
        for symbol in range(len(board.market.symbols))
    ]
    signals, strategy_of = in_order(columns)
    names = tuple(strategy.name for strategy in strategies)
    return Wishes(names=names, strategy=strategy_of, signals=signals)


def _column(
    board: Board,
    strategy: Strategy,
    number: int,
    symbol: int,
    end: int | None,
    shared: Shared,
) -> Column:
    is_daily = strategy.timeframe == _DAILY
    if board.is_daily and not is_daily:
        raise ValueError(f"{strategy.name} decides on minutes")
    key = is_daily, symbol
    if key not in shared.histories:
        whole = board.daily_history(symbol) if is_daily else board.minute_history(symbol)
        shared.histories[key] = whole if end is None else _before(board, *whole, end, is_daily)
    history, rows = shared.histories[key]
    found, hold = _signals(board, strategy, symbol, history, shared)
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


def _before(
    board: Board, history: History, rows: IntArray, end: int, is_daily: bool
) -> tuple[History, IntArray]:
    """A history without the bars from the board's bar `end` on."""
    sessions = board.market.bars.session
    limit = end if not is_daily or board.is_daily else int(sessions[end - 1])
    count = int(np.searchsorted(rows, limit))
    return history.part(0, count), rows[:count]


def _signals(
    board: Board, strategy: Strategy, symbol: int, history: History, shared: Shared
) -> tuple[FloatArray, IntArray]:
    alike = same_signals(strategy)
    if alike is None:
        return history_signals(board, strategy, history)
    assert isinstance(strategy, MeanReversion | NewsReversal)
    if (symbol, alike) not in shared.signals:
        shared.signals[symbol, alike] = history_signals(board, alike, history)[0]
    found = shared.signals[symbol, alike].copy()
    found[found[:, 0] > 0, 2:] = strategy.stop_frac, strategy.target_frac
    return found, np.full(len(found), strategy.hold_sessions, dtype=np.int64)


def history_signals(
    board: Board, strategy: Strategy, history: History
) -> tuple[FloatArray, IntArray]:
    """A strategy's signals on a history of the board, and how many sessions each is held."""
    found = strategy_signals(strategy, history)
    if found is None:
        return stepped_signals(strategy, _as_bars(board, history, strategy.timeframe == _DAILY))
    held = getattr(strategy, "hold_sessions", 0)
    return found, np.full(len(found), held, dtype=np.int64)


def _as_bars(board: Board, history: History, is_daily: bool) -> list[Bar]:
    """A history as the bars that a strategy's step takes."""
    bars = []
    for i, day in enumerate(history.day.tolist()):
        session = board.sessions[int(day) - 1]
        if is_daily:
            start, end = eastern_midnight(session.day), session.close
        else:
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


def loop_terms(board: Board, plan: BacktestPlan) -> Terms:
    """How the loop trades the whole window of a plan."""
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


def judged_sessions(board: Board, signals: Signals, terms: Terms) -> tuple[IntArray, IntArray]:
    """The signals of the window, and the session that each is judged in."""
    bar = signals.bar + int(terms.is_judged_at_open)
    inside = np.flatnonzero((bar >= terms.first) & (bar < terms.end))
    return inside, board.market.bars.session[bar[inside]]


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
