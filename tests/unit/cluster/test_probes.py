from __future__ import annotations

from cluster.probes import Probe
from greenlight.domain.market import Unavailable
from greenlight.ports import StoreUnavailable


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_read_when_never_asked_then_neither_value_nor_age() -> None:
    read = Probe(lambda: 1, period_s=1.0, monotonic=Clock()).read()
    assert isinstance(read.value, Unavailable)
    assert isinstance(read.age_s, Unavailable)
    assert read.problem is None


def test_turn_when_it_fails_then_last_value_ages_beside_the_problem() -> None:
    clock = Clock()
    answers: list[int | Exception] = [7, StoreUnavailable("away"), 8]

    def ask() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    probe = Probe(ask, period_s=1.0, monotonic=clock)
    probe.turn()
    clock.now_s = 103.0
    probe.turn()
    read = probe.read()
    assert (read.value, read.age_s, read.problem) == (7, 3.0, "StoreUnavailable: away")
    clock.now_s = 104.0
    probe.turn()
    read = probe.read()
    assert (read.value, read.age_s, read.problem) == (8, 0.0, None)
