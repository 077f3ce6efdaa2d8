"""Drills: take something away from a running desk, bring it back, and measure.

Before it stands `greenlight drill`; after it the store. What a drill proves is
`greenlight.domain.drills`. A drill runs in a process of its own and reaches the desk
as any other program does: over Ray, signals, the health port, and the broker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

import psutil
import ray
from ray.exceptions import RayError

from actors.position_monitor import covered_qty, monitor_name
from cluster import health_client, services
from cluster.desk_config import NAMESPACE
from cluster.desk_file import DeskFile
from cluster.ollama_server import serving_process
from cluster.processes import StartError
from greenlight.domain.drills import BOUNDS_S, Drill, DrillKind
from greenlight.domain.market import Unavailable
from greenlight.domain.orders import Side
from greenlight.ports import Broker, BrokerRefused, BrokerUnavailable, Sleep

NOTICED_WITHIN_S: Final = 30.0
"""The desk must say by itself that a service is away before it is brought back."""
_PATIENCE: Final = 4.0
"""Times the bound: then the desk is held not to recover."""
_POLL_S: Final = 0.1
_ASK_S: Final = 5.0


class Fault(Protocol):
    """Something that can be taken away from a running desk."""

    detail: str

    def strike(self) -> None:
        """Take it away; what the desk cannot bring back itself is back when this returns."""
        ...

    def has_recovered(self) -> bool:
        """Whether the desk is whole again."""
        ...


def measure(
    kind: DrillKind,
    fault: Fault,
    *,
    account_kind: str,
    naked: NakedWatch,
    now: Callable[[], datetime],
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Sleep = time.sleep,
) -> Drill:
    """Carry a drill out.

    Parameters
    ----------
    naked : NakedWatch
        Looks at the broker meanwhile.
    now : Callable[[], datetime]
        The wall clock, aware UTC.
    monotonic, sleep
        Seconds that never go back, and a wait in seconds.
    """
    at, bound_s = now(), BOUNDS_S[kind]
    naked.start()
    recovered_s: float | Unavailable
    try:
        fault.strike()
        began_s = monotonic()
        while not fault.has_recovered():
            if monotonic() - began_s > _PATIENCE * bound_s:
                recovered_s = Unavailable(f"not within {_PATIENCE * bound_s:g} s")
                break
            sleep(_POLL_S)
        else:
            recovered_s = monotonic() - began_s
    finally:
        longest_s = naked.stop()
    return Drill(
        kind=kind,
        at=at,
        account_kind=account_kind,
        recovered_s=recovered_s,
        bound_s=bound_s,
        naked_s=longest_s,
        detail=fault.detail,
    )


class NakedWatch:
    """Asks the broker, on the wall clock, how long a position lacks a stop.

    Parameters
    ----------
    period_s : float
        Wait between two looks, in seconds.

    Attributes
    ----------
    longest_s : float
        The longest time, in seconds, that a position was not wholly covered.
    looks : int
        How often the broker told.
    """

    def __init__(self, broker: Broker, *, period_s: float = _POLL_S) -> None:
        self._broker = broker
        self._period_s = period_s
        self._since: dict[str, float] = {}
        self.longest_s = 0.0
        self.looks = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="naked", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> float | Unavailable:
        """The longest time, in seconds, that a position was not wholly covered."""
        self._stopping.set()
        self._thread.join()
        return self.longest_s if self.looks else Unavailable("the broker did not tell")

    def look(self, now_s: float) -> None:
        """Look once; a broker that does not tell is asked again later."""
        try:
            positions, orders = self._broker.positions(), self._broker.open_orders()
        except (BrokerUnavailable, BrokerRefused):
            return
        self.looks += 1
        naked = set()
        for position in positions:
            sells = [o for o in orders if o.symbol == position.symbol and o.side is Side.SELL]
            if covered_qty(sells) < position.qty:
                naked.add(position.symbol)
        for symbol in naked:
            since_s = self._since.setdefault(symbol, now_s)
            self.longest_s = max(self.longest_s, now_s - since_s)
        for symbol in set(self._since) - naked:
            del self._since[symbol]

    def _run(self) -> None:
        while True:
            self.look(time.monotonic())
            if self._stopping.wait(self._period_s):
                return


# -- the faults


class ActorKilled:
    """An actor's process is ended; Ray starts the next, and `is_well` says it is at work."""

    def __init__(self, name: str, is_well: Callable[[Any], bool] = lambda _: True) -> None:
        self.detail = name
        self._is_well = is_well
        self._pid: int | None = None

    def strike(self) -> None:
        """See `Fault.strike`."""
        handle = ray.get_actor(self.detail, namespace=NAMESPACE)
        self._pid = _answer(handle.pid.remote())
        ray.kill(handle, no_restart=False)

    def has_recovered(self) -> bool:
        """See `Fault.has_recovered`."""
        with suppress(RayError, ValueError):
            handle = ray.get_actor(self.detail, namespace=NAMESPACE)
            _answer(handle.call.remote("ping"))
            is_new = _answer(handle.pid.remote()) != self._pid
            return is_new and self._is_well(handle)
        return False


def has_stream(hub: Any) -> bool:
    """Whether market data's streams are open and have brought something."""
    return not isinstance(_answer(hub.call.remote("stream")).silent_s, Unavailable)


def _answer(reference: Any) -> Any:
    return ray.get(reference, timeout=_ASK_S)


class CacheKilled:
    """The desk's own Redis is killed, and started again once the desk has noticed."""

    def __init__(self, home: Path, part: Callable[[str], str]) -> None:
        self.detail = "redis, killed and started again"
        self._home = home
        self._part = part

    def strike(self) -> None:
        """See `Fault.strike`."""
        found = services.running_redis(self._home)
        try:
            with services.not_started(self._home, "redis"):
                if found is not None:
                    psutil.Process(found.pid).kill()
                _await(lambda: self._part("cache") == "degraded", "the cache is away")
        finally:
            services.start_redis(self._home)

    def has_recovered(self) -> bool:
        """See `Fault.has_recovered`."""
        return self._part("cache") == "up"


class DatabaseHung:
    """Every process of the desk's own PostgreSQL stands still until the desk has noticed."""

    def __init__(self, pid: int, part: Callable[[str], str]) -> None:
        self.detail = "postgresql, stopped and continued"
        self._first = psutil.Process(pid)
        self._part = part

    def strike(self) -> None:
        """See `Fault.strike`."""
        family = [self._first, *self._first.children(recursive=True)]
        try:
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.suspend()
            _await(lambda: self._part("store") == "down", "the database is away")
        finally:
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def has_recovered(self) -> bool:
        """See `Fault.has_recovered`."""
        return self._part("store") == "up"


class ModelHung:
    """The desk's own model server stands still until the desk has noticed."""

    def __init__(self, process: psutil.Process, part: Callable[[str], str]) -> None:
        self.detail = "ollama serve, stopped and continued"
        self._process = process
        self._part = part

    def strike(self) -> None:
        """See `Fault.strike`."""
        try:
            self._process.suspend()
            _await(lambda: self._part("sentiment") == "degraded", "the model server hangs")
        finally:
            with suppress(psutil.NoSuchProcess):
                self._process.resume()

    def has_recovered(self) -> bool:
        """See `Fault.has_recovered`."""
        return self._part("sentiment") == "up"


def _await(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + NOTICED_WITHIN_S
    while not condition():
        if time.monotonic() > until:
            raise StartError(f"the desk did not notice within {NOTICED_WITHIN_S:g} s that {what}")
        time.sleep(_POLL_S)


def fault_of(kind: DrillKind, desk: DeskFile, home: Path, held: Sequence[str]) -> Fault:
    """The fault of a drill on the desk that runs in `home` and holds these symbols.

    Raises
    ------
    StartError
        It cannot be carried out there; the line says why.
    """
    if kind is DrillKind.MONITOR:
        if not held:
            raise StartError("no position is open, so no monitor is at work; try again with one")
        return ActorKilled(monitor_name(held[0]))
    if kind is DrillKind.STREAM:
        return ActorKilled("market-data", has_stream)
    if desk.health_url is None:
        raise StartError("the desk has no health port, so nothing tells when it has recovered")

    def part(name: str) -> str:
        found = health_client.parts(desk.health_url)
        rows = () if isinstance(found, Unavailable) else found
        return next((row.state for row in rows if row.name == name), "unknown")

    if kind is DrillKind.MODEL:
        server = serving_process(home)
        if server is None:
            state = part("sentiment")
            what = (
                "no model is configured; there is nothing to take away"
                if state == "unknown"
                else "the model server is not the desk's own; stop it where it runs"
            )
            raise StartError(what)
        return ModelHung(server, part)
    if kind is DrillKind.CACHE:
        cache = services.running_redis(home)
        if cache is None or cache.url != desk.redis_url:
            raise StartError("the cache is not the desk's own (REDIS_URL); end it where it runs")
        return CacheKilled(home, part)
    database = services.running_postgres(home)
    if database is None or database.url != desk.database_url:
        raise StartError("the database is not the desk's own (DATABASE_URL); stop it where it runs")
    return DatabaseHung(database.pid, part)
