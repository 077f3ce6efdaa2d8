from __future__ import annotations

import pytest

from cluster.paper_exchange.faults import BadRule, FaultBoard

DROP = frozenset({"drop"})


def test_hit_when_after_and_count_are_set_then_only_those_matches_are_struck() -> None:
    board = FaultBoard()
    rule = board.add({"match": "^POST /v2/orders", "action": "drop", "after": 1, "count": 2})
    struck = [board.hit("POST /v2/orders {}", DROP) is rule for _ in range(5)]
    assert struck == [False, True, True, False, False]
    assert board.hit("GET /v2/orders", DROP) is None
    assert (rule.seen, rule.hits) == (3, 2)


def test_hit_when_count_is_zero_then_without_end_until_cleared() -> None:
    board = FaultBoard()
    board.add({"match": ".", "action": "drop", "count": 0})
    assert all(board.hit("x", DROP) for _ in range(20))
    board.clear()
    assert board.hit("x", DROP) is None


def test_hit_when_action_is_not_asked_for_then_not_counted() -> None:
    board = FaultBoard()
    rule = board.add({"match": ".", "action": "mute"})
    assert board.hit("x", DROP) is None
    assert rule.seen == 0


@pytest.mark.parametrize(
    "body",
    [{}, {"match": "x"}, {"match": "(", "action": "drop"}, {"match": "x", "action": "explode"}],
)
def test_add_when_rule_is_garbled_then_raises(body: dict[str, str]) -> None:
    with pytest.raises(BadRule):
        FaultBoard().add(body)
