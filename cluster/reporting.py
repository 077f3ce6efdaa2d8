"""Composes the reporter: its messenger, its reports, and what its commands reach.

Before it stands a `DeskConfig`; `launch` starts the actor where it is of use. A
replay in lockstep starts none unless the settings ask for it: its alerts are in the
outbox all the same.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from actors.commands import Commander, Controls
from actors.dispatch import Dispatcher
from actors.reporter import Reporter, Sources
from cluster.desk_config import DeskConfig
from cluster.wiring import build_broker, build_store, code_hash, insist
from greenlight.adapters.console import ConsoleMessenger
from greenlight.domain.market import Unavailable
from greenlight.domain.message_text import plain
from greenlight.domain.readiness import ReadinessPolicy
from greenlight.domain.reports import Period, Report
from greenlight.ports import Messenger, Store
from greenlight.settings import Settings
from jobs import controls
from jobs.readiness import evaluate_now, present
from jobs.reports import chart_of, last_closed, make_report

logger = logging.getLogger(__name__)

_QUESTIONS_A_MINUTE: Final = 10.0


def build_messenger(config: DeskConfig, settings: Settings) -> Messenger:
    """Telegram where there is a bot and a chat, else the console."""
    if config.telegram_token is None or not settings.telegram_chat_id:
        return ConsoleMessenger(words=plain, sleep=time.sleep)
    from greenlight.adapters.telegram import TelegramMessenger

    return TelegramMessenger(
        token=config.telegram_token,
        chat=settings.telegram_chat_id[0],
        base_url=settings.telegram_url,
        monotonic=time.monotonic,
        sleep=time.sleep,
    )


def build_reporter(config: DeskConfig) -> Reporter:
    """The reporter, in its actor's process."""
    settings = Settings.model_validate_json(config.settings_json)
    store = build_store(config)
    messenger = build_messenger(config, settings)
    made: list[Reporter] = []

    def source() -> str:
        return made[0].source() if made else "PAPER"

    def is_current() -> bool:
        return config.desk_epoch is None or store.desk_epoch() == config.desk_epoch

    reporter = insist(
        lambda: Reporter(
            store=store,
            messenger=messenger,
            dispatcher=lambda name, draw: Dispatcher(
                store=store,
                messenger=messenger,
                source=name,
                chosen=settings.alerts,
                now=_now,
                draw=draw,
            ),
            commander=Commander(
                store=store,
                messenger=messenger,
                controls=_controls(config, settings, store),
                allowed=settings.telegram_chat_id,
                now=_now,
                nonce=lambda: secrets.token_urlsafe(9),
                source=source,
            )
            if config.telegram_token is not None
            else None,
            sources=Sources(
                report=lambda period, now, day: make_report(store, period, now, day=day),
                draw=lambda found: _draw(store, found),
                last_session=last_closed,
                free_frac=lambda: _free_frac(settings.home),
                present=lambda: present(store, _now()),
            ),
            now=_now,
            sleep=time.sleep,
            is_current=is_current,
            milestone_usd=settings.milestone_usd,
        )
    )
    made.append(reporter)
    return reporter


def _now() -> datetime:
    return datetime.now(UTC)


def _free_frac(home: Path) -> float:
    usage = shutil.disk_usage(home if home.exists() else Path.cwd())
    return usage.free / usage.total


def _draw(store: Store, found: Report) -> bytes:
    from greenlight.adapters.charts import draw

    return draw(found, chart_of(store, found))


def _controls(config: DeskConfig, settings: Settings, store: Store) -> Controls:
    broker = build_broker(config, _QUESTIONS_A_MINUTE)

    def report(period: Period, day: date | None) -> Report | Unavailable:
        return make_report(store, period, present(store, _now()), day=day)

    def readiness() -> Sequence[tuple[str, str, str]]:
        found = evaluate_now(store, present(store, _now()), ReadinessPolicy())
        return [(c.state.value, c.title, c.reason) for c in found.criteria]

    def halt(reason: str) -> str:
        controls.halt(store, reason, _now())
        return f"halted: {reason}"

    def flatten(reason: str) -> str:
        held = [p.symbol for p in store.open_positions()]
        controls.flatten(store, reason, _now())
        return f"leaving {', '.join(held) or 'no position'}; no entries until /resume"

    def resume(reason: str) -> str:
        done = controls.resume(store, reason, _now())
        return "; ".join(f"lifted: {h.reason}" for h in done.halts) or "no halt is in force"

    return Controls(
        present=lambda: present(store, _now()),
        report=report,
        draw=lambda found: _draw(store, found),
        readiness=readiness,
        account=broker.account,
        limits=lambda: _limits(settings),
        parts=_parts,
        version=lambda: f"greenlight {version('greenlight')}, code {code_hash()[:12]}",
        halt=halt,
        flatten=flatten,
        resume=resume,
    )


def _limits(settings: Settings) -> list[str]:
    return [
        f"{settings.risk_frac:.1%} a trade, {settings.max_positions} positions",
        f"${settings.max_daily_loss_usd:,.0f} a day, "
        f"{settings.max_drawdown_frac:.0%} below the 30-day high",
    ]


def _parts() -> list[str]:
    """What the supervisor has heard of each actor."""
    import ray

    from cluster.desk_config import NAMESPACE
    from cluster.launch import SUPERVISOR

    try:
        actor: Any = ray.get_actor(SUPERVISOR, namespace=NAMESPACE)
        status = ray.get(actor.call.remote("status"), timeout=5)
    except (ValueError, ray.exceptions.RayError) as error:
        return [f"the supervisor does not answer: {error}"]
    heard: Mapping[str, float] = status.heard_s
    return [
        f"{'🟢' if name in heard else '🔴'} {name}"
        + (f" {heard[name]:.0f} s ago" if name in heard else "")
        for name in status.desired
    ] or ["the supervisor has not looked yet"]
