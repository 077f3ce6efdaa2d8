"""Alerts reach a person in their order, once, or once more and marked."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from actors.dispatch import IDLE_S, Dispatcher
from greenlight.domain.alerts import Alert, Event, Loudness, Status, told
from greenlight.domain.message_text import DUPLICATE
from greenlight.domain.orders import Side
from greenlight.ports import Doubtful, NotDelivered, Refused, StoreUnavailable
from greenlight.testing import FakeClock, FakeMessenger, FakeStore
from tests.ledger_cases import T0, fill, minute, open_position
from tests.outbox_cases import dispatcher

CUT = Doubtful(reason="Timed out")


class Scene:
    def __init__(self) -> None:
        self.store = FakeStore()
        self.messenger = FakeMessenger()
        self.clock = FakeClock(T0)

    def dispatcher(self, chosen: dict[Event, Loudness] | None = None) -> Dispatcher:
        return dispatcher(self.store, self.messenger, self.clock.now, chosen=chosen)

    def tell(self, text: str, event: Event = Event.TARGET_HIT, at: datetime = T0) -> None:
        facts = {"text": text}
        self.store.put_alert(
            Alert(key=text, at=at, event=Event.REPORT, facts=facts)
            if event is Event.TARGET_HIT
            else told(event, text, at)
        )

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messenger.sent]

    @property
    def statuses(self) -> list[Status]:
        return [row.status for row in self.store.alerts()]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_step_when_alerts_wait_then_sent_in_order_and_then_idle(scene: Scene) -> None:
    scene.tell("one")
    scene.tell("two")
    teller = scene.dispatcher()
    assert [teller.step() for _ in range(3)] == [0.0, 0.0, IDLE_S]
    assert scene.texts == ["one", "two"]
    assert scene.statuses == [Status.SENT, Status.SENT]


def test_step_when_a_trade_goes_its_way_then_says_source_prices_reason_and_id(
    scene: Scene,
) -> None:
    open_position(scene.store)
    stop = fill("o-stop", side=Side.SELL, price="95.00", at=minute(9))
    scene.store.book_fill(stop, Decimal(0))
    teller = scene.dispatcher()
    teller.step()
    teller.step()
    opened, closed = scene.messenger.sent
    assert opened.is_silent
    assert opened.text.split("\n") == [
        "🟢 <b>PAPER</b> <b>AAPL</b> opened",
        "<code>10</code> shares at <code>100.00</code>, A",
        "stop <code>95.00</code>, target <code>110.00</code>, leaves by 2013-10-10 16:00 ET",
        "2013-10-07 10:30 ET, trade <code>d-entry</code>",
    ]
    assert not closed.is_silent
    head, prices, net, end = closed.text.split("\n")
    assert head == "🛑 <b>PAPER</b> <b>AAPL</b> stop hit"
    assert prices == "<code>10</code> shares, <code>100.00</code> → <code>95.00</code>"
    assert "exit: stop" in net
    # $50 on the shares, a cent of fees, the rest what a paper fill leaves out.
    assert "<code>-$51.0" in net
    assert end == "2013-10-07 10:39 ET, trade <code>d-entry</code>"


def test_step_when_it_certainly_did_not_arrive_then_waits_and_sends_unmarked(
    scene: Scene,
) -> None:
    scene.tell("one")
    scene.messenger.outcomes = [NotDelivered(reason="429", again_after_s=7.0)] * 5
    teller = scene.dispatcher()
    assert [teller.step() for _ in range(5)] == [7.0] * 5
    assert scene.statuses == [Status.WAITING]
    teller.step()
    assert scene.texts == ["one"]


def test_step_when_the_answer_is_cut_off_then_one_marked_duplicate(scene: Scene) -> None:
    scene.tell("one")
    scene.tell("two")
    scene.messenger.outcomes = [CUT]
    teller = scene.dispatcher()
    for _ in range(4):
        teller.step()
    assert scene.texts == ["one", f"one\n{DUPLICATE}", "two"]


def test_step_when_cut_off_then_the_other_side_is_asked_before_the_repeat(scene: Scene) -> None:
    scene.tell("one")
    scene.messenger.outcomes, scene.messenger.loses = [CUT], True
    teller = scene.dispatcher()
    teller.step()
    scene.messenger.answers = False
    assert [teller.step() for _ in range(3)] == [1.0, 1.0, 1.0]
    assert scene.statuses == [Status.DOUBTFUL]
    scene.messenger.answers = True
    teller.step()
    assert scene.texts == [f"one\n{DUPLICATE}"]


def test_step_when_cut_off_twice_then_no_third_and_the_next_says_so(scene: Scene) -> None:
    scene.tell("one")
    scene.tell("two")
    scene.messenger.outcomes = [CUT, CUT]
    teller = scene.dispatcher()
    for _ in range(4):
        teller.step()
    assert scene.statuses == [Status.MAYBE, Status.SENT]
    assert scene.texts == [
        "one",
        f"one\n{DUPLICATE}",
        "two\n1 before this may not have arrived; /logs lists them",
    ]


def test_step_when_the_repeat_did_not_arrive_then_still_marked(scene: Scene) -> None:
    scene.tell("one")
    scene.messenger.outcomes = [CUT, NotDelivered(reason="502", again_after_s=1.0)]
    teller = scene.dispatcher()
    for _ in range(3):
        teller.step()
    assert scene.texts == ["one", f"one\n{DUPLICATE}"]
    assert scene.statuses == [Status.SENT]


def test_start_when_the_last_life_died_while_sending_then_repeated_marked(scene: Scene) -> None:
    scene.tell("one")
    (row,) = scene.store.open_alerts()
    scene.store.mark_alert(row.seq, Status.SENDING, doubts=0, at=T0)
    teller = scene.dispatcher()
    teller.step()
    teller.step()
    assert scene.texts == [f"one\n{DUPLICATE}"]


def test_step_when_the_store_goes_after_the_send_then_repeated_marked(scene: Scene) -> None:
    scene.tell("one")
    teller = scene.dispatcher()
    send = scene.messenger.send

    def send_and_lose_the_store(message: object) -> object:
        found = send(message)  # type: ignore[arg-type]
        scene.store.up = False
        return found

    scene.messenger.send = send_and_lose_the_store  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreUnavailable):
        teller.step()
    scene.store.up = True
    scene.messenger.send = send  # type: ignore[method-assign]
    teller.step()
    teller.step()
    assert scene.texts == ["one", f"one\n{DUPLICATE}"]


def test_step_when_it_is_refused_for_ever_then_the_next_goes_on(scene: Scene) -> None:
    scene.tell("one")
    scene.tell("two")
    scene.messenger.outcomes = [Refused(reason="chat not found")]
    teller = scene.dispatcher()
    teller.step()
    teller.step()
    assert scene.statuses == [Status.REFUSED, Status.SENT]
    assert scene.store.alerts()[0].note == "chat not found"


def test_step_when_an_event_is_off_then_kept_and_not_sent(scene: Scene) -> None:
    open_position(scene.store)
    scene.tell("one")
    teller = scene.dispatcher({Event.POSITION_OPENED: Loudness.OFF})
    teller.step()
    assert scene.texts == ["one"]
    assert scene.statuses == [Status.OFF, Status.SENT]


def test_step_when_a_critical_is_said_to_be_off_then_sent_all_the_same(scene: Scene) -> None:
    scene.store.halt(at=T0, until=None, reason="manual: look")
    scene.dispatcher({Event.HALT: Loudness.OFF}).step()
    assert len(scene.texts) == 1


def test_step_when_troubles_repeat_then_counted_and_told_after_the_throttle(scene: Scene) -> None:
    teller = scene.dispatcher()
    scene.tell("GOOG: stream mute", Event.TROUBLE)
    teller.step()
    for number in range(1, 4):
        scene.tell(f"GOOG: stream mute {number}", Event.TROUBLE, minute(number))
    scene.tell("report")
    scene.clock.set(minute(5))
    teller.step()
    assert teller.step() == IDLE_S
    assert len(scene.texts) == 2
    scene.clock.set(minute(11))
    teller.step()
    assert scene.texts[-1].endswith("and 2 more like it")
    assert scene.statuses == [
        Status.SENT,
        Status.SENT,
        Status.FOLDED,
        Status.FOLDED,
        Status.SENT,
    ]


def test_start_when_a_trouble_was_just_told_then_the_throttle_goes_on(scene: Scene) -> None:
    scene.tell("GOOG: stream mute", Event.TROUBLE)
    scene.dispatcher().step()
    scene.tell("GOOG: stream mute again", Event.TROUBLE, minute(1))
    scene.clock.set(minute(1))
    assert scene.dispatcher().step() == IDLE_S


def test_step_when_a_critical_is_not_acknowledged_then_repeated_until_it_is(scene: Scene) -> None:
    teller = scene.dispatcher()
    scene.store.halt(at=T0, until=None, reason="manual: look")
    teller.step()
    for number in range(1, 60):
        scene.clock.set(minute(number))
        teller.step()
    reminders = [text for text in scene.texts if text.startswith("⏰")]
    assert len(reminders) == 3
    assert reminders[0] == "⏰ 1 not acknowledged; /ack\n⛔ <b>PAPER</b> no new entries"
    scene.store.acknowledge_alerts(scene.clock.now())
    scene.clock.set(minute(60) + timedelta(hours=5))
    teller.step()
    assert len(scene.texts) == 4


def test_step_when_a_row_has_a_chart_then_sent_as_a_picture(scene: Scene) -> None:
    facts = {"text": "chart", "has_chart": True}
    scene.store.put_alert(Alert(key="c", at=T0, event=Event.REPORT, facts=facts))
    scene.dispatcher().step()
    assert scene.messenger.sent[0].png == b"png"


def test_step_when_there_is_an_outage_of_ten_minutes_then_all_arrive_once(scene: Scene) -> None:
    teller = scene.dispatcher()
    outage_s = 0.0
    number = 0
    while outage_s < 600:
        if outage_s >= 60 * number:
            scene.tell(f"alert {number:02d}")
            number += 1
        scene.messenger.outcomes = [NotDelivered(reason="refused", again_after_s=1.0)]
        wait_s = max(teller.step(), 0.5)
        scene.clock.advance(wait_s)
        outage_s += wait_s
        if outage_s > 300 and number == 6:
            teller = scene.dispatcher()
    scene.messenger.outcomes = []
    while teller.step() == 0.0:
        pass
    assert scene.texts == [f"alert {n:02d}" for n in range(10)]
