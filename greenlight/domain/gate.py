"""What the gate speaks of: its policy, what it looks at, and what it answers.

Before it stand the metrics; after it `readiness`, which judges. Thresholds
are the seeds' and can only be made stricter. An evaluation becomes JSON here,
for the store and the command, and comes back the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final, Protocol

from greenlight.domain.audit import instant_text
from greenlight.domain.evidence import Evidence
from greenlight.domain.market import Unavailable
from greenlight.domain.metrics import CoverageReading, EquitySeries, IntArray
from greenlight.domain.positions import Position
from greenlight.domain.trades import Trade

TITLES: Final = {
    "duration": "Duration",
    "win_rate": "Win rate",
    "sharpe": "Sharpe ratio",
    "drawdown": "Drawdown",
    "stop_coverage": "Stop coverage",
    "uptime": "Uptime",
    "backtest": "Backtest validation",
}
"""Name and title of the seven, in their order."""


class State(StrEnum):
    """How a criterion stands."""

    GREEN = "green"
    RED = "red"
    """Measured, and not good enough."""
    INSUFFICIENT = "insufficient"
    """Not measured on enough."""
    STALE = "stale"
    """Was good enough; what it rests on is old or incomplete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadinessPolicy:
    """Thresholds of the gate. The defaults are the seeds' and the floor.

    Raises
    ------
    ValueError
        A threshold is looser than its default.
    """

    min_days: int = 30
    """Calendar days of paper trading."""
    min_sessions: int = 20
    """Sessions observed."""
    min_closed_trades: int = 30
    min_session_uptime_frac: float = 0.95
    """From here on a session counts as observed."""
    min_win_rate_frac: float = 0.5
    """Must be exceeded."""
    target_profit_factor: float = 1.5
    """Shown, without a light."""
    min_sharpe_ann: float = 1.0
    """Must be exceeded, in the paper account and in the backtest."""
    alpha: float = 0.05
    """Chance that a desk without an edge ever passes; evidence must reach 1/alpha."""
    max_drawdown_frac: float = 0.15
    """Must not be reached, in the paper account and in the backtest."""
    max_gap_s: float = 5.0
    """Longest time that a position may lack its stop at the broker."""
    coverage_days: int = 21
    """Calendar days in which no longer gap may lie."""
    min_uptime_frac: float = 0.99
    uptime_days: int = 30
    """Calendar days over which uptime is taken."""
    max_backtest_age_days: int = 7
    max_pbo_frac: float = 0.5
    """Probability of backtest overfitting; must not be reached."""
    min_deflated_sharpe: float = 0.95
    """Probability that the backtest's Sharpe ratio is not the luck of many trials."""
    max_data_age_days: int = 4
    """Older evidence says nothing about the present (a long weekend)."""
    max_silence_s: float = 300.0
    """Without a heartbeat for this long in a session the desk counts as down."""

    def __post_init__(self) -> None:
        for threshold in fields(self):
            value, floor = getattr(self, threshold.name), threshold.default
            is_looser = value > floor if is_ceiling(threshold.name) else value < floor
            if not math.isfinite(value) or value < 0 or is_looser:
                raise ValueError(f"{threshold.name} = {value} is looser than {floor}")
        if self.alpha == 0:
            raise ValueError("alpha = 0 asks for infinite evidence")


def is_ceiling(threshold: str) -> bool:
    """Whether a smaller value of a threshold is the stricter one."""
    return threshold.startswith("max_") or threshold == "alpha"


class RunFacts(Protocol):
    """What the gate needs to know about the run that it judges."""

    @property
    def account_kind(self) -> str:
        """ "replay", "paper" or "live"."""
        ...

    @property
    def account_number(self) -> str:
        """The broker's account."""
        ...

    @property
    def source(self) -> str:
        """Where the prices come from."""
        ...

    @property
    def is_synthetic(self) -> bool:
        """Whether the intraday path is made up."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of code, strategies, parameters and limits."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """A decision to place a stop; a reading of coverage belongs to it."""

    symbol: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestSummary:
    """What a stored walk-forward found, out of sample and after costs."""

    at: datetime
    fingerprint: str
    sharpe_ann: float
    drawdown_frac: float
    pbo_frac: float
    deflated_sharpe: float
    has_live_parity: bool | Unavailable
    """Whether live decisions equalled the backtest's on the recorded sessions."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadinessInputs:
    """Everything that an evaluation rests on, up to `now` and no later.

    `since` is when the clocks of this account and fingerprint began. Trades
    and closed positions go back to the earlier of `since` and the coverage
    window. `beats` are minutes since 1970, ascending and distinct.
    """

    now: datetime
    run: RunFacts | Unavailable
    since: datetime
    trades: Sequence[Trade]
    closed_positions: Sequence[Position]
    open_positions: Sequence[Position]
    broker_marks: EquitySeries
    desk_marks: EquitySeries
    beats: IntArray
    coverage: Sequence[CoverageReading]
    protections: Sequence[Protection]
    backtest: BacktestSummary | Unavailable
    evidence: Evidence | Unavailable
    exposures: Mapping[date, float] = field(default_factory=dict)
    """Mean share of equity that was invested, by session."""
    universe: Mapping[date, float] = field(default_factory=dict)
    """Equal-weight return of the desk's symbols, by session."""
    unbooked: int = 0
    """Movements of cash of which the chain of decisions and the ledger tell differently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number beside the light: its value, and what it must reach or is aimed at."""

    name: str
    value: float | Unavailable
    threshold: float | None
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One light.

    `sample_size` counts what the value rests on; `interval` is its 95%
    interval; `missing` says in words what green still needs; `since` is the
    start of the window it was measured on, aware UTC.
    """

    name: str
    title: str
    state: State
    value: float | Unavailable
    threshold: float | None
    unit: str
    sample_size: int
    interval: tuple[float, float] | None
    reason: str
    missing: tuple[str, ...]
    since: datetime | None
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The seven lights at an instant, and of which run they speak."""

    at: datetime
    since: datetime | None
    account_kind: str | None
    account_number: str | None
    source: str | None
    is_synthetic: bool
    fingerprint: str | None
    criteria: tuple[Criterion, ...]

    @property
    def is_ready(self) -> bool:
        """Whether every light is green."""
        return bool(self.criteria) and all(c.state is State.GREEN for c in self.criteria)


def to_json(evaluation: Evaluation) -> dict[str, object]:
    """The evaluation as JSON values: times UTC ISO text, what is unavailable null and why."""
    return {
        "at": instant_text(evaluation.at),
        "since": _text(evaluation.since),
        "is_ready": evaluation.is_ready,
        "account_kind": evaluation.account_kind,
        "account_number": evaluation.account_number,
        "source": evaluation.source,
        "is_synthetic": evaluation.is_synthetic,
        "fingerprint": evaluation.fingerprint,
        "criteria": [
            {
                "name": c.name,
                "title": c.title,
                "state": c.state.value,
                **_value(c.value),
                "threshold": c.threshold,
                "unit": c.unit,
                "sample_size": c.sample_size,
                "interval": None if c.interval is None else list(c.interval),
                "reason": c.reason,
                "missing": list(c.missing),
                "since": _text(c.since),
                "figures": [
                    {"name": f.name, **_value(f.value), "threshold": f.threshold, "unit": f.unit}
                    for f in c.figures
                ],
            }
            for c in evaluation.criteria
        ],
    }


def from_json(row: Mapping[str, Any]) -> Evaluation:
    """The evaluation that `to_json` wrote.

    Raises
    ------
    KeyError, TypeError, ValueError
        The row is not one of its.
    """
    return Evaluation(
        at=datetime.fromisoformat(row["at"]),
        since=_instant(row["since"]),
        account_kind=row["account_kind"],
        account_number=row["account_number"],
        source=row["source"],
        is_synthetic=row["is_synthetic"],
        fingerprint=row["fingerprint"],
        criteria=tuple(
            Criterion(
                name=c["name"],
                title=c["title"],
                state=State(c["state"]),
                value=_number(c),
                threshold=c["threshold"],
                unit=c["unit"],
                sample_size=c["sample_size"],
                interval=None if c["interval"] is None else (c["interval"][0], c["interval"][1]),
                reason=c["reason"],
                missing=tuple(c["missing"]),
                since=_instant(c["since"]),
                figures=tuple(
                    Figure(
                        name=f["name"], value=_number(f), threshold=f["threshold"], unit=f["unit"]
                    )
                    for f in c["figures"]
                ),
            )
            for c in row["criteria"]
        ),
    )


def _value(value: float | Unavailable) -> dict[str, object]:
    if isinstance(value, Unavailable):
        return {"value": None, "unavailable": value.reason}
    return {"value": value}


def _number(row: Mapping[str, Any]) -> float | Unavailable:
    value = row["value"]
    return Unavailable(row["unavailable"]) if value is None else float(value)


def _text(at: datetime | None) -> str | None:
    return None if at is None else instant_text(at)


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
