"""The commands of the model that reads the news: how it stands, fetching it, its worth.

Before them stand the store, the model's server and `jobs.sentiment_worth`;
`cluster.cli` puts them into the `greenlight` command.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from cluster import cli_facts
from cluster.ollama_server import ollama_address
from cluster.processes import StartError
from greenlight.domain.audit import DecisionKind, instant_text
from greenlight.domain.market import EASTERN, Unavailable
from greenlight.domain.sentiment import Reading
from greenlight.domain.sentiment_status import from_json, in_words, to_json
from greenlight.ports import ModelFailed, Store
from greenlight.settings import Settings, load_settings
from jobs.readiness import present

NOT_SHOWN: Final = 3
"""Exit code of `report` where the readings were not found to help."""
_RECENT: Final = timedelta(days=7)
_WARM_UP: Final = timedelta(days=450)
"""History before the first opinion: the strategy's ATR and the rules' look-backs."""

app = typer.Typer(help="The model that reads the news.", no_args_is_help=True)
console = Console()


def register(parent: typer.Typer) -> None:
    """Add the commands to the `greenlight` command."""
    parent.add_typer(app, name="sentiment")


@app.command()
def status(as_json: cli_facts.JsonFlag = False) -> None:
    """Show how the model stands, its breaker, its queue, and the last readings given."""
    settings = load_settings()
    with cli_facts.open_store(settings) as store:
        now = present(store, datetime.now(UTC))
        row = store.sentiment_state()
        given = store.readings(now - _RECENT, limit=10)
        used = _decisions_with_news(store, now)
    found = None if row is None else from_json(row)
    if as_json:
        rows: dict[str, Any] = {
            "setting": settings.sentiment,
            "weight": settings.sentiment_weight,
            "status": None if found is None else to_json(found),
            "readings": [
                {
                    "symbol": one.symbol,
                    "at": instant_text(one.at),
                    "weight": one.weight,
                    "score": one.found.score if isinstance(one.found, Reading) else None,
                    "uncertainty": one.found.uncertainty
                    if isinstance(one.found, Reading)
                    else None,
                    "absence": None if isinstance(one.found, Reading) else one.found.reason,
                }
                for one in given
            ],
            "decisions": used,
        }
        typer.echo(json.dumps(rows, indent=2))
        return
    console.print(f"GREENLIGHT_SENTIMENT is {settings.sentiment}, its weight {_weight(settings)}")
    if found is None:
        console.print("no model has read anything yet")
        return
    as_of = f"{found.at.astimezone(EASTERN):%Y-%m-%d %H:%M:%S} ET"
    for name, text in (*in_words(found), ("as of", as_of)):
        console.print(f"  {name:<9} {text}")
    if used:
        told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(used.items()))
        console.print(f"  decisions {told} with a reading, or for want of one, in the last 7 days")
    table = Table("symbol", "at", "score", "why none", box=None, pad_edge=False)
    for one in given:
        at = f"{one.at.astimezone(EASTERN):%Y-%m-%d %H:%M} ET"
        if isinstance(one.found, Reading):
            score = f"{one.found.score:+.2f} ± {one.found.uncertainty:.2f}"
            table.add_row(one.symbol, at, score, "")
        else:
            table.add_row(one.symbol, at, "–", one.found.reason)
    if given:
        console.print(table)


def _weight(settings: Settings) -> str:
    if settings.sentiment == "ollama":
        return f"{settings.sentiment_weight:g}"
    return "1" if settings.sentiment == "lexicon" else "0"


def _decisions_with_news(store: Store, now: datetime) -> dict[str, int]:
    """Entry decisions of the last days that a reading, or its absence, took part in."""
    counts: dict[str, int] = {}
    for row in store.decisions(start=now - _RECENT, kind=DecisionKind.ENTRY):
        decision = row.decision
        if "signal.sentiment" in decision.figures or "sentiment" in decision.reason:
            counts[decision.verdict] = counts.get(decision.verdict, 0) + 1
    return counts


@app.command()
def pull(
    model: Annotated[
        str | None, typer.Argument(help="Its name; none: GREENLIGHT_SENTIMENT_MODEL.")
    ] = None,
) -> None:
    """Download the model onto its server; nothing else ever does."""
    from greenlight.adapters.ollama import pull as pull_model

    settings = load_settings()
    name = model or settings.sentiment_model
    host = ollama_address(settings.ollama_host)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    said = ""
    try:
        with Progress(*columns, console=console) as progress:
            tasks: dict[str, Any] = {}
            for row in pull_model(host, name):
                if row.layer is None:
                    said = row.status
                    continue
                if row.layer not in tasks:
                    tasks[row.layer] = progress.add_task(row.status, total=row.total_bytes)
                progress.update(
                    tasks[row.layer], completed=row.done_bytes or 0, total=row.total_bytes
                )
    except ModelFailed as error:
        raise StartError(f"{name} cannot be pulled to {host}: {error}") from error
    console.print(f"{name}: {said or 'nothing to do'}")


@app.command()
def report(as_json: cli_facts.JsonFlag = False) -> None:
    """Compare a book that trades with the readings to a shadow book without.

    Exit code 0 if StepM finds that the readings help, 3 if not or not yet.
    """
    from greenlight.domain.backtest import DEFAULT_COSTS
    from greenlight.domain.news_reversal import NewsReversal
    from greenlight.strategies import build_strategies
    from jobs.backtest import BacktestPlan
    from jobs.sentiment_worth import worth

    settings = load_settings()
    with cli_facts.open_store(settings) as store:
        now = present(store, datetime.now(UTC))
        opinions = store.opinions(now - timedelta(days=730), limit=None)
    if not opinions:
        found: Any = Unavailable("no headline was ever read by a model")
    else:
        chosen = {"strategies": ("news_reversal",), "strategy_params": {}}
        (strategy,) = build_strategies(
            settings.model_copy(update={**chosen, "news_timeframe": "1Day"})
        )
        assert isinstance(strategy, NewsReversal)
        plan = BacktestPlan(
            strategies=(strategy,),
            start=settings.start,
            limits=settings.limits(),
            costs=DEFAULT_COSTS,
            entry=settings.entry_policy(),
            start_cash_usd=settings.start_cash_usd,
            policy=None,
        )
        first = min(opinion.headline.at for opinion in opinions)
        found = worth(
            _daily_board(settings, first, now),
            strategy,
            opinions,
            plan,
            half_life=timedelta(hours=settings.sentiment_half_life_h),
        )
    _tell(found, as_json)


def _daily_board(settings: Settings, first: datetime, now: datetime) -> Any:
    from cluster.cli_reconcile import connect
    from cluster.paper_exchange.sources import open_source
    from greenlight.adapters.sector_table import sector_table
    from jobs.backtest_market import daily_board
    from jobs.sentiment_worth import series_of

    sectors = sector_table() | settings.sectors
    if settings.api_key_id is None:
        source = open_source(settings.source)
        series = [source.daily(symbol) for symbol in settings.symbols or source.symbols]
    else:
        _, data = connect(settings, None)
        start = first - _WARM_UP
        bars = data.bars(settings.symbols, "1Day", start, now)
        splits = data.splits(settings.symbols, start.date(), now.date())
        series = series_of(bars, splits, "alpaca")
    return daily_board(series, now.date(), sectors)


def _tell(found: Any, as_json: bool) -> None:
    if isinstance(found, Unavailable):
        row: dict[str, Any] = {"helps": None, "reason": found.reason}
        said = f"nothing to compare: {found.reason}"
        does_help = False
    else:
        verdict = found.helps
        does_help = verdict is True
        row = {
            "first": str(found.first),
            "last": str(found.last),
            "opinions": found.opinions,
            "with_readings": _figures(found.with_readings),
            "without": _figures(found.without),
            "helps": None if isinstance(verdict, Unavailable) else verdict,
            "reason": verdict.reason if isinstance(verdict, Unavailable) else None,
        }
        said = "the readings help; set GREENLIGHT_SENTIMENT_WEIGHT=1 to trade on them"
        if isinstance(verdict, Unavailable):
            said = f"not enough to tell: {verdict.reason}"
        elif not verdict:
            said = "the readings are not found to help; their weight stays 0"
    if as_json:
        typer.echo(json.dumps(row, indent=2))
    else:
        if not isinstance(found, Unavailable):
            table = Table("book", "return", "Sharpe", "trades", box=None, pad_edge=False)
            for name, book in (("with readings", found.with_readings), ("without", found.without)):
                sharpe = book.sharpe_ann
                shown = "–" if isinstance(sharpe, Unavailable) else f"{sharpe:.2f}"
                table.add_row(name, f"{book.return_frac:+.2%}", shown, str(book.trades))
            console.print(f"{found.first} to {found.last}, {found.opinions} opinions")
            console.print(table)
        console.print(said)
    if not does_help:
        raise typer.Exit(NOT_SHOWN)


def _figures(book: Any) -> dict[str, object]:
    sharpe = book.sharpe_ann
    return {
        "return_frac": book.return_frac,
        "sharpe_ann": None if isinstance(sharpe, Unavailable) else sharpe,
        "trades": book.trades,
        "sessions": len(book.returns),
    }
