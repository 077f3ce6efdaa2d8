"""What a person may ask and command by message, and the answers.

Before it stands the messenger; after it the store, by the same functions that the
`greenlight` command uses. Only chats that the settings name are answered; all others
get silence and a line in the log. What changes something is asked back first, with
a button that works once, for a minute, for the one who asked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from greenlight.domain import metrics
from greenlight.domain.alerts import Loudness, Posted, Status, loudness
from greenlight.domain.audit import DecisionKind
from greenlight.domain.market import Unavailable
from greenlight.domain.message_text import (
    LIMIT,
    code,
    counted,
    eastern,
    escaped,
    number,
    price,
    report_text,
    share,
    split,
)
from greenlight.domain.reports import Period, Report, dollars
from greenlight.ports import (
    Asked,
    BrokerAccount,
    BrokerRefused,
    BrokerUnavailable,
    Message,
    Messenger,
    Store,
    StoreUnavailable,
)

logger = logging.getLogger(__name__)

CONFIRM_WITHIN: Final = timedelta(minutes=1)
STALE_AFTER: Final = timedelta(minutes=5)
"""An older command is not carried out: it waited while nobody listened."""
_ROWS: Final = 10
_LIGHTS: Final = {"green": "🟢", "red": "🔴", "insufficient": "🟡", "stale": "🟣"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """What the commands reach, each a plain function; times aware UTC.

    `halt`, `flatten` and `resume` take the reason and answer in words.
    `readiness` gives each light as (state, title, reason). `limits` are lines of
    figures of the risk chain, `parts` of the desk's health.
    """

    present: Callable[[], datetime]
    report: Callable[[Period, date | None], Report | Unavailable]
    draw: Callable[[Report], bytes]
    readiness: Callable[[], Sequence[tuple[str, str, str]]]
    account: Callable[[], BrokerAccount]
    limits: Callable[[], Sequence[str]]
    parts: Callable[[], Sequence[str]]
    version: Callable[[], str]
    halt: Callable[[str], str]
    flatten: Callable[[str], str]
    resume: Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pending:
    command: str
    reason: str
    chat: str
    user: str
    until: datetime


class Commander:
    """Answers one chat message after another.

    Parameters
    ----------
    allowed : Collection[str]
        Ids of the chats that are answered.
    now : Callable[[], datetime]
        The clock on the wall, aware UTC.
    nonce : Callable[[], str]
        A word that cannot be guessed.
    source : Callable[[], str]
        What every answer names in bold.
    """

    def __init__(
        self,
        *,
        store: Store,
        messenger: Messenger,
        controls: Controls,
        allowed: Collection[str],
        now: Callable[[], datetime],
        nonce: Callable[[], str],
        source: Callable[[], str],
    ) -> None:
        self._store = store
        self._messenger = messenger
        self._controls = controls
        self._allowed = frozenset(allowed)
        self._now = now
        self._nonce = nonce
        self._source = source
        self._pending: dict[str, _Pending] = {}
        self._answers: dict[str, tuple[str, Callable[[str], list[str]]]] = {
            "status": ("what is held and what stands still", self._status),
            "positions": ("open positions", self._positions),
            "trades": ("the last closed trades", self._trades),
            "profit": ("what was earned, by month", self._profit),
            "daily": ("report of a day: /daily 2026-01-14", self._daily),
            "weekly": ("report of a week", self._weekly),
            "monthly": ("report of a month", self._monthly),
            "performance": ("Sharpe, profit factor, drawdown, CAGR", self._performance),
            "balance": ("the broker's account", self._balance),
            "stops": ("stops and targets, and what covers them", self._stops),
            "readiness": ("the seven lights", self._readiness),
            "why": ("the last decisions of a symbol: /why AAPL", self._why),
            "risk": ("limits and halts", self._risk),
            "decisions": ("the last decisions", self._decisions),
            "ack": ("stop the repeats of critical alerts", self._ack),
            "health": ("every part of the desk", self._health),
            "logs": ("the last alerts and what became of them", self._logs),
            "version": ("what runs here", self._version),
            "help": ("this list", self._help),
        }
        self._changes: dict[str, tuple[str, Callable[[str], str]]] = {
            "halt": ("no new entries: /halt REASON", controls.halt),
            "resume": ("lift every halt: /resume REASON", controls.resume),
            "flatten": ("leave every position: /flatten REASON", controls.flatten),
        }

    def handle(self, asked: Asked) -> None:
        """Answer, or stay silent."""
        if asked.chat not in self._allowed:
            logger.warning(
                "a stranger wrote",
                extra={"action": "stranger", "chat": asked.chat, "user": asked.user},
            )
            return
        if self._now() - asked.at > STALE_AFTER:
            logger.warning("a stale command", extra={"action": "stale_command"})
            return
        try:
            if asked.query is not None:
                self._pressed(asked, asked.query)
            else:
                self._answer(asked)
        except (StoreUnavailable, BrokerUnavailable, BrokerRefused) as error:
            self._say(asked.chat, [f"no answer: {escaped(error)}"])

    # -- asking back

    def _pressed(self, asked: Asked, query: str) -> None:
        choice, _, nonce = asked.text.partition(":")
        pending = self._pending.get(nonce)
        if pending is None or (pending.chat, pending.user) != (asked.chat, asked.user):
            self._messenger.settle(query, "this button is no longer good")
            return
        del self._pending[nonce]
        if self._now() > pending.until:
            self._messenger.settle(query, "too late; ask again")
            return
        if choice != "yes":
            self._messenger.settle(query, "nothing was done")
            return
        _, carry_out = self._changes[pending.command]
        said = carry_out(f"{pending.reason} (Telegram user {pending.user})")
        self._messenger.settle(query, "done")
        logger.warning(
            "commanded", extra={"action": "command", "command": pending.command, "user": asked.user}
        )
        self._say(asked.chat, [escaped(said)])

    def _answer(self, asked: Asked) -> None:
        word, _, rest = asked.text.strip().partition(" ")
        if not word.startswith("/"):
            return
        name, rest = word[1:].partition("@")[0].lower(), " ".join(rest.split())
        if name in self._changes:
            self._ask_back(asked, name, rest)
            return
        _, answer = self._answers.get(name, self._answers["help"])
        lines = answer(rest)
        if lines:
            self._say(asked.chat, lines)

    def _ask_back(self, asked: Asked, name: str, reason: str) -> None:
        if not reason:
            self._say(asked.chat, [f"say why: /{name} REASON"])
            return
        now = self._now()
        self._pending = {key: row for key, row in self._pending.items() if row.until >= now}
        nonce = self._nonce()
        self._pending[nonce] = _Pending(
            command=name,
            reason=reason,
            chat=asked.chat,
            user=asked.user,
            until=now + CONFIRM_WITHIN,
        )
        buttons = ((f"Yes, {name}", f"yes:{nonce}"), ("No", f"no:{nonce}"))
        text = f"<b>{escaped(self._source())}</b>\n{name}: {escaped(reason)}?"
        self._messenger.send(Message(text=text, chat=asked.chat, buttons=buttons))

    def _say(self, chat: str, lines: Sequence[str]) -> None:
        text = "\n".join([f"<b>{escaped(self._source())}</b>", *lines])
        for part in split(text, LIMIT):
            self._messenger.send(Message(text=part, chat=chat))

    # -- answers

    def _status(self, _: str) -> list[str]:
        now = self._controls.present()
        positions, halts = self._store.open_positions(), self._store.halts_in_force(now)
        run = self._store.latest_run()
        lines = [f"{eastern(now)}, {counted(len(positions), 'position')} open"]
        if run is not None:
            lines.append(
                f"runs since {eastern(run.started_at)}, account {code(run.account_number)}"
            )
        lines += [f"⛔ {escaped(halt.reason)}" for halt in halts] or ["no halt"]
        open_rows = self._store.unacknowledged_alerts()
        if open_rows:
            lines.append(f"🚨 {counted(len(open_rows), 'alert')} not acknowledged; /ack")
        return lines

    def _positions(self, _: str) -> list[str]:
        rows = self._store.open_positions()
        return [
            f"{escaped(p.symbol)} {code(p.qty)} at {code(price(p.avg_price))}, "
            f"leaves by {eastern(p.exit_by)}, {escaped(p.strategy)}, {code(p.position_id)}"
            for p in rows
        ] or ["nothing is held"]

    def _trades(self, _: str) -> list[str]:
        rows = self._store.trades(limit=_ROWS)
        return [
            f"{eastern(t.closed_at)} {escaped(t.symbol)} {code(dollars(t.net_usd))} "
            f"({t.return_frac:+.2%}), {escaped(t.exit_reason)}, {code(t.position_id)}"
            for t in reversed(rows)
        ] or ["nothing was closed yet"]

    def _profit(self, _: str) -> list[str]:
        found = self._controls.report(Period.WEEKLY, None)
        if isinstance(found, Unavailable):
            return [escaped(found.reason)]
        total = found.so_far
        return [
            f"net {code(dollars(total.net_usd))} of {counted(total.trades, 'trade')}",
            *(f"{m.first:%Y-%m} {code(dollars(m.net_usd))}, {m.trades}" for m in found.months),
        ]

    def _daily(self, day: str) -> list[str]:
        return self._report(Period.DAILY, day)

    def _weekly(self, day: str) -> list[str]:
        return self._report(Period.WEEKLY, day)

    def _monthly(self, day: str) -> list[str]:
        return self._report(Period.MONTHLY, day)

    def _report(self, period: Period, day: str) -> list[str]:
        try:
            chosen = date.fromisoformat(day) if day else None
            found = self._controls.report(period, chosen)
        except ValueError as error:
            return [f"write a day like 2026-01-14 ({escaped(error)})"]
        return [escaped(found.reason)] if isinstance(found, Unavailable) else [report_text(found)]

    def _performance(self, _: str) -> list[str]:
        found = self._controls.report(Period.WEEKLY, None)
        if isinstance(found, Unavailable):
            return [escaped(found.reason)]
        total, since = found.so_far, "" if found.since is None else f" since {found.since}"
        rate = total.win_rate
        won = "—" if isinstance(rate, Unavailable) else code(f"{rate.frac:.1%}")
        return [
            f"return {share(total.return_frac, sign=True)}{since}",
            f"Sharpe {number(total.sharpe_ann)}, profit factor {number(total.profit_factor)}",
            f"drawdown {share(total.drawdown_frac)}, CAGR {share(total.cagr_frac, sign=True)}",
            f"win rate {won} of {counted(total.trades, 'trade')}",
        ]

    def _balance(self, _: str) -> list[str]:
        account = self._controls.account()
        change = account.equity - account.last_equity
        return [
            f"equity {code(f'${account.equity:,.2f}')} ({code(dollars(change))} today)",
            f"cash {code(f'${account.cash:,.2f}')}, "
            f"buying power {code(f'${account.buying_power:,.2f}')}",
            f"account {code(account.account_number)}, {escaped(account.status)}"
            + (", trading blocked" if account.is_trading_blocked else ""),
        ]

    def _stops(self, _: str) -> list[str]:
        now = self._controls.present()
        rows = self._store.coverage(now - timedelta(days=1), now + timedelta(days=1))
        newest = {row.position_id: row for row in rows}
        lines = []
        for p in self._store.open_positions():
            row = newest.get(p.position_id)
            covered = "not read today" if row is None else f"{row.covered_qty} of {p.qty} covered"
            lines.append(
                f"{escaped(p.symbol)} stop {code(price(p.stop_price))}, target "
                f"{code(price(p.target_price))}, {covered}"
            )
        return lines or ["nothing is held"]

    def _readiness(self, _: str) -> list[str]:
        return [
            f"{_LIGHTS.get(state, '⚪')} {escaped(title)}: {escaped(reason)}"
            for state, title, reason in self._controls.readiness()
        ]

    def _why(self, symbol: str) -> list[str]:
        if not symbol:
            return ["name a symbol: /why AAPL"]
        return self._rows_of(symbol.upper())

    def _decisions(self, _: str) -> list[str]:
        return self._rows_of(None)

    def _rows_of(self, symbol: str | None) -> list[str]:
        rows = [
            row.decision
            for row in self._store.decisions(symbol=symbol, limit=10 * _ROWS)
            if row.decision.kind is not DecisionKind.RECONCILE
        ][-_ROWS:]
        return [
            f"{eastern(d.at)} {escaped(d.symbol or '')} {d.kind} {d.verdict}: "
            f"{escaped(d.reason)}, {code(d.decision_id)}"
            for d in reversed(rows)
        ] or ["nothing was decided yet"]

    def _risk(self, _: str) -> list[str]:
        now = self._controls.present()
        halts = [f"⛔ {escaped(h.reason)}" for h in self._store.halts_in_force(now)]
        worth = Decimal(sum((p.cost_usd for p in self._store.open_positions()), Decimal(0)))
        lines = [f"invested {code(f'${worth:,.2f}')}"]
        lines += [escaped(line) for line in self._controls.limits()]
        recent = metrics.win_rate(self._store.trades(limit=_ROWS))
        if not isinstance(recent, Unavailable):
            lines.append(f"last {recent.trades} trades: {recent.wins} won")
        return [*lines, *(halts or ["no halt"])]

    def _ack(self, _: str) -> list[str]:
        seen = self._store.acknowledge_alerts(self._now())
        return [f"acknowledged {counted(seen, 'alert')}"]

    def _health(self, _: str) -> list[str]:
        return [escaped(line) for line in self._controls.parts()]

    def _logs(self, _: str) -> list[str]:
        return [_log_line(row) for row in reversed(self._store.alerts(limit=2 * _ROWS))] or [
            "nothing was told yet"
        ]

    def _version(self, _: str) -> list[str]:
        return [escaped(self._controls.version())]

    def _help(self, _: str) -> list[str]:
        rows = {**self._answers, **self._changes}
        return [f"/{name} — {escaped(what)}" for name, (what, _do) in rows.items()]


def _log_line(row: Posted) -> str:
    alert = row.alert
    is_quiet = loudness(alert.event, {}) is Loudness.SILENT
    state = "" if row.status is Status.SENT else f" <b>{row.status}</b>"
    return (
        f"{eastern(alert.at)} {alert.event}{' (silent)' if is_quiet else ''} "
        f"{escaped(alert.symbol or '')}{state}"
    )
