"""Rows of the store as the domain's values, and back.

`timescale.py` runs the statements of `sql/queries.sql`; the order of columns
there and here is one decision. Times come out aware UTC; a row that is none
of the domain's values raises.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from greenlight.domain.audit import ChainedDecision, Decision, DecisionKind, Verdict, canonical
from greenlight.domain.cash import CashMoved
from greenlight.domain.corporate_actions import DividendPaid
from greenlight.domain.costs import FillCost
from greenlight.domain.drills import Drill, DrillKind
from greenlight.domain.evidence_rows import JudgedDay, OutOfSample
from greenlight.domain.forecasts import (
    Distribution,
    FailedForecast,
    FitFlag,
    Model,
    VolatilityForecast,
    VolatilityScore,
)
from greenlight.domain.market import Bar, Unavailable
from greenlight.domain.orders import (
    Execution,
    OrderIntent,
    OrderKind,
    OrderRecord,
    OrderStatus,
    Role,
    Side,
    TimeInForce,
)
from greenlight.domain.positions import Position
from greenlight.domain.trades import Trade
from greenlight.domain.trials import Trial, WalkForward
from greenlight.domain.twin import TwinOutcome, detail_json, differences_of, pnl_of
from greenlight.ports import Coverage, EquityMark, Halt, Run, StrategyState

Row = tuple[Any, ...]


def utc(at: datetime) -> datetime:
    """The same instant with `datetime.UTC` as its zone."""
    return at.astimezone(UTC)


def utc_or_none(at: datetime | None) -> datetime | None:
    """The same instant in UTC; None stays None."""
    return None if at is None else at.astimezone(UTC)


def run_of(row: Row) -> Run:
    """A row of `latest_run`."""
    return Run(
        run_id=row[0],
        started_at=utc(row[1]),
        account_kind=row[2],
        account_number=row[3],
        source=row[4],
        is_synthetic=row[5],
        start_cash_usd=row[6],
        fingerprint=row[7],
    )


def decision_of(row: Row) -> ChainedDecision:
    """A row of `decisions`."""
    return ChainedDecision(
        seq=row[0],
        decision=Decision(
            decision_id=row[1],
            at=utc(row[2]),
            kind=DecisionKind(row[3]),
            verdict=Verdict(row[4]),
            symbol=row[5],
            strategy=row[6],
            reason=row[7],
            figures=row[8],
        ),
        previous_hash=row[9],
        row_hash=row[10],
    )


def decision_values(decision: Decision) -> dict[str, Any]:
    """Parameters of `append_decision`."""
    return {
        "decision_id": decision.decision_id,
        "at": decision.at,
        "kind": str(decision.kind),
        "verdict": str(decision.verdict),
        "symbol": decision.symbol,
        "strategy": decision.strategy,
        "reason": decision.reason,
        "figures": json_text(dict(decision.figures)),
        "canonical": canonical(decision),
    }


def json_text(value: object) -> str:
    """JSON that reads back to the same value; NaN and infinity raise `ValueError`."""
    return json.dumps(value, allow_nan=False)


def intent_values(intent: OrderIntent) -> dict[str, Any]:
    """The columns of `orders` that an intent fills, fit for JSON too."""
    return {
        "client_order_id": intent.client_order_id,
        "decision_id": intent.decision_id,
        "role": intent.role,
        "attempt": intent.attempt,
        "symbol": intent.symbol,
        "side": intent.side,
        "kind": intent.kind,
        "qty": intent.qty,
        "limit_price": None if intent.limit_price is None else str(intent.limit_price),
        "stop_price": None if intent.stop_price is None else str(intent.stop_price),
        "time_in_force": intent.time_in_force,
        "replaces": intent.replaces,
        "holder": intent.holder,
        "epoch": intent.epoch,
        "at": intent.at.isoformat(),
    }


def record_intent_values(intent: OrderIntent, decision: Decision | None) -> dict[str, Any]:
    """Parameters of `record_intent`: the order and its decision as JSON objects."""
    values: dict[str, Any] = {
        "order": json_text(intent_values(intent)),
        "decision": None,
        "canonical": None,
    }
    if decision is not None:
        values["canonical"] = canonical(decision)
        columns = {
            "decision_id": decision.decision_id,
            "at": decision.at.isoformat(),
            "kind": decision.kind,
            "verdict": decision.verdict,
            "symbol": decision.symbol,
            "strategy": decision.strategy,
            "reason": decision.reason,
            "figures": dict(decision.figures),
        }
        values["decision"] = json_text(columns)
    return values


def order_of(row: Row) -> OrderRecord:
    """A row of `order`."""
    return OrderRecord(
        intent=OrderIntent(
            client_order_id=row[0],
            decision_id=row[1],
            role=Role(row[2]),
            attempt=row[3],
            symbol=row[4],
            side=Side(row[5]),
            kind=OrderKind(row[6]),
            qty=row[7],
            limit_price=row[8],
            stop_price=row[9],
            time_in_force=TimeInForce(row[10]),
            replaces=row[11],
            holder=row[12],
            epoch=row[13],
            at=utc(row[14]),
        ),
        order_id=row[15],
        status=OrderStatus(row[16]),
        filled_qty=row[17],
        reason=row[18],
        updated_at=utc(row[19]),
    )


def fill_of(row: Row) -> Execution:
    """A row of `fills` or `position_fills`."""
    return Execution(
        execution_id=row[0],
        order_id=row[1],
        client_order_id=row[2],
        symbol=row[3],
        side=Side(row[4]),
        qty=row[5],
        price=row[6],
        cum_qty=row[7],
        at=utc(row[8]),
    )


def fill_values(fill: Execution, cost: FillCost, fees_usd: Decimal) -> dict[str, Any]:
    """Parameters of `insert_fill`, without the position."""
    return {
        "execution_id": fill.execution_id,
        "order_id": fill.order_id,
        "client_order_id": fill.client_order_id,
        "symbol": fill.symbol,
        "side": str(fill.side),
        "qty": fill.qty,
        "price": fill.price,
        "cum_qty": fill.cum_qty,
        "at": fill.at,
        "fees_usd": fees_usd,
        "regulatory_fees_usd": cost.fees_usd,
        "slippage_usd": cost.slippage_usd,
        "shortfall_usd": cost.shortfall_usd,
        "haircut_usd": cost.haircut_usd(fees_usd),
    }


def position_of(row: Row) -> Position:
    """A row of `position`."""
    return Position(
        position_id=row[0],
        symbol=row[1],
        strategy=row[2],
        qty=row[3],
        cost_usd=row[4],
        realized_usd=row[5],
        stop_price=row[6],
        target_price=row[7],
        opened_at=utc(row[8]),
        exit_by=utc(row[9]),
        closed_at=utc_or_none(row[10]),
    )


def position_values(position: Position) -> dict[str, Any]:
    """Parameters of `insert_position` and `update_position`."""
    return {
        "position_id": position.position_id,
        "symbol": position.symbol,
        "strategy": position.strategy,
        "qty": position.qty,
        "cost_usd": position.cost_usd,
        "realized_usd": position.realized_usd,
        "stop_price": position.stop_price,
        "target_price": position.target_price,
        "opened_at": position.opened_at,
        "exit_by": position.exit_by,
        "closed_at": position.closed_at,
    }


def trade_of(row: Row) -> Trade:
    """A row of `trades`."""
    return Trade(
        position_id=row[0],
        symbol=row[1],
        strategy=row[2],
        qty=row[3],
        entry_price=row[4],
        exit_price=row[5],
        opened_at=utc(row[6]),
        closed_at=utc(row[7]),
        pnl_usd=row[8],
        fees_usd=row[9],
        haircut_usd=row[10],
        exit_reason=row[11],
    )


def trade_values(trade: Trade) -> dict[str, Any]:
    """Parameters of `insert_trade`."""
    return {
        "position_id": trade.position_id,
        "symbol": trade.symbol,
        "strategy": trade.strategy,
        "qty": trade.qty,
        "entry_price": trade.entry_price,
        "exit_price": trade.exit_price,
        "opened_at": trade.opened_at,
        "closed_at": trade.closed_at,
        "pnl_usd": trade.pnl_usd,
        "fees_usd": trade.fees_usd,
        "haircut_usd": trade.haircut_usd,
        "exit_reason": trade.exit_reason,
    }


def dividend_of(row: Row) -> DividendPaid:
    """A row of `dividends`."""
    return DividendPaid(
        activity_id=row[0],
        symbol=row[1],
        at=utc(row[2]),
        usd=row[3],
        qty=row[4],
        usd_a_share=row[5],
        position_id=row[6],
    )


def dividend_values(paid: DividendPaid) -> dict[str, Any]:
    """Parameters of `insert_dividend`."""
    return {
        "activity_id": paid.activity_id,
        "symbol": paid.symbol,
        "at": paid.at,
        "usd": paid.usd,
        "qty": paid.qty,
        "usd_a_share": paid.usd_a_share,
        "position_id": paid.position_id,
    }


def cash_movement_of(row: Row) -> CashMoved:
    """A row of `cash_movements`."""
    return CashMoved(
        activity_id=row[0],
        activity_type=row[1],
        at=utc(row[2]),
        usd=row[3],
        symbol=row[4],
        description=row[5],
        booked_at=utc(row[6]),
    )


def cash_movement_values(moved: CashMoved) -> dict[str, Any]:
    """Parameters of `insert_cash_movement`."""
    return {
        "activity_id": moved.activity_id,
        "activity_type": moved.activity_type,
        "at": moved.at,
        "usd": moved.usd,
        "symbol": moved.symbol,
        "description": moved.description,
        "booked_at": moved.booked_at,
    }


def drill_of(row: Row) -> Drill:
    """A row of `drills`."""
    return Drill(
        kind=DrillKind(row[0]),
        at=utc(row[1]),
        account_kind=row[2],
        recovered_s=Unavailable(row[6]) if row[3] is None else row[3],
        bound_s=row[4],
        naked_s=Unavailable(row[7]) if row[5] is None else row[5],
        detail=row[8],
    )


def drill_values(drill: Drill) -> dict[str, Any]:
    """Parameters of `insert_drill`."""
    recovered_s, naked_s = drill.recovered_s, drill.naked_s
    is_lost, is_untold = isinstance(recovered_s, Unavailable), isinstance(naked_s, Unavailable)
    return {
        "kind": drill.kind.value,
        "at": drill.at,
        "account_kind": drill.account_kind,
        "recovered_s": None if is_lost else recovered_s,
        "bound_s": drill.bound_s,
        "naked_s": None if is_untold else naked_s,
        "not_recovered": recovered_s.reason if isinstance(recovered_s, Unavailable) else None,
        "not_told": naked_s.reason if isinstance(naked_s, Unavailable) else None,
        "detail": drill.detail,
    }


def bar_of(row: Row) -> Bar:
    """A row of `bars`."""
    return Bar(
        symbol=row[0],
        start=utc(row[1]),
        end=utc(row[2]),
        open=row[3],
        high=row[4],
        low=row[5],
        close=row[6],
        volume=row[7],
    )


def mark_of(row: Row) -> EquityMark:
    """A row of `equity`."""
    return EquityMark(
        at=utc(row[0]),
        equity_usd=row[1],
        cash_usd=row[2],
        exposure_usd=row[3],
        source=row[4],
    )


def coverage_of(row: Row) -> Coverage:
    """A row of `coverage`."""
    return Coverage(
        position_id=row[0],
        symbol=row[1],
        at=utc(row[2]),
        position_qty=row[3],
        covered_qty=row[4],
    )


def halt_of(row: Row) -> Halt:
    """A row of `halts_in_force` or `lifted_halts`."""
    return Halt(
        halt_id=row[0],
        at=utc(row[1]),
        until=utc_or_none(row[2]),
        reason=row[3],
        lifted_at=utc_or_none(row[4]),
        lifted_reason=row[5],
    )


def state_of(row: Row) -> StrategyState:
    """A row of `strategy_states`."""
    return StrategyState(strategy=row[0], symbol=row[1], at=utc(row[2]), values=tuple(row[3]))


def forecast_values(made: VolatilityForecast | FailedForecast) -> dict[str, Any]:
    """Parameters of `insert_forecast`."""
    if isinstance(made, FailedForecast):
        names = ("through", "model", "distribution", "sigma_pct", "vol_frac_ann")
        absent = dict.fromkeys((*names, "bic", "n_obs", "params"))
        return absent | {
            "symbol": made.symbol,
            "at": made.at,
            "is_converged": False,
            "flags": [],
            "reason": made.reason,
        }
    return {
        "symbol": made.symbol,
        "at": made.at,
        "through": made.through,
        "model": str(made.model),
        "distribution": str(made.distribution),
        "sigma_pct": list(made.sigma_pct),
        "vol_frac_ann": made.vol_frac_ann,
        "is_converged": made.is_converged,
        "flags": [str(flag) for flag in made.flags],
        "bic": made.bic,
        "n_obs": made.n_obs,
        "params": list(made.params),
        "reason": None,
    }


def forecast_of(row: Row) -> VolatilityForecast:
    """A row of `latest_forecasts`."""
    return VolatilityForecast(
        symbol=row[0],
        at=utc(row[1]),
        through=row[2],
        model=Model(row[3]),
        distribution=Distribution(row[4]),
        sigma_pct=tuple(row[5]),
        vol_frac_ann=row[6],
        is_converged=row[7],
        flags=tuple(FitFlag(flag) for flag in row[8]),
        bic=row[9],
        n_obs=row[10],
        params=tuple(row[11]),
    )


def failed_forecast_of(row: Row) -> FailedForecast:
    """A row of `failed_forecasts`."""
    return FailedForecast(symbol=row[0], at=utc(row[1]), reason=row[2])


def score_of(row: Row) -> VolatilityScore:
    """A row of `volatility_scores`."""
    return VolatilityScore(
        symbol=row[0],
        session=row[1],
        method=row[2],
        forecast_pct2=row[3],
        realised_pct2=row[4],
        qlike=row[5],
    )


def score_values(score: VolatilityScore) -> dict[str, Any]:
    """Parameters of `insert_volatility_score`."""
    return {
        "symbol": score.symbol,
        "session": score.session,
        "method": score.method,
        "forecast_pct2": score.forecast_pct2,
        "realised_pct2": score.realised_pct2,
        "qlike": score.qlike,
    }


def trial_values(trial: Trial) -> dict[str, Any]:
    """Parameters of `insert_trial`."""
    return {
        "trial_id": trial.trial_id,
        "at": trial.at,
        "kind": trial.kind,
        "code_hash": trial.code_hash,
        "strategies": list(trial.strategies),
        "params": json_text(dict(trial.params)),
        "source": trial.source,
        "symbols": list(trial.symbols),
        "data_hash": trial.data_hash,
        "start_day": trial.start,
        "end_day": trial.end,
        "figures": json_text(dict(trial.figures)),
    }


def walkforward_values(done: WalkForward) -> dict[str, Any]:
    """Parameters of `upsert_walkforward`."""
    return {
        "run_id": done.run_id,
        "at": done.at,
        "fingerprint": done.fingerprint,
        "plan": json_text(dict(done.plan)),
        "figures": json_text(dict(done.figures)),
    }


def walkforward_of(row: Row) -> WalkForward:
    """A row of `walkforwards`."""
    return WalkForward(
        run_id=row[0], at=utc(row[1]), fingerprint=row[2], plan=row[3], figures=row[4]
    )


def twin_values(outcome: TwinOutcome) -> dict[str, Any]:
    """Parameters of `upsert_twin`."""
    return {
        "session": outcome.session,
        "account_number": outcome.account_number,
        "at": outcome.at,
        "fingerprint": outcome.fingerprint,
        "decisions": outcome.decisions,
        "unvalued": outcome.unvalued,
        "detail": json_text(detail_json(outcome)),
    }


def twin_of(row: Row) -> TwinOutcome:
    """A row of `twins`."""
    return TwinOutcome(
        session=row[0],
        account_number=row[1],
        at=utc(row[2]),
        fingerprint=row[3],
        decisions=row[4],
        unvalued=row[5],
        differences=differences_of(row[6]),
        pnl=pnl_of(row[6]),
    )


def trial_of(row: Row) -> Trial:
    """A row of `trials`."""
    return Trial(
        trial_id=row[0],
        at=utc(row[1]),
        kind=row[2],
        code_hash=row[3],
        strategies=tuple(row[4]),
        params=row[5],
        source=row[6],
        symbols=tuple(row[7]),
        data_hash=row[8],
        start=row[9],
        end=row[10],
        figures=row[11],
    )


def out_of_sample_values(run: OutOfSample) -> dict[str, Any]:
    """Parameters of `insert_out_of_sample`."""
    days = [[d.day.isoformat(), d.return_frac, d.exposure_frac, d.universe_frac] for d in run.days]
    return {
        "run_id": run.run_id,
        "at": run.at,
        "fingerprint": run.fingerprint,
        "trials": run.trials,
        "days": json_text(days),
    }


def out_of_sample_of(row: Row) -> OutOfSample:
    """A row of `out_of_sample`."""
    return OutOfSample(
        run_id=row[0],
        at=utc(row[1]),
        fingerprint=row[2],
        trials=row[3],
        days=tuple(
            JudgedDay(
                day=date.fromisoformat(day),
                return_frac=float(gain),
                exposure_frac=float(exposure),
                universe_frac=float(universe),
            )
            for day, gain, exposure, universe in row[4]
        ),
    )
