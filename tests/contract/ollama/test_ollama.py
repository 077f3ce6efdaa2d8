"""What is promised of a language model's server, by the unmodified client."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import pytest

from greenlight.adapters.ollama import KEEP_ALIVE_S, OllamaModel, pull, rating_of
from greenlight.domain.market import Unavailable
from greenlight.domain.sentiment import Headline, ModelState, Rating
from greenlight.domain.sentiment_prompt import OPTIONS, SCHEMA, SYSTEM
from greenlight.ports import ModelFailed
from tests.injections import INJECTIONS
from tests.ollama_stand_in import (
    BUSY,
    CONTENT_FAULTS,
    DIGEST,
    MODEL,
    SIZE,
    TRANSPORT_FAULTS,
    StandIn,
)

T0 = datetime(2013, 10, 7, 14, tzinfo=UTC)


def ask(text: str) -> tuple[str, Headline]:
    return "AAPL", Headline(at=T0, text=text, symbols=("AAPL",), is_synthetic=True)


GOOD = ask("Apple beats estimates, sales at a record")
BAD = ask("Apple falls as lawsuit over batteries widens")


# -- on every server


def test_rate_when_warm_then_each_headline_has_its_own_rating_in_order(model: OllamaModel) -> None:
    model.warm_up()
    good, bad = model.rate([GOOD, BAD])
    assert isinstance(good, Rating)
    assert isinstance(bad, Rating)
    assert -1 <= bad.score < good.score <= 1


def test_standing_when_warmed_up_then_warm_with_its_digest_and_size(model: OllamaModel) -> None:
    model.warm_up()
    found = model.standing()
    assert found.state is ModelState.WARM
    assert found.digest
    assert found.size_bytes > 0


def test_rate_when_headlines_instruct_then_none_gets_what_it_asks_for(model: OllamaModel) -> None:
    model.warm_up()
    for text in INJECTIONS:
        (found,) = model.rate([ask(text)])
        assert isinstance(found, Unavailable) or found.score * found.relevance < 0.5, text[:80]


# -- on the stand-in, which can be told to fail


def test_standing_when_nothing_is_loaded_then_cold_and_asking_did_not_load_it(
    stand_in: StandIn, scripted: OllamaModel
) -> None:
    found = scripted.standing()
    assert (found.state, found.digest) == (ModelState.COLD, DIGEST)
    assert not stand_in.is_loaded


def test_standing_when_part_is_outside_the_gpu_then_spilled(
    stand_in: StandIn, scripted: OllamaModel
) -> None:
    scripted.warm_up()
    stand_in.vram = SIZE // 2
    found = scripted.standing()
    assert (found.state, found.vram_bytes) == (ModelState.SPILLED, SIZE // 2)


def test_standing_when_the_model_is_not_there_then_missing(
    stand_in: StandIn, scripted: OllamaModel
) -> None:
    stand_in.pulled.clear()
    assert scripted.standing().state is ModelState.MISSING
    with pytest.raises(ModelFailed, match=f"404: model '{MODEL}' not found"):
        scripted.warm_up()


@pytest.mark.parametrize("fault", ["hang", "503", "html", "drip"])
def test_standing_when_the_server_is_broken_then_failed_within_the_deadline(
    stand_in: StandIn, scripted: OllamaModel, fault: str
) -> None:
    stand_in.looks = fault
    begun = time.monotonic()
    with pytest.raises(ModelFailed):
        scripted.standing()
    assert time.monotonic() - begun < 4.0


def test_standing_when_the_server_dies_and_returns_then_failed_and_known_again(
    stand_in: StandIn, scripted: OllamaModel
) -> None:
    stand_in.stop()
    with pytest.raises(ModelFailed, match="does not answer"):
        scripted.standing()
    stand_in.start()
    assert scripted.standing().state is ModelState.COLD


def test_warm_up_when_loading_takes_longer_than_an_answer_may_then_not_aborted(
    stand_in: StandIn, scripted: OllamaModel
) -> None:
    stand_in.load_s = 1.0
    scripted.warm_up()
    assert stand_in.loads_aborted == 0
    assert scripted.standing().state is ModelState.WARM


def test_rate_when_cold_then_cut_off_and_the_load_aborted(
    stand_in: StandIn, scripted: OllamaModel
) -> None:
    # Why the actor never asks a cold model: the deadline of an answer keeps it cold.
    stand_in.load_s = 30.0
    assert scripted.rate([GOOD]) == [Unavailable("no answer within 0.5 s")]
    until = time.monotonic() + 5
    while not stand_in.loads_aborted and time.monotonic() < until:
        time.sleep(0.01)
    assert stand_in.loads_aborted == 1
    assert not stand_in.is_loaded


def test_rate_when_asked_then_request_has_schema_options_and_the_headline_as_data(
    stand_in: StandIn, scripted: OllamaModel
) -> None:
    for text in INJECTIONS:
        scripted.rate([ask(text)])
    assert len(stand_in.asked) == len(INJECTIONS)
    for body in stand_in.asked:
        assert (body["stream"], body["format"], body["options"]) == (False, SCHEMA, OPTIONS)
        assert body["keep_alive"] == KEEP_ALIVE_S
        system, user = body["messages"]
        assert system == {"role": "system", "content": SYSTEM}
        assert user["role"] == "user"


def test_rate_when_several_are_asked_then_side_by_side(
    stand_in: StandIn, scripted: OllamaModel
) -> None:
    scripted.warm_up()
    stand_in.takes_s = 0.1
    assert all(isinstance(r, Rating) for r in scripted.rate([GOOD] * 4))
    assert stand_in.most_at_once > 1


@pytest.mark.parametrize("fault", [*CONTENT_FAULTS, *TRANSPORT_FAULTS])
def test_rate_when_one_answer_is_broken_then_it_alone_fails_in_time(
    stand_in: StandIn, scripted: OllamaModel, fault: str
) -> None:
    scripted.warm_up()
    stand_in.always = fault
    begun = time.monotonic()
    (found,) = scripted.rate([GOOD])
    assert time.monotonic() - begun < 3.0
    assert isinstance(found, Unavailable)
    assert found.reason
    stand_in.always = None
    assert isinstance(scripted.rate([GOOD])[0], Rating)


def test_rate_when_busy_then_the_reason_is_the_server_s(
    stand_in: StandIn, scripted: OllamaModel
) -> None:
    scripted.warm_up()
    stand_in.always = "503"
    assert scripted.rate([GOOD]) == [Unavailable(f"HTTP 503: {BUSY}")]


def test_rate_when_the_server_dies_meanwhile_then_failed(
    stand_in: StandIn, scripted: OllamaModel
) -> None:
    scripted.warm_up()
    stand_in.always = "hang"
    killer = threading.Timer(0.1, stand_in.stop)
    killer.start()
    (found,) = scripted.rate([GOOD])
    killer.join()
    assert isinstance(found, Unavailable)


def test_rating_when_the_answer_is_long_and_deep_then_failed() -> None:
    assert isinstance(rating_of("[" * 100_000), Unavailable)
    assert isinstance(rating_of("x" * 1_000_000), Unavailable)


def test_pull_when_the_model_is_known_then_progress_to_the_whole(stand_in: StandIn) -> None:
    stand_in.pulled.clear()
    rows = list(pull(stand_in.host, MODEL))
    assert [row.done_bytes for row in rows if row.layer] == [0, SIZE // 2, SIZE]
    assert rows[-1].status == "success"
    assert MODEL in stand_in.pulled


def test_pull_when_nobody_knows_the_model_or_answers_then_failed(stand_in: StandIn) -> None:
    with pytest.raises(ModelFailed, match="file does not exist"):
        list(pull(stand_in.host, "nothing:latest"))
    stand_in.stop()
    with pytest.raises(ModelFailed, match="does not answer"):
        list(pull(stand_in.host, MODEL))
