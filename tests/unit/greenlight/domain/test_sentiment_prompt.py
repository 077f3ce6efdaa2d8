"""Headlines are data: nothing in one changes the instructions around it."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain.sentiment import EventType, Headline, Horizon
from greenlight.domain.sentiment_prompt import (
    MAX_CHARACTERS,
    PROMPT_VERSION,
    SCHEMA,
    SYSTEM,
    plain_text,
    prompt_of,
)
from tests.injections import INJECTIONS


def headline(text: str) -> Headline:
    at = datetime(2013, 10, 7, 14, tzinfo=UTC)
    return Headline(at=at, text=text, symbols=("AAPL",), is_synthetic=False)


def assert_contained(text: str) -> None:
    prompt = prompt_of("AAPL", headline(text))
    assert prompt.system == SYSTEM
    assert prompt.user.isascii()
    assert "\n" not in prompt.user
    data = json.loads(prompt.user)
    assert set(data) == {"symbol", "headline"}
    assert data["symbol"] == "AAPL"
    assert len(data["headline"]) <= MAX_CHARACTERS
    assert not {unicodedata.category(c) for c in data["headline"]} & {"Cc", "Cf", "Cs"}


@pytest.mark.parametrize("text", INJECTIONS, ids=range(len(INJECTIONS)))
def test_prompt_when_a_headline_instructs_then_it_stays_one_json_string(text: str) -> None:
    assert_contained(text)


@given(st.text(max_size=2000))
def test_prompt_when_a_headline_is_any_text_then_it_stays_one_json_string(text: str) -> None:
    assert_contained(text)


def test_plain_text_when_a_headline_is_ordinary_then_left_as_it_is() -> None:
    assert plain_text("Nestlé’s Q3: profit +12%, “beats”") == "Nestlé’s Q3: profit +12%, “beats”"


def test_schema_when_read_then_closed_with_the_domain_s_words() -> None:
    assert SCHEMA["additionalProperties"] is False
    assert set(SCHEMA["required"]) == set(SCHEMA["properties"])
    assert SCHEMA["properties"]["event_type"]["enum"] == list(EventType)
    assert SCHEMA["properties"]["horizon"]["enum"] == list(Horizon)


def test_prompt_version_when_read_then_names_this_prompt() -> None:
    assert PROMPT_VERSION.startswith("1-")
    assert len(PROMPT_VERSION) == 14
