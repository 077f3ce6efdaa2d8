"""A whole desk with a model that reads made-up headlines: it rates, dies, and trading goes on."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
import ray
from ray.exceptions import RayError

from cluster.desk_config import NAMESPACE
from greenlight.domain.sentiment import ModelState
from greenlight.domain.sentiment_status import from_json
from tests.desk_harness import running_desk
from tests.ollama_stand_in import MODEL, StandIn
from tests.sentiment_rig import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def is_back() -> bool:
    """Whether the next life of the actor answers."""
    try:
        actor = ray.get_actor("sentiment", namespace=NAMESPACE)
        return bool(ray.get(actor.call.remote("ping"), timeout=5) == "sentiment")
    except (RayError, ValueError):
        return False


def test_desk_when_a_model_reads_the_news_then_opinions_are_stored_and_the_replay_ends(
    tmp_path: Path,
) -> None:
    with StandIn() as server:
        with running_desk(
            tmp_path,
            start="2008-01-07",
            end="2008-01-09",
            strategies="mean_reversion,news_reversal",
            headlines="synthetic",
            sentiment="ollama",
            ollama_host=server.host,
            sentiment_model=MODEL,
            sentiment_gpu_frac=0.0,
        ) as running:
            running.finish()
            store = running.store()
            beginning = datetime.fromisoformat("2008-01-01T00:00:00+00:00")
            wait_for(lambda: len(store.opinions(beginning)) > 0, within_s=90)
            row = store.sentiment_state()
            assert row is not None
            status = from_json(row)
            assert status.standing is not None
            assert status.standing.state is ModelState.WARM
            told = len(store.opinions(beginning))
            assert running.kill("sentiment")
            wait_for(is_back, within_s=60)
            assert len(store.opinions(beginning)) >= told
            assert {o.symbol for o in store.opinions(beginning)} <= set(
                running.desk.config.symbols if running.desk.config else ()
            )
            store.close()
        assert all(len(body["messages"]) == 2 for body in server.asked)
