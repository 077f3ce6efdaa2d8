"""What a backtest's commands are asked for: settings, history, and the trial ledger.

Before it stand the options and the environment; after it the commands. What cannot
be is refused here, in one line, before anything runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final

from cluster import cli_facts, services
from cluster.desk_file import DeskFile
from cluster.paper_exchange.sources import Source, open_source
from cluster.processes import StartError
from greenlight.adapters.sector_table import sector_table
from greenlight.adapters.timescale import TimescaleStore, migrate
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.market import sessions_between
from greenlight.domain.signals import Strategy
from greenlight.settings import Settings, SettingsError, load_settings
from greenlight.strategies import BUILT_IN
from jobs.backtest import BacktestPlan
from jobs.backtest_market import Board, daily_board, minute_board
from jobs.bias import window_holes

_DAILY: Final = "1Day"
_SHARED: Final = ("stop_frac", "target_frac", "hold_sessions")
_PARAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "mean_reversion": (
        "timeframe",
        "rsi_period",
        "rsi_oversold",
        "trend_period",
        "trend_slack_frac",
        "max_atr_frac",
        *_SHARED,
    ),
    "news_reversal": (
        "news_timeframe",
        "news_volatility_bars",
        "news_fall_bars",
        "news_fall_sigmas",
        "news_max_score",
        "news_turn_bars",
        *_SHARED,
    ),
    "opening_range": (
        "range_minutes",
        "range_volume_factor",
        "range_last_entry_minutes",
        "range_target_risks",
        "range_hold_sessions",
    ),
}
"""The settings of each built-in strategy; the limits are parameters of all."""
_LIMITS: Final = frozenset(
    field.name for field in fields(RiskLimits) if field.name in Settings.model_fields
)

# -- what is asked for


def asked_settings(
    strategy: str | None,
    symbols: str | None,
    start: datetime | None,
    end: datetime | None,
    source: str | None,
    params: Sequence[str],
) -> Settings:
    """The settings with the command's options over them.

    Raises
    ------
    SettingsError
        A parameter is unknown or not allowed; one line that says which.
    """
    given: dict[str, Any] = {
        "strategies": strategy,
        "symbols": symbols,
        "start": None if start is None else start.date(),
        "end": None if end is None else end.date(),
        "source": source,
    }
    settings = load_settings(**given)
    plugged: dict[str, dict[str, Any]] = {k: dict(v) for k, v in settings.strategy_params.items()}
    for text in params:
        name, is_pair, value = text.partition("=")
        name = name.strip()
        if not is_pair:
            raise SettingsError(f"--param {text}: write NAME=VALUE")
        if name in _allowed(settings.strategies):
            given[name] = value.strip()
            continue
        own = [one for one in settings.strategies if one not in BUILT_IN]
        if len(own) != 1:
            there = ", ".join(sorted(_allowed(settings.strategies)))
            raise SettingsError(f"--param {name}: no such parameter; there are {there}")
        plugged.setdefault(own[0], {})[name] = _value(value)
    return load_settings(**given, strategy_params=plugged)


def _allowed(strategies: Sequence[str]) -> frozenset[str]:
    return _LIMITS.union(*(_PARAMS.get(name, ()) for name in strategies))


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def open_history(spec: str) -> Source:
    """The source that a specification names; `StartError` where there is none."""
    try:
        return open_source(spec)
    except ValueError as error:
        raise StartError(f"source {spec!r}: {error}") from error


def history_board(settings: Settings, strategies: Sequence[Strategy], source: Source) -> Board:
    """The history that a backtest trades on.

    Raises
    ------
    StartError
        A symbol has no history in the window, or has a hole in it that nothing explains.
    """
    symbols = settings.symbols or source.symbols
    missing = [symbol for symbol in symbols if symbol not in source.symbols]
    if missing:
        there = ", ".join(source.symbols)
        raise StartError(f"{source.name} has no {', '.join(missing)}; it has {there}")
    series = [source.daily(symbol) for symbol in dict.fromkeys(symbols)]
    window = f"from {settings.start} to {settings.end}"
    inside = [
        one.symbol
        for one in series
        if any(settings.start <= day <= settings.end for day in one.days.tolist())
    ]
    if not inside:
        raise StartError(f"{source.name} has no history of {', '.join(symbols)} {window}")
    unknown = [symbol for symbol in settings.symbols if symbol not in inside]
    if unknown:
        raise StartError(f"{source.name} has no history of {', '.join(unknown)} {window}")
    holes = [text for one in series for text in window_holes(one, settings.start, settings.end)]
    if holes:
        raise StartError(
            f"{holes[0]}{f' (and {len(holes) - 1} more)' if len(holes) > 1 else ''}; no backtest "
            "runs over a hole: leave the symbol out, or choose another window"
        )
    sectors = sector_table() | settings.sectors
    minutely = [one for one in strategies if one.timeframe != _DAILY]
    if not minutely:
        return daily_board(series, settings.end, sectors)
    sessions = max(-(-one.warmup_bars // 390) for one in minutely) + 1
    before = sessions_between(
        settings.start - timedelta(days=2 * sessions + 10), settings.start - timedelta(days=1)
    )
    first = before[-sessions:][0].day if before else settings.start
    tapes = {
        session.day: source.tape(session.day).symbols
        for session in source.sessions(first, settings.end)
    }
    return minute_board(series, tapes, settings.end, sectors)


# -- the ledger


@contextmanager
def ledger(settings: Settings) -> Iterator[TimescaleStore]:
    """The desk's store, made where there was no desk yet."""
    desk = DeskFile.read(settings.home)
    is_there = settings.database_url is not None or (desk is not None and desk.is_alive())
    with ExitStack() as stack:
        if not is_there:
            try:
                postgres = services.start_postgres(settings.home)
            except services.ServiceError as error:
                raise StartError(f"the trial ledger cannot be kept: {error}") from error
            if not postgres.is_adopted:
                stack.callback(postgres.stop)
            migrate(postgres.url)
        yield stack.enter_context(cli_facts.open_store(settings))


def trial_params(settings: Settings, plan: BacktestPlan) -> dict[str, object]:
    """Every setting that a backtest's decisions depend on, as JSON values."""
    names = {*_allowed(settings.strategies), "entry_timeout_s", "entry_reprices"}
    dumped = json.loads(settings.model_dump_json(include={*names, "strategy_params"}))
    return {
        **dumped,
        "start_cash_usd": plan.start_cash_usd,
        "resume_sessions": plan.resume_sessions,
        "has_forecasts": plan.policy is not None,
        "half_spread_frac": plan.costs.half_spread_frac,
        "slippage_frac": plan.costs.slippage_frac,
    }


def running_code() -> str:
    """SHA-256 of the code that decides."""
    # Imported here because it loads the broker's client.
    from cluster.wiring import code_hash

    return code_hash()
