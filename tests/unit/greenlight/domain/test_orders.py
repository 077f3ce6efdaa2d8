"""How an order may change, how it is named, and which prices a broker takes."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain.orders import (
    TERMINAL,
    TRANSITIONS,
    InvalidTransition,
    OrderStatus,
    Role,
    client_order_id,
    decision_id,
    next_status,
    round_price,
    status_from_broker,
)

S = OrderStatus
# Alpaca, "Orders at Alpaca", order lifecycle: no event follows these.
OVER = {S.FILLED, S.CANCELED, S.EXPIRED, S.REPLACED, S.REFUSED}
statuses = st.sampled_from(list(S))


def test_transition_table_when_read_then_has_every_status_once() -> None:
    assert set(TRANSITIONS) == set(S)
    assert set(TERMINAL) == OVER


@given(st.lists(statuses, max_size=20))
def test_follow_reports_when_a_status_is_terminal_then_it_is_never_left(
    reports: list[OrderStatus],
) -> None:
    current, ended = S.INTENDED, None
    for reported in reports:
        try:
            current = next_status(current, reported)
        except InvalidTransition:
            assert current not in OVER
        if ended is not None:
            assert current is ended
        ended = current if current in OVER else None


@given(statuses, statuses)
def test_follow_report_when_pair_is_unknown_then_raises_and_else_is_followed(
    current: OrderStatus, reported: OrderStatus
) -> None:
    if current in OVER or reported is current:
        assert next_status(current, reported) is current
    elif reported in TRANSITIONS[current]:
        assert next_status(current, reported) is reported
    else:
        with pytest.raises(InvalidTransition, match=f"{current} cannot become {reported}"):
            next_status(current, reported)


@pytest.mark.parametrize(
    ("current", "reported"),
    [
        (S.WORKING, S.INTENDED),
        (S.WORKING, S.UNRESOLVED),
        (S.PARTIALLY_FILLED, S.WORKING),
        (S.PARTIALLY_FILLED, S.REFUSED),
        (S.PARTIALLY_FILLED, S.INTENDED),
        (S.CANCEL_PENDING, S.REFUSED),
        (S.UNRESOLVED, S.INTENDED),
    ],
)
def test_follow_report_when_an_order_would_go_backwards_then_raises(
    current: OrderStatus, reported: OrderStatus
) -> None:
    with pytest.raises(InvalidTransition):
        next_status(current, reported)


@pytest.mark.parametrize(
    ("current", "reported"),
    [
        (S.INTENDED, S.FILLED),
        (S.UNRESOLVED, S.REFUSED),
        (S.WORKING, S.PARTIALLY_FILLED),
        (S.PARTIALLY_FILLED, S.REPLACED),
        (S.CANCEL_PENDING, S.FILLED),
        (S.CANCEL_PENDING, S.WORKING),
    ],
)
def test_follow_report_when_an_order_lives_on_then_followed(
    current: OrderStatus, reported: OrderStatus
) -> None:
    assert next_status(current, reported) is reported


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("new", S.WORKING),
        ("accepted", S.WORKING),
        ("held", S.WORKING),
        ("pending_replace", S.WORKING),
        ("pending_cancel", S.CANCEL_PENDING),
        ("partially_filled", S.PARTIALLY_FILLED),
        ("filled", S.FILLED),
        ("done_for_day", S.EXPIRED),
        ("replaced", S.REPLACED),
        ("rejected", S.REFUSED),
        ("quantum_superposition", S.UNRESOLVED),
        ("", S.UNRESOLVED),
    ],
)
def test_translate_status_when_broker_reports_then_ours(name: str, status: OrderStatus) -> None:
    assert status_from_broker(name) is status


def test_name_decision_when_repeated_then_same_and_parts_do_not_run_together() -> None:
    assert decision_id("desk", "A", "AAPL") == decision_id("desk", "A", "AAPL")
    assert decision_id("ab", "c") != decision_id("a", "bc")
    assert len(decision_id("desk")) == 16


def test_name_order_when_role_or_attempt_differs_then_another_name() -> None:
    names = {client_order_id("d", "0" * 16, role, n) for role in Role for n in range(1, 4)}
    assert len(names) == 9
    assert client_order_id("d", "abc", Role.EXIT, 2) == "gl-d-abc-exit-2"


@pytest.mark.parametrize("desk", ["a b", "ä", "d/e", "x" * 128])
def test_name_order_when_broker_would_not_take_it_then_raises(desk: str) -> None:
    with pytest.raises(ValueError, match="not a valid client order id"):
        client_order_id(desk, "abc", Role.ENTRY, 1)


@pytest.mark.parametrize(
    ("price", "up", "rounded"),
    [
        (100.005, None, "100.00"),
        (100.015, None, "100.02"),
        (100.001, True, "100.01"),
        (100.009, False, "100.00"),
        (0.12345, None, "0.1234"),
        (0.12341, True, "0.1235"),
        (0.12349, False, "0.1234"),
        (1.0, True, "1.00"),
        (0.1 + 0.2, True, "0.3001"),
    ],
)
def test_round_price_when_above_or_below_a_dollar_then_its_tick(
    price: float, up: bool | None, rounded: str
) -> None:
    assert str(round_price(price, up=up)) == rounded


@given(st.decimals("0.0001", "100000", places=6), st.sampled_from([None, True, False]))
def test_round_price_when_any_price_then_on_a_tick_and_less_than_one_off(
    price: Decimal, up: bool | None
) -> None:
    result = round_price(price, up=up)
    tick = Fraction(1, 100) if price >= 1 else Fraction(1, 10_000)
    off = Fraction(result) - Fraction(price)
    assert (Fraction(result) / tick).denominator == 1
    assert abs(off) < tick
    if up is not None:
        assert off >= 0 if up else off <= 0
    else:
        assert abs(off) <= tick / 2
