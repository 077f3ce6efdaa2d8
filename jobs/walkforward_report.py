"""A walk-forward as one HTML file with charts, that needs nothing else.

Before it stand the walk and its figures; after it a browser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np

from greenlight.domain.market import Unavailable
from greenlight.domain.walkforward import daily_sharpes
from jobs.walkforward import Ground
from jobs.walkforward_figures import Value, best_sets, equity_of
from jobs.walkforward_result import Walk, holding_returns, judged_rows

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; color: #222 }
table { border-collapse: collapse } td, th { padding: 2px 14px 2px 0; text-align: left }
td + td { text-align: right } .warning { color: #a40 }
"""


def write_report(
    path: Path,
    *,
    title: str,
    ground: Ground,
    walk: Walk,
    figures: Mapping[str, Value],
    warnings: Sequence[str],
) -> None:
    """Write the report, whole or not at all; a folder that is not there is made."""
    # Imported here because it takes a second.
    import plotly.graph_objects as go
    from plotly.offline import get_plotlyjs

    days = [str(ground.board.sessions[row].day) for row in judged_rows(ground).tolist()]
    equity, holding = equity_of(walk.chosen_returns)[1:], equity_of(holding_returns(ground))[1:]
    charts = [
        _chart(
            go,
            "Equity of the judging days, 1 at the start",
            [
                go.Scatter(x=days, y=equity, name="chosen sets"),
                go.Scatter(x=days, y=holding, name="holding all symbols"),
            ],
        ),
        _chart(
            go,
            "Loss from the last peak",
            [
                go.Scatter(x=days, y=equity / np.maximum.accumulate(equity) - 1, fill="tozeroy"),
            ],
        ),
        _chart(
            go,
            "Annualised Sharpe ratios of all sets on the judging days",
            [
                go.Histogram(x=daily_sharpes(walk.tests) * np.sqrt(252), nbinsx=40),
            ],
        ),
    ]
    rows = "".join(
        f"<tr><td>{escape(name.replace('_', ' '))}</td><td>{escape(_told(value))}</td></tr>"
        for name, value in figures.items()
    )
    chosen = "".join(
        f"<tr><td>{days[fold.test_first - ground.folds[0].test_first]}</td>"
        f"<td>{escape(told_set(ground, row))}</td></tr>"
        for fold, row in zip(ground.folds, walk.chosen, strict=True)
    )
    best = "".join(
        f"<tr><td>{escape(told_set(ground, row))}</td><td>{ratio:.2f}</td></tr>"
        for row, ratio in best_sets(walk, 10)
    )
    told = "".join(f'<p class="warning">{escape(text)}</p>' for text in warnings)
    page = (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<style>{_STYLE}</style><script>{get_plotlyjs()}</script>"
        f"<h1>{escape(title)}</h1>{told}<table>{rows}</table>{''.join(charts)}"
        f"<h2>Chosen in each fold</h2><table>{chosen}</table>"
        f"<h2>Best on the judging days</h2><table>{best}</table></html>"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    draft.write_text(page, encoding="utf-8")
    draft.replace(path)


def told_set(ground: Ground, row: int) -> str:
    """A set of parameters by what it does not share with all others."""
    sets = [one.params for one in ground.candidates]
    own = sets[row]
    differing = [name for name in own if any(other[name] != own[name] for other in sets)]
    return ", ".join(f"{name} {own[name]}" for name in differing) or "the only set"


def _chart(go: Any, title: str, traces: Sequence[Any]) -> str:
    figure = go.Figure(traces, layout={"title": title, "template": "plotly_white", "height": 360})
    told: str = figure.to_html(full_html=False, include_plotlyjs=False)
    return told


def _told(value: Value) -> str:
    return f"– ({value.reason})" if isinstance(value, Unavailable) else f"{value:,.4g}"
