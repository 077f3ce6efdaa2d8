"""The command that compares the ledger with the broker, and corrects what it may.

Before it stand the store and the broker; `cluster.cli` puts it into the
`greenlight` command. A running desk corrects by itself every minute, so beside
one the command only shows; without one it corrects as a desk's start would.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from actors.cash_book import CashBook
from actors.position_monitor import PositionMonitor
from actors.reconciler import Reconciler, correction_name
from cluster import cli_facts
from cluster.desk_config import (
    ALPACA_DATA,
    ALPACA_TRADING,
    EXCHANGE_KEY,
    EXCHANGE_SECRET,
)
from cluster.desk_file import DeskFile
from cluster.processes import StartError
from greenlight.adapters.console import ConsoleNotifier
from greenlight.domain.orders import Execution
from greenlight.domain.reconcile import Correction, Flag
from greenlight.ports import Broker, BrokerRefused, BrokerUnavailable, MarketData, Notifier, Store
from greenlight.settings import Settings, load_settings
from jobs.readiness import present

DIFFERS: Final = 3
"""Exit code while something differs that was not corrected."""

console = Console()


def register(app: typer.Typer) -> None:
    """Add the command to the `greenlight` command."""
    app.command()(reconcile)


def reconcile(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing.")] = False,
    as_json: cli_facts.JsonFlag = False,
) -> None:
    """Compare orders, positions, fills and cash with the broker's, and correct.

    Beside a running desk nothing is changed: it corrects by itself within a
    minute. Exit code 0 if nothing differs any more, 3 if something does, 2 if
    the store or the broker does not answer.
    """
    settings = load_settings()
    desk = DeskFile.read(settings.home)
    is_running = desk is not None and desk.is_alive()
    with cli_facts.open_store(settings) as store:
        broker, data = connect(settings, desk.exchange_url if desk and is_running else None)
        now = present(store, datetime.now(UTC))
        try:
            found, left = compare(
                store=store,
                broker=broker,
                market_data=data,
                notifier=ConsoleNotifier(),
                desk=settings.desk,
                now=now,
                may_correct=not (dry_run or is_running),
            )
        except (BrokerUnavailable, BrokerRefused) as error:
            raise StartError(f"the broker does not tell ({error}); try again") from error
    if as_json:
        rows = [as_row(c, is_corrected=c not in left) for c in found]
        typer.echo(json.dumps({"is_running": is_running, "corrections": rows}, indent=2))
    else:
        _print(found, left, is_running=is_running)
    if left:
        raise typer.Exit(DIFFERS)


def connect(settings: Settings, exchange_url: str | None) -> tuple[Broker, MarketData]:
    """The broker that the desk trades on, and its data.

    Raises
    ------
    StartError
        There is neither a key nor a running paper exchange.
    """
    # The vendor's client takes long to load, and the other commands do without it.
    from greenlight.adapters.alpaca_broker import AlpacaBroker
    from greenlight.adapters.alpaca_data import AlpacaMarketData

    data, key, secret = data_keys(settings, exchange_url)
    trading = exchange_url or ALPACA_TRADING
    deadline_s = settings.request_deadline_s
    return (
        AlpacaBroker(base_url=trading, key_id=key, secret_key=secret, deadline_s=deadline_s),
        AlpacaMarketData(base_url=data, key_id=key, secret_key=secret, deadline_s=deadline_s),
    )


def data_keys(settings: Settings, exchange_url: str | None) -> tuple[str, str, str]:
    """Where market data is asked for, with key and secret.

    Raises
    ------
    StartError
        There is neither a key nor a running paper exchange.
    """
    if exchange_url is not None:
        return exchange_url, EXCHANGE_KEY, EXCHANGE_SECRET
    if settings.api_key_id is not None and settings.api_secret_key is not None:
        return ALPACA_DATA, settings.api_key_id, settings.api_secret_key.get_secret_value()
    raise StartError(
        "there is no broker to ask: no desk runs on the paper exchange, "
        "and APCA_API_KEY_ID is not set"
    )


def compare(
    *,
    store: Store,
    broker: Broker,
    market_data: MarketData,
    notifier: Notifier,
    desk: str,
    now: datetime,
    may_correct: bool,
) -> tuple[tuple[Correction, ...], tuple[Correction, ...]]:
    """What differs, and what of it is left (all of it where nothing may be corrected).

    Raises
    ------
    BrokerUnavailable, BrokerRefused
        The broker does not tell.
    """
    reconciler = Reconciler(
        store=store,
        broker=broker,
        market_data=market_data,
        notifier=notifier,
        desk=desk,
        sleep=time.sleep,
    )
    found = reconciler.look(now)
    if not may_correct or not found:
        return found, found

    def check(symbol: str) -> None:
        monitor = PositionMonitor(
            symbol=symbol,
            store=store,
            broker=broker,
            notifier=notifier,
            desk=desk,
            now=now,
            sleep=time.sleep,
        )
        monitor.check(now)

    def book(fill: Execution) -> None:
        if not store.book_fill(fill, Decimal(0)).is_duplicate:
            check(fill.symbol)

    cash_book = CashBook(store=store, broker=broker, notifier=notifier, desk=desk)
    reconciler.run(now, book=book, check=check, book_cash=lambda: bool(cash_book.update(now)))
    return found, reconciler.look(now)


def as_row(correction: Correction, *, is_corrected: bool) -> dict[str, object]:
    """A correction for programs."""
    return {
        "correction": correction_name(correction),
        "symbol": correction.symbol,
        "reason": correction.reason,
        "figures": dict(correction.figures),
        "is_corrected": is_corrected,
    }


def _print(found: Sequence[Correction], left: Sequence[Correction], *, is_running: bool) -> None:
    if not found:
        console.print("the ledger and the broker agree")
        return
    table = Table("", "correction", "symbol", "why", "figures", box=None, pad_edge=False)
    for correction in found:
        mark = "[green]done[/green]" if correction not in left else "[yellow]open[/yellow]"
        if correction in left and isinstance(correction, Flag):
            mark = "[red]look[/red]"
        figures = ", ".join(f"{name} {value}" for name, value in correction.figures.items())
        table.add_row(
            mark, correction_name(correction), correction.symbol or "", correction.reason, figures
        )
    console.print(table)
    if left and is_running:
        console.print("the running desk corrects this by itself within a minute, but for flags")
