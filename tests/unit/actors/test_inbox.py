"""However slow the lane is, memory is bounded and no order's update is lost."""

from __future__ import annotations

import queue
from datetime import timedelta

import pytest

from actors.inbox import Inbox
from greenlight.domain.market import Tick
from greenlight.ports import StreamEvent, TradeStreamOpened
from tests.actor_cases import T0, later, quote
from tests.hub_rig import minute_bar


def drain(inbox: Inbox) -> list[StreamEvent | None]:
    found = []
    while True:
        try:
            found.append(inbox.get_nowait())
        except queue.Empty:
            return found


def test_put_when_there_is_room_then_taken_in_order() -> None:
    inbox = Inbox(most=3)
    events = [quote(100.0), minute_bar(T0), quote(101.0, at=later(1))]
    for event in events:
        inbox.put(event)
    assert inbox.qsize() == 3
    assert drain(inbox) == events
    assert inbox.dropped == 0


@pytest.mark.fault("slow consumer / 407")
def test_put_when_full_then_latest_quote_a_symbol_and_every_update_is_kept() -> None:
    inbox = Inbox(most=2)
    first = [quote(100.0), quote(100.1, at=later(1))]
    for event in first:
        inbox.put(event)
    for number in range(2, 1000):
        inbox.put(quote(100 + number / 100, at=later(number)))
        inbox.put(quote(50.0, at=later(number), symbol="MSFT"))
        inbox.put(minute_bar(T0 + timedelta(minutes=number)))
        inbox.put(Tick(symbol="AAPL", at=later(number), price=100.0, size=1))
    inbox.put(TradeStreamOpened())
    assert inbox.qsize() == 5
    assert drain(inbox) == [
        *first,
        TradeStreamOpened(),
        quote(109.99, at=later(999)),
        quote(50.0, at=later(999), symbol="MSFT"),
    ]
    # Of 998 times four, two quotes were kept.
    assert inbox.dropped == 998 * 4 - 2


def test_put_when_it_has_been_emptied_then_kept_one_by_one_again() -> None:
    inbox = Inbox(most=1)
    for number in range(3):
        inbox.put(quote(100.0, at=later(number)))
    assert len(drain(inbox)) == 2
    inbox.put(minute_bar(T0))
    assert inbox.get(0.0) == minute_bar(T0)


def test_get_when_nothing_comes_then_empty() -> None:
    with pytest.raises(queue.Empty):
        Inbox().get(0.0)
