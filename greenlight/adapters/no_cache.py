"""The `Cache` port where there is no Redis: nothing is kept, nothing fails."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from greenlight.domain.market import Quote


class NoCache:
    """Answers None and keeps nothing; the desk trades on, pages show the store."""

    def put_quotes(self, quotes: Sequence[Quote]) -> None:
        """Keep nothing."""

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """No quotes."""
        return {}

    def beat(self, component: str, at: datetime) -> None:
        """Keep nothing."""

    def beats(self) -> dict[str, datetime]:
        """No heartbeats."""
        return {}

    def is_up(self) -> bool:
        """Never."""
        return False
