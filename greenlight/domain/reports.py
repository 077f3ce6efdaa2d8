"""Daily, weekly and monthly reports: the figures, once, for every place that shows them.

Before it stand the ledger and marked equity; after it `report_text` (Telegram and
console), the page and the `greenlight report` command. Every ratio is that of
`metrics` and `performance`. Days are New York's, times aware UTC, money US
dollars. A figure that cannot be computed is `Unavailable` with its reason.
"""

from __future__ import annotations

import calendar
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

import numpy as np

from greenlight.domain import metrics, performance
from greenlight.domain.market import Unavailable, eastern_date, eastern_midnight
from greenlight.domain.metrics import DailyReturns, EquitySeries, WinRate
from greenlight.domain.regimes import Regimes, regimes
from greenlight.domain.trades import Trade

MONTHS_SHOWN: Final = 6
"""Months of a weekly report's trend."""
_MANY: Final = 10
"""Closed trades from which on a suggestion is made (ours)."""
_FACTOR_AIM, _SHARPE_AIM = 1.5, 1.0
"""What the weekly figures are aimed at (seeds)."""
_FALL: Final = 0.10
"""Drawdown from which on it is remarked upon (seeds: 10 to 15%)."""
_STOPPED: Final = 0.5
"""Share of exits at the stop from which on it is remarked upon (ours)."""


class Period(StrEnum):
    """How long a report looks back."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The days that a report speaks of, both included."""

    period: Period
    first: date
    last: date

    def has(self, day: date) -> bool:
        """Whether a day lies inside."""
        return self.first <= day <= self.last


def span(period: Period, day: date) -> Span:
    """The day, its week (Monday to Sunday) or its calendar month."""
    if period is Period.DAILY:
        return Span(period=period, first=day, last=day)
    if period is Period.WEEKLY:
        first = day - timedelta(days=day.weekday())
        return Span(period=period, first=first, last=first + timedelta(days=6))
    days = calendar.monthrange(day.year, day.month)[1]
    return Span(period=period, first=day.replace(day=1), last=day.replace(day=days))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportInputs:
    """What a report rests on, nothing later than its span and `now`.

    `sessions` are those that should have a close, oldest first, with the day before the
    first as their base; `closes` the broker's equity after each (the base: start cash),
    `moved` the transfers in each, counted from one point. `marks` are all of the
    desk's and the broker's. `trades` are all closed ones. `market` has the daily
    returns of the universe (equal weights); empty where they were not asked for.
    """

    now: datetime
    span: Span
    account_kind: str
    source: str
    is_synthetic: bool
    sessions: Sequence[date]
    closes: Mapping[date, float]
    moved: Mapping[date, float]
    marks: EquitySeries
    trades: Sequence[Trade]
    open_positions: int
    market: Mapping[date, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Closed trades of one strategy, symbol or exit reason: number, winners, net gain."""

    name: str
    trades: int
    wins: int
    net_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One calendar month; `first` is its first day."""

    first: date
    trades: int
    net_usd: Decimal
    return_frac: float | Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Figures over some days: closed trades after costs, and marked equity."""

    trades: int
    net_usd: Decimal
    win_rate: WinRate | Unavailable
    profit_factor: float | Unavailable
    return_frac: float | Unavailable
    sharpe_ann: float | Unavailable
    drawdown_frac: float | Unavailable
    cagr_frac: float | Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report; `so_far` is since `since`, the account's first session, to its end.

    `mean_month_frac` leaves out months without a closed trade. `by_symbol` is
    sorted by gain, the best first.
    """

    at: datetime
    span: Span
    account_kind: str
    source: str
    is_synthetic: bool
    since: date | None
    totals: Totals
    so_far: Totals
    equity_usd: float | Unavailable
    open_positions: int
    trades: tuple[Trade, ...]
    by_strategy: tuple[Group, ...]
    by_symbol: tuple[Group, ...]
    by_exit: tuple[Group, ...]
    months: tuple[Month, ...]
    mean_month_frac: float | Unavailable
    regimes: Regimes | Unavailable
    suggestions: tuple[str, ...]


def report(inputs: ReportInputs) -> Report:
    """Compute a report."""
    within = inputs.span
    returns = metrics.daily_returns(inputs.closes, inputs.sessions, inputs.moved)
    ended = [t for t in inputs.trades if eastern_date(t.closed_at) <= within.last]
    mine = [t for t in ended if within.has(eastern_date(t.closed_at))]
    base = inputs.sessions[0] if inputs.sessions else within.first
    months = _months(ended, returns, within)
    so_far = _totals(ended, returns, inputs.marks, base, within.last)
    by_strategy = _grouped(mine, lambda t: t.strategy)
    by_exit = _grouped(mine, lambda t: t.exit_reason)
    last = [day for day in inputs.sessions if day <= within.last and day in inputs.closes]
    return Report(
        at=inputs.now,
        span=within,
        account_kind=inputs.account_kind,
        source=inputs.source,
        is_synthetic=inputs.is_synthetic,
        since=next(iter(inputs.sessions[1:]), None),
        totals=_totals(mine, returns, inputs.marks, within.first, within.last),
        so_far=so_far,
        equity_usd=inputs.closes[last[-1]] if last else Unavailable("no close yet"),
        open_positions=inputs.open_positions,
        trades=tuple(mine),
        by_strategy=tuple(by_strategy),
        by_symbol=tuple(sorted(_grouped(mine, lambda t: t.symbol), key=lambda g: -g.net_usd)),
        by_exit=tuple(by_exit),
        months=tuple(months[-MONTHS_SHOWN:]),
        mean_month_frac=mean_month(months),
        regimes=_regimes(inputs, returns),
        suggestions=suggestions(_grouped(ended, lambda t: t.strategy), ended, so_far),
    )


def mean_month(months: Sequence[Month]) -> float | Unavailable:
    """Mean monthly return; a month without a closed trade does not count."""
    known = [
        m.return_frac for m in months if m.trades and not isinstance(m.return_frac, Unavailable)
    ]
    return sum(known) / len(known) if known else Unavailable("no month with a closed trade")


def linked(returns: Sequence[float]) -> float:
    """Growth over successive returns: the product of ``1 + r``, less 1."""
    return math.prod(1 + value for value in returns) - 1


def suggestions(
    strategies: Sequence[Group], trades: Sequence[Trade], totals: Totals
) -> tuple[str, ...]:
    """What a person might look at, each with the figures it rests on.

    Few trades say nothing: below ten there is no word about them.
    """
    said: list[str] = []
    for group in strategies:
        own = [t for t in trades if t.strategy == group.name]
        factor = metrics.profit_factor(own)
        if group.trades >= _MANY and isinstance(factor, float) and factor < 1:
            said.append(
                f"{group.name} loses: profit factor {factor:.2f} over {group.trades} trades, "
                f"net {dollars(group.net_usd)}; consider leaving it out of GREENLIGHT_STRATEGIES"
            )
    stops = sum(t.exit_reason == "stop" for t in trades)
    if len(trades) >= _MANY and stops / len(trades) > _STOPPED:
        said.append(
            f"{stops} of {len(trades)} exits were stops; look whether entries come too early"
        )
    if isinstance(totals.drawdown_frac, float) and totals.drawdown_frac >= _FALL:
        said.append(
            f"the largest drawdown is {totals.drawdown_frac:.1%}, the gate's limit 15%; "
            "consider a smaller GREENLIGHT_RISK_FRAC"
        )
    if len(trades) >= _MANY and not said:
        factor, sharpe = totals.profit_factor, totals.sharpe_ann
        if isinstance(factor, float) and factor < _FACTOR_AIM:
            said.append(
                f"profit factor {factor:.2f} over {len(trades)} trades, aimed at {_FACTOR_AIM}"
            )
        if isinstance(sharpe, float) and sharpe <= _SHARPE_AIM:
            said.append(f"Sharpe ratio {sharpe:.2f}, more than {_SHARPE_AIM:.1f} needed")
    return tuple(said)


def dollars(value: Decimal | float) -> str:
    """Money with its sign: +$1,234.50."""
    return f"{'-' if value < 0 else '+'}${abs(value):,.2f}"


# -- parts


def _totals(
    trades: Sequence[Trade],
    returns: DailyReturns,
    marks: EquitySeries,
    first: date,
    last: date,
) -> Totals:
    values = [v for d, v in zip(returns.days, returns.values, strict=True) if first <= d <= last]
    missing = [day for day in returns.missing if first <= day <= last]
    grown: float | Unavailable = linked(values)
    if missing or not values:
        what = ", ".join(str(day) for day in missing[:3])
        grown = Unavailable(f"no close on {what}" if missing else "no session has closed")
    fall = metrics.max_drawdown(_marks_of(marks, first, last))
    return Totals(
        trades=len(trades),
        net_usd=sum((t.net_usd for t in trades), Decimal(0)),
        win_rate=metrics.win_rate(trades),
        profit_factor=metrics.profit_factor(trades),
        return_frac=grown,
        sharpe_ann=metrics.sharpe_ann(values),
        drawdown_frac=fall if isinstance(fall, Unavailable) else fall.frac,
        cagr_frac=grown
        if isinstance(grown, Unavailable)
        else performance.cagr_frac(1.0, 1 + grown, len(values)),
    )


def _marks_of(marks: EquitySeries, first: date, last: date) -> EquitySeries:
    """The marks of some days, and the one before them, from which a fall may begin."""
    start_s = int(eastern_midnight(first).timestamp())
    end_s = int(eastern_midnight(last + timedelta(days=1)).timestamp())
    begin, end = (int(place) for place in np.searchsorted(marks.at_s, [start_s, end_s]))
    if begin == end:
        return metrics.EMPTY_SERIES
    part = slice(max(0, begin - 1), end)
    moved = marks.transfers_usd
    return EquitySeries(
        at_s=marks.at_s[part],
        equity_usd=marks.equity_usd[part],
        transfers_usd=None if moved is None else moved[part],
    )


def _grouped(trades: Sequence[Trade], name_of: Callable[[Trade], str]) -> list[Group]:
    groups: defaultdict[str, list[Trade]] = defaultdict(list)
    for trade in trades:
        groups[name_of(trade)].append(trade)
    return [
        Group(
            name=name,
            trades=len(rows),
            wins=sum(t.net_usd > 0 for t in rows),
            net_usd=sum((t.net_usd for t in rows), Decimal(0)),
        )
        for name, rows in sorted(groups.items())
    ]


def _months(trades: Sequence[Trade], returns: DailyReturns, within: Span) -> list[Month]:
    closed: defaultdict[date, list[Trade]] = defaultdict(list)
    earned: defaultdict[date, list[float]] = defaultdict(list)
    for trade in trades:
        closed[eastern_date(trade.closed_at).replace(day=1)].append(trade)
    for day, value in zip(returns.days, returns.values, strict=True):
        if day <= within.last:
            earned[day.replace(day=1)].append(value)
    holes = {day.replace(day=1) for day in returns.missing}
    return [
        Month(
            first=first,
            trades=len(closed[first]),
            net_usd=sum((t.net_usd for t in closed[first]), Decimal(0)),
            return_frac=linked(earned[first])
            if earned[first] and first not in holes
            else Unavailable("a session has no close"),
        )
        for first in sorted({*closed, *earned})
    ]


def _regimes(inputs: ReportInputs, returns: DailyReturns) -> Regimes | Unavailable:
    if inputs.span.period is not Period.MONTHLY:
        return Unavailable("in the monthly report")
    own = dict(zip(returns.days, returns.values, strict=True))
    last = inputs.span.last
    return regimes(
        {day: value for day, value in inputs.market.items() if day <= last},
        {day: value for day, value in own.items() if day <= last},
    )


# -- when they are due

_AFTER_CLOSE: Final = timedelta(minutes=15)
"""The recorder has closed its books by then."""
_MORNING: Final = timedelta(hours=9)
"""Hour of day in New York of the weekly and the monthly report."""


def due(now: datetime, last_session: date, since: datetime) -> tuple[Span, ...]:
    """The newest day, week and month whose report is due at `now` (aware UTC).

    Parameters
    ----------
    last_session : date
        Day of the last session that had closed at `session_due`.
    since : datetime
        When the account began; what ended before it has no report.

    Notes
    -----
    A day is due once its session is closed, a week on its Sunday at nine in New
    York, a month at nine on the first day after it. What was missed while the
    desk was down is due at its start.
    """
    day = eastern_date(now - _MORNING)
    sunday = day - timedelta(days=(day.weekday() + 1) % 7)
    spans = (
        span(Period.DAILY, last_session),
        span(Period.WEEKLY, sunday),
        span(Period.MONTHLY, day.replace(day=1) - timedelta(days=1)),
    )
    return tuple(s for s in spans if s.last >= eastern_date(since))


def session_due(now: datetime) -> datetime:
    """The instant by which a session must have closed for its report to be due."""
    return now - _AFTER_CLOSE
