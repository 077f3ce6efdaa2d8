"""The command that holds recorded sessions against their twins.

Before it stand the store and the history that the desk saw (a replay's source, or
Alpaca); after it `actors.twin` and `jobs.twin`. What it finds is stored, and the
seventh criterion reads it.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from actors.twin import TwinDesk, decide_again
from cluster import cli_facts
from cluster.backtest_input import open_history
from cluster.desk_config import ALPACA_DATA
from cluster.processes import StartError
from cluster.source_history import SourceHistory, headlines_between
from cluster.wiring import fingerprint
from greenlight.adapters.alpaca_data import AlpacaMarketData
from greenlight.adapters.no_sentiment import NoSentiment
from greenlight.adapters.sector_table import sector_table
from greenlight.domain.audit import instant_text
from greenlight.domain.market import eastern_date
from greenlight.domain.twin import PnlSplit, TwinOutcome, detail_json
from greenlight.ports import MarketData, Run, SentimentModel, Store
from greenlight.settings import Settings, load_settings
from greenlight.strategies import build_strategies
from jobs.forecasts import ExpectedVolatility
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
        start, end = (days[0], days[-1]) if days else (eastern_date(now), eastern_date(now))
        if day is not None:
            start = end = day.date()
        if start not in days:
            there = f"{days[0]} to {days[-1]}" if days else "none"
            raise StartError(f"no session was recorded on {start}; recorded: {there}")
        mark = fingerprint(settings)
        if mark != run.fingerprint:
            errors.print(f"greenlight: {_OTHER}", highlight=False, soft_wrap=True)
        told = told_desk(settings, store, run, first)
        outcomes = run_twin(
            store, partial(decide_again, store, told), start, end, at=now, fingerprint=mark
        )
        for outcome in outcomes:
            store.record_twin(outcome)
    if as_json:
        typer.echo(json.dumps([_as_json(outcome) for outcome in outcomes], indent=2))
    else:
        _print(outcomes)
    if not all(outcome.is_equal for outcome in outcomes):
        raise typer.Exit(DIFFERENT)


def told_desk(settings: Settings, store: Store, run: Run, first: Run) -> TwinDesk:
    """What the recorded desk was told, from the settings it ran with.

    Raises
    ------
    StartError
        What it read the news with cannot be asked again.
    """
    strategies = build_strategies(settings)
    market_data: MarketData
    history: SourceHistory | None = None
    symbols = settings.symbols
    if run.account_kind == "replay":
        source = open_history(settings.source)
        market_data = history = SourceHistory(source)
        symbols = symbols or source.symbols
    else:
        market_data = _alpaca(settings)
    return TwinDesk(
        desk=settings.desk,
        strategies=strategies,
        symbols=symbols,
        limits=settings.limits(),
        sectors=sector_table() | settings.sectors,
        execution=settings.entry_policy(),
        market_data=market_data,
        sentiment=_sentiment(settings, history, eastern_date(first.started_at)),
        forecast=ExpectedVolatility(store),
        every_minute=any(strategy.timeframe != "1Day" for strategy in strategies),
    )


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


def _sentiment(settings: Settings, history: SourceHistory | None, start: date) -> SentimentModel:
    if settings.sentiment == "none":
        return NoSentiment()
    if settings.sentiment != "lexicon" or history is None:
        raise StartError(
            f"the twin cannot read the news again as {settings.sentiment} did; it can with "
            "GREENLIGHT_SENTIMENT none, and with lexicon on a replay"
        )
    from greenlight.adapters.lexicon import WaitingLexicon

    end = settings.end if settings.headlines == "synthetic" else start - timedelta(days=1)
    made = history.headlines(settings.start, end, seed=0)
    return WaitingLexicon(
        fetch=partial(headlines_between, made),
        symbols=settings.symbols,
        window=timedelta(hours=settings.sentiment_window_h),
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
