"""A model server that is killed, hung, cold, busy or talks nonsense: trading goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from greenlight.domain.audit import DecisionKind, Verdict
from greenlight.domain.breaker import BreakerState
from greenlight.domain.market import Unavailable
from greenlight.domain.sentiment import ModelState, Reading
from greenlight.testing import FakeStore
from tests.fault_table import Recovery
from tests.injections import INJECTIONS
from tests.ollama_stand_in import StandIn
from tests.sentiment_rig import OPEN, Gate, SentimentRig, minutes, strategist, wait_for

SYMBOLS = ("AAPL", "MSFT")


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as found:
        yield found


@pytest.fixture
def rig(server: StandIn) -> Iterator[SentimentRig]:
    found = SentimentRig(server.host, symbols=SYMBOLS)
    yield found
    found.stop()


def is_reading(rig: SentimentRig) -> bool:
    return isinstance(rig.board.read("AAPL", rig.clock.now()), Reading)


def absence(rig: SentimentRig) -> str:
    found = rig.board.read("AAPL", rig.clock.now())
    return found.reason if isinstance(found, Unavailable) else ""


def state(rig: SentimentRig) -> BreakerState:
    return rig.actor.status().breaker.state


def trade(rig: SentimentRig) -> tuple[FakeStore, float]:
    """An hour of the strategist's: its store, and the slowest minute in seconds."""
    store, slowest_s = FakeStore(), 0.0
    actor = strategist(rig.board, SYMBOLS, store, Gate())
    for number, bars in enumerate(minutes(SYMBOLS, 60)):
        begun = time.perf_counter()
        actor.on_minute(bars, [], bars[0].end)
        if number > 10:
            slowest_s = max(slowest_s, time.perf_counter() - begun)
    return store, slowest_s


@pytest.mark.fault("Ollama cold, 503, bad JSON, hung", bound_s=310)
@pytest.mark.parametrize("fault", ["killed", "hang", "503", "prose", "half", "nan", "range"])
def test_model_when_it_fails_then_missing_never_zero_and_asked_again_after_five_minutes(
    server: StandIn, rig: SentimentRig, recovery: Recovery, fault: str
) -> None:
    rig.tell(4)
    wait_for(lambda: is_reading(rig))
    if fault == "killed":
        server.stop()
    else:
        server.always = fault
    rig.tell(8)
    wait_for(lambda: state(rig) is BreakerState.OPEN)
    found = rig.actor.status()
    assert found.breaker.openings == 1
    wait_for(lambda: "breaker open" in absence(rig))
    store, slowest_s = trade(rig)
    rows = [row.decision for row in store.decisions(kind=DecisionKind.ENTRY)]
    assert rows
    assert all(row.verdict is Verdict.SKIPPED for row in rows)
    assert all(row.reason.startswith("sentiment unavailable: breaker open") for row in rows)
    assert all("signal.sentiment" not in row.figures for row in rows)
    assert slowest_s < 0.1
    assert len(rig.notifier.alerts) == 1

    if fault == "killed":
        server.start()
    server.always = None
    recovery.injected(lambda: rig.clock.now().timestamp())
    asked = len(server.asked)
    rig.clock.skipped_s += 290
    time.sleep(1.2)
    assert state(rig) is BreakerState.OPEN
    assert len(server.asked) == asked
    rig.clock.skipped_s += 9
    wait_for(lambda: state(rig) is BreakerState.CLOSED)
    wait_for(lambda: is_reading(rig))
    recovery.done()
    assert len(rig.notifier.alerts) == 1


@pytest.mark.fault("Ollama cold, 503, bad JSON, hung", bound_s=5)
def test_model_when_it_is_cold_then_missing_until_it_is_warm_and_never_cut_off(
    server: StandIn, rig: SentimentRig, recovery: Recovery
) -> None:
    server.load_s = 2.0
    recovery.injected()
    rig.tell(4)

    def is_loading() -> bool:
        standing = rig.actor.status().standing
        return standing is not None and standing.state is ModelState.LOADING

    wait_for(is_loading)
    time.sleep(0.2)
    found = rig.board.read("AAPL", rig.clock.now())
    assert found == Unavailable("stand-in:latest is loading")
    wait_for(lambda: is_reading(rig))
    recovery.done()
    assert server.loads_aborted == 0
    assert rig.notifier.alerts == []


@pytest.mark.fault("Ollama cold, 503, bad JSON, hung")
def test_model_when_headlines_inject_then_rated_as_data_and_the_breaker_stays_closed(
    server: StandIn, rig: SentimentRig
) -> None:
    for text in INJECTIONS:
        rig.tell(1, text)
    wait_for(lambda: rig.actor.status().rated >= len(INJECTIONS))
    assert state(rig) is BreakerState.CLOSED
    assert all(abs(o.rating.score) < 0.9 for o in rig.news_store.opinions(OPEN))


def test_read_when_the_model_is_away_then_answered_in_under_a_millisecond(
    server: StandIn, rig: SentimentRig
) -> None:
    server.always = "hang"
    rig.tell(20)
    took = []
    for _ in range(1000):
        begun = time.perf_counter()
        assert isinstance(rig.board.read("AAPL", rig.clock.now()), Unavailable)
        took.append(time.perf_counter() - begun)
        time.sleep(0.001)
    assert sorted(took)[980] < 0.001
