"""What the page shows, as text and numbers; no Streamlit, no reading.

Before it stands the reader, which brings the evaluation and the ledger; after
it the markup. Money is US dollars, percentages carry their sign, times are
Eastern on the screen with UTC beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import numpy as np

from greenlight.domain.cash import CashMoved, in_marks_from
from greenlight.domain.forecasts import Distribution, VolatilityScore, mean_losses
from greenlight.domain.gate import Criterion, Evaluation, State
from greenlight.domain.market import EASTERN, Unavailable
from greenlight.domain.metrics import EquitySeries, without_transfers
from greenlight.domain.positions import Position
from greenlight.domain.trades import Trade
from greenlight.ports import Coverage, EquityMark
from jobs.forecasts import AgedForecast

MINUS: Final = "−"
NOTHING: Final = "—"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a state looks: a sign and a word besides the colour, for eyes that miss it."""

    icon: str
    word: str
    css: str


LOOKS: Final[Mapping[State, Look]] = {
    State.GREEN: Look(icon="✓", word="Green", css="green"),
    State.RED: Look(icon="✕", word="Red", css="red"),
    State.INSUFFICIENT: Look(icon="◔", word="Not enough yet", css="short"),
    State.STALE: Look(icon="◷", word="Stale", css="stale"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """One light. `progress` is how full its bar is, from 0 to 1; None: no bar."""

    title: str
    look: Look
    value: str
    rule: str
    reason: str
    detail: str
    progress: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """A word on the page's head; `css` is "paper", "live", "replay" or "plain"."""

    text: str
    css: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Equity (US dollars) at a wall time in New York, without its zone for the chart.

    `moved_usd` is what the owner has moved in, less what was moved out, of it.
    """

    eastern: datetime
    equity_usd: float
    moved_usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A price and when it was (aware UTC)."""

    price: float
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRow:
    """An open position. `place` and `entry_place` lie between stop (0) and target (1)."""

    symbol: str
    qty: str
    entry: str
    last: str
    pnl: str
    pnl_frac: str
    is_gain: bool | None
    stop: str
    target: str
    exit_by: str
    cover: str
    is_covered: bool
    place: float | None
    entry_place: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeRow:
    """A closed trade."""

    symbol: str
    qty: str
    entry: str
    exit: str
    net: str
    net_frac: str
    is_gain: bool
    reason: str
    closed: str
    closed_utc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VolatilityRow:
    """A symbol's forecast of volatility."""

    symbol: str
    next_day: str
    five_days: str
    yearly: str
    model: str
    age: str
    remark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The page's head line."""

    verdict: str
    detail: str
    is_ready: bool
    equity: str
    change: str
    is_gain: bool | None


# -- words for numbers


def money(value: float | Decimal, *, signed: bool = False) -> str:
    """US dollars with cents: "$1,234.50", "−$12.00"; `signed` puts a plus before gains."""
    rounded = round(float(value), 2)
    sign = MINUS if rounded < 0 else "+" if signed and rounded > 0 else ""
    return f"{sign}${abs(rounded):,.2f}"


def percent(frac: float | Decimal, *, signed: bool = True, digits: int = 2) -> str:
    """A fraction as a percentage, with its sign: "+1.25%"."""
    rounded = round(100 * float(frac), digits)
    sign = MINUS if rounded < 0 else "+" if signed and rounded > 0 else ""
    return f"{sign}{abs(rounded):,.{digits}f}%"


def eastern(at: datetime) -> str:
    """An aware time in New York: "Tue Mar 4 2008, 14:31 ET"."""
    local = at.astimezone(EASTERN)
    return f"{local:%a %b} {local.day} {local:%Y, %H:%M} ET"


def utc(at: datetime) -> str:
    """An aware time in UTC: "2008-03-04 19:31:00 UTC"."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def age(span: timedelta) -> str:
    """How long ago, in the largest unit that fits: "just now", "12 s", "3 min", "2 days"."""
    seconds = int(span.total_seconds())
    if seconds < 2:
        return "just now"
    for size, unit in ((86400, "day"), (3600, "h"), (60, "min")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''} ago"
    return f"{seconds} s ago"


def figure(value: float | Unavailable, unit: str) -> str:
    """A criterion's value in its unit; a dash where there is none."""
    if isinstance(value, Unavailable):
        return NOTHING
    if unit == "frac":
        return percent(value, signed=False, digits=1 if value < 0.999 else 2)
    if unit == "s":
        return f"{value:,.0f} s"
    if unit == "days":
        return f"{value:,.0f} {'day' if value == 1 else 'days'}"
    if unit == "ann":
        return f"{value:.2f}".replace("-", MINUS)
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


# -- lights


_RULES: Final = {
    "duration": "at least {t:.0f} calendar days",
    "win_rate": "more than {t:.0%} of closed trades",
    "sharpe": "more than {t:.1f}, annualised",
    "drawdown": "less than {t:.0%}",
    "stop_coverage": "no gap over {t:.0f} s",
    "uptime": "at least {t:.0%}",
    "backtest": "out-of-sample Sharpe more than {t:.1f}",
}


def outdated(evaluation: Evaluation) -> Evaluation:
    """The evaluation where it cannot be brought up to date: what was green is stale."""
    return replace(
        evaluation,
        criteria=tuple(
            replace(c, state=State.STALE, reason=f"last read: {c.reason}")
            if c.state is State.GREEN
            else c
            for c in evaluation.criteria
        ),
    )


def lights(evaluation: Evaluation) -> tuple[Light, ...]:
    """The seven, in their order."""
    return tuple(_light(criterion) for criterion in evaluation.criteria)


def _light(criterion: Criterion) -> Light:
    rule = ""
    if criterion.threshold is not None:
        rule = _RULES[criterion.name].format(t=criterion.threshold)
    details = []
    if criterion.interval is not None:
        low, high = (figure(bound, criterion.unit) for bound in criterion.interval)
        details.append(f"95% between {low} and {high}")
    # Duration's reason counts them already.
    for extra in criterion.figures if criterion.name != "duration" else ():
        if not isinstance(extra.value, Unavailable):
            goal = "" if extra.threshold is None else f" of {figure(extra.threshold, extra.unit)}"
            details.append(f"{extra.name} {figure(extra.value, extra.unit)}{goal}")
    if criterion.name == "win_rate":
        details = [text.replace(" of 1.50", ", aim 1.50") for text in details]
    return Light(
        title=criterion.title,
        look=LOOKS[criterion.state],
        value=figure(criterion.value, criterion.unit),
        rule=rule,
        reason=criterion.reason[:1].upper() + criterion.reason[1:],
        detail=" · ".join(details),
        progress=_progress(criterion),
    )


def _progress(criterion: Criterion) -> float | None:
    """The least complete of what duration counts; the others have no bar."""
    if criterion.name != "duration":
        return None
    shares = [
        min(float(value) / threshold, 1.0)
        for value, threshold in (
            (criterion.value, criterion.threshold),
            *((f.value, f.threshold) for f in criterion.figures),
        )
        if not isinstance(value, Unavailable) and threshold
    ]
    return min(shares, default=0.0)


def badges(evaluation: Evaluation) -> tuple[Badge, ...]:
    """What kind of account and prices the page speaks of."""
    found = [Badge(text="LIVE", css="live") if evaluation.account_kind == "live" else _PAPER]
    if evaluation.account_kind == "replay":
        path = ", synthetic intraday path" if evaluation.is_synthetic else ""
        found.append(Badge(text=f"REPLAY{path}", css="replay"))
    if evaluation.source:
        found.append(Badge(text=evaluation.source, css="plain"))
    return tuple(found)


_PAPER: Final = Badge(text="PAPER", css="paper")


def summary(evaluation: Evaluation, curve: Sequence[CurvePoint]) -> Summary:
    """The verdict in words, and what the account is worth."""
    counts = dict.fromkeys(State, 0)
    for criterion in evaluation.criteria:
        counts[criterion.state] += 1
    green = counts[State.GREEN]
    names = {State.RED: "red", State.INSUFFICIENT: "not enough yet", State.STALE: "stale"}
    rest = [f"{counts[state]} {name}" for state, name in names.items() if counts[state]]
    change, growth = _change(curve)
    return Summary(
        verdict=f"{green} of {len(evaluation.criteria)} green",
        detail="ready to be recommended" if evaluation.is_ready else ", ".join(rest),
        is_ready=evaluation.is_ready,
        equity=money(curve[-1].equity_usd) if curve else NOTHING,
        change="" if change is None else f"{money(change, signed=True)} ({percent(growth)})",
        is_gain=None if not change else change > 0,
    )


def _change(curve: Sequence[CurvePoint]) -> tuple[float | None, float]:
    """What was gained over the curve, and as a fraction, without what the owner moved."""
    if len(curve) < 2:
        return None, 0.0
    first, last = curve[0], curve[-1]
    series = EquitySeries(
        at_s=np.arange(len(curve)),
        equity_usd=np.array([point.equity_usd for point in curve]),
        transfers_usd=np.array([point.moved_usd for point in curve]),
    )
    change = last.equity_usd - first.equity_usd - (last.moved_usd - first.moved_usd)
    return change, float(without_transfers(series).equity_usd[-1]) / first.equity_usd - 1


# -- curve, positions, trades


def curve(
    closes: Sequence[EquityMark], minutes: Sequence[EquityMark], moved: Sequence[CashMoved] = ()
) -> tuple[CurvePoint, ...]:
    """The broker's closes, then the desk's minutes since the last of them.

    `moved` are the movements of cash that may be in one of the marks and not in another.
    """
    last = closes[-1].at if closes else None
    marks = [*closes, *(m for m in minutes if last is None or m.at > last)]
    return tuple(
        CurvePoint(
            eastern=mark.at.astimezone(EASTERN).replace(tzinfo=None),
            equity_usd=float(mark.equity_usd),
            moved_usd=float(
                sum(
                    row.usd
                    for row in moved
                    if row.is_transfer
                    and (at := in_marks_from(row, mark.source)) is not None
                    and at <= mark.at
                )
            ),
        )
        for mark in marks
    )


def position_rows(
    positions: Sequence[Position],
    prices: Mapping[str, Price],
    coverage: Sequence[Coverage],
) -> tuple[PositionRow, ...]:
    """Open positions with their stops, marked at the given prices."""
    covered = {reading.position_id: reading.covered_qty for reading in coverage}
    return tuple(
        _position_row(p, prices.get(p.symbol), covered.get(p.position_id)) for p in positions
    )


def _position_row(position: Position, price: Price | None, covered: int | None) -> PositionRow:
    entry, stop = float(position.avg_price), float(position.stop_price)
    target = float(position.target_price)
    width = target - stop
    pnl = None if price is None else price.price * position.qty - float(position.cost_usd)
    is_covered = covered is not None and covered >= position.qty
    cover = "at the broker" if is_covered else f"{covered or 0:,} of {position.qty:,} covered"
    return PositionRow(
        symbol=position.symbol,
        qty=f"{position.qty:,}",
        entry=money(entry),
        last=NOTHING if price is None else money(price.price),
        pnl=NOTHING if pnl is None else money(pnl, signed=True),
        pnl_frac="" if pnl is None else percent(pnl / float(position.cost_usd)),
        is_gain=None if pnl is None else pnl >= 0,
        stop=money(stop),
        target=money(target),
        exit_by=eastern(position.exit_by),
        cover=cover,
        is_covered=is_covered,
        place=None if price is None else _clip((price.price - stop) / width),
        entry_place=_clip((entry - stop) / width),
    )


def _clip(share: float) -> float:
    return min(max(share, 0.0), 1.0)


def trade_rows(trades: Sequence[Trade]) -> tuple[TradeRow, ...]:
    """Closed trades, the newest first."""
    return tuple(
        TradeRow(
            symbol=trade.symbol,
            qty=f"{trade.qty:,}",
            entry=money(trade.entry_price),
            exit=money(trade.exit_price),
            net=money(trade.net_usd, signed=True),
            net_frac=percent(trade.return_frac),
            is_gain=trade.net_usd > 0,
            reason=trade.exit_reason,
            closed=eastern(trade.closed_at),
            closed_utc=utc(trade.closed_at),
        )
        for trade in reversed(trades)
    )


def volatility_rows(forecasts: Sequence[AgedForecast]) -> list[VolatilityRow]:
    """Forecasts as they are shown, by symbol."""
    return [
        VolatilityRow(
            symbol=row.forecast.symbol,
            next_day=f"{row.forecast.sigma_pct[0]:.2f}%",
            five_days=f"{row.forecast.sigma_pct[-1]:.2f}%",
            yearly=percent(row.forecast.vol_frac_ann, signed=False, digits=1),
            model=f"{row.forecast.model.upper()}, "
            + ("Student-t" if row.forecast.distribution is Distribution.STUDENT_T else "Normal"),
            age="fresh" if row.age_sessions == 0 else f"{row.age_sessions} sessions old",
            remark=", ".join(flag.replace("_", " ") for flag in row.forecast.flags) or NOTHING,
        )
        for row in sorted(forecasts, key=lambda row: row.forecast.symbol)
    ]


def volatility_quality(scores: Sequence[VolatilityScore]) -> str:
    """How near the forecasts came beside two simple ones; smaller is better."""
    names = {"garch": "GARCH", "ewma": "EWMA", "window20": "20-day window"}
    losses = mean_losses(scores)
    if not losses:
        return "No forecast has been scored yet; the first is after the next session."
    parts = [f"{names[m]} {losses[m]:.3f}" for m in names if m in losses]
    sessions = len({score.session for score in scores})
    return f"Mean QLIKE loss over {sessions} sessions, smaller is better: {', '.join(parts)}"
