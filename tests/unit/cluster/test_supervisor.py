"""Who is the desk's supervisor."""

from __future__ import annotations

from dataclasses import replace

from cluster.supervisor import is_replaced
from greenlight.testing import FakeStore
from tests.unit.cluster.test_wiring import config


def test_is_replaced_when_a_second_desk_starts_then_the_first_is() -> None:
    store = FakeStore()
    first = replace(config(), desk_epoch=store.take_desk())
    assert not is_replaced(first, store)
    second = replace(config(), desk_epoch=store.take_desk())
    assert is_replaced(first, store)
    assert not is_replaced(second, store)
