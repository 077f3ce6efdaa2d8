"""What the reporter puts into the outbox by itself, and what it says past it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from actors.reporter import Reporter, Sources
from greenlight.domain.alerts import Event, Status
from greenlight.domain.market import Unavailable
from greenlight.domain.orders import Side
from greenlight.domain.reports import Period, Report, Span, due, report, span
from greenlight.ports import Coverage
from greenlight.testing import FakeClock, FakeMessenger, FakeStore
from tests.ledger_cases import T0, fill, minute, open_position, run
from tests.outbox_cases import dispatcher
from tests.report_cases import inputs

CLOSED = datetime(2013, 10, 7, 20, 30, tzinfo=UTC)


class Scene:
    def __init__(self) -> None:
        self.store = FakeStore()
        self.store.start_run(run())
        self.messenger = FakeMessenger()
        self.clock = FakeClock(T0)
        self.free_frac = 0.5
        self.is_current = True
        self.asked: list[tuple[Period, date]] = []
        self.last_session = date(2013, 10, 4)
        self.reporter = self.start()

    def start(self) -> Reporter:
        return Reporter(
            store=self.store,
            messenger=self.messenger,
            dispatcher=lambda source, draw: dispatcher(self.store, self.messenger, self.clock.now),
            commander=None,
            sources=Sources(
                report=self.report,
                draw=lambda _: b"png",
                last_session=lambda _: self.last_session,
                free_frac=lambda: self.free_frac,
                present=self.clock.now,
            ),
            now=self.clock.now,
            sleep=lambda _: None,
            is_current=lambda: self.is_current,
            milestone_usd=50,
            is_started=False,
        )

    def report(self, period: Period, now: datetime, day: date) -> Report | Unavailable:
        self.asked.append((period, day))
        return report(inputs(period, day))

    def events(self) -> list[Event]:
        return [row.alert.event for row in self.store.alerts()]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_watch_when_a_session_is_closed_then_one_daily_report_with_its_chart(
    scene: Scene,
) -> None:
    scene.reporter.watch()
    assert scene.asked == []
    scene.last_session = date(2013, 10, 7)
    scene.clock.set(CLOSED)
    for _ in range(3):
        scene.reporter.watch()
    scene.start().watch()
    keys = [row.alert.key for row in scene.store.alerts()]
    assert keys == ["report:daily:2013-10-07:1", "report:daily:2013-10-07:chart"]
    assert scene.asked == [(Period.DAILY, date(2013, 10, 7))]


DAILY = span(Period.DAILY, date(2013, 10, 11))


@pytest.mark.parametrize(
    ("now", "spans"),
    [
        # Saturday noon, Sunday 8:59 and 9:00 in New York (daylight time), the next Monday.
        (datetime(2013, 10, 12, 16, tzinfo=UTC), ()),
        (datetime(2013, 10, 13, 12, 59, tzinfo=UTC), ()),
        (datetime(2013, 10, 13, 13, 0, tzinfo=UTC), (span(Period.WEEKLY, date(2013, 10, 13)),)),
        (datetime(2013, 10, 14, 13, 0, tzinfo=UTC), (span(Period.WEEKLY, date(2013, 10, 13)),)),
    ],
)
def test_due_when_sunday_comes_then_the_week_that_ends(
    now: datetime, spans: tuple[Span, ...]
) -> None:
    assert due(now, date(2013, 10, 11), T0) == (DAILY, *spans)


def test_due_when_a_month_is_over_then_its_report_from_nine_on() -> None:
    months = [
        [s.first for s in due(now, date(2013, 10, 31), T0) if s.period is Period.MONTHLY]
        for now in (
            datetime(2013, 11, 1, 12, 59, tzinfo=UTC),
            datetime(2013, 11, 1, 13, 0, tzinfo=UTC),
        )
    ]
    assert months == [[], [date(2013, 10, 1)]]


def test_watch_when_the_disk_fills_then_told_once_a_day(scene: Scene) -> None:
    scene.free_frac = 0.04
    for _ in range(2):
        scene.reporter.watch()
    scene.clock.set(T0 + timedelta(days=1))
    scene.reporter.watch()
    assert scene.events() == [Event.DISK, Event.DISK]


def test_watch_when_lights_turn_then_promoted_and_demoted(scene: Scene) -> None:
    for number, is_ready in enumerate([False, False, True, True, False]):
        scene.store.save_evaluation(minute(number), {"is_ready": is_ready})
        scene.clock.set(minute(number))
        scene.reporter.watch()
    assert scene.events() == [Event.PROMOTED, Event.DEMOTED]


def test_watch_when_the_gain_passes_a_milestone_then_told_once(scene: Scene) -> None:
    open_position(scene.store)
    stop = fill("o-stop", side=Side.SELL, price="95.00", at=minute(9))
    scene.store.book_fill(stop, Decimal(0))
    for _ in range(2):
        scene.reporter.watch()
    assert scene.events()[-1] is Event.PNL_MILESTONE
    assert scene.events().count(Event.PNL_MILESTONE) == 1
    assert "net P&L -$51.0" in str(scene.store.alerts()[-1].alert.facts["reason"])


def test_watch_when_shares_lack_their_stop_for_long_then_naked(scene: Scene) -> None:
    open_position(scene.store)
    row = Coverage(position_id="d-entry", symbol="AAPL", at=T0, position_qty=10, covered_qty=4)
    scene.store.write_coverage([row])
    scene.clock.set(T0 + timedelta(seconds=5))
    scene.reporter.watch()
    assert Event.NAKED_POSITION not in scene.events()
    scene.clock.set(T0 + timedelta(seconds=6))
    for _ in range(2):
        scene.reporter.watch()
    assert scene.events().count(Event.NAKED_POSITION) == 1
    assert scene.store.alerts()[-1].alert.symbol == "AAPL"


def test_turn_when_the_store_is_away_then_said_past_the_outbox_and_its_return(
    scene: Scene,
) -> None:
    scene.reporter.turn()

    def is_current() -> bool:
        return bool(scene.store.desk_epoch() == 0)

    scene.reporter._is_current = is_current  # the store is asked, as in a real desk
    scene.store.up = False
    for second in range(20):
        scene.clock.set(T0 + timedelta(seconds=second))
        assert scene.reporter.turn() == 1.0
    assert len(scene.messenger.sent) == 1
    assert "database: it does not answer" in scene.messenger.sent[0].text
    scene.store.up = True
    scene.reporter.turn()
    assert scene.events() == [Event.DATABASE]


def test_turn_when_another_desk_has_taken_over_then_tells_nothing(scene: Scene) -> None:
    scene.store.halt(at=T0, until=None, reason="manual: look")
    scene.is_current = False
    scene.reporter.turn()
    assert scene.messenger.sent == []
    assert scene.reporter.is_fenced


def test_turn_when_a_report_is_due_then_its_picture_follows_its_words(scene: Scene) -> None:
    scene.last_session = date(2013, 10, 7)
    scene.clock.set(CLOSED)
    scene.reporter = scene.start()
    for _ in range(3):
        scene.reporter.turn()
    assert "Daily report" in scene.messenger.sent[0].text
    assert len(scene.messenger.sent) == 2


def test_watch_when_alerts_are_older_than_a_week_then_let_go_and_not_sent(scene: Scene) -> None:
    scene.store.halt(at=T0 - timedelta(days=8), until=None, reason="manual: long ago")
    scene.store.halt(at=T0 - timedelta(days=6), until=None, reason="manual: lately")
    for _ in range(3):
        scene.reporter.turn()
    assert len(scene.messenger.sent) == 1
    assert "lately" in scene.messenger.sent[0].text
    assert [row.status for row in scene.store.alerts()] == [Status.OFF, Status.SENT]
