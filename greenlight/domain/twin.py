"""A session's decisions against those that its twin made: equal, or where they part.

Before it stand the recorded decisions and the ones made again from the same
input; after it the gate, which asks for equality, and a person, who is told what
a difference was worth. Money is `Decimal` US dollars, times aware UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final

from greenlight.domain.audit import Decision, DecisionKind, Figure, Verdict, canonical, instant_text
from greenlight.domain.positions import ExitReason, Position
from greenlight.domain.trades import Trade

_ROW: Final = ("at", "verdict", "symbol", "strategy", "reason")
_CAUSES: Final = ("signal_usd", "fill_usd", "cost_usd", "missed_usd")
_ABSENT: Final = "(absent)"


class DifferenceKind(StrEnum):
    """How two sides part over one decision."""

    CHANGED = "changed"
    """Both decided, and not the same."""
    MISSED = "missed"
    """The twin decided, and the desk has no row of it."""
    UNMET = "unmet"
    """The desk has a row that the twin does not come to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One decision over which the two sides part; `at` is aware UTC.

    `figures` are those that differ by name: the desk's and the twin's. `at`,
    `verdict`, `symbol`, `strategy` and `reason` are among them where they differ.
    """

    decision_id: str
    kind: DifferenceKind
    at: datetime
    symbol: str | None
    strategy: str | None
    figures: Mapping[str, tuple[Figure, Figure]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PnlSplit:
    """What the desk earned beyond its twin, by cause; US dollars.

    `signal_usd`: other decisions or sizes. `fill_usd`: other prices than those
    that were decided on. `cost_usd`: costs that a paper account is not charged.
    `missed_usd`: shares that were decided and not filled.

    Notes
    -----
    With the move ``m`` from the ask of the entry's decision to the price that the
    exit was decided at, shares decided by the desk ``d``, by the twin ``t``, and
    filled ``f``: ``(d - t) m + (f - d) m + (pnl - f m) + haircut``, which is the
    desk's gain after the fees it was charged less the twin's ``t m`` after all costs.
    """

    signal_usd: Decimal = Decimal(0)
    fill_usd: Decimal = Decimal(0)
    cost_usd: Decimal = Decimal(0)
    missed_usd: Decimal = Decimal(0)

    @property
    def total_usd(self) -> Decimal:
        """The whole difference."""
        return self.signal_usd + self.fill_usd + self.cost_usd + self.missed_usd

    def __add__(self, other: PnlSplit) -> PnlSplit:
        return PnlSplit(
            signal_usd=self.signal_usd + other.signal_usd,
            fill_usd=self.fill_usd + other.fill_usd,
            cost_usd=self.cost_usd + other.cost_usd,
            missed_usd=self.missed_usd + other.missed_usd,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinOutcome:
    """What the twin of one session came to.

    `at` is when it was run (aware UTC), `fingerprint` what decided. `decisions` is how
    many rows of either side there are, `pnl` that of the trades that closed in the
    session; `unvalued` counts the trades that cannot be split: a split of shares lies
    in them, or a figure of their decision is missing.
    """

    session: date
    account_number: str
    at: datetime
    fingerprint: str
    decisions: int
    differences: tuple[Difference, ...]
    pnl: PnlSplit
    unvalued: int

    @property
    def is_equal(self) -> bool:
        """Whether every decision met an equal one."""
        return not self.differences


def detail_json(outcome: TwinOutcome) -> dict[str, object]:
    """The differences and the split of the gain as JSON values."""
    return {
        "differences": [
            {
                "decision_id": one.decision_id,
                "kind": one.kind.value,
                "at": instant_text(one.at),
                "symbol": one.symbol,
                "strategy": one.strategy,
                "figures": {name: list(pair) for name, pair in one.figures.items()},
            }
            for one in outcome.differences
        ],
        "pnl": {name: str(getattr(outcome.pnl, name)) for name in _CAUSES},
    }


def differences_of(detail: Mapping[str, Any]) -> tuple[Difference, ...]:
    """The differences in a `detail_json`. Raises `KeyError` or `ValueError` where it is none."""
    return tuple(
        Difference(
            decision_id=one["decision_id"],
            kind=DifferenceKind(one["kind"]),
            at=datetime.fromisoformat(one["at"]),
            symbol=one["symbol"],
            strategy=one["strategy"],
            figures={name: (pair[0], pair[1]) for name, pair in one["figures"].items()},
        )
        for one in detail["differences"]
    )


def pnl_of(detail: Mapping[str, Any]) -> PnlSplit:
    """The split in a `detail_json`. Raises as `differences_of` does."""
    return PnlSplit(**{name: Decimal(detail["pnl"][name]) for name in _CAUSES})


def differences(recorded: Sequence[Decision], again: Sequence[Decision]) -> tuple[Difference, ...]:
    """Every decision that did not meet an equal one, by time and id.

    Two decisions are equal when all that is hashed of them is: id, instant, verdict,
    symbol, strategy, reason and every figure.
    """
    ours = {row.decision_id: row for row in recorded}
    theirs = {row.decision_id: row for row in again}
    found = [_difference(ours.get(name), theirs.get(name)) for name in {*ours, *theirs}]
    kept = [one for one in found if one is not None]
    return tuple(sorted(kept, key=lambda one: (one.at, one.decision_id)))


def _difference(ours: Decision | None, theirs: Decision | None) -> Difference | None:
    known = ours or theirs
    if known is None or (ours and theirs and canonical(ours) == canonical(theirs)):
        return None
    kind = DifferenceKind.CHANGED
    figures: dict[str, tuple[Figure, Figure]] = {}
    if theirs is None:
        kind = DifferenceKind.UNMET
    elif ours is None:
        kind = DifferenceKind.MISSED
    else:
        pairs = [(name, _text(ours, name), _text(theirs, name)) for name in _ROW]
        names = sorted({*ours.figures, *theirs.figures})
        figures = {name: (a, b) for name, a, b in pairs if a != b}
        both = ((name, _figure(ours, name), _figure(theirs, name)) for name in names)
        figures |= {name: (a, b) for name, a, b in both if a != b}
    return Difference(
        decision_id=known.decision_id,
        kind=kind,
        at=known.at,
        symbol=known.symbol,
        strategy=known.strategy,
        figures=figures,
    )


def _text(decision: Decision, name: str) -> Figure:
    value = getattr(decision, name)
    return None if value is None else str(value)


def _figure(decision: Decision, name: str) -> Figure:
    return decision.figures.get(name, _ABSENT)


def pnl_split(
    trade: Trade,
    position: Position | None,
    rows: Iterable[Decision],
    again: Decision | None,
) -> PnlSplit | None:
    """What one closed trade earned beyond the twin's, by cause.

    Parameters
    ----------
    position : Position | None
        The trade's, for the prices of its stop and target.
    rows : Iterable[Decision]
        The desk's, from the entry's to the end of the trade.
    again : Decision | None
        The entry's decision as the twin made it.

    Returns
    -------
    PnlSplit | None
        None where a split of the shares lies in it, or a figure is missing.
    """
    mine = [row for row in rows if row.symbol == trade.symbol]
    entry = next((r for r in mine if r.decision_id == trade.position_id.partition(".")[0]), None)
    during = [row for row in mine if trade.opened_at <= row.at <= trade.closed_at]
    is_split = any(r.kind is DecisionKind.ADJUST and "ratio" in r.figures for r in during)
    exits = [row for row in during if row.kind is DecisionKind.EXIT]
    bought = None if entry is None else _number(entry, "ask")
    sold = _number(exits[-1], "bid") if exits else _protected(trade, position)
    decided = None if entry is None else _number(entry, "qty")
    if is_split or bought is None or sold is None or decided is None:
        return None
    move = sold - bought
    taken = again is not None and again.verdict is Verdict.TAKEN
    twin_qty = (_number(again, "qty") if again is not None and taken else None) or Decimal(0)
    return PnlSplit(
        signal_usd=(decided - twin_qty) * move,
        fill_usd=trade.pnl_usd - trade.qty * move,
        cost_usd=trade.haircut_usd,
        missed_usd=(trade.qty - decided) * move,
    )


def _protected(trade: Trade, position: Position | None) -> Decimal | None:
    """The price of the order at the broker that ended a trade."""
    if position is None:
        return None
    prices = {
        str(ExitReason.STOP): position.stop_price,
        str(ExitReason.TARGET): position.target_price,
    }
    return prices.get(trade.exit_reason)


def _number(decision: Decision, name: str) -> Decimal | None:
    try:
        found = Decimal(str(decision.figures[name]))
    except (KeyError, InvalidOperation):
        return None
    return found if found.is_finite() else None
