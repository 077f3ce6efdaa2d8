"""What every store promises of evidence, halts, strategy memory and evaluations."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from greenlight.domain.audit import DecisionKind
from greenlight.domain.market import Quote, Tick
from greenlight.ports import Coverage, EquityMark, Heartbeat, Store, StrategyState
from tests.ledger_cases import T0, bar, minute

# -- evidence


def test_bars_when_repeated_then_left_as_they_were(store: Store) -> None:
    store.write_bars([bar(0), bar(1)])
    store.write_bars([bar(1, close=55.5), bar(2), bar(2, close=66.6)])
    found = store.bars("AAPL", "1Min", T0, minute(60))
    assert found == [bar(0), bar(1), bar(2)]
    assert store.bars("AAPL", "1Min", minute(1), minute(2)) == [bar(1)]
    assert store.bars("IBM", "1Min", T0, minute(60)) == []


def test_bars_when_daily_then_apart_from_minutes(store: Store) -> None:
    daily = replace(
        bar(),
        start=datetime(2013, 10, 7, 4, tzinfo=UTC),
        end=datetime(2013, 10, 7, 20, tzinfo=UTC),
        volume=3_000_000_000,
    )
    store.write_bars([daily, bar(0)])
    start, end = daily.start, daily.end
    assert store.bars("AAPL", "1Day", start, end) == [daily]
    assert store.bars("AAPL", "1Min", start, end) == [bar(0)]


def test_write_when_nothing_is_given_then_nothing_happens(store: Store) -> None:
    store.write_bars([])
    store.write_quotes([])
    store.write_ticks([])
    store.write_equity([])
    store.write_heartbeats([])
    store.write_coverage([])
    store.save_strategy_states([])
    assert store.bars("AAPL", "1Min", T0, minute(1)) == []


def test_write_quotes_and_ticks_when_repeated_then_accepted(store: Store) -> None:
    quote = Quote(symbol="AAPL", at=T0, bid=99.99, ask=100.01, bid_size=100, ask_size=200)
    store.write_quotes([quote, quote])
    store.write_ticks([Tick(symbol="AAPL", at=T0, price=100.0, size=7)] * 2)


def test_equity_when_repeated_then_left_as_it_was_by_source(store: Store) -> None:
    mark = EquityMark(
        at=T0,
        equity_usd=Decimal("100000.01"),
        cash_usd=Decimal("99000.01"),
        exposure_usd=Decimal("1000.00"),
        source="desk",
    )
    other = replace(mark, source="broker", equity_usd=Decimal("99999.99"))
    late = replace(mark, at=minute(1))
    store.write_equity([late, mark, other])
    store.write_equity([replace(mark, equity_usd=Decimal(1))])
    assert store.equity(T0, minute(2), "desk") == [mark, late]
    assert store.equity(T0, minute(1), "broker") == [other]
    assert store.equity(minute(1), minute(1), "desk") == []


def test_heartbeat_minutes_when_several_a_minute_then_each_minute_once(store: Store) -> None:
    at = [minute(0), minute(0) + timedelta(seconds=59.5), minute(2), minute(2), minute(5)]
    store.write_heartbeats([Heartbeat(component="desk", at=a) for a in at])
    store.write_heartbeats([Heartbeat(component="desk", at=minute(0))])
    store.write_heartbeats([Heartbeat(component="other", at=minute(1))])
    assert store.heartbeat_minutes("desk", T0, minute(5)) == [minute(0), minute(2)]


def test_coverage_when_written_then_in_the_order_of_time_and_writing(store: Store) -> None:
    rows = [
        Coverage(position_id="p", symbol="AAPL", at=at, position_qty=10, covered_qty=covered)
        for at, covered in [(minute(2), 10), (minute(1), 0), (minute(1), 4)]
    ]
    store.write_coverage(rows)
    assert store.coverage(T0, minute(3)) == [rows[1], rows[2], rows[0]]
    assert store.coverage(minute(2), minute(3)) == [rows[0]]


# -- halts, strategy memory, evaluations


def test_halt_when_made_then_in_force_until_its_end_with_a_decision(store: Store) -> None:
    store.halt(at=T0, until=minute(10), reason="daily loss")
    store.halt(at=T0, until=None, reason="key revoked")
    store.halt(at=T0, until=None, reason="key revoked")
    assert [h.reason for h in store.halts_in_force(minute(9))] == ["daily loss", "key revoked"]
    assert [h.reason for h in store.halts_in_force(minute(10))] == ["key revoked"]
    rows = store.decisions()
    assert [(r.decision.kind, r.decision.reason) for r in rows] == [
        (DecisionKind.HALT, "daily loss"),
        (DecisionKind.HALT, "key revoked"),
    ]
    assert rows[0].decision.figures == {"until": "2013-10-07T14:40:00.000000+00:00"}


def test_resume_when_halted_then_all_lifted_with_a_decision(store: Store) -> None:
    store.halt(at=T0, until=minute(10), reason="daily loss")
    store.halt(at=T0, until=None, reason="key revoked")
    assert store.resume(at=minute(1), reason="owner") == 2
    assert store.halts_in_force(minute(2)) == []
    assert store.resume(at=minute(3), reason="owner") == 0
    last = store.decisions()[-1].decision
    assert (last.kind, last.at, last.figures) == (DecisionKind.RESUME, minute(1), {"lifted": 2})
    assert len(store.decisions()) == 3


def test_lifted_halts_when_some_were_lifted_then_those_since_in_order(store: Store) -> None:
    store.halt(at=minute(0), until=None, reason="drawdown: deep")
    assert store.lifted_halts(minute(0)) == []
    store.resume(at=minute(1), reason="looked at it")
    store.halt(at=minute(2), until=minute(60), reason="daily_loss: much")
    store.resume(at=minute(3), reason="again")
    found = store.lifted_halts(minute(1))
    assert [(h.reason, h.lifted_at, h.lifted_reason) for h in found] == [
        ("drawdown: deep", minute(1), "looked at it"),
        ("daily_loss: much", minute(3), "again"),
    ]
    assert [h.reason for h in store.lifted_halts(minute(2))] == ["daily_loss: much"]


def test_strategy_states_when_saved_again_then_replaced(store: Store) -> None:
    first = StrategyState(strategy="A", symbol="AAPL", at=T0, values=(1 / 3, -0.0, 2.0))
    other = StrategyState(strategy="A", symbol="AA", at=T0, values=())
    apart = StrategyState(strategy="C", symbol="AAPL", at=T0, values=(9.0,))
    store.save_strategy_states([first, other, apart])
    second = replace(first, at=minute(1), values=(5e-324,))
    store.save_strategy_states([second])
    assert store.strategy_states("A") == [other, second]
    assert store.strategy_states("C") == [apart]
    assert store.strategy_states("B") == []


def test_evaluations_when_an_instant_is_repeated_then_left_as_it_was(store: Store) -> None:
    store.save_evaluation(minute(1), {"lights": {"sharpe": "green", "value": 1.05}, "all": [1]})
    store.save_evaluation(minute(1), {"lights": {}})
    store.save_evaluation(T0, {"n": 1})
    assert store.evaluations(T0, minute(2)) == [
        (T0, {"n": 1}),
        (minute(1), {"lights": {"sharpe": "green", "value": 1.05}, "all": [1]}),
    ]
    assert store.evaluations(T0, T0) == []
