"""What the news said of a symbol at an instant: a reading, or why there is none.

Before it stand the models behind `ports.SentimentModel`; after it the
strategies that ask for a reading. No reading is no opinion, never a neutral one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from greenlight.domain.market import Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One news item. `is_synthetic`: made up for a replay."""

    at: datetime
    text: str
    symbols: tuple[str, ...]
    is_synthetic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Tone of the headlines of one symbol up to an instant.

    `score` is -1 (all bad) to 1 (all good), `headlines` how many it rests on
    (at least 1), `model` what read them. `is_synthetic`: any of them is made up.
    """

    symbol: str
    at: datetime
    score: float
    headlines: int
    model: str
    is_synthetic: bool


Look = Callable[[], Reading | Unavailable]
"""Asks for the reading of the symbol at hand; a strategy asks only when it must."""


def unread() -> Unavailable:
    """The `Look` where nobody reads the news."""
    return Unavailable("no sentiment model")
