from __future__ import annotations

from pathlib import Path

import pytest

from cluster.paper_exchange.matching import ExchangeCore
from cluster.paper_exchange.state import Journal, Progress, StateMismatch
from tests.unit.cluster.paper_exchange.market_script import Market

IDENTITY = {"source": "test", "start": "2012-01-03"}


def keep(journal: Journal, market: Market, matched: int, kept: int) -> int:
    core = market.core
    journal.write(core, core.activities[kept:], matched=matched, now_ns=market.now)
    core.changed.clear()
    core.is_ledger_changed = False
    return len(core.activities)


def image(core: ExchangeCore) -> tuple[object, ...]:
    return (
        core.orders,
        core.ledger.cash,
        core.ledger.positions,
        core.activities,
        core.seq,
        core.by_client_id,
        {symbol: list(live) for symbol, live in core.live.items()},
    )


def test_restore_when_process_died_then_the_same_orders_and_ledger(tmp_path: Path) -> None:
    market = Market()
    journal = Journal(tmp_path, IDENTITY)
    market.send("buy", 10)
    kept = keep(journal, market, 3, 0)
    market.oco(10, "105", "95")
    market.tick("AAA", 105.1, 105.2, 105.1)
    market.send("buy", 2, limit_price="90")
    keep(journal, market, 4, kept)
    journal.advance(Progress(4, 3, market.now))

    again = Market()
    second = Journal(tmp_path, IDENTITY)
    second.restore(again.core)
    assert image(again.core) == image(market.core)
    assert second.progress == Progress(4, 3, market.now)


def test_restore_when_position_file_lags_then_the_journal_counts(tmp_path: Path) -> None:
    market = Market()
    journal = Journal(tmp_path, IDENTITY)
    journal.advance(Progress(3, 3, 1))
    market.send("buy", 10)
    keep(journal, market, 4, 0)
    assert Journal(tmp_path, IDENTITY).progress == Progress(4, 3, market.now)


def test_restore_when_last_line_is_torn_then_dropped(tmp_path: Path) -> None:
    market = Market()
    journal = Journal(tmp_path, IDENTITY)
    market.send("buy", 10)
    keep(journal, market, 1, 0)
    before = image(market.core)
    path = tmp_path / "journal.jsonl"
    with path.open("ab") as file:
        file.write(b'{"matched": 2, "orders": [')
    again = Market()
    Journal(tmp_path, IDENTITY).restore(again.core)
    assert image(again.core) == before
    assert path.read_bytes().endswith(b"}\n")


def test_journal_when_identity_differs_then_refuses(tmp_path: Path) -> None:
    Journal(tmp_path, IDENTITY)
    with pytest.raises(StateMismatch, match="another replay"):
        Journal(tmp_path, {**IDENTITY, "start": "2013-01-02"})
