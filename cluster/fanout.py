"""Fan-out: plain functions as Ray tasks, a bounded number at a time.

Before it stand the jobs, which cut their work into chunks of at least 100 ms;
after it their results. Ray repeats a task whose worker died: what goes through
here is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

import ray

_R = TypeVar("_R")
_RETRIES: Final = 5


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


_shared: dict[str, object] = {}
"""What the tasks in this process share at present: one entry, by its reference."""


def fan_out_shared(
    function: Callable[..., _R],
    shared: object,
    prepare: Callable[[Any], Any],
    chunks: Iterable[tuple[object, ...]],
    *,
    room: int | None = None,
) -> Iterator[tuple[int, _R]]:
    """Call a function on what all share and each chunk; answers as they come, with their number.

    What is shared goes into the object store once, and is read and prepared once in each
    worker. A lost worker's task is repeated. Whoever stops asking ends what still runs.

    Parameters
    ----------
    prepare : Callable[[Any], Any]
        Makes of what came out of the object store what the function gets.
    room : int | None
        Tasks under way at most; None: twice as many as the cluster has cores.

    Raises
    ------
    ray.exceptions.RayError
        A task's worker died again and again, or the function raised.
    """
    reference = ray.put(shared)
    remote: Any = ray.remote(_call).options(max_retries=_RETRIES)
    if room is None:
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        room = max(2, 2 * int(resources.get("CPU", 1)))
    waiting = enumerate(chunks)
    pending: dict[Any, int] = {}
    try:
        while True:
            while len(pending) < room and (following := next(waiting, None)) is not None:
                number, chunk = following
                # Inside a list, so that Ray hands over the reference and not the value.
                task = remote.remote(reference.hex(), [reference], function, prepare, chunk)
                pending[task] = number
            if not pending:
                return
            ready, _ = ray.wait(list(pending), num_returns=1)
            for done in ready:
                yield pending.pop(done), ray.get(done)
    finally:
        for task in pending:
            ray.cancel(task, force=True)


def _call(
    key: str,
    boxed: list[Any],
    function: Callable[..., _R],
    prepare: Callable[[Any], Any],
    chunk: tuple[object, ...],
) -> _R:
    if key not in _shared:
        _shared.clear()
        _shared[key] = prepare(ray.get(boxed[0]))
    return function(_shared[key], *chunk)
