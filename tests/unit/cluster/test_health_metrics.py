"""A scrape, read by Prometheus' own parser."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from cluster.health import Readings
from cluster.health_metrics import scrape
from cluster.probes import Reading
from greenlight.domain.market import Unavailable
from tests.health_cases import FACTS, HEALTHY, known, readings, silent

Samples = dict[tuple[str, tuple[str, ...]], float]


def scraped(seen: Readings) -> Samples:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(scrape(lambda: seen).decode())
        for sample in family.samples
    }


def test_scrape_when_all_is_well_then_the_figures_of_every_source() -> None:
    found = scraped(HEALTHY)
    assert found["greenlight_orders", ("entry", "refused")] == 1
    assert found["greenlight_decisions_total", ("entry", "taken")] == 2
    assert found["greenlight_fills_total", ("buy",)] == 4
    assert found["greenlight_trades_total", ("stop",)] == 1
    assert found["greenlight_rejections_total", ("risk",)] == 3
    assert found["greenlight_rejections_total", ("broker",)] == 1
    assert found["greenlight_naked_seconds", ()] == 1.5
    assert found["greenlight_naked_positions", ()] == 1
    assert found["greenlight_halts_in_force", ()] == 1
    assert found["greenlight_reconciled", ()] == 1
    assert found["greenlight_actor_replacements_total", ("recorder",)] == 2
    assert found["greenlight_actor_replacements_total", ("risk-gate",)] == 0
    assert found["greenlight_queue_depth", ("events",)] == 7
    assert found["greenlight_faults_total", ("market-data", "crossed")] == 5
    assert found["greenlight_component_state", ("store", "up")] == 1
    assert found["greenlight_component_state", ("store", "down")] == 0
    assert found["greenlight_component_age_seconds", ("store",)] == 1.0


def test_scrape_when_a_latency_was_measured_then_buckets_are_cumulated() -> None:
    found = scraped(HEALTHY)
    name = "greenlight_tick_to_exit_seconds"
    assert found[f"{name}_bucket", ("0.001",)] == 0
    assert found[f"{name}_bucket", ("0.0025",)] == 1
    assert found[f"{name}_bucket", ("5.0",)] == 1
    assert found[f"{name}_bucket", ("+Inf",)] == found[f"{name}_count", ()] == 2
    assert found[f"{name}_sum", ()] == 30.002


def test_scrape_when_a_source_is_unknown_then_its_figures_are_absent_and_not_0() -> None:
    away = Reading(value=FACTS, age_s=5.0, problem="StoreUnavailable: away")
    seen = readings(store=away, supervisor=silent(), measures={"market-data": silent()}, cache=None)
    found = scraped(seen)
    assert {name for name, _ in found} == {
        *("greenlight_component_state", "greenlight_component_age_seconds"),
    }
    assert found["greenlight_component_state", ("store", "down")] == 1
    assert ("greenlight_component_age_seconds", ("cache",)) not in found
    assert ("greenlight_component_age_seconds", ("recorder",)) not in found


def test_scrape_when_the_broker_did_not_tell_then_not_reconciled_and_no_drift() -> None:
    unknown = replace(FACTS, is_reconciled=False, drift=Unavailable("the broker does not tell"))
    found = scraped(readings(store=known(unknown)))
    assert found["greenlight_reconciled", ()] == 0
    assert ("greenlight_reconcile_drift", ()) not in found
    assert scraped(HEALTHY)["greenlight_reconcile_drift", ()] == 0
