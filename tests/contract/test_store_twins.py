"""What every store promises of twins: kept by session and account, the last one stands."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

from greenlight.domain.twin import Difference, DifferenceKind, PnlSplit, TwinOutcome
from greenlight.ports import Store

MONDAY, TUESDAY = date(2013, 10, 7), date(2013, 10, 8)
OUTCOME = TwinOutcome(
    session=MONDAY,
    account_number="PA",
    at=datetime(2013, 10, 7, 20, 5, tzinfo=UTC),
    fingerprint="c0de-5e77",
    decisions=3,
    differences=(
        Difference(
            decision_id="d1",
            kind=DifferenceKind.CHANGED,
            at=datetime(2013, 10, 7, 14, 30, 0, 250, tzinfo=UTC),
            symbol="AAPL",
            strategy="A",
            figures={"qty": (10, None), "rsi": (27.123456789012345, "(absent)")},
        ),
    ),
    pnl=PnlSplit(fill_usd=Decimal("-1.20"), cost_usd=Decimal("0.25")),
    unvalued=1,
)


def test_twin_when_recorded_then_read_back_by_session(store: Store) -> None:
    later = replace(OUTCOME, session=TUESDAY, differences=())
    store.record_twin(later)
    store.record_twin(OUTCOME)
    assert store.twins(MONDAY, TUESDAY) == [OUTCOME, later]
    assert store.twins(TUESDAY, TUESDAY) == [later]
    assert store.twins(date(2013, 10, 1), date(2013, 10, 4)) == []


def test_twin_when_run_again_then_in_its_own_place_and_no_other_account_s(store: Store) -> None:
    other = replace(OUTCOME, account_number="PB")
    again = replace(OUTCOME, differences=(), decisions=4)
    for outcome in (OUTCOME, other, again):
        store.record_twin(outcome)
    assert store.twins(MONDAY, MONDAY) == [again, other]
