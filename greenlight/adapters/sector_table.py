"""The table of sectors that comes with the desk.

Its source and date stand at the head of `sectors.csv`; after it the risk
chain's sector cap. The setting GREENLIGHT_SECTORS goes over it.
"""

from __future__ import annotations

import csv
from importlib import resources


def sector_table() -> dict[str, str]:
    """GICS sector by symbol."""
    text = resources.files("greenlight.adapters").joinpath("sectors.csv").read_text("utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return {row["symbol"]: row["sector"] for row in csv.DictReader(lines)}
