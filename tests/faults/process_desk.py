"""A whole desk whose processes and services a test stops, kills and starts again."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg
import ray
import requests
from ray.cluster_utils import Cluster

from actors.position_monitor import covered_qty
from cluster import services
from cluster.desk import Desk
from cluster.desk_config import NAMESPACE, DeskConfig
from cluster.desk_file import DeskFile
from cluster.drills import NakedWatch
from cluster.health_server import HealthProbes, HealthServer
from greenlight.adapters.alpaca_broker import AlpacaBroker
from greenlight.adapters.timescale import TimescaleStore
from greenlight.domain.orders import Side
from greenlight.domain.positions import Position
from greenlight.settings import load_settings
from tests.desk_harness import RunningDesk
from tests.faults.port_gate import PortGate

_OBJECTS = 80 * 1024 * 1024
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def within(bound_s: float, condition: Callable[[], bool], what: str) -> float:
    """Wait until it holds; the seconds that took."""
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() - began_s < bound_s, f"not within {bound_s:g} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - began_s


class GatedDesk(Desk):
    """A desk that reaches its exchange through a gate; who takes a service away gives it back."""

    gate: PortGate

    def _reach(self, port: int) -> int:
        self.gate = PortGate(port)
        return self.gate.port

    def _keep_services(self) -> None:
        """Nobody else starts them."""


class ClusterDesk(GatedDesk):
    """A desk on a Ray cluster of this machine: a head without actors, and two nodes for them."""

    cluster: Cluster

    def _start_engine(self, dashboard_port: int | None) -> str | None:
        self.cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": _OBJECTS}
        )
        for _ in range(2):
            self.cluster.add_node(num_cpus=3, object_store_memory=_OBJECTS)
        ray.init(
            address=self.cluster.address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        return None

    def stop(self) -> None:
        super().stop()
        if hasattr(self, "cluster"):
            self.cluster.shutdown()

    def raylet(self, pid: int) -> psutil.Process | None:
        """The raylet of the node on which a process lives; None where that has died."""
        raylets = {
            node.all_processes["raylet"][0].process.pid for node in self.cluster.list_all_nodes()
        }
        with suppress(psutil.NoSuchProcess):
            return next((p for p in psutil.Process(pid).parents() if p.pid in raylets), None)
        return None


class ProcessDesk(RunningDesk):
    """A desk under test whose `broker` goes past the gate, with its health port."""

    def __init__(self, desk: GatedDesk, home: Path) -> None:
        super().__init__(desk)
        assert desk.config is not None
        self.home = home
        self.gate = desk.gate
        self.config: DeskConfig = desk.config
        self.direct_url = f"http://127.0.0.1:{desk.gate.target}"
        self.broker = AlpacaBroker(
            base_url=self.direct_url, key_id="PAPER", secret_key="paper-exchange", deadline_s=5
        )
        self.ledger = TimescaleStore(desk.database_url)
        self._probes = HealthProbes(self.config)
        self._probes.start()
        self._health = HealthServer(self._probes.read, port=0, secrets=())
        self.health_url = self._health.url
        file = DeskFile.read(home)
        assert file is not None
        replace(file, health_url=self.health_url).write(home)

    def close(self) -> None:
        """End what was added to the desk."""
        self._health.stop()
        self._probes.stop()
        self.ledger.close()

    # -- what it says of itself
    def health(self, path: str = "healthz") -> int:
        """The status of its health port."""
        return requests.get(f"{self.health_url}/{path}", timeout=5).status_code

    def part(self, name: str) -> str:
        """The state of one of its parts; "absent" where there is none."""
        rows = requests.get(f"{self.health_url}/readyz", timeout=5).json()["components"]
        return next((row["state"] for row in rows if row["name"] == name), "absent")

    # -- how far it is
    def seq(self) -> int:
        """Number of the replay's step."""
        state = requests.get(f"{self.direct_url}/control/state", timeout=5).json()
        return int(state["seq"])

    def go_on(self, steps: int = 400, bound_s: float = 60) -> float:
        """Wait until the replay has gone on by so many steps."""
        target = self.seq() + steps
        return within(bound_s, lambda: self.seq() >= target, f"{steps} steps on")

    def held(self, bound_s: float = 240) -> Position:
        """A position that is open."""
        found: list[Position] = []
        within(bound_s, lambda: bool(found.extend(self.ledger.open_positions()) or found), "a buy")
        return found[0]

    @contextmanager
    def standing(self) -> Iterator[Position]:
        """A covered position, in a replay that stands still for the length of the block."""
        while True:
            self.held()
            with self.gate.held():
                # What is under way in the step is still done.
                time.sleep(0.5)
                found = self.ledger.open_positions()
                if found:
                    within(60, self._is_covered, "a stop for every position")
                    yield found[0]
                    return

    def _is_covered(self) -> bool:
        sells = [o for o in self.broker.open_orders() if o.side is Side.SELL]
        return all(
            covered_qty([o for o in sells if o.symbol == p.symbol]) >= p.qty
            for p in self.broker.positions()
        )

    # -- processes
    def pid(self, actor: str) -> int:
        """Process id of an actor."""
        handle = ray.get_actor(actor, namespace=NAMESPACE)
        return int(ray.get(handle.pid.remote(), timeout=30))

    def postgres_family(self) -> list[psutil.Process]:
        """The database's processes."""
        first = psutil.Process(services.start_postgres(self.home).pid)
        return [first, *first.children(recursive=True)]

    def redis(self) -> psutil.Process:
        """The cache's process."""
        found = services.start_redis(self.home)
        assert isinstance(found, services.RedisService)
        return psutil.Process(found.pid)

    # -- what is true
    def buys(self) -> int:
        """Shares that the exchange was asked to buy and bought, or still works on."""
        done = [f for f in self.broker.executions(LONG_AGO) if f.side is Side.BUY]
        resting = [o for o in self.broker.open_orders() if o.side is Side.BUY]
        return len({f.order_id for f in done} | {o.order_id for o in resting})

    def assert_exact(self, bound_s: float = 20) -> None:
        """Every execution of the exchange is booked once, and no other."""
        sent = self.executed()
        within(bound_s, lambda: sent <= self.booked(), "every execution booked")
        booked = self.booked()
        assert booked <= self.executed()

    def executed(self) -> set[tuple[str, int, int, str]]:
        """The exchange's executions."""
        found = [
            (f.order_id, f.cum_qty, f.qty, str(f.price)) for f in self.broker.executions(LONG_AGO)
        ]
        assert len(set(found)) == len(found)
        return set(found)

    def booked(self) -> set[tuple[str, int, int, str]]:
        """The ledger's fills."""
        found = [
            (f.order_id, f.cum_qty, f.qty, str(f.price)) for f in self.ledger.fills(limit=None)
        ]
        assert len(set(found)) == len(found)
        return set(found)

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        """Rows of the store, past the desk."""
        with psycopg.connect(self.desk.database_url, autocommit=True) as connection:
            return connection.execute(sql.encode()).fetchall()

    @contextmanager
    def watched(self, bound_s: float = 5.0) -> Iterator[NakedWatch]:
        """Positions are covered at the exchange all the while."""
        watch = NakedWatch(self.broker)
        watch.start()
        try:
            yield watch
        finally:
            watch.stop()
        assert watch.looks > 0
        assert watch.longest_s <= bound_s, f"uncovered for {watch.longest_s:.1f} s"


@contextmanager
def process_desk(
    home: Path, make: type[GatedDesk] = GatedDesk, **settings: object
) -> Iterator[ProcessDesk]:
    """A desk on a replay in lockstep, without pages; everything ends with it."""
    desk = make(
        load_settings(home=home, exchange_port=0, **settings), with_pages=False, say=lambda _: None
    )
    desk.start()
    try:
        found = ProcessDesk(desk, home)
        try:
            yield found
        finally:
            found.close()
    finally:
        desk.stop()
        desk.gate.stop()


@contextmanager
def suspended(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """SIGSTOP, and SIGCONT at the end."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def is_alive(pid: int) -> bool:
    """Whether a process is there and is no zombie of its parent's."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wake(pid: int) -> None:
    """SIGCONT to a process that may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
