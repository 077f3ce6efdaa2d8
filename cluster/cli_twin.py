"""The command that holds recorded sessions against their twins.

Before it stand the store and the history that the desk saw (a replay's source, or
Alpaca); after it `actors.twin` and `jobs.twin`. What it finds is stored, and the
seventh criterion reads it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from actors.twin import decide_again
from cluster import cli_facts
from cluster.desk_config import ALPACA_DATA
from cluster.processes import StartError
from cluster.twin_input import told_desk
from cluster.wiring import fingerprint
from greenlight.adapters.alpaca_data import AlpacaMarketData
from greenlight.domain.audit import instant_text
from greenlight.domain.twin import PnlSplit, TwinOutcome, detail_json
from greenlight.ports import MarketData
from greenlight.settings import Settings, load_settings
from jobs.readiness import present
from jobs.twin import recorded_sessions, run_twin

DIFFERENT: Final = 1
"""Exit code where a decision met no equal one."""
_SHOWN: Final = 20
_OTHER: Final = (
    "this is not the code or not the settings that the desk ran with; differences may come "
    "from there, and the gate does not count what is found"
)

console = Console()
errors = Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Add the command to the `greenlight` command."""
    app.command()(twin)


def twin(
    day: Annotated[
        datetime | None,
        typer.Argument(metavar="DATE", formats=["%Y-%m-%d"], help="Session; none: all."),
    ] = None,
    as_json: cli_facts.JsonFlag = False,
) -> None:
    """Decide recorded sessions again from what was recorded, and compare every decision.

    Run it with the settings that the desk ran with. Exit code 1 if any decision met
    no equal one.
    """
    settings = load_settings()
    with cli_facts.open_store(settings) as store:
        run = store.latest_run()
        now = present(store, datetime.now(UTC))
        first = store.first_run()
        if run is None or first is None:
            raise StartError("the desk has not run yet; start it with 'greenlight up'")
        days = recorded_sessions(store, first.started_at, now)
        if not days:
            raise StartError("no session has closed yet; there is nothing to compare")
        if day is not None and day.date() not in days:
            there = f"{days[0]} to {days[-1]}"
            raise StartError(f"no session was recorded on {day.date()}; recorded: {there}")
        if day is not None:
            days = [day.date()]
        mark = fingerprint(settings)
        if mark != run.fingerprint:
            errors.print(f"greenlight: {_OTHER}", highlight=False, soft_wrap=True)
        market_data = None if run.account_kind == "replay" else _alpaca(settings)
        told = told_desk(settings, store, first, market_data)
        outcomes = run_twin(
            store, partial(decide_again, store, told), days, at=now, fingerprint=mark
        )
        for outcome in outcomes:
            store.record_twin(outcome)
    if as_json:
        typer.echo(json.dumps([_as_json(outcome) for outcome in outcomes], indent=2))
    else:
        _print(outcomes)
    if not all(outcome.is_equal for outcome in outcomes):
        raise typer.Exit(DIFFERENT)


def _alpaca(settings: Settings) -> MarketData:
    secret = settings.api_secret_key
    if settings.api_key_id is None or secret is None:
        raise StartError("the account is Alpaca's: set APCA_API_KEY_ID and APCA_API_SECRET_KEY")
    return AlpacaMarketData(
        base_url=ALPACA_DATA,
        key_id=settings.api_key_id,
        secret_key=secret.get_secret_value(),
        deadline_s=settings.request_deadline_s,
    )


def _as_json(outcome: TwinOutcome) -> dict[str, object]:
    return {
        "session": outcome.session.isoformat(),
        "at": instant_text(outcome.at),
        "fingerprint": outcome.fingerprint,
        "is_equal": outcome.is_equal,
        "decisions": outcome.decisions,
        **detail_json(outcome),
        "pnl_total_usd": str(outcome.pnl.total_usd),
        "unvalued_trades": outcome.unvalued,
    }


def _print(outcomes: list[TwinOutcome]) -> None:
    parted = [(outcome.session, one) for outcome in outcomes for one in outcome.differences]
    decisions = sum(outcome.decisions for outcome in outcomes)
    console.print(
        f"{len(outcomes)} sessions, {decisions} decisions, {len(parted)} without an equal one",
        highlight=False,
    )
    for session, one in parted[:_SHOWN]:
        told = "; ".join(f"{name}: {a} against {b}" for name, (a, b) in one.figures.items())
        console.print(
            f"{session} {one.strategy} {one.symbol} {one.kind}: {told or one.decision_id}",
            highlight=False,
            soft_wrap=True,
        )
    if len(parted) > _SHOWN:
        console.print(f"and {len(parted) - _SHOWN} more; see --json")
    pnl = sum((outcome.pnl for outcome in outcomes), PnlSplit())
    table = Table(box=None, pad_edge=False)
    for name in ("earned beyond the twin", "signal", "fill", "cost", "missed"):
        table.add_column(name, justify="right")
    found = (pnl.total_usd, pnl.signal_usd, pnl.fill_usd, pnl.cost_usd, pnl.missed_usd)
    table.add_row(*(f"{usd:,.2f}" for usd in found))
    console.print(table)
    unvalued = sum(outcome.unvalued for outcome in outcomes)
    if unvalued:
        console.print(f"{unvalued} trades could not be split")
