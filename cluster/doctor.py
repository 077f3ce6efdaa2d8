"""What `greenlight doctor` and `greenlight data` find: the machine, and the history."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from cluster import cli_facts, services
from cluster.ollama_server import ollama_address, ollama_binary
from cluster.paper_exchange.sources import Source, open_source
from cluster.processes import StartError
from greenlight.adapters.timescale import TimescaleStore
from greenlight.ports import ModelFailed, StoreUnavailable
from greenlight.settings import Settings
from jobs.ingest import check_source, import_history, list_source

_STORES = {
    "plain": "plain tables with BRIN indexes (no TimescaleDB)",
    "timescale-apache": "TimescaleDB, Apache build: hypertables, no compression or aggregates",
    "timescale-community": "TimescaleDB: hypertables, compression, continuous aggregates",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One finding. Where `is_fine` is False the desk cannot start."""

    what: str
    found: str
    is_fine: bool

    def as_json(self) -> dict[str, object]:
        """The finding as JSON."""
        return asdict(self)


def examine(settings: Settings) -> list[Found]:
    """Look at everything the desk needs, in the order in which it starts."""
    return [
        Found(
            what="Python",
            found=sys.version.split()[0],
            is_fine=(3, 11) <= sys.version_info[:2] <= (3, 13),
        ),
        Found(what="Ray", found=importlib.metadata.version("ray"), is_fine=True),
        _home(settings),
        _store(settings),
        _cache(settings),
        _broker(settings),
        _sentiment(settings),
        Found(what="alerts", found="console and dashboard", is_fine=True),
    ]


def _home(settings: Settings) -> Found:
    home = settings.home.resolve()
    parent = home if home.exists() else home.parent
    is_writable = os.access(parent, os.W_OK)
    free_gb = shutil.disk_usage(parent).free / 1e9
    found = f"{home}, {free_gb:.0f} GB free" if is_writable else f"{home} cannot be written"
    return Found(what="home", found=found, is_fine=is_writable and free_gb > 1)


def _store(settings: Settings) -> Found:
    try:
        with cli_facts.open_store(settings) as store:
            kind = TimescaleStore.describe(store)
    except (StartError, StoreUnavailable, services.ServiceError) as error:
        return Found(what="store", found=str(error), is_fine=False)
    where = "embedded PostgreSQL" if settings.database_url is None else "DATABASE_URL"
    return Found(what="store", found=f"{where}: {_STORES[kind]}", is_fine=True)


def _cache(settings: Settings) -> Found:
    if settings.redis_url is not None:
        return Found(what="cache", found="Redis at REDIS_URL", is_fine=True)
    binary = services.redis_binary()
    found = f"embedded Redis ({binary})" if binary else "none: the desk trades without a cache"
    return Found(what="cache", found=found, is_fine=True)


def _broker(settings: Settings) -> Found:
    if settings.api_key_id is not None:
        has_secret = settings.api_secret_key is not None
        found = "Alpaca paper" if has_secret else "APCA_API_SECRET_KEY is missing"
        return Found(what="broker", found=found, is_fine=has_secret)
    try:
        source = open_source(settings.source)
    except ValueError as error:
        return Found(what="broker", found=f"GREENLIGHT_SOURCE: {error}", is_fine=False)
    mark = ", synthetic intraday path" if source.is_synthetic else ""
    found = f"paper exchange on {source.name}{mark}: {', '.join(source.symbols)}"
    return Found(what="broker", found=found, is_fine=True)


def _sentiment(settings: Settings) -> Found:
    if settings.sentiment != "ollama":
        found = {
            "none": "none (no model is asked for)",
            "lexicon": "the VADER lexicon, as GREENLIGHT_SENTIMENT asks",
        }[settings.sentiment]
        return Found(what="sentiment", found=found, is_fine=True)
    from greenlight.adapters.ollama import OllamaModel

    host = ollama_address(settings.ollama_host)
    gpu_frac = settings.sentiment_gpu_frac
    model = OllamaModel(
        host=host, model=settings.sentiment_model, deadline_s=1.0, wants_gpu=gpu_frac > 0
    )
    try:
        state = f"{model.standing().state}"
    except ModelFailed as error:
        state = f"no answer ({error})"
        if settings.sentiment_serve:
            state = "started with the desk" if ollama_binary() else "no ollama on PATH"
    finally:
        model.close()
    # On a cluster the GPU may be another node's, and the desk trades without it.
    place = (
        f"{gpu_frac:g} of a GPU" if gpu_frac > 0 else "the CPU, as GREENLIGHT_SENTIMENT_GPU_FRAC=0"
    )
    found = f"{model.name} at {host}, on {place}: {state}; weight {settings.sentiment_weight:g}"
    return Found(what="sentiment", found=found, is_fine=True)


def _open(spec: str) -> Source:
    try:
        return open_source(spec)
    except ValueError as error:
        raise StartError(f"source {spec!r}: {error}") from error


def listing(spec: str) -> list[dict[str, object]]:
    """A source's symbols with first and last day, days and splits."""
    return [
        {
            "symbol": row.symbol,
            "first": row.first_day,
            "last": row.last_day,
            "days": row.rows,
            "splits": row.splits,
        }
        for row in list_source(_open(spec))
    ]


def findings(spec: str) -> list[dict[str, object]]:
    """What is odd in a source's daily history."""
    return [
        {"symbol": row.symbol, "day": str(row.day), "kind": row.kind, "detail": row.detail}
        for row in check_source(_open(spec))
    ]


def import_source(spec: str, store: TimescaleStore) -> Iterator[dict[str, object]]:
    """Copy a source's daily bars into the store, symbol by symbol."""
    for row in import_history(_open(spec), store):
        yield {"symbol": row.symbol, "bars": row.rows, "first": row.first_day}
