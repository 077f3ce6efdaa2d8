"""The backtest: what a set of signals would have come to on a market's bars.

Before it stand the bars and `backtest_signals`, which runs the strategies' own
steps over them; after it the trial ledger and the reports. `backtest_loop` is
the loop itself, `backtest_judge` decides in it, `backtest_rules` is the sizing and
the risk chain, `backtest_fills` the fills and fees; here their numbers get names.

Where bulk and live can differ:

- The steps are the same functions. Live warms them up over `warmup_bars`, bulk from
  the first bar there is: the start weighs less than 1e-9 by then. Bulk sees all
  bars in shares of the last day and turns what has a price back into shares of the
  day of the decision; live sees them in those. For ratios that are no power of two
  the last bits differ.
- Sizing and chain are float64 instead of `Decimal`; see `backtest_rules`.
- The quote is the bar's open (daily bars) or close (minutes) with a fixed half
  spread, always fresh; live takes the one in force.
- With daily bars an entry is judged and filled at the open, the day's path is
  judged by `backtest_fills`' pessimistic rule, time is up at the close (live: ten
  minutes before), and equity meets its limits at closes only. With minutes an
  entry rests and is priced again at bars' ends, as often as live.
- The forecast is fitted from cold in the week's first session; live starts from
  the week before, and both find the same top.
- Scores do not act, nothing is reconciled, every fill is whole, and nothing fails.
- What is held at the end of the window, or of a symbol's history, is sold there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

import numpy as np

from greenlight.domain.backtest_arrays import Actions, Bars, IntArray, Signals, Terms
from greenlight.domain.backtest_book import (
    DIVIDENDS_USD,
    DRAWDOWN_HALTS,
    LOSS_HALTS,
    TRADED_USD,
)
from greenlight.domain.backtest_fills import CostTerms
from greenlight.domain.backtest_judge import NOT_JUDGED, Book
from greenlight.domain.backtest_loop import run_bars
from greenlight.domain.backtest_rules import RULES, compiled_limits, refusing
from greenlight.domain.costs import ASSUMED_HALF_SPREAD_FRAC
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.indicators import FloatArray
from greenlight.domain.market import Unavailable, eastern_date
from greenlight.domain.metrics import EquitySeries, profit_factor, win_rate
from greenlight.domain.trades import Trade

EXIT_REASONS: Final = ("stop", "target", "time", "signal", "end", "split")
"""Why a position was left; "end": its window or its history was over."""
DEFAULT_COSTS: Final = CostTerms(
    half_spread_frac=float(ASSUMED_HALF_SPREAD_FRAC),
    slippage_frac=0.0,
    commission_frac=0.0,
    commission_usd_a_share=0.0,
    is_regulated=True,
)
"""The desk's half spread of 5 bps, the regulatory fees, no commission (Alpaca's)."""
_MONEY: Final = Decimal("0.000001")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Market:
    """Bars of several symbols on one timeline, with their sectors and corporate actions.

    Symbols are in alphabetical order: the desk judges those of one instant so.
    """

    symbols: tuple[str, ...]
    sectors: tuple[str, ...]
    bars: Bars
    actions: Actions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wishes:
    """The signals of several strategies; `strategy` is the row of `names` of each."""

    names: tuple[str, ...]
    strategy: IntArray
    signals: Signals


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What became of one signal. US dollars; None where it was not sized or not asked for."""

    strategy: str
    symbol: str
    at: datetime
    refused_by: tuple[str, ...]
    qty: int
    limit_price: float | None
    stop_price: float | None
    target_price: float | None
    ask: float | None
    equity_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFigures:
    """Closed trades of one strategy or sector, after fees."""

    trades: int
    wins: int
    net_usd: float
    win_rate_frac: float | Unavailable
    profit_factor: float | Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthFigures:
    """One calendar month (New York). `is_traded`: a share was held in it."""

    year: int
    month: int
    return_frac: float
    trades: int
    is_traded: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BacktestResult:
    """What a backtest came to.

    `cash_usd` and `exposure_usd` stand beside each mark of equity. `refusals` has
    every rule that refused a signal, and how often; one signal may be refused by
    several. `unfilled` were taken, and no bar reached their limit.
    """

    marks: EquitySeries
    cash_usd: FloatArray
    exposure_usd: FloatArray
    start_cash_usd: float
    trades: tuple[Trade, ...]
    judged: tuple[Judged, ...]
    refusals: Mapping[str, int]
    unfilled: int
    by_strategy: Mapping[str, GroupFigures]
    by_sector: Mapping[str, GroupFigures]
    by_month: tuple[MonthFigures, ...]
    dividends_usd: float
    traded_usd: float
    loss_halts: int
    drawdown_halts: int

    @property
    def return_frac(self) -> float:
        """Gain of the whole window over the cash it began with."""
        last = self.marks.equity_usd[-1] if len(self.marks.equity_usd) else self.start_cash_usd
        return float(last / self.start_cash_usd - 1)

    @property
    def mean_month_frac(self) -> float | Unavailable:
        """Mean return of the months in which something was held; the others do not count."""
        traded = [m.return_frac for m in self.by_month if m.is_traded]
        return sum(traded) / len(traded) if traded else Unavailable("nothing was ever held")


def simulate(
    market: Market, wishes: Wishes, *, limits: RiskLimits, costs: CostTerms, terms: Terms
) -> BacktestResult:
    """Trade the signals on the market's bars.

    Raises
    ------
    ValueError
        The window of `terms` is empty or not within the bars.
    """
    if not 0 <= terms.first < terms.end <= len(market.bars.session):
        raise ValueError(f"bars {terms.first} to {terms.end} of {len(market.bars.session)}")
    book, closed = run_bars(
        market.bars, wishes.signals, market.actions, costs, compiled_limits(limits), terms
    )
    trades = tuple(_trade(market, wishes, book, row) for row in range(closed))
    judged = tuple(_judged(market, wishes, book, terms))
    refusals = {rule: sum(rule in row.refused_by for row in judged) for rule in RULES}
    taken = sum(not row.refused_by for row in judged)
    sector_of = dict(zip(market.symbols, market.sectors, strict=True))
    return BacktestResult(
        marks=EquitySeries(
            at_s=market.bars.end_s[terms.first : terms.end], equity_usd=book.figures[:, 1]
        ),
        cash_usd=book.figures[:, 0],
        exposure_usd=book.figures[:, 2],
        start_cash_usd=terms.start_cash_usd,
        trades=trades,
        judged=judged,
        refusals={rule: count for rule, count in refusals.items() if count},
        unfilled=taken - closed,
        by_strategy=_grouped(trades, [trade.strategy for trade in trades]),
        by_sector=_grouped(trades, [sector_of[trade.symbol] for trade in trades]),
        by_month=_months(market, book, terms, trades),
        dividends_usd=float(book.hand.totals[DIVIDENDS_USD]),
        traded_usd=float(book.hand.totals[TRADED_USD]),
        loss_halts=int(book.hand.totals[LOSS_HALTS]),
        drawdown_halts=int(book.hand.totals[DRAWDOWN_HALTS]),
    )


def _trade(market: Market, wishes: Wishes, book: Book, row: int) -> Trade:
    signal, bought, sold, entry, left, reason = book.hand.trades[row].tolist()
    paid, received, fees = (Decimal(repr(usd)) for usd in book.hand.money[row].tolist())
    symbol = market.symbols[wishes.signals.symbol[signal]]
    strategy = wishes.names[wishes.strategy[signal]]
    opened_at = _instant(int(market.bars.start_s[entry]))
    return Trade(
        position_id=f"{strategy}-{symbol}-{opened_at:%Y%m%d%H%M}",
        symbol=symbol,
        strategy=strategy,
        qty=bought,
        entry_price=paid / bought,
        exit_price=received / sold,
        opened_at=opened_at,
        closed_at=_instant(int(market.bars.end_s[left])),
        pnl_usd=(received - paid).quantize(_MONEY),
        fees_usd=fees.quantize(_MONEY),
        haircut_usd=Decimal(0),
        exit_reason=EXIT_REASONS[reason],
    )


def _judged(market: Market, wishes: Wishes, book: Book, terms: Terms) -> list[Judged]:
    at_s = market.bars.start_s if terms.is_judged_at_open else market.bars.end_s
    found = []
    for i in np.flatnonzero(book.verdicts != NOT_JUDGED).tolist():
        qty, *figures = book.plans[i].tolist()
        limit, stop, target, ask, equity = (f if math.isfinite(f) else None for f in figures)
        bar = int(wishes.signals.bar[i]) + int(terms.is_judged_at_open)
        found.append(
            Judged(
                strategy=wishes.names[wishes.strategy[i]],
                symbol=market.symbols[wishes.signals.symbol[i]],
                at=_instant(int(at_s[bar])),
                refused_by=refusing(int(book.verdicts[i])),
                qty=int(qty) if qty > 0 else 0,
                limit_price=limit,
                stop_price=stop,
                target_price=target,
                ask=ask,
                equity_usd=equity,
            )
        )
    return found


def _grouped(trades: Sequence[Trade], names: Sequence[str]) -> dict[str, GroupFigures]:
    groups: dict[str, list[Trade]] = {}
    for name, trade in zip(names, trades, strict=True):
        groups.setdefault(name, []).append(trade)
    found = {}
    for name, own in sorted(groups.items()):
        won = win_rate(own)
        found[name] = GroupFigures(
            trades=len(own),
            wins=0 if isinstance(won, Unavailable) else won.wins,
            net_usd=float(sum(trade.net_usd for trade in own)),
            win_rate_frac=won if isinstance(won, Unavailable) else won.frac,
            profit_factor=profit_factor(own),
        )
    return found


def _months(
    market: Market, book: Book, terms: Terms, trades: Sequence[Trade]
) -> tuple[MonthFigures, ...]:
    session = market.bars.session[terms.first : terms.end]
    ends = np.flatnonzero(np.append(np.diff(session), 1))
    starts = np.append(0, ends[:-1] + 1)
    exits: dict[tuple[int, int], int] = {}
    for trade in trades:
        day = eastern_date(trade.closed_at)
        exits[day.year, day.month] = exits.get((day.year, day.month), 0) + 1
    held: dict[tuple[int, int], bool] = {}
    last: dict[tuple[int, int], float] = {}
    for first, end in zip(starts.tolist(), ends.tolist(), strict=True):
        day = _day(int(market.bars.end_s[terms.first + end]))
        key = day.year, day.month
        held[key] = held.get(key, False) or bool(book.figures[first : end + 1, 2].any())
        last[key] = float(book.figures[end, 1])
    found, before = [], terms.start_cash_usd
    for key, equity in last.items():
        closed = exits.get(key, 0)
        found.append(
            MonthFigures(
                year=key[0],
                month=key[1],
                return_frac=equity / before - 1,
                trades=closed,
                is_traded=held[key] or closed > 0,
            )
        )
        before = equity
    return tuple(found)


def _instant(at_s: int) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)


def _day(at_s: int) -> date:
    return eastern_date(_instant(at_s))
