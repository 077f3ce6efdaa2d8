"""The command that lifts halts: a person's word that entries may go on.

Before it stands the store; `cluster.cli` puts it into the `greenlight` command.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from cluster import cli_facts
from cluster.processes import StartError
from greenlight.domain.audit import instant_text
from greenlight.settings import load_settings
from jobs.readiness import present

console = Console()


def register(app: typer.Typer) -> None:
    """Add the command to the `greenlight` command."""
    app.command()(resume)


def resume(
    reason: Annotated[str, typer.Option(help="Why entries may go on; kept with the decision.")],
    as_json: cli_facts.JsonFlag = False,
) -> None:
    """Lift every halt in force, so that the desk may enter positions again.

    The reason is a row of the audit chain. The day's loss and the fall from the
    high count anew from here. Exit code 0 if a halt was lifted, 1 if there was
    none, 2 without a reason. Exits were never halted.
    """
    said = " ".join(reason.split())
    if not said:
        raise StartError("--reason is empty; say why entries may go on")
    with cli_facts.open_store(load_settings()) as store:
        now = present(store, datetime.now(UTC))
        halts = store.halts_in_force(now)
        lifted = store.resume(at=now, reason=said)
    if as_json:
        rows = [{"at": instant_text(halt.at), "reason": halt.reason} for halt in halts]
        typer.echo(json.dumps({"lifted": lifted, "halts": rows}, indent=2))
    elif not lifted:
        console.print("no halt is in force")
    else:
        for halt in halts:
            console.print(f"lifted: {halt.reason}", highlight=False, soft_wrap=True)
    if not lifted:
        raise typer.Exit(1)
