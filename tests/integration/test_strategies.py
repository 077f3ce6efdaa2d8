"""All three strategies through the live actors, B on marked made-up headlines."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenlight.domain.audit import Decision, DecisionKind, Verdict
from tests.desk_harness import RunningDesk, running_desk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WINDOW = {
    "start": "2008-01-07",
    "end": "2008-01-18",
    "strategies": "mean_reversion,news_reversal,opening_range",
    "sentiment": "lexicon",
    "headlines": "synthetic",
}
KILLS = ("2008-01-09T14:31", "2008-01-11T15:10", "2008-01-15T14:31", "2008-01-16T20:59")


def _entries(running: RunningDesk) -> list[Decision]:
    store = running.store()
    rows = [row.decision for row in store.decisions(limit=None)]
    run = store.latest_run()
    store.close()
    assert run is not None
    assert run.is_synthetic
    assert run.source == "bokeh, synthetic headlines"
    return [row for row in rows if row.kind is DecisionKind.ENTRY]


def test_replay_when_strategist_is_killed_then_all_three_decide_as_undisturbed(
    tmp_path: Path,
) -> None:
    with running_desk(tmp_path / "calm", **WINDOW) as calm:
        calm.finish()
        expected = calm.digests()
        entries = _entries(calm)
    taken = {row.strategy for row in entries if row.verdict is Verdict.TAKEN}
    assert taken == {"mean_reversion", "news_reversal", "opening_range"}
    for row in entries:
        assert row.figures["signal.at"]
        if row.strategy == "news_reversal" and row.verdict is Verdict.TAKEN:
            assert row.figures["signal.is_news_synthetic"] is True

    with running_desk(tmp_path / "storm", **WINDOW) as storm:
        for at in KILLS:
            assert storm.wait_until(at)
            assert storm.kill("strategist")
        storm.finish()
        assert storm.digests() == expected
