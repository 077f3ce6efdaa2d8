"""The command that reviews the portfolio: holdings, scores, gains by group.

Before it stands `jobs.portfolio`; `cluster.cli` puts it into the `greenlight` command.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import typer
from rich.console import Console
from rich.table import Table

from cluster import cli_facts
from greenlight.adapters.sector_table import sector_table
from greenlight.domain.audit import instant_text
from greenlight.domain.market import Unavailable
from greenlight.domain.portfolio import Earned
from greenlight.settings import load_settings
from jobs.portfolio import ReviewedPortfolio, review_portfolio
from jobs.readiness import present

console = Console()


def register(app: typer.Typer) -> None:
    """Add the command to the `greenlight` command."""
    app.command()(review)


def review(as_json: cli_facts.JsonFlag = False) -> None:
    """Review the portfolio: what it is worth, what it earned, what needs attention.

    Every position is scored HOLD, ADD, TRIM or EXIT with the contribution of
    each input, the most urgent first. The desk acts on an EXIT only where
    GREENLIGHT_ACT_ON_SCORES is on.
    """
    settings = load_settings()
    with cli_facts.open_store(settings) as store:
        found = review_portfolio(
            store,
            now=present(store, datetime.now(UTC)),
            symbols=settings.symbols,
            sectors=sector_table() | settings.sectors,
            max_weight_frac=settings.max_weight_frac,
        )
    if isinstance(found, Unavailable):
        console.print(f"{found.reason}; start it with 'greenlight up'")
        raise typer.Exit(1)
    if as_json:
        typer.echo(json.dumps(_as_json(found), indent=2))
    else:
        _print(found)


def _as_json(found: ReviewedPortfolio) -> dict[str, object]:
    portfolio = found.portfolio
    return {
        "at": instant_text(portfolio.at),
        "cash_usd": float(portfolio.cash_usd),
        "cash_off_usd": _number(found.cash_off_usd),
        "equity_usd": _number(portfolio.equity_usd),
        "dividends_usd": {s: float(usd) for s, usd in found.dividends_usd.items()},
        "charges_usd": {kind: float(usd) for kind, usd in found.charges_usd.items()},
        "transfers_usd": {kind: float(usd) for kind, usd in found.transfers_usd.items()},
        "holdings": [
            {
                "symbol": h.symbol,
                "strategy": h.strategy,
                "sector": h.sector,
                "qty": h.qty,
                "cost_usd": float(h.cost_usd),
                "marked_usd": _number(h.marked_usd),
                "unrealized_usd": _number(h.unrealized_usd),
            }
            for h in portfolio.holdings
        ],
        "scores": [
            {
                "symbol": s.symbol,
                "action": s.action,
                "score": s.value,
                "contributions": dict(s.contributions),
                "missing": dict(s.missing),
            }
            for s in found.scores
        ],
        "unscored": dict(found.unscored),
        "realized_by_day": {str(d): float(usd) for d, usd in portfolio.realized_by_day.items()},
        "by_symbol": _groups(portfolio.by_symbol),
        "by_sector": _groups(portfolio.by_sector),
        "by_strategy": _groups(portfolio.by_strategy),
    }


def _groups(groups: Mapping[str, Earned]) -> dict[str, dict[str, float | None]]:
    return {
        name: {
            "realized_usd": float(earned.realized_usd),
            "unrealized_usd": _number(earned.unrealized_usd),
        }
        for name, earned in groups.items()
    }


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _print(found: ReviewedPortfolio) -> None:
    portfolio = found.portfolio
    table = Table("what", "realised", "unrealised", box=None, pad_edge=False)
    for groups in (portfolio.by_strategy, portfolio.by_sector, portfolio.by_symbol):
        for name, earned in groups.items():
            table.add_row(name, _dollars(earned.realized_usd), _dollars(earned.unrealized_usd))
        table.add_section()
    console.print(f"equity {_dollars(portfolio.equity_usd)}, cash {_dollars(portfolio.cash_usd)}")
    if found.cash_off_usd is not None:
        console.print(f"the ledger's cash less the broker's: {_dollars(found.cash_off_usd)}")
    console.print(table)
    for what, moved in (
        ("dividends", found.dividends_usd),
        ("fees and interest", found.charges_usd),
        ("transfers", found.transfers_usd),
    ):
        if moved:
            listed = ", ".join(f"{name} {_dollars(usd)}" for name, usd in moved.items())
            console.print(f"{what} (in no gain above): {listed}")
    for scored in found.scores:
        parts = ", ".join(f"{name} {part:+.2f}" for name, part in scored.contributions.items())
        missing = "".join(f"; no {name}: {why}" for name, why in scored.missing.items())
        console.print(f"{scored.action:5} {scored.symbol:6} {scored.value:+.2f} ({parts}{missing})")
    for symbol, why in found.unscored.items():
        console.print(f"?     {symbol:6} {why}")


def _dollars(value: Decimal | None) -> str:
    return "—" if value is None else f"{'-' if value < 0 else ''}${abs(value):,.2f}"
