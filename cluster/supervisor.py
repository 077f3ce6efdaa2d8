"""The supervisor: desired actors against living ones.

Desired are the core actors and a monitor for every open position. One that is
gone is started, one that is silent is killed (Ray then restarts it). The plan
is `plan`, a pure function; this file carries it out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import ray
from ray.exceptions import GetTimeoutError, RayError

from cluster.desk_config import NAMESPACE, DeskConfig
from greenlight.ports import Store, StoreUnavailable

logger = logging.getLogger(__name__)

OPTIONS: Final[dict[str, Any]] = {"name": "supervisor", "num_cpus": 0.05, "max_concurrency": 2}
PERIOD_S: Final = 1.0
SILENT_AFTER_S: Final = 4.0
"""An actor that has not answered for this long is replaced (found within 5 s)."""
START_GRACE_S: Final = 30.0
"""A new actor may take this long to answer for the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorStatus:
    """What the supervisor knows.

    `turned_s` are seconds since its last turn ended (None: none has), `heard_s`
    since an actor's last answer (absent: none yet), `replaced` how often each was.
    """

    turned_s: float | None
    desired: tuple[str, ...]
    heard_s: Mapping[str, float]
    replaced: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisionPlan:
    """Symbols whose monitor must be started, and actors to be killed."""

    start: tuple[str, ...]
    kill: tuple[str, ...]


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
        For each actor that exists, the monotonic second of its last answer (or,
        before the first, the second until which it is given time, less
        `silent_after_s`).
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
        For each actor the monotonic second of its last answer.
    pause_s : float
        Seconds since its last turn: a machine that was suspended, a stopped process.
    """
    slept_s = pause_s - 2 * PERIOD_S
    return {name: at + slept_s for name, at in known.items()} if slept_s > 0 else dict(known)


def is_replaced(config: DeskConfig, store: Store) -> bool:
    """Whether another desk has taken over the store since this one started."""
    return config.desk_epoch is not None and store.desk_epoch() != config.desk_epoch


class Supervisor:
    """Carries the plan out every second, on a thread of its own."""

    def __init__(self, *, config: DeskConfig, store: Store) -> None:
        self._config = config
        self._store = store
        self._answers: dict[str, float] = {}
        self._pending: dict[str, Any] = {}
        self._replaced: dict[str, int] = {}
        self._desired: tuple[str, ...] = ()
        self._heard: dict[str, float] = {}
        self._turned_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="supervise", daemon=True)
        self._thread.start()

    def ping(self) -> str:
        """Answer, as proof of life."""
        return "supervisor"

    def status(self) -> SupervisorStatus:
        """Who is desired, who has answered, and when the last turn ended."""
        now_s = time.monotonic()
        return SupervisorStatus(
            turned_s=None if self._turned_s is None else now_s - self._turned_s,
            desired=self._desired,
            heard_s={name: now_s - at for name, at in dict(self._heard).items()},
            replaced=dict(self._replaced),
        )

    def _run(self) -> None:
        while True:
            try:
                self._step()
            except Exception:
                logger.exception("a turn failed", extra={"action": "supervise"})
            # A turn that the store held up still shows that somebody watches.
            self._turned_s = time.monotonic()
            time.sleep(PERIOD_S)

    def _step(self) -> None:
        if self._turned_s is not None:
            pause_s = time.monotonic() - self._turned_s
            self._answers = excused(self._answers, pause_s=pause_s)
        try:
            self._turn()
        except StoreUnavailable as error:
            logger.error("store away: %s", error, extra={"action": "supervise"})
            # Nobody is started or replaced now, yet who answers is still known.
            self._listen(self._desired)

    def _turn(self) -> None:
        from actors.position_monitor import monitor_name
        from cluster.launch import CORE, create_monitor

        if is_replaced(self._config, self._store):
            self._stand_down(CORE)
            return
        symbols = {monitor_name(p.symbol): p.symbol for p in self._store.open_positions()}
        desired = [*CORE, *symbols]
        self._desired = tuple(desired)
        self._listen(desired)
        todo = plan(desired=desired, known=self._answers, now_s=time.monotonic())
        for name in todo.start:
            if name in symbols:
                logger.warning("starting %s", name, extra={"action": "start_monitor"})
                create_monitor(self._config, symbols[name])
        for name in todo.kill:
            logger.error("%s is silent, replacing it", name, extra={"action": "replace"})
            self._replaced[name] = self._replaced.get(name, 0) + 1
            self._pending.pop(name, None)
            self._heard.pop(name, None)
            self._answers[name] = time.monotonic() + START_GRACE_S
            ray.kill(ray.get_actor(name, namespace=NAMESPACE), no_restart=False)

    def _stand_down(self, core: Sequence[str]) -> None:
        """Another desk has taken over this store: end every actor, and stay ended."""
        monitors = [name for name in self._answers if name not in core]
        for name in [*core, *monitors]:
            logger.error("another desk took over, ending %s", name, extra={"action": "stand_down"})
            with suppress(ValueError):
                ray.kill(ray.get_actor(name, namespace=NAMESPACE), no_restart=True)
        self._answers.clear()
        self._pending.clear()

    def _listen(self, desired: Sequence[str]) -> None:
        """Ask everybody; note who has answered and who exists at all."""
        now_s = time.monotonic()
        for name in list(self._answers):
            if name not in desired:
                del self._answers[name]
                self._heard.pop(name, None)
                self._pending.pop(name, None)
        for name in desired:
            try:
                reference = self._pending.get(name)
                if reference is not None:
                    ray.get(reference, timeout=0)
                    self._answers[name] = self._heard[name] = now_s
                    self._pending.pop(name)
                handle = ray.get_actor(name, namespace=NAMESPACE)
                self._answers.setdefault(name, now_s + START_GRACE_S)
                # There is always a question under way, so that silence is never ours.
                self._pending[name] = handle.call.remote("ping")
            except GetTimeoutError:
                continue
            except ValueError:
                self._answers.pop(name, None)
                self._heard.pop(name, None)
                self._pending.pop(name, None)
            except RayError as error:
                logger.warning("%s: %s", name, error, extra={"action": "supervise"})
                self._pending.pop(name, None)
                self._heard.pop(name, None)
                self._answers[name] = now_s + START_GRACE_S


def build_supervisor(config: DeskConfig) -> Supervisor:
    """The supervisor, in its actor's process."""
    from cluster.wiring import build_store

    return Supervisor(config=config, store=build_store(config))
