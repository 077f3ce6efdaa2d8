"""The chain shows every change; the digests compare runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain.audit import (
    GENESIS,
    ChainedDecision,
    Decision,
    DecisionKind,
    Verdict,
    canonical,
    chain_hash,
    decisions_digest,
    fills_digest,
    first_broken,
    instant_text,
)
from greenlight.domain.orders import Execution, Side

T0 = datetime(2013, 10, 7, 14, 30, tzinfo=UTC)


def decision(number: int) -> Decision:
    return Decision(
        decision_id=f"d{number}",
        at=T0 + timedelta(minutes=number),
        kind=DecisionKind.ENTRY,
        verdict=Verdict.REFUSED,
        symbol="AAPL",
        strategy="A",
        reason="max_positions",
        figures={"rsi": 29.5, "qty": number, "passed": False, "note": None},
    )


def chain(length: int) -> list[ChainedDecision]:
    rows, previous = [], GENESIS
    for seq in range(1, length + 1):
        row_hash = chain_hash(previous, decision(seq))
        rows.append(
            ChainedDecision(
                seq=seq, decision=decision(seq), previous_hash=previous, row_hash=row_hash
            )
        )
        previous = row_hash
    return rows


def test_chain_when_hashed_then_sha256_of_link_and_sorted_json() -> None:
    text = (
        '{"at":"2013-10-07T14:31:00.000000+00:00","decision_id":"d1",'
        '"figures":{"note":null,"passed":false,"qty":1,"rsi":29.5},"kind":"entry",'
        '"reason":"max_positions","strategy":"A","symbol":"AAPL","verdict":"refused"}'
    )
    assert canonical(decision(1)) == text
    expected = hashlib.sha256((("0" * 64) + "\n" + text).encode()).hexdigest()
    assert chain_hash(GENESIS, decision(1)) == expected


def test_chain_when_untouched_then_nothing_is_broken() -> None:
    assert first_broken(chain(5)) is None
    assert first_broken([]) is None


def _decision(**changes: object) -> Callable[[ChainedDecision], ChainedDecision]:
    return lambda row: replace(row, decision=replace(row.decision, **changes))  # type: ignore[arg-type]


ALTERATIONS: list[Callable[[ChainedDecision], ChainedDecision]] = [
    _decision(at=T0 - timedelta(microseconds=1)),
    _decision(decision_id="other"),
    _decision(kind=DecisionKind.EXIT),
    _decision(verdict=Verdict.TAKEN),
    _decision(symbol=None),
    _decision(strategy="B"),
    _decision(reason="max_positions "),
    _decision(figures={}),
    _decision(figures={"rsi": 29.500000001, "qty": 1, "passed": False, "note": None}),
    lambda row: replace(row, seq=row.seq + 1),
    lambda row: replace(row, previous_hash="f" * 64),
    lambda row: replace(row, row_hash="f" * 64),
]


@given(st.integers(1, 12), st.data())
def test_chain_when_any_row_is_altered_then_that_row_is_found(
    length: int, data: st.DataObject
) -> None:
    rows = chain(length)
    place = data.draw(st.integers(0, length - 1))
    rows[place] = data.draw(st.sampled_from(ALTERATIONS))(rows[place])
    assert first_broken(rows) is rows[place]


@given(st.integers(2, 12), st.data())
def test_chain_when_a_row_is_missing_then_the_next_is_found(
    length: int, data: st.DataObject
) -> None:
    rows = chain(length)
    place = data.draw(st.integers(0, length - 2))
    successor = rows[place + 1]
    del rows[place]
    assert first_broken(rows) is successor


def test_chain_when_a_row_is_rewritten_with_its_hash_then_the_next_is_found() -> None:
    rows = chain(3)
    forged = replace(rows[0].decision, reason="all rules passed")
    rows[0] = replace(rows[0], decision=forged, row_hash=chain_hash(GENESIS, forged))
    assert first_broken(rows) is rows[1]


def test_hash_when_a_figure_is_nan_then_raises() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(replace(decision(1), figures={"rsi": float("nan")}))


@given(st.permutations([decision(n) for n in range(8)]))
def test_decisions_digest_when_stored_in_another_order_then_same(rows: list[Decision]) -> None:
    assert decisions_digest(rows) == decisions_digest(decision(n) for n in range(8))


def test_decisions_digest_when_a_figure_differs_then_another() -> None:
    rows = [decision(n) for n in range(3)]
    changed = [*rows[:2], replace(rows[2], figures={"qty": 3})]
    assert decisions_digest(rows) != decisions_digest(changed)
    assert decisions_digest(rows) != decisions_digest(rows[:2])


def test_instant_when_spelled_in_another_zone_then_same_text() -> None:
    eastern = T0.astimezone(timezone(timedelta(hours=-4)))
    assert instant_text(eastern) == instant_text(T0) == "2013-10-07T14:30:00.000000+00:00"


def fill(number: int, **changes: object) -> Execution:
    made = Execution(
        execution_id=f"x{number}",
        order_id=f"o{number}",
        client_order_id=None,
        symbol="AAPL",
        side=Side.BUY,
        qty=10,
        price=Decimal("100.10"),
        cum_qty=10,
        at=T0 + timedelta(seconds=number),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@given(st.permutations(range(6)))
def test_fills_digest_when_order_and_broker_ids_differ_then_same(numbers: list[int]) -> None:
    again = [fill(n, execution_id=f"y{n}", order_id=f"p{n}", client_order_id="c") for n in numbers]
    assert fills_digest(again) == fills_digest(fill(n) for n in range(6))


@pytest.mark.parametrize(
    "change",
    [
        {"qty": 11},
        {"price": Decimal("100.11")},
        {"side": Side.SELL},
        {"symbol": "IBM"},
        {"cum_qty": 12},
        {"at": T0},
    ],
)
def test_fills_digest_when_a_fill_differs_then_another(change: dict[str, object]) -> None:
    assert fills_digest([fill(1)]) != fills_digest([fill(1, **change)])


def test_fills_digest_when_price_is_spelled_otherwise_then_same() -> None:
    assert fills_digest([fill(1)]) == fills_digest([fill(1, price=Decimal("100.1"))])
