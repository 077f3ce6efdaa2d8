"""Nobody waits for the comparison beside the lane."""

from __future__ import annotations

import threading
from datetime import datetime

import pytest

from actors.side_look import SideLook
from greenlight.ports import BrokerUnavailable
from tests.actor_cases import T0
from tests.exchange_fixture import wait_until


def answer(side: SideLook) -> bool:
    found: list[bool | None] = []
    wait_until(lambda: found.append(side.poll(T0)) or found[-1] is not None)  # type: ignore[func-returns-value]
    assert found[-1] is not None
    return found[-1]


@pytest.mark.parametrize(("found", "agrees"), [([], True), (["a difference"], False)])
def test_poll_when_it_was_looked_then_whether_both_agree(found: list[str], agrees: bool) -> None:
    assert answer(SideLook(lambda _: found)) is agrees


def test_poll_when_the_broker_hangs_then_at_once_none_and_asked_but_once() -> None:
    may_go, asked = threading.Event(), list[datetime]()

    def look(now: datetime) -> list[str]:
        asked.append(now)
        assert may_go.wait(10)
        return []

    side = SideLook(look)
    assert [side.poll(T0) for _ in range(5)] == [None] * 5
    assert side.is_asked
    may_go.set()
    assert answer(side)
    assert len(asked) == 1
    assert not side.is_asked


def test_poll_when_the_broker_does_not_tell_then_raises_and_asks_again() -> None:
    answers: list[Exception | None] = [BrokerUnavailable("away"), None]

    def look(_: datetime) -> list[str]:
        error = answers.pop(0)
        if error is not None:
            raise error
        return []

    side = SideLook(look)
    with pytest.raises(BrokerUnavailable):
        answer(side)
    assert answer(side)


def test_forget_when_both_were_compared_meanwhile_then_the_old_answer_is_not_used() -> None:
    answers = [["a difference"], []]
    side = SideLook(lambda _: answers.pop(0))
    side.poll(T0)
    side.forget()
    assert answer(side)
