"""A walk-forward that is submitted to Ray's job server, listed, read and stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cluster.desk_file import DeskFile
from cluster.launch import start_ray, stop_ray
from cluster.processes import free_port

ROOT = Path(__file__).parents[2]
SEARCH = "--symbols AAPL,IBM --start 2006-01-03 --end 2009-12-31 --folds 2 --no-forecasts --json"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that looks like a running desk's: its node has a dashboard with a job server."""
    folder = tmp_path_factory.mktemp("desk")
    url = start_ray(dashboard_port=free_port())
    try:
        DeskFile(
            database_url="",
            redis_url=None,
            ray_dashboard_url=url,
            exchange_url=None,
            dashboard_url=None,
            pid=os.getpid(),
            started_at=datetime.now(UTC),
        ).write(folder)
        yield folder
    finally:
        stop_ray()


def jobs(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cluster.cli", "--home", str(home), "jobs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def submit(home: Path, job: str, folder: Path, entrypoint: str) -> None:
    from ray.job_submission import JobSubmissionClient

    desk = DeskFile.read(home)
    assert desk is not None
    JobSubmissionClient(desk.ray_dashboard_url).submit_job(
        entrypoint=f"{sys.executable} -m {entrypoint}",
        submission_id=job,
        runtime_env={
            "working_dir": str(ROOT),
            "excludes": [".git", ".venv*", "**/__pycache__"],
            "env_vars": {"GREENLIGHT_HOME": str(folder)},
        },
    )


def status_of(home: Path, job: str) -> str:
    listed: list[dict[str, Any]] = json.loads(jobs(home, "list", "--json").stdout)
    return next(str(row["status"]) for row in listed if row["job"] == job)


def await_status(home: Path, job: str, *wanted: str) -> str:
    until = time.monotonic() + 120
    while (status := status_of(home, job)) not in wanted:
        assert time.monotonic() < until, f"{job} is {status}: {jobs(home, 'logs', job).stdout}"
        time.sleep(1)
    return status


@pytest.mark.slow
def test_walkforward_when_submitted_as_a_job_then_as_the_command(
    home: Path, tmp_path: Path
) -> None:
    submit(home, "walk", tmp_path / "job", f"jobs walkforward {SEARCH}")
    assert await_status(home, "walk", "SUCCEEDED", "FAILED") == "SUCCEEDED"
    log = jobs(home, "logs", "walk").stdout
    found = json.loads(log[log.index("{") :])
    own = subprocess.run(
        [sys.executable, "-m", "cluster.cli", "walkforward", *SEARCH.split()],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "GREENLIGHT_HOME": str(tmp_path / "own")},
    )
    same = json.loads(own.stdout)
    assert found["figures"] == same["figures"]
    assert found["run_id"] == same["run_id"]
    assert Path(found["report"]).is_file()


@pytest.mark.slow
def test_job_when_stopped_then_its_state_says_so_and_another_is_not_known(
    home: Path, tmp_path: Path
) -> None:
    search = SEARCH.replace("--folds 2", "--folds 10 --grid rsi_oversold=20:45:0.05")
    submit(home, "long", tmp_path / "job", f"jobs walkforward {search}")
    await_status(home, "long", "RUNNING")
    assert jobs(home, "stop", "long").returncode == 0
    assert await_status(home, "long", "STOPPED", "SUCCEEDED", "FAILED") == "STOPPED"
    done = jobs(home, "logs", "none")
    assert done.returncode == 2
    assert done.stderr.startswith("greenlight: there is no job 'none'; there are ")
