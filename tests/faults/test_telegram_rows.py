"""The row about Telegram: whatever it answers, every alert arrives and nobody waits.

The stand-in speaks the Bot API to the unmodified client. The outbox is on PostgreSQL.
Outages are seconds instead of minutes here; the unit tests of the dispatcher go on
virtual time.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import pytest

from greenlight.adapters.telegram import TelegramMessenger
from greenlight.adapters.timescale import TimescaleStore
from greenlight.domain.alerts import OPEN, Alert, Event, Status
from greenlight.domain.message_text import DUPLICATE
from greenlight.domain.orders import Accepted, Side
from greenlight.ports import StoreUnavailable
from tests.fault_table import Recovery
from tests.ledger_cases import (
    T0,
    broker_order,
    decision,
    fill,
    intent,
    minute,
    open_position,
    send_entry,
)
from tests.outbox_cases import dispatcher
from tests.store_fixture import empty
from tests.telegram_stand_in import CHAT, TOKEN, StandIn

ROW = "Telegram 429/409/timeout"


@pytest.fixture
def store(postgres_database: str) -> Iterator[TimescaleStore]:
    empty(postgres_database)
    found = TimescaleStore(postgres_database)
    yield found
    found.close()


@pytest.fixture
def telegram() -> Iterator[StandIn]:
    with StandIn(hang_s=0.5) as server:
        yield server


class Teller:
    """A life of the reporter's sending half: a fresh messenger and dispatcher on a thread."""

    def __init__(self, store: TimescaleStore, server: StandIn) -> None:
        self._messenger = TelegramMessenger(
            token=TOKEN,
            chat=CHAT,
            base_url=server.url,
            monotonic=time.monotonic,
            sleep=time.sleep,
            read_timeout_s=0.2,
        )
        self._dispatcher = dispatcher(store, self._messenger, lambda: datetime.now(UTC))
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_ending.is_set():
            wait_s = 0.1
            with suppress(StoreUnavailable):
                wait_s = self._dispatcher.step()
            self._is_ending.wait(min(wait_s, 1.0))

    def end(self) -> None:
        """A normal stop: after the message that is being sent."""
        self._is_ending.set()
        self._thread.join(timeout=10)
        self._messenger.close()


def put(store: TimescaleStore, number: int) -> None:
    alert = Alert(
        key=f"n{number}",
        at=minute(number),
        event=Event.REPORT,
        position_id=f"p{number % 3}",
        facts={"text": f"alert {number:02d}"},
    )
    assert store.put_alert(alert)


def await_sent(store: TimescaleStore, *, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while any(row.status in OPEN for row in store.alerts(limit=None)):
        assert time.monotonic() < until, store.open_alerts()
        time.sleep(0.05)


def check(server: StandIn, count: int) -> Counter[str]:
    """Every alert arrived, at most twice, the second marked, in order, within the limits."""
    words = [taken.text.split("\n")[0] for taken in server.taken]
    seen = Counter(words)
    assert sorted(seen) == [f"alert {number:02d}" for number in range(count)]
    assert max(seen.values()) <= 2
    first: set[str] = set()
    for taken, word in zip(server.taken, words, strict=True):
        assert word not in first or DUPLICATE in taken.text
        first.add(word)
    assert words == sorted(words)
    assert min((b - a for a, b in pairwise(server.arrivals)), default=1.0) >= 1.0
    return seen


@pytest.mark.fault("Telegram 429/409/timeout", bound_s=30)
def test_tell_when_answers_are_bad_then_all_arrive_in_order_at_most_twice(
    store: TimescaleStore, telegram: StandIn, recovery: Recovery
) -> None:
    telegram.script = ["429:2", "", "timeout", "", "409", "", "cut", "", "500", "hang"]
    for number in range(6):
        put(store, number)
    recovery.injected()
    teller = Teller(store, telegram)
    await_sent(store)
    recovery.done()
    teller.end()
    seen = check(telegram, 6)
    assert sum(seen.values()) == 8  # Two were cut off after delivery, one before it.
    assert [row.status for row in store.alerts()] == [Status.SENT] * 6


@pytest.mark.fault("Telegram 429/409/timeout", bound_s=10)
def test_tell_when_telegram_is_away_and_the_desk_restarts_then_all_arrive_once(
    store: TimescaleStore, telegram: StandIn, recovery: Recovery
) -> None:
    put(store, 0)
    teller = Teller(store, telegram)
    await_sent(store)
    telegram.stop()
    recovery.injected()
    for number in range(1, 4):
        put(store, number)
    time.sleep(2.5)
    teller.end()
    assert all(row.status in OPEN for row in store.alerts()[1:])
    telegram.start()
    teller = Teller(store, telegram)
    await_sent(store)
    recovery.done()
    teller.end()
    assert set(check(telegram, 4).values()) == {1}


@pytest.mark.fault("Telegram 429/409/timeout")
def test_tell_when_gateways_answer_for_it_then_kept_until_it_is_back(
    store: TimescaleStore, telegram: StandIn
) -> None:
    telegram.is_away = True
    put(store, 0)
    teller = Teller(store, telegram)
    time.sleep(2)
    telegram.is_away = False
    await_sent(store)
    teller.end()
    check(telegram, 1)


@pytest.mark.fault("Telegram 429/409/timeout")
def test_tell_when_the_process_dies_while_sending_then_one_marked_duplicate(
    store: TimescaleStore, telegram: StandIn
) -> None:
    put(store, 0)
    put(store, 1)
    teller = Teller(store, telegram)
    await_sent(store)
    teller.end()
    # As a kill between the answer and its note would leave the row.
    put(store, 2)
    (row,) = store.open_alerts()
    store.mark_alert(row.seq, Status.SENDING, doubts=0, at=datetime.now(UTC))
    teller = Teller(store, telegram)
    await_sent(store)
    teller.end()
    assert DUPLICATE in telegram.taken[-1].text
    assert [row.doubts for row in store.alerts()] == [0, 0, 1]


@pytest.mark.fault("Telegram 429/409/timeout", bound_s=2)
def test_tell_when_a_stop_fills_then_the_alert_arrives_within_two_seconds(
    store: TimescaleStore, telegram: StandIn, recovery: Recovery
) -> None:
    open_position(store)
    teller = Teller(store, telegram)
    await_sent(store)
    stop = fill("o-stop", side=Side.SELL, price="95.00", at=minute(9))
    recovery.injected()
    store.book_fill(stop, Decimal(0))
    until(lambda: len(telegram.taken) == 2)
    recovery.done()
    teller.end()
    assert "AAPL</b> stop hit" in telegram.taken[-1].text


@pytest.mark.fault("Telegram 429/409/timeout")
def test_book_fill_when_telegram_hangs_then_the_ledger_does_not_wait(
    store: TimescaleStore, telegram: StandIn
) -> None:
    telegram.script = ["hang"] * 50
    telegram.hang_s = 5.0
    put(store, 0)
    teller = Teller(store, telegram)
    until(lambda: len(telegram.arrivals) >= 1)
    began_s = time.monotonic()
    send_entry(store)
    store.book_fill(fill(), Decimal(0))
    store.record_intent(intent("gl-2", decision_id="d-2", symbol="IBM", at=T0), decision("d-2"))
    store.record_outcome("gl-2", Accepted(order=broker_order("gl-2", "o-2")), T0)
    took_s = time.monotonic() - began_s
    assert took_s < 0.5
    teller.end()


def until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
