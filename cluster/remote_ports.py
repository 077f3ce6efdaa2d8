"""The actors' links to each other: found through Ray, asked over a direct line.

A call waits for an actor that is being restarted and then repeats itself:
every method behind a link is safe to repeat. What an actor's method raised
comes out as it was raised.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    GetTimeoutError,
    RayActorError,
)

from actors.links import RecordBatch, SentimentNews, SignalSeen
from cluster.desk_config import NAMESPACE
from cluster.fast_lane import BROKEN, Line
from greenlight.domain.market import Bar, Quote
from greenlight.domain.positions import WatchBand
from greenlight.domain.sentiment import GivenReading

logger = logging.getLogger(__name__)

CALL_TIMEOUT_S: Final = 60.0
"""Longest wait for one answer; a method that is slower counts as silent."""
REPEAT_FOR_S: Final = 120.0
"""How long a call is repeated while its actor is away."""


class ActorAway(Exception):
    """An actor did not come back in time."""


AWAY: Final = (
    ActorAway,
    RayActorError,
    ActorDiedError,
    ActorUnavailableError,
    GetTimeoutError,
    *BROKEN,
)


class RemoteActor:
    """A named actor of the desk that may die and come back.

    Parameters
    ----------
    name : str
        Its name in the desk's namespace.
    create : Callable[[], None] | None
        Starts it where there is none; None waits for somebody else to.
    """

    def __init__(self, name: str, create: Callable[[], None] | None = None) -> None:
        self._name = name
        self._create = create
        self._line: Line | None = None
        self._turn = threading.Lock()

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call and wait, again and again while the actor is away; threads take turns.

        Raises
        ------
        ActorAway
            It did not answer within `REPEAT_FOR_S`.
        """
        with self._turn:
            return self.finish(None, method, *args, **kwargs)

    def start(self, method: str, *args: Any, **kwargs: Any) -> int:
        """Send the call; the number to `finish` it by. For one thread alone.

        Raises
        ------
        ActorAway
            There is no such actor now.
        """
        if self._line is None:
            address = ray.get(self._find().line.remote(), timeout=CALL_TIMEOUT_S)
            self._line = Line(address)
        return self._line.send(method, args, kwargs)

    def finish(self, number: int | None, method: str, *args: Any, **kwargs: Any) -> Any:
        """Wait for a call that `start` sent (None: none was), and repeat it where it died."""
        until = time.monotonic() + REPEAT_FOR_S
        while True:
            try:
                if number is None or self._line is None:
                    number = self.start(method, *args, **kwargs)
                assert self._line is not None
                is_value, value = self._line.receive(number, CALL_TIMEOUT_S)
            except AWAY as error:
                problem = error
            else:
                if is_value:
                    return value
                raise value
            self._forget()
            if time.monotonic() > until:
                raise ActorAway(f"{self._name}.{method}: {problem}") from problem
            logger.warning(
                "%s is away, repeating %s", self._name, method, extra={"action": "repeat_call"}
            )
            time.sleep(0.1)

    def tell(self, method: str, *args: Any) -> None:
        """Call and do not wait; while the actor is away the call is lost."""
        with suppress(*AWAY):
            self._find().call.remote(method, *args)

    def _find(self) -> Any:
        try:
            return ray.get_actor(self._name, namespace=NAMESPACE)
        except ValueError as error:
            if self._create is None:
                raise ActorAway(f"no actor {self._name}") from error
        self._create()
        return ray.get_actor(self._name, namespace=NAMESPACE)

    def _forget(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line = None


class RemoteGate:
    """`GateLink` over Ray."""

    def __init__(self, actor: RemoteActor) -> None:
        self._actor = actor

    def judge(self, signals: Sequence[SignalSeen], now: datetime) -> datetime | None:
        """See `GateLink.judge`."""
        result: datetime | None = self._actor.call("judge", signals, now)
        return result

    def sweep(self, quotes: Sequence[Quote], now: datetime) -> datetime | None:
        """See `GateLink.sweep`."""
        result: datetime | None = self._actor.call("sweep", quotes, now)
        return result

    def review(self, quotes: Sequence[Quote], now: datetime) -> list[str]:
        """See `GateLink.review`."""
        result: list[str] = self._actor.call("review", quotes, now)
        return result


class RemoteStrategist:
    """`StrategistLink` over Ray."""

    def __init__(self, actor: RemoteActor) -> None:
        self._actor = actor

    def on_minute(
        self, bars: Sequence[Bar], quotes: Sequence[Quote], now: datetime
    ) -> datetime | None:
        """See `StrategistLink.on_minute`."""
        result: datetime | None = self._actor.call("on_minute", bars, quotes, now)
        return result

    def save(self) -> None:
        """See `StrategistLink.save`."""
        self._actor.call("save")


class RemoteSentiment:
    """`SentimentLink` over Ray; its caller's thread is one that may wait."""

    def __init__(self, actor: RemoteActor) -> None:
        self._actor = actor

    def news(self, life: str, version: int, given: Sequence[GivenReading]) -> SentimentNews:
        """See `SentimentLink.news`."""
        result: SentimentNews = self._actor.call("news", life, version, given)
        return result


class RemoteRecorder:
    """`RecorderLink` over Ray; market data goes on while a batch is being taken."""

    def __init__(self, actor: RemoteActor) -> None:
        self._actor = actor
        self._sent: tuple[int | None, Sequence[RecordBatch], int] | None = None

    def record(
        self, batches: Sequence[RecordBatch], *, oldest_kept: int, flush: bool
    ) -> int | None:
        """See `RecorderLink.record`. Without `flush` the answer is the call's before."""
        before = self._finish()
        if flush:
            result: int | None = self._actor.call(
                "record", batches, oldest_kept=oldest_kept, flush=True
            )
            return result
        number = None
        with suppress(*AWAY):
            number = self._actor.start("record", batches, oldest_kept=oldest_kept, flush=False)
        self._sent = number, batches, oldest_kept
        return before

    def _finish(self) -> int | None:
        if self._sent is None:
            # Nothing is known to be in the store, and nothing is known to be missing.
            return -1
        (number, batches, oldest_kept), self._sent = self._sent, None
        result: int | None = self._actor.finish(
            number, "record", batches, oldest_kept=oldest_kept, flush=False
        )
        return result

    def close_session(self, now: datetime) -> None:
        """See `RecorderLink.close_session`."""
        self._finish()
        self._actor.call("close_session", now)


class RemoteNightly:
    """`NightlyLink` over Ray.

    Parameters
    ----------
    is_lockstep : bool
        Wait until the work is done.
    """

    def __init__(self, actor: RemoteActor, *, is_lockstep: bool) -> None:
        self._actor = actor
        self._is_lockstep = is_lockstep
        self._begun: tuple[int | None, datetime] | None = None

    def close_session(self, now: datetime) -> None:
        """See `NightlyLink.close_session`."""
        if not self._is_lockstep:
            self._actor.tell("close_session", now)
            return
        number = None
        with suppress(*AWAY):
            number = self._actor.start("close_session", now)
        self._begun = number, now

    def finish(self) -> None:
        """See `NightlyLink.finish`."""
        if self._begun is not None:
            (number, now), self._begun = self._begun, None
            self._actor.finish(number, "close_session", now)


class RemoteMonitors:
    """`MonitorsLink` over Ray: one actor a symbol, started when first asked.

    Parameters
    ----------
    create : Callable[[str, datetime], None]
        Starts the monitor of a symbol.
    """

    def __init__(self, name_of: Callable[[str], str], create: Callable[[str], None]) -> None:
        self._name_of = name_of
        self._create = create
        self._actors: dict[str, RemoteActor] = {}

    def _of(self, symbol: str) -> RemoteActor:
        if symbol not in self._actors:
            self._actors[symbol] = RemoteActor(self._name_of(symbol), lambda: self._create(symbol))
        return self._actors[symbol]

    def prepare(self, symbol: str) -> None:
        """See `MonitorsLink.prepare`."""
        if symbol not in self._actors:
            self._create(symbol)

    def on_change(self, symbol: str, quote: Quote | None, now: datetime) -> WatchBand | None:
        """See `MonitorsLink.on_change`."""
        result: WatchBand | None = self._of(symbol).call("on_change", quote, now)
        return result

    def on_quotes(
        self, quotes: Sequence[tuple[str, Quote | None]], now: datetime
    ) -> dict[str, WatchBand | None]:
        """See `MonitorsLink.on_quotes`."""
        started: list[tuple[str, Quote | None, int | None]] = []
        for symbol, quote in quotes:
            try:
                number = self._of(symbol).start("on_quote", quote, now)
            except AWAY:
                number = None
            started.append((symbol, quote, number))
        return {
            symbol: self._of(symbol).finish(number, "on_quote", quote, now)
            for symbol, quote, number in started
        }

    def on_split(
        self, symbol: str, ex_date: date, ratio: Decimal, now: datetime
    ) -> WatchBand | None:
        """See `MonitorsLink.on_split`."""
        result: WatchBand | None = self._of(symbol).call("on_split", ex_date, ratio, now)
        return result

    def leave(self, symbol: str, quote: Quote | None, now: datetime) -> WatchBand | None:
        """See `MonitorsLink.leave`."""
        result: WatchBand | None = self._of(symbol).call("leave", quote, now)
        return result

    def check(self, symbol: str, now: datetime) -> WatchBand | None:
        """See `MonitorsLink.check`."""
        result: WatchBand | None = self._of(symbol).call("check", now)
        return result
