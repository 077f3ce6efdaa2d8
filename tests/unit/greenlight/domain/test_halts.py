"""When equity stops the trading: boundaries by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.halts import (
    EquityAt,
    EquityBase,
    Transfer,
    drawdown_frac,
    due_halts,
    equity_base,
    halt_kind,
    loss_usd,
)
from tests.risk_cases import NOW, session

LIMITS = RiskLimits()


def at(days: float, equity: str) -> EquityAt:
    return EquityAt(at=NOW + timedelta(days=days), equity_usd=Decimal(equity))


def base(loss: str | None = "100000", high: str | None = "100000") -> EquityBase:
    return EquityBase(
        loss_base_usd=None if loss is None else Decimal(loss),
        high_usd=None if high is None else Decimal(high),
    )


@pytest.mark.parametrize(
    ("equity", "kinds"),
    [
        ("99500.01", []),
        ("99500.00", ["daily_loss"]),
        ("90000.01", ["daily_loss"]),
        ("90000.00", ["daily_loss", "drawdown"]),
        ("120000", []),
        ("NaN", []),
    ],
)
def test_due_when_equity_falls_then_at_500_dollars_and_at_a_tenth(
    equity: str, kinds: list[str]
) -> None:
    due = due_halts(Decimal(equity), base(), LIMITS, NOW)
    assert [halt.kind for halt in due] == kinds
    assert [halt_kind(halt.reason) for halt in due] == kinds
    for halt in due:
        expected = NOW + timedelta(hours=24) if halt.kind == "daily_loss" else None
        assert halt.until == expected


def test_due_when_nothing_is_known_then_nothing_is_made_up() -> None:
    assert due_halts(Decimal(1), base(None, None), LIMITS, NOW) == ()


def test_base_when_closes_are_known_then_last_close_and_their_high() -> None:
    closes = [at(-20, "101000"), at(-4, "103000"), at(-3, "102000")]
    found = equity_base(closes, session().open, loss_lift=None, drawdown_lift=None)
    assert found == base("102000", "103000")


def test_base_when_there_is_no_close_then_not_known() -> None:
    found = equity_base([], session().open, loss_lift=None, drawdown_lift=None)
    assert found == base(None, None)


def test_base_when_a_person_lifted_the_halts_then_counted_anew_from_there() -> None:
    closes = [at(-20, "110000"), at(-3, "99000")]
    lift = at(-0.01, "98000")
    found = equity_base(closes, session().open, loss_lift=lift, drawdown_lift=lift)
    assert found == base("98000", "98000")
    earlier = at(-5, "98500")
    found = equity_base(closes, session().open, loss_lift=earlier, drawdown_lift=earlier)
    # Yesterday's lift says nothing of today's loss; the high is the best since.
    assert found == base("99000", "99000")


# -- what the owner moves


def moved(usd: str, before: str | None) -> Transfer:
    return Transfer(usd=Decimal(usd), before_usd=None if before is None else Decimal(before))


def test_base_when_half_was_withdrawn_then_the_loss_in_dollars_and_the_fall_stay() -> None:
    high = replace(at(-20, "110000"), later=(moved("-50000", "99000"),))
    close = replace(at(-3, "99400"), later=(moved("-50000", "99000"),))
    found = equity_base([high, close], session().open, loss_lift=None, drawdown_lift=None)
    # 99,000 less 50,000: 400 lost today, a tenth below the high, before and after.
    assert found.loss_base_usd == Decimal("49400")
    assert loss_usd(Decimal(49_000), found.loss_base_usd) == 400
    assert found.high_usd == Decimal(110_000) * 49_000 / 99_000
    assert drawdown_frac(Decimal(49_000), found.high_usd) == pytest.approx(Decimal("0.1"))


def test_base_when_the_lift_was_before_a_transfer_then_it_moves_too() -> None:
    lift = replace(at(-0.01, "98000"), later=(moved("2000", "98000"),))
    found = equity_base([at(-3, "99000")], session().open, loss_lift=lift, drawdown_lift=lift)
    assert found == base("100000", "100000")


def test_base_when_equity_before_a_transfer_is_not_known_then_taken_from_the_mark() -> None:
    mark = replace(at(-3, "100000"), later=(moved("100000", None), moved("-50000", None)))
    found = equity_base([mark], session().open, loss_lift=None, drawdown_lift=None)
    assert found == base("150000", "150000")


@pytest.mark.parametrize("usd", ["-100000", "-100001"])
def test_base_when_everything_was_withdrawn_then_the_high_is_not_known(usd: str) -> None:
    mark = replace(at(-3, "100000"), later=(moved(usd, "100000"),))
    found = equity_base([mark], session().open, loss_lift=None, drawdown_lift=None)
    assert found.high_usd is None


usd = st.decimals("1000", "10000000", places=2)


@given(usd, usd, usd, st.lists(st.floats(-0.9, 20), min_size=1, max_size=4))
def test_base_when_money_moves_at_any_time_then_no_loss_and_no_fall_changes(
    high: Decimal, close: Decimal, equity: Decimal, shares: list[float]
) -> None:
    later: list[Transfer] = []
    present = equity
    for share in shares:
        amount = (present * Decimal(repr(share))).quantize(Decimal("0.01"))
        later.append(Transfer(usd=amount, before_usd=present))
        present += amount
    marks = [at(-20, str(high)), at(-3, str(close))]
    before = equity_base(marks, session().open, loss_lift=None, drawdown_lift=None)
    after = equity_base(
        [replace(mark, later=tuple(later)) for mark in marks],
        session().open,
        loss_lift=None,
        drawdown_lift=None,
    )
    assert loss_usd(present, after.loss_base_usd) == loss_usd(equity, before.loss_base_usd)
    one, other = drawdown_frac(equity, before.high_usd), drawdown_frac(present, after.high_usd)
    assert one is not None
    assert other is not None
    assert abs(one - other) < Decimal("1e-18")
