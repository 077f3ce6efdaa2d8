"""Plain functions as Ray tasks."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from cluster.fanout import fan_out, fan_out_shared


@pytest.fixture(scope="module", autouse=True)
def node() -> Iterator[None]:
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=128 * 1024 * 1024,
    )
    yield
    ray.shutdown()


def slow_square(value: int, wait_s: float) -> int:
    time.sleep(wait_s)
    return value * value


def broken(value: int) -> int:
    raise ValueError(f"no {value}")


def test_fan_out_when_the_first_is_slowest_then_results_in_order() -> None:
    chunks = [(i, 0.5 if i == 0 else 0.0) for i in range(12)]
    assert list(fan_out(slow_square, chunks)) == [i * i for i in range(12)]


def test_fan_out_when_chunks_are_many_then_taken_as_room_comes() -> None:
    taken = 0

    def chunks() -> Iterator[tuple[int, float]]:
        nonlocal taken
        for i in range(50):
            taken += 1
            yield i, 0.0

    results = iter(fan_out(slow_square, chunks()))
    assert next(results) == 0
    assert taken < 10
    assert list(results) == [i * i for i in range(1, 50)]


def test_fan_out_when_there_is_nothing_then_nothing() -> None:
    assert list(fan_out(slow_square, [])) == []


def test_fan_out_when_the_function_raises_then_raised_here() -> None:
    with pytest.raises(ValueError, match="no 3"):
        list(fan_out(broken, [(3,)]))


def prepared(shared: list[int]) -> tuple[int, list[int]]:
    """What is shared, with a number that only one call in a process can have made."""
    return time.perf_counter_ns(), shared


def at_work(shared: tuple[int, list[int]], value: int, wait_s: float) -> tuple[int, int, int]:
    time.sleep(wait_s)
    return os.getpid(), shared[0], shared[1][value]


def dies_once(shared: str, value: int) -> int:
    flag = Path(shared) / str(value)
    if value % 5 == 0 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return value * value


def leaves_a_mark(shared: str, value: int) -> None:
    time.sleep(0.2)
    (Path(shared) / f"done-{value}").touch()


def same(shared: str) -> str:
    return shared


def test_shared_when_tasks_are_many_then_numbered_and_prepared_once_in_a_process() -> None:
    values = list(range(100, 120))
    chunks = [(i, 0.3 if i == 0 else 0.0) for i in range(20)]
    found = list(fan_out_shared(at_work, values, prepared, chunks))
    assert found[0][0] != 0
    assert {i: answer[2] for i, answer in found} == dict(enumerate(values))
    by_process = {(pid, mark) for _, (pid, mark, _) in found}
    assert len(by_process) == len({pid for pid, _ in by_process})
    again = list(fan_out_shared(at_work, values[::-1], prepared, chunks))
    assert {i: answer[2] for i, answer in again} == dict(enumerate(values[::-1]))


def test_shared_when_workers_are_killed_then_their_tasks_are_repeated(tmp_path: Path) -> None:
    chunks = [(i,) for i in range(12)]
    found = dict(fan_out_shared(dies_once, str(tmp_path), same, chunks))
    assert found == {i: i * i for i in range(12)}
    assert len(list(tmp_path.iterdir())) == 3


def test_shared_when_nobody_asks_on_then_the_rest_does_not_run(tmp_path: Path) -> None:
    answers = fan_out_shared(leaves_a_mark, str(tmp_path), same, [(i,) for i in range(40)], room=4)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    time.sleep(1)
    assert len(list(tmp_path.iterdir())) <= 5
