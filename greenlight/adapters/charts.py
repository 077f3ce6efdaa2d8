"""A report as a picture: its figures, equity and fall from the peak, gains by group.

Before it stands a report; after it Telegram and `greenlight report --png`. Drawn by
matplotlib without a screen; imported only where a chart is drawn. Times are Eastern.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from greenlight.domain.market import EASTERN, Unavailable
from greenlight.domain.message_text import label
from greenlight.domain.metrics import EquitySeries, without_transfers
from greenlight.domain.reports import Period, Report, dollars

_GAIN, _LOSS, _INK, _SOFT = "#1a7f5a", "#b3403a", "#1c2430", "#6b7480"
_SIZE_IN: Final = (8.0, 7.2)
_DPI: Final = 130
_ROWS: Final = 12
"""Bars shown at most."""
_FEW: Final = 5


def draw(found: Report, marks: EquitySeries) -> bytes:
    """The picture as PNG.

    Parameters
    ----------
    marks : EquitySeries
        Marked equity of the report's days, from the mark before them on.
    """
    figure = Figure(figsize=_SIZE_IN, dpi=_DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(4, 1, height_ratios=(1.15, 2.4, 1.0, 1.9))
    _head(figure.add_subplot(grid[0]), found)
    upper = figure.add_subplot(grid[1])
    marked = "closes" if found.span.period is Period.MONTHLY else "minutes"
    _equity(upper, figure.add_subplot(grid[2], sharex=upper), marks, marked)
    _gains(figure.add_subplot(grid[3]), found)
    target = io.BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()


def _head(axes: Axes, found: Report) -> None:
    axes.axis("off")
    source = label(found.account_kind, source=found.source, is_synthetic=found.is_synthetic)
    first, last = found.span.first, found.span.last
    days = f"{first}" if first == last else f"{first} to {last}"
    title = f"{found.span.period.value.capitalize()} report, {days}"
    axes.text(0, 0.98, title, fontsize=14, weight="bold", color=_INK, va="top")
    axes.text(0, 0.66, source, fontsize=9, color=_SOFT, va="top")
    totals = found.totals
    rate = totals.win_rate
    cells = [
        ("net P&L", dollars(totals.net_usd)),
        ("return", _share(totals.return_frac)),
        ("closed", str(totals.trades)),
        ("win rate", "—" if isinstance(rate, Unavailable) else f"{rate.frac:.0%}"),
        ("drawdown", _share(totals.drawdown_frac, sign="")),
    ]
    if found.span.period is not Period.DAILY:
        cells += [
            ("profit factor", _number(totals.profit_factor)),
            ("Sharpe", _number(totals.sharpe_ann)),
        ]
    # The first is the longest and has half a place more.
    for place, (name, value) in enumerate(cells):
        left = (place + 0.5 * (place > 0)) / (len(cells) + 0.5)
        axes.text(left, 0.34, value, fontsize=11, color=_INK, va="top", family="monospace")
        axes.text(left, 0.02, name, fontsize=8, color=_SOFT, va="top")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _equity(upper: Axes, lower: Axes, marks: EquitySeries, marked: str) -> None:
    for axes in (upper, lower):
        axes.grid(axis="y", color="#e5e8ec", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8, colors=_SOFT)
    upper.set_title(f"Equity, US dollars, {marked}", fontsize=9, color=_INK, loc="left")
    lower.set_title(f"Fall from the peak, %, {marked}", fontsize=9, color=_INK, loc="left")
    if len(marks.at_s) < 2:
        upper.text(0.5, 0.5, "no marks of equity", transform=upper.transAxes, ha="center")
        return
    # Sessions follow one another on the axis; nights and weekends take no room.
    days = [datetime.fromtimestamp(int(s), UTC).astimezone(EASTERN) for s in marks.at_s]
    steps = np.arange(len(days))
    upper.plot(steps, marks.equity_usd, color=_GAIN, linewidth=1.3)
    upper.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    equity = without_transfers(marks).equity_usd
    falls = 100 * (equity / np.maximum.accumulate(equity) - 1)
    lower.fill_between(steps, falls, 0, color=_LOSS, alpha=0.35, linewidth=0)
    upper.tick_params(labelbottom=False)
    places, names = _ticks(days)
    lower.set_xticks(places, names)
    upper.set_xlim(-0.01 * len(days), 1.01 * len(days))


def _ticks(days: Sequence[datetime]) -> tuple[list[int], list[str]]:
    """Where a day (or, on one day, an hour) begins, and its name; ten at most."""
    is_one = len({day.date() for day in days[1:]}) == 1
    keys = [day.hour if is_one else day.date() for day in days]
    starts = [i for i in range(1, len(keys)) if i == 1 or keys[i] != keys[i - 1]]
    starts = starts[:: max(1, -(-len(starts) // 10))]
    return starts, [f"{days[i]:%H:%M}" if is_one else f"{days[i]:%a %d %b}" for i in starts]


def _gains(axes: Axes, found: Report) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=_SOFT)
    if found.span.period is Period.DAILY:
        axes.set_title("Closed trades, net US dollars", fontsize=9, color=_INK, loc="left")
        bars = [(f"{t.symbol} {t.exit_reason}", float(t.net_usd)) for t in found.trades]
    else:
        axes.set_title("Net US dollars by symbol", fontsize=9, color=_INK, loc="left")
        bars = [(g.name, float(g.net_usd)) for g in found.by_symbol]
    bars = bars[:_ROWS]
    if not bars:
        axes.axis("off")
        axes.text(0.5, 0.5, "no trade was closed", transform=axes.transAxes, ha="center")
        return
    values = [usd for _, usd in bars]
    places = range(len(bars))
    drawn = axes.barh(places, values, color=[_GAIN if v >= 0 else _LOSS for v in values])
    axes.bar_label(drawn, [dollars(v) for v in values], fontsize=8, padding=3, color=_INK)
    axes.set_yticks(list(places), [name for name, _ in bars])
    # Few bars stay thin.
    axes.set_ylim(max(len(bars), _FEW) - 0.5, -0.5)
    axes.axvline(0, color=_SOFT, linewidth=0.8)
    axes.margins(x=0.18)


def _share(value: float | Unavailable, *, sign: str = "+") -> str:
    return "—" if isinstance(value, Unavailable) else f"{value:{sign}.2%}"


def _number(value: float | Unavailable) -> str:
    return "—" if isinstance(value, Unavailable) else f"{value:.2f}"
