"""One exchange for the tests of faults, and a fresh desk on it for each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import date

import pytest

from tests.exchange_fixture import ExchangeProcess, LockstepDriver
from tests.faults.plain_desk import PlainDesk, clear
from tests.faults.plain_parts import write_source
from tests.store_fixture import postgres_database, postgres_server

__all__ = ["postgres_database", "postgres_server"]

FIRST, LAST = date(2014, 6, 10), date(2014, 6, 20)


@pytest.fixture(scope="session")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExchangeProcess]:
    folder = tmp_path_factory.mktemp("faults")
    source = write_source(folder / "source", FIRST, LAST)
    options = ("--lockstep", "--faults", "--partial-fills", "0")
    with ExchangeProcess(source, folder / "data", *options, start=FIRST, end=LAST) as process:
        yield process


@pytest.fixture(scope="session")
def driver(exchange: ExchangeProcess) -> Iterator[LockstepDriver]:
    found = LockstepDriver(exchange)
    yield found
    found.close()


@pytest.fixture
def desk(exchange: ExchangeProcess, driver: LockstepDriver) -> Iterator[PlainDesk]:
    """A desk that has started in an open market; what it logs of faults is not shown."""
    logging.disable(logging.CRITICAL)
    clear(exchange, driver)
    found = PlainDesk(exchange, driver)
    found.start()
    yield found
    found.stop()
    clear(exchange, driver)
    logging.disable(logging.NOTSET)
