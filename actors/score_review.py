"""Acts on the scores of what is held, once a session, where a setting says so.

Before it stand positions, checked daily histories and volatility forecasts, all
of which change once a session; so the first minute of a session is when the
portfolio is looked at. After it the position monitors: a position whose score
says EXIT gets this instant as its time to leave, in the store, and its monitor
leaves by the exit protocol, also after a crash.

An ADD would be a second entry in a symbol that is held, which the risk chain
refuses whatever else it finds. A TRIM would leave shares without a resting stop
while the pair is made anew, and is refused for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import accumulate
from typing import Final

from actors.daily_history import DailyHistory
from greenlight.domain.audit import Decision, DecisionKind, Figure, Verdict, known_figure
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.market import (
    Quote,
    Unavailable,
    eastern_date,
    eastern_midnight,
    session_at,
)
from greenlight.domain.orders import decision_id
from greenlight.domain.positions import Position
from greenlight.domain.scoring import Action, Score, score_holdings
from greenlight.ports import Store

_VERDICTS: Final = {
    Action.EXIT: (Verdict.TAKEN, "score"),
    Action.TRIM: (Verdict.REFUSED, "trim_would_uncover"),
    Action.ADD: (Verdict.SKIPPED, "one_position_a_symbol"),
    Action.HOLD: (Verdict.SKIPPED, "hold"),
}


class ScoreReview:
    """See the module.

    Parameters
    ----------
    symbols : Sequence[str]
        The universe that sectors are compared in; what is held is added.
    forecast : Callable[[str, datetime], float | Unavailable]
        A symbol's expected volatility a year as a fraction; the gate's.
    """

    def __init__(
        self,
        *,
        store: Store,
        history: DailyHistory,
        desk: str,
        symbols: Sequence[str],
        sectors: Mapping[str, str],
        limits: RiskLimits,
        forecast: Callable[[str, datetime], float | Unavailable],
    ) -> None:
        self._store = store
        self._history = history
        self._desk = desk
        self._symbols = tuple(symbols)
        self._sectors = dict(sectors)
        self._limits = limits
        self._forecast = forecast

    def act(self, quotes: Sequence[Quote], now: datetime) -> list[str]:
        """Decide on every position from before this session; the symbols that are to be left.

        Asked again in the same session it decides nothing anew.
        """
        day = eastern_date(now)
        if session_at(now) is None:
            return []
        positions = self._store.open_positions()
        held = {p.symbol: p for p in positions if eastern_date(p.opened_at) < day}
        decided = self._decided(day)
        open_ids = {symbol: self._name(p, day) for symbol, p in held.items()}
        if not set(open_ids.values()) <= set(decided):
            scores, unscored = self._scores(positions, quotes, now)
            for symbol, position in held.items():
                if open_ids[symbol] not in decided:
                    self._decide(position, scores.get(symbol), unscored.get(symbol), day, now)
            decided = self._decided(day)
        return [s for s, name in open_ids.items() if decided.get(name) is Verdict.TAKEN]

    def _name(self, position: Position, day: date) -> str:
        return decision_id(self._desk, position.position_id, "score", str(day))

    def _decided(self, day: date) -> dict[str, Verdict]:
        rows = self._store.decisions(
            start=eastern_midnight(day), kind=DecisionKind.SCORE, limit=None
        )
        return {row.decision.decision_id: row.decision.verdict for row in rows}

    def _scores(
        self, positions: Sequence[Position], quotes: Sequence[Quote], now: datetime
    ) -> tuple[dict[str, Score], dict[str, str]]:
        universe = sorted({*self._symbols, *(p.symbol for p in positions)})
        closes = {
            symbol: [] if isinstance(found, Unavailable) else _closes(found)
            for symbol, found in self._history.returns(universe, now).items()
        }
        expected = {p.symbol: self._forecast(p.symbol, now) for p in positions}
        scores, unscored = score_holdings(
            self._weights(positions, quotes),
            closes=closes,
            sectors=self._sectors,
            forecasts_vol_ann={
                s: vol for s, vol in expected.items() if not isinstance(vol, Unavailable)
            },
            max_weight_frac=self._limits.max_weight_frac,
        )
        return {score.symbol: score for score in scores}, unscored

    def _weights(
        self, positions: Sequence[Position], quotes: Sequence[Quote]
    ) -> dict[str, float | None]:
        """Marked value over equity; None for all where one price is not known."""
        mids = {q.symbol: Decimal(repr((q.bid + q.ask) / 2)) for q in quotes}
        cash = self._store.cash()
        values = {p.symbol: p.qty * mids[p.symbol] for p in positions if p.symbol in mids}
        if cash is None or len(values) < len(positions):
            return {p.symbol: None for p in positions}
        equity = cash + sum(values.values(), Decimal(0))
        return {s: float(value / equity) if equity > 0 else None for s, value in values.items()}

    def _decide(
        self, position: Position, score: Score | None, why: str | None, day: date, now: datetime
    ) -> None:
        verdict, reason = Verdict.SKIPPED, f"not_scored: {why}"
        figures: dict[str, Figure] = {"position_id": position.position_id, "qty": position.qty}
        if score is not None:
            verdict, reason = _VERDICTS[score.action]
            figures |= {"action": score.action.value, "score": score.value}
            for name, part in score.contributions.items():
                figures[f"contribution.{name}"] = known_figure(part)
            for name, missing in score.missing.items():
                figures[f"missing.{name}"] = missing
        decision = Decision(
            decision_id=self._name(position, day),
            at=now,
            kind=DecisionKind.SCORE,
            verdict=verdict,
            symbol=position.symbol,
            strategy=position.strategy,
            reason=reason,
            figures=figures,
        )
        if verdict is Verdict.TAKEN:
            self._store.leave_by(position, now, decision)
        else:
            self._store.record_decision(decision)


def _closes(returns: Mapping[date, float]) -> list[float]:
    """Closes with splits taken out, of the first day's as 1: the scorer looks at ratios."""
    return list(accumulate(returns.values(), lambda close, r: close * (1 + r), initial=1.0))
