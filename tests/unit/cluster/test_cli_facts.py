from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from cluster import cli_facts
from cluster.processes import StartError
from greenlight.domain.cash import CashMoved, cash_decision
from greenlight.settings import Settings
from greenlight.testing import FakeStore
from tests.sample_desk import SampleDesk


def test_summarise_when_a_replay_ended_then_counts_and_money_are_the_ledgers() -> None:
    store = FakeStore()
    desk = SampleDesk(store, start=date(2008, 1, 2))
    desk.trade_until(date(2008, 1, 31))
    found = cli_facts.summarise(store, seconds=30)
    trades = store.trades(limit=None)
    # January 2008 had 21 sessions.
    assert (found["sessions"], found["sessions_per_minute"]) == (21, 42.0)
    assert found["trades"] == len(trades)
    assert found["entries_taken"] == len(trades) + len(store.open_positions())
    gained = sum((t.pnl_usd - t.fees_usd for t in trades), Decimal(0))
    assert found["end_usd"] == pytest.approx(100_000 + float(gained))
    net = float(sum((t.net_usd for t in trades), Decimal(0)))
    assert found["trades_net_usd"] == pytest.approx(net)
    assert net < found["trades_raw_usd"] == pytest.approx(float(gained))
    assert sum(found["exits_by_reason"].values()) == len(trades)  # type: ignore[attr-defined]
    assert found["lights"] == {"green": 2, "insufficient": 5}
    json.dumps(found, allow_nan=False)


def test_summarise_when_nothing_happened_then_absences_are_null() -> None:
    found = cli_facts.summarise(FakeStore(), seconds=1)
    absent = ("win_rate_frac", "profit_factor", "end_usd", "return_frac", "max_drawdown_frac")
    assert [found[name] for name in absent] == [None] * 5
    assert found["lights"] == {"insufficient": 7}


def test_summarise_when_money_was_moved_in_then_no_growth() -> None:
    store = FakeStore()
    desk = SampleDesk(store, start=date(2008, 1, 2))
    desk.trade_until(date(2008, 1, 31))
    before = cli_facts.summarise(store, seconds=60)
    end = before["end_usd"]
    at = desk.now + timedelta(minutes=1)
    moved = CashMoved(
        activity_id="a",
        activity_type="JNLC",
        at=at,
        usd=Decimal(50_000),
        symbol=None,
        description="",
        booked_at=at,
    )
    store.book_cash(moved, cash_decision("t", moved))
    last = store.equity(desk.now, at, "broker")[-1]
    later = replace(last, at=at, equity_usd=last.equity_usd + 50_000)
    store.write_equity([later])
    after = cli_facts.summarise(store, seconds=60)
    assert after["end_usd"] == end + 50_000  # type: ignore[operator]
    for name in ("return_frac", "max_drawdown_frac"):
        assert after[name] == before[name] != 0


def test_digests_when_two_runs_are_equal_then_equal_and_otherwise_not() -> None:
    found = []
    for end in (date(2008, 1, 15), date(2008, 1, 15), date(2008, 1, 16)):
        store = FakeStore()
        SampleDesk(store, start=date(2008, 1, 2)).trade_until(end)
        found.append(cli_facts.digests(store))
    assert found[0] == found[1]
    assert found[0]["decisions"] != found[2]["decisions"]
    assert found[0]["fills"] != found[2]["fills"]


@pytest.mark.parametrize(
    ("name", "variable"),
    [("database_url", "DATABASE_URL"), ("rsi_period", "GREENLIGHT_RSI_PERIOD")],
)
def test_variable_when_asked_then_the_name_that_sets_it(name: str, variable: str) -> None:
    assert cli_facts.variable(name) == variable


def test_open_store_when_no_desk_ever_ran_then_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with (
        pytest.raises(StartError, match="greenlight up"),
        cli_facts.open_store(Settings(home=tmp_path)),
    ):
        raise AssertionError("there is no store to open")
