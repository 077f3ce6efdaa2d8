from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cluster.desk_file import NAME, DeskFile

FILE = DeskFile(
    database_url="postgresql:///x",
    redis_url=None,
    ray_dashboard_url="http://127.0.0.1:8265",
    exchange_url=None,
    dashboard_url="http://127.0.0.1:8501",
    pid=os.getpid(),
    started_at=datetime(2026, 1, 5, 15, 0, tzinfo=UTC),
)


def test_read_when_written_then_the_same_and_the_owners_alone(tmp_path: Path) -> None:
    FILE.write(tmp_path)
    assert DeskFile.read(tmp_path) == FILE
    assert [p.name for p in tmp_path.iterdir()] == [NAME]
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"pid": 1}'])
def test_read_when_missing_or_broken_then_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / NAME).write_text(text)
    assert DeskFile.read(tmp_path) is None


def test_remove_when_repeated_then_it_stays_away(tmp_path: Path) -> None:
    FILE.write(tmp_path)
    DeskFile.remove(tmp_path)
    DeskFile.remove(tmp_path)
    assert DeskFile.read(tmp_path) is None


def test_is_alive_when_the_process_has_ended_then_false() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert FILE.is_alive()
    assert not replace(FILE, pid=ended.pid).is_alive()
