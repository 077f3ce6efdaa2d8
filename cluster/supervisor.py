"""The supervisor: desired actors against living ones.

Desired are the core actors and a monitor for every open position. One that is
gone is started, one that is silent is killed (Ray then restarts it), and one that
crashes again and again waits before it starts. What is to be done is decided in
`cluster.supervision`; this file carries it out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import ray
from ray.exceptions import GetTimeoutError, RayError

from cluster.desk_config import NAMESPACE, DeskConfig
from cluster.supervision import LOOP_AFTER, PERIOD_S, Liveness, SupervisorStatus
from greenlight.ports import Notifier, Store, StoreUnavailable

logger = logging.getLogger(__name__)

OPTIONS: Final[dict[str, Any]] = {"name": "supervisor", "num_cpus": 0.05, "max_concurrency": 2}
STORE_S: Final = 3.0
"""Longest wait for the store, so that a turn ends soon enough to count as alive."""


def is_replaced(config: DeskConfig, store: Store) -> bool:
    """Whether another desk has taken over the store since this one started."""
    return config.desk_epoch is not None and store.desk_epoch() != config.desk_epoch


class Supervisor:
    """Carries the plan out every second, on a thread of its own."""

    def __init__(self, *, config: DeskConfig, store: Store, notifier: Notifier) -> None:
        self._config = config
        self._store = store
        self._notifier = notifier
        self._liveness = Liveness()
        self._pending: dict[str, Any] = {}
        self._turned_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="supervise", daemon=True)
        self._thread.start()

    def ping(self) -> str:
        """Answer, as proof of life."""
        return "supervisor"

    def admit(self, name: str) -> float:
        """A process of an actor has come up: seconds that it must wait before its work."""
        now_s = time.monotonic()
        life = self._liveness.admit(name, now_s)
        if life.short_lives == LOOP_AFTER:
            self._notifier.alert(
                f"{name} has crashed {LOOP_AFTER} times in a row; its starts are held back, "
                "see its log"
            )
        return life.starts_s - now_s

    def status(self) -> SupervisorStatus:
        """Who is desired, who has answered, and when the last turn ended."""
        now_s = time.monotonic()
        turned_s = None if self._turned_s is None else now_s - self._turned_s
        return self._liveness.status(now_s=now_s, turned_s=turned_s)

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
            self._liveness.excuse(time.monotonic() - self._turned_s)
        began_s = time.monotonic()
        try:
            self._turn()
        except StoreUnavailable as error:
            logger.error("store away: %s", error, extra={"action": "supervise"})
            # Nobody is started or replaced now, yet who answers is still known.
            self._listen()
            # Nor is anybody blamed for a silence that the waiting for the store made.
            self._liveness.excuse(time.monotonic() - began_s)

    def _turn(self) -> None:
        from actors.position_monitor import monitor_name
        from cluster.launch import core_of, create_core_actor, create_monitor

        core = core_of(self._config)

        if is_replaced(self._config, self._store):
            self._stand_down(core)
            return
        symbols = {monitor_name(p.symbol): p.symbol for p in self._store.open_positions()}
        self._liveness.desire([*core, *symbols])
        self._listen()
        todo = self._liveness.plan(time.monotonic())
        for name in todo.start:
            logger.warning("starting %s", name, extra={"action": "start_actor"})
            if name in symbols:
                create_monitor(self._config, symbols[name])
            else:
                create_core_actor(self._config, name)
        for name in todo.kill:
            logger.error("%s is silent, replacing it", name, extra={"action": "replace"})
            self._liveness.replaced(name, time.monotonic())
            self._pending.pop(name, None)
            with suppress(ValueError):
                ray.kill(ray.get_actor(name, namespace=NAMESPACE), no_restart=False)

    def _stand_down(self, core: Sequence[str]) -> None:
        """Another desk has taken over this store: end every actor, and stay ended."""
        monitors = [name for name in self._liveness.names() if name not in core]
        for name in [*core, *monitors]:
            logger.error("another desk took over, ending %s", name, extra={"action": "stand_down"})
            with suppress(ValueError):
                ray.kill(ray.get_actor(name, namespace=NAMESPACE), no_restart=True)
        self._liveness.clear()
        self._pending.clear()

    def _listen(self) -> None:
        """Ask everybody; note who has answered and who exists at all."""
        now_s = time.monotonic()
        for name in self._liveness.names():
            try:
                reference = self._pending.get(name)
                if reference is not None:
                    ray.get(reference, timeout=0)
                    self._liveness.heard(name, now_s)
                    self._pending.pop(name)
                handle = ray.get_actor(name, namespace=NAMESPACE)
                self._liveness.found(name, now_s)
                # There is always a question under way, so that silence is never ours.
                self._pending[name] = handle.call.remote("ping")
            except GetTimeoutError:
                continue
            except ValueError:
                self._liveness.gone(name)
                self._pending.pop(name, None)
            except RayError as error:
                logger.warning("%s: %s", name, error, extra={"action": "supervise"})
                self._pending.pop(name, None)
                self._liveness.lost(name, now_s)


def build_supervisor(config: DeskConfig) -> Supervisor:
    """The supervisor, in its actor's process."""
    from cluster.wiring import build_notifier, build_store

    store = build_store(replace(config, store_deadline_s=min(config.store_deadline_s, STORE_S)))
    return Supervisor(config=config, store=store, notifier=build_notifier(config, store))
