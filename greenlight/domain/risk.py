"""The risk chain: may this signal become an order, and of what size.

Before it stand the signals; after it the order gateway. Every rule is named,
has a limit with unit and source, and is evaluated even when an earlier one
refused, so that a refusal tells everything. Missing input refuses. Exits do
not come here: nothing refuses an exit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from greenlight.domain.audit import Figure
from greenlight.domain.market import Quote, Session
from greenlight.domain.orders import round_price
from greenlight.domain.positions import Position
from greenlight.domain.signals import Signal

CONFIDENCE_SCALE: Final = {1: 0.5, 2: 0.625, 3: 0.75, 4: 0.875, 5: 1.0}
"""Share of the full risk that each confidence may take."""
_MAX_PRICE_USD: Final = 1e7
"""No US share has traded above this; a higher price is corrupt."""
_MAX_TARGET_FRAC: Final = 10.0
"""A target further away than this is corrupt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskLimits:
    """Limits of the chain. Sources: the desk's seeds unless said otherwise.

    `risk_frac`: equity at risk a trade, at the stop, at most (2%).
    `atr_multiple`: distance in ATRs that sizing allows for at least (2).
    `max_positions`: positions and working entries together (5).
    `max_weight_frac`: cost of one position over equity, at most; one fifth, so
    that five positions fit into the cash.
    `max_quote_age_s`: older quotes decide nothing (90 s: one missed minute).
    `max_spread_frac`: wider quotes decide nothing (2%).
    `entry_slack_bps`: how far above the ask an entry's limit may lie (5).
    """

    risk_frac: float = 0.02
    atr_multiple: float = 2.0
    max_positions: int = 5
    max_weight_frac: float = 0.20
    max_quote_age_s: float = 90.0
    max_spread_frac: float = 0.02
    entry_slack_bps: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskState:
    """What the chain looks at besides the signal; None is "not known" and refuses.

    `entry_symbols` have an entry order that is not finished; `entry_usd` is
    what those may still cost.
    """

    now: datetime
    session: Session | None
    quote: Quote | None
    equity_usd: Decimal | None
    buying_power_usd: Decimal | None
    positions: Sequence[Position]
    entry_symbols: Sequence[str]
    entry_usd: Decimal
    halts: Sequence[str]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """An approved entry: whole shares, limit price, and the plan's prices."""

    qty: int
    limit_price: Decimal
    stop_price: Decimal
    target_price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskVerdict:
    """Every rule's result, and the sized entry where all passed."""

    rules: tuple[RuleResult, ...]
    entry: Sized | None

    @property
    def failed(self) -> tuple[RuleResult, ...]:
        """The rules that refused, in the chain's order."""
        return tuple(r for r in self.rules if not r.is_passed)


_Rule = Callable[[Signal, DeskState, RiskLimits, "Sized | None"], RuleResult]


def _finite(value: Decimal | None) -> Decimal | None:
    # Comparing a Decimal NaN raises; what is not a number is not known.
    return value if value is not None and value.is_finite() else None


def _not_halted(_: Signal, state: DeskState, __: RiskLimits, ___: Sized | None) -> RuleResult:
    reasons = "; ".join(state.halts)
    return RuleResult(
        rule="not_halted", is_passed=not reasons, value=reasons or None, limit=None, unit="reason"
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
    wanted = [s for s in state.entry_symbols if s == signal.symbol]
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
    symbols = {p.symbol for p in state.positions} | set(state.entry_symbols)
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
    risk, equity = None, _finite(state.equity_usd)
    if entry is not None and equity is not None and equity > 0:
        at_stop = entry.qty * (entry.limit_price - entry.stop_price)
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
    power = _finite(state.buying_power_usd)
    cost = None if entry is None else entry.qty * entry.limit_price
    return RuleResult(
        rule="buying_power",
        is_passed=power is not None and cost is not None and cost <= power,
        value=None if cost is None else float(cost),
        limit=None if power is None else float(power),
        unit="USD",
    )


def _cash_only(_: Signal, state: DeskState, __: RiskLimits, entry: Sized | None) -> RuleResult:
    equity = _finite(state.equity_usd)
    exposure = sum((p.cost_usd for p in state.positions), Decimal(0)) + state.entry_usd
    total = None if entry is None else exposure + entry.qty * entry.limit_price
    return RuleResult(
        rule="no_leverage",
        is_passed=equity is not None and total is not None and total <= equity,
        value=None if total is None else float(total),
        limit=None if equity is None else float(equity),
        unit="USD",
    )


CHAIN: Final[tuple[_Rule, ...]] = (
    _not_halted,
    _session_open,
    _fresh_quote,
    _tight_spread,
    _one_a_symbol,
    _max_positions,
    _whole_share,
    _risk_a_trade,
    _buying_power,
    _cash_only,
)
"""The rules in their order."""


def size(signal: Signal, state: DeskState, limits: RiskLimits) -> Sized | None:
    """Whole shares and prices for a signal, or None where an input is missing.

    Notes
    -----
    ``qty = floor(equity * risk_frac * scale / max(atr_multiple * ATR, entry - stop))``,
    and not more than `max_weight_frac` of equity buys. Everything rounds down.
    The stop is rounded up and so never lies further away than asked.
    """
    quote, equity = state.quote, _finite(state.equity_usd)
    inputs = (signal.atr_usd, signal.stop_frac, signal.target_frac)
    if quote is None or equity is None or equity <= 0 or not all(map(math.isfinite, inputs)):
        return None
    if not (0 < quote.ask <= _MAX_PRICE_USD and 0 < signal.stop_frac < 1):
        return None
    if not 0 < signal.target_frac <= _MAX_TARGET_FRAC:
        return None
    if signal.atr_usd < 0 or signal.confidence not in CONFIDENCE_SCALE:
        return None
    limit_price = round_price(quote.ask * (1 + limits.entry_slack_bps / 1e4), up=True)
    stop_price = round_price(quote.ask * (1 - signal.stop_frac), up=True)
    target_price = round_price(quote.ask * (1 + signal.target_frac))
    distance = max(Decimal(repr(limits.atr_multiple * signal.atr_usd)), limit_price - stop_price)
    if distance <= 0 or target_price <= limit_price:
        return None
    scale = Decimal(repr(CONFIDENCE_SCALE[signal.confidence]))
    by_risk = equity * Decimal(repr(limits.risk_frac)) * scale / distance
    by_weight = equity * Decimal(repr(limits.max_weight_frac)) / limit_price
    return Sized(
        qty=int(min(by_risk, by_weight)),
        limit_price=limit_price,
        stop_price=stop_price,
        target_price=target_price,
    )


def judge(signal: Signal, state: DeskState, limits: RiskLimits) -> RiskVerdict:
    """Run the whole chain over a signal.

    Returns
    -------
    RiskVerdict
        With `entry` set only if every rule passed.
    """
    entry = size(signal, state, limits)
    rules = tuple(rule(signal, state, limits, entry) for rule in CHAIN)
    return RiskVerdict(rules=rules, entry=entry if all(r.is_passed for r in rules) else None)


def verdict_figures(verdict: RiskVerdict) -> dict[str, Figure]:
    """The chain's findings as figures of a decision: `rule`, `rule.limit`, `rule.passed`.

    A figure that is not a number is None: unknown.
    """
    figures: dict[str, Figure] = {}
    for result in verdict.rules:
        figures[result.rule] = known_figure(result.value)
        figures[f"{result.rule}.limit"] = known_figure(result.limit)
        figures[f"{result.rule}.passed"] = result.is_passed
    return figures


def known_figure(value: Figure) -> Figure:
    """The figure, or None for NaN and infinity, which a decision's row cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
