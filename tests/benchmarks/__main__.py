"""Run the benchmarks: all of them, or the ones named.

`make bench` runs all in turn, each in a process of its own; `make bench
NAME=replay` runs one. Every benchmark ends with one line of JSON: name, value,
unit, goal, ok, spread. They say what was measured, never pass or fail a build.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
import sys

NAMES = (
    "replay",
    "exit_latency",
    "ingest",
    "strategist",
    "garch",
    "backtest",
    "sweep",
    "walkforward",
    "sentiment_delay",
    "parity",
)


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; 2 for a name that there is not."""
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        sys.stderr.write(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}\n")
        return 2
    if len(names) == 1:
        print(f"# {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
        result = importlib.import_module(f"tests.benchmarks.{names[0]}").run()
        print(json.dumps(result), flush=True)
        return 0
    for name in names or NAMES:
        done = subprocess.run([sys.executable, "-m", "tests.benchmarks", name], check=False)
        if done.returncode != 0:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
