"""Probes: one question asked again and again on a thread of its own.

Before it stand the parts of the desk; after it `health`, which never waits for
any of them: a part that hangs makes its own reading old and no other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from greenlight.domain.market import Unavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Generic[T]):
    """The last answer and its age; `problem` is what came of the last question instead."""

    value: T | Unavailable
    age_s: float | Unavailable
    problem: str | None


class Probe(Generic[T]):
    """Asks one thing.

    Parameters
    ----------
    ask : Callable[[], T]
        The question; what it raises is kept as the problem.
    period_s : float
        Wait between an answer and the next question, in seconds.
    monotonic : Callable[[], float]
        Seconds of a clock that never goes back.
    """

    def __init__(
        self, ask: Callable[[], T], *, period_s: float, monotonic: Callable[[], float]
    ) -> None:
        self._ask = ask
        self._period_s = period_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._value: T | Unavailable = Unavailable("not asked yet")
        self._at_s: float | None = None
        self._problem: str | None = None

    def turn(self) -> None:
        """Ask once."""
        try:
            value = self._ask()
        except Exception as error:
            # Whatever it is, it is the finding.
            with self._lock:
                self._problem = f"{type(error).__name__}: {error}".strip()
            return
        with self._lock:
            self._value, self._at_s, self._problem = value, self._monotonic(), None

    def read(self) -> Reading[T]:
        """What is known now."""
        with self._lock:
            age_s: float | Unavailable = (
                Unavailable("it has not answered yet")
                if self._at_s is None
                else self._monotonic() - self._at_s
            )
            return Reading(value=self._value, age_s=age_s, problem=self._problem)

    def run(self, stopping: threading.Event) -> None:
        """Ask until told to stop."""
        while not stopping.is_set():
            self.turn()
            stopping.wait(self._period_s)
