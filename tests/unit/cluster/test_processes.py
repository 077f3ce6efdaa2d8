"""Children start apart, say that they are ready, and end by pid."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cluster.processes import Child, StartError, free_port, require_free, wait_for_port

LISTEN = (
    "import socket, sys; s = socket.socket(); s.bind(('127.0.0.1', int(sys.argv[1]))); "
    "s.listen(); sys.stdin.read(); import signal; signal.pause()"
)


class Children:
    """Starts children and ends them all after the test."""

    def __init__(self, log: Path, stack: ExitStack) -> None:
        self._log = log
        self._stack = stack

    def start(self, code: str, *arguments: str, **options: Any) -> Child:
        child = Child("the child", ["-c", code, *arguments], log=self._log, **options)
        self._stack.callback(child.stop)
        return child


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    with ExitStack() as stack:
        yield Children(tmp_path / "logs" / "child.log", stack)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_require_free_when_zero_then_some_free_port() -> None:
    port = require_free(0, "the dashboard", "GREENLIGHT_DASHBOARD_PORT")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))


def test_require_free_when_free_then_that_port() -> None:
    port = free_port()
    assert require_free(port, "the dashboard", "GREENLIGHT_DASHBOARD_PORT") == port


def test_require_free_when_taken_then_one_line_says_how_to_mend_it() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StartError) as caught:
            require_free(port, "the dashboard", "GREENLIGHT_DASHBOARD_PORT")
    line = str(caught.value)
    assert str(port) in line
    assert "the dashboard" in line
    assert "GREENLIGHT_DASHBOARD_PORT" in line
    assert "\n" not in line


def test_start_when_child_is_ready_then_its_first_line_and_own_process_group(
    children: Children,
) -> None:
    code = "import json, signal; print(json.dumps({'port': 5}), flush=True); signal.pause()"
    child = children.start(code, reads_output=True)
    assert child.first_line(10) == {"port": 5}
    assert child.is_alive()
    assert os.getpgid(child.pid) == child.pid != os.getpgid(0)


def test_start_when_child_fails_then_last_words_of_its_log(children: Children) -> None:
    child = children.start("raise SystemExit('no disk left')", reads_output=True)
    with pytest.raises(StartError, match="the child did not start: no disk left"):
        child.first_line(10)
    assert not child.is_alive()


def test_start_when_environment_is_given_then_added_to_ours(children: Children) -> None:
    code = "import json, os; print(json.dumps([os.environ['EXTRA'], 'PATH' in os.environ]))"
    child = children.start(code, reads_output=True, environment={"EXTRA": "yes"})
    assert child.first_line(10) == ["yes", True]  # type: ignore[comparison-overlap]


def test_stop_when_child_runs_then_gone_and_stopping_again_does_nothing(
    children: Children,
) -> None:
    child = children.start(
        "import signal; print('{}', flush=True); signal.pause()", reads_output=True
    )
    child.first_line(10)
    child.stop()
    assert is_gone(child.pid)
    child.stop()
    assert not child.is_alive()


def test_wait_for_port_when_child_listens_then_returns(children: Children) -> None:
    port = free_port()
    child = children.start(LISTEN, str(port))
    wait_for_port(port, child, 10)
    assert child.is_alive()


def test_wait_for_port_when_child_ends_then_raises_with_its_last_words(
    children: Children,
) -> None:
    child = children.start("raise SystemExit('bad setting')")
    with pytest.raises(StartError, match=r"does not answer on port \d+: bad setting"):
        wait_for_port(free_port(), child, 10)
