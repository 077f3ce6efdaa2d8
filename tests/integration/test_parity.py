"""The live actors, their twin and the compiled engine decide the same on the same bars."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenlight.domain.audit import decisions_digest
from tests.parity_cases import compare

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_parity_when_sessions_are_replayed_then_all_three_roads_decide_the_same(
    tmp_path: Path,
) -> None:
    found = compare(tmp_path, "2008-01-14", "2008-01-31")

    # All three strategies, and more than one verdict: 11 decisions in 13 sessions.
    assert {d.strategy for d in found.live} == {"mean_reversion", "opening_range", "news_reversal"}
    assert {str(d.verdict) for d in found.live} == {"taken", "refused", "skipped"}
    assert len(found.live) == 11
    assert len(found.outcomes) == 13
    assert [one for outcome in found.outcomes for one in outcome.differences] == []
    assert decisions_digest(found.again) == decisions_digest(found.live)
    assert found.parity is True
    # The engine assumes a spread of its own, so prices and what equity they leave differ.
    assert found.engine_rows() == found.live_rows()
    assert all(live == engine for live, engine in found.quantities())
