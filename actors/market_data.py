"""Market data: the one owner of the broker's streams, and the road's beginning.

It refuses bad quotes and bars, books fills, wakes the monitors whose band a quote has
left, hands minute bars to the strategist and everything to the recorder. Two
lanes: the protect lane (fills, monitors) never waits for the decide lane
(strategist, risk gate). In a lockstep replay the lanes are joined at the end
of every step, which is then acknowledged; nothing else differs.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from actors.cash_book import CashBook
from actors.corporate_actions import CorporateActions
from actors.decide_lane import DecideLane
from actors.equity_watch import EquityWatch
from actors.inbox import Inbox
from actors.links import (
    GateLink,
    MonitorsLink,
    NightlyLink,
    RecorderLink,
    StrategistLink,
)
from actors.measures import Measures, Stopwatch, StreamLife
from actors.prices import Prices
from actors.reconciler import PERIOD, Reconciler
from actors.recording import Recording
from actors.refusals import Refusals
from actors.side_look import SideLook
from actors.stream_watch import StreamWatch
from greenlight.domain.alerts import Event
from greenlight.domain.desk_state import RiskLimits
from greenlight.domain.ledger import is_flatten
from greenlight.domain.market import (
    Bar,
    Quote,
    Session,
    Tick,
    Unavailable,
    eastern_date,
    session_at,
    session_on,
)
from greenlight.domain.orders import Execution, OrderStatus, Side
from greenlight.domain.positions import OversoldError, Position, WatchBand
from greenlight.domain.trades import Trade
from greenlight.ports import (
    Broker,
    BrokerRefused,
    BrokerUnavailable,
    EquityMark,
    Heartbeat,
    MarketData,
    Notifier,
    StepReady,
    Store,
    StoreUnavailable,
    StreamEvent,
    StreamRefused,
    Streams,
    TradeStreamOpened,
    TradeUpdate,
)

logger = logging.getLogger(__name__)

OPTIONS: Final[dict[str, Any]] = {"name": "market-data", "num_cpus": 0.3, "max_concurrency": 2}
PRE_OPEN: Final = timedelta(minutes=60)
"""Corporate actions are applied and orders checked this long before the open."""
AFTER_CLOSE: Final = timedelta(minutes=5)
"""A session is closed in the books this long after the bell."""
_FLATTEN_EVERY_S: Final = 1.0
"""How often the store is asked whether a person wants every position closed."""
_FOLLOW_AFTER: Final = timedelta(seconds=30)
"""Corporate actions that could not be read are asked for again after this."""
_ASK_AGAIN: Final = timedelta(seconds=3)
"""A broker that did not tell is asked again after this, beside the protect lane."""
_SPLIT_FALL, _SPLIT_RISE = 0.7, 1.4
"""Jumps beyond stop and target: a split of 3:2 takes a price to 0.67, a reverse one of 1:2 to 2."""
_LAST_BAR: Final = timedelta(minutes=1)
_POLL_S: Final = 0.5
_REOPENERS: Final = frozenset({OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REFUSED})


class MarketDataHub:
    """See the module.

    Parameters
    ----------
    desk : str
        Name of the desk, for its decisions.
    symbols : Sequence[str]
        The universe; its symbol changes are followed also where nothing is held.
    limits : RiskLimits
        Those on equity are watched every minute.
    reconciler : Reconciler
        Run at every start and repair, and then every minute; in lockstep at every close,
        and before the open where a split or a change of symbol came.
    is_lockstep : bool
        Join the lanes at every step.
    is_threaded : bool
        False: no lanes of its own; the holder calls `recover` once and then `turn`.
    every_minute : bool
        The strategist wants every minute, not only a session's first.
    now : Callable[[], datetime]
        The present where no event tells it (real time); aware UTC.
    advance : Callable[[datetime], None]
        Told of every event's time.
    monotonic : Callable[[], float]
        Seconds of a clock that never goes back; paces the recording.
    acts_on_scores : bool
        Let the gate act on the scores of what is held, once a session.
    retry_s : float
        Wait between attempts while the store is away, in seconds.
    """

    def __init__(
        self,
        *,
        store: Store,
        broker: Broker,
        market_data: MarketData,
        streams: Streams,
        strategist: StrategistLink,
        gate: GateLink,
        monitors: MonitorsLink,
        recorder: RecorderLink,
        nightly: NightlyLink,
        notifier: Notifier,
        desk: str,
        limits: RiskLimits,
        reconciler: Reconciler,
        is_lockstep: bool,
        is_threaded: bool = True,
        every_minute: bool,
        now: Callable[[], datetime],
        advance: Callable[[datetime], None],
        monotonic: Callable[[], float],
        acts_on_scores: bool = False,
        retry_s: float = 1.0,
        symbols: Sequence[str] = (),
    ) -> None:
        self._store = store
        self._broker = broker
        self._market_data = market_data
        self._streams = streams
        self._strategist = strategist
        self._monitors = monitors
        self._recorder = recorder
        self._nightly = nightly
        self._notifier = notifier
        self._reconciler = reconciler
        self._reconciled_at: datetime | None = None
        self._is_lockstep = is_lockstep
        self._is_inline = is_lockstep or not is_threaded
        self._poll_s = _POLL_S if is_threaded else 0.0
        self._every_minute = every_minute
        self._clock, self._advance = now, advance

        # A lockstep step is whole or it is not told; in real time nothing piles up.
        self._events: queue.SimpleQueue[StreamEvent | None] | Inbox
        self._events = queue.SimpleQueue() if self._is_inline else Inbox()
        self._side: SideLook | None = None if self._is_inline else SideLook(reconciler.look)
        self._stream_watch: StreamWatch | None = None
        if not self._is_inline:
            self._stream_watch = StreamWatch(
                store=store, streams=streams, notifier=notifier, desk=desk, now_s=monotonic()
            )
        self._refusals = Refusals(store=store, notifier=notifier, desk=desk)
        self._prices = Prices(self._refusals)
        self._actions = CorporateActions(
            store=store,
            market_data=market_data,
            monitors=monitors,
            notifier=notifier,
            symbols=symbols,
            desk=desk,
        )
        self._cash_book = CashBook(store=store, broker=broker, notifier=notifier, desk=desk)
        self._deciding = DecideLane(
            strategist=strategist,
            gate=gate,
            acts_on_scores=acts_on_scores,
            is_threaded=not self._is_inline,
            is_lockstep=is_lockstep,
        )
        self._watch = EquityWatch(store=store, broker=None, notifier=notifier, limits=limits)
        self._bands: dict[str, WatchBand] = {}
        self._holdings: dict[str, int] = {}
        self._cash: Decimal | None = None

        self._fresh: list[Quote] = []
        self._ticks: list[Tick] = []
        self._bars: list[Bar] = []
        self._recording = Recording(recorder, monotonic)
        self._monotonic = monotonic
        self._flatten_s = monotonic()
        self._minute: datetime | None = None
        self._opened: date | None = None
        self._followed: date | None = None
        self._follow_again: datetime | None = None
        self._closed: date | None = None
        self._decided: date | None = None
        self._is_repair_due = self._is_unpaid = self._is_untold = False
        self._retry_s = retry_s
        self._steps = 0

        self._tick_to_exit = Stopwatch()
        self._taken_s = self._flatten_s
        self._event_s: float | None = None
        self._is_trade_stream_open = False
        self._told_refusals: set[str] = set()

        self._stopping = threading.Event()
        self._worker = threading.Thread(target=self._run, name="protect", daemon=True)
        if is_threaded:
            self._worker.start()

    # -- asked by others
    def ping(self) -> str:
        """Answer, as proof of life.

        Raises
        ------
        RuntimeError
            A lane has ended; the supervisor then replaces this actor.
        """
        if not self._worker.is_alive():
            raise RuntimeError("the protect lane has ended")
        return "market-data"

    def status(self) -> dict[str, object]:
        """Counts for `greenlight status`: steps, refused quotes by reason, stale symbols."""
        now = self._clock()
        return {
            "now": now,
            "steps": self._steps,
            "refused": dict(self._refusals.by_reason),
            "stale": self.stale_symbols(now),
            "bands": sorted(self._bands),
        }

    def stream(self) -> StreamLife:
        """How long the broker's streams have been silent."""
        now, event_s = self._clock(), self._event_s
        silent_s: float | Unavailable = Unavailable("no event yet")
        if event_s is not None and self._is_trade_stream_open:
            silent_s = self._monotonic() - event_s
        elif event_s is not None:
            silent_s = Unavailable("the trade stream has not opened yet")
        return StreamLife(silent_s=silent_s, is_in_session=session_at(now) is not None)

    def measures(self) -> Measures:
        """Latencies, queues and refused input since this actor began."""
        faults = dict(self._refusals.by_reason)
        if isinstance(self._events, Inbox) and self._events.dropped:
            faults["inbox_full"] = self._events.dropped
        return Measures(
            latencies={"tick_to_exit": self._tick_to_exit.read()},
            queues={
                "events": self._events.qsize(),
                "decisions": self._deciding.waiting,
                "unflushed_batches": self._recording.unflushed,
                "unsent_rows": self._recording.rows,
            },
            faults=faults,
        )

    def stale_symbols(self, now: datetime) -> list[str]:
        """Symbols whose last good quote is too old to decide on."""
        return self._prices.stale(now)

    def stop(self) -> None:
        """Disconnect and end the lanes."""
        self._stopping.set()
        self._deciding.stop()
        self._streams.stop()
        self._events.put(None)
        self._worker.join(timeout=10)
        if self._side is not None:
            self._side.close()

    # -- the protect lane
    def _run(self) -> None:
        self.recover()
        while not self._stopping.is_set():
            self.turn()

    def turn(self) -> None:
        """Take what has arrived and see it through; a failure is repaired in a later turn."""
        try:
            self._cycle()
        except StoreUnavailable as error:
            # Nothing is lost: the broker's stops rest, and fills are asked for again.
            logger.error("store away: %s", error, extra={"action": "store_away"})
            self._after_failure()
            self._stopping.wait(self._retry_s)
        except Exception:
            logger.exception("a cycle failed", extra={"action": "cycle"})
            self._after_failure()
            self._stopping.wait(min(0.1, self._retry_s))

    def _after_failure(self) -> None:
        self._is_repair_due = True
        if not self._is_lockstep:
            # They may come for long while nothing is seen through.
            self._recording.keep(self._fresh, self._ticks)
            self._fresh, self._ticks = [], []

    def recover(self) -> None:
        """See through what an earlier life left half done, then listen."""
        self._see_through()
        self._streams.start(self._events.put)

    def _see_through(self) -> None:
        while not self._stopping.is_set():
            try:
                self._repair(self._clock())
                self._deciding.sweep(self._clock())
                self._recording.resume()
                return
            except (StoreUnavailable, BrokerUnavailable, BrokerRefused) as error:
                logger.error("cannot start: %s", error, extra={"action": "recover"})
                self._stopping.wait(self._retry_s)

    def _cycle(self) -> None:
        """Take what has arrived (or the clock's turn) and see it through."""
        try:
            event = self._events.get(timeout=self._poll_s)
        except queue.Empty:
            if not self._is_lockstep:
                self._conclude(self._clock())
                self._record()
            return
        self._taken_s = self._event_s = self._monotonic()
        step: StepReady | None = None
        while event is not None:
            if isinstance(event, StepReady):
                step = event
                break
            self._take(event)
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                break
        if step is not None:
            self._steps += 1
            self._advance(step.at)
            try:
                self._conclude(step.at)
            except Exception:
                # The exchange waits for this step: see it through again.
                self._events.put(step)
                raise
            self._streams.acknowledge(step)
        elif not self._is_lockstep:
            self._conclude(self._clock())
        self._record()

    def _take(self, event: StreamEvent) -> None:
        watch = self._stream_watch
        if watch is not None and isinstance(event, Quote | Bar):
            watch.hear_price(self._taken_s)
        if isinstance(event, Quote):
            if self._prices.take(event, self._clock()):
                self._advance(event.at)
                self._fresh.append(event)
        elif isinstance(event, Bar):
            self._advance(event.end)
            if self._prices.takes_bar(event, self._clock()):
                self._bars.append(event)
        elif isinstance(event, Tick):
            self._ticks.append(event)
        elif isinstance(event, TradeUpdate):
            self._advance(event.at)
            if watch is not None:
                watch.hear_order(event.order.order_id)
            self._take_update(event)
        elif isinstance(event, StreamRefused):
            self._tell_refused(event.reason)
        elif isinstance(event, TradeStreamOpened):
            self._is_trade_stream_open = True
            if watch is not None:
                watch.begin_orders()
                self._is_repair_due = True
            else:
                self._repair(self._clock())

    def _tell_refused(self, reason: str) -> None:
        logger.error("price stream: %s", reason, extra={"action": "stream_refused"})
        if reason not in self._told_refusals:
            self._told_refusals.add(reason)
            self._notifier.alert(f"the broker refuses the price stream: {reason}")

    # -- fills
    def _take_update(self, update: TradeUpdate) -> None:
        order = update.order
        if update.fill is not None:
            self._book(update.fill)
        elif order.side is Side.BUY and order.status is OrderStatus.WORKING:
            # A monitor takes a second or two to start, and its fill comes after this.
            self._monitors.prepare(order.symbol)
        self._store.record_order_status(order.order_id, order.status, order.filled_qty, update.at)
        has_lost_stop = order.side is Side.SELL and order.status in _REOPENERS
        if has_lost_stop and order.symbol in self._holdings:
            self._changed(order.symbol, update.at)

    def _book(self, fill: Execution) -> None:
        try:
            booking = self._store.book_fill(fill, Decimal(0))
        except OversoldError as error:
            logger.error("ledger: %s", error, extra={"action": "oversold"})
            text = f"{fill.symbol}: the ledger and the broker disagree: {error}"
            self._notifier.alert(text, event=Event.DRIFT)
            return
        if booking.is_duplicate:
            return
        position = booking.position
        if position is not None:
            _log_fill(fill, position, booking.trade)
        self._cash = self._store.cash()
        if position is not None and position.is_open:
            self._holdings[fill.symbol] = position.qty
        else:
            self._holdings.pop(fill.symbol, None)
        self._changed(fill.symbol, fill.at)

    def _changed(self, symbol: str, at: datetime) -> None:
        now = max(self._clock(), at)
        quote = self._prices.last(symbol)
        self._keep_band(symbol, self._monitors.on_change(symbol, quote, now))

    def _keep_band(self, symbol: str, band: WatchBand | None) -> None:
        if band is None:
            self._bands.pop(symbol, None)
        else:
            self._bands[symbol] = band

    def _book_missed(self, fill: Execution) -> None:
        day = eastern_date(fill.at)
        if self._followed is None or self._followed < day:
            # Its shares are those after that morning's split, under that morning's name.
            self._follow_actions(day, self._clock())
        self._book(fill)

    def _reconcile(self, now: datetime) -> None:
        self._reconciled_at = now
        if self._side is not None:
            self._side.forget()

        def check(symbol: str) -> None:
            self._keep_band(symbol, self._monitors.check(symbol, now))

        self._reconciler.run(
            now, book=self._book_missed, check=check, book_cash=lambda: self._book_cash(now)
        )

    def _reconcile_again(self, now: datetime) -> None:
        """Between repairs nothing waits for a broker that does not tell."""
        with suppress(BrokerUnavailable, BrokerRefused):
            self._reconcile(now)

    def _repair(self, now: datetime) -> None:
        """After a gap or a failure: see through what it left half done, before anything else.

        A fill may be booked without its monitor knowing, or not booked at all; a
        stop may be lost.
        """
        before = set(self._holdings) | set(self._bands)
        self._reload_positions()
        self._reconcile(now)
        for symbol in sorted(before | set(self._holdings)):
            self._changed(symbol, now)
        self._book_cash(now)
        self._is_repair_due = False

    def _reload_positions(self) -> None:
        self._holdings = {p.symbol: p.qty for p in self._store.open_positions()}
        self._cash = self._store.cash()
        # Equity is marked with the last prices there are until the stream brings newer ones.
        unseen = self._prices.missing(self._holdings)
        try:
            self._prices.seed(self._market_data.latest_quotes(unseen).values())
        except BrokerUnavailable as error:
            if self._is_lockstep:
                raise
            logger.warning("no prices over REST: %s", error, extra={"action": "seed_prices"})

    def _compare(self, now: datetime) -> None:
        """Agree with the broker: after a gap at once, else by the period.

        In real time an exit must not wait for a broker that does not answer: it
        is asked beside the lane, and once it answers what is due is done in the lane.
        """
        if self._is_repair_due and not self._is_untold:
            try:
                self._repair(now)
            except (BrokerUnavailable, BrokerRefused) as error:
                if self._side is None:
                    raise
                logger.error("cannot repair: %s", error, extra={"action": "repair"})
                self._is_untold = True
        every = _ASK_AGAIN if self._is_untold else PERIOD
        is_due = self._reconciled_at is None or now - self._reconciled_at >= every
        if self._side is None:
            if is_due and not self._is_lockstep:
                self._reconcile_again(now)
        elif is_due or self._side.is_asked:
            self._look_aside(self._side, now)

    def _look_aside(self, side: SideLook, now: datetime) -> None:
        try:
            agrees = side.poll(now)
        except (BrokerUnavailable, BrokerRefused) as error:
            self._is_untold, self._reconciled_at = True, now
            self._reconciler.note_silence(error, now)
            return
        if agrees is None:
            return
        self._is_untold, self._reconciled_at = False, now
        if self._is_repair_due:
            # It answers again: the next cycle begins with the repair.
            return
        if agrees:
            self._reconciler.note_agreement(now)
        else:
            self._reconcile_again(now)

    # -- a cycle's end
    def _conclude(self, now: datetime) -> None:
        session = session_on(eastern_date(now))
        if self._stream_watch is not None:
            in_session = session is not None and session.open < now < session.close
            if self._stream_watch.is_mute(self._monotonic(), in_session=in_session):
                self._is_repair_due = True
        self._compare(now)
        self._refusals.store_new()
        if session is not None:
            self._open_day(session, now)
        self._wake_monitors(now)
        self._flatten(session, now)
        self._hand_on(session, now)
        for symbol in self._deciding.to_leave():
            self._changed(symbol, now)
        if session is not None and now >= session.close + AFTER_CLOSE:
            self._close_day(session, now)

    def _open_day(self, session: Session, now: datetime) -> None:
        if self._opened == session.day or not session.open - PRE_OPEN <= now < session.close:
            return
        if self._follow_again is not None and now < self._follow_again:
            return
        try:
            told = self._follow_actions(session.day, now)
        except (BrokerUnavailable, BrokerRefused) as error:
            logger.error("no corporate actions: %s", error, extra={"action": "open_day"})
            if self._holdings and self._follow_again is None:
                self._notifier.alert(
                    f"splits of today are not known ({error}); no exit follows a price "
                    "that jumped like one, stops at the broker stay"
                )
            self._follow_again = now + _FOLLOW_AFTER
            return
        self._follow_again = None
        for symbol in sorted(set(self._holdings) - told):
            self._keep_band(symbol, self._monitors.check(symbol, now))
        self._book_cash(now)
        self._reload_positions()
        if self._is_lockstep and told:
            self._reconcile_again(now)
        self._opened = session.day

    def _book_cash(self, now: datetime) -> bool:
        """Whether there was anything to book.

        Nobody waits for a payment: where the broker is silent, the next minute asks again.
        """
        self._is_unpaid = True
        try:
            booked = self._cash_book.update(now)
        except (BrokerUnavailable, BrokerRefused) as error:
            logger.warning("no cash activities: %s", error, extra={"action": "cash"})
            return False
        self._is_unpaid = False
        self._cash = self._store.cash()
        if booked:
            self._watch.rebase()
        return bool(booked)

    def _follow_actions(self, day: date, now: datetime) -> set[str]:
        """Splits and symbol changes up to a day; the symbols whose monitors have looked."""
        found = self._actions.apply(day, now)
        for change in found.changes:
            self._streams.rename(change.old, change.new)
            self._prices.rename(change.old)
        for symbol, band in found.bands.items():
            self._keep_band(symbol, band)
        self._prices.split(found.ex_dates)
        self._reload_positions()
        self._followed = day
        return set(found.bands)

    def _wake_monitors(self, now: datetime) -> None:
        session = session_on(eastern_date(now))
        if session is None or not session.open < now <= session.close:
            return
        fresh = {quote.symbol for quote in self._fresh}
        woken: list[tuple[str, Quote | None]] = []
        for symbol, band in sorted(self._bands.items()):
            quote = self._prices.last(symbol) if symbol in fresh else None
            if quote is not None and self._may_be_split(session, band, quote):
                continue
            has_left = quote is not None and not band.low < quote.bid < band.high
            if has_left or now >= band.wake_at:
                woken.append((symbol, quote or self._prices.recent(symbol, now)))
        if woken:
            for symbol, after in self._monitors.on_quotes(woken, now).items():
                before = self._bands.get(symbol)
                if after is not None and after.is_leaving and before and not before.is_leaving:
                    self._tick_to_exit.add(self._monotonic() - self._taken_s)
                self._keep_band(symbol, after)

    def _flatten(self, session: Session | None, now: datetime) -> None:
        """Leave every position while a person's request stands; paced by the wall clock.

        The request is a row of the store, so it needs no actor but this one and
        the monitors, and outlives both.
        """
        if session is None or not session.open < now < session.close:
            return
        elapsed_s = self._monotonic() - self._flatten_s
        if elapsed_s < _FLATTEN_EVERY_S:
            return
        self._flatten_s += elapsed_s
        if not any(is_flatten(halt.reason) for halt in self._store.halts_in_force(now)):
            return
        self._deciding.hurry(now)
        for symbol in sorted(self._holdings):
            self._keep_band(symbol, self._monitors.leave(symbol, self._prices.last(symbol), now))

    def _may_be_split(self, session: Session, band: WatchBand, quote: Quote) -> bool:
        """Whether splits are not known and the price jumped like one: its stop may be old."""
        if self._followed == session.day:
            return False
        return quote.bid < _SPLIT_FALL * band.low or quote.bid > _SPLIT_RISE * band.high

    def _hand_on(self, session: Session | None, now: datetime) -> None:
        """Beats and marks to the recorder, bars to the strategist."""
        self._note(session, now)
        in_session = session is not None and session.open < now < session.close
        is_first = in_session and session is not None and self._decided != session.day
        # The last bar ends with the session: nothing is bought on it, but the next
        # session's indicators rest on it, as they do after a recovery.
        is_last = session is not None and session.close <= now < session.close + _LAST_BAR
        is_due = self._every_minute and (in_session or is_last)
        wants = bool(self._bars) and (is_due or is_first)
        if wants or (in_session and self._deciding.is_due(now)):
            self._deciding.hand_over(self._bars if wants else [], self._prices.all(), now)
            if wants and session is not None:
                self._decided = session.day

    def _note(self, session: Session | None, now: datetime) -> None:
        """Once a minute: the desk's heartbeat, and its equity held against the limits."""
        minute = now.replace(second=0, microsecond=0)
        # The minute that ends at the close is proved by what happens just after it.
        in_session = session is not None and session.open < minute <= session.close
        if in_session and minute != self._minute:
            self._minute = minute
            if self._is_unpaid:
                self._book_cash(now)
            if self._deciding.is_well:
                # What happened at 14:31 proves the minute from 14:30.
                beat = Heartbeat(component="desk", at=minute - timedelta(minutes=1))
                self._recording.add_beat(beat)
            mark = self._mark(now)
            if mark is not None and session is not None:
                self._recording.add_mark(mark)
                self._watch.check(mark.equity_usd, session, now)

    def _record(self) -> None:
        """Keep what was seen; in lockstep while the exchange works on the next step."""
        quotes, ticks, bars = self._fresh, self._ticks, self._bars
        self._fresh, self._ticks, self._bars = [], [], []
        self._recording.add(quotes, ticks, bars)

    def _mark(self, now: datetime) -> EquityMark | None:
        """Ledger cash and positions at their mids; None where a price is missing."""
        if self._cash is None:
            return None
        exposure = Decimal(0)
        for symbol, qty in self._holdings.items():
            quote = self._prices.last(symbol)
            if quote is None:
                return None
            exposure += qty * (Decimal(repr(quote.bid)) + Decimal(repr(quote.ask))) / 2
        return EquityMark(
            at=now,
            equity_usd=self._cash + exposure,
            cash_usd=self._cash,
            exposure_usd=exposure,
            source="desk",
        )

    def _close_day(self, session: Session, now: datetime) -> None:
        if self._closed == session.day:
            return
        self._deciding.sweep(now)
        if self._is_lockstep:
            self._reconcile_again(now)
        if self._every_minute:
            self._strategist.save()
        self._refusals.close(now)
        self._record()
        self._recording.send(flush=True)
        self._nightly.close_session(now)
        self._recorder.close_session(now)
        self._nightly.finish()
        self._closed = session.day


def _log_fill(fill: Execution, position: Position, trade: Trade | None) -> None:
    correlated = {"correlation_id": position.correlation_id, "symbol": fill.symbol}
    logger.info(
        "%s filled",
        fill.side,
        extra={
            "action": "fill",
            **correlated,
            "client_order_id": fill.client_order_id,
            "order_id": fill.order_id,
            "side": fill.side,
            "qty": fill.qty,
            "price_usd": fill.price,
            "position_qty": position.qty,
            "filled_at": fill.at,
        },
    )
    if trade is not None:
        logger.info(
            "position closed",
            extra={
                "action": "close",
                **correlated,
                "exit_reason": trade.exit_reason,
                "pnl_usd": trade.pnl_usd,
            },
        )
