"""Where a running desk can be found: one small file in its folder.

`greenlight up` writes it once everything is up and removes it at the end; the
command and the dashboard read it. It holds no secret.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

NAME: Final = "desk.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskFile:
    """Addresses of a desk, and the process (`pid`) that runs it since `started_at` (UTC)."""

    database_url: str
    redis_url: str | None
    ray_dashboard_url: str | None
    exchange_url: str | None
    dashboard_url: str | None
    pid: int
    started_at: datetime
    health_url: str | None = None
    ray_address: str | None = None

    @classmethod
    def read(cls, home: Path) -> DeskFile | None:
        """The file of a folder; None where there is none, or none that can be read."""
        try:
            row = json.loads((home / NAME).read_text())
            return cls(**{**row, "started_at": datetime.fromisoformat(row["started_at"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, home: Path) -> None:
        """Put it into a folder, whole or not at all; for the owner's eyes only."""
        path = home / NAME
        draft = path.with_suffix(f".{os.getpid()}")
        row = {**asdict(self), "started_at": self.started_at.isoformat()}
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(row, indent=2))
        draft.replace(path)

    @staticmethod
    def remove(home: Path) -> None:
        """Take it away; a folder without one stays as it is."""
        (home / NAME).unlink(missing_ok=True)

    def is_alive(self) -> bool:
        """Whether the process that wrote it still runs."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True
