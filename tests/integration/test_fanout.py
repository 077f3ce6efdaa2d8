"""Plain functions as Ray tasks."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import ray

from cluster.fanout import fan_out


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
