"""Walk-forward as a person runs it: on workers, stopped half-way, and as a job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from cluster.services import start_postgres

WINDOW = ("--symbols", "AAPL,IBM,MSFT", "--start", "2004-01-02", "--end", "2009-12-31")
SEARCH = (*WINDOW, "--grid", "rsi_oversold=25:40:5", "--folds", "4", "--no-forecasts", "--json")


def command(home: Path, *arguments: str, module: str = "cluster.cli") -> list[str]:
    of_home = ("--home", str(home)) if module == "cluster.cli" else ()
    return [sys.executable, "-m", module, *of_home, *arguments]


def environment(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GREENLIGHT_")}
    return {**kept, "GREENLIGHT_HOME": str(home)}


def run(home: Path, *arguments: str, module: str = "cluster.cli") -> dict[str, Any]:
    done = subprocess.run(
        command(home, *arguments, module=module),
        capture_output=True,
        text=True,
        check=False,
        env=environment(home),
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def rows(home: Path, sql: str) -> list[tuple[Any, ...]]:
    postgres = start_postgres(home)
    try:
        with psycopg.connect(postgres.url) as connection:
            return connection.execute(sql.encode()).fetchall()
    finally:
        if not postgres.is_adopted:
            postgres.stop()


@pytest.mark.slow
def test_walkforward_when_run_then_in_the_store_the_ledger_and_a_report(tmp_path: Path) -> None:
    first = run(tmp_path, "walkforward", *SEARCH)
    assert first["sets"] == 4
    assert len(first["chosen"]) == 4
    assert first["figures"]["trials"] == 4
    assert "Plotly.newPlot" in Path(first["report"]).read_text()
    ids = rows(tmp_path, "SELECT run_id, figures->>'sharpe_ann' FROM walkforwards")
    assert ids == [(first["run_id"], str(first["figures"]["sharpe_ann"]))]
    assert rows(tmp_path, "SELECT count(*) FROM walkforward_parts") == [(0,)]
    again = run(tmp_path, "walkforward", *SEARCH, "--workers", "1", module="jobs")
    assert again["figures"] == first["figures"]
    assert rows(tmp_path, "SELECT kind, count(*) FROM trials GROUP BY kind") == [("walkforward", 4)]


@pytest.mark.slow
def test_walkforward_when_a_worker_is_killed_and_the_job_stopped_then_the_same_result(
    tmp_path: Path,
) -> None:
    # Enough sets that there is time to get in between.
    search = (*WINDOW, "--grid", "rsi_oversold=20:45:0.25", "--grid", "hold_sessions=1,2,3")
    search = (*search, "--folds", "6", "--no-forecasts", "--json", "--workers", "2")
    whole = run(tmp_path / "whole", "walkforward", *search)
    home = tmp_path / "cut"
    with subprocess.Popen(
        command(home, "walkforward", *search),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(home),
    ) as process:
        until = time.monotonic() + 120
        worker = None
        while worker is None and time.monotonic() < until:
            children = psutil.Process(process.pid).children(recursive=True)
            worker = next((c for c in children if "ray::_call" in _name(c)), None)
            time.sleep(0.05)
        assert worker is not None, "no worker was seen at work"
        worker.kill()
        parts = "SELECT count(*) FROM walkforward_parts"
        while rows(home, parts) == [(0,)] and time.monotonic() < until:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        told = process.communicate(timeout=60)
    assert process.returncode == 130, told[1]
    kept = rows(home, "SELECT count(*) FROM walkforward_parts WHERE part >= 0")[0][0]
    assert f"{kept} of 186 parts are kept, the same command goes on from there" in told[1]
    assert 0 < kept < 186
    assert rows(home, "SELECT count(*) FROM walkforwards") == [(0,)]
    assert rows(home, "SELECT count(*) FROM trials") == [(0,)]
    found = run(home, "walkforward", *search)
    assert found["figures"] == whole["figures"]
    assert found["chosen"] == whole["chosen"]


def _name(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_walkforward_when_the_store_is_away_then_one_line_and_exit_2(tmp_path: Path) -> None:
    away = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}
    done = subprocess.run(
        command(tmp_path, "walkforward", *SEARCH),
        capture_output=True,
        text=True,
        check=False,
        env={**environment(tmp_path), **away},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("greenlight: the store does not answer")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
