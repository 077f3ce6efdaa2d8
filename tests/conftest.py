"""What holds for all tests.

Ray reads its environment when it is first imported; `cluster` sets it. In CI
properties are tried on the same examples every time, elsewhere on new ones.
"""

import os

import pytest
from hypothesis import settings

import cluster as cluster

# A property may be slow on a busy machine: only its claim counts.
settings.register_profile("desk", deadline=None)
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "desk")


def pytest_configure(config: pytest.Config) -> None:
    """Add the table of faults."""
    config.pluginmanager.import_plugin("tests.fault_table")
