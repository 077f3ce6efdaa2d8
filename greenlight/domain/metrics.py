"""Every figure that a criterion or a report quotes, each defined once.

Before it stand the ledger (trades, positions) and the evidence (marks of
equity, heartbeats, coverage); after it readiness and the reports. A figure
that cannot be computed is `Unavailable` with its reason, never 0 and never
NaN. Fractions are of one, money US dollars, times aware UTC.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from greenlight.domain.market import Session, Unavailable
from greenlight.domain.positions import Position
from greenlight.domain.trades import Trade

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SESSIONS_A_YEAR: Final = 252
"""Trading sessions a year that annualising assumes."""
NORMAL_95: Final = 1.959963984540054
"""97.5% quantile of the standard normal: two-sided 95%."""
_SECOND: Final = timedelta(seconds=1)


# -- marks of equity


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EquitySeries:
    """Marked equity, oldest first: `at_s` in seconds since 1970 (UTC), US dollars.

    `transfers_usd` is what the owner had moved in, less what was moved out, of
    the money in each mark, from any point on; None: nothing was ever moved.
    """

    at_s: IntArray
    equity_usd: FloatArray
    transfers_usd: FloatArray | None = None

    def __post_init__(self) -> None:
        if len(self.at_s) != len(self.equity_usd):
            raise ValueError("a mark has one instant and one equity")
        if self.transfers_usd is not None and len(self.transfers_usd) != len(self.at_s):
            raise ValueError("every mark has its transfers, or none has")

    @property
    def moved_usd(self) -> FloatArray:
        """`transfers_usd`, with 0 where nothing was moved."""
        if self.transfers_usd is not None:
            return self.transfers_usd
        return np.zeros(len(self.at_s), dtype=np.float64)

    @property
    def minutes(self) -> IntArray:
        """The minute (since 1970) that each mark proves: the one before it, as a beat does."""
        return self.at_s // 60 - 1


EMPTY_SERIES: Final = EquitySeries(
    at_s=np.empty(0, dtype=np.int64), equity_usd=np.empty(0, dtype=np.float64)
)


def merged(first: EquitySeries, second: EquitySeries) -> EquitySeries:
    """Both series as one, in the order of time; transfers are counted from the same point."""
    at_s = np.concatenate([first.at_s, second.at_s])
    order = np.argsort(at_s, kind="stable")
    equity = np.concatenate([first.equity_usd, second.equity_usd])
    moved = np.concatenate([first.moved_usd, second.moved_usd])
    return EquitySeries(at_s=at_s[order], equity_usd=equity[order], transfers_usd=moved[order])


def without_transfers(marks: EquitySeries) -> EquitySeries:
    """The series as it had been if the owner had moved nothing since the first mark.

    Notes
    -----
    ``U_t = U_(t-1) (E_t - F_t) / E_(t-1)`` from ``U_0 = E_0``, with the transfers
    ``F_t`` between two marks: the time-weighted return, linked mark by mark (CFA
    Institute, Global Investment Performance Standards, 2020). Written as a
    factor on ``E`` that changes with a transfer alone, so that a series without
    one comes back as it is. Where a mark with a transfer is not positive, the
    series has no value from there on (NaN).
    """
    equity, flows = marks.equity_usd, np.diff(marks.moved_usd)
    if not flows.any():
        return EquitySeries(at_s=marks.at_s, equity_usd=equity)
    places = np.flatnonzero(flows)
    after = equity[places + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.where(after > 0, (after - flows[places]) / after, np.nan)
    factor = np.ones(len(equity))
    factor[places + 1] = steps
    return EquitySeries(at_s=marks.at_s, equity_usd=equity * np.cumprod(factor))


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyReturns:
    """Returns from one session's close to the next one's, as fractions.

    `days` names the later session of each. `missing` are the sessions that
    have no close; a return that touches one is left out, never set to zero.
    """

    days: tuple[date, ...]
    values: tuple[float, ...]
    missing: tuple[date, ...]


def daily_returns(
    closes: Mapping[date, float],
    sessions: Sequence[date],
    moved: Mapping[date, float] | None = None,
) -> DailyReturns:
    """Daily returns of marked equity; what the owner moves in or out is none.

    Parameters
    ----------
    closes : Mapping[date, float]
        The broker's equity after each session's close, US dollars.
    sessions : Sequence[date]
        Every session that should have a close, in order.
    moved : Mapping[date, float] | None
        Transfers in each of the closes, counted from any one point; None: there were none.

    Notes
    -----
    ``r_t = (E_t - F_t) / E_(t-1) - 1`` over successive sessions of the exchange
    calendar, with the transfers ``F_t`` since the last close. A close that is
    not positive and finite counts as missing.
    """
    moved = moved or {}

    def close(day: date) -> float | None:
        value = closes.get(day)
        return value if value is not None and math.isfinite(value) and value > 0 else None

    days: list[date] = []
    values: list[float] = []
    missing = [] if not sessions or close(sessions[0]) is not None else [sessions[0]]
    for before, day in pairwise(sessions):
        last, this = close(before), close(day)
        if this is None:
            missing.append(day)
        elif last is not None:
            days.append(day)
            flow = moved.get(day, 0.0) - moved.get(before, 0.0)
            values.append((this - flow) / last - 1)
    return DailyReturns(days=tuple(days), values=tuple(values), missing=tuple(missing))


def sharpe_ann(returns: Sequence[float]) -> float | Unavailable:
    """Annualised Sharpe ratio of daily returns, with no risk-free rate taken off.

    Notes
    -----
    ``sqrt(252) * mean(r) / s`` with the sample standard deviation ``s``
    (divisor n - 1); Sharpe (1994), "The Sharpe Ratio", J. of Portfolio
    Management 21(1).
    """
    if len(returns) < 2:
        return Unavailable(f"{len(returns)} daily returns; a Sharpe ratio needs two")
    values = np.asarray(returns, dtype=np.float64)
    deviation = float(values.std(ddof=1))
    # A constant series leaves rounding errors, not a risk.
    if deviation <= 1e-12 * max(1.0, float(np.abs(values).max())):
        return Unavailable("the daily returns do not vary")
    return math.sqrt(SESSIONS_A_YEAR) * float(values.mean()) / deviation


def sharpe_interval(
    sharpe: float, sample_size: int, quantile: float = NORMAL_95
) -> tuple[float, float]:
    """Confidence interval of an annualised Sharpe ratio from daily returns.

    Notes
    -----
    The standard error of the daily ratio ``q`` is ``sqrt((1 + q^2 / 2) / n)``
    where returns are independent; Lo (2002), "The Statistics of Sharpe
    Ratios", Financial Analysts Journal 58(4), equation 9.
    """
    daily = sharpe / math.sqrt(SESSIONS_A_YEAR)
    error = math.sqrt((1 + daily * daily / 2) / sample_size) * math.sqrt(SESSIONS_A_YEAR)
    return sharpe - quantile * error, sharpe + quantile * error


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawdown:
    """The largest fall from a peak: its depth over the peak, and where (s since 1970)."""

    frac: float
    peak_s: int
    trough_s: int


def max_drawdown(marks: EquitySeries) -> Drawdown | Unavailable:
    """Largest peak-to-trough loss of marked equity; a transfer is no loss.

    Notes
    -----
    ``max over t of 1 - U_t / max(U_s, s <= t)`` of the series without transfers
    (see `without_transfers`); 0 where it never fell. Magdon-Ismail and Atiya
    (2004), "Maximum Drawdown", Risk 17(10).
    """
    equity = without_transfers(marks).equity_usd
    if not len(equity):
        return Unavailable("no mark of equity")
    if not bool(np.isfinite(equity).all()) or float(equity.min()) <= 0:
        return Unavailable("a mark of equity is not positive and finite")
    falls = 1 - equity / np.maximum.accumulate(equity)
    trough = int(falls.argmax())
    peak = int(equity[: trough + 1].argmax())
    return Drawdown(
        frac=float(falls[trough]),
        peak_s=int(marks.at_s[peak]),
        trough_s=int(marks.at_s[trough]),
    )


# -- closed trades


@dataclass(frozen=True, slots=True, kw_only=True)
class WinRate:
    """Winners among closed trades, as a fraction, with its 95% interval."""

    frac: float
    low: float
    high: float
    wins: int
    trades: int


def win_rate(trades: Sequence[Trade]) -> WinRate | Unavailable:
    """Share of closed trades that earned something after fees; breaking even is no win."""
    if not trades:
        return Unavailable("no closed trade")
    wins = sum(trade.net_usd > 0 for trade in trades)
    low, high = wilson_interval(wins, len(trades))
    return WinRate(frac=wins / len(trades), low=low, high=high, wins=wins, trades=len(trades))


def wilson_interval(wins: int, trials: int, quantile: float = NORMAL_95) -> tuple[float, float]:
    """Wilson's score interval of a proportion.

    Raises
    ------
    ValueError
        No trials, or more wins than trials.

    Notes
    -----
    ``(p + z^2/2n ± z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)``; Wilson
    (1927), "Probable inference", J. of the American Statistical Association 22.
    """
    if trials < 1 or not 0 <= wins <= trials:
        raise ValueError(f"{wins} wins of {trials} trials")
    share, square = wins / trials, quantile * quantile
    centre = share + square / (2 * trials)
    spread = quantile * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    scale = 1 + square / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def profit_factor(trades: Sequence[Trade]) -> float | Unavailable:
    """What the winners earned over what the losers lost, both after fees.

    Notes
    -----
    ``sum(net > 0) / |sum(net < 0)|``. Without a loser the ratio has no value.
    """
    if not trades:
        return Unavailable("no closed trade")
    gained = sum(float(t.net_usd) for t in trades if t.net_usd > 0)
    lost = -sum(float(t.net_usd) for t in trades if t.net_usd < 0)
    return gained / lost if lost > 0 else Unavailable("no losing trade yet")


# -- heartbeats


def minute_of(at: datetime) -> int:
    """The minute since 1970 (UTC) that contains an aware instant."""
    return int(at.timestamp()) // 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Uptime:
    """Market minutes with a heartbeat, and all of them."""

    up: int
    total: int

    @property
    def frac(self) -> float:
        """Share of the market minutes in which the desk was at work."""
        return self.up / self.total


def uptime(
    minutes: IntArray, sessions: Sequence[Session], start: datetime, end: datetime
) -> Uptime | Unavailable:
    """Share of market minutes with a heartbeat.

    Parameters
    ----------
    minutes : IntArray
        Minutes since 1970 with a heartbeat, ascending and distinct.
    sessions : Sequence[Session]
        The calendar's sessions; a half-day counts its own minutes.
    start, end : datetime
        Only whole minutes that lie in [start, end) count, aware UTC.

    Notes
    -----
    The market minutes come from the calendar, so a heartbeat that is not
    there is a minute down, and one outside a session counts for nothing.
    """
    first, last = -(-start.timestamp() // 60), minute_of(end)
    up = total = 0
    for session in sessions:
        begin = max(minute_of(session.open), int(first))
        stop = min(minute_of(session.close), last)
        if stop > begin:
            total += stop - begin
            lowest, highest = np.searchsorted(minutes, [begin, stop])
            up += int(highest - lowest)
    if not total:
        return Unavailable("no market minute yet")
    return Uptime(up=up, total=total)


def sessions_observed(
    minutes: IntArray, sessions: Sequence[Session], min_frac: float
) -> tuple[date, ...]:
    """Days of the sessions in which at least `min_frac` of the minutes have a heartbeat."""
    seen: list[date] = []
    for session in sessions:
        found = uptime(minutes, [session], session.open, session.close)
        if isinstance(found, Uptime) and found.up >= min_frac * found.total:
            seen.append(session.day)
    return tuple(seen)


# -- protection


class CoverageReading(Protocol):
    """How much of a position live sell stops at the broker covered at an instant."""

    @property
    def position_id(self) -> str:
        """The position."""
        ...

    @property
    def symbol(self) -> str:
        """Its symbol."""
        ...

    @property
    def at(self) -> datetime:
        """When, aware UTC."""
        ...

    @property
    def position_qty(self) -> int:
        """Its shares."""
        ...

    @property
    def covered_qty(self) -> int:
        """How many of them were covered."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageGap:
    """A position was not wholly covered from `start` to `end` (aware UTC)."""

    position_id: str
    symbol: str
    start: datetime
    end: datetime

    @property
    def length_s(self) -> float:
        """How long, in seconds."""
        return (self.end - self.start) / _SECOND


def coverage_gaps(
    positions: Sequence[Position],
    readings: Sequence[CoverageReading],
    start: datetime,
    end: datetime,
) -> tuple[CoverageGap, ...]:
    """When positions were not wholly covered at the broker.

    Parameters
    ----------
    positions : Sequence[Position]
        Open ones and those closed in the window.
    readings : Sequence[CoverageReading]
        In the order of time; also from before the window, where the state at
        its start comes from.
    start, end : datetime
        The window, aware UTC; gaps are cut to it.

    Notes
    -----
    A position counts as uncovered from its opening until a reading says
    otherwise, then as each reading says until the next, and ends when it
    closes. So a position without any reading is one gap.
    """
    by_position: dict[str, list[CoverageReading]] = {}
    for reading in readings:
        by_position.setdefault(reading.position_id, []).append(reading)
    gaps: list[CoverageGap] = []
    for position in positions:
        until = min(end, position.closed_at or end)
        since: datetime | None = position.opened_at
        for reading in by_position.get(position.position_id, []):
            at = min(max(reading.at, position.opened_at), until)
            is_covered = reading.covered_qty >= reading.position_qty
            if is_covered and since is not None:
                gaps += _cut(position, since, at, start)
                since = None
            elif not is_covered and since is None:
                since = at
        if since is not None:
            gaps += _cut(position, since, until, start)
    return tuple(sorted(gaps, key=lambda gap: (gap.start, gap.position_id)))


def _cut(
    position: Position, since: datetime, until: datetime, start: datetime
) -> list[CoverageGap]:
    since = max(since, start)
    if until <= since:
        return []
    return [
        CoverageGap(
            position_id=position.position_id, symbol=position.symbol, start=since, end=until
        )
    ]
