from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from greenlight.domain.gate import Criterion, Evaluation, State
from greenlight.domain.market import sessions_between
from greenlight.domain.streak import streak

CLOSES = [s.close for s in sessions_between(date(2012, 1, 3), date(2012, 2, 3))]
LATE = timedelta(minutes=5)


def evaluation(at: datetime, state: State = State.GREEN, fingerprint: str = "f00d") -> Evaluation:
    light = Criterion(
        name="duration",
        title="Duration",
        state=state,
        value=1.0,
        threshold=None,
        unit="",
        sample_size=1,
        interval=None,
        reason="",
        missing=(),
        since=None,
    )
    return Evaluation(
        at=at,
        since=None,
        account_kind="paper",
        account_number="PA1",
        source="iex",
        is_synthetic=False,
        fingerprint=fingerprint,
        criteria=(light,),
    )


def rows(*, until: int) -> list[Evaluation]:
    return [evaluation(close + LATE) for close in CLOSES[:until]]


@pytest.mark.parametrize(("until", "stands"), [(14, False), (15, True)])
def test_streak_when_all_green_for_three_weeks_then_it_stands(until: int, stands: bool) -> None:
    # 2012-01-03 to 2012-01-24 is the 15th session (two holidays), three weeks later.
    found = streak(rows(until=until), CLOSES[until - 1] + LATE)
    assert found.since == CLOSES[0] + LATE
    assert found.stands is stands


def test_streak_when_an_evaluation_is_missing_then_it_counts_as_red() -> None:
    given = rows(until=18)
    found = streak([*given[:9], *given[10:]], CLOSES[17] + LATE)
    assert found.since == given[10].at
    assert not found.stands
    assert "no evaluation after the close of 2012-01-17" in found.reason


def test_streak_when_the_newest_evaluation_is_overdue_then_there_is_none() -> None:
    assert streak(rows(until=17), CLOSES[17] + timedelta(hours=2)).since is None
    assert streak([], CLOSES[0]).since is None


@pytest.mark.parametrize(
    "broken",
    [
        evaluation(CLOSES[9] + LATE, State.STALE),
        evaluation(CLOSES[9] + LATE, fingerprint="other"),
    ],
)
def test_streak_when_one_is_not_green_or_of_another_program_then_it_begins_again(
    broken: Evaluation,
) -> None:
    given = rows(until=18)
    given[9] = broken
    found = streak(given[::-1], CLOSES[17] + LATE)
    assert found.since == given[10].at
    assert not found.stands
