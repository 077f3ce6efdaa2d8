"""Position monitors as market data asks them in real time: never held up by one.

Before it stands market data; after it the monitors' direct lines. A monitor that
starts, hangs or dies again and again leaves its question unanswered; the others
get theirs meanwhile, and the silent one is asked again a moment later. In a
lockstep replay `RemoteMonitors` waits for every answer instead.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import ray

from actors.links import MonitorsLink
from cluster.desk_config import NAMESPACE
from cluster.fast_lane import Line
from cluster.remote_ports import AWAY
from greenlight.domain.market import Quote
from greenlight.domain.positions import WatchBand

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 1.0
"""Longest wait for an answer, once for each question."""
ASK_AGAIN: Final = timedelta(seconds=1)
"""A silent monitor is asked again after this."""

Connect = Callable[[], "Line | None"]
"""The line into a monitor's process; None while that is not up. May raise `AWAY`."""


class RayLine:
    """`Connect` over Ray: finds the actor, or starts it, and does not wait for it."""

    def __init__(self, name: str, create: Callable[[], None]) -> None:
        self._name = name
        self._create = create
        self._asked: Any = None

    def __call__(self) -> Line | None:
        """See `Connect`."""
        if self._asked is None:
            try:
                actor = ray.get_actor(self._name, namespace=NAMESPACE)
            except ValueError:
                self._create()
                actor = ray.get_actor(self._name, namespace=NAMESPACE)
            self._asked = actor.line.remote()
        ready, _ = ray.wait([self._asked], timeout=0)
        if not ready:
            return None
        asked, self._asked = self._asked, None
        return Line(ray.get(asked))


class _Monitor:
    """One monitor's line, and the question that it has not answered."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._line: Line | None = None
        self._number: int | None = None
        self._wanted: tuple[str, tuple[Any, ...]] | None = None
        self._is_asked = self._is_silent = False
        self.is_owed = False

    def ask(self, method: str, *args: Any) -> None:
        """Send a question, or keep it until the one before is answered."""
        self._wanted, self._is_asked = (method, args), False
        try:
            self._send()
        except AWAY as error:
            self._drop(error)

    def answer(self, until_s: float) -> tuple[bool, Any] | None:
        """As `Line.receive`; None where it has not answered until that second."""
        try:
            while True:
                self._send()
                if self._line is None or self._number is None:
                    return None
                timeout_s = 0.0 if self._is_silent else max(until_s - time.monotonic(), 0.0)
                try:
                    found = self._line.receive(self._number, timeout_s)
                except TimeoutError:
                    # Whoever kept us waiting once does not do so again.
                    self._is_silent = True
                    return None
                self._number, self._is_silent = None, False
                if self._is_asked:
                    return found
        except AWAY as error:
            self._drop(error)
            return None

    def _send(self) -> None:
        if self._line is None:
            self._line = self._connect()
        if self._line is not None and self._number is None and self._wanted is not None:
            method, args = self._wanted
            self._number = self._line.send(method, args, {})
            self._is_asked = True

    def _drop(self, error: BaseException) -> None:
        logger.warning("a monitor is away: %s", error, extra={"action": "monitor_away"})
        if self._line is not None:
            self._line.close()
        self._line = self._number = None
        self._is_asked = self._is_silent = False


class PatientMonitors:
    """`MonitorsLink` that waits for no monitor longer than `PATIENCE_S`.

    Parameters
    ----------
    connect : Callable[[str], Connect]
        Gives the way into a symbol's monitor, which is started by the first attempt.
    prepare : Callable[[str], None]
        Starts a symbol's monitor.
    waiting : MonitorsLink
        Asked where the answer has to be waited for: about splits, before the open.
    """

    def __init__(
        self,
        connect: Callable[[str], Connect],
        prepare: Callable[[str], None],
        waiting: MonitorsLink,
    ) -> None:
        self._connect = connect
        self._prepare = prepare
        self._waiting = waiting
        self._monitors: dict[str, _Monitor] = {}

    def prepare(self, symbol: str) -> None:
        """See `MonitorsLink.prepare`."""
        if symbol not in self._monitors:
            self._prepare(symbol)

    def on_change(self, symbol: str, quote: Quote | None, now: datetime) -> WatchBand | None:
        """See `MonitorsLink.on_change`."""
        return self._one(symbol, now, "on_change", quote, now)

    def on_quotes(
        self, quotes: Sequence[tuple[str, Quote | None]], now: datetime
    ) -> dict[str, WatchBand | None]:
        """See `MonitorsLink.on_quotes`. A monitor that owes an answer is told of a change."""
        until_s = time.monotonic() + PATIENCE_S
        for symbol, quote in quotes:
            monitor = self._of(symbol)
            monitor.ask("on_change" if monitor.is_owed else "on_quote", quote, now)
        return {symbol: self._answer(symbol, now, until_s) for symbol, _ in quotes}

    def on_split(
        self, symbol: str, ex_date: date, ratio: Decimal, now: datetime
    ) -> WatchBand | None:
        """See `MonitorsLink.on_split`."""
        return self._waiting.on_split(symbol, ex_date, ratio, now)

    def leave(self, symbol: str, quote: Quote | None, now: datetime) -> WatchBand | None:
        """See `MonitorsLink.leave`."""
        return self._one(symbol, now, "leave", quote, now)

    def check(self, symbol: str, now: datetime) -> WatchBand | None:
        """See `MonitorsLink.check`."""
        return self._one(symbol, now, "check", now)

    def _of(self, symbol: str) -> _Monitor:
        if symbol not in self._monitors:
            self._monitors[symbol] = _Monitor(self._connect(symbol))
        return self._monitors[symbol]

    def _one(self, symbol: str, now: datetime, method: str, *args: Any) -> WatchBand | None:
        monitor = self._of(symbol)
        monitor.is_owed = True
        monitor.ask(method, *args)
        return self._answer(symbol, now, time.monotonic() + PATIENCE_S)

    def _answer(self, symbol: str, now: datetime, until_s: float) -> WatchBand | None:
        monitor = self._of(symbol)
        found = monitor.answer(until_s)
        if found is not None and found[0]:
            monitor.is_owed = False
            band: WatchBand | None = found[1]
            return band
        monitor.is_owed = True
        if found is not None:
            logger.error(
                "%s: %s", symbol, found[1], extra={"action": "monitor_failed", "symbol": symbol}
            )
        # Whatever the price, it is asked again soon.
        return WatchBand(symbol=symbol, low=-math.inf, high=math.inf, wake_at=now + ASK_AGAIN)
