"""A signal that cannot be meant is found before it becomes an order."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from greenlight.domain.market import Bar
from greenlight.domain.signals import Signal, signal_fault

AT = datetime(2013, 10, 7, 14, 31, tzinfo=UTC)
BAR = Bar(
    symbol="AAPL",
    start=AT - timedelta(minutes=1),
    end=AT,
    open=100.0,
    high=101.0,
    low=99.0,
    close=100.0,
    volume=100,
)
GOOD = Signal(
    strategy="mine",
    symbol="AAPL",
    at=AT,
    confidence=3,
    reference_price=100.0,
    atr_usd=1.0,
    stop_frac=0.05,
    target_frac=0.1,
    hold_sessions=0,
    features={},
)


def test_fault_when_signal_is_whole_then_none() -> None:
    assert signal_fault(GOOD, "mine", BAR) is None


@pytest.mark.parametrize(
    "change",
    [
        {"confidence": math.nan},
        {"confidence": 0},
        {"confidence": 6},
        {"confidence": 2.5},
        {"confidence": True},
        {"reference_price": math.nan},
        {"reference_price": -1.0},
        {"atr_usd": math.nan},
        {"atr_usd": -0.1},
        {"stop_frac": math.inf},
        {"stop_frac": 0.0},
        {"stop_frac": 0.0501},
        {"target_frac": math.nan},
        {"target_frac": 0.0},
        {"hold_sessions": -1},
        {"hold_sessions": math.nan},
        {"symbol": "IBM"},
        {"strategy": "theirs"},
        {"at": AT + timedelta(minutes=1)},
    ],
)
def test_fault_when_a_field_is_wrong_then_said(change: dict[str, object]) -> None:
    assert signal_fault(replace(GOOD, **change), "mine", BAR)  # type: ignore[arg-type]
