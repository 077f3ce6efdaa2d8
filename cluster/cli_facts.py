"""The commands that print facts: what the desk holds, did, decided, and how it stands.

Before it stand the store and the desk's file; `cluster.cli` puts them into the
`greenlight` command. They only read, also while the desk is at work. Tables
are for people (Eastern times, dollars); `--json` is for programs (UTC ISO
times, plain numbers).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from cluster import health_client, services
from cluster.desk_file import DeskFile
from cluster.processes import StartError
from cluster.refused_input import in_words, refused_input
from greenlight.adapters.timescale import TimescaleStore
from greenlight.domain.audit import (
    Decision,
    DecisionKind,
    Verdict,
    decisions_digest,
    fills_digest,
    first_broken,
    instant_text,
)
from greenlight.domain.market import EASTERN, Unavailable
from greenlight.domain.metrics import (
    EquitySeries,
    max_drawdown,
    merged,
    profit_factor,
    win_rate,
    without_transfers,
)
from greenlight.domain.positions import Position
from greenlight.domain.readiness import ReadinessPolicy, evaluate
from greenlight.domain.trades import Trade
from greenlight.ports import Run, Store
from greenlight.settings import Settings, load_settings
from jobs.gate_policy import policy_in_force
from jobs.readiness import gather, latest_instant, present

BROKEN: Final = 1
"""Exit code of `audit verify` where the chain does not hold."""

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
_COVERAGE: Final = timedelta(days=10)
_VENDOR_NAMES: Final = (
    "database_url",
    "redis_url",
    "api_key_id",
    "api_secret_key",
    "telegram_bot_token",
    "telegram_chat_id",
)

console = Console()
audit_app = typer.Typer(
    help="Check that no decision was changed afterwards, and compare two runs.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands to the `greenlight` command."""
    for command in (status, positions, trades, decisions):
        app.command()(command)
    app.add_typer(audit_app, name="audit")


# -- finding the store


@contextmanager
def open_store(settings: Settings) -> Iterator[TimescaleStore]:
    """The store of the desk that runs in `settings.home`, or of DATABASE_URL.

    A desk that has stopped left its embedded PostgreSQL in the folder; that is
    started for as long as it is looked at.

    Raises
    ------
    StartError
        There is none of them.
    """
    with ExitStack() as stack:
        store = TimescaleStore(_database(settings, stack))
        stack.callback(store.close)
        yield store


def _database(settings: Settings, stack: ExitStack) -> str:
    desk = DeskFile.read(settings.home)
    if desk is not None and desk.is_alive():
        return desk.database_url
    if settings.database_url is not None:
        return settings.database_url
    if not (settings.home / "postgres" / "data").exists():
        raise StartError(
            f"no desk was ever started in {settings.home} and DATABASE_URL is not set; "
            "start one with 'greenlight up', or name its folder with --home"
        )
    try:
        postgres = services.start_postgres(settings.home)
    except services.ServiceError as error:
        raise StartError(f"the store in {settings.home} does not start: {error}") from error
    if not postgres.is_adopted:
        stack.callback(postgres.stop)
    return postgres.url


def variable(name: str) -> str:
    """The environment variable of a setting."""
    alias = Settings.model_fields[name].validation_alias
    choices = getattr(alias, "choices", None)
    return str(choices[0]) if choices else f"GREENLIGHT_{name.upper()}"


# -- status


def status(as_json: JsonFlag = False) -> None:
    """Say whether the desk is at work, on what, and whether entries are halted.

    Exit code 0 also for a desk that stands still; 2 if there is none at all.
    """
    settings = load_settings()
    desk = DeskFile.read(settings.home)
    with open_store(settings) as store:
        run = store.latest_run()
        seen = latest_instant(store)
        now = present(store, datetime.now(UTC))
        held = store.open_positions()
        halts = store.halts_in_force(now)
        refused = refused_input(store, now)
    is_alive = desk is not None and desk.is_alive()
    told = health_client.parts(desk.health_url) if desk is not None and is_alive else ()
    unwell = [] if isinstance(told, Unavailable) else [p for p in told if p.state != "up"]
    if as_json:
        _print_json(
            {
                "is_running": is_alive,
                "pid": None if desk is None else desk.pid,
                "dashboard_url": None if desk is None else desk.dashboard_url,
                "ray_dashboard_url": None if desk is None else desk.ray_dashboard_url,
                "exchange_url": None if desk is None else desk.exchange_url,
                "health_url": None if desk is None else desk.health_url,
                "run": None if run is None else _run_row(run),
                "last_evidence_at": None if seen is None else instant_text(seen),
                "open_positions": [position.symbol for position in held],
                "halts": [
                    {
                        "at": instant_text(halt.at),
                        "until": None if halt.until is None else instant_text(halt.until),
                        "reason": halt.reason,
                    }
                    for halt in halts
                ],
                "refused_input": refused,
                "unwell": None if isinstance(told, Unavailable) else [asdict(p) for p in unwell],
            }
        )
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    said = "[green]running[/green]" if is_alive else "[yellow]not running[/yellow]"
    table.add_row("desk", said + (f" (pid {desk.pid})" if desk is not None and is_alive else ""))
    if run is not None:
        mark = ", synthetic intraday path" if run.is_synthetic else ""
        table.add_row("account", f"{run.account_number} ({run.account_kind})")
        table.add_row("source", f"{run.source}{mark}")
        table.add_row("since", _eastern(run.started_at))
    table.add_row("last evidence", "none yet" if seen is None else _eastern(seen))
    table.add_row("open positions", ", ".join(p.symbol for p in held) or "none")
    for halt in halts:
        until = "a person resumes" if halt.until is None else _eastern(halt.until)
        table.add_row("[red]halted[/red]", f"{halt.reason}, until {until}")
    if isinstance(told, Unavailable):
        table.add_row("[yellow]parts[/yellow]", told.reason)
    for part in unwell:
        table.add_row(f"[red]{part.state}[/red]", f"{part.name}: {part.reason}")
    for row in refused:
        table.add_row("[yellow]refused[/yellow]", in_words(row))
    if desk is not None and is_alive and desk.dashboard_url is not None:
        table.add_row("dashboard", desk.dashboard_url)
    if desk is not None and is_alive and desk.health_url is not None:
        table.add_row("health", desk.health_url)
    console.print(table)


def _run_row(run: Run) -> dict[str, object]:
    return {
        "run_id": run.run_id,
        "started_at": instant_text(run.started_at),
        "account_kind": run.account_kind,
        "account_number": run.account_number,
        "source": run.source,
        "is_synthetic": run.is_synthetic,
        "start_cash_usd": float(run.start_cash_usd),
        "fingerprint": run.fingerprint,
    }


# -- positions and trades


def positions(as_json: JsonFlag = False) -> None:
    """List the open positions with stop, target, and how much the broker's stop covers."""
    with open_store(load_settings()) as store:
        now = present(store, datetime.now(UTC))
        held = store.open_positions()
        read = store.coverage(now - _COVERAGE, now + timedelta(days=1))
    covered = {reading.position_id: reading.covered_qty for reading in read}
    if as_json:
        _print_json([_position_row(p, covered.get(p.position_id)) for p in held])
        return
    if not held:
        console.print("nothing is held")
        return
    table = _table("symbol", "shares>", "entry>", "stop>", "target>", "covered>", "leaves by")
    for p in held:
        cover = covered.get(p.position_id, 0)
        table.add_row(
            p.symbol,
            f"{p.qty:,}",
            _money(p.avg_price),
            _money(p.stop_price),
            _money(p.target_price),
            f"[{'green' if cover >= p.qty else 'red'}]{cover:,}[/]",
            _eastern(p.exit_by),
        )
    console.print(table)


def _position_row(position: Position, covered: int | None) -> dict[str, object]:
    return {
        "position_id": position.position_id,
        "symbol": position.symbol,
        "strategy": position.strategy,
        "qty": position.qty,
        "avg_price_usd": float(position.avg_price),
        "stop_price_usd": float(position.stop_price),
        "target_price_usd": float(position.target_price),
        "covered_qty": covered,
        "opened_at": instant_text(position.opened_at),
        "exit_by": instant_text(position.exit_by),
    }


def trades(
    limit: Annotated[int, typer.Option(min=1, help="How many of the last ones.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List closed trades, oldest first, with what each earned after fees."""
    with open_store(load_settings()) as store:
        closed = store.trades(limit=limit)
    if as_json:
        _print_json([_trade_row(trade) for trade in closed])
        return
    if not closed:
        console.print("no trade has closed yet")
        return
    table = _table(
        "closed", "symbol", "shares>", "entry>", "exit>", "raw>", "net>", "return>", "left by"
    )
    for trade in closed:
        colour = "green" if trade.net_usd > 0 else "red"
        table.add_row(
            _eastern(trade.closed_at),
            trade.symbol,
            f"{trade.qty:,}",
            _money(trade.entry_price),
            _money(trade.exit_price),
            _money(trade.pnl_usd, signed=True),
            f"[{colour}]{_money(trade.net_usd, signed=True)}[/]",
            f"[{colour}]{trade.return_frac:+.2%}[/]",
            trade.exit_reason,
        )
    console.print(table)
    total = sum((t.net_usd for t in closed), Decimal(0))
    wins = sum(t.net_usd > 0 for t in closed)
    raw = sum((t.pnl_usd for t in closed), Decimal(0))
    console.print(
        f"\n{len(closed):,} trades, {wins:,} won, {_money(raw, signed=True)} raw, "
        f"{_money(total, signed=True)} after fees and slippage"
    )


def _trade_row(trade: Trade) -> dict[str, object]:
    return {
        "position_id": trade.position_id,
        "symbol": trade.symbol,
        "strategy": trade.strategy,
        "qty": trade.qty,
        "entry_price_usd": float(trade.entry_price),
        "exit_price_usd": float(trade.exit_price),
        "opened_at": instant_text(trade.opened_at),
        "closed_at": instant_text(trade.closed_at),
        "pnl_usd": float(trade.pnl_usd),
        "fees_usd": float(trade.fees_usd),
        "haircut_usd": float(trade.haircut_usd),
        "net_usd": float(trade.net_usd),
        "return_frac": float(trade.return_frac),
        "exit_reason": trade.exit_reason,
    }


# -- decisions


def decisions(
    symbol: Annotated[
        str | None, typer.Option(help="Only of this symbol.", show_default=False)
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"],
            help="Only from this day (or minute) on, New York time.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of the last ones.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List what was decided and why: signals taken, skipped and refused, stops, exits, halts.

    Every decision is a row with its figures; --json shows them all.
    """
    start = None if since is None else since.replace(tzinfo=EASTERN).astimezone(UTC)
    with open_store(load_settings()) as store:
        rows = store.decisions(
            symbol=None if symbol is None else symbol.upper(), start=start, limit=limit
        )
    if as_json:
        _print_json([{"seq": r.seq, **_decision_row(r.decision)} for r in rows])
        return
    if not rows:
        console.print("nothing was decided yet")
        return
    colours = {Verdict.TAKEN: "green", Verdict.SKIPPED: "dim", Verdict.REFUSED: "yellow"}
    table = _table("no.>", "when", "what", "verdict", "symbol", "why")
    for row in rows:
        decision = row.decision
        table.add_row(
            f"{row.seq:,}",
            _eastern(decision.at),
            decision.kind.value,
            f"[{colours[decision.verdict]}]{decision.verdict.value}[/]",
            decision.symbol or "",
            decision.reason,
        )
    console.print(table)


def _decision_row(decision: Decision) -> dict[str, object]:
    return {
        "decision_id": decision.decision_id,
        "at": instant_text(decision.at),
        "kind": decision.kind.value,
        "verdict": decision.verdict.value,
        "symbol": decision.symbol,
        "strategy": decision.strategy,
        "reason": decision.reason,
        "figures": dict(decision.figures),
    }


# -- audit


@audit_app.command()
def verify(as_json: JsonFlag = False) -> None:
    """Check the chain of decisions, and name the first row that does not fit.

    Exit code 1 if a row was changed, removed or put in between.
    """
    with open_store(load_settings()) as store:
        rows = store.decisions(limit=None)
    broken = first_broken(rows)
    if as_json:
        first = None
        if broken is not None:
            first = {"seq": broken.seq, **_decision_row(broken.decision)}
        _print_json({"rows": len(rows), "is_whole": broken is None, "first_broken": first})
    elif broken is None:
        console.print(f"[green]whole[/green]: {len(rows):,} decisions, each as it was written")
    else:
        console.print(
            f"[red]broken[/red] at row {broken.seq}: decision {broken.decision.decision_id} "
            f"of {_eastern(broken.decision.at)} or its neighbour was changed, removed or added"
        )
    if broken is not None:
        raise typer.Exit(BROKEN)


@audit_app.command()
def digest(as_json: JsonFlag = False) -> None:
    """Print one hash of all decisions and one of all fills: equal for equal runs.

    Order ids and the order of writing do not count, so two replays of the same
    dates must print the same.
    """
    with open_store(load_settings()) as store:
        found = digests(store)
    if as_json:
        _print_json(found)
        return
    for name in ("decisions", "fills"):
        console.print(f"{name:<9} {found[name]}  ({found[f'{name}_count']:,})", soft_wrap=True)


def digests(store: Store) -> dict[str, Any]:
    """Hash and count of all decisions and of all fills."""
    decided = [row.decision for row in store.decisions(limit=None)]
    filled = store.fills(limit=None)
    return {
        "decisions": decisions_digest(decided),
        "fills": fills_digest(filled),
        "decisions_count": len(decided),
        "fills_count": len(filled),
    }


# -- a replay's end


def summary(database_url: str, *, seconds: float) -> dict[str, object]:
    """What a replay came to: sessions, trades, money, lights and digests.

    Parameters
    ----------
    seconds : float
        How long it took, by the clock.
    """
    store = TimescaleStore(database_url)
    try:
        return summarise(store, seconds=seconds)
    finally:
        store.close()


def summarise(store: Store, *, seconds: float) -> dict[str, object]:
    """See `summary`; the drawdown is of the whole replay, the lights of its last instant."""
    policy = ReadinessPolicy()
    now = present(store, datetime.now(UTC))
    inputs = gather(store, now, policy)
    evaluation = evaluate(inputs, policy_in_force(store, policy, now))
    closes, minutes = inputs.broker_marks, inputs.desk_marks
    marks = closes if len(closes.at_s) else minutes
    closed = store.trades(limit=None)
    rate, factor = win_rate(closed), profit_factor(closed)
    fall = max_drawdown(merged(minutes, closes))
    entries = [row.decision for row in store.decisions(kind=DecisionKind.ENTRY, limit=None)]
    verdicts = Counter(entry.verdict for entry in entries)
    refused = [entry.reason.split(", ") for entry in entries if entry.verdict is Verdict.REFUSED]
    run = store.latest_run()
    start = None if run is None else float(run.start_cash_usd)
    end = float(marks.equity_usd[-1]) if len(marks.at_s) else None
    lights = Counter(criterion.state.value for criterion in evaluation.criteria)
    return {
        "sessions": len(closes.at_s),
        "seconds": round(seconds, 1),
        "sessions_per_minute": round(60 * len(closes.at_s) / seconds, 1) if seconds > 0 else None,
        "entries_taken": verdicts[Verdict.TAKEN],
        "entries_skipped": verdicts[Verdict.SKIPPED],
        "entries_refused": verdicts[Verdict.REFUSED],
        "refusals_by_rule": dict(sorted(Counter(chain.from_iterable(refused)).items())),
        "trades": len(closed),
        "exits_by_reason": dict(sorted(Counter(t.exit_reason for t in closed).items())),
        "trades_raw_usd": float(sum((t.pnl_usd for t in closed), Decimal(0))),
        "trades_net_usd": float(sum((t.net_usd for t in closed), Decimal(0))),
        "win_rate_frac": None if isinstance(rate, Unavailable) else round(rate.frac, 4),
        "profit_factor": None if isinstance(factor, Unavailable) else round(factor, 3),
        "start_usd": start,
        "end_usd": end,
        "return_frac": _grown(marks, start),
        "max_drawdown_frac": None if isinstance(fall, Unavailable) else round(fall.frac, 6),
        "open_positions": len(store.open_positions()),
        "lights": dict(sorted(lights.items())),
        **digests(store),
    }


def _grown(marks: EquitySeries, start_usd: float | None) -> float | None:
    """Growth from the start cash to the last mark, without what the owner moved."""
    if not start_usd or not len(marks.at_s):
        return None
    from_start = EquitySeries(
        at_s=np.concatenate([marks.at_s[:1], marks.at_s]),
        equity_usd=np.concatenate([[start_usd], marks.equity_usd]),
        transfers_usd=np.concatenate([[0.0], marks.moved_usd]),
    )
    grown = float(without_transfers(from_start).equity_usd[-1]) / start_usd - 1
    return round(grown, 6) if math.isfinite(grown) else None


# -- words


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))


def _table(*headings: str) -> Table:
    """A table; a heading that ends in ">" is a column of numbers."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        name = heading.removesuffix(">")
        table.add_column(name, justify="right" if name != heading else "left")
    return table


def _money(value: Decimal, *, signed: bool = False) -> str:
    sign = "-" if value < 0 else "+" if signed and value > 0 else ""
    return f"{sign}${abs(value):,.2f}"


def _eastern(at: datetime) -> str:
    return f"{at.astimezone(EASTERN):%Y-%m-%d %H:%M} ET"
