"""Parity: sixty sessions through the live actors, decided again by the twin and the engine.

All three strategies on the default data. The value is the share of the live
decisions that met an equal one in their twin, row for row with every figure; the
goal is all of them. Beside it stands how many the compiled engine decided alike
(signal, minute and reason) and at the same size.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from greenlight.domain.audit import decisions_digest
from tests.parity_cases import compare

NAME = "parity"
START, END = "2008-01-14", "2008-04-09"


def run() -> dict[str, object]:
    """Measure, print lines for people, return the result."""
    home = Path(tempfile.mkdtemp(prefix="greenlight-bench-"))
    begun = time.perf_counter()
    try:
        found = compare(home, START, END)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    count = sum(outcome.decisions for outcome in found.outcomes)
    parted = sum(len(outcome.differences) for outcome in found.outcomes)
    is_same = decisions_digest(found.live) == decisions_digest(found.again)
    alike = set(found.live_rows()) & set(found.engine_rows())
    sizes = found.quantities()
    print(
        f"  {len(found.outcomes)} sessions, {count} decisions, {parted} without an equal one in "
        f"the twin; digests {'equal' if is_same else 'differ'}; {time.perf_counter() - begun:.0f} s"
    )
    print(
        f"  the compiled engine: {len(alike)} of {len(found.live)} alike, "
        f"{len(found.engine)} of its own; {sum(a == b for a, b in sizes)} of {len(sizes)} sizes"
    )
    return {
        "name": NAME,
        "value": round(1 - parted / count, 4) if count else 0.0,
        "unit": "share equal",
        "goal": 1.0,
        "ok": count > 0 and parted == 0 and is_same,
        "spread": [0.0, 0.0],
    }
