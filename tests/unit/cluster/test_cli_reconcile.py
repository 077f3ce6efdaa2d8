from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.cli import app
from cluster.cli_reconcile import as_row, compare, connect
from cluster.processes import StartError
from greenlight.domain.orders import Side, covered_qty
from greenlight.domain.reconcile import BookFill, Correction, Flag
from greenlight.settings import Settings
from greenlight.testing_broker import FakeMarketData
from tests.actor_cases import DESK, Surroundings, later


def compared(
    around: Surroundings, *, may_correct: bool
) -> tuple[tuple[Correction, ...], tuple[Correction, ...]]:
    return compare(
        store=around.store,
        broker=around.broker,
        market_data=FakeMarketData(),
        notifier=around.notifier,
        desk=DESK,
        now=later(60),
        may_correct=may_correct,
    )


def missed_fill() -> Surroundings:
    around = Surroundings()
    around.broker.fill(around.enter(filled=0), 10, "100.00")
    return around


def test_compare_when_nothing_may_be_changed_then_shown_and_left() -> None:
    around = missed_fill()
    found, left = compared(around, may_correct=False)
    assert found == left
    assert isinstance(found[0], BookFill)
    assert around.store.open_positions() == []


def test_compare_when_no_desk_runs_then_corrected_and_protected() -> None:
    around = missed_fill()
    found, left = compared(around, may_correct=True)
    assert found
    assert left == ()
    assert covered_qty(around.broker.live("AAPL", Side.SELL)) == 10
    assert compared(around, may_correct=True) == ((), ())


def test_compare_when_a_fee_was_charged_then_booked() -> None:
    around = Surroundings()
    around.broker.move_cash("FEE", "-0.01")
    found, left = compared(around, may_correct=True)
    assert [c.figures["what"] for c in found] == ["cash"]
    assert left == ()
    assert around.store.cash() == around.broker.account().cash


def test_compare_when_a_person_must_look_then_left() -> None:
    around = Surroundings()
    around.enter()
    around.broker.hold("AAPL", 4, "100.00")
    _, left = compared(around, may_correct=True)
    assert [c.symbol for c in left if isinstance(c, Flag)] == ["AAPL"]


def test_as_row_when_printed_then_json_with_figures_and_reason() -> None:
    found, _ = compared(missed_fill(), may_correct=False)
    row = json.loads(json.dumps(as_row(found[0], is_corrected=False)))
    assert (row["correction"], row["reason"]) == ("book fill", "a fill was missed")
    assert row["figures"]["qty"] == 10


def test_connect_when_there_is_no_broker_then_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no broker to ask"):
        connect(Settings(home=tmp_path, _env_file=None), None)  # type: ignore[call-arg]


def test_reconcile_when_no_desk_was_ever_started_then_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENLIGHT_HOME", str(tmp_path))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    result = CliRunner().invoke(app, ["reconcile", "--dry-run"])
    assert isinstance(result.exception, StartError)
