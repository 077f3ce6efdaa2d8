"""Equity against its limits: what is written, when, and how often the store is asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from actors.equity_watch import EquityWatch, base_start
from greenlight.domain.cash import CashMoved, cash_decision
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.halts import EquityBase
from greenlight.ports import EquityMark, Halt
from greenlight.testing import FakeStore
from tests.actor_cases import T0, Surroundings, later
from tests.risk_cases import session


class CountingStore(FakeStore):
    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def equity(self, start: datetime, end: datetime, source: str) -> list[EquityMark]:
        self.reads += 1
        return super().equity(start, end, source)

    def halts_in_force(self, now: datetime) -> list[Halt]:
        self.reads += 1
        return super().halts_in_force(now)


@pytest.fixture
def around() -> Surroundings:
    return Surroundings(store=CountingStore())


def watch(around: Surroundings, *, asks_broker: bool = False) -> EquityWatch:
    return EquityWatch(
        store=around.store,
        broker=around.broker if asks_broker else None,
        notifier=around.notifier,
        limits=RiskLimits(),
    )


def base(around: Surroundings, eye: EquityWatch) -> EquityBase:
    since = base_start(session())
    lifted = around.store.lifted_halts(since)
    return eye.base(session(), lifted, around.store.cash_movements(start=since, limit=None))


def mark(around: Surroundings, at: datetime, equity: str, source: str = "broker") -> None:
    around.store.write_equity(
        [
            EquityMark(
                at=at,
                equity_usd=Decimal(equity),
                cash_usd=Decimal(equity),
                exposure_usd=Decimal(0),
                source=source,
            )
        ]
    )


FRIDAY = datetime(2013, 10, 4, 20, 5, tzinfo=UTC)


def reasons(around: Surroundings, now: datetime) -> list[str]:
    return [halt.reason.partition(":")[0] for halt in around.store.halts_in_force(now)]


def test_check_when_equity_stays_up_then_the_store_is_asked_once_a_session(
    around: Surroundings,
) -> None:
    mark(around, FRIDAY, "100000")
    eye = watch(around)
    for minute in range(60):
        eye.check(Decimal("99600"), session(), later(60 * minute))
    assert isinstance(around.store, CountingStore)
    assert around.store.reads == 1
    assert reasons(around, T0) == []


def test_base_when_the_last_close_is_known_then_closes_are_read_once_a_session(
    around: Surroundings,
) -> None:
    mark(around, FRIDAY, "100000")
    eye = watch(around)
    assert [base(around, eye).high_usd for _ in range(5)] == [Decimal(100000)] * 5
    assert isinstance(around.store, CountingStore)
    assert around.store.reads == 1


def test_base_when_the_last_close_comes_late_then_it_counts(around: Surroundings) -> None:
    mark(around, FRIDAY - timedelta(days=1), "99000")
    eye = watch(around)
    assert base(around, eye).loss_base_usd == Decimal(99000)
    mark(around, FRIDAY, "100000")
    assert base(around, eye).loss_base_usd == Decimal(100000)


def test_check_when_the_loss_stays_then_one_halt_one_alert_and_few_reads(
    around: Surroundings,
) -> None:
    mark(around, FRIDAY, "100000")
    eye = watch(around)
    for minute in range(60):
        eye.check(Decimal("99000"), session(), later(60 * minute))
    assert reasons(around, later(3600)) == ["daily_loss"]
    assert len(around.notifier.alerts) == 1
    assert isinstance(around.store, CountingStore)
    assert around.store.reads < 30
    # A successor finds it in the store.
    watch(around).check(Decimal("99000"), session(), later(3600))
    assert len(around.notifier.alerts) == 1


def test_check_when_a_day_is_over_and_the_next_loses_too_then_halted_again(
    around: Surroundings,
) -> None:
    mark(around, FRIDAY, "100000")
    eye = watch(around)
    eye.check(Decimal("99000"), session(), T0)
    # Without a lift, the loss halt runs out by itself after 24 hours.
    assert reasons(around, T0 + timedelta(hours=24)) == []
    eye.check(Decimal("99000"), session(), T0 + timedelta(hours=24))
    assert reasons(around, T0 + timedelta(hours=24)) == ["daily_loss"]


def test_check_when_a_person_resumed_then_halted_again_only_by_a_further_loss(
    around: Surroundings,
) -> None:
    mark(around, FRIDAY, "100000")
    eye = watch(around)
    eye.check(Decimal("99400"), session(), T0)
    mark(around, later(600), "99300", source="desk")
    assert around.store.resume(at=later(601), reason="known cause") == 1
    eye.check(Decimal("99000"), session(), later(900))
    assert reasons(around, later(900)) == []
    eye.check(Decimal("98800"), session(), later(960))
    assert reasons(around, later(960)) == ["daily_loss"]


def test_check_when_no_close_is_known_then_from_the_first_equity_of_the_session(
    around: Surroundings,
) -> None:
    eye = watch(around)
    eye.check(Decimal("50000"), session(), T0)
    eye.check(Decimal("49500.01"), session(), later(60))
    assert reasons(around, later(60)) == []
    eye.check(Decimal("49500"), session(), later(120))
    assert reasons(around, later(120)) == ["daily_loss"]


@pytest.mark.parametrize("equity", [None, Decimal("NaN"), Decimal("-Infinity")])
def test_check_when_equity_is_not_known_then_nothing_is_made_up(
    around: Surroundings, equity: Decimal | None
) -> None:
    mark(around, FRIDAY, "100000")
    watch(around).check(equity, session(), T0)
    assert reasons(around, T0) == []


def test_base_when_no_close_is_known_then_what_the_broker_says_or_nothing(
    around: Surroundings,
) -> None:
    found = base(around, watch(around, asks_broker=True))
    assert (found.loss_base_usd, found.high_usd) == (100_000, 100_000)
    around.broker.up = False
    found = base(around, watch(around, asks_broker=True))
    assert (found.loss_base_usd, found.high_usd) == (None, None)


def test_base_when_the_high_is_older_than_30_days_then_forgotten(around: Surroundings) -> None:
    mark(around, session().open - timedelta(days=30, seconds=1), "200000")
    mark(around, session().open - timedelta(days=30), "150000")
    mark(around, FRIDAY, "140000")
    assert base(around, watch(around)).high_usd == 150_000


# -- what the owner moves


def move(around: Surroundings, usd: str, at: datetime, booked_at: datetime | None = None) -> None:
    row = CashMoved(
        activity_id=f"{at} {usd}",
        activity_type="CSD",
        at=at,
        usd=Decimal(usd),
        symbol=None,
        description="",
        booked_at=booked_at or at,
    )
    assert around.store.book_cash(row, cash_decision("t", row))


def test_base_when_money_moved_after_the_close_then_it_moves_along(around: Surroundings) -> None:
    mark(around, FRIDAY - timedelta(days=1), "110000")
    mark(around, FRIDAY, "100000")
    move(around, "50000", FRIDAY + timedelta(hours=3))
    found = base(around, watch(around))
    assert (found.loss_base_usd, found.high_usd) == (150_000, 165_000)


def test_base_when_the_close_has_the_transfer_though_booked_later_then_not_twice(
    around: Surroundings,
) -> None:
    mark(around, FRIDAY - timedelta(days=1), "110000")
    mark(around, FRIDAY, "150000")
    move(around, "50000", FRIDAY - timedelta(hours=1), booked_at=later(-3600))
    found = base(around, watch(around))
    # Thursday's 110,000 moved with equity before the booking, Friday's close.
    assert found.loss_base_usd == 150_000
    assert found.high_usd is not None
    assert found.high_usd == pytest.approx(Decimal(110_000) * 160 / 110)


def test_base_when_the_desk_marked_before_the_transfer_then_in_proportion_to_that(
    around: Surroundings,
) -> None:
    mark(around, FRIDAY, "100000")
    mark(around, later(60), "98000", source="desk")
    move(around, "-49000", later(61))
    found = base(around, watch(around))
    assert (found.loss_base_usd, found.high_usd) == (51_000, 50_000)


def test_check_when_no_close_is_known_and_money_moves_then_no_loss(around: Surroundings) -> None:
    eye = watch(around)
    eye.check(Decimal("100000"), session(), T0)
    move(around, "-40000", later(30))
    eye.check(Decimal("59600"), session(), later(60))
    assert reasons(around, later(60)) == []
    eye.check(Decimal("59500"), session(), later(120))
    assert reasons(around, later(120)) == ["daily_loss"]


def test_rebase_when_money_came_then_it_hides_no_loss(around: Surroundings) -> None:
    mark(around, FRIDAY, "100000")
    eye = watch(around)
    eye.rebase()
    eye.check(Decimal("100000"), session(), T0)
    move(around, "40000", later(30))
    eye.rebase()
    eye.check(Decimal("139500"), session(), later(60))
    assert reasons(around, later(60)) == ["daily_loss"]
