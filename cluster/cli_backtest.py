"""The command that backtests strategies on a source's history.

Before it stands `jobs.backtest`; `cluster.cli` puts it into the `greenlight`
command. Every run is a row of the trial ledger, also one that nobody liked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from cluster import cli_facts, services
from cluster.desk_file import DeskFile
from cluster.paper_exchange.sources import Source, open_source
from cluster.processes import StartError
from greenlight.adapters.sector_table import sector_table
from greenlight.adapters.timescale import TimescaleStore, migrate
from greenlight.domain.backtest import DEFAULT_COSTS, BacktestResult, GroupFigures
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.market import Unavailable, sessions_between
from greenlight.domain.signals import Strategy
from greenlight.domain.trials import Trial
from greenlight.domain.volatility import VolatilityPolicy
from greenlight.settings import Settings, SettingsError, load_settings
from greenlight.strategies import BUILT_IN, build_strategies
from jobs.backtest import BacktestPlan, backtest, summary_figures, trial_of
from jobs.backtest_market import Board, daily_board, minute_board

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
_COUNTS: Final = frozenset(
    {
        "signals",
        "trades",
        "unfilled",
        "loss_halts",
        "drawdown_halts",
        "longest_drawdown_bars",
        "min_track_record_sessions",
    }
)
"""Figures that are told in whole numbers."""

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
    settings = _settings(strategy, symbols, start, end, source, param or ())
    strategies = build_strategies(settings)
    history = _open(settings.source)
    board = _board(settings, strategies, history)
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
    trial = _trial(settings, board, plan, result)
    with _ledger(settings) as store:
        is_new = store.record_trial(trial)
        trials = len(store.trials(limit=None))
    if as_json:
        found = _as_json(result, trial, board, is_new=is_new, trials=trials)
        typer.echo(json.dumps(found, indent=2))
        return
    _print(result, trial, history, board, is_new=is_new, trials=trials)


# -- what is asked for


def _settings(
    strategy: str | None,
    symbols: str | None,
    start: datetime | None,
    end: datetime | None,
    source: str | None,
    params: Sequence[str],
) -> Settings:
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


def _open(spec: str) -> Source:
    try:
        return open_source(spec)
    except ValueError as error:
        raise StartError(f"source {spec!r}: {error}") from error


def _board(settings: Settings, strategies: Sequence[Strategy], source: Source) -> Board:
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
def _ledger(settings: Settings) -> Iterator[TimescaleStore]:
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


def _trial(settings: Settings, board: Board, plan: BacktestPlan, result: BacktestResult) -> Trial:
    # Imported here because it loads the broker's client.
    from cluster.wiring import code_hash

    names = {*_allowed(settings.strategies), "entry_timeout_s", "entry_reprices"}
    dumped = json.loads(settings.model_dump_json(include={*names, "strategy_params"}))
    params = {
        **dumped,
        "start_cash_usd": plan.start_cash_usd,
        "resume_sessions": plan.resume_sessions,
        "has_forecasts": plan.policy is not None,
        "half_spread_frac": plan.costs.half_spread_frac,
        "slippage_frac": plan.costs.slippage_frac,
    }
    return trial_of(
        board,
        plan,
        result,
        at=datetime.now(UTC),
        end=settings.end,
        source=settings.source,
        code_hash=code_hash(),
        params=params,
    )


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
        table.add_row(*_row(name, value))
    console.print(table)
    groups = Table("", "trades", "wins", "net", "profit factor", box=None, pad_edge=False)
    for found in (result.by_strategy, result.by_sector):
        for name, group in found.items():
            factor = _number(group.profit_factor)
            groups.add_row(
                name,
                str(group.trades),
                str(group.wins),
                _dollars(group.net_usd),
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


def _row(name: str, value: float | Unavailable) -> tuple[str, str]:
    label, _, unit = name.rpartition("_")
    if isinstance(value, Unavailable):
        return (label or name).replace("_", " "), f"– ({value.reason})"
    if unit == "frac":
        return label.replace("_", " "), f"{value:.2%}"
    if unit == "usd":
        return label.replace("_", " "), _dollars(value)
    shown = f"{value:,.0f}" if name in _COUNTS else f"{value:.2f}"
    return name.removesuffix("_ann").replace("_", " "), shown


def _dollars(value: float) -> str:
    return f"{'-' if value < 0 else ''}${abs(value):,.2f}"
