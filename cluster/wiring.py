"""The composition root: every actor's object made from a `DeskConfig`.

Each `build_*` runs inside its actor's process and imports there what that
actor needs, so that a position monitor loads neither pandas nor numpy.
"""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cluster.desk_config import DeskConfig
from greenlight.adapters.alpaca_broker import AlpacaBroker, is_loopback
from greenlight.adapters.clock import EventClock, SystemClock
from greenlight.adapters.outbox_notifier import OutboxNotifier
from greenlight.adapters.rate_limit import Pace, TokenBucket, no_pace
from greenlight.adapters.timescale import TimescaleStore
from greenlight.ports import BrokerUnavailable, Clock, SentimentModel, Sleep, StoreUnavailable

if TYPE_CHECKING:
    from actors.links import MonitorsLink
    from actors.market_data import MarketDataHub
    from actors.nightly import Nightly
    from actors.position_monitor import PositionMonitor
    from actors.recorder import Recorder
    from actors.risk_gate import RiskGate
    from actors.sentiment import Sentiment
    from actors.strategist import Strategist
    from greenlight.adapters.alpaca_data import AlpacaMarketData
    from greenlight.adapters.alpaca_news import AlpacaNews
    from greenlight.settings import Settings

logger = logging.getLogger(__name__)
T = TypeVar("T")

_RETRY_S = 0.5
_HEADLINES_EVERY_S = 60.0
_QUESTIONS_A_MINUTE = 40.0
"""Of each actor but the monitors. Three of them leave 80 of Alpaca's 200 for five monitors."""
_BURST = 20
_CODE_FOLDERS = ("greenlight", "actors", "jobs")


def code_hash() -> str:
    """SHA-256 of the source that decides: greenlight, actors and jobs."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for folder in _CODE_FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in {".py", ".sql", ".csv"}:
                digest.update(path.relative_to(root).as_posix().encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def fingerprint(settings: Settings) -> str:
    """What a desk's decisions depend on: the hash of its code, and that of its settings."""
    from greenlight.strategies import plugged_in_hash

    code = code_hash() + plugged_in_hash(settings)
    parts = (hashlib.sha256(code.encode()).hexdigest(), settings.fingerprint())
    return "-".join(part[:16] for part in parts)


def insist(make: Callable[[], T], sleep: Sleep = time.sleep) -> T:
    """Make something that asks the store or the broker, until both answer.

    Ray never restarts an actor whose constructor raised; so it waits instead.
    """
    while True:
        try:
            return make()
        except (StoreUnavailable, BrokerUnavailable) as error:
            logger.error("waiting to start: %s", error, extra={"action": "wait_to_start"})
            sleep(_RETRY_S)


def build_store(config: DeskConfig) -> TimescaleStore:
    """The store of this process."""
    deadline_s = config.store_deadline_s
    return insist(
        lambda: TimescaleStore(
            config.database_url, connect_timeout_s=deadline_s, deadline_s=deadline_s
        )
    )


def build_broker(config: DeskConfig, questions_a_minute: float | None = None) -> AlpacaBroker:
    """The broker of this process; without a number its questions never wait.

    On this machine's own exchange there is no limit to keep.
    """
    pace: Pace = no_pace
    if questions_a_minute is not None and not is_loopback(config.trading_url):
        pace = TokenBucket(
            per_minute=questions_a_minute,
            burst=_BURST,
            monotonic=time.monotonic,
            sleep=time.sleep,
        )
    return AlpacaBroker(
        base_url=config.trading_url,
        key_id=config.key_id,
        secret_key=config.secret_key,
        deadline_s=config.request_deadline_s,
        pace=pace,
    )


def _market_data(config: DeskConfig) -> AlpacaMarketData:
    from greenlight.adapters.alpaca_data import AlpacaMarketData

    return AlpacaMarketData(
        base_url=config.data_url,
        key_id=config.key_id,
        secret_key=config.secret_key,
        deadline_s=config.request_deadline_s,
    )


def settings_of(config: DeskConfig) -> Settings:
    """The settings that travel with the configuration."""
    from greenlight.settings import Settings

    return Settings.model_validate_json(config.settings_json)


def _last_instant(config: DeskConfig) -> datetime:
    """The present as far as this process can know it before its first call."""
    if not config.is_replay:
        return SystemClock().now()
    decisions = build_store(config).decisions(limit=1)
    return decisions[-1].decision.at if decisions else config.start_at


def _universe(config: DeskConfig, store: TimescaleStore) -> tuple[str, ...]:
    """The symbols of the settings under their present names."""
    from greenlight.domain.audit import DecisionKind
    from greenlight.domain.corporate_actions import present_symbols, symbol_changes

    rows = insist(lambda: store.decisions(kind=DecisionKind.ADJUST, limit=None))
    return present_symbols(config.symbols, symbol_changes(row.decision for row in rows))


def build_notifier(config: DeskConfig, store: TimescaleStore) -> OutboxNotifier:
    """What an actor tells goes to the log and into the outbox."""

    def now() -> datetime:
        if not config.is_replay:
            return SystemClock().now()
        decisions = store.decisions(limit=1)
        return decisions[-1].decision.at if decisions else config.start_at

    return OutboxNotifier(store=store, now=now, sleep=time.sleep)


def build_monitor(config: DeskConfig, symbol: str) -> PositionMonitor:
    """The position monitor of a symbol."""
    from actors.position_monitor import PositionMonitor

    store = build_store(config)
    return insist(
        lambda: PositionMonitor(
            symbol=symbol,
            store=store,
            broker=build_broker(config),
            notifier=build_notifier(config, store),
            desk=config.desk,
            now=_last_instant(config),
            sleep=time.sleep,
            desk_epoch=config.desk_epoch,
        )
    )


def build_gate(config: DeskConfig) -> RiskGate:
    """The risk gate."""
    from actors.judging import no_switch
    from actors.risk_gate import RiskGate
    from greenlight.adapters.halt_file import HaltFile
    from greenlight.adapters.sector_table import sector_table
    from jobs.forecasts import ExpectedVolatility

    settings = settings_of(config)
    store = build_store(config)
    switch = no_switch if config.halt_file is None else HaltFile(Path(config.halt_file))
    return insist(
        lambda: RiskGate(
            store=store,
            broker=build_broker(config, _QUESTIONS_A_MINUTE),
            market_data=_market_data(config),
            notifier=build_notifier(config, store),
            desk=config.desk,
            limits=settings.limits(),
            sectors=sector_table() | settings.sectors,
            halt_switch=switch,
            execution=settings.entry_policy(),
            scored=config.symbols if settings.act_on_scores else None,
            forecast=ExpectedVolatility(store),
            now=_last_instant(config),
            sleep=time.sleep,
            desk_epoch=config.desk_epoch,
        )
    )


def build_strategist(config: DeskConfig) -> Strategist:
    """The strategist with the strategies that the settings name."""
    from actors.risk_gate import HOLDER
    from actors.strategist import Strategist
    from cluster.remote_ports import RemoteActor, RemoteGate
    from greenlight.strategies import build_strategies

    settings, store = settings_of(config), build_store(config)
    return Strategist(
        strategies=build_strategies(settings),
        symbols=_universe(config, store),
        store=store,
        market_data=_market_data(config),
        sentiment=build_sentiment(config, settings),
        gate=RemoteGate(RemoteActor(HOLDER)),
        notifier=build_notifier(config, store),
        desk=config.desk,
        monotonic=time.monotonic,
        # A replay waits, and its decisions must not depend on how busy the machine is.
        deadline_s=math.inf if config.control_url else settings.strategy_deadline_s,
    )


def build_sentiment(config: DeskConfig, settings: Settings) -> SentimentModel:
    """What reads the news, as the settings name it."""
    if settings.sentiment == "none":
        from greenlight.adapters.no_sentiment import NoSentiment

        return NoSentiment()
    if settings.sentiment == "ollama":
        return _board(settings)
    from greenlight.adapters.lexicon import Lexicon, WaitingLexicon, keep_fresh

    news = _news(config)
    kind = WaitingLexicon if config.is_replay else Lexicon
    lexicon = kind(
        fetch=news.headlines,
        symbols=config.symbols,
        window=timedelta(hours=settings.sentiment_window_h),
    )
    if not config.is_replay:
        keep_fresh(lexicon, SystemClock().now, _HEADLINES_EVERY_S)
    return lexicon


def _board(settings: Settings) -> SentimentModel:
    from actors.sentiment_board import SentimentBoard, keep_following
    from cluster.launch import SENTIMENT
    from cluster.remote_ports import RemoteActor, RemoteSentiment

    board = SentimentBoard(
        link=RemoteSentiment(RemoteActor(SENTIMENT)),
        weight=settings.sentiment_weight,
        half_life=timedelta(hours=settings.sentiment_half_life_h),
        monotonic=time.monotonic,
    )
    keep_following(board)
    return board


def _news(config: DeskConfig) -> AlpacaNews:
    from greenlight.adapters.alpaca_news import AlpacaNews

    return AlpacaNews(
        base_url=config.data_url,
        key_id=config.key_id,
        secret_key=config.secret_key,
        deadline_s=config.request_deadline_s,
    )


def build_sentiment_actor(config: DeskConfig) -> Sentiment:
    """The sentiment actor at work, with its news stream and, where asked for, its server."""
    from actors.sentiment import Sentiment
    from cluster.ollama_server import OllamaServer, ollama_address
    from greenlight.adapters.alpaca_clock import AlpacaClock
    from greenlight.adapters.alpaca_news import AlpacaNewsStream
    from greenlight.adapters.ollama import OllamaModel

    settings = settings_of(config)
    wants_gpu = settings.sentiment_gpu_frac > 0
    host = ollama_address(settings.ollama_host)
    server = None
    if settings.sentiment_serve:
        home = (
            settings.home.resolve() if config.log_folder is None else Path(config.log_folder).parent
        )
        server = OllamaServer(host=host, folder=home, has_gpu=wants_gpu)
    clock: Clock = SystemClock()
    if config.is_replay:
        clock = AlpacaClock(
            base_url=config.trading_url,
            key_id=config.key_id,
            secret_key=config.secret_key,
            deadline_s=config.request_deadline_s,
        )
    store = build_store(config)
    model = OllamaModel(
        host=host,
        model=settings.sentiment_model,
        deadline_s=settings.sentiment_deadline_s,
        wants_gpu=wants_gpu,
    )
    actor = insist(
        lambda: Sentiment(
            model=model,
            store=store,
            fetch=_news(config).headlines,
            notifier=build_notifier(config, store),
            now=clock.now,
            symbols=_universe(config, store),
            half_life=timedelta(hours=settings.sentiment_half_life_h),
            parallel=settings.sentiment_parallel,
            queue_size=settings.sentiment_queue,
            wants_gpu=wants_gpu,
            server=server,
        )
    )
    stream = AlpacaNewsStream(
        stream_url=config.data_stream_url,
        key_id=config.key_id,
        secret_key=config.secret_key,
        symbols=config.symbols,
    )
    stream.start(lambda headline: actor.offer([headline]))
    actor.start()
    return actor


def build_recorder(config: DeskConfig) -> Recorder:
    """The recorder."""
    from actors.recorder import Recorder
    from greenlight.adapters.no_cache import NoCache
    from greenlight.adapters.redis_cache import RedisCache
    from greenlight.domain.readiness import to_json
    from jobs.gate_policy import adopt_policy
    from jobs.readiness import Evaluator
    from jobs.universe import record_universe

    store, settings, data = build_store(config), settings_of(config), _market_data(config)
    policy = settings.readiness_policy()
    insist(lambda: adopt_policy(store, config.desk, policy, _last_instant(config)))
    evaluator = Evaluator(store, policy)

    def evaluate(now: datetime) -> dict[str, object]:
        record_universe(store, data, _universe(config, store), now)
        return to_json(evaluator(now))

    return Recorder(
        store=store,
        broker=build_broker(config, _QUESTIONS_A_MINUTE),
        cache=NoCache() if config.redis_url is None else RedisCache(config.redis_url),
        evaluate=evaluate,
        monotonic=time.monotonic,
    )


def build_nightly(config: DeskConfig) -> Nightly:
    """The nightly work, its fits as Ray tasks."""
    from actors.nightly import Nightly
    from cluster.fanout import fan_out
    from cluster.twin_input import can_read_again, nightly_twin
    from greenlight.domain.volatility import VolatilityPolicy
    from jobs.volatility import Forecaster

    store = build_store(config)
    forecaster = Forecaster(
        store=store,
        market_data=_market_data(config),
        symbols=config.symbols,
        policy=VolatilityPolicy(),
        fan_out=fan_out,
    )
    threading.Thread(target=forecaster.warm_up, name="warm-up", daemon=True).start()
    notifier, settings = build_notifier(config, store), settings_of(config)
    twin = None
    # In lockstep the replay would wait for it, and longer every night.
    if config.control_url is None and can_read_again(settings, is_replay=config.is_replay):
        history = None if config.is_replay else _market_data(config)
        twin = nightly_twin(settings, store, history, notifier, fingerprint(settings))
    return Nightly(forecast=forecaster, notifier=notifier, twin=twin)


def build_market_data(config: DeskConfig) -> MarketDataHub:
    """Market data with its streams and links."""
    from actors.market_data import MarketDataHub
    from actors.position_monitor import monitor_name
    from actors.reconciler import Reconciler
    from cluster.launch import create_monitor
    from cluster.patient_monitors import PatientMonitors, RayLine
    from cluster.remote_ports import (
        RemoteActor,
        RemoteGate,
        RemoteMonitors,
        RemoteNightly,
        RemoteRecorder,
        RemoteStrategist,
    )
    from greenlight.adapters.alpaca_data import AlpacaStreams

    store, data = build_store(config), _market_data(config)
    broker = build_broker(config, _QUESTIONS_A_MINUTE)
    settings = settings_of(config)
    is_lockstep = config.control_url is not None
    clock: Any = EventClock(_last_instant(config)) if config.is_replay else SystemClock()
    store = build_store(config)
    symbols = _universe(config, store)

    def create(symbol: str) -> None:
        create_monitor(config, symbol)

    monitors: MonitorsLink = RemoteMonitors(monitor_name, create)
    if not is_lockstep:
        monitors = PatientMonitors(
            lambda symbol: RayLine(monitor_name(symbol), lambda: create(symbol)), create, monitors
        )
    return MarketDataHub(
        store=store,
        broker=broker,
        market_data=data,
        streams=AlpacaStreams(
            data_url=config.data_stream_url,
            trade_url=config.trade_stream_url,
            control_url=config.control_url,
            key_id=config.key_id,
            secret_key=config.secret_key,
            symbols=symbols,
            wants_daily=False,
            wants_ticks=False,
        ),
        strategist=RemoteStrategist(RemoteActor("strategist")),
        gate=RemoteGate(RemoteActor("risk-gate")),
        monitors=monitors,
        recorder=RemoteRecorder(RemoteActor("recorder")),
        nightly=RemoteNightly(RemoteActor("nightly"), is_lockstep=is_lockstep),
        notifier=build_notifier(config, store),
        desk=config.desk,
        symbols=symbols,
        limits=settings.limits(),
        acts_on_scores=settings.act_on_scores,
        reconciler=Reconciler(
            store=store,
            broker=broker,
            market_data=data,
            notifier=build_notifier(config, store),
            desk=config.desk,
            sleep=time.sleep,
            desk_epoch=config.desk_epoch,
        ),
        is_lockstep=is_lockstep,
        every_minute=config.wants_minutes,
        now=clock.now,
        advance=clock.advance if config.is_replay else lambda _: None,
        monotonic=time.monotonic,
    )
