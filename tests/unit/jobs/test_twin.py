"""What the outcomes of the twins say of the gate: missing is never True."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from greenlight.domain.market import Unavailable
from greenlight.domain.twin import Difference, DifferenceKind, PnlSplit, TwinOutcome
from greenlight.ports import EquityMark, Run
from greenlight.testing import FakeStore
from jobs.twin import live_parity

SINCE = datetime(2013, 10, 7, 12, tzinfo=UTC)
NOW = datetime(2013, 10, 9, 20, 5, tzinfo=UTC)
DAYS = (date(2013, 10, 7), date(2013, 10, 8), date(2013, 10, 9))
RUN = Run(
    run_id="r1",
    started_at=SINCE,
    account_kind="replay",
    account_number="PA",
    source="test",
    is_synthetic=True,
    start_cash_usd=Decimal(100_000),
    fingerprint="own",
)
PARTED = Difference(
    decision_id="d",
    kind=DifferenceKind.UNMET,
    at=SINCE,
    symbol="AAPL",
    strategy="A",
    figures={},
)


def equal(day: date, **changes: object) -> TwinOutcome:
    made = TwinOutcome(
        session=day,
        account_number="PA",
        at=NOW,
        fingerprint="own",
        decisions=2,
        differences=(),
        pnl=PnlSplit(),
        unvalued=0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def recorded(*outcomes: TwinOutcome) -> FakeStore:
    """Three sessions with a mark each, and these outcomes."""
    store = FakeStore()
    store.start_run(RUN)
    marks = [
        EquityMark(
            at=NOW - timedelta(days=back),
            equity_usd=Decimal(100_000),
            cash_usd=Decimal(100_000),
            exposure_usd=Decimal(0),
            source="broker",
        )
        for back in range(3)
    ]
    store.write_equity(marks)
    for outcome in outcomes:
        store.record_twin(outcome)
    return store


def test_parity_when_every_session_met_its_twin_then_true_and_tonight_s_may_come_later() -> None:
    whole = recorded(*(equal(day) for day in DAYS))
    assert live_parity(whole, RUN, SINCE, NOW) is True
    assert live_parity(recorded(*(equal(day) for day in DAYS[:2])), RUN, SINCE, NOW) is True


def test_parity_when_a_session_was_not_compared_then_unavailable_and_named() -> None:
    for store in (recorded(), recorded(equal(DAYS[0]), equal(DAYS[2]))):
        found = live_parity(store, RUN, SINCE, NOW)
        assert isinstance(found, Unavailable)
    assert "2013-10-08" in found.reason
    assert "1 of 3" in found.reason


def test_parity_when_one_decision_parted_then_false_whatever_is_missing() -> None:
    parted = equal(DAYS[1], differences=(PARTED,))
    assert live_parity(recorded(parted), RUN, SINCE, NOW) is False


def test_parity_when_another_code_or_account_was_compared_then_it_does_not_count() -> None:
    for other in ({"fingerprint": "other"}, {"account_number": "PB"}):
        store = recorded(equal(DAYS[0]), equal(DAYS[1], **other), equal(DAYS[2]))
        assert isinstance(live_parity(store, RUN, SINCE, NOW), Unavailable)


def test_parity_when_nothing_was_decided_or_recorded_then_unavailable() -> None:
    idle = recorded(*(equal(day, decisions=0) for day in DAYS))
    assert isinstance(live_parity(idle, RUN, SINCE, NOW), Unavailable)
    empty = FakeStore()
    empty.start_run(RUN)
    assert isinstance(live_parity(empty, RUN, SINCE, NOW), Unavailable)
