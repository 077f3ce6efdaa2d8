"""Who lives, who must be started or replaced, and who must wait before the next start.

Before it stands what the supervisor hears; after it what the supervisor does. A
process that dies is started again at once, by Ray; one that does so again and again
is held back ever longer, so that a crash loop does not take the machine from the rest.
Seconds are of a clock that never goes back.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

PERIOD_S: Final = 1.0
SILENT_AFTER_S: Final = 4.0
"""An actor that has not answered for this long is replaced (found within 5 s)."""
START_GRACE_S: Final = 30.0
"""A new actor may take this long to answer for the first time."""
SHORT_LIFE_S: Final = 30.0
"""A life shorter than this counts towards a crash loop; a longer one ends it."""
LOOP_AFTER: Final = 3
"""So many short lives in a row are a crash loop."""
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 60.0
"""The wait before a start in a crash loop, doubled each time up to the longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashLoop:
    """An actor that dies again and again: short lives in a row, seconds to its next start."""

    short_lives: int
    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorStatus:
    """What the supervisor knows.

    `turned_s` are seconds since its last turn ended (None: none has), `heard_s`
    since an actor's last answer (absent: none yet), `replaced` how often each was,
    `loops` those in a crash loop.
    """

    turned_s: float | None
    desired: tuple[str, ...]
    heard_s: Mapping[str, float]
    replaced: Mapping[str, int]
    loops: Mapping[str, CrashLoop]


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisionPlan:
    """Actors to be started, and actors to be killed, which Ray then starts again."""

    start: tuple[str, ...]
    kill: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """The present life of an actor: when its work may begin, and the short ones before it."""

    starts_s: float
    short_lives: int

    @property
    def is_looping(self) -> bool:
        """Whether it is one of a crash loop."""
        return self.short_lives >= LOOP_AFTER


def next_life(before: Life | None, *, now_s: float) -> Life:
    """The life of a process that has just come up.

    Parameters
    ----------
    before : Life | None
        Its predecessor; None: there was none.

    Notes
    -----
    The n-th short life in a row waits min(2^(n - LOOP_AFTER) FIRST_WAIT_S,
    LONGEST_WAIT_S), and nothing below LOOP_AFTER.
    """
    if before is None or now_s - before.starts_s >= SHORT_LIFE_S:
        return Life(starts_s=now_s, short_lives=0)
    lives = before.short_lives + 1
    # The exponent is bounded, as a loop may last for days.
    doublings = min(lives - LOOP_AFTER, 16)
    wait_s = min(FIRST_WAIT_S * 2**doublings, LONGEST_WAIT_S) if doublings >= 0 else 0.0
    return Life(starts_s=now_s + wait_s, short_lives=lives)


def plan(
    *,
    desired: Sequence[str],
    known: Mapping[str, float],
    now_s: float,
    silent_after_s: float = SILENT_AFTER_S,
) -> SupervisionPlan:
    """What has to happen so that every desired actor lives.

    Parameters
    ----------
    desired : Sequence[str]
        Actor names.
    known : Mapping[str, float]
        For each actor that exists, the second of its last answer (or, before the
        first, the second until which it is given time).
    now_s : float
        The present on the same clock.
    """
    return SupervisionPlan(
        start=tuple(name for name in desired if name not in known),
        kill=tuple(
            name for name in desired if name in known and now_s - known[name] > silent_after_s
        ),
    )


def excused(known: Mapping[str, float], *, pause_s: float) -> dict[str, float]:
    """Last answers, moved on by what the supervisor itself slept beyond two periods.

    Parameters
    ----------
    known : Mapping[str, float]
        For each actor the second of its last answer.
    pause_s : float
        Seconds since its last turn: a machine that was suspended, a stopped process.
    """
    slept_s = pause_s - 2 * PERIOD_S
    return {name: at + slept_s for name, at in known.items()} if slept_s > 0 else dict(known)


class Liveness:
    """What is known of each actor; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, float] = {}
        self._heard: dict[str, float] = {}
        self._lost: set[str] = set()
        self._lives: dict[str, Life] = {}
        self._replaced: dict[str, int] = {}
        self._desired: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Who is to be asked: those who should live, and others who do.

        A monitor whose position has closed is still called upon, so it must not hang.
        """
        with self._lock:
            return self._names()

    def _names(self) -> tuple[str, ...]:
        return (*self._desired, *sorted(set(self._known) - set(self._desired)))

    def desire(self, names: Sequence[str]) -> None:
        """From now on these should live."""
        with self._lock:
            self._desired = tuple(names)

    def found(self, name: str, now_s: float) -> None:
        """It exists; a new one has time to answer."""
        with self._lock:
            self._known.setdefault(name, now_s + START_GRACE_S)

    def heard(self, name: str, now_s: float) -> None:
        """It has answered."""
        with self._lock:
            self._known[name] = self._heard[name] = now_s
            self._lost.discard(name)

    def lost(self, name: str, now_s: float) -> None:
        """Its process is gone, and Ray starts the next; said again, it gets no more time."""
        with self._lock:
            self._heard.pop(name, None)
            if name not in self._lost:
                self._lost.add(name)
                self._known[name] = now_s + START_GRACE_S

    def gone(self, name: str) -> None:
        """There is no such actor."""
        with self._lock:
            self._forget(name)

    def replaced(self, name: str, now_s: float) -> None:
        """It was silent and was killed."""
        with self._lock:
            self._replaced[name] = self._replaced.get(name, 0) + 1
            self._heard.pop(name, None)
            self._known[name] = now_s + START_GRACE_S

    def admit(self, name: str, now_s: float) -> Life:
        """A process of it has come up: its life, which may have to wait."""
        with self._lock:
            life = self._lives[name] = next_life(self._lives.get(name), now_s=now_s)
            self._known[name] = life.starts_s + START_GRACE_S
            return life

    def excuse(self, pause_s: float) -> None:
        """The supervisor itself slept; see `excused`."""
        with self._lock:
            self._known = excused(self._known, pause_s=pause_s)

    def clear(self) -> None:
        """Forget everybody."""
        with self._lock:
            for name in list(self._known):
                self._forget(name)

    def plan(self, now_s: float) -> SupervisionPlan:
        """What has to be done now."""
        with self._lock:
            todo = plan(desired=self._names(), known=self._known, now_s=now_s)
        return todo

    def status(self, *, now_s: float, turned_s: float | None) -> SupervisorStatus:
        """What is known now; `turned_s` as in the status."""
        with self._lock:
            loops = {
                name: CrashLoop(
                    short_lives=life.short_lives, wait_s=max(life.starts_s - now_s, 0.0)
                )
                for name, life in self._lives.items()
                if life.is_looping and now_s < life.starts_s + SHORT_LIFE_S
            }
            return SupervisorStatus(
                turned_s=turned_s,
                desired=self._desired,
                heard_s={name: now_s - at for name, at in self._heard.items()},
                replaced=dict(self._replaced),
                loops=loops,
            )

    def _forget(self, name: str) -> None:
        self._known.pop(name, None)
        self._heard.pop(name, None)
        self._lost.discard(name)
