"""The commands of drills: take something away from the running desk, and list what came of it.

Before it stands `cluster.drills`; `cluster.cli` puts them into the `greenlight` command.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cluster import cli_facts
from cluster.cli_reconcile import connect
from cluster.desk_file import DeskFile
from cluster.processes import StartError
from greenlight.domain.audit import instant_text
from greenlight.domain.drills import (
    PAPER,
    Drill,
    DrillKind,
    DrillStanding,
    DrillState,
    standings,
)
from greenlight.domain.market import EASTERN, Unavailable
from greenlight.ports import Run
from greenlight.settings import load_settings

FAILED = 1
"""Exit code of a drill that was not passed."""
_COLOURS = {
    DrillState.PASSED: "green",
    DrillState.FAILED: "red",
    DrillState.STALE: "magenta",
    DrillState.MISSING: "yellow",
}
_NEAR_S, _FAR_S = 0.2, 2.0

console = Console()


def register(app: typer.Typer) -> None:
    """Add the commands to the `greenlight` command."""
    app.command()(drill)
    app.command()(drills)


def drill(
    name: Annotated[DrillKind, typer.Argument(help="What is taken away.")],
    as_json: cli_facts.JsonFlag = False,
) -> None:
    """Take something away from the running paper desk, and measure how it recovers.

    monitor and stream end an actor's process, cache kills the desk's own Redis,
    database makes its own PostgreSQL hang, model its own Ollama server. Exit code 0
    if the desk recovered in time with every position covered at the broker, 1 if not.
    """
    # Ray takes long to load, and the other commands do without it.
    from cluster.drills import NakedWatch, fault_of, measure
    from cluster.launch import joined_ray

    settings = load_settings()
    desk = DeskFile.read(settings.home)
    if desk is None or not desk.is_alive():
        raise StartError(f"no desk is running in {settings.home}; start one with 'greenlight up'")
    with cli_facts.open_store(settings) as store, ExitStack() as stack:
        account_kind = require_paper(store.latest_run())
        held = [position.symbol for position in store.open_positions()]
        if name in {DrillKind.MONITOR, DrillKind.STREAM}:
            stack.enter_context(joined_ray(desk.ray_address or "auto"))
        fault = fault_of(name, desk, settings.home, held)
        broker, _ = connect(settings, desk.exchange_url)
        # Alpaca allows 200 questions a minute, and the desk needs most of them.
        period_s = _FAR_S if desk.exchange_url is None else _NEAR_S
        if not as_json:
            console.print(f"[dim]greenlight:[/dim] {fault.detail}")
        found = measure(
            name,
            fault,
            account_kind=account_kind,
            naked=NakedWatch(broker, period_s=period_s),
            now=lambda: datetime.now(UTC),
        )
        store.record_drill(found)
    if as_json:
        typer.echo(json.dumps(_row(found), indent=2))
    else:
        said = "[green]passed[/green]" if found.is_passed else "[red]not passed[/red]"
        console.print(
            f"{said}: recovered after {_seconds(found.recovered_s)} "
            f"(at most {found.bound_s:g} s), uncovered for {_seconds(found.naked_s)}"
        )
    if not found.is_passed:
        raise typer.Exit(FAILED)


def drills(as_json: cli_facts.JsonFlag = False) -> None:
    """List the last drill of each kind: passed, failed, stale after 30 days, or missing."""
    with cli_facts.open_store(load_settings()) as store:
        found = standings(store.drills(limit=None), datetime.now(UTC))
    if as_json:
        rows = [
            {"kind": s.kind, "state": s.state, "last": None if s.last is None else _row(s.last)}
            for s in found
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("drill", "state", "when", "recovered", "at most", "uncovered", "what"):
        table.add_column(heading)
    for standing in found:
        table.add_row(*_cells(standing))
    console.print(table)


def require_paper(run: Run | None) -> str:
    """The kind of account of the running desk.

    Raises
    ------
    StartError
        It does not trade on paper, or nobody knows.
    """
    if run is None or run.account_kind not in PAPER:
        kind = "nobody knows on what" if run is None else run.account_kind
        raise StartError(f"a drill runs on paper alone, and this desk trades {kind}")
    return run.account_kind


def _row(found: Drill) -> dict[str, object]:
    return {
        "kind": found.kind,
        "at": instant_text(found.at),
        "account_kind": found.account_kind,
        "is_passed": found.is_passed,
        "recovered_s": _number(found.recovered_s),
        "bound_s": found.bound_s,
        "naked_s": _number(found.naked_s),
        "detail": found.detail,
    }


def _number(value: float | Unavailable) -> float | None:
    return None if isinstance(value, Unavailable) else round(value, 3)


def _seconds(value: float | Unavailable) -> str:
    return f"? ({value.reason})" if isinstance(value, Unavailable) else f"{value:.1f} s"


def _cells(standing: DrillStanding) -> tuple[str, ...]:
    colour = _COLOURS[standing.state]
    state = f"[{colour}]{standing.state}[/{colour}]"
    last = standing.last
    if last is None:
        return standing.kind, state, "", "", "", "", ""
    return (
        standing.kind,
        state,
        f"{last.at.astimezone(EASTERN):%Y-%m-%d %H:%M} ET",
        _seconds(last.recovered_s),
        f"{last.bound_s:g} s",
        _seconds(last.naked_s),
        last.detail,
    )
