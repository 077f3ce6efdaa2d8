"""The `greenlight` command: what a person types."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cluster import (
    cli_backtest,
    cli_bias,
    cli_download,
    cli_drill,
    cli_facts,
    cli_halts,
    cli_jobs,
    cli_readiness,
    cli_reconcile,
    cli_report,
    cli_review,
    cli_sentiment,
    cli_twin,
    cli_volatility,
    cli_walkforward,
    doctor,
    new_strategy,
)
from cluster.desk_file import DeskFile
from cluster.json_log import log_as_json, passwords_in
from cluster.processes import StartError
from greenlight.ports import SchemaError, StoreUnavailable
from greenlight.settings import Settings, SettingsError, load_settings

app = typer.Typer(
    name="greenlight",
    help="An autonomous paper-trading desk that earns its live key.\n\n"
    "Start with 'greenlight up' and open the address it prints; 'greenlight replay' runs "
    "history through the whole desk and prints what came of it. Every setting is an "
    "environment variable: see 'greenlight show-config'.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Look at and check the history that a replay trades on.")
app.add_typer(data_app, name="data")
cli_drill.register(app)
cli_facts.register(app)
cli_backtest.register(app)
cli_bias.register(app)
cli_halts.register(app)
cli_jobs.register(app)
cli_readiness.register(app)
cli_reconcile.register(app)
cli_report.register(app)
cli_review.register(app)
cli_sentiment.register(app)
cli_twin.register(app)
cli_volatility.register(app)
cli_walkforward.register(app)
new_strategy.register(app)

console = Console()
errors = Console(stderr=True)
_POLL_S = 0.5
_REPLAY_FOLDER = "replay"

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.callback()
def _home(
    home: Annotated[
        Path | None, typer.Option(help="Folder of the desk (GREENLIGHT_HOME).", show_default=False)
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Look at the last 'greenlight replay' instead.")
    ] = False,
) -> None:
    if home is not None:
        os.environ["GREENLIGHT_HOME"] = str(home)
    if replay:
        base = Path(os.environ.get("GREENLIGHT_HOME", ".greenlight"))
        os.environ["GREENLIGHT_HOME"] = str(base / _REPLAY_FOLDER)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turn SIGTERM into Ctrl-C, and let neither disturb the stopping."""

    def raise_interrupt(_: int, __: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {s: signal.signal(s, raise_interrupt) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    console.print(f"[dim]greenlight:[/dim] {text}")


@app.command()
def up(
    source: Annotated[
        str | None, typer.Option(help="bokeh, lean:FOLDER or csv:FOLDER.", show_default=False)
    ] = None,
    start: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day of the replay.")
    ] = None,
    end: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day of the replay.")
    ] = None,
    speed: Annotated[
        float | None, typer.Option(help="N times real time instead of lockstep.")
    ] = None,
    timeframe: Annotated[str | None, typer.Option(help="Bars to decide on: 1Min or 1Day.")] = None,
) -> None:
    """Bring up the whole desk with its pages, and trade until Ctrl-C.

    Without Alpaca keys it trades a replay of real history on the built-in
    paper exchange. What it did stays in GREENLIGHT_HOME and goes on next time.
    """
    from cluster.desk import Desk

    settings = load_settings(
        source=source, start=_day(start), end=_day(end), speed=speed, timeframe=timeframe
    )
    _log(settings)
    desk = Desk(settings, with_pages=True, say=_say)
    with _interruptible():
        try:
            desk.start()
            console.print()
            console.print(f"  dashboard      {desk.dashboard_url}")
            console.print(f"  Ray dashboard  {desk.ray_dashboard_url}")
            console.print(f"  health         {desk.health_url}")
            if desk.exchange_url is not None:
                console.print(f"  exchange       {desk.exchange_url}")
            console.print("\n  Ctrl-C stops everything.\n")
            _watch(desk)
        except KeyboardInterrupt:
            console.print()
        finally:
            _say("stopping")
            desk.stop()
    _say("stopped; nothing is left running")


def _log(settings: Settings) -> None:
    secret, token = settings.api_secret_key, settings.telegram_bot_token
    log_as_json(
        process="desk",
        secrets=(
            settings.api_key_id or "",
            "" if secret is None else secret.get_secret_value(),
            "" if token is None else token.get_secret_value(),
            *passwords_in(settings.database_url),
            *passwords_in(settings.redis_url),
        ),
        folder=settings.home.resolve() / "logs",
        # The terminal belongs to a person.
        stderr_level=logging.WARNING,
    )


def _watch(desk: Any) -> None:
    is_told = False
    while True:
        if desk.exchange_url is not None and not is_told and desk.replay_state().is_finished:
            _say("the replay has ended; the pages stay until Ctrl-C")
            is_told = True
        time.sleep(_POLL_S)


@app.command()
def replay(
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day.")],
    end: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Last day.")],
    source: Annotated[
        str | None, typer.Option(help="bokeh, lean:FOLDER or csv:FOLDER.", show_default=False)
    ] = None,
    timeframe: Annotated[str | None, typer.Option(help="Bars to decide on: 1Min or 1Day.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run the whole desk over history in lockstep, print a summary, and end.

    Each replay starts with a fresh account and store in GREENLIGHT_HOME/replay;
    look at it afterwards with 'greenlight --replay trades' and the like.
    """
    from cluster.desk import Desk

    settings = load_settings(source=source, start=_day(start), end=_day(end), timeframe=timeframe)
    if settings.database_url is not None:
        raise StartError(
            "a replay starts with an empty store of its own; unset DATABASE_URL to run one"
        )
    home = settings.home / _REPLAY_FOLDER
    running = DeskFile.read(home)
    if running is not None and running.is_alive():
        raise StartError(f"a replay is running (pid {running.pid}); wait for it or stop it")
    shutil.rmtree(home, ignore_errors=True)
    settings = settings.model_copy(
        update={"home": home, "speed": None, "exchange_port": 0, "api_key_id": None}
    )
    _log(settings)
    say = (lambda _: None) if as_json else _say
    desk = Desk(settings, with_pages=False, say=say)
    with _interruptible():
        try:
            desk.start()
            began = time.monotonic()
            _follow(desk, settings, is_quiet=as_json)
            summary = cli_facts.summary(desk.database_url, seconds=time.monotonic() - began)
        except KeyboardInterrupt:
            errors.print("greenlight: interrupted; the replay is incomplete")
            raise typer.Exit(130) from None
        finally:
            desk.stop()
    if as_json:
        typer.echo(json.dumps(summary))
        return
    table = Table(show_header=False, box=None)
    for key, value in summary.items():
        table.add_row(key.replace("_", " "), str(value))
    console.print(table)


def _follow(desk: Any, settings: Settings, *, is_quiet: bool) -> None:
    days = max((settings.end - settings.start).days + 1, 1)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=is_quiet) as progress:
        task = progress.add_task("replay", total=days)
        while True:
            state = desk.replay_state()
            day: date = state.now.date()
            progress.update(
                task, completed=(day - settings.start).days, description=f"replay {day}"
            )
            if state.is_finished:
                progress.update(task, completed=days)
                return
            time.sleep(0.2)


@app.command()
def down() -> None:
    """Stop the desk that runs in GREENLIGHT_HOME."""
    home = load_settings().home
    running = DeskFile.read(home)
    if running is None or not running.is_alive():
        raise StartError(f"no desk is running in {home}; start one with 'greenlight up'")
    os.kill(running.pid, signal.SIGTERM)
    until = time.monotonic() + 30
    while running.is_alive():
        if time.monotonic() > until:
            raise StartError(f"the desk (pid {running.pid}) has not stopped within 30 s")
        time.sleep(0.1)
    _say("stopped")


@app.command(name="doctor")
def doctor_command(as_json: JsonFlag = False) -> None:
    """Say what the desk finds on this machine, and what is missing.

    Exit code 1 if something that it needs is not there.
    """
    findings = doctor.examine(load_settings())
    if as_json:
        typer.echo(json.dumps([finding.as_json() for finding in findings]))
    else:
        table = Table(box=None)
        for heading in ("", "what", "found"):
            table.add_column(heading)
        for finding in findings:
            table.add_row(
                "[green]ok[/green]" if finding.is_fine else "[red]missing[/red]",
                finding.what,
                finding.found,
            )
        console.print(table)
    if not all(finding.is_fine for finding in findings):
        raise typer.Exit(1)


@app.command()
def show_config(as_json: JsonFlag = False) -> None:
    """Print every setting, its value, and the variable that sets it. Secrets are masked."""
    settings = load_settings()
    rows = [
        {
            "variable": cli_facts.variable(name),
            "value": json.loads(settings.model_dump_json(include={name}))[name],
            "meaning": field.description or "",
        }
        for name, field in Settings.model_fields.items()
    ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table(box=None)
    for heading in ("variable", "value", "meaning"):
        table.add_column(heading)
    for row in rows:
        table.add_row(str(row["variable"]), str(row["value"]), str(row["meaning"]))
    console.print(table)


@data_app.command("list")
def data_list(
    source: Annotated[str | None, typer.Argument(help="bokeh, lean:FOLDER or csv:FOLDER.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the symbols of a source, with their first and last day and their splits."""
    rows = doctor.listing(source or load_settings().source)
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table(box=None)
    for heading in ("symbol", "first", "last", "days", "splits"):
        table.add_column(heading)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)


@data_app.command("check")
def data_check(
    source: Annotated[str | None, typer.Argument(help="bokeh, lean:FOLDER or csv:FOLDER.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check a source's daily history: holes, bad rows, unrecorded splits.

    Exit code 1 if anything was found.
    """
    rows = doctor.findings(source or load_settings().source)
    if as_json:
        typer.echo(json.dumps(rows))
    elif not rows:
        console.print("no finding")
    else:
        table = Table(box=None)
        for heading in ("symbol", "day", "kind", "detail"):
            table.add_column(heading)
        for row in rows:
            table.add_row(*(str(value) for value in row.values()))
        console.print(table)
    if rows:
        raise typer.Exit(1)


@data_app.command("import")
def data_import(
    source: Annotated[str, typer.Argument(help="bokeh, lean:FOLDER or csv:FOLDER.")],
    as_json: JsonFlag = False,
) -> None:
    """Copy a source's daily bars into the store; repeated, it adds only what is new."""
    imported: list[dict[str, object]] = []
    with (
        cli_facts.open_store(load_settings()) as store,
        Progress(console=console, disable=as_json) as progress,
    ):
        task = progress.add_task("importing", total=None)
        for row in doctor.import_source(source, store):
            imported.append(row)
            progress.update(task, advance=1, description=f"imported {row['symbol']}")
    if as_json:
        typer.echo(json.dumps(imported))
    else:
        for row in imported:
            console.print(f"{row['symbol']}: {row['bars']} daily bars")


data_app.command("download")(cli_download.data_download)


def _day(value: datetime | None) -> date | None:
    return None if value is None else value.date()


def main(command: typer.Typer = app) -> None:
    """Run a command; a failure that a person can mend is one line and exit code 2."""
    try:
        command()
    except (StartError, SettingsError, SchemaError) as error:
        errors.print(f"greenlight: {error}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except StoreUnavailable as error:
        errors.print(
            # The server's own words may be of several lines.
            f"greenlight: the store does not answer ({' '.join(str(error).split())}); "
            "see 'greenlight doctor'",
            highlight=False,
            soft_wrap=True,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
