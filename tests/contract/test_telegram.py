"""The messenger against the stand-in, and against Telegram where a token is given.

GREENLIGHT_TEST_TELEGRAM_TOKEN and GREENLIGHT_TEST_TELEGRAM_CHAT run the basic tests
against the real API too; without them those are skipped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from greenlight.adapters.telegram import ChatPace, TelegramMessenger
from greenlight.ports import Delivered, Doubtful, Message, NotDelivered, Refused
from tests.telegram_stand_in import CHAT, TOKEN, StandIn

_TOKEN, _CHAT = "GREENLIGHT_TEST_TELEGRAM_TOKEN", "GREENLIGHT_TEST_TELEGRAM_CHAT"


@pytest.fixture
def telegram() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


def connect(server: StandIn, *, chat: str = CHAT, token: str = TOKEN) -> TelegramMessenger:
    return TelegramMessenger(
        token=token,
        chat=chat,
        base_url=server.url,
        monotonic=time.monotonic,
        sleep=time.sleep,
        read_timeout_s=0.4,
    )


@pytest.fixture
def messenger(telegram: StandIn) -> Iterator[TelegramMessenger]:
    found = connect(telegram)
    yield found
    found.close()


@pytest.fixture(params=["stand-in", "real"])
def either(request: pytest.FixtureRequest) -> Iterator[TelegramMessenger]:
    """The stand-in, and the real API where a token is given."""
    if request.param == "stand-in":
        yield request.getfixturevalue("messenger")
        return
    token, chat = os.environ.get(_TOKEN), os.environ.get(_CHAT)
    if not token or not chat:
        pytest.skip(f"{_TOKEN} and {_CHAT} name no bot")
    found = TelegramMessenger(token=token, chat=chat, monotonic=time.monotonic, sleep=time.sleep)
    yield found
    found.close()


def test_send_when_all_is_well_then_delivered(either: TelegramMessenger) -> None:
    found = either.send(Message(text="<b>PAPER</b> <code>a &lt; b</code>", is_silent=True))
    assert isinstance(found, Delivered)
    assert either.is_answering()


def test_send_when_a_text_has_4096_characters_then_delivered(either: TelegramMessenger) -> None:
    assert isinstance(either.send(Message(text="x" * 4096, is_silent=True)), Delivered)
    assert isinstance(either.send(Message(text="x" * 4097, is_silent=True)), Refused)


def test_send_when_a_picture_is_given_then_with_its_caption(
    telegram: StandIn, messenger: TelegramMessenger
) -> None:
    png = b"\x89PNG\r\n\x1a\n"
    assert isinstance(messenger.send(Message(text="chart", png=png)), Delivered)
    (taken,) = telegram.taken
    assert taken.has_photo
    assert taken.text == "chart"


@pytest.mark.parametrize(
    ("fault", "kind", "again_after_s"),
    [
        ("429:3", NotDelivered, 3.0),
        ("409", NotDelivered, 5.0),
        ("500", NotDelivered, 1.0),
        ("403", NotDelivered, 60.0),
        ("bad", Refused, None),
        ("timeout", Doubtful, None),
        ("cut", Doubtful, None),
    ],
)
def test_send_when_the_answer_is_bad_then_says_what_became_of_it(
    telegram: StandIn,
    messenger: TelegramMessenger,
    fault: str,
    kind: type,
    again_after_s: float | None,
) -> None:
    telegram.script = [fault]
    found = messenger.send(Message(text="hello"))
    assert isinstance(found, kind)
    if isinstance(found, NotDelivered):
        assert found.again_after_s == again_after_s
    assert len(telegram.taken) == (fault in {"timeout", "cut"})


def test_send_when_nobody_listens_then_certainly_not_delivered() -> None:
    with StandIn() as server:
        pass
    found = connect(server)
    assert isinstance(found.send(Message(text="hello")), NotDelivered)
    assert not found.is_answering()
    assert found.asked(0) == []
    found.close()


def test_send_when_the_markup_is_refused_then_sent_as_plain_words(
    telegram: StandIn, messenger: TelegramMessenger
) -> None:
    telegram.script = ["parse"]
    assert isinstance(messenger.send(Message(text="<b>5 &lt; 6</b>")), Delivered)
    assert telegram.taken[0].text == "5 < 6"


def test_send_when_the_token_is_revoked_then_kept_and_never_shown(telegram: StandIn) -> None:
    found = connect(telegram, token="999:secret")
    outcome = found.send(Message(text="hello"))
    assert isinstance(outcome, NotDelivered)
    assert "secret" not in outcome.reason
    found.close()


def test_send_when_many_are_sent_then_a_second_lies_between(
    telegram: StandIn, messenger: TelegramMessenger
) -> None:
    telegram.script = ["", "timeout", "500"]
    for number in range(5):
        messenger.send(Message(text=f"{number}"))
    assert min(b - a for a, b in pairwise(telegram.arrivals)) >= 1.0


def test_wait_when_a_group_had_twenty_then_until_the_minute_is_over() -> None:
    pace, now_s = ChatPace(is_group=True), 0.0
    sent: list[float] = []
    for _ in range(45):
        now_s += pace.wait_s(now_s)
        pace.note(now_s)
        sent.append(now_s)
    for begin in sent:
        assert sum(begin <= at < begin + 60 for at in sent) <= 20
    assert min(b - a for a, b in pairwise(sent)) >= 1.0


def until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_asked_when_somebody_writes_then_each_comes_once(
    telegram: StandIn, messenger: TelegramMessenger
) -> None:
    telegram.say("/status")
    telegram.press("halt:abc")
    first, second = messenger.asked(1)
    assert (first.chat, first.user, first.text, first.query) == (CHAT, "7", "/status", None)
    assert (second.text, second.query) == ("halt:abc", "q2")
    assert messenger.asked(0.1) == []
    messenger.settle("q2", "done")
    assert telegram.answered == [("q2", "done")]


def test_asked_when_another_reads_the_same_bot_then_waits_and_goes_on(telegram: StandIn) -> None:
    waits: list[float] = []
    found = TelegramMessenger(
        token=TOKEN, chat=CHAT, base_url=telegram.url, monotonic=time.monotonic, sleep=waits.append
    )
    telegram.update_script = ["409"]
    telegram.say("/status")
    assert found.asked(0) == []
    assert waits == [5.0]
    assert [asked.text for asked in found.asked(0)] == ["/status"]
    found.close()
