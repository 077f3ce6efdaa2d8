"""Processes die, hang and come back: the cache, the database, monitors, the broker, a desk.

All rows run on one desk, whose replay waits for it; the last one ends it. A fault
strikes while a covered position stands: a fill whose stop is still on its way has none
before what broke is back.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest
import ray

from actors.position_monitor import monitor_name
from cluster import services
from cluster.launch import CORE
from greenlight.adapters.redis_cache import RedisCache
from tests.fault_table import Recovery
from tests.faults.process_desk import (
    ProcessDesk,
    is_alive,
    process_desk,
    suspended,
    wake,
    within,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessDesk]:
    home = tmp_path_factory.mktemp("processes") / "home"
    # On minute bars a position stands nearly always.
    window = {"start": "2012-01-03", "end": "2012-12-31", "timeframe": "1Min"}
    with process_desk(home, store_deadline_s=2, **window) as found:
        within(60, lambda: found.health("readyz") == 200, "ready")
        yield found


@pytest.mark.fault("Redis gone or failed over", bound_s=5)
def test_cache_when_killed_then_trading_goes_on_and_the_display_comes_back(
    rig: ProcessDesk, recovery: Recovery
) -> None:
    held = rig.held()
    assert rig.config.redis_url is not None
    cache = RedisCache(rig.config.redis_url)
    within(10, lambda: bool(cache.quotes([held.symbol])), "a quote to show")
    with rig.watched():
        rig.redis().kill()
        within(15, lambda: rig.part("cache") == "degraded", "the cache is seen to be away")
        rig.go_on()
        assert rig.health("healthz") == 200
        # A monitor that is just starting is not ready either.
        within(10, lambda: rig.health("readyz") == 200, "ready without the cache")
        assert cache.quotes([held.symbol]) == {}
        rig.redis()
        recovery.injected()
        within(10, lambda: bool(cache.quotes([held.symbol])), "the display is back")
        recovery.done()
        within(15, lambda: rig.part("cache") == "up", "the cache is seen to be back")
    rig.assert_exact()
    cache.close()


@pytest.mark.fault("outage is not order failed", bound_s=30)
def test_broker_when_its_port_refuses_then_the_desk_waits_and_goes_on(
    rig: ProcessDesk, recovery: Recovery
) -> None:
    with rig.standing(), rig.watched():
        rig.gate.shut()
        rig.gate.release()
        within(30, lambda: rig.part("broker") == "down", "the broker is seen to be away")
        assert (rig.health("healthz"), rig.health("readyz")) == (200, 503)
        before = rig.seq()
        time.sleep(3)
        assert rig.seq() == before, "nothing can be acknowledged"
        rig.gate.open()
        recovery.injected()
        rig.go_on(1)
        recovery.done()
        within(30, lambda: rig.health("readyz") == 200, "ready again")
    rig.go_on()
    rig.assert_exact()


@pytest.mark.fault("database down", bound_s=15)
def test_database_when_it_hangs_then_healthz_answers_and_nothing_is_lost(
    rig: ProcessDesk, recovery: Recovery
) -> None:
    with rig.standing(), rig.watched():
        with suspended(rig.postgres_family()):
            rig.gate.release()
            within(15, lambda: rig.part("store") == "down", "the store is seen to hang")
            buys, until = rig.buys(), time.monotonic() + 10
            while time.monotonic() < until:
                assert (rig.health("healthz"), rig.health("readyz")) == (200, 503)
                time.sleep(0.5)
            assert rig.buys() == buys, "an entry without a record"
        recovery.injected()
        rig.go_on(1)
        recovery.done()
        within(30, lambda: rig.health("readyz") == 200, "ready again")
    rig.go_on()
    rig.assert_exact()


@pytest.mark.fault("database down", bound_s=15)
def test_database_when_stopped_and_started_then_nothing_is_lost(
    rig: ProcessDesk, recovery: Recovery
) -> None:
    with rig.standing(), rig.watched():
        services.start_postgres(rig.home).stop()
        rig.gate.release()
        within(15, lambda: rig.part("store") == "down", "the store is seen to be away")
        buys = rig.buys()
        time.sleep(5)
        assert (rig.health("healthz"), rig.health("readyz")) == (200, 503)
        assert rig.buys() == buys, "an entry without a record"
        services.start_postgres(rig.home)
        recovery.injected()
        rig.go_on(1)
        recovery.done()
        within(30, lambda: rig.health("readyz") == 200, "ready again")
    rig.go_on()
    rig.assert_exact()


@pytest.mark.fault("zombie monitor; two desks", bound_s=10)
def test_monitor_when_its_process_hangs_then_another_takes_over_and_the_old_one_ends(
    rig: ProcessDesk, recovery: Recovery
) -> None:
    with rig.standing() as held, rig.watched():
        name = monitor_name(held.symbol)
        within(30, lambda: rig.part(name) == "up", "the monitor answers")
        epoch, pid = rig.ledger.epoch(name), rig.pid(name)
        os.kill(pid, signal.SIGSTOP)
        recovery.injected()
        within(30, lambda: rig.ledger.epoch(name) > epoch, "a successor")
        recovery.done()
        wake(pid)
        within(10, lambda: not is_alive(pid), "the old one ends")
        assert rig.pid(name) != pid
    rig.go_on()
    rig.assert_exact()


@pytest.mark.fault("zombie monitor; two desks", bound_s=10)
def test_monitor_when_a_zombie_awakes_then_its_epoch_is_refused(
    rig: ProcessDesk, recovery: Recovery
) -> None:
    with rig.standing() as held, rig.watched():
        _outlive(rig, held.symbol, recovery)
    rig.go_on()
    rig.assert_exact()


def _outlive(rig: ProcessDesk, symbol: str, recovery: Recovery) -> None:
    name = monitor_name(symbol)
    zombie = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.zombie_gateway", symbol],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert zombie.stdin is not None
    assert zombie.stdout is not None
    zombie.stdin.write(pickle.dumps(rig.config))
    zombie.stdin.close()
    epoch = int(zombie.stdout.readline())
    assert epoch == rig.ledger.epoch(name)
    within(10, lambda: psutil.Process(zombie.pid).status() == psutil.STATUS_STOPPED, "it sleeps")
    recovery.injected()
    rig.kill(name)
    within(30, lambda: rig.ledger.epoch(name) > epoch, "a successor")
    recovery.done()
    os.kill(zombie.pid, signal.SIGCONT)
    result = zombie.stdout.readline().decode().strip()
    zombie.wait(10)
    assert result == '{"outcome": "Denied", "is_fenced": true, "cancelled": false}'
    sent = f"SELECT count(*) FROM orders WHERE holder = '{name}' AND epoch = {epoch}"
    assert rig.ask(sent) == [(0,)]


@pytest.mark.parametrize("kind", ["monitor", "cache", "database", "stream"])
def test_drill_when_the_desk_is_well_then_passed_and_listed(rig: ProcessDesk, kind: str) -> None:
    within(60, lambda: rig.health("readyz") == 200, "ready")
    # Only a monitor needs a position, and months of the replay may pass without one.
    with rig.standing() if kind == "monitor" else rig.gate.held():
        done = _greenlight(rig, "drill", kind, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["kind"], found["is_passed"], found["account_kind"]) == (kind, True, "replay")
    listed = {row["kind"]: row for row in json.loads(_greenlight(rig, "drills", "--json").stdout)}
    assert listed[kind]["state"] == "passed"
    assert listed[kind]["last"] == found
    assert listed["model"]["state"] == "missing"
    rig.go_on()
    rig.assert_exact()


def test_drill_when_no_model_is_configured_then_says_so(rig: ProcessDesk) -> None:
    done = _greenlight(rig, "drill", "model")
    assert (done.returncode, done.stderr.strip()) == (
        2,
        "greenlight: no model is configured; there is nothing to take away",
    )


def _greenlight(rig: ProcessDesk, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cluster.cli", "--home", str(rig.home), *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.fault("zombie monitor; two desks", bound_s=10)
def test_desk_when_a_second_takes_office_then_the_first_ends_and_sends_nothing(
    rig: ProcessDesk, recovery: Recovery
) -> None:
    with rig.gate.held(), rig.watched():
        # What every desk does first when it starts.
        rig.ledger.take_desk()
        rig.gate.release()
        recovery.injected()
        sent = rig.ask("SELECT count(*) FROM orders")
        within(30, lambda: not _living(rig), "the first desk's actors end")
        recovery.done()
        time.sleep(2)
        assert rig.ask("SELECT count(*) FROM orders") == sent
        assert not _living(rig)


def _living(rig: ProcessDesk) -> list[str]:
    found = [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]
    return [name for name in found if name in CORE or name.startswith("position-monitor")]
