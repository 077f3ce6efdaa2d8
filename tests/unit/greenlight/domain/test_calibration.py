from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from greenlight.domain import criteria
from greenlight.domain.calibration import (
    MODELS,
    SESSIONS,
    Traders,
    bounds_of,
    clopper_pearson,
    draw_traders,
    final_wealth,
    green_sessions,
    lent_by,
    policy_hash,
    promoted_after,
    rate_of,
)
from greenlight.domain.evidence import (
    Evidence,
    wealth_path,
)
from greenlight.domain.evidence_rows import JudgedDay, OutOfSample
from greenlight.domain.gate import ReadinessInputs, ReadinessPolicy, State
from greenlight.domain.market import Session, Unavailable, sessions_between
from greenlight.domain.metrics import EquitySeries, minute_of
from greenlight.domain.paper_evidence import paper_evidence
from greenlight.domain.positions import Position
from greenlight.domain.trades import Trade
from greenlight.ports import Run

POLICY = ReadinessPolicy()
WATCHED = 70
HELD = 0.6


def calendar(count: int) -> list[Session]:
    return sessions_between(date(2012, 1, 3), date(2013, 2, 1))[:count]


def days_of(sessions: list[Session]) -> np.ndarray:
    since = sessions[0].open - timedelta(hours=1)
    return np.array([(s.close + timedelta(minutes=5) - since).days for s in sessions])


# -- the twin against the criteria themselves


def inputs_of(traders: Traders, row: int) -> ReadinessInputs:
    """A store's worth of what a trader did, as the criteria take it."""
    sessions = calendar(WATCHED + 1)
    since = sessions[0].open - timedelta(hours=1)
    equity = 100_000 * np.cumprod(np.append(1.0, 1 + traders.returns[row]))
    minutes = [np.arange(minute_of(s.open), minute_of(s.close), dtype=np.int64) for s in sessions]
    before = np.append(equity[0], equity[:-1])
    trades, positions = [], []
    for i, session in enumerate(sessions[1:]):
        for k in range(int(traders.closed[row, i])):
            gain = Decimal(10 if k < traders.won[row, i] else -10)
            name, at = f"p{i}.{k}", session.open + timedelta(hours=1)
            trades.append(trade(name, gain, at))
            positions.append(position(name, gain, at))
    universe = (traders.returns[row] - traders.excess[row]) / HELD
    return ReadinessInputs(
        now=sessions[-1].close,
        run=Run(
            run_id="r",
            started_at=since,
            account_kind="paper",
            account_number="PA1",
            source="made up",
            is_synthetic=True,
            start_cash_usd=Decimal(100_000),
            fingerprint="f00d",
        ),
        since=since,
        trades=trades,
        closed_positions=positions,
        open_positions=(),
        broker_marks=EquitySeries(
            at_s=np.array([int(s.close.timestamp()) + 300 for s in sessions]), equity_usd=equity
        ),
        desk_marks=EquitySeries(
            at_s=60 * (np.concatenate(minutes) + 1),
            equity_usd=np.repeat(before, [len(m) for m in minutes]),
        ),
        beats=np.concatenate(minutes),
        coverage=(),
        protections=(),
        backtest=Unavailable("not asked here"),
        evidence=Unavailable("not asked here"),
        exposures={s.day: HELD for s in sessions},
        universe={s.day: float(u) for s, u in zip(sessions[1:], universe, strict=True)},
    )


def trade(name: str, gain: Decimal, at: datetime) -> Trade:
    return Trade(
        position_id=name,
        symbol="IBM",
        strategy="a",
        qty=10,
        entry_price=Decimal(100),
        exit_price=Decimal(100),
        opened_at=at,
        closed_at=at,
        pnl_usd=gain,
        fees_usd=Decimal(0),
        haircut_usd=Decimal(0),
        exit_reason="stop",
    )


def position(name: str, gain: Decimal, at: datetime) -> Position:
    return Position(
        position_id=name,
        symbol="IBM",
        strategy="a",
        qty=0,
        cost_usd=Decimal(0),
        realized_usd=gain,
        stop_price=Decimal(95),
        target_price=Decimal(105),
        opened_at=at,
        exit_by=at,
        closed_at=at,
    )


def until(inputs: ReadinessInputs, now: datetime) -> ReadinessInputs:
    now_s = int(now.timestamp())

    def cut(series: EquitySeries) -> EquitySeries:
        keep = series.at_s <= now_s
        return EquitySeries(at_s=series.at_s[keep], equity_usd=series.equity_usd[keep])

    return replace(
        inputs,
        now=now,
        trades=[t for t in inputs.trades if t.closed_at <= now],
        closed_positions=[p for p in inputs.closed_positions if p.opened_at <= now],
        broker_marks=cut(inputs.broker_marks),
        desk_marks=cut(inputs.desk_marks),
        beats=inputs.beats[inputs.beats < now_s // 60],
    )


def flat_backtest(now: datetime) -> OutOfSample:
    """A backtest that neither won nor lost, the only trial: it lends 1."""
    days = tuple(
        JudgedDay(day=date(2011, 1, d), return_frac=0, exposure_frac=0, universe_frac=0)
        for d in (3, 4, 5)
    )
    return OutOfSample(run_id="w", at=now, fingerprint="f00d", trials=1, days=days)


def is_green(inputs: ReadinessInputs) -> tuple[bool, bool]:
    view = criteria.View.of(inputs, POLICY)
    found = paper_evidence(view, [flat_backtest(inputs.since)], 1)
    rich = Evidence(at=inputs.now, backtest=1e9, trials=1, paper=1e9)
    answers = []
    for evidence in (found, rich):
        view = criteria.View.of(replace(inputs, evidence=evidence), POLICY)
        judged = (
            criteria.duration(view),
            criteria.win_rate(view),
            criteria.sharpe(view),
            criteria.drawdown(view),
        )
        answers.append(all(c.state is State.GREEN for c in judged))
    return answers[0], answers[1]


@pytest.mark.parametrize(
    ("model", "sharpe"),
    [("t4", 25.0), ("t4", 4.0), ("ar1", 25.0), ("dead_weeks", 28.0), ("uptrend", 25.0)],
)
def test_green_sessions_when_the_criteria_judge_the_same_trader_then_they_agree_daily(
    model: str, sharpe: float
) -> None:
    rng = np.random.default_rng(5)
    traders = draw_traders(model, sharpe, 2, WATCHED, rng)
    sessions = calendar(WATCHED + 1)
    full, bare = green_sessions(traders, np.ones(2), days_of(sessions), bounds_of(POLICY))
    for row in range(2):
        inputs = inputs_of(traders, row)
        told = [is_green(until(inputs, s.close + timedelta(minutes=5))) for s in sessions[1:]]
        assert [t[0] for t in told] == full[row].tolist()
        assert [t[1] for t in told] == bare[row].tolist()
    # The comparison says nothing unless both answers occur.
    assert bare.any()
    assert not bare.all()
    assert full.any() or sharpe < 10


def test_final_wealth_when_the_evidence_process_runs_then_the_same() -> None:
    traders = draw_traders("t4", 2.0, 5, SESSIONS, np.random.default_rng(3))
    excess = traders.excess.copy()
    excess[4, 100] = -0.2
    paths = [wealth_path(row)[-1] for row in excess]
    assert final_wealth(excess) == pytest.approx(paths, rel=1e-9)
    assert paths[4] == 0


# -- the traders


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("sharpe", [-1.0, 0.0, 2.0])
def test_draw_traders_when_many_then_their_sharpe_ratio_is_the_one_asked_for(
    model: str, sharpe: float
) -> None:
    traders = draw_traders(model, sharpe, 2_000, 500, np.random.default_rng(11))
    excess = traders.excess
    found = np.sqrt(252) * excess.mean() / excess.std()
    # A tenth of the weeks without a trade takes a tenth of the mean.
    wanted = sharpe * (0.9**0.5 if model == "dead_weeks" else 1.0)
    assert found == pytest.approx(wanted, abs=0.06)
    assert traders.closed.sum(axis=1).mean() * 252 / 500 == pytest.approx(
        272 if model == "dead_weeks" else 302, abs=3
    )
    assert (traders.won <= traders.closed).all()


def test_draw_traders_when_autocorrelated_then_by_fifteen_hundredths() -> None:
    excess = draw_traders("ar1", 0.0, 2_000, 500, np.random.default_rng(2)).excess
    found = (excess[:, 1:] * excess[:, :-1]).mean() / excess.var()
    assert found == pytest.approx(0.15, abs=0.01)


def test_draw_traders_when_the_model_is_unknown_then_refused() -> None:
    with pytest.raises(ValueError, match="no model"):
        draw_traders("cauchy", 0.0, 1, 1, np.random.default_rng(0))


def test_lent_by_when_the_luckiest_of_many_is_brought_then_its_mean_is_at_most_one() -> None:
    rng = np.random.default_rng(9)
    excess = draw_traders("t4", 0.0, 4_000, 1260, rng).excess
    lent = lent_by(final_wealth(excess), is_luckiest=True, rng=rng)
    assert lent.mean() <= 1.0
    assert lent.max() <= 10.0


# -- the streak and the rates


def test_promoted_after_when_green_for_three_weeks_then_on_that_session() -> None:
    days = np.arange(61, dtype=np.int64)
    green = np.zeros((3, 60), dtype=np.bool_)
    green[0, 10:40] = True
    green[1, 10:40] = True
    green[1, 20] = False
    assert promoted_after(green, days, 21).tolist() == [32, 0, 0]
    assert promoted_after(green[:, :32], days, 21).tolist() == [32, 0, 0]


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        # 1 - 0.025^(1/n) by hand; 5 of 20 from Clopper and Pearson's own example.
        (0, 10_000, 0.0, 1 - 0.025 ** (1 / 10_000)),
        (10, 10, 0.025**0.1, 1.0),
        (5, 20, 0.0866, 0.4910),
    ],
)
def test_clopper_pearson_when_computed_by_hand_then_the_same(
    hits: int, trials: int, low: float, high: float
) -> None:
    assert clopper_pearson(hits, trials) == pytest.approx((low, high), abs=1e-4)


def test_clopper_pearson_when_there_are_no_trials_then_refused() -> None:
    with pytest.raises(ValueError, match="0 trials"):
        clopper_pearson(0, 0)


def test_rate_of_when_two_of_four_pass_then_half_and_the_median() -> None:
    found = rate_of(np.array([0, 100, 0, 140]))
    assert (found.promoted, found.traders, found.frac, found.median_sessions) == (2, 4, 0.5, 120.0)
    assert rate_of(np.array([0, 0])).median_sessions is None


def test_policy_hash_when_a_threshold_changes_then_another() -> None:
    assert policy_hash(POLICY) == policy_hash(ReadinessPolicy())
    assert policy_hash(POLICY) != policy_hash(ReadinessPolicy(alpha=0.01))


def test_days_when_counted_then_as_the_duration_criterion_does() -> None:
    assert days_of(calendar(6)).tolist() == [0, 1, 2, 3, 6, 7]
    assert calendar(1)[0].open == datetime(2012, 1, 3, 14, 30, tzinfo=UTC)
