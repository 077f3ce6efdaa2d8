"""Where the real market data beside the project lies, for the tests that need it.

A person's machine has none and skips; CI has it and must not skip.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def lean_root() -> Path:
    """The LEAN data folder; skips the test where it is absent, fails it in CI."""
    root = Path(__file__).resolve().parents[2] / "shared" / "data" / "lean"
    if not (root / "equity" / "usa").is_dir():
        reason = "the LEAN sample data is not beside the project (../shared/data/lean)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return root
