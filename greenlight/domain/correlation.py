"""How alike two symbols move: the correlation of daily returns, shrunk.

Before it stand checked histories (`history_checks`); after it the risk chain,
which refuses a signal too much like what is held.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from greenlight.domain.market import Unavailable

SESSIONS: Final = 60
"""Daily returns that the estimate rests on where there are so many (seeds)."""
PRIOR: Final = 0.5
"""What is believed before any data: two US large caps in a bad market. Ours; from 2000 to
2010 the average pair of the S&P 500 lay between 0.2 and 0.6, highest in falls."""
PRIOR_SESSIONS: Final = 10
"""How many sessions of data the prior weighs as much as (ours)."""
MIN_RETURNS: Final = 4
"""Fewer common returns estimate nothing: Fisher's variance is 1 / (n - 3)."""
_MAX_SAMPLE: Final = 0.999999


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """A correlation of daily returns: the shrunk estimate, the plain one, and from how many."""

    estimate: float
    sample: float
    returns: int

    @property
    def is_short(self) -> bool:
        """Whether there were fewer than `SESSIONS` common returns."""
        return self.returns < SESSIONS


def correlation(
    first: Mapping[date, float], second: Mapping[date, float]
) -> Correlation | Unavailable:
    """Correlation of two symbols' daily returns on their last common days.

    Parameters
    ----------
    first, second : Mapping[date, float]
        Returns by day; the last `SESSIONS` days that both have count.

    Returns
    -------
    Correlation | Unavailable
        Unavailable with fewer than `MIN_RETURNS` common days, or where one of
        them did not move.

    Notes
    -----
    With ``z = atanh(r)``, whose variance is ``1 / (n - 3)`` (Fisher 1921,
    "On the 'probable error' of a coefficient of correlation", Metron 1), and a
    normal prior of mean ``atanh(PRIOR)`` and variance ``1 / PRIOR_SESSIONS``,
    the posterior mean is ``((n - 3) z + PRIOR_SESSIONS atanh(PRIOR)) /
    (n - 3 + PRIOR_SESSIONS)``; the estimate is its tanh. Shrinking towards one
    common correlation is from Ledoit and Wolf (2004), "Honey, I Shrunk the
    Sample Covariance Matrix", J. of Portfolio Management 30(4).
    """
    days = sorted(first.keys() & second.keys())[-SESSIONS:]
    if len(days) < MIN_RETURNS:
        return Unavailable(f"{len(days)} common daily returns; an estimate needs {MIN_RETURNS}")
    left, right = [first[day] for day in days], [second[day] for day in days]
    if not all(map(math.isfinite, left + right)):
        return Unavailable("a daily return is no number")
    try:
        sample = statistics.correlation(left, right)
    except statistics.StatisticsError:
        return Unavailable("the daily returns do not vary")
    seen = len(days) - 3
    z = math.atanh(max(-_MAX_SAMPLE, min(sample, _MAX_SAMPLE)))
    mean = (seen * z + PRIOR_SESSIONS * math.atanh(PRIOR)) / (seen + PRIOR_SESSIONS)
    return Correlation(estimate=math.tanh(mean), sample=sample, returns=len(days))
