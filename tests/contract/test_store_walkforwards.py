"""What every store promises of walk-forwards: parts until the end, then the whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from greenlight.domain.trials import WalkForward
from greenlight.ports import Store

DONE = WalkForward(
    run_id="abc",
    at=datetime(2013, 10, 7, 22, 30, tzinfo=UTC),
    fingerprint="c0de-5e77",
    plan={"folds": 5, "grid": {"rsi_oversold": [25, 30]}},
    figures={"sharpe_ann": 1.25, "pbo_frac": None},
)


def test_parts_when_kept_then_read_back_by_number_and_a_repeated_one_stays(store: Store) -> None:
    store.keep_walkforward_part("abc", 2, b"two")
    store.keep_walkforward_part("abc", 0, bytes(range(256)))
    store.keep_walkforward_part("abc", 2, b"other")
    store.keep_walkforward_part("xyz", 1, b"one")
    assert store.walkforward_parts("abc") == {0: bytes(range(256)), 2: b"two"}
    assert store.walkforward_parts("none") == {}


def test_walkforward_when_recorded_then_its_parts_are_gone_and_no_other_s(store: Store) -> None:
    store.keep_walkforward_part("abc", 0, b"zero")
    store.keep_walkforward_part("xyz", 0, b"zero")
    store.record_walkforward(DONE)
    assert store.walkforwards() == [DONE]
    assert store.walkforward_parts("abc") == {}
    assert store.walkforward_parts("xyz") == {0: b"zero"}


def test_walkforward_when_run_again_then_in_its_own_place(store: Store) -> None:
    later = replace(DONE, at=DONE.at + timedelta(days=7))
    other = replace(DONE, run_id="xyz")
    for done in (DONE, other, later):
        store.record_walkforward(done)
    assert store.walkforwards() == [other, later]
    assert store.walkforwards(limit=1) == [later]
