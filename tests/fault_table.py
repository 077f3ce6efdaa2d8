"""A pytest plugin: the table of faults with what the tests of this run found.

`@pytest.mark.fault(row, bound_s=…)` names the row of a test and, in seconds, how
long recovery may take; the fixture `recovery` measures it. The table is printed
at the end of a run and written to `build/fault-table.md`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fault_rows import NAMES, ROWS, Row

_ROWS, _RECOVERY, _BOUND = "fault_rows", "fault_recovery_s", "fault_bound_s"
_WHERE = Path("build") / "fault-table.md"


class Recovery:
    """Seconds from a fault to the desk's recovery, held against the row's bound.

    Parameters
    ----------
    bound_s : float | None
        Longest time allowed; None measures alone.
    """

    def __init__(self, bound_s: float | None) -> None:
        self.bound_s = bound_s
        self.seconds: float | None = None
        self._clock: Callable[[], float] = time.monotonic
        self._since = 0.0

    def injected(self, clock: Callable[[], float] = time.monotonic) -> None:
        """The fault begins; `clock` tells seconds, of the wall or of the replay."""
        self._clock, self._since = clock, clock()

    def done(self) -> None:
        """The desk has recovered; the slowest of several counts."""
        took_s = self._clock() - self._since
        self.seconds = took_s if self.seconds is None else max(self.seconds, took_s)
        assert self.bound_s is None or took_s <= self.bound_s, (
            f"recovered after {took_s:.2f} s, allowed are {self.bound_s:g} s"
        )


@pytest.fixture
def recovery(request: pytest.FixtureRequest) -> Iterator[Recovery]:
    """Measures the recovery of a fault test; a test that asks for it must use it."""
    marks = list(request.node.iter_markers("fault"))
    bounds = [mark.kwargs["bound_s"] for mark in marks if "bound_s" in mark.kwargs]
    found = Recovery(min(bounds, default=None))
    yield found
    if found.seconds is not None:
        request.node.user_properties.append((_RECOVERY, found.seconds))
    elif not getattr(request.node, "has_ended_early", False):
        pytest.fail("no recovery was measured")


@dataclass(slots=True)
class _Found:
    tests: dict[str, str] = field(default_factory=dict)
    bounds_s: set[float] = field(default_factory=set)
    recoveries_s: list[float] = field(default_factory=list)

    @property
    def state(self) -> str:
        for state in ("failed", "skipped"):
            if state in self.tests.values():
                return state
        return "passed"


class FaultTable:
    """Collects what the tests of each row found."""

    def __init__(self, rows: Sequence[Row], root: Path) -> None:
        self._rows = rows
        self._root = root
        self.found: dict[str, _Found] = {}
        self.collected: set[str] = set()
        self.is_part = False

    # -- hooks
    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Note the rows of every test before any is deselected."""
        for item in items:
            marks = list(item.iter_markers("fault"))
            for mark in marks:
                if mark.args[0] not in NAMES:
                    raise pytest.UsageError(f"{item.nodeid}: no fault is called {mark.args[0]!r}")
            if not marks:
                continue
            names = [mark.args[0] for mark in marks]
            bounds = [mark.kwargs["bound_s"] for mark in marks if "bound_s" in mark.kwargs]
            self.collected |= set(names)
            item.user_properties.append((_ROWS, names))
            item.user_properties.append((_BOUND, min(bounds, default=None)))

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """A run of a part tells only of that part."""
        self.is_part |= bool(items)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        """Let the fixture know where a test ended early, which is reason not to measure."""
        outcome: Any = yield
        if not outcome.get_result().passed:
            item.has_ended_early = True  # type: ignore[attr-defined]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a test's worst outcome and, once it has ended, its figure."""
        properties = dict(report.user_properties)
        for name in properties.get(_ROWS, ()):
            row = self.found.setdefault(str(name), _Found())
            before = row.tests.get(report.nodeid)
            if before is None or report.outcome != "passed":
                row.tests[report.nodeid] = report.outcome
            if report.when != "teardown":
                continue
            bound_s, took_s = properties[_BOUND], properties.get(_RECOVERY)
            if isinstance(bound_s, int | float):
                row.bounds_s.add(bound_s)
            if isinstance(took_s, float):
                row.recoveries_s.append(took_s)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the table and write it down."""
        if not self.found:
            return
        lines = self.lines()
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.line(line)
        target = self._root / _WHERE
        target.parent.mkdir(exist_ok=True)
        target.write_text("\n".join(lines) + "\n")

    # -- the table
    def lines(self) -> list[str]:
        """The table as Markdown. Missing rows show only where every test there is has run."""
        table = [("fault", "must then happen", "tests", "bound, s", "recovery, s", "state")]
        is_whole = not self.is_part and self.collected <= set(self.found) and self._is_all()
        for row in self._rows:
            found = self.found.get(row.name)
            if found is not None:
                table.append(_cells(row, found))
            elif is_whole:
                where = f" (owed by {row.owed})" if row.owed else ""
                table.append((row.name, row.behaviour, "0", "", "", f"MISSING{where}"))
        widths = [max(len(cells[i]) for cells in table) for i in range(len(table[0]))]
        lines = [_line(cells, widths) for cells in table]
        return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]

    def _is_all(self) -> bool:
        return {row.name for row in self._rows if row.owed is None} <= self.collected


def _cells(row: Row, found: _Found) -> tuple[str, str, str, str, str, str]:
    recovered = f"{max(found.recoveries_s):.2f}" if found.recoveries_s else "-"
    bound = f"{max(found.bounds_s):g}" if found.bounds_s else "-"
    return row.name, row.behaviour, str(len(found.tests)), bound, recovered, found.state


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "| " + " | ".join(padded) + " |"


def pytest_configure(config: pytest.Config) -> None:
    """Begin a table."""
    config.addinivalue_line("markers", "fault(row, bound_s): a row of the table of faults")
    config.pluginmanager.register(FaultTable(ROWS, config.rootpath), "fault-table")
