"""Parquet says what CSV says."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from greenlight.adapters.history_csv import read_csv_folder, read_parquet_folder

ROWS = {
    "open": [10.0, 10.5],
    "high": [11.0, 11.25],
    "low": [9.5, 10.0],
    "close": [10.5, 11.0],
    "volume": [100, 200],
}


def write(folder: Path, **columns: list[object]) -> None:
    folder.mkdir(exist_ok=True)
    parquet.write_table(pyarrow.table(columns), folder / "ibm.parquet")


def test_parquet_when_days_then_as_the_same_csv(tmp_path: Path) -> None:
    days = [date(2013, 10, 7), date(2013, 10, 8)]
    write(tmp_path / "p", date=days, **ROWS)
    (tmp_path / "p" / "splits.csv").write_text("symbol,ex_date,ratio\nIBM,2013-10-08,2\n")
    (tmp_path / "c").mkdir()
    lines = ["date,open,high,low,close,volume"]
    lines += [
        f"{d},{o},{h},{lo},{c},{v}" for d, o, h, lo, c, v in zip(days, *ROWS.values(), strict=True)
    ]
    (tmp_path / "c" / "IBM.csv").write_text("\n".join(lines) + "\n")
    found = read_parquet_folder(tmp_path / "p").daily["IBM"]
    same = read_csv_folder(tmp_path / "c").daily["IBM"]
    for name in ("days", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(found, name), getattr(same, name))
    assert [s.ratio for s in found.splits] == [2.0]


def test_parquet_when_instants_have_no_zone_then_new_york_minutes(tmp_path: Path) -> None:
    at = [datetime(2013, 10, 7, 9, 30), datetime(2013, 10, 7, 9, 31)]  # noqa: DTZ001
    write(tmp_path / "p", timestamp=at, symbol=["AAA", "AAA"], **ROWS)
    found = read_parquet_folder(tmp_path / "p")
    assert not found.is_daily
    assert found.minutes["AAA"][date(2013, 10, 7)].minute.tolist() == [570, 571]


def test_parquet_when_a_cell_is_empty_or_the_file_is_none_then_its_place_is_told(
    tmp_path: Path,
) -> None:
    days = [date(2013, 10, 7), date(2013, 10, 8)]
    write(tmp_path / "p", date=days, **{**ROWS, "close": [10.5, None]})
    with pytest.raises(ValueError, match=r"ibm.parquet, row 2: close '' is no number"):
        read_parquet_folder(tmp_path / "p")
    write(tmp_path / "q", date=days, **{k: v for k, v in ROWS.items() if k != "volume"})
    with pytest.raises(ValueError, match=r"ibm.parquet, header: no column volume"):
        read_parquet_folder(tmp_path / "q")
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "x.parquet").write_bytes(b"no such thing")
    with pytest.raises(ValueError, match="no Parquet file"):
        read_parquet_folder(tmp_path / "r")
    with pytest.raises(ValueError, match=r"has no .parquet file"):
        read_parquet_folder(tmp_path)
