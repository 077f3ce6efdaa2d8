"""The reconciler: makes the store and the broker agree, and says whether they do.

Market data runs it at every start before anything opens, after each reconnect
and failure, and then every minute; after it the risk chain, whose rule
`reconciled` refuses entries while the last run was not clean. What to correct
is decided in `greenlight.domain.reconcile`; here both sides are read and the
corrections applied: fills into the store, cancels through a gateway,
protection by the monitors. Every correction is a row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from actors.order_gateway import OrderGateway
from greenlight.domain.alerts import Event
from greenlight.domain.audit import Decision, DecisionKind, Figure, Verdict
from greenlight.domain.market import Unavailable, eastern_date
from greenlight.domain.orders import (
    Accepted,
    BrokerOrder,
    Denied,
    Execution,
    OrderRecord,
    Outcome,
    Side,
    decision_id,
)
from greenlight.domain.reconcile import (
    CASH,
    AdoptPosition,
    BookFill,
    CancelOrder,
    Correction,
    Flag,
    FollowOrder,
    Held,
    Ours,
    Protect,
    SettleOrder,
    Theirs,
    correction_id,
    order_prefix,
    reconcile,
)
from greenlight.ports import (
    Broker,
    BrokerRefused,
    BrokerUnavailable,
    MarketData,
    Notifier,
    Run,
    Sleep,
    Store,
)

logger = logging.getLogger(__name__)

HOLDER: Final = "reconciler"
RECONCILED: Final = "reconciled"
PERIOD: Final = timedelta(seconds=60)
"""How often it runs while the desk is up."""
_MARGIN: Final = timedelta(hours=1)
_CLOCKS_APART: Final = timedelta(minutes=1)
"""A fill's time on the stream and over REST differ by less than this."""
_ROUNDS: Final = 4

Book = Callable[[Execution], None]
Check = Callable[[str], None]
BookCash = Callable[[], bool]


def reconciled(store: Store) -> bool | Unavailable:
    """True where the last run since the desk's start was clean, else why entries wait."""
    rows = store.decisions(kind=DecisionKind.RECONCILE, limit=1)
    return reconciled_by(store.latest_run(), rows[-1].decision if rows else None)


def reconciled_by(run: Run | None, last: Decision | None) -> bool | Unavailable:
    """The same of the desk's last start and its last reconciliation."""
    if run is None or last is None or last.at < run.started_at:
        return Unavailable("not reconciled since the start")
    return True if last.reason == RECONCILED else Unavailable(last.reason)


def correction_name(correction: Correction) -> str:
    """A correction's kind as a person reads it: "book fill"."""
    words = type(correction).__name__
    return "".join(f" {c.lower()}" if c.isupper() else c for c in words).strip()


class Reconciler:
    """See the module. It keeps nothing that the next life needs.

    Parameters
    ----------
    market_data : MarketData
        Asked for today's splits where quantities differ.
    sleep : Sleep
        Waits, in seconds, while the broker cancels.
    desk_epoch : int | None
        See `OrderGateway`.
    """

    def __init__(
        self,
        *,
        store: Store,
        broker: Broker,
        market_data: MarketData,
        notifier: Notifier,
        desk: str,
        sleep: Sleep,
        desk_epoch: int | None = None,
    ) -> None:
        self._store = store
        self._broker = broker
        self._market_data = market_data
        self._notifier = notifier
        self._desk = desk
        self._sleep = sleep
        self._desk_epoch = desk_epoch
        self._gateway: OrderGateway | None = None
        self._clean_at: datetime | None = None
        self._doubted: set[str] = set()

    def run(
        self, now: datetime, *, book: Book, check: Check, book_cash: BookCash = lambda: False
    ) -> bool:
        """Read both sides, correct, look again; whether they agree.

        Parameters
        ----------
        now : datetime
            Aware UTC.
        book : Book
            Books a fill as one from the stream.
        check : Check
            Has the monitor of a symbol protect it.
        book_cash : BookCash
            Books what moved cash besides fills, where cash differs; whether there was anything.

        Raises
        ------
        BrokerUnavailable, BrokerRefused
            The broker does not tell; this is noted, and entries wait.
        """
        try:
            left = self._correct(now, book, check, book_cash)
        except (BrokerUnavailable, BrokerRefused) as error:
            self.note_silence(error, now)
            raise
        if left:
            reasons = "; ".join(sorted({f"{c.symbol or 'account'}: {c.reason}" for c in left}))
            self._note(f"not reconciled: {reasons}", now, {"differences": len(left)})
            return False
        self.note_agreement(now)
        return True

    def note_agreement(self, now: datetime) -> None:
        """Both sides agreed when they were looked at."""
        self._clean_at = now
        self._doubted.clear()
        self._note(RECONCILED, now, {"differences": 0})

    def note_silence(self, error: Exception, now: datetime) -> None:
        """The broker did not tell; a refusal is told to a person, once."""
        logger.error("not reconciled: %s", error, extra={"action": "reconcile"})
        is_new = self._note("not reconciled: the broker does not tell", now, {"differences": None})
        if is_new and isinstance(error, BrokerRefused):
            self._notifier.alert(f"the broker refuses to answer ({error}); no new entries")

    def look(self, now: datetime) -> tuple[Correction, ...]:
        """What would have to be corrected now; nothing is changed.

        Raises
        ------
        BrokerUnavailable, BrokerRefused
            The broker does not tell.
        """
        ours, theirs = self._gather()
        found = reconcile(ours, theirs, desk=self._desk, now=now)
        symbols = [c.symbol for c in found if isinstance(c, Flag) and c.symbol is not None]
        ratios = self._ratios(symbols, now)
        if not ratios:
            return found
        theirs = Theirs(
            orders=theirs.orders,
            reported=theirs.reported,
            named=theirs.named,
            positions=theirs.positions,
            fills=theirs.fills,
            cash_usd=theirs.cash_usd,
            ratios=ratios,
        )
        return reconcile(ours, theirs, desk=self._desk, now=now)

    # -- reading
    def _gather(self) -> tuple[Ours, Theirs]:
        # Orders, then positions, then fills: what happens meanwhile is in the later
        # answer, and our own side is read last, so that it knows every order theirs has.
        since = self._since()
        orders = self._broker.open_orders()
        positions = tuple(
            Held(symbol=p.symbol, qty=p.qty, price=p.avg_entry_price)
            for p in self._broker.positions()
        )
        cash = self._broker.account().cash
        fills = () if since is None else self._broker.executions(since)
        records = self._store.open_orders()
        theirs = Theirs(
            orders=orders,
            reported=self._reported(orders, records),
            named=self._named(records),
            positions=positions,
            fills=tuple(fill for fill in fills if since is not None and fill.at >= since),
            cash_usd=cash,
            ratios={},
        )
        prefix = order_prefix(self._desk)
        names = {o.client_order_id for o in orders if o.client_order_id.startswith(prefix)}
        known = {record.intent.client_order_id: record.status for record in records}
        for name in sorted(names - set(known)):
            record = self._store.order(name)
            if record is not None:
                known[name] = record.status
        booked = self._store.fills(
            start=None if since is None else since - _CLOCKS_APART,
            limit=None if since is not None else 1,
        )
        ours = Ours(
            orders=tuple(records),
            statuses=known,
            positions=tuple(self._store.open_positions()),
            fills=frozenset((fill.order_id, fill.cum_qty) for fill in booked),
            cash_usd=self._store.cash(),
        )
        return ours, theirs

    def _since(self) -> datetime | None:
        """From when on fills are compared; never before the account's first run."""
        first = self._store.first_run()
        if first is None:
            return None
        if self._clean_at is not None:
            return max(self._clean_at - _MARGIN, first.started_at)
        known = [fill.at for fill in self._store.fills(limit=1)]
        known += [record.intent.at for record in self._store.open_orders()]
        return max(min(known, default=first.started_at) - _MARGIN, first.started_at)

    def _reported(
        self, orders: Sequence[BrokerOrder], records: Sequence[OrderRecord]
    ) -> dict[str, BrokerOrder | None]:
        found: dict[str, BrokerOrder | None] = {order.order_id: order for order in orders}
        for record in records:
            if record.order_id is not None and record.order_id not in found:
                found[record.order_id] = self._broker.order(record.order_id)
        return found

    def _named(self, records: Sequence[OrderRecord]) -> dict[str, BrokerOrder | None]:
        names = [record.intent.client_order_id for record in records if record.order_id is None]
        return {name: self._broker.find_order(name) for name in names}

    def _ratios(self, symbols: Sequence[str], now: datetime) -> dict[str, Decimal]:
        if not symbols:
            return {}
        day = eastern_date(now)
        try:
            splits = self._market_data.splits(sorted(set(symbols)), day, day)
        except (BrokerUnavailable, BrokerRefused) as error:
            logger.warning("no splits: %s", error, extra={"action": "reconcile"})
            return {}
        return {split.symbol: Decimal(repr(split.ratio)) for split in splits}

    # -- correcting
    def _correct(
        self, now: datetime, book: Book, check: Check, book_cash: BookCash
    ) -> tuple[Correction, ...]:
        """Apply what can be applied; what is left at the end."""
        found: tuple[Correction, ...] = ()
        is_cash_asked = False
        for number in range(_ROUNDS):
            found = self.look(now)
            # Booking a fill may change what the rest rests on, as where a split comes first.
            fills: list[Correction] = [c for c in found if isinstance(c, BookFill)]
            ripe = fills or [c for c in found if self._is_ripe(c)]
            for correction in ripe:
                self._apply(correction, now, book, check)
            if not ripe and not is_cash_asked and any(_is_cash(c) for c in found):
                is_cash_asked = True
                if book_cash():
                    continue
            # A difference that cannot be corrected is looked at twice: a fill may have
            # come between two answers.
            if not ripe and (number or not found):
                break
        self._doubt(found, now)
        return found

    def _is_ripe(self, correction: Correction) -> bool:
        if isinstance(correction, Flag):
            return False
        if isinstance(correction, AdoptPosition) and self._clean_at is not None:
            # The fill that explains it may be on its way: it must be there at the next run too.
            return _doubt_name(correction) in self._doubted
        return True

    def _doubt(self, found: Sequence[Correction], now: datetime) -> None:
        """Tell a person of a difference that was there at the last run too, once a day."""
        doubted = {_doubt_name(c): c for c in found if isinstance(c, Flag | AdoptPosition)}
        for name, correction in doubted.items():
            if isinstance(correction, Flag) and name in self._doubted:
                row = self._row(correction, now, Verdict.REFUSED)
                if self._store.record_decision(row):
                    self._notifier.alert(
                        f"{correction.symbol or 'account'}: {correction.reason} "
                        f"({correction.what}: ours {correction.ours}, the broker's "
                        f"{correction.theirs}); no new entries; see 'greenlight reconcile'",
                        event=Event.DRIFT,
                        is_kept=True,
                    )
        self._doubted = set(doubted)

    def _apply(self, correction: Correction, now: datetime, book: Book, check: Check) -> None:
        logger.warning(
            "%s: %s", correction.symbol, correction.reason, extra={"action": "reconcile"}
        )
        self._store.record_decision(self._row(correction, now, Verdict.TAKEN))
        if isinstance(correction, BookFill):
            book(correction.fill)
        elif isinstance(correction, AdoptPosition):
            book(self._adopted(correction.held, now))
        elif isinstance(correction, SettleOrder):
            outcome: Outcome = Denied(reason=correction.reason)
            if correction.found is not None:
                outcome = Accepted(order=correction.found)
            self._store.record_outcome(correction.record.intent.client_order_id, outcome, now)
        elif isinstance(correction, FollowOrder):
            assert correction.record.order_id is not None
            self._store.record_order_status(
                correction.record.order_id, correction.status, correction.filled_qty, now
            )
        elif isinstance(correction, CancelOrder):
            self._cancel(correction.order, now)
        elif isinstance(correction, Protect):
            check(correction.symbol)

    def _adopted(self, held: Held, now: datetime) -> Execution:
        """Shares that came without a fill, as one from before the ledger of cash began."""
        first = self._store.first_run()
        assert first is not None
        order_id = f"adopted-{held.symbol}-{now:%Y%m%dT%H%M%S}"
        return Execution(
            execution_id=order_id,
            order_id=order_id,
            client_order_id=None,
            symbol=held.symbol,
            side=Side.BUY,
            qty=held.qty,
            price=held.price,
            cum_qty=held.qty,
            at=first.started_at - timedelta(microseconds=1),
        )

    def _cancel(self, order: BrokerOrder, now: datetime) -> None:
        if self._gateway is None:
            self._gateway = OrderGateway(
                store=self._store,
                broker=self._broker,
                desk=self._desk,
                holder=HOLDER,
                sleep=self._sleep,
                desk_epoch=self._desk_epoch,
            )
        if self._gateway.cancel(order.order_id, now) is None:
            logger.error(
                "an order could not be cancelled",
                extra={"action": "reconcile", "order_id": order.order_id},
            )

    # -- rows
    def _row(self, correction: Correction, now: datetime, verdict: Verdict) -> Decision:
        return Decision(
            decision_id=correction_id(self._desk, correction, now),
            at=_not_before_start(self._store.latest_run(), now),
            kind=DecisionKind.RECONCILE,
            verdict=verdict,
            symbol=correction.symbol,
            strategy=None,
            reason=f"{correction_name(correction)}: {correction.reason}",
            figures=correction.figures,
        )

    def _note(self, reason: str, now: datetime, figures: dict[str, Figure]) -> bool:
        """Store how it went, where the last row does not say so already."""
        run = self._store.latest_run()
        rows = self._store.decisions(kind=DecisionKind.RECONCILE, limit=1)
        at = _not_before_start(run, now)
        if (
            rows
            and rows[-1].decision.reason == reason
            and (run is None or rows[-1].decision.at >= run.started_at)
        ):
            return False
        seq = str(rows[-1].seq if rows else 0)
        return self._store.record_decision(
            Decision(
                decision_id=decision_id(self._desk, "reconciled", reason, seq, at.isoformat()),
                at=at,
                kind=DecisionKind.RECONCILE,
                verdict=Verdict.TAKEN if reason == RECONCILED else Verdict.REFUSED,
                symbol=None,
                strategy=None,
                reason=reason,
                figures=figures,
            )
        )


def _not_before_start(run: Run | None, now: datetime) -> datetime:
    # A replay's present after a restart is that of its last row, before the new start.
    return now if run is None else max(now, run.started_at)


def _is_cash(correction: Correction) -> bool:
    return isinstance(correction, Flag) and correction.what == CASH


def _doubt_name(correction: Flag | AdoptPosition) -> str:
    return f"{correction.symbol} {correction.reason} {sorted(correction.figures.items())}"
