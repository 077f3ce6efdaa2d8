from __future__ import annotations

from pathlib import Path

import pytest

from greenlight.adapters.halt_file import HaltFile, halt_file


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "file HALT: no reason given"), ("fire\n drill\n", "file HALT: fire drill")],
)
def test_halt_file_when_present_then_its_text_is_the_reason(
    tmp_path: Path, text: str, reason: str
) -> None:
    switch = HaltFile(halt_file(tmp_path))
    assert switch() is None
    halt_file(tmp_path).write_text(text)
    assert switch() == reason
    halt_file(tmp_path).unlink()
    assert switch() is None


def test_halt_file_when_it_cannot_be_read_then_it_is_on(tmp_path: Path) -> None:
    halt_file(tmp_path).mkdir()
    assert HaltFile(halt_file(tmp_path))() == "file HALT: cannot be read (Is a directory)"


def test_halt_file_when_the_home_is_gone_then_off(tmp_path: Path) -> None:
    assert HaltFile(halt_file(tmp_path / "nowhere"))() is None
