"""Every fault has a test, and the table says what the run found."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fault_rows import NAMES, ROWS
from tests.fault_table import FaultTable, Recovery

TESTS = Path(__file__).resolve().parents[1]


def marked() -> set[str]:
    """The rows that tests of this project name."""
    found = set()
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
                first = node.args[0]
                assert isinstance(first, ast.Constant), f"{path.name}: name the row itself"
                found.add(first.value)
    return found


def test_rows_when_tests_are_looked_through_then_each_has_one_or_is_owed() -> None:
    assert len(NAMES) == len(ROWS)
    found = marked()
    assert found <= NAMES
    missing = {row.name for row in ROWS if row.owed is None} - found
    assert not missing


def report(row: str, test: str, *, outcome: str = "passed", took_s: float | None = None) -> Any:
    properties: list[tuple[str, object]] = [("fault_rows", [row]), ("fault_bound_s", 5)]
    if took_s is not None:
        properties.append(("fault_recovery_s", took_s))
    return SimpleNamespace(
        user_properties=properties, nodeid=test, outcome=outcome, when="teardown"
    )


def table() -> FaultTable:
    made = FaultTable(ROWS[:3], Path())
    made.collected = {row.name for row in ROWS[:3] if row.owed is None}
    return made


def test_lines_when_only_some_ran_then_those_alone_with_the_slowest_recovery() -> None:
    made = table()
    for test, took_s in (("a", 0.5), ("b", 2.25)):
        made.pytest_runtest_logreport(report(ROWS[1].name, test, took_s=took_s))
    _, _, *rows = made.lines()
    cells = [cell.strip() for cell in rows[0].strip("|").split("|")]
    assert cells == [ROWS[1].name, ROWS[1].behaviour, "2", "5", "2.25", "passed"]
    assert len(rows) == 1


def test_lines_when_a_test_fails_then_its_row_has_failed() -> None:
    made = table()
    made.pytest_runtest_logreport(report(ROWS[0].name, "a"))
    made.pytest_runtest_logreport(report(ROWS[0].name, "b", outcome="failed"))
    assert made.found[ROWS[0].name].state == "failed"


def test_lines_when_all_that_exist_have_run_then_missing_rows_are_shown() -> None:
    owed = next(row for row in ROWS if row.owed is not None)
    made = FaultTable((ROWS[0], owed), Path())
    made.collected = {ROWS[0].name}
    made.pytest_runtest_logreport(report(ROWS[0].name, "a"))
    assert f"MISSING (owed by {owed.owed})" in made.lines()[-1]
    made.is_part = True
    assert len(made.lines()) == 3


def test_done_when_it_took_longer_than_allowed_then_fails() -> None:
    seconds = iter([10.0, 12.0, 20.0, 26.0])
    recovery = Recovery(5.0)
    recovery.injected(lambda: next(seconds))
    recovery.done()
    recovery.injected(lambda: next(seconds))
    with pytest.raises(AssertionError, match=r"6\.00 s"):
        recovery.done()
    assert recovery.seconds == 6.0
