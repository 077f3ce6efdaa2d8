"""What trading costs beyond the price: regulatory fees and slippage, per fill.

Before it stand orders and decisions; after it trades and metrics. A paper
account pays neither the fees nor the market's reaction, so every fill carries
what they would have been, and results are shown with and without them.
Prices are `Decimal` US dollars.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Final

from greenlight.domain.audit import Figure
from greenlight.domain.market import eastern_date
from greenlight.domain.orders import Execution, Side

FEES_AS_OF: Final = date(2026, 4, 4)
"""Date of the newest row below; later changes of the rates are not in it."""
_SEC_USD_PER_MILLION: Final = (
    (date(1990, 1, 1), "33.30"),
    (date(2001, 12, 28), "15.00"),
    (date(2002, 4, 1), "30.10"),
    (date(2003, 3, 22), "25.20"),
    (date(2003, 4, 1), "46.80"),
    (date(2004, 2, 22), "39.00"),
    (date(2004, 4, 1), "23.40"),
    (date(2005, 1, 7), "32.90"),
    (date(2005, 4, 1), "41.80"),
    (date(2005, 12, 22), "30.70"),
    (date(2007, 3, 17), "15.30"),
    (date(2008, 1, 25), "11.00"),
    (date(2008, 4, 1), "5.60"),
    (date(2009, 4, 10), "25.70"),
    (date(2010, 1, 15), "12.70"),
    (date(2010, 4, 1), "16.90"),
    (date(2011, 1, 21), "19.20"),
    (date(2012, 2, 21), "18.00"),
    (date(2012, 4, 1), "22.40"),
    (date(2013, 5, 25), "17.40"),
    (date(2014, 3, 18), "22.10"),
    (date(2015, 2, 14), "18.40"),
    (date(2016, 2, 16), "21.80"),
    (date(2017, 7, 4), "23.10"),
    (date(2018, 5, 22), "13.00"),
    (date(2019, 4, 16), "20.70"),
    (date(2020, 2, 18), "22.10"),
    (date(2021, 2, 25), "5.10"),
    (date(2022, 5, 14), "22.90"),
    (date(2023, 2, 27), "8.00"),
    (date(2024, 5, 22), "27.80"),
    (date(2025, 5, 14), "0.00"),
    (date(2026, 4, 4), "20.60"),
)
"""Section 31 fee on the proceeds of sales, from the SEC's fee rate advisories."""
_TAF_USD_A_SHARE: Final = (
    (date(1990, 1, 1), "0.000075", "3.75"),
    (date(2011, 7, 1), "0.000090", "4.50"),
    (date(2012, 3, 1), "0.000095", "4.75"),
    (date(2012, 7, 1), "0.000119", "5.95"),
    (date(2022, 1, 1), "0.000130", "6.49"),
    (date(2023, 1, 1), "0.000145", "7.27"),
    (date(2024, 1, 1), "0.000166", "8.30"),
    (date(2026, 1, 1), "0.000195", "9.79"),
)
"""FINRA's trading activity fee on shares sold, and its cap per trade. The first
row is the rate before July 2011, applied to all earlier dates."""
_SEC_FROM: Final = [row[0] for row in _SEC_USD_PER_MILLION]
_TAF_FROM: Final = [row[0] for row in _TAF_USD_A_SHARE]
ASSUMED_HALF_SPREAD_FRAC: Final = Decimal("0.0005")
"""Slippage of a fill whose decision saw no quote: 5 bps, ours; a liquid large
cap's half spread is about 1 bp."""
_CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class FillCost:
    """What one fill would have cost beyond its price; all US dollars.

    `fees_usd` are the regulatory fees. `slippage_usd` is half the spread at
    the decision for every share, which a paper fill at the quote leaves out.
    `shortfall_usd` is how much worse than the mid at the decision the price
    was (negative: better), already part of the price; None without a quote.
    """

    fees_usd: Decimal
    slippage_usd: Decimal
    shortfall_usd: Decimal | None

    def haircut_usd(self, charged_usd: Decimal) -> Decimal:
        """What to take off the raw result beyond the fees that were charged."""
        return max(self.fees_usd - charged_usd, Decimal(0)) + self.slippage_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeRates:
    """Regulatory fees of sales on a day: of a million dollars, a share, and the latter's cap."""

    sec_usd_per_million: Decimal
    taf_usd_a_share: Decimal
    taf_cap_usd: Decimal


def fee_rates(day: date) -> FeeRates:
    """The rates on a trade date in New York; before the table begins, its first row."""
    sec = _SEC_USD_PER_MILLION[max(bisect_right(_SEC_FROM, day) - 1, 0)][1]
    _, per_share, cap = _TAF_USD_A_SHARE[max(bisect_right(_TAF_FROM, day) - 1, 0)]
    return FeeRates(
        sec_usd_per_million=Decimal(sec),
        taf_usd_a_share=Decimal(per_share),
        taf_cap_usd=Decimal(cap),
    )


def regulatory_fees(side: Side, qty: int, price: Decimal, day: date) -> Decimal:
    """SEC and FINRA fees of one sale, each rounded up to the cent; buying is free.

    Parameters
    ----------
    qty : int
        Shares.
    price : Decimal
        US dollars a share.
    day : date
        Trade date in New York.
        Before the table begins (1990) its first row holds.

    Notes
    -----
    ``ceil(qty * price * rate) + min(ceil(qty * taf), cap)``. Exchange Act
    section 31 and FINRA By-Laws, Schedule A, section 1.
    """
    if side is Side.BUY:
        return Decimal(0)
    rates = fee_rates(day)
    sec = _up_to_cent(qty * price * rates.sec_usd_per_million / 1_000_000)
    return sec + min(_up_to_cent(qty * rates.taf_usd_a_share), rates.taf_cap_usd)


def fill_cost(fill: Execution, figures: Mapping[str, Figure] | None) -> FillCost:
    """The costs of a fill against the quote that its decision saw.

    Parameters
    ----------
    figures : Mapping[str, Figure] | None
        The figures of the order's decision, with ``bid`` and ``ask`` where a
        quote was seen; None for an order that is not ours.
    """
    fees = regulatory_fees(fill.side, fill.qty, fill.price, eastern_date(fill.at))
    quote = None if figures is None else _quote(figures)
    if quote is None:
        slippage = fill.qty * fill.price * ASSUMED_HALF_SPREAD_FRAC
        return FillCost(fees_usd=fees, slippage_usd=slippage, shortfall_usd=None)
    bid, ask = quote
    sign = 1 if fill.side is Side.BUY else -1
    return FillCost(
        fees_usd=fees,
        slippage_usd=fill.qty * (ask - bid) / 2,
        shortfall_usd=sign * fill.qty * (fill.price - (bid + ask) / 2),
    )


def _quote(figures: Mapping[str, Figure]) -> tuple[Decimal, Decimal] | None:
    try:
        bid, ask = Decimal(str(figures["bid"])), Decimal(str(figures["ask"]))
    except (KeyError, InvalidOperation):
        return None
    return (bid, ask) if bid.is_finite() and ask.is_finite() and 0 < bid <= ask else None


def _up_to_cent(usd: Decimal) -> Decimal:
    return usd.quantize(_CENT, rounding=ROUND_CEILING)
