"""The command that looks for strategies which see the future, or warm up too short.

Before it stands `jobs.bias`; `cluster.cli` puts it into the `greenlight` command.
"""

from __future__ import annotations

import json
from typing import Any, Final

import typer
from rich.console import Console

from cluster import cli_facts
from cluster.backtest_input import asked_settings, history_board, open_history
from cluster.search_input import (
    EndOption,
    ParamOption,
    SourceOption,
    StartOption,
    StrategyOption,
    SymbolsOption,
)
from greenlight.adapters.history import FloatArray
from greenlight.domain.backtest_signals import History
from greenlight.domain.signals import Strategy
from greenlight.strategies import build_strategies
from jobs.backtest import history_signals
from jobs.backtest_market import Board
from jobs.bias import BiasReport, history_warnings, lookahead, warm_up

FOUND: Final = 1
"""Exit code where a decision changed."""

console = Console()


def register(app: typer.Typer) -> None:
    """Add the command to the `greenlight` command."""
    app.command(name="lookahead-analysis")(lookahead_analysis)


def lookahead_analysis(
    strategy: StrategyOption = None,
    symbols: SymbolsOption = None,
    start: StartOption = None,
    end: EndOption = None,
    source: SourceOption = None,
    param: ParamOption = None,
    as_json: cli_facts.JsonFlag = False,
) -> None:
    """Cut the history off at each decision, ask the strategy again, and compare.

    Asks it a second time with no more bars before a decision than it says it needs.
    Exit code 1 if any decision changed.
    """
    settings = asked_settings(strategy, symbols, start, end, source, param or ())
    strategies = build_strategies(settings)
    board = history_board(settings, strategies, open_history(settings.source))
    rows: list[dict[str, Any]] = []
    for one in strategies:
        for number, symbol in enumerate(board.market.symbols):
            rows.append({"strategy": one.name, "symbol": symbol, **_checked(board, one, number)})
    warnings = history_warnings(tuple(board.series.values()), settings.start, settings.end)
    is_clean = not any(row["lookahead"] or row["warm_up"] for row in rows)
    if as_json:
        typer.echo(json.dumps({"checks": rows, "warnings": warnings}, indent=2))
    else:
        for row in rows:
            told = [
                f"{len(row[name])} of {row['checked']} bars {what}"
                for name, what in (
                    ("lookahead", "decided otherwise without the future"),
                    ("warm_up", f"decided otherwise after {row['warmup_bars']} bars of warm-up"),
                )
                if row[name]
            ]
            clean = f"{row['checked']} bars, {row['signals']} signals, no finding"
            found = "; ".join(told) or clean
            console.print(f"{row['strategy']} on {row['symbol']}: {found}", highlight=False)
        for text in warnings:
            console.print(f"warning: {text}", highlight=False, soft_wrap=True)
    if not is_clean:
        raise typer.Exit(FOUND)


def _checked(board: Board, strategy: Strategy, symbol: int) -> dict[str, Any]:
    is_daily = strategy.timeframe == "1Day"
    history, _ = board.daily_history(symbol) if is_daily else board.minute_history(symbol)

    def signals(part: History) -> FloatArray:
        return history_signals(board, strategy, part)[0]

    ahead = lookahead(signals, history)
    warm = warm_up(signals, history, strategy.warmup_bars)
    return {
        "checked": ahead.checked,
        "signals": ahead.signals,
        "warmup_bars": strategy.warmup_bars,
        "lookahead": _told(ahead),
        "warm_up": _told(warm),
    }


def _told(report: BiasReport) -> list[dict[str, Any]]:
    return [
        {"bar": d.bar, "column": d.column, "whole": d.whole, "again": d.again}
        for d in report.differences
    ]
