from __future__ import annotations

from actors.measures import BOUNDS_S, Stopwatch


def test_add_when_on_a_bound_then_in_its_own_bucket() -> None:
    watch = Stopwatch()
    for seconds in (0.001, 0.00100001, 5.0, 5.1):
        watch.add(seconds)
    read = watch.read()
    assert (read.counts[0], read.counts[1]) == (1, 1)
    assert (read.counts[len(BOUNDS_S) - 1], read.counts[-1]) == (1, 1)
    assert abs(read.sum_s - 10.10200001) < 1e-9


def test_read_when_nothing_was_added_then_no_count_in_any_bucket() -> None:
    assert Stopwatch().read().counts == (0,) * (len(BOUNDS_S) + 1)
