"""Metrics for Prometheus, from what the probes know.

Before it stands `health`; after it whoever scrapes. A figure that nobody knows
has no sample: absence is never 0. Counts of the store go on over restarts;
those of an actor begin anew with it. Seconds throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from actors.measures import BOUNDS_S, Latencies, Measures
from cluster.health import Readings, StoreFacts, components
from cluster.supervision import SupervisorStatus
from greenlight.domain.health import ComponentState
from greenlight.domain.market import Unavailable

_LATENCIES: Final = {
    "signal_to_order": "From a signal's arrival at the risk gate to the broker's acceptance",
    "tick_to_exit": "From taking a tick off the stream to the monitor's word that it leaves, "
    "its order sent",
}


class DeskCollector(Collector):
    """All metrics of a desk.

    Parameters
    ----------
    read : Callable[[], Readings]
        What the probes know now.
    """

    def __init__(self, read: Callable[[], Readings]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        seen = self._read()
        yield from _components(seen)
        if not isinstance(seen.store.value, Unavailable) and seen.store.problem is None:
            yield from _store(seen.store.value)
        if not isinstance(seen.supervisor.value, Unavailable):
            yield from _supervisor(seen.supervisor.value)
        known = {
            name: reading.value
            for name, reading in seen.measures.items()
            if not isinstance(reading.value, Unavailable) and reading.problem is None
        }
        yield from _measures(known)


def scrape(read: Callable[[], Readings]) -> bytes:
    """The metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(DeskCollector(read))
    return generate_latest(registry)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"greenlight_{name}", text, value=value)


def _components(seen: Readings) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        "greenlight_component_state", "1 for the state that a part is in", labels=["name", "state"]
    )
    ages = GaugeMetricFamily(
        "greenlight_component_age_seconds", "Since a part gave proof of life", labels=["name"]
    )
    for component in components(seen):
        for state in ComponentState:
            states.add_metric([component.name, state], float(component.state is state))
        if not isinstance(component.age_s, Unavailable):
            ages.add_metric([component.name], component.age_s)
    yield states
    yield ages


def _store(facts: StoreFacts) -> Iterator[Metric]:
    def counts(of: str) -> Iterable[tuple[str, str, int]]:
        return [(t.label, t.detail, t.count) for t in facts.tallies if t.of == of]

    orders = GaugeMetricFamily(
        "greenlight_orders", "Orders by role and status, legs included", labels=["role", "status"]
    )
    decisions = CounterMetricFamily(
        "greenlight_decisions", "Decisions by kind and verdict", labels=["kind", "verdict"]
    )
    fills = CounterMetricFamily("greenlight_fills", "Fills booked", labels=["side"])
    trades = CounterMetricFamily("greenlight_trades", "Trades closed", labels=["exit_reason"])
    for role, status, count in counts("orders"):
        orders.add_metric([role, status], count)
    for kind, verdict, count in counts("decisions"):
        decisions.add_metric([kind, verdict], count)
    for side, _, count in counts("fills"):
        fills.add_metric([side], count)
    for reason, _, count in counts("trades"):
        trades.add_metric([reason], count)
    rejected = CounterMetricFamily(
        "greenlight_rejections",
        "Entries refused by the risk chain, orders by the broker",
        labels=["by"],
    )
    by_risk = [n for k, v, n in counts("decisions") if (k, v) == ("entry", "refused")]
    by_broker = [n for _, status, n in counts("orders") if status == "refused"]
    # The store answered: none of them is a count, and not an absence.
    rejected.add_metric(["risk"], sum(by_risk))
    rejected.add_metric(["broker"], sum(by_broker))
    yield from (orders, decisions, fills, trades, rejected)
    yield _gauge("open_positions", "Positions held", facts.open_positions)
    yield _gauge("naked_positions", "Positions not wholly covered now", len(facts.naked))
    yield _gauge("naked_seconds", "Uncovered time of positions in 21 days", facts.naked_s)
    yield _gauge("naked_longest_seconds", "Longest gap of coverage", facts.longest_naked_s)
    yield _gauge("halts_in_force", "Breakers that hold entries back", len(facts.halts))
    yield _gauge("reconciled", "1: they agreed at the last look", float(facts.is_reconciled))
    if not isinstance(facts.drift, Unavailable):
        yield _gauge("reconcile_drift", "Differences of ledger and broker", facts.drift)


def _supervisor(status: SupervisorStatus) -> Iterator[Metric]:
    replaced = CounterMetricFamily(
        "greenlight_actor_replacements", "Silent actors replaced", labels=["actor"]
    )
    for name in status.desired:
        replaced.add_metric([name], status.replaced.get(name, 0))
    yield replaced


def _measures(known: dict[str, Measures]) -> Iterator[Metric]:
    queues = GaugeMetricFamily("greenlight_queue_depth", "Waiting in a queue", labels=["queue"])
    faults = CounterMetricFamily(
        "greenlight_faults", "Refused input and failed steps", labels=["actor", "reason"]
    )
    for actor, measures in sorted(known.items()):
        for name, depth in measures.queues.items():
            queues.add_metric([name], depth)
        for reason, count in measures.faults.items():
            faults.add_metric([actor, reason], count)
        for name, latencies in measures.latencies.items():
            yield _histogram(name, latencies)
    yield queues
    yield faults


def _histogram(name: str, latencies: Latencies) -> Metric:
    bounds = [*(str(bound) for bound in BOUNDS_S), "+Inf"]
    buckets = list(zip(bounds, accumulate(latencies.counts), strict=True))
    return HistogramMetricFamily(
        f"greenlight_{name}_seconds", _LATENCIES[name], buckets=buckets, sum_value=latencies.sum_s
    )
