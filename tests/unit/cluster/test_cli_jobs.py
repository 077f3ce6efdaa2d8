"""Jobs as Ray's job server tells of them, and the one line where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cluster import cli_jobs
from cluster.processes import StartError

APP = typer.Typer()
cli_jobs.register(APP)
APP.command(name="other")(lambda: None)


class Status(Enum):
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"


@dataclass(frozen=True)
class Job:
    submission_id: str | None
    status: Status
    start_time: int | None
    end_time: int | None
    entrypoint: str


class Server:
    def list_jobs(self) -> list[Job]:
        return [
            Job("raysubmit_1", Status.SUCCEEDED, 1_381_152_600_000, 1_381_152_660_000, "a"),
            Job(None, Status.RUNNING, 1_381_152_700_000, None, "a driver, not submitted"),
            Job("raysubmit_2", Status.RUNNING, 1_381_152_800_000, None, "b"),
        ]


def test_jobs_when_listed_then_submitted_ones_newest_first() -> None:
    assert cli_jobs.job_rows(Server()) == [
        {
            "job": "raysubmit_2",
            "status": "RUNNING",
            "started_at": "2013-10-07T13:33:20+00:00",
            "ended_at": None,
            "command": "b",
        },
        {
            "job": "raysubmit_1",
            "status": "SUCCEEDED",
            "started_at": "2013-10-07T13:30:00+00:00",
            "ended_at": "2013-10-07T13:31:00+00:00",
            "command": "a",
        },
    ]


@pytest.mark.parametrize("arguments", [("list",), ("logs", "raysubmit_1"), ("stop", "raysubmit_1")])
def test_jobs_when_no_desk_runs_then_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    result = CliRunner().invoke(APP, ["jobs", *arguments])
    assert isinstance(result.exception, StartError)
    assert str(result.exception).startswith("no desk is running here")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    result = CliRunner().invoke(APP, ["jobs", *arguments])
    assert isinstance(result.exception, StartError)
    assert "does not answer at http://127.0.0.1:9" in str(result.exception)
