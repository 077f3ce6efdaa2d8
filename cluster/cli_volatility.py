"""The command that shows the volatility forecasts and how good they have been.

Before it stands `jobs.volatility`; `cluster.cli` puts it into the `greenlight` command.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Final

import typer
from rich.console import Console
from rich.table import Table

from cluster import cli_facts
from greenlight.domain.audit import instant_text
from greenlight.domain.forecasts import FailedForecast, expected_vol_ann, mean_losses
from greenlight.domain.market import Unavailable, eastern_date
from greenlight.settings import load_settings
from jobs.forecasts import AgedForecast, current_forecasts
from jobs.readiness import present

_SCORED: Final = timedelta(days=365)
_FAILED: Final = timedelta(days=4)
"""How far back failures are shown: over a long weekend."""

_NUMBERS: Final = frozenset({"next day", "day 5", "a year"})

console = Console()


def register(app: typer.Typer) -> None:
    """Add the command to the `greenlight` command."""
    app.command()(volatility)


def volatility(as_json: cli_facts.JsonFlag = False) -> None:
    """Show each symbol's volatility forecast, and how near forecasts came.

    Models are fitted every week, forecasts made and scored every night. The
    score is the mean QLIKE loss of the last year, smaller is better, beside
    those of an exponential average and of a 20-day window.
    """
    with cli_facts.open_store(load_settings()) as store:
        now = present(store, datetime.now(UTC))
        made = current_forecasts(store, now)
        failed = store.failed_forecasts(now - _FAILED, now + timedelta(microseconds=1))
        today = eastern_date(now)
        scores = store.volatility_scores(today - _SCORED, today)
    losses = mean_losses(scores)
    sessions = len({score.session for score in scores})
    newest = {
        row.symbol: row
        for row in failed
        if row.symbol not in made or row.at > made[row.symbol].forecast.at
    }
    if as_json:
        found = {
            "at": instant_text(now),
            "forecasts": [_as_json(row) for _, row in sorted(made.items())],
            "failed": {symbol: row.reason for symbol, row in sorted(newest.items())},
            "mean_qlike": losses,
            "sessions_scored": sessions,
        }
        typer.echo(json.dumps(found, indent=2))
        return
    if not made and not newest:
        console.print("no forecast yet; the first is made after a session's close")
        return
    _print(made, newest)
    if losses:
        told = ", ".join(f"{method} {loss:.3f}" for method, loss in sorted(losses.items()))
        console.print(f"mean QLIKE over {sessions} sessions, smaller is better: {told}")


def _as_json(row: AgedForecast) -> dict[str, object]:
    made = row.forecast
    expected = expected_vol_ann(made, row.age_sessions)
    return {
        "symbol": made.symbol,
        "at": instant_text(made.at),
        "through": made.through.isoformat(),
        "age_sessions": row.age_sessions,
        "sigma_pct": list(made.sigma_pct),
        "vol_frac_ann": made.vol_frac_ann,
        "expected_vol_ann": None if isinstance(expected, Unavailable) else expected,
        "model": made.model.value,
        "distribution": made.distribution.value,
        "is_converged": made.is_converged,
        "flags": list(made.flags),
        "bic": made.bic,
        "n_obs": made.n_obs,
        "params": list(made.params),
    }


def _print(made: dict[str, AgedForecast], failed: dict[str, FailedForecast]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("symbol", "next day", "day 5", "a year", "model", "age", "remark"):
        table.add_column(name, justify="right" if name in _NUMBERS else "left")
    for symbol, row in sorted(made.items()):
        found = row.forecast
        table.add_row(
            symbol,
            f"{found.sigma_pct[0]:.2f}%",
            f"{found.sigma_pct[-1]:.2f}%",
            f"{100 * found.vol_frac_ann:.1f}%",
            f"{found.model.upper()} {found.distribution}",
            "fresh" if row.age_sessions == 0 else f"{row.age_sessions} sessions",
            failed[symbol].reason if symbol in failed else ", ".join(found.flags),
        )
    for symbol in sorted(set(failed) - set(made)):
        table.add_row(symbol, "–", "–", "–", "–", "–", failed[symbol].reason)
    console.print(table)
