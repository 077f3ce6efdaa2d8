"""What an actor measures of itself: latencies and queues that no row tells.

Before it stand the actors' own steps; after it the health process, which asks
for `Measures` and shows them. They begin anew with the actor. It imports
neither pandas nor numpy.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from greenlight.domain.market import Unavailable

BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the buckets, in seconds; one more takes what is longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """A histogram at an instant: `counts` of each bucket of `BOUNDS_S`, not cumulated."""

    counts: tuple[int, ...]
    sum_s: float


class Stopwatch:
    """Collects latencies; safe to share between threads."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0
        self._lock = threading.Lock()

    def add(self, seconds: float) -> None:
        """Count one; a bound belongs to its own bucket."""
        with self._lock:
            self._counts[bisect_left(BOUNDS_S, seconds)] += 1
            self._sum_s += seconds

    def read(self) -> Latencies:
        """All so far."""
        with self._lock:
            return Latencies(counts=tuple(self._counts), sum_s=self._sum_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What one actor has measured since it began.

    `latencies` by name, `queues` by name in rows or batches, `faults` by reason.
    """

    latencies: Mapping[str, Latencies]
    queues: Mapping[str, int]
    faults: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLife:
    """How long the broker's streams have been silent, and whether there is a market."""

    silent_s: float | Unavailable
    is_in_session: bool
