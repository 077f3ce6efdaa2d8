"""Movements of cash: what is booked, once, and what a change by the broker adds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain.cash import CashActivity, CashMoved, cash_decision, in_marks_from, unbooked
from greenlight.domain.corporate_actions import DividendPaid

T0 = datetime(2013, 10, 7, 14, 30, tzinfo=UTC)
NOW = datetime(2013, 10, 8, 12, 30, tzinfo=UTC)


def moved(name: str = "a", usd: str = "-0.01", kind: str = "FEE") -> CashMoved:
    return CashMoved(
        activity_id=name,
        activity_type=kind,
        at=T0,
        usd=Decimal(usd),
        symbol=None,
        description="TAF fee",
    )


def paid(usd: str = "8.20") -> DividendPaid:
    return DividendPaid(
        activity_id="d", symbol="AAPL", at=T0, usd=Decimal(usd), qty=None, usd_a_share=None
    )


def test_cash_decision_when_the_movement_comes_again_then_the_same_row() -> None:
    row = cash_decision("t", moved())
    assert row == cash_decision("t", moved())
    assert row.reason == "cash: FEE"
    assert row.figures == {
        "usd": "-0.01",
        "activity_id": "a",
        "description": "TAF fee",
        "is_transfer": False,
    }
    assert cash_decision("t", moved("b")).decision_id != row.decision_id


@pytest.mark.parametrize("kind", ["CSD", "CSW", "JNLC", "TRANS", "ACATC"])
def test_is_transfer_when_the_owner_moved_it_then_true(kind: str) -> None:
    assert moved(kind=kind).is_transfer


@pytest.mark.parametrize("kind", ["FEE", "CFEE", "INT", "INTNRA", "INTTW", "PTC", "MISC", "WHAT"])
def test_is_transfer_when_the_account_earned_or_paid_it_then_false(kind: str) -> None:
    assert not moved(kind=kind).is_transfer


def test_in_marks_from_when_booked_late_then_the_brokers_have_it_earlier() -> None:
    booked = replace(moved(), booked_at=NOW)
    assert (in_marks_from(booked, "broker"), in_marks_from(booked, "desk")) == (T0, NOW)
    assert in_marks_from(moved(), "desk") is None


def test_unbooked_when_told_again_then_only_what_is_new() -> None:
    told = [moved("a"), moved("b"), paid()]
    assert unbooked(told, [moved("a")], NOW) == (moved("b"), paid())
    assert unbooked(told, told, NOW) == ()
    assert unbooked([*told, moved("b")], [], NOW) == tuple(told)


def test_unbooked_when_cancelled_before_it_was_booked_then_nothing() -> None:
    assert unbooked([moved(usd="0")], [], NOW) == ()


def test_unbooked_when_a_booked_one_is_cancelled_or_corrected_then_the_difference() -> None:
    (back,) = unbooked([moved(usd="0")], [moved()], NOW)
    assert back == replace(moved("a~1", usd="0.01"), at=NOW)
    # And once only, also where it changes again.
    assert unbooked([moved(usd="0")], [moved(), back], NOW) == ()
    (more,) = unbooked([moved(usd="-0.03")], [moved(), back], NOW)
    assert (more.activity_id, more.usd) == ("a~2", Decimal("-0.03"))


def test_unbooked_when_a_booked_dividend_is_cancelled_then_a_movement_takes_it_back() -> None:
    (back,) = unbooked([paid("0")], [paid()], NOW)
    assert isinstance(back, CashMoved)
    assert (back.activity_id, back.activity_type, back.usd) == ("d~1", "DIV", Decimal("-8.20"))
    assert unbooked([paid("0")], [paid(), back], NOW) == ()


cents = st.integers(-10_000, 10_000).map(lambda n: Decimal(n) / 100)


@given(st.lists(st.tuples(st.sampled_from("abc"), cents), max_size=12))
def test_unbooked_when_the_broker_changes_its_mind_then_the_sum_is_always_its_own(
    stories: list[tuple[str, Decimal]],
) -> None:
    now_told: dict[str, CashActivity] = {}
    booked: list[CashActivity] = []
    for name, usd in stories:
        now_told[name] = replace(moved(name), usd=usd)
        booked += unbooked(now_told.values(), booked, NOW)
        assert sum(row.usd for row in booked) == sum(row.usd for row in now_told.values())
        assert len({row.activity_id for row in booked}) == len(booked)
