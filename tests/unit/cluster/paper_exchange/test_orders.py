from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product

import pytest

from cluster.paper_exchange.orders import (
    TERMINAL,
    TRANSITIONS,
    Order,
    Status,
    UnknownTransition,
    rfc3339,
    text,
    to_datetime,
    to_ns,
)

# By hand from Alpaca's description of an order's life.
ALLOWED = {
    ("pending_new", "new"),
    ("pending_new", "held"),
    ("pending_new", "rejected"),
    ("accepted", "new"),
    ("accepted", "pending_cancel"),
    ("accepted", "canceled"),
    ("accepted", "expired"),
    ("accepted", "rejected"),
    ("held", "new"),
    ("held", "pending_cancel"),
    ("held", "pending_replace"),
    ("held", "canceled"),
    ("held", "expired"),
    *(
        (state, after)
        for state in ("new", "partially_filled")
        for after in (
            "partially_filled",
            "filled",
            "pending_cancel",
            "pending_replace",
            "canceled",
            "expired",
        )
    ),
    ("pending_cancel", "canceled"),
    ("pending_cancel", "filled"),
    ("pending_cancel", "expired"),
    ("pending_replace", "replaced"),
    ("pending_replace", "filled"),
}


def order(status: Status = Status.NEW) -> Order:
    return Order(
        id="i",
        client_order_id="c",
        seq=1,
        symbol="AAA",
        side="buy",
        type="market",
        time_in_force="day",
        qty=Decimal(3),
        status=status,
    )


@pytest.mark.parametrize(("before", "after"), list(product(Status, Status)))
def test_enter_when_pair_is_known_then_moves_else_raises(before: Status, after: Status) -> None:
    subject = order(before)
    if (before.value, after.value) in ALLOWED:
        subject.enter(after, 5)
        assert (subject.status, subject.updated_ns) == (after, 5)
    else:
        with pytest.raises(UnknownTransition):
            subject.enter(after, 5)
        assert subject.status is before


def test_transitions_when_terminal_then_nothing_follows() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert all(not TRANSITIONS[status] for status in TERMINAL)


def test_record_when_read_back_then_equal() -> None:
    subject = order()
    subject.leg_ids, subject.stop_price = ["a", "b"], Decimal("1.2300")
    subject.filled_value, subject.cap = Decimal("1E+2"), None
    again = Order.from_record(json.loads(json.dumps(subject.to_record())))
    assert again == subject


def test_times_when_converted_then_exact() -> None:
    at = datetime(2012, 1, 3, 14, 30, 0, 123456, tzinfo=UTC)
    # 2012-01-03T14:30:00Z is 1325601000 s after the epoch (date -u +%s).
    assert to_ns(at) == 1_325_601_000_123_456_000
    assert to_datetime(to_ns(at) + 999) == at
    assert rfc3339(to_ns(at) + 7) == "2012-01-03T14:30:00.123456007Z"
    assert rfc3339(1_325_601_000_000_000_000) == "2012-01-03T14:30:00Z"
    assert to_ns(at.astimezone(UTC) + timedelta(hours=1)) - to_ns(at) == 3_600_000_000_000


@pytest.mark.parametrize(
    ("value", "shown"), [("1E+2", "100"), ("1.500", "1.5"), ("0", "0"), ("-0.10", "-0.1")]
)
def test_text_when_decimal_then_plain(value: str, shown: str) -> None:
    assert text(Decimal(value)) == shown
