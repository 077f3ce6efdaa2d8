"""Walk-forward: every set of parameters on every fold, and what choosing among them earns.

Before it stands a board of history; after it the trial ledger, the gate's seventh
criterion and the report. The work is cut into parts (a fold, a slice of the sets),
pure and of arrays alone, so that a part may run anywhere, be repeated, and be kept.
In each fold the set with the highest Sharpe ratio on the days that choose trades
the days that judge; those days, one fold after the other, are the result.

Every fold begins with the plan's cash, because the limits are in dollars; returns
are compounded over folds. What is held at a fold's end is sold there.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

import numpy as np

from greenlight.adapters.history import FloatArray, IntArray
from greenlight.domain.backtest import Wishes
from greenlight.domain.backtest_arrays import Actions, Bars, Terms
from greenlight.domain.backtest_loop import run_bars
from greenlight.domain.backtest_rules import compiled_limits
from greenlight.domain.walkforward import Fold, folds
from jobs.backtest import (
    BacktestPlan,
    Shared,
    data_hash,
    judged_sessions,
    loop_terms,
    strategy_wishes,
)
from jobs.backtest_forecasts import symbol_scales
from jobs.backtest_market import Board

_R = TypeVar("_R")
_SLICE: Final = 10
"""Sets of parameters in a part: about half a second's work on a hundred symbols."""


class FanOut(Protocol):
    """Calls a function with what all share and each chunk, here or elsewhere.

    Answers come in any order, each with its chunk's number.
    """

    def __call__(
        self,
        function: Callable[..., _R],
        shared: object,
        prepare: Callable[[Any], Any],
        chunks: Iterable[tuple[object, ...]],
    ) -> Iterator[tuple[int, _R]]:
        """See the class; `prepare` is called on what is shared once in each process."""
        ...


def here(
    function: Callable[..., _R],
    shared: object,
    prepare: Callable[[Any], Any],
    chunks: Iterable[tuple[object, ...]],
) -> Iterator[tuple[int, _R]]:
    """The fan-out that calls in this process, one chunk after the other."""
    return ((i, function(shared, *chunk)) for i, chunk in enumerate(chunks))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A set of parameters: what it is called in the ledger, and how it trades."""

    params: Mapping[str, object]
    plan: BacktestPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldPlan:
    """How the window is cut; see `domain.walkforward.folds`."""

    count: int
    train_sessions: int
    embargo: int
    is_anchored: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """What all parts share.

    `folds` count in `bars`, the rows of the board's bars at which the window's
    sessions begin, and one more for its end. `scales` (float64[sessions, symbols])
    is what the forecasts leave of a size; None: forecasts are not asked.
    """

    board: Board
    candidates: tuple[Candidate, ...]
    folds: tuple[Fold, ...]
    bars: IntArray
    scales: FloatArray | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Some sets on one fold: daily returns in the days that choose and those that judge.

    Both are float64[sets, sessions], as fractions.
    """

    train: FloatArray
    test: FloatArray


def packed(**arrays: FloatArray) -> bytes:
    """Arrays as an npz file, to be kept."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def unpacked(kept: bytes) -> dict[str, FloatArray] | None:
    """Arrays that were kept; None for what cannot be read, which is to be run again."""
    try:
        with np.load(io.BytesIO(kept), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def lay_out(board: Board, candidates: Sequence[Candidate], plan: FoldPlan) -> Ground:
    """Cut the candidates' window into folds.

    Raises
    ------
    ValueError
        There is no candidate, the window is empty or too short for the folds, or a
        strategy decides on minutes and the board has none.
    """
    if not candidates:
        raise ValueError("there is no set of parameters")
    start = candidates[0].plan.start
    first = board.first_bar(start)
    session = board.market.bars.session[first:]
    if not len(session):
        raise ValueError(f"there is no bar on or after {start}")
    begins = first + np.flatnonzero(np.diff(session, prepend=session[0] - 1))
    for one in {s.timeframe: s for c in candidates for s in c.plan.strategies}.values():
        if board.is_daily and one.timeframe != "1Day":
            raise ValueError(f"{one.name} decides on minutes")
    return Ground(
        board=board,
        candidates=tuple(candidates),
        folds=folds(
            len(begins),
            count=plan.count,
            train_sessions=plan.train_sessions,
            embargo=plan.embargo,
            is_anchored=plan.is_anchored,
        ),
        bars=np.append(begins, first + len(session)),
        scales=None,
    )


def parts_of(ground: Ground, size: int = _SLICE) -> list[tuple[int, int, int]]:
    """The parts: a fold, and the first and the end of a slice of the candidates."""
    sets = range(0, len(ground.candidates), size)
    return [
        (fold, first, min(first + size, len(ground.candidates)))
        for fold in range(len(ground.folds))
        for first in sets
    ]


def run_hash(ground: Ground, code_hash: str) -> str:
    """SHA-256 of all that the parts' results depend on."""
    told = [
        code_hash,
        [dict(one.params) for one in ground.candidates],
        [[f.train_first, f.train_end, f.test_first, f.test_end] for f in ground.folds],
        [str(one.plan.start) for one in ground.candidates[:1]],
        data_hash(ground.board),
    ]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def own_arrays(ground: Ground) -> Ground:
    """The ground with bars of this process's own.

    What comes out of the object store cannot be written, and compiled code takes
    that for another type, which it would compile anew.
    """
    market = ground.board.market
    bars = Bars(**{name: np.array(array) for name, array in market.bars._asdict().items()})
    actions = Actions(**{name: np.array(array) for name, array in market.actions._asdict().items()})
    # What strategies read is divided first, and so is new; forecasts read single numbers.
    board = replace(ground.board, market=replace(market, bars=bars, actions=actions))
    return replace(ground, board=board)


# -- the forecasts


def with_forecasts(
    ground: Ground,
    fan_out: FanOut,
    kept: Mapping[int, FloatArray],
    keep: Callable[[int, FloatArray], None],
) -> Ground:
    """The ground with the forecast of every symbol on every day that any set asks for it.

    Parameters
    ----------
    kept, keep
        By symbol, float64[2, n]: the sessions asked for, and what the forecast leaves of
        a size in each.
    """
    policy = ground.candidates[0].plan.policy
    if policy is None:
        return ground
    board, first, end = ground.board, int(ground.bars[0]), int(ground.bars[-1])
    asked: set[tuple[int, int]] = set()
    known_signals = Shared()
    for one in _distinct_signals(ground.candidates):
        signals = strategy_wishes(board, one.strategies, shared=known_signals).signals
        terms = loop_terms(board, one)._replace(first=first, end=end)
        judged, sessions = judged_sessions(board, signals, terms)
        asked |= set(zip(signals.symbol[judged].tolist(), sessions.tolist(), strict=True))
    rows: dict[int, list[int]] = {}
    for symbol, row in sorted(asked):
        rows.setdefault(symbol, []).append(row)
    scales = np.ones((len(board.sessions), len(board.market.symbols)))
    chunks = []
    for symbol, own in rows.items():
        known = kept.get(symbol)
        if known is not None and known.shape[1:] == (len(own),) and known[0].tolist() == own:
            scales[own, symbol] = known[1]
        else:
            chunks.append((symbol, own))
    for i, found in fan_out(_scales, ground, own_arrays, chunks):
        symbol, own = chunks[i]
        scales[own, symbol] = found
        keep(symbol, np.array([own, found]))
    return replace(ground, scales=scales)


def _scales(ground: Ground, symbol: int, rows: Sequence[int]) -> list[float]:
    board, policy = ground.board, ground.candidates[0].plan.policy
    assert policy is not None
    series = board.series[board.market.symbols[symbol]]
    return symbol_scales(series, board.sessions, board.market.bars.returns[:, symbol], rows, policy)


def _distinct_signals(candidates: Sequence[Candidate]) -> list[BacktestPlan]:
    found: dict[object, BacktestPlan] = {}
    for one in candidates:
        found.setdefault(one.plan.strategies, one.plan)
    return list(found.values())


# -- the parts


def run_part(ground: Ground, fold: int, first: int, end: int) -> Part:
    """The candidates from `first` on and before `end` on one fold."""
    one = ground.folds[fold]
    known = int(ground.bars[one.test_end])
    known_signals = Shared()
    train = np.empty((end - first, one.train_end - one.train_first))
    test = np.empty((end - first, one.test_end - one.test_first))
    for row, candidate in enumerate(ground.candidates[first:end]):
        board, plan = ground.board, candidate.plan
        wishes = strategy_wishes(board, plan.strategies, end=known, shared=known_signals)
        train[row] = _returns(ground, plan, wishes, one.train_first, one.train_end)
        test[row] = _returns(ground, plan, wishes, one.test_first, one.test_end)
    return Part(train=train, test=test)


def _returns(
    ground: Ground, plan: BacktestPlan, wishes: Wishes, first: int, end: int
) -> FloatArray:
    """Daily returns of one candidate's trades over a range of the window's sessions."""
    if first == end:
        return np.empty(0)
    terms = window_terms(ground, plan, first, end)
    scale_sizes(ground, wishes, terms)
    market = ground.board.market
    book, _ = run_bars(
        market.bars,
        wishes.signals,
        market.actions,
        plan.costs,
        compiled_limits(plan.limits),
        terms,
    )
    closes = book.figures[ground.bars[first + 1 : end + 1] - 1 - terms.first, 1]
    before = np.append(plan.start_cash_usd, closes[:-1])
    found: FloatArray = closes / before - 1
    return found


def window_terms(ground: Ground, plan: BacktestPlan, first: int, end: int) -> Terms:
    """How the loop trades a range of the window's sessions."""
    bars = ground.bars
    return loop_terms(ground.board, plan)._replace(first=int(bars[first]), end=int(bars[end]))


def scale_sizes(ground: Ground, wishes: Wishes, terms: Terms) -> None:
    """Put into the signals of a range what the forecasts leave of their sizes."""
    if ground.scales is not None:
        judged, sessions = judged_sessions(ground.board, wishes.signals, terms)
        symbols = wishes.signals.symbol[judged]
        wishes.signals.volatility_scale[judged] = ground.scales[sessions, symbols]


def run_parts(
    ground: Ground,
    kept: Mapping[int, Part],
    fan_out: FanOut,
    keep: Callable[[int, Part], None],
) -> list[Part]:
    """Run every part that is not kept yet.

    Parameters
    ----------
    keep : Callable[[int, Part], None]
        Takes each part's number and what it came to, as soon as it is there.

    Returns
    -------
    list[Part]
        All parts in the order of `parts_of`.
    """
    chunks = parts_of(ground)
    found = {i: part for i, part in kept.items() if _fits(ground, chunks, i, part)}
    missing = [i for i in range(len(chunks)) if i not in found]
    for i, part in fan_out(run_part, ground, own_arrays, [chunks[i] for i in missing]):
        found[missing[i]] = part
        keep(missing[i], part)
    return [found[i] for i in range(len(chunks))]


def _fits(ground: Ground, chunks: Sequence[tuple[int, int, int]], i: int, part: Part) -> bool:
    if not 0 <= i < len(chunks):
        return False
    fold, first, end = chunks[i]
    one = ground.folds[fold]
    return part.train.shape == (end - first, one.train_end - one.train_first) and (
        part.test.shape == (end - first, one.test_end - one.test_first)
    )
