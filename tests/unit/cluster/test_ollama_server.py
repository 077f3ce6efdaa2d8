"""The desk's own model server: a stand-in program takes the place of `ollama`."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.ollama_server import OllamaServer, ollama_address, pid_file, serving_process
from cluster.processes import free_port

PROGRAM = """#!{python}
import os, socket, time
host, port = os.environ["OLLAMA_HOST"].split(":")
open({seen!r}, "a").write(os.environ.get("CUDA_VISIBLE_DEVICES", "all") + "\\n")
if os.path.exists({broken!r}):
    raise SystemExit("no GPU driver")
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((host, int(port)))
server.listen()
time.sleep(60)
"""


class Place:
    """A folder with the stand-in program, and the servers that a test makes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen, self.broken = folder / "seen", folder / "broken"
        self.program = folder / "ollama"
        self.program.write_text(
            PROGRAM.format(python=sys.executable, seen=str(self.seen), broken=str(self.broken))
        )
        self.program.chmod(0o755)
        self.port = free_port()
        self.seconds = 0.0
        self.made: list[OllamaServer] = []

    def server(self, *, has_gpu: bool = True) -> OllamaServer:
        found = OllamaServer(
            host=f"http://127.0.0.1:{self.port}",
            folder=self.folder,
            has_gpu=has_gpu,
            binary=str(self.program),
            monotonic=lambda: self.seconds,
        )
        self.made.append(found)
        return found

    def starts(self, count: int) -> list[str]:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            lines = self.seen.read_text().splitlines() if self.seen.exists() else []
            if len(lines) >= count:
                return lines
            time.sleep(0.02)
        raise AssertionError(f"not started {count} times")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    yield found
    for server in found.made:
        server.stop()


def test_ensure_when_none_runs_then_started_once_and_ended_by_stop(place: Place) -> None:
    server = place.server()
    for _ in range(3):
        server.ensure()
        place.seconds += 100
    assert len(place.starts(1)) == 1
    process = serving_process(place.folder)
    assert process is not None
    server.stop()
    assert not process.is_running()
    assert not pid_file(place.folder).exists()


def test_ensure_when_the_actor_died_then_the_next_one_finds_the_server(place: Place) -> None:
    first = place.server()
    first.ensure()
    place.starts(1)
    process = serving_process(place.folder)
    second = place.server()
    second.ensure()
    assert len(place.starts(1)) == 1
    second.stop()
    assert process is not None
    assert not process.is_running() or process.status() == "zombie"


def test_ensure_when_it_dies_then_started_again_and_ever_more_seldom(place: Place) -> None:
    place.broken.touch()
    server = place.server()
    for _ in range(200):
        server.ensure()
        place.seconds += 1.0
        time.sleep(0.01)
        until = time.monotonic() + 5
        while serving_process(place.folder) is not None and time.monotonic() < until:
            time.sleep(0.01)
    # After 0, 5, 15, 35, 75 and 155 seconds.
    assert len(place.starts(6)) == 6


@pytest.mark.parametrize("has_gpu", [True, False])
def test_ensure_when_the_cpu_is_set_then_it_sees_no_gpu(place: Place, has_gpu: bool) -> None:
    place.server(has_gpu=has_gpu).ensure()
    expected = os.environ.get("CUDA_VISIBLE_DEVICES", "all") if has_gpu else "-1"
    assert place.starts(1) == [expected]


def test_ensure_when_somebody_else_listens_then_attached_and_nothing_started(place: Place) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", place.port))
        other.listen()
        place.server().ensure()
    assert not place.seen.exists()


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (None, "http://127.0.0.1:11434"),
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("gpu-1:8000", "http://gpu-1:8000"),
        ("https://models.example", "https://models.example:443"),
        ("http://gpu-1/", "http://gpu-1:11434"),
    ],
)
def test_address_when_given_as_ollama_takes_it_then_a_url(given: str | None, url: str) -> None:
    assert ollama_address(given) == url
