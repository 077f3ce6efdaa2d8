"""The commands that stop and resume trading: halt, flatten, resume.

Before it stands the store; `cluster.cli` puts them into the `greenlight`
command. They speak to nobody but the store, so they work while the strategist,
the dashboard, Redis or Telegram is dead: the risk gate reads the halts before
every entry, and market data looks every second whether positions are to be
left. Two switches remain where the store itself is away: no entry is made
without it, and the file HALT in GREENLIGHT_HOME halts entries by its presence.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from cluster import cli_facts
from cluster.desk_file import DeskFile
from cluster.processes import StartError
from greenlight.adapters.halt_file import HaltFile, halt_file
from greenlight.domain.audit import instant_text
from greenlight.settings import load_settings
from jobs import controls

console = Console()


def register(app: typer.Typer) -> None:
    """Add the commands to the `greenlight` command."""
    app.command()(halt)
    app.command()(flatten)
    app.command()(resume)


def halt(
    reason: Annotated[str, typer.Option(help="Why no entry may be made; kept as a decision.")],
    as_json: cli_facts.JsonFlag = False,
) -> None:
    """Make no entries until 'greenlight resume'. Positions keep their stops and exits.

    It is in force for the next entry that is judged. Without a store, put a
    file named HALT into GREENLIGHT_HOME instead.
    """
    said = _said(reason)
    with cli_facts.open_store(load_settings()) as store:
        now = controls.halt(store, said, datetime.now(UTC))
    if as_json:
        typer.echo(json.dumps({"at": instant_text(now), "reason": said}))
    else:
        console.print(f"halted: {said}", highlight=False, soft_wrap=True)


def flatten(
    reason: Annotated[
        str, typer.Option(help="Why; kept with the decision.")
    ] = "a person asked for it",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: cli_facts.JsonFlag = False,
) -> None:
    """Leave every position by the exit protocol, and make no entries until 'greenlight resume'.

    The request stands in the store until it is lifted: a desk that is restarted
    goes on with it, and what is bought meanwhile is left too. In a session it
    begins within seconds, else at the next open; without a running desk the
    stops at the broker stay as they are. Exit code 1 if you say no.
    """
    said, settings = _said(reason), load_settings()
    with cli_facts.open_store(settings) as store:
        held = [position.symbol for position in store.open_positions()]
        names = ", ".join(held) or "no position"
        if not yes and not typer.confirm(f"Close {names} and halt entries?", err=as_json):
            raise typer.Exit(1)
        now = controls.flatten(store, said, datetime.now(UTC))
    desk = DeskFile.read(settings.home)
    is_running = desk is not None and desk.is_alive()
    if as_json:
        row = {"at": instant_text(now), "reason": said, "symbols": held, "is_running": is_running}
        typer.echo(json.dumps(row))
        return
    console.print(f"leaving {names}; no entries until 'greenlight resume'", soft_wrap=True)
    if not is_running:
        console.print("no desk runs here: it begins when one does", soft_wrap=True)


def resume(
    reason: Annotated[str, typer.Option(help="Why entries may go on; kept with the decision.")],
    as_json: cli_facts.JsonFlag = False,
) -> None:
    """Lift every halt in force, so that the desk may enter positions again.

    The reason is a row of the audit chain. The day's loss and the fall from the
    high count anew from here. Exit code 0 if a halt was lifted, 1 if there was
    none, 2 without a reason. Exits were never halted.
    """
    said = _said(reason, "entries may go on")
    settings = load_settings()
    with cli_facts.open_store(settings) as store:
        done = controls.resume(store, said, datetime.now(UTC))
    halts, lifted = done.halts, done.count
    if as_json:
        rows = [{"at": instant_text(halt.at), "reason": halt.reason} for halt in halts]
        typer.echo(json.dumps({"lifted": lifted, "halts": rows}, indent=2))
    elif not lifted:
        console.print("no halt is in force")
    else:
        for found in halts:
            console.print(f"lifted: {found.reason}", highlight=False, soft_wrap=True)
    path = halt_file(settings.home)
    if not as_json and HaltFile(path)() is not None:
        console.print(f"{path} is still there; remove it to enter again", soft_wrap=True)
    if not lifted:
        raise typer.Exit(1)


def _said(reason: str, what: str = "trading stops") -> str:
    said = " ".join(reason.split())
    if not said:
        raise StartError(f"--reason is empty; say why {what}")
    return said
