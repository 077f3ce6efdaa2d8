"""`greenlight up` as its user: pages, addresses, Ctrl-C, a taken port."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BIN = Path(sys.executable).parent / "greenlight"


def _environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "GREENLIGHT_HOME": str(home),
        "GREENLIGHT_DASHBOARD_PORT": "0",
        "GREENLIGHT_RAY_DASHBOARD_PORT": "0",
        "GREENLIGHT_EXCHANGE_PORT": "0",
        "GREENLIGHT_HEALTH_PORT": "0",
        "GREENLIGHT_START": "2008-01-14",
        "GREENLIGHT_END": "2008-01-31",
        # Ray's own children carry this, so that a survivor is recognised.
        "GREENLIGHT_TEST_MARK": str(home),
    }


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("GREENLIGHT_TEST_MARK") == mark:
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_up_when_interrupted_then_nothing_is_left_and_the_next_start_goes_on(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    environment = _environment(home)
    desk = subprocess.Popen(
        [str(BIN), "up"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        file = home / "desk.json"
        until = time.monotonic() + 120
        while not file.exists():
            assert desk.poll() is None, desk.stdout.read() if desk.stdout else ""
            assert time.monotonic() < until
            time.sleep(0.2)
        addresses = json.loads(file.read_text())
        for key in ("dashboard_url", "ray_dashboard_url"):
            with urllib.request.urlopen(addresses[key], timeout=20) as answer:
                assert answer.status == 200
        for page in ("healthz", "readyz", "metrics"):
            _wait_for_200(f"{addresses['health_url']}/{page}")
        children = psutil.Process(desk.pid).children(recursive=True)
        public = [
            (child.name(), connection.laddr)
            for child in children
            if child.is_running()
            for connection in child.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
            and connection.laddr.ip.removeprefix("::ffff:") not in {"127.0.0.1", "::1"}
        ]
        assert public == [], "a server listens beyond this machine"
        trades = _wait_for_trade(environment)
        assert trades >= 1
        again = subprocess.run(
            [str(BIN), "up"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert again.returncode == 2
        assert "a desk is running in" in again.stderr
        assert "greenlight down" in again.stderr
    finally:
        os.killpg(desk.pid, signal.SIGINT)
        output, _ = desk.communicate(timeout=60)
    assert desk.returncode == 0, output
    for address in ("dashboard_url", "ray_dashboard_url", "exchange_url", "health_url"):
        assert addresses[address] in output
    assert "nothing is left running" in output
    time.sleep(1)
    assert [p.name() for p in _marked(str(home))] == []
    assert not file.exists()

    facts = subprocess.run(
        [str(BIN), "trades", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert len(json.loads(facts.stdout)) >= trades
    assert [p.name() for p in _marked(str(home))] == []


def _wait_for_200(url: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                assert answer.status == 200
                return
        except urllib.error.HTTPError:
            time.sleep(0.5)
    pytest.fail(f"{url} was not well within 60 s")


def _wait_for_trade(environment: dict[str, str]) -> int:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        done = subprocess.run(
            [str(BIN), "trades", "--json"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode == 0 and (found := json.loads(done.stdout)):
            return len(found)
        time.sleep(1)
    return 0


def test_up_when_a_port_is_taken_then_one_line_names_the_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [str(BIN), "up"],
            env=_environment(tmp_path / "home") | {"GREENLIGHT_DASHBOARD_PORT": str(port)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert f"port {port} for the dashboard is taken" in done.stderr
    assert "GREENLIGHT_DASHBOARD_PORT" in done.stderr
    assert done.stderr.count("\n") == 1
