"""What the tests of faults share: the marker of a row and the measure of its recovery."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest


class Recovery:
    """Seconds from a fault to the desk's recovery, held against the row's bound."""

    def __init__(self, bound_s: float) -> None:
        self.bound_s = bound_s
        self.seconds: float | None = None
        self._since = 0.0

    def injected(self) -> None:
        """The fault begins, or what is measured does."""
        self._since = time.monotonic()

    def done(self) -> None:
        """The desk has recovered; the slowest of several counts."""
        took_s = time.monotonic() - self._since
        self.seconds = max(took_s, self.seconds or 0.0)
        assert took_s <= self.bound_s, f"recovered after {took_s:.2f} s, not {self.bound_s:g} s"


@pytest.fixture
def recovery(request: pytest.FixtureRequest) -> Iterator[Recovery]:
    """Measures the recovery of a fault test."""
    (mark,) = request.node.iter_markers("fault")
    found = Recovery(mark.kwargs["bound_s"])
    yield found
    assert found.seconds is not None, "no recovery was measured"
    request.node.user_properties.append(("fault_recovery_s", found.seconds))
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    reporter.write_line(f"\n{mark.args[0]}: {found.seconds:.2f} s of {found.bound_s:g} s")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "fault(row, bound_s): a row of the table of faults")
