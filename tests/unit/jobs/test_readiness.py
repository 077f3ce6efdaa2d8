from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from greenlight.domain.cash import CashMoved, cash_decision
from greenlight.domain.criteria import View
from greenlight.domain.gate import BacktestSummary
from greenlight.domain.market import Unavailable, next_session
from greenlight.domain.metrics import Drawdown, daily_returns, max_drawdown, merged
from greenlight.domain.readiness import ReadinessPolicy, State, evaluate, to_json
from greenlight.domain.trials import WalkForward
from greenlight.ports import EquityMark, Run, StoreUnavailable
from greenlight.testing import FakeStore
from jobs.readiness import (
    Evaluator,
    evaluate_now,
    gather,
    latest_instant,
    latest_walkforward,
    present,
)
from tests.sample_desk import SampleDesk

POLICY = ReadinessPolicy()
UNCOMPARED = Unavailable("not compared")


def lived(end: date, *, is_closed: bool = True) -> tuple[FakeStore, SampleDesk]:
    store = FakeStore()
    desk = SampleDesk(store, start=date(2008, 1, 2))
    desk.trade_until(end, close_last=is_closed)
    return store, desk


def later_run(store: FakeStore, desk: SampleDesk, **changes: object) -> Run:
    first = store.latest_run()
    assert first is not None
    values: dict[str, object] = {"run_id": "run-2", "started_at": desk.now, **changes}
    run: Run = replace(first, **values)  # type: ignore[arg-type]
    store.start_run(run)
    return run


def test_evaluate_now_when_nothing_ran_then_seven_insufficient() -> None:
    evaluation = evaluate_now(FakeStore(), datetime(2008, 1, 2, tzinfo=UTC), POLICY)
    assert [c.state for c in evaluation.criteria] == [State.INSUFFICIENT] * 7
    assert latest_instant(FakeStore()) is None


def test_evaluator_when_it_reads_only_what_is_new_then_as_if_read_afresh() -> None:
    store, desk = lived(date(2008, 1, 10))
    evaluator = Evaluator(store, POLICY)
    evaluator(desk.now)
    day = date(2008, 1, 10)
    for _ in range(4):
        session = next_session(day)
        day = session.day
        desk.session(session)
        again, fresh = evaluator.gather(desk.now), gather(store, desk.now, POLICY)
        assert np.array_equal(again.beats, fresh.beats)
        for name in ("desk_marks", "broker_marks"):
            one, other = getattr(again, name), getattr(fresh, name)
            assert np.array_equal(one.at_s, other.at_s)
            assert np.array_equal(one.equity_usd, other.equity_usd)
        assert evaluate(again, POLICY) == evaluate(fresh, POLICY)


def test_evaluator_when_a_mark_comes_late_then_it_is_read() -> None:
    store, desk = lived(date(2008, 1, 10))
    evaluator = Evaluator(store, POLICY)
    before = evaluator.gather(desk.now)
    late = EquityMark(
        at=desk.now - timedelta(minutes=100, seconds=30),
        equity_usd=store.equity(desk.now - timedelta(1), desk.now, "desk")[0].equity_usd,
        cash_usd=store.equity(desk.now - timedelta(1), desk.now, "desk")[0].cash_usd,
        exposure_usd=store.equity(desk.now - timedelta(1), desk.now, "desk")[0].exposure_usd,
        source="desk",
    )
    store.write_equity([late])
    after = evaluator.gather(desk.now)
    assert len(after.desk_marks.at_s) == len(before.desk_marks.at_s) + 1
    assert int(late.at.timestamp()) in after.desk_marks.at_s


def test_gather_when_the_store_knows_the_future_then_nothing_later_is_seen() -> None:
    store, _ = lived(date(2008, 1, 10))
    now = datetime(2008, 1, 7, 18, 0, tzinfo=UTC)
    inputs = gather(store, now, POLICY)
    assert inputs.desk_marks.at_s[-1] == now.timestamp()
    assert inputs.beats[-1] * 60 <= now.timestamp()
    assert all(p.opened_at <= now for p in inputs.open_positions)


def test_evaluator_when_the_desk_restarts_unchanged_then_its_clocks_go_on() -> None:
    store, desk = lived(date(2008, 2, 20))
    first = evaluate_now(store, desk.now, POLICY)
    store.save_evaluation(desk.now, to_json(first))
    later_run(store, desk)
    assert evaluate_now(store, desk.now, POLICY).since == first.since


@pytest.mark.parametrize("change", [{"fingerprint": "new"}, {"account_number": "PA2"}])
def test_evaluator_when_code_or_account_changed_then_its_clocks_start_again(
    change: dict[str, object],
) -> None:
    store, desk = lived(date(2008, 2, 20))
    store.save_evaluation(desk.now, to_json(evaluate_now(store, desk.now, POLICY)))
    run = later_run(store, desk, **change)
    evaluation = evaluate_now(store, desk.now, POLICY)
    assert evaluation.since == run.started_at
    assert evaluation.criteria[0].state is State.INSUFFICIENT


def test_evaluator_when_a_new_run_starts_then_it_forgets_the_old_one() -> None:
    store, desk = lived(date(2008, 1, 10))
    evaluator = Evaluator(store, POLICY)
    evaluator(desk.now)
    later_run(store, desk, fingerprint="new")
    assert len(evaluator.gather(desk.now).beats) == 0


def test_evaluator_when_the_store_is_away_then_it_says_so_and_goes_on_afterwards() -> None:
    store, desk = lived(date(2008, 1, 10))
    evaluator = Evaluator(store, POLICY)
    before = evaluator(desk.now)
    store.up = False
    with pytest.raises(StoreUnavailable):
        evaluator(desk.now)
    store.up = True
    assert evaluator(desk.now) == before


def test_present_when_it_is_a_replay_then_the_newest_evidence_tells_the_time() -> None:
    store, desk = lived(date(2008, 1, 10), is_closed=False)
    clock = datetime(2026, 1, 1, tzinfo=UTC)
    assert latest_instant(store) == desk.now == datetime(2008, 1, 10, 16, 30, tzinfo=UTC)
    assert present(store, clock) == desk.now
    later_run(store, desk, account_kind="paper")
    assert present(store, clock) == clock


# -- what the owner moves


def move(store: FakeStore, usd: str, at: datetime, booked_at: datetime) -> None:
    row = CashMoved(
        activity_id=f"{at} {usd}",
        activity_type="CSD",
        at=at,
        usd=Decimal(usd),
        symbol=None,
        description="",
        booked_at=booked_at,
    )
    assert store.book_cash(row, cash_decision("t", row))


def mark(at: datetime, equity: str, source: str) -> EquityMark:
    return EquityMark(
        at=at,
        equity_usd=Decimal(equity),
        cash_usd=Decimal(equity),
        exposure_usd=Decimal(0),
        source=source,
    )


@pytest.mark.parametrize("usd", ["50000", "-99000"])
def test_gather_when_money_moves_and_is_booked_a_night_later_then_neither_gain_nor_loss(
    usd: str,
) -> None:
    store, _ = lived(date(2008, 1, 2))
    run = store.latest_run()
    assert run is not None
    first, second, third = (datetime(2008, 1, d, 16, tzinfo=UTC) for d in (7, 8, 9))
    bell, before, after = timedelta(hours=5, minutes=5), "100000", str(100_000 + int(usd))
    store.write_equity(
        [
            mark(first + bell, before, "broker"),
            mark(second, before, "desk"),
            mark(second + timedelta(hours=1), before, "desk"),
            # The broker has it in the evening, the ledger in the morning.
            mark(second + bell, after, "broker"),
            mark(third, before, "desk"),
            mark(third + timedelta(microseconds=1), after, "desk"),
            mark(third + bell, after, "broker"),
        ]
    )
    evaluator = Evaluator(store, POLICY)
    since = datetime(2008, 1, 6, tzinfo=UTC)
    store.start_run(replace(run, run_id="run-2", started_at=since, fingerprint="new"))
    evaluator.gather(second + timedelta(hours=2))
    booked_at = third + timedelta(microseconds=1)
    move(store, usd, second + timedelta(hours=4), booked_at)
    # A fee is a loss.
    store.write_equity([mark(third + timedelta(hours=6), str(int(after) - 10), "desk")])
    inputs = evaluator.gather(third + timedelta(hours=7))
    view = View.of(inputs, POLICY)
    returns = daily_returns(view.closes, [s.day for s in view.due], view.moved)
    assert returns.values == (0.0, 0.0)
    fall = max_drawdown(merged(inputs.broker_marks, inputs.desk_marks))
    assert isinstance(fall, Drawdown)
    assert fall.frac == pytest.approx(10 / int(after))


def walk(day: int, fingerprint: str, **figures: float | None) -> WalkForward:
    known = {
        "sharpe_ann": 1.5,
        "max_drawdown_frac": 0.1,
        "pbo_frac": 0.2,
        "deflated_sharpe_frac": 0.97,
    }
    return WalkForward(
        run_id=f"{day}-{fingerprint}",
        at=datetime(2013, 10, day, tzinfo=UTC),
        fingerprint=fingerprint,
        plan={},
        figures={**known, **figures},
    )


def test_walkforward_when_several_are_stored_then_the_newest_of_the_desk_s_own() -> None:
    store, now = FakeStore(), datetime(2013, 10, 20, tzinfo=UTC)
    assert isinstance(latest_walkforward(store, "own", now, UNCOMPARED), Unavailable)
    for done in (
        walk(1, "own"),
        walk(9, "own", sharpe_ann=1.7),
        walk(12, "other"),
        walk(25, "own"),
    ):
        store.record_walkforward(done)
    found = latest_walkforward(store, "own", now, UNCOMPARED)
    assert isinstance(found, BacktestSummary)
    assert (found.at.day, found.sharpe_ann, found.deflated_sharpe) == (9, 1.7, 0.97)
    assert isinstance(found.has_live_parity, Unavailable)
    # Of none of its own the newest stands, and the criterion says that it is of another.
    other = latest_walkforward(store, "third", now, UNCOMPARED)
    assert isinstance(other, BacktestSummary)
    assert other.fingerprint == "other"


def test_walkforward_when_a_figure_has_no_value_then_unavailable_with_its_name() -> None:
    store = FakeStore()
    store.record_walkforward(walk(1, "own", pbo_frac=None))
    found = latest_walkforward(store, "own", datetime(2013, 10, 20, tzinfo=UTC), UNCOMPARED)
    assert isinstance(found, Unavailable)
    assert "pbo_frac" in found.reason
