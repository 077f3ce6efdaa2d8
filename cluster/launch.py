"""Ray: start a node, turn plain classes into named, detached actors, stop them.

The one factory that applies `ray.remote`. Every actor restarts for ever and
no task is retried by Ray itself, because a repeated order is ours to decide.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import RayError

from actors.sentiment import RESOURCE, placement
from cluster import wiring
from cluster.desk_config import NAMESPACE, DeskConfig
from cluster.fast_lane import LineAddress, LineServer
from cluster.json_log import log_as_json, secrets_of
from cluster.processes import StartError

logger = logging.getLogger(__name__)

CORE: Final = ("recorder", "nightly", "risk-gate", "strategist", "market-data")
"""Actors that are always there, in the order in which they start."""
SUPERVISOR: Final = "supervisor"
REPORTER: Final = "reporter"
SENTIMENT: Final = "sentiment"
"""Only where a model reads the news; nobody waits for it."""
FENCED_EXIT: Final = 75
"""Exit status of a process that another one has replaced (EX_TEMPFAIL)."""
_LAST_WORDS_S: Final = 0.2
_ADMIT_S: Final = 1.0
_OBJECT_STORE_BYTES: Final = 256 * 1024 * 1024


class Host:
    """An actor's process: builds the plain object and passes calls on to it."""

    def __init__(self, name: str, build: Callable[..., Any], args: tuple[Any, ...]) -> None:
        config: DeskConfig = args[0]
        time.sleep(_wait_s(name))
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


def _wait_s(name: str) -> float:
    """How long the supervisor holds this process back; not at all where it does not answer."""
    if name == SUPERVISOR:
        return 0.0
    try:
        supervisor = ray.get_actor(SUPERVISOR, namespace=NAMESPACE)
        wait_s: Any = ray.get(supervisor.call.remote("admit", name), timeout=_ADMIT_S)
        return float(wait_s)
    except (ValueError, RayError):
        return 0.0


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
    names = (*core_of(config), SUPERVISOR)
    for name in names:
        create_core_actor(config, name)
    create_sentiment(config)
    handles = [ray.get_actor(name, namespace=NAMESPACE) for name in names]
    ray.get([handle.call.remote("ping") for handle in handles])


def core_of(config: DeskConfig) -> tuple[str, ...]:
    """The actors that this desk always has: `CORE`, and the reporter where it is of use."""
    return (*CORE, REPORTER) if config.wants_reporter else CORE


def create_sentiment(config: DeskConfig) -> bool:
    """Start the sentiment actor where the settings ask for one, and do not wait for it.

    It waits in Ray until a node has the share of a GPU that it is to keep.
    """
    settings = wiring.settings_of(config)
    if settings.sentiment != "ollama":
        return False
    options = placement(settings.sentiment_gpu_frac)
    create("Sentiment", SENTIMENT, options, wiring.build_sentiment_actor, config)
    return True


def create_core_actor(config: DeskConfig, name: str) -> None:
    """Start one of the actors that are always there, or find it."""
    from actors import market_data, nightly, recorder, risk_gate, strategist
    from cluster import supervisor

    if name == REPORTER:
        from actors import reporter
        from cluster.reporting import build_reporter

        create("Reporter", name, reporter.OPTIONS, build_reporter, config)
        return

    plan: dict[str, tuple[str, Mapping[str, Any], Callable[..., Any]]] = {
        "recorder": ("Recorder", recorder.OPTIONS, wiring.build_recorder),
        "nightly": ("Nightly", nightly.OPTIONS, wiring.build_nightly),
        "risk-gate": ("RiskGate", risk_gate.OPTIONS, wiring.build_gate),
        "strategist": ("Strategist", strategist.OPTIONS, wiring.build_strategist),
        "market-data": ("MarketDataHub", market_data.OPTIONS, wiring.build_market_data),
        SUPERVISOR: ("Supervisor", supervisor.OPTIONS, supervisor.build_supervisor),
    }
    class_name, options, build = plan[name]
    create(class_name, name, options, build, config)


def start_ray(*, dashboard_port: int | None, offers_model: bool = False) -> str | None:
    """Start one local Ray node, on loopback only.

    Parameters
    ----------
    dashboard_port : int | None
        Port of Ray's dashboard; None starts none.
    offers_model : bool
        The model that reads the news may live on this node.

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
        resources={RESOURCE: 1} if offers_model else None,
    )
    url = context.dashboard_url
    return f"http://{url}" if url else None


def ray_address() -> str:
    """Where another process of this machine's user joins the node; see `joined_ray`."""
    address: str = ray.get_runtime_context().gcs_address
    return address


@contextlib.contextmanager
def joined_ray(address: str) -> Iterator[None]:
    """Join the node of a running desk, to look at its actors.

    Raises
    ------
    StartError
        There is no such node any more.
    """
    try:
        ray.init(
            address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise StartError(f"Ray does not answer at {address}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def stop_ray() -> None:
    """End the desk's actors and then the node."""
    if not ray.is_initialized():
        return
    # The sentiment actor may have a server of its own to end.
    for name in ("market-data", SENTIMENT):
        with contextlib.suppress(RayError, ValueError):
            actor = ray.get_actor(name, namespace=NAMESPACE)
            ray.get(actor.call.remote("stop"), timeout=10)
    for found in ray.util.list_named_actors(all_namespaces=True):
        with contextlib.suppress(RayError, ValueError):
            ray.kill(ray.get_actor(found["name"], namespace=found["namespace"]), no_restart=True)
    ray.shutdown()
