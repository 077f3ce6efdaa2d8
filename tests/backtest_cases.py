"""Small markets for the tests of the backtest: a few bars, a few wishes, round numbers.

Sessions are those from Monday 2013-10-07 on. Without other words nothing costs
anything, 100 shares are bought at the next bar's open, and time never comes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from greenlight.domain.backtest import BacktestResult, Market, Wishes, simulate
from greenlight.domain.backtest_arrays import Actions, Bars, Signals, Terms
from greenlight.domain.backtest_fills import CostTerms
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.market import sessions_between

FREE = CostTerms(
    half_spread_frac=0.0,
    slippage_frac=0.0,
    commission_frac=0.0,
    commission_usd_a_share=0.0,
    is_regulated=False,
)
NEVER = 1000
Ohlc = tuple[float, float, float, float]
GAP = (math.nan,) * 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A wish to buy, known at the end of a bar; `leave` is one to sell."""

    bar: int
    symbol: int = 0
    confidence: int = 5
    hold: int = NEVER
    atr: float = 2.0
    stop_frac: float = 0.05
    target_frac: float = math.inf
    reference: float = 100.0
    volatility_scale: float = 1.0
    strategy: int = 0


def terms(count: int, **changes: Any) -> Terms:
    made = Terms(
        first=0,
        end=count,
        is_judged_at_open=True,
        is_left_at_open=True,
        fixed_qty=100,
        entry_bars=5,
        reprices=2,
        reprice_bars=2,
        resume_sessions=0,
        start_cash_usd=100_000.0,
    )
    return made._replace(**changes)


def market(
    *rows: Sequence[Ohlc],
    actions: Sequence[tuple[int, int, float, float]] = (),
    sectors: Sequence[str] | None = None,
    sound: Sequence[bool] | None = None,
    returns: Any = None,
    bars_a_session: int = 1,
) -> Market:
    """A market of one symbol for each sequence of bars; actions are bar, symbol, ratio, usd.

    With more bars a session, they are its first minutes.
    """
    prices = np.array(rows, dtype=np.float64).transpose(2, 1, 0)
    count, symbols = prices.shape[1:]
    session = np.arange(count) // bars_a_session
    days = sessions_between(date(2013, 10, 7), date(2015, 10, 7))[: session[-1] + 1]
    assert len(days) == session[-1] + 1
    opened = np.array([int(s.open.timestamp()) for s in days], dtype=np.int64)[session]
    closed = np.array([int(s.close.timestamp()) for s in days], dtype=np.int64)[session]
    if bars_a_session > 1:
        opened = opened + 60 * (np.arange(count) % bars_a_session)
        closed = opened + 60
    leave = np.arange(len(days)) * bars_a_session + bars_a_session - 1
    names = tuple("ABCDEFGHIJ"[:symbols])
    told = tuple(sectors or ("one",) * symbols)
    numbers = {name: i for i, name in enumerate(dict.fromkeys(told))}
    shape = (len(days), symbols)
    bars = Bars(
        open=prices[0].copy(),
        high=prices[1].copy(),
        low=prices[2].copy(),
        close=prices[3].copy(),
        start_s=opened,
        end_s=closed,
        session=session,
        leave=leave,
        returns=np.full(shape, np.nan) if returns is None else returns,
        sound=np.tile(np.array(sound or (True,) * symbols), (len(days), 1)),
        sec_usd=np.full(len(days), 17.40),
        taf_usd=np.full(len(days), 0.000119),
        taf_cap_usd=np.full(len(days), 5.95),
        sector=np.array([numbers[name] for name in told], dtype=np.int64),
        last=np.array([np.flatnonzero(c > 0)[-1] for c in prices[3].T], dtype=np.int64),
    )
    table = np.array(actions, dtype=np.float64).reshape(-1, 4)
    made = Actions(
        bar=table[:, 0].astype(np.int64),
        symbol=table[:, 1].astype(np.int64),
        ratio=table[:, 2].copy(),
        usd=table[:, 3].copy(),
    )
    return Market(symbols=names, sectors=told, bars=bars, actions=made)


def wishes(found: Sequence[Wish], leave: Sequence[tuple[int, int]] = ()) -> Wishes:
    """Wishes as signals; `leave` are bars and symbols at whose end a position is to go."""

    def column(name: str, kind: Any) -> Any:
        return np.array([getattr(wish, name) for wish in found], dtype=kind)

    shape = (max(bar for bar, _ in leave) + 1000, 10) if leave else (0, 0)
    exits = np.zeros(shape, dtype=np.bool_)
    for bar, symbol in leave:
        exits[bar, symbol] = True
    signals = Signals(
        bar=column("bar", np.int64),
        symbol=column("symbol", np.int64),
        confidence=column("confidence", np.int64),
        hold=column("hold", np.int64),
        atr=column("atr", np.float64),
        stop_frac=column("stop_frac", np.float64),
        target_frac=column("target_frac", np.float64),
        reference=column("reference", np.float64),
        volatility_scale=column("volatility_scale", np.float64),
        leave=exits,
    )
    return Wishes(names=("a", "b"), strategy=column("strategy", np.int64), signals=signals)


def traded(
    *rows: Sequence[Ohlc],
    want: Sequence[Wish],
    leave: Sequence[tuple[int, int]] = (),
    costs: CostTerms = FREE,
    limits: RiskLimits | None = None,
    actions: Sequence[tuple[int, int, float, float]] = (),
    sectors: Sequence[str] | None = None,
    sound: Sequence[bool] | None = None,
    returns: Any = None,
    bars_a_session: int = 1,
    **changes: Any,
) -> BacktestResult:
    """What trading the wishes on a small market comes to."""
    made = market(
        *rows,
        actions=actions,
        sectors=sectors,
        sound=sound,
        returns=returns,
        bars_a_session=bars_a_session,
    )
    return simulate(
        made,
        wishes(want, leave),
        limits=limits or RiskLimits(),
        costs=costs,
        terms=terms(len(rows[0]), **changes),
    )
