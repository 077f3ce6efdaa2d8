"""What the commands that search parameters are asked for: a grid, and the ground.

Before it stand the options; after it the run. What cannot be is refused here, in one
line, before anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product
from typing import Annotated, Final

import numpy as np
import typer

from cluster.backtest_input import asked_settings, history_board, open_history, trial_params
from cluster.processes import StartError
from greenlight.domain.backtest import DEFAULT_COSTS
from greenlight.domain.volatility import VolatilityPolicy
from greenlight.domain.walkforward import Fold
from greenlight.settings import Settings, SettingsError
from greenlight.strategies import build_strategies
from jobs.backtest import BacktestPlan
from jobs.bias import history_warnings
from jobs.walkforward import Candidate, FoldPlan, Ground, lay_out

MAX_SETS: Final = 10_000

Day = datetime | None
StrategyOption = Annotated[
    str | None, typer.Option(help="Names, with commas between.", show_default=False)
]
SymbolsOption = Annotated[
    str | None, typer.Option(help="Symbols, with commas between.", show_default=False)
]
StartOption = Annotated[Day, typer.Option(formats=["%Y-%m-%d"], help="First day.")]
EndOption = Annotated[Day, typer.Option(formats=["%Y-%m-%d"], help="Last day.")]
SourceOption = Annotated[
    str | None, typer.Option(help="bokeh, lean:FOLDER, csv:FOLDER or parquet:FOLDER.")
]
ParamOption = Annotated[
    list[str] | None,
    typer.Option(help="NAME=VALUE: a setting of the strategy or a limit; again and again."),
]
GridOption = Annotated[
    list[str] | None,
    typer.Option(help="NAME=V1,V2,… or NAME=FIRST:LAST:STEP: what is searched; again and again."),
]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, max=1024, help="Tasks at once; none: one a core.")
]
ResumeOption = Annotated[
    int, typer.Option(min=0, help="Sessions after which a drawdown's halt ends; 0: never.")
]
ForecastsOption = Annotated[
    bool, typer.Option(help="Size by volatility forecasts, as the desk does.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What was asked for: the desk's settings, the sets of parameters, and the ground."""

    settings: Settings
    ground: Ground
    warnings: tuple[str, ...]
    grid: Mapping[str, tuple[str, ...]]


def asked_search(
    strategy: str | None,
    symbols: str | None,
    start: datetime | None,
    end: datetime | None,
    source: str | None,
    param: Sequence[str] | None,
    grid: Sequence[str] | None,
    resume_sessions: int,
    forecasts: bool,
    cut: FoldPlan | None,
) -> Search:
    """What a search was asked for; `cut` None: one window that is not cut.

    Raises
    ------
    SettingsError, StartError
        It cannot be; one line that says why.
    """

    def read(extra: Sequence[str]) -> Settings:
        return asked_settings(strategy, symbols, start, end, source, [*(param or ()), *extra])

    settings = read(())
    axes = dict(axis(text) for text in grid) if grid else _around(settings)
    count = int(np.prod([len(values) for values in axes.values()])) if axes else 1
    if count > MAX_SETS:
        raise SettingsError(f"--grid: {count} sets of parameters; at most {MAX_SETS}")
    rows = [
        read([f"{name}={value}" for name, value in zip(axes, values, strict=True)])
        for values in product(*axes.values())
    ]
    built = [_candidate(one, resume_sessions, forecasts) for one in rows]
    history = open_history(settings.source)
    board = history_board(settings, [s for one in built for s in one.plan.strategies], history)
    try:
        if cut is None:
            one = FoldPlan(count=1, train_sessions=2, embargo=0, is_anchored=False)
            ground = _whole(lay_out(board, built, one))
        else:
            ground = lay_out(board, built, cut)
    except ValueError as error:
        raise StartError(f"walk-forward: {error}") from error
    warnings = history_warnings(tuple(board.series.values()), settings.start, settings.end)
    return Search(settings=settings, ground=ground, warnings=tuple(warnings), grid=axes)


def _whole(ground: Ground) -> Ground:
    """The ground with one fold that chooses nothing and judges the whole window."""
    fold = Fold(train_first=0, train_end=0, test_first=0, test_end=len(ground.bars) - 1)
    return replace(ground, folds=(fold,))


def _candidate(settings: Settings, resume_sessions: int, forecasts: bool) -> Candidate:
    plan = BacktestPlan(
        strategies=build_strategies(settings),
        start=settings.start,
        limits=settings.limits(),
        costs=DEFAULT_COSTS,
        entry=settings.entry_policy(),
        start_cash_usd=settings.start_cash_usd,
        policy=VolatilityPolicy() if forecasts else None,
        resume_sessions=resume_sessions,
    )
    return Candidate(params=trial_params(settings, plan), plan=plan)


def axis(text: str) -> tuple[str, tuple[str, ...]]:
    """A parameter and its values, as --grid has them.

    Raises
    ------
    SettingsError
        The text has no values, or one twice.
    """
    name, is_pair, told = text.partition("=")
    values = tuple(part.strip() for part in told.split(",") if part.strip())
    if ":" in told:
        try:
            first, last, step = (float(part) for part in told.split(":"))
            steps = int((last - first) / step + 1e-9)
        except (ValueError, ZeroDivisionError):
            raise SettingsError(f"--grid {text}: write NAME=FIRST:LAST:STEP") from None
        values = tuple(f"{first + i * step:.10g}" for i in range(min(steps, MAX_SETS) + 1))
    if not is_pair or not values or len(set(values)) < len(values):
        raise SettingsError(f"--grid {text}: write NAME=V1,V2,… with each value once")
    return name.strip(), values


def _around(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The search without --grid: each strategy's first parameters, around their values."""
    axes: dict[str, tuple[str, ...]] = {}
    if "mean_reversion" in settings.strategies:
        level = settings.rsi_oversold
        axes["rsi_oversold"] = tuple(f"{level * k:.6g}" for k in (0.8, 0.9, 1.0, 1.1, 1.2))
    if "news_reversal" in settings.strategies:
        level = settings.news_fall_sigmas
        axes["news_fall_sigmas"] = tuple(f"{level * k:.6g}" for k in (0.75, 1.0, 1.25))
    if "opening_range" in settings.strategies:
        axes["range_target_risks"] = tuple(
            f"{settings.range_target_risks * k:.6g}" for k in (0.75, 1.0, 1.25)
        )
    if {"mean_reversion", "news_reversal"} & set(settings.strategies):
        axes["hold_sessions"] = ("1", "2", "3")
    return axes
