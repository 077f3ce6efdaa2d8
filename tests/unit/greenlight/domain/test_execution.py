"""A resting entry at each boundary: time, count, price, and the quote behind it.

By hand: the first limit is 100.05 and the highest price 100.25. Two repricings
are allowed, 100 s apart, and 300 s in all.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.execution import (
    LOOK_AGAIN,
    Cancel,
    EntryPolicy,
    Keep,
    Reprice,
    WorkingEntry,
    next_look,
    work_entry,
)
from greenlight.domain.market import Quote
from tests.risk_cases import NOW, quote

LIMITS = RiskLimits()
POLICY = EntryPolicy(timeout_s=300, reprices=2, reprice_after_s=100)


def entry(age_s: float = 100.0, **changes: Any) -> WorkingEntry:
    at = NOW - timedelta(seconds=age_s)
    made = WorkingEntry(
        first_at=at,
        last_at=at,
        reprices=0,
        limit_price=Decimal("100.05"),
        max_price=Decimal("100.25"),
    )
    return replace(made, **changes)


def asked(ask: float, **changes: float) -> Quote:
    return quote(bid=ask - 0.02, ask=ask, **changes)


def work(resting: WorkingEntry, seen: Quote | None) -> Keep | Reprice | Cancel:
    return work_entry(resting, seen, POLICY, LIMITS, NOW)


@pytest.mark.parametrize(
    ("ask", "limit"),
    [
        # 100.06 + 5 bps = 100.11003, up; 100.19 + 5 bps = 100.240095, up; 100.20: capped.
        (100.06, "100.12"),
        (100.19, "100.25"),
        (100.20, "100.25"),
        (100.25, "100.25"),
    ],
)
def test_work_when_the_ask_moved_away_then_priced_above_it_and_never_above_the_highest(
    ask: float, limit: str
) -> None:
    assert work(entry(), asked(ask)) == Reprice(limit_price=Decimal(limit))


@pytest.mark.parametrize("ask", [99.0, 100.04, 100.05])
def test_work_when_the_ask_is_within_the_limit_then_kept(ask: float) -> None:
    assert work(entry(), asked(ask)) == Keep(reason="the ask has not moved away")


@pytest.mark.parametrize("ask", [100.26, 120.0])
def test_work_when_the_ask_is_a_cent_out_of_reach_then_kept(ask: float) -> None:
    assert work(entry(), asked(ask)) == Keep(reason="the ask is out of reach")


@pytest.mark.parametrize(
    "seen",
    [
        None,
        asked(100.10, age_s=90.1),
        asked(100.10, age_s=-0.1),
        quote(bid=98.0, ask=100.10),
        quote(bid=100.11, ask=100.10),
        quote(bid=math.nan, ask=100.10),
        quote(bid=100.0, ask=math.nan),
        quote(bid=0.0, ask=100.10),
        quote(bid=-1.0, ask=100.10),
        quote(bid=100.0, ask=math.inf),
    ],
)
def test_work_when_the_quote_is_missing_stale_or_bad_then_kept(seen: Quote | None) -> None:
    assert work(entry(), seen) == Keep(reason="no usable quote")


def test_work_when_a_quote_is_just_fresh_enough_then_repriced() -> None:
    assert isinstance(work(entry(), asked(100.10, age_s=90)), Reprice)


@pytest.mark.parametrize(
    ("resting", "kept"),
    [
        (entry(99.9), "too soon"),
        (entry(150, last_at=NOW - timedelta(seconds=99.9)), "too soon"),
        (entry(250, reprices=2), "no repricing is left"),
        (entry(250, reprices=3), "no repricing is left"),
    ],
)
def test_work_when_too_soon_or_too_often_then_kept(resting: WorkingEntry, kept: str) -> None:
    assert work(resting, asked(100.10)) == Keep(reason=kept)


@pytest.mark.parametrize(
    ("age_s", "step"),
    [(299.9, Reprice(limit_price=Decimal("100.16"))), (300, Cancel(reason="entry_timeout"))],
)
def test_work_when_its_time_is_up_then_cancelled_whatever_the_quote(
    age_s: float, step: Reprice | Cancel
) -> None:
    # It counts from the first order, however late the last one came; 100.10 + 5 bps, up.
    resting = entry(age_s, last_at=NOW - timedelta(seconds=100), reprices=1)
    assert work(resting, asked(100.10)) == step
    if isinstance(step, Cancel):
        assert work(resting, None) == step


@pytest.mark.parametrize(
    ("resting", "in_s"),
    [
        (entry(0), 100),
        (entry(120, last_at=NOW - timedelta(seconds=20), reprices=1), 80),
        (entry(150), LOOK_AGAIN.total_seconds()),
        (entry(297), 3),
        (entry(250, last_at=NOW, reprices=1), 50),
        (entry(120, last_at=NOW, reprices=2), 180),
        (entry(310), -10),
    ],
)
def test_next_look_when_asked_then_the_earlier_of_repricing_and_time_limit(
    resting: WorkingEntry, in_s: float
) -> None:
    assert next_look(resting, POLICY, NOW) == NOW + timedelta(seconds=in_s)


@pytest.mark.parametrize(
    "changes",
    [{"timeout_s": 0}, {"timeout_s": math.nan}, {"reprice_after_s": 0}, {"reprices": -1}],
)
def test_policy_when_a_value_is_not_possible_then_raises(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not an entry policy"):
        replace(POLICY, **changes)


any_float = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.floats(90, 110))


@given(
    bid=any_float,
    ask=any_float,
    age_s=st.floats(-200, 200),
    rested_s=st.floats(0, 400),
    reprices=st.integers(0, 5),
    cents=st.integers(9_000, 11_000),
    room=st.integers(0, 300),
)
def test_work_when_anything_varies_then_a_new_limit_is_higher_and_never_above_the_highest(
    bid: float, ask: float, age_s: float, rested_s: float, reprices: int, cents: int, room: int
) -> None:
    limit, highest = Decimal(cents) / 100, Decimal(cents + room) / 100
    resting = entry(rested_s, reprices=reprices, limit_price=limit, max_price=highest)
    step = work(resting, quote(bid, ask, age_s))
    if isinstance(step, Reprice):
        assert limit < step.limit_price <= highest
        assert step.limit_price >= Decimal(repr(ask))
        assert reprices < POLICY.reprices
        assert POLICY.reprice_after_s <= rested_s < POLICY.timeout_s
