"""When equity stops the trading: boundaries by hand."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.halts import (
    EquityAt,
    EquityBase,
    due_halts,
    equity_base,
    halt_kind,
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
