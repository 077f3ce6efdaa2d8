"""Decisions as rows: hash-chained so that a change shows, digested so that runs compare.

Every stage hands its decisions here on their way to the store. The chain
answers "was a row changed afterwards"; the digest answers "did two runs decide
the same", and so leaves out what a broker or a chain assigns.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from greenlight.domain.orders import Execution

GENESIS: Final = "0" * 64
"""Previous hash of the first row."""

Figure = float | int | str | bool | None


def known_figure(value: Figure) -> Figure:
    """The figure, or None for NaN and infinity, which a decision's row cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


class DecisionKind(StrEnum):
    """What was decided about."""

    ENTRY = "entry"
    PROTECT = "protect"
    EXIT = "exit"
    ADJUST = "adjust"
    """Quantity, stop and target changed by a corporate action."""
    REPRICE = "reprice"
    """A resting entry's limit changed."""
    CANCEL = "cancel"
    SCORE = "score"
    """What a position's score asked for."""
    HALT = "halt"
    RESUME = "resume"
    ADOPT = "adopt"
    DATA = "data"
    """Input that was refused."""
    RECONCILE = "reconcile"
    """What had to be corrected so that the ledger and the broker agree, and whether they do."""
    POLICY = "policy"
    """The gate's thresholds that a desk was started with, where they changed."""


class Verdict(StrEnum):
    """How it was decided."""

    TAKEN = "taken"
    SKIPPED = "skipped"
    """A signal that the desk's own state made moot, such as a position held."""
    REFUSED = "refused"
    """A limit said no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision with the figures it rests on. `at` is aware UTC."""

    decision_id: str
    at: datetime
    kind: DecisionKind
    verdict: Verdict
    symbol: str | None
    strategy: str | None
    reason: str
    figures: Mapping[str, Figure]


def instant_text(at: datetime) -> str:
    """An aware time as UTC ISO text with microseconds, one spelling for each instant."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def canonical(decision: Decision) -> str:
    """The decision as JSON with sorted keys: what is hashed."""
    row = {
        "decision_id": decision.decision_id,
        "at": instant_text(decision.at),
        "kind": decision.kind,
        "verdict": decision.verdict,
        "symbol": decision.symbol,
        "strategy": decision.strategy,
        "reason": decision.reason,
        "figures": dict(decision.figures),
    }
    return json.dumps(row, sort_keys=True, separators=(",", ":"), allow_nan=False)


def chain_hash(previous: str, decision: Decision) -> str:
    """SHA-256 of the previous row's hash and this row, in hexadecimal."""
    return hashlib.sha256(f"{previous}\n{canonical(decision)}".encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainedDecision:
    """A stored decision: its place in the chain and the two hashes."""

    seq: int
    decision: Decision
    previous_hash: str
    row_hash: str


def first_broken(rows: Iterable[ChainedDecision]) -> ChainedDecision | None:
    """The first row whose hash, link or place does not fit, in chain order; None if all do."""
    previous, expected_seq = GENESIS, 1
    for row in rows:
        fits = (
            row.seq == expected_seq
            and row.previous_hash == previous
            and row.row_hash == chain_hash(previous, row.decision)
        )
        if not fits:
            return row
        previous, expected_seq = row.row_hash, row.seq + 1
    return None


def decisions_digest(decisions: Iterable[Decision]) -> str:
    """SHA-256 of all decisions in the order of time and id, whatever order they were stored in.

    Corrections are left out: they repair what a crash or a lost message left, and
    a run that was disturbed decides the same as one that was not.
    """
    lines = sorted(
        (instant_text(d.at), d.decision_id, canonical(d))
        for d in decisions
        if d.kind is not DecisionKind.RECONCILE
    )
    return hashlib.sha256("\n".join(line for _, _, line in lines).encode()).hexdigest()


def fills_digest(fills: Iterable[Execution]) -> str:
    """SHA-256 of all fills by time, symbol, side, quantity and price, without broker ids."""
    lines = sorted(
        f"{instant_text(f.at)}|{f.symbol}|{f.side}|{f.qty}|{f.cum_qty}|{f.price.normalize():f}"
        for f in fills
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
