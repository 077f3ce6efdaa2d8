"""Ray: start a node, turn plain classes into named, detached actors, stop them.

The one factory that applies `ray.remote`. Every actor restarts for ever and
no task is retried by Ray itself, because a repeated order is ours to decide.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import RayError

from cluster import wiring
from cluster.desk_config import NAMESPACE, DeskConfig
from cluster.fast_lane import LineAddress, LineServer
from cluster.json_log import log_as_json, secrets_of

logger = logging.getLogger(__name__)

CORE: Final = ("recorder", "nightly", "risk-gate", "strategist", "market-data")
"""Actors that are always there, in the order in which they start."""
SUPERVISOR: Final = "supervisor"
FENCED_EXIT: Final = 75
"""Exit status of a process that another one has replaced (EX_TEMPFAIL)."""
_LAST_WORDS_S: Final = 0.2
_OBJECT_STORE_BYTES: Final = 256 * 1024 * 1024


class Host:
    """An actor's process: builds the plain object and passes calls on to it."""

    def __init__(self, name: str, build: Callable[..., Any], args: tuple[Any, ...]) -> None:
        config: DeskConfig = args[0]
        folder = None if config.log_folder is None else Path(config.log_folder)
        log_as_json(process=name, secrets=secrets_of(config), folder=folder)
        self._plain = build(*args)
        self._server: LineServer | None = None
        self._lock = threading.Lock()

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the plain object."""
        try:
            return getattr(self._plain, method)(*args, **kwargs)
        finally:
            self._end_if_fenced()

    def _end_if_fenced(self) -> None:
        # Whoever was replaced ends once its answer has left; Ray starts the next one,
        # whose constructor takes an epoch or finds that another desk has taken over.
        if getattr(self._plain, "is_fenced", False):
            logger.error("fenced: this process ends", extra={"action": "end_fenced"})
            threading.Timer(_LAST_WORDS_S, os._exit, (FENCED_EXIT,)).start()

    def line(self) -> LineAddress:
        """Open the direct line into this process, or tell where it is."""
        with self._lock:
            if self._server is None:
                host: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
                self._server = LineServer(self._plain, host, after=self._end_if_fenced)
            return self._server.address

    def pid(self) -> int:
        """Process id, for `greenlight status` and the kill tests."""
        return os.getpid()


def create(
    class_name: str,
    name: str,
    options: Mapping[str, Any],
    build: Callable[..., Any],
    *args: Any,
) -> None:
    """Start a detached, named actor, or find the one of that name.

    Parameters
    ----------
    class_name : str
        Name of the plain class, as Ray's dashboard shows it.
    options : Mapping[str, Any]
        The plain class's OPTIONS.
    build, args
        Make the plain object in the actor's process; the first argument is its `DeskConfig`.
    """
    shown = type(class_name, (Host,), {})
    ray.remote(shown).options(
        **{key: value for key, value in options.items() if key != "name"},
        name=name,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        max_task_retries=0,
    ).remote(name, build, args)


def create_monitor(config: DeskConfig, symbol: str) -> None:
    """Start the position monitor of a symbol."""
    from actors.position_monitor import OPTIONS, monitor_name

    create("PositionMonitor", monitor_name(symbol), OPTIONS, wiring.build_monitor, config, symbol)


def create_core(config: DeskConfig) -> None:
    """Start the actors that are always there; each is up when this returns."""
    from actors import market_data, nightly, recorder, risk_gate, strategist
    from cluster import supervisor

    plan: list[tuple[str, Mapping[str, Any], Callable[..., Any]]] = [
        ("Recorder", recorder.OPTIONS, wiring.build_recorder),
        ("Nightly", nightly.OPTIONS, wiring.build_nightly),
        ("RiskGate", risk_gate.OPTIONS, wiring.build_gate),
        ("Strategist", strategist.OPTIONS, wiring.build_strategist),
        ("MarketDataHub", market_data.OPTIONS, wiring.build_market_data),
        ("Supervisor", supervisor.OPTIONS, supervisor.build_supervisor),
    ]
    for class_name, options, build in plan:
        create(class_name, options["name"], options, build, config)
    handles = [ray.get_actor(options["name"], namespace=NAMESPACE) for _, options, _ in plan]
    ray.get([handle.call.remote("ping") for handle in handles])


def start_ray(*, dashboard_port: int | None) -> str | None:
    """Start one local Ray node, on loopback only.

    Parameters
    ----------
    dashboard_port : int | None
        Port of Ray's dashboard; None starts none.

    Returns
    -------
    str | None
        The dashboard's address.
    """
    context = ray.init(
        address="local",
        namespace=NAMESPACE,
        include_dashboard=dashboard_port is not None,
        dashboard_host="127.0.0.1",
        dashboard_port=dashboard_port,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=_OBJECT_STORE_BYTES,
        # One more than there are, for the actors' shares: tasks then get every core.
        num_cpus=_cores() + 1,
    )
    url = context.dashboard_url
    return f"http://{url}" if url else None


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def stop_ray() -> None:
    """End the desk's actors and then the node."""
    if not ray.is_initialized():
        return
    with contextlib.suppress(RayError, ValueError):
        hub = ray.get_actor("market-data", namespace=NAMESPACE)
        ray.get(hub.call.remote("stop"), timeout=10)
    for found in ray.util.list_named_actors(all_namespaces=True):
        with contextlib.suppress(RayError, ValueError):
            ray.kill(ray.get_actor(found["name"], namespace=found["namespace"]), no_restart=True)
    ray.shutdown()
