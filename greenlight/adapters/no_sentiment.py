"""The `SentimentModel` port where nobody reads the news."""

from __future__ import annotations

from datetime import datetime

from greenlight.domain.market import Unavailable
from greenlight.domain.sentiment import Reading


class NoSentiment:
    """Has no reading of anything, and says so."""

    def read(self, symbol: str, now: datetime) -> Reading | Unavailable:
        """See `SentimentModel.read`."""
        return Unavailable("GREENLIGHT_SENTIMENT is none")
