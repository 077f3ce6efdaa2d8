"""Signals become rows, and at most one order each."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from actors.links import SignalSeen
from actors.risk_gate import RiskGate
from greenlight.domain.audit import Decision, DecisionKind, Verdict
from greenlight.domain.corporate_actions import symbol_change_decision
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.execution import EntryPolicy
from greenlight.domain.ledger import exit_plan
from greenlight.domain.market import Quote, SymbolChange, sessions_between
from greenlight.domain.orders import Execution, OrderIntent, OrderStatus, Role, Side, Unresolved
from greenlight.domain.signals import Signal
from greenlight.ports import EquityMark, StoreUnavailable
from greenlight.testing_broker import FakeMarketData
from tests.actor_cases import DESK, T0, Surroundings, later, quote, signal
from tests.risk_cases import bar, daily_bars, returns

SYMBOLS = ("AAPL", "A", "B", "C", "D", "E", "F")
# One sector each, so that the cap of a sector does not bind before the others.
SECTORS = {symbol: f"sector {symbol}" for symbol in SYMBOLS}


@pytest.fixture
def around() -> Surroundings:
    return Surroundings()


def history() -> FakeMarketData:
    return FakeMarketData(bars=[bar for symbol in SYMBOLS for bar in daily_bars(symbol)])


def gate(
    around: Surroundings,
    now: datetime = T0,
    data: FakeMarketData | None = None,
    **options: Any,
) -> RiskGate:
    limits = options.pop("limits", RiskLimits())
    policy = options.pop("policy", EntryPolicy(timeout_s=300, reprices=0, reprice_after_s=100))
    return RiskGate(
        store=around.store,
        broker=around.broker,
        market_data=data or history(),
        notifier=around.notifier,
        desk=DESK,
        limits=limits,
        sectors=SECTORS,
        **options,
        execution=policy,
        now=now,
        sleep=around.sleep,
    )


def seen(wish: Signal | None = None, at: Quote | None = None) -> SignalSeen:
    wish = wish or signal()
    return SignalSeen(signal=wish, quote=at or quote(99.98, symbol=wish.symbol))


def entries(around: Surroundings) -> list[Decision]:
    return around.decisions(DecisionKind.ENTRY)


def test_judge_when_all_rules_pass_then_order_and_row_with_figures(around: Surroundings) -> None:
    due = gate(around).judge([seen()], T0)
    assert due == later(300)
    (order,) = around.broker.open_orders("AAPL")
    # Ask 100.00 + 5 bps, up; 20% of 100,000 buys 199.
    assert (order.qty, order.limit_price) == (199, Decimal("100.05"))
    (row,) = entries(around)
    assert (row.verdict, row.reason) == (Verdict.TAKEN, "all rules passed")
    assert (row.figures["qty"], row.figures["max_price"]) == (199, "100.25")
    assert row.figures["signal.rsi"] == 17.5
    assert row.figures["max_positions.limit"] == 5
    assert (row.figures["bid"], row.figures["ask"]) == (99.98, 99.98 + 0.02)
    plan = exit_plan(row)
    assert (plan.stop_price, plan.target_price) == (Decimal("95.00"), Decimal("105.00"))
    # Three sessions after Monday is Thursday; ten minutes before the 16:00 close.
    assert plan.exit_by == datetime(2013, 10, 10, 19, 50, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "exit_by"),
    [
        (T0, datetime(2013, 10, 7, 19, 50, tzinfo=UTC)),
        # The day after Thanksgiving closes at 13:00 New York.
        (datetime(2013, 11, 29, 15, 0, tzinfo=UTC), datetime(2013, 11, 29, 17, 50, tzinfo=UTC)),
    ],
)
def test_judge_when_held_for_no_session_then_left_before_todays_close(
    now: datetime, exit_by: datetime, around: Surroundings
) -> None:
    wish = signal(hold_sessions=0, at=now)
    days = [s.day for s in sessions_between(date(2013, 7, 1), now.date())][:-1]
    swings = [bar("AAPL", day, 100.0, 99.0 + number % 3) for number, day in enumerate(days)]
    gate(around, now, FakeMarketData(bars=swings)).judge([seen(wish, quote(99.98, at=now))], now)
    assert exit_plan(entries(around)[-1]).exit_by == exit_by


def test_judge_when_symbol_is_held_then_skipped_with_a_row(around: Surroundings) -> None:
    around.enter()
    sent = len(around.broker.submitted)
    assert gate(around).judge([seen()], T0) is None
    assert len(around.broker.submitted) == sent
    row = entries(around)[-1]
    assert (row.verdict, row.reason) == (Verdict.SKIPPED, "one_position_a_symbol")


def test_judge_when_entry_is_working_then_second_signal_is_skipped(around: Surroundings) -> None:
    desk = gate(around)
    other = signal(strategy="breakout")
    desk.judge([seen(), seen(other)], T0)
    assert [row.verdict for row in entries(around)] == [Verdict.TAKEN, Verdict.SKIPPED]
    assert len(around.broker.submitted) == 1


def test_judge_when_halted_then_refused_with_every_failed_rule(around: Surroundings) -> None:
    around.store.halt(at=T0, until=None, reason="daily loss")
    gate(around).judge([seen(at=quote(99.98, at=later(-91)))], T0)
    (row,) = entries(around)
    assert (row.verdict, row.reason) == (Verdict.REFUSED, "not_halted, fresh_quote")
    assert row.figures["not_halted"] == "daily loss"
    assert (row.figures["fresh_quote"], row.figures["fresh_quote.limit"]) == (91.0, 90.0)
    assert around.broker.submitted == []


def test_judge_when_the_last_reconcile_was_not_clean_then_refused_until_one_is(
    around: Surroundings,
) -> None:
    around.note_reconciled("not reconciled: cash", later(1))
    gate(around).judge([seen()], T0)
    (row,) = entries(around)
    assert (row.verdict, row.reason) == (Verdict.REFUSED, "reconciled")
    assert row.figures["reconciled.note"] == "not reconciled: cash"
    around.note_reconciled(at=later(2))
    gate(around).judge([seen(signal(at=later(-60)))], T0)
    assert entries(around)[-1].verdict is Verdict.TAKEN


def test_judge_when_the_halt_switch_is_on_then_refused_with_its_reason(
    around: Surroundings,
) -> None:
    gate(around, halt_switch=lambda: "file HALT: fire drill").judge([seen()], T0)
    (row,) = entries(around)
    assert (row.verdict, row.reason) == (Verdict.REFUSED, "not_halted")
    assert row.figures["not_halted"] == "file HALT: fire drill"


def test_sweep_when_everything_is_to_be_left_then_resting_entries_are_cancelled(
    around: Surroundings,
) -> None:
    desk = gate(around)
    desk.judge([seen()], T0)
    around.store.halt(at=later(1), until=None, reason="flatten: enough")
    desk.sweep([], later(2))
    assert around.broker.live("AAPL", Side.BUY) == []
    assert around.decisions(DecisionKind.CANCEL)[0].reason == "halted"


def test_judge_when_sixth_position_then_refused(around: Surroundings) -> None:
    for symbol in ("A", "B", "C", "D", "E"):
        around.enter(symbol=symbol)
    sent = len(around.broker.submitted)
    gate(around).judge([seen()], T0)
    row = entries(around)[-1]
    assert (row.verdict, row.reason) == (Verdict.REFUSED, "max_positions")
    assert len(around.broker.submitted) == sent


def test_judge_when_six_signals_come_at_once_then_five_orders(around: Surroundings) -> None:
    wishes = [seen(signal(symbol)) for symbol in ("A", "B", "C", "D", "E", "F")]
    gate(around).judge(wishes, T0)
    verdicts = [row.verdict for row in entries(around)]
    assert verdicts == [Verdict.TAKEN] * 5 + [Verdict.REFUSED]


@pytest.mark.parametrize("trouble", ["up", "blocked"])
def test_judge_when_account_is_not_known_or_blocked_then_refused(
    around: Surroundings, trouble: str
) -> None:
    desk = gate(around)
    if trouble == "up":
        around.broker.up = False
    else:
        around.broker.is_trading_blocked = True
    desk.judge([seen()], T0)
    (row,) = entries(around)
    assert row.verdict is Verdict.REFUSED
    assert "buying_power" in row.reason
    assert around.broker.submitted == []


def test_judge_when_there_is_no_quote_then_refused_with_a_row(around: Surroundings) -> None:
    gate(around).judge([SignalSeen(signal=signal(), quote=None)], T0)
    (row,) = entries(around)
    assert row.verdict is Verdict.REFUSED
    assert "fresh_quote" in row.reason
    assert "bid" not in row.figures


def test_judge_when_quote_or_feature_is_nan_then_refused_with_a_row(around: Surroundings) -> None:
    bad = Quote(symbol="AAPL", at=T0, bid=math.nan, ask=100.0, bid_size=1, ask_size=1)
    gate(around).judge([seen(signal(features={"rsi": math.nan}), bad)], T0)
    (row,) = entries(around)
    assert row.verdict is Verdict.REFUSED
    assert row.figures["bid"] is None
    json.dumps(dict(row.figures), allow_nan=False)


def test_judge_when_the_same_signal_comes_twice_then_one_order_and_one_row(
    around: Surroundings,
) -> None:
    desk = gate(around)
    assert desk.judge([seen()], T0) == desk.judge([seen()], later(1))
    assert len(around.broker.submitted) == 1
    assert len(entries(around)) == 1
    gate(around, later(2)).judge([seen()], later(2))
    assert len(around.broker.submitted) == 1


def test_judge_when_a_refused_signal_comes_again_then_it_stays_refused(
    around: Surroundings,
) -> None:
    desk = gate(around)
    around.broker.up = False
    desk.judge([seen()], T0)
    around.broker.up = True
    desk.judge([seen()], T0)
    desk.judge([seen()], later(1))
    assert [row.verdict for row in entries(around)] == [Verdict.REFUSED]
    assert around.broker.submitted == []


def test_judge_when_gate_dies_around_the_send_then_successor_sends_it_once(
    around: Surroundings,
) -> None:
    desk = gate(around)

    def die(_: OrderIntent) -> None:
        raise KeyboardInterrupt

    around.broker.on_submit = die
    with pytest.raises(KeyboardInterrupt):
        desk.judge([seen()], T0)
    around.broker.on_submit = lambda _: None
    gate(around, later(1)).judge([seen()], later(1))
    assert len(around.broker.open_orders("AAPL")) == 1
    assert len(entries(around)) == 1


def test_judge_when_a_successor_lives_then_zombie_sends_nothing(around: Surroundings) -> None:
    zombie = gate(around)
    gate(around)
    zombie.judge([seen()], T0)
    assert around.broker.submitted == []


def test_judge_when_store_goes_away_then_raises_and_repeat_ends_the_same(
    around: Surroundings,
) -> None:
    desk = gate(around)
    around.store.up = False
    with pytest.raises(StoreUnavailable):
        desk.judge([seen()], T0)
    assert around.broker.submitted == []
    around.store.up = True
    desk.judge([seen()], T0)
    assert [row.verdict for row in entries(around)] == [Verdict.TAKEN]


def test_sweep_when_entry_rested_too_long_then_cancelled_with_a_row(
    around: Surroundings,
) -> None:
    desk = gate(around)
    desk.judge([seen()], T0)
    assert desk.sweep([], later(299)) == later(300)
    assert around.broker.cancels == []
    assert desk.sweep([], later(300)) is None
    assert around.broker.open_orders("AAPL") == ()
    (row,) = around.decisions(DecisionKind.CANCEL)
    assert (row.reason, row.figures["rested_s"]) == ("entry_timeout", 300.0)


def test_sweep_when_partly_filled_then_only_the_rest_is_cancelled(around: Surroundings) -> None:
    desk = gate(around)
    desk.judge([seen()], T0)
    (order,) = around.broker.open_orders("AAPL")
    around.book(around.broker.fill(order.order_id, 40, "100.00"))
    desk.sweep([], later(300))
    position = around.store.position("AAPL")
    assert position is not None
    assert position.qty == 40
    record = around.store.order(order.client_order_id)
    assert record is not None
    assert (record.status, record.filled_qty) == (OrderStatus.CANCELED, 40)


def test_sweep_when_cancel_is_not_confirmed_then_tried_again_with_one_row(
    around: Surroundings,
) -> None:
    desk = gate(around)
    desk.judge([seen()], T0)
    around.broker.is_cancel_slow = True
    assert desk.sweep([], later(300)) == later(300)
    around.broker.finish_cancels()
    assert desk.sweep([], later(360)) is None
    assert len(around.decisions(DecisionKind.CANCEL)) == 1


def test_sweep_when_entry_is_unresolved_then_settled_before_it_is_cancelled(
    around: Surroundings,
) -> None:
    desk = gate(around)
    for _ in range(3):
        around.broker.answer_next(Unresolved(reason="ReadTimeout"), committed=True)
    around.broker.hide_lookups(18)
    desk.judge([seen()], T0)
    (record,) = around.store.open_orders()
    assert record.status is OrderStatus.UNRESOLVED
    desk.sweep([], later(300))
    desk.sweep([], later(301))
    assert around.broker.open_orders("AAPL") == ()
    assert around.store.open_orders() == []
    assert len({i.client_order_id for i in around.broker.submitted}) == 1


def die(_: OrderIntent) -> None:
    raise KeyboardInterrupt


def test_start_when_an_entry_never_left_and_is_old_then_dropped_and_not_sent(
    around: Surroundings,
) -> None:
    around.broker.on_submit = die
    with pytest.raises(KeyboardInterrupt):
        gate(around).judge([seen()], T0)
    around.broker.on_submit = lambda _: None
    before = len(around.broker.submitted)
    successor = gate(around, later(300))
    assert len(around.broker.submitted) == before
    assert around.broker.open_orders() == ()
    assert around.store.open_orders() == []
    # It no longer counts, and the same signal does not bring it back.
    assert successor.judge([seen()], later(301)) is None
    assert len(around.broker.submitted) == before


def test_start_when_an_old_entry_did_arrive_then_adopted_and_cancelled_by_the_sweep(
    around: Surroundings,
) -> None:
    for _ in range(3):
        around.broker.answer_next(Unresolved(reason="ReadTimeout"), committed=True)
    around.broker.hide_lookups(18)
    gate(around).judge([seen()], T0)
    successor = gate(around, later(300))
    assert len(around.broker.open_orders()) == 1
    assert successor.sweep([], later(300)) is None
    assert around.broker.open_orders() == ()
    assert around.store.open_orders() == []


def test_start_when_broker_is_away_then_an_old_entry_stays_unresolved(
    around: Surroundings,
) -> None:
    around.broker.on_submit = die
    with pytest.raises(KeyboardInterrupt):
        gate(around).judge([seen()], T0)
    around.broker.on_submit = lambda _: None
    around.broker.up = False
    successor = gate(around, later(600))
    (record,) = around.store.open_orders()
    assert record.status is OrderStatus.UNRESOLVED
    around.broker.up = True
    assert successor.sweep([], later(601)) is None
    assert around.store.open_orders() == []


def test_start_when_orders_of_monitors_are_open_then_not_touched(around: Surroundings) -> None:
    around.enter()
    gate(around, T0 + timedelta(days=1))
    assert [i.role for i in around.broker.submitted] == [Role.ENTRY]


# -- what a judgement reads


def refuse_reasons(around: Surroundings) -> str:
    return entries(around)[-1].reason


def closes(around: Surroundings, *equities: str) -> None:
    """Marks at the closes of the last sessions, the latest on Friday."""
    marks = [
        EquityMark(
            at=datetime(2013, 10, 4, 20, 5, tzinfo=UTC) - timedelta(days=back),
            equity_usd=Decimal(equity),
            cash_usd=Decimal(equity),
            exposure_usd=Decimal(0),
            source="broker",
        )
        for back, equity in enumerate(reversed(equities))
    ]
    around.store.write_equity(marks)


def test_judge_when_a_day_lost_500_dollars_then_refused_and_halted_for_24_hours(
    around: Surroundings,
) -> None:
    closes(around, "100500")
    gate(around).judge([seen()], T0)
    assert refuse_reasons(around) == "daily_loss"
    (halt,) = around.store.halts_in_force(T0)
    assert (halt.at, halt.until) == (T0, T0 + timedelta(hours=24))
    assert halt.reason.startswith("daily_loss: 500.00 USD")
    assert len(around.notifier.alerts) == 1
    # The next gate knows it, the loss is gone, and only time lifts it.
    successor = gate(around, later(1))
    around.store.write_equity([])
    successor.judge([seen(signal("A"))], later(1))
    assert "not_halted" in refuse_reasons(around)
    assert around.store.halts_in_force(T0 + timedelta(hours=24)) == []


def test_judge_when_money_left_that_is_not_booked_yet_then_refused_and_not_halted(
    around: Surroundings,
) -> None:
    closes(around, "100000")
    around.broker.move_cash("CSW", "-30000")
    gate(around).judge([seen()], T0)
    assert "daily_loss" in refuse_reasons(around)
    assert around.store.halts_in_force(T0) == []


def test_judge_when_a_person_lifted_the_drawdown_then_counted_anew_and_taken(
    around: Surroundings,
) -> None:
    closes(around, "112000", "100200")
    desk = gate(around)
    desk.judge([seen()], T0)
    assert refuse_reasons(around) == "drawdown"
    (halt,) = around.store.halts_in_force(T0 + timedelta(days=100))
    assert halt.until is None
    mark = EquityMark(
        at=later(30),
        equity_usd=Decimal(100_000),
        cash_usd=Decimal(100_000),
        exposure_usd=Decimal(0),
        source="desk",
    )
    around.store.write_equity([mark])
    assert around.store.resume(at=later(60), reason="looked at it") == 1
    desk.judge([seen(signal("A"), quote(99.98, symbol="A", at=later(90)))], later(90))
    assert entries(around)[-1].verdict is Verdict.TAKEN


def test_judge_when_the_broker_gives_no_history_then_refused_until_it_does(
    around: Surroundings,
) -> None:
    data = history()
    data.up = False
    desk = gate(around, data=data)
    desk.judge([seen()], T0)
    assert refuse_reasons(around) == "sound_history"
    assert around.decisions(DecisionKind.DATA) == []
    data.up = True
    desk.judge([seen(signal("A"))], T0)
    assert entries(around)[-1].verdict is Verdict.TAKEN


def test_judge_when_a_history_has_a_gap_then_refused_stored_and_told_once(
    around: Surroundings,
) -> None:
    data = history()
    data.history = [b for b in data.history if b.symbol != "AAPL" or b.start.day != 25]
    desk = gate(around, data=data)
    for strategy in ("a", "b", "c"):
        desk.judge([seen(signal(strategy=strategy))], T0)
    assert "sound_history" in refuse_reasons(around)
    (row,) = around.decisions(DecisionKind.DATA)
    assert (row.symbol, row.verdict) == ("AAPL", Verdict.REFUSED)
    assert row.reason.startswith("gap: 2 session(s) missing")
    assert len(around.notifier.alerts) == 1
    desk.sweep([], datetime(2013, 10, 7, 20, 5, tzinfo=UTC))
    assert around.decisions(DecisionKind.DATA)[-1].figures["count"] == 3
    # Another gate in the same session does not tell it again.
    gate(around, later(1), data=data).judge([seen(signal(strategy="d"))], later(1))
    assert len(around.notifier.alerts) == 1


def test_judge_when_held_symbol_moves_alike_then_refused_with_the_figure(
    around: Surroundings,
) -> None:
    data = history()
    twins = [replace(b, symbol="A") for b in data.history if b.symbol == "AAPL"]
    data.history = [b for b in data.history if b.symbol != "A"] + twins
    around.enter(symbol="A")
    gate(around, data=data).judge([seen()], T0)
    row = entries(around)[-1]
    assert row.reason == "correlation"
    assert float(str(row.figures["correlation"])) > 0.99
    assert "A 1.00" in str(row.figures["correlation.note"])


def test_judge_when_entries_came_too_fast_then_refused_also_after_a_restart(
    around: Surroundings,
) -> None:
    limits = RiskLimits(max_entries_a_minute=2)
    gate(around, limits=limits).judge([seen(), seen(signal("A"))], T0)
    gate(around, later(59), limits=limits).judge([seen(signal("B"))], later(59))
    assert refuse_reasons(around) == "entries_a_minute"
    fresh = quote(99.98, symbol="C", at=later(60))
    gate(around, later(60), limits=limits).judge([seen(signal("C"), fresh)], later(60))
    assert entries(around)[-1].verdict is Verdict.TAKEN


def test_judge_when_twice_the_volatility_is_expected_then_half_the_size(
    around: Surroundings,
) -> None:
    recent = float(np.std(list(returns("AAPL").values()), ddof=1)) * math.sqrt(252)
    gate(around, forecast=lambda _, __: 2 * recent).judge([seen(signal(atr_usd=10.0))], T0)
    figures = entries(around)[-1].figures
    assert figures["qty"] == 50
    assert figures["size.volatility_scale"] == pytest.approx(0.5)
    assert (figures["size.risk_frac"], figures["size.confidence_scale"]) == (0.02, 1.0)


def test_judge_when_the_expected_volatility_leaves_no_share_then_refused_with_its_figures(
    around: Surroundings,
) -> None:
    gate(around, forecast=lambda _, __: 1e6).judge([seen()], T0)
    (row,) = entries(around)
    assert row.reason == "at_least_one_share"
    assert 0 < float(str(row.figures["size.volatility_scale"])) < 1e-5


@pytest.mark.parametrize(("last", "risk"), [("105", 0.02), ("99", 0.01)])
def test_judge_when_ten_trades_in_a_row_were_won_then_twice_the_base(
    around: Surroundings, last: str, risk: float
) -> None:
    # A loser, then ten trades of which the last one decides.
    for number, price in enumerate(["99", *["105"] * 9, last]):
        at = T0 - timedelta(days=1, minutes=60 - number)
        around.enter(symbol="A", at=at)
        sold = Execution(
            execution_id=f"x{number}",
            order_id=f"by-hand-{number}",
            client_order_id=None,
            symbol="A",
            side=Side.SELL,
            qty=10,
            price=Decimal(price),
            cum_qty=10,
            at=at,
        )
        around.store.book_fill(sold, Decimal(0))
    around.broker.hold("A", 0, "100")
    around.clock.set(T0)
    limits = RiskLimits(base_risk_frac=0.01)
    gate(around, limits=limits).judge([seen(signal(atr_usd=10.0))], T0)
    assert entries(around)[-1].verdict is Verdict.TAKEN
    assert entries(around)[-1].figures["size.risk_frac"] == risk


def test_judge_when_a_symbol_was_renamed_then_it_keeps_its_sector(around: Surroundings) -> None:
    change = SymbolChange(old="AAPL", new="NEWA", day=T0.date())
    around.store.record_decision(symbol_change_decision(DESK, change, None, T0))
    around.broker.set_price("NEWA", "100.00")
    gate(around).judge([seen(signal("NEWA"))], T0)
    row = entries(around)[-1]
    assert "sector AAPL" in row.figures.values()
