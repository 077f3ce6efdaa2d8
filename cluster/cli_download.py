"""The command that fetches history from Alpaca into CSV files.

Before it stands `jobs.download`; `cluster.cli` puts it beside the other commands of
`greenlight data`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cluster.cli_reconcile import data_keys
from cluster.desk_file import DeskFile
from cluster.processes import StartError
from greenlight.domain.market import eastern_date
from greenlight.ports import BrokerUnavailable
from greenlight.settings import load_settings
from jobs.download import chunks, download

_A_MINUTE: Final = 180.0
"""Requests; Alpaca's free plan takes 200 a minute, and the desk may be asking too."""
_BURST: Final = 10

console = Console()
errors = Console(stderr=True)


def data_download(
    symbols: Annotated[str, typer.Option(help="Symbols, with commas between.")],
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day.")],
    end: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day; none: yesterday.")
    ] = None,
    timeframe: Annotated[str, typer.Option(help="1Day or 1Min.")] = "1Day",
    to: Annotated[
        Path | None, typer.Option(help="Folder; none: history/TIMEFRAME of the desk's.")
    ] = None,
) -> None:
    """Fetch raw bars, splits and dividends from Alpaca into CSV files; repeated, it goes on.

    While a desk runs on the paper exchange, it asks that.
    """
    from greenlight.adapters.alpaca_broker import is_loopback
    from greenlight.adapters.alpaca_data import AlpacaMarketData
    from greenlight.adapters.rate_limit import TokenBucket, no_pace

    settings = load_settings()
    names = tuple(dict.fromkeys(s.strip().upper() for s in symbols.split(",") if s.strip()))
    yesterday = eastern_date(datetime.now(UTC)) - timedelta(days=1)
    last = yesterday if end is None else min(end.date(), yesterday)
    if not names:
        raise StartError("--symbols: name at least one")
    if timeframe not in ("1Day", "1Min"):
        raise StartError(f"--timeframe {timeframe}: there are 1Day and 1Min")
    if start.date() > last:
        raise StartError(f"--start {start.date()} is after the last day, {last}")
    desk = DeskFile.read(settings.home)
    exchange_url = desk.exchange_url if desk is not None and desk.is_alive() else None
    url, key, secret = data_keys(settings, exchange_url)
    pace = (
        no_pace
        if is_loopback(url)
        else TokenBucket(
            per_minute=_A_MINUTE, burst=_BURST, monotonic=time.monotonic, sleep=time.sleep
        )
    )
    feed = AlpacaMarketData(
        base_url=url,
        key_id=key,
        secret_key=secret,
        deadline_s=max(settings.request_deadline_s, 30.0),
        pace=pace,
    )
    folder = to or settings.home / "history" / timeframe
    total = len(names) * len(chunks(timeframe, start.date(), last))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    counts = dict.fromkeys(names, 0)
    try:
        with Progress(*columns, console=errors) as progress:
            task = progress.add_task("asking", total=total)
            found = download(feed, names, timeframe, start.date(), last, folder, time.sleep)
            for chunk in found:
                counts[chunk.symbol] += chunk.bars
                progress.update(
                    task, advance=1, description=f"{chunk.symbol} through {chunk.through}"
                )
    except BrokerUnavailable as error:
        raise StartError(
            f"Alpaca does not answer ({error}); what came is kept, the same command goes on"
        ) from error
    except ValueError as error:
        raise StartError(f"download: {error}") from error
    for name, count in counts.items():
        console.print(f"{name}: {count:,} new bars")
    console.print(f"use it with --source csv:{folder}", soft_wrap=True)
