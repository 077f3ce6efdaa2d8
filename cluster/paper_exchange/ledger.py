"""Cash and positions of the one account, and what follows from them.

Decided here: cost basis, equity, margin and buying power. `matching` books
every fill here; `trading_rest` reads. Dollars and shares are `Decimal`; a
short position has a negative quantity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Final

from cluster.paper_exchange.orders import ZERO

_QTY_STEP: Final = Decimal("0.000000001")
_CENT: Final = Decimal("0.01")


@lru_cache(maxsize=65536)
def to_decimal(price: float) -> Decimal:
    """A tape's float price as the decimal that prints the same: the one conversion."""
    return Decimal(repr(price))


@dataclass(slots=True)
class Market:
    """What is in force for one symbol: NBBO, last print, last session's close.

    Zero stands for 'none', as on Alpaca's wire. Sizes in shares.
    """

    bid: float = 0.0
    ask: float = 0.0
    bid_size: int = 0
    ask_size: int = 0
    quote_ns: int = 0
    last: float = 0.0
    last_size: int = 0
    last_ns: int = 0
    previous_close: float = 0.0
    is_opened: bool = False

    def forget_quote(self) -> None:
        """A session begins: there is no NBBO until its first quote."""
        self.bid = self.ask = 0.0
        self.is_opened = False

    def split(self, ratio: float) -> None:
        """Yesterday's prices as they read after a split."""
        self.previous_close /= ratio
        self.last /= ratio

    @property
    def has_nbbo(self) -> bool:
        """Both sides are quoted and not crossed."""
        return 0 < self.bid <= self.ask

    @property
    def price(self) -> float:
        """The best idea of the present price: last print, mid, previous close; 0 if none."""
        if self.last > 0:
            return self.last
        return (self.bid + self.ask) / 2 if self.has_nbbo else self.previous_close


@dataclass(slots=True)
class Position:
    """Shares of one symbol; `cost` is what they cost in all, signed as `qty`."""

    symbol: str
    qty: Decimal = ZERO
    cost: Decimal = ZERO

    @property
    def average(self) -> Decimal:
        """Average entry price a share."""
        return self.cost / self.qty

    def book(self, signed_qty: Decimal, price: Decimal) -> None:
        """Add a fill; `signed_qty` is negative for a sale."""
        if self.qty * signed_qty >= 0:
            self.qty += signed_qty
            self.cost += signed_qty * price
            return
        if abs(signed_qty) < abs(self.qty):
            self.cost += self.average * signed_qty
            self.qty += signed_qty
            return
        opened = self.qty + signed_qty
        self.qty, self.cost = opened, opened * price


@dataclass(slots=True)
class Ledger:
    """The account: `multiplier` 1 is a cash account, 2 Regulation T margin."""

    cash: Decimal
    multiplier: int = 2
    positions: dict[str, Position] = field(default_factory=dict)
    last_equity: Decimal = ZERO

    def qty(self, symbol: str) -> Decimal:
        """Signed shares held of a symbol."""
        position = self.positions.get(symbol)
        return position.qty if position else ZERO

    def book(self, symbol: str, signed_qty: Decimal, price: Decimal) -> None:
        """Settle a fill: shares against cash, no fees."""
        position = self.positions.setdefault(symbol, Position(symbol))
        position.book(signed_qty, price)
        self.cash -= signed_qty * price
        if not position.qty:
            del self.positions[symbol]

    def split(self, symbol: str, ratio: Decimal) -> None:
        """Each share becomes `ratio` shares; what they cost stays."""
        position = self.positions.get(symbol)
        if position is not None:
            position.qty = (position.qty * ratio).quantize(_QTY_STEP).normalize()

    def pay(self, symbol: str, usd_a_share: Decimal) -> tuple[Decimal, Decimal]:
        """Pay a dividend for the shares held; shares, and dollars to the cent (0 without any)."""
        qty = self.qty(symbol)
        usd = (qty * usd_a_share).quantize(_CENT, ROUND_HALF_UP)
        self.cash += usd
        return qty, usd

    def rename(self, old: str, new: str) -> None:
        """The shares of `old` become shares of `new`; what they cost stays."""
        position = self.positions.pop(old, None)
        if position is not None:
            merged = self.positions.setdefault(new, Position(new))
            merged.qty += position.qty
            merged.cost += position.cost

    def market_values(self, markets: dict[str, Market]) -> tuple[Decimal, Decimal]:
        """Value of the long and of the short positions, the latter negative."""
        long_value = short_value = ZERO
        for position in self.positions.values():
            value = position.qty * self.price_of(position, markets)
            if value > 0:
                long_value += value
            else:
                short_value += value
        return long_value, short_value

    @staticmethod
    def price_of(position: Position, markets: dict[str, Market]) -> Decimal:
        """Present price of a position; its entry price where the market knows none."""
        market = markets.get(position.symbol)
        price = market.price if market else 0.0
        return to_decimal(price) if price > 0 else position.average

    def equity(self, markets: dict[str, Market]) -> Decimal:
        """Cash and positions at present prices."""
        long_value, short_value = self.market_values(markets)
        return self.cash + long_value + short_value

    def gross_buying_power(self, markets: dict[str, Market]) -> Decimal:
        """What could be bought if no order were open.

        Notes
        -----
        Regulation T: twice the equity beyond the initial margin, which is half
        of the gross market value; a cash account spends its cash.
        """
        if self.multiplier == 1:
            return self.cash
        long_value, short_value = self.market_values(markets)
        equity = self.cash + long_value + short_value
        initial_margin = (long_value - short_value) / 2
        return max(ZERO, (equity - initial_margin) * 2)
