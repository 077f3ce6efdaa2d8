"""The commands that look at Ray's jobs: what was submitted, its log, and its end.

Before it stands Ray's own job server, which the desk's node runs beside its dashboard;
`cluster.cli` puts them into the `greenlight` command.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cluster import cli_facts
from cluster.desk_file import DeskFile
from cluster.processes import StartError
from greenlight.settings import load_settings

console = Console()
jobs_app = typer.Typer(
    help="Jobs on the desk's Ray, as 'ray job submit' starts them.", no_args_is_help=True
)
JobArgument = Annotated[str, typer.Argument(help="The job's id, as 'jobs list' shows it.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the `greenlight` command."""
    app.add_typer(jobs_app, name="jobs")


def job_rows(client: Any) -> list[dict[str, object]]:
    """Submitted jobs, newest first; instants are UTC in ISO 8601, None where not reached."""
    found = [job for job in client.list_jobs() if job.submission_id]
    return [
        {
            "job": job.submission_id,
            "status": str(job.status.value),
            "started_at": _instant(job.start_time),
            "ended_at": _instant(job.end_time),
            "command": job.entrypoint,
        }
        for job in sorted(found, key=lambda job: job.start_time or 0, reverse=True)
    ]


@jobs_app.command("list")
def list_jobs(as_json: cli_facts.JsonFlag = False) -> None:
    """List the jobs that were submitted to the desk's Ray, newest first."""
    rows = job_rows(_client())
    if as_json:
        typer.echo(json.dumps(rows))
        return
    if not rows:
        console.print("no job was submitted")
        return
    table = Table(*rows[0], box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("–" if value is None else str(value) for value in row.values()))
    console.print(table)


@jobs_app.command()
def logs(job: JobArgument) -> None:
    """Print what a job has written so far."""
    client = _client()
    _known(client, job)
    typer.echo(client.get_job_logs(job), nl=False)


@jobs_app.command()
def stop(job: JobArgument) -> None:
    """End a job; a walk-forward keeps its parts, and the same command goes on."""
    client = _client()
    _known(client, job)
    is_stopped = client.stop_job(job)
    console.print(f"{job}: {'asked to stop' if is_stopped else 'was not running'}")


def _client() -> Any:
    # Imported here because it takes a second.
    from ray.job_submission import JobSubmissionClient

    desk = DeskFile.read(load_settings().home)
    address = os.environ.get("RAY_API_SERVER_ADDRESS")
    if address is None and desk is not None and desk.is_alive():
        address = desk.ray_dashboard_url
    if address is None:
        raise StartError(
            "no desk is running here; start one with 'greenlight up', or name a cluster's "
            "dashboard in RAY_API_SERVER_ADDRESS"
        )
    try:
        return JobSubmissionClient(address)
    except (ConnectionError, RuntimeError) as error:
        told = " ".join(str(error).split())
        raise StartError(f"Ray's job server does not answer at {address}: {told}") from error


def _known(client: Any, job: str) -> None:
    there = [row["job"] for row in job_rows(client)]
    if job not in there:
        told = ", ".join(map(str, there)) or "none"
        raise StartError(f"there is no job {job!r}; there are {told}")


def _instant(at_ms: int | None) -> str | None:
    return None if not at_ms else datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()
