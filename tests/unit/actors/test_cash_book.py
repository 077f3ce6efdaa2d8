"""Fees, interest and transfers through the hub, the reconciler and the ledger.

The position of every test: 10 AAPL bought at $100 on Monday 2013-10-07, stop $95.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from actors.reconciler import reconciled
from greenlight.domain.audit import DecisionKind, Verdict
from greenlight.domain.market import Unavailable
from greenlight.ports import EquityMark
from tests.actor_cases import later, quote
from tests.hub_rig import CLOSE, Rig, fill_entry

NIGHT = datetime(2013, 10, 8, 1, tzinfo=UTC)
PRE_OPEN = datetime(2013, 10, 8, 12, 30, tzinfo=UTC)
OPENED = datetime(2013, 10, 8, 13, 31, tzinfo=UTC)
CLOSED = CLOSE + timedelta(days=1, minutes=6)


@pytest.fixture
def rig() -> Iterator[Rig]:
    found = Rig()
    hub = found.start()
    found.step(*fill_entry(found), quote(100.0, at=later(1)), at=later(60))
    yield found
    found.hub.stop()
    hub.stop()


def again(rig: Rig) -> None:
    """The hub dies and a successor takes over."""
    rig.hub.stop()
    rig.streams.is_stopped = False
    rig.start()


def booked(rig: Rig) -> list[tuple[str, Decimal]]:
    return [(row.activity_type, row.usd) for row in rig.store.cash_movements()]


def refused(rig: Rig) -> list[str]:
    rows = rig.around.decisions(DecisionKind.RECONCILE)
    return [row.reason for row in rows if row.verdict is Verdict.REFUSED]


def assert_agreed(rig: Rig) -> None:
    assert rig.store.cash() == rig.broker.account().cash
    assert reconciled(rig.store) is True


def test_fee_when_charged_at_night_then_booked_before_the_open_and_entries_go_on(
    rig: Rig,
) -> None:
    fee = rig.broker.move_cash("FEE", "-0.01", at=NIGHT)
    rig.step(at=PRE_OPEN, kind="pre_open")
    rig.step(quote(100.0, at=OPENED), at=OPENED)
    rig.step(at=CLOSED, kind="close")
    assert booked(rig) == [("FEE", Decimal("-0.01"))]
    assert rig.store.cash_movements()[0].booked_at == PRE_OPEN
    assert_agreed(rig)
    assert (refused(rig), rig.around.notifier.alerts) == ([], [])
    (row,) = rig.around.decisions(DecisionKind.ADJUST)
    assert (row.reason, row.figures["activity_id"]) == ("cash: FEE", fee.activity_id)


def test_fee_when_a_dividend_comes_on_the_same_day_then_both_and_no_flag(rig: Rig) -> None:
    rig.broker.move_cash("FEE", "-0.01", at=NIGHT)
    rig.broker.pay("AAPL", "0.82", at=NIGHT)
    for _ in range(2):
        rig.step(at=PRE_OPEN, kind="pre_open")
    again(rig)
    rig.step(at=CLOSED, kind="close")
    assert booked(rig) == [("FEE", Decimal("-0.01"))]
    assert [paid.usd for paid in rig.store.dividends()] == [Decimal("8.20")]
    assert_agreed(rig)
    assert (refused(rig), rig.around.notifier.alerts) == ([], [])


@pytest.mark.parametrize("kind", ["CFEE", "INT", "PTC", "NEVER_SEEN"])
def test_charge_when_it_comes_in_a_session_then_the_next_comparison_books_it(
    rig: Rig, kind: str
) -> None:
    rig.around.clock.set(later(3600))
    rig.broker.move_cash(kind, "-12.34")
    rig.step(at=CLOSE + timedelta(minutes=6), kind="close")
    assert booked(rig) == [(kind, Decimal("-12.34"))]
    assert_agreed(rig)
    assert (refused(rig), rig.around.notifier.alerts) == ([], [])


def test_charge_when_the_desk_was_away_then_its_successor_books_it(rig: Rig) -> None:
    rig.hub.stop()
    rig.broker.move_cash("INT", "-3.21", at=NIGHT)
    rig.around.clock.set(PRE_OPEN)
    again(rig)
    rig.step(at=PRE_OPEN, kind="pre_open")
    assert booked(rig) == [("INT", Decimal("-3.21"))]
    assert_agreed(rig)


def test_charge_when_the_broker_takes_it_back_then_the_ledger_does_too(rig: Rig) -> None:
    fee = rig.broker.move_cash("FEE", "-5.00", at=NIGHT)
    rig.step(at=PRE_OPEN, kind="pre_open")
    rig.broker.cancel_activity(fee.activity_id)
    rig.step(at=CLOSED, kind="close")
    assert booked(rig) == [("FEE", Decimal("-5.00")), ("FEE", Decimal("5.00"))]
    assert_agreed(rig)


def test_charge_when_it_is_older_than_the_account_then_left_alone(rig: Rig) -> None:
    rig.broker.move_cash("FEE", "-1", at=later(0) - timedelta(days=2))
    # The broker's cash had it taken off before the desk first looked.
    rig.broker.move_cash("FEE", "1", at=later(0) - timedelta(days=2))
    rig.step(at=PRE_OPEN, kind="pre_open")
    assert booked(rig) == []


def test_cash_when_no_activity_explains_it_then_flagged_and_told_as_before(rig: Rig) -> None:
    fee = rig.broker.move_cash("FEE", "-0.01", at=NIGHT)
    rig.broker.activities.remove(fee)
    rig.step(at=PRE_OPEN, kind="pre_open")
    rig.step(at=CLOSED, kind="close")
    assert isinstance(reconciled(rig.store), Unavailable)
    again(rig)
    rig.step(at=CLOSED + timedelta(days=1), kind="close")
    (told,) = rig.around.notifier.alerts
    assert "no fill explains the difference in cash" in told


def test_transfer_when_it_comes_then_told_once_and_nothing_starts_again(rig: Rig) -> None:
    run = rig.store.latest_run()
    rig.broker.move_cash("CSD", "25000", at=NIGHT)
    for _ in range(2):
        rig.step(at=PRE_OPEN, kind="pre_open")
    again(rig)
    rig.step(at=CLOSED, kind="close")
    (told,) = rig.around.notifier.alerts
    assert told.startswith("$25,000.00 moved into the account (CSD")
    assert_agreed(rig)
    assert rig.store.latest_run() == run
    assert rig.store.halts_in_force(CLOSED) == []


def close_mark(rig: Rig, equity: str) -> None:
    mark = EquityMark(
        at=CLOSE + timedelta(minutes=5),
        equity_usd=Decimal(equity),
        cash_usd=Decimal(equity),
        exposure_usd=Decimal(0),
        source="broker",
    )
    rig.store.write_equity([mark])


def test_withdrawal_when_it_is_larger_than_every_limit_then_no_halt_and_losses_still_count(
    rig: Rig,
) -> None:
    close_mark(rig, "100495")
    rig.step(quote(100.0, at=OPENED), at=OPENED)
    rig.around.clock.set(OPENED + timedelta(seconds=90))
    rig.broker.move_cash("CSW", "-60000")
    # A repair books it in the middle of the session.
    again(rig)
    first = OPENED + timedelta(minutes=3)
    rig.step(quote(100.0, at=first), at=first)
    assert rig.store.halts_in_force(first) == []
    # Ten shares at a mid of $99.01, where $100,495 stood at the close.
    second = OPENED + timedelta(minutes=4)
    rig.step(quote(99.0, at=second), at=second)
    (halt,) = rig.store.halts_in_force(second)
    assert halt.reason.startswith("daily_loss: 504.90 USD")


def test_deposit_when_the_day_is_under_way_then_it_hides_no_loss(rig: Rig) -> None:
    close_mark(rig, "100495")
    rig.step(quote(100.0, at=OPENED), at=OPENED)
    rig.around.clock.set(OPENED + timedelta(seconds=30))
    rig.broker.move_cash("CSD", "60000")
    again(rig)
    second = OPENED + timedelta(minutes=2)
    rig.step(quote(99.0, at=second), at=second)
    (halt,) = rig.store.halts_in_force(second)
    assert halt.reason.startswith("daily_loss: 504.90 USD")
