from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest

from greenlight.domain.gate import ReadinessPolicy
from greenlight.domain.gate_policy import (
    PolicyChange,
    policy_changes,
    policy_decision,
    policy_in_force,
    policy_of,
    strictest,
)
from greenlight.settings import SettingsError, load_settings
from greenlight.testing import FakeStore
from jobs.gate_policy import adopt_policy
from jobs.gate_policy import policy_in_force as stored_policy

SEEDS, STRICT = ReadinessPolicy(), policy_of({"alpha": 0.01, "min_days": 60})
NOW = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)


def changes(*rows: tuple[datetime, ReadinessPolicy]) -> list[PolicyChange]:
    return [PolicyChange(at=at, policy=policy) for at, policy in rows]


def test_policy_in_force_when_tightened_then_at_once() -> None:
    assert policy_in_force(STRICT, [], NOW) == STRICT
    assert policy_in_force(SEEDS, changes((NOW, STRICT)), NOW) == STRICT


@pytest.mark.parametrize(("days", "expected"), [(0, STRICT), (6.99, STRICT), (7, SEEDS)])
def test_policy_in_force_when_loosened_then_the_old_one_binds_for_a_week(
    days: float, expected: ReadinessPolicy
) -> None:
    rows = changes((NOW - 30 * DAY, STRICT), (NOW, SEEDS))
    assert policy_in_force(SEEDS, rows, NOW + days * DAY) == expected


def test_policy_in_force_when_loosened_and_tightened_again_then_the_strictest_of_each() -> None:
    rows = changes((NOW - 9 * DAY, STRICT), (NOW - DAY, SEEDS), (NOW, policy_of({"min_days": 45})))
    found = policy_in_force(SEEDS, rows, NOW)
    assert (found.alpha, found.min_days) == (0.01, 60)


def test_policy_in_force_when_the_clock_is_set_back_then_nothing_is_loosened() -> None:
    rows = changes((NOW, STRICT), (NOW + DAY, SEEDS))
    assert policy_in_force(SEEDS, rows, NOW - 100 * DAY) == STRICT


def test_strictest_when_each_is_stricter_somewhere_then_both_bind() -> None:
    found = strictest(policy_of({"alpha": 0.01}), policy_of({"min_sharpe_ann": 2.0}))
    assert (found.alpha, found.min_sharpe_ann) == (0.01, 2.0)


def test_policy_changes_when_read_from_their_rows_then_the_same() -> None:
    assert policy_changes([policy_decision("desk", STRICT, NOW)]) == changes((NOW, STRICT))


def test_adopt_policy_when_it_is_the_last_one_then_no_row() -> None:
    store = FakeStore()
    assert not adopt_policy(store, "desk", SEEDS, NOW)
    assert adopt_policy(store, "desk", STRICT, NOW)
    assert not adopt_policy(store, "desk", STRICT, NOW + DAY)
    assert adopt_policy(store, "desk", SEEDS, NOW + 2 * DAY)
    assert stored_policy(store, SEEDS, NOW + 8 * DAY) == STRICT
    assert stored_policy(store, SEEDS, NOW + 9 * DAY) == SEEDS


@pytest.mark.parametrize("field", [f.name for f in fields(ReadinessPolicy)])
def test_settings_when_a_threshold_is_loosened_by_the_environment_then_refused(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    floor = getattr(SEEDS, field)
    is_ceiling = field.startswith("max_") or field == "alpha"
    looser = floor + 1 if is_ceiling else floor - 1 if floor >= 1 else 0
    monkeypatch.setenv("GREENLIGHT_GATE", f'{{"{field}": {looser}}}')
    with pytest.raises(SettingsError, match="looser"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "match"),
    [("{", "not JSON"), ('{"sharpe": 1}', "no threshold"), ('{"min_days": 30.5}', "whole")],
)
def test_settings_when_the_thresholds_cannot_be_read_then_refused_in_a_line(
    text: str, match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENLIGHT_GATE", text)
    with pytest.raises(SettingsError, match=match):
        load_settings()


def test_settings_when_a_threshold_is_tightened_then_the_clocks_start_again() -> None:
    tight = load_settings(gate={"alpha": 0.01})
    assert tight.readiness_policy().alpha == 0.01
    assert tight.fingerprint() != load_settings().fingerprint()
