"""What no sequence of prices, fills and settings may make the chain do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlight.domain.audit import Decision, DecisionKind, Verdict, canonical
from greenlight.domain.desk_state import MAX_RISK_FRAC, RiskLimits
from greenlight.domain.execution import EntryPolicy, Reprice, WorkingEntry, work_entry
from greenlight.domain.market import Quote, Unavailable
from greenlight.domain.risk import judge, verdict_figures
from greenlight.domain.sizing import CONFIDENCE_SCALE, Sized, size
from tests.risk_cases import NOW, position, quote, returns, signal, state

SYMBOLS = ("AAPL", "A", "B", "C", "D", "E", "X", "Y")
SECTORS = {"AAPL": "one", "A": "one", "B": "one", "C": "two", "D": "two"}

odd_floats = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.floats(0.0001, 10_000), st.just(0.0)
)
money = st.one_of(
    st.none(),
    st.decimals("0.01", "100000000", places=2),
    st.sampled_from([Decimal("NaN"), Decimal("Infinity"), Decimal(0), Decimal(-1)]),
)
volatilities = st.one_of(st.just(Unavailable("none")), odd_floats)
signals = st.one_of(
    st.builds(signal, confidence=st.integers(1, 5), atr_usd=st.floats(0, 10)),
    st.builds(
        signal,
        confidence=st.integers(-1, 7),
        atr_usd=odd_floats,
        reference_price=odd_floats,
        stop_frac=st.one_of(odd_floats, st.floats(0.001, 0.5)),
        target_frac=st.one_of(odd_floats, st.floats(0.001, 0.5)),
    ),
)
quotes = st.one_of(st.none(), st.builds(quote, odd_floats, odd_floats, st.floats(-200, 200)))
good_quotes = st.one_of(st.floats(0.01, 10_000), st.floats(85, 115)).flatmap(
    lambda ask: st.builds(quote, st.just(ask * 0.999), st.just(ask), st.floats(0, 90))
)
held = st.lists(st.sampled_from(SYMBOLS[1:6]).map(position), max_size=6).map(tuple)
limits_of_any_kind = st.builds(
    RiskLimits,
    risk_frac=st.floats(1e-6, MAX_RISK_FRAC),
    base_risk_frac=st.floats(1e-6, 1),
    winners_to_raise=st.integers(1, 20),
    atr_multiple=st.floats(0.01, 10),
    max_positions=st.integers(1, 5),
    max_weight_frac=st.floats(0.001, 1),
    max_sector_frac=st.floats(0.001, 1),
    max_price_move_frac=st.floats(0.01, 0.2),
    entry_slack_bps=st.floats(0.1, 50),
    entry_chase_bps=st.floats(0.1, 100),
)
# Room for every other rule to be the one that binds.
sequence_limits = st.builds(
    RiskLimits,
    risk_frac=st.floats(0.001, MAX_RISK_FRAC),
    max_positions=st.integers(1, 5),
    max_weight_frac=st.floats(0.01, 1),
    max_sector_frac=st.floats(0.05, 1),
    entry_chase_bps=st.floats(0.1, 200),
)
rich = st.just(Decimal(100_000))
states = st.builds(
    state,
    quote=st.one_of(quotes, good_quotes),
    equity_usd=st.one_of(rich, money),
    buying_power_usd=st.one_of(rich, money),
    loss_base_usd=st.one_of(rich, money),
    high_usd=st.one_of(rich, money),
    entries=st.dictionaries(
        st.sampled_from(SYMBOLS[1:]), st.decimals("0", "100000", places=2), max_size=2
    ),
    positions=held,
    winners_in_a_row=st.integers(0, 20),
    forecast_vol_ann=volatilities,
    recent_vol_ann=volatilities,
)


@given(signals, states, limits_of_any_kind)
def test_judge_when_any_input_then_approved_risk_and_cost_keep_the_limits(
    wish: Any, desk: Any, limits: RiskLimits
) -> None:
    verdict = judge(wish, desk, limits)
    entry = verdict.entry
    if entry is None:
        assert verdict.failed
        return
    assert desk.equity_usd is not None
    assert desk.buying_power_usd is not None
    cost = entry.qty * Fraction(entry.max_price)
    assert_kept(entry, Fraction(desk.equity_usd), limits)
    assert cost <= Fraction(desk.buying_power_usd)
    exposure = sum((Fraction(p.cost_usd) for p in desk.positions), Fraction(0))
    exposure += sum(map(Fraction, desk.entries.values()))
    assert exposure + cost <= Fraction(desk.equity_usd)


def assert_kept(entry: Sized, equity: Fraction, limits: RiskLimits) -> None:
    # At the highest price that it can fill at, and so at every other.
    at_risk = entry.qty * Fraction(entry.max_price - entry.stop_price)
    assert entry.qty >= 1
    assert at_risk <= equity * Fraction(repr(limits.risk_frac)) <= equity * Fraction("0.02")
    assert entry.qty * Fraction(entry.max_price) <= equity * Fraction(repr(limits.max_weight_frac))
    assert entry.stop_price < entry.limit_price <= entry.max_price < entry.target_price
    highest = Fraction(entry.limit_price) * (1 + Fraction(repr(limits.entry_chase_bps)) / 10_000)
    assert Fraction(entry.max_price) <= highest


@given(
    st.floats(0.05, 5_000),
    st.decimals("1000", "10000000", places=2),
    st.integers(1, 5),
    st.floats(0, 500),
    st.floats(0.005, 0.2),
    volatilities,
    volatilities,
    st.integers(0, 20),
    limits_of_any_kind,
)
def test_size_when_anything_varies_then_never_above_two_per_cent_by_stop_and_by_atr(
    ask: float,
    equity: Decimal,
    confidence: int,
    atr: float,
    stop: float,
    forecast: Any,
    recent: Any,
    winners: int,
    limits: RiskLimits,
) -> None:
    wish = signal(confidence=confidence, atr_usd=atr, stop_frac=stop, target_frac=0.5)
    desk = state(
        quote=quote(ask * 0.999, ask),
        equity_usd=equity,
        forecast_vol_ann=forecast,
        recent_vol_ann=recent,
        winners_in_a_row=winners,
    )
    entry = size(wish, desk, limits)
    assert entry is not None
    allowed = (
        Fraction(equity) * Fraction(repr(limits.risk_frac)) * Fraction(CONFIDENCE_SCALE[confidence])
    )
    assert allowed <= Fraction(equity) * Fraction("0.02")
    slack = 1 + Fraction(1, 10**12)
    assert entry.qty * Fraction(entry.max_price - entry.stop_price) <= allowed
    assert entry.qty * Fraction(limits.atr_multiple) * Fraction(atr) <= allowed * slack
    assert 0 <= entry.volatility_scale <= 1


# -- sequences


@dataclass(slots=True)
class Wanted:
    """An entry that rests: what is left, at which limit now, and what it may risk in all."""

    entry: Sized
    left: int
    limit: Decimal
    may_risk: Fraction
    reprices: int = 0
    risked: Fraction = Fraction(0)

    @property
    def cost(self) -> Decimal:
        return self.left * self.entry.max_price


@dataclass(slots=True)
class Book:
    """A desk that takes every approved entry and follows it: fills, exits, prices, money."""

    cash: Decimal
    prices: dict[str, float]
    lots: dict[str, tuple[int, Decimal]] = field(default_factory=dict)
    wanted: dict[str, Wanted] = field(default_factory=dict)

    def equity(self) -> Decimal:
        worth = (qty * Decimal(repr(self.prices[s])) for s, (qty, _) in self.lots.items())
        return self.cash + sum(worth, Decimal(0))

    def fill(self, symbol: str, share: float, *, is_last: bool) -> None:
        """Fill a share of what is left at the limit, the worst price there is."""
        wish = self.wanted.get(symbol)
        if wish is None:
            return
        filled = int(wish.left * share)
        wish.left -= filled
        if is_last or not wish.left:
            del self.wanted[symbol]
        if filled:
            self.cash -= filled * wish.limit
            qty, cost = self.lots.get(symbol, (0, Decimal(0)))
            self.lots[symbol] = (qty + filled, cost + filled * wish.limit)
            wish.risked += filled * Fraction(wish.limit - wish.entry.stop_price)
            assert wish.risked <= wish.may_risk
        assert self.cash >= sum((w.cost for w in self.wanted.values()), Decimal(0))

    def chase(self, symbol: str, move: float, limits: RiskLimits, policy: EntryPolicy) -> None:
        """The ask moves, and the entry is worked as the gate works it."""
        wish = self.wanted.get(symbol)
        ask = self.prices[symbol] = round(self.prices[symbol] * move, 2)
        if wish is None:
            return
        resting = WorkingEntry(
            first_at=NOW,
            last_at=NOW,
            reprices=wish.reprices,
            limit_price=wish.limit,
            max_price=wish.entry.max_price,
        )
        at = NOW + timedelta(seconds=policy.reprice_after_s)
        seen = replace(quote(ask * 0.9999, ask), at=at)
        step = work_entry(resting, seen, policy, limits, at)
        if isinstance(step, Reprice):
            wish.limit, wish.reprices = step.limit_price, wish.reprices + 1
            assert wish.reprices <= policy.reprices

    def leave(self, symbol: str) -> None:
        if symbol in self.lots and symbol not in self.wanted:
            qty, _ = self.lots.pop(symbol)
            self.cash += qty * Decimal(repr(self.prices[symbol]))


symbols = st.sampled_from(SYMBOLS)
moves = st.one_of(
    st.tuples(st.just("price"), symbols, st.floats(0.3, 3.0)),
    st.tuples(st.just("leave"), symbols, st.just(0.0)),
    st.tuples(st.just("chase"), symbols, st.floats(0.998, 1.01)),
    st.tuples(st.just("fill"), symbols, st.sampled_from([0.3, 1.0])),
    # A signal whose price runs away, is followed, and fills at last.
    st.tuples(st.just("rush"), symbols, st.floats(1.0, 1.005)),
    # A signal and, where it becomes an entry, how much of it fills; -1: it rests.
    st.tuples(st.just("signal"), symbols, st.sampled_from([-1.0, -1.0, 0.0, 0.4, 1.0])),
    st.tuples(st.just("signal"), symbols, st.just(1.0)),
)


@settings(deadline=None)
@given(
    st.lists(moves, min_size=10, max_size=40),
    st.integers(1, 5),
    st.floats(0.0, 0.1),
    sequence_limits,
    st.decimals("10000", "1000000", places=2),
    st.integers(0, 5),
)
def test_judge_when_prices_and_fills_come_in_any_order_then_exposure_keeps_its_limits(
    steps: list[tuple[str, str, float]],
    confidence: int,
    atr_frac: float,
    limits: RiskLimits,
    cash: Decimal,
    reprices: int,
) -> None:
    policy = EntryPolicy(timeout_s=300, reprices=reprices, reprice_after_s=100)
    book = Book(cash=cash, prices=dict.fromkeys(SYMBOLS, 100.0))
    for act, symbol, amount in steps:
        if act == "price":
            book.prices[symbol] = min(max(round(book.prices[symbol] * amount, 2), 0.5), 1e6)
        elif act == "leave":
            book.leave(symbol)
        elif act == "chase":
            book.chase(symbol, amount, limits, policy)
        elif act == "rush":
            take(book, symbol, atr_frac, confidence, limits)
            for share in (0.3, 1.0):
                book.chase(symbol, amount, limits, policy)
                book.fill(symbol, share, is_last=False)
        elif act == "fill":
            book.fill(symbol, amount, is_last=False)
        else:
            take(book, symbol, atr_frac, confidence, limits)
            if amount >= 0:
                book.fill(symbol, amount, is_last=True)


def take(book: Book, symbol: str, atr_frac: float, confidence: int, limits: RiskLimits) -> None:
    ask, equity = book.prices[symbol], book.equity()
    costs = {s: wish.cost for s, wish in book.wanted.items()}
    desk = state(
        quote=replace(quote(ask, ask), symbol=symbol),
        equity_usd=equity,
        buying_power_usd=book.cash - sum(costs.values(), Decimal(0)),
        loss_base_usd=equity,
        high_usd=equity,
        positions=tuple(
            replace(position(s), qty=qty, cost_usd=cost) for s, (qty, cost) in book.lots.items()
        ),
        entries=costs,
        sectors=SECTORS,
    )
    wish = signal(symbol=symbol, reference_price=ask, atr_usd=ask * atr_frac, confidence=confidence)
    entry = judge(wish, desk, limits).entry
    if entry is None:
        return
    assert_kept(entry, Fraction(equity), limits)
    may_risk = Fraction(equity) * Fraction(repr(limits.risk_frac))
    book.wanted[symbol] = Wanted(
        entry=entry, left=entry.qty, limit=entry.limit_price, may_risk=may_risk
    )
    spent = {s: Fraction(cost) for s, (_, cost) in book.lots.items()}
    for s, wanted in book.wanted.items():
        spent[s] = spent.get(s, Fraction(0)) + Fraction(wanted.cost)
    assert len(spent) <= limits.max_positions <= 5
    assert sum(spent.values()) <= Fraction(equity)
    sector = SECTORS.get(symbol, "unknown")
    of_sector = sum(cost for s, cost in spent.items() if SECTORS.get(s, "unknown") == sector)
    assert of_sector <= Fraction(equity) * Fraction(repr(limits.max_sector_frac))
    assert book.cash >= sum((wanted.cost for wanted in book.wanted.values()), Decimal(0))


# -- missing input

GAPS: list[tuple[str, str, object]] = [
    ("state", "quote", None),
    ("state", "session", None),
    ("state", "equity_usd", None),
    ("state", "equity_usd", Decimal("NaN")),
    ("state", "buying_power_usd", None),
    ("state", "buying_power_usd", Decimal("NaN")),
    ("state", "loss_base_usd", None),
    ("state", "loss_base_usd", Decimal("NaN")),
    ("state", "high_usd", None),
    ("state", "high_usd", Decimal("Infinity")),
    ("state", "recent_entries", None),
    ("state", "returns", {}),
    ("state", "returns", {"AAPL": returns("AAPL")}),
    ("state", "returns", {"AAPL": returns("AAPL"), "A": Unavailable("gap")}),
    ("state", "returns", {"AAPL": Unavailable("gap"), "A": returns("A")}),
    ("state", "returns", {"AAPL": {}, "A": returns("A")}),
    ("state", "quote", quote(bid=math.nan)),
    ("state", "quote", quote(ask=math.nan)),
    ("signal", "atr_usd", math.nan),
    ("signal", "stop_frac", math.nan),
    ("signal", "target_frac", math.nan),
    ("signal", "reference_price", math.nan),
    ("signal", "confidence", 0),
]


def test_judge_when_only_the_volatility_is_missing_then_taken() -> None:
    none = Unavailable("none")
    desk = state(positions=(position("A"),), forecast_vol_ann=none, recent_vol_ann=none)
    assert judge(signal(), desk, RiskLimits()).entry is not None


@pytest.mark.parametrize("gap", GAPS)
def test_judge_when_one_input_is_missing_then_refused(gap: tuple[str, str, object]) -> None:
    assert_refused([gap])


@settings(deadline=None)
@given(st.lists(st.sampled_from(GAPS), min_size=1, max_size=5))
def test_judge_when_any_inputs_are_missing_then_refused_and_recordable(
    gaps: list[tuple[str, str, object]],
) -> None:
    assert_refused(gaps)


def assert_refused(gaps: list[tuple[str, str, object]]) -> None:
    wish, desk = signal(), state(positions=(position("A"),))
    for where, name, value in gaps:
        change: Mapping[str, Any] = {name: value}
        if where == "signal":
            wish = replace(wish, **change)
        else:
            desk = replace(desk, **change)
    verdict = judge(wish, desk, RiskLimits())
    assert verdict.entry is None
    row = Decision(
        decision_id="d",
        at=NOW,
        kind=DecisionKind.ENTRY,
        verdict=Verdict.REFUSED,
        symbol="AAPL",
        strategy="A",
        reason="",
        figures=verdict_figures(verdict),
    )
    assert '"refused"' in canonical(row)


def test_judge_when_quote_is_stale_by_a_hair_then_refused() -> None:
    stale = Quote(
        symbol="AAPL",
        at=NOW - timedelta(seconds=90, microseconds=1),
        bid=99.98,
        ask=100.0,
        bid_size=1,
        ask_size=1,
    )
    verdict = judge(signal(), state(quote=stale), RiskLimits())
    assert [rule.rule for rule in verdict.failed] == ["fresh_quote"]
