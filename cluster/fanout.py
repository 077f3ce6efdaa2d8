"""Fan-out: plain functions as Ray tasks, a bounded number at a time.

Before it stand the jobs, which cut their work into chunks of at least 100 ms;
after it their results. Ray repeats a task whose worker died: what goes through
here is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import ray

_R = TypeVar("_R")


def fan_out(function: Callable[..., _R], chunks: Iterable[tuple[object, ...]]) -> Iterator[_R]:
    """Call a function on each chunk as a task; results in the chunks' order.

    Twice as many tasks as the cluster has cores are under way at most, so that
    a long list of chunks is neither copied nor waited for at once.

    Raises
    ------
    ray.exceptions.RayError
        A task's worker died again and again, or the function raised.
    """
    remote = ray.remote(function)
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    room = max(2, 2 * int(resources.get("CPU", 1)))
    waiting = enumerate(chunks)
    pending: dict[Any, int] = {}
    done: dict[int, _R] = {}
    is_more = True
    turn = 0
    while True:
        while is_more and len(pending) < room:
            following = next(waiting, None)
            if following is None:
                is_more = False
            else:
                pending[remote.remote(*following[1])] = following[0]
        if not pending:
            return
        ready, _ = ray.wait(list(pending), num_returns=1)
        for reference in ready:
            done[pending.pop(reference)] = ray.get(reference)
        while turn in done:
            yield done.pop(turn)
            turn += 1
