"""A desk's history made up from a seed, for tests that need a whole store."""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta
from decimal import Decimal

from greenlight.domain.audit import Decision, DecisionKind, Verdict
from greenlight.domain.market import (
    Quote,
    Session,
    eastern_date,
    session_end_for_hold,
    session_on,
    sessions_between,
)
from greenlight.domain.orders import (
    Execution,
    OrderIntent,
    OrderKind,
    Role,
    Side,
    TimeInForce,
    client_order_id,
)
from greenlight.ports import Coverage, EquityMark, Heartbeat, Run
from greenlight.testing import FakeStore

MINUTE = timedelta(minutes=1)
SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT")
HOLDER = "risk-gate"


class SampleDesk:
    """Fills a store as the actors would: one session after another.

    Parameters
    ----------
    start : date
        First session.
    win_share : float
        Chance that a trade wins.
    """

    def __init__(self, store: FakeStore, *, start: date, win_share: float = 0.7) -> None:
        first = session_on(start)
        assert first is not None
        self.store = store
        self._random = random.Random(7)
        self._win_share = win_share
        self._seq = 0
        self._cash = Decimal(100_000)
        self._held: dict[str, tuple[int, Decimal, datetime]] = {}
        self._epoch = store.take_epoch(HOLDER)
        self.now = first.open - timedelta(hours=1)
        store.start_run(
            Run(
                run_id="run-1",
                started_at=self.now,
                account_kind="replay",
                account_number="PA1",
                source="bokeh",
                is_synthetic=True,
                start_cash_usd=self._cash,
                fingerprint="f00d",
            )
        )

    def trade_until(self, end: date, *, close_last: bool = True) -> None:
        """Live through every session to a date; the last one perhaps not to its end."""
        sessions = sessions_between(eastern_date(self.now), end)
        for session in sessions:
            self.session(session, is_closed=close_last or session is not sessions[-1])

    def session(self, session: Session, *, is_closed: bool = True) -> None:
        """One session: beats, marks, trades, readings, and the broker's mark."""
        for symbol in list(self._held):
            self._read(symbol, session.open - MINUTE)
        for number, symbol in enumerate(SYMBOLS):
            at = session.open + timedelta(minutes=30 + number)
            if symbol in self._held:
                if self._random.random() < 0.5:
                    self._sell(symbol, at)
            elif self._random.random() < 0.4:
                self._buy(symbol, at)
        span = session.minutes if is_closed else 120
        marks, beats = [], []
        for index in range(span):
            at = session.open + index * MINUTE
            marks.append(self._mark(at + MINUTE, "desk"))
            beats.append(Heartbeat(component="desk", at=at))
        self.store.write_equity(marks)
        self.store.write_heartbeats(beats)
        self.now = session.open + span * MINUTE
        if is_closed:
            self.now = session.close + timedelta(minutes=5)
            self.store.write_equity([self._mark(self.now, "broker")])

    def quotes(self) -> dict[str, Quote]:
        """Quotes a little above what was paid."""
        found = {}
        for position in self.store.open_positions():
            price = float(position.avg_price) * 1.012
            found[position.symbol] = Quote(
                symbol=position.symbol,
                at=self.now,
                bid=price - 0.01,
                ask=price + 0.01,
                bid_size=100,
                ask_size=100,
            )
        return found

    def _mark(self, at: datetime, source: str) -> EquityMark:
        exposure = sum((q * p for q, p, _ in self._held.values()), Decimal(0))
        noise = Decimal(str(round(self._random.uniform(-40, 40), 2)))
        return EquityMark(
            at=at,
            equity_usd=self._cash + exposure + (noise if source == "desk" else 0),
            cash_usd=self._cash,
            exposure_usd=exposure,
            source=source,
        )

    def _buy(self, symbol: str, at: datetime) -> None:
        price = Decimal(str(round(self._random.uniform(20, 150), 2)))
        qty = int(15_000 / price)
        self._seq += 1
        name = f"entry-{self._seq}"
        decision = Decision(
            decision_id=name,
            at=at,
            kind=DecisionKind.ENTRY,
            verdict=Verdict.TAKEN,
            symbol=symbol,
            strategy="mean-reversion",
            reason="RSI below 30",
            figures={
                "stop_price": str((price * Decimal("0.95")).quantize(Decimal("0.01"))),
                "target_price": str((price * Decimal("1.05")).quantize(Decimal("0.01"))),
                "exit_by": session_end_for_hold(at, 3).isoformat(),
            },
        )
        self._fill(decision, Role.ENTRY, Side.BUY, symbol, qty, price, at)
        self._held[symbol] = (qty, price, at)
        self._cash -= qty * price
        self._protect(symbol, at)

    def _sell(self, symbol: str, at: datetime) -> None:
        qty, paid, _ = self._held.pop(symbol)
        wins = self._random.random() < self._win_share
        move = Decimal(str(round(self._random.uniform(0.01, 0.04) * (1 if wins else -1), 4)))
        price = (paid * (1 + move)).quantize(Decimal("0.01"))
        self._seq += 1
        decision = Decision(
            decision_id=f"exit-{self._seq}",
            at=at,
            kind=DecisionKind.EXIT,
            verdict=Verdict.TAKEN,
            symbol=symbol,
            strategy="mean-reversion",
            reason="target" if wins else "stop",
            figures={"exit_reason": "target" if wins else "stop"},
        )
        self._fill(decision, Role.EXIT, Side.SELL, symbol, qty, price, at)
        self._cash += qty * price

    def _protect(self, symbol: str, at: datetime) -> None:
        self._seq += 1
        self.store.record_decision(
            Decision(
                decision_id=f"protect-{self._seq}",
                at=at,
                kind=DecisionKind.PROTECT,
                verdict=Verdict.TAKEN,
                symbol=symbol,
                strategy="mean-reversion",
                reason="position not covered",
                figures={},
            )
        )
        self._read(symbol, at)

    def _read(self, symbol: str, at: datetime) -> None:
        position = self.store.position(symbol)
        assert position is not None
        self.store.write_coverage(
            [
                Coverage(
                    position_id=position.position_id,
                    symbol=symbol,
                    at=at,
                    position_qty=position.qty,
                    covered_qty=position.qty,
                )
            ]
        )

    def _fill(
        self,
        decision: Decision,
        role: Role,
        side: Side,
        symbol: str,
        qty: int,
        price: Decimal,
        at: datetime,
    ) -> None:
        name = client_order_id("desk", decision.decision_id, role, 1)
        self.store.record_intent(
            OrderIntent(
                client_order_id=name,
                decision_id=decision.decision_id,
                symbol=symbol,
                side=side,
                role=role,
                kind=OrderKind.LIMIT,
                qty=qty,
                limit_price=price,
                stop_price=None,
                time_in_force=TimeInForce.DAY,
                replaces=None,
                holder=HOLDER,
                epoch=self._epoch,
                attempt=1,
                at=at,
            ),
            decision,
        )
        self.store.book_fill(
            Execution(
                execution_id=name,
                order_id=f"broker-{name}",
                client_order_id=name,
                symbol=symbol,
                side=side,
                qty=qty,
                price=price,
                cum_qty=qty,
                at=at,
            ),
            Decimal(0),
        )
