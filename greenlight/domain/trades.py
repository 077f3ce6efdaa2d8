"""Round trips: what a closed position earned, from its fills.

Before it stands the ledger of fills; after it the metrics. US dollars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from greenlight.domain.orders import Execution, Side
from greenlight.domain.positions import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One closed round trip.

    `pnl_usd` is the raw gain of the fills, `fees_usd` what the account was
    charged, `haircut_usd` what a paper account leaves out (`costs.FillCost`).
    """

    position_id: str
    symbol: str
    strategy: str
    qty: int
    entry_price: Decimal
    exit_price: Decimal
    opened_at: datetime
    closed_at: datetime
    pnl_usd: Decimal
    fees_usd: Decimal
    haircut_usd: Decimal
    exit_reason: str

    @property
    def net_usd(self) -> Decimal:
        """Gain after fees and haircut."""
        return self.pnl_usd - self.fees_usd - self.haircut_usd

    @property
    def return_frac(self) -> Decimal:
        """Net gain over what the entry cost."""
        return self.net_usd / (self.entry_price * self.qty)


def round_trip(
    position: Position,
    fills: Sequence[Execution],
    *,
    exit_reason: str,
    fees_usd: Decimal,
    haircut_usd: Decimal,
) -> Trade:
    """The trade of a closed position.

    Parameters
    ----------
    position : Position
        Closed: `qty` is zero and `closed_at` set.
    fills : Sequence[Execution]
        All its fills, entry and exit.
    exit_reason : str
        Why it was left.
    fees_usd : Decimal
        Fees charged for all its fills.
    haircut_usd : Decimal
        Haircut of all its fills.

    Raises
    ------
    ValueError
        The position is open, or the fills have no buy or no sell.
    """
    if position.is_open or position.closed_at is None:
        raise ValueError(f"{position.symbol}: an open position is no round trip")
    buys = [f for f in fills if f.side is Side.BUY]
    sells = [f for f in fills if f.side is Side.SELL]
    bought, sold = sum(f.qty for f in buys), sum(f.qty for f in sells)
    if not bought or not sold:
        raise ValueError(f"{position.symbol}: fills without both an entry and an exit")
    cost = sum((f.price * f.qty for f in buys), Decimal(0))
    proceeds = sum((f.price * f.qty for f in sells), Decimal(0))
    return Trade(
        position_id=position.position_id,
        symbol=position.symbol,
        strategy=position.strategy,
        qty=bought,
        entry_price=cost / bought,
        exit_price=proceeds / sold,
        opened_at=position.opened_at,
        closed_at=position.closed_at,
        pnl_usd=proceeds - cost,
        fees_usd=fees_usd,
        haircut_usd=haircut_usd,
        exit_reason=exit_reason,
    )
