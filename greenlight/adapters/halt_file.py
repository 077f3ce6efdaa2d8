"""The file that halts entries: the kill switch that needs neither store nor network.

The risk gate asks before every entry. `touch .greenlight/HALT` is enough; what
the file says is the reason. Removing it is the only way to lift it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

NAME: Final = "HALT"
_MOST: Final = 200


def halt_file(home: Path) -> Path:
    """The switch of the desk in a folder."""
    return home / NAME


class HaltFile:
    """Asked for why no entry may be made now; None while the file is not there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self) -> str | None:
        """The reason, from the file's first characters."""
        try:
            text = self._path.read_text("utf-8", errors="replace")[:_MOST]
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            # A switch that cannot be read is on.
            return f"file {NAME}: cannot be read ({error.strerror})"
        return f"file {NAME}: {' '.join(text.split()) or 'no reason given'}"
