from __future__ import annotations

import pytest

from greenlight.adapters.rate_limit import TokenBucket


class Time:
    """Seconds that pass only in `sleep`."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def bucket(time: Time, per_minute: float = 60, burst: int = 5) -> TokenBucket:
    return TokenBucket(
        per_minute=per_minute, burst=burst, monotonic=time.monotonic, sleep=time.sleep
    )


def test_take_when_full_then_a_burst_passes_and_the_next_question_waits() -> None:
    time = Time()
    pace = bucket(time)
    for _ in range(5):
        pace(False)
    assert time.now_s == 0
    pace(False)
    assert time.now_s == pytest.approx(1.0)


def test_take_when_empty_then_a_command_passes_at_once_and_questions_wait_for_it() -> None:
    time = Time()
    pace = bucket(time)
    for _ in range(5):
        pace(False)
    for _ in range(3):
        pace(True)
    assert time.now_s == 0
    pace(False)
    assert time.now_s == pytest.approx(4.0)


def test_take_when_commands_never_end_then_the_debt_is_bounded() -> None:
    time = Time()
    pace = bucket(time)
    for _ in range(1000):
        pace(True)
    assert time.now_s == 0
    pace(False)
    assert time.now_s == pytest.approx(6.0)


def test_take_when_asked_without_end_then_the_minute_holds_its_share() -> None:
    time = Time()
    pace = bucket(time, per_minute=200, burst=20)
    count = 0
    while time.now_s < 600:
        pace(False)
        count += 1
    assert count == pytest.approx(200 * 10 + 20, abs=1)


def test_take_when_idle_for_long_then_no_more_than_a_burst_is_saved() -> None:
    time = Time()
    pace = bucket(time)
    time.now_s = 3600
    for _ in range(6):
        pace(False)
    assert time.now_s == pytest.approx(3601)
