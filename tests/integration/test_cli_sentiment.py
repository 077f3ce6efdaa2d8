"""The commands of the model that reads the news, on a store and a server of the tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cluster.cli import app
from greenlight.adapters.timescale import TimescaleStore
from greenlight.domain.breaker import Breaker, BreakerState
from greenlight.domain.market import Unavailable
from greenlight.domain.sentiment import GivenReading, ModelStanding, ModelState
from greenlight.domain.sentiment_status import SentimentStatus, to_json
from tests.actor_cases import T0
from tests.ollama_stand_in import MODEL, StandIn
from tests.store_fixture import empty, postgres_database, postgres_server

__all__ = ["postgres_database", "postgres_server"]

STATUS = SentimentStatus(
    at=T0,
    model=MODEL,
    wants_gpu=True,
    breaker=Breaker(
        state=BreakerState.OPEN, failures=3, since=T0, openings=1, last_failure="HTTP 503: busy"
    ),
    standing=ModelStanding(state=ModelState.SPILLED, digest="d", size_bytes=8, vram_bytes=6),
    waiting=1,
    dropped=2,
    rated=3,
    reused=4,
    repeated=5,
    failed=6,
    absence="breaker open",
)


@pytest.fixture
def server(
    postgres_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StandIn]:
    empty(postgres_database)
    with StandIn() as found:
        for name, value in {
            "GREENLIGHT_HOME": str(tmp_path),
            "DATABASE_URL": postgres_database,
            "OLLAMA_HOST": found.host,
            "GREENLIGHT_SENTIMENT": "ollama",
            "GREENLIGHT_SENTIMENT_MODEL": MODEL,
        }.items():
            monkeypatch.setenv(name, value)
        yield found


def run(*args: str) -> Any:
    return CliRunner().invoke(app, list(args), catch_exceptions=False)


def test_status_when_the_breaker_is_open_then_told_with_the_readings(
    server: StandIn, postgres_database: str
) -> None:
    assert "no model has read anything yet" in run("sentiment", "status").output
    store = TimescaleStore(postgres_database)
    store.save_sentiment_state(T0, to_json(STATUS))
    store.write_readings(
        [
            GivenReading(
                symbol="AAPL",
                at=T0 + timedelta(days=10_000),
                weight=0.0,
                found=Unavailable("cold"),
            )
        ]
    )
    store.close()
    told = run("sentiment", "status").output
    for words in ("spilled, 75% on the GPU", "open, opened once: HTTP 503: busy", "2 dropped"):
        assert words in told
    row = json.loads(run("sentiment", "status", "--json").output)
    assert row["status"]["breaker"]["state"] == "open"
    assert row["weight"] == 0.0
    assert row["readings"][0]["absence"] == "cold"


def test_pull_when_asked_then_the_model_is_there_and_else_one_line_says_why(
    server: StandIn,
) -> None:
    server.pulled.clear()
    assert run("sentiment", "pull").exit_code == 0
    assert server.pulled == {MODEL}
    with pytest.raises(Exception, match="cannot be pulled"):
        run("sentiment", "pull", "nothing:latest")


def test_report_when_nothing_was_read_then_nothing_to_compare(server: StandIn) -> None:
    found = run("sentiment", "report", "--json")
    assert found.exit_code == 3
    assert json.loads(found.output)["helps"] is None


def test_doctor_when_a_model_is_asked_for_then_its_state_and_place_are_told(
    server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sentiment() -> str:
        rows = json.loads(run("doctor", "--json").output)
        return next(row["found"] for row in rows if row["what"] == "sentiment")

    assert sentiment().endswith("on 1 of a GPU: cold; weight 0")
    monkeypatch.setenv("GREENLIGHT_SENTIMENT_GPU_FRAC", "0")
    assert "on the CPU, as GREENLIGHT_SENTIMENT_GPU_FRAC=0" in sentiment()
    server.stop()
    assert "no answer (the model server does not answer)" in sentiment()
