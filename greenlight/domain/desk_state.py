"""What the risk chain judges by: its limits, and what the desk knows at the moment.

Before it stand the settings (limits) and the risk gate (state); after it
sizing and the chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from greenlight.domain.market import Quote, Session, Unavailable
from greenlight.domain.positions import Position

UNKNOWN_SECTOR: Final = "unknown"
"""The one sector of all symbols that no table names."""
MAX_RISK_FRAC: Final = 0.02
"""No setting raises the risk of a trade above this share of equity (seeds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskLimits:
    """Limits of the chain. Sources: the desk's seeds unless said otherwise.

    `risk_frac`: equity at risk a trade, at the stop, at most (2%).
    `base_risk_frac`: the same until `winners_to_raise` trades in a row were
    won; above `risk_frac` it changes nothing (on paper it is 2% too, live 1%).
    `winners_to_raise`: closed trades won in a row that raise the risk (10).
    `atr_multiple`: distance in ATRs that sizing allows for at least (2; common practice).
    `max_positions`: positions and working entries together (5).
    `max_weight_frac`: cost of one position over equity, at most; one fifth, so
    that five positions fit into the cash (ours).
    `max_sector_frac`: cost of one sector's positions over equity; three fifths
    (ours), because three of the five default symbols are of one sector and a
    lower cap would leave one of them out for ever.
    `max_daily_loss_usd`: loss since the last close at which the day ends (500).
    `max_drawdown_frac`: fall below the 30-day high that stops trading (10%).
    `max_correlation`: with any open position (0.8).
    `max_entries_a_minute`, `max_entries_an_hour`: entries in a rolling window
    (10 and 30; ours, twice and six times what five positions can need).
    `max_price_move_frac`: ask against the price that the strategy saw (20%, as
    for quotes).
    `max_quote_age_s`: older quotes decide nothing (90 s: one missed minute; ours).
    `max_spread_frac`: wider quotes decide nothing (2%; ours).
    `entry_slack_bps`: how far above the ask an entry's limit may lie (5; ours).
    `entry_chase_bps`: how far above its first limit an entry may be repriced;
    every size is judged at that price (20; ours, four times the slack).

    Raises
    ------
    ValueError
        A limit is not positive, or `risk_frac` above `MAX_RISK_FRAC`.
    """

    risk_frac: float = MAX_RISK_FRAC
    base_risk_frac: float = MAX_RISK_FRAC
    winners_to_raise: int = 10
    atr_multiple: float = 2.0
    max_positions: int = 5
    max_weight_frac: float = 0.20
    max_sector_frac: float = 0.60
    max_daily_loss_usd: float = 500.0
    max_drawdown_frac: float = 0.10
    max_correlation: float = 0.8
    max_entries_a_minute: int = 10
    max_entries_an_hour: int = 30
    max_price_move_frac: float = 0.20
    max_quote_age_s: float = 90.0
    max_spread_frac: float = 0.02
    entry_slack_bps: float = 5.0
    entry_chase_bps: float = 20.0

    def __post_init__(self) -> None:
        for field in fields(self):
            # Written so that NaN is refused too.
            if not getattr(self, field.name) > 0:
                raise ValueError(f"{field.name} must be above zero")
        if self.risk_frac > MAX_RISK_FRAC:
            raise ValueError(f"risk_frac must not exceed {MAX_RISK_FRAC}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskState:
    """What the chain looks at besides the signal; None or Unavailable is "not known".

    Not known refuses, with two exceptions that can only make a trade smaller
    than it would be: without `forecast_vol_ann` or `recent_vol_ann` the size is
    not scaled by volatility, and `winners_in_a_row` counts from 0.

    `reconciled` is True where the ledger and the broker agreed when they were last
    compared, else why not. `entries` are the symbols with an entry order that is
    not finished, and what it may still cost in US dollars. `loss_base_usd` is the equity that the
    day's loss counts from, `high_usd` the highest of the last 30 days (see
    `halts`). `recent_entries` are the instants at which entries of the last
    hour were decided. `returns` has the daily returns by day of the signal's
    symbol and of every symbol held or wanted. `forecast_vol_ann` and
    `recent_vol_ann` are the signal's symbol's volatility a year as fractions:
    expected, and of the sessions behind.
    """

    now: datetime
    session: Session | None
    quote: Quote | None
    equity_usd: Decimal | None
    buying_power_usd: Decimal | None
    loss_base_usd: Decimal | None
    high_usd: Decimal | None
    positions: Sequence[Position]
    entries: Mapping[str, Decimal]
    recent_entries: Sequence[datetime] | None
    halts: Sequence[str]
    reconciled: bool | Unavailable
    returns: Mapping[str, Mapping[date, float] | Unavailable]
    sectors: Mapping[str, str]
    winners_in_a_row: int
    forecast_vol_ann: float | Unavailable
    recent_vol_ann: float | Unavailable

    def sector(self, symbol: str) -> str:
        """Sector of a symbol; those without one are one sector together."""
        return self.sectors.get(symbol, UNKNOWN_SECTOR)


def finite(value: Decimal | None) -> Decimal | None:
    """The number, or None: comparing a Decimal NaN raises, and what is no number is not known."""
    return value if value is not None and value.is_finite() else None
