"""Whether readings of the news are worth anything: one book with them, one without.

Before it stand the stored opinions and the daily history; after it the command
`greenlight sentiment report`. Both books trade the same strategy through the
backtest's rules over the days on which there were opinions. The shadow book trades
without them: to it the news of every sharp fall is bad.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

import numpy as np
from arch.bootstrap import StepM

from greenlight.adapters.history import DailySeries
from greenlight.domain.indicators import FloatArray
from greenlight.domain.market import Bar, Split, Unavailable, eastern_date
from greenlight.domain.metrics import sharpe_ann
from greenlight.domain.news_reversal import NewsReversal
from greenlight.domain.sentiment import Opinion, Reading, reading_of
from jobs.backtest import BacktestPlan, backtest, session_returns
from jobs.backtest_market import Board

SIZE: Final = 0.05
"""Chance to find help where there is none (the gate's alpha)."""
MIN_SESSIONS: Final = 60
"""Sessions below which nothing is said: a quarter (ours)."""
MIN_DIFFERENT: Final = 10
"""Days on which the books must differ: fewer are single trades (ours)."""
REPLICATIONS: Final = 2000
BLOCK: Final = 5
"""Mean length of the bootstrap's blocks in sessions: a position lives for three."""
_SEED: Final = 20131007
_BAD_NEWS: Final = -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """What one of the books came to; `returns` are those of the sessions, fractions."""

    return_frac: float
    sharpe_ann: float | Unavailable
    trades: int
    returns: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """Both books over the same sessions, and whether the readings helped.

    `helps` is the verdict of StepM at the level `SIZE`; `Unavailable` where the
    evidence is too little for one.
    """

    first: date
    last: date
    opinions: int
    with_readings: Book
    without: Book
    helps: bool | Unavailable


def worth(
    board: Board,
    strategy: NewsReversal,
    opinions: Sequence[Opinion],
    plan: BacktestPlan,
    *,
    half_life: timedelta,
) -> Worth | Unavailable:
    """Compare the strategy with readings of the news and without.

    Parameters
    ----------
    board : Board
        Daily bars, with history before the first opinion.
    opinions : Sequence[Opinion]
        As stored, with when each was there.
    plan : BacktestPlan
        Limits, costs and cash; its strategies and start are replaced.
    half_life : timedelta
        Of a reading.

    Notes
    -----
    J. P. Romano, M. Wolf, "Stepwise multiple testing as formalized data snooping",
    Econometrica 73 (2005), on the sessions' returns, by a stationary bootstrap with
    the seed kept. At most one decision a session and symbol can differ.
    """
    if not opinions:
        return Unavailable("no headline was ever read")
    first = eastern_date(min(max(o.read_at, o.headline.at) for o in opinions))
    days = [session.day for session in board.sessions if session.day >= first]
    if not days:
        return Unavailable("there is no session since the first opinion")
    plan = replace(plan, strategies=(strategy,), start=first)
    read = _book(replace(board, scores=scores_at_closes(board, opinions, half_life)), plan)
    blind = {symbol: dict.fromkeys(days, _BAD_NEWS) for symbol in board.market.symbols}
    without = _book(replace(board, scores=blind), plan)
    return Worth(
        first=days[0],
        last=days[-1],
        opinions=len(opinions),
        with_readings=read,
        without=without,
        helps=helps(read.returns, without.returns),
    )


def helps(read: FloatArray, without: FloatArray) -> bool | Unavailable:
    """Whether returns with readings are better than those without, by StepM."""
    different = int(np.count_nonzero(read != without))
    if len(read) < MIN_SESSIONS:
        return Unavailable(f"{len(read)} sessions; at least {MIN_SESSIONS} are needed")
    if different < MIN_DIFFERENT:
        return Unavailable(
            f"the books differ on {different} days; at least {MIN_DIFFERENT} are needed"
        )
    # It compares losses, of which fewer are better.
    test = StepM(
        -without, -read[:, None], size=SIZE, block_size=BLOCK, reps=REPLICATIONS, seed=_SEED
    )
    test.compute()
    return bool(len(test.superior_models))


def scores_at_closes(
    board: Board, opinions: Iterable[Opinion], half_life: timedelta
) -> dict[str, dict[date, float]]:
    """The reading of each symbol at each close, where there was one."""
    by_symbol: dict[str, list[Opinion]] = {symbol: [] for symbol in board.market.symbols}
    for opinion in opinions:
        if opinion.symbol in by_symbol:
            by_symbol[opinion.symbol].append(opinion)
    found: dict[str, dict[date, float]] = {}
    for symbol, mine in by_symbol.items():
        readings = {
            session.day: reading_of(symbol, mine, session.close, half_life=half_life)
            for session in board.sessions
            if mine
        }
        found[symbol] = {day: r.score for day, r in readings.items() if isinstance(r, Reading)}
    return found


def _book(board: Board, plan: BacktestPlan) -> Book:
    result = backtest(board, plan)
    returns = np.array(session_returns(board, result).values)
    return Book(
        return_frac=result.return_frac,
        sharpe_ann=sharpe_ann(returns.tolist()),
        trades=len(result.trades),
        returns=returns,
    )


def series_of(
    bars: Mapping[str, Sequence[Bar]], splits: Iterable[Split], source: str
) -> list[DailySeries]:
    """Daily bars of a broker's history as the backtest takes them."""
    known = tuple(splits)
    return [
        DailySeries(
            symbol=symbol,
            days=np.array([eastern_date(bar.start) for bar in rows], dtype="datetime64[D]"),
            open=np.array([bar.open for bar in rows]),
            high=np.array([bar.high for bar in rows]),
            low=np.array([bar.low for bar in rows]),
            close=np.array([bar.close for bar in rows]),
            volume=np.array([bar.volume for bar in rows], dtype=np.int64),
            splits=tuple(split for split in known if split.symbol == symbol),
            source=source,
        )
        for symbol, rows in bars.items()
        if rows
    ]
