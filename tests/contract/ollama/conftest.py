"""The servers that the contract tests ask: the stand-in, and a real one where there is one.

OLLAMA_HOST names the real one, GREENLIGHT_SENTIMENT_MODEL a model that is pulled there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from greenlight.adapters.ollama import OllamaModel
from greenlight.settings import Settings
from tests.ollama_stand_in import MODEL, StandIn


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """A stand-in without faults."""
    with StandIn() as found:
        yield found


@pytest.fixture
def scripted(stand_in: StandIn) -> Iterator[OllamaModel]:
    """The model of the stand-in, asked with a short deadline."""
    model = OllamaModel(host=stand_in.host, model="stand-in", deadline_s=0.5, wants_gpu=True)
    assert model.name == MODEL
    yield model
    model.close()


@pytest.fixture(params=["stand-in", "real"])
def model(request: pytest.FixtureRequest) -> Iterator[OllamaModel]:
    """A model on each server."""
    if request.param == "stand-in":
        yield request.getfixturevalue("scripted")
        return
    settings = Settings()
    if settings.ollama_host is None:
        pytest.skip("OLLAMA_HOST names no server")
    found = OllamaModel(
        host=settings.ollama_host,
        model=os.environ.get("GREENLIGHT_SENTIMENT_MODEL", settings.sentiment_model),
        deadline_s=60.0,
        wants_gpu=False,
    )
    yield found
    found.close()
