"""The command that backtests strategies on a source's history.

Before it stands `jobs.backtest`; `cluster.cli` puts it into the `greenlight`
command. Every run is a row of the trial ledger, also one that nobody liked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cluster import cli_facts
from cluster.backtest_input import (
    asked_settings,
    history_board,
    ledger,
    open_history,
    running_code,
    trial_params,
)
from cluster.figures import dollars, figure_row
from cluster.paper_exchange.sources import Source
from cluster.processes import StartError
from greenlight.domain.backtest import DEFAULT_COSTS, BacktestResult, GroupFigures
from greenlight.domain.market import Unavailable
from greenlight.domain.trials import Trial
from greenlight.domain.volatility import VolatilityPolicy
from greenlight.strategies import build_strategies
from jobs.backtest import BacktestPlan, backtest, summary_figures, trial_of
from jobs.backtest_market import Board

console = Console()


def register(app: typer.Typer) -> None:
    """Add the command to the `greenlight` command."""
    app.command(name="backtest")(backtest_command)


def backtest_command(
    strategy: Annotated[
        str | None, typer.Option(help="Names, with commas between.", show_default=False)
    ] = None,
    symbols: Annotated[
        str | None, typer.Option(help="Symbols, with commas between.", show_default=False)
    ] = None,
    start: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day.")] = None,
    end: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day.")] = None,
    source: Annotated[
        str | None, typer.Option(help="bokeh, lean:FOLDER or csv:FOLDER.", show_default=False)
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE: a setting of the strategy or a limit; again and again."),
    ] = None,
    half_spread_bps: Annotated[
        float, typer.Option(min=0, max=100, help="Half the spread that every taker pays.")
    ] = DEFAULT_COSTS.half_spread_frac * 1e4,
    slippage_bps: Annotated[
        float, typer.Option(min=0, max=100, help="Slippage of stops and market orders.")
    ] = DEFAULT_COSTS.slippage_frac * 1e4,
    resume_sessions: Annotated[
        int, typer.Option(min=0, help="Sessions after which a drawdown's halt ends; 0: never.")
    ] = 0,
    forecasts: Annotated[
        bool, typer.Option(help="Size by volatility forecasts, as the desk does.")
    ] = True,
    as_json: cli_facts.JsonFlag = False,
) -> None:
    """Backtest strategies on history with the desk's own rules, and remember the trial.

    Without options it takes the settings' strategies, symbols, source and days.
    """
    settings = asked_settings(strategy, symbols, start, end, source, param or ())
    strategies = build_strategies(settings)
    history = open_history(settings.source)
    board = history_board(settings, strategies, history)
    costs = DEFAULT_COSTS._replace(
        half_spread_frac=half_spread_bps / 1e4, slippage_frac=slippage_bps / 1e4
    )
    plan = BacktestPlan(
        strategies=strategies,
        start=settings.start,
        limits=settings.limits(),
        costs=costs,
        entry=settings.entry_policy(),
        start_cash_usd=settings.start_cash_usd,
        policy=VolatilityPolicy() if forecasts else None,
        resume_sessions=resume_sessions,
    )
    try:
        result = backtest(board, plan)
    except ValueError as error:
        raise StartError(f"backtest: {error}") from error
    trial = trial_of(
        board,
        plan,
        result,
        at=datetime.now(UTC),
        end=settings.end,
        source=settings.source,
        code_hash=running_code(),
        params=trial_params(settings, plan),
    )
    with ledger(settings) as store:
        is_new = store.record_trial(trial)
        trials = len(store.trials(limit=None))
    if as_json:
        found = _as_json(result, trial, board, is_new=is_new, trials=trials)
        typer.echo(json.dumps(found, indent=2))
        return
    _print(result, trial, history, board, is_new=is_new, trials=trials)


# -- what is told


def _as_json(
    result: BacktestResult, trial: Trial, board: Board, *, is_new: bool, trials: int
) -> dict[str, object]:
    return {
        "trial_id": trial.trial_id,
        "is_new_trial": is_new,
        "trials": trials,
        "start": str(trial.start),
        "end": str(trial.end),
        "symbols": list(trial.symbols),
        "strategies": list(trial.strategies),
        "params": dict(trial.params),
        "figures": _known(summary_figures(board, result)),
        "refusals": dict(result.refusals),
        "by_strategy": _groups(result.by_strategy),
        "by_sector": _groups(result.by_sector),
        "by_month": [
            {
                "month": f"{m.year}-{m.month:02d}",
                "return_frac": m.return_frac,
                "trades": m.trades,
                "is_traded": m.is_traded,
            }
            for m in result.by_month
        ],
        "trades": [
            {
                "symbol": t.symbol,
                "strategy": t.strategy,
                "qty": t.qty,
                "opened_at": t.opened_at.isoformat(),
                "closed_at": t.closed_at.isoformat(),
                "entry_price": float(t.entry_price),
                "exit_price": float(t.exit_price),
                "net_usd": float(t.net_usd),
                "fees_usd": float(t.fees_usd),
                "exit_reason": t.exit_reason,
            }
            for t in result.trades
        ],
    }


def _known(figures: Mapping[str, float | Unavailable]) -> dict[str, object]:
    return {
        name: {"unavailable": value.reason} if isinstance(value, Unavailable) else value
        for name, value in figures.items()
    }


def _groups(groups: Mapping[str, GroupFigures]) -> dict[str, dict[str, object]]:
    return {
        name: {
            "trades": group.trades,
            "wins": group.wins,
            "net_usd": group.net_usd,
            "profit_factor": _number(group.profit_factor),
        }
        for name, group in groups.items()
    }


def _number(value: float | Unavailable) -> float | None:
    return None if isinstance(value, Unavailable) else value


def _print(
    result: BacktestResult,
    trial: Trial,
    source: Source,
    board: Board,
    *,
    is_new: bool,
    trials: int,
) -> None:
    mark = " (made-up minutes)" if source.is_synthetic and not board.is_daily else ""
    console.print(
        f"{', '.join(trial.strategies)} on {', '.join(trial.symbols)}, {source.name}{mark}, "
        f"{trial.start} to {trial.end}"
    )
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in summary_figures(board, result).items():
        table.add_row(*figure_row(name, value))
    console.print(table)
    groups = Table("", "trades", "wins", "net", "profit factor", box=None, pad_edge=False)
    for found in (result.by_strategy, result.by_sector):
        for name, group in found.items():
            factor = _number(group.profit_factor)
            groups.add_row(
                name,
                str(group.trades),
                str(group.wins),
                dollars(group.net_usd),
                "–" if factor is None else f"{factor:.2f}",
            )
        groups.add_section()
    console.print(groups)
    if result.refusals:
        told = ", ".join(f"{rule} {count}" for rule, count in result.refusals.items())
        console.print(f"signals refused: {told}")
    if "news_reversal" in trial.strategies:
        console.print("news_reversal had no news to read: a fall without a reading is no signal")
    console.print(_months(result), highlight=False)
    again = "" if is_new else ", which had been run before"
    console.print(f"trial {trial.trial_id[:12]}{again}; the ledger has {trials}")


def _months(result: BacktestResult) -> str:
    traded = [m for m in result.by_month if m.is_traded]
    idle = len(result.by_month) - len(traded)
    mean = result.mean_month_frac
    told = mean.reason if isinstance(mean, Unavailable) else f"{mean:+.2%} a month on the average"
    return f"{len(traded)} months with trading, {told}; {idle} without"
