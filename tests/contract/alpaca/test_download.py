"""A download from the paper exchange through Alpaca's own client: pages, then a source."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from greenlight.adapters.alpaca_data import AlpacaMarketData
from greenlight.adapters.history_csv import read_csv_folder
from greenlight.domain.market import sessions_between
from jobs.download import download
from tests.contract.alpaca.test_corporate_actions import EX_DATE, FIRST, LAST, write_source
from tests.exchange_fixture import KEY, SECRET, ExchangeProcess


def test_download_when_asked_of_the_exchange_then_its_own_history_page_by_page(
    tmp_path: Path,
) -> None:
    (tmp_path / "source").mkdir()
    source = write_source(tmp_path / "source")
    with ExchangeProcess(
        source, tmp_path, "--lockstep", "--partial-fills", "0", start=FIRST, end=LAST
    ) as exchange:
        paces: list[bool] = []
        feed = AlpacaMarketData(
            base_url=exchange.url,
            key_id=KEY,
            secret_key=SECRET,
            deadline_s=10,
            pace=paces.append,
        )
        end = FIRST - timedelta(days=1)
        folder = tmp_path / "copy"
        given = (feed, ("PAYS", "SPLT"), "1Day", date(2014, 5, 1), end, folder)
        found = list(download(*given, never))
        assert [d.bars for d in found] == [len(sessions_between(date(2014, 5, 1), end))] * 2
        # A page for each symbol's chunk, one of splits and one of dividends.
        assert len(paces) == 4
        assert not any(paces)
        list(download(*given, never))
        assert len(paces) == 6
    copied, there = read_csv_folder(folder), read_csv_folder(tmp_path / "source")
    for symbol in ("PAYS", "SPLT"):
        own, real = copied.daily[symbol], there.daily[symbol]
        kept = real.days <= np.datetime64(end)
        np.testing.assert_array_equal(own.close, real.close[kept])
        np.testing.assert_array_equal(own.volume, real.volume[kept])
    assert end < EX_DATE


def never(_: Any) -> None:
    raise AssertionError("nothing to wait for")
