"""The commands that search parameters: a sweep of a window, and walk-forward.

Before it stand `jobs.walkforward` and the workers; `cluster.cli` puts them into the
`greenlight` command, `jobs.__main__` into what `ray job submit` runs. Every set that
was tried is a row of the trial ledger. What a run came to so far is in the store: the
same command goes on where it was stopped.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from types import FrameType
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cluster import cli_facts
from cluster.backtest_input import (
    ledger,
    running_code,
)
from cluster.figures import figure_row
from cluster.search_input import (
    EndOption,
    ForecastsOption,
    GridOption,
    ParamOption,
    ResumeOption,
    Search,
    SourceOption,
    StartOption,
    StrategyOption,
    SymbolsOption,
    WorkersOption,
    asked_search,
)
from greenlight.adapters.history import FloatArray
from greenlight.adapters.timescale import TimescaleStore
from greenlight.domain.evidence_rows import OutOfSample
from greenlight.domain.market import Unavailable
from greenlight.domain.trials import Trial, WalkForward
from greenlight.domain.walkforward import deflation, overfitting
from greenlight.ports import StoreUnavailable
from jobs.backtest import data_hash
from jobs.walkforward import (
    FoldPlan,
    Ground,
    Part,
    packed,
    parts_of,
    run_hash,
    run_parts,
    unpacked,
    with_forecasts,
)
from jobs.walkforward_figures import (
    best_sets,
    judged_days,
    known,
    set_figures,
    walk_figures,
)
from jobs.walkforward_report import told_set, write_report
from jobs.walkforward_result import assemble

_SHOWN: Final = 10

console = Console()
errors = Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Add the commands to a command."""
    app.command()(sweep)
    app.command()(walkforward)


def walkforward(
    strategy: StrategyOption = None,
    symbols: SymbolsOption = None,
    start: StartOption = None,
    end: EndOption = None,
    source: SourceOption = None,
    param: ParamOption = None,
    grid: GridOption = None,
    folds: Annotated[int, typer.Option(min=1, max=1000, help="Folds.")] = 5,
    train_sessions: Annotated[
        int, typer.Option(min=2, help="Sessions that choose the parameters of a fold.")
    ] = 504,
    embargo: Annotated[
        int, typer.Option(min=0, help="Sessions left out between choosing and judging.")
    ] = 5,
    anchored: Annotated[
        bool, typer.Option(help="Choose on all sessions from the window's start on.")
    ] = False,
    resume_sessions: ResumeOption = 0,
    forecasts: ForecastsOption = True,
    workers: WorkersOption = None,
    as_json: cli_facts.JsonFlag = False,
) -> None:
    """Search parameters fold by fold, and trade each fold's best on the days after it.

    Without --grid it searches around the settings' own values. Stopped half-way, the
    same command goes on; nothing is told or recorded before all of it is done.
    """
    cut = FoldPlan(
        count=folds, train_sessions=train_sessions, embargo=embargo, is_anchored=anchored
    )
    asked = asked_search(
        strategy, symbols, start, end, source, param, grid, resume_sessions, forecasts, cut
    )
    settings, ground = asked.settings, asked.ground
    code = running_code()
    with ledger(settings) as store:
        ground, parts, run_id = _run(asked, store, code, workers, is_quiet=as_json)
        walk = assemble(ground, parts)
        at = datetime.now(UTC)
        _remember(asked, store, walk.tests, code, at, kind="walkforward")
        trials = store.trials(limit=None)
        figures = walk_figures(ground, walk, trials)
        told = {
            "strategies": list(settings.strategies),
            "symbols": list(ground.board.market.symbols),
            "source": settings.source,
            "start": str(settings.start),
            "end": str(settings.end),
            "grid": {name: list(values) for name, values in asked.grid.items()},
            "sets": len(ground.candidates),
            "folds": folds,
            "train_sessions": train_sessions,
            "embargo": embargo,
            "is_anchored": anchored,
            "chosen": [told_set(ground, row) for row in walk.chosen],
            "warnings": list(asked.warnings),
        }
        # Imported here because it loads the broker's client.
        from cluster.wiring import fingerprint

        own = fingerprint(settings)
        store.record_walkforward(
            WalkForward(
                run_id=run_id,
                at=at,
                fingerprint=own,
                plan=told,
                figures=known(figures),
            )
        )
        store.record_out_of_sample(
            OutOfSample(
                run_id=run_id,
                at=at,
                fingerprint=own,
                trials=len(trials),
                days=judged_days(ground, walk),
            )
        )
    path = settings.home / "reports" / f"walkforward-{run_id[:12]}.html"
    title = f"Walk-forward of {', '.join(settings.strategies)}, {settings.start} to {settings.end}"
    write_report(
        path, title=title, ground=ground, walk=walk, figures=figures, warnings=asked.warnings
    )
    if as_json:
        found = {"run_id": run_id, **told, "figures": known(figures), "report": str(path)}
        typer.echo(json.dumps(found, indent=2))
        return
    _warn(asked.warnings)
    console.print(f"{title}: {len(ground.candidates)} sets, {folds} folds")
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in figures.items():
        table.add_row(*figure_row(name, value))
    console.print(table)
    for fold, row in zip(ground.folds, walk.chosen, strict=True):
        day = ground.board.sessions[
            int(ground.board.market.bars.session[ground.bars[fold.test_first]])
        ]
        console.print(f"from {day.day}: {told_set(ground, row)}", highlight=False)
    console.print(f"report: {path}", soft_wrap=True)


def sweep(
    strategy: StrategyOption = None,
    symbols: SymbolsOption = None,
    start: StartOption = None,
    end: EndOption = None,
    source: SourceOption = None,
    param: ParamOption = None,
    grid: GridOption = None,
    resume_sessions: ResumeOption = 0,
    forecasts: ForecastsOption = True,
    workers: WorkersOption = None,
    as_json: cli_facts.JsonFlag = False,
) -> None:
    """Try every set of parameters on one window, and say how much of the best is luck.

    What it shows was chosen with hindsight: 'greenlight walkforward' judges the choice.
    """
    asked = asked_search(
        strategy, symbols, start, end, source, param, grid, resume_sessions, forecasts, None
    )
    code = running_code()
    with ledger(asked.settings) as store:
        ground, parts, _ = _run(asked, store, code, workers, is_quiet=as_json, is_kept=False)
        walk = assemble(ground, parts, with_details=False)
        _remember(asked, store, walk.tests, code, datetime.now(UTC), kind="sweep")
        best = best_sets(walk, _SHOWN)
        luck = deflation(walk.tests[best[0][0]].tolist(), store.trials(limit=None))
    fitted = overfitting(walk.tests)
    pbo = fitted if isinstance(fitted, Unavailable) else fitted.pbo_frac
    deflated = luck if isinstance(luck, Unavailable) else luck.deflated_sharpe
    if as_json:
        found = {
            "sets": [
                {"params": told_set(ground, row), "sharpe_ann": ratio}
                for row, ratio in best_sets(walk, len(ground.candidates))
            ],
            **known({"pbo_frac": pbo, "deflated_sharpe_frac": deflated}),
            "warnings": list(asked.warnings),
        }
        typer.echo(json.dumps(found, indent=2))
        return
    _warn(asked.warnings)
    table = Table("set", "Sharpe ratio", box=None, pad_edge=False)
    for row, ratio in best:
        table.add_row(told_set(ground, row), f"{ratio:.2f}")
    console.print(table)
    for name, value in (("pbo_frac", pbo), ("deflated_sharpe_frac", deflated)):
        console.print(": ".join(figure_row(name, value)))


# -- the run


def _run(
    asked: Search,
    store: TimescaleStore,
    code: str,
    workers: int | None,
    *,
    is_quiet: bool,
    is_kept: bool = True,
) -> tuple[Ground, list[Part], str]:
    # Imported here because a wrong option should be told before Ray is loaded.
    from cluster.fanout import fan_out_shared
    from cluster.ray_work import workers as ray_workers

    ground = asked.ground
    run_id = run_hash(ground, code)
    count = len(parts_of(ground))
    parts, scales = _kept(store, run_id) if is_kept else ({}, {})
    stored = len(parts)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    try:
        with (
            ray_workers(asked.settings, workers) as room,
            # After Ray, which takes the signal for itself and aborts.
            _interruptible(),
            Progress(*columns, console=errors, disable=is_quiet) as progress,
        ):
            fan_out = partial(fan_out_shared, room=2 * room)
            task = progress.add_task("forecasts", total=count, completed=stored)

            def keep_scales(symbol: int, found: FloatArray) -> None:
                if is_kept:
                    store.keep_walkforward_part(run_id, -1 - symbol, packed(scales=found))

            def keep(number: int, part: Part) -> None:
                nonlocal stored
                if is_kept:
                    kept = packed(train=part.train, test=part.test)
                    store.keep_walkforward_part(run_id, number, kept)
                stored += 1
                progress.update(task, advance=1)

            ground = with_forecasts(ground, fan_out, scales, keep_scales)
            progress.update(task, description="parts")
            found = run_parts(ground, parts, fan_out, keep)
    except (KeyboardInterrupt, SystemExit):
        # Ray's own handler, in force while it starts, exits. A part may have been written
        # and not counted.
        stored = len(_kept(store, run_id)[0]) if is_kept else 0
        errors.print(f"greenlight: stopped; {_resumable(stored, count, is_kept)}", soft_wrap=True)
        raise typer.Exit(130) from None
    except StoreUnavailable as error:
        raise StoreUnavailable(f"{error}; {_resumable(stored, count, is_kept)}") from error
    return ground, found, run_id


def _resumable(stored: int, count: int, is_kept: bool) -> str:
    if not is_kept:
        return "nothing is kept"
    return f"{stored} of {count} parts are kept, the same command goes on from there"


def _kept(store: TimescaleStore, run_id: str) -> tuple[dict[int, Part], dict[int, FloatArray]]:
    """What an earlier run of the same came to: parts by number, forecasts by symbol."""
    parts, scales = {}, {}
    for number, kept in store.walkforward_parts(run_id).items():
        found = unpacked(kept) or {}
        if {"train", "test"} <= found.keys():
            parts[number] = Part(train=found["train"], test=found["test"])
        elif "scales" in found:
            scales[-1 - number] = found["scales"]
    return parts, scales


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turn SIGTERM, with which Ray stops a job, into Ctrl-C."""

    def raise_interrupt(_: int, __: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, raise_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _remember(
    asked: Search,
    store: TimescaleStore,
    returns: Any,
    code: str,
    at: datetime,
    *,
    kind: str,
) -> None:
    """Every set into the ledger, with what it came to on all judging days."""
    settings, ground = asked.settings, asked.ground
    data = data_hash(ground.board)
    folds = [[f.train_first, f.train_end, f.test_first, f.test_end] for f in ground.folds]
    for one, row in zip(ground.candidates, returns, strict=True):
        store.record_trial(
            Trial.of(
                at=at,
                kind=kind,
                code_hash=code,
                strategies=tuple(s.name for s in one.plan.strategies),
                params={**one.params, "folds": folds},
                source=settings.source,
                symbols=ground.board.market.symbols,
                data_hash=data,
                start=settings.start,
                end=settings.end,
                figures=set_figures(row),
            )
        )


def _warn(warnings: Sequence[str]) -> None:
    for text in warnings:
        errors.print(f"warning: {text}", highlight=False, soft_wrap=True)
