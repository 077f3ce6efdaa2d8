"""Figures as a terminal tells them.

Before it stand figures by name, whose last word is their unit; after it the tables.
"""

from __future__ import annotations

from typing import Final

from greenlight.domain.market import Unavailable

_COUNTS: Final = frozenset(
    {
        "signals",
        "trades",
        "unfilled",
        "loss_halts",
        "drawdown_halts",
        "longest_drawdown_bars",
        "min_track_record_sessions",
        "sessions",
        "trials",
        "traded_months",
        "idle_months",
    }
)
"""Figures that are told in whole numbers."""


def figure_row(name: str, value: float | Unavailable) -> tuple[str, str]:
    """A figure's label and what a terminal says of it."""
    label, _, unit = name.rpartition("_")
    if isinstance(value, Unavailable):
        return (label or name).replace("_", " "), f"– ({value.reason})"
    if unit == "frac":
        return label.replace("_", " "), f"{value:.2%}"
    if unit == "usd":
        return label.replace("_", " "), dollars(value)
    shown = f"{value:,.0f}" if name in _COUNTS else f"{value:.2f}"
    return name.removesuffix("_ann").replace("_", " "), shown


def dollars(value: float) -> str:
    """US dollars with cents."""
    return f"{'-' if value < 0 else ''}${abs(value):,.2f}"
