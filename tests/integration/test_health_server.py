"""The health port over a real socket."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from cluster.health import Readings
from cluster.health_client import parts as parts_of
from cluster.health_server import HealthServer
from greenlight.domain.market import Unavailable
from tests.health_cases import HEALTHY, readings, silent


@contextmanager
def serving(seen: Readings) -> Iterator[str]:
    server = HealthServer(lambda: seen, port=0, secrets=["hunter2"])
    try:
        yield server.url
    finally:
        server.stop()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def parts(text: str) -> dict[str, Any]:
    return {row["name"]: row for row in json.loads(text)["components"]}


def test_get_when_all_is_well_then_200_with_every_part() -> None:
    with serving(HEALTHY) as url:
        assert url.startswith("http://127.0.0.1:")
        for path in ("healthz", "readyz", "readyz?verbose"):
            status, text = get(f"{url}/{path}")
            assert (status, json.loads(text)["is_well"]) == (200, True)
        assert parts(text)["store"] == {
            "name": "store",
            "state": "up",
            "age_s": 1.0,
            "reason": "answers",
        }


def test_get_when_the_store_is_away_then_not_ready_yet_alive_and_no_secret_told() -> None:
    seen = readings(store=silent("StoreUnavailable: postgresql://u:hunter2@h"))
    with serving(seen) as url:
        assert get(f"{url}/healthz")[0] == 200
        status, text = get(f"{url}/readyz")
    assert status == 503
    assert parts(text)["store"] == {
        "name": "store",
        "state": "down",
        "age_s": None,
        "reason": "StoreUnavailable: postgresql://u:***@h",
    }


def test_get_when_the_supervisor_is_silent_then_neither_alive_nor_ready() -> None:
    with serving(readings(supervisor=silent("ActorDiedError"))) as url:
        assert [get(f"{url}/{path}")[0] for path in ("healthz", "readyz")] == [503, 503]


def test_get_when_metrics_are_scraped_then_the_parser_reads_them() -> None:
    with serving(HEALTHY) as url:
        status, text = get(f"{url}/metrics")
    assert status == 200
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"greenlight_orders", "greenlight_tick_to_exit_seconds"} <= names


def test_parts_when_asked_of_a_desk_then_its_own_words() -> None:
    with serving(readings(broker=silent("BrokerUnavailable: 503"))) as url:
        found = parts_of(url)
    assert not isinstance(found, Unavailable)
    assert [(p.name, p.state) for p in found if p.state != "up"] == [("broker", "down")]
    assert isinstance(parts_of(url), Unavailable)
    assert isinstance(parts_of(None), Unavailable)


def test_get_when_another_path_then_404() -> None:
    with serving(HEALTHY) as url:
        assert get(f"{url}/secrets")[0] == 404
