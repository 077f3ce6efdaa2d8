"""A whole desk on one machine: what is started, in which order, and how it ends."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import requests

from cluster import launch, services, wiring
from cluster.desk_config import (
    ALPACA_DATA,
    ALPACA_TRADING,
    EXCHANGE_KEY,
    EXCHANGE_SECRET,
    DeskConfig,
)
from cluster.desk_file import DeskFile
from cluster.health_server import HealthProbes, HealthServer
from cluster.json_log import secrets_of
from cluster.keeper import Keeper, Kept
from cluster.paper_exchange.sources import open_source
from cluster.processes import Child, StartError, require_free, wait_for_port
from greenlight.adapters.alpaca_broker import parse_instant
from greenlight.adapters.halt_file import halt_file
from greenlight.adapters.timescale import migrate
from greenlight.ports import BrokerRefused, BrokerUnavailable, Run
from greenlight.settings import Settings
from greenlight.strategies import build_strategies

Say = Callable[[str], None]

_ALPACA_TRADES: Final = "wss://paper-api.alpaca.markets/stream"
_ALPACA_STREAM: Final = "wss://stream.data.alpaca.markets/v2/iex"
_STATE_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayState:
    """Where the paper exchange stands. `now` is aware UTC."""

    now: datetime
    is_finished: bool


class Desk:
    """Brings a desk up and takes it down again.

    Parameters
    ----------
    settings : Settings
        What to trade, on what, where.
    with_pages : bool
        Start the dashboard and Ray's dashboard too.
    say : Say
        Told each thing as it starts.
    """

    def __init__(self, settings: Settings, *, with_pages: bool, say: Say) -> None:
        self._settings = settings
        self._with_pages = with_pages
        self._say = say
        self._home = settings.home.resolve()
        self._stack = ExitStack()
        self._exchange_url: str | None = None
        self.dashboard_url: str | None = None
        self.ray_dashboard_url: str | None = None
        self.health_url: str | None = None
        self.database_url = ""
        self.config: DeskConfig | None = None
        self._timeframes: set[str] = set()
        self._kept: list[Kept] = []

    @property
    def exchange_url(self) -> str | None:
        """Address of the paper exchange; None at Alpaca."""
        return self._exchange_url

    def start(self) -> None:
        """Start everything, in order; on a failure what was started is stopped again.

        Raises
        ------
        StartError
            One line that says what is wrong and how to mend it.
        SettingsError
            The settings name a strategy that cannot be made.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything, in the opposite order."""
        self._stack.close()

    def replay_state(self) -> ReplayState:
        """Ask the paper exchange where it stands."""
        answer = requests.get(f"{self._exchange_url}/control/state", timeout=_STATE_TIMEOUT_S)
        state: dict[str, Any] = answer.json()
        return ReplayState(now=parse_instant(state["now"]), is_finished=bool(state["finished"]))

    # -- in order
    def _start(self) -> None:
        settings = self._settings
        strategies = build_strategies(settings)
        self._timeframes = {strategy.timeframe for strategy in strategies}
        self._claim_home()
        pages = self._with_pages
        dashboard_port = (
            require_free(settings.dashboard_port, "the dashboard", "GREENLIGHT_DASHBOARD_PORT")
            if pages
            else None
        )
        ray_port = (
            require_free(
                settings.ray_dashboard_port, "Ray's dashboard", "GREENLIGHT_RAY_DASHBOARD_PORT"
            )
            if pages
            else None
        )
        health_port = (
            require_free(settings.health_port, "the health port", "GREENLIGHT_HEALTH_PORT")
            if pages
            else None
        )
        self._start_store()
        redis_url = self._start_cache()
        self._keep_services()
        config = self._connect(redis_url)
        config = self.config = self._take_office(config)
        self._say("starting Ray")
        self._stack.callback(launch.stop_ray)
        self.ray_dashboard_url = self._start_engine(ray_port)
        self._say("starting the actors")
        launch.create_core(config)
        if health_port is not None:
            self._start_health(config, health_port)
        if dashboard_port is not None:
            self._start_dashboard(dashboard_port)
        self._write_desk_file(redis_url)

    def _claim_home(self) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        running = DeskFile.read(self._home)
        if running is not None and running.is_alive():
            raise StartError(
                f"a desk is running in {self._home} (pid {running.pid}); "
                "stop it with 'greenlight down' or choose another GREENLIGHT_HOME"
            )

    def _start_store(self) -> None:
        if self._settings.database_url is not None:
            self._say("using the database in DATABASE_URL")
            self.database_url = self._settings.database_url
        else:
            self._say("starting PostgreSQL")
            postgres = services.start_postgres(self._home)
            self._stack.callback(postgres.stop)
            self.database_url = postgres.url
            self._kept.append(
                Kept(
                    name="PostgreSQL",
                    is_alive=postgres.is_alive,
                    start=lambda: services.start_postgres(self._home),
                )
            )
        migrate(self.database_url)

    def _start_cache(self) -> str | None:
        if self._settings.redis_url is not None:
            self._say("using the cache in REDIS_URL")
            return self._settings.redis_url
        found = services.start_redis(self._home)
        if isinstance(found, services.RedisService):
            self._say("starting Redis")
            self._stack.callback(found.stop)
            self._kept.append(
                Kept(
                    name="Redis",
                    is_alive=found.is_alive,
                    start=lambda: services.start_redis(self._home),
                )
            )
            return found.url
        self._say(f"no Redis ({found.reason}); the desk trades without a cache")
        return None

    def _keep_services(self) -> None:
        """What dies of the embedded services is started again; a test sees to that itself."""
        keeper = Keeper(self._kept)
        keeper.start()
        self._stack.callback(keeper.stop)

    def _connect(self, redis_url: str | None) -> DeskConfig:
        settings = self._settings
        if settings.api_key_id is not None:
            if settings.api_secret_key is None:
                raise StartError("APCA_API_KEY_ID is set without APCA_API_SECRET_KEY; set both")
            if not settings.symbols:
                raise StartError("GREENLIGHT_SYMBOLS is empty; name what to trade on Alpaca")
            self._say("trading on Alpaca paper")
            return self._config(
                redis_url,
                urls=(ALPACA_TRADING, ALPACA_DATA, _ALPACA_STREAM, _ALPACA_TRADES),
                control_url=None,
                is_replay=False,
                key=(settings.api_key_id, settings.api_secret_key.get_secret_value()),
                symbols=settings.symbols,
                start_at=datetime.now(UTC),
            )
        return self._start_exchange(redis_url)

    def _start_exchange(self, redis_url: str | None) -> DeskConfig:
        settings = self._settings
        try:
            source = open_source(settings.source)
        except ValueError as error:
            raise StartError(f"GREENLIGHT_SOURCE: {error}") from error
        symbols = settings.symbols or source.symbols
        unknown = sorted(set(symbols) - set(source.symbols))
        if unknown:
            raise StartError(
                f"GREENLIGHT_SYMBOLS: {', '.join(unknown)} not in {settings.source}, "
                f"which has {', '.join(source.symbols)}"
            )
        if not source.sessions(settings.start, settings.end):
            raise StartError(
                f"{settings.source} has no session from {settings.start} to {settings.end}; "
                "set GREENLIGHT_START and GREENLIGHT_END"
            )
        port = require_free(
            settings.exchange_port, "the paper exchange", "GREENLIGHT_EXCHANGE_PORT"
        )
        self._say("starting the paper exchange")
        pace = ["--lockstep"] if settings.speed is None else ["--speed", str(settings.speed)]
        child = Child(
            "the paper exchange",
            [
                *("-m", "cluster.paper_exchange"),
                *("--source", settings.source),
                *("--start", settings.start.isoformat(), "--end", settings.end.isoformat()),
                *("--port", str(port)),
                *("--data-dir", str(self._home / "exchange")),
                *("--cash", str(settings.start_cash_usd)),
                *("--partial-fills", str(settings.partial_fill_probability)),
                *("--headlines", settings.headlines),
                *("--key", EXCHANGE_KEY, "--secret", EXCHANGE_SECRET),
                *pace,
                *self._exchange_flags(),
            ],
            log=self._home / "logs" / "exchange.log",
            reads_output=True,
        )
        self._stack.callback(child.stop)
        port = self._reach(int(child.first_line(timeout_s=60)["port"]))
        self._exchange_url = f"http://127.0.0.1:{port}"
        stream = f"ws://127.0.0.1:{port}"
        return self._config(
            redis_url,
            urls=(
                self._exchange_url,
                self._exchange_url,
                f"{stream}/v2/iex",
                f"{stream}/stream",
            ),
            control_url=f"{stream}/control/lockstep" if settings.speed is None else None,
            is_replay=True,
            key=(EXCHANGE_KEY, EXCHANGE_SECRET),
            symbols=symbols,
            start_at=self.replay_state().now,
        )

    def _exchange_flags(self) -> tuple[str, ...]:
        """Further options of the exchange; a test switches its faults on."""
        return ()

    def _reach(self, port: int) -> int:
        """The port by which the desk reaches its exchange; a benchmark listens in here."""
        return port

    def _start_engine(self, dashboard_port: int | None) -> str | None:
        """Start Ray, and give its dashboard's address; a test starts a cluster here."""
        offers_model = self._settings.sentiment == "ollama"
        return launch.start_ray(dashboard_port=dashboard_port, offers_model=offers_model)

    def _config(
        self,
        redis_url: str | None,
        *,
        urls: tuple[str, str, str, str],
        control_url: str | None,
        is_replay: bool,
        key: tuple[str, str],
        symbols: tuple[str, ...],
        start_at: datetime,
    ) -> DeskConfig:
        trading_url, data_url, data_stream_url, trade_stream_url = urls
        token = self._settings.telegram_bot_token
        return DeskConfig(
            desk=self._settings.desk,
            database_url=self.database_url,
            redis_url=redis_url,
            trading_url=trading_url,
            data_url=data_url,
            data_stream_url=data_stream_url,
            trade_stream_url=trade_stream_url,
            control_url=control_url,
            is_replay=is_replay,
            key_id=key[0],
            secret_key=key[1],
            request_deadline_s=self._settings.request_deadline_s,
            store_deadline_s=self._settings.store_deadline_s,
            symbols=symbols,
            start_at=start_at,
            wants_minutes="1Min" in self._timeframes,
            settings_json=self._settings.model_dump_json(
                exclude={"api_secret_key", "telegram_bot_token"}
            ),
            # A replay in lockstep would tell of years within minutes.
            wants_reporter=control_url is None
            or (self._settings.telegram_replays and token is not None),
            telegram_token=None if token is None else token.get_secret_value(),
            log_folder=str(self._home / "logs"),
            halt_file=str(halt_file(self._home)),
        )

    def _take_office(self, config: DeskConfig) -> DeskConfig:
        """Record the start, and fence whatever an earlier desk still runs."""
        try:
            account = wiring.build_broker(config).account()
        except BrokerRefused as error:
            raise StartError(
                f"the broker refuses the key ({error}); check APCA_API_KEY_ID"
            ) from error
        except BrokerUnavailable as error:
            raise StartError(f"the broker does not answer ({error}); try again") from error
        source = "alpaca-paper"
        is_synthetic = False
        if config.is_replay:
            opened = open_source(self._settings.source)
            source, is_synthetic = opened.name, opened.is_synthetic
            if self._settings.headlines == "synthetic":
                source, is_synthetic = f"{source}, synthetic headlines", True
        store = wiring.build_store(config)
        try:
            store.start_run(
                Run(
                    run_id=uuid.uuid4().hex,
                    started_at=config.start_at,
                    account_kind="replay" if config.is_replay else "paper",
                    account_number=account.account_number,
                    source=source,
                    is_synthetic=is_synthetic,
                    start_cash_usd=Decimal(account.cash),
                    fingerprint=wiring.fingerprint(self._settings),
                )
            )
            return replace(config, desk_epoch=store.take_desk())
        finally:
            store.close()

    def _start_health(self, config: DeskConfig, port: int) -> None:
        probes = HealthProbes(config)
        self._stack.callback(probes.stop)
        probes.start()
        server = HealthServer(probes.read, port=port, secrets=secrets_of(config))
        self._stack.callback(server.stop)
        self.health_url = server.url

    def _start_dashboard(self, port: int) -> None:
        self._say("starting the dashboard")
        child = Child(
            "the dashboard",
            [
                *("-m", "streamlit", "run"),
                str(Path(__file__).resolve().parent.parent / "dashboard" / "app.py"),
                *("--server.address", "127.0.0.1", "--server.port", str(port)),
                *("--server.headless", "true", "--browser.gatherUsageStats", "false"),
                *("--server.fileWatcherType", "none"),
            ],
            log=self._home / "logs" / "dashboard.log",
            environment={"GREENLIGHT_HOME": str(self._home)},
        )
        self._stack.callback(child.stop)
        wait_for_port(port, child, timeout_s=60)
        self.dashboard_url = f"http://127.0.0.1:{port}"

    def _write_desk_file(self, redis_url: str | None) -> None:
        desk_file = DeskFile(
            database_url=self.database_url,
            redis_url=redis_url,
            ray_dashboard_url=self.ray_dashboard_url,
            exchange_url=self._exchange_url,
            dashboard_url=self.dashboard_url,
            health_url=self.health_url,
            ray_address=launch.ray_address(),
            pid=os.getpid(),
            started_at=datetime.now(UTC),
        )
        desk_file.write(self._home)
        self._stack.callback(DeskFile.remove, self._home)
