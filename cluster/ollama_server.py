"""A model server of the desk's own: `ollama serve`, on the GPU that Ray assigned.

Started by the sentiment actor on its node, started again where it died, and found
again by the actor's next life through a file with its process id, so that the model
stays loaded while the actor restarts.
"""

from __future__ import annotations

import logging
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil

from cluster.processes import STOP_S, Child

logger = logging.getLogger(__name__)

DEFAULT_PORT: Final = 11434
BINARY: Final = "ollama"
_FIRST_WAIT_S: Final = 5.0
_LONGEST_WAIT_S: Final = 300.0
_CONNECT_S: Final = 0.2


def ollama_address(host: str | None) -> str:
    """The server's address as a URL; without one this machine's.

    Ollama's own variable may be a bare host, a port, or the wildcard that a server
    listens on.
    """
    text = (host or "").strip().rstrip("/")
    parts = urlsplit(text if "://" in text else f"http://{text}")
    name = parts.hostname or "127.0.0.1"
    name = "127.0.0.1" if name == "0.0.0.0" else name
    default = {"https": 443}.get(parts.scheme, DEFAULT_PORT)
    return f"{parts.scheme}://{name}:{parts.port or default}"


def ollama_binary() -> str | None:
    """The `ollama` program on PATH."""
    return shutil.which(BINARY)


class OllamaServer:
    """`ModelServer` that runs `ollama serve`.

    Parameters
    ----------
    host : str
        Where it is to listen, as a URL.
    folder : Path
        Takes its process id and its log.
    has_gpu : bool
        It sees the GPU that Ray assigned to this process; False: none.
    binary : str | None
        The program; None: nothing is started, and an existing server is asked.
    """

    def __init__(
        self,
        *,
        host: str,
        folder: Path,
        has_gpu: bool,
        binary: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._folder = folder
        self._has_gpu = has_gpu
        self._binary = binary or ollama_binary()
        self._monotonic = monotonic
        self._child: Child | None = None
        self._starts_s = 0.0
        self._wait_s = _FIRST_WAIT_S
        if self._binary is None:
            logger.error("no ollama on PATH", extra={"action": "serve_model"})

    def ensure(self) -> None:
        """See `ModelServer.ensure`. One that keeps dying waits ever longer."""
        if self._binary is None or self._is_there():
            return
        now_s = self._monotonic()
        if now_s < self._starts_s:
            return
        self._starts_s = now_s + self._wait_s
        self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)
        parts = urlsplit(self._host)
        environment = {"OLLAMA_HOST": f"{parts.hostname}:{parts.port}"}
        if not self._has_gpu:
            environment |= {"CUDA_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1"}
        try:
            self._child = Child(
                "the model server",
                ["serve"],
                log=self._folder / "logs" / "ollama.log",
                environment=environment,
                program=self._binary,
            )
            self._pid_file.write_text(f"{self._child.pid}\n")
        except OSError as error:
            logger.error("ollama does not start: %s", error, extra={"action": "serve_model"})

    def stop(self) -> None:
        """See `ModelServer.stop`."""
        process = serving_process(self._folder)
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except psutil.TimeoutExpired:
                process.kill()
        if self._child is not None:
            self._child.stop()
        self._pid_file.unlink(missing_ok=True)

    @property
    def _pid_file(self) -> Path:
        return pid_file(self._folder)

    def _is_there(self) -> bool:
        if self._child is not None and not self._child.is_alive():
            self._child.stop()
            self._child = None
        if self._child is not None or serving_process(self._folder) is not None:
            return True
        parts = urlsplit(self._host)
        with socket.socket() as probe:
            probe.settimeout(_CONNECT_S)
            return probe.connect_ex((parts.hostname or "", parts.port or DEFAULT_PORT)) == 0


def pid_file(folder: Path) -> Path:
    """Where the process id of the desk's own server stands."""
    return folder / "ollama.pid"


def serving_process(folder: Path) -> psutil.Process | None:
    """The desk's own server, where it runs."""
    try:
        process = psutil.Process(int(pid_file(folder).read_text()))
        if process.status() == psutil.STATUS_ZOMBIE or "serve" not in process.cmdline():
            return None
        return process
    except (OSError, ValueError, psutil.Error):
        return None
