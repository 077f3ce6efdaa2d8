"""The command that prints a report, the same that Telegram and the page show.

Before it stands `jobs.reports`; `cluster.cli` puts it into the `greenlight` command.
"""

from __future__ import annotations

import json
from dataclasses import asdict, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cluster import cli_facts
from greenlight.domain.audit import instant_text
from greenlight.domain.market import Unavailable
from greenlight.domain.message_text import plain, report_text
from greenlight.domain.reports import Period
from greenlight.settings import load_settings
from jobs.readiness import present
from jobs.reports import chart_of, make_report

console = Console()


def register(app: typer.Typer) -> None:
    """Add the command to the `greenlight` command."""
    app.command()(report)


def report(
    period: Annotated[Period, typer.Argument(help="How long it looks back.")],
    day: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="A day inside; none: the last closed session's."),
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Write the chart to this file too.")] = None,
    as_json: cli_facts.JsonFlag = False,
) -> None:
    """Print the report of a day, its week or its month.

    Gains are of closed trades after costs; returns, drawdown and Sharpe ratio of
    marked equity, without what you moved in or out. Exit code 1 if no desk has run.
    """
    with cli_facts.open_store(load_settings()) as store:
        now = present(store, datetime.now(UTC))
        found = make_report(store, period, now, day=None if day is None else day.date())
        if isinstance(found, Unavailable):
            console.print(found.reason)
            raise typer.Exit(1)
        if png is not None:
            from greenlight.adapters.charts import draw

            png.write_bytes(draw(found, chart_of(store, found)))
    if as_json:
        typer.echo(json.dumps(as_plain(asdict(found)), indent=2))
    else:
        console.print(plain(report_text(found)), highlight=False, soft_wrap=True, markup=False)


def as_plain(value: Any) -> Any:
    """JSON values: times UTC ISO text, money plain numbers, what is unavailable null and why."""
    if isinstance(value, dict):
        if set(value) == {"reason"}:
            return {"value": None, "reason": value["reason"]}
        return {str(key): as_plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(part) for part in value]
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return as_plain(asdict(value)) if is_dataclass(value) and not isinstance(value, type) else value
