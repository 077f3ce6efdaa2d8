"""The actors' links to each other, over Ray.

A call waits for an actor that is being restarted and then repeats itself:
every method behind a link is safe to repeat. What an actor's method raised
comes out as it was raised.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    GetTimeoutError,
    RayActorError,
    RayTaskError,
)

from actors.links import RecordBatch, SignalSeen
from cluster.desk_config import NAMESPACE
from cluster.fast_lane import BROKEN, Line
from greenlight.domain.market import Bar, Quote
from greenlight.domain.positions import WatchBand

logger = logging.getLogger(__name__)

CALL_TIMEOUT_S: Final = 60.0
"""Longest wait for one answer; a method that is slower counts as silent."""
REPEAT_FOR_S: Final = 120.0
"""How long a call is repeated while its actor is away."""


class ActorAway(Exception):
    """An actor did not come back in time."""


_AWAY: Final = (
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
    has_line : bool
        Ask it over a direct line; then one thread at a time may.
    """

    def __init__(
        self, name: str, create: Callable[[], None] | None = None, *, has_line: bool = False
    ) -> None:
        self._name = name
        self._create = create
        self._has_line = has_line
        self._handle: Any = None
        self._line: Line | None = None

    def start(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Send the call; a reference to its answer.

        Raises
        ------
        ActorAway
            There is no such actor now.
        """
        if self._handle is None:
            try:
                self._handle = ray.get_actor(self._name, namespace=NAMESPACE)
            except ValueError as error:
                if self._create is None:
                    raise ActorAway(f"no actor {self._name}") from error
                self._create()
                self._handle = ray.get_actor(self._name, namespace=NAMESPACE)
        if not self._has_line:
            return self._handle.call.remote(method, *args, **kwargs)
        if self._line is None:
            address = ray.get(self._handle.line.remote(), timeout=CALL_TIMEOUT_S)
            self._line = Line(address)
        return self._line.send(method, args, kwargs)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call and wait, again and again while the actor is away.

        Raises
        ------
        ActorAway
            It did not answer within `REPEAT_FOR_S`.
        """
        return self.finish(None, method, *args, **kwargs)

    def finish(self, reference: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        """Wait for a call that `start` sent, and repeat it where its actor died."""
        until = time.monotonic() + REPEAT_FOR_S
        while True:
            try:
                if reference is None:
                    reference = self.start(method, *args, **kwargs)
                if self._line is None:
                    return ray.get(reference, timeout=CALL_TIMEOUT_S)
                is_value, value = self._line.receive(reference, CALL_TIMEOUT_S)
            except RayTaskError as error:
                raise error.as_instanceof_cause() from None  # type: ignore[no-untyped-call]
            except _AWAY as error:
                problem = error
            else:
                if is_value:
                    return value
                raise value
            self._forget()
            reference = None
            if time.monotonic() > until:
                raise ActorAway(f"{self._name}.{method}: {problem}") from problem
            logger.warning(
                "%s is away, repeating %s", self._name, method, extra={"action": "repeat_call"}
            )
            time.sleep(0.1)

    def _forget(self) -> None:
        if self._line is not None:
            self._line.close()
        self._handle = self._line = None


class RemoteGate:
    """`GateLink` over Ray."""

    def __init__(self, actor: RemoteActor) -> None:
        self._actor = actor

    def judge(self, signals: Sequence[SignalSeen], now: datetime) -> datetime | None:
        """See `GateLink.judge`."""
        result: datetime | None = self._actor.call("judge", signals, now)
        return result

    def sweep(self, now: datetime) -> datetime | None:
        """See `GateLink.sweep`."""
        result: datetime | None = self._actor.call("sweep", now)
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


class RemoteRecorder:
    """`RecorderLink` over Ray."""

    def __init__(self, actor: RemoteActor) -> None:
        self._actor = actor

    def record(
        self, batches: Sequence[RecordBatch], *, oldest_kept: int, flush: bool
    ) -> int | None:
        """See `RecorderLink.record`."""
        result: int | None = self._actor.call(
            "record", batches, oldest_kept=oldest_kept, flush=flush
        )
        return result

    def close_session(self, now: datetime) -> None:
        """See `RecorderLink.close_session`."""
        self._actor.call("close_session", now)


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
            self._actors[symbol] = RemoteActor(
                self._name_of(symbol), lambda: self._create(symbol), has_line=True
            )
        return self._actors[symbol]

    def on_change(self, symbol: str, quote: Quote | None, now: datetime) -> WatchBand | None:
        """See `MonitorsLink.on_change`."""
        result: WatchBand | None = self._of(symbol).call("on_change", quote, now)
        return result

    def on_quotes(
        self, quotes: Sequence[tuple[str, Quote | None]], now: datetime
    ) -> dict[str, WatchBand | None]:
        """See `MonitorsLink.on_quotes`."""
        started: list[tuple[str, Quote | None, Any]] = []
        for symbol, quote in quotes:
            try:
                reference = self._of(symbol).start("on_quote", quote, now)
            except _AWAY:
                reference = None
            started.append((symbol, quote, reference))
        return {
            symbol: self._of(symbol).finish(reference, "on_quote", quote, now)
            for symbol, quote, reference in started
        }

    def on_split(self, symbol: str, ratio: Decimal, now: datetime) -> WatchBand | None:
        """See `MonitorsLink.on_split`."""
        result: WatchBand | None = self._of(symbol).call("on_split", ratio, now)
        return result

    def check(self, symbol: str, now: datetime) -> WatchBand | None:
        """See `MonitorsLink.check`."""
        result: WatchBand | None = self._of(symbol).call("check", now)
        return result
