"""What the desk needs from outside, as Protocols.

`greenlight.adapters` implements them on the real things and
`greenlight.testing` in memory; the same contract tests run on both.
Times are aware UTC, prices at the broker's edge `Decimal` US dollars.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from greenlight.domain.alerts import Alert, Event, Posted, Status
from greenlight.domain.audit import (
    ChainedDecision,
    Decision,
    DecisionKind,
    Verdict,
)
from greenlight.domain.cash import CashActivity, CashMoved
from greenlight.domain.corporate_actions import DividendPaid
from greenlight.domain.drills import Drill
from greenlight.domain.evidence_rows import OutOfSample, UniverseReturn
from greenlight.domain.forecasts import FailedForecast, VolatilityForecast, VolatilityScore
from greenlight.domain.market import Bar, Quote, Split, SymbolChange, Tick, Unavailable
from greenlight.domain.orders import (
    BrokerOrder,
    Execution,
    OrderIntent,
    OrderRecord,
    OrderStatus,
    Outcome,
)
from greenlight.domain.positions import Position
from greenlight.domain.sentiment import (
    GivenReading,
    Headline,
    ModelStanding,
    Opinion,
    Rating,
    Reading,
)
from greenlight.domain.trades import Trade
from greenlight.domain.trials import Trial, WalkForward
from greenlight.domain.twin import TwinOutcome


class FencedError(RuntimeError):
    """The caller's epoch is not the current one: another has taken over."""


class StoreUnavailable(ConnectionError):
    """The store does not answer. No entry is made; broker-side stops stay."""


class SchemaError(RuntimeError):
    """The store's schema is newer than this program, or broken."""


class BrokerUnavailable(ConnectionError):
    """The broker gave no usable answer to a question (time-out, 5xx, HTML, connection)."""


class BrokerRefused(RuntimeError):
    """The broker answered a question with a refusal, such as a revoked key."""

    def __init__(self, http_status: int, code: int | None, message: str) -> None:
        super().__init__(f"HTTP {http_status}: {message}")
        self.http_status = http_status
        self.code = code
        self.message = message


class Clock(Protocol):
    """The only source of the present."""

    def now(self) -> datetime:
        """The present, aware UTC; in a replay the exchange's time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAccount:
    """The account as the broker reports it; US dollars."""

    account_number: str
    status: str
    equity: Decimal
    last_equity: Decimal
    cash: Decimal
    buying_power: Decimal
    is_trading_blocked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPosition:
    """A position as the broker reports it; `qty` is negative for a short."""

    symbol: str
    qty: int
    qty_available: int
    avg_entry_price: Decimal
    current_price: Decimal | None


class Broker(Protocol):
    """Orders and account at the broker.

    Questions raise `BrokerUnavailable` or `BrokerRefused`. Commands never
    raise for what the broker or the network did: they return an outcome.
    """

    def submit(self, intent: OrderIntent) -> Outcome:
        """Send an order (or, where `intent.replaces` is set, change one's price)."""
        ...

    def cancel(self, order_id: str) -> Outcome | None:
        """Ask to cancel; None means the request was taken (it is asynchronous)."""
        ...

    def find_order(self, client_order_id: str) -> BrokerOrder | None:
        """The order of that name with its legs, or None while the broker knows none."""
        ...

    def order(self, order_id: str) -> BrokerOrder | None:
        """The order of that broker's id with its legs, or None."""
        ...

    def open_orders(self, symbol: str | None = None) -> tuple[BrokerOrder, ...]:
        """Orders that can still fill, `held` legs included, flattened."""
        ...

    def positions(self) -> tuple[BrokerPosition, ...]:
        """All positions."""
        ...

    def account(self) -> BrokerAccount:
        """The account."""
        ...

    def executions(self, after: datetime) -> tuple[Execution, ...]:
        """Fills at or after an instant, oldest first."""
        ...

    def cash_activities(self, after: datetime) -> tuple[CashActivity, ...]:
        """What moved cash besides fills after an instant, oldest first, of every type.

        One that the broker has cancelled has 0 dollars.
        """
        ...


class MarketData(Protocol):
    """History and latest values over REST. Raises `BrokerUnavailable`."""

    def bars(
        self, symbols: Sequence[str], timeframe: str, start: datetime, end: datetime
    ) -> dict[str, list[Bar]]:
        """Completed bars ("1Min" or "1Day") with start <= bar start < end, raw prices."""
        ...

    def latest_quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The last quote of each symbol that has one."""
        ...

    def splits(self, symbols: Sequence[str], start: date, end: date) -> tuple[Split, ...]:
        """Share splits with an ex-date from `start` to `end`, both included."""
        ...

    def symbol_changes(
        self, symbols: Sequence[str], start: date, end: date
    ) -> tuple[SymbolChange, ...]:
        """New names of these symbols from `start` to `end`, both included, oldest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityMark:
    """Marked equity at an instant. `source` is "desk" (ledger and mids) or "broker"."""

    at: datetime
    equity_usd: Decimal
    cash_usd: Decimal
    exposure_usd: Decimal
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """A component was at work at an instant (one row a market minute)."""

    component: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of a position live sell stops at the broker covered at an instant.

    `covered_qty` is what the broker reported, never what was asked for.
    """

    position_id: str
    symbol: str
    at: datetime
    position_qty: int
    covered_qty: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """Entries are halted from `at` until `until` (None: until a person resumes)."""

    halt_id: int
    at: datetime
    until: datetime | None
    reason: str
    lifted_at: datetime | None
    lifted_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One life of the desk: what it traded on and since when.

    `account_kind` is "replay", "paper" or "live"; evidence of different kinds
    or accounts is never mixed. `is_synthetic` marks a made-up intraday path.
    `fingerprint` hashes code, strategies, parameters and limits.
    """

    run_id: str
    started_at: datetime
    account_kind: str
    account_number: str
    source: str
    is_synthetic: bool
    start_cash_usd: Decimal
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """What booking a fill did. `position` and `trade` are None for a duplicate."""

    is_duplicate: bool
    position: Position | None
    trade: Trade | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgingFacts:
    """What a judgement of one signal rests on in the store; see `Store.judging_facts`."""

    decided: Decision | None
    positions: Sequence[Position]
    open_orders: Sequence[OrderRecord]
    entries: Sequence[Decision]
    halts: Sequence[Halt]
    lifted: Sequence[Halt]
    movements: Sequence[CashMoved]
    trades: Sequence[Trade]
    run: Run | None
    reconciled: Decision | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyState:
    """What a strategy remembers of one symbol, after the bar that ended at `at`."""

    strategy: str
    symbol: str
    at: datetime
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many rows of a kind there are.

    `of` is "orders" (by role and status, legs included), "decisions" (by kind and
    verdict), "fills" (by side) or "trades" (by exit reason), where `detail` is "".
    """

    of: str
    label: str
    detail: str
    count: int


class Store(Protocol):
    """The truth: PostgreSQL. Every method raises `StoreUnavailable` when it is away.

    Writes that return bool are idempotent: False means it was there already.
    Reads are bounded by a window or a limit.
    """

    # -- life
    def start_run(self, run: Run) -> None:
        """Record that the desk started."""
        ...

    def latest_run(self) -> Run | None:
        """The last run that started."""
        ...

    def first_run(self) -> Run | None:
        """The first run of the latest run's account: where its ledger of cash begins."""
        ...

    # -- fencing
    def take_desk(self) -> int:
        """Become the one desk of this store: a new epoch of the desk.

        Every holder of an epoch is fenced with it, so that nothing that an
        earlier desk still runs can record an intent.
        """
        ...

    def desk_epoch(self) -> int:
        """The current epoch of the desk; 0 before the first."""
        ...

    def take_epoch(self, holder: str, desk_epoch: int | None = None) -> int:
        """Become the one `holder` of a new, higher epoch; earlier ones are fenced.

        Raises
        ------
        FencedError
            `desk_epoch` is given and no longer current: another desk has taken over.
        """
        ...

    def epoch(self, holder: str) -> int:
        """The current epoch of a holder; 0 before the first."""
        ...

    # -- decisions and orders
    def record_decision(self, decision: Decision) -> bool:
        """Append to the chain."""
        ...

    def record_intent(self, intent: OrderIntent, decision: Decision | None) -> bool:
        """In one transaction: check the epoch, append the decision, insert the order.

        Raises
        ------
        FencedError
            The intent's epoch is not its holder's current one; nothing is written.
        """
        ...

    def record_outcome(self, client_order_id: str, outcome: Outcome, at: datetime) -> None:
        """Write what became of sending; legs of an OCO get rows of their own."""
        ...

    def record_order_status(
        self, order_id: str, status: OrderStatus, filled_qty: int, at: datetime
    ) -> None:
        """Write what the broker reported; never back from a terminal status."""
        ...

    def order(self, client_order_id: str) -> OrderRecord | None:
        """One of our orders."""
        ...

    def open_orders(self, symbol: str | None = None) -> list[OrderRecord]:
        """Our orders whose status is not terminal, oldest first."""
        ...

    def decisions(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        symbol: str | None = None,
        kind: DecisionKind | None = None,
        verdict: Verdict | None = None,
        limit: int | None = 1000,
    ) -> list[ChainedDecision]:
        """Decisions in chain order (the last `limit` of them); limit None is all."""
        ...

    def decision(self, decision_id: str) -> Decision | None:
        """One decision by its id."""
        ...

    # -- fills, positions, trades
    def book_fill(self, fill: Execution, fees_usd: Decimal) -> Booking:
        """Book one fill, once, in one transaction.

        The fill row (unique by order_id and cum_qty), the order's filled
        quantity, the position (`positions.apply_fill`, with the plan of the
        entry's decision), and on closing the trade (`trades.round_trip`).
        """
        ...

    def adjust_position(self, position: Position, decision: Decision) -> bool:
        """Replace symbol, quantity, stop and target of an open position (a corporate action).

        False, and nothing changed, where the decision was recorded before or
        the position is not open.
        """
        ...

    def book_dividend(self, paid: DividendPaid, decision: Decision) -> bool:
        """Book a payment once (by its activity id), with its decision, in one transaction."""
        ...

    def dividends(
        self, *, start: datetime | None = None, limit: int | None = 1000
    ) -> list[DividendPaid]:
        """Payments oldest first (the last `limit` of them); no trade's gain has them."""
        ...

    def book_cash(self, moved: CashMoved, decision: Decision) -> bool:
        """Book a movement once (by its activity id), with its decision, in one transaction.

        Raises
        ------
        ValueError
            It does not say when it was booked.
        """
        ...

    def cash_movements(
        self, *, start: datetime | None = None, limit: int | None = 1000
    ) -> list[CashMoved]:
        """Movements besides fills and dividends, oldest first (the last `limit` of them)."""
        ...

    def leave_by(self, position: Position, exit_by: datetime, decision: Decision) -> bool:
        """Set when an open position is to be left, and nothing else of it."""
        ...

    def judging_facts(
        self,
        decision_id: str,
        now: datetime,
        *,
        entries_since: datetime,
        equity_since: datetime,
        trades: int,
    ) -> JudgingFacts:
        """What a judgement rests on, read together.

        Parameters
        ----------
        decision_id : str
            The judgement's own name: `decided` says whether it has been made.
        entries_since : datetime
            `entries` are those taken from here on.
        equity_since : datetime
            `lifted` and `movements` go back to here.
        trades : int
            So many of the last trades.
        """
        ...

    def position(self, symbol: str) -> Position | None:
        """The open position of a symbol."""
        ...

    def open_positions(self) -> list[Position]:
        """All open positions by symbol."""
        ...

    def fills(self, *, start: datetime | None = None, limit: int | None = 1000) -> list[Execution]:
        """Fills oldest first (the last `limit` of them)."""
        ...

    def trades(self, *, start: datetime | None = None, limit: int | None = 1000) -> list[Trade]:
        """Closed trades by closing time, oldest first (the last `limit` of them)."""
        ...

    def cash(self) -> Decimal | None:
        """Start cash of the account and all that was booked since; None before a run."""
        ...

    # -- evidence
    def write_bars(self, bars: Sequence[Bar]) -> None:
        """Bulk; a repeated bar is left as it was."""
        ...

    def write_quotes(self, quotes: Sequence[Quote]) -> None:
        """Bulk, into the ticks table; append only."""
        ...

    def write_ticks(self, ticks: Sequence[Tick]) -> None:
        """Bulk, into the ticks table; append only."""
        ...

    def write_equity(self, marks: Sequence[EquityMark]) -> None:
        """Bulk; a repeated instant and source is left as it was."""
        ...

    def write_heartbeats(self, beats: Sequence[Heartbeat]) -> None:
        """Bulk; a repeated beat is left as it was."""
        ...

    def write_coverage(self, coverage: Sequence[Coverage]) -> None:
        """Append coverage as read from the broker."""
        ...

    def bars(self, symbol: str, timeframe: str, start: datetime, end: datetime) -> list[Bar]:
        """Stored bars with start <= bar start < end."""
        ...

    def equity(self, start: datetime, end: datetime, source: str) -> list[EquityMark]:
        """Marks in [start, end), oldest first."""
        ...

    def heartbeat_minutes(self, component: str, start: datetime, end: datetime) -> list[datetime]:
        """The distinct minutes (UTC, truncated) in [start, end) with a heartbeat."""
        ...

    def coverage(self, start: datetime, end: datetime) -> list[Coverage]:
        """Coverage rows in [start, end), oldest first."""
        ...

    def closed_positions(self, start: datetime) -> list[Position]:
        """Positions closed at or after `start`."""
        ...

    def tallies(self) -> list[Tally]:
        """All orders, decisions, fills and trades counted, in the order of their names."""
        ...

    # -- halts, strategy memory, evaluations
    def halt(self, *, at: datetime, until: datetime | None, reason: str) -> None:
        """Halt entries, with its decision row, in one transaction."""
        ...

    def resume(self, *, at: datetime, reason: str) -> int:
        """Lift all halts in force; how many there were."""
        ...

    def halts_in_force(self, now: datetime) -> list[Halt]:
        """Halts not lifted whose `until` is None or later than `now`."""
        ...

    def lifted_halts(self, start: datetime) -> list[Halt]:
        """Halts lifted at or after `start`, in the order of lifting."""
        ...

    def save_strategy_states(self, states: Sequence[StrategyState]) -> None:
        """Replace what the strategies remember, all in one transaction."""
        ...

    def strategy_states(self, strategy: str) -> list[StrategyState]:
        """What a strategy remembers, by symbol."""
        ...

    def save_evaluation(self, at: datetime, evaluation: Mapping[str, object]) -> None:
        """Store a readiness evaluation (as JSON); a repeated instant replaces nothing."""
        ...

    def evaluations(
        self, start: datetime, end: datetime
    ) -> list[tuple[datetime, dict[str, object]]]:
        """Stored evaluations in [start, end), oldest first."""
        ...

    # -- drills
    def record_drill(self, drill: Drill) -> bool:
        """Store a drill; one of the same kind and instant is left as it was."""
        ...

    def drills(self, *, start: datetime | None = None, limit: int | None = 1000) -> list[Drill]:
        """Drills oldest first (the last `limit` of them)."""
        ...

    # -- volatility
    def write_forecasts(self, made: Sequence[VolatilityForecast | FailedForecast]) -> None:
        """Store forecasts and failed attempts; a repeated symbol and instant stays."""
        ...

    def latest_forecasts(self, start: datetime, end: datetime) -> list[VolatilityForecast]:
        """The newest forecast of each symbol made in [start, end), by symbol."""
        ...

    def failed_forecasts(self, start: datetime, end: datetime) -> list[FailedForecast]:
        """Attempts in [start, end) that failed, oldest first."""
        ...

    def write_volatility_scores(self, scores: Sequence[VolatilityScore]) -> None:
        """Store scores; a repeated session, symbol and method stays."""
        ...

    def volatility_scores(self, start: date, end: date) -> list[VolatilityScore]:
        """Scores of the sessions from `start` to `end`, both included, by session and symbol."""
        ...

    # -- outbox
    def put_alert(self, alert: Alert) -> bool:
        """Keep an alert whose cause has no row of its own; False where its key is there.

        All others are written with their cause: a fill that opens or closes a position,
        a refused protective order, and the decisions that `alerts.of_decision` names.
        """
        ...

    def open_alerts(self, limit: int = 100) -> list[Posted]:
        """The first alerts whose telling is not at its end, in the order of writing."""
        ...

    def unacknowledged_alerts(self, limit: int = 100) -> list[Posted]:
        """Critical alerts that were told and that nobody has acknowledged."""
        ...

    def alerts(self, *, start: datetime | None = None, limit: int | None = 1000) -> list[Posted]:
        """Alerts in the order of writing (the last `limit` of them)."""
        ...

    def mark_alert(
        self, seq: int, status: Status, *, doubts: int, at: datetime, note: str | None = None
    ) -> None:
        """Write how far the telling has come (`at`: by the clock of the one who tells).

        Raises
        ------
        LookupError
            There is no such alert.
        ValueError
            The status cannot follow the one before.
        """
        ...

    def acknowledge_alerts(self, at: datetime) -> int:
        """Acknowledge every critical alert that was told; how many there were."""
        ...

    # -- trials
    def record_trial(self, trial: Trial) -> bool:
        """Keep a trial in the ledger; False where it was there already."""
        ...

    def trials(self, limit: int | None = 1000) -> list[Trial]:
        """Trials oldest first (the last `limit` of them)."""
        ...

    # -- walk-forwards
    def keep_walkforward_part(self, run_id: str, part: int, result: bytes) -> None:
        """Keep a part of a run that has not ended; a repeated one stays."""
        ...

    def walkforward_parts(self, run_id: str) -> dict[int, bytes]:
        """The kept parts of a run that has not ended, by number."""
        ...

    def record_walkforward(self, done: WalkForward) -> None:
        """Keep a run that ended, and let its parts go; one run again takes its own place."""
        ...

    def walkforwards(self, limit: int | None = 1000) -> list[WalkForward]:
        """Runs that ended, oldest first (the last `limit` of them)."""
        ...

    # -- the gate
    def write_universe_returns(self, returns: Sequence[UniverseReturn]) -> None:
        """Store returns of the universe; a repeated day stays."""
        ...

    def universe_returns(self, start: date, end: date) -> list[UniverseReturn]:
        """Returns of the universe from `start` to `end`, both included, by day."""
        ...

    def record_out_of_sample(self, run: OutOfSample) -> None:
        """Keep a walk-forward's judging days; a repeated run stays."""
        ...

    def out_of_samples(self, fingerprint: str) -> list[OutOfSample]:
        """The judging days of a fingerprint's walk-forwards, oldest first."""
        ...

    def record_calibration(
        self, at: datetime, policy_hash: str, report: Mapping[str, object]
    ) -> None:
        """Keep how often the gate was wrong (as JSON); a repeated instant stays."""
        ...

    def latest_calibration(self, now: datetime) -> tuple[datetime, str, dict[str, object]] | None:
        """The newest calibration up to `now`: when, of which policy, and its report."""
        ...

    # -- twins
    def record_twin(self, outcome: TwinOutcome) -> None:
        """Keep what a session's twin came to; run again, it takes its own place."""
        ...

    def twins(self, start: date, end: date) -> list[TwinOutcome]:
        """Outcomes of the sessions from `start` to `end`, both included, in their order."""
        ...


class Cache(Protocol):
    """The fast copy. Its methods never raise: without it, reads answer None."""

    def put_quotes(self, quotes: Sequence[Quote]) -> None:
        """Latest quote by symbol."""
        ...

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """Latest quotes of the symbols that have one."""
        ...

    def beat(self, component: str, at: datetime) -> None:
        """Latest heartbeat of a component."""
        ...

    def beats(self) -> dict[str, datetime]:
        """Latest heartbeat by component."""
        ...

    def is_up(self) -> bool:
        """Whether the cache answers."""
        ...


class SentimentModel(Protocol):
    """Reads the news of a symbol."""

    def read(self, symbol: str, now: datetime) -> Reading | Unavailable:
        """The tone of the headlines at or before `now`; answers at once, never raises.

        The same symbol and instant give the same reading whenever they are asked, or
        none.
        """
        ...


class ModelFailed(ConnectionError):
    """A model's server gave no usable answer: away, too slow, refusing, or nonsense."""


class HeadlineModel(Protocol):
    """A model that rates single headlines; what it costs is its caller's to bound."""

    @property
    def name(self) -> str:
        """The model's name, as its server knows it."""
        ...

    @property
    def prompt_version(self) -> str:
        """Changes with everything that is sent beside the headline."""
        ...

    def standing(self) -> ModelStanding:
        """How it stands now. Raises `ModelFailed`."""
        ...

    def warm_up(self) -> None:
        """Load it and hold it there; may take minutes. Raises `ModelFailed`."""
        ...

    def rate(self, asks: Sequence[tuple[str, Headline]]) -> list[Rating | Unavailable]:
        """Rate headlines for symbols side by side, each on its own; an answer for each."""
        ...


class NewsStore(Protocol):
    """What is kept of the news. Every method raises `StoreUnavailable` when it is away."""

    def write_headlines(self, headlines: Sequence[Headline]) -> None:
        """Store headlines; a repeated one stays."""
        ...

    def headlines(self, start: datetime, limit: int | None = 1000) -> list[Headline]:
        """Headlines from `start` on, oldest first (the last `limit` of them)."""
        ...

    def write_opinions(self, opinions: Sequence[Opinion]) -> None:
        """Store opinions with their headlines; a repeated one stays."""
        ...

    def opinions(self, start: datetime, limit: int | None = 1000) -> list[Opinion]:
        """Opinions of headlines from `start` on, oldest first (the last `limit` of them)."""
        ...

    def write_readings(self, given: Sequence[GivenReading]) -> None:
        """Store what strategies were given; a repeated symbol and instant stays."""
        ...

    def readings(self, start: datetime, limit: int | None = 1000) -> list[GivenReading]:
        """What strategies were given from `start` on, oldest first (the last `limit`)."""
        ...

    def save_sentiment_state(self, at: datetime, state: Mapping[str, object]) -> None:
        """Replace how the model stands, as JSON."""
        ...

    def sentiment_state(self) -> dict[str, object] | None:
        """How the model stood last; None before the first."""
        ...


class Notifier(Protocol):
    """Tells a person. Never raises, never waits."""

    def alert(self, text: str, *, event: Event = Event.TROUBLE, is_kept: bool = False) -> None:
        """Something a person must act upon.

        Parameters
        ----------
        text : str
            In words.
        event : Event
            What it is about.
        is_kept : bool
            The store has written the alert already, with its cause.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeUpdate:
    """One event of the trade stream: `fill` is set for fills and partial fills."""

    event: str
    at: datetime
    order: BrokerOrder
    fill: Execution | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeStreamOpened:
    """The trade stream was (re)connected: fills before it may have been missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRefused:
    """The broker refuses what was asked of the price stream, such as too many symbols."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReady:
    """Everything of one step of a lockstep replay has arrived.

    `kind` is "pre_open", "minute", "close" or "end". The same `seq` comes again
    when the broker did more because of what the desk did in it. `trade_updates`
    counts those that arrived before it on the current connection.
    """

    seq: int
    at: datetime
    kind: str
    session: date
    trade_updates: int


StreamEvent = Quote | Bar | Tick | TradeUpdate | TradeStreamOpened | StreamRefused | StepReady


class StreamKind(StrEnum):
    """One of the broker's two streams."""

    PRICES = "prices"
    TRADES = "trades"


class Streams(Protocol):
    """The broker's streams, merged in the order of arrival."""

    def start(self, sink: Callable[[StreamEvent], None]) -> None:
        """Connect and deliver on a thread of its own; reconnects by itself."""
        ...

    def acknowledge(self, step: StepReady) -> None:
        """Say that everything the step and the updates before it caused is done."""
        ...

    def reconnect(self, kind: StreamKind) -> None:
        """Give up a connection that has gone mute for a new one; never waits."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Bring `new` from now on where `old` was brought; never from the streams' own thread."""
        ...

    def stop(self) -> None:
        """Disconnect and end the thread."""
        ...


# -- telling a person


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent: small HTML (bold, italic, code), perhaps a picture, perhaps buttons.

    `chat` is where to; None: where alerts go. `buttons` are pairs of what is shown
    and what comes back. With `png` the text is its caption (1024 characters).
    """

    text: str
    chat: str | None = None
    is_silent: bool = False
    png: bytes | None = None
    buttons: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """It has arrived."""

    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDelivered:
    """It has not arrived; to be sent again, not before `again_after_s` seconds."""

    reason: str
    again_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubtful:
    """The answer was cut off: it may have arrived."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """It will never be taken."""

    reason: str


Delivery = Delivered | NotDelivered | Doubtful | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody wrote, or the button that was pressed (`query` to be answered).

    `at` (aware UTC) is when it was written; for a button when it came.
    """

    chat: str
    user: str
    text: str
    at: datetime
    query: str | None = None


class Messenger(Protocol):
    """Carries messages to a person and back. Never raises; keeps to its own limits."""

    def send(self, message: Message) -> Delivery:
        """Send one message; waits until the limits allow it."""
        ...

    def is_answering(self) -> bool:
        """Whether the other side answers a question that changes nothing."""
        ...

    def asked(self, wait_s: float) -> list[Asked]:
        """What has come since the last call; waits so long for something."""
        ...

    def settle(self, query: str, text: str) -> None:
        """Answer a pressed button, so that it stops waiting."""
        ...

    def close(self) -> None:
        """Give the connections back; nothing is sent afterwards."""
        ...


Sleep = Callable[[float], None]
