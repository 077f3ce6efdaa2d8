"""The commands of the gate: the lights, why, since when, and how often it is wrong.

Before them stand the store and `jobs.readiness`; `cluster.cli` puts them into the
`greenlight` command. None of them can set a light.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cluster import cli_facts
from cluster.backtest_input import ledger
from cluster.processes import StartError
from greenlight.domain.calibration import policy_hash
from greenlight.domain.gate import Criterion, Evaluation, State
from greenlight.domain.market import EASTERN, Unavailable
from greenlight.domain.readiness import TITLES, from_json, to_json
from greenlight.domain.streak import streak
from greenlight.settings import load_settings
from jobs.calibrate import (
    DEFAULT_TRADERS,
    CalibrationRow,
    calibrate,
    standing_calibration,
    to_report,
)
from jobs.gate_policy import policy_in_force
from jobs.readiness import WINDOW, evaluate_now, present

NOT_READY: Final = 3
"""Exit code of `readiness` while a light is not green."""
_SIGNS: Final = {
    State.GREEN: "[green]● green[/green]",
    State.RED: "[red]● red[/red]",
    State.INSUFFICIENT: "[yellow]◔ insufficient[/yellow]",
    State.STALE: "[magenta]◷ stale[/magenta]",
}
_SEED: Final = 20260101

console = Console()
app = typer.Typer(help="Say how far the desk is from going live, and why.")


def register(parent: typer.Typer) -> None:
    """Add the commands to the `greenlight` command."""
    app.callback(invoke_without_command=True)(readiness)
    for command in (explain, history):
        app.command()(command)
    app.command("calibrate")(calibrate_command)
    parent.add_typer(app, name="readiness")


def readiness(context: typer.Context, as_json: cli_facts.JsonFlag = False) -> None:
    """Say how far the desk is from going live: seven lights, and why.

    Only green is green. Exit code 0 if all seven are, 3 otherwise, so that a
    script can ask: greenlight readiness && echo ready
    """
    if context.invoked_subcommand is not None:
        return
    evaluation = _evaluate()
    if as_json:
        typer.echo(json.dumps(to_json(evaluation), indent=2))
    else:
        table = Table(box=None, pad_edge=False)
        for heading in ("", "criterion", "value", "why"):
            table.add_column(heading)
        for criterion in evaluation.criteria:
            table.add_row(
                _SIGNS[criterion.state], criterion.title, _measured(criterion), criterion.reason
            )
        console.print(table)
        kind = evaluation.account_kind or "no account"
        mark = ", synthetic intraday path" if evaluation.is_synthetic else ""
        console.print(f"\n[dim]{kind}{mark}, as of {_eastern(evaluation.at)}[/dim]")
        is_ready = evaluation.is_ready
        console.print("all seven are green" if is_ready else "not ready; the desk stays on paper")
    if not evaluation.is_ready:
        raise typer.Exit(NOT_READY)


def _evaluate() -> Evaluation:
    settings = load_settings()
    with cli_facts.open_store(settings) as store:
        now = present(store, datetime.now(UTC))
        return evaluate_now(store, now, settings.readiness_policy())


def explain(
    criterion: Annotated[str, typer.Argument(help=f"One of: {', '.join(TITLES)}.")],
    as_json: cli_facts.JsonFlag = False,
) -> None:
    """Say everything about one light: value, threshold, interval, what is missing.

    Exit code 0 if it is green, 3 otherwise.
    """
    if criterion not in TITLES:
        raise StartError(f"there is no criterion {criterion}; there are {', '.join(TITLES)}")
    evaluation = _evaluate()
    found = next(c for c in evaluation.criteria if c.name == criterion)
    if as_json:
        rows: Any = to_json(evaluation)["criteria"]
        typer.echo(json.dumps(next(row for row in rows if row["name"] == criterion), indent=2))
    else:
        table = Table(show_header=False, box=None, pad_edge=False)
        table.add_row("light", _SIGNS[found.state])
        table.add_row("why", found.reason)
        table.add_row("value", _measured(found))
        table.add_row("threshold", "—" if found.threshold is None else f"{found.threshold:g}")
        if found.interval is not None:
            table.add_row("95% interval", f"{found.interval[0]:.3f} to {found.interval[1]:.3f}")
        table.add_row("sample", f"{found.sample_size:,}")
        if found.since is not None:
            table.add_row("measured since", _eastern(found.since))
        for missing in found.missing:
            table.add_row("missing", missing)
        for figure in found.figures:
            value = figure.value
            shown = value.reason if isinstance(value, Unavailable) else f"{value:,.3g}"
            aim = "" if figure.threshold is None else f" (threshold {figure.threshold:g})"
            table.add_row(figure.name, shown + aim)
        console.print(table)
    if found.state is not State.GREEN:
        raise typer.Exit(NOT_READY)


def history(
    days: Annotated[int, typer.Option(min=1, help="Days back.")] = 30,
    as_json: cli_facts.JsonFlag = False,
) -> None:
    """List the stored evaluations, and how long all lights have been green."""
    with cli_facts.open_store(load_settings()) as store:
        now = present(store, datetime.now(UTC))
        stored = store.evaluations(now - WINDOW, now + timedelta(microseconds=1))
    rows = [from_json(row) for _, row in stored]
    run, shown = streak(rows, now), [e for e in rows if e.at > now - timedelta(days=days)]
    if as_json:
        told = {
            "green_since": None if run.since is None else run.since.isoformat(),
            "stands": run.stands,
            "reason": run.reason,
            "evaluations": [to_json(e) for e in shown],
        }
        typer.echo(json.dumps(told, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("evaluated", *TITLES.values()):
        table.add_column(heading)
    for evaluation in shown:
        signs = [_SIGNS[c.state].replace(f" {c.state}", "") for c in evaluation.criteria]
        table.add_row(_eastern(evaluation.at), *signs)
    console.print(table)
    if run.since is None:
        console.print(f"not all green: {run.reason}")
    else:
        stands = "three weeks are over" if run.stands else "three weeks are needed"
        console.print(f"all green since {_eastern(run.since)}; {stands}")


def calibrate_command(
    traders: Annotated[
        int, typer.Option(min=100, max=1_000_000, help="Made-up traders of each kind.")
    ] = DEFAULT_TRADERS,
    seed: Annotated[int, typer.Option(help="The same seed gives the same rates.")] = _SEED,
    as_json: cli_facts.JsonFlag = False,
) -> None:
    """Measure how often the gate is wrong, and how often it sees a real edge.

    Thousands of made-up traders pass a year of daily looks, by this policy and by its
    bare thresholds. The report is kept; one of another policy is no evidence.
    """
    # Imported here because a wrong option should be told before Ray is loaded.
    from cluster.fanout import fan_out
    from cluster.ray_work import workers

    settings = load_settings()
    began = time.monotonic()
    with ledger(settings) as store:
        now = datetime.now(UTC)
        policy = policy_in_force(store, settings.readiness_policy(), now)
        with Progress(console=console, disable=as_json) as progress, workers(settings, None):
            progress.add_task("calibrating", total=None)
            rows = calibrate(policy, traders=traders, seed=seed, fan_out=fan_out)
        seconds = time.monotonic() - began
        report = to_report(rows, traders=traders, seconds=seconds)
        store.record_calibration(now, policy_hash(policy), report)
        standing = standing_calibration(store, policy, datetime.now(UTC))
    if as_json:
        assert not isinstance(standing, Unavailable)
        typer.echo(json.dumps(dict(standing), indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("traders", "true Sharpe", "promoted", "95% interval", "sessions", "bare"):
        table.add_column(heading, justify="left" if heading == "traders" else "right")
    for row in rows:
        table.add_row(*_told(row))
    console.print(table)
    console.print(
        f"{traders:,} traders of each kind, one year of daily looks, in {seconds:.0f} s; "
        "sessions: the median to a promotion; bare: the thresholds without the evidence"
    )


def _told(row: CalibrationRow) -> tuple[str, ...]:
    gate, after = row.gate, row.gate.median_sessions
    return (
        row.model.replace("_", " "),
        f"{row.sharpe_ann:g}",
        f"{gate.frac:.2%}",
        f"{gate.low_frac:.2%} to {gate.high_frac:.2%}",
        "—" if after is None else f"{after:.0f}",
        f"{row.bare.frac:.1%}",
    )


def _measured(criterion: Criterion) -> str:
    value = criterion.value
    if isinstance(value, Unavailable):
        return "—"
    if criterion.unit == "frac":
        return f"{value:.1%}"
    return {"days": f"{value:,.0f} days", "s": f"{value:,.0f} s"}.get(
        criterion.unit, f"{value:.2f}"
    )


def _eastern(at: datetime) -> str:
    return f"{at.astimezone(EASTERN):%Y-%m-%d %H:%M} ET"
