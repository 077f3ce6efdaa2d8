"""Opinions to readings. The expected figures are worked out by hand beside them."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain.market import Unavailable
from greenlight.domain.sentiment import (
    EventType,
    Headline,
    Horizon,
    ModelState,
    Opinion,
    Rating,
    Reading,
    cache_key,
    first_told,
    reading_of,
    spread,
    standing_of,
    story,
)

T0 = datetime(2013, 10, 7, 20, tzinfo=UTC)
DAY = timedelta(hours=24)


def headline(text: str, *, hours: float = 0.0, made_up: bool = False) -> Headline:
    at = T0 - timedelta(hours=hours)
    return Headline(at=at, text=text, symbols=("AAPL",), is_synthetic=made_up)


def opinion(
    score: float, *, text: str | None = None, hours: float = 0.0, relevance: float = 1.0
) -> Opinion:
    found = headline(text or f"story {score} {hours} {relevance}", hours=hours)
    return Opinion(
        symbol="AAPL",
        headline=found,
        rating=Rating(
            score=score,
            relevance=relevance,
            event=EventType.OTHER,
            horizon=Horizon.DAY,
            reason="because",
        ),
        model="m",
        digest="d",
        prompt_version="1",
        read_at=found.at,
    )


def read(*opinions: Opinion, now: datetime = T0) -> Reading | Unavailable:
    return reading_of("AAPL", opinions, now, half_life=DAY)


def known(*opinions: Opinion, now: datetime = T0) -> Reading:
    found = read(*opinions, now=now)
    assert isinstance(found, Reading)
    return found


@pytest.mark.parametrize(("hours", "score"), [(0, 0.8), (24, 0.4), (48, 0.2), (96, 0.05)])
def test_reading_when_it_ages_then_halves_with_every_half_life(hours: int, score: float) -> None:
    found = known(opinion(0.8), now=T0 + timedelta(hours=hours))
    assert found.score == pytest.approx(score, abs=1e-12)
    # W = 2^-(hours/24): sqrt(1/3 / (1 + W)).
    assert found.uncertainty == pytest.approx(
        math.sqrt((1 / 3) / (1 + 2 ** (-hours / 24))), abs=1e-12
    )


def test_reading_when_the_newest_is_older_than_four_half_lives_then_unavailable() -> None:
    found = read(opinion(0.8), now=T0 + timedelta(hours=97))
    assert isinstance(found, Unavailable)
    assert T0.isoformat() in found.reason


def test_reading_when_opinions_conflict_then_uncertainty_is_wider_than_in_agreement() -> None:
    agree = known(opinion(0.6), opinion(0.6, text="another"))
    conflict = known(opinion(0.9), opinion(-0.9))
    # W = 2: sqrt((1/3)/3) = 1/3; in conflict the variance is 0.81 more.
    assert agree.uncertainty == pytest.approx(1 / 3, abs=1e-12)
    assert conflict.uncertainty == pytest.approx(math.sqrt(1 / 9 + 0.81), abs=1e-12)
    assert conflict.score == pytest.approx(0.0, abs=1e-12)
    assert agree.headlines == conflict.headlines == 2


def test_reading_when_relevance_and_age_differ_then_weights_are_their_product() -> None:
    found = known(opinion(1.0, relevance=0.5), opinion(-1.0, hours=24))
    # Both weigh 0.5, so the mean is 0; W = 1: sqrt(1/6 + 1).
    assert found.score == pytest.approx(0.0, abs=1e-12)
    assert found.uncertainty == pytest.approx(math.sqrt(1 / 6 + 1), abs=1e-12)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (read(), "no headline was read"),
        (read(opinion(0.5, relevance=0.0)), "no relevant headline"),
        (read(opinion(math.nan)), "no relevant headline"),
        (read(replace(opinion(0.5), symbol="IBM")), "no headline was read"),
        (read(opinion(0.5, hours=-1)), "no headline was read"),
        (read(replace(opinion(0.5, hours=1), read_at=T0 + DAY)), "no headline was read"),
    ],
    ids=["none", "irrelevant", "nan", "another's", "to come", "read later"],
)
def test_reading_when_there_is_nothing_to_rest_on_then_unavailable_and_not_zero(
    found: Reading | Unavailable, reason: str
) -> None:
    assert found == Unavailable(reason)


def test_reading_when_a_story_is_copied_then_it_counts_once() -> None:
    once = known(opinion(0.5, text="Apple beats; shares up", hours=2), opinion(-0.2))
    copies = known(
        opinion(0.5, text="Apple beats; shares up", hours=2),
        opinion(0.9, text="APPLE beats — shares up!", hours=1),
        opinion(-0.2),
    )
    assert copies == once
    assert copies.headlines == 2


def test_first_told_when_the_words_come_again_next_week_then_another_story() -> None:
    told = [opinion(0.1, text="Apple beats", hours=h) for h in (0, 100)]
    assert len(first_told(told)) == 2


def test_story_when_case_accents_and_punctuation_differ_then_same_and_else_not() -> None:
    assert story(headline("Nestlé, UP 3%")) == story(headline("nestle up 3 %"))
    assert story(headline("Apple up 3%")) != story(headline("Apple up 4%"))
    assert story(headline("Apple +3%")) != story(headline("Apple -3%"))
    assert story(headline("Apple \u22123%")) == story(headline("Apple -3%"))


def test_cache_key_when_any_part_differs_then_another() -> None:
    parts = ("digest", "1", "AAPL", "text")
    assert cache_key(*parts) == cache_key(*parts)
    keys = {cache_key(*(p + "x" if i == n else p for i, p in enumerate(parts))) for n in range(4)}
    assert len(keys | {cache_key(*parts)}) == 5
    assert cache_key("a", "b", "c", "d") != cache_key("ab", "", "c", "d")


@pytest.mark.parametrize(
    ("vram", "wants_gpu", "state"),
    [
        (8, True, ModelState.WARM),
        (7, True, ModelState.SPILLED),
        (0, True, ModelState.SPILLED),
        (0, False, ModelState.WARM),
    ],
)
def test_standing_when_part_is_outside_the_gpu_then_spilled_unless_the_cpu_was_asked_for(
    vram: int, wants_gpu: bool, state: ModelState
) -> None:
    assert standing_of("d", 8, vram, wants_gpu=wants_gpu).state is state


SCORES = st.floats(-1, 1)
WEIGHTS = st.floats(1e-3, 1)


@given(st.lists(st.tuples(SCORES, WEIGHTS), min_size=1, max_size=30))
def test_spread_when_any_scores_then_mean_within_them_and_uncertainty_bounded(
    pairs: list[tuple[float, float]],
) -> None:
    scores, weights = [s for s, _ in pairs], [w for _, w in pairs]
    mean, uncertainty = spread(scores, weights)
    assert min(scores) - 1e-9 <= mean <= max(scores) + 1e-9
    assert 0 < uncertainty <= math.sqrt(4 / 3)


@given(st.lists(SCORES, min_size=2, max_size=10))
def test_spread_when_scores_lie_apart_then_never_more_certain_than_in_agreement(
    scores: list[float],
) -> None:
    weights = [1.0] * len(scores)
    mean, apart = spread(scores, weights)
    assert apart >= spread([mean] * len(scores), weights)[1] - 1e-12
