"""Child processes of the desk: started apart from the terminal, ended by pid."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

STOP_S: Final = 10.0
"""A child that has not ended this long after SIGTERM is killed."""


class StartError(RuntimeError):
    """Something could not be started: one line that says what and how to mend it."""


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def require_free(port: int, what: str, setting: str) -> int:
    """The port, or a free one where it is 0.

    Raises
    ------
    StartError
        Somebody listens on it already.
    """
    if port == 0:
        return free_port()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise StartError(
                f"port {port} for {what} is taken; free it or set {setting} to another (0: any)"
            ) from None
    return port


class Child:
    """One child process with its log file.

    Parameters
    ----------
    name : str
        For messages and the log's name.
    argv : Sequence[str]
        Arguments after the program.
    log : Path
        Takes its standard error, and its output unless `reads_output`.
    program : str
        What is run; this Python interpreter where nothing else is named.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        reads_output: bool = False,
        program: str = sys.executable,
    ) -> None:
        self.name = name
        self._log_path = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log: IO[bytes] = log.open("ab")
        self._process = subprocess.Popen(
            [program, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if reads_output else self._log,
            stderr=self._log,
            env={**os.environ, **(environment or {})},
            # A Ctrl-C in the terminal is the desk's to handle, in its order.
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def first_line(self, timeout_s: float) -> dict[str, Any]:
        """The JSON line that it prints once it is ready.

        Raises
        ------
        StartError
            It ended or said nothing in time; with the last line of its log.
        """
        stdout = self._process.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], timeout_s)
        line = stdout.readline() if ready else b""
        if not line.strip():
            self.stop()
            raise StartError(f"{self.name} did not start: {self.last_words()}")
        result: dict[str, Any] = json.loads(line)
        return result

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self._log_path.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"see {self._log_path}"

    def stop(self) -> None:
        """End it, gently first."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()


def wait_for_port(port: int, child: Child, timeout_s: float) -> None:
    """Wait until a child listens.

    Raises
    ------
    StartError
        It ended, or did not listen in time.
    """
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if not child.is_alive():
            break
        time.sleep(0.1)
    raise StartError(f"{child.name} does not answer on port {port}: {child.last_words()}")
