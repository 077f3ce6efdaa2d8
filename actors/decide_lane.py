"""The decide lane: bars to the strategist, sweeps and reviews to the risk gate.

Before it stands market data, whose protect lane never waits for what is decided
here; after it the strategist and the gate. In a lockstep replay, and where there
are no threads, each piece of work is done where it is handed over.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime
from typing import Final

from actors.links import GateLink, StrategistLink
from greenlight.domain.market import Bar, Quote, eastern_date
from greenlight.ports import BrokerRefused, BrokerUnavailable, StoreUnavailable

logger = logging.getLogger(__name__)

_MOST: Final = 8
"""Minutes that may wait; an older one is no longer worth an entry."""
_POLL_S: Final = 0.5

_Work = tuple[list[Bar], list[Quote], datetime]


class DecideLane:
    """See the module.

    Parameters
    ----------
    acts_on_scores : bool
        Let the gate act on the scores of what is held, once a session.
    is_threaded : bool
        A lane of its own; False: the work is done by `hand_over`.
    is_lockstep : bool
        Nothing ever waits, so a sweep is always free to be handed over.
    """

    def __init__(
        self,
        *,
        strategist: StrategistLink,
        gate: GateLink,
        acts_on_scores: bool,
        is_threaded: bool,
        is_lockstep: bool,
    ) -> None:
        self._strategist = strategist
        self._gate = gate
        self._acts_on_scores = acts_on_scores
        self._is_lockstep = is_lockstep
        self._sweep_at: datetime | None = None
        self._reviewed: date | None = None
        self._to_leave: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._work: queue.Queue[_Work] = queue.Queue(_MOST)
        self.is_well = True
        self._thread: threading.Thread | None = None
        if is_threaded:
            self._thread = threading.Thread(target=self._run, name="decide", daemon=True)
            self._thread.start()

    @property
    def waiting(self) -> int:
        """Minutes that wait."""
        return self._work.qsize()

    def stop(self) -> None:
        """End the lane after what it is at."""
        self._stopping.set()

    def sweep(self, now: datetime) -> None:
        """Have the gate look at what rests, here and now."""
        self._sweep_at = self._gate.sweep([], now)

    def hurry(self, now: datetime) -> None:
        """Let the next piece of work begin with a sweep."""
        self._sweep_at = now

    def is_due(self, now: datetime) -> bool:
        """Whether the gate has to look, beside any bars, and nothing waits that will see to it."""
        if not self._is_lockstep and not self._work.empty():
            return False
        return self._is_sweep_due(now) or self._is_review_due(now)

    def hand_over(self, bars: list[Bar], quotes: list[Quote], now: datetime) -> None:
        """Decide on a minute's bars, with what else is due."""
        if self._thread is None:
            self._decide(bars, quotes, now)
            return
        while True:
            try:
                self._work.put_nowait((bars, quotes, now))
                return
            except queue.Full:
                # The strategist asks for the bars of a dropped minute over REST.
                with suppress(queue.Empty):
                    self._work.get_nowait()
                    logger.warning("decisions fall behind", extra={"action": "drop_minute"})

    def to_leave(self) -> Iterator[str]:
        """Symbols that a review wants left, each told once."""
        while not self._to_leave.empty():
            yield self._to_leave.get()

    def _is_sweep_due(self, now: datetime) -> bool:
        return self._sweep_at is not None and now >= self._sweep_at

    def _is_review_due(self, now: datetime) -> bool:
        return self._acts_on_scores and self._reviewed != eastern_date(now)

    def _decide(self, bars: list[Bar], quotes: list[Quote], now: datetime) -> None:
        if self._is_sweep_due(now):
            self._sweep_at = self._gate.sweep(quotes, now)
        if self._is_review_due(now):
            for symbol in self._gate.review(quotes, now):
                self._to_leave.put(symbol)
            self._reviewed = eastern_date(now)
        if bars:
            due = self._strategist.on_minute(bars, quotes, now)
            self._sweep_at = due if due is not None else self._sweep_at

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                work = self._work.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            try:
                self._decide(*work)
                self.is_well = True
            except (StoreUnavailable, BrokerUnavailable, BrokerRefused, ConnectionError) as error:
                self.is_well = False
                logger.error("no decisions: %s", error, extra={"action": "decide"})
            except Exception:
                self.is_well = False
                logger.exception("no decisions", extra={"action": "decide"})
