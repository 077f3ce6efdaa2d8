"""The bundled sectors."""

from __future__ import annotations

from greenlight.adapters.history_bokeh import BOKEH_SYMBOLS
from greenlight.adapters.sector_table import sector_table

# The eleven sectors of GICS.
GICS = {
    "Communication Services",
    "Consumer Discretionary",
    "Consumer Staples",
    "Energy",
    "Financials",
    "Health Care",
    "Industrials",
    "Information Technology",
    "Materials",
    "Real Estate",
    "Utilities",
}


def test_table_when_read_then_every_sector_is_one_of_gics() -> None:
    table = sector_table()
    assert set(table.values()) == GICS
    assert len(table) > 100


def test_table_when_read_then_the_default_symbols_are_in_it() -> None:
    table = sector_table()
    assert {symbol: table[symbol] for symbol in BOKEH_SYMBOLS} == {
        "AAPL": "Information Technology",
        "FB": "Communication Services",
        "GOOG": "Communication Services",
        "IBM": "Information Technology",
        "MSFT": "Information Technology",
    }
