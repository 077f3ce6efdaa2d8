"""The chain by hand, and what no input may make it do."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain.audit import Decision, DecisionKind, Verdict, canonical
from greenlight.domain.market import Quote, Session, session_on
from greenlight.domain.positions import Position
from greenlight.domain.risk import DeskState, RiskLimits, judge, size, verdict_figures
from greenlight.domain.signals import Signal

NOW = datetime(2013, 10, 7, 14, 30, tzinfo=UTC)
LIMITS = RiskLimits()


def session() -> Session:
    found = session_on(NOW.date())
    assert found is not None
    return found


def signal(**changes: object) -> Signal:
    made = Signal(
        strategy="A",
        symbol="AAPL",
        at=NOW - timedelta(hours=20),
        confidence=5,
        reference_price=100.0,
        atr_usd=2.0,
        stop_frac=0.05,
        target_frac=0.05,
        hold_sessions=3,
        features={},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def quote(bid: float = 99.98, ask: float = 100.0, age_s: float = 1.0) -> Quote:
    at = NOW - timedelta(seconds=age_s)
    return Quote(symbol="AAPL", at=at, bid=bid, ask=ask, bid_size=100, ask_size=100)


def state(**changes: object) -> DeskState:
    made = DeskState(
        now=NOW,
        session=session(),
        quote=quote(),
        equity_usd=Decimal(100_000),
        buying_power_usd=Decimal(100_000),
        positions=(),
        entry_symbols=(),
        entry_usd=Decimal(0),
        halts=(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def position(symbol: str, cost: str = "1000") -> Position:
    return Position(
        position_id=symbol,
        symbol=symbol,
        strategy="A",
        qty=10,
        cost_usd=Decimal(cost),
        realized_usd=Decimal(0),
        stop_price=Decimal(95),
        target_price=Decimal(110),
        opened_at=NOW,
        exit_by=NOW,
    )


def test_size_when_weight_binds_then_by_hand() -> None:
    # Limit 100 + 5 bps = 100.05, stop 95, distance max(2 * 2, 5.05) = 5.05:
    # by risk 100000 * 0.02 / 5.05 = 396, by weight 20000 / 100.05 = 199.9.
    entry = size(signal(), state(), LIMITS)
    assert entry is not None
    assert (entry.qty, entry.limit_price) == (199, Decimal("100.05"))
    assert (entry.stop_price, entry.target_price) == (Decimal("95.00"), Decimal("105.00"))


@pytest.mark.parametrize(
    ("confidence", "qty"),
    # Distance 2 * 10 = 20: 2000 / 20 = 100 shares at full confidence.
    [(5, 100), (4, 87), (3, 75), (2, 62), (1, 50)],
)
def test_size_when_volatile_then_by_risk_and_confidence(confidence: int, qty: int) -> None:
    entry = size(signal(confidence=confidence, atr_usd=10.0), state(), LIMITS)
    assert entry is not None
    assert entry.qty == qty


@pytest.mark.parametrize(
    "changes",
    [
        {"quote": None},
        {"equity_usd": None},
        {"equity_usd": Decimal(0)},
        {"equity_usd": Decimal(-5)},
        {"equity_usd": Decimal("NaN")},
        {"equity_usd": Decimal("Infinity")},
        {"quote": quote(ask=math.nan)},
        {"quote": quote(ask=math.inf)},
        {"quote": quote(ask=0.0)},
    ],
)
def test_size_when_an_input_of_the_desk_is_missing_then_none(changes: dict[str, object]) -> None:
    assert size(signal(), state(**changes), LIMITS) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"atr_usd": math.nan},
        {"atr_usd": math.inf},
        {"atr_usd": -1.0},
        {"stop_frac": math.nan},
        {"stop_frac": 0.0},
        {"stop_frac": 1.0},
        {"target_frac": math.nan},
        {"target_frac": 0.0},
        {"confidence": 0},
        {"confidence": 6},
    ],
)
def test_size_when_an_input_of_the_signal_is_missing_then_none(changes: dict[str, object]) -> None:
    assert size(signal(**changes), state(), LIMITS) is None


def test_judge_when_all_is_well_then_every_rule_passes_with_figures() -> None:
    verdict = judge(signal(), state(), LIMITS)
    assert verdict.entry is not None
    assert verdict.failed == ()
    figures = verdict_figures(verdict)
    assert figures["risk_a_trade"] == pytest.approx(199 * 5.05 / 100_000)
    assert figures["risk_a_trade.limit"] == 0.02
    assert figures["buying_power"] == pytest.approx(199 * 100.05)
    assert figures["fresh_quote"] == 1.0
    assert all(figures[f"{rule.rule}.passed"] is True for rule in verdict.rules)


FIVE = tuple(position(s) for s in ("A", "B", "C", "D", "E"))


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"halts": ("daily loss",)}, "not_halted"),
        ({"session": None}, "session_open"),
        ({"quote": quote(age_s=90.1)}, "fresh_quote"),
        ({"quote": quote(age_s=-0.1)}, "fresh_quote"),
        ({"quote": quote(bid=97.9)}, "tight_spread"),
        ({"quote": quote(bid=100.1)}, "tight_spread"),
        ({"positions": (position("AAPL"),)}, "one_position_a_symbol"),
        ({"entry_symbols": ("AAPL",)}, "one_position_a_symbol"),
        ({"positions": FIVE}, "max_positions"),
        ({"positions": FIVE[:3], "entry_symbols": ("X", "Y")}, "max_positions"),
        ({"equity_usd": Decimal(400)}, "at_least_one_share"),
        ({"buying_power_usd": Decimal("19909.94")}, "buying_power"),
        ({"buying_power_usd": None}, "buying_power"),
        ({"buying_power_usd": Decimal("NaN")}, "buying_power"),
        ({"positions": (position("A", "80090.06"),)}, "no_leverage"),
        ({"entry_usd": Decimal("80090.06"), "entry_symbols": ("X",)}, "no_leverage"),
    ],
)
def test_judge_when_one_limit_is_broken_then_that_rule_alone_refuses(
    changes: dict[str, object], rule: str
) -> None:
    verdict = judge(signal(), state(**changes), LIMITS)
    assert verdict.entry is None
    assert [failed.rule for failed in verdict.failed] == [rule]


@pytest.mark.parametrize(
    "changes",
    [
        {"quote": quote(age_s=90)},
        {"quote": quote(age_s=0)},
        {"positions": FIVE[:4]},
        {"buying_power_usd": Decimal("19909.95")},
        {"positions": (position("A", "80090.05"),)},
    ],
)
def test_judge_when_a_limit_is_just_kept_then_taken(changes: dict[str, object]) -> None:
    assert judge(signal(), state(**changes), LIMITS).entry is not None


def test_judge_when_market_has_just_closed_then_refused() -> None:
    close = session().close
    at_close = replace(quote(), at=close)
    verdict = judge(signal(), state(now=close, quote=at_close), LIMITS)
    assert [r.rule for r in verdict.failed] == ["session_open"]


def test_judge_when_nothing_is_known_then_every_rule_that_needs_it_refuses() -> None:
    nothing = state(session=None, quote=None, equity_usd=None, buying_power_usd=None)
    assert {r.rule for r in judge(signal(), nothing, LIMITS).failed} == {
        "session_open",
        "fresh_quote",
        "tight_spread",
        "at_least_one_share",
        "risk_a_trade",
        "buying_power",
        "no_leverage",
    }


odd_floats = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.floats(0.0001, 10_000), st.just(0.0)
)
money = st.one_of(
    st.none(),
    st.decimals("0.01", "100000000", places=2),
    st.sampled_from([Decimal("NaN"), Decimal("Infinity"), Decimal(0), Decimal(-1)]),
)
signals = st.builds(
    signal,
    confidence=st.integers(-1, 7),
    atr_usd=odd_floats,
    stop_frac=st.one_of(odd_floats, st.floats(0.001, 0.5)),
    target_frac=st.one_of(odd_floats, st.floats(0.001, 0.5)),
)
quotes = st.one_of(st.none(), st.builds(quote, odd_floats, odd_floats, st.floats(-200, 200)))
good_quotes = st.floats(0.01, 10_000).flatmap(
    lambda ask: st.builds(quote, st.just(ask * 0.999), st.just(ask), st.floats(0, 90))
)
states = st.builds(
    state,
    quote=st.one_of(quotes, good_quotes),
    equity_usd=money,
    buying_power_usd=money,
    entry_usd=st.decimals("0", "100000000", places=2),
    positions=st.lists(st.sampled_from(FIVE), max_size=6).map(tuple),
)


@given(signals, states)
def test_judge_when_any_input_then_approved_risk_and_cost_keep_the_limits(
    wish: Signal, desk: DeskState
) -> None:
    verdict = judge(wish, desk, LIMITS)
    entry = verdict.entry
    if entry is None:
        assert verdict.failed
        return
    assert desk.equity_usd is not None
    assert desk.buying_power_usd is not None
    equity = Fraction(desk.equity_usd)
    cost = entry.qty * Fraction(entry.limit_price)
    at_risk = entry.qty * Fraction(entry.limit_price - entry.stop_price)
    assert entry.qty >= 1
    assert at_risk <= equity * Fraction("0.02")
    assert cost <= equity * Fraction("0.20")
    assert cost <= Fraction(desk.buying_power_usd)
    held = sum((Fraction(p.cost_usd) for p in desk.positions), Fraction(0))
    assert held + Fraction(desk.entry_usd) + cost <= equity
    assert entry.stop_price < entry.limit_price < entry.target_price


@given(
    st.floats(0.05, 5_000),
    st.decimals("1000", "10000000", places=2),
    st.integers(1, 5),
    st.floats(0, 500),
    st.floats(0.005, 0.2),
)
def test_size_when_prices_equity_and_confidence_vary_then_risk_scales_and_holds(
    ask: float, equity: Decimal, confidence: int, atr: float, stop: float
) -> None:
    wish = signal(confidence=confidence, atr_usd=atr, stop_frac=stop, target_frac=0.5)
    desk = state(quote=quote(ask * 0.999, ask), equity_usd=equity)
    entry = size(wish, desk, LIMITS)
    assert entry is not None
    share = {1: Fraction(4, 8), 2: Fraction(5, 8), 3: Fraction(6, 8), 4: Fraction(7, 8)}
    allowed = Fraction(equity) * Fraction("0.02") * share.get(confidence, Fraction(1))
    assert entry.qty * Fraction(entry.limit_price - entry.stop_price) <= allowed
    assert entry.qty * 2 * Fraction(repr(atr)) <= allowed * (1 + Fraction(1, 10**12))
    assert entry.qty * Fraction(entry.limit_price) <= Fraction(equity) / 5


unknowns = st.sampled_from(
    [
        ("state", "quote", None),
        ("state", "equity_usd", None),
        ("state", "equity_usd", Decimal("NaN")),
        ("state", "buying_power_usd", None),
        ("state", "buying_power_usd", Decimal("NaN")),
        ("state", "session", None),
        ("state", "quote", quote(bid=math.nan)),
        ("state", "quote", quote(ask=math.nan)),
        ("signal", "atr_usd", math.nan),
        ("signal", "stop_frac", math.nan),
        ("signal", "target_frac", math.nan),
    ]
)


@given(st.lists(unknowns, min_size=1, max_size=4))
def test_judge_when_any_input_is_missing_or_nan_then_refused_and_recordable(
    gaps: list[tuple[str, str, object]],
) -> None:
    wish, desk = signal(), state()
    for where, name, value in gaps:
        if where == "signal":
            wish = replace(wish, **{name: value})  # type: ignore[arg-type]
        else:
            desk = replace(desk, **{name: value})  # type: ignore[arg-type]
    verdict = judge(wish, desk, LIMITS)
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
