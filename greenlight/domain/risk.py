"""The risk chain: may this signal become an order.

Before it stand the signal, the desk's state and sizing; after it the order
gateway. Every rule is named, has a limit with unit and source (`RiskLimits`),
and is evaluated even when an earlier one refused, so that a refusal tells
everything. Risk and cost count at the highest price that the entry may be
repriced to. Missing input refuses. Exits do not come here: nothing refuses an
exit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

from greenlight.domain.audit import Figure, known_figure
from greenlight.domain.correlation import SESSIONS, Correlation, correlation
from greenlight.domain.desk_state import DeskState, RiskLimits, finite
from greenlight.domain.halts import drawdown_frac, is_drawdown_kept, is_loss_kept, loss_usd
from greenlight.domain.market import Unavailable
from greenlight.domain.signals import Signal
from greenlight.domain.sizing import Sized, size

_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleResult:
    """One rule's finding: the value it saw against its limit, in `unit`."""

    rule: str
    is_passed: bool
    value: Figure
    limit: Figure
    unit: str
    is_moot: bool = False
    """Refused because the desk already holds or wants what the signal asks for."""
    note: str | None = None
    """What a person should know of the value, such as why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskVerdict:
    """Every rule's result, what the size came to, and the entry: that size where all passed."""

    rules: tuple[RuleResult, ...]
    sized: Sized | None
    entry: Sized | None

    @property
    def failed(self) -> tuple[RuleResult, ...]:
        """The rules that refused, in the chain's order."""
        return tuple(r for r in self.rules if not r.is_passed)


_Rule = Callable[[Signal, DeskState, RiskLimits, Sized | None], RuleResult]


def _not_halted(_: Signal, state: DeskState, __: RiskLimits, ___: Sized | None) -> RuleResult:
    reasons = "; ".join(state.halts)
    return RuleResult(
        rule="not_halted", is_passed=not reasons, value=reasons or None, limit=None, unit="reason"
    )


def _reconciled(_: Signal, state: DeskState, __: RiskLimits, ___: Sized | None) -> RuleResult:
    found = state.reconciled
    return RuleResult(
        rule="reconciled",
        is_passed=found is True,
        value=found is True,
        limit=True,
        unit="bool",
        note=found.reason if isinstance(found, Unavailable) else None,
    )


def _session_open(_: Signal, state: DeskState, __: RiskLimits, ___: Sized | None) -> RuleResult:
    is_open = state.session is not None and state.session.open <= state.now < state.session.close
    return RuleResult(
        rule="session_open", is_passed=is_open, value=is_open, limit=True, unit="bool"
    )


def _fresh_quote(_: Signal, state: DeskState, limits: RiskLimits, __: Sized | None) -> RuleResult:
    age = None if state.quote is None else (state.now - state.quote.at).total_seconds()
    return RuleResult(
        rule="fresh_quote",
        is_passed=age is not None and 0 <= age <= limits.max_quote_age_s,
        value=age,
        limit=limits.max_quote_age_s,
        unit="s",
    )


def _tight_spread(_: Signal, state: DeskState, limits: RiskLimits, __: Sized | None) -> RuleResult:
    quote = state.quote
    spread = None
    if quote is not None and quote.bid > 0 and quote.ask > 0:
        spread = 2 * (quote.ask - quote.bid) / (quote.ask + quote.bid)
    return RuleResult(
        rule="tight_spread",
        is_passed=spread is not None and 0 <= spread <= limits.max_spread_frac,
        value=spread,
        limit=limits.max_spread_frac,
        unit="frac",
    )


def _one_a_symbol(signal: Signal, state: DeskState, _: RiskLimits, __: Sized | None) -> RuleResult:
    held = [p.symbol for p in state.positions if p.symbol == signal.symbol]
    wanted = [s for s in state.entries if s == signal.symbol]
    count = len(held) + len(wanted)
    return RuleResult(
        rule="one_position_a_symbol",
        is_passed=count == 0,
        value=count,
        limit=0,
        unit="positions",
        is_moot=count > 0,
    )


def _max_positions(_: Signal, state: DeskState, limits: RiskLimits, __: Sized | None) -> RuleResult:
    symbols = {p.symbol for p in state.positions} | set(state.entries)
    return RuleResult(
        rule="max_positions",
        is_passed=len(symbols) < limits.max_positions,
        value=len(symbols),
        limit=limits.max_positions,
        unit="positions",
    )


def _whole_share(_: Signal, __: DeskState, ___: RiskLimits, entry: Sized | None) -> RuleResult:
    return RuleResult(
        rule="at_least_one_share",
        is_passed=entry is not None and entry.qty >= 1,
        value=None if entry is None else entry.qty,
        limit=1,
        unit="shares",
    )


def _risk_a_trade(
    _: Signal, state: DeskState, limits: RiskLimits, entry: Sized | None
) -> RuleResult:
    risk, equity = None, finite(state.equity_usd)
    if entry is not None and equity is not None and equity > 0:
        at_stop = entry.qty * (entry.max_price - entry.stop_price)
        risk = float(at_stop / equity)
    return RuleResult(
        rule="risk_a_trade",
        is_passed=risk is not None and 0 <= risk <= limits.risk_frac,
        value=risk,
        limit=limits.risk_frac,
        unit="frac of equity",
    )


def _buying_power(_: Signal, state: DeskState, __: RiskLimits, entry: Sized | None) -> RuleResult:
    # The broker reserves working entries by itself; an unresolved one it may not know yet.
    power = finite(state.buying_power_usd)
    cost = None if entry is None else _cost_usd(entry)
    return RuleResult(
        rule="buying_power",
        is_passed=power is not None and cost is not None and cost <= power,
        value=None if cost is None else float(cost),
        limit=None if power is None else float(power),
        unit="USD",
    )


def _cash_only(_: Signal, state: DeskState, __: RiskLimits, entry: Sized | None) -> RuleResult:
    equity = finite(state.equity_usd)
    total = None if entry is None else _exposure_usd(state) + _cost_usd(entry)
    return RuleResult(
        rule="no_leverage",
        is_passed=equity is not None and total is not None and total <= equity,
        value=None if total is None else float(total),
        limit=None if equity is None else float(equity),
        unit="USD",
    )


def _exposure_usd(state: DeskState, sector: str | None = None) -> Decimal:
    """What is held has cost and what is wanted may cost, in one sector or in all."""
    costs = [(p.symbol, p.cost_usd) for p in state.positions] + list(state.entries.items())
    counted = (cost for symbol, cost in costs if sector in (None, state.sector(symbol)))
    return sum(counted, Decimal(0))


def _cost_usd(entry: Sized) -> Decimal:
    return entry.qty * entry.max_price


def _sector_cap(
    signal: Signal, state: DeskState, limits: RiskLimits, entry: Sized | None
) -> RuleResult:
    weight, equity, sector = None, finite(state.equity_usd), state.sector(signal.symbol)
    if entry is not None and equity is not None and equity > 0:
        weight = (_exposure_usd(state, sector) + _cost_usd(entry)) / equity
    limit = Decimal(repr(limits.max_sector_frac))
    return RuleResult(
        rule="sector_cap",
        is_passed=weight is not None and weight <= limit,
        value=None if weight is None else float(weight),
        limit=limits.max_sector_frac,
        unit="frac of equity",
        note=sector,
    )


def _price_sanity(
    signal: Signal, state: DeskState, limits: RiskLimits, _: Sized | None
) -> RuleResult:
    # An overnight split or a corrupt close leaves the signal's stop and ATR wrong too.
    quote, reference, move = state.quote, signal.reference_price, None
    if quote is not None and math.isfinite(reference) and reference > 0 and quote.ask > 0:
        move = abs(quote.ask / reference - 1)
    return RuleResult(
        rule="price_sanity",
        is_passed=move is not None and move <= limits.max_price_move_frac,
        value=move,
        limit=limits.max_price_move_frac,
        unit="frac",
    )


def _sound_history(signal: Signal, state: DeskState, _: RiskLimits, __: Sized | None) -> RuleResult:
    found = state.returns.get(signal.symbol, Unavailable("the daily history is not known"))
    reason = found.reason if isinstance(found, Unavailable) else None
    return RuleResult(
        rule="sound_history",
        is_passed=reason is None,
        value=None if isinstance(found, Unavailable) else len(found),
        limit=None,
        unit="daily returns",
        note=reason,
    )


def _pair(state: DeskState, first: str, second: str) -> Correlation | Unavailable:
    histories = []
    for symbol in (first, second):
        found = state.returns.get(symbol, Unavailable("the daily history is not known"))
        if isinstance(found, Unavailable):
            return Unavailable(f"{symbol}: {found.reason}")
        histories.append(found)
    return correlation(*histories)


def _correlation(
    signal: Signal, state: DeskState, limits: RiskLimits, _: Sized | None
) -> RuleResult:
    others = sorted(({p.symbol for p in state.positions} | set(state.entries)) - {signal.symbol})
    found = [(symbol, _pair(state, signal.symbol, symbol)) for symbol in others]
    known = [(symbol, pair) for symbol, pair in found if isinstance(pair, Correlation)]
    highest = max((pair.estimate for _, pair in known), default=None)
    is_low = highest is None or highest <= limits.max_correlation
    notes = [pair.reason for _, pair in found if isinstance(pair, Unavailable)]
    for symbol, pair in known:
        short = f", short: {pair.returns} of {SESSIONS} returns" if pair.is_short else ""
        notes.append(f"{symbol} {pair.estimate:.2f} (unshrunk {pair.sample:.2f}{short})")
    return RuleResult(
        rule="correlation",
        is_passed=len(known) == len(found) and is_low,
        value=highest,
        limit=limits.max_correlation,
        unit="correlation",
        note="; ".join(notes) or "nothing else is held",
    )


def _daily_loss(_: Signal, state: DeskState, limits: RiskLimits, __: Sized | None) -> RuleResult:
    loss = loss_usd(state.equity_usd, state.loss_base_usd)
    return RuleResult(
        rule="daily_loss",
        is_passed=is_loss_kept(loss, limits),
        value=None if loss is None else float(loss),
        limit=limits.max_daily_loss_usd,
        unit="USD",
    )


def _drawdown(_: Signal, state: DeskState, limits: RiskLimits, __: Sized | None) -> RuleResult:
    fall = drawdown_frac(state.equity_usd, state.high_usd)
    return RuleResult(
        rule="drawdown",
        is_passed=is_drawdown_kept(fall, limits),
        value=None if fall is None else float(fall),
        limit=limits.max_drawdown_frac,
        unit="frac of the 30-day high",
    )


def _rate(rule: str, state: DeskState, window: timedelta, limit: int) -> RuleResult:
    recent = state.recent_entries
    count = None if recent is None else sum(state.now - at < window for at in recent)
    return RuleResult(
        rule=rule,
        is_passed=count is not None and count < limit,
        value=count,
        limit=limit,
        unit="entries before this one",
    )


def _minute_rate(_: Signal, state: DeskState, limits: RiskLimits, __: Sized | None) -> RuleResult:
    return _rate("entries_a_minute", state, _MINUTE, limits.max_entries_a_minute)


def _hour_rate(_: Signal, state: DeskState, limits: RiskLimits, __: Sized | None) -> RuleResult:
    return _rate("entries_an_hour", state, _HOUR, limits.max_entries_an_hour)


CHAIN: Final[tuple[_Rule, ...]] = (
    _not_halted,
    _reconciled,
    _session_open,
    _fresh_quote,
    _tight_spread,
    _price_sanity,
    _sound_history,
    _one_a_symbol,
    _max_positions,
    _minute_rate,
    _hour_rate,
    _daily_loss,
    _drawdown,
    _correlation,
    _whole_share,
    _risk_a_trade,
    _sector_cap,
    _buying_power,
    _cash_only,
)
"""The rules in their order."""


def judge(signal: Signal, state: DeskState, limits: RiskLimits) -> RiskVerdict:
    """Run the whole chain over a signal.

    Returns
    -------
    RiskVerdict
        With `entry` set only if every rule passed.
    """
    sized = size(signal, state, limits)
    rules = tuple(rule(signal, state, limits, sized) for rule in CHAIN)
    is_passed = all(rule.is_passed for rule in rules)
    return RiskVerdict(rules=rules, sized=sized, entry=sized if is_passed else None)


def verdict_figures(verdict: RiskVerdict) -> dict[str, Figure]:
    """The chain's findings as figures of a decision: `rule`, `rule.limit`, `rule.passed`.

    Also `rule.note` where there is one, and what the size came from (`size.…`).
    A figure that is not a number is None: unknown.
    """
    figures: dict[str, Figure] = {}
    if verdict.sized is not None:
        figures["size.risk_frac"] = verdict.sized.risk_frac
        figures["size.confidence_scale"] = verdict.sized.confidence_scale
        figures["size.volatility_scale"] = verdict.sized.volatility_scale
    for result in verdict.rules:
        figures[result.rule] = known_figure(result.value)
        figures[f"{result.rule}.limit"] = known_figure(result.limit)
        figures[f"{result.rule}.passed"] = result.is_passed
        if result.note is not None:
            figures[f"{result.rule}.note"] = result.note
    return figures
